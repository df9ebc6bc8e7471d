#!/usr/bin/env bats
# SPDX-License-Identifier: MIT

setup() {
	export GW_RUN=$BATS_TEST_TMPDIR/run
	cd "$BATS_TEST_TMPDIR"
}

usage() { # TEXT ARGS...
	run gwtun "${@:2}" </dev/null
	[ "$status" -eq 2 ]
	[[ "$output" == *"$1"* ]]
}

@test "wrong options are named, status 2" {
	usage "--endpoint: 'vpce-1' is not vpce-0 and 16 hex digits" --endpoint vpce-1
	usage "--endpoint: 'vpce-00123456789abcdef00' is not" --endpoint vpce-00123456789abcdef00
	usage "--no-proxy: 'hold' is neither pass nor drop" --no-proxy hold
	usage "--router or --tproxy: one of them" --router --tproxy 80
	usage "--socket: nothing attaches with" --router --socket x
	usage "--mtu" --mtu 1000
	usage "unexpected argument 'tcp'" tcp
}

@test "an expression with an error: where it is, status 2" {
	usage "--where:1:12: is this the name of a host" --where 'localhost'
	usage "there is no link layer here" --where 'ether host 1'
}

@test "without a flow to take over all passes, and nothing is left" {
	"$GW_TESTS/h_gen" 200 60 8 >in.pcapng
	gwcap -q -i in.pcapng | gwdecap -q | gwtun 2>log | gwinject -q -o out.pcapng
	gwcap -q -i in.pcapng | gwdecap -q | gwinject -q -o plain.pcapng
	[ "$("$GW_TESTS/h_dump" out.pcapng)" = "$("$GW_TESTS/h_dump" plain.pcapng)" ]
	grep -q '^gwtun: 200 in, 0 made, 200 out, 0 dropped, 0 uncertain' log
}

@test "a router on a file: every packet goes through the kernel" {
	"$GW_TESTS/h_gen" 200 60 8 >in.pcapng
	gwcap -q -i in.pcapng | gwdecap -q | gwtun --router 2>log | gwinject -q -o out.pcapng
	cat log
	grep -qE '^gwtun: 200 in, [0-9]+ made, [0-9]+ out, [0-9]+ dropped' log
}

@test "--socket: a file that is no socket is left alone, an old socket is not" {
	echo precious >file
	gwtun -q --socket file </dev/null 2>log || cat log
	grep -q '^gwtun: error: --socket file: Address already in use' log
	[ "$(cat file)" = precious ]
	/usr/bin/python3 -c 'import socket; socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).bind("old")'
	gwtun --log-level info --socket old </dev/null 2>log || cat log
	grep -q '^gwtun: info: .*old: waiting for a proxy' log
}
