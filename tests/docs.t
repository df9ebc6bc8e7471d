#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Every block of shell in README.md, CONTRIBUTING.md, examples/README.md and in the EXAMPLES of the
manual pages is run, under sh, and must end as a reader would expect.

A comment in front of a block, '<!-- fixture: NAME -->' or '.\\" fixture: NAME', says where:

files   a folder with captures and rules, and a command my-appliance; the default.  Status 0.
live    the same in a network namespace with eth0, where a load balancer's packets arrive; the
        default of blocks that name eth0.  Runs until packets came back (with gwinject), else
        until it ends or has run a while; Ctrl-C must then end all of it with status 0.
far     with the next 'near' block: two machines, the load balancer's packets arrive at 'near'.
chain   a live chain runs already, with gwhealth on 8080 and 127.0.0.1:9681.
sim     a simulation runs already.
rules   not shell: rules, the default in gwrules(5), checked by gwfilter -n, or by gwmangle -n where they edit.
web     the same in gwweb(5), by gwproxy -n.
told    a transcript: its commands are run again and must print the same, times aside.
examples  the examples folder itself.
clone   a copy of this source tree, where make and what needs a fresh machine only say that
        they were called.
units   /etc is a copy, and systemctl a stand-in.
cloud   the client of a cloud is a stand-in that checks each command's shape.
"""
import concurrent.futures
import glob
import itertools
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback

if os.geteuid() != 0:
    print("1..0 # SKIP needs root: network namespaces")
    sys.exit(0)
if os.environ.get("GW_DOCS_T") != "in":     # whatever is left over ends with this namespace
    os.environ["GW_DOCS_T"] = "in"
    os.execvp("unshare", ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child",
                          "--mount-proc", "--", sys.executable, os.path.abspath(__file__)] + sys.argv[1:])

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BIN = os.environ.get("GW_BIN", TOP + "/build/bin")
SLOW = 3 if "asan" in os.environ.get("BUILD", "") else 1
LB_MAC, MY_MAC = "02:00:00:00:01:0a", "02:00:00:00:01:14"
AT_ONCE = 6         # blocks wait more than they work
results = threading.local()
numbers = itertools.count()


def ok(cond, what, detail=""):
    results.of_block.append((bool(cond), what, detail))


# --- finding blocks ---------------------------------------------------------

def markdown_blocks(path):
    fixture, lines = None, open(path, encoding="utf-8").read().split("\n")
    i = 0
    while i < len(lines):
        m = re.match(r"<!-- fixture: (\w+) -->", lines[i])
        if m:
            fixture = m.group(1)
        elif lines[i].startswith("```"):
            end = lines.index("```", i + 1)
            if lines[i] == "```sh" or fixture and lines[i] in ("```text", "```console"):
                yield i + 2, fixture, "\n".join(lines[i + 1:end]) + "\n"
            i, fixture = end, None
        i += 1


ROFF = [("\\&", ""), ("\\-", "-"), ("\\(dq", '"'), ("\\(aq", "'"), ("\\(ti", "~"), ("\\(ha", "^"), ("\\e", "\\")]


def unroff(text):
    for a, b in ROFF:
        text = text.replace(a, b)
    return text


def man_blocks(path):
    fixture, block, start, examples = None, None, 0, False
    for n, line in enumerate(open(path, encoding="utf-8"), 1):
        m = re.match(r'\.\\" fixture: (\w+)', line)
        if line.startswith(".Sh"):
            examples = line.strip() == ".Sh EXAMPLES"
        elif m:
            fixture = m.group(1)
        elif not examples:
            continue
        elif re.match(r"\.Bd .*-(literal|unfilled)", line):
            block, start = "", n + 1
        elif line.startswith(".Ed"):
            yield start, fixture, unroff(block)
            block = fixture = None
        elif block is not None:
            block += line
        elif line.startswith(".Dl "):
            yield n, fixture, unroff(line[4:])
            fixture = None


def default_fixture(path, text):
    if path.endswith("/gwrules.5"):
        return "rules"
    if path.endswith("/gwweb.5"):
        return "web"
    return "live" if "eth0" in text and not text.startswith("gwsim") else "files"


def all_blocks():
    pages = sorted(glob.glob(TOP + "/man/*.[578]") + glob.glob(TOP + "/gw*/*.8"))
    for path in [TOP + "/README.md", TOP + "/CONTRIBUTING.md", TOP + "/examples/README.md"] + pages:
        find = markdown_blocks if path.endswith(".md") else man_blocks
        for line, fixture, text in find(path):
            yield f"{os.path.relpath(path, TOP)}:{line}", fixture or default_fixture(path, text), text


# --- places -----------------------------------------------------------------

STUB = """#!/bin/sh
# stands in for what needs a fresh machine or a cloud
case $0 in
*/timeout) shift; exec /usr/bin/timeout --preserve-status 2 "$@" ;;
*/make) case "$*" in *[!a-zA-Z0-9=/_\\ .-]*) exit 1 ;; esac; exit 0 ;;
*/aws) [ "$2" ] && case $1/$2 in
	elbv2/create-target-group | elbv2/register-targets | elbv2/modify-target-group-attributes | \\
	elbv2/create-load-balancer | elbv2/create-listener | elbv2/describe-target-health | \\
	ec2/authorize-security-group-ingress | ec2/modify-instance-attribute) ;; *) exit 1 ;; esac
	exit 0 ;;
*) exit 0 ;;
esac
"""
STUBBED = {"clone": ("make",), "cloud": ("aws",), "units": ("systemctl", "systemd-sysusers"),
           "live": ("timeout",), "chain": ("timeout",)}


MY_APPLIANCE = """#!/bin/sh
export GW_RUN="$PWD/run-$$"
gwhealth -l :8080 &
gwcap -I eth0 --peer auto -q | gwdecap -q | gwinject -I eth0 -q
"""


# Further files that examples use
ROOT = "openssl req -x509 -days 2 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=x"
MAKE = ("gwdecap -q -i trace.pcap -o in.pcap", "gwcap -q -i trace.pcap -o trace.pcapng",
        ROOT + " -keyout key.pem -out cert.pem",
        ROOT + " -addext keyUsage=critical,keyCertSign -keyout ca.key -out ca.pem")


def write(path, text, mode=0o644):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    os.chmod(path, mode)


def make_model():
    """The folder that each place is a copy of"""
    model = tempfile.mkdtemp(prefix="gw-docs-", dir=os.environ.get("TMPDIR", "/tmp"))
    shutil.copytree(TOP + "/examples", model + "/examples")
    for name in ("trace.pcap", "geneve.pcap"):
        shutil.copy(TOP + "/examples/trace.pcap", f"{model}/{name}")
    shutil.copy(TOP + "/examples/censor-filter.rules", model + "/drop.rules")
    shutil.copy(TOP + "/examples/censor-mangle.rules", model + "/edit.rules")
    shutil.copy(TOP + "/examples/quic.rules", model + "/quic.rules")
    shutil.copy(TOP + "/examples/bodies.web", model + "/page.web")
    for command in MAKE:
        subprocess.run(command, shell=True, cwd=model, stderr=subprocess.DEVNULL, check=True,
                       env=dict(os.environ, PATH=f"{BIN}:{os.environ['PATH']}"))
    return model


class Place:
    """A folder to run a block in"""
    model = None

    def __init__(self, fixture):
        self.dir = tempfile.mkdtemp(prefix="gw-docs-", dir=os.environ.get("TMPDIR", "/tmp"))
        shutil.copytree(Place.model, self.dir, dirs_exist_ok=True)
        os.chmod(self.dir, 0o777)
        os.mkdir(self.dir + "/bin")
        write(self.dir + "/bin/my-appliance", MY_APPLIANCE, 0o755)
        for name in STUBBED.get(fixture, ()):
            write(f"{self.dir}/bin/{name}", STUB, 0o755)
        if fixture == "clone":
            self.clone()
        if fixture == "examples":
            os.chmod(self.dir + "/examples", 0o777)
        self.cwd = self.dir + ("/examples" if fixture == "examples" else "")
        self.env = dict(os.environ, PATH=f"{self.dir}/bin:{BIN}:{os.environ['PATH']}",
                        GW_RUN=self.dir + "/run", TZ="UTC", LC_ALL="C")
        for name in ("GW_DOCS_T", "MAKEFLAGS", "MAKELEVEL"):
            self.env.pop(name, None)


    def clone(self):
        for name in ("man", "scripts", "tests", "common", "Makefile", "README.md"):
            src = f"{TOP}/{name}"
            (shutil.copytree if os.path.isdir(src) else shutil.copy)(src, f"{self.dir}/{name}")
        for name in ("scripts/demo", "scripts/check", "scripts/packages", "scripts/lint", "tests/run"):
            if not os.access(f"{TOP}/{name}", os.X_OK):
                raise SystemExit(f"{name} is not there to be run")
            write(f"{self.dir}/{name}", STUB, 0o755)
        os.makedirs(self.dir + "/build/bin")

    def start(self, text, net=None, name="block"):
        write(f"{self.dir}/{name}.sh", text)
        enter = ["nsenter", "-t", str(net.pid), "-n"] if net else []
        self.err = open(f"{self.dir}/{name}.log", "w+", encoding="utf-8", errors="replace")
        return subprocess.Popen(enter + ["sh", "-e", f"{self.dir}/{name}.sh"], cwd=self.cwd, env=self.env,
                                stdin=subprocess.DEVNULL, stdout=self.err, stderr=subprocess.STDOUT)

    def log(self):
        return "\n".join(f"{p}: {open(p, errors='replace').read()}" for p in glob.glob(self.dir + "/*.log"))

    def close(self):
        shutil.rmtree(self.dir)


def ip(*args, net=None):
    enter = ["nsenter", "-t", str(net.pid), "-n"] if net else []
    subprocess.run(enter + ["ip"] + list(args), check=True)


def new_net():
    p = subprocess.Popen(["unshare", "--net", "sleep", "3600"], stdin=subprocess.DEVNULL)
    while os.readlink(f"/proc/{p.pid}/ns/net") == os.readlink("/proc/self/ns/net"):
        time.sleep(0.01)
    ip("link", "set", "lo", "up", net=p)
    return p


class Balancer:
    """eth0 in a new namespace, with the packets of trace.pcap coming in over and over"""

    def __init__(self):
        self.net, self.name = new_net(), f"lb{next(numbers)}"
        ip("link", "add", self.name, "mtu", "9001", "address", LB_MAC, "type", "veth", "peer", "name",
           "eth0", "mtu", "9001", "address", MY_MAC, "netns", str(self.net.pid))
        ip("link", "set", self.name, "up")
        ip("addr", "add", "10.0.1.20/24", "dev", "eth0", net=self.net)
        ip("link", "set", "eth0", "up", net=self.net)
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.sock.bind((self.name, 0))
        self.frames, data, at = [], open(TOP + "/examples/trace.pcap", "rb").read(), 24
        while at < len(data):
            n = struct.unpack_from("<I", data, at + 8)[0]
            self.frames.append(data[at + 16:at + 16 + n])
            at += 16 + n
        self.back, self.going = 0, True
        self.threads = [threading.Thread(target=f, daemon=True) for f in (self.send, self.receive)]
        for t in self.threads:
            t.start()

    def send(self):
        while self.going:
            for f in self.frames:
                try:
                    self.sock.send(f)
                except OSError:
                    return
            time.sleep(0.1)

    def receive(self):
        while self.going:
            try:
                f, addr = self.sock.recvfrom(65536)
            except OSError:
                return
            if addr[2] != socket.PACKET_OUTGOING and f[12:14] == b"\x08\x00" and f[23] == 17 and \
                    f[26:30] == bytes((10, 0, 1, 20)) and f[36:38] == b"\x17\xc1":
                self.back += 1

    def close(self):
        self.going = False
        ip("link", "del", self.name)
        for t in self.threads:
            t.join()
        self.sock.close()
        self.net.kill()
        self.net.wait()


# --- running ----------------------------------------------------------------

def children(pid):
    """Processes below @pid, by name"""
    found = {}
    for p in os.listdir("/proc"):
        try:
            stat = open(f"/proc/{p}/stat", encoding="utf-8").read() if p.isdigit() else ""
        except OSError:
            continue
        m = re.match(r"(\d+) \((.*)\) \S (\d+)", stat)
        if m:
            found[int(m.group(1))] = (m.group(2), int(m.group(3)))
    below, again = {pid}, True
    while again:
        new = {p for p, (_, parent) in found.items() if parent in below} - below
        below |= new
        again = bool(new)
    return {p: found[p][0] for p in below if p in found and p != pid}


def interrupt(proc, only=()):
    """As Ctrl-C: every program of the block, though not its shell, whose status we want; a script
    that looks after its programs gets it in their place"""
    for pid, name in children(proc.pid).items():
        if ("chain.sh" in children(proc.pid).values()) == (name == "chain.sh") and \
                name not in ("sh", "bash", "sleep") and (not only or name in only):
            try:
                os.kill(pid, signal.SIGINT)
            except ProcessLookupError:
                pass


def finish(proc, seconds):
    """Wait; a program that drains for long, gwhealth, is asked again"""
    end = time.monotonic() + seconds * SLOW
    while proc.poll() is None and time.monotonic() < end:
        time.sleep(0.1)
        interrupt(proc, only=("gwhealth",))
    if proc.poll() is None:
        for pid in list(children(proc.pid)) + [proc.pid]:
            os.kill(pid, signal.SIGKILL)
        proc.wait()
        return "still running"
    return proc.returncode


def wait_for(proc, cond, seconds):
    end = time.monotonic() + seconds * SLOW
    while time.monotonic() < end and proc.poll() is None:
        if cond():
            return True
        time.sleep(0.05)
    return cond()


def run_files(where, text, fixture):
    place = Place(fixture)
    if fixture == "units":
        write(place.dir + "/units.sh", text)
        text = f"cp -a /etc {place.dir}/etc\nexec unshare --mount sh -ec " \
               f"'mount --bind {place.dir}/etc /etc; . {place.dir}/units.sh'\n"
    proc = place.start(text)
    try:
        rc = proc.wait(90 * SLOW)
    except subprocess.TimeoutExpired:
        rc = finish(proc, 0)
    ok(rc == 0, f"{where}: {fixture}", f"status {rc}\n{text}\n{place.log()}")
    place.close()


def run_live(where, text, fixture):
    place, lb = Place(fixture), Balancer()
    proc = place.start(text, lb.net)
    sends = re.search(r"gwinject.*-I", text) or "chain.sh" in text
    if sends:
        wait_for(proc, lambda: lb.back >= len(lb.frames) // 2, 15)
        ok(lb.back, f"{where}: packets come back", place.log())
    else:
        wait_for(proc, lambda: False, 3)
    if proc.poll() is None:
        interrupt(proc)
    rc = finish(proc, 15)
    log = place.log()
    ok(rc == 0 and "error:" not in log, f"{where}: {fixture}", f"status {rc}\n{text}\n{log}")
    lb.close()
    place.close()


def run_pair(where, near, far):
    place, lb = Place("live"), Balancer()
    other, away = Place("live"), new_net()
    ip("link", "add", "eth1", "address", "02:00:00:00:02:01", "type", "veth", "peer", "name", "eth0",
       "netns", str(away.pid), net=lb.net)
    ip("addr", "add", "10.0.2.1/24", "dev", "eth1", net=lb.net)
    ip("link", "set", "eth1", "up", net=lb.net)
    ip("addr", "add", "10.0.2.2/24", "dev", "eth0", net=away)
    ip("link", "set", "eth0", "up", net=away)
    b, a = other.start(far, away), place.start(near, lb.net)
    wait_for(a, lambda: lb.back >= len(lb.frames) // 2, 15)
    ok(lb.back, f"{where}: packets go to the other machine and come back", place.log() + other.log())
    interrupt(a, only=("gwcap",))     # the end goes there and back
    rc, rb = finish(a, 15), finish(b, 15)
    ok(rc == 0 and rb == 0, f"{where}: near and far", f"{rc} {rb}\n{place.log()}\n{other.log()}")
    away.kill()
    away.wait()
    lb.close()
    place.close()
    other.close()


CHAIN = """gwhealth -l :8080 --admin 127.0.0.1:9681 2>health.log &
gwcap -I eth0 2>cap.log | gwdecap 2>decap.log | gwfilter -f drop.rules 2>filter.log |
gwmangle -f edit.rules 2>mangle.log | gwinject -I eth0 2>inject.log
wait
"""


def run_chain(where, text, fixture):
    place, lb = Place(fixture), Balancer()
    chain = place.start(CHAIN, lb.net, "chain")
    healthy = ["nsenter", "-t", str(lb.net.pid), "-n", "curl", "-sf", "-o", "/dev/null", "localhost:8080"]
    wait_for(chain, lambda: lb.back and not subprocess.run(healthy, check=False).returncode, 15)
    proc = place.start(text, lb.net)
    wait_for(proc, lambda: False, 3)
    if proc.poll() is None:
        interrupt(proc)
    rc = finish(proc, 15)
    ok(rc == 0, f"{where}: chain", f"status {rc}\n{text}\n{place.log()}")
    interrupt(chain)
    finish(chain, 15)
    lb.close()
    place.close()


def run_rules(where, text, program=None):
    place = Place("rules")
    write(place.dir + "/example.rules", text)
    edits = re.search(r"^\s*(replace|set)\b", text, re.M)
    program = program or ("gwmangle" if edits else "gwfilter")
    proc = place.start(f"{program} -n -f example.rules\n")
    ok(proc.wait() == 0, f"{where}: rules", f"{text}\n{place.log()}")
    place.close()


def same(line):
    """A line of a transcript without what differs each time"""
    line = re.sub(r"time[ =][0-9.]+ ?ms", "time", line)
    return re.sub(r"^rtt .*", "rtt", line)


def run_told(where, text):
    """Commands after '$ '; a file shown by cat is made with that content first"""
    place = Place("files")
    steps = [(part.split("\n", 1) + [""])[:2] for part in ("\n" + text).split("\n$ ")[1:]]
    for command, shown in steps:
        if command.startswith("cat "):
            write(f"{place.dir}/{command[4:]}", shown + "\n")
        got = subprocess.run(["sh", "-c", command], cwd=place.dir, env=place.env, text=True, check=False,
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE).stdout
        want = [same(line) for line in shown.strip().split("\n")]
        ok([same(line) for line in got.strip().split("\n")] == want, f"{where}: told: {command}",
           f"it printed\n{got}\n{place.log()}")
    place.close()


def run_sim(where, text):
    place = Place("files")
    sim = place.start("gwsim run -a my-appliance --health tcp:8080 -- ping server\n", name="sim")
    # ping's lines tell that all stands
    wait_for(sim, lambda: "bytes from" in place.log(), 20)
    proc = place.start(text)
    wait_for(proc, lambda: False, 20)
    ok(proc.poll() == 0, f"{where}: sim", f"status {proc.poll()}\n{text}\n{place.log()}")
    finish(proc, 0)
    sim.terminate()
    interrupt(sim, only=("gwsim",))
    finish(sim, 10)
    place.close()


def run_block(block):
    where, fixture, text, far = block
    results.of_block = []
    run = {"rules": run_rules, "web": lambda where, text: run_rules(where, text, "gwproxy"), "told": run_told, "sim": run_sim}.get(fixture)
    try:
        if fixture == "near":
            run_pair(where, text, far)
        elif run:
            run(where, text)
        else:
            {"chain": run_chain, "live": run_live}.get(fixture, run_files)(where, text, fixture)
    except Exception:   # the other blocks still have a say
        ok(False, f"{where}: {fixture}", traceback.format_exc())
    return results.of_block


def trace():
    results.of_block = []
    with tempfile.NamedTemporaryFile() as made:
        subprocess.run([TOP + "/tests/trace.py", made.name], check=True)
        ok(made.read() == open(TOP + "/examples/trace.pcap", "rb").read(), "trace.py makes trace.pcap")
    return results.of_block


def blocks(only):
    """What is to be run; a block for the far machine goes with the near one"""
    far = None
    for where, fixture, text in all_blocks():
        if fixture == "far":
            far = text
        elif only in where:
            yield where, fixture, text, far


def main():
    count = bad = 0
    ip("link", "set", "lo", "up")
    Place.model = make_model()
    todo = list(blocks(sys.argv[1] if len(sys.argv) > 1 else ""))
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        at_once = [b for b in todo if b[1] != "sim"]
        alone = [b for b in todo if b[1] == "sim"]   # which simulation is meant, must be clear
        for done in itertools.chain([trace()], pool.map(run_block, at_once), map(run_block, alone)):
            for good, what, detail in done:
                count += 1
                bad += not good
                print(f"{'' if good else 'not '}ok {count} - {what}")
                if not good:
                    print("".join(f"# {line}\n" for line in str(detail).splitlines()), end="")
            sys.stdout.flush()
    shutil.rmtree(Place.model)
    print(f"1..{count}")
    sys.exit(bad > 0)


main()
