#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Malformed input: packets, capture files, streams and messages.

No stage may crash, stop or lose count; what it does not take it drops for a reason.
Short by default; SOAK=1 does every byte and a million mutations.  SEED=N repeats a run.
"""
import os
import random
import struct
import subprocess
import time

from gwtest import Proc, SOAK, account, accounts, done, generate, have, ok, path, run, status_field, until

SEED = int(os.environ.get("SEED") or random.SystemRandom().randrange(1 << 32))
RND = random.Random(SEED)
print("# SEED=%d" % SEED)
ETHER, RAW, SLL, SLL2 = 1, 101, 113, 276
HELLO = struct.pack("<I", 0x80475701)


def ipv4(proto, data, opts=b"", frag=0, src="0a000001", dst="0a000002"):
    return (struct.pack("!BBHHHBBH", 0x40 | 5 + len(opts) // 4, 0, 20 + len(opts) + len(data), 7,
                        frag, 64, proto, 0) + bytes.fromhex(src + dst) + opts + data)


def ipv6(proto, data):
    return (struct.pack("!IHBB", 6 << 28, len(data), proto, 64) + b"\xfd" + bytes(14) + b"\1" +
            b"\xfd" + bytes(14) + b"\2" + data)


def udp(sport, dport, data):
    return struct.pack("!HHHH", sport, dport, 8 + len(data), 0x1234) + data


def tcp(dport, data, opts=b"\2\4\5\xb4\1\1\4\2"):
    return struct.pack("!HHIIBBHHH", 4711, dport, 1, 2, (5 + len(opts) // 4) << 4, 0x18, 1000, 0,
                       0) + opts + data


AWS = bytes.fromhex("010801020011223344556677" "010802020000000000000000" "01080301cafef00d")
TENCENT = AWS.replace(b"\x01\x08", b"\x01\x67")
GOOGLE = bytes.fromhex("0132010112345671" "01320202aabbccddeeff0011" "013203020000000000000009")
UNKNOWN = bytes.fromhex("7777050211223344aabbccdd") + AWS + bytes.fromhex("12340100")


def encap(inner, opts=AWS, outer6=False):
    proto = 0x86dd if inner[0] >> 4 == 6 else 0x0800
    payload = udp(50001, 6081, struct.pack("!BBHI", len(opts) // 4, 0, proto, 0) + opts + inner)
    return ipv6(17, payload) if outer6 else ipv4(17, payload, src="0a090001", dst="0a090002")


def link(kind, packet):
    proto = 0x86dd if packet[0] >> 4 == 6 else 0x0800
    return {RAW: b"", ETHER: bytes(range(12)) + struct.pack("!H", proto),
            SLL: struct.pack("!HHH8sH", 0, 1, 6, b"\2", proto),
            SLL2: struct.pack("!HHIHBB8s", proto, 0, 2, 1, 0, 6, b"\2")}[kind] + packet


DST_OPTIONS = b"\x11\0\1\4\0\0\0\0"
INNER = [ipv4(17, udp(1024, 3000, b"a weakly typed text")),
         ipv4(17, udp(1024, 3000, b"please drop me"), opts=b"\x94\4\0\0"),
         ipv4(6, tcp(23, b"login: root")), ipv4(6, tcp(80, b"weakly typed")),
         ipv4(1, b"\x08\0\0\0\x12\x34\0\5" + bytes(20)),
         ipv4(17, udp(1024, 3000, b"weakly typed" * 3), frag=0x2000), ipv4(17, b"weakly" * 4, frag=3),
         ipv6(17, udp(5, 514, b"id=77 and id=88")), ipv6(60, DST_OPTIONS + udp(5, 3000, b"drop me")),
         ipv6(44, b"\x11\0\0\1\0\0\0\7" + udp(5, 3000, b"weakly typed")), ipv6(58, b"\x80" + bytes(11)),
         ipv6(0, b"\x2b\0\1\4\0\0\0\0" + b"\6\0\0\0\0\0\0\0" + tcp(23, b"x")), ipv4(47, bytes(12))]
KINDS = ([(ETHER, link(ETHER, encap(p))) for p in INNER] +
         [(ETHER, link(ETHER, encap(INNER[0], opts))) for opts in (TENCENT, GOOGLE, UNKNOWN, b"")] +
         [(k, link(k, encap(INNER[0]))) for k in (RAW, SLL, SLL2)] +
         [(RAW, encap(INNER[7], GOOGLE, outer6=True))] +
         [(ETHER, bytes(range(12)) + b"\x81\0\0\5\x08\0" + encap(INNER[3]))])


def write_pcap(name, linktype, packets):
    with open(path(name), "wb") as f:
        f.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 262144, linktype))
        for i, p in enumerate(packets):
            f.write(struct.pack("<IIII", 1700000000 + i // 1000, i % 1000 * 1000, len(p), len(p)) + p)
    return path(name)


def chain_stages():
    stages = ["gwcap -i '%s'", "gwdecap"]
    if have("gwfilter"):
        stages.append("""gwfilter -e 'drop name "d" payload "drop me" where udp port 3000'
            -e 'reject both log where tcp dst port 23' -e 'reject where icmp'
            -e 'drop every 7 where udp port 514' -e 'pass flow where tcp'
            -e 'drop fragment where dst port 9' -e 'drop rate 1000/s by flow where udp'""")
    if have("gwmangle"):
        stages.append("""gwmangle -e 'replace "weakly typed" "strongly typed"'
            -e 'replace /id=([0-9]+)/ "id=<$1$1>" where udp' -e 'set ttl 9' -e 'set dscp 8 where tcp'""")
    return stages + ["gwinject -o '%s'"]


def through(what, linktype, packets):
    """All of them through the chain: everyone ends well, and every packet is accounted for"""
    stages = " | ".join(s.replace("\n", " ") for s in chain_stages())
    name, out = write_pcap("in.pcap", linktype, packets), path("out.pcapng")
    status, _, err = run("bash", "-c", "set -o pipefail; " + stages % (name, out), seconds=1200)
    acc = list(accounts(err).values())
    ok(status == 0 and len(acc) == len(chain_stages()) and "anitizer" not in err,
       "%s, link type %d: %d packets: no crash" % (what, linktype, len(packets)), status, err[-3000:])
    acc.sort(key=lambda a: ["gwcap", "gwdecap", "gwfilter", "gwmangle", "gwinject"].index(a.prog))
    joined = all(a.out == b.into for a, b in zip(acc, acc[1:]))
    ok(acc and all(a.balances() for a in acc) and joined and acc[0].into == len(packets),
       "%s: accounts balance, each drop has its reason" % what, "\n".join(a.text for a in acc))
    status, _, err2 = run("gwdecap", "-i", out, "-o", path("again.pcapng"))
    again = accounts(err2).get("gwdecap")
    ok(status == 0 and again and again.into == acc[-1].out and not again.dropped,
       "%s: what comes out is well-formed" % what, err2)
    return acc


def by_link(packets):
    groups = {}
    for linktype, p in packets:
        groups.setdefault(linktype, []).append(p)
    return groups.items()


def test_truncations():
    cuts = [(k, p[:n]) for k, p in KINDS for n in range(len(p))]
    for linktype, packets in by_link(cuts):
        acc = through("every truncation", linktype, packets)
        ok(acc[1].out == 0, "every truncation: none of them is taken for a whole packet", acc[1].text)


def test_corruptions():
    flips = range(1, 256) if SOAK else (1, 0x10, 0x80, 0xff)
    bad = []
    for linktype, p in KINDS:
        for at in range(len(p)):
            for x in flips:
                bad.append((linktype, p[:at] + bytes((p[at] ^ x,)) + p[at + 1:]))
    for linktype, packets in by_link(bad):
        through("every byte corrupted", linktype, packets)


def mutate(p):
    b = bytearray(p)
    for _ in range(RND.choice((1, 1, 2, 3, 8))):
        at = RND.randrange(len(b)) if b else 0
        kind = RND.randrange(6)
        if not b or kind == 0:
            b[at:at] = RND.randbytes(RND.randrange(1, 12))
        elif kind == 1:
            del b[at:at + RND.randrange(1, 12)]
        elif kind == 2:
            b[at:at + 2] = struct.pack("!H", RND.choice((0, 1, 7, 8, 19, 0x7fff, 0x8000, 0xffff)))
        elif kind == 3:
            b += RND.randbytes(RND.randrange(40))
        else:
            b[at] = RND.randrange(256)
    return bytes(b)


def test_mutations():
    left = 1000000 if SOAK else 20000
    while left > 0:
        some = [(k, mutate(p)) for k, p in (RND.choice(KINDS) for _ in range(min(left, 100000)))]
        for linktype, packets in by_link(some):
            through("mutations", linktype, packets)
        left -= len(some)


def test_files():
    """Broken capture files: exit 1 and a word where, or right packets; never a crash"""
    with open(generate("good.pcapng", 40, 30), "rb") as f:
        good = f.read()
    run("gwdecap", "-q", "-i", path("good.pcapng"), "-o", path("ours.pcapng"))
    with open(path("ours.pcapng"), "rb") as f:
        ours = f.read()
    with open(write_pcap("c.pcap", ETHER, [p for k, p in KINDS if k == ETHER]), "rb") as f:
        classic = f.read()
    for what, data in (("pcapng", good), ("our own", ours), ("classic", classic)):
        wrong, bare = [], struct.unpack("<I", data[4:8])[0]     # a section header alone is anybody's
        for n in (range(len(data)) if SOAK else sorted(RND.sample(range(len(data)), 40))):
            status, _, err = run("gwdecap", "-i", "-", "-o", path("x.pcapng"), data=data[:n])
            said = "cut in the middle" in err or "empty" in err or "without an end mark" in err
            acc = accounts(err).get("gwdecap")
            if status not in (0, 1) or status == 1 and not said or not acc or not acc.balances() or (
                    what == "our own" and status == 0 and n != bare):
                wrong.append((n, status, err))
        ok(not wrong, "%s files cut anywhere: 1 and why, or 0 at a boundary" % what, wrong[:3])
        wrong, errors = [], 0
        for _ in range(20000 if SOAK else 60):
            status, _, err = run("gwdecap", "-i", "-", "-o", path("x.pcapng"), data=mutate(data))
            acc = accounts(err).get("gwdecap")
            errors += status == 1
            if status not in (0, 1) or not acc or not acc.balances() or (status and "error: " not in err):
                wrong.append((status, err))
        ok(not wrong, "%s files with random errors: %d found broken, none crashed" % (what, errors), wrong[:3])


def test_metadata():
    """Streams of ours whose metadata lie: gwinject believes none of it"""
    write_pcap("m.pcap", ETHER, [p for k, p in KINDS if k == ETHER] * 3)
    run("gwdecap", "-q", "-i", path("m.pcap"), "-o", path("m.pcapng"))
    with open(path("m.pcapng"), "rb") as f:
        data = f.read()
    options = [i for i in range(len(data) - 2) if data[i:i + 2] == b"\x57\x87"]
    wrong = []
    for _ in range(5000 if SOAK else 100):
        b = bytearray(data)
        for _ in range(20):
            b[RND.choice(options) + 4 + RND.randrange(130)] = RND.randrange(256)
        with open(path("lies.pcapng"), "wb") as f:
            f.write(b)
        status, _, err = run("gwinject", "-i", path("lies.pcapng"), "-o", path("x.pcapng"))
        acc = accounts(err).get("gwinject")
        if status not in (0, 1) or not acc or not acc.balances() or status and "error: " not in err:
            wrong.append((status, err))
    ok(not wrong, "lying metadata: no crash, accounts balance", wrong[:3])


def bad_messages(good):
    yield b""
    yield b"hello"
    yield good
    yield good
    for _ in range(300):
        yield RND.randbytes(RND.randrange(1, 400))
    for n in range(1, min(len(good), 600), 7):
        yield good[:n]
    for _ in range(300):
        yield mutate(good[:2000])
    shb = struct.pack("<IIIHHqI", 0x0a0d0d0a, 28, 0x1a2b3c4d, 1, 0, -1, 28)
    for kind in (0x80475702, 0x80475703):      # an end or an abort without a hello
        yield shb + struct.pack("<IIQI", kind, 20, 0, 20)
    for total in (0, 4, 0x7fffffff, 0xfffffffc, 0xffffffff):
        yield shb + struct.pack("<II", 6, total) + bytes(64)
    yield shb + bytes(1 << 20)


def rss(pid):
    """Largest so far, MB"""
    return int(status_field(pid, "VmHWM").split()[0]) >> 10


def test_strangers():
    """A stranger at an ipc stream: counted, said now and then, in nobody's way"""
    count = 2000
    good = generate("real.pcapng", count, 40)
    run("gwcap", "-q", "-i", good, "-o", path("hello.pcapng"))
    with open(path("hello.pcapng"), "rb") as f:
        replay = f.read(3000)
    decap = Proc("gwdecap", "-i", "ipc://%s" % path("sock"), "-o", path("s.pcapng"))
    until(lambda: os.path.exists(path("sock")))
    bad = list(bad_messages(replay))
    run("h_mqsend", "ipc://" + path("sock"), data=framed(*bad))
    run("h_mqsend", "ipc://" + path("sock"), data=framed(bytes(17 << 20)))
    ok(decap.running() and "anitizer" not in decap.stderr(), "%d messages of a stranger stop nobody" %
       len(bad), decap.stderr()[-2000:])
    ok(rss(decap.pid) < 200, "one longer than any may be is not taken in", rss(decap.pid))
    status, _, err = run("gwcap", "-i", good, "-o", "ipc://%s" % path("sock"), seconds=30)
    ok(status == 0, "the real producer ends well beside a stranger", status, err)
    status = decap.wait(20)
    err = decap.stderr()
    acc = accounts(err).get("gwdecap")
    ok(status == 0 and acc and acc.balances() and acc.out >= count and "anitizer" not in err,
       "and so does the reader, with all of its packets", status, err[-2000:])
    lines = err.count("message not understood")
    ok(1 <= lines <= 10, "which is logged, but not for each", lines, err[:2000])


def from_producer(message, nonce, packets=0):
    """The same message from another producer, which had sent some packets before"""
    at = message.index(HELLO) + 8 + 8
    return message[:at] + struct.pack("<Q8xQ", nonce, packets) + message[at + 24:]


def ten_packets():
    """A producer's only message"""
    run("gwcap", "-q", "-i", generate("p.pcapng", 10, 40), "-o", path("p10.pcapng"))
    with open(path("p10.pcapng"), "rb") as f:
        return f.read()


def padding(message, nonce, packets):
    """What ZeroMQ may lose at the end is this: padding behind a hello like @message's"""
    hello = from_producer(message, nonce, packets)
    at = hello.index(HELLO)
    length = (1 << 20) + 12
    return (hello[:at + struct.unpack_from("<I", hello, at + 4)[0]] +
            struct.pack("<II", 0x80475704, length) + bytes(1 << 20) + struct.pack("<I", length))


def framed(*messages):
    """For h_mqsend"""
    return b"".join(struct.pack("<I", len(m)) + m for m in messages)


def test_two_ends():
    """Who ended first is waited for as well, or its last message had nowhere to go"""
    whole, where = ten_packets(), "ipc://%s" % path("two")
    decap = Proc("gwdecap", "-i", where, "--inputs", "2", "-o", path("t.pcapng"))
    slow = Proc("h_mqsend", where, stdin=subprocess.PIPE)
    slow.p.stdin.write(framed(from_producer(whole, 1)))
    slow.p.stdin.flush()
    until(lambda: os.path.exists(path("t.pcapng")) and os.path.getsize(path("t.pcapng")) > 1000)
    status, _, err = run("h_mqsend", where, data=framed(from_producer(whole, 2), padding(whole, 2, 10)))
    time.sleep(0.1)
    ok(status == 0 and decap.running(), "two producers ended, the padding of one came: a moment for the other's",
       err, decap.stderr())
    slow.p.stdin.write(framed(padding(whole, 1, 10)))
    slow.p.stdin.close()
    ok(slow.wait() == 0 and decap.wait() == 0 and account(decap.stderr()).into == 20, "and all of both came",
       slow.stderr(), decap.stderr())


def test_many_producers():
    """More producers than are told apart: one that was forgotten is no gap when it comes again"""
    whole = ten_packets()
    first = whole[:-20]                         # without its end
    messages = ([from_producer(first, n) for n in range(1, 100)] +
                [from_producer(first, 1, 10), from_producer(whole, 1000), padding(whole, 1000, 10)])
    decap = Proc("gwdecap", "-i", "ipc://%s" % path("many"), "-o", path("m.pcapng"))
    until(lambda: os.path.exists(path("many")))
    run("h_mqsend", "ipc://" + path("many"), data=framed(*messages))
    status, acc = decap.wait(20), accounts(decap.stderr()).get("gwdecap")
    ok(status == 0 and acc and acc.into == 10 * 101 and acc.lost == 0,
       "99 producers, the first of them twice: nothing is lost", status, decap.stderr())


def test_noise():
    """Bytes that are no capture at all"""
    wrong = []
    for n in (1, 3, 4, 23, 24, 100, 5000):
        status, _, err = run("gwdecap", "-i", "-", "-o", path("n.pcapng"), data=RND.randbytes(n))
        if status != 1 or "error: stdin: " not in err:
            wrong.append((n, status, err))
    ok(not wrong, "noise: exit 1 and why", wrong)


if __name__ == "__main__":
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            test()
    done()
