# SPDX-License-Identifier: MIT
"""A client, a proxy and a server in a row, in network namespaces of their own, for bench/proxy.

    client 10.98.1.2 -- 10.98.1.1 proxy 10.98.2.1 -- 10.98.2.2 server.bench

Port 443 is handed to a transparent proxy in the middle (TPROXY), 444 goes past it.
"""
import os
import shlex
import subprocess
import sys
import time

import gwbench

INSIDE = "GWBENCH_LAB"
NAME = "server.bench"
TPROXY_PORT = 8443
MTU = 8500
BIG = 512 << 20
TABLE = f"""table ip lab {{
	chain divert {{
		type filter hook prerouting priority mangle
		iifname "client0" tcp dport {{ 80, 443 }} tproxy to 127.0.0.1:{TPROXY_PORT} meta mark set 1 accept
		iifname "client0" tcp dport {{ 80, 443 }} drop comment "nobody listens yet: not past the proxy"
	}}
}}
"""
NGINX = """
daemon off; worker_processes 1; pid nginx.pid; error_log stderr crit;
events { worker_connections 4096; }
http {
	access_log off; sendfile on; keepalive_requests 1000000000; keepalive_timeout 600;
	client_body_temp_path .; proxy_temp_path .; fastcgi_temp_path .; uwsgi_temp_path .; scgi_temp_path .;
	server {
		listen 80; listen 443 ssl http2; listen 444 ssl http2; root www;
		http2_max_concurrent_streams 1000;
		ssl_certificate server.pem; ssl_certificate_key server.key;
		ssl_protocols TLSv1.2 TLSv1.3;
	}
}
"""


def enter():
    """Run this script again where its namespaces and processes end with it."""
    if os.environ.get(INSIDE):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    os.environ[INSIDE] = "1"
    os.execvp("unshare", ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child",
                          "--mount-proc", sys.executable, *sys.argv])


class Lab:
    """The namespaces, a server that runs, and certificates."""

    def __init__(self, bench):
        self.b = bench
        self.procs = []
        self.client = self.place("client0", "10.98.1")
        self.server = self.place("server0", "10.98.2")
        self.b.shell("echo 1 >/proc/sys/net/ipv4/ip_forward && "
                     "ip rule add fwmark 1 lookup 100 && ip route add local default dev lo table 100")
        self.write("lab.nft", TABLE)
        self.b.shell("nft -f lab.nft")
        self.write("hosts", f"127.0.0.1 localhost\n10.98.2.2 {NAME}\n")
        self.b.shell("mount --bind hosts /etc/hosts")
        self.certificates()
        self.start_server()

    def place(self, link, net):
        """A namespace with one link to ours: how to run something there."""
        holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec sleep infinity"],
                                  stdout=subprocess.PIPE)
        holder.stdout.readline()
        self.procs.append(holder)
        inside = f"nsenter --net=/proc/{holder.pid}/ns/net "
        self.b.shell(f"ip link add {link} mtu {MTU} type veth peer name eth0 mtu {MTU} netns {holder.pid} && "
                     f"ip addr add {net}.1/24 dev {link} && ip link set {link} up && "
                     f"{inside} ip addr add {net}.2/24 dev eth0 && {inside} ip link set eth0 up && "
                     f"{inside} ip link set lo up && {inside} ip route add default via {net}.1")
        return inside + f"taskset -c {gwbench.GENERATOR_CPU} "

    def write(self, name, text):
        with open(os.path.join(self.b.work, name), "w", encoding="utf-8") as f:
            f.write(text)

    def certificates(self):
        key = "-nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256"
        self.write("san", f"subjectAltName=DNS:{NAME}\n")
        self.b.shell(
            f"umask 077; openssl req -x509 {key} -days 30 -keyout ca.key -out ca.pem -subj /CN=bench "
            "-addext keyUsage=critical,keyCertSign && "
            f"openssl req -new {key} -keyout server.key -out server.csr -subj /CN={NAME} && "
            "openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 "
            "-extfile san -out server.pem && cat server.pem server.key >both.pem && chmod 644 *.pem")

    def start_server(self):
        self.write("nginx.conf", "user root;" + NGINX)
        self.b.shell(f"mkdir www && head -c 1000 /dev/zero >www/k && truncate -s {BIG} www/big")
        self.spawn(f"{self.server} nginx -p {shlex.quote(self.b.work)} -c nginx.conf -e stderr")
        self.wait(f"https://{NAME}:444/k")

    def spawn(self, cmd):
        p = self.b.shell("exec " + cmd, wait=False)
        self.procs.append(p)
        return p

    def wait(self, url, proxy=None, more=""):
        """Until it answers through what was started."""
        for _ in range(100):
            if proxy and proxy.poll() is not None:
                break
            if not subprocess.run(shlex.split(f"{self.client} curl -sfk -m 5 -o /dev/null {more} {url}"),
                                  check=False).returncode:
                return
            time.sleep(0.1)
        err = b""
        if proxy:
            proxy.kill()
            err = os.read(proxy.stderr.fileno(), 4096)
        sys.exit(f"bench: no answer from {url}\n{err.decode(errors='replace')}")

    def end(self):
        """What is left ends with the namespace of processes."""
        for p in self.procs:
            if p.poll() is None:
                p.terminate()
