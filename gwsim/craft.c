/* SPDX-License-Identifier: MIT */
/*
 * craft.c - Packets as a load balancer sends them, and as nobody should
 */
#include "craft.h"

#include <netinet/in.h>
#include <string.h>

#include "csum.h"
#include "geneve.h"
#include "wire.h"

#define ETH_LEN		14u
#define IP4_LEN		20u
#define IP6_LEN		40u
#define UDP_LEN		8u
#define TCP_LEN		20u
#define ICMP_LEN	8u
#define EXT_LEN		8u

static size_t l3_len(const struct craft_inner *c)
{
	return c->version == 4 ? IP4_LEN + c->ip_opts_len : IP6_LEN + EXT_LEN * c->next;
}

static size_t l4_len(const struct craft_inner *c)
{
	switch (c->proto) {
	case IPPROTO_TCP:
		return TCP_LEN + c->tcp_opts_len;
	case IPPROTO_UDP:
		return UDP_LEN;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return ICMP_LEN;
	}
	return 0;
}

size_t craft_inner_overhead(const struct craft_inner *c)
{
	return l3_len(c) + l4_len(c);
}

static void put_ipv4(uint8_t *ip, const struct craft_inner *c, size_t total)
{
	ip[0] = (uint8_t)(0x40 | (l3_len(c) / 4));
	ip[1] = c->tos;
	put16(ip + 2, (uint16_t)total);
	put16(ip + 4, (uint16_t)c->id);
	put16(ip + 6, c->df ? 0x4000 : 0);
	ip[8] = c->ttl ? c->ttl : 64;
	ip[9] = c->proto;
	put32(ip + 12, c->src);
	put32(ip + 16, c->dst);
	if (c->ip_opts_len)
		memcpy(ip + IP4_LEN, c->ip_opts, c->ip_opts_len);
	csum_ipv4(ip);
}

static void put_ipv6_addr(uint8_t *a, uint32_t low)
{
	memset(a, 0, 16);
	a[0] = 0xfd;
	put32(a + 12, low);
}

/* One 8-byte extension header each: options hold one PadN, routing has no segment left */
static void put_ext(uint8_t *p, const struct craft_inner *c, unsigned i)
{
	memset(p, 0, EXT_LEN);
	p[0] = i + 1 < c->next ? c->ext[i + 1] : c->proto;
	if (c->ext[i] == IPPROTO_HOPOPTS || c->ext[i] == IPPROTO_DSTOPTS) {
		p[2] = 1;
		p[3] = 4;
	} else if (c->ext[i] == IPPROTO_ROUTING) {
		p[2] = 253;
	} else if (c->ext[i] == IPPROTO_FRAGMENT) {
		put32(p + 4, c->id);
	}
}

static void put_ipv6(uint8_t *ip, const struct craft_inner *c, size_t total)
{
	put32(ip, 6u << 28 | (uint32_t)c->tos << 20 | (c->id & 0xfffff));
	put16(ip + 4, (uint16_t)(total - IP6_LEN));
	ip[6] = c->next ? c->ext[0] : c->proto;
	ip[7] = c->ttl ? c->ttl : 64;
	put_ipv6_addr(ip + 8, c->src);
	put_ipv6_addr(ip + 24, c->dst);
	for (unsigned i = 0; i < c->next; i++)
		put_ext(ip + IP6_LEN + EXT_LEN * i, c, i);
}

static void put_l4(uint8_t *p, const struct craft_inner *c)
{
	switch (c->proto) {
	case IPPROTO_UDP:
		put16(p, c->sport);
		put16(p + 2, c->dport);
		put16(p + 4, (uint16_t)(UDP_LEN + c->payload_len));
		break;
	case IPPROTO_TCP:
		put16(p, c->sport);
		put16(p + 2, c->dport);
		put32(p + 4, c->seq);
		put32(p + 8, ~c->seq);
		p[12] = (uint8_t)((TCP_LEN + c->tcp_opts_len) / 4 << 4);
		p[13] = c->tcp_flags ? c->tcp_flags : 0x10;
		put16(p + 14, 8192);
		if (c->tcp_opts_len)
			memcpy(p + TCP_LEN, c->tcp_opts, c->tcp_opts_len);
		break;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		put16(p, c->dport);
		put16(p + 4, c->sport);
		put16(p + 6, (uint16_t)c->seq);
		break;
	}
}

/* Offset of the checksum in the transport header, -1: none */
static int csum_at(const struct craft_inner *c)
{
	if (c->proto == IPPROTO_UDP)
		return c->no_csum ? -1 : 6;
	if (c->proto == IPPROTO_TCP)
		return 16;
	return c->proto == IPPROTO_ICMP || c->proto == IPPROTO_ICMPV6 ? 2 : -1;
}

static uint64_t pseudo_sum(const uint8_t *ip, uint8_t proto, size_t l4_bytes)
{
	uint8_t tail[8] = { 0 };
	uint64_t sum;

	sum = ip[0] >> 4 == 4 ? csum_partial(ip + 12, 8, 0) : csum_partial(ip + 8, 32, 0);
	put32(tail, (uint32_t)l4_bytes);
	tail[7] = proto;
	return csum_partial(tail, sizeof(tail), sum);
}

static void put_l4_csum(uint8_t *ip, const struct craft_inner *c, uint8_t *l4, size_t n)
{
	int at = csum_at(c);
	uint64_t sum;
	uint16_t v;

	if (at < 0)
		return;
	sum = c->proto == IPPROTO_ICMP ? 0 : pseudo_sum(ip, c->proto, n);
	v = csum_fold(csum_partial(l4, n, sum));
	if (!v && c->proto == IPPROTO_UDP)
		v = 0xffff;
	if (c->bad_csum)
		v ^= 0x0400;
	memcpy(l4 + at, &v, sizeof(v));
}

size_t craft_inner(uint8_t *out, const struct craft_inner *c)
{
	size_t l3 = l3_len(c), l4 = l4_len(c), total = l3 + l4 + c->payload_len;

	memset(out, 0, l3 + l4);
	if (c->payload_len)
		memcpy(out + l3 + l4, c->payload, c->payload_len);
	if (c->version == 4)
		put_ipv4(out, c, total);
	else
		put_ipv6(out, c, total);
	put_l4(out + l3, c);
	put_l4_csum(out, c, out + l3, total - l3);
	return total;
}

size_t craft_fragment(uint8_t *out, const uint8_t *in, size_t len, size_t off, size_t n,
		      uint32_t id)
{
	bool v4 = in[0] >> 4 == 4;
	size_t hdr = v4 ? (size_t)4 * (in[0] & 15) : IP6_LEN;
	bool more = hdr + off + n < len;

	memcpy(out, in, hdr);
	if (v4) {
		put16(out + 2, (uint16_t)(hdr + n));
		put16(out + 4, (uint16_t)id);
		put16(out + 6, (uint16_t)(off / 8 | (more ? 0x2000 : 0)));
		csum_ipv4(out);
		memcpy(out + hdr, in + hdr + off, n);
		return hdr + n;
	}
	put16(out + 4, (uint16_t)(EXT_LEN + n));
	out[6] = IPPROTO_FRAGMENT;
	out[IP6_LEN] = in[6];
	out[IP6_LEN + 1] = 0;
	put16(out + IP6_LEN + 2, (uint16_t)(off | more));
	put32(out + IP6_LEN + 4, id);
	memcpy(out + IP6_LEN + EXT_LEN, in + hdr + off, n);
	return IP6_LEN + EXT_LEN + n;
}

static void put_outer_udp_csum(uint8_t *ip, uint8_t *udp, size_t n)
{
	uint16_t v;

	put16(udp + 6, 0);
	v = csum_fold(csum_partial(udp, n, pseudo_sum(ip, IPPROTO_UDP, n)));
	if (!v)
		v = 0xffff;
	memcpy(udp + 6, &v, sizeof(v));
}

void craft_fix(uint8_t *pkt, const struct craft_layers *l, size_t len)
{
	uint8_t *ip = pkt + l->l3, *udp = pkt + l->udp;

	put16(ip + 2, (uint16_t)(len - l->l3));
	csum_ipv4(ip);
	if (len < l->udp + UDP_LEN)
		return;
	put16(udp + 4, (uint16_t)(len - l->udp));
	if (be16(udp + 6))
		put_outer_udp_csum(ip, udp, len - l->udp);
}

static uint8_t *put_outer_ip(uint8_t *ip, const struct craft_outer *o)
{
	memset(ip, 0, IP4_LEN);
	ip[0] = 0x45;
	ip[1] = o->tos;
	put16(ip + 4, o->id);
	put16(ip + 6, o->df ? 0x4000 : 0);
	ip[8] = o->ttl ? o->ttl : 64;
	ip[9] = IPPROTO_UDP;
	put32(ip + 12, o->src);
	put32(ip + 16, o->dst);
	return ip + IP4_LEN;
}

static uint8_t *put_geneve(uint8_t *g, const struct craft_outer *o, uint8_t inner_first)
{
	uint16_t proto = o->proto;

	if (!proto)
		proto = inner_first >> 4 == 6 ? 0x86dd : 0x0800;
	g[0] = (uint8_t)(o->version << 6 | o->opts_len / 4);
	g[1] = o->flags;
	put16(g + 2, proto);
	put32(g + 4, o->vni << 8 | o->reserved);
	memcpy(g + GENEVE_HDR_LEN, o->opts, o->opts_len);
	return g + GENEVE_HDR_LEN + o->opts_len;
}

size_t craft_packet(uint8_t *out, struct craft_layers *l, const struct craft_outer *o,
		    const uint8_t *inner, size_t len)
{
	uint8_t *p = out;

	memcpy(p, o->dst_mac, 6);
	memcpy(p + 6, o->src_mac, 6);
	put16(p + 12, 0x0800);
	l->l3 = ETH_LEN;
	p = put_outer_ip(p + ETH_LEN, o);
	l->udp = (uint32_t)(p - out);
	put16(p, o->sport);
	put16(p + 2, o->dport);
	put16(p + 6, o->csum);	/* not zero: craft_fix() writes the sum */
	p += UDP_LEN;
	l->geneve = (uint32_t)(p - out);
	p = put_geneve(p, o, len ? inner[0] : 0);
	l->inner = (uint32_t)(p - out);
	memcpy(p, inner, len);
	l->end = (uint32_t)(l->inner + len);
	craft_fix(out, l, l->end);
	return l->end;
}

void craft_opt(struct craft_outer *o, uint16_t class, uint8_t type, const void *data,
	       size_t data_len)
{
	uint8_t *p = o->opts + o->opts_len;

	put16(p, class);
	p[2] = type;
	p[3] = (uint8_t)(data_len / 4);
	if (data_len)
		memcpy(p + GENEVE_OPT_HDR_LEN, data, data_len);
	o->opts_len += GENEVE_OPT_HDR_LEN + data_len;
}

void craft_aws(struct craft_outer *o, uint64_t endpoint, uint64_t attachment, uint32_t cookie)
{
	uint8_t v[8];

	put64(v, endpoint);
	craft_opt(o, GENEVE_CLASS_AWS, 1, v, 8);
	put64(v, attachment);
	craft_opt(o, GENEVE_CLASS_AWS, 2, v, 8);
	put32(v, cookie);
	craft_opt(o, GENEVE_CLASS_AWS, 3, v, 4);
}
