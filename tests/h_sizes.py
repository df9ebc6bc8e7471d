#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""h_sizes.py server PORT: echo datagrams.  h_sizes.py client HOST PORT FIRST LAST: a datagram
for every inner packet size from FIRST to LAST bytes, each echoed back byte for byte."""
import os
import socket
import sys


def open_socket(host, port):
    family, _, _, _, addr = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    return s, addr, 20 if family == socket.AF_INET else 40


def server(port):
    s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    s.bind(("::", port))
    while True:
        data, peer = s.recvfrom(65536)
        s.sendto(data, peer)


def client(host, port, first, last):
    s, addr, overhead = open_socket(host, port)
    s.settimeout(1)
    s.connect(addr)
    missing = dict.fromkeys(range(max(first, overhead + 8), last + 1))
    noise = os.urandom(last)
    for _ in range(3):                     # UDP may lose: three tries
        todo = list(missing)
        while todo:
            batch, todo = todo[:32], todo[32:]
            for size in batch:
                s.send(noise[:size - overhead - 8])
            for _ in batch:
                try:
                    data = s.recv(65536)
                except socket.timeout:
                    break
                if data == noise[:len(data)]:
                    missing.pop(len(data) + overhead + 8, None)
        if not missing:
            break
    print(f"sizes {first} to {last} to {host}: {len(missing)} missing {list(missing)[:10]}")
    return bool(missing)


if __name__ == "__main__":
    if sys.argv[1] == "server":
        server(int(sys.argv[2]))
    sys.exit(client(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])))
