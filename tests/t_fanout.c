/* SPDX-License-Identifier: MIT */
/* Which worker a packet goes to: the kernel's program, run by libpcap's machine */
#include <netinet/in.h>
#include <string.h>

#include <pcap/pcap.h>

#include "../gwcap/fanout.h"
#include "geneve.h"
#include "tap.h"
#include "wire.h"

#define LEN_MAX	512u

static uint8_t pkt[LEN_MAX];
static size_t len;

static uint32_t worker(void)
{
	struct sock_fprog prog = fanout_program();

	return bpf_filter((struct bpf_insn *)(void *)prog.filter, pkt, (u_int)len, (u_int)len);
}

/* From the outer IP header on: that is where the kernel's program starts */
static uint8_t *outer(unsigned version, unsigned words)
{
	size_t hlen = version == 4 ? 4 * words : 40;
	uint8_t *udp = pkt + hlen;

	memset(pkt, 0, sizeof(pkt));
	pkt[0] = (uint8_t)(version << 4 | (version == 4 ? words : 0));
	pkt[version == 4 ? 9 : 6] = IPPROTO_UDP;
	put16(udp, 40000);
	put16(udp + 2, GENEVE_PORT);
	return udp + 8;
}

static uint8_t *option(uint8_t *o, uint32_t class, uint8_t type, unsigned words, uint32_t last)
{
	put32(o, class << 16 | (uint32_t)type << 8 | words);
	put32(o + 4 * words, words ? last : be32(o));
	return o + 4 + 4 * words;
}

/* Of @g, the Geneve header, options end at @end; an inner packet from A to B or back */
static void inner(uint8_t *g, uint8_t *end, unsigned version, bool back)
{
	uint8_t *a = end + (version == 4 ? 12 : 8);
	size_t n = version == 4 ? 4 : 16;

	g[0] = (uint8_t)((end - g - GENEVE_HDR_LEN) / 4);
	put16(g + 2, version == 4 ? 0x0800 : 0x86dd);
	memset(end, 0, 60);
	end[0] = version == 4 ? 0x45 : 0x60;
	a[n - 1] = back ? 9 : 1;
	a[2 * n - 1] = back ? 1 : 9;
	a[n - 2] = back ? 7 : 5;
	a[2 * n - 2] = back ? 5 : 7;
	len = (size_t)(end - pkt) + 60;
}

static uint32_t aws(unsigned version, unsigned words, uint32_t cookie, bool back)
{
	uint8_t *g = outer(version, words);
	uint8_t *end = g + geneve_build_aws(g, 0x0800, 7, 8, cookie);

	inner(g, end, 4, back);
	return worker();
}

static void test_cookie(void)
{
	unsigned count[4] = { 0 };
	uint32_t w = aws(4, 5, 0x1234, false);
	uint8_t *g, *o;

	OK(aws(4, 5, 0x1234, true) == w, "both directions: the same");
	OK(aws(4, 7, 0x1234, false) == w && aws(6, 0, 0x1234, true) == w,
	   "with IP options and over IPv6 too");
	OK(aws(4, 5, 0x1235, false) != w, "another cookie: another");
	for (uint32_t i = 0; i < 4000; i++)
		count[aws(4, 5, i * 8, false) % 4]++;
	OK(count[0] > 900 && count[1] > 900 && count[2] > 900 && count[3] > 900,
	   "4000 cookies of a pattern, 4 workers: %u %u %u %u", count[0], count[1], count[2], count[3]);
	g = outer(4, 5);
	o = option(g + 8, 0x0999, 3, 0, 0);
	o = option(o, GENEVE_CLASS_AWS, 3, 1, 0x1234);
	o = option(o, GENEVE_CLASS_AWS, 1, 2, 99);
	inner(g, o, 4, false);
	OK(worker() == w, "options in another order, an unknown one in front");
}

static void test_dialects(void)
{
	uint32_t w[4];

	for (uint32_t i = 0; i < 4; i++) {
		uint8_t *g = outer(4, 5), *o = option(g + 8, GENEVE_CLASS_TENCENT, 1, 2, 5);

		/* Flow and direction */
		o = option(o, GENEVE_CLASS_TENCENT, 3, 1, (i & 1) << 29 | (77 + i / 2));
		inner(g, o, 4, i & 1);
		w[i] = worker();
	}
	OK(w[0] == w[1] && w[2] == w[3] && w[0] != w[2], "Tencent: the cookie without its direction");
	for (uint32_t i = 0; i < 4; i++) {
		uint8_t *g = outer(4, 5);

		inner(g, option(g + 8, GENEVE_CLASS_GOOGLE, 1, 1, 5u << 4 | (i & 1)),
		      i < 2 ? 4 : 6, i & 1);
		w[i] = worker();
	}
	OK(w[0] == w[1] && w[2] == w[3] && w[0], "no cookie: the inner addresses, in either order");
}

static void test_hostile(void)
{
	size_t full;
	uint8_t *g;

	aws(4, 5, 0x1234, false);
	full = len;
	for (len = 0; len < 20 + 8 + 8 + 32; len++)
		if (worker())
			break;
	OK(len == 20 + 8 + 8 + 32 && full > len, "cut anywhere before the cookie's end: nothing");
	g = outer(4, 5);
	memset(g + 8, 0, 252);
	inner(g, g + 8 + 252, 4, false);
	OK(worker(), "63 empty options: the inner addresses");
	put32(g + 8, GENEVE_CLASS_AWS << 16 | 0x1f);
	len = 20 + 8 + 8 + 4;
	OK(!worker(), "an option that ends beyond the packet: nothing");
	aws(4, 5, 0x1234, false);
	put16(pkt + 6, 0x2000);
	OK(!worker(), "a fragment: nothing");
	aws(4, 5, 0x1234, false);
	put16(pkt + 22, GENEVE_PORT + 1);
	OK(!worker(), "another port: nothing");
}

int main(void)
{
	struct sock_fprog prog = fanout_program();

	OK(bpf_validate((struct bpf_insn *)(void *)prog.filter, prog.len), "%u instructions, valid",
	   prog.len);
	test_cookie();
	test_dialects();
	test_hostile();
	return tap_done();
}
