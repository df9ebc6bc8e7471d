#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""gwsim load: counts what a right appliance and a lossy, a doubling, a reordering one return."""
import json
import os
import re
import subprocess
import sys

if os.geteuid() != 0:
    print("1..0 # SKIP needs root: network namespaces")
    sys.exit(0)
GWSIM = os.environ["GW_BIN"] + "/gwsim"
TESTS = os.environ["GW_TESTS"]
count = bad = 0


def ok(cond, what, detail=""):
    global count, bad
    count += 1
    bad += not cond
    print(f"{'' if cond else 'not '}ok {count} - {what}")
    if not cond:
        print("# " + str(detail).replace("\n", "\n# "))


def load(*args, fault=""):
    r = subprocess.run([GWSIM, "load", "--appliance", f"exec {TESTS}/h_badecho eth0 {fault}",
                        *args], capture_output=True, text=True, timeout=60,
                       stdin=subprocess.DEVNULL)
    return r, json.loads(r.stdout) if "--json" in args and r.stdout else {}


def test_right():
    r, v = load("--rate", "2000", "--time", "500ms", "--json", "--flows", "7")
    ok(r.returncode == 0 and v["sent"] == v["received"] and 900 <= v["sent"] <= 1001,
       "2000 a second for half a second", r.stdout + r.stderr)
    ok(v["out_of_order"] == v["duplicates"] == v["changed"] == 0, "nothing wrong with them", v)
    ok(0 < v["p50_us"] <= v["p90_us"] <= v["p99_us"] <= v["p999_us"] <= v["max_us"] * 1.05,
       "latencies grow with their percentile", v)


def test_environment():
    env = {k: v for k, v in os.environ.items() if not k.startswith("GWSIM_")}
    for command, *args in (("load", "--count", "10"), ("conform", "--only", "answers")):
        p = subprocess.Popen([GWSIM, command, *args, "--appliance",
                              f'echo "id=$GWSIM_ID.$GWSIM_APPLIANCE"; exec {TESTS}/h_badecho eth0'],
                             env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True)
        out, _ = p.communicate(timeout=60)
        ok(f"id={p.pid}.1\n" in out, f"{command}: the appliance knows whose it is", out)


def test_count():
    r, _ = load("--count", "300", "--tsv", "--size", "8500")
    rows = [line.split("\t") for line in r.stdout.splitlines()]
    v = dict(zip(*rows)) if len(rows) == 2 else {}
    ok(v.get("sent") == v.get("received") == "300" and v.get("size") == "8500",
       "300 packets of 8500 bytes, as TSV", r.stdout + r.stderr)


def test_max():
    _, v = load("--rate", "max", "--time", "300ms", "--json")
    ok(300 < v["received"] <= v["sent"] - v["overrun"], "as fast as it goes", v)


def test_find_max():
    r, v = load("--find-max", "50", "--time", "2700ms", "--json", "--send", "socket",
                fault="load-loss")
    ok(r.returncode == 0 and v["received"] > 0 and 2 <= v["loss_percent"] <= 50,
       "--find-max: the run at the rate that is found", r.stdout + r.stderr)
    r, _ = load("--find-max", "1", "--time", "900ms", "--json", fault="load-loss")
    steps = re.findall(r"^gwsim load: notice: (\d+) a second: loss [0-9.]+ %$", r.stderr, re.M)
    ok(len(steps) > 2 and int(steps[0]) > int(steps[-1]), "... and each that is tried is told",
       r.stdout + r.stderr)


def test_send():
    r, v = load("--send", "live", "--rate", "2000", "--count", "600", "--json", "--flows", "7")
    if r.returncode == 1 and "--send live: load an XDP program: Operation not permitted" in r.stderr:
        ok(True, "packets made by the kernel # SKIP the kernel does not let us")
        return
    ok(v["sent"] == v["received"] == 600 and v["live"] == 1, "packets made by the kernel",
       r.stdout + r.stderr)
    ok(v["out_of_order"] == v["duplicates"] == v["changed"] == 0, "nothing wrong with them", v)
    _, v = load("--send", "live", "--rate", "2000", "--count", "600", "--json", fault="load-loss")
    ok(2 <= v["loss_percent"] <= 8, "one in twenty of them lost: seen as loss", v)
    _, v = load("--send", "live", "--rate", "2000", "--count", "600", "--json",
                fault="no-duplicates")
    ok(v["duplicates"] >= 500, "sent twice: seen as duplicates", v)
    _, v = load("--rate", "max", "--time", "300ms", "--json")
    ok(v["live"] == 1 and v["received"] > 300, "the kernel makes them where the rate is high", v)
    _, v = load("--send", "socket", "--rate", "max", "--time", "300ms", "--json")
    ok(v["live"] == 0 and v["received"] > 300, "unless told otherwise", v)
    r, v = load("--rate", "max", "--time", "100ms", "--size", "8500", "--json")
    ok(v["live"] == 0 and v["received"] > 10 and r.stderr.count("by a socket") == 1,
       "too large for that: by a socket, and says so once", r.stdout + r.stderr)
    r, _ = load("--send", "live", "--count", "10", "--size", "8500")
    ok(r.returncode == 1 and "--send live" in r.stderr, "... or an error if asked for", r.stderr)


def test_faults():
    _, v = load("--rate", "2000", "--count", "600", "--json", fault="load-loss")
    ok(2 <= v["loss_percent"] <= 8, "one in twenty lost: seen as loss", v)
    _, v = load("--rate", "2000", "--count", "600", "--json", fault="no-duplicates")
    ok(v["duplicates"] >= 500 and v["loss_percent"] == 0, "sent twice: seen as duplicates", v)
    _, v = load("--rate", "max", "--count", "600", "--json", "--flows", "1", fault="order-in-flow")
    ok(v["out_of_order"] > 5 and v["duplicates"] == 0, "overtaken: seen as out of order", v)
    _, v = load("--count", "200", "--json", fault="cookie-verbatim")
    ok(v["changed"] == v["received"] == 200, "another cookie: seen as changed", v)
    r, _ = load("--wait", "300ms", fault="answers")
    ok(r.returncode == 1 and "nothing comes back" in r.stderr, "silence: exit 1", r.stderr)


def test_usage():
    ok(subprocess.run([GWSIM, "load"], capture_output=True).returncode == 2, "no appliance: usage")
    r, _ = load("--time", "11m")
    ok(r.returncode == 2, "more than ten minutes: usage")
    r, _ = load("--send", "pigeon")
    ok(r.returncode == 2 and "'pigeon'" in r.stderr, "no such way to send: usage", r.stderr)


test_right()
test_environment()
test_count()
test_max()
test_find_max()
test_send()
test_faults()
test_usage()
print(f"1..{count}")
sys.exit(bad != 0)
