#!/usr/bin/env bats
bats_require_minimum_version 1.5.0
# SPDX-License-Identifier: MIT

setup() {
	bench="$BATS_TEST_DIRNAME/../../bench"
}

@test "bench/run, bench/peer, bench/hot --help: what they take" {
	run -0 "$bench/run" --help
	[[ $output == "bench/run [PATTERN...]: "* ]]
	run -0 "$bench/peer" --help
	[[ $output == "bench/peer [PATTERN...] -- CMD "* ]]
	run -0 "$bench/hot" --help
	[[ $output == "bench/hot [BYTES]: "* ]]
	run -2 "$bench/hot" much
}

@test "bench/peer without a command: usage" {
	for args in "" "--" "my-appliance eth0"; do
		# shellcheck disable=SC2086 # words
		run -2 "$bench/peer" $args
		[[ $output == *"usage: bench/peer [PATTERN...] -- CMD"* ]]
	done
}
