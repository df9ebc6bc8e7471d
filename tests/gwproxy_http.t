#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The engines of gwproxy between real peers: curl, nghttp, h2load, nginx, websockets (h_relay.c)"""
import asyncio
import hashlib
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
if not os.environ.get("GW_HTTP_NET"):       # ports of our own
    os.environ["GW_HTTP_NET"] = "1"
    os.execvp("unshare", ["unshare", "--net"] + ([] if os.getuid() == 0 else ["--user", "-r"]) +
              [sys.executable] + sys.argv)
from gwtest import DIR, SAN, TESTS, done, ok, path, until  # noqa: E402
import websockets  # noqa: E402

subprocess.run("ip link set lo up", shell=True, check=True)
BIG = os.urandom(1 << 20) * (8 if SAN else 64)
os.mkdir(path("www"))
for name, data in (("big", BIG), ("small", b"hello\n"), ("text", b"abc " * 100000)):
    with open(path("www/" + name), "wb") as f:
        f.write(data)
SUM = hashlib.sha256(BIG).hexdigest()
procs = []


def sh(command):
    r = subprocess.run(command, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return r.stdout.decode(errors="replace")


def start(*argv, **kw):
    p = subprocess.Popen(argv, **kw)
    procs.append(p)
    return p


def stop(p):
    if p.poll() is None:
        p.terminate()
    p.wait()
    return p.returncode


def listening(port):
    return until(lambda: f":{port} " in sh("ss -ltn"))


class Relay:
    port = 9100

    def __init__(self, upstream, engine, *hooks):
        Relay.port += 1
        self.port = Relay.port
        self.log = open(path(f"relay{self.port}"), "w+")
        self.p = start(TESTS + "/h_relay", str(self.port), str(upstream), engine, *hooks,
                       stdin=subprocess.PIPE, stdout=self.log, stderr=subprocess.STDOUT)
        listening(self.port)

    def end(self):
        """What it said; it has to end by itself, and in order"""
        self.p.stdin.close()
        self.status = self.p.wait(10)
        self.log.seek(0)
        return self.log.read()


def curl(port, what, *more):
    """(status, sha256 of the body)"""
    r = subprocess.run(["curl", "-s", "-m", "60", "-o", path("out"), "-w", "%{http_code}", *more,
                        f"http://127.0.0.1:{port}/{what}"], stdout=subprocess.PIPE, check=False)
    with open(path("out"), "rb") as f:
        return r.stdout.decode(), hashlib.sha256(f.read()).hexdigest()


NGINX = """
daemon off; error_log %(dir)s/nginx.err; pid %(dir)s/nginx.pid; %(user)s
events { worker_connections 512; }
http {
    access_log off; keepalive_requests 1000000; client_body_temp_path %(dir)s/t1; proxy_temp_path %(dir)s/t2; fastcgi_temp_path %(dir)s/t3;
    uwsgi_temp_path %(dir)s/t4; scgi_temp_path %(dir)s/t5; client_max_body_size 0;
    server {
        listen 127.0.0.1:9001; root %(dir)s/www; gzip on; gzip_types *;
        location /echo { proxy_pass http://127.0.0.1:9001/sink; proxy_pass_request_body on; }
        location /sink { return 200 "$http_x_seen"; }
    }
    server { listen 127.0.0.1:9002 http2; root %(dir)s/www;
        location /sink { return 200 "$http_x_seen"; } }
}
"""


def nginx():
    with open(path("nginx.conf"), "w") as f:
        f.write(NGINX % {"dir": DIR, "user": "user root;" if os.getuid() == 0 else ""})
    start("nginx", "-c", path("nginx.conf"), stderr=subprocess.DEVNULL)
    ok(listening(9001) and listening(9002), "nginx is there")


def test_h1():
    r = Relay(9001, "h1", "log")
    ok(curl(r.port, "big") == ("200", SUM), "HTTP/1.1: a large file down")
    ok(curl(r.port, "echo", "-T", path("www/big"))[0] == "200", "and up, after 100-continue")
    ok(curl(r.port, "echo", "-T", path("www/text"), "-H", "Transfer-Encoding: chunked")[0] == "200", "chunked")
    ok(curl(r.port, "big", "-r", "1000-1999")[0] == "206", "a range")
    ok(curl(r.port, "small", "-I")[0] == "200", "HEAD")
    ok(curl(r.port, "small", "-0")[0] == "200", "HTTP/1.0")
    s = sh(f"curl -s http://127.0.0.1:{r.port}/small http://127.0.0.1:{r.port}/small -w '%{{num_connects}} '")
    ok(s == "hello\n1 hello\n0 ", "kept alive", s)
    ok(curl(r.port, "text", "--compressed")[0] == "200", "gzip is left alone")
    out = r.end()
    ok(r.status == 0 and out.count(" done\n") == 9, "each exchange ended in order", out)
    r = Relay(9001, "h1", "header", "body")
    ok(curl(r.port, "big") == ("200", SUM), "HTTP/1.1, bodies through a hook")
    ok(sh(f"curl -s http://127.0.0.1:{r.port}/sink") == "up", "a header changed on its way up")
    ok("X-Seen: down" in sh(f"curl -si http://127.0.0.1:{r.port}/small"), "and down")
    r.end()
    ok(r.status == 0, "it ends in order")


def test_h2():
    r = Relay(9002, "h2", "log")
    know = "--http2-prior-knowledge"
    ok(curl(r.port, "big", know) == ("200", SUM), "HTTP/2: a large file down")
    ok(curl(r.port, "small", know, "-I")[0] == "200", "HEAD")
    n = 2000 if SAN else 20000
    out = sh(f"h2load -n {n} -c 10 -m 20 http://127.0.0.1:{r.port}/small")
    ok(f"{n} succeeded, 0 failed, 0 errored, 0 timeout" in out, "h2load: no failed request", out)
    out = r.end()
    ok(r.status == 0 and out.count(" done\n") == n + 2, "each exchange ended in order",
       [x for x in out.splitlines() if not x.endswith(" done")])
    r = Relay(9002, "h2", "header", "body")
    ok(curl(r.port, "big", know) == ("200", SUM), "HTTP/2, bodies through a hook")
    ok(sh(f"curl -s {know} http://127.0.0.1:{r.port}/sink") == "up", "a header changed on its way up")
    ok("x-seen: down" in sh(f"curl -si {know} http://127.0.0.1:{r.port}/small"), "and down")
    r.end()
    start("nghttpd", "--no-tls", "-a", "127.0.0.1", "-d", path("www"), "--trailer", "x-end: yes",
          "--echo-upload", "9003")
    listening(9003)
    r = Relay(9003, "h2")
    ok(curl(r.port, "x", know, "--data-binary", "@" + path("www/big")) == ("200", SUM),
       "a large file up, and at the same time down again")
    out = sh(f"nghttp -nv --trailer='x-up: yes' -d {path('www/text')} http://127.0.0.1:{r.port}/small")
    ok("x-end: yes" in out, "trailers", out)
    out = sh(f"nghttp -ns http://127.0.0.1:{r.port}/small http://127.0.0.1:{r.port}/big http://127.0.0.1:{r.port}/none")
    ok(out.count(" 200 ") == 2 and out.count(" 404 ") == 1, "several at once", out)
    r.end()
    ok(r.status == 0, "it ends in order")


async def echo(ws, *_):
    async for m in ws:
        await ws.send(m)


async def talk(port, **kw):
    """Are messages from 1 byte to 16 MB the same when they are back?"""
    good = True
    async with websockets.connect(f"ws://127.0.0.1:{port}/", max_size=None, **kw) as ws:
        for n in (1, 125, 126, 127, 4096, 65535, 65536, 65537, 1000000, (2 if SAN else 16) << 20):
            for m in ("x" * n, os.urandom(min(n, 1 << 16)) * -(-n // (1 << 16))):
                await ws.send(m)
                good &= await asyncio.wait_for(ws.recv(), 30) == m
        await ws.send([b"frag", b"ment", b"s"])
        good &= await ws.recv() == b"fragments"
        await (await ws.ping())
    return good


async def test_ws():
    async with websockets.serve(echo, "127.0.0.1", 9004, max_size=None):
        for hooks in (("log",), ("look",), ("look", "body")):
            r = Relay(9004, "h1", *hooks)
            for packed in (None, "deflate"):
                try:
                    good = await talk(r.port, compression=packed)
                except Exception as e:  # pylint: disable=broad-except
                    good = False
                    print("#", repr(e))
                ok(good, f"WebSocket, {packed or 'plain'}, hooks {hooks}")
            out = await asyncio.get_running_loop().run_in_executor(None, r.end)
            if "look" in hooks:
                ok("message up 1 1\nmessage down 1 1\n" in out and "message up 8" in out, "hooks see messages",
                   out[:500])
            ok(r.status == 0 and out.count(" done\n") == 2, "it ends in order", out[-500:])
        r = Relay(9004, "h1", "upper")
        async with websockets.connect(f"ws://127.0.0.1:{r.port}/") as ws:
            await ws.send("small")
            ok(await ws.recv() == "SMALL", "a message changed")
            await ws.send("y" * 100000)
            ok(await ws.recv() == "Y" * 100000, "a long one, too")
        await asyncio.get_running_loop().run_in_executor(None, r.end)


try:
    nginx()
    test_h1()
    test_h2()
    asyncio.run(test_ws())
finally:
    for proc in procs:
        stop(proc)
done()
