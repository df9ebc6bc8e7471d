#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""How much gwproxy holds, kernel included, of what a reader that stops has not taken.

The reader stops, at once or after 64 MB as fast as they came, until nothing moves.  Then no packet of the
server gets through any more, and the reader takes what there is: what comes beyond its own kernel's
queue was held in between, as many bytes as it goes to the reader."""
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from certs import proxy_and_server  # noqa: E402
from gwtest import DIR, Proc, done, ok, path, until  # noqa: E402
from proxylab import Lab, SERVER4  # noqa: E402

CONF = """
daemon off; worker_processes 1; pid %s/nginx.pid; error_log %s/nginx.err; user root;
events { worker_connections 100; }
http {
	access_log off; root %s/www;
	client_body_temp_path %s/tmp; proxy_temp_path %s/tmp; fastcgi_temp_path %s/tmp;
	uwsgi_temp_path %s/tmp; scgi_temp_path %s/tmp;
	server { listen 80; listen 7005; }
	server { listen 443 ssl http2; ssl_certificate %s/server.crt; ssl_certificate_key %s/server.key; }
}
""".replace("%s", DIR)
READER = r'''
import fcntl, select, socket, ssl, struct, sys, termios
server, port, how, first = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
s = socket.create_connection((server, port), 5)
if port == 443:
    c = ssl.create_default_context(cafile=sys.argv[5])
    c.set_alpn_protocols([how])
    s = c.wrap_socket(s, server_hostname="a.example.test")
    assert s.selected_alpn_protocol() == how
if how == "h2":
    def frame(kind, flags, stream, data):
        return len(data).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + data
    s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, struct.pack(">HI", 4, 0x7fffffff)) +
              frame(8, 0, 0, struct.pack(">I", 0x7fff0000)) +
              frame(1, 5, 1, b"\x82\x87\x04\x04/big\x01\x0ea.example.test"))
else:
    s.sendall(b"GET /big HTTP/1.1\r\nHost: a.example.test\r\n\r\n")
while first > 0:
    first -= len(s.recv(min(first, 65536)))
print("stopped", flush=True)
sys.stdin.readline()
s = socket.socket(fileno=s.detach())    # what comes is not decrypted any more
s.setblocking(False)
mine = struct.unpack("i", fcntl.ioctl(s, termios.FIONREAD, b"0000"))[0]
got = 0
while select.select([s], [], [], 1)[0]:
    n = len(s.recv(1 << 20))
    if not n:
        break
    got += n
print("held", got - mine, flush=True)
'''


def nft(text):
    subprocess.run(lab.argv("p", "nft", "-f", "-"), input=text.encode(), check=True)


def moved():
    """Bytes that its kernel received, of all connections"""
    rc, out, err = lab.run("p", "ss", "-tinH", "state", "established")
    return [word for word in out.decode().split() if word.startswith(("bytes_received", "bytes_acked"))]


def still():
    now = moved()
    time.sleep(0.3)
    return now and now == moved()


def held(port, how, first):
    """Return: what the reader says, and what it had to say else"""
    r = Proc(*lab.argv("c", "/usr/bin/python3", "-c", READER, SERVER4, str(port), how, str(first),
                       path("proxyca.crt")), stdin=subprocess.PIPE)
    try:
        if not until(lambda: b"stopped" in r.stdout() or not r.running(), 30) or not until(still, 20):
            return -1, r.stderr()
        nft('table inet cut {\n chain server {\n type filter hook prerouting priority raw\n iifname "s" drop\n }\n}\n')
        r.p.stdin.write(b"\n")
        r.p.stdin.flush()
        until(lambda: b"held" in r.stdout() or not r.running(), 20)
        return int((r.stdout().split() or [-1])[-1]), r.stderr()
    finally:
        r.signal(9)
        r.wait()
        nft("table inet cut\ndelete table inet cut\n")


proxy_and_server("DNS:*.example.test")
os.makedirs(path("www"))
os.makedirs(path("tmp"))
with open(path("www/big"), "wb") as big:
    big.truncate(1 << 30)
with open(path("nginx.conf"), "w") as f:
    f.write(CONF)
lab = Lab()
lab.proc("s", "nginx", "-p", DIR, "-c", path("nginx.conf"), "-e", path("nginx.err"))
lab.listening("s", 443)
px = lab.proxy("--ca-cert", path("proxyca.crt"), "--ca-key", path("proxyca.key"),
               "--upstream-ca", path("serverca.crt"))
for port, how, what in ((7005, "tcp", "plain TCP"), (80, "http/1.1", "HTTP/1.1"),
                        (443, "http/1.1", "HTTP/1.1 in TLS"), (443, "h2", "HTTP/2 in TLS")):
    for first, who in ((1, "that takes nothing"), (64 << 20, "that was quick")):
        n, said = held(port, how, first)
        ok(0 < n <= 256 << 10, "%s, a reader %s: %d KB are held" % (what, who, n >> 10), said,
           px.stderr()[-500:])
px.signal(15)
ok(px.wait() == 0, "it ends", px.stderr()[-500:])
done()
