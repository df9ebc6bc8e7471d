#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""gwcap on a live interface: a veth pair in a network namespace of the test's own.

c0 is the appliance's interface, c1 the load balancer's end; frames are sent into c1
and answers looked for there through packet sockets.
"""
import fcntl
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

if os.geteuid() != 0:
    print("1..0 # SKIP needs root: network namespaces")
    sys.exit(0)
if os.environ.get("GWCAP_T") != "in":
    os.environ["GWCAP_T"] = "in"
    os.execvp("unshare", ["unshare", "--net", "--", sys.executable, __file__])

ME, LB, OTHER = "10.72.0.1", "10.72.0.2", "10.72.9.9"
MAC0, MAC1 = "02:00:00:00:72:01", "02:00:00:00:72:02"
NOBODY = "02:00:00:00:72:ff"    # else c1 would receive it, in this very namespace
PORT = 6081
TMP = tempfile.TemporaryDirectory(prefix="gwcap-t-")
os.chmod(TMP.name, 0o755)
os.environ["GW_RUN"] = TMP.name + "/run"
SLOW = 3 if "asan" in os.environ.get("BUILD", "") else 1

count = bad = 0


def ok(cond, what, detail=None):
    global count, bad
    count += 1
    if not cond:
        bad += 1
    print(f"{'' if cond else 'not '}ok {count} - {what}")
    if not cond and detail is not None:
        for line in str(detail).splitlines():
            print(f"# {line}")
    sys.stdout.flush()


def sh(cmd, check=True):
    r = subprocess.run(cmd, shell=True, capture_output=True, text=True)
    if check and r.returncode:
        raise SystemExit(f"{cmd}: {r.stderr}")
    return r.stdout


def until(cond, seconds=4.0):
    end = time.monotonic() + seconds * SLOW
    while time.monotonic() < end:
        got = cond()
        if got:
            return got
        time.sleep(0.02)
    return cond()


def mac(text):
    return bytes.fromhex(text.replace(":", ""))


def ipsum(h):
    s = sum(struct.unpack(f">{len(h) // 2}H", h))
    while s >> 16:
        s = (s & 0xffff) + (s >> 16)
    return ~s & 0xffff


def frame(src=LB, sport=40000, dport=PORT, size=64, tags=(), to=MAC0, frm=MAC1, frag=0, seq=0):
    """Ethernet, IPv4, UDP, AWS Geneve, inner IPv4/UDP of `size` bytes payload."""
    payload = struct.pack(">I", seq) + bytes(size - 4)
    inner = struct.pack(">HHHH", 1000, 2000, 8 + size, 0) + payload
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(inner), 0, 0x4000, 64, 17, 0,
                     socket.inet_aton("10.1.0.1"), socket.inet_aton("10.1.0.2"))
    inner = ip[:10] + struct.pack(">H", ipsum(ip)) + ip[12:] + inner
    gen = bytes.fromhex("0800080000000000")
    gen += struct.pack(">HBBQHBBQHBBI", 0x108, 1, 2, 0x0a1b2c3d4e5f6071, 0x108, 2, 2, 0,
                       0x108, 3, 1, 0x12345678)
    udp = struct.pack(">HHHH", sport, dport, 8 + len(gen) + len(inner), 0) + gen + inner
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, frag, 64, 17, 0,
                     socket.inet_aton(src), socket.inet_aton(ME))
    ip = ip[:10] + struct.pack(">H", ipsum(ip)) + ip[12:]
    eth = mac(to) + mac(frm)
    for t in tags:
        eth += struct.pack(">HH", 0x8100, t)
    return eth + b"\x08\x00" + ip + udp


class Tap:
    def __init__(self, ifname):
        self.s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.s.bind((ifname, 0))
        self.s.setblocking(False)

    def send(self, f):
        self.s.send(f)

    def received(self, what):
        """How many IPv4 packets for which what(frame) holds came in since the last call"""
        n = 0
        while True:
            try:
                f, addr = self.s.recvfrom(65536)
            except BlockingIOError:
                return n
            if addr[2] != 4 and f[12:14] == b"\x08\x00" and what(f):
                n += 1

    def unreachable(self):
        return self.received(lambda f: f[23] == 1 and f[34:36] == b"\x03\x03")

    def returned(self):
        return self.received(lambda f: f[23] == 17 and f[36:38] == struct.pack(">H", PORT))


def wire(**kw):
    mtu = kw.get("mtu", 9001)
    sh(f"ip link add c0 address {MAC0} mtu {mtu} type veth peer name c1 address {MAC1} mtu {mtu}; "
       f"ip addr add {ME}/24 dev c0; ip link set c1 up; ip link set c0 up; "
       f"ip neigh add {LB} lladdr {MAC1} dev c0; ip neigh add {OTHER} lladdr {MAC1} dev c0; "
       f"ip route add {OTHER}/32 dev c0")
    return Tap("c1")


def connected():
    """Both ends know it: before, what is sent is dropped"""
    return all("state UP" in sh(f"ip link show {i}") for i in ("c0", "c1"))


class Cap:
    """A running gwcap -I c0"""
    number = 0
    started = []

    def __init__(self, *args, out=None, iface="c0", wait=True, under=()):
        Cap.number += 1
        self.out = out or f"{TMP.name}/{Cap.number}.pcapng"
        self.errfile = f"{TMP.name}/{Cap.number}.err"
        r, w = os.pipe()
        cmd = [*under, "gwcap", "-I", iface, "-o", self.out, "--as", f"n{Cap.number}",
               "--ready-fd", str(w), *args]
        self.p = subprocess.Popen(cmd, stderr=open(self.errfile, "w"), pass_fds=[w])
        os.close(w)
        Cap.started.append(self.p)
        if wait:
            os.read(r, 1)
        os.close(r)

    def err(self):
        return open(self.errfile).read()

    def lines(self):
        return sh(f"tcpdump -nn -e -r {self.out} 2>/dev/null", check=False).splitlines()

    def has(self, n):
        """n packets in the output; waits for them"""
        return until(lambda: len(self.lines()) >= n) and len(self.lines()) == n

    def stop(self, sig=signal.SIGTERM):
        self.p.send_signal(sig)
        try:
            return self.p.wait(10)
        except subprocess.TimeoutExpired:
            self.p.kill()
            return self.p.wait()

    def status(self):
        return dict(re.findall(r"^(\w+):\t(.*)$", open(f"/proc/{self.p.pid}/status").read(), re.M))


def tables():
    return sh("nft list tables netdev").count("gwcap-")


def test_drop_rule(lb):
    lb.send(frame())
    ok(until(lb.unreachable), "without gwcap the kernel answers with port unreachable")
    cap = Cap("--peer", "auto")
    ok("warning" not in cap.err(), "nothing to warn of here", cap.err())
    ok(tables() == 1, "a drop rule is there")
    for i in range(20):
        lb.send(frame(sport=40000 + i))
    ok(cap.has(20), "20 packets are captured", cap.err())
    ok(lb.unreachable() == 0, "and the kernel answers none of them")
    second = Cap("--peer", "auto")
    ok(tables() == 2, "a second gwcap on the interface has a rule of its own")
    cap.p.kill()
    cap.p.wait()
    ok(until(lambda: tables() == 1), "killed (-9): its rule is gone, the other one stays")
    lb.send(frame())
    ok(second.has(1) and lb.unreachable() == 0, "which goes on working")
    ok(second.stop() == 0 and until(lambda: tables() == 0), "SIGTERM: exit 0, no rule left")
    lb.send(frame())
    ok(until(lb.unreachable), "the kernel answers again")
    cap = Cap("--no-drop-rule")
    lb.send(frame())
    ok(cap.has(1) and until(lb.unreachable) and tables() == 0, "--no-drop-rule leaves it so")
    cap.stop()


def test_output(lb):
    cap = Cap("--peer", "auto")
    own = Tap("c0")
    own.send(frame(to=NOBODY, frm=MAC0))
    for i in range(100):
        lb.send(frame(seq=i, size=64 + i))
    own.send(frame(to=NOBODY, frm=MAC0))
    ok(cap.has(100), "what the interface sends is not captured", len(cap.lines()))
    ok(cap.stop(signal.SIGINT) == 0, "SIGINT: exit 0")
    ok(re.search(r"\b100\b", cap.err().splitlines()[-1]), "and a summary line", cap.err())
    r = subprocess.run(["tcpdump", "-nnr", cap.out], capture_output=True, text=True)
    ok(r.returncode == 0 and r.stdout.count("Geneve") == 100, "tcpdump reads it", r.stderr)
    shark = sh(f"tshark -r {cap.out} -T fields -e frame.time_epoch -e frame.len 2>&1", check=False)
    rows = [line.split("\t") for line in shark.splitlines() if "\t" in line]
    ok(len(rows) == 100 and [int(r[1]) for r in rows] == [14 + 20 + 8 + 40 + 28 + 64 + i for i in
       range(100)], "tshark too, whole and in order", shark[:300])
    ok(any(not r[0].endswith("000") for r in rows), "times are in nanoseconds")


def test_privileges(lb):
    cap = Cap("--peer", "auto")
    st = cap.status()
    ok("0" not in st["Uid"].split() and "0" not in st["Gid"].split() and not st["Groups"].strip(),
       "neither user nor group 0", st)
    ok(all(int(st[c], 16) == 0 for c in ("CapInh", "CapPrm", "CapEff", "CapAmb")),
       "no capability", st)
    ok(st["NoNewPrivs"] == "1", "no_new_privs")
    lb.send(frame())
    ok(cap.has(1), "and it captures")
    cap.stop()


def test_down_up(lb):
    cap = Cap("--peer", "auto")
    lb.send(frame())
    cap.has(1)
    sh("ip link set c0 down")
    ok(until(lambda: "c0: it is down" in cap.err()), "down is said", cap.err())
    ok(page(cap, "trouble") == "c0 is down", "on the page too")
    cpu = sum(map(int, open(f"/proc/{cap.p.pid}/stat").read().split()[13:15]))
    time.sleep(0.5)
    cpu = sum(map(int, open(f"/proc/{cap.p.pid}/stat").read().split()[13:15])) - cpu
    ok(cpu < 10, "it does not spin while down", f"{cpu} ticks in 0.5 s")
    sh("ip link set c0 up; ip link set c1 up")
    until(connected)
    lb = Tap("c1")
    lb.send(frame())
    ok(cap.has(2), "up again: it goes on at once", cap.err())
    ok(until(lambda: "c0: it is up again" in cap.err()), "and says so", cap.err())
    ok(page(cap, "trouble") == "", "the page has no trouble any more")
    sh("ip link set c0 mtu 1500; ip link set c1 mtu 1500")
    lb.send(frame(size=1300))
    ok(cap.has(3), "MTU 1500: it goes on")
    ok(until(lambda: "ip link set dev c0 mtu" in cap.err()), "and warns of it", cap.err())
    sh("ip link set c0 mtu 9216; ip link set c1 mtu 9216")
    lb.send(frame(size=8900))
    ok(cap.has(4) and "length 9010" in cap.lines()[3], "MTU 9216: large packets arrive whole",
       cap.lines()[-1:])
    ok(cap.stop() == 0, "exit 0")


def test_recreated():
    cap = Cap("--peer", "auto")
    sh("ip link del c0")
    ok(until(lambda: "c0: it is gone" in cap.err()), "deleted: said", cap.err())
    ok(cap.p.poll() is None and page(cap, "trouble") == "c0 is gone",
       "gwcap waits, and the page says so")
    lb = wire()
    until(lambda: "made again" in cap.err() or cap.p.poll() is not None)
    if tables() == 0:       # Linux before 6.16
        ok(cap.p.wait(10) == 1 and "restart gwcap" in cap.err(), "rule lost: exit 1", cap.err())
        return lb
    lb.send(frame())
    ok(cap.has(1), "made again: it goes on", cap.err())
    own = Tap("c0")
    own.send(frame(to=NOBODY, frm=MAC0))
    lb.send(frame())
    ok(cap.has(2), "still nothing of what the interface sends")
    ok(lb.unreachable() == 0, "the drop rule is in force")
    sh("ip link set c0 down")
    until(lambda: "c0: it is down" in cap.err())
    sh("ip link set c0 up")
    until(connected)
    lb.send(frame())
    ok(cap.has(3), "down and up of the new one: it goes on")
    ok(cap.stop() == 0, "exit 0")
    return lb


def test_vlan(lb):
    cap = Cap("--peer", "auto")
    lb.send(frame(tags=[5]))
    lb.send(frame(tags=[6, 7]))
    lb.send(frame())
    ok(cap.has(3), "tagged packets are captured", cap.lines())
    lines = cap.lines() + [""] * 3
    ok("vlan 5," in lines[0] and "Geneve" in lines[0], "the tag is in the packet", lines[0])
    ok("vlan 6," in lines[1] and "vlan 7," in lines[1] and "Geneve" in lines[1], "two tags too",
       lines[1])
    ok(lb.unreachable() == 0, "no answer to any")
    cap.stop()


def test_tunnel():
    """An interface without Ethernet: IP packets, to a link type that is IP as well"""
    fd = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(fd, 0x400454ca, struct.pack("16sH22x", b"t0", 0x1001))  # TUNSETIFF, no PI
    sh("ip link set t0 up")
    cap = Cap(iface="t0")
    for i in range(3):
        os.write(fd, frame(seq=i)[14:])
    os.write(fd, frame(dport=PORT + 1)[14:])
    ok(cap.has(3), "a tunnel's packets are captured", cap.lines())
    ok(all(f" ip: {LB}.40000 > {ME}.{PORT}: Geneve" in x for x in cap.lines()), "as IP", cap.lines())
    cap.stop()
    os.close(fd)


def test_peer(lb):
    sh("sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.c0.rp_filter=0")
    cap = Cap("--peer", "10.72.0.2", "--peer", "fd00::/8")
    every = Cap()
    for src in (LB, OTHER, "10.72.0.3", LB):
        lb.send(frame(src=src))
    lb.send(frame(frag=0x2001))
    lb.send(frame(src=OTHER, frag=0x2001))
    lb.send(frame(dport=PORT + 1))
    ok(every.has(4) and "anybody" in every.err(), "no --peer: all, with a warning", every.err())
    ok(cap.has(3), "--peer: that sender's packets and its later fragments", cap.lines())
    ok(all(f"{LB}." in x or f"{LB} >" in x for x in cap.lines()), "of no other", cap.lines())
    ok("anybody" not in cap.err(), "without the warning", cap.err())
    lb.unreachable()
    lb.send(frame(src=OTHER))
    every.has(5)
    ok(lb.unreachable() == 0, "others get no answer either")
    auto = Cap("--peer", "auto")
    for src in (OTHER, "10.72.0.3", LB):
        lb.send(frame(src=src))
    ok(auto.has(2) and all(OTHER not in x for x in auto.lines()), "--peer auto: own subnet")
    for c in (cap, every, auto):
        c.stop()
    sh("ip addr flush dev c0")
    c = Cap("--peer", "auto", wait=False)
    ok(c.p.wait(10) == 1 and "no IPv4 address" in c.err(), "--peer auto without address", c.err())
    sh(f"ip addr add {ME}/24 dev c0; ip neigh replace {LB} lladdr {MAC1} dev c0")


def test_loss(lb):
    cap = Cap("--peer", "auto", "-B", "128")
    lb.send(frame())
    cap.has(1)
    cap.p.send_signal(signal.SIGSTOP)
    until(lambda: cap.status()["State"].startswith("T"))
    for i in range(1000):
        lb.send(frame(seq=i))
    cap.p.send_signal(signal.SIGCONT)
    until(lambda: len(cap.lines()) > 1)
    time.sleep(0.3)
    got = len(cap.lines())
    ok(1 < got < 100, "a full buffer drops", got)
    for i in range(5):      # a protocol that nothing here knows
        lb.send(frame()[:12] + b"\x88\xb5" + bytes(46))
    ok(until(lambda: page(cap, "interface_drops") == "5"), "what the interface drops is counted",
       page(cap, "interface_drops"))
    lost = until(lambda: int(page(cap, "kernel_drops")))
    ok(lost == 1001 - got, "and every packet lost is counted", f"{lost} lost, {got} captured")
    cap.stop()
    ok(f" {lost} dropped by the kernel" in cap.err(), "and said at the end", cap.err())


def test_stalled(lb):
    """The reader of gwcap's output reads nothing: the kernel drops, nothing else does"""
    fifo = f"{TMP.name}/fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    cap = Cap("--peer", "auto", "-B", "128", "--drain-timeout", "500ms", out=fifo)
    for i in range(3000):
        lb.send(frame(seq=i, size=1400))
    lost = until(lambda: int(page(cap, "kernel_drops")))
    ok(lost > 0, "a stalled reader: the kernel drops, counted while it lasts", lost)
    began = time.monotonic()
    ok(cap.stop() == 1 and time.monotonic() - began < 3 * SLOW, "it leaves in time: exit 1",
       cap.err())
    n = dict((k, int(v)) for v, k in re.findall(
        r"(\d+) (in|out|dropped by the kernel|dropped|uncertain)", cap.err().splitlines()[-1]))
    left = 3000 - n["in"] - n["dropped by the kernel"]
    ok(0 <= left < 32 and       # in the slots of the buffer, never taken
       n["in"] == n["out"] + n["dropped"] + n["uncertain"], "the accounts balance", cap.err())
    os.close(reader)


def page(cap, counter):
    """A counter of the stage's page, by gwhealth's own reader"""
    out = sh(f"{os.environ['GW_TESTS']}/h_page {os.environ['GW_RUN']} gwcap:n{Cap.number}")
    return dict(line.split(" ", 1) for line in out.splitlines())[counter]


def features(names):
    text = sh("ethtool -k c0")
    return [re.search(rf"^\s*{n}: (\w+)", text, re.M).group(1) for n in names]


def test_offloads():
    names = ("rx-udp-gro-forwarding", "rx-gro-list")
    sh(f"ethtool -K c0 gro on {names[0]} on {names[1]} on")
    cap = Cap("--peer", "auto")
    cmd = re.search(r"run: (ethtool -K c0 .*)", cap.err())
    ok(cmd and all(f"{n} off" in cmd.group(1) for n in names), "merging offloads: warned of",
       cap.err())
    cap.stop()
    sh(cmd.group(1))
    ok(features(names) == ["off", "off"], "the command mends it")
    sh(f"ethtool -K c0 {names[0]} on {names[1]} on")
    cap = Cap("--peer", "auto", "--fix-offloads")
    undo = re.search(r"undo: (ethtool -K c0 .*)", cap.err())
    ok(undo and "warning" not in cap.err(), "--fix-offloads: said", cap.err())
    ok(features(names) == ["off", "off"], "and done")
    ok(features(["generic-receive-offload"]) == ["on"], "plain GRO is left alone")
    cap.stop()
    sh(undo.group(1))
    ok(features(names) == ["on", "on"], "the command given undoes it")
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("", PORT))
    cap = Cap("--peer", "auto", "--fix-offloads")
    ok("6081 is in use" in cap.err(), "another program on the port: warned of", cap.err())
    ok(features(["generic-receive-offload"]) == ["off"], "then plain GRO merges as well: off")
    cap.stop()
    s.close()


def test_no_rule(lb):
    """Without CAP_NET_ADMIN there is no drop rule, but a command that makes up for it"""
    home = f"{TMP.name}/nobody"
    os.mkdir(home)
    os.chown(home, 65534, 65534)
    cap = Cap("--peer", "auto", out=f"{home}/o.pcapng", under=(
        "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps",
        "+net_raw", "--ambient-caps", "+net_raw"))
    ok("c0: no drop rule" in cap.err(), "CAP_NET_RAW alone: no drop rule, a warning", cap.err())
    lb.unreachable()
    lb.send(frame())
    ok(cap.has(1) and until(lb.unreachable), "it captures, and the kernel answers")
    cmd = re.search(r"run: (nft '.*')", cap.err())
    sh(cmd.group(1) if cmd else "false")
    lb.send(frame())
    ok(cap.has(2) and lb.unreachable() == 0, "the command given stops the answers")
    sh("nft flush ruleset")
    cap.stop()


def examples(page):
    """The literal displays of the page's EXAMPLES, with this test's names in them"""
    text = open(page).read()
    text = text[text.index(".Sh EXAMPLES"):]
    for block in re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed", text, re.M | re.S):
        yield block.replace("eth0", "c0").replace("10.0.1.0/24", "10.72.0.0/24").replace(
            "timeout 60", "timeout 1")


def test_examples(lb):
    here = os.path.dirname(os.path.abspath(__file__))
    page_text = list(examples(f"{here}/../gwcap/gwcap.8"))
    ok(len(page_text) == 3, "the page has three examples")
    with open(f"{TMP.name}/drop.rules", "w") as f:
        f.write("drop where udp dst port 2001\n")
    for code in page_text:
        p = subprocess.Popen(["sh", "-c", code], cwd=TMP.name, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True, start_new_session=True)
        Cap.started.append(p)
        first = code.split("\n")[0]
        until(lambda: tables() == 1)
        lb.returned()
        for i in range(10):
            lb.send(frame(seq=i))
        if "gwinject" in code:
            back = [0]
            until(lambda: back.__setitem__(0, back[0] + lb.returned()) or back[0] >= 10)
            ok(back[0] == 10, f"{first}: all packets come back", back[0])
            os.killpg(p.pid, signal.SIGINT)
        out, err = p.communicate(timeout=20)
        if "--print" in code:
            ok(p.returncode == 0 and out.count("vpce-") == 10, first, out + err)
        elif "timeout" in code:
            ok("10 in, 0 made, 10 out" in err, first, err)
        else:
            ok(err.count("10 in, 0 made, 10 out") == 4, f"{first}: ends in order", err)


def test_start():
    for what, how, want in (
            ("no such interface", ["nope0"], "nope0: no such interface"),
            ("interface down", ["c0"], "ip link set dev c0 up")):
        if what == "interface down":
            sh("ip link set c0 down")
        c = Cap(iface=how[0], wait=False)
        ok(c.p.wait(10) == 1 and want in c.err(), what, c.err())
    sh("ip link set c0 up; ip link set c1 up")
    r = subprocess.run("setpriv --reuid 65534 --clear-groups gwcap -I c0 -o /dev/null",
                       shell=True, capture_output=True, text=True)
    ok(r.returncode == 1 and "no permission" in r.stderr, "without privilege: exit 1", r.stderr)


def test_stop(lb):
    cap = Cap("--peer", "auto")
    cap.p.send_signal(signal.SIGSTOP)
    until(lambda: cap.status()["State"].startswith("T"))
    for i in range(300):
        lb.send(frame(seq=i))
    cap.p.send_signal(signal.SIGTERM)
    cap.p.send_signal(signal.SIGCONT)
    ok(cap.p.wait(10) == 0 and len(cap.lines()) == 300, "captured before SIGTERM: all goes on",
       cap.err())


def test_count(lb):
    cap = Cap("--peer", "auto", "-c", "7")
    for i in range(9):
        lb.send(frame(seq=i))
    ok(cap.p.wait(10) == 0 and len(cap.lines()) == 7, "-c 7: ends after seven", cap.err())
    r = subprocess.run(f"gwcap -q -i {cap.out} -c 3 --print", shell=True, capture_output=True,
                       text=True)
    want = [f" #{i} UDP {LB}:40000 > {ME}:6081" for i in (1, 2, 3)]
    ok(r.returncode == 0 and all(w in line and "vpce-00a1b2c3d4e5f6071" in line
       for line, w in zip(r.stdout.splitlines(), want)) and r.stdout.count("\n") == 3,
       "-i, -c 3 --print: three lines", r.stdout + r.stderr)


def main():
    sh("sysctl -qw net.ipv6.conf.default.disable_ipv6=1; ip link set lo up")
    lb = wire()
    test_drop_rule(lb)
    test_output(lb)
    test_privileges(lb)
    test_vlan(lb)
    test_tunnel()
    test_peer(lb)
    test_loss(lb)
    test_stalled(lb)
    test_stop(lb)
    test_count(lb)
    test_no_rule(lb)
    test_examples(lb)
    test_down_up(lb)
    test_recreated()
    test_offloads()
    test_start()
    print(f"1..{count}")
    return bad != 0


try:
    sys.exit(main())
finally:
    for process in Cap.started:
        if process.poll() is None:
            process.kill()
            process.wait()
    TMP.cleanup()
