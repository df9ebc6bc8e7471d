#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""gwtun between real clients and servers of gwsim: as a router, and with a proxy of a few lines
(tunproxy.py)."""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gwtest                               # noqa: E402
from gwtest import ok                       # noqa: E402

PROXY = "/usr/bin/python3 " + os.path.join(os.path.dirname(os.path.abspath(__file__)), "tunproxy.py")
TWO = ["vpce-00000000000000001", "vpce-00000000000000002"]

SERVER = """
mkdir -p www.$GWSIM_ENDPOINT
[ -f www.$GWSIM_ENDPOINT/file ] || head -c 20000000 /dev/urandom >www.$GWSIM_ENDPOINT/file
echo $GWSIM_ENDPOINT >www.$GWSIM_ENDPOINT/name
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
ip route add unreachable 10.0.9.0/24
ip -6 route add unreachable fd00:9::/64
cd www.$GWSIM_ENDPOINT && exec /usr/bin/python3 -m http.server 80 --bind :: 2>/dev/null >&2
"""


def sim(client, tun="", proxy=None, server=SERVER, args=(), seconds=50, chain=None):
    """Run @client in a simulation; its output, and all that went to stderr"""
    for name in ("proxy.log", "tun.log", "tun.pid"):
        if os.path.exists(gwtest.path(name)):
            os.unlink(gwtest.path(name))
    with open(gwtest.path("client.sh"), "w") as f:
        if proxy is not None:
            f.write("for i in $(seq 100); do grep -q attached proxy.log && break; sleep 0.05; done\n")
        f.write(client)
    with open(gwtest.path("server.sh"), "w") as f:
        f.write(server)
    start = "" if proxy is None else "%s $GW_RUN/gwtun.sock %s 2>proxy.log & " % (PROXY, proxy)
    chain = chain or ("gwcap -q -I eth0 --peer auto | gwdecap -q | "
                      "sh -c 'echo $$ >tun.pid; exec gwtun %s' 2>tun.log | gwinject -q -I eth0" % tun)
    p = subprocess.run(["gwsim", "run", "-a", start + chain, "-s", "sh server.sh", "--server-wait", "80",
                        "--strict-judge", *args, "--", "sh", "client.sh"], cwd=gwtest.DIR,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=seconds, check=False)
    out, err = p.stdout.decode(errors="replace"), p.stderr.decode(errors="replace")
    for name in ("tun.log", "proxy.log"):
        if os.path.exists(gwtest.path(name)):
            with open(gwtest.path(name)) as f:
                err += name + ":\n" + f.read()
    return out, err


def ours():
    """Process ids of gwtun's that this test started"""
    pids = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/comm" % pid) as f, open("/proc/%s/environ" % pid) as g:
                if f.read().startswith("gwtun") and gwtest.DIR in g.read():
                    pids.append(int(pid))
        except OSError:
            pass
    return pids


def nothing_left(what):
    """No process of gwtun's, and so no namespace"""
    ok(gwtest.until(lambda: not ours(), 8), what + ": no process is left", ours())


def clean(err, what):
    a = gwtest.account(err)
    ok(a and a.balances(), what + ": accounts balance", err)
    ok("no violation" in err, what + ": the load balancer has no complaint", err)


def same(out, n):
    sums = re.findall(r"^[0-9a-f]{64}", out, re.M)
    return len(sums) == n and len(set(sums)) == 1


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
    with open(gwtest.path("create.sh"), "w") as f:
        f.write("nft 'table ip t { chain f { type filter hook forward priority 0; "
                "icmp type echo-request counter; }; }'\n"
                "echo $GW_EVENT $GW_ENDPOINT $GW_DEVICE $GW_MTU >>hooks; readlink $GW_NETNS >>hooks\n")
    with open(gwtest.path("destroy.sh"), "w") as f:
        f.write("echo $GW_EVENT >>hooks; readlink $GW_NETNS >>hooks; nft list ruleset >>hooks\n")


def failing_command():
    out, err = sim("ping -c 2 -i 0.2 -W 1 server", "--router --on-create false")
    ok("2 received" in out and "--on-create failed with status 1" in err,
       "a command that fails: said, and packets pass untouched", out, err)


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


PROBE = """
import os, socket, sys
for family, addr in ((socket.AF_INET, "10.0.2.20"), (socket.AF_INET6, "fd00:0:0:2::20"),
                     (socket.AF_INET, "10.0.9.1"), (socket.AF_INET6, "fd00:9::1")):
    for port in (80, 81):
        s = socket.socket(family)
        s.settimeout(4)
        try:
            s.connect((addr, port))
            print(addr, port, "connected", flush=True)
        except OSError as e:
            print(addr, port, type(e).__name__, e.errno, flush=True)
        s.close()
"""


def connect_errors():
    """What connect(2) says with us is what it says without"""
    with open(gwtest.path("probe.py"), "w") as f:
        f.write(PROBE)
    with_us, err = sim("/usr/bin/python3 probe.py", "", "hold")
    without, _ = sim("/usr/bin/python3 probe.py", "--where 'tcp port 9'".replace("'", '"'), "hold")
    ok(with_us == without and without.count("\n") == 8 and "OSError 113" in without,
       "connect(2): the same errors as without us", with_us, without, err)


def twins():
    """Two endpoints, the same addresses and ports at once"""
    client = """
get() { gwsim shell -e $1 client -- curl -sS -m 20 --local-port 41000 http://server/$2; }
get %s file | sha256sum >a & get %s file | sha256sum >b; wait
cat a b; sha256sum <www.%s/file; sha256sum <www.%s/file
""" % (TWO[0], TWO[1], TWO[0], TWO[1])
    out, err = sim(client, "", "hold", args=["--endpoint", ",".join(TWO)])
    s = re.findall(r"^[0-9a-f]{64}", out, re.M)
    ok(len(s) == 4 and s[0] == s[2] and s[1] == s[3] and s[0] != s[1],
       "two endpoints, equal 5-tuples at once: each has its own data", out, err)
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


FLOOD = """
import socket, time
socks = []
for i in range(200):
    s = socket.socket()
    s.setblocking(False)
    s.connect_ex(("10.0.2.20", 82))
    socks.append(s)
time.sleep(0.5)
"""


def flood():
    with open(gwtest.path("flood.py"), "w") as f:
        f.write(FLOOD)
    out, err = sim("curl -sS -m 10 http://server/name; /usr/bin/python3 flood.py", "--syns 16", "hold mute=82")
    a = gwtest.account(err)
    ok(a and a.reasons.get("syn-limit", 0) >= 184 and a.reasons.get("tun", 0) >= 16,
       "200 SYNs at once, --syns 16: the rest is dropped and counted", err, out)
    clean(err, "flood")


def no_proxy():
    out, err = sim("curl -sS -m 10 http://server/name")
    ok("vpce-0" in out and gwtest.account(err).reasons == {}, "no proxy: connections pass untouched", out, err)
    out, err = sim("curl -sS -m 2 http://server/name 2>&1; ping -c 1 -W 1 server", "--no-proxy drop")
    ok("28" in out and "1 received" in out and gwtest.account(err).reasons.get("no-proxy", 0) > 0,
       "--no-proxy drop: they are dropped, all else passes", out, err)


def main():
    if not gwtest.have("gwtun"):
        print("1..0 # SKIP gwtun is not built")
        return
    write_commands()
    tests = dict(router=router, commands=commands, failing_command=failing_command,
                 plain=lambda: relay("plain"), hold=lambda: relay("hold"), connect_errors=connect_errors,
                 twins=twins, silent=silent, flood=flood, no_proxy=no_proxy)
    for name in sys.argv[1:] or tests:
        tests[name]()
    gwtest.done()


main()
