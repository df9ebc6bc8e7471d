#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""gwfilter on real packets, made by scapy: what passes, what does not, and what it says"""
import logging
import os
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from gwtest import BIN, TESTS, DIR, done, ok, path, until  # noqa: E402
logging.getLogger("scapy").setLevel(logging.CRITICAL)
from scapy.all import (AH, GRE, IP, TCP, UDP, ICMP, Ether, IPv6, IPv6ExtHdrDestOpt,  # noqa: E402
                       IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting,
                       ICMPv6DestUnreach, ICMPv6EchoRequest, ICMPv6EchoReply, IPerror, Raw,
                       PadN, fragment, raw, rdpcap, wrpcap, PcapWriter)

GWFILTER = os.path.join(BIN, "gwfilter")
EXAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "examples")


class Result:
    def __init__(self, proc, packets):
        self.status, self.err, self.packets = proc.returncode, proc.stderr.decode(), packets

    def tags(self):
        """The last byte of each packet: tests number theirs so"""
        return [raw(p)[-1] for p in self.packets]


def run(packets, *rules, opts=(), files=(), linktype=101, start=1000.0, step=0.001):
    with tempfile.TemporaryDirectory() as d:
        for i, p in enumerate(packets):
            if not hasattr(p, "set_time"):
                p.time = start + i * step
        wrpcap(f"{d}/in.pcap", packets, linktype=linktype)
        cmd = [GWFILTER, "-i", f"{d}/in.pcap", "-o", f"{d}/out.pcap", *opts]
        for f in files:
            cmd += ["-f", f]
        for r in rules:
            cmd += ["-e", r]
        proc = subprocess.run(cmd, stderr=subprocess.PIPE, timeout=60)
        size = os.path.getsize(f"{d}/out.pcap") if os.path.exists(f"{d}/out.pcap") else 0
        return Result(proc, list(rdpcap(f"{d}/out.pcap")) if size > 24 else [])


def at(t, p):
    p.time = t
    p.set_time = True
    return p


def v4(src="10.0.0.1", dst="198.51.100.1", **kw):
    return IP(src=src, dst=dst, **kw)


def v6(src="fd00::1", dst="2001:db8::1", **kw):
    return IPv6(src=src, dst=dst, **kw)


def expect(what, packets, rules, tags, **kw):
    r = run(packets, *rules, **kw)
    ok(r.status == 0 and r.tags() == tags, what, f"got {r.tags()}, want {tags}\n{r.err}")
    return r


def tagged(packets):
    """Number the packets in their last byte"""
    return [p / Raw(bytes([i])) for i, p in enumerate(packets)]


def test_first_match():
    p = tagged([v4() / UDP(dport=d) for d in (1, 2, 3)])
    expect("no rules: all passes", p, [], [0, 1, 2])
    expect("the first rule that matches decides", p,
           ["pass where udp port 2", "drop where udp", "pass where udp port 3"], [1])
    expect("count goes on", p, ["count where udp", "drop where udp port 1"], [1, 2])
    expect("default drop", p, ["pass where udp port 3", "default drop"], [2])
    r = run(p, 'count log name "seen" where udp port 2')
    ok("seen: counted UDP 10.0.0.1:53 > 198.51.100.1:2 len 29" in r.err, "log says it", r.err)
    ether = [Ether(dst="02:00:00:00:00:01", src="02:00:00:00:00:02") / x for x in p]
    expect("Ethernet files", ether, ["drop where udp port 2"], [0, 2], linktype=1)


def test_extension_headers():
    chains = {
        "destination options": IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 20)]),
        "hop-by-hop": IPv6ExtHdrHopByHop(),
        "routing": IPv6ExtHdrRouting(addresses=["fd00::9"]),
        "all of them": IPv6ExtHdrHopByHop() / IPv6ExtHdrRouting(addresses=["fd00::9"]) /
        IPv6ExtHdrDestOpt(),
        "authentication": AH(payloadlen=4, icv=b"\0" * 12),
        "an atomic fragment": IPv6ExtHdrFragment(),
    }
    for name, chain in chains.items():
        if AH in chain:
            chain.nh = 6
        p = tagged([v6() / chain.copy() / TCP(dport=d) for d in (23, 24)])
        expect(f"a port rule is not dodged behind {name}", p, ["drop where tcp port 23"], [1])
        if AH in chain:
            chain.nh = 17
        p = tagged([v6() / chain.copy() / UDP(dport=7) / b"drop me",
                    v6() / chain.copy() / UDP(dport=7) / b"keep me"])
        expect(f"nor is a payload rule ({name})", p,
               ['drop payload "drop me" where udp port 7'], [1])
    long = v6()
    for _ in range(100):
        long /= IPv6ExtHdrDestOpt()
    p = tagged([long.copy() / TCP(dport=d) for d in (23, 24)])
    expect("nor behind a hundred of them", p, ["drop where tcp port 23"], [1])
    p = [bytearray(raw(x)) for x in tagged([v6() / IPv6ExtHdrHopByHop() / TCP(dport=d)
                                            for d in (23, 24)])]
    for x in p:
        x[4:6] = b"\0\0"
    expect("nor in a jumbogram without its length", [Raw(bytes(x)) for x in p],
           ["drop where tcp port 23", "drop where len < 60"], [1])


def frags4(dport, frag_id, size=3000, proto=UDP, **kw):
    return fragment(v4(id=frag_id, **kw) / proto(dport=dport) / Raw(b"x" * size), 1000)


def frag6(offset, more, frag_id, payload, nh=17):
    return v6() / IPv6ExtHdrFragment(offset=offset // 8, m=more, id=frag_id, nh=nh) / Raw(payload)


def test_fragments():
    a, b = frags4(23, 1), frags4(24, 2)
    ok(len(a) > 2, "the fragments are there")
    r = run(a + b, "drop where udp port 23")
    ok([p[IP].id for p in r.packets] == [2] * len(b), "later fragments follow the first one",
       r.err)
    r = run([a[1], a[0], a[2]], "drop where udp port 23")
    ok(len(r.packets) == 1 and r.packets[0].frag, "--fragments pass: an unknown one passes", r.err)
    r = run([a[1], a[0], a[2]], "drop where udp port 23", opts=["--fragments", "drop"])
    ok(not r.packets and "fragment 1" in r.err, "--fragments drop: it does not", r.err)
    r = run([a[1], a[0], a[2]], "drop fragment")
    ok(not r.packets, "'fragment' finds first and later ones, known or not", r.err)
    r = run(a + b, "pass not fragment", "default drop")
    ok(not r.packets, "'not fragment' finds neither")
    r = run(b[1:], "drop where udp port 23", "default drop")
    ok(len(r.packets) == len(b) - 1, "--fragments decides, not the default, about what rules cannot see")
    whole = raw(UDP(sport=1, dport=23, len=24) / Raw(b"y" * 16))
    six = [frag6(0, 1, 9, whole[:16]), frag6(16, 0, 9, whole[16:])]
    r = run(six, "drop where udp port 23")
    ok(not r.packets, "IPv6: the first fragment is seen, later ones follow", r.err)
    ext = raw(IPv6ExtHdrDestOpt(nh=17)) + whole
    six = [frag6(0, 1, 9, ext[:24], nh=60), frag6(24, 0, 9, ext[24:], nh=60)]
    r = run(six, "drop where udp port 23")
    ok(not r.packets, "IPv6: also with an extension header within the fragments", r.err)
    ext = raw(IPv6ExtHdrDestOpt(nh=17, options=[PadN(optdata=b"\0" * 12)])) + whole
    r = run([frag6(0, 1, 9, ext[:8], nh=60), frag6(8, 0, 9, ext[8:], nh=60)],
            "drop where udp port 23")
    ok(not r.packets and "fragment-evasion 2" in r.err,
       "IPv6: nor may the first fragment end within the headers", r.err)
    r = run([frag6(0, 1, 9, whole[:16]), frag6(16, 0, 8, whole[16:])], "drop where udp port 23")
    ok(len(r.packets) == 1, "IPv6: another identification is another datagram", r.err)


def test_fragment_evasion():
    def piece(off, more, data, proto=6, ident=5, **kw):
        return v4(id=ident, proto=proto, flags="MF" if more else 0, frag=off // 8, **kw) / Raw(data)
    seg = raw(TCP(sport=1000, dport=80, flags="S")) + b"z" * 24
    r = run([piece(0, 1, seg[:24]), piece(8, 0, seg[8:])], "drop where tcp port 23")
    ok(len(r.packets) == 1 and "fragment-evasion 1" in r.err,
       "overlap: a later fragment that rewrites the first is dropped", r.err)
    r = run([piece(0, 1, seg[:24]), piece(16, 1, seg[16:24]), piece(24, 0, seg[24:])],
            "drop where tcp port 23")
    ok(len(r.packets) == 1 and "fragment-evasion 2" in r.err,
       "overlap: what comes behind it is dropped as well", r.err)
    r = run([piece(8, 1, seg[8:24]), piece(0, 1, seg[:24]), piece(24, 0, seg[24:])],
            "drop where tcp port 23")
    ok(len(r.packets) == 1 and "fragment-evasion 2" in r.err,
       "overlap: sent before the first fragment, it costs the first and the rest", r.err)
    r = run([piece(0, 1, seg[:8]), piece(8, 0, seg[8:])], "drop where tcp port 23")
    ok(not r.packets and "fragment-evasion 2" in r.err,
       "a first fragment without its whole TCP header is dropped, with the rest", r.err)
    r = run([piece(0, 1, seg[:8]), piece(8, 0, seg[8:])], "count")
    ok(len(r.packets) == 2, "... but not where no rule looks so far", r.err)
    late = [at(100, piece(0, 1, seg[:24])), at(159, piece(8, 0, seg[8:]))]
    r = run(late, "drop where tcp port 23", "default pass")
    ok(len(r.packets) == 1 and "fragment-evasion 1" in r.err,
       "nor after as long as a receiver may wait", r.err)
    egress = ["pass flow where src net 10.0.0.0/8", "default drop"]
    table = ["table <in> { 10.0.0.0/8 }", "pass flow src <in>", "default drop"]
    for rules in egress, table:
        opened = [tcp(INSIDE, OUT, 1000, 80, "S"), tcp(OUT, INSIDE, 80, 1000, "SA")]
        syn = raw(TCP(sport=80, dport=1000, flags="S"))
        r = run(opened + [piece(0, 1, syn[:8], src=OUT, dst=INSIDE),
                          piece(8, 0, syn[8:], src=OUT, dst=INSIDE)], *rules)
        ok(len(r.packets) == 2 and "fragment-evasion 2" in r.err,
           f"a SYN in pieces is no answer of a flow: {rules[-2]}", r.err)
    r = run([piece(0, 1, seg[:24]), piece(24, 1, seg[24:32]), piece(24, 0, seg[24:])],
            "drop where tcp port 23")
    ok(len(r.packets) == 3, "later fragments that overlap each other hide nothing and pass", r.err)
    other = raw(TCP(sport=1000, dport=23, flags="S")) + b"z" * 24
    r = run([piece(0, 1, seg[:24]), piece(0, 1, other[:24]), piece(24, 0, seg[24:])],
            "drop where tcp port 23")
    ok(len(r.packets) == 1 and "rule 2" in r.err,
       "two first fragments judged differently: later ones follow the latest", r.err)
    r = run([piece(0, 1, other[:24]), piece(24, 0, seg[24:]), piece(0, 1, seg[:24]),
             piece(24, 0, seg[24:])], "drop where tcp port 23")
    ok(len(r.packets) == 2 and "rule 2" in r.err,
       "an identification that comes round is another packet", r.err)


def test_every_and_rate():
    p = tagged([v4() / UDP(dport=7) for _ in range(10)])
    expect("every 3 matches the 3rd, 6th, 9th", p, ["drop every 3 where udp"],
           [0, 1, 3, 4, 6, 7, 9])
    other = tagged([v4() / (UDP(dport=7) if i % 2 else TCP()) for i in range(8)])
    expect("every counts only what passed the rest", other, ["drop every 2 where udp"],
           [0, 1, 2, 4, 5, 6])
    p = [v4() / UDP() / Raw(bytes([i])) for i in range(20)]
    back = [at(t, q.copy()) for t, q in zip((5000, 5000, 1000, 1000.5, 1001.5, 1001.2), p)]
    r = run(back, "drop rate 1/s burst 1")
    ok(r.tags() == [0, 4], "rate: a clock that is set back does not stop it", f"{r.tags()}")
    r = run(p, "drop rate 10/s burst 5", step=0.02)
    ok(r.tags() == [0, 1, 2, 3, 4, 5, 10, 15], "rate: 5 at once, then one each 0.1 s",
       f"{r.tags()}")
    p = [v4(src=f"10.0.0.{i % 2}") / UDP() / Raw(bytes([i])) for i in range(8)]
    expect("rate by src has a bucket per address", p, ["drop rate 1/m burst 2 by src"],
           [0, 1, 2, 3])
    expect("rate by dst has one here", p, ["drop rate 1/m burst 2 by dst"], [0, 1])
    p = [v4() / UDP(sport=i % 2) / Raw(bytes([i])) for i in range(8)]
    expect("rate by flow", p, ["drop rate 1/m burst 1 by flow"], [0, 1])
    p = [v4(frag=9, id=i, proto=17) / Raw(bytes([i] * 16)) for i in range(8)]
    expect("where later fragments have no ports", p, ["drop rate 1/m burst 2 by flow"], [0, 1])


def test_payload():
    p = tagged([v4() / UDP(dport=9) / Raw(x) for x in (b"drop me", b"Drop Me", b"a\nb", b"x\0y")])
    expect("a string", p, ['drop payload "drop me"'], [1, 2, 3])
    expect("not", p, ['drop not payload "drop me"'], [0])
    expect("a regular expression with i", p, ["drop payload /drop\\s+me/i"], [2, 3])
    expect("s: a dot is a line end as well", p, ["drop payload /a.b/"], [0, 1, 2, 3])
    expect("s given", p, ["drop payload /a.b/s"], [0, 1, 3])
    expect("m: ^ behind a line end", p, ["drop payload /^b/m"], [0, 1, 3])
    expect("bytes", p, ['drop payload "x\\0\\x79"'], [0, 1, 2])
    short = [v4() / UDP(dport=9, len=12) / Raw(b"evil" + b"good" + bytes([i])) for i in range(2)]
    expect("nothing behind the end that UDP says", short, ['pass payload "good"', "default drop"], [])
    none = tagged([v6() / UDP(dport=9, len=0) / Raw(x) for x in (b"drop me", b"keep me")])
    expect("IPv6, a UDP length of 0: all of it", none, ['drop payload "drop me"'], [1])
    t = tagged([v4() / TCP(options=[("MSS", 1400)]) / Raw(x) for x in (b"GET /", b"PUT /")])
    expect("behind TCP options", t, ["drop payload /^GET/"], [1])
    i = tagged([v4() / ICMP(type=8) / Raw(x) for x in (b"abc", b"xbc")])
    expect("behind 8 bytes of ICMP", i, ["drop payload /^a/"], [1])


def test_on_error():
    slow = tagged([v4() / UDP(dport=9) / Raw(b"a" * 60 + b"!")])
    rule = "drop payload /^(a|a?)+$/"
    r = expect("a pattern at its limit: passes under default pass", slow, [rule], [0])
    r = run(slow, rule, "pass where udp", "default drop")
    ok(not r.packets and "on-error 1" in r.err, "default drop: dropped and counted", r.err)
    expect("on-error pass overrides that", slow, [rule, "pass where udp", "on-error pass",
                                                  "default drop"], [0])
    broken = [v4() / UDP() / Raw(b"abc")]
    broken[0] = IP(raw(broken[0])[:1] + b"\0\0\4" + raw(broken[0])[4:])
    r = run([Raw(b"\x4f" + raw(broken[0])[1:24])], "drop where tcp")
    ok(len(r.packets) == 1, "what is no whole IP packet passes under default pass", r.err)
    r = run([Raw(b"\x4f" + raw(broken[0])[1:24])], "pass where tcp", "default drop")
    ok(not r.packets and "ip-header 1" in r.err, "default drop: dropped for its reason", r.err)


def test_contradiction():
    p = tagged([v4() / UDP(dport=d) for d in (1, 2)] + [v6() / TCP(dport=1)])
    for kind in ("drop", "drop flow", "count", "reject"):
        r = expect(f"'{kind}' with a contradiction never matches, others go on", p,
                   [f"{kind} where tcp and udp", "drop where udp port 2"], [0, 2])
        ok(f"-e#1:1:{len(kind) + 8}: warning: no packet can match this filter expression: the "
           'rule does nothing, near "tcp and udp"\n' in r.err, "a warning says where", r.err)
    r = run(p, "pass where ip and ip6", "default drop")
    ok(r.status == 0 and not r.packets, "and so it is with 'pass'", r.err)


def test_linktype():
    odd = [Raw(b"\x02\0\0\0" + raw(v4() / UDP(dport=9)))] * 70
    said = "gwfilter: warning: packets of link type 0 are dropped: it cannot be read here"
    for rules in (["drop where udp"], ["count where udp", "on-error pass"]):
        r = run(odd, *rules, linktype=0)
        ok(r.status == 0 and not r.packets and "70 dropped (linktype 70)" in r.err,
           f"a link type that cannot be read does not pass {rules[-1]}", r.err)
        ok(said in r.err and r.err.count("warning") == 1, "the warning names it, once", r.err)
    r = run(odd, "pass", linktype=250, opts=["--as", "second"])
    ok("gwfilter:second: warning: packets of link type 250 are dropped" in r.err, "and the stage", r.err)


def test_tables():
    p = tagged([v4(src=s) / UDP() for s in ("10.1.2.3", "11.0.0.1", "10.255.255.255", "9.9.9.9")] +
               [v6(src=s) / UDP() for s in ("fd00::5", "fe00::1")])
    table = "table <in> { 10.0.0.0/8, fd00::/8, 10.1.0.0/16, 9.9.9.9 }"
    expect("src", p, [table, "drop src <in>"], [1, 5])
    expect("not src", p, [table, "drop not src <in>"], [0, 2, 3, 4])
    expect("dst", p, [table, "drop dst <in>"], [0, 1, 2, 3, 4, 5])
    expect("host", p, [table, "drop host <in>"], [1, 5])
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as f:
        f.write("# prefixes\n10.0.0.0/8   # ours\n\nfd00::/8\n")
        f.flush()
        expect("from a file", p, [f'table <in> "{f.name}"', "drop src <in>"], [1, 3, 5])


INSIDE, OUT = "10.0.0.1", "198.51.100.1"


def tcp(src, dst, sport, dport, flags="PA"):
    return v4(src=src, dst=dst) / TCP(sport=sport, dport=dport, flags=flags)


def test_outputs():
    """Packets that name no flow: by their hosts, with all that belongs to these"""
    host = [f"10.0.{i}.{i * 6}" for i in range(1, 41)]
    packets = []
    for i, h in enumerate(host):
        there = v4(src=h, id=i + 1) / UDP(sport=1000 + i, dport=53) / Raw(b"x" * 1000)
        packets += fragment(there, 600) + [
            v4(src="198.51.100.1", dst=h) / TCP(sport=80, dport=i + 1),
            v4(src="192.168.9.9", dst=h) / ICMP(type=3, code=1) / raw(there)[:28]]
    six = [v6(src=f"fd00::{i:x}") / UDP(dport=i) for i in range(1, 41)]
    wrpcap(path("spread.pcap"), packets + six, linktype=101)
    names = [path(f"spread{k}.pcap") for k in range(2)]
    subprocess.run([GWFILTER, "-q", "-i", path("spread.pcap"), "-o", names[0], "-o", names[1]],
                   check=True, timeout=60)
    got = [list(rdpcap(n)) for n in names]
    ok(len(got[0]) + len(got[1]) == len(packets) + 40, "two outputs: all packets are there",
       [len(g) for g in got])
    v4_of = [{h for h in host for p in g if IP in p and h in (p[IP].src, p[IP].dst)} for g in got]
    ok(not v4_of[0] & v4_of[1] and min(map(len, v4_of)) > 8,
       "what two hosts say to each other goes to one of them", v4_of)
    ok(min(sum(IPv6 in p for p in g) for g in got) > 8, "IPv6 is spread as well")


def test_flow():
    rules = ["pass flow where src net 10.0.0.0/8 and tcp dst port 443",
             "pass flow where src net 10.0.0.0/8 and udp", "default drop"]
    p = tagged([
        tcp(OUT, INSIDE, 443, 5000, "S"), tcp(OUT, INSIDE, 443, 5000, "A"),
        tcp(INSIDE, OUT, 5000, 443, "S"), tcp(OUT, INSIDE, 443, 5000, "SA"),
        tcp(OUT, INSIDE, 443, 5000), tcp(OUT, INSIDE, 443, 5001),
        tcp(OUT, INSIDE, 443, 5000, "S"), tcp(INSIDE, OUT, 5000, 80, "S")])
    strict = ["--midstream", "drop"]
    expect("inside opens, outside only answers", p, rules, [2, 3, 4], opts=strict)
    p = tagged([v4(src=INSIDE, dst=OUT) / UDP(sport=9, dport=53),
                v4(src=OUT, dst=INSIDE) / UDP(sport=53, dport=9)])
    quote = v4(src=INSIDE, dst=OUT) / UDP(sport=9, dport=53) / Raw(b"q" * 8)
    err = v4(src="203.0.113.9", dst=INSIDE) / ICMP(type=3, code=1) / IPerror(raw(quote)[:28]) / \
        Raw(bytes([2]))
    stray = v4(src="203.0.113.9", dst=INSIDE) / ICMP(type=3, code=1) / \
        IPerror(raw(v4(src=INSIDE, dst=OUT) / UDP(sport=10, dport=53))) / Raw(bytes([3]))
    astray = v4(src=OUT, dst="10.0.0.77") / ICMP(type=3, code=1) / IPerror(raw(quote)[:28]) / \
        Raw(bytes([4]))
    expect("an ICMP error goes with the flow that it quotes, to who sent that; others do not",
           p + [err, stray, astray], rules, [0, 1, 2])

    p = tagged([tcp(INSIDE, OUT, 5000, 443, "S"), tcp(OUT, INSIDE, 443, 5000, "SA"),
                tcp(OUT, INSIDE, 443, 5000, "S"), tcp(OUT, INSIDE, 443, 5000)])
    for refusal in "drop flow", "reject flow":
        r = run(p, "pass flow where src net 10.0.0.0/8", refusal)
        kept = [raw(x)[-1] for x in r.packets if x[TCP].payload]
        ok(kept == [0, 1, 3],
           f"a SYN against its direction does not end a flow ('{refusal}')", r.packets)

    def udp(t, back=False):
        a, b = (OUT, INSIDE) if back else (INSIDE, OUT)
        return at(t, v4(src=a, dst=b) / UDP(sport=53 if back else 9, dport=9 if back else 53))
    p = tagged([udp(0), udp(119, True), udp(230, True), udp(351, True)])
    for x, t in zip(p, (0, 119, 230, 351)):
        at(t, x)
    expect("UDP: forgotten after 120 s of silence", p, rules, [0, 1, 2])
    expect("--timeout", p, rules, [0], opts=["--timeout", "100s"])
    q = tagged([tcp(INSIDE, OUT, 5, 443, "S"), tcp(OUT, INSIDE, 443, 5), tcp(OUT, INSIDE, 443, 5)])
    for x, t in zip(q, (0, 349, 700)):
        at(t, x)
    expect("TCP: after 350 s", q, rules, [0, 1], opts=strict)
    expect("--tcp-timeout", q, rules, [0], opts=["--tcp-timeout", "1m", *strict])
    p = tagged([tcp(INSIDE, OUT, 5, 443, "PA"), tcp(OUT, INSIDE, 443, 5)])
    expect("mid-stream: picked up", p, rules, [0, 1])
    back = tagged([tcp(OUT, INSIDE, 443, 5), tcp(INSIDE, OUT, 5, 443), tcp(OUT, INSIDE, 443, 5, "S"),
                   tcp(OUT, INSIDE, 80, 5), tcp(OUT, INSIDE, 443, 6, "S")])
    expect("... also when the answering side speaks first; a SYN opens nothing", back, rules, [0, 1])
    r = run(p, *rules, opts=strict)
    ok(not r.packets and "midstream 1" in r.err, "--midstream drop", r.err)
    p = tagged([tcp(INSIDE, OUT, 5, 443, "S"), tcp(OUT, INSIDE, 443, 5)])
    expect("... but a SYN opens", p, rules, [0, 1], opts=strict)
    p = tagged([v4(src=INSIDE, dst=OUT) / UDP(sport=s, dport=9) for s in (1, 2, 3)] +
               [v4(src=OUT, dst=INSIDE) / UDP(sport=9, dport=s) for s in (1, 2, 3)])
    expect("--flows 2: the oldest is forgotten", p, rules, [0, 1, 2, 4, 5], opts=["--flows", "2"])
    r = run(tagged([v4() / UDP()] * 3), 'pass flow log name "once"')
    ok(r.err.count("once: passed") == 1, "log with flow: once", r.err)


def counted(r, name):
    return [line for line in r.err.splitlines() if f" {name}: " in line and "packets" in line]


def test_count_flow():
    there, back = v4(src=INSIDE, dst=OUT), v4(src=OUT, dst=INSIDE)
    dns = there / UDP(sport=9, dport=53)
    error = v4(src="203.0.113.9", dst=INSIDE) / ICMP(type=3, code=1) / IPerror(raw(dns)[:28])
    pieces = [IP(raw(x)) for x in fragment(there / UDP(sport=9, dport=53, chksum=0) /
                                           Raw(b"p" * 2000), 1000)]
    p = [back / UDP(sport=53, dport=9), dns, back / UDP(sport=53, dport=9), error, *pieces,
         there / UDP(sport=9, dport=54)]
    for i, x in enumerate(p):       # a line a second is the limit of a log
        at(1000 + 2 * i, x)
    rule = 'count flow log name "dns" where udp dst port 53'
    r = run(p, rule)
    want = sum(len(x) for x in p[1:-1])
    ok(len(r.packets) == len(p) and
       counted(r, "dns") == [f"gwfilter: dns: {len(p) - 2} packets, {want} bytes"],
       "count flow: both directions, fragments, ICMP errors; from its first match on", r.err)
    ok(r.err.count("dns: counted") == 1, "log with count flow: once", r.err)
    r = run(p[1:3], rule, "drop where udp src port 53")
    ok(len(r.packets) == 1 and "dns: 2 packets" in r.err, "the other rules decide", r.err)
    printed = [subprocess.run([GWFILTER, "-n", "-e", text], stdout=subprocess.PIPE).stdout.decode()
               for text in (rule, 'count log name "dns" flow where   udp dst port 53')]
    ok(printed == [rule + "\n"] * 2, "printed, it parses again", printed)
    many = "\n".join(f"count flow where udp port {i}" for i in range(65))
    r = run([], many)
    ok(r.status == 2 and "-e#1:65:1: more than 64 rules that say 'count flow'" in r.err,
       "65 of them are too many", r.err)


def test_reject():
    def answer(p, rule="reject"):
        r = run([p], rule)
        return r.packets[0] if r.packets else None
    a = answer(v4() / TCP(sport=9, dport=23, flags="S", seq=1000))
    ok(a and a[TCP].flags == "RA" and a[TCP].ack == 1001 and a[TCP].seq == 0 and
       a[IP].src == OUT and a[TCP].sport == 23, "SYN: RST, ACK is its number + 1", a)
    a = answer(v4() / TCP(flags="PA", seq=1000, ack=77) / b"hello")
    ok(a and a[TCP].flags == "R" and a[TCP].seq == 77, "ACK: RST with the number it waits for", a)
    a = answer(v4() / TCP(flags="F", seq=1000) / b"hello")
    ok(a and a[TCP].flags == "RA" and a[TCP].ack == 1006, "FIN and data count", a)
    a = answer(v6() / TCP(flags="S", seq=0xffffffff))
    ok(a and a[TCP].flags == "RA" and a[TCP].ack == 0, "IPv6, numbers wrap", a)
    p = v4() / UDP(dport=7) / Raw(b"p" * 900)
    a = answer(p)
    ok(a and a[ICMP].type == 3 and a[ICMP].code == 13 and
       raw(a)[28:] == raw(p)[:548], "UDP: ICMP 3/13 with its quote", a)
    same = IP(raw(a))
    del same.chksum, same[ICMP].chksum
    ok(raw(same)[:28] == raw(a)[:28], "with right checksums")
    p = v6() / UDP(dport=7) / Raw(b"p" * 2000)
    a = answer(p)
    ok(a and a[ICMPv6DestUnreach].code == 1 and raw(a)[48:] == raw(p)[:1232] and len(a) == 1280,
       "IPv6: ICMPv6 1/1 with its quote, 1280 bytes in all", a)
    same = IPv6(raw(a))
    del same[ICMPv6DestUnreach].cksum
    ok(raw(same)[:48] == raw(a)[:48], "with a right checksum")
    a = answer(v4() / ICMP(type=8))
    ok(a and a[ICMP].type == 3, "an echo request is answered")
    for name, p in {
            "a RST": v4() / TCP(flags="R"), "a multicast": v4(dst="224.0.0.5") / UDP(),
            "a broadcast": v4(dst="255.255.255.255") / UDP(),
            "an ICMP error": v4() / ICMP(type=3) / IPerror(raw(v4() / UDP())),
            "an ICMPv6 error": v6() / ICMPv6DestUnreach() / raw(v6() / UDP()),
            "IPv6 multicast": v6(dst="ff02::1") / UDP(),
            "an unspecified source": v4(src="0.0.0.0") / UDP(),
            "a later fragment": v4(frag=10) / Raw(b"x" * 30)}.items():
        r = run([p], "reject")
        ok(not r.packets and "rule 1" in r.err and "0 made" in r.err, f"{name} is not answered",
           r.err)
    r = run([v4() / UDP()], "default reject")
    ok(len(r.packets) == 1 and "default 1" in r.err, "default reject", r.err)
    e = [Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / v4() / UDP()]
    r = run(e, "reject", linktype=1)
    ok(r.packets and r.packets[0].dst == "02:00:00:00:00:01", "Ethernet: MACs swapped")


def geneve(inner, endpoint):
    opts = bytes.fromhex("01080102") + endpoint.to_bytes(8, "big") + \
        bytes.fromhex("010802020000000000000000") + bytes.fromhex("0108030100000001")
    return v4(src="10.9.0.1", dst="10.9.0.2") / UDP(sport=60000, dport=6081) / \
        Raw(b"\x08\x00\x08\x00\0\0\0\0" + opts + raw(inner))


def chain(packets, rule, sink=""):
    """Encapsulated packets through gwdecap, gwfilter and perhaps more"""
    wrpcap(path("in.pcap"), packets, linktype=101)
    cmd = f"gwdecap -q -i in.pcap | gwfilter -q -e '{rule}' {sink} -o out.pcapng"
    proc = subprocess.run(["sh", "-c", cmd], stderr=subprocess.PIPE, timeout=60, cwd=DIR)
    ok(proc.returncode == 0, f"a pipe with '{rule}' ends in order", proc.stderr)
    return list(rdpcap(path("out.pcapng")))


def test_endpoint():
    p = tagged([v4() / UDP()] * 2)
    got = chain([geneve(p[0], 0xa1), geneve(p[1], 0xa2)], "drop endpoint vpce-000000000000000a1")
    ok([raw(x)[-1] for x in got] == [1], "endpoint", got)


def test_reject_through_geneve():
    p = geneve(v4() / TCP(sport=7, dport=23, flags="PA", seq=5, ack=9) / b"hi", 0xa1)
    got = [IP(raw(x)) for x in chain([p], "reject both where tcp port 23", "| gwinject -q")]
    ok(len(got) == 2 and all(x.src == p.dst and x.dst == p.src and x[UDP].sport == 60000 and
                             raw(x)[28:68] == raw(p)[28:68] for x in got),
       "reject both: two packets back through the packet's own flow", got)
    one, two = (IP(raw(x)[68:]) for x in got)
    ok(one.dst == "10.0.0.1" and one[TCP].flags == "R" and one[TCP].seq == 9, "to the sender", one)
    ok(two.dst == OUT and two[TCP].dport == 23 and two[TCP].flags == "RA" and
       (two[TCP].seq, two[TCP].ack) == (5, 9), "to the receiver", two)


def test_examples():
    def example(name, what, packets, tags, **kw):
        expect(f"{name}: {what}", packets, [], tags, files=[f"{EXAMPLES}/{name}"], **kw)
    echo = tagged([v4() / ICMP(type=8, seq=i) for i in range(1, 11)] +
                  [v4() / ICMP(type=0, seq=5)] + [v6() / ICMPv6EchoRequest(seq=i) for i in (5, 6)])
    example("censor-filter.rules", "echo requests", echo, [0, 1, 2, 3, 5, 6, 7, 8, 10, 12])
    talk = tagged([v4() / UDP(dport=3000) / Raw(b"please drop me"),
                   v4() / UDP(sport=3000, dport=9) / Raw(b"drop me"),
                   v4() / UDP(dport=3001) / Raw(b"drop me"), v4() / UDP(dport=3000) / Raw(b"hi")])
    example("censor-filter.rules", "words", talk, [2, 3])
    egress = tagged([tcp(INSIDE, OUT, 5000, 443, "S"), tcp(OUT, INSIDE, 443, 5000, "SA"),
                     tcp(OUT, INSIDE, 443, 5002, "S"), v4(src=OUT, dst=INSIDE) / ICMP(type=8, id=7),
                     v4(src=INSIDE, dst=OUT) / ICMP(type=8, id=3),
                     v4(src=OUT, dst=INSIDE) / ICMP(type=0, id=3),
                     v6() / ICMPv6EchoRequest(id=4),
                     v6(src="2001:db8::1", dst="fd00::1") / ICMPv6EchoReply(id=4)])
    example("egress-firewall.rules", "inside opens, outside answers", egress, [0, 1, 4, 5, 6, 7])
    r = run([tcp(INSIDE, OUT, 5000, 25, "S")], files=[f"{EXAMPLES}/egress-firewall.rules"])
    ok(len(r.packets) == 1 and r.packets[0][TCP].flags == "RA", "egress: others inside are told")
    lists = tagged([tcp(INSIDE, OUT, 1, 25, "S"), tcp(INSIDE, OUT, 1, 22, "S"),
                    tcp(OUT, INSIDE, 22, 1, "SA"), tcp(OUT, INSIDE, 1, 23, "S"),
                    tcp(OUT, INSIDE, 1, 80, "S"), tcp(INSIDE, OUT, 80, 1, "SA"),
                    tcp(OUT, INSIDE, 1, 81, "S"), v4(src=INSIDE, dst=OUT) / GRE(),
                    v4(src=OUT, dst=INSIDE, proto=50), v4(src=INSIDE, dst=OUT) / UDP(dport=138)])
    example("direction-lists.rules", "both directions", lists, [1, 2, 4, 5, 7])
    dns = [v4(src=f"10.0.0.{i % 2}") / UDP(sport=9, dport=53) / Raw(bytes([i % 2]))
           for i in range(600)]
    r = run(dns, files=[f"{EXAMPLES}/dns-rate.rules"], step=0.0)
    ok(len(r.packets) == 400, "dns-rate: 200 at once for each client", len(r.packets))


def page():
    """The stage's page as gwhealth sees it"""
    out = subprocess.run([f"{TESTS}/h_page", path("run"), "gwfilter"], stdout=subprocess.PIPE)
    return dict(line.split(" ", 1) for line in out.stdout.decode().splitlines())


def test_reload():
    rules = path("rules")

    def write(text):
        with open(rules, "w", encoding="ascii") as f:
            f.write(text)
    write('count name "all"\ndrop where udp port 7\n')
    # behind a socket it has a page of counters
    with subprocess.Popen([GWFILTER, "-i", "ipc://live", "--print", "-f", rules],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as proc, \
            subprocess.Popen([GWFILTER, "--as", "feed", "-o", "ipc://live"],
                             stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as feed:
        w = PcapWriter(feed.stdin, linktype=101, sync=True)

        def send(*ports):
            for port in ports:
                w.write(v4() / UDP(dport=port))
            feed.stdin.flush()

        def hup(word):
            proc.send_signal(1)
            line = ""
            while "reloaded" not in line:
                line = proc.stderr.readline().decode()
                if not line:
                    break
                seen.append(line)
            return word in line
        seen = []
        send(7, 8)
        ok(b":8 " in proc.stdout.readline(), "live: the first rules hold")
        write('drop where udp port 8\ncount name "all"\n')
        ok(hup("reloaded, 2"), "SIGHUP: reloaded", seen)
        send(8, 7)
        ok(b":7 " in proc.stdout.readline(), "the new rules hold")
        ok(until(lambda: page().get("rule:all") == "3"),
           "the counter of a rule with the same name goes on", page())
        write("drop where udp prot 9\nnonsense\n")
        ok(hup("not reloaded") and sum(f"{rules}:" in s for s in seen) == 2,
           "errors are said, all of them", seen)
        send(8, 9)
        ok(b":9 " in proc.stdout.readline(), "and the old rules stay")
        w.close()
        rest = proc.stdout.read()
        proc.wait(timeout=20)
        ok(proc.returncode == 0 and rest == b"", "end of file: 0", proc.stderr.read())


def main():
    signal.alarm(150)
    for name, func in list(globals().items()):
        if name.startswith("test_"):
            try:
                func()
            except Exception as e:  # a test that breaks is a failed test
                ok(False, f"{name} runs", repr(e))
    done()


main()
