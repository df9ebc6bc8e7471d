#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Everybody's clients and servers through the whole chain with gwtun and gwproxy, at two endpoints of
a load balancer of gwsim: gwcap | gwdecap | gwfilter | gwtun | gwmangle | gwinject."""
import hashlib
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gwtest                               # noqa: E402
from gwtest import ok, path, processes, read, until, write  # noqa: E402
from simlab import TWO                      # noqa: E402
from streamlab import ALL, Stream           # noqa: E402

MANY = 100000 if gwtest.SOAK else 10000
TLS = {"1.2": ("--tlsv1.2", "--tls-max", "1.2"), "1.3": ("--tlsv1.3",)}


def sum_of(data):
    return hashlib.sha256(data).hexdigest()


def file_at(endpoint, name="file"):
    with open(path("at.%s/%s" % (endpoint, name)), "rb") as f:
        return f.read()


def curl(*argv, **kw):
    return s.run("curl", "-sS", "-m", "40", "--cacert", "proxyca.crt", *argv, **kw)


def whole(what, *argv, url="https://server/file"):
    """64 MB down and up"""
    rc, out, err = curl(*argv, "-o", "got", "-w", "%{http_version}", url)
    with open(path("got"), "rb") as f:
        down = sum_of(f.read())
    rc2, out2, err2 = curl(*argv, "-T", "at.%s/file" % TWO[0], url.replace("/file", "/up"))
    ok(down == SUM and out2.split() == [SUM] and out[:1] == what[5], "64 MB down and up: " + what,
       rc, out, err, down, SUM, rc2, out2, err2)


def curls():
    for http in ("1.1", "2"):
        for tls, opt in TLS.items():
            for v in "46":
                whole("HTTP/%s, TLS %s, IPv%s" % (http, tls, v), "--http" + http, "-" + v, *opt)
    for v in "46":
        whole("HTTP/1.1, no TLS, IPv" + v, "--http1.1", "-" + v, url="http://server/file")
    whole("HTTP/2, no TLS", "--http2-prior-knowledge", url="http://server:8080/file")


def odds(http):
    """Ranges, trailers, 100-continue"""
    how, name = "--http" + http, "HTTP/%s: " % http
    data = file_at(TWO[0])
    _, out, err = curl(how, "-r", "1000000-1999999", "-o", "got", "-w", "%{http_code}", "https://server/file")
    ok(out == "206" and file_at_is("got", data[1000000:2000000]), name + "a range", out, err)
    _, out, err = curl(how, "-r", "0-9,5000-5009", "-w", "%{http_code}", "-o", "got", "https://server/file")
    with open(path("got"), "rb") as f:
        got = f.read()
    ok(out == "206" and data[:10] in got and data[5000:5010] in got, name + "two ranges", out, err)
    write("part", "")
    with open(path("part"), "wb") as f:
        f.write(data[:60000000])
    _, out, err = curl(how, "-C", "-", "-o", "part", "-w", "%{http_code}", "https://server/file")
    ok(out == "206" and file_at_is("part", data), name + "going on after 60 MB", out, err)
    _, out, err = curl(how, "-D", "-", "-o", "got", "https://server:8443/trailers")
    with open(path("got"), "rb") as f:
        got = f.read()
    ok(len(got) == 200000 and "x-sum: " + sum_of(got) in out.lower().split("\r\n\r\n")[1],
       name + "trailers of haproxy's", out, err)
    if http == "1.1":
        _, out, err = curl(how, "-v", "-H", "Expect: 100-continue", "-T", "part", "https://server:8443/up")
        ok(out.split() == [SUM] and "< HTTP/1.1 100 Continue" in err, name + "100-continue", out, err)
        _, out, err = curl(how, "-v", "-H", "Expect: 100-continue", "-H", "Transfer-Encoding: chunked",
                           "-T", "part", "http://server/up")
        ok(out.split() == [SUM] and "< HTTP/1.1 100 Continue" in err, name + "100-continue, in chunks", out, err)


def file_at_is(name, data):
    with open(path(name), "rb") as f:
        return f.read() == data


def trailers():
    # curl keeps trailers to itself behind a Content-Length
    _, out, err = s.run("nghttp", "-v", "--no-dep", "https://server:9443/name", seconds=20)
    ok("vpce-0" in out and re.search(r"recv \(stream_id=\d+\) x-late: yes", out),
       "HTTP/2: trailers of nghttpd's", out, err)
    write("late.py", """
import socket, ssl
for port in (8000, 8443):
    c = socket.create_connection(("server", port), 5)
    if port == 8443:
        c = ssl.create_default_context(cafile="proxyca.crt").wrap_socket(c, server_hostname="server")
    c.sendall(b"PUT /x HTTP/1.1\\r\\nHost: server\\r\\nConnection: close\\r\\nTransfer-Encoding: chunked\\r\\n"
              b"\\r\\n3\\r\\nabc\\r\\n0\\r\\nX-Late: yes\\r\\n\\r\\n")
    print(b"".join(iter(lambda: c.recv(4096), b"")).decode().split()[-3:])
""")
    _, out, err = s.run("/usr/bin/python3", "late.py")
    ok(out.lower().count("'%s', 'x-late:', 'yes'" % sum_of(b"abc")) == 2,
       "HTTP/1.1: trailers of a request, in the clear and in TLS", out, err)


def loads():
    for port, what in (("", "nginx"), (":8443", "haproxy")):
        target = "https://server%s/%s" % (port, "name")
        n = MANY if not port else MANY // 10
        _, out, err = s.run("h2load", "-n", str(n), "-c", "16", "-m", "16", target, seconds=200)
        ok("%d succeeded, 0 failed, 0 errored" % n in out, "h2load: %d requests to %s" % (n, what), out, err)
    _, out, err = s.run("h2load", "--h1", "-n", str(MANY), "-c", "16", "https://server/name", seconds=200)
    ok("%d succeeded, 0 failed, 0 errored" % MANY in out, "h2load: and over HTTP/1.1", out, err)
    for url in ("http://server/name", "https://server/name"):
        _, out, err = s.run("wrk", "-t", "2", "-c", "32", "-d", "2s", url)
        done = re.search(r"(\d+) requests in", out)
        ok(done and int(done.group(1)) > 100 and "Non-2xx" not in out and "Socket errors" not in out,
           "wrk: %s requests, no error: %s" % (done and done.group(1), url), out, err)


WS = r"""
import asyncio, os, ssl, sys, websockets
tls = ssl.create_default_context(cafile="proxyca.crt")
async def main():
    for url in sys.argv[1:]:
        for how in (None, "deflate"):
            async with websockets.connect(url, compression=how, max_size=None, ping_interval=None,
                                          ssl=tls if url[:3] == "wss" else None) as ws:
                assert bool(ws.extensions) == bool(how), ws.extensions
                for n in (1, 2, 125, 126, 127, 65535, 65536, 1 << 20, 1 << 24):
                    data = os.urandom(n // 2) + bytes(n - n // 2)
                    await ws.send(data)
                    assert await ws.recv() == data, n
                    await ws.send("\u00e9" * (n // 2) + "x")
                    assert await ws.recv() == "\u00e9" * (n // 2) + "x", n
                await ws.send([b"a", b"bc", b"", b"d"])
                assert await ws.recv() == b"abcd"
                await (await ws.ping())
            assert ws.close_code == 1000
            print(url, how, flush=True)
asyncio.run(main())
"""


def web_sockets():
    write("ws.py", WS)
    urls = ["ws://server:8081/", "wss://server:8443/ws", "ws://[fd00:0:0:2::20]:8081/"]
    _, out, err = s.run("/usr/bin/python3", "ws.py", *urls)
    for url in urls:
        for how in ("None", "deflate"):
            ok("%s %s\n" % (url, how) in out, "WebSocket, 1 byte to 16 MB: %s, compression %s" % (url, how), out, err)


BIDI = r"""
import socket, ssl, sys
import h2.config, h2.connection, h2.events
ctx = ssl.create_default_context(cafile="proxyca.crt")
ctx.set_alpn_protocols(["h2"])
sock = ctx.wrap_socket(socket.create_connection((sys.argv[1], 9444), 10), server_hostname="server")
c = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
c.initiate_connection()
c.send_headers(1, [(":method", "POST"), (":path", "/x"), (":scheme", "https"), (":authority", "server"),
                   ("te", "trailers"), ("content-type", "application/grpc")])
got, status, ended, i = b"", None, False, 0
while not ended:
    if i <= 200 and got == b"".join(b"PING %d." % j for j in range(i)):
        if i < 200:
            c.send_data(1, b"ping %d." % i)     # only when all before has come back
        else:
            c.send_headers(1, [("x-late", "yes")], end_stream=True)
        i += 1
    sock.sendall(c.data_to_send())
    for e in c.receive_data(sock.recv(65536)):
        if isinstance(e, h2.events.DataReceived):
            got += e.data
            c.acknowledge_received_data(e.flow_controlled_length, 1)
        elif isinstance(e, h2.events.TrailersReceived):
            status = dict(e.headers)
        elif isinstance(e, h2.events.StreamEnded):
            ended = True
print(i, status)
"""


def bidirectional():
    write("bidi.py", BIDI)
    for v, addr in (("4", "10.0.2.20"), ("6", "fd00:0:0:2::20")):
        _, out, err = s.run("/usr/bin/python3", "bidi.py", addr, seconds=20)
        ok(out.startswith("201 {") and "grpc-status" in out and "x-late" in out,
           "a stream of HTTP/2 with 200 questions and answers in turn, trailers of both, IPv" + v, out, err)


def chromium():
    """A page of 100 scripts; our authority is in its NSS database"""
    db = path("home/.pki/nssdb")
    os.makedirs(db)
    gwtest.run("certutil", "-d", "sql:" + db, "-N", "--empty-password")
    gwtest.run("certutil", "-d", "sql:" + db, "-A", "-t", "C,,", "-n", "ours", "-i", path("proxyca.crt"))
    _, out, err = s.run("env", "HOME=" + path("home"), "chromium", "--headless", "--no-sandbox", "--disable-gpu",
                        "--disable-dev-shm-usage", "--disable-background-networking", "--no-first-run",
                        "--user-data-dir=" + path("home/data"), "--timeout=15000", "--dump-dom",
                        "https://server/page/index.html", seconds=40)
    ok("loaded 100" in out, "Chromium: a page of 100 objects", out[-800:], err[-2000:])
    log = read("at.%s/page.log" % TWO[0]).splitlines()
    ok(len(log) == 101 and all(x.startswith("HTTP/2.0 /page/") and x.endswith(" 200") for x in log),
       "... over HTTP/2", len(log), log[:3])


def twins():
    """The same addresses and ports at both endpoints, at once"""
    for port, url, name in (("41000", "http://server:81/file", "plain"), ("41001", "https://server/file", "TLS")):
        get = [s.start("curl", "-sS", "-m", "30", "--cacert", "proxyca.crt", "--limit-rate", "40M", "--local-port",
                       port, "-o", "twin%d" % i, url, at=TWO[i]) for i in (0, 1)]
        rc = [g.wait() for g in get]
        sums = [sum_of(open(path("twin%d" % i), "rb").read()) for i in (0, 1)]
        ok(rc == [0, 0] and sums == [SUM, sum_of(file_at(TWO[1]))] and sums[0] != sums[1],
           "two endpoints, equal 5-tuples at once: each has its own data, " + name, rc, [g.stderr() for g in get])


def end():
    rc = s.end()
    log = read("gwproxy.log")
    ok(rc in (0, 143) and "no violation" in s.sim.stderr(), "the load balancer has no complaint", rc, s.sim.stderr())
    account = gwtest.account(read("gwtun.log"))
    ok(account and account.balances(), "gwtun's account balances", read("gwtun.log"))
    ok("gwproxy: 0 open" in log and not re.search(r"error:|warning:", log), "gwproxy ends without a connection",
       log[-1500:])
    ok(all(x not in read(n + ".log") for n in [*ALL, "gwproxy"] for x in ("Sanitizer", "runtime error")),
       "no sanitizer speaks")
    record = read("record.jsonl")
    ok(sys.argv[1:] or '"h2"' in record and '"http/1.1"' in record and "TLSv1.2" in record and "TLSv1.3" in record,
       "the record has HTTP/1.1, HTTP/2, TLS 1.2 and 1.3", record[-600:])
    ok(until(lambda: not processes(*ALL, "gwproxy", "gwtun-broker")), "no process is left")


s = Stream(TWO)
ok(s.up, "the chain runs with gwproxy attached", s.sim.stderr(), read("gwproxy.log"), read("gwtun.log"))
SUM = sum_of(file_at(TWO[0]))
parts = dict(curls=curls, h1=lambda: odds("1.1"), h2=lambda: odds("2"), trailers=trailers, loads=loads,
             web_sockets=web_sockets, bidirectional=bidirectional, chromium=chromium, twins=twins)
for part in sys.argv[1:] or parts:
    parts[part]()
end()
gwtest.done()
