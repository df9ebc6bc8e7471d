#!/bin/sh
# SPDX-License-Identifier: MIT
# A live chain with ZeroMQ between its stages, each in a loop that starts it again.
#
#	chain.sh IFACE FILTER.rules MANGLE.rules [PEER]
#
# Health checks are answered on port 8080, metrics on 127.0.0.1:9681.
# Any stage may be killed, or stopped and replaced: the others wait for its successor.
# PEER is the load balancer's network (gwcap --peer).  SIGTERM or Ctrl-C ends the source;
# the others end with the last packet.
set -eu
[ $# -ge 3 ] || { echo "usage: $0 IFACE FILTER.rules MANGLE.rules [PEER]" >&2; exit 2; }
iface=$1 filter=$2 mangle=$3 peer=${4:-auto}

# Wait for a process, also when a signal interrupts the waiting
await() { # PID
	rc=0
	wait "$1" || rc=$?
	while kill -0 "$1" 2>/dev/null; do
		rc=0
		wait "$1" || rc=$?
	done
	return "$rc"
}

# Start a stage again whenever it ends, until SIGTERM.  Status 2 is its configuration, 126 and 127
# are the shell's: give up, all of it (SIGUSR1).
keep() { # first|later COMMAND...
	kind=$1 stop='' pid=''
	shift
	# The source is told to end, the others end with its stream.  Once: a second signal
	# makes a stage leave at once.
	trap '[ -n "$stop" ] || { stop=yes; [ $kind = later ] || kill $pid 2>/dev/null; } || :' TERM
	trap '[ -n "$stop" ] || { stop=yes; kill $pid 2>/dev/null; } || :' USR1
	trap : INT	# Ctrl-C reaches us as well: we are told to stop in order
	while [ -z "$stop" ]; do
		setsid "$@" &
		pid=$!
		rc=0
		await "$pid" || rc=$?
		case $rc in 2 | 126 | 127) kill -s USR1 $$; exit 2 ;; esac
		[ -n "$stop" ] || sleep 0.2
	done
}

pids='' how=''
run() {
	keep "$@" &
	pids="$pids $!"
}
trap 'how=TERM; kill $pids 2>/dev/null || :' INT TERM
trap 'how=USR1; kill -s USR1 $pids 2>/dev/null || :' USR1

run later gwinject -i ipc://inject -I "$iface"
run later gwmangle -i ipc://mangle -f "$mangle" -o ipc://inject
run later gwfilter -i ipc://filter -f "$filter" -o ipc://mangle
run later gwdecap -i ipc://decap -o ipc://filter
run first gwcap -I "$iface" --peer "$peer" -o ipc://decap
run first gwhealth -l :8080 --admin 127.0.0.1:9681 --drain 0s
# shellcheck disable=SC2086 # a list
[ -z "$how" ] || kill -s "$how" $pids 2>/dev/null || :	# it came while they were started

status=0
for pid in $pids; do
	await "$pid" || status=$?
done
exit "$status"
