#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Every program has a page, of one structure, that names every option --help prints and no
# other; options that all stages share may be in gwchain(7) instead.

top=$BATS_TEST_DIRNAME/../..

programs() {
	for page in "$top"/gw*/gw*.8; do
		basename "$page" .8
	done
}

text() {
	mandoc -Tascii "$1" | col -b
}

# Help of a program, and of each of its commands if it has some
help_of() {
	"$1" --help
	"$1" --help | sed -n "/^usage: $1 COMMAND/,\$ { /^  [a-z]/ s/^  \([a-z]*\) .*/\1/p; }" |
		while read -r command; do
			"$1" "$command" --help
		done
}

options() {
	grep -oE '^ {2,6}(-[A-Za-z], )?--[a-z][a-z-]*' | grep -oE -- '--[a-z][a-z-]*' | sort -u
}

# Options a page describes: its list items
described() {
	sed -n 's/^\.It Fl //p' "$@" | grep -oE '(^| )-[a-z][a-z-]*' | sed 's/^ *-/--/' | sort -u
}

@test "every program that is built has a page, and the other way round" {
	[ "$(programs)" = "$(cd "$GW_BIN" && ls)" ]
}

@test "every option of --help is in the program's page or in gwchain(7)" {
	text "$top/man/gwchain.7" >"$BATS_TEST_TMPDIR/common"
	for p in $(programs); do
		text "$top/$p/$p.8" >"$BATS_TEST_TMPDIR/page"
		help_of "$p" | options >"$BATS_TEST_TMPDIR/options"
		[ -s "$BATS_TEST_TMPDIR/options" ]
		while read -r o; do
			cat "$BATS_TEST_TMPDIR/page" "$BATS_TEST_TMPDIR/common" |
				grep -qE -- "(^|[^-a-z])$o([^-a-z]|\$)" ||
				{ echo "$p.8: $o is missing"; false; }
		done <"$BATS_TEST_TMPDIR/options"
	done
}

@test "no page describes an option that its program does not have" {
	for p in $(programs); do
		help_of "$p" | options >"$BATS_TEST_TMPDIR/options"
		described "$top/$p/$p.8" | while read -r o; do
			grep -qxe "$o" "$BATS_TEST_TMPDIR/options" ||
				{ echo "$p.8: $o is not in --help"; false; }
		done
	done
}

@test "gwchain(7) describes the common options and no others" {
	described "$top/man/gwchain.7" >"$BATS_TEST_TMPDIR/described"
	gwdecap --help | options | diff - "$BATS_TEST_TMPDIR/described"
}

@test "pages of programs have the same sections" {
	for p in $(programs); do
		for s in NAME SYNOPSIS DESCRIPTION "EXIT STATUS" SIGNALS EXAMPLES "SEE ALSO" SECURITY; do
			grep -qx "\.Sh $s" "$top/$p/$p.8" || { echo "$p.8: no $s"; false; }
		done
	done
}

@test "pages refer to pages that are there" {
	for page in "$top"/man/* "$top"/gw*/*.8; do
		grep -hoE 'Xr gw[a-z-]+ [578]' "$page" | cut -d' ' -f2,3 | sort -u |
		while read -r name section; do
			[ -e "$top/man/$name.$section" ] || [ -e "$top/$name/$name.$section" ] ||
				{ echo "$page: no $name($section)"; false; }
		done
	done
}

@test "mandoc has nothing to say" {
	mandoc -Tlint -Wwarning "$top"/man/*.[578] "$top"/gw*/*.8
}
