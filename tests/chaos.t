#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A chain of real processes under load, with stages killed (-9) and stopped at random and started again.

Packets are numbered.  An edit that is made twice is seen in the packet, so is one that is sent twice, late
or never.  CHAOS_KILLS says how many stages die (SOAK=1: thousands), CHAOS_SEED which: of two
runs with one seed the order of kills is the same, not their moments.
"""
import os
import random
import signal
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time

if os.geteuid() != 0:
    print("1..0 # SKIP needs root")
    sys.exit(0)
if "GW_NETNS" not in os.environ:
    os.environ["GW_NETNS"] = "1"
    os.execvp("unshare", ["unshare", "-n", *sys.argv])

from gwtest import SAN, SOAK, Proc, done, ok, path, run, until  # noqa: E402

BURST = 64
RATE = 1000 if SAN else 3000
KILLS = int(os.environ.get("CHAOS_KILLS", 3000 if SOAK else 10 if SAN else 30))
HEADS = max(3, KILLS // 20)
SEED = int(os.environ.get("CHAOS_SEED", time.time_ns() % 1000000))
# Work that finds nothing: most of its time a stage has a burst in its hand
SLOW, SLOWNESS = r"/(a+)a+\1[b-y]{%d}/", 2
EDIT = r'replace /N=([0-9]+)/ "N=$1x" where udp dst port 3000'
STAGES = {
    "gwcap": ["-I", "va", "-o", "ipc://a"],
    "gwdecap": ["-i", "ipc://a", "-o", "ipc://b"],
    "gwfilter": ["-i", "ipc://b", "-o", "ipc://c", "-f", path("filter.rules")],
    "gwmangle": ["-i", "ipc://c", "-o", "ipc://d", "-f", path("mangle.rules")],
    "gwinject": ["-i", "ipc://d", "-I", "va"],
}
BEHIND = [n for n in STAGES if n != "gwcap"]
SO_RCVBUFFORCE, SOL_PACKET, PACKET_IGNORE_OUTGOING = 33, 263, 23


def csum(b):
    s = sum(struct.unpack(f"!{len(b) // 2}H", b))
    while s >> 16:
        s = (s & 0xffff) + (s >> 16)
    return ~s & 0xffff


def ipv4(src, dst, body):
    h = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 0, 0x4000, 64, 17, 0,
                    socket.inet_aton(src), socket.inet_aton(dst))
    return h[:10] + struct.pack("!H", csum(h)) + h[12:] + body


def udp(sport, dport, body):
    return struct.pack("!HHHH", sport, dport, 8 + len(body), 0) + body


def packet(no):
    """Number @no; each tenth is to be dropped by rule"""
    flow = no % 16
    inner = ipv4("10.1.0.1", "10.2.0.1", udp(4000 + flow, 3001 if no % 10 == 0 else 3000,
                                             b"N=%09d;" % no + b"a" * 40))
    opts = bytes.fromhex("0108010200112233445566aa010802020000000000000007") + b"\x01\x08\x03\x01"
    geneve = bytes.fromhex("0800080000000000") + opts + struct.pack("!I", flow + 1)
    return b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01\x08\0" + ipv4("10.9.0.1", "10.9.0.2",
                                                  udp(30000 + flow, 6081, geneve + inner))


class Wire:
    """The far end of the pair: numbered packets go out, and are read when they come back"""

    def __init__(self):
        subprocess.run("ip link add va mtu 9000 address 02:00:00:00:00:02 type veth peer name vb mtu 9000 && "
                       "ip link set va up && ip link set vb up && sleep 0.2", shell=True, check=True)
        self.tx = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.tx.bind(("vb", 0))
        self.rx = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.rx.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 25)
        self.rx.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        self.rx.bind(("vb", 3))
        self.rx.settimeout(0.2)
        self.no = 0             # sent so far
        self.seen = []          # (number, marks, when)
        self.sending = threading.Event()
        self.over = False
        for job in (self.send, self.receive):
            threading.Thread(target=job, daemon=True).start()

    def send(self):
        due = time.monotonic()
        while not self.over:
            if not self.sending.wait(0.1):
                due = time.monotonic()
                continue
            for _ in range(RATE // 200):
                self.no += 1
                self.tx.send(packet(self.no))
            due = max(due + 0.005, time.monotonic() - 0.05)
            time.sleep(max(0, due - time.monotonic()))

    def receive(self):
        while not self.over:
            try:
                b = self.rx.recv(9100)
            except TimeoutError:
                continue
            at = b.find(b"N=")
            if at > 0:
                end = b.index(b";", at)
                self.seen.append((int(b[at + 2:at + 11]), b[at + 11:end], time.monotonic()))

    def settle(self):
        """Send no more and wait until nothing comes any more"""
        self.sending.clear()
        last = -1
        while last != len(self.seen):
            last = len(self.seen)
            time.sleep(1)


class Chain:
    def __init__(self):
        self.old = []           # what dead ones said
        self.proc = {n: self.start(n) for n in reversed(STAGES)}

    def start(self, name):
        return Proc(name, *STAGES[name])

    def bury(self, name):
        self.proc[name].wait()
        self.old.append(self.proc[name].stderr())

    def kill(self, name):
        self.proc[name].signal(signal.SIGKILL)
        self.bury(name)

    def again(self, name):
        self.proc[name] = self.start(name)

    def said(self):
        return "".join(p.stderr() for p in self.proc.values())

    def shed(self):
        """Packets that did not get into the chain: the kernel's queue was full"""
        page = run("h_page", os.environ["GW_RUN"], "gwcap")[1].decode()
        counters = dict(line.split()[:2] for line in page.splitlines() if not line.startswith("trouble"))
        return int(counters["kernel_drops"])

    def dead(self):
        """Stages that ended though nobody killed them"""
        return [n for n, p in self.proc.items() if not p.running()]


def came_since(wire, when, patience=10):
    """Seconds from @when until the next packet came back"""
    first = until(lambda: min((t for _, _, t in wire.seen[-2000:] if t > when), default=None), patience)
    return first and first - when


def strike(wire, chain, name, dice):
    """Kill one stage; how long until packets come again after its successor was started"""
    chain.kill(name)
    time.sleep(dice.choice((0, 0, 0.01, 0.05)))
    back = time.monotonic()
    chain.again(name)
    return came_since(wire, back + 0.002)


def pause(chain, name, dice):
    chain.proc[name].signal(signal.SIGSTOP)
    time.sleep(dice.uniform(0.001, 0.08))
    chain.proc[name].signal(signal.SIGCONT)


def judge(wire, since, first, what, most):
    """Packets from number @first on, that came from place @since of the list on"""
    got = [(n, marks) for n, marks, _ in wire.seen[since:]]
    numbers = [n for n, _ in got]
    wanted = {n for n in range(first, wire.no + 1) if n % 10}
    lost = wanted - set(numbers)
    ok(len(numbers) == len(set(numbers)), f"{what}: none of {len(numbers)} packets is sent twice",
       [n for i, n in enumerate(numbers) if n in numbers[:i]][:20] if len(numbers) < 50000 else "")
    ok(all(a < b for a, b in zip(numbers, numbers[1:])), f"{what}: they are in order",
       [(a, b) for a, b in zip(numbers, numbers[1:]) if a >= b][:20])
    ok(all(marks == b"x" for _, marks in got), f"{what}: each is edited once",
       [g for g in got if g[1] != b"x"][:20])
    ok(not set(numbers) - wanted, f"{what}: none that a rule drops", sorted(set(numbers) - wanted)[:20])
    ok(most is None or len(lost) <= most, f"{what}: {len(lost)} lost of {len(wanted)}" +
       (f", at most {most}" if most is not None else ""), sorted(lost)[:400:10])


def write_rules():
    slow = [SLOW % (i + 1) for i in range(SLOWNESS)]
    with open(path("filter.rules"), "w", encoding="ascii") as f:
        f.write("".join(f"{r}\n" for r in ["drop where udp dst port 3001",
                                           *(f"drop payload {s}" for s in slow)]))
    with open(path("mangle.rules"), "w", encoding="ascii") as f:
        f.write("".join(f"{r}\n" for r in [EDIT, *(f'replace {s} "y"' for s in slow)]))


def in_rings(chain):
    said = {n: p.stderr() for n, p in chain.proc.items()}
    return all("in ring" in said[n] for n in BEHIND)


def test_kills(wire, chain, dice):
    since, first, times, kills = len(wire.seen), wire.no + 1, [], 0
    shed = chain.shed()
    wire.sending.set()
    for _ in range(KILLS):
        name = dice.choice(BEHIND)
        if dice.random() < 0.25:
            pause(chain, name, dice)
        took = strike(wire, chain, name, dice)
        kills += 1
        times.append((took if took is not None else 99, name))
        if chain.dead() or took is None:
            break
        time.sleep(dice.uniform(0, 0.3))
    wire.settle()
    ok(kills == KILLS and not chain.dead(), f"{kills} stages are killed, nobody else ends",
       chain.dead(), chain.said())
    print(f"# forwarding after {statistics.median(t for t, _ in times) * 1000:.0f} ms (median), "
          f"{max(times)[0] * 1000:.0f} ms at most ({max(times)[1]})")
    shed = chain.shed() - shed
    print(f"# {shed} found the kernel's queue full")
    judge(wire, since, first, "kills", shed + kills * BURST)


def test_twice(wire, chain):
    since, first, shed = len(wire.seen), wire.no + 1, chain.shed()
    wire.sending.set()
    for name in BEHIND:
        second = Proc(name, *STAGES[name])
        status = second.wait()
        ok(status == 2 and f"live {name} already" in second.stderr(),
           f"a second {name} ends with 2 and says so", status, second.stderr())
        other = Proc(name, *STAGES[name], "--as", "other")
        status = other.wait()
        ok(status == 2 and f"pid {chain.proc[name].pid}" in other.stderr(),
           f"one of another name ends with 2 and names the first", status, other.stderr())
    wire.settle()
    judge(wire, since, first, "seconds", chain.shed() - shed)


def test_heads(wire, chain, dice):
    since, first, times = len(wire.seen), wire.no + 1, []
    wire.sending.set()
    for _ in range(HEADS):
        time.sleep(dice.uniform(0.05, 0.4))
        chain.kill("gwcap")
        time.sleep(dice.uniform(0, 0.2))
        gone = chain.dead()
        back = time.monotonic()
        chain.again("gwcap")
        if gone != ["gwcap"]:
            break
        if dice.random() < 0.3:
            strike(wire, chain, dice.choice(BEHIND), dice)
        times.append(came_since(wire, back + 0.002))
    wire.settle()
    ok(len(times) == HEADS and None not in times and not chain.dead(),
       f"{len(times)} heads are killed: the others wait for the next one", chain.dead(), chain.said())
    print(f"# forwarding after {max(t or 99 for t in times) * 1000:.0f} ms at most")
    judge(wire, since, first, "heads", None)


def main():
    dice = random.Random(SEED)
    print(f"# seed {SEED}")
    write_rules()
    wire, chain = Wire(), Chain()
    wire.sending.set()
    ok(until(lambda: wire.seen, 20), "packets come back", chain.said())
    ok(until(lambda: in_rings(chain), 20), "over rings", chain.said())
    wire.settle()
    test_kills(wire, chain, dice)
    test_twice(wire, chain)
    test_heads(wire, chain, dice)
    chain.proc["gwcap"].signal(signal.SIGTERM)
    codes = {n: p.wait() for n, p in chain.proc.items()}
    ok(not any(codes.values()), "all end in order", codes, chain.said())
    wire.over = True
    done()


main()
