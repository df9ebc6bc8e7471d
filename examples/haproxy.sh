#!/bin/sh
# A chain with haproxy in the middle: HTTP through somebody else's transparent proxy, one haproxy
# for each endpoint.  As an ordinary user with CAP_NET_RAW for gwcap and gwinject, or as root.
# haproxy.sh [IFACE]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
iface=${1:-eth0}
HAPROXY_CFG=$here/haproxy.cfg
export HAPROXY_CFG

# shellcheck disable=SC2016 # expanded in the namespace
gwcap -I "$iface" --peer auto | gwdecap |
	gwtun --where 'tcp dst port 80' --tproxy 8080 --on-create '
		haproxy -db -f "$HAPROXY_CFG" </dev/null &
		for i in 1 2 3 4 5 6 7 8 9; do
			ss -Htln "sport = 8080" | grep -q . && exit 0
			sleep 0.1
		done
		exit 1' |
	gwinject -I "$iface"
