#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""gwproxy alone, between TLS clients and servers: whom it intercepts, passes and blocks."""
import os
import re
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from certs import leaf, proxy_and_server, root  # noqa: E402
from gwtest import done, ok, path, until  # noqa: E402
from proxylab import Lab, SERVER4, SERVER6, sockets  # noqa: E402

SERVER = r'''
import socket, ssl, sys, threading
port, cert, mode = int(sys.argv[1]), sys.argv[2], sys.argv[3]
c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
c.load_cert_chain(cert)
c.set_alpn_protocols(["http/1.1", "istio-peer-exchange"])
if mode == "cert":
    c.verify_mode = ssl.CERT_REQUIRED
    c.load_verify_locations(sys.argv[4])
if mode == "tls12":
    c.maximum_version = ssl.TLSVersion.TLSv1_2
l = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
def serve(s):
    try:
        s = c.wrap_socket(s, server_side=True)
        if s.selected_alpn_protocol() == "istio-peer-exchange":
            while b := s.recv(65536):
                s.sendall(b)
                if b == b"cut":
                    socket.socket(fileno=s.detach()).close()
                    return
            s.unwrap()
            return
        got = b""
        while b"\r\n\r\n" not in got:
            b = s.recv(65536)
            if not b:
                return
            got += b
        body = ("%s %s\n" % (s.version(), s.selected_alpn_protocol())).encode()
        if b"/big" in got:
            body = b"0123456789abcdef" * 500000
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
        s.unwrap()
    except (OSError, ssl.SSLError):
        pass
    finally:
        s.close()
while True:
    s, _ = l.accept()
    threading.Thread(target=serve, args=(s,), daemon=True).start()
'''
FOO = r'''
import socket, ssl, sys
c = ssl.create_default_context(cafile=sys.argv[2])
c.set_alpn_protocols(["istio-peer-exchange"])
s = c.wrap_socket(socket.create_connection((sys.argv[1], 443), 5), server_hostname="a.example.test")
got = 0
for i in range(1, 31):      # the server echoes: more than buffers hold cannot be on its way
    s.sendall(b"x" * 100000)
    while got < i * 100000:
        got += len(s.recv(65536))
print(s.selected_alpn_protocol(), got)
'''
# How a stream ends, and whether its session may be resumed
END = r'''
import socket, ssl, sys
c = ssl.create_default_context(cafile=sys.argv[2])
c.set_alpn_protocols(["istio-peer-exchange"])
c.options &= ~0x80      # SSL_OP_IGNORE_UNEXPECTED_EOF
s = c.wrap_socket(socket.create_connection((sys.argv[1], 443), 5), suppress_ragged_eofs=False,
                  server_hostname=sys.argv[4])
s.sendall(sys.argv[3].encode())
if sys.argv[3] == "end":
    s.recv(100)
    ticket = s.session.has_ticket
    try:
        s.unwrap()
        print("whole", end=" ")
    except OSError as e:
        print(type(e).__name__, end=" ")
else:
    s.recv(100)
    ticket = s.session.has_ticket
    try:
        while s.recv(100):
            pass
        print("whole", end=" ")
    except OSError as e:
        print(type(e).__name__, end=" ")
print("ticket" if ticket else "none")
'''


proxy_and_server("DNS:*.example.test,IP:" + SERVER4)
root("otherca")
leaf("other", "otherca", "DNS:*.example.test")
leaf("user", "serverca", "DNS:user.example.test")
os.chmod(path("proxyca.key"), 0o600)

lab = Lab()
for port, cert, mode in ((443, "server", ""), (8443, "other", ""), (9443, "server", "cert"),
                         (9012, "server", "tls12")):
    lab.proc("s", "/usr/bin/python3", "-c", SERVER, str(port), path(cert + ".pem"), mode,
             path("serverca.crt"))
    lab.listening("s", port)
for port in (4430, 4431):
    lab.proc("s", "/usr/bin/python3", "-c", "import socket\nl = socket.create_server(('', %d))\n"
             "while True:\n s, _ = l.accept(); s.sendall(b'you said ' + s.recv(100)); s.close()" % port)
    lab.listening("s", port)

RULES = """# what the test asks for
pass pass.example.test *.deep.example.test
block block.example.test
pass when client-cert certpass.example.test
block when client-cert certblock.example.test
pass when unverified selfpass.example.test
block when not-tls 4431
intercept when unverified selfint.example.test
"""
with open(path("rules"), "w") as f:
    f.write(RULES)


def curl(name, *argv, port=443, ca="proxyca", server=SERVER4, secure=True):
    host = "[%s]" % server if ":" in server else server
    rc, out, err = lab.run("c", "curl", "-sSv", "-m", "10", "--http1.1", *argv, "--cacert", path(ca + ".crt"),
                           "--resolve", "%s:%d:%s" % (name, port, host),
                           *(() if "-k" in argv else ()), "https://%s:%d/" % (name, port))
    issuer = re.search(r"issuer: (.*)", err)
    return rc, out.decode(errors="replace").strip(), issuer.group(1) if issuer else "", err


def start(*argv):
    p = lab.proxy("--ca-cert", path("proxyca.crt"), "--ca-key", path("proxyca.key"),
                  "--upstream-ca", path("serverca.crt"), "--tls-rules", path("rules"), *argv)
    ok(p.running(), "it runs", p.stderr())
    return p


px = start("--keylog", path("keys"), "--record", path("record"))
base = sockets(px.pid)
rc, out, issuer, err = curl("a.example.test")
ok(rc == 0 and out == "TLSv1.3 http/1.1", "HTTPS through it", err, px.stderr())
ok("gwproxy" in issuer or "proxyca" in issuer, "the certificate is ours (%s)" % issuer)
ok("a.example.test): intercept: default" in px.stderr(), "the decision is logged", px.stderr())
rc, out, issuer, err = curl("a.example.test", server=SERVER6)
ok(rc == 0 and out == "TLSv1.3 http/1.1", "over IPv6", err, px.stderr())
rc, out, issuer, err = curl("a.example.test", "--tls-max", "1.2")
ok(rc == 0 and out == "TLSv1.3 http/1.1", "a client of TLS 1.2, a server of 1.3", err)
rc, out, issuer, err = curl("a.example.test", port=9012)
ok(rc == 0 and out == "TLSv1.2 http/1.1", "and the other way round", err)
rc, out, issuer, err = curl("pass.example.test", ca="serverca")
ok(rc == 0 and "serverca" in issuer, "pass: the client sees the server's own certificate", err)
rc, out, issuer, err = curl("x.y.deep.example.test", "-k")
ok("serverca" in issuer, "*.DOMAIN is any depth below it (%s)" % issuer, err)
rc, out, issuer, err = curl("block.example.test")
ok(rc == 35 and "access denied" in err, "block: an alert says so", err)
for host, want in (("block.example.test", "421"), ("PASS.example.test.:443", "421"), ("c.example.test", "200")):
    rc, out, issuer, err = curl("a.example.test", "-H", "Host: " + host, "-w", "%{http_code}")
    ok(rc == 0 and out.endswith(want), "a request for %s in a connection for a.example.test: %s" % (host, want),
       out, err)
ok("misdirected: %s:3" % path("rules") in px.stderr(), "which is logged", px.stderr()[-500:])
rc, out, issuer, err = curl(SERVER4, "-H", "Host: pass.example.test", "-w", "%{http_code}")
ok(rc == 0 and out.endswith("200"), "without SNI only what is blocked is refused", out, err)
rc, out, issuer, err = curl(SERVER4, "-H", "Host: block.example.test", "-w", "%{http_code}")
ok(rc == 0 and out.endswith("421"), "... but that is", out, err)
rc, out, issuer, err = curl("b.example.test", port=8443)
ok(rc == 35 and "server-certificate: self-signed" in px.stderr() or
   "server-certificate: unable" in px.stderr(), "a server that cannot be verified is refused", err,
   px.stderr()[-500:])
rc, out, issuer, err = curl("selfpass.example.test", port=8443, ca="otherca")
ok(rc == 0 and "otherca" in issuer, "or passed, when rules say so", err, px.stderr()[-500:])
ok("selfpass.example.test): pass: %s:6" % path("rules") in px.stderr(), "the log names the rule",
   px.stderr()[-500:])
rc, out, issuer, err = curl("selfint.example.test", port=8443)
said = [s for s in px.stderr().splitlines() if "selfint" in s]
ok(rc == 0 and any("server-certificate: " in s for s in said) and
   any("intercept: %s:8" % path("rules") in s for s in said), "or intercepted, and the log names it", err, said)
user = ("--cert", path("user.crt"), "--key", path("user.key"))
rc, out, issuer, err = curl("certpass.example.test", *user, port=9443, ca="serverca")
ok(rc == 0 and out == "TLSv1.3 http/1.1", "passed, when a client certificate is asked for", err,
   px.stderr()[-800:])
rc, out, issuer, err = curl("certblock.example.test", *user, port=9443)
ok(rc == 35 and "access denied" in err, "or blocked", err)
rc, out, issuer, err = curl("certnone.example.test", *user, port=9443)
ok(rc != 0, "or tried without one, if no rule is there: the server refuses", err)
rc, out, issuer, err = curl("certlate.example.test", "--no-alpn", *user, port=9443)
ok(rc != 0 and until(lambda: re.search(r"certlate.*: server-tls: .*certificate required\n"
                                       r".*certlate.*: ended: client-certificate\n", px.stderr()), 3),
   "and the log says that it was the server, and why", px.stderr()[-500:])
rc, out, issuer, err = curl(SERVER4)
ok(rc == 0 and out == "TLSv1.3 http/1.1", "no SNI: the server's names do", err, px.stderr()[-500:])
rc, out, err = lab.run("c", "/usr/bin/python3", "-c", FOO, SERVER4, path("proxyca.crt"))
ok(out == b"istio-peer-exchange 3000000\n", "a protocol of its own in ALPN is relayed as it is", out, err, px.stderr()[-500:])
for how, name, want in (("end", "a.example.test", b"whole ticket"), ("end", SERVER4, b"whole none"),
                        ("cut", "a.example.test", b"Error ticket")):
    rc, out, err = lab.run("c", "/usr/bin/python3", "-c", END, SERVER4, path("proxyca.crt"), how, name)
    ok(out.strip().endswith(want), "%s for %s: %s" % (how, name, want.decode()), out, err, px.stderr()[-500:])
slow = lab.proc("c", "nc", "-w", "8", SERVER4, "443", stdin=subprocess.PIPE)
slow.p.stdin.write(b"\x16\x03\x01")
slow.p.stdin.flush()
rc, out, err = lab.run("c", "nc", "-w", "3", SERVER4, "4430", data=b"plain")
ok(out == b"you said plain", "what is not TLS passes", out, err)
rc, out, err = lab.run("c", "nc", "-w", "3", SERVER4, "4431", data=b"plain")
ok("block: %s:7" % path("rules") in px.stderr(), "or is blocked on ports that rules name", px.stderr()[-500:])
rc, out, err = lab.run("c", "curl", "-sS", "-m", "20", "--cacert", path("proxyca.crt"), "--resolve",
                       "a.example.test:443:" + SERVER4, "https://a.example.test/big", "-o", path("big"))
ok(rc == 0 and open(path("big"), "rb").read() == b"0123456789abcdef" * 500000, "8 MB", err)

rc, out, issuer, err = curl("a.example.test", ca="serverca")
ok(rc == 60 and until(lambda: "client-refused" in px.stderr(), 3), "a client that refuses us",
   err, px.stderr()[-500:])
rc, out, issuer, err = curl("a.example.test", ca="serverca")
ok(rc == 60, "is not passed the next time")
ok(until(lambda: ":443: ended: sniff-timeout" in px.stderr(), 7),
   "a hello that does not go on is no way round the rules", px.stderr()[-500:])
keys = open(path("keys")).read()
ok(keys.count("CLIENT_TRAFFIC_SECRET_0") >= 4 and "CLIENT_RANDOM" in keys,
   "the key log has the secrets of both legs")

# the line comes when the connection has ended
until(lambda: '"why":"client-refused"' in open(path("record")).read(), 3)
record = open(path("record")).read()
ok('"why":"blocked"' in record and '"why":"client-refused"' in record,
   "what did not come so far as to be relayed is in the record, too", record[-500:])

with open(path("rules"), "a") as f:
    f.write("bloc oops\npass -bad-\n")
px.signal(signal.SIGHUP)
ok(until(lambda: "not reloaded" in px.stderr(), 3), "rules with errors are not taken", px.stderr()[-500:])
ok("%s:9:1: " % path("rules") in px.stderr() and "%s:10:6: " % path("rules") in px.stderr(),
   "all errors are shown with their places", px.stderr()[-500:])
with open(path("rules"), "w") as f:
    f.write("pass a.example.test\n")
px.signal(signal.SIGHUP)
until(lambda: "TLS rules: reloaded" in px.stderr(), 3)
rc, out, issuer, err = curl("a.example.test", ca="serverca")
ok(rc == 0 and "serverca" in issuer, "SIGHUP reloads", err)
ok(until(lambda: sockets(px.pid) <= base + 80, 5), "no descriptor is left (%d, %d before)" %
   (sockets(px.pid), base))
px.signal(signal.SIGTERM)
ok(px.wait(10) == 0, "it ends", px.stderr()[-500:])

with open(path("rules"), "w") as f:
    f.write("")
px = start("--pass-on-failure")
rc, out, issuer, err = curl("a.example.test", ca="serverca")
ok(rc == 60, "--pass-on-failure: refused once", err)
until(lambda: "passed for an hour" in px.stderr(), 3)
rc, out, issuer, err = curl("a.example.test", ca="serverca")
ok(rc == 0 and "serverca" in issuer, "and passed from then on", err, px.stderr()[-500:])
px.signal(signal.SIGTERM)
ok(px.wait(10) == 0, "it ends", px.stderr()[-500:])

for argv, what in ((("--upstream-insec",), "spelled out"), (("--ca-cert", "x"), "go together"),
                   (("--upstream-ca", "x"), "--upstream-ca goes with"), (("--keylog", "x"), "--keylog goes with"),
                   (("-l", "127.0.0.1:4002"), "of one family"), (("--no-connect-first",), "always so")):
    full = ("--ca-cert", path("proxyca.crt"), "--ca-key", path("proxyca.key")) + argv \
        if "insec" in argv[0] else argv
    r = subprocess.run(("gwproxy", "-l", "127.0.0.1:4001") + full, stderr=subprocess.PIPE, timeout=10)
    ok(r.returncode == 2 and what.encode() in r.stderr, " ".join(argv) + " is refused", r.stderr)
done()
