# SPDX-License-Identifier: MIT
"""One run of gwsim: a script at the client, a web server for each endpoint, and a chain with gwtun."""
import os
import re
import subprocess

from gwtest import DIR, ok, path, read, write

TWO = ["vpce-00000000000000001", "vpce-00000000000000002"]
LOGS = ("tun.log", "proxy.log", "proxy2.log")
SERVER = """
mkdir -p www.$GWSIM_ENDPOINT
[ -f www.$GWSIM_ENDPOINT/file ] || head -c 20000000 /dev/urandom >www.$GWSIM_ENDPOINT/file
echo $GWSIM_ENDPOINT >www.$GWSIM_ENDPOINT/name
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
ip route add unreachable 10.0.9.0/24
ip -6 route add unreachable fd00:9::/64
cd www.$GWSIM_ENDPOINT && exec /usr/bin/python3 -m http.server 80 --bind :: 2>/dev/null >&2
"""
# What connect(2) says of who listens, who does not, and where there is no way
PROBE = """
import socket
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
# Two endpoints, the same addresses and ports at once
TWINS = """
get() { gwsim shell -e $1 client -- curl -sS -m 20 --local-port 41000 http://server/$2; }
get %s file | sha256sum >a & get %s file | sha256sum >b; wait
cat a b; sha256sum <www.%s/file; sha256sum <www.%s/file
""" % (*TWO, *TWO)
ATTACHED = "for i in $(seq 100); do grep -q attached proxy.log && break; sleep 0.05; done\n"


def simulate(client, chain, server=SERVER, args=(), attached=False, seconds=55):
    """The client's output, and all that went to stderr and LOGS; @attached: the client begins when
    proxy.log says that the proxy is"""
    for name in (*LOGS, "tun.pid", "again"):
        if os.path.exists(path(name)):
            os.unlink(path(name))
    write("client.sh", (ATTACHED if attached else "") + client)
    write("server.sh", server)
    p = subprocess.run(["gwsim", "run", "-a", chain, "-s", "sh server.sh", "--server-wait", "80",
                        "--strict-judge", *args, "--", "sh", "client.sh"], cwd=DIR,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=seconds, check=False)
    out, err = p.stdout.decode(errors="replace"), p.stderr.decode(errors="replace")
    for name in LOGS:
        if os.path.exists(path(name)):
            err += name + ":\n" + read(name)
    if "Sanitizer" in err or "runtime error" in err:
        ok(False, "a sanitizer speaks", err)
    return out, err


def sums(out):
    return re.findall(r"^[0-9a-f]{64}", out, re.M)


def same(out, n):
    """So many sums, all of them equal"""
    return len(sums(out)) == n and len(set(sums(out))) == 1


def twins(out):
    """Of TWINS: each endpoint's client has its own server's data"""
    s = sums(out)
    return len(s) == 4 and s[0] == s[2] and s[1] == s[3] and s[0] != s[1]
