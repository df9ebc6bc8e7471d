# SPDX-License-Identifier: MIT
"""What bench/run and bench/peer share: cases taken in turn, figures as TSV, loads, processes."""
import collections
import fnmatch
import json
import os
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(ROOT, os.environ.get("BUILD", "build"))
RUNS = int(os.environ.get("RUNS", "5"))
# The generator's processor and the appliance's
CPUS = sorted(os.sched_getaffinity(0))
GENERATOR_CPU, APPLIANCE_CPU = CPUS[0], CPUS[-1]
STAGES = {"gwcap", "gwdecap", "gwfilter", "gwmangle", "gwinject", "gwtee", "gwhealth"}
MEMORY_MB = 768		# more than a case writes
ECHO = "exec b_echo eth0"
FILTER = "-f " + shlex.quote(os.path.join(ROOT, "examples/censor-filter.rules"))
MANGLE = "-f " + shlex.quote(os.path.join(ROOT, "examples/censor-mangle.rules"))
COLUMNS = ("name", "unit", "median", "min", "max", "runs", "must", "aim")

# A figure made of others: @of gets {(case, unit): figure} of one run, @needs are the cases
Derived = collections.namedtuple("Derived", "name unit needs of must aim", defaults=("", ""))


def ratio(name, unit, a, b, must="", aim=""):
    """How many times case @b's figure is case @a's, in one run."""
    return Derived(name, "ratio", (a, b), lambda v: v[a, unit] / v[b, unit], must, aim)


def less(name, unit, a, b, must="", aim=""):
    """What case @a's figure is above case @b's, in one run."""
    return Derived(name, unit, (a, b), lambda v: v[a, unit] - v[b, unit], must, aim)


class Bench:
    """Cases whose names fit a pattern, run in turn, their figures on stdout."""

    def __init__(self, patterns, work, columns=COLUMNS):
        self.patterns = patterns or ["*"]
        self.work = work
        self.reported = 0
        path = [os.path.join(BUILD, d) for d in ("bin", "bench", "tests")] + [os.environ["PATH"]]
        self.env = dict(os.environ, LC_ALL="C.UTF-8", GW_RUN=os.path.join(work, "run"),
                        PATH=":".join(path))
        print("\t".join(columns), flush=True)

    def wants(self, *names):
        return any(fnmatch.fnmatch(n, p) for n in names for p in self.patterns)

    def report(self, name, unit, values, must="", aim=""):
        if values and self.wants(name):
            self.reported += 1
            figures = (statistics.median(values), min(values), max(values))
            print(name, unit, *(f"{f:.4g}" for f in figures), len(values), must, aim,
                  sep="\t", flush=True)

    def end(self):
        if not self.reported:
            sys.exit(f"bench: no row fits {' '.join(map(shlex.quote, self.patterns))}")

    def group(self, cases, derived=(), goals=None):
        """Take turns: {name: function that gives {unit: figure}}; the first turn warms up.
        @goals: what a case itself must and should reach."""
        asked = [d for d in derived if self.wants(d.name)]
        names = set().union(*(d.needs for d in asked))
        cases = {n: f for n, f in cases.items() if n in names or self.wants(n)}
        runs = []
        for turn in range(RUNS + 1 if cases else 0):
            run = {(n, unit): v for n, f in cases.items() for unit, v in f().items()}
            if turn:
                runs.append(run)
        for key in runs[0] if runs else ():
            self.report(*key, [r[key] for r in runs], *(goals or {}).get(key[0], ()))
        for d in asked:
            self.report(d.name, d.unit, [d.of(r) for r in runs], d.must, d.aim)

    def shell(self, cmd, wait=True):
        """Run a command line in the work folder: what it printed."""
        done = subprocess.Popen(["bash", "-o", "pipefail", "-c", cmd], cwd=self.work,
                                env=self.env, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if not wait:
            return done
        try:
            out, err = done.communicate(timeout=300)
        except subprocess.TimeoutExpired:
            done.kill()
            sys.exit(f"bench: it does not end: {cmd}")
        if done.returncode:
            sys.exit(f"bench: {cmd}\n{err.decode(errors='replace')}")
        return out.decode()

    def have_memory(self):
        """A guest's free memory may be its host's by now, and comes back a page at a time: who
        writes a file would wait for that.  So somebody else did just before."""
        name = os.path.join(self.work, "memory")
        block = bytes(1 << 20)
        with open(name, "wb", buffering=0) as f:
            for _ in range(MEMORY_MB):
                f.write(block)
        os.unlink(name)

    def seconds(self, cmd):
        """How long it takes, without the shell's own start, or lies between the two times that it
        prints."""
        self.have_memory()
        said = self.shell(f"began=$EPOCHREALTIME; {{ {cmd}; }} && echo $began $EPOCHREALTIME").split()
        return float(said[1]) - float(said[0])

    def cpu(self, cmd):
        """Seconds of processor that it and all its children take."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.shell(cmd)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

    def load_cmd(self, appliance, args):
        pinned = f"taskset -pc {APPLIANCE_CPU} $$ >/dev/null; {appliance}"
        return (f"gwsim load --appliance {shlex.quote(pinned)} --cpu {GENERATOR_CPU} "
                f"--flows 64 --json {args}")

    def load(self, appliance, args):
        return json.loads(self.shell(self.load_cmd(appliance, args)).splitlines()[-1])

    def full_load(self, appliance, size):
        """@size: bytes of UDP payload."""
        r = self.load(appliance, f"--rate max --time 2 --size {size + 28}")
        return {"kpps": r["received_pps"] / 1e3, "offered kpps": r["sent"] / r["seconds"] / 1e3}

    def latency(self, appliance, size):
        r = self.load(appliance, f"--rate 10000 --time 2 --size {size + 28}")
        return {"p50 us": r["p50_us"], "p99 us": r["p99_us"]}

    def highest(self, appliance, size):
        """The highest rate that loses less than 1 %, and what 0.9 of it loses."""
        r = self.load(appliance, f"--find-max 1 --time 3 --size {size + 28}")
        best = r["rate_pps"] or r["received_pps"]
        loss = self.load(appliance, f"--rate {int(0.9 * best)} --time 1 --size {size + 28}")
        return {"kpps": best / 1e3, "loss % at 0.9 of it": loss["loss_percent"]}

    def live(self, kinds, derive, sizes=(64, 1400, 8400)):
        """Loads of {name: appliance}; @derive(case, unit, ...) makes what compares them."""
        for what, measure, unit, at in (("full load", self.full_load, "kpps", sizes),
                                        ("10 kpps", self.latency, "p50 us", sizes[:2]),
                                        ("highest rate", self.highest, "loss % at 0.9 of it",
                                         sizes[:2])):
            for size in at:
                case = f"live {size} B {what}: "
                self.group({case + k: lambda a=a, size=size, measure=measure: measure(a, size)
                            for k, a in kinds.items()}, derive(case, what, size, unit))


def pipe_chain(source, out, opt="", middle=None):
    """The five programs; @middle: other stages between gwdecap and gwinject."""
    if middle is None:
        middle = [f"gwfilter -q {opt} {FILTER}", f"gwmangle -q {opt} {MANGLE}"]
    return " | ".join([f"gwcap -q {opt} {source}", f"gwdecap -q {opt}", *middle,
                       f"gwinject -q {opt} {out}"])


def descendants(pid):
    """Process ids below @pid, as seen from here."""
    children = collections.defaultdict(list)
    for entry in os.listdir("/proc"):
        try:
            with open(f"/proc/{entry}/stat", encoding="ascii", errors="replace") as f:
                children[int(f.read().rpartition(")")[2].split()[1])].append(int(entry))
        except (OSError, ValueError):
            pass
    found, todo = [], [pid]
    while todo:
        below = children[todo.pop()]
        found += below
        todo += below
    return found


def stages(pid):
    """The stages among them."""
    found = []
    for p in descendants(pid):
        try:
            with open(f"/proc/{p}/comm", encoding="utf-8") as f:
                if f.read().strip() in STAGES:
                    found.append(p)
        except OSError:
            pass
    return found


def cpu_ns(pid):
    """Time on a processor, of all threads that have not ended."""
    total = 0
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as f:
                total += int(f.read().split()[0])
    except (FileNotFoundError, ProcessLookupError):
        pass
    return total


def pss_mb(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        return sum(int(line.split()[1]) for line in f if line.startswith("Pss:")) / 1024


def work_folder():
    """In memory if there is enough: a disk is not what is measured."""
    room = os.statvfs("/dev/shm") if os.path.isdir("/dev/shm") else None
    shm = room and room.f_bavail * room.f_frsize > 6 << 30
    folder = tempfile.TemporaryDirectory(prefix="gwbench-", dir="/dev/shm" if shm else None)
    os.chmod(folder.name, 0o755)
    return folder
