#!/usr/bin/env bats
bats_require_minimum_version 1.5.0
# SPDX-License-Identifier: MIT

setup() {
	root="$BATS_TEST_DIRNAME/../.."
	page="$root/gwmangle/gwmangle.8"
	cd "$BATS_TEST_TMPDIR" || return
}

# An option stands in a page as "Fl -mtu" or "Fl f , -file"
@test "gwmangle --help: every option is in its page or in gwchain(7)" {
	run gwmangle --help
	[ "$status" -eq 0 ]
	opts=$(grep -o -- ' --[a-z-]*' <<< "$output" | sed 's/ --//' | grep -vx -e help -e version)
	[ "$(wc -w <<< "$opts")" -gt 10 ]
	for opt in $opts; do
		cat "$page" "$root/man/gwchain.7" | grep -q -- "-$opt\b" || { echo "$opt"; false; }
	done
}

@test "gwmangle.8 is clean" {
	run mandoc -Tlint -Wwarning "$page"
	[ "$status" -eq 0 ]
	for s in "EXIT STATUS" SIGNALS SECURITY EXAMPLES; do
		grep -q "^\.Sh $s" "$page"
	done
}

@test "gwmangle --version" {
	run gwmangle --version
	[ "$status" -eq 0 ]
	[[ "$output" == gwmangle\ * ]]
}

@test "wrong usage: exit 2, nothing on stdout" {
	for args in "lo" "--mtu 67" "--mtu 65536" "--bogus" "-f nope.rules" "--flows 0"; do
		run --separate-stderr gwmangle $args < /dev/null
		[ "$status" -eq 2 ] || { echo "$args: $status $stderr"; false; }
		[ -z "$output" ]
	done
}

@test "wrong rules: exit 2, all of them, each with its place" {
	printf 'replace "a"\nset ttl 0\nset dscp 64\ndrop\nreplace "" "x"\nreplace /(/ "x"\n' > bad.rules
	printf 'replace /a/ "$1"\n' >> bad.rules
	run --separate-stderr gwmangle -n -f bad.rules
	[ "$status" -eq 2 ]
	for line in 1 2 3 4 5 6 7; do
		[[ "$stderr" == *"bad.rules:$line:"* ]] || { echo "line $line: $stderr"; false; }
	done
}

@test "-n prints rules that parse again to the same" {
	printf 'on-error drop\nreplace /a(b)/i "<$1>$$" name "two" where udp\nset ttl 7\n' > good.rules
	gwmangle -n -f good.rules > once.rules
	gwmangle -n -f once.rules > twice.rules
	cmp once.rules twice.rules
	[ "$(grep -c -e ttl -e replace once.rules)" -eq 2 ]
}

@test "works on a capture file as an ordinary user, without a run folder" {
	chmod 777 .
	"$GW_TESTS/h_gen" 40 100 4 > geneve.pcap
	gwdecap -q -i geneve.pcap -o in.pcap
	umask 022
	run --separate-stderr setpriv --reuid=65534 --regid=65534 --clear-groups \
		gwmangle -i in.pcap -e 'set ttl 9' -o out.pcap
	[ "$status" -eq 0 ]
	n=$(tcpdump -r in.pcap 2> /dev/null | wc -l)
	[ "$n" -gt 0 ]
	[ "$(tcpdump -r out.pcap 'ip[8] = 9 or ip6[7] = 9' 2> /dev/null | wc -l)" -eq "$n" ]
}

@test "the examples in the page work" {
	"$GW_TESTS/h_gen" 40 100 4 > geneve.pcap
	gwdecap -q -i geneve.pcap -o in.pcap
	mandoc -Tascii "$page" | col -b | sed -n '/^EXAMPLES/,/^SEE ALSO/p' |
		awk '/gwmangle/ { on = 1 } on { print } on && !/\\$/ { on = 0 }' > examples.sh
	[ "$(grep -c gwmangle examples.sh)" -eq 2 ]
	run --separate-stderr sh -e examples.sh
	[ "$status" -eq 0 ]
	[ -s out.pcap ]
}
