/* SPDX-License-Identifier: MIT */
#include "csum.h"

#include "wire.h"

enum { PROTO_ICMP = 1, PROTO_TCP = 6, PROTO_UDP = 17, PROTO_ICMPV6 = 58 };

static inline uint64_t add64(uint64_t sum, uint64_t v)
{
	sum += v;
	return sum + (sum < v);
}

static inline uint64_t load64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* Less than 32 bytes.  32-bit words may be added as they are: their halves fold together */
static uint64_t add_tail(const uint8_t *p, size_t len, uint64_t sum)
{
	uint64_t rest = 0;
	uint32_t word;
	uint16_t half;

	for (; len >= 8; p += 8, len -= 8)
		sum = add64(sum, load64(p));
	if (len & 4) {
		memcpy(&word, p, sizeof(word));
		rest += word;
		p += 4;
	}
	if (len & 2) {
		memcpy(&half, p, sizeof(half));
		rest += half;
		p += 2;
	}
	if (len & 1)
		rest += *p;
	return add64(sum, rest);
}

/* Two chains of carries, so that one addition need not wait for the other. */
uint64_t csum_partial(const void *data, size_t len, uint64_t sum)
{
	const uint8_t *p = data;
	uint64_t odd = 0;

	for (; len >= 32; p += 32, len -= 32) {
		sum = add64(sum, load64(p));
		odd = add64(odd, load64(p + 8));
		sum = add64(sum, load64(p + 16));
		odd = add64(odd, load64(p + 24));
	}
	return add_tail(p, len, add64(sum, odd));
}

void csum_ipv4(uint8_t *ip)
{
	uint16_t sum;

	memset(ip + 10, 0, 2);
	sum = csum_fold(csum_partial(ip, (ip[0] & 0xfu) * 4, 0));
	memcpy(ip + 10, &sum, sizeof(sum));
}

int csum_l4_field(uint8_t proto)
{
	switch (proto) {
	case PROTO_TCP:
		return 16;
	case PROTO_UDP:
		return 6;
	case PROTO_ICMP:
	case PROTO_ICMPV6:
		return 2;
	default:
		return -1;
	}
}

/* A datagram may be shorter than the IP packet around it: its own length counts. */
static uint32_t l4_len(const struct packet *p, const uint8_t *data)
{
	uint32_t len = p->end - p->l4;
	uint32_t own;

	if (p->proto != PROTO_UDP)
		return len;
	own = be16(data + p->l4 + 4);
	return own >= 8 && own < len ? own : len;
}

static uint64_t pseudo_header(const struct packet *p, const uint8_t *data, uint32_t len)
{
	uint8_t tail[8] = { 0 };
	uint64_t sum;

	if (p->proto == PROTO_ICMP)
		return 0;
	put32(tail, len);
	tail[7] = p->proto;
	sum = csum_partial(packet_src(p, data), 2 * packet_addr_len(p), 0);
	return csum_partial(tail, sizeof(tail), sum);
}

uint16_t csum_l4_value(const struct packet *p, const uint8_t *data)
{
	uint32_t field = (uint32_t)csum_l4_field(p->proto);
	uint32_t len = l4_len(p, data);
	const uint8_t *l4 = data + p->l4;
	uint64_t sum = pseudo_header(p, data, len);
	uint16_t csum;

	sum = csum_partial(l4, field, sum);
	csum = csum_fold(csum_partial(l4 + field + 2, len - field - 2, sum));
	return csum == 0 && p->proto == PROTO_UDP ? 0xffff : csum;
}

/* The checksum field's offset, or -1 where there is none to judge or write */
static int used_field(const struct packet *p, const uint8_t *data)
{
	int field = csum_l4_field(p->proto);
	uint16_t stored;

	if (field < 0 || !(p->flags & PKT_L4))
		return -1;
	if (p->flags & (PKT_FRAG_FIRST | PKT_FRAG_LATER | PKT_CUT))
		return -1;
	memcpy(&stored, data + p->l4 + field, sizeof(stored));
	if (p->proto == PROTO_UDP && p->version == 4 && stored == 0)
		return -1;
	return field;
}

void csum_l4_write(const struct packet *p, uint8_t *data)
{
	int field = used_field(p, data);
	uint16_t csum;

	if (field < 0)
		return;
	csum = csum_l4_value(p, data);
	memcpy(data + p->l4 + field, &csum, sizeof(csum));
}

bool csum_l4_ok(const struct packet *p, const uint8_t *data)
{
	int field = used_field(p, data);
	uint16_t stored;

	if (field < 0)
		return true;
	memcpy(&stored, data + p->l4 + field, sizeof(stored));
	if (stored == csum_l4_value(p, data))
		return true;
	/* 0 and 0xffff are the same number, but a UDP sum of 0 says "none" */
	return stored == 0xffff && p->proto != PROTO_UDP && csum_l4_value(p, data) == 0;
}
