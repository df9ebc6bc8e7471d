#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""gwsim run and shell: real programs through h_echo, right and wrong."""
import concurrent.futures
import ctypes
import glob
import json
import os
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

ME = os.path.abspath(__file__)
PY = "/usr/bin/python3"
DATA = 5000                                 # port of the UDP services below
FAULTS = """link-address outer-malformed outer-fragment outer-checksum outer-length outer-address
outer-port geneve-header geneve-options cookie inner-size inner-malformed inner-length inner-tuple
inner-checksum port-unreachable""".split()


# What runs inside a simulation: gwsim.t ROLE [ARGUMENT...]

def udp(family=socket.AF_INET):
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    s.settimeout(2)
    return s


def role_echo():
    """Answer every datagram with itself, an empty one with the endpoint's name."""
    socks = []
    for family, any_addr in ((socket.AF_INET6, "::"), (socket.AF_INET, "0.0.0.0")):
        s = udp(family)
        if family == socket.AF_INET6:
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        s.bind((any_addr, DATA))
        socks.append(s)
    while True:
        for s in select.select(socks, [], [])[0]:
            data, peer = s.recvfrom(65535)
            s.sendto(data or os.environ["GWSIM_ENDPOINT"].encode(), peer)


def role_sizes():
    """Every size of packet there is, IPv4 and IPv6; prints how many came back whole."""
    good = 0
    for family, overhead, step in ((socket.AF_INET, 28, 1), (socket.AF_INET6, 48, 7)):
        s = udp(family)
        s.connect((dict([(socket.AF_INET, "10.0.2.20"), (socket.AF_INET6, "fd00:0:0:2::20")])[family], DATA))
        for size in range(overhead + 1, 8501, step):
            data = os.urandom(size - overhead)
            for _ in range(3):              # a busy machine may lose one
                s.send(data)
                try:
                    while (got := s.recv(65535)) != data:
                        pass
                except socket.timeout:
                    continue
                good += 1
                break
    print(good)


def role_once(data="x"):
    """One datagram: prints the answer, or what went wrong."""
    s = udp()
    s.settimeout(0.3)
    s.connect(("server", DATA))
    s.send(data.encode())
    try:
        print(s.recv(65535).decode()[:40])
    except OSError as e:
        print(type(e).__name__)


def role_cut():
    """A packet that says it is longer than it is."""
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    s.bind(("eth0", 0x800))
    ip = [0x4500, 80, 1, 0, 64 << 8 | 253, 0, 10 << 8, 0x10a, 10 << 8, 0x214]
    total = sum(ip)
    ip[5] = 0xffff ^ (total & 0xffff) + (total >> 16)
    s.send(bytes(6) + bytes(6) + b"\x08\x00" + struct.pack("!10H", *ip) + bytes(40))


def role_flows(n):
    """n flows, one datagram each: prints how many were answered."""
    socks = [udp() for _ in range(int(n))]
    for s in socks:
        s.connect(("server", DATA))
        s.send(b"x")
    print(sum(s.recv(10) == b"x" for s in socks))


def role_failover(status, pids):
    """Flow by flow through two appliances, of which the one in use is killed."""
    old = udp()
    old.settimeout(0.2)
    old.connect(("server", DATA))

    def ask(s):
        s.send(b"x")
        try:
            return s.recv(10) == b"x"
        except socket.timeout:
            return False

    def state():
        return json.load(open(status))["appliances"]

    def until(what):
        end = time.time() + 5
        while time.time() < end:
            if what():
                return True
            time.sleep(0.02)
        return False

    before = ask(old)
    until(lambda: any(a["sent"] for a in state()))
    used = [a["sent"] > 0 for a in state()].index(True)
    for pid in open(f"{pids}.{used + 1}").read().split():
        os.kill(int(pid), signal.SIGKILL)
    seen = until(lambda: state()[used]["health"] == "unhealthy")
    new = udp()
    new.settimeout(0.2)
    new.connect(("server", DATA))
    print(json.dumps([before, seen, ask(new), ask(old)]))


def role_stranger(name):
    """Ask for a namespace without being asked who we are."""
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.connect("\0" + name)
    try:
        s.send(bytes(32))
        data, fds, _, _ = socket.recv_fds(s, 100, 8)
        print("refused" if not data and not fds else (data, fds))
    except ConnectionError:
        print("refused")


# The tests

class Tap:
    n = bad = 0

    def ok(self, good, what, *why):
        self.n += 1
        self.bad += not good
        print(f"{'' if good else 'not '}ok {self.n} - {what}", flush=True)
        if not good:
            for w in why:
                print("#", str(w).replace("\n", "\n# "), flush=True)

    def skip(self, what, why):
        self.n += 1
        print(f"ok {self.n} - {what} # SKIP {why}", flush=True)


tap = Tap()
bindir = os.environ.get("GW_BIN", "build/bin")
helpers = os.environ.get("GW_TESTS", "build/tests")
env = dict(os.environ, PATH=f"{os.path.abspath(bindir)}:{os.path.abspath(helpers)}:/usr/sbin:/usr/bin:/sbin:/bin")
for name in ("GWSIM_ID", "GWSIM_ENDPOINT"):
    env.pop(name, None)
E = "h_echo eth0"
SERVE = ["-s", f"exec {PY} {ME} echo", "--server-wait", str(DATA)]


def role(name, *args):
    return [PY, ME, name, *map(str, args)]


def sim(*args, timeout=30, prefix=(), cwd=None):
    return subprocess.run([*prefix, "gwsim", "run", *args], env=env, timeout=timeout, text=True, cwd=cwd,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def start(*args):
    return subprocess.Popen(["gwsim", "run", *args], env=env, text=True, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for(what, seconds=8):
    end = time.time() + seconds
    while time.time() < end:
        got = what()
        if got:
            return got
        time.sleep(0.02)
    return what()


def fine(r):
    return r.returncode == 0 and "no violation" in r.stderr


def test_traffic(tmp):
    r = sim("-a", E, "--", "sh", "-c", "ping -c 3 -i 0.05 server && ping -6 -c 3 -i 0.05 server")
    tap.ok(fine(r) and r.stdout.count(" 0% packet loss") == 2 and "(10.0.2.20)" in r.stdout,
           "ping, IPv4 by default and IPv6", r.stdout, r.stderr)
    r = sim("-a", E, *SERVE, "--", *role("sizes"))
    want = len(range(29, 8501)) + len(range(49, 8501, 7))
    tap.ok(fine(r) and r.stdout.strip() == str(want), "every packet size to 8500 comes through whole",
           r.stdout, r.stderr)
    with open(f"{tmp}/big", "wb") as f:
        f.write(os.urandom(32 << 20))
    r = sim("-a", E, "-s", f"cd {tmp} && exec {PY} -m http.server 80", "--server-wait", "80", "--", "sh", "-c",
            f"curl -sS http://server/big | cmp - {tmp}/big && echo same")
    tap.ok(fine(r) and r.stdout == "same\n", "a download is byte for byte the same", r.stdout, r.stderr)
    r = sim("-a", E, "--status", f"{tmp}/s", *SERVE, "--", "sh", "-c",
            f"ping -c 2 -i 0.05 -s 9500 server && {PY} {ME} once {'y' * 12000}")
    s = json.load(open(f"{tmp}/s"))
    tap.ok(fine(r) and "y" * 40 in r.stdout and s["flows"]["created"] == 2,
           "fragments pass, in the flow of their first", r.stdout, r.stderr, s)
    r = sim("-a", E, "--in", "server", "--", "ping", "-c", "1", "client")
    tap.ok(fine(r), "--in server: from the other side", r.stdout, r.stderr)


def test_faults(tmp):
    def one(fault):
        status = f"{tmp}/{fault}"
        r = sim("-q", "--strict-judge", "--status", status, "-a", f"{E} {fault}", *SERVE, "--", *role("once"))
        return fault, r, json.load(open(status))["violations"]

    with concurrent.futures.ThreadPoolExecutor(4) as pool:   # parallel runs do not collide
        for fault, r, found in pool.map(one, FAULTS):
            tap.ok(r.returncode == 3 and list(found) == [fault] and f" {fault}: " in r.stderr,
                   f"planted {fault} is caught as such", r.returncode, found, r.stderr)
    r = sim("-a", f"{E} inner-checksum", *SERVE, "--", *role("once"))
    tap.ok(r.returncode == 0 and "violation" in r.stderr, "without --strict-judge the status is the command's",
           r.stderr)
    r = sim("-a", f"{E} reject", *SERVE, "--", *role("once"))
    tap.ok(fine(r) and r.stdout == "ConnectionRefusedError\n", "an ICMP error made by the appliance is right",
           r.stdout, r.stderr)


    r = sim("-a", E, "--status", f"{tmp}/s", "--", *role("cut"))
    client = json.load(open(f"{tmp}/s"))["endpoints"][0]["client"]
    tap.ok(fine(r) and client["sent"] == 0 and client["ignored"] == 1, "a cut packet is not carried", r.stderr, client)


def test_status(tmp):
    tap.ok(sim("-a", E, "--", "sh", "-c", "exit 7").returncode == 7, "exit status is the command's")
    tap.ok(sim("-a", E, "--", "sh", "-c", "kill -TERM $$").returncode == 143, "... or its signal's")
    r = sim("-a", E, "--", "/no/such/command")
    tap.ok(r.returncode == 127 and "/no/such/command" in r.stderr, "... or 127", r.stderr)
    r = sim("-a", "exit 5", "--wait", "100ms", "--", "true")
    tap.ok(r.returncode == 0 and "has ended, status 5" in r.stderr, "an appliance that ends is told of", r.stderr)
    r = sim("-a", E, "--status", "/nonexistent/s", "--", "sleep", "0.5")
    tap.ok(r.returncode == 0 and r.stderr.count("/nonexistent/s: cannot be written") == 1,
           "a status that cannot be written is told of, once", r.stderr)
    with open(f"{tmp}/err", "w") as err:
        p = subprocess.Popen(["gwsim", "run", "-a", E, "--", "sleep", "60"], env=env, stderr=err)
    wait_for(lambda: marked("sleep", "60"))
    p.send_signal(signal.SIGUSR1)
    shown = wait_for(lambda: '"phase": "command"' in open(f"{tmp}/err").read())
    p.send_signal(signal.SIGTERM)
    tap.ok(shown and p.wait(10) == 143, "SIGUSR1 shows the state", open(f"{tmp}/err").read())


def marked(*argv):
    """Processes with exactly these arguments, with their network namespaces."""
    want = "".join(a + "\0" for a in argv).encode()
    found = {}
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            if open(path, "rb").read() == want:
                found[int(path.split("/")[2])] = os.readlink(path.replace("cmdline", "ns/net"))
        except OSError:
            pass
    return found


def is_alive(pid):
    """Not gone, and not a zombie that only waits for somebody to notice."""
    try:
        return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def namespaces_in_use():
    found = set()
    for path in glob.glob("/proc/[0-9]*/ns/net"):
        try:
            found.add(os.readlink(path))
        except OSError:
            pass
    return found


def test_end(tmp):
    for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL):
        mark = f"1{os.getpid()}{int(sig)}"      # seconds that nobody else sleeps
        p = start("-a", f"setsid -f sleep {mark}; {E}", "-s", f"setsid sleep {mark}", "--", "sleep", mark)
        there = wait_for(lambda: len(m := marked("sleep", mark)) == 3 and m)
        spaces = set((there or {}).values())
        cell = int(open(f"/proc/{p.pid}/task/{p.pid}/children").read())
        p.send_signal(sig)
        _, err = p.communicate(timeout=10)
        want = -sig if sig == signal.SIGKILL else 128 + sig
        gone = wait_for(lambda: not is_alive(cell) and not marked("sleep", mark) and not spaces & namespaces_in_use() and
                        f"@gwsim.{p.pid}." not in open("/proc/net/unix").read())
        tap.ok(len(spaces) == 3 and gone and p.returncode == want, f"{sig.name} leaves nothing behind",
               there, p.returncode, err)
    r = subprocess.run(["gwsim", "clean"], env=env, text=True, capture_output=True)
    tap.ok(r.returncode == 0 and "nothing was left behind" in r.stderr, "clean agrees", r.stderr)


def role_named(mark, *names):
    """Processes of these names, each the child of the one before, and the mark of the last."""
    for i, name in enumerate(names):
        if i and os.fork():
            signal.pause()
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        ctypes.CDLL(None).prctl(15, name.encode())
    with open(mark, "w") as f:
        f.write(str(os.getpid()))
    signal.pause()


def test_clean(tmp):
    """A cell is recognised by its name and its parent's; so is a child of it that runs nothing yet."""
    for names, ended in (("gwsim", "gwsim-cell", "gwsim-cell"), False), (("stranger", "gwsim-cell"), True):
        mark = f"{tmp}/mark.{ended}"
        # where nobody else looks for orphans
        p = subprocess.Popen(["unshare", "-pf", "--kill-child", "--mount-proc", *role("named", mark, *names)], env=env)
        pid = int(wait_for(lambda: os.path.exists(mark) and open(mark).read()))
        init = open(f"/proc/{p.pid}/task/{p.pid}/children").read().strip()
        r = subprocess.run(["nsenter", "-t", init, "-p", "-m", "-r", "gwsim", "clean"], env=env, text=True, capture_output=True)
        told = f"process {pid}: ended" in r.stderr
        tap.ok(r.returncode == 0 and told == ended, f"clean ends {'an orphan' if ended else 'nothing alive'}", r.stderr)
        p.kill()
        p.wait()
    r = sim("-a", E, "-q", "--", "gwsim", "clean")
    tap.ok(r.returncode == 0 and "nothing was left behind" in r.stderr, "clean, inside", r.stderr)


def test_shell(tmp):
    p = start("-a", E, "--", "sleep", "60")
    other = start("-a", E, "--", "sleep", "60")
    wait_for(lambda: len(marked("sleep", "60")) == 2)

    def shell(*args, prefix=()):
        return subprocess.run([*prefix, "gwsim", "shell", *args], env=env, text=True, capture_output=True,
                              stdin=subprocess.DEVNULL, timeout=20)

    r = {w: shell("-r", str(p.pid), w, "--", "hostname", "-I").stdout.split()
         for w in ("client", "server", "appliance")}
    tap.ok(r == {"client": ["10.0.1.10", "fd00:0:0:1::10"], "server": ["10.0.2.20", "fd00:0:0:2::20"],
                 "appliance": ["10.99.1.2"]}, "shell joins client, server, appliance", r)
    # inside, no other simulation's socket is in sight: there is only one "newest"
    r = shell("-r", str(p.pid), "server", "--", "env", "-u", "GWSIM_ID", "gwsim", "shell", "client", "--",
              "sh", "-c", "hostname -I; ping -c 1 server; exit 9")
    tap.ok(r.returncode == 9 and "10.0.1.10" in r.stdout and "1 received" in r.stdout,
           "shell from inside: the newest run; the status is the command's", r.stdout, r.stderr)
    r = shell("-r", str(p.pid), "appliance2", "--", "true")
    tap.ok(r.returncode == 1 and "no such" in r.stderr, "shell: a place that is not there", r.stderr)
    r = shell("-r", str(p.pid), "client", "--", "true", prefix=nobody_prefix())
    tap.ok(r.returncode == 1 and "another user" in r.stderr, "shell: another user's run", r.stderr)
    name = re.search(rf"@(gwsim\.{p.pid}\.\d+)", open("/proc/net/unix").read())[1]
    mine = shutil.copy(ME, f"{tmp}/anybody.py")         # the checkout may be root's alone
    r = subprocess.run([*nobody_prefix(), PY, mine, "stranger", name], text=True, capture_output=True, timeout=20)
    tap.ok(r.stdout == "refused\n", "a stranger who asks all the same gets nothing", r.stdout, r.stderr)
    for q in (p, other):
        q.terminate()
    errs = [q.communicate(timeout=10)[1] for q in (p, other)]
    tap.ok(all("client sent" in e for e in errs), "two runs at a time", errs)


def test_endpoints(tmp):
    ids = ["vpce-00000000000000001", "vpce-0ffffffffffffffff"]
    r = {i: sim("-a", E, "--endpoint", ",".join(ids), "--at", i, *SERVE, "--", *role("once", "")) for i in ids}
    tap.ok(all(fine(r[i]) and r[i].stdout == i + "\n" for i in ids),
           "endpoints with the same addresses are kept apart", [(r[i].stdout, r[i].stderr) for i in ids])


def flows(tmp, *args, n=64, appliances=2):
    r = sim(*["-a", E] * appliances, "--status", f"{tmp}/s", *args, *SERVE, "--", *role("flows", n))
    s = json.load(open(f"{tmp}/s"))
    return r, [a["sent"] for a in s["appliances"]], s["flows"]


def test_flows(tmp):
    r, sent, f = flows(tmp)
    tap.ok(fine(r) and r.stdout == "64\n" and min(sent) >= 10 and f["created"] == 64,
           "flows are spread over the appliances", r.stdout, r.stderr, sent, f)
    for tuple_ in "3", "2":
        r, sent, f = flows(tmp, "--stickiness", tuple_)
        tap.ok(fine(r) and r.stdout == "64\n" and sorted(sent) == [0, 128] and f["created"] == 1,
               f"stickiness {tuple_}: one flow, one appliance", r.stdout, r.stderr, sent, f)
    r, sent, f = flows(tmp, "--flows", "16", appliances=1)
    tap.ok(f["live"] == 16 and f["created"] >= 64 and f["evicted"] == f["created"] - 16,
           "a full table forgets the flow idle longest", r.stderr, f)
    r = sim("-a", E, "--status", f"{tmp}/s", "--timeout-scale", "0.002", "--", "ping", "-c", "2", "-i", "0.5", "server")
    f = json.load(open(f"{tmp}/s"))["flows"]
    tap.ok(fine(r) and (f["created"], f["expired"]) == (2, 1), "idle flows expire, scaled", r.stderr, f)


def failover(tmp, *args):
    # pids as the command sees them: all are in one PID namespace
    cmd = (f"{PY} -m http.server 8080 >/dev/null 2>&1 & h=$!; {E} & echo $! $h > {tmp}/pids.$GWSIM_APPLIANCE; wait")
    return sim("-a", cmd, "-a", cmd, "--health", "http:8080/", "--health-interval", "100ms", "--health-timeout", "1s",
               "--unhealthy-after", "2", "--status", f"{tmp}/s", *args, *SERVE, "--",
               *role("failover", f"{tmp}/s", f"{tmp}/pids"))


def test_health(tmp):
    r = failover(tmp)
    # the dead one's kernel now answers with port unreachable: counted, and no matter here
    tap.ok(r.returncode == 0 and r.stdout.strip() == "[true, true, true, false]",
           "a dead appliance keeps its flows, new ones go to the other", r.stdout, r.stderr)
    r = failover(tmp, "--rebalance")
    tap.ok(r.returncode == 0 and r.stdout.strip() == "[true, true, true, true]", "--rebalance moves its flows", r.stdout, r.stderr)
    r, sent, f = flows(tmp, "--health", "tcp:9", "--health-interval", "50ms", "--wait", "2s")
    tap.ok(r.stdout == "64\n" and min(sent) >= 10 and "not ready after 2000 ms" in r.stderr and
           "unhealthy: Connection refused" in r.stderr, "all unhealthy: flows go to any", r.stdout, r.stderr, sent)
    cmd = f"sleep 1; {PY} -m http.server 8080 >/dev/null 2>&1 & exec {E}"
    begin = time.time()
    r = sim("-a", cmd, "--health", "http:8080/", "--", "ping", "-c", "1", "server")
    tap.ok(fine(r) and time.time() - begin < 8, "a slow start needs one success only", r.stdout, r.stderr)
    cmd = f"while :; do printf 'HTTP/1.1 404 No\\r\\n\\r\\n' | nc -lN 8080 >/dev/null; done & exec {E}"
    r = sim("-a", cmd, "--health", "http:8080/", "--wait", "1s", "--status", f"{tmp}/s", "--", "true")
    a = json.load(open(f"{tmp}/s"))["appliances"][0]
    tap.ok(a["health"] != "healthy" and a["reason"] == "status 404", "HTTP: a status of 404 is a failure", r.stderr, a)


def nobody_prefix():
    return ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]


def test_user(tmp):
    what = "an ordinary user, in a user namespace of its own"
    if subprocess.run([*nobody_prefix(), "unshare", "-Urnp", "--fork", "true"], capture_output=True).returncode:
        tap.skip(what, "the kernel does not let ordinary users make namespaces")
        return
    r = sim("-a", E, "--", "sh", "-c", "id -u; ping -c 1 server && ping -6 -c 1 server",
            prefix=nobody_prefix(), cwd="/")
    tap.ok(fine(r) and r.stdout.startswith("0\n") and r.stdout.count("1 received") == 2, what, r.stdout, r.stderr)


def test_examples(tmp):
    """The man page's examples, with h_echo as my-appliance."""
    page = open(os.path.join(os.path.dirname(ME), "../gwsim/gwsim.8")).read()
    blocks = re.findall(r"\.Bd -literal -offset indent\n(.*?)\.Ed", page.split(".Sh EXAMPLES")[1], re.S)
    blocks = [b.replace("\\e\n", "\\\n") for b in blocks if " run " in b or " shell " in b]
    with open(f"{tmp}/my-appliance", "w") as f:
        f.write(f"#!/bin/sh\n{PY} -m http.server 8080 >/dev/null 2>&1 &\nexec {E}\n")
    os.chmod(f"{tmp}/my-appliance", 0o755)
    with open(f"{tmp}/file", "w") as f:
        f.write("content\n")
    here = dict(env, PATH=f"{tmp}:{env['PATH']}")
    tap.ok(len(blocks) >= 4, "the man page has examples")
    for b in blocks:
        bg = None
        if " shell " in b:
            bg = subprocess.Popen(["gwsim", "run", "-a", E, "--", "ping", "-i", "0.1", "server"], env=env,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            wait_for(lambda: marked("ping", "-i", "0.1", "server"))
            here["GWSIM_ID"] = str(bg.pid)
        b = re.sub(r"ping -c \d+", "ping -i 0.02 -c 20", b).replace("my-appliance eth0", "my-appliance")
        r = subprocess.run(["sh", "-ec", b], env=here, cwd=tmp, text=True, capture_output=True, timeout=30)
        if bg:
            bg.terminate()
            bg.wait()
        tap.ok(r.returncode == 0 and "not ready" not in r.stderr, f"example: {b.split(chr(10))[0]}", r.stdout, r.stderr)


def main():
    if os.geteuid():
        print("1..0 # SKIP needs root")
        return 0
    tmp = tempfile.mkdtemp(prefix="gwsim-t.")
    os.chmod(tmp, 0o755)
    try:
        # a place that any user can reach
        for src in (f"{bindir}/gwsim", f"{helpers}/h_echo"):
            shutil.copy(src, tmp)
        env["PATH"] = f"{tmp}:{env['PATH']}"
        for test in (test_traffic, test_faults, test_status, test_end, test_clean, test_shell, test_endpoints, test_flows,
                     test_health, test_user, test_examples):
            test(tmp)
    finally:
        shutil.rmtree(tmp)
    print(f"1..{tap.n}")
    return tap.bad != 0


if len(sys.argv) > 1:
    globals()[f"role_{sys.argv[1]}"](*sys.argv[2:])
else:
    sys.exit(main())
