#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""gwproxy and a gwtun that is played here: SYNs given up, sockets that do not come, how it leaves."""
import os
import resource
import signal
import socket
import struct
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
if len(sys.argv) == 1:          # in a network of its own
    os.execvp("unshare", ["unshare", "-n", sys.executable, __file__, "inside"])
from gwtest import Proc, done, ok, path, until  # noqa: E402

HELLO, ENDPOINT, GONE, WANT, SOCKETS, SYN, ANSWER, OVER, LEAVE = range(1, 10)
ACCEPT, REFUSE, UNREACHABLE, SILENT = range(1, 5)
F_HELLO, F_END, F_ANSWER = "=HHIII", "=HHIQHHHH", "=HHIQII"
F_SYN = "=HHHHQQQIHH16s16sBBBBI"
NEWEST = 2
CLIENT, MUTE = "10.9.1.1", "10.9.0.2"   # nobody answers at MUTE

subprocess.run(["sh", "-ec", "ip link set lo up; ip link add v0 type veth peer name v1\n"
                "ip link set v0 up; ip link set v1 up; ip addr add 10.9.0.1/24 dev v0\n"
                "ip neigh add 10.9.0.2 lladdr 02:00:00:00:00:01 dev v0"], check=True)


def pack(fmt, kind, *fields):
    return struct.pack(fmt, kind, struct.calcsize(fmt), *fields)


class Tun:
    def __init__(self, *before, version=1):
        at = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        at.bind(path("tun.sock"))
        os.chmod(path("tun.sock"), 0o777)       # gwproxy is nobody by then
        at.listen()
        self.px = Proc(*before, "gwproxy", "--tun", path("tun.sock"), "--log-level", "info", "--workers", "2")
        self.link = at.accept()[0]
        self.hello = struct.unpack(F_HELLO, self.link.recv(100))
        self.pair, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for s in (self.link, self.pair):
            s.settimeout(5)
        magic = 0x4b4c5857
        socket.send_fds(self.link, [pack(F_HELLO, HELLO, magic, version, 1)], [other.fileno()])
        listeners = [socket.create_server(("127.0.0.1", 0)),
                     socket.create_server(("::1", 0), family=socket.AF_INET6)]
        for s in listeners:
            s.setblocking(False)
        socket.send_fds(self.link, [pack(F_END, ENDPOINT, 2, 7, 0, 0, 0, 0)],
                        [s.fileno() for s in listeners])
        other.close()
        self.flow = 5000

    def want(self):
        """(count, family) of the next request for sockets"""
        kind, _, count, _, family = struct.unpack(F_END, self.link.recv(100))[:5]
        return (count, family) if kind == WANT else None

    def deliver(self, count, family, n):
        made = []
        for _ in range(n):
            s = socket.socket(family)
            s.setsockopt(socket.SOL_IP, 19, 1)      # IP_TRANSPARENT
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.setblocking(False)
            made.append(s)
        socket.send_fds(self.link, [pack(F_END, SOCKETS, count, 7, family, 0, 0, 0)],
                        [s.fileno() for s in made])

    def syn(self, port, server=MUTE):
        self.flow += 1
        self.pair.send(pack(F_SYN, SYN, socket.AF_INET, 1460, self.flow, 7, 0, 0, socket.htons(port),
                            socket.htons(80), socket.inet_aton(CLIENT), socket.inet_aton(server),
                            1, 64, 0, 0, 0))
        return self.flow

    def over(self, flow):
        self.pair.send(pack(F_ANSWER, OVER, 0, flow, 0, 0))

    def heard(self, sock, seconds):
        """The type of the next message; None: there is none in this time; 0: nor any more"""
        sock.settimeout(seconds)
        try:
            return struct.unpack("=H", sock.recv(100)[:2] or b"\0\0")[0]
        except TimeoutError:
            return None
        finally:
            sock.settimeout(5)

    def answer(self):
        kind, _, what, flow = struct.unpack(F_ANSWER, self.pair.recv(100))[:4]
        return (what, flow) if kind == ANSWER else None


t = Tun()
asked = sorted([t.want(), t.want()])
ok(asked == [(2, socket.AF_INET), (2, socket.AF_INET6)], "sockets are asked for beforehand", asked)

flow = t.syn(4001)
asked4 = t.want()
ok(asked4 == (2, socket.AF_INET), "none is there: more are asked for", asked4)
t.deliver(2, socket.AF_INET, 0)
got = t.answer()
ok(got == (SILENT, flow), "none to be had: the SYN that waits for one is forgotten", got, t.px.stderr())
t.deliver(2, socket.AF_INET, 2)
flow = t.syn(4002)


def connecting():
    with open("/proc/%d/net/tcp" % t.px.pid) as f:
        return sum(line.split()[3] == "02" for line in f.read().splitlines()[1:])


ok(until(lambda: connecting() == 1, 3), "the next one has its socket", t.px.stderr())
t.over(flow + 1)
t.over(flow)
ok(until(lambda: "client-gone" in t.px.stderr() and not connecting(), 3),
   "a SYN that gwtun gave up: its connection to the server ends at once", t.px.stderr())

flow = t.syn(4003)
until(connecting, 3)
t.px.signal(signal.SIGTERM)
until(lambda: "draining" in t.px.stderr(), 3)
t.px.signal(signal.SIGTERM)
got = t.answer()
ok(got == (SILENT, flow), "told to end, it gives back the SYNs", got, t.px.stderr())
ok(t.px.wait(5) == 0, "and ends", t.px.stderr())
os.unlink(path("tun.sock"))

t = Tun("prlimit", "--nofile=48:48")
t.want()
t.want()
for _ in range(48):             # more than it has room for
    t.deliver(0, socket.AF_INET6, 1)
flow = t.syn(4004)
t.want()
t.deliver(2, socket.AF_INET, 2)
got = t.answer()
ok(got == (SILENT, flow) and "gwtun is gone" not in t.px.stderr(),
   "without a descriptor left it forgets the SYN, and stays attached", got, t.px.stderr())
t.px.signal(signal.SIGTERM)
ok(t.px.wait(10) == 0, "and ends in order", t.px.stderr())
os.unlink(path("tun.sock"))

t = Tun(version=NEWEST)
ok(t.hello[3] == NEWEST, "it says which version it speaks", t.hello)
t.deliver(*t.want(), 2)
t.deliver(*t.want(), 2)
flow = t.syn(4005)
until(connecting, 3)
t.px.signal(signal.SIGTERM)
got = t.heard(t.pair, 3)
ok(got == LEAVE, "told to end it asks for no more SYNs", got, t.px.stderr())
late = t.syn(4006)
ok(until(lambda: connecting() == 2, 3), "one that was under way is served as before", t.px.stderr())
t.pair.send(pack("=HH", LEAVE))
while (got := t.heard(t.link, 0.2)) == WANT:
    pass
ok(got is None, "while one of its own has no answer it keeps its listeners", got)
t.over(flow)
t.over(late)
while (got := t.heard(t.link, 0.2)) == WANT:
    pass
ok(got == LEAVE or t.px.wait(1) == 0, "with none it leaves", got, t.px.stderr())
ok(t.px.wait(10) == 0, "and ends in order", t.px.stderr())
os.unlink(path("tun.sock"))

t = Tun(version=NEWEST)
t.deliver(*t.want(), 2)
t.deliver(*t.want(), 2)
flow = t.syn(4007)
until(connecting, 3)
t.px.signal(signal.SIGTERM)
t.heard(t.pair, 3)
while (got := t.heard(t.link, 3)) == WANT:
    pass
ok(got == LEAVE and t.px.running(), "a server that is silent, a gwtun that does not answer: neither keeps it", got)
t.link.send(pack(F_END, GONE, 0, 7, 0, 0, 0, 0))
ok(t.px.wait(5) == 0 and "endpoint-gone" in t.px.stderr(), "it still hears that the endpoint goes", t.px.stderr())
done()
