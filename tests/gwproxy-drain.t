#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""gwproxy that drains behind gwtun: its connections go on, new ones are --no-proxy's or its successor's."""
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from gwtest import done, have, ok, path, write  # noqa: E402
from simlab import SERVER, simulate         # noqa: E402

# Port 82 is silent until there is a file "speak"
SILENT = SERVER.replace("cd www", """nft -f - <<.
table inet mute { chain in { type filter hook input priority 0; tcp dport 82 drop; }; }
.
rm -f speak
(until [ -e speak ]; do sleep 0.02; done; nft delete table inet mute) &
(cd www.$GWSIM_ENDPOINT; exec /usr/bin/python3 -m http.server 82 --bind :: 2>/dev/null >&2) &
cd www""")
HEAD = r"""
import glob, hashlib, os, signal, socket, subprocess, threading, time
SUM = hashlib.sha256(open(glob.glob("www.*/file")[0], "rb").read()).hexdigest()
def slurp(name):
    return open(name).read() if os.path.exists(name) else ""
def until(test, seconds=10):
    end = time.monotonic() + seconds
    while not test() and time.monotonic() < end:
        time.sleep(0.01)
    return bool(test())
def pid(name):
    return int(slurp(name))
class Load:
    '''A slow one of 20 MB'''
    def __init__(self, port=80):
        self.s = socket.create_connection(("10.0.2.20", port), 20)
        self.s.sendall(b"GET /file HTTP/1.0\r\n\r\n")
        self.got, self.pause, self.end = b"", 0.02, "going"
        self.t = threading.Thread(target=self.run)
        self.t.start()
    def run(self):
        try:
            while piece := self.s.recv(100000):
                self.got += piece
                time.sleep(self.pause)
            same = hashlib.sha256(self.got.partition(b"\r\n\r\n")[2]).hexdigest() == SUM
            self.end = "whole" if same else "cut at %d" % len(self.got)
        except OSError as e:
            self.end = type(e).__name__
        self.s.close()
    def done(self):
        self.pause = 0
        self.t.join(20)
        return self.end
def get(name, seconds=20, port=80):
    '''What became of it, and the seconds it took'''
    start = time.monotonic()
    try:
        s = socket.create_connection(("10.0.2.20", port), seconds)
        s.sendall(b"GET /%s HTTP/1.0\r\n\r\n" % name.encode())
        got = b"".join(iter(lambda: s.recv(65536), b""))
        how = "answered" if got.startswith(b"HTTP/1.0 ") else "nothing"
    except OSError as e:
        how = type(e).__name__
    return how, time.monotonic() - start
def flowing():
    load = Load()
    until(lambda: len(load.got) > 1000000)
    return load
def say(what, cond, *notes):
    print("yes: " + what if cond else "no: %s: %s" % (what, notes), flush=True)
def term():
    os.kill(pid("one.pid"), signal.SIGTERM)
def second():
    '''It is attached, and has a connection'''
    open("go", "w")
    start = time.monotonic()
    up = until(lambda: "attached to gwtun" in slurp("proxy2.log"))
    return up, time.monotonic() - start
"""
# @two waits at once, else for a file "go"
CHAIN = ("rm -f go; sh -c 'echo $$ >one.pid; exec gwproxy --log-level info --drain-timeout 30s %(proxy)s' 2>proxy.log & "
         "(until [ -e go ]; do sleep 0.02; done; echo $$ >two.pid; exec gwproxy --log-level info %(proxy)s 2>proxy2.log) & "
         "gwcap -q -I eth0 --peer auto | gwdecap -q | gwtun %(tun)s 2>tun.log | gwinject -q -I eth0")


def sim(client, proxy="", tun=""):
    """Each line of the client's that says yes or no is a test"""
    write("drain.py", HEAD + client)
    out, err = simulate("/usr/bin/python3 drain.py", CHAIN % {"proxy": proxy, "tun": tun}, server=SILENT, attached=True)
    lines = re.findall(r"^(yes|no): (.*)", out, re.M)
    for yes, what in lines:
        ok(yes == "yes", what + (proxy and ", " + proxy), err)
    ok(out.endswith("end\n"), "the client is done" + (proxy and ", " + proxy), out, err)


GOES_ON = r"""
old = flowing()
term()
until(lambda: "takes no more" in slurp("tun.log"), 2)
how, took = get("between")
say("no successor yet: a new connection passes at once", how == "answered" and took < 0.5, how, "%.2f" % took)
up, took = second()
say("a successor is attached while the one before drains", up and old.end == "going", "%.2f" % took)
how, took = get("after")
say("... and takes new connections", how == "answered" and took < 0.5, how, "%.2f" % took)
say("... which gwhealth can see", "will not see us" not in slurp("proxy2.log"))
old.t.join(20)
say("a download goes on in it to its end", old.end == "whole", old.end)
say("then it ends", until(lambda: "gwproxy: 0 open" in slurp("proxy.log"), 3))
how, took = get("later")
say("the successor goes on", how == "answered" and took < 0.5, how, "%.2f" % took)
print("end")
"""
KILLED = r"""
old = flowing()
open("go", "w")
until(lambda: "waiting for gwtun" in slurp("proxy2.log"))
say("two at once: the second one waits", "attached" not in slurp("proxy2.log"))
start = time.monotonic()
term()
up = until(lambda: "attached to gwtun" in slurp("proxy2.log"))
took = time.monotonic() - start
say("it is let in within a second of the drain's begin", up and took < 1, "%.2f" % took)
new = flowing()
os.kill(pid("one.pid"), signal.SIGKILL)
say("killed while it drains: its connection is reset", until(lambda: old.end != "going", 5) and
    old.end == "ConnectionResetError", old.end)
say("... a connection of the successor's goes on to its end", new.done() == "whole", new.end)
how, took = get("after")
say("... and it takes new ones", how == "answered" and took < 0.5, how, "%.2f" % took)
print("end")
"""
DROPPED = r"""
old = flowing()
term()
until(lambda: "takes no more" in slurp("tun.log"), 2)
how, took = get("between", 0.8)
say("--no-proxy drop: without a successor no new connection", how in ("TimeoutError", "timeout"), how)
result = []
t = threading.Thread(target=lambda: result.append(get("waits")))
t.start()
time.sleep(0.2)
up, took = second()
t.join()
say("... it is the successor's when the client asks again", result[0][0] == "answered" and result[0][1] < 4, result)
say("a download goes on to its end", old.done() == "whole", old.end)
print("end")
"""
MANY = r"""
old, stop, took, bad = Load(), [], [], []
def churn():
    while not stop:
        how, s = get("many")
        took.append(s)
        if how != "answered":
            bad.append(how)
threads = [threading.Thread(target=churn) for _ in range(6)]
for t in threads:
    t.start()
open("go", "w")
until(lambda: "waiting for gwtun" in slurp("proxy2.log"))
time.sleep(0.5)
term()
up = until(lambda: "attached to gwtun" in slurp("proxy2.log"), 3)
time.sleep(0.5)
stop.append(1)
for t in threads:
    t.join()
say("many that come meanwhile: all are answered", up and len(took) > 100 and not bad, len(took), bad)
say("... at once, or when they ask again", max(took) < 1.5, max(took))
say("a download goes on to its end", old.done() == "whole", old.end)
print("end")
"""
HELD = r"""
result = []
old = Load()
t = threading.Thread(target=lambda: result.append(get("held", port=82)))
t.start()
time.sleep(0.3)
term()
until(lambda: "takes no more" in slurp("tun.log"), 2)
time.sleep(0.6)
open("speak", "w")
t.join()
say("a SYN that was held: the client's next one passes", result[0][0] == "answered" and result[0][1] < 8, result)
say("... and the one that drains has given it up", "client-gone" in slurp("proxy.log"))
say("a download goes on to its end", old.done() == "whole", old.end)
print("end")
"""

if not have("gwtun"):
    print("1..0 # SKIP gwtun is not built")
    sys.exit(0)
for how in ("", "--http-ports none", "--no-connect-first"):
    sim(GOES_ON, how)
for how in ("", "--no-connect-first"):
    sim(KILLED, how)
    sim(MANY, how)
sim(DROPPED, "", "--no-proxy drop")
sim(HELD)
done()
