#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""gwcap --workers: several gwcaps share what an interface receives, flow by flow; and
examples/per-core.sh, which makes chains of them."""
import os
import signal
import socket
import sys
import time

if os.geteuid() != 0:
    print("1..0 # SKIP needs root: network namespaces")
    sys.exit(0)
if os.environ.get("GWCAP_WORKERS_T") != "in":
    os.environ["GWCAP_WORKERS_T"] = "in"
    os.execvp("unshare", ["unshare", "--net", "--mount", "--", sys.executable, __file__])

os.system("ip link set lo up")      # scapy wonders otherwise

from scapy.all import IP, UDP, Ether, Raw, raw, rdpcap      # noqa: E402
from gwtest import Proc, done, ok, path, run, until    # noqa: E402

MAC0, MAC1 = "02:00:00:00:73:01", "02:00:00:00:73:02"
FLOWS = range(40)
HERE = os.path.dirname(os.path.abspath(__file__))


def sh(cmd):
    r, out, err = run("sh", "-c", cmd)
    if r:
        raise SystemExit(f"{cmd}: {err}")
    return out.decode()


def wire():
    sh(f"ip link add c0 address {MAC0} mtu 9001 type veth peer name c1 address {MAC1} mtu 9001;"
       f"ip addr add 10.73.0.1/24 dev c0; ip link set c1 up; ip link set c0 up")
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    s.bind(("c1", 0))
    s.setblocking(False)
    return s


def packet(flow, back, n):
    """Number n of a flow, with the outer source port of its direction"""
    geneve = bytes.fromhex("0800080000000000" "01080102000000000000000a" "010802020000000000000000"
                           "01080301") + (1000 + flow * 4).to_bytes(4, "big")
    ends = ["10.1.0.1", f"10.2.0.{flow}"]
    inner = IP(src=ends[back], dst=ends[not back]) / UDP(sport=n + 1, dport=flow + 1)
    return raw(Ether(dst=MAC0, src=MAC1) / IP(src="10.73.0.2", dst="10.73.0.1") /
               UDP(sport=20000 + 7 * flow + back, dport=6081, chksum=0) / Raw(geneve + raw(inner)))


PACKETS = {(f, b, n): packet(f, b, n) for f in FLOWS for b in (0, 1) for n in range(3)}


def what(p):
    """(flow, number) of a packet as captured"""
    inner = IP(bytes(p[UDP].payload)[40:])
    return inner[UDP].dport - 1, int(inner.src != "10.1.0.1"), inner[UDP].sport - 1


def send(lb):
    for p in PACKETS.values():
        lb.send(p)


class Worker:
    number = 0

    def __init__(self, n):
        Worker.number += 1
        self.out = path(f"{Worker.number}.pcap")
        r, w = os.pipe()
        self.p = Proc("gwcap", "-I", "c0", "--peer", "auto", "--workers", str(n), "-o", self.out,
                      "--as", f"w{Worker.number}", "--ready-fd", str(w), pass_fds=[w])
        os.close(w)
        self.ready = bool(os.read(r, 1))
        os.close(r)
        self.seen = 0

    def got(self):
        """What came since the last call; the worker goes on"""
        until(lambda: os.path.getsize(self.out) > 0)
        all_of = [what(p) for p in rdpcap(self.out)] if os.path.getsize(self.out) > 24 else []
        new, self.seen = all_of[self.seen:], len(all_of)
        return new


def settled(workers):
    """All that the workers have, when nothing more comes"""
    def sizes():
        return [os.path.getsize(w.out) for w in workers]

    before = None
    while before != sizes():
        before = sizes()
        time.sleep(0.3)
    return [w.got() for w in workers]


def once(got):
    return sorted(k for g in got for k in g) == sorted(PACKETS)


def by_flow(got):
    """No flow at two workers"""
    flows = [{k[0] for k in g} for g in got]
    return sum(len(f) for f in flows) == len(set().union(*flows))


def tables():
    return sh("nft list tables netdev").count("gwcap-")


def test_share(lb):
    ws = [Worker(3) for _ in range(3)]
    ok(all(w.ready for w in ws), "three workers", *(w.p.stderr() for w in ws))
    send(lb)
    got = settled(ws)
    ok(once(got), "every packet arrives once", [len(g) for g in got])
    ok(by_flow(got), "both directions of a flow at one worker")
    ok(all(len(g) >= len(PACKETS) / 6 for g in got), "each has a share", [len(g) for g in got])
    ok(all(g == sorted(g, key=list(PACKETS).index) for g in got), "in order")
    more = Worker(3)
    ok(more.p.wait() == 1 and "it has 3 workers already" in more.p.stderr(), "a fourth: exit 1",
       more.p.stderr())
    ok(tables() == 3, "each has a drop rule of its own")
    return ws


def test_other_number():
    other = Worker(4)
    ok(other.p.wait() == 1 and "another number" in other.p.stderr(), "another number: exit 1",
       other.p.stderr())


def test_plain(lb, ws):
    r, w = os.pipe()
    tap = Proc("gwcap", "-I", "c0", "--peer", "auto", "-o", path("tap.pcap"), "--as", "tap",
               "--ready-fd", str(w), pass_fds=[w])
    os.close(w)
    os.read(r, 1)
    os.close(r)
    send(lb)
    ok(once(settled(ws)), "beside a gwcap without --workers: every packet once")
    tap.signal(signal.SIGTERM)
    ok(tap.wait() == 0 and len(rdpcap(path("tap.pcap"))) == len(PACKETS), "which has all of them")


def test_restart(lb, ws):
    ws[0].p.signal(signal.SIGKILL)
    ws[0].p.wait()
    send(lb)
    got = settled(ws[1:])
    ok(once(got) and by_flow(got), "one killed: the others have its flows",
       [len(g) for g in got])
    ok(tables() == 2, "and their drop rules")
    ws[0] = Worker(3)
    send(lb)
    got = settled(ws)
    ok(once(got) and by_flow(got) and all(got), "it comes back: three have shares again",
       [len(g) for g in got])
    own = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    own.bind(("c0", 0))
    for p in PACKETS.values():
        own.send(bytes.fromhex("020000007399") + p[6:])
    ok(not any(settled(ws)), "nothing of what the interface sends")
    sh("ip link set c0 down; ip link set c0 up")
    until(lambda: all("state UP" in sh(f"ip link show {i}") for i in ("c0", "c1")))
    send(lb)
    got = settled(ws)
    ok(once(got) and by_flow(got), "down and up: they go on", [len(g) for g in got])


def test_deleted(ws):
    sh("ip link del c0")
    until(lambda: all("it is gone" in w.p.stderr() for w in ws))
    lb = wire()
    ok(all(w.p.wait() == 1 and "restart gwcap" in w.p.stderr() for w in ws),
       "deleted and made again: exit 1, to be started again", ws[0].p.stderr())
    return lb


def returned(lb):
    """Packets that came back, since the last call"""
    got = []
    while True:
        try:
            f, addr = lb.recvfrom(65536)
        except BlockingIOError:
            return got
        p = Ether(f)
        if addr[2] != 4 and IP in p and p[IP].src == "10.73.0.1" and UDP in p:
            got.append(what(p))


def health():
    return run("curl", "-s", "-m", "2", "-o", "/dev/null", "-w", "%{http_code}",
               "http://127.0.0.1:8080/")[1]


def rps():
    with open("/sys/class/net/c0/queues/rx-0/rps_cpus", encoding="ascii") as f:
        return int(f.read().replace(",", ""), 16)


def stages(prog):
    """Processes of that name in this test's network namespace"""
    return [int(p) for p in sh(f"pgrep -x {prog} --nslist net --ns {os.getpid()} || :").split()]


def test_per_core(lb):
    sh("mount -t sysfs sysfs /sys")   # this namespace's interfaces
    cpus = sorted(os.sched_getaffinity(0))[:2]
    with open(path("drop.rules"), "w", encoding="ascii") as f:
        f.write("drop where udp dst port 65000\n")
    script = Proc("bash", f"{HERE}/../examples/per-core.sh", "c0", path("drop.rules"), "10.73.0.2",
                  ",".join(map(str, cpus)))
    ok(until(lambda: health() == b"200"), "per-core.sh: a chain for each processor, healthy",
       script.stderr())
    ok(rps() == sum(1 << c for c in cpus), "receiving is steered to them", rps())
    pids = stages("gwfilter")
    ok(sorted(min(os.sched_getaffinity(p)) for p in pids) == cpus, "each on its own", pids)
    returned(lb)
    got = []
    send(lb)
    until(lambda: got.extend(returned(lb)) or len(got) >= len(PACKETS))
    ok(sorted(got) == sorted(PACKETS), "all packets come back, once", len(got))
    os.kill(pids[0], signal.SIGKILL)
    until(lambda: health() != b"200")
    ok(until(lambda: health() == b"200"), "a stage is killed: its chain is started again",
       script.stderr())
    returned(lb)
    got = []
    send(lb)
    until(lambda: got.extend(returned(lb)) or len(got) >= len(PACKETS))
    ok(sorted(got) == sorted(PACKETS), "and all goes on", len(got))
    script.signal(signal.SIGTERM)
    ok(script.wait() == 0, "SIGTERM: ends with 0", script.stderr())
    ok(rps() == 0, "steering is as it was")
    ok(not any(map(stages, ("gwcap", "gwdecap", "gwfilter", "gwinject", "gwhealth"))),
       "no stage is left")
    with open(path("wrong.rules"), "w", encoding="ascii") as f:
        f.write("drop everything\n")
    rc, _, err = run("bash", f"{HERE}/../examples/per-core.sh", "c0", path("wrong.rules"), "auto")
    ok(rc == 2 and "wrong.rules:1" in err, "wrong rules: exit 2", err)
    ok(not any(map(stages, ("gwcap", "gwinject", "gwhealth"))) and rps() == 0, "nothing is left")


sh("sysctl -qw net.ipv6.conf.default.disable_ipv6=1")
LB = wire()
WS = test_share(LB)
test_other_number()
test_plain(LB, WS)
test_restart(LB, WS)
LB = test_deleted(WS)
test_per_core(LB)
done()
