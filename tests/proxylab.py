# SPDX-License-Identifier: MIT
"""Three network namespaces: client, proxy with a TPROXY rule, server.  None is the machine's."""
import os
import select
import subprocess

from gwtest import DIR, Proc, until

CLIENT4, CLIENT6 = "10.77.1.2", "fd77:1::2"
SERVER4, SERVER6 = "10.77.2.2", "fd77:2::2"
PORT = 4000

RULES = """
table inet gwproxy {
	chain pre {
		type filter hook prerouting priority mangle; policy accept;
		iifname "s" meta l4proto tcp socket transparent 1 meta mark set 1 accept
		iifname "c" meta nfproto ipv4 meta l4proto tcp tproxy ip to 127.0.0.1:%d meta mark set 1 accept
		iifname "c" meta nfproto ipv6 meta l4proto tcp tproxy ip6 to [::1]:%d meta mark set 1 accept
	}
}
""" % (PORT, PORT)

SETUP = {
    "p": """
ip link set lo up
ip link add c type veth peer name eth0 netns {c}
ip link add s type veth peer name eth0 netns {s}
ip addr add 10.77.1.1/24 dev c; ip -6 addr add fd77:1::1/64 dev c nodad
ip addr add 10.77.2.1/24 dev s; ip -6 addr add fd77:2::1/64 dev s nodad
ip link set c up; ip link set s up
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.c.rp_filter=0 net.ipv4.conf.s.rp_filter=0
ip rule add fwmark 1 lookup 100; ip route add local default dev lo table 100
ip -6 rule add fwmark 1 lookup 100; ip -6 route add local default dev lo table 100
""",
    "c": """
ip link set lo up; ip link set eth0 up
ip addr add 10.77.1.2/24 dev eth0; ip route add default via 10.77.1.1
ip -6 addr add fd77:1::2/64 dev eth0 nodad; ip -6 route add default via fd77:1::1
""",
    "s": """
ip link set lo up; ip link set eth0 up
ip addr add 10.77.2.2/24 dev eth0; ip route add default via 10.77.2.1
ip -6 addr add fd77:2::2/64 dev eth0 nodad; ip -6 route add default via fd77:2::1
""",
}


class Lab:
    def __init__(self):
        self.holder = {n: Proc("unshare", "-n", "sleep", "900") for n in "psc"}
        for n, h in self.holder.items():
            until(lambda h=h: self._net(h.pid) != self._net(os.getpid()))
        pids = {n: h.pid for n, h in self.holder.items()}
        for n in "pcs":
            self.check(n, "sh", "-ec", SETUP[n].format(**pids))
        subprocess.run(self.argv("p", "nft", "-f", "-"), input=RULES.encode(), check=True)

    @staticmethod
    def _net(pid):
        try:
            return os.readlink("/proc/%d/ns/net" % pid)
        except OSError:
            return None

    def argv(self, where, *argv):
        return ("nsenter", "-t", str(self.holder[where].pid), "-n", "--") + argv

    def check(self, where, *argv):
        subprocess.run(self.argv(where, *argv), check=True, stdout=subprocess.DEVNULL)

    def run(self, where, *argv, data=None, seconds=60):
        r = subprocess.run(self.argv(where, *argv), input=data,
                           stdin=subprocess.DEVNULL if data is None else None,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=seconds)
        return r.returncode, r.stdout, r.stderr.decode(errors="replace")

    def proc(self, where, *argv, **kw):
        return Proc(*self.argv(where, *argv), **kw)

    def listening(self, where, port):
        want = ":%04X" % port

        def there():
            for f in ("tcp", "tcp6"):
                with open("/proc/%d/net/%s" % (self.holder[where].pid, f)) as t:
                    for line in t.read().splitlines()[1:]:
                        if line.split()[1].endswith(want) and line.split()[3] == "0A":
                            return True
            return False
        return until(there)

    def proxy(self, *argv, transparent=True):
        """gwproxy, listening for both families and ready; nsenter becomes it"""
        ready, told = os.pipe()     # its sockets listen while it still has its privileges
        p = self.proc("p", "gwproxy", "-l", "127.0.0.1:%d" % PORT, "-l", "[::1]:%d" % PORT,
                      "--log-level", "info", "--ready-fd", str(told),
                      *(("--transparent",) if transparent else ()), *argv, pass_fds=(told,))
        os.close(told)
        if select.select([ready], [], [], 10)[0]:
            os.read(ready, 1)
        os.close(ready)
        return p


def sockets(pid):
    """How many descriptors a process has open"""
    return len(os.listdir("/proc/%d/fd" % pid))
