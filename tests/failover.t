#!/bin/sh
# SPDX-License-Identifier: MIT
# Two appliances, each with the whole chain and gwhealth.  A stage of the first is killed while a
# download runs: gwhealth says so, the load balancer moves the flow, and TCP goes on through the
# second chain, which never saw its SYN.
set -u
work=$(mktemp -d /tmp/gwfailover.XXXXXX)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
chmod 755 "$work"
cd "$work" || exit 1

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
me=$GWSIM_APPLIANCE
GW_RUN=$PWD/run$me
export GW_RUN
gwhealth -l :8080 2>health$me.log &
(while [ ! -e "kill$me" ]; do sleep 0.05; done
curl -s -m 2 http://127.0.0.1:8080/ >before.txt
kill -9 "$(cat filter$me.pid)"; sleep 3
curl -s -m 2 -w '%{http_code}' http://127.0.0.1:8080/ >after.txt) &
gwcap -I eth0 --peer auto 2>gwcap$me.log | gwdecap 2>gwdecap$me.log |
sh -c 'echo $$ >filter$GWSIM_APPLIANCE.pid; exec gwfilter -e "default drop" -e "pass flow where tcp dst port 80" --midstream pass' 2>gwfilter$me.log |
gwmangle 2>gwmangle$me.log | gwinject -I eth0 2>gwinject$me.log
wait
EOF
cat >client.sh <<'EOF'
pids=
for i in 1 2 3 4 5 6 7 8; do
	curl -sS -m 40 --limit-rate 500K -o got$i http://server/file 2>curl$i.err &
	pids="$pids $!"
done
sleep 2
touch kill1
bad=0
for pid in $pids; do
	wait "$pid" || bad=$((bad + 1))
done
echo $bad >bad
EOF
head -c 4000000 /dev/urandom >file
timeout 100 gwsim run --appliance 'sh chain.sh' --appliance 'sh chain.sh' --health http:8080/ \
	--health-interval 0.5s --healthy-after 2 --unhealthy-after 2 --rebalance \
	--server 'exec /usr/bin/python3 -m http.server 80 >http.log 2>&1' --server-wait 80 \
	-- sh client.sh >sim.out 2>sim.log
ok $? "the simulation ran" sim.log
in=$(sed -n 's/^gwcap: \([0-9]*\) in.*/\1/p' gwcap1.log)
test "${in:-0}" -gt 100
ok $? "the first appliance had some of the eight downloads: $in packets" gwcap1.log
grep -q '^ok\|^healthy' before.txt
ok $? "gwhealth was content before: $(cat before.txt)" health1.log
grep -q 'gwfilter' after.txt && grep -q '503$' after.txt
ok $? "3 s after the kill it says 503 and names the stage: $(tr '\n' ' ' <after.txt)" health1.log
test "$(cat bad)" = 0
ok $? "all downloads ended through the second appliance" sim.log
same=0
for i in 1 2 3 4 5 6 7 8; do
	cmp -s file got$i && same=$((same + 1))
done
test $same = 8
ok $? "$same of 8 arrived byte for byte"
# a dead chain no longer keeps its kernel from refusing UDP 6081: that is expected
grep ' violation' sim.log | sed '1d' | grep -qv 'port-unreachable'
test $? -ne 0
ok $? "no packet came back wrong" sim.log
echo "1..$n"
