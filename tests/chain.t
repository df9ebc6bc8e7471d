#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""One input file gives the same packets, with the same metadata, in every form of the chain:
one shell pipe, ipc streams started in any order, files between single stages, tee -p and gwtee
between all stages, several outputs and inputs.  What lies between opens in tcpdump and tshark."""
import os
import random
import re
import subprocess
import sys
import tempfile
import time

TESTS = os.environ["GW_TESTS"]
SEED = int(os.environ.get("SEED", random.randrange(1 << 30)))
COUNT = 5000
STAGES = ["gwcap", "gwdecap", "gwfilter -e 'drop payload \"drop me\" where udp port 3000'",
          "gwmangle -e 'replace \"weakly typed\" \"strongly typed\" where udp port 3000'", "gwinject"]
WORK = tempfile.TemporaryDirectory(prefix="gwchain-")
os.chmod(WORK.name, 0o755)
ENV = dict(os.environ, GW_RUN=os.path.join(WORK.name, "run"))
tests = failed = 0


def ok(good, what, detail=""):
    global tests, failed
    tests += 1
    failed += not good
    print(f"{'ok' if good else 'not ok'} {tests} - {what}", flush=True)
    if not good:
        for line in str(detail).splitlines()[:20]:
            print("#", line)
    return good


def sh(cmd, timeout=60):
    return subprocess.run(["bash", "-o", "pipefail", "-c", cmd], cwd=WORK.name, env=ENV, text=True,
                          capture_output=True, timeout=timeout, check=False)


def dump(name):
    done = sh(f"{TESTS}/h_dump {name}")
    return done.stdout if not done.returncode else f"unreadable: {done.stderr}"


def balanced(stderr, stages):
    """Every stage's summary line is there, and in + made = out + dropped + uncertain."""
    seen = re.findall(r"^(\w+\S*): (\d+) in, (\d+) made, (\d+) out, (\d+) dropped.*?, (\d+) uncertain",
                      stderr, re.M)
    bad = [s for s in seen if int(s[1]) + int(s[2]) != sum(map(int, s[3:]))]
    return len(seen) == stages and not bad


def check_form(what, done, out, reference, stages=5):
    text = done.stderr
    ok(done.returncode == 0, f"{what}: ends in order", text)
    ok(dump(out) == reference, f"{what}: the same packets and metadata",
       f"{len(dump(out).splitlines())} of {len(reference.splitlines())} packets\n{text}")
    ok(balanced(text, stages), f"{what}: accounts balance", text)


def opens(name, inner):
    """tcpdump and tshark read all of it, as inner packets where it should be so."""
    want = len(dump(name).splitlines())
    t = sh(f"tcpdump -n -r {name}")
    noise = [line for line in t.stderr.splitlines() if not line.startswith(("reading from", "dropped privs"))]
    shark = sh(f"tshark -n -r {name} -T fields -e frame.protocols -e _ws.malformed")
    snoise = [line for line in shark.stderr.splitlines() if not line.startswith("Running as user")]
    lines = t.stdout.splitlines()
    is_inner = all(".6081:" not in line for line in lines) and "IP6" in t.stdout
    both = "0123456789abcd00/" in dump(name) and "0123456789abcd01/" in dump(name)
    ok(t.returncode == 0 and not noise and len(lines) == want > 0 and is_inner == inner,
       f"{name} opens in tcpdump", t.stderr)
    ok(shark.returncode == 0 and not snoise and len(shark.stdout.splitlines()) == want and
       all(line.startswith("raw:ip" if inner else "eth:") for line in shark.stdout.splitlines()),
       f"{name} opens in tshark", shark.stderr + shark.stdout[:300])
    return both


def pipe():
    done = sh(f"{STAGES[0]} -i in.pcapng | " + " | ".join(STAGES[1:4]) + f" | {STAGES[4]} -o pipe.pcapng")
    reference = dump("pipe.pcapng")
    ok(COUNT > len(reference.splitlines()) > COUNT / 2 and b"strongly typed".hex() in reference and
       b"drop me".hex() not in reference, "the chain drops and edits", done.stderr)
    check_form("one pipe", done, "pipe.pcapng", reference)
    return reference


def files(reference):
    text, rc = "", 0
    for i, stage in enumerate(STAGES):
        done = sh(f"{stage} -i {'in' if not i else f'f{i}'}.pcapng -o f{i + 1}.pcapng")
        text += done.stderr
        rc |= done.returncode
    done.stderr, done.returncode = text, rc
    check_form("files between single stages", done, "f5.pcapng", reference)
    seen = [opens(f"f{i}.pcapng", 2 <= i <= 4) for i in range(1, 6)]
    ok(all(seen[1:4]), "two endpoints are in what lies behind gwdecap")


def tees(reference):
    cmd = f"{STAGES[0]} -i in.pcapng | tee -p t1 | " + " | ".join(
        f"{s} | tee -p t{i + 2}" for i, s in enumerate(STAGES[1:4])) + f" | {STAGES[4]} -o tee.pcapng"
    check_form("tee -p between all stages", sh(cmd), "tee.pcapng", reference)
    for i in range(1, 5):
        opens(f"t{i}", i > 1)


def gwtees(reference):
    cmd = f"{STAGES[0]} -i in.pcapng | gwtee --as t1 -w g1.pcapng | " + " | ".join(
        f"{s} | gwtee --as t{i + 2} -w g{i + 2}.pcapng" for i, s in enumerate(STAGES[1:4]))
    done = sh(cmd + f" | {STAGES[4]} -o gwtee.pcapng")
    check_form("gwtee between all stages", done, "gwtee.pcapng", reference, stages=9)
    for i in range(1, 5):
        opens(f"g{i}.pcapng", i > 1)


def zmq(order, reference, opt):
    """Each stage starts in the place that @order gives it; sockets need not be there yet."""
    ends = [("-i in.pcapng", "-o ipc://s1")] + [(f"-i ipc://s{i}", f"-o ipc://s{i + 1}") for i in range(1, 4)]
    ends.append(("-i ipc://s4", "-o zmq.pcapng"))
    procs = []
    for i in order:
        cmd = f"exec {STAGES[i]} {opt} {ends[i][0]} {ends[i][1]}"
        procs.append(subprocess.Popen(["bash", "-c", cmd], cwd=WORK.name, env=ENV, text=True,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE))
    text, rc, patience = "", 0, time.monotonic() + 30
    for p in procs:
        try:
            text += p.communicate(timeout=max(0.1, patience - time.monotonic()))[1]
        except subprocess.TimeoutExpired:
            p.kill()
            text += "timeout: " + p.communicate()[1]
        rc |= p.returncode
    done = subprocess.CompletedProcess("", rc, "", text)
    check_form(f"ipc streams {opt} started in the order {order}", done, "zmq.pcapng", reference)
    return not rc


def spread(reference):
    """Two filters side by side: per flow nothing changes, no flow is in both."""
    cmd = (f"gwdecap -q -i f1.pcapng -o ipc://a -o ipc://b & {STAGES[2]} --as a -q -i ipc://a -o ipc://m & "
           f"{STAGES[2]} --as b -q -i ipc://b -o ipc://m & {STAGES[3]} -q -i ipc://m --inputs 2 | "
           "gwinject -q -o spread.pcapng && wait")
    done = sh(cmd)

    def flows(text):
        by = {}
        for line in text.splitlines():
            by.setdefault(line.split()[0], []).append(line)
        return by
    ok(done.returncode == 0 and flows(dump("spread.pcapng")) == flows(reference),
       "spread over two outputs and joined again: each flow in order", done.stderr)


def main():
    print(f"# seed {SEED}")
    sh(f"{TESTS}/h_gen {COUNT} 40 50 >in.pcapng")
    reference = pipe()
    files(reference)
    tees(reference)
    gwtees(reference)
    rng = random.Random(SEED)
    for i in range(12):
        order = list(range(5))
        rng.shuffle(order)
        if not zmq(order, reference, "--no-ring" if i % 2 else ""):
            break
    spread(reference)
    left = os.listdir(os.path.join(WORK.name, "run"))
    ok(not left, "nothing is left in the run folder", left)
    print(f"1..{tests}")
    return failed != 0


sys.exit(main())
