#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A stage on a ring is killed, and who comes in its place takes none: the others go on by stream"""
import os
import re
import signal

from gwtest import Proc, account, done, generate, ok, path, run, until

COUNT = 3000
small = generate("small.pcapng", COUNT, 200)
HELLO = b"\x01\x57\x47\x80"
OUT = path("o.pcapng")
CHAIN = [["gwcap", "-o", "ipc://a"], ["gwdecap", "-i", "ipc://a", "-o", "ipc://b"],
         ["gwfilter", "-i", "ipc://b", "-o", "ipc://c"], ["gwinject", "-i", "ipc://c", "-o", OUT]]


def recording():
    """What gwcap makes of a capture, as if it came from an interface: start lines are for live chains"""
    run("gwcap", "-q", "-i", small, "-o", path("live.pcapng"))
    with open(path("live.pcapng"), "rb") as f:
        data = bytearray(f.read())
    data[data.index(HELLO) + 10] |= 1
    return bytes(data)


LIVE = recording()


class Run:
    """The chain behind a pipe that we hold open"""

    def __init__(self):
        r, self.into = os.pipe()
        self.old = []
        self.procs = [Proc(*CHAIN[0], stdin=r)] + [Proc(*argv) for argv in CHAIN[1:]]
        os.close(r)
        self.at = 0

    def feed(self, upto):
        while self.at < upto:
            self.at += os.write(self.into, LIVE[self.at:min(upto, self.at + 65536)])

    def said(self, i, what, seconds=15):
        return until(lambda: re.search(": default: .*" + what, self.procs[i].stderr().splitlines()[-1]
                                       if self.procs[i].stderr() else ""), seconds)

    def kill(self, i):
        self.procs[i].signal(signal.SIGKILL)
        self.procs[i].wait()
        self.old.append(self.procs[i])

    def end(self):
        self.feed(len(LIVE))
        os.close(self.into)
        return [p.wait(30) for p in self.procs]

    def notes(self):
        return "\n".join(p.stderr() for p in self.procs)


def order():
    """Numbers of the packets that came out"""
    status, text, err = run("h_dump", OUT)
    return [int(n) for n in re.findall(rb"#(\d+) ", text)] if status == 0 else err


def no_ring(what, i, put=(), options=(), back=False):
    """Stage @i is killed, and comes back with @put before it and @options; with @back again as it was"""
    c = Run()
    c.feed(150000)
    ok(all([c.said(k, "out ring") for k in range(3)]) and c.said(3, "in ring"), "%s: all are on the ring" % what,
       c.notes())
    c.kill(i)
    c.feed(300000)
    c.procs[i] = Proc(*put, *CHAIN[i], *options)
    ok(c.said(i - 1, "out zmq"), "%s: its writer goes on by stream" % what, c.notes())
    if back:
        c.feed(400000)
        c.kill(i)
        c.procs[i] = Proc(*CHAIN[i])
        c.feed(600000)
        ok(all([c.said(k, "out ring") for k in range(3)]) and c.said(3, "in ring"),
           "%s: and on the ring again, with one that takes it" % what, c.notes())
    check(what, c, c.end(), i)


def check(what, c, got, i):
    a = [account(p.stderr()) for p in c.procs]
    ok(got == [0] * 4 and all(x and x.balances() for x in a) and a[0].into == COUNT,
       "%s: all end in order, accounts balance" % what, got, c.notes())
    lost = sum(x.lost + x.uncertain + x.reasons.get("restart", 0) for x in a)
    out = order()
    missing = COUNT - len(out) if i < 3 else 0      # what the dead gwinject had written died with its file
    ok(out == sorted(set(out)) and missing <= lost, "%s: nothing comes twice or out of order, what is missing is counted"
       % what, "%s missing, %d lost" % (missing, lost), c.notes(), out if isinstance(out, str) else out[:20])


def two_writers():
    """Two into one input, which nobody told of them: none of them starves"""
    decap = Proc("gwdecap", "-i", "ipc://two", "-o", path("two.pcapng"))
    pipes = [os.pipe() for _ in range(2)]
    caps = [Proc("gwcap", "--as", name, "-o", "ipc://two", stdin=r) for name, (r, _) in zip("ab", pipes)]
    for r, _ in pipes:
        os.close(r)
    at = 0

    def in_turns():
        nonlocal at
        upto = min(at + 2000, len(LIVE) - 40)
        for _, w in pipes:
            os.write(w, LIVE[at:upto])
        at = upto
        return all("out zmq" in c.stderr() for c in caps) and "several producers" in decap.stderr()

    ok(until(in_turns, 20), "two writers: nobody keeps the ring", *(p.stderr() for p in (*caps, decap)))
    for a in range(at, len(LIVE) - 40, 4096):
        for _, w in pipes:
            os.write(w, LIVE[a:min(a + 4096, len(LIVE) - 40)])
    ok(until(lambda: os.stat(path("two.pcapng")).st_size > 1.8 * len(LIVE)), "two writers: all of both comes",
       os.stat(path("two.pcapng")).st_size, *(p.stderr() for p in (*caps, decap)))
    for p in (*caps, decap):
        p.signal(signal.SIGKILL)
        p.wait()


no_ring("the reader behind the head with --no-ring", 1, options=["--no-ring"])
no_ring("one in the middle with --no-ring", 2, options=["--no-ring"], back=True)
no_ring("the last one with --no-ring", 3, options=["--no-ring"])
if os.geteuid() == 0:
    no_ring("one in another network namespace", 2, put=["unshare", "-n"])
two_writers()
done()
