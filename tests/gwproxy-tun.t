#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""gwproxy behind gwtun and a load balancer of gwsim."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from gwtest import done, have, ok, write    # noqa: E402
from simlab import PROBE, TWINS, TWO, same, simulate, sums, twins  # noqa: E402

SUMS = """
curl -4 -sS -m 20 http://server/file | sha256sum
curl -6 -sS -m 20 http://server/file | sha256sum
sha256sum <www.$(ls | sed -n 's/^www\\.//p' | head -1)/file
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


def sim(client, proxy="", args=()):
    """With gwproxy in the chain, started again when it fails; None: without it"""
    start = "" if proxy is None else \
        ("until sh -c 'echo $$ >proxy.pid; exec gwproxy --log-level info %s' 2>>proxy.log; "
         "do echo again >>again; done & " % proxy)
    chain = "gwcap -q -I eth0 --peer auto | gwdecap -q | gwtun 2>tun.log | gwinject -q -I eth0"
    return simulate(client, start + chain, args=args, attached=proxy is not None)


if not have("gwtun"):
    print("1..0 # SKIP gwtun is not built")
    sys.exit(0)
write("probe.py", PROBE)
write("churn.py", CHURN)
out, err = sim(SUMS)
ok(same(out, 3), "curl, IPv4 and IPv6: equal sums", out, err)
ok("http/1.1" in err and "at vpce-" in err, "read as HTTP, with its endpoint", err)
out, err = sim(SUMS, "--http-ports none --tls-ports none")
ok(same(out, 3) and "plain: port" in err, "the same by splice(2)", out, err)
out, err = sim(SUMS, "--no-connect-first")
ok(same(out, 3) and "http/1.1" in err, "--no-connect-first", out, err)
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
   len(set(sums(out))) == 1,
   "killed: old connections are reset, new ones work a second later", out, err)
out, err = sim(TWINS, args=["--endpoint", ",".join(TWO)])
ok(twins(out) and TWO[1] in err,
   "two endpoints, equal 5-tuples at once: each has its own data", out, err)
done()
