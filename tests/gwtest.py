# SPDX-License-Identifier: MIT
"""What the python tests share: TAP, a folder of their own, stages and their accounts."""
import atexit
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

BIN = os.environ.get("GW_BIN") or os.path.join(os.path.dirname(__file__), "../build/bin")
TESTS = os.environ.get("GW_TESTS") or os.path.join(os.path.dirname(__file__), "../build/tests")
SOAK = os.environ.get("SOAK") == "1"
SAN = "asan" in BIN or "tsan" in BIN
DIR = tempfile.mkdtemp(prefix="gwtest.")
os.chmod(DIR, 0o755)
os.environ["GW_RUN"] = os.path.join(DIR, "run")
os.environ.pop("GW_CHAIN", None)
os.environ["PATH"] = BIN + ":" + TESTS + ":" + os.environ["PATH"]

_count = _bad = 0
_procs = []


@atexit.register
def _clean():
    left = [p for p in _procs if p.poll() is None]
    for p in left:
        p.terminate()           # who has children (nginx) takes them along; killed, it leaves them
    end = time.monotonic() + 2
    for p in left:
        try:
            p.wait(max(0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait()
    shutil.rmtree(DIR, ignore_errors=True)


def ok(cond, what, *notes):
    """One test point; what is noted helps when it fails"""
    global _count, _bad
    _count += 1
    if not cond:
        _bad += 1
    print("%sok %d - %s" % ("" if cond else "not ", _count, what))
    if not cond:
        for n in notes:
            for line in str(n).splitlines():
                print("#", line)
    sys.stdout.flush()
    return bool(cond)


def done():
    print("1..%d" % _count)
    sys.exit(_bad != 0)


def path(name):
    return os.path.join(DIR, name)


def write(name, text):
    with open(path(name), "w") as f:
        f.write(text)


def read(name):
    """Empty, if it is not there"""
    try:
        with open(path(name), errors="replace") as f:
            return f.read()
    except OSError:
        return ""


def have(prog):
    return os.path.exists(os.path.join(BIN, prog))


def until(cond, seconds=10):
    """Wait for a condition; its last value"""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = cond()
        if value:
            return value
        time.sleep(0.01)
    return cond()


class Proc:
    """One process; its stderr goes to a file"""

    def __init__(self, *argv, stdin=subprocess.DEVNULL, stdout=None, **kw):
        self.err = tempfile.TemporaryFile(dir=DIR)
        self.out = None
        if stdout is None:
            stdout = self.out = tempfile.TemporaryFile(dir=DIR)
        self.p = subprocess.Popen(argv, stdin=stdin, stdout=stdout, stderr=self.err, **kw)
        self.pid = self.p.pid
        _procs.append(self.p)

    def stderr(self):
        self.err.seek(0)
        return self.err.read().decode(errors="replace")

    def stdout(self):
        self.out.seek(0)
        return self.out.read()

    def signal(self, sig):
        self.p.send_signal(sig)

    def wait(self, seconds=30):
        """Exit status, or a word when it does not come"""
        try:
            return self.p.wait(seconds)
        except subprocess.TimeoutExpired:
            return "still running"

    def running(self):
        return self.p.poll() is None


def processes(*names):
    """Pids of those of this test that have one of these names"""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/comm" % pid) as f, open("/proc/%s/environ" % pid) as g:
                if f.read().strip() in names and DIR in g.read():
                    found.append(int(pid))
        except OSError:
            pass
    return sorted(found)


def namespaces(pid):
    """Different network namespaces among a process's descriptors"""
    found = set()
    for fd in os.listdir("/proc/%d/fd" % pid):
        try:
            found.add(os.readlink("/proc/%d/fd/%s" % (pid, fd)))
        except OSError:
            pass
    return sum(x.startswith("net:[") for x in found)


def run(*argv, data=None, seconds=60, **kw):
    """Run to the end: (status, stdout, stderr)"""
    r = subprocess.run(argv, input=data, stdin=subprocess.DEVNULL if data is None else None,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=seconds, **kw)
    return r.returncode, r.stdout, r.stderr.decode(errors="replace")


_SUMMARY = re.compile(r"^(gw\w+)(?::([\w.-]+))?: (\d+) in, (\d+) made, (\d+) out, (\d+) dropped"
                      r"(?: \((.*?)\))?, (\d+) uncertain(?:, (\d+) lost before)?$", re.M)


class Account:
    """A summary line"""

    def __init__(self, m):
        self.prog, self.name = m.group(1), m.group(2)
        self.into, self.made, self.out, self.dropped = (int(m.group(i)) for i in range(3, 7))
        self.reasons = dict((r.rsplit(" ", 1)[0], int(r.rsplit(" ", 1)[1]))
                            for r in (m.group(7) or "").split(", ") if r)
        self.uncertain, self.lost = int(m.group(8)), int(m.group(9) or 0)
        self.text = m.group(0)

    def balances(self):
        return (self.into + self.made == self.out + self.dropped + self.uncertain and
                sum(self.reasons.values()) == self.dropped)


def accounts(text):
    """{program: account} of all summary lines in a text"""
    return {m.group(1) + (":" + m.group(2) if m.group(2) else ""): Account(m)
            for m in _SUMMARY.finditer(text)}


def account(text):
    """The last summary line's account, or None"""
    all_of = list(_SUMMARY.finditer(text))
    return Account(all_of[-1]) if all_of else None


def status_field(pid, field, task=None):
    """A field of /proc/PID/status, or of one of its threads"""
    where = "/proc/%d/task/%d/status" % (pid, task) if task else "/proc/%d/status" % pid
    with open(where) as f:
        for line in f:
            if line.startswith(field + ":"):
                return line.split(":", 1)[1].strip()
    return None


def generate(name, count, payload, flows=64):
    """A capture of load balancer packets"""
    with open(path(name), "wb") as f:
        subprocess.run(["h_gen", str(count), str(payload), str(flows)], stdout=f, check=True)
    return path(name)
