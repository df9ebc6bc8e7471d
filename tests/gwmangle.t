#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""gwmangle against scapy: packets at random, edited twice, by us and by building them anew"""
import functools
import logging
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time

logging.getLogger("scapy.runtime").setLevel(logging.ERROR)
from scapy.all import (ICMP, IP, TCP, UDP, Dot1Q, Ether, ICMPv6EchoRequest,  # noqa: E402
                       ICMPv6PacketTooBig, IPOption_NOP, IPv6, IPv6ExtHdrDestOpt,
                       IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, PadN, PcapWriter, Raw, defragment,
                       raw, rdpcap)

PACKETS = 2000 if "SOAK" in os.environ else 150
count = bad = 0
tmp = tempfile.TemporaryDirectory(prefix="gwmangle.")
os.chmod(tmp.name, 0o755)       # rules are read again without privileges


def ok(good, what, why=""):
    global count, bad
    count += 1
    bad += not good
    print(f"{'' if good else 'not '}ok {count} - {what}", flush=True)
    if not good and why:
        print("#", str(why).replace("\n", "\n# "))


def path(name):
    return os.path.join(tmp.name, name)


def run(cmd):
    return subprocess.run(["sh", "-c", cmd], cwd=tmp.name, capture_output=True, timeout=60)


def write(name, packets, linktype=101):
    with PcapWriter(path(name), linktype=linktype) as w:
        for p in packets:
            w.write(bytes(p))


def read(name):
    return [raw(p) for p in rdpcap(path(name))]


def mangle(rules, packets, linktype=101, args=""):
    """The packets as edited, and what was said"""
    write("in.pcap", packets, linktype)
    with open(path("rules"), "w") as f:
        f.write("\n".join(rules) + "\n")
    r = run(f"gwmangle {args} -i in.pcap -f rules -o out.pcap")
    return read("out.pcap") if r.returncode == 0 else [], r.stderr.decode()


# --- packets at random: a function of the payload, so that the edited one can be built anew

def l3_of(rng, seed, ttl, dscp):
    """Network layer with what may stand between it and the transport header"""
    if rng.random() < .5:
        opts = [IPOption_NOP()] * rng.choice([0, 0, 0, 4, 8])
        return IP(src="10.1.0.1", dst="10.2.0.1", id=seed % 65536, options=opts,
                  ttl=ttl or rng.randrange(1, 256), flags=rng.choice(["DF", 0]),
                  tos=dscp << 2 | 1 if dscp is not None else rng.randrange(64) << 2 | 1)
    p = IPv6(src="fd00::1", dst="fd00::2", hlim=ttl or rng.randrange(1, 256),
             tc=dscp << 2 | 2 if dscp is not None else rng.randrange(64) << 2 | 2)
    ext = rng.choice([0, 0, 1, 2])
    if ext > 1:
        p = p / IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(4))])
    if ext:
        p = p / IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(12))])
    return p


def packet(seed, payload=None, ttl=None, dscp=None):
    """(bytes, payload, kind); the same seed is the same packet but for what is given"""
    rng = random.Random(seed)
    kind = rng.choice(["udp", "udp", "udp0", "tcp", "icmp", "frag", "other"])
    body = b"".join(rng.choice([b"aa", b"x", b"weak", b"wek", b"\0", b"q", rng.randbytes(2)])
                    for _ in range(rng.choice([0, 1, 2, 9, 60, 400])))
    if kind != "frag" and kind != "other" and payload is not None:
        body = payload
    ttl_dice, dscp_dice = rng.randrange(1, 256), rng.randrange(64)
    l3 = l3_of(rng, seed, ttl or ttl_dice, dscp_dice if dscp is None else dscp)
    v6 = isinstance(l3, IPv6)
    if kind == "udp":
        p = l3 / UDP(sport=5, dport=3000) / Raw(body)
    elif kind == "udp0":
        p = l3 / UDP(sport=5, dport=3000, chksum=None if v6 else 0) / Raw(body)
    elif kind == "tcp":
        p = l3 / TCP(sport=5, dport=3000, flags="PA", options=[("NOP", None)] * 4) / Raw(body)
    elif kind == "icmp":
        p = l3 / (ICMPv6EchoRequest(id=1, seq=2, data=body) if v6 else
                  ICMP(id=1, seq=2) / Raw(body))
    elif kind == "frag":
        off = rng.choice([0, 40])
        data = Raw((raw(UDP(sport=5, dport=3000, len=900, chksum=1)) if not off else b"") + body +
                   bytes(-len(body) % 8))
        if v6:
            p = l3 / IPv6ExtHdrFragment(offset=off, m=1, id=seed, nh=17) / data
        else:
            l3.flags, l3.frag, l3.proto = "MF", off, 17
            p = l3 / data
    else:
        if v6:
            (l3.lastlayer()).nh = 47
        else:
            l3.proto = 47
        p = l3 / Raw(body)
    return raw(p), body, kind


def edit(kind, body, rules):
    """What gwmangle should make of a payload"""
    if kind in ("frag", "other"):
        return body
    for pattern, to in rules:
        def one(m):
            new = m.expand(to) if isinstance(to, bytes) else to(m)
            return m.group() if kind == "tcp" and len(new) != len(m.group()) else new
        body = re.sub(pattern, one, body, flags=re.S)
    return body


def first_difference(got, want, kinds):
    if len(got) != len(want):
        return f"{len(got)} packets, not {len(want)}"
    for i, (g, w) in enumerate(zip(got, want)):
        if g != w:
            return f"packet {i}, {kinds[i]}:\n{g.hex()}\n{w.hex()}"
    return None


@functools.cache
def originals(seed):
    return [packet(seed + i) for i in range(PACKETS)]


def oracle(name, lines, rules, seed, ttl=None, dscp=None, ether=False):
    made = originals(seed)
    want = [packet(seed + i, edit(k, b, rules), ttl, dscp)[0] for i, (_, b, k) in enumerate(made)]
    sent = [p for p, _, _ in made]
    if ether:
        def l2(p):
            e = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / Dot1Q(vlan=9)
            e.lastlayer().type = 0x0800 if p[0] >> 4 == 4 else 0x86dd
            return raw(e) + p
        sent, want = [l2(p) for p in sent], [l2(p) for p in want]
    got, err = mangle(lines, sent, 1 if ether else 101, "--mtu 65535")
    diff = first_difference(got, want, [k for _, _, k in made])
    ok(diff is None, f"{name} (seed {seed})", f"{diff}\n{err}")
    ok(f"{PACKETS} in, 0 made, {PACKETS} out, 0 dropped" in err, f"{name}: accounts", err)


def oracles(seed):
    shorter = (b"aa", b"b")
    longer = (b"x", b"yyy")
    equal = (b"aa", b"bc")
    groups = (rb"we(a)?(k)", lambda m: b"<" + (m[1] or b"") + b"$" + m[2] + b"9>")
    oracle("shorter", ['replace "aa" "b"'], [shorter], seed)
    oracle("longer", ['replace "x" "yyy"'], [longer], seed)
    oracle("equal", ['replace "aa" "bc"'], [equal], seed)
    oracle("nothing instead", ['replace "x" ""'], [(b"x", b"")], seed)
    oracle("regular expression", ['replace /we(a)?(k)/ "<$1$$${2}9>"'], [groups], seed)
    oracle("empty matches", ['replace /z*/ "-"'], [(b"z*", b"-")], seed)
    oracle("a dollar is itself in a string", ['replace "q" "$1"'], [(b"q", lambda m: b"$1")], seed)
    oracle("ttl", ["set ttl 33"], [], seed, ttl=33)
    oracle("dscp", ["set dscp 46"], [], seed, dscp=46)
    oracle("all in order", ['replace "aa" "x"', 'replace "x" "yyy"', "set ttl 1", "set dscp 0",
                            'replace /Y/i "aa"'],
           [(b"aa", b"x"), longer, (b"(?i)Y", b"aa")], seed, ttl=1, dscp=0)
    oracle("Ethernet with a tag", ['replace "x" "yyy"', 'replace "aa" "b"', "set ttl 9"],
           [longer, shorter], seed, ttl=9, ether=True)


# --- what the oracle's packets don't have

def udp(body, **kw):
    return IP(src="10.1.0.1", dst="10.2.0.1", id=7, **kw) / UDP(sport=1, dport=3000) / Raw(body)


def udp6(body):
    return IPv6(src="fd00::1", dst="fd00::2") / UDP(sport=1, dport=3000) / Raw(body)


def checksums():
    wrong = udp(b"a")
    wrong[UDP].chksum = 0x1234
    got, _ = mangle(['replace "a" "bb"'], [raw(wrong)])
    right = IP(raw(udp(b"bb")))[UDP].chksum
    p = IP(got[0])
    ok(p[UDP].chksum not in (0, right) and p[Raw].load == b"bb",
       "a wrong checksum stays wrong", p.show(dump=True))
    zero = udp6(b"a")
    zero[UDP].chksum = 0
    got, _ = mangle(['replace "a" "bb"'], [raw(zero)])
    ok(got == [raw(udp6(b"bb"))], "UDP over IPv6 gets a checksum when edited")
    tail = IP(raw(udp(b"bb\0\0")))[UDP].chksum.to_bytes(2, "big")     # makes the sum zero
    got, _ = mangle(['replace "ac" "bb"'], [raw(udp(b"ac" + tail))])
    ok(got == [raw(udp(b"bb" + tail))] and IP(got[0])[UDP].chksum == 0xffff,
       "a UDP sum of zero is written as 0xffff")


def left_alone():
    surplus = raw(IP(src="10.1.0.1", dst="10.2.0.1", proto=17) / Raw(
        raw(UDP(sport=1, dport=3000, len=10)) + b"aaaa"))
    cut = raw(udp(b"a" * 50))[:60]
    first = raw(IP(src="10.1.0.1", dst="10.2.0.1", flags="MF") / UDP(len=100) / Raw(b"aaaaaaaa"))
    later = raw(IP(src="10.1.0.1", dst="10.2.0.1", frag=2, proto=17) / Raw(b"aa"))
    sent = [surplus, cut, first, later]
    got, err = mangle(['replace "a" "bb"'], sent)
    ok(got == sent, "datagrams with a surplus, cut ones, fragments are left alone", err)
    padded = raw(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / udp(b"a")) + bytes(17)
    got, _ = mangle(['replace "a" "bb"'], [padded], 1)
    ok(got == [padded[:14] + raw(udp(b"bb"))],
       "padding of the link layer is no payload", got[0].hex())


def grown():
    body = bytes(range(65, 91)) * 30
    rules = ['replace "A" "0123456789"']
    growth = 30 * 9
    got, err = mangle(rules, [raw(udp(body, flags="DF"))], args="--mtu 1000")
    p = IP(got[0])
    ok((p.src, p.dst, p[ICMP].type, p[ICMP].code, p[ICMP].nexthopmtu) ==
       ("10.2.0.1", "10.1.0.1", 3, 4, 1000 - growth), "DF: fragmentation needed", p.show(dump=True))
    ok(raw(p[ICMP].payload)[:200] == raw(udp(body, flags="DF"))[:200],
       "which quotes the packet as it came")
    ok("1 in, 1 made, 1 out, 1 dropped (too-big 1)" in err, "accounts", err)
    big = bytes(range(65, 91)) * 60
    got, err = mangle(rules, [raw(udp6(big))], args="--mtu 1900")
    p = IPv6(got[0])
    ok((p.src, p.dst) == ("fd00::2", "fd00::1") and p[ICMPv6PacketTooBig].mtu == 1900 - 60 * 9,
       "IPv6: packet too big", p.show(dump=True))
    got, err = mangle(rules, [raw(udp(body, flags="DF"))], args="--mtu 1078")
    ok(got == [raw(udp(body.replace(b"A", b"0123456789"), flags="DF"))],
       "just as long as the MTU: goes", err)
    fragments(rules, body)


def encapsulated(inner):
    g = bytes.fromhex("0800" "0800" "00000000" "0108010200112233445566aa"
                      "010802020000000000000007" "0108030100000001")
    return raw(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") /
               IP(src="10.9.0.1", dst="10.9.0.2") / UDP(sport=4000, dport=6081, chksum=0) /
               Raw(g + raw(inner)))


def fragments(rules, body):
    write("geneve.pcap", [encapsulated(udp(body))], 1)
    r = run(f"gwdecap -q -i geneve.pcap | gwmangle -q --mtu 576 -e '{rules[0]}' |"
            " gwinject -o out.pcap")
    inner = [IP(raw(p[UDP].payload)[40:]) for p in rdpcap(path("out.pcap"))]
    ok(len(inner) == 2 and max(p.len for p in inner) <= 576,
       "without DF: fragments that fit", r.stderr.decode())
    whole = defragment(inner)[0]
    ok(raw(whole[UDP])[8:] == body.replace(b"A", b"0123456789"), "which make the edited packet")
    r = run(f"gwdecap -q -i geneve.pcap | gwmangle -q -e '{rules[0]}' | gwinject -o out.pcap")
    p = rdpcap(path("out.pcap"))[0]
    ok(raw(p[UDP].payload)[40:] == raw(udp(body.replace(b"A", b"0123456789"))) and
       p[IP].len == len(p) - 14, "as long as it fits, one packet")


def flow():
    there = udp(b"weakly typed")
    quoted = raw(there)
    error = IP(src="10.2.0.1", dst="10.1.0.1") / ICMP(type=3, code=3) / Raw(quoted)
    got, err = mangle(['replace "weakly" "strong" flow where udp', "set dscp 46 flow where udp",
                       "set ttl 9"], [there, error])
    ok(len(got) == 2 and raw(IP(got[0])[UDP].payload) == b"strong typed" and
       all((IP(x).tos, IP(x).ttl) == (46 << 2, 9) for x in got) and
       got[1].endswith(b"weakly typed"),
       "an ICMP error gets the header edits of its flow, and those of all packets", err)


def no_length():
    p = udp6(b"weakly typed")
    del p[UDP].chksum
    whole = bytearray(raw(p))
    whole[44:46] = b"\0\0"         # its checksum: less by the length that is not there
    was = int.from_bytes(whole[46:48], "big") + len(p) - 40
    whole[46:48] = (was % 65535).to_bytes(2, "big")
    for word in b"strong", b"very strongly":
        got, err = mangle([f'replace "weakly" "{word.decode()}"'], [whole])
        want = raw(udp6(b"weakly typed".replace(b"weakly", word)))
        ok(got == [want], "IPv6, a UDP length of 0: edited, with its length", err)


def errors():
    slow, long = raw(udp(b"a" * 40 + b"b")), raw(udp(b"a" * 200))
    evil = 'replace /(a+)+$/ "x"'
    explode = 'replace "a" "' + "z" * 1000 + '"'
    got, err = mangle([evil], [slow])
    ok(got == [slow], "match limit: passed on by default", err)
    got, err = mangle(["on-error drop", evil], [slow])
    ok("1 dropped (on-error 1)" in err, "or dropped, if asked for", err)
    got, err = mangle(["set ttl 9 payload /(a+)+$/", "set dscp 8"], [slow])
    ok([(IP(x).ttl, IP(x).tos) for x in got] == [(64, 32)], "the other edits are made", err)
    got, err = mangle([explode], [long], args="--mtu 65535")
    ok(got == [long], "a result longer than IP can carry: passed on unedited", err)
    got, err = mangle(["on-error drop", explode], [long])
    ok("1 dropped (on-error 1)" in err, "or dropped", err)


def until(condition, seconds=15):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(.02)
    return False


def said(what):
    with open(path("live.err"), errors="replace") as f:
        return what in f.read()


def reload():
    def rules(text):
        with open(path("live.rules"), "w") as f:
            f.write(text)

    rules('replace "a" "b"\n')
    with open(path("live.err"), "w") as err:
        p = subprocess.Popen(["gwmangle", "-f", "live.rules", "--print"], cwd=tmp.name,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err)
    w = PcapWriter(p.stdin, linktype=101, sync=True)

    def one():
        w.write(raw(udp(b"a")))
        p.stdin.flush()
        return p.stdout.readline().decode()

    ok("edited" in one(), "--print says what was edited")
    rules('replace "nowhere" "b"\n')
    p.send_signal(signal.SIGHUP)
    ok(until(lambda: said("reloaded")), "SIGHUP reloads")
    ok("edited" not in one(), "the new rules are in force")
    rules("nonsense\n")
    p.send_signal(signal.SIGHUP)
    ok(until(lambda: said("not reloaded")), "rules with errors are refused")
    ok("edited" not in one(), "and the old ones stay")
    p.stdin.close()
    ok(p.wait(10) == 0, "ends with 0")
    got, err = mangle(["set ttl 9"], [raw(udp(b"a"))] * 3, linktype=0)
    ok(got == [] and "3 dropped (linktype 3)" in err and
       "gwmangle: warning: packets of link type 0 are dropped: it cannot be read here" in err,
       "a link type that cannot be read: dropped, and said", err)


def main():
    seed = int(os.environ.get("SEED", random.randrange(1 << 30)))
    oracles(seed)
    checksums()
    left_alone()
    grown()
    flow()
    no_length()
    errors()
    reload()
    print(f"1..{count}")
    return bad != 0


sys.exit(main())
