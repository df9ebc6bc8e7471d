#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""gwsim conform: a right appliance passes; each planted fault is found by its test."""
import concurrent.futures
import glob
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree

if os.geteuid() != 0:
    print("1..0 # SKIP needs root: network namespaces")
    sys.exit(0)
GWSIM = os.environ["GW_BIN"] + "/gwsim"
TESTS = os.environ["GW_TESTS"]
TMP_DIR = tempfile.TemporaryDirectory(prefix="gwsim-conform-")
TMP = TMP_DIR.name
count = bad = 0


def ok(cond, what, detail=""):
    global count, bad
    count += 1
    bad += not cond
    print(f"{'' if cond else 'not '}ok {count} - {what}")
    if not cond and detail:
        print("# " + str(detail).replace("\n", "\n# "))


def conform(*args, timeout=60):
    return subprocess.run([GWSIM, "conform", *args], capture_output=True, text=True,
                          timeout=timeout, stdin=subprocess.DEVNULL)


def test_documents():
    r = conform("--list")
    rows = [line.split("\t") for line in r.stdout.splitlines()]
    ok(r.returncode == 0 and len(rows) > 100 and all(len(x) == 4 for x in rows), "--list is TSV")
    ok(len({x[0] for x in rows}) == len(rows), "ids are unique")
    r = conform("--explain", "critical-option")
    ok("RFC 8926" in r.stdout and "Level: MUST" in r.stdout, "--explain names level and source")
    ok(conform("--explain", "nonsense").returncode == 2, "--explain of an unknown id: usage")
    with open("man/gwsim-conformance.7", encoding="utf-8") as f:
        ok(f.read() == conform("--mdoc").stdout, "man/gwsim-conformance.7 is up to date")


def failed(r):
    """Ids of the tests that failed, also those whose failure does not count."""
    return [line.split()[4].rstrip(":") for line in r.stdout.splitlines()
            if line.startswith("not ok")]


def test_right():
    r = conform("--strict", "--health", "http:8080/", "--appliance", f"exec {TESTS}/h_badecho eth0")
    ok(r.returncode == 0 and not failed(r) and "SKIP" not in r.stdout and
       "answers-still" in r.stdout, "a right appliance passes everything", r.stdout + r.stderr)
    r = conform("--strict", "--appliance", f"exec {TESTS}/h_echo eth0")
    ok(r.returncode == 0, "so does one that is promiscuous, with --strict", r.stdout + r.stderr)


# Faults that are seen by more than the test they are named after, and must be
ALSO = {
    "attachment": {"options-verbatim"},
    "both-directions": {"source-port-moves"},
    "health-check": {"health-many", "health-half-open"},
    "health-many": {"health-half-open"},
}
# Damage at random hits what other tests look for, too
RANDOM = {"malformed-survives", "corrupt-each-byte"}
# Faults that are not to be told from many others
BROAD = {"answers", "many-flows"}
# One test of each sort, to see that a fault leaves them alone
OTHERS = ["answers", "cookie-verbatim", "icmp-error", "size-odd", "truncated-options",
          "inner-version"]
# Faults that show in one test after another
WHOLE = {"answers-still"}


def planted(fault, again=False):
    args = ["--strict", "--health", "http:8080/", "--appliance",
            f"exec {TESTS}/h_badecho eth0 {fault}"]
    if fault == "answers":
        args += ["--wait", "300ms"]
    if not again:
        args += ["--timeout", "200ms"]
    if not os.environ.get("SOAK") and fault not in WHOLE:
        for name in {fault, *OTHERS}:
            args += ["--only", name]
    r = conform(*args)
    found = set(failed(r))
    extra = found - {fault} - ALSO.get(fault, set()) - RANDOM
    right = fault in found and (not extra or fault in BROAD)
    # On a machine with other things to do, packets may be later than the short timeout
    return planted(fault, True) if not right and not again else (fault, right, found, r)


def test_faults():
    """Every test of the suite can fail, and fails alone."""
    faults = subprocess.run([f"{TESTS}/h_badecho", "--list"], capture_output=True,
                            text=True).stdout.split()
    ids = [line.split("\t")[0] for line in conform("--list").stdout.splitlines()]
    faults = [f for f in faults if not f.startswith(("load-", "extra-"))]
    ok(set(ids) == set(faults), "there is a fault for every test", set(ids) ^ set(faults))
    if not os.environ.get("SOAK"):
        seed = int(os.environ.get("GWSIM_SEED", time.time()))
        print(f"# 30 faults of {len(faults)}, drawn by GWSIM_SEED={seed}; all with SOAK=1")
        faults = random.Random(seed).sample(faults, 30)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for fault, right, found, r in pool.map(planted, faults):
            ok(right, f"planted: {fault}", f"found {sorted(found)}\n{r.stdout}{r.stderr}")


def test_verdicts():
    bad = f"exec {TESTS}/h_badecho eth0 cookie-verbatim"
    only = ["--only", "cookie-verbatim", "--only", "answers"]
    r = conform("--appliance", bad, *only)
    ok(r.returncode == 0 and "# TODO" in r.stdout, "not documented: told, does not count", r.stdout)
    ok(conform("--strict", "--appliance", bad, *only).returncode == 1, "with --strict it counts")
    r = conform("--appliance", f"exec {TESTS}/h_badecho eth0 geneve-version", "--only",
                "geneve-version")
    ok(r.returncode == 1, "documented: counts without --strict", r.stdout)
    r = conform("--strict", "--appliance", f"exec {TESTS}/h_badecho eth0 multicast", "--only",
                "multicast")
    ok(r.returncode == 1, "what is dead after a packet it may drop has failed", r.stdout)


def expect(text, fault, *args):
    with open(f"{TMP}/expect", "w", encoding="utf-8") as f:
        f.write(text)
    return conform("--strict", "--appliance", f"exec {TESTS}/h_badecho eth0 {fault}", "--only",
                   "cookie-verbatim", "--expect", f"{TMP}/expect", *args)


def test_expect():
    r = expect("# known\ncookie-verbatim fail  # ticket 7\n", "cookie-verbatim")
    ok(r.returncode == 0 and "TODO expected to fail" in r.stdout, "expected to fail, fails",
       r.stdout)
    ok(expect("cookie-verbatim fail\n", "").returncode == 1, "expected to fail, passes: counts")
    ok(expect("cookie-verbatim any\n", "cookie-verbatim").returncode == 0, "any result expected")
    r = expect("cookie-verbatim pass\nnonsense fail\ncookie-verbatim maybe\n", "")
    ok(r.returncode == 2 and "expect:2:" in r.stderr and "expect:3:" in r.stderr,
       "errors name file and line, all of them", r.stderr)


def test_files():
    r = conform("--strict", "--appliance", f"exec {TESTS}/h_badecho eth0 critical-option", "--only",
                "critical-option", "--only", "answers", "--pcap", f"{TMP}/p", "--junit",
                f"{TMP}/j.xml")
    ok(os.listdir(f"{TMP}/p") == ["critical-option.pcapng"], "a capture of the failed test only",
       r.stdout)
    r = subprocess.run(["tshark", "-r", f"{TMP}/p/critical-option.pcapng", "-T", "fields", "-e",
                        "frame.comment"], capture_output=True, text=True)
    ok(all(w in r.stdout for w in ("sent: packet 1", "expected: it is dropped",
                                   "got: in answer to")),
       "its comments tell what was sent, expected, got", r.stdout + r.stderr)
    with open(f"{TMP}/p/critical-option.pcapng", "rb") as f:
        ok(b"gwsim " in (whole := f.read()) and b"gwtools" not in whole, "it names gwsim only", whole[:100])
    suite = xml.etree.ElementTree.parse(f"{TMP}/j.xml").getroot()
    ok((suite.get("tests"), suite.get("failures")) == ("2", "1") and
       suite.find("testcase/failure") is not None, "JUnit")


def test_oracle():
    """Another implementation of checksums looks at what is sent."""
    conform("--profile", "filter", "--allow", "ip or ip6", "--timeout", "20ms", "--wait", "50ms",
            "--pcap", f"{TMP}/all", "--appliance", f"exec {TESTS}/h_badecho eth0 answers")
    wrong = [f"{layer}.checksum.status == Bad" for layer in ("ip", "udp", "tcp", "icmp", "icmpv6")]
    files = sorted(glob.glob(f"{TMP}/all/*.pcapng"))
    subprocess.run(["mergecap", "-a", "-w", f"{TMP}/all.pcapng", *files], check=True)
    found = subprocess.run(
        ["tshark", "-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-o",
         "tcp.check_checksum:TRUE", "-r", f"{TMP}/all.pcapng", "-Y", " || ".join(wrong)],
        capture_output=True, text=True).stdout
    ok(len(files) > 40 and not found, "tshark finds no wrong checksum in packets that are right",
       found or files)


def test_filter():
    bad = f"exec {TESTS}/h_badecho eth0 ipv4-icmp"
    only = ["--strict", "--only", "ipv4-icmp", "--only", "answers"]
    ok(conform("--appliance", bad, *only).returncode == 1, "profile echo: nothing may be dropped")
    r = conform("--profile", "filter", "--appliance", bad, *only)
    ok(r.returncode == 0, "profile filter: it may", r.stdout)
    r = conform("--profile", "filter", "--allow", "icmp", "--appliance", bad, *only)
    ok(r.returncode == 1, "profile filter, --allow icmp: it may not", r.stdout)
    r = conform("--profile", "filter", "--appliance", f"exec {TESTS}/h_badecho eth0 udp-ports-kept",
                "--strict", "--only", "udp-ports-kept")
    ok(r.returncode == 1, "profile filter: what comes back must be right", r.stdout)
    r = conform("--profile", "filter", "--wait", "50ms", "--timeout", "50ms", "--only", "ipv4-udp",
                "--appliance", f"exec {TESTS}/h_badecho eth0 answers")
    ok(r.returncode == 1 and "Bail out! nothing came back" in r.stdout,
       "profile filter: one that drops everything has passed nothing", r.stdout)
    slow = (f"{TESTS}/h_badecho eth0 & p=$!; "
            "while sleep 0.1; do kill -STOP $p; sleep 0.7; kill -CONT $p; done")
    r = conform("--profile", "filter", "--allow", "ip", "--timeout", "3s", "--only", "answers",
                "--only", "ipv4-udp", "--only", "ipv4-tcp", "--appliance", slow)
    ok(r.returncode == 0 and not failed(r), "what it must pass has the whole timeout", r.stdout)
    for args in [], ["--profile", "filter"]:
        r = conform(*args, "--strict", "--only", "answers", "--only", "inner-tuple-kept", "--appliance",
                    f"exec {TESTS}/h_badecho eth0 extra-tuple-turned")
        ok(failed(r) == ["inner-tuple-kept"] and r.returncode == 1,
           f"a packet sent back to its sender is no answer of the appliance's own {args}", r.stdout)


ELSEWHERE = """
trap 'kill $E $N 2>/dev/null' EXIT
ip link add lb0 type veth peer name ap0
unshare -n sleep 60 & N=$!
while [ "$(readlink /proc/$N/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do sleep 0.02; done
ip link set ap0 netns $N
ip addr add 10.77.0.1/24 dev lb0; ip link set lb0 mtu 9001 up
nsenter -t $N -n sh -c 'ip addr add 10.77.0.2/24 dev ap0; ip link set ap0 mtu 9001 up'
nsenter -t $N -n "$GW_TESTS/h_badecho" ap0 & E=$!
gwsim conform --strict -t 10.77.0.2 -I lb0 && gwsim load -t 10.77.0.2 -I lb0 --count 100 --json
for mtu in 1500 65535; do
	ip link set lb0 mtu $mtu; nsenter -t $N -n ip link set ap0 mtu $mtu
	gwsim conform --strict -t 10.77.0.2 -I lb0 --only size-sweep --only size-1500 \
		--only order-in-flow --only size-above-8500-unedited && echo "fits $mtu"
done
"""


def test_elsewhere():
    r = subprocess.run(["unshare", "-n", "sh", "-c", ELSEWHERE], capture_output=True, text=True,
                       timeout=60, stdin=subprocess.DEVNULL)
    ok(r.returncode == 0 and not failed(r) and '"received": 100,' in r.stdout,
       "an appliance elsewhere: -t ADDR -I IFACE", r.stdout + r.stderr)
    ok("SKIP the interface's MTU is 1500" in r.stdout and "fits 1500" in r.stdout and
       "fits 65535" in r.stdout, "nothing larger than an interface carries is sent or asked for",
       r.stdout + r.stderr)


def test_user():
    """An ordinary user's appliance: with ordinary socket buffers, too."""
    what = "an ordinary user, in a user namespace of its own"
    user = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    if subprocess.run([*user, "unshare", "-Urnp", "--fork", "true"], capture_output=True).returncode:
        print(f"# {what}: the kernel does not let ordinary users make namespaces")
        return
    with tempfile.TemporaryDirectory(prefix="gwsim-conform-") as there:
        os.chmod(there, 0o755)
        for src in GWSIM, f"{TESTS}/h_badecho":
            shutil.copy(src, there)
        r = subprocess.run([*user, f"{there}/gwsim", "conform", "--strict", "--appliance",
                            f"{there}/h_badecho eth0"], cwd="/", capture_output=True, text=True,
                           timeout=60, stdin=subprocess.DEVNULL)
    ok(r.returncode == 0 and not failed(r), what, r.stdout + r.stderr)


def test_interrupt():
    """Also while the appliance is waited for, in 10 s each: for its socket, for its answers."""
    daemon = (f"sh -c 'trap \"echo >{TMP}/told; exit\" TERM; echo >{TMP}/up; "
              "while :; do sleep 0.1; done' &")
    for command, args in ("conform", ["--wait", "10s"]), ("load", []):
        p = subprocess.Popen([GWSIM, command, *args, "--appliance", f"{daemon} sleep 0.2; exit 0"],
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        while not os.path.exists(f"{TMP}/up"):
            time.sleep(0.02)
        begin = time.time()
        p.send_signal(signal.SIGINT)
        out = p.communicate(timeout=30)[0]
        ok(p.returncode == 1 and time.time() - begin < 5 and "stopped by a signal" in out,
           f"SIGINT ends a {command} that still waits", f"{time.time() - begin} s: {out}")
        ok(os.path.exists(f"{TMP}/told"), "what the appliance left behind is told to end", out)
        for name in glob.glob(f"{TMP}/told") + [f"{TMP}/up"]:
            os.unlink(name)


def test_ends():
    r = conform("--appliance", "exit 3")
    ok(r.returncode == 1 and "Bail out!" in r.stdout, "an appliance that ends at once", r.stdout)
    ok(conform().returncode == 2, "no appliance: usage")
    ok(conform("--only", "nonsense", "--appliance", "true").returncode == 2, "unknown id: usage")


test_documents()
test_right()
test_verdicts()
test_expect()
test_files()
test_oracle()
test_filter()
test_elsewhere()
test_user()
test_interrupt()
test_ends()
test_faults()
TMP_DIR.cleanup()
print(f"1..{count}")
sys.exit(bad != 0)
