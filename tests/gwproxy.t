#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""gwproxy alone, behind a TPROXY rule: plain TCP keeps what makes it TCP."""
import fcntl
import hashlib
import os
import signal
import struct
import sys
import termios
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from gwtest import DIR, Proc, done, ok, path, status_field, until  # noqa: E402
from proxylab import CLIENT4, Lab, PORT, SERVER4, SERVER6, sockets  # noqa: E402

PEER = r'''
import hashlib, socket, struct, sys, time
def rst(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()
def all_of(s):
    got = b""
    while True:
        b = s.recv(65536)
        if not b:
            return got
        got += b
what = sys.argv[1]
'''
SERVER = PEER + r'''
l = socket.create_server(("::", int(sys.argv[2])), family=socket.AF_INET6, dualstack_ipv6=True)
print("ready", flush=True)
while True:
    s, peer = l.accept()
    if what == "half":
        got = all_of(s)
        s.sendall(b"got %d from %s" % (len(got), peer[0].encode()))
        s.close()
    elif what == "rst":
        s.recv(1)
        rst(s)
    elif what == "tell":
        try:
            print("end" if not s.recv(100) else "data", flush=True)
        except ConnectionResetError:
            print("reset", flush=True)
    elif what == "first":
        s.sendall(b"220 hello\r\n")
        s.sendall(b"you said " + s.recv(100))
        s.close()
    elif what == "flood":
        sent = 0
        s.settimeout(2)
        try:
            while sent < 64 << 20:
                sent += s.send(b"x" * 65536)
        except (TimeoutError, ConnectionResetError, BrokenPipeError):
            pass
        print("sent", sent, flush=True)
        s.close()
    elif what == "echo":
        while True:
            b = s.recv(65536)
            if not b:
                break
            s.sendall(b)
        s.close()
'''
CLIENT = PEER + r'''
s = socket.create_connection((sys.argv[2], int(sys.argv[3])), 5)
s.settimeout(5)
if what == "half":
    s.sendall(b"q" * 100000)
    s.shutdown(socket.SHUT_WR)
    print(all_of(s).decode())
elif what == "rst":
    s.sendall(b"x")
    try:
        print("end" if not s.recv(1) else "data")
    except ConnectionResetError:
        print("reset")
elif what == "sendrst":
    time.sleep(0.3)
    rst(s)
elif what == "first":
    print(s.recv(100).decode().strip())
    s.sendall(b"helo")
    print(all_of(s).decode())
elif what == "slow":
    s.recv(1)
    time.sleep(float(sys.argv[4]))
elif what == "churn":
    for i in range(int(sys.argv[4])):
        s = socket.create_connection((sys.argv[2], int(sys.argv[3])), 5)
        s.sendall(b"%d" % i)
        assert s.recv(100) == b"%d" % i
        s.close()
    print("churned")
'''

lab = Lab()
servers = {}


def serve(what, port):
    p = lab.proc("s", "/usr/bin/python3", "-c", SERVER, what, str(port))
    lab.listening("s", port)
    servers[what] = p
    return p


def client(what, port, *more, server=SERVER4):
    rc, out, err = lab.run("c", "/usr/bin/python3", "-c", CLIENT, what, server, str(port), *more)
    return out.decode().strip() or err


for what, port in (("half", 7001), ("rst", 7002), ("tell", 7003), ("first", 25), ("flood", 7005),
                   ("echo", 7006)):
    serve(what, port)
with open(path("file"), "wb") as f:
    f.write(os.urandom(8 << 20))
web = lab.proc("s", "/usr/bin/python3", "-m", "http.server", "-b", "::", "8000", cwd=DIR)
lab.listening("s", 8000)

px = lab.proxy()
ok(px.running(), "it runs", px.stderr())
ok(status_field(px.pid, "CapEff") == "0000000000000000" and status_field(px.pid, "CapPrm") ==
   "0000000000000000", "and keeps no capability")
base = sockets(px.pid)

sha = hashlib.sha256(open(path("file"), "rb").read()).hexdigest()
for server, family in ((SERVER4, "IPv4"), ("[%s]" % SERVER6, "IPv6")):
    rc, out, err = lab.run("c", "curl", "-sS", "-m", "20", "http://%s:8000/file" % server)
    ok(rc == 0 and hashlib.sha256(out).hexdigest() == sha, "curl, 8 MB over " + family, err,
       px.stderr())
ok("::ffff:" + CLIENT4 in web.stderr(), "the server sees the client's own address", web.stderr())

got = client("half", 7001)
ok(got == "got 100000 from ::ffff:" + CLIENT4, "an answer after the client's FIN arrives", got)
got = client("rst", 7002)
ok(got == "reset", "a server's RST arrives as RST", got)
client("sendrst", 7003)
ok(until(lambda: b"reset" in servers["tell"].stdout(), 3), "a client's RST arrives as RST",
   servers["tell"].stdout())
got = client("first", 25)
ok(got == "220 hello\nyou said helo", "a server that speaks first", got)
got = client("first", 9)
ok("refused" in got or "reset" in got.lower(), "a server that refuses", got)

slow = lab.proc("c", "/usr/bin/python3", "-c", CLIENT, "slow", SERVER4, "7005", "3")
held = []


def queue(column, *which):
    """The longest queue of sockets toward or from the sender; 0: received, 1: to be sent"""
    rc, out, err = lab.run("p", "ss", "-tnH", "state", "established", *which, "=", ":7005")
    return max([int(line.split()[column]) for line in out.decode().splitlines()] or [0])


def in_pipes():
    """Bytes in all pipes of gwproxy"""
    total = 0
    for fd in os.listdir("/proc/%d/fd" % px.pid):
        name = "/proc/%d/fd/%s" % (px.pid, fd)
        try:
            if os.readlink(name).startswith("pipe:"):
                with open(name, "rb", opener=lambda p, f: os.open(p, f | os.O_NONBLOCK)) as p:
                    total += struct.unpack("i", fcntl.ioctl(p, termios.FIONREAD, b"0000"))[0]
        except OSError:     # the end to write into, or gone
            pass
    return total // 2       # each pipe has two descriptors


def stuck():
    held.append((queue(0, "dport"), in_pipes(), queue(1, "sport")))
    return len(held) > 2 and held[-1][0] and held[-1] == held[-2]


ok(until(stuck, 3), "a slow reader: what is held stays as it is", held)
until(lambda: b"sent" in servers["flood"].stdout(), 10)
slow.wait(5)
sent = int(servers["flood"].stdout().split()[-1])
ok(sent < 12 << 20, "a slow reader stops its sender (after %d KB, kernels' buffers included)" %
   (sent >> 10))

n = "300"
got = client("churn", 7006, n)
ok(got == "churned", n + " connections, one after the other", got, px.stderr()[-2000:])
ok(until(lambda: sockets(px.pid) <= base + 80, 5),
   "no descriptor is left (%d, %d before)" % (sockets(px.pid), base))
px.signal(signal.SIGUSR1)
ok(until(lambda: "gwproxy: 0 open" in px.stderr(), 3), "SIGUSR1 shows counters",
   px.stderr()[-600:])

hold = lab.proc("c", "/usr/bin/python3", "-c", CLIENT, "slow", SERVER4, "7005", "20")
silent = [lab.proc("c", "sh", "-c", "sleep 20 | nc %s 7005" % SERVER4) for _ in range(15)]
until(lambda: px.stderr().count(":7005: plain") > 1, 5)
time.sleep(0.5)
px.signal(signal.SIGTERM)
time.sleep(0.3)
ok(px.running() and "draining: 16 connections" in px.stderr(), "SIGTERM drains", px.stderr()[-600:])
px.signal(signal.SIGTERM)
ok(px.wait(5) == 0, "a second one ends it", px.stderr()[-600:])
ok("gwproxy: 0 open" in px.stderr().splitlines()[-1], "the counters at the end know of all of them",
   px.stderr()[-600:])
done()
