/* SPDX-License-Identifier: MIT */
/* gwsim's judge on hostile frames: every cut and every flipped bit of a right answer */
#include <net/ethernet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "../gwsim/run_judge.h"
#include "csum.h"
#include "geneve.h"
#include "tap.h"
#include "wire.h"

#define INNER	(14 + 20 + 8 + 40)

static const uint64_t endpoint = 0x0a1b2c3d4e5f6071;
static struct judge judge;
static struct site site = {
	.mac = { 2, 0, 0, 0, 0, 2 },
	.lb_mac = { 2, 0, 0, 0, 0, 1 },
};

static void put_inner(uint8_t *ip, uint16_t len)
{
	struct packet p;

	memset(ip, 0, len);
	ip[0] = 0x45;
	put16(ip + 2, len);
	ip[8] = 64;
	ip[9] = IPPROTO_UDP;
	memcpy(ip + 12, (uint8_t[]){ 10, 0, 1, 10, 10, 0, 2, 20 }, 8);
	csum_ipv4(ip);
	put16(ip + 20, 4711);
	put16(ip + 22, 53);
	put16(ip + 24, (uint16_t)(len - 20));
	put16(ip + 26, 1);			/* not "none" */
	if (!packet_parse(&p, ip, len, LINKTYPE_RAW))
		csum_l4_write(&p, ip);
}

/* A right answer to the flow's packet of @len bytes; returns the frame's length */
static size_t answer(uint8_t *f, uint16_t len, struct conn **c)
{
	uint8_t *ip = f + 14, *udp = ip + 20;
	struct packet p;
	bool fresh;

	put_inner(f + INNER, len);
	if (packet_parse(&p, f + INNER, len, LINKTYPE_RAW))
		return 0;
	*c = conn_of_packet(judge.conns, 0, &p, f + INNER, false, 0, &fresh);
	memcpy(f, site.lb_mac, 6);
	memcpy(f + 6, site.mac, 6);
	put16(f + 12, ETHERTYPE_IP);
	memset(ip, 0, 28);
	ip[0] = 0x45;
	put16(ip + 2, (uint16_t)(INNER - 14 + len));
	ip[8] = 64;
	ip[9] = IPPROTO_UDP;
	memcpy(ip + 12, &site.addr, 4);
	memcpy(ip + 16, &site.lb_addr, 4);
	csum_ipv4(ip);
	put16(udp, (*c)->sport);
	put16(udp + 2, GENEVE_PORT);
	put16(udp + 4, (uint16_t)(INNER - 34 + len));
	geneve_build_aws(udp + 8, ETHERTYPE_IP, endpoint, 0, (*c)->cookie);
	return INNER + len;
}

/* Judge an exact-size copy: a byte too far is an error of AddressSanitizer's */
static struct judged judge_copy(const uint8_t *f, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);
	struct port_rx rx = { .data = copy, .len = (uint32_t)len, .for_us = true };
	struct judged v;

	if (!copy)
		abort();
	memcpy(copy, f, len);
	v = judge_packet(&judge, &site, &rx, 0);
	free(copy);
	return v;
}

static void right(const uint8_t *f, size_t len, const struct conn *c)
{
	struct judged v = judge_copy(f, len);

	OK(v.kind == JUDGE_FINE && v.conn == c && v.to_server, "a right answer is fine");
	OK(v.inner == INNER && v.len == len - INNER, "... and what to deliver is known");
	OK(!judge_total(&judge), "... and nothing is counted");
}

static void cuts(const uint8_t *f, size_t len)
{
	size_t fine = 0;

	for (size_t n = 0; n < len; n++)
		fine += judge_copy(f, n).conn != NULL;
	OK(!fine, "no cut of it is delivered");
}

static void flips(const uint8_t *good, size_t len)
{
	uint8_t f[512];
	size_t fine = 0, delivered = 0;

	for (size_t bit = 14 * 8; bit < len * 8; bit++) {
		struct judged v;

		memcpy(f, good, len);
		f[bit / 8] ^= (uint8_t)(1u << bit % 8);
		v = judge_copy(f, len);
		/* The outer TOS, id, flags and TTL are guarded by the checksum only */
		fine += v.kind == JUDGE_FINE;
		delivered += v.conn && v.kind != JUDGE_INNER_CHECKSUM;
	}
	OK(!fine && !delivered, "no flipped bit goes unnoticed");
}

static void own_faults(uint8_t *f, struct conn *c)
{
	size_t len = answer(f, 60, &c);

	f[len - 1] ^= 1;
	OK(judge_copy(f, len).kind == JUDGE_INNER_CHECKSUM && judge_copy(f, len).conn == c,
	   "a wrong inner checksum is told of, and delivered");
	c->bad_csum = true;
	OK(judge_copy(f, len).kind == JUDGE_FINE, "unless the sender's were wrong already");
	c->bad_csum = false;
}

int main(void)
{
	const struct conn_conf conf = { .max = 16, .tuple = 5, .tcp_ms = 1000, .other_ms = 1000 };
	struct conn *c = NULL;
	uint8_t f[512];
	size_t len;

	site.addr.s_addr = htonl(0x0a630102);
	site.lb_addr.s_addr = htonl(0x0a630101);
	judge = (struct judge){ .endpoint = &endpoint, .endpoints = 1, .conns = conn_open(&conf) };
	if (!judge.conns)
		return 1;
	len = answer(f, 60, &c);
	right(f, len, c);
	cuts(f, len);
	flips(f, len);
	own_faults(f, c);
	conn_close(judge.conns);
	return tap_done();
}
