#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The whole chain with gwtun and gwproxy: a thousand slow connections, many that come and go, each
process killed and started again meanwhile; gwsim conform."""
import json
import os
import re
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gwtest                               # noqa: E402
from gwtest import SAN, SOAK, namespaces, ok, path, processes, read, until, write  # noqa: E402
from simlab import TWO                      # noqa: E402
from streamlab import ALL, Stream           # noqa: E402

SLOW = r"""
import select, socket, ssl, sys, time
import h2.connection
port, n, alpn = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
ctx = ssl.create_default_context(cafile="proxyca.crt")
ctx.set_alpn_protocols([alpn])
hello = b"GET /file HTTP/1.1\r\nHost: server\r\n\r\n"
if alpn == "h2":
    c = h2.connection.H2Connection()
    c.initiate_connection()
    c.increment_flow_control_window(1 << 30)
    c.send_headers(1, [(":method", "GET"), (":path", "/file"), (":scheme", "https"), (":authority", "server")], True)
    c.increment_flow_control_window(1 << 30, 1)
    hello = c.data_to_send()
held = []
for i in range(n):
    s = socket.socket(socket.AF_INET)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    s.settimeout(20)
    s.connect(("10.0.2.20", port))
    if port == 443:
        s = ctx.wrap_socket(s, server_hostname="server")
    s.sendall(hello)
    s.recv(100)
    held.append(s)
print("open", flush=True)
while not select.select([sys.stdin], [], [], 0.5)[0]:   # 40 bytes a second each
    for s in held:
        s.recv(20)
"""
CHURN = r"""
import multiprocessing, socket, sys
def work(n):
    for i in range(n):
        s = socket.create_connection(("10.0.2.20", int(sys.argv[1])), 10)
        s.sendall(b"GET /name HTTP/1.0\r\n\r\n")
        got = b""
        while piece := s.recv(65536):
            got += piece
        s.close()
        if b"vpce-0" not in got:
            return 0
    return n
with multiprocessing.Pool(4) as pool:
    print(sum(pool.map(work, [int(sys.argv[2]) // 4] * 4)))
"""
# One connection that goes on, and what becomes of it
OLD = r"""
import socket, time
s = socket.create_connection(("10.0.2.20", 80), 10)
s.settimeout(20)
s.sendall(b"GET /file HTTP/1.1\r\nHost: server\r\n\r\n")
n = 0
try:
    print(len(s.recv(100)), flush=True)
    while n < 67108864 and (piece := s.recv(20000)):
        n += len(piece)
        time.sleep(0.002)
    print("done" if n >= 67108864 else "ended", flush=True)
except OSError as e:
    print(type(e).__name__, flush=True)
"""


def fds(pid):
    return len(os.listdir("/proc/%d/fd" % pid))


def rss(pid):
    return int(gwtest.status_field(pid, "VmRSS").split()[0])


def pid(name):
    found = until(lambda: processes(name), 5)
    return found[0] if found else 0


def status(stage):
    """A stage's page in gwhealth's /status.json"""
    _, out, _ = gwtest.run("curl", "-sS", "-m", "5", "--unix-socket", path("admin"), "http://x/status.json")
    for st in json.loads(out or b"{}").get("stages", []):
        if st["stage"] == stage:
            return st
    return {}


def measure():
    proxy, tun, broker = pid("gwproxy"), pid("gwtun"), pid("gwtun-broker")
    return {"gwproxy": fds(proxy), "gwtun": fds(tun), "broker": fds(broker), "namespaces": namespaces(broker),
            "memory of gwproxy": rss(proxy), "memory of gwtun": rss(tun), "memory of the broker": rss(broker)}


def slow():
    n = 100 if SAN else 1000
    for port, alpn, what in ((81, "", "plain TCP"), (80, "", "HTTP/1.1"), (443, "http/1.1", "HTTP/1.1 in TLS"),
                             (443, "h2", "HTTP/2 in TLS")):
        # A process of its own: memory that was given back is used again, and would not be seen
        old = pid("gwproxy")
        os.kill(old, 9)
        until(lambda old=old: [x for x in processes("gwproxy") if x != old] and "vpce-0" in get()[1], 10)
        proxy = pid("gwproxy")
        before = rss(proxy)
        p = s.start("/usr/bin/python3", "slow.py", str(port), str(n), alpn or "none")
        up = until(lambda p=p: b"open" in p.stdout() or not p.running(), 60)
        time.sleep(1)
        each = (rss(proxy) - before) / n
        ok(up and p.running() and (SAN or each < 64), "%d slow connections, %s: %.1f KB each" % (n, what, each),
           p.stderr(), read("gwproxy.log")[-600:])
        p.p.stdin.close()
        p.wait()
    ok(until(lambda: fds(proxy) < 400, 10), "they are gone again", fds(proxy))


def churn():
    """Ten thousand, in the clear and read as HTTP; the first tenth makes what is kept for good"""
    many = 1000000 if SOAK else 2000 if SAN else 10000
    for n, what in ((many // 10, ""), (many, "many")):
        before = measure()
        for port in (80, 81):
            _, out, err = s.run("/usr/bin/python3", "churn.py", str(port), str(n // 2), seconds=3600)
            if what:
                ok(out == "%d\n" % (n // 2), "%d connections opened and closed, port %d" % (n // 2, port), out, err,
                   read("gwproxy.log")[-600:])
        time.sleep(0.5)
        after = measure()
    for k, v in before.items():
        # gwproxy keeps sockets and pipes for the next ones, as many as are wanted at once
        room = 1024 if "memory" in k else 140 if k == "gwproxy" else 0
        ok(after[k] - v <= room or SAN, "as before: %s %d, %d" % (k, v, after[k]))
    proxy = pid("gwproxy")
    os.kill(proxy, 10)
    ok(until(lambda: re.search(r"gwproxy: 0 open, \d+ opened", read("gwproxy.log"))), "no connection is left",
       read("gwproxy.log")[-500:])


def left():
    """Ended flows stay for ten seconds"""
    ok(until(lambda: status("gwtun")["counters"]["flows"] == 0, 20), "no flow is left", status("gwtun"))


def get():
    return s.run("curl", "-sS", "-m", "1", "--cacert", "proxyca.crt", "https://server/name")


def killed(name):
    """A kill while a connection is under way; a new one within a second of the successor's"""
    old = s.start("/usr/bin/python3", "old.py")
    until(lambda: old.stdout().count(b"\n"), 5)
    proc = pid(name)
    os.kill(proc, 9)
    until(lambda: [x for x in processes(name) if x != proc], 5)
    start, tries, out = time.monotonic(), [], ""
    while "vpce-0" not in out and time.monotonic() < start + 8:
        _, out, err = get()
        tries.append(err)
    took = time.monotonic() - start
    ok("vpce-0" in out and took < 1, "%s killed: a new connection after %.2f s" % (name, took), tries,
       read(name + ".log")[-800:], read("gwproxy.log")[-800:])
    if name not in ("gwtun", "gwproxy"):
        old.p.stdin.close()
        return
    old.wait(15)
    ok(old.stdout().split()[-1:] == [b"ConnectionResetError"], "... the old one is reset",
       old.stdout(), old.stderr())


def kills():
    for name in [*ALL, "gwproxy"]:
        killed(name)


def conform():
    """No proxy is attached: connections pass untouched"""
    chain = " | ".join(ALL.values()).replace("gwtun", "gwtun -q")
    rc, out, err = gwtest.run("gwsim", "conform", "--strict", "-a", chain,
                               env=dict(os.environ, GW_RUN=path("run2")))
    ok(rc == 0 and out.count(b"\nok") > 100, "gwsim conform --strict with the whole chain", err,
       [x for x in out.decode().splitlines() if x.startswith("not ok")])


for name, text in (("slow.py", SLOW), ("churn.py", CHURN), ("old.py", OLD)):
    write(name, text)
s = Stream(TWO[:1], streams=True, health=True)
ok(s.up, "the chain runs with gwproxy attached", s.sim.stderr(), read("gwproxy.log"), read("gwtun.log"))
parts = dict(slow=slow, churn=churn, conform=conform, left=left, kills=kills)
for part in sys.argv[1:] or parts:
    parts[part]()
rc = s.end()
# While there is no gwcap its port is closed
complaints = re.sub("(?m)^.*(port-unreachable: the appliance's kernel|warning: [0-9]+ violations?$).*\n?", "",
                    s.sim.stderr())
ok(rc in (0, 3, 143) and "gwsim run: warning" not in complaints, "the load balancer has no complaint", rc, complaints)
ok(until(lambda: not processes(*ALL, "gwproxy", "gwtun-broker")), "no process is left")
ok(all(x not in read(n + ".log") for n in [*ALL, "gwproxy"] for x in ("Sanitizer", "runtime error")),
   "no sanitizer speaks")
gwtest.done()
