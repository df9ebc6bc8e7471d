# SPDX-License-Identifier: MIT
"""A simulation with the whole chain, gwtun and gwproxy in it, and servers behind them: nginx (80, 81,
443, 8080), haproxy (8443), streamserver.py.  Commands run at its client, one after the other."""
import os
import resource
import signal
import subprocess

from certs import proxy_and_server
from gwtest import DIR, Proc, path, read, until, write

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(HERE)
# ipc streams take another's place when a process dies, a pipe would end
ALL = {
    "gwcap": "gwcap -q -I eth0 --peer auto",
    "gwdecap": "gwdecap -q",
    "gwfilter": "gwfilter -q -e 'reject where udp dst port 4433'",
    "gwtun": "gwtun",
    "gwmangle": "gwmangle -q -e 'replace \"weakly typed\" \"strongly typed\" where udp'",
    "gwinject": "gwinject -q -I eth0",
}
PROXY = ("gwproxy --ca-cert proxyca.crt --ca-key proxyca.key --upstream-ca serverca.crt --drain-timeout 0 "
         "--http-ports 80,443,8080,8081,8443 --log-level info --record record.jsonl")
NGINX = """
daemon off; worker_processes 1; pid nginx.pid; error_log nginx.err; user root;
worker_rlimit_nofile 20000;
events { worker_connections 15000; }
http {
	log_format how "$server_protocol $request_uri $status";
	types { text/html html; text/javascript js; }
	access_log off; root .; keepalive_timeout 300; keepalive_requests 1000000; client_max_body_size 0;
	client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;
	server {
		listen [::]:80 ipv6only=off; listen [::]:81 ipv6only=off; listen [::]:8080 ipv6only=off http2;
		listen [::]:443 ipv6only=off ssl http2;
		ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate server.crt; ssl_certificate_key server.key;
		location /page/ { access_log page.log how; }
		location /up { proxy_pass http://127.0.0.1:8000; proxy_http_version 1.1; proxy_request_buffering off; }
	}
}
"""
HAPROXY = """
global
	maxconn 4000
defaults
	mode http
	timeout connect 5s
	timeout client 60s
	timeout server 60s
frontend tls
	bind :::8443 v4v6 ssl crt both.pem alpn h2,http/1.1
	use_backend ws if { path /ws }
	default_backend origin
backend origin
	server one 127.0.0.1:8000
backend ws
	server one 127.0.0.1:8081
"""
SERVER = """
mkdir -p at.$GWSIM_ENDPOINT/tmp at.$GWSIM_ENDPOINT/page
cd at.$GWSIM_ENDPOINT
echo $GWSIM_ENDPOINT >name
[ -f file ] || head -c 67108864 /dev/urandom >file
cp ../server.crt ../server.key .
cat server.crt server.key >both.pem
for i in $(seq 100); do echo 'n++;' >page/$i.js; done
{ echo '<html><body><script>var n = 0;</script>'
for i in $(seq 100); do echo "<script src=/page/$i.js async></script>"; done
echo '<script>onload = () => document.body.append("loaded " + n);</script></body></html>'; } >page/index.html
sysctl -qw net.ipv4.tcp_tw_reuse=1 net.core.somaxconn=4096
haproxy -q -f ../haproxy.conf 2>haproxy.err &
nghttpd --trailer 'x-late: yes' -d . 9443 server.key server.crt >nghttpd.log 2>&1 &
/usr/bin/python3 %s 2>python.err &
exec nginx -p . -c ../nginx.conf
""" % os.path.join(HERE, "streamserver.py")


class Stream:
    """One simulation; gwsim run goes on until end()"""

    def __init__(self, endpoints, streams=False, health=False):
        """The chain is one of pipes, or with @streams of ipc streams whose stages come again when they end"""
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 60000), hard))
        proxy_and_server("DNS:server")
        write("nginx.conf", NGINX)
        write("haproxy.conf", HAPROXY)
        write("server.sh", SERVER)
        write("chain.sh", self.chain(streams, health))
        for name in [*ALL, "gwproxy"]:
            write(name + ".log", "")
        waits = [x for p in ("80", "443", "8443", "8081", "8000", "9443", "9444") for x in ("--server-wait", p)]
        self.sim = Proc("gwsim", "run", "-a", "sh chain.sh", "-s", "sh server.sh", *waits, "--wait", "20s",
                        "--endpoint", ",".join(endpoints), "--strict-judge", "--", "sh", "-c",
                        "sysctl -qw net.ipv4.tcp_tw_reuse=1 net.ipv4.ip_local_port_range='10000 65000'; "
                        "echo >there; exec sleep 1000", cwd=DIR)
        self.up = until(lambda: os.path.exists(path("there")) and "a proxy is attached" in read("gwtun.log"), 30)

    @staticmethod
    def chain(streams, health):
        text = ""
        if health:
            text += "gwhealth --admin %s -l 127.0.0.1:8080 2>gwhealth.log &\n" % path("admin")
        again = "while :; do %s 2>>%s.log; [ -e end ] && break; done"
        text += again % (PROXY, "gwproxy") + " &\n"
        if not streams:
            return text + " | ".join("%s 2>>%s.log" % (c, n) for n, c in ALL.items()) + "\n"
        names = list(ALL)
        for i, (name, cmd) in enumerate(ALL.items()):
            cmd += " -i ipc://s%d" % i if i else ""
            cmd += " -o ipc://s%d" % (i + 1) if i + 1 < len(names) else ""
            text += again % (cmd, name) + " &\n"
        return text + "wait\n"

    def argv(self, *argv, at=None):
        return ("gwsim", "shell", "-r", str(self.sim.pid), *(("-e", at) if at else ()), "client", "--", *argv)

    def run(self, *argv, at=None, seconds=60, data=None):
        r = subprocess.run(self.argv(*argv, at=at), cwd=DIR, input=data,
                           stdin=subprocess.DEVNULL if data is None else None,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=seconds, check=False)
        return r.returncode, r.stdout.decode(errors="replace"), r.stderr.decode(errors="replace")

    def start(self, *argv, at=None):
        return Proc(*self.argv(*argv, at=at), cwd=DIR, stdin=subprocess.PIPE)

    def end(self):
        """Stop it in order; gwsim's status"""
        write("end", "")
        self.sim.signal(signal.SIGTERM)
        return self.sim.wait(30)
