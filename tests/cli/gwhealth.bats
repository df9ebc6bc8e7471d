#!/usr/bin/env bats
bats_require_minimum_version 1.5.0
# SPDX-License-Identifier: MIT

setup() {
	page="$BATS_TEST_DIRNAME/../../gwhealth/gwhealth.8"
}

@test "gwhealth --help: every option is in its page" {
	run gwhealth --help
	[ "$status" -eq 0 ]
	opts=$(grep -o -- ' --[a-z-]*' <<< "$output" | sed 's/ --//')
	[ "$(wc -w <<< "$opts")" -gt 10 ]
	for opt in $opts; do
		grep -q -- "-$opt\b" "$page" || { echo "$opt"; false; }
	done
}

@test "gwhealth.8 is clean" {
	run mandoc -Tlint -Wwarning "$page"
	[ "$status" -eq 0 ]
	for s in "EXIT STATUS" SIGNALS SECURITY EXAMPLES; do
		grep -q "^\.Sh $s" "$page"
	done
}

@test "gwhealth --version" {
	run gwhealth --version
	[ "$status" -eq 0 ]
	[[ "$output" == gwhealth\ * ]]
}

@test "wrong usage: exit 2, nothing on stdout, the value quoted" {
	for args in "" "-l 8080" "-l :0" "-l :70000" "-l host.example:80" "-l ::1:80" "-l :x" \
	    "--admin nowhere" "-l :1 --drain soon" "-l :1 --chain a/b" "-l :1 --chain .x" \
	    "-l :1 --expect ,gwcap" "-l :1 operand" "-l :1 --log-level loud" "--bogus"; do
		run --separate-stderr gwhealth $args
		[ "$status" -eq 2 ] || { echo "$args: $status $stderr"; false; }
		[ -z "$output" ]
	done
	run --separate-stderr gwhealth -l ::1:80
	[[ "$stderr" == *"'::1:80'"* ]]
}

@test "examples/systemd: every unit is hardened, and systemd takes it" {
	units="$BATS_TEST_DIRNAME/../../examples/systemd"
	for f in "$units"/*.service; do
		for want in Type=notify User=gwtools RestartPreventExitStatus=2 NoNewPrivileges=yes StartLimitIntervalSec=0 \
		    ProtectSystem=strict CapabilityBoundingSet= SystemCallArchitectures=native; do
			grep -q "^$want" "$f" || { echo "$f: $want"; false; }
		done
		grep -q "[ =]$(basename "$f")" "$units"/*.target
		# the page and the programs need not be installed for this
		sed "s,/usr/local/bin/,$GW_BIN/,; /^Documentation=/d" "$f" > "$BATS_TEST_TMPDIR/${f##*/}"
	done
	command -v systemd-analyze > /dev/null || skip "no systemd-analyze"
	run systemd-analyze verify "$BATS_TEST_TMPDIR"/*.service
	[ "$status" -eq 0 ] || { echo "$output"; false; }
}
