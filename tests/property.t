#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Packets at random through the whole chain, held against a model of it in scapy.

The model knows the rules as python functions, and leaves lengths and checksums to
scapy.  SOAK=1 takes many more; SEED=N repeats a run.
"""
import itertools
import logging
import os
import random
import re
import struct

logging.getLogger("scapy.runtime").setLevel(logging.ERROR)
from scapy.all import (ICMP, IP, TCP, UDP, Dot1Q, Ether, IPv6, Raw, raw)  # noqa: E402
from scapy.layers.inet6 import (ICMPv6EchoRequest, IPv6ExtHdrDestOpt,  # noqa: E402
                                IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting, PadN)

from gwtest import SOAK, accounts, done, ok, path, run  # noqa: E402

UDP.payload_guess = TCP.payload_guess = ICMP.payload_guess = []      # all payload is raw
SEED = int(os.environ.get("SEED") or random.SystemRandom().randrange(1 << 32))
RND = random.Random(SEED)
print("# SEED=%d" % SEED)
ENDPOINT = 0x0a1b2c3d4e5f6071
FILTER = ["drop name \"text\" payload \"drop me\" where udp port 3000",
          "drop where icmp[icmptype] = icmp-echo and icmp[6:2] % 5 = 0",
          "drop endpoint vpce-0%016x where tcp dst port 23" % ENDPOINT,
          "drop payload /^QUIT[0-9]{2}/i where ip6 and tcp"]
MANGLE = ["replace \"weakly typed\" \"strongly typed\" where udp port 3000",
          "replace /id=([0-9]+)/ \"id=<$1>\" where udp dst port 514",
          "replace \"secret\" \"xxxxxx\" where tcp",
          "replace \"longer\" \"not so\\x00\" where tcp",      # grows: never on TCP
          "set ttl 9 where udp port 514", "set dscp 10 where tcp dst port 80"]
WORDS = [b"weakly typed", b"drop me", b"id=4711", b"id=", b"secret", b"longer", b"QUIT77", b"quit1",
         b" ", b"\0\xff"]


def text():
    if RND.random() < 0.2:
        return RND.randbytes(RND.choice((0, 1, 2, 3, 63, 500, 1471, 7900)))
    return b"".join(RND.choice(WORDS) + RND.randbytes(RND.randrange(3)) for _ in range(RND.randrange(6)))


def port():
    return RND.choice((23, 53, 80, 514, 3000, RND.randrange(7000, 65536)))


def transport(v6):
    kind = RND.randrange(4)
    if kind == 0:
        flags = RND.choice(("S", "A", "PA", "FA"))
        opts = RND.choice(([], [("MSS", 1460)], [("Timestamp", (1, 2)), ("NOP", None), ("NOP", None)]))
        return TCP(sport=port(), dport=port(), flags=flags, seq=RND.getrandbits(32), options=opts) / Raw(text())
    if kind == 1:
        if v6:
            return ICMPv6EchoRequest(id=7, seq=RND.randrange(20), data=text())
        return ICMP(id=7, seq=RND.randrange(20), type=RND.choice((8, 8, 0))) / Raw(text())
    u = UDP(sport=port(), dport=port())
    if kind == 2 and not v6:
        u.chksum = 0
    return u / Raw(text())


def inner():
    """One random packet, as scapy's object"""
    if RND.random() < 0.5:
        ip = IP(src="10.0.0.%d" % RND.randrange(1, 9), dst="10.0.1.%d" % RND.randrange(1, 9),
                tos=RND.randrange(256), ttl=RND.randrange(1, 256), id=RND.getrandbits(16),
                flags=RND.choice(("", "DF")))
        if RND.random() < 0.2:
            ip.options = [RND.choice((b"\x94\4\0\0", b"\1\1\1\0"))]
            ip = IP(raw(ip))
            del ip.len, ip.chksum, ip.ihl
        return ip / transport(False)
    p = IPv6(src="fd00::%x" % RND.randrange(1, 9), dst="fd00:1::%x" % RND.randrange(1, 9),
             tc=RND.randrange(256), fl=RND.getrandbits(20), hlim=RND.randrange(1, 256))
    for _ in range(RND.choice((0, 0, 0, 1, 2, 3))):
        p = p / RND.choice((IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(2))]),
                            IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(10))]),
                            IPv6ExtHdrRouting(segleft=0, addresses=[])))
    return p / transport(True)


IDS = itertools.count(RND.getrandbits(16))      # no two are of one datagram: that would be another test


def fragment():
    """A fragment, of flows that no rule is about"""
    first = RND.random() < 0.5
    data = raw(UDP(sport=7001, dport=7002, len=3000, chksum=0x1234) / Raw(RND.randbytes(400)))
    off = 0 if first else RND.randrange(1, 500)
    if RND.random() < 0.5:
        return IP(src="10.9.0.1", dst="10.9.0.2", id=next(IDS) & 0xffff, proto=17,
                  flags="MF" if first or RND.random() < 0.5 else "", frag=off) / Raw(data)
    return (IPv6(src="fd09::1", dst="fd09::2") /
            IPv6ExtHdrFragment(nh=17, offset=off, m=1 if first else RND.randrange(2),
                               id=next(IDS)) / Raw(data))


def options():
    """(Geneve options, endpoint)"""
    kind = RND.randrange(6)
    if kind == 0:
        return b"", 0
    if kind == 1:           # Google: order and number vary
        o = [b"\x01\x32\1\1\0\0\0\x23", b"\x01\x32\2\3" + RND.randbytes(12),
             b"\x01\x32\3\2" + RND.randbytes(8)]
        RND.shuffle(o)
        return b"".join(o), None
    endpoint = RND.choice((ENDPOINT, RND.getrandbits(64)))
    cls = b"\x01\x67" if kind == 2 else b"\x01\x08"
    o = [cls + b"\1\2" + struct.pack("!Q", endpoint), cls + b"\2\2" + bytes(8),
         cls + b"\3\1" + RND.randbytes(4)]
    if kind == 3:
        o.append(b"\x77\x77\5" + bytes([RND.randrange(4)]))
        o[-1] += RND.randbytes(4 * o[-1][3])
        RND.shuffle(o)
    return b"".join(o), endpoint


def payload_of(l4):
    return bytes(l4.payload)


def drops(p, endpoint, frag):
    """The filter's decision"""
    if frag:
        return False
    if UDP in p and 3000 in (p[UDP].sport, p[UDP].dport) and b"drop me" in payload_of(p[UDP]):
        return True
    if IP in p and ICMP in p and p[ICMP].type == 8 and p[ICMP].seq % 5 == 0:
        return True
    if TCP in p and p[TCP].dport == 23 and endpoint == ENDPOINT:
        return True
    return bool(IPv6 in p and TCP in p and re.match(rb"(?i)^QUIT[0-9]{2}", payload_of(p[TCP])))


def edited(p, data):
    """The editor's result, as bytes"""
    q, changed = p.copy(), False
    if UDP in p and 514 in (p[UDP].sport, p[UDP].dport):
        if IP in q:
            q[IP].ttl = 9
        else:
            q[IPv6].hlim = 9
        changed = True
    if TCP in p:
        new = payload_of(p[TCP]).replace(b"secret", b"xxxxxx")
        changed = changed or new != payload_of(p[TCP])
        q[TCP].remove_payload()
        q[TCP].add_payload(Raw(new))
        if p[TCP].dport == 80:
            changed = True
            if IP in q:
                q[IP].tos = 10 << 2 | q[IP].tos & 3
            else:
                q[IPv6].tc = 10 << 2 | q[IPv6].tc & 3
        del q[TCP].chksum
    if UDP in p:
        new = payload_of(p[UDP])
        if 3000 in (p[UDP].sport, p[UDP].dport):
            new = new.replace(b"weakly typed", b"strongly typed")
        if p[UDP].dport == 514:
            new = re.sub(rb"id=([0-9]+)", rb"id=<\1>", new)
        changed = changed or new != payload_of(p[UDP])
        q[UDP].remove_payload()
        q[UDP].add_payload(Raw(new))
        del q[UDP].len
        if p[UDP].chksum != 0:
            del q[UDP].chksum
    if not changed:
        return data
    if IP in q:
        del q[IP].len, q[IP].chksum
    else:
        del q[IPv6].plen
    return raw(q)


def make(n):
    """[(frame, inner bytes, what the model expects: bytes or None)]"""
    made = []
    for _ in range(n):
        frag = RND.random() < 0.1
        p = fragment() if frag else inner()
        data = raw(p)
        p = p.__class__(data)
        opts, endpoint = options()
        head = struct.pack("!BBHI", len(opts) // 4, 0, 0x0800 if data[0] >> 4 == 4 else 0x86dd, 0) + opts
        eth = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
        if RND.random() < 0.2:
            eth = eth / Dot1Q(vlan=RND.randrange(1, 4095))
        udp = UDP(sport=RND.randrange(1024, 65536), dport=6081)
        if RND.random() < 0.5:
            udp.chksum = 0
        frame = raw(eth / IP(src="10.9.0.1", dst="10.9.0.2", ttl=200) / udp / Raw(head + data))
        frame += bytes(RND.choice((0, 0, 4)))       # padding of the link layer
        expect = None if drops(p, endpoint, frag) else data if frag else edited(p, data)
        made.append((frame, head, expect))
    return made


def write(name, frames):
    with open(path(name), "wb") as f:
        f.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 262144, 1))
        for i, p in enumerate(frames):
            f.write(struct.pack("<IIII", 1700000000 + i // 1000, i % 1000, len(p), len(p)) + p)
    return path(name)


def read(name):
    """Packets of a classic pcap with nanoseconds"""
    with open(path(name), "rb") as f:
        data = f.read()
    at, out = 24, []
    while at < len(data):
        n = struct.unpack_from("<I", data, at + 8)[0]
        out.append(data[at + 16:at + 16 + n])
        at += 16 + n
    return out


def wrong(frame, head, expect, got):
    """What is wrong with what came back, or None"""
    sent, back = Ether(frame), Ether(got)
    if (back.src, back.dst) != (sent.dst, sent.src):
        return "MAC addresses"
    if (Dot1Q in sent) != (Dot1Q in back) or Dot1Q in sent and sent[Dot1Q].vlan != back[Dot1Q].vlan:
        return "VLAN tag"
    o, s = back[IP], sent[IP]
    if (o.src, o.dst, o.ttl, str(o.flags)) != (s.dst, s.src, 64, "DF"):
        return "outer IP header %r" % o
    again = IP(raw(o))
    del again.chksum, again.len
    u = o[UDP]
    if raw(IP(raw(again)))[:20] != raw(o)[:20] or o.len != 28 + len(head) + len(expect):
        return "outer IP length or checksum: inner %s, expected %s" % (raw(o)[28 + len(head):].hex(), expect.hex())
    if (u.sport, u.dport, u.len, u.chksum) != (s[UDP].sport, 6081, o.len - 20, 0):
        return "outer UDP header %r" % u
    body = raw(o)[28:o.len]
    if body[:len(head)] != head:
        return "Geneve header"
    if body[len(head):] != expect:
        return "inner packet\n" + body[len(head):].hex() + "\nexpected\n" + expect.hex()
    return None


def rules(flag, lines):
    return [a for line in lines for a in (flag, line)]


def test_chain():
    made = make(60000 if SOAK else 3000)
    steps = [["gwcap", "-i", write("in.pcap", [m[0] for m in made]), "-o", path("1")],
             ["gwdecap", "-i", path("1"), "-o", path("2")],
             ["gwfilter", "-i", path("2"), "-o", path("3"), *rules("-e", FILTER)],
             ["gwmangle", "-i", path("3"), "-o", path("4"), *rules("-e", MANGLE)],
             ["gwinject", "-i", path("4"), "-o", path("out.pcap")]]
    err = ""
    for s in steps:
        status, _, said = run(*s, seconds=600)
        err += said
        if not ok(status == 0, "%s ends in order" % s[0], status, said[-2000:]):
            return
    a = accounts(err)
    kept = [m for m in made if m[2] is not None]
    ok(all(x.balances() for x in a.values()), "accounts balance", err)
    ok(a["gwdecap"].dropped == 0 and a["gwfilter"].dropped == len(made) - len(kept),
       "as many dropped as the model says: %d of %d" % (len(made) - len(kept), len(made)), err)
    back = read("out.pcap")
    bad = [(i, w) for i, (m, got) in enumerate(zip(kept, back)) for w in (wrong(*m, got),) if w]
    ok(len(back) == len(kept) and not bad, "%d packets come back in order, each as the model says (%d "
       "edited)" % (len(kept), a["gwmangle"].into), len(back), len(bad), *(b for b in bad[:3]))


if __name__ == "__main__":
    test_chain()
    done()
