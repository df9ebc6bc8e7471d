#!/bin/bash
# SPDX-License-Identifier: MIT
# A chain for each processor, behind one interface: gwcap --workers shares its packets by flow.
#
#	per-core.sh IFACE FILTER.rules [PEER [CPUS]]
#
# CPUS is a list as of taskset(1), 2-5,8 for instance; all that may be used, if not given.
# All chains have one name: one gwhealth answers for them, on port 8080, and on
# 127.0.0.1:9681 for metrics, which tell them apart by "cpuN".  A chain that ends is started
# again; its flows are served by the others meanwhile.
#
# The interface's interrupts go to these processors in turn (irqbalance undoes that: stop it);
# where it has none of its own, the kernel steers received packets there.  Keep interrupts and
# chains on different processors if there are many: give the chains' as CPUS, and set the
# interrupts' yourself, with IRQS=no.
#
# SIGTERM or Ctrl-C ends all chains in order and puts the interface's settings back.
set -eu
[ $# -ge 2 ] || { echo "usage: $0 IFACE FILTER.rules [PEER [CPUS]]" >&2; exit 2; }
iface=$1 filter=$2 peer=${3:-auto}
ip link show dev "$iface" >/dev/null || exit 2
# What taskset takes, as it prints it: numbers and ranges
# shellcheck disable=SC2016 # expanded by the inner shell
list=$(taskset -c "${4:-$(taskset -pc $$ | sed 's/.*: *//')}" sh -c 'taskset -pc $$') || exit 2
list=${list##*: }

cpus=()
for range in ${list//,/ }; do
	for ((i = ${range%-*}; i <= ${range#*-}; i++)); do
		cpus+=("$i")
	done
done

undo=()
put() { # VALUE FILE: and note what was there
	local was
	was=$(cat "$2") || return 0
	if { echo "$1" >"$2"; } 2>/dev/null; then
		undo+=("$was" "$2")
	else
		echo "$0: $2 stays $was" >&2
	fi
}

# shellcheck disable=SC2317 # called by the trap
put_back() {
	local i
	for ((i = 0; i < ${#undo[@]}; i += 2)); do
		{ echo "${undo[i]}" >"${undo[i + 1]}"; } 2>/dev/null || :
	done
}

mask() { # CPU...: as the kernel reads it, hexadecimal words of 32 bits
	printf '%s\n' "$@" | awk 'BEGIN { n = 0 }
		{ k = int($1 / 32); w[k] += 2 ^ ($1 % 32); if (k > n) n = k }
		END { for (k = n; k >= 0; k--) printf "%s%08x", k < n ? "," : "", w[k] }'
}

steer() {
	local irq n=0 q dir=/sys/class/net/$iface
	# In a network namespace of one's own, /sys may still show another's interfaces
	ip -o link show dev "$iface" | grep -qF "$(cat "$dir/address" || echo none)" || return 0
	for irq in "$dir"/device/msi_irqs/* "$dir"/device/../msi_irqs/*; do
		irq=/proc/irq/${irq##*/}/smp_affinity_list
		[ -e "$irq" ] || continue
		put "${cpus[n++ % ${#cpus[@]}]}" "$irq"
	done
	for q in "$dir"/queues/rx-*/rps_cpus; do
		[ $n -gt 0 ] || put "$(mask "${cpus[@]}")" "$q"
	done
}

# One chain.  Its last stage ends early when any of them died: so must the others then, also
# those that have nothing to write and so do not notice.
# shellcheck disable=SC2016 # expanded by the inner shell
chain='
	trap : TERM	# for the stages: each of them gets it, too
	gwcap -I "$2" --peer "$4" --workers "$5" --as "$1" | gwdecap --as "$1" |
		gwfilter -f "$3" --as "$1" |
		{ trap : TERM; gwinject -I "$2" --as "$1" || { rc=$?; kill 0; exit $rc; } }
	all=" ${PIPESTATUS[*]} "
	case $all in *" 2 "* | *" 126 "* | *" 127 "*) exit 2 ;; " 0 0 0 0 ") exit 0 ;; esac
	exit 1'

# A chain over and over, until SIGTERM; not if it is configured wrong (status 2)
keep() { # CPU
	local pid='' stop='' rc
	trap : INT	# Ctrl-C reaches us as well: we are told to stop by SIGTERM, in order
	trap 'stop=yes; kill -- "-$pid" 2>/dev/null || kill "$pid" 2>/dev/null || :' TERM
	while [ -z "$stop" ]; do
		setsid taskset -c "$1" bash -c "$chain" chain "cpu$1" "$iface" "$filter" "$peer" \
			"${#cpus[@]}" &
		pid=$!
		await "$pid"
		[ "$rc" -ne 2 ] || return 2
		[ -n "$stop" ] || sleep 0.2
	done
}

# Wait for a process, also when a signal interrupts the waiting; its status in rc
await() { # PID
	rc=0
	wait "$1" || rc=$?
	while kill -0 "$1" 2>/dev/null; do
		rc=0
		wait "$1" || rc=$?
	done
}

pids=()
trap '[ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null || :' INT TERM
trap put_back EXIT
[ "${IRQS:-}" = no ] || steer
setsid gwhealth -l :8080 --admin 127.0.0.1:9681 --drain 0s &
health=$!
for cpu in "${cpus[@]}"; do
	keep "$cpu" &
	pids+=($!)
done

status=0
for pid in "${pids[@]}"; do
	await "$pid"
	[ "$rc" -eq 0 ] || { status=$rc; kill "${pids[@]}" 2>/dev/null || :; }
done
kill "$health" 2>/dev/null || :
wait "$health" || :
exit "$status"
