#!/usr/bin/env bats
bats_require_minimum_version 1.5.0
# SPDX-License-Identifier: MIT

setup() {
	root="$BATS_TEST_DIRNAME/../.."
	page="$root/gwfilter/gwfilter.8"
	cd "$BATS_TEST_TMPDIR" || return
}

# Rules in, their errors out; the name of the source is "-e#1"
errors_of() {
	run --separate-stderr gwfilter -n -e "$1"
	[ "$status" -eq 2 ] || { echo "$1: $status"; false; }
	[ -z "$output" ]
}

@test "gwfilter --help: every option is in its page or in gwchain(7)" {
	run gwfilter --help
	[ "$status" -eq 0 ]
	opts=$(grep -o -- ' --[a-z-]*' <<< "$output" | sed 's/ --//' | grep -vx -e help -e version)
	[ "$(wc -w <<< "$opts")" -gt 10 ]
	for opt in $opts; do
		cat "$page" "$root/man/gwchain.7" | grep -q -- "-$opt\b" || { echo "$opt"; false; }
	done
}

@test "gwfilter.8 and gwrules.5 are clean" {
	run mandoc -Tlint -Wwarning "$page" "$root/man/gwrules.5"
	[ "$status" -eq 0 ]
	for s in "EXIT STATUS" SIGNALS SECURITY EXAMPLES; do
		grep -q "^\.Sh $s" "$page"
	done
}

@test "every rule in gwrules(5) is one" {
	sed -n '/^\.Sh EXAMPLES/,/^\.Sh SEE/p' "$root/man/gwrules.5" > all
	grep -E '^(drop|pass|reject|default)' all > filter.rules
	grep -E '^replace' all > mangle.rules
	[ "$(wc -l < filter.rules)" -eq 6 ]
	[ "$(wc -l < mangle.rules)" -eq 2 ]
	gwfilter -n -f filter.rules
	gwmangle -n -f mangle.rules
}

@test "the examples are good, and print the same again" {
	for f in "$root"/examples/*.rules; do
		prog=gwfilter
		case $f in *mangle*) prog=gwmangle ;; esac
		$prog -n -f "$f" > once
		$prog -n -f once > twice
		cmp once twice
		[ -s once ]
	done
}

@test "-n reads and writes no packets" {
	run --separate-stderr gwfilter -n -i none.pcap -o none.pcap -e 'drop where udp'
	[ "$status" -eq 0 ]
	[ "$output" = "drop where udp" ]
	[ ! -e none.pcap ]
}

@test "-n warns of what looks at IPv4 only and of unused tables" {
	run --separate-stderr gwfilter -n -e 'table <x> { 10.0.0.0/8 }' -e 'drop where tcp[13] = 2'
	[ "$status" -eq 0 ]
	[[ "$stderr" == *"-e#2:1: warning: looks at IPv4 only"* ]]
	[[ "$stderr" == *"-e#1:1: warning: table <x> is not used"* ]]
}

@test "wrong usage: exit 2, nothing on stdout" {
	for args in "lo" "--flows 0" "--midstream maybe" "--fragments x" "-f nope.rules" "--bogus" \
		    "--timeout -1" "-i tcp://:70000" "-o tcp://127.0.0.1:0" "-i tcp://:80x"; do
		run --separate-stderr gwfilter $args < /dev/null
		[ "$status" -eq 2 ] || { echo "$args: $status $stderr"; false; }
		[ -z "$output" ]
	done
}

@test "all errors are reported, each with its place, files before -e" {
	printf 'drop where udp\n# fine\ndrop wehre udp\n\tpass name "x y"\npass where \\\n  ether 1\n' > a
	run --separate-stderr gwfilter -n -e nonsense -f a
	[ "$status" -eq 2 ]
	[ "${stderr_lines[0]}" = "a:3:6: this is no test; a filter expression starts with 'where', near \"wehre udp\"" ]
	[[ "${stderr_lines[1]}" == 'a:4:12: a name has 1 to 63'*'near ""x y""' ]]
	[[ "${stderr_lines[2]}" == 'a:6:3: there is no link layer here'*'near "ether 1"' ]]
	[[ "${stderr_lines[3]}" == '-e#1:1:1: a line starts with pass, drop'*'near "nonsense"' ]]
	[ "${#stderr_lines[@]}" -eq 4 ]
}

@test "what means nothing here is refused with the reason" {
	for words in "ether host 1:2:3:4:5:6:7:8" "vlan 5" "inbound" "geneve" "ifname eth0" arp \
		     "ip6 protochain 17" "gateway 10.0.0.1"; do
		errors_of "drop where $words"
		[[ "$stderr" == *"-e#1:1:"*", near \""* ]] || { echo "$words: $stderr"; false; }
		[[ "$stderr" != *"filter expression"* ]] || { echo "$words: $stderr"; false; }
	done
}

@test "names of hosts are refused without a look-up" {
	for words in "host example.com" "src localhost" "net loopback" "host 1a.example" \
		     "port 80 or host x" "udp and src foo" "(port http) and dst foo"; do
		run --separate-stderr timeout 5 env ASAN_OPTIONS=detect_leaks=0 \
			strace -f -e trace=connect,socket -o trace \
			gwfilter -n -e "drop where $words"
		[ "$status" -eq 2 ]
		[[ "$stderr" == *"No look-ups are made"* ]] || { echo "$words: $stderr"; false; }
		! grep -q -e AF_INET -e connect trace
	done
	gwfilter -n -e 'drop where port http or domain or ip proto \tcp'
}

@test "the other program's rules are refused" {
	errors_of 'replace "a" "b"'
	[[ "$stderr" == *"'replace' is a rule of gwmangle, this is gwfilter"* ]]
	run --separate-stderr gwmangle -n -e drop -e 'default drop'
	[ "$status" -eq 2 ]
	[[ "$stderr" == *"'drop' is a rule of gwfilter"*"'default' is a line of gwfilter"* ]]
}

@test "one error for each of many mistakes" {
	while IFS= read -r rule; do
		errors_of "$rule"
		[ "${#stderr_lines[@]}" -eq 1 ] || { echo "$rule: $stderr"; false; }
		[[ "$stderr" =~ ^-e#1:1:[0-9]+:\ .*,\ near\  ]] || { echo "$rule: $stderr"; false; }
	done <<'RULES'
pass name "a" name "b"
pass log log
pass endpoint vpce-1
pass src <nowhere>
pass every 0
pass every 2 every 3
pass rate 5
pass rate 5/h
pass rate 0/s
pass rate 1/s by name
pass not every 3
pass payload ""
pass payload "x
pass payload "\q"
pass payload "\x1"
pass payload /a(/
pass payload /a
pass payload /a/x
pass payload /a/ii
pass where
pass where udp port
pass fragment log
default maybe
on-error reject
table <t> { }
table <t> { 10.0.0.1/8 }
table <t> { 10.0.0.0/33 }
table <t> { 1.2.3 }
table <t> { 10.0.0.0/8
table <t> "nothing.txt"
table t { 10.0.0.0/8 }
drop udp
reject neither
RULES
}

@test "names are unique, lines that may stand once do" {
	run --separate-stderr gwfilter -n -e 'drop name "a"' -e 'pass name "a"' -e 'default drop' \
		-e 'default drop' -e 'on-error pass' -e 'on-error pass'
	[ "$status" -eq 2 ]
	[ "${#stderr_lines[@]}" -eq 3 ]
	[[ "$stderr" == *'name "a" is taken by -e#1:1'* ]]
}

@test "errors within a table's file have its name and line" {
	printf '10.0.0.0/8\nfoo\n10.1.0.0/16 10.2.0.0/16\n' > list
	errors_of 'table <t> "list"'
	[[ "$stderr" == *"list:2:1: "*"list:3:13: one prefix a line"* ]]
}

@test "a file that is no text is refused" {
	printf 'drop where udp\0 port 5\n' > binary
	run --separate-stderr gwfilter -n -f binary
	[ "$status" -eq 2 ]
	[[ "$stderr" == *"binary:1:15: a NUL byte"* ]]
}

@test "10,000 rules load in a few seconds" {
	for ((i = 0; i < 10000; i++)); do
		echo "drop name \"r$i\" where src net 10.$((i / 250)).$((i % 250)).0/24 and tcp dst port $i"
	done > many.rules
	run --separate-stderr timeout 20 gwfilter -n -f many.rules
	[ "$status" -eq 0 ]
	[ "${#lines[@]}" -eq 10000 ]
}

@test "an output that cannot be written is told, whatever was to be printed" {
	gwdecap -q -i "$root/examples/trace.pcap" -o inner.pcapng
	for what in --help --version '-n -e pass' '-i inner.pcapng' '-i inner.pcapng --print'; do
		run sh -c "gwfilter $what 2>&1 >/dev/full"
		[ "$status" -eq 1 ]
		[[ "$output" == *"gwfilter: error: stdout: No space left on device"* ]]
		run sh -c "gwfilter $what 2>&1 >&-"
		[ "$status" -eq 1 ]
		[[ "$output" == *"gwfilter: error: stdout: Bad file descriptor"* ]]
	done
	run sh -c 'gwfilter 2>&1 <&- >/dev/null'
	[ "$status" -eq 1 ]
	[[ "$output" == *"gwfilter: error: stdin: Bad file descriptor"* ]]
}

@test "lines that could not be written are not counted as out" {
	gwdecap -q -i "$root/examples/trace.pcap" -o inner.pcapng
	run sh -c 'gwfilter -i inner.pcapng --print 2>&1 >/dev/full'
	[[ "$output" == *"gwfilter: 40 in, 0 made, 0 out, 0 dropped, 40 uncertain" ]]
}

@test "--print ends with its reader, and reads no further" {
	mkfifo never
	exec 9<>never
	gwdecap -q -i "$root/examples/trace.pcap" >&9 &
	run timeout 20 sh -c 'gwfilter --print 2>err <never | true; cat err'
	exec 9>&-
	wait
	[[ "$output" == *"gwfilter: error: stdout: Broken pipe"* ]]
}

@test "the end tells what was counted and edited, unless -q" {
	gwdecap -q -i "$root/examples/trace.pcap" -o inner.pcapng
	run gwfilter --as a -i inner.pcapng -o /dev/null -e 'count name "telnet" where tcp port 23'
	[[ "$output" == *$'\ngwfilter:a: telnet: 1 packets, 40 bytes' ]]
	run gwmangle -i inner.pcapng -o /dev/null -e 'replace "weakly" "strongly"'
	[[ "$output" == *$'\ngwmangle: 2 edited, 0 left unedited, 0 rule errors' ]]
	run gwfilter -q -i inner.pcapng -o /dev/null -e 'count name "telnet" where tcp port 23'
	[ -z "$output" ]
}
