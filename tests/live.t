#!/bin/sh
# SPDX-License-Identifier: MIT
# Real programs talk to each other through the whole chain, behind gwsim: ping, nc, curl, iperf3,
# dig, and a datagram of every size.  The load balancer counts no violation.
set -u
here=$(cd "$(dirname "$0")" && pwd)
top=$(dirname "$here")
work=$(mktemp -d /tmp/gwlive.XXXXXX)
trap 'rm -rf "$work" "/run/gwtools/live$$"' EXIT
trap 'exit 1' INT TERM
chmod 755 "$work"
cp "$here/h_sizes.py" "$top/examples/censor-filter.rules" "$top/examples/censor-mangle.rules" "$work"
cd "$work" || exit 1
GW_RUN=$work/run
export GW_RUN

n=0
ok() { # STATUS TEXT [FILE]
	n=$((n + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $n - $2"
	else
		echo "not ok $n - $2"
		[ -z "${3:-}" ] || tail -n 20 "$3" | sed 's/^/# /'
	fi
}

cat >chain.sh <<'EOF'
gwhealth -l :8080 2>health.log &
gwcap -I eth0 --peer auto 2>gwcap.log | gwdecap 2>gwdecap.log |
gwfilter -f censor-filter.rules 2>gwfilter.log | gwmangle -f censor-mangle.rules 2>gwmangle.log |
gwinject -I eth0 2>gwinject.log
EOF
cat >server.sh <<'EOF'
head -c 67108864 /dev/urandom >file
(while sleep 0.1; do nc -l 7000 >nc.txt && break; done) &
/usr/bin/python3 h_sizes.py server 7001 2>sizes-server.log &
iperf3 -s >iperf3-server.log 2>&1 &
dnsmasq -k -C /dev/null -p 53 -R -h --address=/host.test/10.11.12.13 --user=root --group=root 2>dns.log &
exec /usr/bin/python3 -m http.server -b :: 80 >http.log 2>&1
EOF
cat >client.sh <<'EOF'
run() { name=$1; shift; "$@" >"$name.out" 2>&1; echo $? >"$name.rc"; }
run ping4 ping -4 -c 4 -i 0.2 -W 2 server
run ping6 ping -6 -c 4 -i 0.2 -W 2 server
run nc sh -c 'echo "over TCP" | nc -N -w 3 server 7000'
run curl curl -sS -m 60 -o got http://server/file
run curl6 curl -6 -sS -m 60 -o got6 http://server/file
run tcp iperf3 -c server -t 2 -J
run udp iperf3 -c server -u -b 50M -t 2 -J
run sizes4 /usr/bin/python3 h_sizes.py client "$(getent ahostsv4 server | awk '{print $1; exit}')" 7001 28 8500
run sizes6 /usr/bin/python3 h_sizes.py client "$(getent ahostsv6 server | awk '{print $1; exit}')" 7001 48 8500
run dns dig +short +tries=2 +time=2 @server host.test
EOF
timeout 120 gwsim run --appliance 'sh chain.sh' --health http:8080/ --health-interval 1s \
	--healthy-after 2 --server 'sh server.sh' --server-wait 80 --server-wait 7000 --strict-judge \
	-- sh client.sh >sim.out 2>sim.log
ok $? "no packet came back wrong" sim.log

rc() { cat "$1.rc" 2>/dev/null || echo 99; }
ok "$(rc ping4)" "ping, IPv4" ping4.out
grep -q '4 received' ping4.out
ok $? "no echo was lost" ping4.out
ok "$(rc ping6)" "ping, IPv6" ping6.out
ok "$(rc nc)" "nc over TCP" nc.out
grep -q 'over TCP' nc.txt
ok $? "the server got the text"
cmp -s file got
ok $? "a download of 64 MB, byte for byte" curl.out
cmp -s file got6
ok $? "the same over IPv6" curl6.out
ok "$(rc tcp)" "iperf3, TCP" tcp.out
ok "$(rc udp)" "iperf3, UDP" udp.out
lost=$(/usr/bin/python3 -c 'import json; print(json.load(open("udp.out"))["end"]["sum"]["lost_percent"])')
/usr/bin/python3 -c "import sys; sys.exit(not $lost < 5)"
ok $? "UDP loss of $lost % is below 5 %" udp.out
ok "$(rc sizes4)" "every packet size from 28 to 8500, IPv4" sizes4.out
ok "$(rc sizes6)" "every packet size from 48 to 8500, IPv6" sizes6.out
grep -q '^10\.11\.12\.13$' dns.out
ok $? "DNS over UDP" dns.out
grep -q 'dropped (rule\|, 0 dropped' gwfilter.log
ok $? "the filter dropped by rule or nothing" gwfilter.log
for s in gwcap gwdecap gwfilter gwmangle gwinject; do
	awk -v s="$s" '$0 ~ " uncertain" { gsub(",", ""); ok = $2 + $4 == $6 + $8 + $(NF - 1) }
		END { exit !ok }' "$s.log"
	ok $? "$s: in + made = out + dropped + uncertain" "$s.log"
done

# Without GW_RUN: stages behind a pipe learn late that the chain is live, as another user by then
env -u GW_RUN GW_CHAIN="live$$" timeout 60 gwsim run --health http:8080/ --wait 5s --in appliance \
	--appliance 'gwhealth -l :8080 & gwcap -I eth0 --peer auto | gwdecap | gwinject -I eth0' \
	-- curl -s http://127.0.0.1:8080/ >folder.out 2>folder.log
grep -q '^ok: gwcap gwdecap gwinject$' folder.out
ok $? "all stages have their pages in the one run folder of root's chain" folder.log
echo "1..$n"
