/* SPDX-License-Identifier: MIT */
/* Prefixes as given by users, and the filter expression, run by libpcap's own machine */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <pcap/pcap.h>

#include "../gwcap/peer.h"
#include "tap.h"
#include "wire.h"

static const struct {
	const char *arg, *prefix;	/* NULL: refused */
} args[] = {
	{ "10.1.2.3", "10.1.2.3/32" },
	{ "10.1.2.3/16", "10.1.0.0/16" },
	{ "10.1.2.3/0", "0.0.0.0/0" },
	{ "10.1.255.255/17", "10.1.128.0/17" },
	{ "fd00::1", "fd00::1/128" },
	{ "fd00:ffff::1/20", "fd00:f000::/20" },
	{ "10.1.2.3/33", NULL }, { "10.1.2.3/", NULL }, { "10.1.2.3/-1", NULL },
	{ "10.1.2.3/8x", NULL }, { "10.1.2", NULL }, { "", NULL }, { "/8", NULL },
	{ "fd00::1/129", NULL }, { "host.example", NULL }, { "10.1.2.3 or tcp", NULL },
	{ "10.1.2.3/99999999999999999999", NULL },
	{ "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc", NULL },
};

static void test_args(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(args); i++) {
		struct peers p = { .n = 0 };
		int err = peers_add(&p, args[i].arg);

		if (args[i].prefix)
			OK(!err && p.n == 1 && !strcmp(p.prefix[0], args[i].prefix), "'%s' is %s",
			   args[i].arg, args[i].prefix);
		else
			OK(err == -EINVAL && !p.n, "'%s' is refused", args[i].arg);
	}
}

/* Ethernet, @tags VLAN tags, IPv4 from 10.1.0.@host, UDP to @port at fragment offset @frag */
static size_t build(uint8_t *f, int tags, uint8_t host, uint16_t port, uint16_t frag)
{
	uint8_t ip[28] = { 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 1, 0, host, 10, 9, 9, 9 };
	size_t n = 12;

	put16(ip + 6, frag);
	put16(ip + 22, port);
	memset(f, 2, n);
	for (; tags > 0; tags--, n += 4)
		put32(f + n, 0x81000005);
	put16(f + n, 0x0800);
	memcpy(f + n + 2, ip, sizeof(ip));
	return n + 2 + sizeof(ip);
}

static const struct {
	int tags;
	uint8_t host;
	uint16_t port, frag;
	bool open, named;	/* taken without, with --peer 10.1.0.0/25 */
	const char *what;
} packets[] = {
	{ 0, 1, 6081, 0, true, true, "Geneve" },
	{ 1, 1, 6081, 0, true, true, "one tag" },
	{ 2, 1, 6081, 0, true, true, "two tags" },
	{ 3, 1, 6081, 0, false, false, "three tags" },
	{ 0, 200, 6081, 0, true, false, "another sender" },
	{ 1, 200, 6081, 0, true, false, "another sender, one tag" },
	{ 0, 1, 6082, 0, false, false, "another port" },
	{ 0, 1, 6081, 0x2000, true, true, "first fragment" },
	{ 0, 1, 0, 0x2001, false, true, "later fragment" },
	{ 1, 1, 0, 1, false, true, "last fragment, one tag" },
	{ 0, 200, 0, 1, false, false, "last fragment of another sender" },
};

static void test_filter(bool named)
{
	struct peers p = { .n = 0 };
	pcap_t *dead = pcap_open_dead(DLT_EN10MB, 65535);
	struct bpf_program prog = { 0 };
	char *expr;

	if (named && peers_add(&p, "10.1.0.0/25"))
		return;
	expr = peers_filter(&p, true);
	OK(expr && !pcap_compile(dead, &prog, expr, 1, PCAP_NETMASK_UNKNOWN), "compiles: %s", expr);
	printf("# %u instructions\n", prog.bf_len);
	for (size_t i = 0; i < ARRAY_SIZE(packets); i++) {
		uint8_t f[128];
		struct pcap_pkthdr h = { .caplen = 0 };

		h.caplen = h.len = (unsigned)build(f, packets[i].tags, packets[i].host,
						   packets[i].port, packets[i].frag);
		OK(!!pcap_offline_filter(&prog, &h, f) ==
		   (named ? packets[i].named : packets[i].open), "%s: %s",
		   named ? "peer" : "anybody", packets[i].what);
	}
	pcap_freecode(&prog);
	free(expr);
	pcap_close(dead);
}

static void test_many(void)
{
	pcap_t *dead = pcap_open_dead(DLT_EN10MB, 65535);
	struct peers p = { .n = 0 };
	struct bpf_program prog = { 0 };
	char arg[64], *expr;

	for (unsigned i = 0; i < PEERS_MAX; i++) {
		snprintf(arg, sizeof(arg), i % 2 ? "fd00:%x::/32" : "10.%u.0.0/16", i);
		if (peers_add(&p, arg))
			break;
	}
	OK(p.n == PEERS_MAX && peers_add(&p, "10.0.0.1") == -ENOSPC, "%u peers, not more", p.n);
	expr = peers_filter(&p, true);
	OK(!pcap_compile(dead, &prog, expr, 1, PCAP_NETMASK_UNKNOWN) && prog.bf_len <= 4096,
	   "their filter fits the kernel: %u instructions", prog.bf_len);
	pcap_freecode(&prog);
	free(expr);
	expr = peers_filter(&p, false);
	pcap_close(dead);
	dead = pcap_open_dead(DLT_RAW, 65535);
	OK(!pcap_compile(dead, &prog, expr, 1, PCAP_NETMASK_UNKNOWN), "without link layer too");
	pcap_freecode(&prog);
	free(expr);
	pcap_close(dead);
}

int main(void)
{
	test_args();
	test_filter(false);
	test_filter(true);
	test_many();
	return tap_done();
}
