#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""curl and a WebSocket through gwproxy with the rules of examples/ and the record of it all."""
import json
import os
import shutil
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from gwtest import done, ok, path, until  # noqa: E402
from proxylab import CLIENT4, Lab, SERVER4  # noqa: E402

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SERVER = r'''
import http.server, time
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def chunk(self, b):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(b), b))
        self.wfile.flush()
        time.sleep(0.02)
    def pieces(self, kind, *parts):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for p in parts:
            self.chunk(p)
        self.wfile.write(b"0\r\n\r\n")
    def do_GET(self):
        if self.path.startswith("/sts"):
            return self.pieces("text/xml", b"<A><User", b"Id>AIDA", b"REAL</Us", b"erId><B/></A>")
        if self.path.startswith("/page"):
            return self.pieces("text/html", b"Weakly", b"\n", b"typed, weakly  type")
        body = (self.requestline + "\n" + str(self.headers)).encode()
        body += self.rfile.read(int(self.headers.get("Content-Length", 0)))
        while self.headers.get("Transfer-Encoding") == "chunked":
            n = int(self.rfile.readline(), 16)
            body += self.rfile.read(n)
            self.rfile.readline()
            if not n:
                break
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Powered-By", "python")
        self.end_headers()
        self.wfile.write(body)
    do_POST = do_GET
    def log_message(self, *a):
        pass
class S(http.server.ThreadingHTTPServer):
    address_family = 10
S(("::", 80), H).serve_forever()
'''
WS_SERVER = r'''
import asyncio, websockets
async def echo(ws):
    async for m in ws:
        await ws.send(m)
async def main():
    async with websockets.serve(echo, "0.0.0.0", 8080):
        await asyncio.Future()
asyncio.run(main())
'''
WS_CLIENT = r'''
import asyncio, sys, websockets
async def main():
    async with websockets.connect("ws://" + sys.argv[1] + ":8080/chat", compression="deflate") as ws:
        for m in ("weakly typed", "x" * 200000 + "weakly typed", "all, all"):
            await ws.send(m)
            print((await ws.recv())[-14:])
        await ws.send([b"weakly ", b"typed"])
        print(await ws.recv())
        await ws.ping()
asyncio.run(main())
'''
MORE = r'''
set header X-Gwlb-Seen "${client} ${method} ${host}" in both
replace /pin=\d+/ "pin=****" in request body type "text/plain"
replace "/old/" "/new/" in path
replace /\ball\b/ "each" in message from client path "/chat"
'''

lab = Lab()
for port, code in ((80, SERVER), (8080, WS_SERVER)):
    lab.proc("s", "/usr/bin/python3", "-c", code)
    lab.listening("s", port)
with open(path("more.web"), "w") as f:
    f.write(MORE)
rec, argv = path("record.jsonl"), []
for name in ("headers", "visitors", "bodies"):
    shutil.copy(TOP + "/examples/" + name + ".web", path(name))     # read again as nobody
    argv += ["-f", path(name)]
px = lab.proxy(*argv, "-f", path("more.web"), "--record", rec, "--record-header", "User-Agent")


def curl(host, target, *more):
    rc, out, err = lab.run("c", "curl", "-sS", "-m", "20", "--resolve", host + ":80:" + SERVER4, "-i", *more,
                           "http://" + host + target)
    return rc, out.decode(errors="replace").replace("\r", ""), err


rc, out, err = curl("shop.example.com", "/", "-A", "Curl/ABC", "-H", "X-Gwlb-Flow-Cookie: forged")
ok("User-Agent: curl/abc\n" in out, "headers.web: lower-case User-Agent for one host", out, err, px.stderr())
ok("forged" not in out, "headers.web: what a client claims is taken away", out)
ok("X-Powered-By" not in out and "Server:" not in out, "headers.web: fields of responses are gone", out)
rc, out, err = curl("other.example.org", "/", "-A", "Curl/ABC", "-b", "session=abc; b=c")
ok("User-Agent: Curl/ABC\n" in out, "headers.web: not for another host", out, err)
ok("Cookie: session=-; b=c\n" in out, "headers.web: part of a cookie", out)
ok(out.count("X-Gwlb-Seen: %s GET other.example.org\n" % CLIENT4) == 2, "set in both, with variables", out)

rc, out, err = curl("www.example.com", "/")
ok(out.startswith("HTTP/1.1 302") and "Location: https://portal.example.com/notice\n" in out,
   "visitors.web: sent to one page", out, err)
rc, out, err = curl("www.example.com", "/", "-e", "https://portal.example.com/notice")
ok(out.startswith("HTTP/1.1 200"), "visitors.web: unless they come from there", out, err)
rc, out, err = curl("a.example.net", "/admin/x")
ok(out.startswith("HTTP/1.1 403") and out.endswith("\n\na.example.net is closed here.\n"),
   "visitors.web: answered", out, err)
rc, out, err = curl("a.example.net", "/", "-X", "TRACE")
ok(rc in (52, 56), "visitors.web: dropped", rc, out, err)

rc, out, err = curl("sts.eu-west-1.amazonaws.com", "/sts?Action=GetCallerIdentity", "--compressed")
ok(out.endswith("<A><UserId>AIDANOBODY</UserId><B/></A>"), "bodies.web: the UserId of STS, in pieces", out, err)
rc, out, err = curl("other.example.org", "/sts")
ok("AIDAREAL" in out, "bodies.web: not from elsewhere", out, err)
rc, out, err = curl("other.example.org", "/page")
ok(out.endswith("strongly\ntyped, weakly  type"), "bodies.web: words on a page, across chunks", out, err)
rc, out, err = curl("other.example.org", "/old/x?a=/old/", "-d", "a pin=1234, pin=5", "-H",
                    "Content-Type: text/plain")
ok("POST /new/x?a=/new/ " in out and out.endswith("a pin=****, pin=****"),
   "replaced in the path and in a request's body", out, err)

rc, out, err = lab.run("c", "/usr/bin/python3", "-c", WS_CLIENT, SERVER4)
ok(out.decode().split("\n") == ["strongly typed", "strongly typed", "each, each", "b'strongly typed'", ""],
   "bodies.web: messages of a WebSocket, in fragments, too", out, err, px.stderr())

with open(path("more.web"), "w") as f:
    f.write("nonsense\n")
os.kill(px.pid, signal.SIGHUP)
ok(until(lambda: "more.web:1:1: a line starts with" in px.stderr()), "a reload with errors says where", px.stderr())
rc, out, err = curl("other.example.org", "/old/x")
ok("GET /new/x " in out, "and leaves the old rules", out)
with open(path("more.web"), "w") as f:
    f.write('replace "/old/" "/newer/" in path\n')
os.kill(px.pid, signal.SIGHUP)
ok(until(lambda: "web rules: reloaded, " in px.stderr()) and "TLS rules: " not in px.stderr(), "a good one is taken", px.stderr())
rc, out, err = curl("other.example.org", "/old/x")
ok("GET /newer/x " in out, "and counts", out)

rc, _, _ = lab.run("c", "/usr/bin/python3", "-c", "import socket\n"
                   "s = socket.create_connection(('%s', 80))\ns.close()" % SERVER4)
os.kill(px.pid, signal.SIGTERM)
ok(px.wait(15) == 0, "it ends", px.stderr())
lines = [json.loads(line) for line in open(rec)]
requests = [r for r in lines if "method" in r]
ok(len(requests) == 13, "a line for each exchange", len(requests), open(rec).read())
first = requests[0]
ok(first["host"] == "shop.example.com" and first["site"] == "example.com" and first["status"] == 200 and
   first["url"] == "http://shop.example.com/" and first["request_header"] == {"User-Agent": ["curl/abc"]} and
   first["client"].startswith(CLIENT4 + ":") and first["server"] == SERVER4 + ":80" and
   first["protocol"] == "http/1.1" and first["why"] == "done", "that says what it was", first)
said = ["#%d %s > %s: ended: " % (r["connection"], r["client"], r["server"]) for r in lines]
ok(all(x in px.stderr() for x in said), "and by its number and addresses has lines in the log", said, px.stderr())
ok([r["status"] for r in requests if r["why"] == "answered"] == [302, 403], "answers of rules", requests)
ok([r["why"] for r in requests if r["method"] == "TRACE"] == ["dropped"], "a drop", requests)
ok(len(lines) == len(requests) + 1 and "method" not in lines[-1], "and one for a connection without any", lines)
done()
