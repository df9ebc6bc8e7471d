#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""gwproxy under load: HTTP/2 through it, memory of idle connections, nothing left of many."""
import os
import re
import signal
import socket
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from certs import proxy_and_server  # noqa: E402
from gwtest import DIR, SAN, SOAK, done, ok, path, status_field, until  # noqa: E402
from proxylab import Lab, SERVER4, sockets  # noqa: E402

CONF = """
daemon off; worker_processes 1; pid %s/nginx.pid; error_log %s/nginx.err; user root;
worker_rlimit_nofile 20000;
events { worker_connections 15000; }
http {
	log_format reused "$request_uri $ssl_session_reused";
	access_log off; root %s/www; keepalive_timeout 300; keepalive_requests 1000000;
	client_body_temp_path %s/tmp; proxy_temp_path %s/tmp; fastcgi_temp_path %s/tmp;
	uwsgi_temp_path %s/tmp; scgi_temp_path %s/tmp;
	server { listen 80 reuseport; listen 81; }
	server { listen 443 ssl http2; ssl_session_cache shared:s:1m;
		location = /reused { access_log %s/reused.log reused; return 200 "x"; }
		ssl_certificate %s/server.crt; ssl_certificate_key %s/server.key; }
}
""".replace("%s", DIR)
IDLE = r'''
import socket, ssl, sys, time
port, n = int(sys.argv[2]), int(sys.argv[3])
c = ssl.create_default_context(cafile=sys.argv[4])
c.set_alpn_protocols(sys.argv[5].split(","))
held = []
for i in range(n):
    s = socket.create_connection((sys.argv[1], port), 10)
    if port == 443:
        s = c.wrap_socket(s, server_hostname="a.example.test")
    if sys.argv[5] != "h2":
        s.sendall(b"GET /small HTTP/1.1\r\nHost: a.example.test\r\n\r\n")
        s.recv(4096)
    held.append(s)
print("open", flush=True)
time.sleep(600)
'''
CHURN = r'''
import socket, sys, threading
def work(n):
    for i in range(n):
        s = socket.create_connection((sys.argv[1], 81), 10)
        s.sendall(b"GET /small HTTP/1.0\r\n\r\n")
        while s.recv(65536):
            pass
        s.close()
    done.append(1)
done = []
t = [threading.Thread(target=work, args=(int(sys.argv[2]) // 8,)) for _ in range(8)]
[x.start() for x in t]
[x.join() for x in t]
print(len(done))
'''


def rss():
    return int(status_field(px.pid, "VmRSS").split()[0])


def curl(*argv):
    return lab.run("c", "curl", "-sS", "-m", "30", "--cacert", path("proxyca.crt"), "--resolve",
                   "a.example.test:443:" + SERVER4, *argv)


proxy_and_server("DNS:a.example.test")
os.mkdir(path("www"))
os.mkdir(path("tmp"))
with open(path("www/small"), "w") as f:
    f.write("small\n")
with open(path("www/big"), "wb") as f:
    f.write(os.urandom(16 << 20))
with open(path("nginx.conf"), "w") as f:
    f.write(CONF)
lab = Lab()
lab.check("c", "sysctl", "-qw", "net.ipv4.tcp_tw_reuse=1", "net.ipv4.ip_local_port_range=10000 65000")
lab.check("p", "sysctl", "-qw", "net.ipv4.tcp_tw_reuse=1")
nginx = lab.proc("s", "nginx", "-c", path("nginx.conf"))
lab.listening("s", 443)
px = lab.proxy("--ca-cert", path("proxyca.crt"), "--ca-key", path("proxyca.key"), "--upstream-ca",
               path("serverca.crt"), "--log-level", "notice", "--drain-timeout", "0")
ok(px.running(), "it runs", px.stderr())

rc, out, err = curl("--http2", "-w", "%{http_version} %{http_code}", "-o", path("got"),
                    "https://a.example.test/big")
ok(out == b"2 200" and open(path("got"), "rb").read() == open(path("www/big"), "rb").read(),
   "16 MB over HTTP/2", out, err, px.stderr()[-500:])
for _ in range(4):
    curl("https://a.example.test/reused")
until(lambda: os.path.exists(path("reused.log")) and open(path("reused.log")).read().count("/reused") == 4, 3)
log = open(path("reused.log")).read()
ok("/reused r" in log, "sessions with a server are resumed", log)
rc, out, err = lab.run("c", "h2load", "-n", "2000", "-c", "8", "-m", "16", "https://%s/small" % SERVER4)
ok(b"2000 succeeded, 0 failed" in out, "h2load: 2,000 requests over HTTP/2, none failed",
   out.decode()[-600:], err, px.stderr()[-500:])
rc, out, err = lab.run("c", "h2load", "--h1", "-n", "2000", "-c", "8", "http://%s/small" % SERVER4)
ok(b"2000 succeeded, 0 failed" in out, "and over HTTP/1.1", out.decode()[-600:], err)

before = rss()
base = sockets(px.pid)
for port, alpn, what in ((81, "", "plain TCP"), (443, "http/1.1", "TLS with HTTP/1.1"),
                         (443, "h2", "TLS with HTTP/2")):
    start = rss()
    p = lab.proc("c", "/usr/bin/python3", "-c", IDLE, SERVER4, str(port), "1000", path("proxyca.crt"),
                 alpn or "http/1.1")
    up = until(lambda: b"open" in p.stdout(), 40)
    time.sleep(0.5)
    each = (rss() - start) / 1000
    ok(up and (SAN or each < 64), "1,000 idle connections, %s: %.1f KB each" % (what, each), p.stderr(),
       px.stderr()[-500:])
    p.p.kill()
    p.wait()
    ok(until(lambda: sockets(px.pid) <= base + 140, 10), "closed again")

many = 100000 if SOAK else 10000
if SAN:
    many = 2000
lab.run("c", "/usr/bin/python3", "-c", CHURN, SERVER4, str(many // 5), seconds=300)
before = rss()
rc, out, err = lab.run("c", "/usr/bin/python3", "-c", CHURN, SERVER4, str(many), seconds=600)
ok(out == b"8\n", "%d connections opened and closed" % many, out, err[-800:], px.stderr()[-500:])
ok(until(lambda: sockets(px.pid) <= base + 140, 5), "no descriptor is left (%d, %d before)" %
   (sockets(px.pid), base))
ok(SAN or rss() - before < 1024, "and no memory (%d KB, %d before)" % (rss(), before))
px.signal(signal.SIGUSR1)
ok(until(lambda: "gwproxy: 0 open" in px.stderr(), 3), "and no connection", px.stderr()[-600:])
px.signal(signal.SIGTERM)
ok(px.wait(10) == 0, "it ends", px.stderr()[-6000:])
done()
