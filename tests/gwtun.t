#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""gwtun between real clients and servers of gwsim: as a router, and with a proxy of a few lines
(tunproxy.py)."""
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gwtest                               # noqa: E402
from gwtest import namespaces, ok, processes, write  # noqa: E402
from simlab import PROBE, SERVER, TWINS, TWO, same, simulate, twins  # noqa: E402

PROXY = "/usr/bin/python3 " + os.path.join(os.path.dirname(os.path.abspath(__file__)), "tunproxy.py")
CHAIN = ("gwcap -q -I eth0 --peer auto | gwdecap -q | "
         "sh -c 'echo $$ >tun.pid; exec gwtun %s' 2>tun.log | gwinject -q -I eth0")


def sim(client, tun="", proxy=None, chain=None, **kw):
    """With gwtun, and beside it tunproxy.py, if options for it are given"""
    start = "" if proxy is None else "%s $GW_RUN/gwtun.sock %s 2>proxy.log & " % (PROXY, proxy)
    return simulate(client, start + (chain or CHAIN % tun), attached=proxy is not None, **kw)


def ours():
    return processes("gwtun", "gwtun-broker")


def nothing_left(what):
    """No process of gwtun's, and so no namespace"""
    ok(gwtest.until(lambda: not ours(), 8), what + ": no process is left", ours())


def clean(err, what):
    a = gwtest.account(err)
    ok(a and a.balances(), what + ": accounts balance", err)
    ok("no violation" in err, what + ": the load balancer has no complaint", err)


GET = """
for v in -4 -6; do
	curl $v -sS -m 20 http://server/file | sha256sum
done
sha256sum <www.vpce-00a1b2c3d4e5f6071/file
"""


def router():
    out, err = sim("ping -c 3 -i 0.2 -W 1 server; ping -6 -c 3 -i 0.2 -W 1 server\n"
                   "ping -c 1 -W 1 -s 12000 server; ping -c 1 -W 1 -t 1 server\n" + GET, "--router")
    ok(out.count("3 received") == 2 and "ttl=63" in out, "router: ping, IPv4 and IPv6", out, err)
    ok("1 received" in out, "router: ping of 12,000 bytes: fragments find their way", out)
    ok("192.0.0.8" in out and "Time to live exceeded" in out, "router: it says that a TTL is over", out)
    ok(same(out, 3), "router: curl, IPv4 and IPv6: equal sums", out, err)
    clean(err, "router")
    nothing_left("router")


def commands():
    out, err = sim("ping -c 3 -i 0.2 -W 1 server",
                   '--router --on-create "sh create.sh" --on-destroy "sh destroy.sh"')
    with open(gwtest.path("hooks")) as f:
        lines = f.read().split("\n")
    ok("3 received" in out, "commands: packets are forwarded, the first one too", out, err)
    ok(lines[0] == "create vpce-00a1b2c3d4e5f6071 gwtun0 8500", "--on-create: its environment", lines)
    ok(any(re.search(r"counter packets 3 ", x) for x in lines),
       "--on-destroy: what --on-create's rule counted", lines)
    ok(lines[1] == lines[3] and lines[1].startswith("net:["), "both ran in the same namespace", lines)


def write_commands():
    write("create.sh", "nft 'table ip t { chain f { type filter hook forward priority 0; "
          "icmp type echo-request counter; }; }'\n"
          "echo $GW_EVENT $GW_ENDPOINT $GW_DEVICE $GW_MTU >>hooks; readlink $GW_NETNS >>hooks\n")
    write("destroy.sh", "echo $GW_EVENT >>hooks; readlink $GW_NETNS >>hooks; nft list ruleset >>hooks\n")


def failing_command():
    out, err = sim("ping -c 2 -i 0.2 -W 1 server", "--router --on-create false")
    ok("2 received" in out and "--on-create failed with status 1" in err,
       "a command that fails: said, and packets pass untouched", out, err)


def trouble():
    """Without a namespace that works gwtun is in trouble, until there is one; it needs no packet for that"""
    write("trouble.sh", """
health() { curl -sS -m 2 -w ' %%{http_code}\\n' --unix-socket admin http://x/healthz | tr -d '\\n'; echo; }
expect() { for i in $(seq 260); do health | grep -q "$1" && break; sleep 0.05; done; health; }
rm -f good; expect 200
ping -q -c 2 -i 0.2 -W 1 server >/dev/null; expect 503
sleep 2.5; health
touch good; expect 200
rm good; gwsim shell -e %s client -- ping -q -c 2 -i 0.2 -W 1 server | grep packets
for i in $(seq 40); do grep -q "%s: --on-create" tun.log && break; sleep 0.05; done; sleep 0.3; health
""" % (TWO[1], TWO[1]))
    chain = "gwhealth --admin ./admin 2>/dev/null & " + CHAIN % "--router --on-create \"test -e good\""
    out, err = sim("sh trouble.sh", chain=chain, args=["--endpoint", ",".join(TWO)])
    said = "gwtun is in trouble: no namespace can be made: --on-create failed"
    lines = out.splitlines() + [""] * 5
    ok(lines[0].endswith(" 200"), "no namespace yet: the chain is healthy", out, err)
    ok(lines[1] == said + " 503", "none can be made: it is not, and the reason is named", out, err)
    ok(lines[2] == said + " 503", "... for as long as that is so", out, err)
    ok(lines[3].endswith(" 200"), "one is made, without a packet: it is healthy", out, err)
    ok("2 received" in lines[4] and lines[5].endswith(" 200") and TWO[1] + ": --on-create failed" in err,
       "another one cannot be made: it still is", out, err)


def relay(mode):
    client = GET + """
curl -4 -sS -m 5 http://server:81/ 2>&1
curl -6 -sS -m 5 http://server:81/ 2>&1
curl -sS -m 5 http://10.0.9.1/ 2>&1
curl -sS -m 5 http://[fd00:9::1]/ 2>&1
"""
    out, err = sim(client, "", mode)
    ok(same(out, 3), mode + ": curl, IPv4 and IPv6: equal sums", out, err)
    if mode == "hold":
        refused = re.findall(r"^curl: \(7\) .*after (\d+) ms", out, re.M)
        ok(len(refused) == 4, "hold: refused and unreachable are said to the client, IPv4 and IPv6", out, err)
    else:
        ok(out.count("curl: (") == 4, "plain: connections to nobody fail", out)
    clean(err, mode)
    nothing_left(mode)


def connect_errors():
    """What connect(2) says with us is what it says without"""
    write("probe.py", PROBE)
    with_us, err = sim("/usr/bin/python3 probe.py", "", "hold")
    without, _ = sim("/usr/bin/python3 probe.py", "--where 'tcp port 9'".replace("'", '"'), "hold")
    ok(with_us == without and without.count("\n") == 8 and "OSError 113" in without,
       "connect(2): the same errors as without us", with_us, without, err)


def two_endpoints():
    out, err = sim(TWINS, "", "hold", args=["--endpoint", ",".join(TWO)])
    ok(twins(out), "two endpoints, equal 5-tuples at once: each has its own data", out, err)
    clean(err, "two endpoints")


def silent():
    client = """
curl -sS --connect-timeout 2 http://server:82/ 2>&1
curl -sS -m 10 http://server/name
"""
    out, err = sim(client, "", "hold mute=82")
    a = gwtest.account(err)
    ok("28" in out and "vpce-0" in out, "a silent server looks silent, others work", out, err)
    ok(a and a.reasons.keys() == {"tun"}, "SYNs sent again are absorbed", a and a.text)


# Asks a silent server so many times, and rests in between
ASK = """
import socket, sys, time
socks = []
for i in range(int(sys.argv[1])):
    s = socket.socket()
    s.setblocking(False)
    s.connect_ex(("10.0.2.20", 82))
    socks.append(s)
    time.sleep(float(sys.argv[2]))
time.sleep(0.5)
"""


def flood():
    write("ask.py", ASK)
    out, err = sim("curl -sS -m 10 http://server/name; /usr/bin/python3 ask.py 200 0", "--syns 16", "hold mute=82")
    a = gwtest.account(err)
    ok(a and a.reasons.get("syn-limit", 0) >= 184 and a.reasons.get("tun", 0) >= 16,
       "200 SYNs at once, --syns 16: the rest is dropped and counted", err, out)
    clean(err, "flood")


def scan():
    """Who asks one silent server after the other keeps nobody out"""
    write("ask.py", ASK)
    out, err = sim("/usr/bin/python3 ask.py 350 0.02 & sleep 4; for i in 1 2 3; do curl -sS -m 2 http://server/name; done; wait",
                   "--syns 128", "hold mute=82")
    ok(out.count("vpce-0") == 3, "SYNs that get no answer: the oldest makes room", out, err)
    clean(err, "SYNs that get no answer")


def no_proxy():
    out, err = sim("curl -sS -m 10 http://server/name")
    ok("vpce-0" in out and gwtest.account(err).reasons == {}, "no proxy: connections pass untouched", out, err)
    out, err = sim("curl -sS -m 2 http://server/name 2>&1; ping -c 1 -W 1 server", "--no-proxy drop")
    ok("28" in out and "1 received" in out and gwtest.account(err).reasons.get("no-proxy", 0) > 0,
       "--no-proxy drop: they are dropped, all else passes", out, err)


PROBE_SYN = """
import socket, struct, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.settimeout(15)
want = {4, 6}
while want:
    f = s.recv(65536)
    ip = f[14:]
    if ip[0] >> 4 == 4 and ip[9] == 6:
        l4, ttl, tos, v = ip[20:], ip[8], ip[1], 4
    elif ip[0] >> 4 == 6 and ip[6] == 6:
        l4, ttl, tos, v = ip[40:], ip[7], struct.unpack(">H", ip[:2])[0] >> 4 & 255, 6
    else:
        continue
    if l4[13] & 0x12 == int(sys.argv[1]) and v in want and l4[20] == 2:
        print(v, ttl, tos, struct.unpack(">H", l4[22:24])[0], flush=True)
        want.remove(v)
"""

CONNECT = """
import socket
for family, addr in ((socket.AF_INET, "10.0.2.20"), (socket.AF_INET6, "fd00:0:0:2::20")):
    s = socket.socket(family)
    if family == socket.AF_INET:
        s.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 37)
        s.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0xb8)
    else:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 37)
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, 0xb8)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1200)
    s.settimeout(5)
    s.connect((addr, 80))
    s.send(b"GET /name HTTP/1.0\\r\\n\\r\\n")
    while s.recv(4096):
        pass
"""


def likeness():
    """TTL, DSCP and MSS of the other end, both ways"""
    write("syn.py", PROBE_SYN)
    write("connect.py", CONNECT)
    server = SERVER.replace("cd www", "/usr/bin/python3 syn.py 2 >syn.txt 2>&1 &\ncd www").replace(
        "ip route add unreachable 10.0.9.0/24", "sysctl -qw net.ipv4.ip_default_ttl=99 net.ipv6.conf.eth0.hop_limit=99\n"
        "ip link set eth0 mtu 1400")
    out, err = sim("/usr/bin/python3 syn.py 18 >synack.txt 2>&1 &\nsleep 0.3\n/usr/bin/python3 connect.py; wait; cat syn.txt; "
                   "echo; cat synack.txt", "", "hold", server=server)
    at_server, _, at_client = out.partition("\n\n")
    ok(at_server.split("\n") == ["4 37 184 1200", "6 37 184 1200"],
       "the server sees the client's TTL, DSCP and MSS, IPv4 and IPv6", out, err)
    ok(at_client.split() == "4 99 0 1360 6 99 0 1340".split(),
       "the client sees the server's", out, err)


def path_mtu():
    """Behind the server's end is a link of 1400 bytes: its router says so, the kernel learns it"""
    server = SERVER.replace("cd www", """
unshare -n sleep 60 & far=$!
sleep 0.3
ip link add v0 mtu 1400 type veth peer name v1 mtu 1400
ip link set v1 netns $far
ip addr add 10.0.8.1/24 dev v0; ip -6 addr add fd00:8::1/64 dev v0 nodad; ip link set v0 up
N="nsenter -t $far -n"
$N ip link set lo up; $N ip addr add 10.0.8.2/24 dev v1; $N ip -6 addr add fd00:8::2/64 dev v1 nodad
$N ip link set v1 up; $N ip route add default via 10.0.8.1; $N ip -6 route add default via fd00:8::1
cat >sink.py <<'EOF'
import hashlib, socket
s = socket.create_server(("::", 90), family=socket.AF_INET6, dualstack_ipv6=True)
while True:
    c, _ = s.accept()
    h = hashlib.sha256()
    while d := c.recv(1 << 16):
        h.update(d)
    c.sendall(h.hexdigest().encode())
    c.close()
EOF
$N /usr/bin/python3 sink.py &
cd www""", 1)
    write("push.py", """
import hashlib, os, socket, time
for addr in ("10.0.8.2", "fd00:8::2"):
    data = os.urandom(3000000)
    for i in range(50):
        try:
            s = socket.create_connection((addr, 90), 5)
            break
        except ConnectionRefusedError:
            time.sleep(0.1)
    t = time.monotonic()
    s.sendall(data)
    s.shutdown(socket.SHUT_WR)
    s.settimeout(10)
    print(s.recv(100).decode() == hashlib.sha256(data).hexdigest(), time.monotonic() - t < 3)
""")
    out, err = sim("/usr/bin/python3 push.py", "", "hold", server=server)
    ok(out.split() == ["True"] * 4, "a path of 1,400 bytes behind the server's end is learnt, IPv4 and IPv6", out, err)
    clean(err, "path MTU")


SLOWGET = "curl -sS -m 20 --limit-rate 2M http://server/file >/dev/null 2>curl.err & get=$!\nsleep 0.7\n"


def proxy_killed():
    client = SLOWGET + """
kill -9 $(pgrep -f "tunproxy.py $GW_RUN")
wait $get; echo old $?
curl -sS -m 5 http://server/name
%s $GW_RUN/gwtun.sock hold 2>proxy2.log &
for i in $(seq 100); do grep -q attached proxy2.log && break; sleep 0.02; done
curl -sS -m 1 http://server/name
""" % PROXY
    out, err = sim(client, "", "hold")
    ok("old 0" not in out and "old" in out, "proxy killed: its connection ends, and with RST", out, err)
    with open(gwtest.path("curl.err")) as f:
        ok("reset" in f.read(), "... which the client sees at once")
    ok(out.count("vpce-0") == 2, "new connections pass, then go to the next proxy", out, err)
    ok(err.count("a proxy is attached") == 2, "which is attached", err)
    nothing_left("proxy killed")


AGAIN = """
import socket
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("10.0.1.10", 41000))
s.settimeout(5)
s.connect(("10.0.2.20", 80))
s.send(b"GET /name HTTP/1.0\\r\\n\\r\\n")
while d := s.recv(4096):
    print(d.decode())
"""


def port_again():
    """A client's port is used again, now without a proxy: the flow before is none of it"""
    client = """
/usr/bin/python3 again.py
kill -9 $(pgrep -f "tunproxy.py $GW_RUN")
for i in $(seq 100); do grep -q 'proxy is gone' tun.log && break; sleep 0.02; done
/usr/bin/python3 again.py
"""
    write("again.py", AGAIN)
    out, err = sim(client, "", "plain")
    ok(out.count("vpce-0") == 2, "a port used again while no proxy is attached: passes untouched", out, err)
    clean(err, "a port used again")


BLIND = """
import socket, struct, time
def sum16(d):
    n = sum(struct.unpack(">%dH" % (len(d) // 2), d))
    n = (n >> 16) + (n & 0xffff)
    return ~(n + (n >> 16)) & 0xffff
def connect():
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("10.0.1.10", 41000))
    s.settimeout(8)
    s.connect(("10.0.2.20", 80))
    return s
def get(s):
    s.send(b"GET /name HTTP/1.0\\r\\n\\r\\n")
    while d := s.recv(4096):
        print(d.decode())
s = connect()
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
ends = socket.inet_aton("10.0.1.10") + socket.inet_aton("10.0.2.20")
for flags in 4, 2:       # RST, SYN
    forged = lambda c: struct.pack(">HHIIBBHHH", 41000, 80, 1234567, 0, 5 << 4, flags, 1000, c, 0)
    raw.sendto(forged(sum16(ends + struct.pack(">HH", 6, 20) + forged(0))), ("10.0.2.20", 0))
    time.sleep(0.5)
get(s)
s.close()
time.sleep(0.5)
s = connect()
s.setsockopt(socket.IPPROTO_TCP, 19, 1)         # TCP_REPAIR: it goes without a word
s.close()
get(connect())
"""


def blind():
    """A RST or a SYN amid a connection is judged as a server would: it ends none that its client has still"""
    write("blind.py", BLIND)
    out, err = sim("/usr/bin/python3 blind.py 2>&1", "", "hold")
    ok(out.count("vpce-0") >= 1 and "reset" not in out, "somebody else's RST and SYN end no connection", out, err)
    ok(out.count("vpce-0") == 2, "a client that forgot its connection begins anew, from the same port", out, err)
    clean(err, "a SYN amid a connection")


def attach(path, version=1):
    """A proxy that does nothing"""
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(3)
    s.connect(path)
    s.send(struct.pack("=HHIII", 1, 16, 0x4b4c5857, version, 0))
    return s


def is_closed(s):
    """What is not yet read comes first"""
    try:
        while s.recv(100):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


def leaving():
    """Proxies that take no more: each lets the next one in, and is kept; whoever breaks the rules is cut off"""
    path, leave = gwtest.path("leave.sock"), struct.pack("=HH", 9, 4)
    p = gwtest.Proc("gwtun", "--no-ring", "--socket", path, "--endpoint", TWO[0],
                    stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    gwtest.until(lambda: os.path.exists(path))
    was, pairs = [], []
    for _ in range(9):
        s = attach(path, 2)
        said, fds, _, _ = socket.recv_fds(s, 100, 4)
        pairs.append(socket.socket(fileno=fds[0]))
        pairs[-1].settimeout(3)
        pairs[-1].send(leave)
        if pairs[-1].recv(100) != leave or struct.unpack("=HHIII", said)[3] != 2:
            break
        s.send(leave)
        was.append(s)
    ok(len(was) == 9, "nine proxies in turn: each leaves, and the next one is attached", len(was), p.stderr())
    ok(is_closed(was[0]) and is_closed(pairs[0]), "eight are kept: the first one is cut off", p.stderr())
    last = attach(path, 2)
    _, fds, _, _ = socket.recv_fds(last, 100, 4)
    for s in was[1:]:
        s.settimeout(0.05)
    ok(not any(is_closed(s) for s in was[1:]), "the others are there when one more is", p.stderr())
    was[1].send(struct.pack("=HHIQHHHH", 4, 24, 2, 1, socket.AF_INET, 0, 0, 0))
    ok(gwtest.until(lambda: is_closed(was[1]), 3), "one that left and asks for sockets is cut off", p.stderr())
    pairs[2].send(leave)
    ok(gwtest.until(lambda: is_closed(pairs[2]), 3), "one that leaves twice, too", p.stderr())
    for s in (*was, *pairs):
        s.close()
    last.settimeout(0.2)
    ok(not is_closed(last), "the one that is attached sees nothing of that", p.stderr())
    last.send(leave)                # not a word to the packet loop
    pair = socket.socket(fileno=fds[0])
    pair.settimeout(3)
    ok(pair.recv(100) == leave, "one that tells only the broker has left the loop, too", p.stderr())
    old = attach(path)
    ok(struct.unpack("=HHIII", old.recv(100))[3] == 1, "an older proxy is answered in its version", p.stderr())
    old.send(leave)
    ok(is_closed(old), "it knows of no leaving: cut off", p.stderr())
    for s in (pair, last, old):
        s.close()
    p.p.stdin.close()
    p.wait(10)
    nothing_left("leaving proxies")


def next_proxy():
    """One goes and another comes before the broker had a look: it is taken"""
    path = gwtest.path("next.sock")
    p = gwtest.Proc("gwtun", "--no-ring", "--socket", path, "--endpoint", TWO[0],
                    stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    gwtest.until(lambda: os.path.exists(path))
    broker = gwtest.until(lambda: [x for x in ours() if x != p.pid])[0]
    one = attach(path)
    ok(one.recv(100), "a proxy attaches")
    os.kill(broker, signal.SIGSTOP)
    two = attach(path)
    one.close()
    time.sleep(0.3)                 # the loop hands it on
    os.kill(broker, signal.SIGCONT)
    try:
        said = two.recv(100)
    except OSError as e:
        said = str(e).encode()
    ok(len(said) == 16, "the next one does, though the broker did not yet know that the first one is gone",
       said, p.stderr())
    flood = struct.pack("=HHIQHHHH", 4, 24, 32, 1, socket.AF_INET, 0, 0, 0)
    two.setblocking(False)
    try:
        while True:                 # wants sockets, and takes none
            two.send(flood)
    except BlockingIOError:
        pass
    three = attach(path)
    ok(gwtest.until(lambda: b"second one is turned away" in p.stderr().encode(), 5),
       "a proxy that does not listen holds up nobody", p.stderr())
    three.close()
    two.close()
    p.p.stdin.close()
    p.wait(10)
    nothing_left("next proxy")


def proxy_late():
    """Numbers are looked at once a proxy is there: those of a connection that passes fit"""
    client = """
curl -sS -m 20 --limit-rate 8M http://server/file | sha256sum & get=$!
sleep 0.5
%s $GW_RUN/gwtun.sock hold 2>proxy2.log &
for i in $(seq 100); do grep -q attached proxy2.log && break; sleep 0.02; done
curl -sS -m 5 http://server/name
wait $get
sha256sum <www.vpce-00a1b2c3d4e5f6071/file
""" % PROXY
    out, err = sim(client)
    ok(same(out, 2) and "vpce-0" in out and "a proxy is attached" in err,
       "a proxy comes later: the connection before it goes on untouched", out, err)
    clean(err, "a proxy comes later")


QUIET = """
import socket, time
s = socket.create_connection(("server", 80), 5)
s.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
print("open", flush=True)
time.sleep(7)
s.send(b"GET /name HTTP/1.0\\r\\n\\r\\n")
while d := s.recv(4096):
    print(d.decode())
"""


def mid_stream(script, what, options=""):
    """A connection that passes, and in whose middle a proxy attaches: it goes on"""
    client = """
/usr/bin/python3 client.py >client.out 2>&1 & client=$!
for i in $(seq 100); do grep -q open client.out && break; sleep 0.02; done
%s $GW_RUN/gwtun.sock hold 2>proxy2.log &
for i in $(seq 100); do grep -q attached proxy2.log && break; sleep 0.02; done
wait $client
cat client.out
""" % PROXY
    write("client.py", script)
    out, err = sim(client, options)
    ok("vpce-0" in out and "a proxy is attached" in err, what + " in a connection that passes: it goes on", out, err)
    clean(err, what)


def kept_alive():
    """It says nothing but that it is there: its numbers fit, too"""
    mid_stream(QUIET, "keep-alives")


FORGED = """
import socket, struct, time
def sum16(d):
    n = sum(struct.unpack(">%dH" % (len(d) // 2), d))
    n = (n >> 16) + (n & 0xffff)
    return ~(n + (n >> 16)) & 0xffff
s = socket.create_connection(("10.0.2.20", 80), 5)
print("open", flush=True)
time.sleep(3)
port = s.getsockname()[1]
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
ends = socket.inet_aton("10.0.1.10") + socket.inet_aton("10.0.2.20")
ack = lambda c: struct.pack(">HHIIBBHHH", port, 80, 1234567, 7654321, 5 << 4, 16, 1000, c, 0)
for i in range(4):
    raw.sendto(ack(sum16(ends + struct.pack(">HH", 6, 20) + ack(0))), ("10.0.2.20", 0))
    time.sleep(0.7)
s.send(b"GET /name HTTP/1.0\\r\\n\\r\\n")
while d := s.recv(4096):
    print(d.decode())
"""


def forged():
    """Nobody resets connections by making them look as if a gwtun that died had had them: not for ever"""
    mid_stream(FORGED, "forged numbers", "--tcp-timeout 2")


def died(who, signal_it):
    out, err = sim(SLOWGET + signal_it + "\nwait $get; echo $?\n", "", "hold")
    nothing_left(who + " killed")
    return out, err


def broker_killed():
    out, err = died("broker", 'kill -9 $(pgrep -P $(cat tun.pid) gwtun-broker)')
    ok("the broker died" in err and "warning: appliance 1: its command has ended" in err,
       "broker killed: gwtun ends, and says so", out, err)


def loop_killed():
    died("loop", 'kill -9 $(cat tun.pid)')


def haproxy():
    """The example with somebody else's proxy"""
    example = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../examples/haproxy.sh")
    out, err = sim("for v in -4 -6; do curl $v -sS -m 10 -D - http://server/name; done; " + GET.strip() +
                   "\nping -c 1 -W 1 server", chain="sh " + example)
    ok(out.count("x-seen-by: haproxy") == 2 and out.count("vpce-0") == 2,
       "examples/haproxy.sh: HTTP through haproxy, IPv4 and IPv6", out, err)
    ok(same(out, 3) and "1 received" in out, "... 20 MB with equal sums, all else passes", out, err)
    clean(err, "haproxy")
    nothing_left("haproxy")


TWO_ARM = """
nsenter --net=$GW_HOST_NETNS ip link add arm0 type veth peer name arm1
nsenter --net=$GW_HOST_NETNS ip link set arm1 netns $$
nsenter --net=$GW_HOST_NETNS sh -c 'ip addr add 10.77.0.1/24 dev arm0; ip link set arm0 up'
ip addr add 10.77.0.2/24 dev arm1
ip link set arm1 up
nft 'table ip nat { chain post { type nat hook postrouting priority 100; oifname "arm1" masquerade; }; }'
"""


def two_arm():
    """The namespace has a way out of its own, with NAT; answers come back through the TUN"""
    write("arm.sh", TWO_ARM)
    chain = ("/usr/bin/python3 -m http.server 80 2>/dev/null >&2 & "
             "gwcap -q -I eth0 --peer auto | gwdecap -q | gwtun --router --on-create 'sh arm.sh' 2>tun.log | "
             "gwinject -q -I eth0")
    out, err = sim("sleep 0.5; curl -sS -m 5 -o two -w '%{http_code} %{remote_ip}' http://10.77.0.1/", chain=chain)
    ok(out == "200 10.77.0.1", "two arms: out by a device with NAT, back through the TUN", out, err)
    clean(err, "two arms")


def conform():
    for what, opt in (("no flow", "--where 'tcp port 9'"), ("no proxy", "")):
        rc, out, err = gwtest.run("gwsim", "conform", "--strict", "-a",
                                  "gwcap -q -I eth0 --peer auto | gwdecap -q | gwtun -q %s | gwinject -q -I eth0" % opt)
        ok(rc == 0 and out.count(b"\nok") > 100, "gwsim conform --strict with gwtun in the chain: " + what, err,
           [x for x in out.decode().splitlines() if x.startswith("not ok")])


def many():
    n = 5000 if gwtest.SOAK else 500
    names = ["vpce-0%016x" % (i + 1) for i in range(n)]
    p = gwtest.Proc("gwtun", "--no-ring", "--endpoints", str(n),
                    *[x for name in names for x in ("--endpoint", name)],
                    stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    broker = gwtest.until(lambda: [x for x in ours() if x != p.pid])
    ok(gwtest.until(lambda: namespaces(broker[0]) == n, 60), "%d endpoints have namespaces" % n, p.stderr())
    ok(len(os.listdir("/proc/%d/fd" % p.pid)) < n + 40, "the loop has a descriptor for each")
    with open("/proc/%d/status" % p.pid) as f:
        ok(re.search(r"^CapPrm:\s*0+$", f.read(), re.M), "the loop has no capability")
    p.p.stdin.close()
    p.wait(60)
    nothing_left("%d endpoints" % n)


def idle():
    out, err = sim("ping -c 1 -W 1 server; sleep 3.5; ping -c 1 -W 1 server",
                   '--router --tcp-timeout 1 --timeout 1 --endpoint-idle 1.5 --on-create "echo made >>idle" '
                   '--on-destroy "echo gone >>idle"')
    with open(gwtest.path("idle")) as f:
        ok(f.read().split() == ["made", "gone", "made", "gone"] and out.count("1 received") == 2,
           "an idle endpoint goes, and comes again", out, err)


def fair():
    """A TUN that always has packets does not keep another one from its turn"""
    write("flood_out.py", FLOOD_OUT)
    write("first.sh", "[ $GW_ENDPOINT != %s ] || /usr/bin/python3 flood_out.py &\n" % TWO[0])
    client = """
gwsim shell -e %s client -- ping -c 1 -W 1 server >/dev/null
gwsim shell -e %s client -- /usr/bin/python3 -c '
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("10.0.1.10", 5001))
s.sendto(b"x", ("10.0.2.20", 5000))'
sleep 0.5
gwsim shell -e %s client -- ping -c 30 -i 0.05 -W 1 server
""" % (TWO[1], TWO[0], TWO[1])
    chain = ("gwcap -q -I eth0 --peer auto | gwdecap -q | gwtun --router --on-create 'sh first.sh' 2>tun.log | "
             "gwinject -q -I eth0")
    out, err = sim(client, args=["--endpoint", ",".join(TWO)], chain=chain)
    got = re.search(r"(\d+) received", out)        # the device loses most of all that comes out
    ok(got and int(got.group(1)), "a TUN that always has packets does not keep another one waiting", out, err)


FLOOD_OUT = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, 19, 1)      # IP_TRANSPARENT
s.setsockopt(17, 103, 500)                  # UDP_SEGMENT: a hundred packets in one
s.bind(("10.0.2.20", 5000))
while True:
    try:
        s.sendto(bytes(50000), ("10.0.1.10", 5001))
    except OSError:
        pass
"""

SPEAK = """
import os, socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("10.0.1.10", 5001))
s.sendto(b"x", ("10.0.2.20", 5000))
time.sleep(1)
pid = int(open("tun.pid").read())
for i in range(2):
    os.kill(pid, 15)
    time.sleep(0.1)
for i in range(20):
    try:
        os.kill(pid, 0)
    except OSError:
        print("ended")
        break
    time.sleep(0.1)
else:
    os.kill(pid, 9)
"""


def busy_namespace():
    """What a namespace sends without an end does not keep gwtun from its signals"""
    write("flood_out.py", FLOOD_OUT)
    write("speak.py", SPEAK)
    chain = ("gwcap -q -I eth0 --peer auto | gwdecap -q | sh -c 'echo $$ >tun.pid; "
             "exec gwtun --router --on-create \"/usr/bin/python3 flood_out.py &\"' 2>tun.log >/dev/null")
    out, err = sim("/usr/bin/python3 speak.py", chain=chain)
    made = re.search(r"^gwtun: \d+ in, (\d+) made", err, re.M)
    ok(out == "ended\n" and made and int(made.group(1)) > 10000,
       "a namespace that sends without an end: signals are heard", out, err)
    nothing_left("busy namespace")


def main():
    if not gwtest.have("gwtun"):
        print("1..0 # SKIP gwtun is not built")
        return
    write_commands()
    tests = dict(router=router, commands=commands, failing_command=failing_command,
                 trouble=trouble, plain=lambda: relay("plain"), hold=lambda: relay("hold"), connect_errors=connect_errors,
                 twins=two_endpoints, silent=silent, flood=flood, scan=scan, no_proxy=no_proxy, likeness=likeness,
                 path_mtu=path_mtu, proxy_killed=proxy_killed, port_again=port_again, blind=blind,
                 next_proxy=next_proxy, leaving=leaving, proxy_late=proxy_late, kept_alive=kept_alive, forged=forged,
                 broker_killed=broker_killed,
                 loop_killed=loop_killed, many=many, idle=idle,
                 busy_namespace=busy_namespace, fair=fair, haproxy=haproxy, two_arm=two_arm, conform=conform)
    for name in sys.argv[1:] or tests:
        tests[name]()
    gwtest.done()


main()
