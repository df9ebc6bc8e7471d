/* SPDX-License-Identifier: MIT */
/*
 * t_flow.c - The bounded table: size, order, time, keys
 */
#include <netinet/in.h>
#include <string.h>

#include "flow.h"
#include "statm.h"
#include "tap.h"
#include "wire.h"

#define SECOND	1000000000ull
#define TABLE	100000u
#define OFFERED	1000000u
#define LIVE	1000u

static struct flow_key numbered(uint32_t n)
{
	struct flow_key k = { .version = 4, .proto = IPPROTO_UDP };

	put32(k.a, n);
	return k;
}

/* A million flows pass by while a thousand others stay in use. */
static void test_million(void)
{
	struct flow_table *t = flow_open(TABLE, sizeof(uint32_t));
	unsigned flips = 0, oldest = 0, gone = 0;
	struct flow_key k;
	long before, more;

	for (uint32_t i = 0; i < LIVE; i++) {
		k = numbered(0xf0000000 + i);
		*(uint32_t *)flow_add(t, &k, 0, 350 * SECOND) = i;
	}
	before = (long)statm().resident;
	for (uint32_t i = 0; i < OFFERED; i++) {
		uint32_t live = i % LIVE, *v;

		k = numbered(i);
		*(uint32_t *)flow_add(t, &k, i * 1000ull, 120 * SECOND) = i;
		k = numbered(0xf0000000 + live);
		v = flow_find(t, &k, i * 1000ull);
		flips += !v || *v != live;
	}
	more = (long)statm().resident - before;
	OK(more < 256, "memory is flat: %ld pages more", more);
	OK(flow_count(t) == TABLE, "the table is full");
	OK(flow_evicted(t) == OFFERED + LIVE - TABLE, "each one too many pushed one out");
	OK(!flips, "no live decision flipped");
	for (uint32_t i = OFFERED - (TABLE - LIVE); i < OFFERED; i++) {
		k = numbered(i);
		gone += !flow_find(t, &k, OFFERED * 1000ull);
	}
	OK(!gone, "the youngest are all there");
	for (uint32_t i = 0; i < OFFERED - (TABLE - LIVE); i++) {
		k = numbered(i);
		oldest += !!flow_find(t, &k, OFFERED * 1000ull);
	}
	OK(!oldest, "the oldest idle ones are gone");
	flow_close(t);
}

static void test_time(void)
{
	struct flow_table *t = flow_open(4, 8);
	struct flow_key a = numbered(1), b = numbered(2);

	flow_add(t, &a, 100 * SECOND, 10 * SECOND);
	flow_add(t, &b, 100 * SECOND, 10 * SECOND);
	OK(flow_find(t, &a, 110 * SECOND), "alive at its timeout");
	OK(flow_find(t, &a, 50 * SECOND), "time that goes back does not age");
	OK(flow_find(t, &a, 120 * SECOND), "nor does it shorten a life");
	OK(!flow_find(t, &b, 111 * SECOND) && flow_count(t) == 1, "gone behind it");
	flow_add(t, &b, 1ull << 62, SECOND);
	OK(flow_find(t, &a, 121 * SECOND), "a time from the far future ages only its own");
	memset(flow_add(t, &a, 200 * SECOND, SECOND), 7, 8);
	OK(*(uint64_t *)flow_add(t, &a, 202 * SECOND, SECOND) == 0, "an expired value is not seen");
	flow_close(t);
}

static bool even_only(void *ctx, void *value)
{
	++*(unsigned *)ctx;
	return !(*(uint32_t *)value & 1);
}

static void test_walk(void)
{
	struct flow_table *t = flow_open(10, sizeof(uint32_t));
	unsigned seen = 0, left = 0;
	struct flow_key k;

	for (uint32_t i = 0; i < 10; i++) {
		k = numbered(i);
		*(uint32_t *)flow_add(t, &k, 0, SECOND) = i;
	}
	flow_walk(t, even_only, &seen);
	for (uint32_t i = 0; i < 10; i++) {
		k = numbered(i);
		left += !!flow_find(t, &k, 0) << i;
	}
	OK(seen == 10 && left == 0x155 && flow_count(t) == 5, "a walk sees all and removes some");
	for (uint32_t i = 20; i < 25; i++) {
		k = numbered(i);
		flow_add(t, &k, 0, SECOND);
	}
	OK(flow_count(t) == 10 && !flow_evicted(t), "and their room is used again");
	flow_close(t);
}

static struct packet udp4(uint8_t *d, uint32_t src, uint32_t dst, uint16_t sport, uint16_t dport)
{
	struct packet p;

	memset(d, 0, 28);
	d[0] = 0x45;
	put16(d + 2, 28);
	d[9] = IPPROTO_UDP;
	put32(d + 12, src);
	put32(d + 16, dst);
	put16(d + 20, sport);
	put16(d + 22, dport);
	put16(d + 24, 8);
	OK(!packet_parse(&p, d, 28, LINKTYPE_RAW), "a packet");
	return p;
}

static void test_keys(void)
{
	uint8_t one[28], back[28], other[28], icmp[56] = { 0x45, [3] = 56, [9] = 1, [20] = 3 };
	struct packet p = udp4(one, 1, 2, 10, 20), q = udp4(back, 2, 1, 20, 10);
	struct packet o = udp4(other, 1, 2, 20, 10), e;
	struct flow_key a, b;
	bool way = flow_key(&a, 7, &p, one);

	OK(way != flow_key(&b, 7, &q, back) && !memcmp(&a, &b, sizeof(a)),
	   "both directions are one");
	flow_key(&b, 8, &p, one);
	OK(memcmp(&a, &b, sizeof(a)), "endpoints differ");
	flow_key(&b, 7, &o, other);
	OK(memcmp(&a, &b, sizeof(a)), "ports belong to their addresses");
	memcpy(icmp + 28, one, 28);
	put32(icmp + 12, 9);
	put32(icmp + 16, 1);
	OK(!packet_parse(&e, icmp, 56, LINKTYPE_RAW) && icmp_is_error(&e, icmp), "an ICMP error");
	OK(flow_key_quoted(&b, 7, &e, icmp) && !memcmp(&a, &b, sizeof(a)),
	   "leads to what it quotes");
	for (size_t len = 28; len < 56; len++) {
		put16(icmp + 2, (uint16_t)len);
		if (packet_parse(&e, icmp, len, LINKTYPE_RAW) || flow_key_quoted(&b, 7, &e, icmp))
			OK(0, "quote cut at %zu", len);
	}
	icmp[20] = 8;
	OK(!packet_parse(&e, icmp, 56, LINKTYPE_RAW) && !icmp_is_error(&e, icmp), "echo is none");
}

int main(void)
{
	test_million();
	test_time();
	test_walk();
	test_keys();
	return tap_done();
}
