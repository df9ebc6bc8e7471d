#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Write examples/trace.pcap: what an appliance's interface sees of a ping, a chat, a name look-up,
a web page and a telnet, each way once, in AWS's encapsulation.  usage: trace.py FILE"""
import logging
import struct
import sys

logging.getLogger("scapy").setLevel(logging.ERROR)

from scapy.all import DNS, DNSQR, DNSRR, ICMP, IP, TCP, UDP, Ether, IPv6, Raw
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest

ENDPOINT = 0x0A1B2C3D4E5F6071
LB, APPLIANCE = ("02:00:00:00:01:0a", "10.0.1.10"), ("02:00:00:00:01:14", "10.0.1.20")
CLIENT, SERVER = "10.1.0.10", "10.2.0.20"
CLIENT6, SERVER6 = "fd00:1::10", "fd00:2::20"
START_NS = 1_790_000_000_000_000_000


def geneve(inner, cookie):
    proto = 0x86DD if inner.version == 6 else 0x0800
    options = struct.pack("!HBBQHBBQHBBI", 0x108, 1, 2, ENDPOINT, 0x108, 2, 2, 0, 0x108, 3, 1, cookie)
    head = struct.pack("!BBHI", len(options) // 4, 0, proto, 0)
    return (Ether(src=LB[0], dst=APPLIANCE[0]) / IP(src=LB[1], dst=APPLIANCE[1], id=0, flags="DF") /
            UDP(sport=49152 + cookie % 16384, dport=6081, chksum=0) /
            Raw(head + options + bytes(inner)))


def ping():
    for seq in range(1, 11):
        data = Raw(bytes(range(0x10, 0x38)))
        yield IP(src=CLIENT, dst=SERVER, id=seq) / ICMP(type=8, id=7, seq=seq) / data
        yield IP(src=SERVER, dst=CLIENT, id=seq) / ICMP(type=0, id=7, seq=seq) / data


def ping6():
    for seq in range(1, 3):
        yield IPv6(src=CLIENT6, dst=SERVER6) / ICMPv6EchoRequest(id=7, seq=seq, data=b"gwtools")
        yield IPv6(src=SERVER6, dst=CLIENT6) / ICMPv6EchoReply(id=7, seq=seq, data=b"gwtools")


def chat():
    for line in ("hello", "C is weakly typed", "please drop me, I am a secret", "goodbye"):
        yield IP(src=CLIENT, dst=SERVER) / UDP(sport=40000, dport=3000) / Raw(line.encode() + b"\n")
    yield IPv6(src=CLIENT6, dst=SERVER6) / UDP(sport=40000, dport=3000) / Raw(b"weakly typed, too\n")


def lookup():
    ask = DNS(id=1, rd=1, qd=DNSQR(qname="www.example.org"))
    yield IP(src=CLIENT, dst=SERVER) / UDP(sport=40001, dport=53) / ask
    answer = DNSRR(rrname="www.example.org", rdata=SERVER, ttl=60)
    yield (IP(src=SERVER, dst=CLIENT) / UDP(sport=53, dport=40001) /
           DNS(id=1, qr=1, rd=1, ra=1, qd=ask.qd, an=answer))


def web():
    there, back = IP(src=CLIENT, dst=SERVER), IP(src=SERVER, dst=CLIENT)
    get = b"GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n"
    page = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n"
    steps = [(there, "S", b""), (back, "SA", b""), (there, "A", b""), (there, "PA", get),
             (back, "PA", page), (there, "FA", b""), (back, "FA", b""), (there, "A", b"")]
    seq = {id(there): 1000, id(back): 5000}
    for ip, flags, data in steps:
        other = back if ip is there else there
        ports = {"sport": 40002, "dport": 80} if ip is there else {"sport": 80, "dport": 40002}
        ack = seq[id(other)] if "A" in flags else 0
        yield ip / TCP(seq=seq[id(ip)], ack=ack, flags=flags, **ports) / Raw(data)
        seq[id(ip)] += len(data) + ("S" in flags) + ("F" in flags)


def telnet():
    yield IP(src=CLIENT, dst=SERVER) / TCP(sport=40003, dport=23, seq=9000, flags="S")


def main():
    frames = [bytes(geneve(p, 0x1000 * n)) for n, flow in
              enumerate((ping, ping6, chat, lookup, web, telnet), 1) for p in flow()]
    with open(sys.argv[1], "wb") as f:
        f.write(struct.pack("<IHHIIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, 1))
        for i, frame in enumerate(frames):
            ts = START_NS + i * 5_000_000
            f.write(struct.pack("<IIII", ts // 10**9, ts % 10**9, len(frame), len(frame)))
            f.write(frame)


main()
