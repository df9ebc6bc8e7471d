#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# gwproxy's command line: what is refused, and with which words

refused() { # TEXT COMMAND...
	text=$1
	shift
	run "$@"
	[ "$status" -eq 2 ] || { echo "status $status: $output"; false; }
	case $output in
	*"$text"*) ;;
	*) echo "$output"; false ;;
	esac
}

@test "options that contradict each other" {
	refused "exclude each other" gwproxy --tun /tmp/x -l 127.0.0.1:4000
	refused "goes with --listen" gwproxy --transparent
	refused "go together" gwproxy --ca-cert x
	refused "without it no TLS" gwproxy --pass-on-failure
	refused "no operands" gwproxy x
}

@test "--upstream-insecure is not taken abbreviated" {
	refused "spelled out" gwproxy --ca-cert x --ca-key x --upstream-insec
}

@test "ports, times, numbers" {
	refused "--tls-ports: '1-'" gwproxy --tls-ports 1-
	refused "--http-ports: '0'" gwproxy --http-ports 0
	refused "--http-ports: '80;81'" gwproxy --http-ports '80;81'
	refused "--idle-timeout: '0'" gwproxy --idle-timeout 0
	refused "--workers" gwproxy --workers 0
	refused "RLIMIT_NOFILE" sh -c 'ulimit -n 1024; exec gwproxy --max-connections 1000'
	refused "not ADDR:PORT" gwproxy -l 4000
	refused "write an IPv6 address as [ADDR]:PORT" gwproxy -l ::1:4000
}

@test "-n prints rules as they are understood" {
	printf 'pass A.example. *.b.example # x\nblock when not-tls 443\ndefault pass\n' >"$BATS_TEST_TMPDIR/r"
	run gwproxy -n --tls-rules "$BATS_TEST_TMPDIR/r"
	[ "$status" -eq 0 ]
	[ "${lines[0]}" = "pass a.example *.b.example" ]
	[ "${lines[1]}" = "block when not-tls 443" ]
	[ "${lines[2]}" = "default pass" ]
}

@test "all errors of rules are shown with their places" {
	printf 'nope\npass ok.example\npass when\n' >"$BATS_TEST_TMPDIR/r"
	refused "r:1:1: " gwproxy -n --tls-rules "$BATS_TEST_TMPDIR/r"
	refused "r:3:10: " gwproxy -n --tls-rules "$BATS_TEST_TMPDIR/r"
}

@test "rules that intercept need an authority" {
	echo 'intercept a.example' >"$BATS_TEST_TMPDIR/r"
	refused "takes --ca-cert" gwproxy --tls-rules "$BATS_TEST_TMPDIR/r"
}
