#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""gwproxy behind gwtun and a load balancer of gwsim."""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gwtest                               # noqa: E402
from gwtest import have, ok                 # noqa: E402

TWO = ["vpce-00000000000000001", "vpce-00000000000000002"]
SERVER = """
mkdir -p www.$GWSIM_ENDPOINT
[ -f www.$GWSIM_ENDPOINT/file ] || head -c 20000000 /dev/urandom >www.$GWSIM_ENDPOINT/file
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
ip route add unreachable 10.0.9.0/24
ip -6 route add unreachable fd00:9::/64
cd www.$GWSIM_ENDPOINT && exec /usr/bin/python3 -m http.server 80 --bind :: 2>../web.log >&2
"""
SUMS = """
curl -4 -sS -m 20 http://server/file | sha256sum
curl -6 -sS -m 20 http://server/file | sha256sum
sha256sum <www.$(ls | sed -n 's/^www\\.//p' | head -1)/file
"""
PROBE = """
import socket
for family, addr in ((socket.AF_INET, "10.0.2.20"), (socket.AF_INET6, "fd00:0:0:2::20"),
                     (socket.AF_INET, "10.0.9.1"), (socket.AF_INET6, "fd00:9::1")):
    for port in (80, 81):
        s = socket.socket(family)
        s.settimeout(4)
        try:
            s.connect((addr, port))
            print(addr, port, "connected", flush=True)
        except OSError as e:
            print(addr, port, type(e).__name__, e.errno, flush=True)
        s.close()
"""
CHURN = """
import socket
for i in range(300):
    s = socket.create_connection(("10.0.2.20", 80), 5)
    s.sendall(b"GET /name%d HTTP/1.0\\r\\n\\r\\n" % i)
    while s.recv(65536):
        pass
    s.close()
print("churned")
"""


def sim(client, proxy="", tun="", args=(), seconds=55):
    """A client's script in a simulation; its output, and all that was logged"""
    for name in ("proxy.log", "tun.log", "again"):
        if os.path.exists(gwtest.path(name)):
            os.unlink(gwtest.path(name))
    wait = "" if proxy is None else \
        "for i in $(seq 100); do grep -q attached proxy.log && break; sleep 0.05; done\n"
    for name, text in (("client.sh", wait + client), ("server.sh", SERVER), ("probe.py", PROBE),
                       ("churn.py", CHURN)):
        with open(gwtest.path(name), "w") as f:
            f.write(text)
    start = "" if proxy is None else \
        ("until sh -c 'echo $$ >proxy.pid; exec gwproxy --log-level info %s' 2>>proxy.log; "
         "do echo again >>again; done & " % proxy)
    chain = start + ("gwcap -q -I eth0 --peer auto | gwdecap -q | gwtun %s 2>tun.log | "
                     "gwinject -q -I eth0" % tun)
    p = subprocess.run(["gwsim", "run", "-a", chain, "-s", "sh server.sh", "--server-wait", "80",
                        "--strict-judge", *args, "--", "sh", "client.sh"], cwd=gwtest.DIR,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=seconds, check=False)
    out, err = p.stdout.decode(errors="replace"), p.stderr.decode(errors="replace")
    for name in ("tun.log", "proxy.log"):
        if os.path.exists(gwtest.path(name)):
            with open(gwtest.path(name)) as f:
                err += name + ":\n" + f.read()[-3000:]
    return out, err


def same(out):
    sums = re.findall(r"^[0-9a-f]{64}", out, re.M)
    return len(sums) == 3 and len(set(sums)) == 1


if not have("gwtun"):
    print("1..0 # SKIP gwtun is not built")
    sys.exit(0)
out, err = sim(SUMS)
ok(same(out), "curl, IPv4 and IPv6: equal sums", out, err)
ok("http/1.1" in err and "at vpce-" in err, "read as HTTP, with its endpoint", err)
out, err = sim(SUMS, "--http-ports none --tls-ports none")
ok(same(out) and "plain: port" in err, "the same by splice(2)", out, err)
out, err = sim(SUMS, "--no-connect-first")
ok(same(out) and "http/1.1" in err, "--no-connect-first", out, err)
with_us, err = sim("/usr/bin/python3 probe.py")
without, _ = sim("/usr/bin/python3 probe.py", None)
ok(with_us == without and with_us.count("\n") == 8 and "server-refused" in err,
   "connect(2) to who refuses or cannot be reached: the same errors as without us", with_us, without, err)
out, err = sim("/usr/bin/python3 churn.py; kill -USR1 $(cat proxy.pid); sleep 0.3")
ok("churned" in out and "gwproxy: 0 open, 300 opened" in err, "300 connections, none is left", out, err)
out, err = sim("""
curl -sS -m 5 --limit-rate 1M -o /dev/null http://server/file 2>&1 & sleep 0.5
kill -9 $(cat proxy.pid); sleep 1; cat again
curl -sS -m 3 http://server/file | sha256sum; wait
""" + SUMS)
ok("again" in out and "curl: (56)" in out and err.count("attached to gwtun") == 2 and
   len(set(re.findall(r"^[0-9a-f]{64}", out, re.M))) == 1,
   "killed: old connections are reset, new ones work a second later", out, err)
client = """
get() { gwsim shell -e $1 client -- curl -sS -m 20 --local-port 41000 http://server/$2; }
get %s file | sha256sum >a & get %s file | sha256sum >b; wait
cat a b; sha256sum <www.%s/file; sha256sum <www.%s/file
""" % (TWO[0], TWO[1], TWO[0], TWO[1])
out, err = sim(client, args=["--endpoint", ",".join(TWO)])
s = re.findall(r"^[0-9a-f]{64}", out, re.M)
ok(len(s) == 4 and s[0] == s[2] and s[1] == s[3] and s[0] != s[1] and TWO[1] in err,
   "two endpoints, equal 5-tuples at once: each has its own data", out, err)
gwtest.done()
