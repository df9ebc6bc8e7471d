#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""An ipc chain under load: each stage in turn is killed (-9) and started again.  Forwarding goes on,
what was lost is seen and counted, nothing is sent twice; gwhealth names the stage meanwhile."""
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

APPLIANCE = os.environ.get("GWRESTART")        # set: we are the appliance, in its namespace
NAMES = ["gwcap", "gwdecap", "gwfilter", "gwmangle", "gwinject"]
STAGES = {
    "gwcap": "gwcap -I eth0 -o ipc://a",
    "gwdecap": "gwdecap -i ipc://a -o ipc://b",
    "gwfilter": "gwfilter -i ipc://b -o ipc://c",
    "gwmangle": "gwmangle -i ipc://c -o ipc://d",
    "gwinject": "gwinject -i ipc://d -I eth0",
}


class Appliance:
    """Supervises the chain; what it saw goes to a file of JSON."""

    def __init__(self, work):
        self.work = work
        self.log = open(os.path.join(work, "stages.log"), "w", encoding="utf-8")
        self.proc = {n: self.start(n) for n in reversed(NAMES)}
        self.health = subprocess.Popen(["gwhealth", "-l", ":8080", "--expect", ",".join(NAMES),
                                        "--admin", "127.0.0.1:9681"], stderr=self.log)
        self.seen = []

    def start(self, name):
        return subprocess.Popen(STAGES[name].split(), stderr=self.log)

    def ask(self, url="http://127.0.0.1:8080/"):
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode()
        except OSError as e:
            return 0, str(e)

    def until(self, good, patience):
        end = time.monotonic() + patience
        while time.monotonic() < end:
            answer = self.ask()
            if good(answer):
                return True
            time.sleep(0.1)
        return False

    def sent(self):
        """Packets that left gwinject, by its page in /status.json."""
        text = self.ask("http://127.0.0.1:9681/status.json")[1]
        found = re.search(r'"gwinject".*?"out_packets": *(\d+)', text, re.S)
        return int(found.group(1)) if found else -1

    def trouble(self, name, how):
        """Kill or stop one stage, ask 3 s later, bring it back."""
        before = self.sent()
        self.proc[name].send_signal(how)
        if how == signal.SIGKILL:
            self.proc[name].wait()
        time.sleep(3)
        bad = self.ask()
        if how == signal.SIGKILL:
            self.proc[name] = self.start(name)
        else:
            self.proc[name].send_signal(signal.SIGCONT)
        self.until(lambda a: a[0] == 200, 8)
        first = self.sent()
        time.sleep(0.5)
        self.seen.append({"stage": name, "how": signal.Signals(how).name, "before": before, "bad": bad,
                          "good": self.ask(), "first": first, "then": self.sent()})

    def run(self):
        """Kills are quick, one after the other under load; then with gwhealth watching."""
        self.until(lambda a: a[0] == 200, 10)
        with open(os.path.join(self.work, "ready"), "w", encoding="utf-8"):
            pass
        for name in NAMES:
            time.sleep(0.4)
            self.proc[name].kill()
            self.proc[name].wait()
            time.sleep(0.1)
            self.proc[name] = self.start(name)
        self.until(lambda a: a[0] == 200, 10)
        for name in NAMES:
            self.trouble(name, signal.SIGKILL)
            self.trouble(name, signal.SIGSTOP)
        self.proc["gwcap"].send_signal(signal.SIGTERM)
        codes = {n: p.wait(timeout=10) for n, p in self.proc.items()}
        self.health.kill()
        with open(os.path.join(self.work, "result.json"), "w", encoding="utf-8") as f:
            json.dump({"seen": self.seen, "codes": codes}, f)


def main():
    tests = failed = 0

    def ok(good, what, detail=""):
        nonlocal tests, failed
        tests += 1
        failed += not good
        print(f"{'ok' if good else 'not ok'} {tests} - {what}", flush=True)
        for line in str(detail).splitlines()[-15:] if not good else []:
            print("#", line)

    with tempfile.TemporaryDirectory(prefix="gwrestart-") as work:
        os.chmod(work, 0o755)
        env = dict(os.environ, GWRESTART=work, GW_RUN=os.path.join(work, "run"))
        me = os.path.abspath(__file__)
        done = subprocess.run(["gwsim", "load", "--appliance", f"exec /usr/bin/python3 {me}", "--rate", "5000",
                               "--time", "52", "--flows", "16", "--json"], env=env, capture_output=True,
                              text=True, timeout=100, check=False)
        log = open(os.path.join(work, "stages.log"), encoding="utf-8").read()
        try:
            result = json.load(open(os.path.join(work, "result.json"), encoding="utf-8"))
        except OSError:
            result = {"seen": [], "codes": {}}
        ok(len(result["seen"]) == 2 * len(NAMES), "every stage was killed and stopped", done.stderr + log)
        for s in result["seen"]:
            what = f"{s['stage']} {s['how']}"
            ok(s["bad"][0] == 503 and s["stage"] in s["bad"][1],
               f"{what}: 3 s later gwhealth says 503 and names it", s)
            ok(s["good"][0] == 200, f"{what}: 200 again when it is back", s)
            ok(s["then"] > s["first"] >= 0, f"{what}: forwarding goes on", s)
        ok(result["codes"] and not any(result["codes"].values()), "all end in order", result["codes"])
        load = json.loads(done.stdout or "{}")
        print("#", done.stdout)
        ok(load.get("duplicates") == 0, "nothing was sent twice", done.stdout)
        lost = [int(n) for n in re.findall(r"(\d+) lost before", log)]
        restart = [int(n) for n in re.findall(r"restart (\d+)", log)]
        ok(all(n <= 64 for n in restart) and sum(lost) <= 64 * len(NAMES),
           f"a kill costs the burst in hand at most: {restart}, before: {lost}", log)
        took = len(re.findall("taking over from pid", log))
        ok(took == 2 * len(NAMES), f"{took} successors took over", log)
    print(f"1..{tests}")
    return failed != 0


if __name__ == "__main__":
    if APPLIANCE:
        Appliance(APPLIANCE).run()
        sys.exit(0)
    sys.exit(main())
