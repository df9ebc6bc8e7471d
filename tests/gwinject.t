#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""gwinject on files: scapy makes the packets and judges what comes back"""
import logging
import os
import random
import re
import subprocess
import sys
import tempfile

logging.getLogger("scapy.runtime").setLevel(logging.ERROR)
from scapy.all import (ICMP, IP, TCP, UDP, CookedLinux, Dot1Q, Ether, IPv6,  # noqa: E402
                       PcapWriter, Raw, checksum, raw, rdpcap, wrpcap)
from scapy.layers.inet6 import in6_chksum  # noqa: E402

count = bad = 0
TESTS = os.environ.get("GW_TESTS", os.path.join(os.getcwd(), "build/tests"))
tmp = tempfile.TemporaryDirectory(prefix="gwinject.")
AWS = bytes.fromhex("0801080000000000" "0108010200112233445566aa" "010802020000000000000007"
                    "01080301")


def ok(good, what, why=""):
    global count, bad
    count += 1
    bad += not good
    print(f"{'' if good else 'not '}ok {count} - {what}")
    if not good and why:
        print("#", str(why).replace("\n", "\n# "))


def path(name):
    return os.path.join(tmp.name, name)


def run(cmd, **kw):
    return subprocess.run(["sh", "-c", cmd], cwd=tmp.name, capture_output=True, timeout=60, **kw)


def geneve(inner, cookie, extra=b""):
    opts = AWS[8:] + cookie.to_bytes(4, "big") + extra
    proto = 0x0800 if inner[0] >> 4 == 4 else 0x86dd
    return bytes([len(opts) // 4, 0]) + proto.to_bytes(2, "big") + bytes(4) + opts


def outer(link, v, sport):
    l3 = (IP(src="10.9.0.1", dst="10.9.0.2", ttl=3, id=77, tos=0x20) if v == 4 else
          IPv6(src="fd09::1", dst="fd09::2", hlim=3, tc=0x20))
    l2 = {"ether": Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02"),
          "vlan": Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / Dot1Q(vlan=7, prio=3),
          "qinq": Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02", type=0x88a8) /
          Dot1Q(vlan=7) / Dot1Q(vlan=8),
          "cooked": CookedLinux(lladdrlen=6, src=b"\2\0\0\0\0\1"), "raw": None}[link]
    l3 = l3 / UDP(sport=sport, dport=6081, chksum=0 if v == 4 else None)
    return l2 / l3 if l2 is not None else l3


def inner(rng):
    size = rng.choice([0, 1, 2, 63, 64, 500, 1400, 8400, rng.randrange(2000)])
    l4 = rng.choice([UDP(sport=1, dport=3000), TCP(sport=2, dport=80, flags="PA"), ICMP()])
    l3 = (IPv6(src="fd00::1", dst="fd00::2") if rng.random() < .3 and not isinstance(l4, ICMP)
          else IP(src="10.1.0.1", dst="10.2.0.1", id=rng.randrange(65536)))
    return raw(l3 / l4 / Raw(rng.randbytes(size)))


def made(link, n, seed):
    rng = random.Random(seed)
    packets = []
    for i in range(n):
        body = inner(rng)
        extra = rng.choice([b"", bytes.fromhex("1234010100000001"), rng.randbytes(0)])
        g = geneve(body, 0xc0000 + i, extra)
        v = rng.choice([4, 4, 4, 6])
        packets.append((outer(link, v, 30000 + i) / Raw(g + body), g, body))
    return packets


def udp_sum_ok(ip):
    u = ip[UDP]
    if ip.version == 4:
        return u.chksum == 0
    data = bytearray(raw(u))
    data[6:8] = b"\0\0"
    return u.chksum == (in6_chksum(17, ip, bytes(data)) or 0xffff)


def returned(sent, got, link):
    """One packet that came back, or what is wrong with it"""
    packet, g, body = sent
    if link in ("ether", "vlan", "qinq"):
        if (got.src, got.dst) != (packet.dst, packet.src):
            return "MACs"
        if [(t.vlan, t.prio) for t in got.iterpayloads() if isinstance(t, Dot1Q)] != \
           [(t.vlan, t.prio) for t in packet.iterpayloads() if isinstance(t, Dot1Q)]:
            return "tags"
    kind = IP if IP in packet and packet[IP].dst == "10.9.0.2" else IPv6
    was, ip = packet[kind], got[kind]
    if (ip.src, ip.dst) != (was.dst, was.src):
        return "addresses"
    if (ip[UDP].sport, ip[UDP].dport) != (was[UDP].sport, 6081):
        return "ports"
    n = 8 + len(g) + len(body)
    if ip[UDP].len != n or not udp_sum_ok(ip):
        return "UDP length or sum"
    if raw(ip[UDP])[8:] != g + body:
        return "Geneve or inner bytes"
    if kind is IPv6:
        return None if ip.plen == n and ip.hlim == 64 else "plen, hlim"
    if (ip.len, ip.ttl, ip.id, ip.flags) != (n + 20, 64, 0, "DF"):
        return "IPv4 header"
    return None if checksum(raw(ip)[:20]) == 0 else "IPv4 sum"


def oracle(link, seed):
    sent = made(link, 150, seed)
    types = {"raw": 101, "cooked": 113}
    with PcapWriter(path("in.pcap"), linktype=types.get(link, 1)) as w:
        w.write([p for p, _, _ in sent])
    r = run("gwdecap -q -i in.pcap | gwinject -o out.pcapng")
    ok(r.returncode == 0, f"{link}: ends with 0", r.stderr.decode())
    ok("150 in, 0 made, 150 out, 0 dropped" in r.stderr.decode(), f"{link}: accounts", r.stderr)
    got = rdpcap(path("out.pcapng"))
    wrong = [w for w in (returned(s, g, link) for s, g in zip(sent, got)) if w]
    ok(len(got) == 150 and not wrong, f"{link}: all as it should be (seed {seed})", wrong[:5])
    run("gwdecap -q -i in.pcap | gwinject -o out.pcap")
    again = rdpcap(path("out.pcap"))
    ok([raw(p) for p in again] == [raw(p) for p in got], f"{link}: the same as classic pcap")


def slow_reader():
    """Fragments into a pipe that is full again and again: none twice, none lost"""
    sent = [outer("ether", 4, 1000 + i) /
            Raw(geneve(b"E", i) + raw(IP(src="10.1.0.1", dst="10.2.0.1", id=i) / UDP() /
                                      Raw(bytes(8400)))) for i in range(200)]
    wrpcap(path("many.pcap"), sent)
    run(f"gwdecap -q -i many.pcap | {TESTS}/h_marks -q fragment 576 > many.marked")
    r = run("gwinject -i many.marked -o at-once.pcap")
    accounts = "200 in, 3000 made, 3200 out, 0 dropped"
    ok(accounts in r.stderr.decode(), "3200 fragments of 200 packets", r.stderr)
    r = run("gwinject -i many.marked | (sleep .3; dd bs=5000 2>/dev/null) | gwcap -q -o slow.pcap")
    ok(accounts in r.stderr.decode(), "and into a slow pipe", r.stderr)
    ok([raw(p) for p in rdpcap(path("slow.pcap"))] ==
       [raw(p) for p in rdpcap(path("at-once.pcap"))], "the same packets")
    r = run("gwinject -i many.marked | head -c 100000 > /dev/null")
    n = [int(x) for x in re.findall(r"(\d+) (?:in|made|out|dropped|uncertain)", r.stderr.decode())]
    ok(len(n) == 5 and n[0] + n[1] == n[2] + n[3] + n[4], "a reader that leaves: accounts",
       r.stderr)


def refused():
    wrpcap(path("plain.pcap"), [IP(dst="10.0.0.1") / UDP() / Raw(b"x")] * 3)
    r = run("gwinject -i plain.pcap -o out.pcap")
    ok("3 dropped (no-encap 3)" in r.stderr.decode() and r.returncode == 0,
       "without an encapsulation: no-encap", r.stderr)
    ok(r.stderr.decode().count("warning: no-encap: packets are dropped for want of an enc") == 1,
       "which is said once", r.stderr)
    wrpcap(path("whole.pcap"), [outer("ether", 4, 1) / Raw(geneve(bytes([0x45]), 1)) /
                                IP(dst="10.0.0.1") / UDP()] * 3)
    r = run("gwinject -i whole.pcap -o out.pcap")
    ok("no-encap 3" in r.stderr.decode() and "is gwdecap missing?" in r.stderr.decode(),
       "an encapsulation that was not split off: no-encap, and what is missing", r.stderr)
    big = Raw(geneve(bytes([0x45]), 1))
    body = raw(IP(src="10.1.0.1", dst="10.2.0.1") / UDP() / Raw(bytes(8600)))
    wrpcap(path("big.pcap"), [outer("ether", 4, 1) / big / Raw(body)])
    r = run("gwdecap -q -i big.pcap | gwinject -o out.pcap")
    ok("1 in, 0 made, 1 out" in r.stderr.decode(), "longer than --mtu and unedited: goes", r.stderr)
    r = run("gwdecap -q -i big.pcap | gwinject -q --print")
    ok(r.stdout.decode() == "#1 to 10.9.0.1: UDP 10.1.0.1:53 > 10.2.0.1:53 len 8628\n", "--print",
       r.stdout)
    r = run("gwinject -I lo -o out.pcap")
    ok(r.returncode == 2, "-I and -o together are a usage error")
    r = run("gwinject -I nosuch0 </dev/null")
    ok(r.returncode == 1 and "nosuch0" in r.stderr.decode(), "no such interface", r.stderr)


def main():
    seed = int(os.environ.get("SEED", random.randrange(1 << 30)))
    for link in ("ether", "vlan", "qinq", "cooked", "raw"):
        oracle(link, seed)
    slow_reader()
    refused()
    print(f"1..{count}")
    return bad != 0


sys.exit(main())
