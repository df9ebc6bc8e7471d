#!/usr/bin/env bats
bats_require_minimum_version 1.5.0
# SPDX-License-Identifier: MIT

setup() {
	root="$BATS_TEST_DIRNAME/../.."
	page="$root/gwinject/gwinject.8"
	cd "$BATS_TEST_TMPDIR" || return
}

# An option stands in a page as "Fl -mtu" or "Fl f , -file"
@test "gwinject --help: every option is in its page or in gwchain(7)" {
	run gwinject --help
	[ "$status" -eq 0 ]
	opts=$(grep -o -- ' --[a-z-]*' <<< "$output" | sed 's/ --//' | grep -vx -e help -e version)
	[ "$(wc -w <<< "$opts")" -gt 10 ]
	for opt in $opts; do
		cat "$page" "$root/man/gwchain.7" | grep -q -- "-$opt\b" || { echo "$opt"; false; }
	done
}

@test "gwinject.8 is clean" {
	run mandoc -Tlint -Wwarning "$page"
	[ "$status" -eq 0 ]
	for s in "EXIT STATUS" SIGNALS SECURITY EXAMPLES; do
		grep -q "^\.Sh $s" "$page"
	done
}

@test "gwinject --version" {
	run gwinject --version
	[ "$status" -eq 0 ]
	[[ "$output" == gwinject\ * ]]
}

@test "wrong usage: exit 2, nothing on stdout" {
	for args in "-I lo -o x" "lo" "--mtu 67 -I lo" "--mtu 65536" "--mtu x" "--bogus" \
	    "-I an-interface-with-a-long-name"; do
		run --separate-stderr gwinject $args < /dev/null
		[ "$status" -eq 2 ] || { echo "$args: $status $stderr"; false; }
		[ -z "$output" ]
	done
}

@test "no such interface, no such file: exit 1, and it is named" {
	run --separate-stderr gwinject -I nope0 < /dev/null
	[ "$status" -eq 1 ]
	[[ "$stderr" == *"nope0"* ]]
	run --separate-stderr gwinject -i nope.pcap -o out.pcap
	[ "$status" -eq 1 ]
	[[ "$stderr" == *"nope.pcap"* ]]
}

@test "an input that is no capture: exit 1" {
	run --separate-stderr gwinject -i "$page" -o out.pcap
	[ "$status" -eq 1 ]
}

@test "the example on files in the page works" {
	h_gen="$GW_TESTS/h_gen"
	[ -x "$h_gen" ]
	"$h_gen" 40 100 4 > geneve.pcap
	line=$(grep '^gwcap -i geneve.pcap' "$page")
	run --separate-stderr sh -c "$line"
	[ "$status" -eq 0 ]
	[ -s back.pcap ]
	[[ "$stderr" == *"gwinject: "*" 0 dropped"* ]]
}

@test "the live example in the page works, in a simulation" {
	[ "$(id -u)" -eq 0 ] || skip "needs root"
	line=$(grep '^gwcap -I eth0' "$page")
	GW_RUN=$PWD/run run --separate-stderr timeout 50 gwsim run --appliance "$line" -- \
		ping -c 1 -W 5 server
	[ "$status" -eq 0 ]
	[[ "$stderr" == *"no violation"* ]]
}
