#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""gwinject on wires: a veth pair and a TUN in a network namespace of the test's own

What is written with -o is judged by gwinject.t; here the same bytes must arrive.
"""
import fcntl
import logging
import os
import re
import signal
import struct
import subprocess
import sys
import tempfile
import time

if os.geteuid() != 0:
    print("1..0 # SKIP needs root")
    sys.exit(0)
if "GW_NETNS" not in os.environ:
    os.environ["GW_NETNS"] = "1"
    os.execvp("unshare", ["unshare", "-n", *sys.argv])

logging.getLogger("scapy.runtime").setLevel(logging.ERROR)
from scapy.all import (IP, TCP, UDP, Dot1Q, Ether, IPv6, PcapWriter, Raw,  # noqa: E402
                       checksum, fragment, raw, rdpcap)

count = bad = 0
tmp = tempfile.TemporaryDirectory(prefix="gwinject.")
os.chmod(tmp.name, 0o755)
os.environ["GW_RUN"] = os.path.join(tmp.name, "run")
TESTS = os.environ.get("GW_TESTS", os.path.join(os.getcwd(), "build/tests"))
children = []


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


def start(cmd, **kw):
    child = subprocess.Popen(cmd, cwd=tmp.name, **kw)
    children.append(child)
    return child


def until(condition, seconds=15):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(.02)
    return False


def text(name):
    with open(path(name), errors="replace") as f:
        return f.read()


def packet(i, body, v=4, vlan=False):
    g = bytes.fromhex("0800" "0800" "00000000" "0108010200112233445566aa"
                      "010802020000000000000007" "01080301") + i.to_bytes(4, "big")
    l3 = IP(src="10.9.0.1", dst="10.9.0.2", ttl=3) if v == 4 else IPv6(src="fd09::1", dst="fd09::2")
    l2 = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    if vlan:
        l2 = l2 / Dot1Q(vlan=7)
    return l2 / l3 / UDP(sport=30000 + i, dport=6081) / Raw(g + raw(body))


def udp(i, size):
    return (IP(src="10.1.0.1", dst="10.2.0.1", id=i) / UDP(sport=i, dport=3000) /
            Raw(os.urandom(size)))


def write(name, packets):
    with PcapWriter(path(name), linktype=1) as w:
        w.write(packets)
    run(f"gwdecap -q -i {name} -o {name}.inner")


class Wire:
    """What arrives at vb, as tcpdump sees it"""

    def __init__(self, n, name="wire.pcap"):
        self.name = name
        self.log = open(path("tcpdump.err"), "w")
        # with the default length the kernel's ring would hold eight packets
        self.dump = start(["tcpdump", "-Z", "root", "-i", "vb", "-Q", "in", "--immediate-mode",
                           "-U", "-s", "9100", "-B", "16384", "-c", str(n), "-w", name,
                           "port 6081 or vlan"], stderr=self.log)
        until(lambda: "listening" in text("tcpdump.err"))

    def packets(self, seconds=15):
        try:
            self.dump.wait(seconds)
        except subprocess.TimeoutExpired:
            self.dump.send_signal(signal.SIGINT)
            self.dump.wait(5)
        return rdpcap(path(self.name))


def veth():
    run("ip link add va mtu 9000 type veth peer name vb mtu 9000 && ip link set va up && "
        "ip link set vb up")
    until(lambda: "LOWER_UP" in run("ip link show va").stdout.decode())


def same(a, b):
    return [raw(p) for p in a] == [raw(p) for p in b]


def bursts():
    write("in", [packet(i, udp(i, i * 7 % 8400), 6 if i % 5 == 0 else 4, i % 3 == 0)
                 for i in range(300)])
    run("gwinject -q -i in.inner -o back.pcap")
    wire = Wire(300)
    r = run("gwinject -i in.inner -I va")
    ok("300 in, 0 made, 300 out, 0 dropped" in r.stderr.decode() and r.returncode == 0,
       "300 packets sent", r.stderr.decode())
    got = wire.packets()
    ok(len(got) == 300 and same(got, rdpcap(path("back.pcap"))), "the same bytes as with -o",
       len(got))


def marked(args, name, packets, n, accounts):
    """Through -o and through the wire: the inner packets, which must agree"""
    write(name, packets)
    run(f"{TESTS}/h_marks -q {args} <{name}.inner >{name}.marked")
    r = run(f"gwinject -i {name}.marked -o {name}.back.pcap")
    ok(accounts in r.stderr.decode(), f"{name}: accounts with -o", r.stderr.decode())
    back = rdpcap(path(f"{name}.back.pcap"))
    wire = Wire(n)
    r = run(f"gwinject -i {name}.marked -I va")
    ok(accounts in r.stderr.decode(), f"{name}: accounts with -I", r.stderr.decode())
    got = wire.packets()
    ok(len(got) == n and same(got, back), f"{name}: the same on the wire", len(got))
    inners = []
    for p in got:
        ip = p[IP]
        if checksum(raw(ip)[:20]) or ip.len != len(p) - 14 or ip[UDP].len != ip.len - 20:
            ok(False, f"{name}: outer lengths and sum", repr(p))
        inners.append(raw(p[UDP].payload)[40:])
    return inners


def fragments():
    body = udp(9, 8400)
    inners = marked("fragment 1500", "fragments", [packet(1, body), packet(2, udp(2, 100))], 7,
                    "2 in, 5 made, 7 out, 0 dropped")
    expect = [raw(IP(raw(f))) for f in fragment(IP(raw(body)), fragsize=1480)]
    for i, e in enumerate(expect):
        ok(inners[i] == e, f"fragment {i} as scapy makes it")
    ok(inners[6] == raw(IP(inners[6])) and len(inners[6]) == 128, "a short packet stays whole")
    df = udp(3, 4000)
    df.flags = "DF"
    write("df", [packet(1, df)])
    r = run(f"{TESTS}/h_marks -q fragment 1500 <df.inner | gwinject -I va")
    ok("1 dropped (too-large 1)" in r.stderr.decode(), "a packet with DF is not fragmented",
       r.stderr.decode())


def mirrors():
    rst = IP(src="10.2.0.1", dst="10.1.0.1") / TCP(sport=23, dport=4711, seq=5, flags="R")
    inners = marked("rst 1000 2000", "reset", [packet(1, rst)], 2, "1 in, 1 made, 2 out, 0 dropped")
    ok(inners[0] == raw(rst), "the reset itself")
    m = IP(inners[1])
    expect = IP(src="10.1.0.1", dst="10.2.0.1") / TCP(sport=4711, dport=23, seq=1000, ack=2000,
                                                      flags="RA")
    expect[TCP].window = m[TCP].window
    ok(raw(m) == raw(expect), "its mirror", m.show(dump=True))


def too_large():
    write("large", [packet(1, udp(1, 100)), packet(2, udp(2, 8990)), packet(3, udp(3, 100))])
    wire = Wire(2)
    r = run("gwinject -i large.inner -I va")
    ok("2 out, 1 dropped (too-large 1)" in r.stderr.decode(),
       "longer than the interface: too-large", r.stderr.decode())
    ok([p[UDP].sport for p in wire.packets()] == [30001, 30003], "those around it are sent")


def caps(pid):
    with open(f"/proc/{pid}/status") as f:
        status = f.read()
    return (re.findall(r"^Cap(?:Prm|Eff|Inh|Amb|Bnd):\s*(\w+)", status, re.M),
            re.search(r"^Uid:\s*(\d+)", status, re.M).group(1),
            re.search(r"^NoNewPrivs:\s*(\d)", status, re.M).group(1))


class Feed:
    """A live gwinject on va that packets are written to one by one"""

    def __init__(self):
        r, w = os.pipe()
        self.err = open(path("live.err"), "w")
        decap = start(["gwdecap", "-q"], stdin=r, stdout=subprocess.PIPE)
        self.inject = start(["gwinject", "-I", "va"], stdin=decap.stdout, stderr=self.err)
        decap.stdout.close()
        os.close(r)
        self.pipe = os.fdopen(w, "wb")
        self.writer = PcapWriter(self.pipe, linktype=1, sync=True)

    def send(self, i):
        self.writer.write(packet(i, udp(i, 64)))
        self.pipe.flush()

    def end(self):
        self.pipe.close()
        return self.inject.wait(10)


def said(what, times=1):
    return until(lambda: text("live.err").count(what) >= times)


def passes(feed, i, why):
    wire = Wire(1)
    feed.send(i)
    got = wire.packets()
    ok(len(got) == 1 and got[0][UDP].sport == 30000 + i, why, text("live.err"))


def down_and_up():
    feed = Feed()
    passes(feed, 1, "live: a single packet goes at once")
    sets, uid, no_new = caps(feed.inject.pid)
    ok(uid != "0" and no_new == "1" and not int("".join(sets[:3]), 16),
       "no privilege left", (sets, uid))
    run("ip link set va down")
    ok(said("down or gone"), "interface down is said", text("live.err"))
    feed.send(2)
    run("sleep .2; ip link set va up")
    ok(said("up again"), "and up", text("live.err"))
    passes(feed, 3, "forwarding goes on")
    run("ip link del va")
    ok(said("down or gone", 2), "interface gone is said", text("live.err"))
    veth()
    ok(said("up again", 2), "a new one of that name is taken", text("live.err"))
    passes(feed, 4, "and sent on")
    run("ip link set vb down")
    ok(said("down or gone", 3), "so is a cable that is pulled", text("live.err"))
    feed.send(5)
    run("sleep .2; ip link set vb up")
    ok(said("up again", 3), "and plugged in", text("live.err"))
    ok(feed.end() == 0, "ends with 0")
    ok("5 in, 0 made, 3 out, 2 dropped (if-down 2)" in text("live.err"), "accounts",
       text("live.err"))


def tun():
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, 0x400454ca, struct.pack("16sH22x", b"ta", 0x1001))   # TUNSETIFF, no PI
    run("ip addr add 10.9.0.2/24 dev ta && ip -6 addr add fd09::2/64 dev ta nodad && "
        "ip link set ta up")
    write("tun", [packet(i, udp(i, 300), 6 if i == 2 else 4, i == 3) for i in range(4)])
    run("gwinject -q -i tun.inner -o back.pcap")
    r = run("gwinject -i tun.inner -I ta")
    ok("4 in, 0 made, 4 out" in r.stderr.decode(), "sent without Ethernet", r.stderr.decode())
    got = []

    def drain():
        try:
            p = os.read(fd, 65536)
            if IP(p).version == 6 and IPv6(p).nh != 17:
                return False
            got.append(p)
        except BlockingIOError:
            pass
        return len(got) == 4

    until(drain)
    expect = [raw(p[IPv6] if i == 2 else p[IP]) for i, p in enumerate(rdpcap(path("back.pcap")))]
    ok(got == expect, "the same IP packets", [IP(p).summary() for p in got])
    os.close(fd)


def no_buffers():
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, 0x400454ca, struct.pack("16sH22x", b"tb", 0x1001))
    run("ip addr add 10.9.0.2/24 dev tb && ip link set tb up && "
        "tc qdisc replace dev tb root tbf rate 8kbit burst 1600 limit 3000")
    write("full", [packet(i, udp(i, 300)) for i in range(200)])
    r = run("gwinject -i full.inner -I tb")
    m = re.search(r"200 in, 0 made, (\d+) out, (\d+) dropped \(no-buffers (\d+)\)",
                  r.stderr.decode())
    ok(m and 4 <= int(m[1]) < 50 and int(m[1]) + int(m[3]) == 200,
       "a queue that stays full: no-buffers, all accounted for", r.stderr.decode())
    os.close(fd)


def main():
    run("ip link set lo up")
    veth()
    bursts()
    fragments()
    mirrors()
    too_large()
    tun()
    no_buffers()
    down_and_up()
    print(f"1..{count}")
    return bad != 0


try:
    sys.exit(main())
finally:
    for c in children:
        if c.poll() is None:
            c.kill()
