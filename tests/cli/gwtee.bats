#!/usr/bin/env bats
bats_require_minimum_version 1.5.0
# SPDX-License-Identifier: MIT

setup() {
	page="$BATS_TEST_DIRNAME/../../gwtee/gwtee.8"
}

@test "gwtee --help: every option is in its page" {
	run gwtee --help
	[ "$status" -eq 0 ]
	opts=$(grep -o -- ' --[a-z-]*' <<< "$output" | sed 's/ --//')
	[ "$(wc -w <<< "$opts")" -gt 15 ]
	for opt in $opts; do
		grep -q -- "-$opt\b" "$page" || { echo "$opt"; false; }
	done
}

@test "gwtee.8 is clean" {
	run mandoc -Tlint -Wwarning "$page"
	[ "$status" -eq 0 ]
	for s in "EXIT STATUS" SIGNALS SECURITY EXAMPLES; do
		grep -q "^\.Sh $s" "$page"
	done
}

@test "gwtee --version" {
	run gwtee --version
	[ "$status" -eq 0 ]
	[[ "$output" == gwtee\ * ]]
}

@test "wrong usage: exit 2, nothing on stdout, the value quoted" {
	for args in "-w -" "--sample 7" "--sample 1/0" "-c 0" "-c x" "-C 0" "-G x" "-W 0" "-s -1" "-W 3" \
	    "-w a -w a" "-w a.pcap -o a.pcap" \
	    "-s 999999999" "--bogus" "--print" "udp port nonsense"; do
		run --separate-stderr gwtee $args < /dev/null
		[ "$status" -eq 2 ] || { echo "$args: $status $stderr"; false; }
		[ -z "$output" ]
	done
	run --separate-stderr gwtee --sample 2/3
	[[ "$stderr" == *"'2/3'"* ]]
}

@test "a copy that cannot be opened: exit 1, named" {
	run --separate-stderr gwtee -i /dev/null -o /dev/null -w "$BATS_TEST_TMPDIR/no/where"
	[ "$status" -eq 1 ]
	[[ "$stderr" == *"no/where"* ]]
}
