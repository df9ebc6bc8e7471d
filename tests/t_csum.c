/* SPDX-License-Identifier: MIT */
/* csum.h against the plainest sum there is, and against packets of known sum */
#include <stdlib.h>

#include "csum.h"
#include "tap.h"
#include "wire.h"

enum { L4_V4 = 20, L4_V6 = 40 };

static uint16_t plain_sum(const uint8_t *p, size_t len, uint32_t sum)
{
	for (size_t i = 0; i < len; i++)
		sum += (uint32_t)p[i] << (i & 1 ? 0 : 8);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static uint16_t folded(const uint8_t *p, size_t len, uint64_t sum)
{
	uint16_t csum = csum_fold(csum_partial(p, len, sum));

	return be16(&csum);
}

static void partial_sums(void)
{
	static uint8_t b[9100 + 8];
	int bad = 0, split = 0;

	for (size_t i = 0; i < sizeof(b); i++)
		b[i] = (uint8_t)random();
	for (size_t len = 0; len < 9100; len += len < 300 ? 1 : 97)
		bad += folded(b + len % 8, len, 0) != plain_sum(b + len % 8, len, 0);
	OK(bad == 0, "sums of all lengths and alignments");
	for (size_t cut = 0; cut <= 200; cut += 2)
		split += folded(b + cut, 301 - cut, csum_partial(b, cut, 0)) !=
			 plain_sum(b, 301, 0);
	OK(split == 0, "a sum in two parts is the sum");
	memset(b, 0xff, sizeof(b));
	OK(folded(b, 9000, 0) == 0, "all ones: carries wrap");
	memset(b, 0, sizeof(b));
	OK(folded(b, 9000, 0) == 0xffff, "all zeros");
	OK(folded(b, 0, 0) == 0xffff, "nothing");
}

static struct packet packet_of(uint8_t version, uint8_t proto, uint32_t end)
{
	uint32_t l4 = version == 4 ? L4_V4 : L4_V6;

	return (struct packet){
		.l4 = l4, .payload = l4 + 8, .end = end, .version = version,
		.proto = proto, .flags = PKT_PARSED | PKT_L4,
	};
}

/* Transport checksum as the RFCs write it down, for a buffer from the IP header on */
static uint16_t plain_l4(const struct packet *p, const uint8_t *b, size_t len)
{
	uint8_t whole[2048] = { 0 };
	unsigned alen = packet_addr_len(p), n = 0;

	if (p->proto != 1) {
		memcpy(whole, packet_src(p, b), 2 * alen);
		n = 2 * alen + 4;
		put16(whole + n - 2, (uint16_t)len);
		whole[n + 1] = p->proto;
		n += 2;
	}
	memcpy(whole + n, b + p->l4, len);
	memset(whole + n + csum_l4_field(p->proto), 0, 2);
	return plain_sum(whole, n + len, 0);
}

static void transport(void)
{
	static const uint8_t protos[] = { 1, 6, 17, 58 };
	uint8_t b[1200];
	int bad = 0, unread = 0, blind = 0;

	for (int i = 0; i < 2000; i++) {
		uint8_t proto = protos[i % 4];
		struct packet p = packet_of(i & 8 ? 4 : 6, proto, (uint32_t)(70 + i % 1100));
		uint16_t stored, want;

		for (size_t j = 0; j < sizeof(b); j++)
			b[j] = (uint8_t)random();
		put16(b + p.l4 + 4, (uint16_t)(p.end - p.l4));
		put16(b + p.l4 + csum_l4_field(proto), 1);
		csum_l4_write(&p, b);
		stored = be16(b + p.l4 + csum_l4_field(proto));
		want = plain_l4(&p, b, p.end - p.l4);
		bad += stored != (proto == 17 && want == 0 ? 0xffff : want);
		unread += !csum_l4_ok(&p, b);
		b[p.end - 1] ^= 0x10;
		blind += csum_l4_ok(&p, b);
	}
	OK(bad == 0, "transport checksums as in the RFCs");
	OK(unread == 0, "what was written is right");
	OK(blind == 0, "one changed bit is seen");
}

static void udp_zero(void)
{
	uint8_t b[64] = { 0 };
	struct packet v4 = packet_of(4, 17, 48), v6 = packet_of(6, 17, 60);

	put16(b + L4_V4 + 4, 28);
	csum_l4_write(&v4, b);
	OK(be16(b + L4_V4 + 6) == 0, "UDP over IPv4 that came without a sum stays without");
	OK(csum_l4_ok(&v4, b), "and is right so");
	memset(b, 0, sizeof(b));
	put16(b + L4_V6 + 4, 20);
	OK(!csum_l4_ok(&v6, b), "UDP over IPv6 without a sum is wrong");
	csum_l4_write(&v6, b);
	OK(be16(b + L4_V6 + 6) != 0 && csum_l4_ok(&v6, b), "and gets one");
	/* make the sum come out as zero: put its complement into the data */
	put16(b + L4_V6 + 10, be16(b + L4_V6 + 6));
	csum_l4_write(&v6, b);
	OK(be16(b + L4_V6 + 6) == 0xffff, "a UDP sum of zero is written as 0xffff");
	OK(csum_l4_ok(&v6, b), "and is right");
}

static void short_datagram(void)
{
	uint8_t b[64];
	struct packet p = packet_of(4, 17, 60);
	uint16_t stored;

	for (size_t i = 0; i < sizeof(b); i++)
		b[i] = (uint8_t)(i * 7 + 1);
	put16(b + L4_V4 + 4, 20);
	csum_l4_write(&p, b);
	stored = be16(b + L4_V4 + 6);
	OK(stored == plain_l4(&p, b, 20), "a UDP length below the IP payload's counts");
	put16(b + L4_V4 + 4, 3);
	csum_l4_write(&p, b);
	OK(csum_l4_ok(&p, b), "a UDP length below its header is not believed");
	put16(b + L4_V4 + 4, 0xffff);
	csum_l4_write(&p, b);
	OK(csum_l4_ok(&p, b), "nor one past the end");
}

static void left_alone(void)
{
	static const uint16_t flags[] = {
		0, PKT_L4 | PKT_FRAG_FIRST, PKT_FRAG_LATER, PKT_L4 | PKT_CUT,
	};
	uint8_t b[64], before[64];
	int touched = 0;

	memset(b, 0x5a, sizeof(b));
	memcpy(before, b, sizeof(b));
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		struct packet p = packet_of(4, 17, 60);

		p.flags = PKT_PARSED | flags[i];
		csum_l4_write(&p, b);
		touched += memcmp(b, before, sizeof(b)) != 0 || !csum_l4_ok(&p, b);
	}
	OK(touched == 0, "fragments, cut packets and those without a header are left alone");
	OK(csum_l4_field(47) == -1, "GRE has no checksum of this kind");
}

static void icmp_zero(void)
{
	uint8_t b[64] = { 0 };
	struct packet p = packet_of(4, 1, 60);

	csum_l4_write(&p, b);
	OK(be16(b + L4_V4 + 2) == 0xffff, "an echo reply of zeros has the sum 0xffff");
	OK(csum_l4_ok(&p, b), "and is right");
}

static void ipv4_and_increment(void)
{
	static const uint8_t known[20] = {	/* RFC 1071's favourite in many a textbook */
		0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0, 0,
		0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0, 0xc7,
	};
	uint8_t ip[60];
	uint16_t from, to, csum;
	int bad = 0;

	memcpy(ip, known, sizeof(known));
	csum_ipv4(ip);
	OK(be16(ip + 10) == 0xb861, "known IPv4 header");
	memset(ip, 0x11, sizeof(ip));
	ip[0] = 0x4f;
	csum_ipv4(ip);
	OK(plain_sum(ip, 60, 0) == 0, "IPv4 header with options");
	for (int i = 0; i < 5000; i++) {
		to = (uint16_t)random();
		memcpy(&from, ip + 8, 2);
		memcpy(&csum, ip + 10, 2);
		csum = csum_replace16(csum, from, to);
		memcpy(ip + 8, &to, 2);
		memcpy(ip + 10, &csum, 2);
		bad += plain_sum(ip, 60, 0) != 0;
	}
	OK(bad == 0, "5000 incremental updates");
}

int main(void)
{
	srandom(1);
	partial_sums();
	transport();
	udp_zero();
	short_datagram();
	left_alone();
	icmp_zero();
	ipv4_and_increment();
	return tap_done();
}
