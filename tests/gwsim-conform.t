#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""gwsim conform: a right appliance passes; each planted fault is found by its test."""
import os
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


def test_right():
    r = conform("--strict", "--appliance", f"{TESTS}/h_echo eth0")
    ok(r.returncode == 0 and "answers-still" in r.stdout, "a right reflector passes --strict",
       r.stdout + r.stderr)


test_documents()
test_right()
print(f"1..{count}")
sys.exit(bad != 0)
