#!/usr/bin/env bats
bats_require_minimum_version 1.5.0
# SPDX-License-Identifier: MIT

setup() {
	page="$BATS_TEST_DIRNAME/../../gwsim/gwsim.8"
}

@test "gwsim --help names the commands, and --version itself" {
	run gwsim --help
	[ "$status" -eq 0 ]
	for c in run shell clean conform load; do
		[[ "$output" == *" $c "* ]]
	done
	run gwsim --version
	[ "$status" -eq 0 ]
	[[ "$output" == gwsim\ * ]]
}

@test "every option of every command is in gwsim.8" {
	for c in run shell clean conform load; do
		run gwsim $c --help
		[ "$status" -eq 0 ]
		for opt in $(grep -o -- ' --[a-z-]*' <<< "$output" | sed 's/^ --//' | sort -u); do
			case $opt in help | version) continue ;; esac
			grep -q -- "-$opt\b" "$page" || { echo "$c --$opt"; false; }
		done
	done
}

@test "every kind of violation is in gwsim.8" {
	for kind in $(grep -o 'X([A-Z_]*,[[:space:]]*"[a-z-]*"' \
	    "$BATS_TEST_DIRNAME/../../gwsim/run_judge.h" | grep -o '"[a-z-]*"' | tr -d '"'); do
		grep -q "Cm $kind\b" "$page" || { echo "$kind"; false; }
	done
}

@test "gwsim.8 is clean" {
	run mandoc -Tlint -Wwarning "$page"
	[ "$status" -eq 0 ]
	for s in "EXIT STATUS" SIGNALS SECURITY EXAMPLES; do
		grep -q "^\.Sh $s" "$page"
	done
}

@test "wrong usage: exit 2, nothing on stdout" {
	for args in "" "bogus" "run" "run -a x" "run -- true" "run -a x --bogus -- true" \
	    "run -a x --endpoint vpce-1 -- true" "run -a x --stickiness 4 -- true" \
	    "run -a x --endpoint vpce-00a1b2c3d4e5f6071,vpce-00a1b2c3d4e5f6071 -- true" \
	    "run -a x --at vpce-00a1b2c3d4e5f6072 -- true" "run -a x --in nowhere -- true" \
	    "run -a x --in appliance2 -- true" "run -a x --health udp:1 -- true" \
	    "run -a x --health tcp:0 -- true" "run -a x --health tcp:80/x -- true" \
	    "run -a x --health http:80x -- true" "run -a x --timeout-scale 0 -- true" \
	    "run -a x --flows 0 -- true" "run -a x --server-wait 70000 -- true" \
	    "run -a x --wait soon -- true" "shell" "shell nowhere" "shell appliance0" "clean x" \
	    "conform" "conform -t 10.0.0.1" "conform -a x -t 10.0.0.1 -I eth0" "conform -a x y" \
	    "conform -a x --profile both" "conform -a x --only nonsense" \
	    "conform -a x --skip nonsense" "conform -a x --allow nonsense( " \
	    "conform -a x --health udp:1" "conform -a x --health tcp:80/x" "conform -a x --expect /nonexistent" \
	    "conform -a x --timeout 4294967296ms" "load -a x --time 0" \
	    "conform --explain nonsense" "load" "load -a x y" "load -a x --size 51" \
	    "load -a x --rate fast" "load -a x --wait soon" "conform -a x --wait soon" "load -a x --flows 0" "load -a x --time 11m" \
	    "load -a x --find-max most" "load -a x --find-max 101"; do
		run --separate-stderr gwsim $args
		[ "$status" -eq 2 ] || { echo "$args: $status $stderr"; false; }
		[ -z "$output" ]
		[[ "$stderr" != *----* ]]
	done
}

@test "the bad value is quoted" {
	run --separate-stderr gwsim run -a x --health udp:1 -- true
	[[ "$stderr" == *"'udp:1'"* ]]
	run --separate-stderr gwsim run -a x --endpoint vpce-1 -- true
	[[ "$stderr" == *"'vpce-1'"* ]]
}

@test "shell without a simulation of that number: exit 1" {
	run --separate-stderr gwsim shell -r 1 client -- true
	[ "$status" -eq 1 ]
	[[ "$stderr" == *"no simulation 1 runs here"* ]]
}

@test "clean: nothing was left behind, or it is said what" {
	run gwsim clean
	[ "$status" -eq 0 ]
	[ -n "$output" ]
}

@test "a duration out of bounds is told with its bounds" {
	run --separate-stderr gwsim load -a x --time 11m
	[ "$status" -eq 2 ]
	[[ "$stderr" == *"--time: '11m' is not a duration from 1ms to 10m"* ]]
	run --separate-stderr gwsim conform -a x --wait 2h
	[[ "$stderr" == *"from 0 to 1h"* ]]
}
