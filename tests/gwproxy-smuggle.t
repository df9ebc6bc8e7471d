#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Through gwproxy: messages that are odd and legal come out as they came, byte for byte; those that
two programs read in two ways are refused, with a reason, and the server hears nothing of what they
hide; a stream of HTTP/2 on which both sides speak in turn."""
from collections import Counter
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from gwtest import DIR, done, ok, path, until  # noqa: E402
from proxylab import Lab, SERVER4, SERVER6  # noqa: E402

H = b"Host: h\r\n"
OKAY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
END = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
EVIL = b"GET /EVIL HTTP/1.1\r\nHost: h\r\n\r\n"


def get(fields=b"", target=b"/", method=b"GET", version=b"HTTP/1.1", host=H):
    return method + b" " + target + b" " + version + b"\r\n" + host + fields + b"\r\n"


def post(fields, body=b"", **kw):
    return get(fields, method=b"POST", **kw) + body


def chunked(body, fields=b""):
    return post(b"Transfer-Encoding: chunked\r\n" + fields, body)


# Name, then a list of requests and their responses; "close": the server ends the connection
LEGAL = [
    ("plain", [(get(), OKAY)]),
    ("case, spaces and tabs", [(get(b"hOsT:\t h \t\r\nX-EMPTY:\r\nX:y\r\nX:  z  \r\n", host=b""), OKAY)]),
    ("every byte of a name and of a value", [(get(b"!#$%&'*+-.^_`|~09azAZ: \t!\"(),/:;<=>?@[\\]{}\x80\xff \t x\r\n"), OKAY)]),
    ("an odd method", [(get(method=b"M-SEARCH!~"), OKAY)]),
    ("an odd target", [(get(target=b"//a/../%2e%2E/;p=1?a=b&&c=%zz?\"<>\\^`{|}\xc3\xa9"), OKAY)]),
    ("no Host's value", [(get(host=b"Host:\r\n"), OKAY)]),
    ("an address and a port", [(get(host=b"Host: [fd77::1]:80\r\n"), OKAY)]),
    ("absolute-form", [(get(target=b"http://h/a?b"), OKAY)]),
    ("absolute-form without a path", [(get(target=b"HTTP://H"), OKAY)]),
    ("asterisk-form", [(get(target=b"*", method=b"OPTIONS"), OKAY)]),
    ("a body behind GET", [(get(b"Content-Length: 5\r\n") + b"hello", OKAY)]),
    ("a body behind DELETE, and an empty one", [(get(b"Content-Length: 1\r\n", method=b"DELETE") + b"x", OKAY),
                                                (post(b"Content-Length: 0\r\n"), OKAY)]),
    ("a body of binary", [(post(b"Content-Length: 512\r\n", bytes(range(256)) * 2), OKAY)]),
    ("chunks", [(chunked(b"5\r\nhello\r\n000a;x\r\n0123456789\r\nB;a=b;c=\"d;\\\"e\";f\r\n\r\n\r\n\r\n\0\0\0\0\0\r\n00\r\n\r\n"),
                 OKAY)]),
    ("trailers", [(chunked(b"1\r\na\r\n0\r\nX-Sum:  1 \r\nx-sum:\r\n\r\n", b"Trailer: X-Sum\r\nTE: trailers\r\n"),
                   b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nab\r\n0\r\nETag: \"a\"\r\n\r\n")]),
    ("chunked in capitals", [(post(b"transfer-encoding:\tCHUNKED \r\n", b"0\r\n\r\n"), OKAY)]),
    ("100-continue", [(post(b"Expect: 100-Continue\r\nContent-Length: 2\r\n", b"hi"), b"HTTP/1.1 100 C\r\nX: y\r\n\r\n" + OKAY)]),
    ("interim responses", [(get(), b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OKAY)]),
    ("pipelined", [(get(target=b"/%d" % i), OKAY) for i in range(20)]),
    ("pipelined bodies", [(chunked(b"1\r\nx\r\n0\r\n\r\n"), OKAY), (post(b"Content-Length: 3\r\n", b"abc"), OKAY),
                          (get(method=b"HEAD"), b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"), (get(), OKAY)]),
    ("HEAD with Transfer-Encoding", [(get(method=b"HEAD"), b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), (get(), OKAY)]),
    ("204, 304 and 205", [(get(), b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n"),
                          (get(), b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n"),
                          (get(), b"HTTP/1.1 205 Reset\r\nContent-Length: 0\r\n\r\n"), (get(), OKAY)]),
    ("no phrase, and an odd one", [(get(), b"HTTP/1.1 299\r\nContent-Length: 0\r\n\r\n"),
                                   (get(), b"HTTP/1.1 999  caf\xe9  \r\nContent-Length: 0\r\n\r\n")]),
    ("many cookies", [(get(b"Cookie: a=b\r\n" * 50), b"HTTP/1.1 200 OK\r\n" + b"Set-Cookie: a=b; Path=/\r\n" * 50 +
                       b"Content-Length: 0\r\n\r\n")]),
    ("a large field", [(get(b"X: " + b"x" * 40000 + b"\r\n"), OKAY)]),
    ("coded and chunked", [(get(), b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip , chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n")]),
    ("until the end", [(get(), b"HTTP/1.1 200 OK\r\n\r\nall\0there is"), "close"]),
    ("close, said by the server", [(get(), END + b"Content-Length: 1\r\n\r\nx"), "close"]),
    ("close, said by the client", [(get(b"Connection: close\r\n"), END + b"Content-Length: 1\r\n\r\nx"), "close"]),
    ("HTTP/1.0", [(get(version=b"HTTP/1.0", host=b""), b"HTTP/1.0 200 OK\r\n\r\nold"), "close"]),
    ("HTTP/1.0, kept alive", [(get(b"Connection: Keep-Alive\r\n", version=b"HTTP/1.0"),
                               b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\n1"), (get(), OKAY)]),
    ("hop-by-hop fields", [(get(b"Connection: x,,Keep-Alive\r\nKeep-Alive: timeout=5\r\nX: y\r\nProxy-Connection: z\r\n"), OKAY)]),
    ("another protocol", [(get(b"Connection: Upgrade\r\nUpgrade: mine/1\r\n"),
                           b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: mine/1\r\n\r\n\0raw"), (b"raw\r\n\0", b"\xff")]),
    ("an upgrade that is not taken", [(get(b"Connection: Upgrade\r\nUpgrade: mine/1\r\n"), OKAY), (get(), OKAY)]),
]

HIDDEN = b"0\r\n\r\n" + EVIL
CL = b"Content-Length: %d\r\n" % len(HIDDEN)
TE = b"Transfer-Encoding: chunked\r\n"

# The reason, and what a client says that wants the server to see EVIL
SMUGGLED = [
    ("length-and-encoding", post(CL + TE, HIDDEN)),
    ("length-and-encoding", post(TE + CL, HIDDEN)),
    ("length-and-encoding", post(b"Content-Length: 0\r\n" + TE, HIDDEN)),
    ("content-length-twice", post(CL + b"Content-Length: 5\r\n", HIDDEN)),
    ("content-length-twice", post(CL + CL, HIDDEN)),
    ("content-length", post(b"Content-Length: 5, 5\r\n", HIDDEN)),
    ("content-length", post(b"Content-Length: 0,%d\r\n" % len(HIDDEN), HIDDEN)),
    ("content-length", post(b"Content-Length: +5\r\n", HIDDEN)),
    ("content-length", post(b"Content-Length: -5\r\n", HIDDEN)),
    ("content-length", post(b"Content-Length: 0x5\r\n", HIDDEN)),
    ("content-length", post(b"Content-Length: 05\r\n", HIDDEN)),
    ("content-length", post(b"Content-Length: 5 5\r\n", HIDDEN)),
    ("content-length", post(b"Content-Length: 5e0\r\n", HIDDEN)),
    ("content-length", post(b"Content-Length: 18446744073709551621\r\n", HIDDEN)),
    ("content-length", post(b"Content-Length:\r\n", HIDDEN)),
    ("space-before-colon", post(b"Content-Length : 5\r\n", HIDDEN)),
    ("space-before-colon", post(b"Transfer-Encoding : chunked\r\n", HIDDEN)),
    ("space-before-colon", post(CL + b"Transfer-Encoding\t: chunked\r\n", HIDDEN)),
    ("transfer-encoding", post(b"Transfer-Encoding: xchunked\r\n", HIDDEN)),
    ("transfer-encoding", post(b"Transfer-Encoding: chunked, identity\r\n", HIDDEN)),
    ("transfer-encoding", post(b"Transfer-Encoding: identity, chunked\r\n", HIDDEN)),
    ("transfer-encoding", post(b"Transfer-Encoding: chunked, chunked\r\n", HIDDEN)),
    ("transfer-encoding", post(b"Transfer-Encoding: 'chunked'\r\n", HIDDEN)),
    ("transfer-encoding", post(b"Transfer-Encoding: chunked;x=y\r\n", HIDDEN)),
    ("transfer-encoding", post(b"Transfer-Encoding:\r\n", HIDDEN)),
    ("control-byte", post(b"Transfer-Encoding: \x0bchunked\r\n", HIDDEN)),
    ("control-byte", post(b"Transfer-Encoding: chunked\0\r\n", HIDDEN)),
    ("transfer-encoding-twice", post(TE + b"Transfer-Encoding: cow\r\n", HIDDEN)),
    ("transfer-encoding-twice", post(TE + TE, HIDDEN)),
    ("transfer-encoding-in-1.0", post(TE, HIDDEN, version=b"HTTP/1.0")),
    ("folded-field", post(b"Transfer-Encoding:\r\n chunked\r\n", HIDDEN)),
    ("folded-field", post(CL + b"X: y\r\n Transfer-Encoding: chunked\r\n", HIDDEN)),
    ("folded-field", post(b" Transfer-Encoding: chunked\r\n", HIDDEN, host=b"")),
    ("bare-lf", post(CL + b"X: y\nTransfer-Encoding: chunked\r\n", HIDDEN)),
    ("bare-lf", post(CL + b"X: y\r\n\n", HIDDEN)),
    ("bare-cr", post(CL + b"X: y\rTransfer-Encoding: chunked\r\n", HIDDEN)),
    ("bare-cr", post(CL + b"X: y\r\r\n", HIDDEN)),
    ("field-name", post(CL + b"\xc2\xa0Transfer-Encoding: chunked\r\n", HIDDEN)),
    ("field-name", post(CL + b"Transfer-Encoding\r\n: chunked\r\n", HIDDEN)),
    ("lookalike-field", post(CL + b"Transfer_Encoding: chunked\r\n", HIDDEN)),
    ("connection-names-framing", post(b"Connection: Content-Length\r\n" + CL, HIDDEN)),
    ("connection-names-framing", post(b"Connection: close, transfer-encoding\r\n" + TE, HIDDEN)),
    ("host-missing", get(host=b"")),
    ("host-twice", get(b"Host: EVIL\r\n")),
    ("host", get(host=b"Host: h@EVIL\r\n")),
    ("host", get(host=b"Host: h, EVIL\r\n")),
    ("host", get(host=b"Host: h/EVIL\r\n")),
    ("host-mismatch", get(target=b"http://EVIL/")),
    ("target", get(target=b"http://h@EVIL/")),
    ("target", get(target=b"EVIL")),
    ("target", get(target=b"ftp://h/EVIL")),
    ("target", get(target=b"/#EVIL")),
    ("method", get(method=b"head")),
    ("bare-cr", b"GET\r/EVIL HTTP/1.1\r\n" + H + b"\r\n"),
    ("control-byte", b"GET /\xe9\x0b HTTP/1.1\r\n" + H + b"\r\n"),
    ("start-line", get(target=b"/ HTTP/1.1 EVIL")),
    ("start-line", b"GET  / HTTP/1.1\r\n" + H + b"\r\n"),
    ("version", get(version=b"HTTP/1.2")),
    ("version", b"GET /EVIL\r\n\r\n"),
    ("control-byte", b"GET\t/EVIL HTTP/1.1\r\n" + H + b"\r\n"),
    ("control-byte", b"GET /\x7f HTTP/1.1\r\n" + H + b"\r\n"),
    ("start-line", b" GET /EVIL HTTP/1.1\r\n" + H + b"\r\n"),
    ("bare-lf", b"GET /EVIL HTTP/1.1\n" + H + b"\n"),
    # within a body: the server has the head by then
    ("bare-lf", chunked(b"1\nx\r\n" + HIDDEN)),
    ("bare-lf", chunked(b"1;a\nx\r\n" + HIDDEN)),
    ("bare-lf", chunked(b"1;a=\"\n\"\r\nx\r\n" + HIDDEN)),
    ("bare-cr", chunked(b"1\rx\r\n" + HIDDEN)),
    ("chunk-extension", chunked(b"1;\r\nx\r\n" + HIDDEN)),
    ("chunk-size", chunked(b"0x1\r\nx\r\n" + HIDDEN)),
    ("chunk-size", chunked(b"+1\r\nx\r\n" + HIDDEN)),
    ("chunk-size", chunked(b"-1\r\nx\r\n" + HIDDEN)),
    ("chunk-size", chunked(b" 1\r\nx\r\n" + HIDDEN)),
    ("chunk-size", chunked(b"1 \r\nx\r\n" + HIDDEN)),
    ("chunk-size", chunked(b"1 ;a\r\nx\r\n" + HIDDEN)),
    ("chunk-size", chunked(b"10000000000000001\r\nx\r\n" + HIDDEN)),
    ("chunk-size", chunked(b"\r\n" + HIDDEN)),
    ("chunk-end", chunked(b"1\r\nxx\r\n" + HIDDEN)),
    ("chunk-end", chunked(b"1\r\nx\n" + HIDDEN)),
    ("bare-lf", chunked(b"0\r\n\n" + EVIL)),
    ("trailer", chunked(b"0\r\nContent-Length: 9\r\n\r\n" + EVIL)),
    ("trailer", chunked(b"0\r\nHost: EVIL\r\n\r\n" + EVIL)),
    ("folded-field", chunked(b"0\r\nX: y\r\n EVIL\r\n\r\n")),
    ("too-many-fields", get(b"X: y\r\n" * 300)),
    ("head-too-large", get(b"X: " + b"y" * 70000 + b"\r\n")),
]

# What a server says that a client must not see as it is
BAD_RESPONSES = [
    ("length-and-encoding", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("content-length-twice", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"),
    ("content-length", b"HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\nx"),
    ("bare-cr", b"HTTP/1.1 200 OK\r\nX: y\rSet-Cookie: EVIL\r\nContent-Length: 0\r\n\r\n"),
    ("bare-lf", b"HTTP/1.1 200 OK\r\nX: y\nSet-Cookie: EVIL\r\nContent-Length: 0\r\n\r\n"),
    ("folded-field", b"HTTP/1.1 200 OK\r\nX: y\r\n EVIL\r\nContent-Length: 0\r\n\r\n"),
    ("transfer-encoding", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nx"),
    ("upgrade-unasked", b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"),
    ("start-line", b"EVIL\r\n\r\n"),
]

SERVER = r'''
import os, socket, struct, sys, threading
cases = eval(open(sys.argv[1] + "/cases").read())
def take(c, have, n, log):
    while len(have) < n:
        b = c.recv(65536)
        if not b:
            return have, False
        log.write(b)
        log.flush()
        have += b
    return have, True
def talk(c, addr):
    log = open(sys.argv[1] + "/got.%d" % addr[1], "wb")
    have, more = take(c, b"", 1, log)
    case = cases[addr[1] - 20000] if 20000 <= addr[1] < 20000 + len(cases) else []
    for step in case:
        if step == "close":
            c.close()
            log.close()
            return os.rename(log.name, log.name + ".end")
        have, more = take(c, have, len(step[0]), log)
        if not more:
            break
        have = have[len(step[0]):]
        c.sendall(step[1])
    while more:
        have, more = take(c, b"", 1, log)
    c.close()
    log.close()
    os.rename(log.name, log.name + ".end")
s = socket.socket(socket.AF_INET6)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("::", 80))
s.listen(512)
while True:
    threading.Thread(target=talk, args=s.accept(), daemon=True).start()
'''

# Says what each case's client says, from a port that tells which case it is; prints what came back
CLIENT = r'''
import json, socket, sys, threading
cases = eval(open(sys.argv[1] + "/cases").read())
step, out = int(sys.argv[3]), {}
def talk(i, case):
    closes, case = "close" in case, [x for x in case if x != "close"]
    say = b"".join(x[0] for x in case)
    want = len(b"".join(x[1] for x in case)) if sys.argv[4] == "legal" else 1 << 30
    turns = any(b"\nUpgrade:" in x[0] or b"\nExpect:" in x[0] for x in case)
    s = socket.socket(socket.AF_INET6 if ":" in sys.argv[2] else socket.AF_INET)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    s.settimeout(20)
    got, how = b"", "open"
    try:
        s.bind(("", 20000 + i))
        s.connect((sys.argv[2], 80))
        if turns and sys.argv[4] == "legal":
            for a, b in case:
                s.sendall(a)
                have = len(got) + len(b)
                while len(got) < have:
                    got += s.recv(65536) or b"(cut)" * 99
        else:
            n = max(step, len(say) // 200)
            for k in range(0, len(say), n):
                s.sendall(say[k:k + n])
        while len(got) < want or closes:
            b = s.recv(65536)
            if not b:
                how = "end"
                break
            got += b
    except OSError as e:
        how = type(e).__name__
    s.close()
    out[i] = (got.decode("latin1"), how)
todo = list(enumerate(cases))
def run():
    while todo:
        talk(*todo.pop(0))
threads = [threading.Thread(target=run) for _ in range(8)]
for t in threads:
    t.start()
for t in threads:
    t.join()
print(json.dumps(out))
'''

lab = Lab()
rec = path("record.jsonl")
for f, text in (("server.py", SERVER), ("client.py", CLIENT)):
    with open(path(f), "w") as out:
        out.write(text)


def play(where, cases, kind, step=1 << 20, to=SERVER4):
    """What each case's client and server got"""
    with open(path("cases"), "w") as f:
        f.write(repr(cases))
    server = lab.proc("s", "/usr/bin/python3", path("server.py"), DIR)
    lab.listening("s", 80)
    rc, out, err = lab.run(where, "/usr/bin/python3", path("client.py"), DIR, to, str(step), kind)
    if rc:
        print("#", err)
    until(lambda: not [f for f in os.listdir(DIR) if f.startswith("got.") and not f.endswith(".end")], 5)
    server.signal(9)
    server.wait()
    heard = {}
    for f in os.listdir(DIR):
        if f.startswith("got."):
            with open(path(f), "rb") as g:
                heard[int(f.split(".")[1]) - 20000] = g.read()
            os.remove(path(f))
    return {int(k): v for k, v in json.loads(out or b"{}").items()}, heard


px = lab.proxy("--record", rec, "--sniff-timeout", "300ms", "-e", 'respond 403 "no" path "/closed"')
cases = [c for _, c in LEGAL]
direct, direct_heard = play("p", cases, "legal")
for to, step, how in ((SERVER4, 1 << 20, "at once"), (SERVER4, 7, "in pieces"), (SERVER6, 1 << 20, "IPv6")):
    via, via_heard = play("c", cases, "legal", step, to)
    for i, (name, case) in enumerate(LEGAL):
        want = b"".join(x[0] for x in case if x != "close")
        ok(direct.get(i) == via.get(i) and direct_heard.get(i) == via_heard.get(i) == want,
           "the same bytes with and without: %s, %s" % (name, how), direct.get(i), via.get(i),
           direct_heard.get(i), via_heard.get(i), px.stderr()[-500:])


def refused():
    with open(rec) as f:
        return Counter(w for w in (json.loads(line)["why"] for line in f) if w.startswith("refused: "))


for step in (1 << 20, 5):
    answers, heard = play("c", [[(raw, OKAY)] for _, raw in SMUGGLED], "smuggled", step)
    for i, (reason, raw) in enumerate(SMUGGLED):
        got, how = answers.get(i, ("", "?"))
        status = 431 if reason in ("too-many-fields", "head-too-large") else 400
        body = reason.startswith(("chunk", "trailer")) or b"Transfer-Encoding: chunked\r\n\r\n" in raw[:80]
        ok(got.startswith("HTTP/1.1 %d " % status) and got.endswith("\r\n\r\nrefused: %s\n" % reason) and how == "end" and
           b"EVIL" not in heard.get(i, b"") and (body or not heard.get(i)),
           "refused: %s, %s" % (reason, raw[:70]), got, how, heard.get(i))
want = Counter(2 * ["refused: " + r for r, _ in SMUGGLED])
ok(until(lambda: refused() == want), "the record has each reason", refused() - want, want - refused())

answers, heard = play("c", [[(get(), r)] for _, r in BAD_RESPONSES], "responses")
for i, (reason, raw) in enumerate(BAD_RESPONSES):
    got, how = answers.get(i, ("", "?"))
    ok(got.startswith("HTTP/1.1 502 ") and got.endswith("\r\n\r\nrefused: %s\n" % reason) and "EVIL" not in got and
       how == "end", "a server's: %s, %s" % (reason, raw[:70]), got, how)

LATE = r'''
import socket, sys, time
s = socket.create_connection((sys.argv[1], 80))
s.settimeout(20)
s.sendall(b"GE")
time.sleep(1)
s.sendall(b"T /closed HTTP/1.1\r\nHost: h\r\n\r\n")
print(s.recv(1000))
'''
server = lab.proc("s", "/usr/bin/python3", path("server.py"), DIR)
lab.listening("s", 80)
rc, out, err = lab.run("c", "/usr/bin/python3", "-c", LATE, SERVER4)
ok(out.startswith(b"b'HTTP/1.1 403 "), "who says a method slowly does not get past the rules", out, err, px.stderr()[-500:])
server.signal(9)
server.wait()

H2_SERVER = r'''
import socket, sys
import h2.config, h2.connection, h2.events
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("", 80))
s.listen(5)
c, _ = s.accept()
h = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
h.initiate_connection()
c.sendall(h.data_to_send())
while True:
    data = c.recv(65536)
    if not data:
        break
    for e in h.receive_data(data):
        if isinstance(e, h2.events.RequestReceived):
            h.send_headers(e.stream_id, [(":status", "200"), ("content-type", "application/grpc")])
        elif isinstance(e, h2.events.DataReceived):
            h.acknowledge_received_data(e.flow_controlled_length, e.stream_id)
            h.send_data(e.stream_id, e.data[::-1])
        elif isinstance(e, h2.events.StreamEnded):
            h.send_headers(e.stream_id, [("grpc-status", "0")], end_stream=True)
    c.sendall(h.data_to_send())
'''
H2_CLIENT = r'''
import socket, sys
import h2.config, h2.connection, h2.events
s = socket.create_connection((sys.argv[1], 80))
s.settimeout(20)
h = h2.connection.H2Connection()
h.initiate_connection()
h.send_headers(1, [(":method", "POST"), (":scheme", "http"), (":authority", "h"), (":path", "/chat"), ("te", "trailers")])
s.sendall(h.data_to_send())
got, seen = b"", set()
def turn(until):
    global got
    while not until():
        for e in h.receive_data(s.recv(65536)):
            seen.add(type(e).__name__)
            if isinstance(e, h2.events.DataReceived):
                h.acknowledge_received_data(e.flow_controlled_length, 1)
                got += e.data
        s.sendall(h.data_to_send())
turn(lambda: "ResponseReceived" in seen)
for i in range(300):
    piece = b"%06d" % i * (1 + i % 50)
    got = b""
    h.send_data(1, piece)
    s.sendall(h.data_to_send())
    turn(lambda: len(got) == len(piece))
    if got != piece[::-1]:
        print("wrong", i, got)
h.end_stream(1)
s.sendall(h.data_to_send())
turn(lambda: "StreamEnded" in seen)
print("TrailersReceived" in seen)
'''
server = lab.proc("s", "/usr/bin/python3", "-c", H2_SERVER)
lab.listening("s", 80)
rc, out, err = lab.run("c", "/usr/bin/python3", "-c", H2_CLIENT, SERVER4)
ok(out == b"True\n", "a stream of HTTP/2, both ways in turn, head before body, trailers behind", out, err, server.stderr(),
   px.stderr()[-500:])
px.signal(15)
ok(px.wait() == 0, "gwproxy ends in order", px.stderr()[-1000:])
done()
