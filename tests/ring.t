#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Rings between real programs: who shares one and who keeps to a stream, and that every packet
arrives, in order, whichever way it goes; stages that leave, are killed, and come back."""
import os
import pwd
import re
import signal
import struct
import time

from gwtest import SAN, Proc, account, accounts, done, generate, ok, path, run, until

SMALL = 2000
small = generate("small.pcapng", SMALL, 200)
HELLO = b"\x01\x57\x47\x80"


def recording(source, name):
    """What gwcap makes of a capture, said to come from an interface: start lines are for live chains"""
    run("gwcap", "-q", "-i", source, "-o", path(name))
    with open(path(name), "rb") as f:
        data = bytearray(f.read())
    data[data.index(HELLO) + 10] |= 1
    return bytes(data)


LIVE = recording(small, "live.pcapng")
START, END = 30000, 20		# so much is there from the start; the end mark at the end


class Chain:
    """Stages joined by pipes behind one that we hold open, or by ipc:// where they name it"""

    def __init__(self, *argvs, start=LIVE[:START]):
        self.procs = []
        into, self.feed_fd = os.pipe()
        os.write(self.feed_fd, start)
        for i, argv in enumerate(argvs):
            last = i + 1 == len(argvs)
            piped = not last and "-i" not in argvs[i + 1]
            r, w = os.pipe() if piped else (None, None)
            p = Proc(*argv, stdout=w, **({"stdin": into} if into is not None else {}))
            for fd in (into, w):
                if fd is not None:
                    os.close(fd)
            into = r
            self.procs.append(p)

    def feed(self, data):
        while data:
            data = data[os.write(self.feed_fd, data):]

    def end(self, data=LIVE[-END:], seconds=20):
        self.feed(data)
        os.close(self.feed_fd)
        return [p.wait(seconds) for p in self.procs]

    def said(self, i, what):
        """Wait for a start line's words; the lines"""
        return until(lambda: re.search(": default: .*" + what, self.procs[i].stderr()), 5)

    def notes(self):
        return "\n".join(p.stderr() for p in self.procs)


def order_of(file):
    """Source sequence numbers of a capture, or what is wrong with it"""
    status, text, err = run("h_dump", file)
    return [int(n) for n in re.findall(rb"#(\d+) ", text)] if status == 0 else err


def arrived(file, n=SMALL):
    return order_of(path(file)) == list(range(1, n + 1))


def ends(chain, what, n=SMALL):
    got = chain.end()
    ok(got == [0] * len(got) and arrived("o.pcapng", n) and
       all(a.balances() for a in accounts(chain.notes()).values()),
       "%s: all %d packets arrive, in order" % (what, n), got, chain.notes(), order_of(path("o.pcapng"))[:20])


PIPE = [["gwcap"], ["gwdecap"], ["gwfilter"], ["gwinject", "-o", path("o.pcapng")]]
IPC = [["gwcap", "-o", "ipc://a"], ["gwdecap", "-i", "ipc://a", "-o", "ipc://b"],
       ["gwfilter", "-i", "ipc://b", "-o", "ipc://c"],
       ["gwinject", "-i", "ipc://c", "-o", path("o.pcapng")]]


def with_options(argvs, i, *options):
    return [a + list(options) if j == i else a for j, a in enumerate(argvs)]


def sees(what, argvs, wanted):
    """Each stage's start line is as wanted, and nothing gets lost"""
    chain = Chain(*argvs)
    chain.feed(LIVE[START:-END])
    for i, line in wanted:
        ok(chain.said(i, line), "%s: %s says '%s'" % (what, argvs[i][0], line.replace("\\", "")), chain.notes())
    ends(chain, what)


def test_ways():
    ring = [(0, r"out ring"), (1, r"in ring, out ring"), (2, r"in ring, out ring"), (3, r"in ring, out file")]
    sees("a pipe", PIPE, ring)
    sees("ipc", IPC, ring)
    for what, argvs, kind in (("pipe", PIPE, "stream"), ("ipc", IPC, "zmq")):
        sees(what + ", the writer with --no-ring", with_options(argvs, 0, "--no-ring"),
             [(0, r"out %s \(--no-ring\)" % kind),
              (1, r"in %s \(the writer offers no ring\), out ring" % kind), (3, "in ring, out file")])
        sees(what + ", the reader with --no-ring", with_options(argvs, 1, "--no-ring"),
             [(0, r"out %s \(the reader takes no ring\)" % kind),
              (1, r"in %s \(--no-ring\), out %s \(--no-ring\)" % (kind, kind)),
              (2, r"in %s \(the writer offers no ring\), out ring" % kind)])


def test_library():
    """Libraries, and all that comes with them, are in those processes only that need them"""
    def loaded(p, lib="libzmq"):
        with open("/proc/%d/maps" % p.pid, encoding="ascii") as f:
            return lib in f.read()

    for what, argvs, needed in (("pipes", PIPE, False), ("ipc", IPC, True)):
        chain = Chain(*argvs)
        chain.said(2, "in ring, out ring")
        got = [loaded(p) for p in chain.procs]
        ok(not loaded(chain.procs[1], "libpcap") and not loaded(chain.procs[3], "libpcap"),
           "%s: nor libpcap where no filter is compiled" % what)
        ok(chain.end(LIVE[START:]) == [0] * 4 and got == [needed] * 4,
           "%s: libzmq is %s" % (what, "loaded" if needed else "not loaded"), got, chain.notes())


def test_between():
    sees("tee between", [["gwcap"], ["gwdecap"], ["tee", path("copy.pcapng")], PIPE[2], PIPE[3]],
         [(1, r"in ring, out stream \(the reader takes no ring\)"),
          (3, r"in stream \(it comes through somebody else's hands\), out ring"), (4, "in ring, out file")])
    ok(arrived("copy.pcapng"), "and tee has a whole capture", order_of(path("copy.pcapng"))[:20])
    if run("unshare", "-n", "true")[0]:
        return
    sees("another network namespace", [["gwcap"], ["gwdecap"], ["unshare", "-n", "gwfilter"], PIPE[3]],
         [(1, r"in ring, out stream \(the reader takes no ring\)"),
          (2, r"in stream \(in another network namespace, or gone\)")])


def test_users():
    if os.geteuid():
        return
    nobody, daemon = (pwd.getpwnam(u).pw_uid for u in ("nobody", "daemon"))
    sees("different users", with_options(with_options(PIPE, 2, "--user", "daemon"), 1, "--user", "nobody"),
         [(1, r"out stream \(reader is uid %d, we are %d\)" % (daemon, nobody)),
          (2, r"in stream \(writer is uid %d, we are %d\)" % (nobody, daemon))])


def block(kind, body):
    return struct.pack("<II", kind, 12 + len(body)) + body + struct.pack("<I", 12 + len(body))


def test_too_long():
    """A packet that no frame of the ring holds: the stream takes over, once"""
    def packets(sizes):
        return b"".join(block(6, struct.pack("<IIIII", 0, 0, 0, n, n) + bytes(n)) for n in sizes)

    at = 0
    while LIVE[at] != 6:                   # up to the first packet
        at += struct.unpack_from("<I", LIVE, at + 4)[0]
    chain = Chain(["gwcap"], ["gwtee", "--as", "a"], ["gwtee", "--as", "b"],
                  ["gwtee", "--as", "c", "-o", path("o.pcapng")], start=LIVE[:at] + packets([100] * 300))
    ok(all([chain.said(0, "out ring"), chain.said(1, "in ring, out ring"), chain.said(3, "in ring, out file")]),
       "a ring of four", chain.notes())
    chain.feed(packets([100, 12000] + [100] * 698))
    ok(chain.said(0, r"out stream \(a packet was too long for it\)"), "a packet of 12,000 bytes: the writer says so",
       chain.notes())
    got = chain.end(block(0x80475702, struct.pack("<Q", 1000)))
    ok(got == [0] * 4 and arrived("o.pcapng", 1000), "and all packets arrive, in order", got, chain.notes(),
       str(order_of(path("o.pcapng")))[:200])
    told = [len(re.findall("does not fit the ring", p.stderr())) for p in chain.procs]
    ok(told == [1, 0, 0, 0], "one notice tells of it", told, chain.notes())


def test_long_chain():
    middle = [["gwtee", "--as", "t%d" % i] for i in range(17)]
    sees("20 stages", [["gwcap"], ["gwdecap"], *middle, PIPE[3]], [(2 + 16, "in ring, out ring"), (19, "in ring, out file")])


def test_several():
    """Several outputs have a ring each; gwfilter --print, two of them, and both ends again"""
    outs = [a for i in range(3) for a in ("-o", "ipc://s%d" % i)]
    sinks = [Proc("gwinject", "--as", "i%d" % i, "-i", "ipc://s%d" % i, "-o", path("s%d.pcapng" % i)) for i in range(3)]
    chain = Chain(["gwcap"], ["gwdecap"], ["gwfilter", "--as", "1"], ["gwfilter", "--as", "2", *outs])
    chain.feed(LIVE[START:-END])
    for p in sinks:
        until(lambda: "in ring" in p.stderr())
    ok(all("in ring, out file" in p.stderr() for p in sinks), "each of several outputs has a ring",
       chain.notes(), *(p.stderr() for p in sinks))
    got = chain.end() + [p.wait() for p in sinks]
    seqs = [order_of(path("s%d.pcapng" % i)) for i in range(3)]
    ok(got == [0] * 7 and sorted(sum(seqs, [])) == list(range(1, SMALL + 1)) and all(s == sorted(s) for s in seqs),
       "and each packet goes one of these ways, in order", got, chain.notes(), *(p.stderr() for p in sinks))

    join = Proc("gwinject", "-i", "ipc://j", "--inputs", "2", "-o", path("o.pcapng"))
    left, right = (Proc("gwfilter", "--as", n, "-i", "ipc://" + n, "-o", "ipc://j") for n in "lr")
    chain = Chain(["gwcap"], ["gwdecap", "-o", "ipc://l", "-o", "ipc://r"])
    chain.feed(LIVE[START:-END])
    chain.procs += [left, right, join]
    ok(chain.said(4, r"in zmq \(--inputs\)") and chain.said(2, r"in ring, out zmq"), "spread is by ring, join by stream", chain.notes())
    got = chain.end()
    ok(got == [0] * 5 and sorted(order_of(path("o.pcapng"))) == list(range(1, SMALL + 1)),
       "spread and join: all packets arrive, and all stages end", got, chain.notes())


def test_print():
    chain = Chain(["gwcap"], ["gwdecap"], ["gwfilter", "--print"])
    chain.feed(LIVE[START:-END])
    got = chain.end()
    ok(got == [0, 0, 0] and chain.procs[2].stdout().count(b"\n") == SMALL, "--print: a line a packet", got, chain.notes())


def ipc_chain():
    chain = Chain(["gwcap", "-o", "ipc://a"], *IPC[1:])
    chain.feed(LIVE[START:200000])
    return chain, chain.said(1, "in ring, out ring") and chain.said(2, "in ring, out ring")


def test_turns():
    """Bound to processors: a stage that is not called in time sleeps until its tick, a second later"""
    big, n = generate("big.pcapng", 40000, 600), 40000
    cpus = sorted(os.sched_getaffinity(0))
    for name, where, spin in (("one processor", [0] * 5, []), ("one, spinning", [0] * 5, ["--spin", "500"]),
                              ("two, changing once", [0, 0, 1, 1, 1], []), ("two, in turn", [0, 1, 0, 1, 0], [])):
        stages = [["gwcap", "-i", big], ["gwdecap", *spin], ["gwtee", *spin], ["gwmangle", *spin],
                  ["gwinject", *spin, "-o", path("t.pcapng")]]
        line = " | ".join("taskset -c %d %s" % (cpus[at % len(cpus)], " ".join(s + ["-q"]))
                          for at, s in zip(where, stages))
        start = time.monotonic()
        status, _, err = run("sh", "-c", line, seconds=60)
        took = time.monotonic() - start
        ok(status == 0 and order_of(path("t.pcapng")) == list(range(1, n + 1)), "%s: every packet, in order" % name, err)
        ok(took < (60 if SAN else 5), "... and no stage waits for its tick", took)


def test_longer():
    """Packets that outgrow their buffers are the same as without a ring"""
    given = generate("short.pcapng", 20000, 200)
    edit = "replace /^(.)/ '$1%s' where udp" % ("a" * 500)
    dumps = []
    for opt in ("", " --no-ring"):
        line = "gwcap -q -i %s%s | gwdecap -q%s | gwmangle -q%s -e '%s' | gwinject -q%s -o %s" % (
            given, opt, opt, opt, edit.replace("'", '"'), opt, path("longer.pcapng"))
        status, _, err = run("sh", "-c", line, seconds=60)
        dumps.append((status, run("h_dump", path("longer.pcapng"))[1]))
        ok(status == 0 and dumps[-1][1].count(b"61" * 500) == 20000,
           "packets become 500 bytes longer" + (opt and "," + opt), err)
    ok(dumps[0] == dumps[1], "and are the same by ring and by stream")


def test_leave():
    """A stage in the middle is told to stop, under load; its successor goes on"""
    chain, ring = ipc_chain()
    ok(ring, "an ipc chain is in a ring", chain.notes())
    decap = chain.procs[1]
    decap.signal(signal.SIGTERM)
    ok(decap.wait() == 0, "a stage that is told to stop leaves with 0", chain.notes())
    chain.procs[1] = Proc(*IPC[1])
    chain.feed(LIVE[200000:-END])
    ok(chain.said(1, "in ring, out ring"), "its successor sits in its place", chain.notes())
    got = chain.end()
    ok(got == [0] * 4 and arrived("o.pcapng"), "and no packet is lost", got, chain.notes(), decap.stderr())


def test_killed():
    """... or killed: what it had in hand is lost, and counted"""
    for i in (1, 2, 3):
        chain, _ = ipc_chain()
        if i == 3:
            chain.said(3, "in ring")
        os.set_blocking(chain.feed_fd, False)
        victim = chain.procs[i]
        victim.signal(signal.SIGSTOP)      # what is under way meanwhile waits in the ring
        rest = LIVE[200000:-END]
        try:
            while rest:
                rest = rest[os.write(chain.feed_fd, rest):]
                time.sleep(0.001)
        except BlockingIOError:
            pass
        victim.signal(signal.SIGKILL)
        victim.wait()
        os.set_blocking(chain.feed_fd, True)
        chain.procs[i] = Proc(*IPC[i]) if i < 3 else Proc("gwinject", "-i", "ipc://c", "-o", path("o2.pcapng"))
        chain.feed(rest)
        got = chain.end()
        a = account(chain.procs[i].stderr())
        if i == 3:
            first = order_of(path("o.pcapng"))
            ok(got == [0] * 4 and a and a.balances() and a.into >= SMALL - 600, "gwinject killed: its successor goes on",
               got, chain.notes(), first[:100])
            continue
        seqs = order_of(path("o.pcapng"))
        lost = SMALL - len(seqs)
        ok(got == [0] * 4 and seqs == sorted(set(seqs)) and lost <= 64 and a.balances() and
           lost == a.reasons.get("restart", 0), "%s killed: %d packets lost, all under restart" % (IPC[i][0], lost),
           got, chain.notes(), lost)


def test_head_killed():
    """The head of a ring dies: behind a pipe all end, on ipc they wait for a new one"""
    chain = Chain(*PIPE)
    chain.feed(LIVE[START:200000])
    chain.said(3, "in ring")
    chain.procs[0].signal(signal.SIGKILL)
    got = chain.end(b"")
    ok(got == [-9, 1, 1, 1] and account(chain.procs[3].stderr()).out > 0, "a head killed: those behind its pipe end with 1", got, chain.notes())

    chain, _ = ipc_chain()
    chain.said(3, "in ring")
    old = chain.procs[0]
    old.signal(signal.SIGKILL)
    old.wait()
    os.close(chain.feed_fd)
    again = Chain(["gwcap", "-o", "ipc://a"])
    again.feed(LIVE[START:-END])
    got = again.end() + [p.wait(20) for p in chain.procs[1:]]
    seqs = order_of(path("o.pcapng"))
    ok(got == [0] * 4 and len(seqs) > SMALL and seqs[-SMALL:] == list(range(1, SMALL + 1)),
       "on ipc they wait for a new one, and go on", got, again.notes(), chain.notes(), len(seqs))


if __name__ == "__main__":
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            start = time.monotonic()
            test()
            print("# %s: %.1f s" % (name, time.monotonic() - start))
    done()
