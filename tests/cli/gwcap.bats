#!/usr/bin/env bats
bats_require_minimum_version 1.5.0
# SPDX-License-Identifier: MIT

setup() {
	page="$BATS_TEST_DIRNAME/../../gwcap/gwcap.8"
	common="$BATS_TEST_DIRNAME/../../man/gwchain.7"
}

@test "gwcap --help: one output, and no more is taken" {
	run -0 gwcap --help
	grep -q -- '-o.*write packets there' <<< "$output"
	! grep -q 'several: spread' <<< "$output" || false
	run -2 gwcap -i a -o b -o c
	[[ $output == *'one -o: '* ]]
}

# An option stands in a page as "Fl -peer" or "Fl I , -interface"
@test "gwcap --help: every option is in its page or in gwchain(7)" {
	run gwcap --help
	[ "$status" -eq 0 ]
	opts=$(grep -o -- ' --[a-z-]*' <<< "$output" | sed 's/ --//' | grep -vx -e help -e version)
	[ "$(wc -w <<< "$opts")" -gt 10 ]
	for opt in $opts; do
		cat "$page" "$common" | grep -q -- "-$opt\b" || { echo "$opt"; false; }
	done
}

@test "gwcap.8 is clean" {
	run mandoc -Tlint -Wwarning "$page"
	[ "$status" -eq 0 ]
	for s in "EXIT STATUS" SIGNALS SECURITY EXAMPLES; do
		grep -q "^\.Sh $s" "$page"
	done
}

@test "gwcap --version" {
	run gwcap --version
	[ "$status" -eq 0 ]
	[[ "$output" == gwcap\ * ]]
}

@test "wrong usage: exit 2, nothing on stdout, the value quoted" {
	for args in "-I lo -i x" "lo" "--peer 10.0.0.0/33 -I lo" "--peer auto" "-B 1 -I lo" \
	    "-c 0" "-c x" "--no-drop-rule" "--fix-offloads" "--bogus" "-o a -o b" \
	    "-I an-interface-with-a-long-name" "--workers 2" "--workers 0 -I lo" "--workers 257 -I lo"; do
		run --separate-stderr gwcap $args
		[ "$status" -eq 2 ] || { echo "$args: $status $stderr"; false; }
		[ -z "$output" ]
	done
	run --separate-stderr gwcap --peer 10.0.0.0/33 -I lo
	[[ "$stderr" == *"'10.0.0.0/33'"* ]]
}

@test "no such interface, no such file: exit 1" {
	run --separate-stderr gwcap -I nope0 -o "$BATS_TEST_TMPDIR/o.pcapng"
	[ "$status" -eq 1 ]
	[[ "$stderr" == *"nope0"* ]]
	run --separate-stderr gwcap -i "$BATS_TEST_TMPDIR/nope" -o "$BATS_TEST_TMPDIR/o.pcapng"
	[ "$status" -ne 0 ]
	[[ "$stderr" == *"nope"* ]]
}
