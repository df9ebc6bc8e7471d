#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Life of a chain: start, end, signals, back-pressure, locks, privileges."""
import fcntl
import os
import pty
import pwd
import re
import signal
import stat
import subprocess
import time

from gwtest import (Proc, SAN, account, accounts, done, generate, ok, path, run, status_field,
                    until)

SMALL, MANY = 2000, 40000
small = generate("small.pcapng", SMALL, 40)
many = generate("many.pcapng", MANY, 600)
with open(small, "rb") as f:
    SMALL_BYTES = f.read()


def packets_of(file):
    """Lines of h_dump, or None while the file is not whole"""
    status, out, _ = run("h_dump", file)
    return out.splitlines() if status == 0 else None


def all_balance(*procs):
    return all(a and a.balances() for a in (account(p.stderr()) for p in procs))


def notes(*procs):
    return "\n".join(p.stderr() for p in procs)


def pipeline(*argvs, data, group=False):
    """Stages joined by pipes, behind a pipe that we hold open: (write end, processes)"""
    procs, pgid = [], 0
    feed, into = os.pipe()[::-1]
    for i, argv in enumerate(argvs):
        last = i + 1 == len(argvs)
        r, w = (None, None) if last else os.pipe()
        p = Proc(*argv, stdin=into, stdout=subprocess.DEVNULL if last else w,
                 process_group=pgid if group else None)
        pgid = pgid or p.pid
        os.close(into)
        if not last:
            os.close(w)
        into = r
        procs.append(p)
    for fd in (feed,):
        os.set_inheritable(fd, False)
    if data:
        os.write(feed, data)
    return feed, procs


def test_ctrl_c():
    out = path("ctrlc.pcapng")
    feed, p = pipeline(["gwcap"], ["gwdecap"], ["gwinject", "-o", out], group=True,
                       data=SMALL_BYTES[:60000])
    until(lambda: os.path.exists(out) and os.stat(out).st_size > 4096)
    os.killpg(p[0].pid, signal.SIGINT)
    got = [x.wait() for x in p]
    ok(got == [0, 0, 0], "Ctrl-C to a pipeline: every stage exits 0", got, notes(*p))
    a = accounts(notes(*p))
    ok(packets_of(out) is not None, "its file ends in order", run("h_dump", out)[2])
    ok(all_balance(*p) and a["gwcap"].out == a["gwdecap"].into and
       a["gwdecap"].out == a["gwinject"].into and a["gwinject"].out > 0,
       "all that went in came out", notes(*p))
    os.close(feed)


def test_second_signal():
    out = path("second.pcapng")
    feed, (p,) = pipeline(["gwdecap", "-o", out], data=SMALL_BYTES[:8192])
    until(lambda: os.path.exists(out) and os.stat(out).st_size > 4096)
    p.signal(signal.SIGTERM)
    time.sleep(0.3)
    ok(p.running(), "a middle stage leaves the first SIGTERM to its stream")
    p.signal(signal.SIGTERM)
    ok(p.wait(2) == 1, "the second one ends it, with 1", p.stderr())
    status, _, err = run("gwinject", "-i", out, "-o", path("x.pcapng"))
    ok(status == 1, "and passes an abort on", status, err)
    ok(all_balance(p), "accounts balance", p.stderr())
    os.close(feed)

    out = path("timeout.pcapng")
    feed, (p,) = pipeline(["gwdecap", "-o", out, "--drain-timeout", "300ms"], data=SMALL_BYTES[:8192])
    until(lambda: os.path.exists(out) and os.stat(out).st_size > 4096)
    p.signal(signal.SIGINT)
    start = time.monotonic()
    ok(p.wait(5) == 1 and 0.2 < time.monotonic() - start < 2, "--drain-timeout ends it as well",
       time.monotonic() - start, p.stderr())
    os.close(feed)


def test_input_ends_after_signal():
    out = path("lateend.pcapng")
    feed, (p,) = pipeline(["gwdecap", "-o", out], data=SMALL_BYTES[:65000])
    until(lambda: os.path.exists(out) and os.stat(out).st_size > 4096)
    p.signal(signal.SIGTERM)
    rest = SMALL_BYTES[65000:]
    while rest:
        rest = rest[os.write(feed, rest[:4096]):]
    os.close(feed)
    ok(p.wait() == 0 and account(p.stderr()).out == SMALL,
       "after a SIGTERM what its upstream still sends is worked on", p.stderr())


def test_killed_upstream():
    out = path("killed.pcapng")
    feed, p = pipeline(["gwcap"], ["gwdecap"], ["gwinject", "-o", out], data=SMALL_BYTES[:60000])
    until(lambda: os.path.exists(out) and os.stat(out).st_size > 4096)
    p[0].signal(signal.SIGKILL)
    got = [x.wait() for x in p]
    ok(got == [-9, 1, 1], "a killed stage: those behind it exit 1", got, notes(*p[1:]))
    ok("gwcap died" in p[1].stderr() or "cut in the middle" in p[1].stderr(),
       "the next one says so", p[1].stderr())
    ok(all_balance(*p[1:]) and account(p[2].stderr()).into == account(p[1].stderr()).out > 0,
       "what it had sent came through", notes(*p[1:]))
    status, _, err = run("gwdecap", "-i", out, "-o", path("y.pcapng"))
    ok(status == 1, "the abort is in the last file too", err)
    os.close(feed)


def test_detach():
    """One ipc stage is told to stop alone; its successor goes on"""
    out = path("detach.pcapng")
    inject = Proc("gwinject", "-i", "ipc://c", "-o", out)
    decap = Proc("gwdecap", "-i", "ipc://b", "-o", "ipc://c")
    feed, (cap,) = pipeline(["gwcap", "-o", "ipc://b"], data=SMALL_BYTES[:32768])
    first = until(lambda: os.path.exists(out) and os.stat(out).st_size > 4096)
    ok(first, "packets go through an ipc chain", notes(cap, decap, inject))
    decap.signal(signal.SIGTERM)
    status = decap.wait(10)
    ok(status == 0, "an ipc stage told to stop alone exits 0", status, decap.stderr())
    time.sleep(0.2)
    ok(cap.running() and inject.running(), "its neighbours wait")
    again = Proc("gwdecap", "-i", "ipc://b", "-o", "ipc://c")
    rest = SMALL_BYTES[32768:]
    while rest:
        rest = rest[os.write(feed, rest[:4096]):]
    os.close(feed)
    got = [x.wait(20) for x in (cap, again, inject)]
    ok(got == [0, 0, 0], "the successor takes over and the end goes through", got,
       notes(cap, again, inject))
    a = account(inject.stderr())
    ok(a and a.into + a.lost == SMALL and a.balances() and
       a.into == account(decap.stderr()).out + account(again.stderr()).out,
       "each packet went through the one or the other", notes(cap, decap, again, inject))
    left = os.listdir(os.environ["GW_RUN"])
    ok(not left, "and nothing is left in the run folder", left)


def test_detach_under_load():
    """What was on its way to a stage that was told to stop is counted by its successor"""
    inject = Proc("gwinject", "-i", "ipc://u2", "-o", path("u.pcapng"))
    decap = Proc("gwdecap", "-i", "ipc://u1", "-o", "ipc://u2")
    cap = Proc("gwcap", "-i", many, "-o", "ipc://u1")
    until(lambda: os.path.exists(path("u.pcapng")) and os.stat(path("u.pcapng")).st_size > 1 << 20)
    decap.signal(signal.SIGTERM)
    until(lambda: not os.path.exists(os.path.join(os.environ["GW_RUN"], "u1.lock")), 3)
    again = Proc("gwdecap", "-i", "ipc://u1", "-o", "ipc://u2")
    ok(decap.wait(10) == 0, "a stage told to stop under load exits 0", decap.stderr())
    got = [x.wait(20) for x in (cap, again, inject)]
    one, two, last = (account(x.stderr()) for x in (decap, again, inject))
    ok(got == [0, 0, 0] and one.out and two.out and one.into + two.into + two.lost == MANY and
       last.into == one.out + two.out and not last.lost, "each packet is in an account, or a gap", got,
       notes(cap, decap, again, inject))
    left = os.listdir(os.environ["GW_RUN"])
    ok(not left, "nothing is left in the run folder", left)


def test_recorder():
    """What a ZeroMQ stage that is told to stop has written to a file or a pipe is whole"""
    out, piped = path("recorder.pcapng"), path("piped.pcapng")
    decap = Proc("gwdecap", "-i", "ipc://r1", "-o", out)
    feed, (cap,) = pipeline(["gwcap", "-o", "ipc://r1"], data=SMALL_BYTES[:32768])
    until(lambda: os.path.exists(out) and os.stat(out).st_size > 4096)
    decap.signal(signal.SIGINT)
    ok(decap.wait(10) == 0 and len(packets_of(out) or []) == account(decap.stderr()).out > 0,
       "a recorder told to stop leaves a file that ends in order", notes(decap), run("h_dump", out)[2])
    r, w = os.pipe()
    decap = Proc("gwdecap", "-i", "ipc://r1", stdout=w)
    inject = Proc("gwinject", "-o", piped, stdin=r)
    os.close(w)
    os.close(r)
    # what was under way to the one that left is lost: go on until the other one has some
    for at in range(32768, len(SMALL_BYTES), 8192):
        os.write(feed, SMALL_BYTES[at:at + 8192])
        if until(lambda: os.path.exists(piped) and os.stat(piped).st_size > 4096, 1):
            break
    decap.signal(signal.SIGTERM)
    got = [decap.wait(10), inject.wait(10)]
    ok(got == [0, 0] and account(inject.stderr()).into == account(decap.stderr()).out > 0,
       "and the stage behind its pipe ends in order too", got, notes(decap, inject))
    os.close(feed)
    cap.signal(signal.SIGKILL)


def test_killed_idle():
    """A stage killed while nothing is in its hand: its successor inherits no loss"""
    inject = Proc("gwinject", "-i", "ipc://k2", "-o", path("idle.pcapng"))
    decap = Proc("gwdecap", "-i", "ipc://k1", "-o", "ipc://k2")
    feed, (cap,) = pipeline(["gwcap", "-o", "ipc://k1"], data=SMALL_BYTES[:32768])
    until(lambda: os.path.exists(path("idle.pcapng")) and os.stat(path("idle.pcapng")).st_size > 4096)
    time.sleep(0.3)
    decap.signal(signal.SIGKILL)
    decap.wait()
    again = Proc("gwdecap", "-i", "ipc://k1", "-o", "ipc://k2")
    rest = SMALL_BYTES[32768:]
    while rest:
        rest = rest[os.write(feed, rest[:4096]):]
    os.close(feed)
    got = [x.wait(20) for x in (cap, again, inject)]
    a, b = account(inject.stderr()), account(again.stderr())
    ok(got == [0, 0, 0] and a.into == SMALL and not a.lost and b.balances() and not b.dropped,
       "killed with empty hands: nothing is lost, and its successor does not say so", got,
       notes(cap, again, inject))


def test_leaving_at_once():
    """Nobody takes what a stage has: it must not wait for ever, and its account is right"""
    r, w = os.pipe()
    p = Proc("gwcap", "-i", many, stdout=w)
    os.close(w)
    time.sleep(0.5)
    ok(p.running(), "a stopped reader: the stage waits")
    p.signal(signal.SIGTERM)
    p.signal(signal.SIGTERM)
    time.sleep(0.1)
    p.signal(signal.SIGTERM)
    ok(p.wait(3) == 1, "told twice it leaves", p.stderr())
    a = account(p.stderr())
    ok(a and a.balances() and a.uncertain and 0 < a.reasons.get("stopped", 0) < MANY,
       "what it could not hand over is uncertain or dropped", p.stderr())
    os.close(r)
    p = Proc("gwcap", "-i", many, "-o", "ipc://nobody", "--drain-timeout", "200ms")
    time.sleep(0.5)
    ok(p.running(), "no reader at an ipc stream: the stage waits")
    p.signal(signal.SIGTERM)
    ok(p.wait(5) == 1, "told to stop it leaves after --drain-timeout", p.stderr())
    ok(account(p.stderr()).balances() and account(p.stderr()).uncertain,
       "its account balances", p.stderr())


def test_lingers():
    """Who has ended waits for a reader; told to stop meanwhile it still gives one --drain-timeout"""
    def ended(where, *opts):
        p = Proc("gwcap", "-i", small, "-o", where, *opts)
        until(lambda: " out, " in p.stderr())
        p.signal(signal.SIGTERM)
        return p

    p = ended("ipc://late")
    time.sleep(0.2)
    ok(p.running(), "a signal does not end it at once", p.stderr())
    decap = Proc("gwdecap", "-i", "ipc://late", "-o", path("late.pcapng"))
    ok(p.wait() == 0 and decap.wait() == 0 and account(decap.stderr()).into == SMALL,
       "and what a late reader gets is all of it", notes(p, decap))
    p = ended("ipc://never", "--drain-timeout", "200ms")
    ok(p.wait(5) == 1 and "error: told to stop, the last messages were not taken" in p.stderr(),
       "without one it fails, and says so", p.stderr())
    p = ended("ipc://never")
    time.sleep(0.1)
    p.signal(signal.SIGTERM)
    ok(p.wait(3) == 1, "a second signal ends it at once", p.stderr())


def test_inputs():
    out = path("inputs.pcapng")
    decap = Proc("gwdecap", "-i", "ipc://two", "-o", out, "--inputs", "2")
    one = Proc("gwcap", "-i", small, "-o", "ipc://two", "--as", "a")
    ok(one.wait() == 0, "the first of two producers ends", one.stderr())
    time.sleep(0.2)
    ok(decap.running(), "--inputs 2 waits for the second")
    two = Proc("gwcap", "-i", small, "-o", "ipc://two", "--as", "b")
    ok(two.wait() == 0 and decap.wait() == 0, "and ends after it", notes(one, two, decap))
    a = account(decap.stderr())
    ok(a.into == 2 * SMALL and a.balances() and not a.lost, "all of both came through", a.text)


def test_abort_through_ipc():
    with open(path("cut.pcapng"), "wb") as f:
        f.write(SMALL_BYTES[:50000])
    decap = Proc("gwdecap", "-i", "ipc://ab", "-o", path("ab.pcapng"))
    status, _, err = run("gwcap", "-i", path("cut.pcapng"), "-o", "ipc://ab")
    ok(status == 1 and "cut in the middle" in err, "a cut file: exit 1", status, err)
    ok(decap.wait() == 1, "told to the next over ipc, which exits 1 too", decap.stderr())
    ok(account(decap.stderr()).into == account(err).out, "with all whole packets", decap.stderr(), err)


def test_closed_reader():
    r, w = os.pipe()
    p = Proc("gwcap", "-i", many, stdout=w)
    os.close(w)
    os.read(r, 100000)
    os.close(r)
    ok(p.wait() == 1 and "closed" in p.stderr(), "the reader closed its pipe: exit 1, said so", p.stderr())
    a = account(p.stderr())
    ok(a and a.balances() and a.uncertain and a.reasons.get("output-gone"),
       "account: uncertain what was in the buffer, dropped what was in hand", p.stderr())
    status, out, err = run("sh", "-c", "gwcap -i '%s' | head -c 20 | wc -c" % many)
    ok(out.split() == [b"20"] and "closed" in err, "the same with | head", err)


def test_same_file():
    copy = path("same.pcapng")
    os.symlink("same.pcapng", path("link.pcapng"))
    for what, cmd in (("its name", "gwdecap -i same.pcapng -o same.pcapng"),
                      ("a link", "gwdecap -i same.pcapng -o link.pcapng"),
                      ("stdin", "gwdecap -o same.pcapng <same.pcapng"),
                      ("both redirected", "gwdecap <same.pcapng >>same.pcapng")):
        with open(copy, "wb") as f:
            f.write(SMALL_BYTES)
        status, _, err = run("sh", "-c", cmd, cwd=path(""))
        with open(copy, "rb") as f:
            ok(status == 2 and "is the input as well" in err and f.read() == SMALL_BYTES,
               "input as output, by %s: refused, unharmed" % what, status, err)


def test_terminal():
    master, slave = pty.openpty()
    p = Proc("gwdecap", stdin=slave)
    ok(p.wait(5) == 2 and "stdin is a terminal" in p.stderr(), "a terminal as input: refused", p.stderr())
    with open(small) as f:
        p = Proc("gwdecap", stdin=f, stdout=slave)
    ok(p.wait(5) == 2 and "stdout is a terminal" in p.stderr(), "a terminal as output: refused", p.stderr())
    with open(small) as f:
        p = Proc("gwdecap", "--print", "-q", stdin=f, stdout=slave)
    os.set_blocking(master, False)
    said = []

    def read():
        try:
            said.append(os.read(master, 65536))
        except OSError:
            pass
        return not p.running()
    until(read)
    ok(p.wait(5) == 0 and b"vpce-0" in b"".join(said), "but --print may write there", p.stderr())
    os.close(master)
    os.close(slave)


def test_empty_and_none():
    p = Proc("gwdecap", stdin=subprocess.DEVNULL)
    ok(p.wait(5) == 1 and "empty" in p.stderr(), "empty input: exit 1", p.stderr())
    status, _, err = run("gwdecap", "-i", path("nowhere"))
    ok(status == 1 and "No such file" in err, "no such file: exit 1", status, err)
    status, _, err = run("gwdecap", "-i", path(""))
    ok(status == 1 and "directory" in err, "a folder: exit 1", status, err)
    status, _, err = run("gwdecap", "-i", "udp://x")
    ok(status == 2 and "a stream is" in err, "an unknown kind of stream: exit 2", status, err)
    status, _, err = run("gwdecap", "-i", small, "-o", path("twice"), "-o", path("twice"))
    ok(status == 2 and "given twice" in err and not os.path.exists(path("twice")),
       "one output given twice: exit 2, not half of it overwritten", status, err)


def test_lock():
    first = Proc("gwdecap", "-i", "ipc://lock", "-o", path("l.pcapng"), "--as", "censor")
    lock = os.path.join(os.environ["GW_RUN"], "lock.lock")
    until(lambda: os.path.exists(lock) and os.stat(lock).st_size)
    status, _, err = run("gwdecap", "-i", "ipc://lock", "-o", path("l2.pcapng"), "--as", "other")
    ok(status == 2 and "gwdecap:censor, pid %d" % first.pid in err,
       "a second reader of an ipc stream exits 2 and names the first", status, err)
    with open(path("kept.pcapng"), "wb") as f:
        f.write(SMALL_BYTES)
    status, _, err = run("gwdecap", "-i", "ipc://lock2", "-o", path("kept.pcapng"), "--as", "censor")
    with open(path("kept.pcapng"), "rb") as f:
        ok(status == 2 and "already" in err and f.read() == SMALL_BYTES,
           "a second stage of a name exits 2 and touches no file", status, err)
    first.signal(signal.SIGKILL)
    first.wait()
    second = Proc("gwdecap", "-i", "ipc://lock", "-o", path("l2.pcapng"), "--as", "other")
    status, _, err = run("gwcap", "-i", small, "-o", "ipc://lock")
    ok(status == 0 and second.wait() == 0 and account(second.stderr()).into == SMALL,
       "a killed one's lock and socket stand in nobody's way", err, second.stderr())


def test_back_pressure():
    fifo = path("fifo")
    os.mkfifo(fifo)
    p = Proc("sh", "-c", "gwcap -i '%s' | gwdecap -o '%s'" % (many, fifo))
    with open(fifo, "rb") as f, open(path("slow.pcapng"), "wb") as out:
        time.sleep(0.7)
        while True:
            block = f.read(1 << 20)
            if not block:
                break
            out.write(block)
    ok(p.wait() == 0 and len(packets_of(path("slow.pcapng")) or []) == MANY,
       "a reader that stops for a while loses nothing from a file", p.stderr())
    inject = Proc("gwinject", "-i", "ipc://bp2", "-o", path("bp.pcapng"))
    decap = Proc("gwdecap", "-i", "ipc://bp1", "-o", "ipc://bp2")
    until(lambda: os.path.exists(os.path.join(os.environ["GW_RUN"], "bp2.lock")))
    inject.signal(signal.SIGSTOP)
    cap = Proc("gwcap", "-i", many, "-o", "ipc://bp1")
    time.sleep(0.7)
    ok(cap.running() and decap.running(), "a stopped stage holds up those before it")
    inject.signal(signal.SIGCONT)
    got = [x.wait() for x in (cap, decap, inject)]
    a = account(inject.stderr())
    ok(got == [0, 0, 0] and a.into == MANY and not a.lost and a.balances(),
       "and loses nothing over ipc either", got, notes(cap, decap, inject))


def test_late_reader():
    cap = Proc("gwcap", "-i", small, "-o", "ipc://late", "--drain-timeout", "300ms")
    time.sleep(1)
    decap = Proc("gwdecap", "-i", "ipc://late", "-o", path("late.pcapng"))
    ok(cap.wait() == 0 and decap.wait(10) == 0 and account(decap.stderr()).into == SMALL,
       "a file into ipc waits for a reader that starts late", cap.stderr(), decap.stderr())


def test_summary_and_ready():
    status, _, err = run("gwdecap", "-i", small, "-o", path("q.pcapng"), "-q")
    ok(status == 0 and err == "", "-q: not a word", err)
    status, _, err = run("gwdecap", "-i", small, "-o", path("q.pcapng"), "--as", "me")
    ok(err == "gwdecap:me: %d in, 0 made, %d out, 0 dropped, 0 uncertain\n" % (SMALL, SMALL),
       "the summary line", err)
    r, w = os.pipe()
    feed, hold = os.pipe()[::-1]
    p = Proc("gwdecap", "-o", path("r.pcapng"), "--ready-fd", str(w), stdin=hold, pass_fds=(w,))
    os.close(w)
    line = b"".join(iter(lambda: os.read(r, 10), b""))
    ok(line.endswith(b"\n") and p.running(), "--ready-fd: a line, then closed", line, p.stderr())
    os.write(feed, SMALL_BYTES[:1000])
    os.close(feed)
    os.close(hold)
    p.wait()


def test_print_beside_output():
    status, out, err = run("gwdecap", "-i", small, "-o", path("p.pcapng"), "--print", "-q")
    ok(status == 0 and out == b"" and err.count("vpce-0") == SMALL, "--print with -o goes to stderr")
    status, out, err = run("gwdecap", "-i", small, "--print", "-q")
    ok(status == 0 and out.count(b"vpce-0") == SMALL and err == "", "without, to stdout")


def test_identity():
    cmd = ("(sleep 0.3; gwcap -q --chain lab -i '%s') | gwdecap -q --as first | gwdecap -q -o '%s'" %
           (small, path("id.pcapng")))
    run("sh", "-c", cmd)
    with open(path("id.pcapng"), "rb") as f:
        head = f.read(400)
    ok(b"\x03lab\x07gwdecap\x00" in head, "the chain's name travels with the stream, however late",
       head)


def test_recorded_live():
    """A recording of a live chain is a file: no run folder, no page, no start line"""
    run("gwcap", "-q", "-i", small, "-o", path("rec.pcapng"))
    with open(path("rec.pcapng"), "r+b") as f:
        data = f.read(400)
        at = data.index(b"\x01\x57\x47\x80") + 8 + 2
        f.seek(at)
        f.write(b"\x01")
    env = dict(os.environ, GW_RUN=path("no-run"))
    status, _, err = run("gwdecap", "-i", path("rec.pcapng"), "-o", path("rec2.pcapng"), env=env)
    ok(status == 0 and not os.path.exists(path("no-run")) and err.count("\n") == 1,
       "a recording of a live chain makes no live stage", err)


def test_live_across_zmq():
    """That the source is an interface travels through every kind of stream"""
    env = dict(os.environ, GW_RUN=path("live-run"))
    cmd = ("cat '%s' | gwdecap -q -o ipc://mid & "
           "gwtee -q --as a -i ipc://mid | gwtee -q --as b -o '%s'; wait" % (path("rec.pcapng"), path("across.pcapng")))
    err = run("sh", "-c", cmd, env=env)[2]
    ok(re.search(r"gwdecap: default: in stream.*, out (zmq|ring)", err) and
       re.search(r"gwtee:b: default: in (stream|ring).*, out file", err),
       "a pipe behind a ZeroMQ stream knows that the chain is live", err)


def test_privileges():
    if os.geteuid() != 0:
        return
    os.mkdir(path("run-root"), 0o700)
    p = Proc("gwdecap", "-i", "ipc://x", "-o", path("x.pcapng"), env=dict(os.environ, GW_RUN=path("run-root")))
    ok(until(lambda: "run-root: of no use to us as uid" in p.stderr()),
       "a run folder that a stage cannot enter is warned of", p.stderr())
    p.signal(signal.SIGKILL)
    p.wait()
    for user, options in (("nobody", []), ("daemon", ["--user", "daemon"])):
        above = path("run-" + user)
        os.environ["GW_RUN"] = os.path.join(above, "chain")
        feed, p = pipeline(["gwdecap", "-i", "-", "-o", "ipc://pr", *options], data=None)
        uid = pwd.getpwnam(user).pw_uid
        other = Proc("gwinject", "-i", "ipc://pr", "-o", path("pr.pcapng"), *options)
        for q in (p[0], other):
            until(lambda: "default: in " in q.stderr())
            tasks = [int(t) for t in os.listdir("/proc/%d/task" % q.pid)]
            wrong = []
            for t in tasks:
                seen = {k: status_field(q.pid, k, t) for k in
                        ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb",
                         "NoNewPrivs")}
                if (set(seen["Uid"].split()) != {str(uid)} or seen["NoNewPrivs"] != "1" or
                        seen["Groups"] or "0" in seen["Gid"].split() or
                        any(int(seen[c], 16) for c in ("CapInh", "CapPrm", "CapEff", "CapAmb"))):
                    wrong.append((t, seen))
            ok(len(tasks) > 1 and not wrong, "as %s: %s has no privilege in any of its %d threads" %
               (user, q.p.args[0], len(tasks)), wrong)
        ok(os.stat(above).st_uid == 0 and os.stat(os.environ["GW_RUN"]).st_uid == uid,
           "the run folder is theirs, the folder above is not")
        os.write(feed, SMALL_BYTES)
        os.close(feed)
        ok(p[0].wait() == 0 and other.wait() == 0, "and works", notes(p[0], other))
    status, _, err = run("gwdecap", "--user", "no-such-user", "-i", small, "-o", path("u.pcapng"))
    ok(status == 2 and "no-such-user" in err, "--user with an unknown name: exit 2", err)


if __name__ == "__main__":
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            start = time.monotonic()
            test()
            print("# %s: %.1f s" % (name, time.monotonic() - start))
    done()
