#!/bin/sh
# SPDX-License-Identifier: MIT
# The conformance suite, strictly, against the chain in each of its live forms: a pipe, ipc streams,
# tee -p and gwtee between all stages.
set -u
work=$(mktemp -d /tmp/gwforms.XXXXXX)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
chmod 755 "$work"
cd "$work" || exit 1
GW_RUN=$work/run
export GW_RUN
n=0

form() { # NAME COMMAND
	n=$((n + 1))
	timeout 60 gwsim conform --strict --health http:8080/ --pcap "$1" --appliance "gwhealth -l :8080 & $2" \
		>"$1.tap" 2>"$1.log"
	rc=$?
	passed=$(grep -c '^ok' "$1.tap")
	bad=$(grep '^not ok' "$1.tap" | grep -cv '# TODO')
	if [ $rc -eq 0 ] && [ "$bad" -eq 0 ] && [ "$passed" -gt 100 ]; then
		echo "ok $n - $1: $passed tests of the suite passed"
	else
		echo "not ok $n - $1: exit $rc, $passed passed, $bad failed"
		grep '^not ok' "$1.tap" | sed 's/^/# /'
		tail -n 15 "$1.log" | sed 's/^/# /'
	fi
}

form pipe 'gwcap -I eth0 | gwdecap | gwfilter | gwmangle | gwinject -I eth0'
form tee 'gwcap -I eth0 | tee -p t1 | gwdecap | tee -p t2 | gwfilter | tee -p t3 | gwmangle |
	tee -p t4 | gwinject -I eth0'
form gwtee 'gwcap -I eth0 | gwtee --as 1 -w g1 | gwdecap | gwtee --as 2 -w g2 | gwfilter |
	gwtee --as 3 -w g3 | gwmangle | gwtee --as 4 -w g4 | gwinject -I eth0'
form ipc 'gwinject -i ipc://d -I eth0 & gwmangle -i ipc://c -o ipc://d & gwfilter -i ipc://b -o ipc://c &
	gwdecap -i ipc://a -o ipc://b & gwcap -I eth0 -o ipc://a; wait'
echo "1..$n"
