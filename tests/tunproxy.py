#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A proxy for gwtun in as few lines as possible: relays TCP, to test gwtun without gwproxy.
tunproxy.py SOCKET [hold|plain] [mute=PORT] [slow=SECONDS]"""
import errno
import os
import select
import socket
import struct
import sys
import threading
import time

HELLO, ENDPOINT, GONE, WANT, SOCKETS, SYN, ANSWER, OVER = range(1, 9)
ACCEPT, REFUSE, UNREACHABLE, SILENT = range(1, 5)
F_HELLO, F_END, F_ANSWER = "=HHIII", "=HHIQHHHH", "=HHIQII"
F_SYN = "=HHHHQQQIHH16s16sBBBBI"
MAGIC, VERSION = 0x4b4c5857, 1


def say(*words):
    print("tunproxy:", *words, file=sys.stderr, flush=True)


def pack(fmt, kind, *fields):
    return struct.pack(fmt, kind, struct.calcsize(fmt), *fields)


class Proxy:
    def __init__(self, path, hold):
        self.hold = hold
        self.link = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.link.connect(path)
        self.link.send(pack(F_HELLO, HELLO, MAGIC, VERSION, int(hold)))
        _, fds = self.recv(self.link)
        self.pair = socket.socket(fileno=fds[0])
        self.listeners = {}             # fileno: socket
        self.spare = {}                 # (endpoint, family): sockets
        self.waiting = {}               # 4-tuple: upstream socket
        self.relays = 0

    @staticmethod
    def recv(sock):
        msg, fds, _, _ = socket.recv_fds(sock, 4096, 32)
        if not msg:
            say("the other end closed")
            os._exit(0)
        return msg, fds

    def link_message(self):
        msg, fds = self.recv(self.link)
        kind, _, _, endpoint, family = struct.unpack(F_END, msg)[:5]
        if kind == ENDPOINT:
            for fd in fds:
                s = socket.socket(fileno=fd)
                s.setblocking(False)
                self.listeners[s.fileno()] = (s, endpoint)
        elif kind == SOCKETS:
            self.spare.setdefault((endpoint, family), []).extend(
                socket.socket(fileno=fd) for fd in fds)

    def socket(self, endpoint, family):
        have = self.spare.setdefault((endpoint, family), [])
        if not have:
            self.link.send(pack(F_END, WANT, 16, endpoint, family, 0, 0, 0))
            while not have:
                self.link_message()
        return have.pop()

    def syn(self):
        msg, _ = self.recv(self.pair)
        if struct.unpack("=H", msg[:2])[0] != SYN:
            return
        (_, _, family, _, flow, endpoint, _, _, cport, sport, client, server) = struct.unpack(F_SYN, msg)[:12]
        n = 4 if family == socket.AF_INET else 16
        ends = [(socket.inet_ntop(family, a[:n]), socket.ntohs(p)) for a, p in ((client, cport), (server, sport))]
        up = self.socket(endpoint, family)
        threading.Thread(target=self.connect, args=(up, ends[0], ends[1], flow, endpoint), daemon=True).start()

    def connect(self, up, client, server, flow, endpoint):
        up.setblocking(True)
        answer, code = ACCEPT, 0
        if MUTE and server[1] == MUTE:
            return
        time.sleep(SLOW)
        try:
            up.bind(client)
            up.connect(server)
        except ConnectionRefusedError:
            answer = REFUSE
        except OSError as e:
            answer, code = (SILENT, 0) if e.errno == errno.ETIMEDOUT else (UNREACHABLE, e.errno)
            say(client, server, e)
        if answer != ACCEPT:
            up.close()
        self.waiting[(endpoint, client, server)] = up if answer == ACCEPT else None
        if self.hold:
            self.pair.send(pack(F_ANSWER, ANSWER, answer, flow, code, 0))

    def accept(self, listener, endpoint):
        try:
            down, client = listener.accept()
        except BlockingIOError:
            return
        threading.Thread(target=self.relay, args=(down, endpoint, client[:2], down.getsockname()[:2]),
                         daemon=True).start()

    def relay(self, down, endpoint, client, server):
        down.setblocking(True)
        key = (endpoint, client, server)
        for _ in range(500):
            if key in self.waiting:
                break
            time.sleep(0.01)
        up = self.waiting.pop(key, None)
        if not up:                      # refused, or nobody knows it
            down.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("=ii", 1, 0))
            down.close()
            return
        self.relays += 1
        one = threading.Thread(target=self.pump, args=(down, up), daemon=True)
        one.start()
        self.pump(up, down)
        one.join()
        down.close()
        up.close()

    @staticmethod
    def pump(a, b):
        try:
            while data := a.recv(1 << 18):
                b.sendall(data)
            b.shutdown(socket.SHUT_WR)
        except OSError:                 # a RST is passed on as RST
            for s in (a, b):
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("=ii", 1, 0))
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def run(self):
        while True:
            watch = [self.link, self.pair] + [s for s, _ in self.listeners.values()]
            for s in select.select(watch, [], [])[0]:
                if s is self.link:
                    self.link_message()
                elif s is self.pair:
                    self.syn()
                else:
                    self.accept(*self.listeners[s.fileno()])


MUTE, SLOW = 0, 0.0
for word in sys.argv[2:]:
    if word.startswith("mute="):
        MUTE = int(word[5:])
    if word.startswith("slow="):
        SLOW = float(word[5:])
until = time.monotonic() + 10
while True:
    try:
        proxy = Proxy(sys.argv[1], "hold" in sys.argv[2:])
        break
    except (FileNotFoundError, ConnectionRefusedError):
        if time.monotonic() > until:
            raise
        time.sleep(0.05)
say("attached")
proxy.run()
