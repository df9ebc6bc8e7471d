/* SPDX-License-Identifier: MIT */
#include <netinet/in.h>

#include "geneve.h"
#include "wire.h"

static const char *const dialects[] = {
	[DIALECT_PLAIN] = "plain",
	[DIALECT_AWS] = "aws",
	[DIALECT_TENCENT] = "tencent",
	[DIALECT_GOOGLE] = "google",
	[DIALECT_GENEVE] = "geneve",
};

_Static_assert(ARRAY_SIZE(dialects) == DIALECT_NUM, "one name a dialect");

const char *dialect_name(unsigned dialect)
{
	return dialect < DIALECT_NUM ? dialects[dialect] : "?";
}

/* Option class, type and length field as one word each, as AWS always sends them */
#define AWS_OPT(type, words)	(GENEVE_CLASS_AWS << 16 | (type) << 8 | (words))

static bool parse_aws_exact(struct geneve *g, const uint8_t *o)
{
	if (be32(o) != AWS_OPT(1u, 2u) || be32(o + 12) != AWS_OPT(2u, 2u) ||
	    be32(o + 24) != AWS_OPT(3u, 1u))
		return false;
	g->endpoint = be64(o + 4);
	g->attachment = be64(o + 16);
	g->cookie = be32(o + 28);
	g->dialect = DIALECT_AWS;
	return true;
}

/* Up to 8 bytes of an option's data as a number */
static uint64_t opt_number(const uint8_t *d, size_t len)
{
	uint64_t v = 0;

	for (size_t i = 0; i < MIN(len, 8u); i++)
		v = v << 8 | d[i];
	return v;
}

/* A known option: false if its length is not what its type demands */
static bool take_aws_like(struct geneve *g, uint16_t class, uint8_t type,
			  const uint8_t *d, size_t len)
{
	if (len != (type == 3 ? 4u : 8u))
		return false;
	if (type == 1)
		g->endpoint = be64(d);
	else if (type == 2)
		g->attachment = be64(d);
	else if (class == GENEVE_CLASS_AWS)
		g->cookie = be32(d);
	else {				/* Tencent: 3 bits of direction in front */
		g->cookie = be32(d) & 0x1fffffff;
		g->direction = (uint8_t)(be32(d) >> 29);
	}
	return true;
}

static bool take_google(struct geneve *g, uint8_t type, const uint8_t *d, size_t len)
{
	uint32_t v;

	if (type == 1) {
		if (len != 4)
			return false;
		v = be32(d);
		g->cookie = v >> 4;
		g->direction = v & 0xf;
	} else if (type == 2) {
		g->endpoint = opt_number(d, len);
	} else {
		if (len != 8)
			return false;
		g->attachment = be64(d);
	}
	return true;
}

static enum reason take_option(struct geneve *g, uint16_t class, uint8_t type,
			       const uint8_t *d, size_t len)
{
	bool known = type >= 1 && type <= 3, ok;

	if (known && (class == GENEVE_CLASS_AWS || class == GENEVE_CLASS_TENCENT)) {
		ok = take_aws_like(g, class, type, d, len);
		g->dialect = class == GENEVE_CLASS_AWS ? DIALECT_AWS : DIALECT_TENCENT;
	} else if (known && class == GENEVE_CLASS_GOOGLE) {
		ok = take_google(g, type, d, len);
		g->dialect = DIALECT_GOOGLE;
	} else {		/* unknown: kept byte for byte, unless critical */
		return type & 0x80 ? REASON_GENEVE_CRITICAL : REASON_NONE;
	}
	return ok ? REASON_NONE : REASON_GENEVE_OPT_LEN;
}

/* Options lie in a view of their own: a lying length ends the walk, it cannot
 * reach the inner packet. */
static enum reason walk_options(struct geneve *g, struct view opts)
{
	const uint8_t *o, *d;
	enum reason r;
	size_t len;

	while (opts.left) {
		if (!view_take(&opts, GENEVE_OPT_HDR_LEN, &o))
			return REASON_GENEVE_OPT_HDR;
		len = (size_t)4 * (o[3] & 0x1f);
		if (!view_take(&opts, len, &d))
			return REASON_GENEVE_OPT_LEN;
		r = take_option(g, be16(o), o[2], d, len);
		if (r)
			return r;
	}
	return REASON_NONE;
}

enum reason geneve_parse(struct geneve *g, const uint8_t *udp, size_t len)
{
	struct view v = { udp, len }, opts;
	struct geneve n = { .dialect = DIALECT_GENEVE };
	const uint8_t *h;
	enum reason r;

	if (!view_take(&v, GENEVE_HDR_LEN, &h))
		return REASON_GENEVE_SHORT;
	if (h[0] >> 6)
		return REASON_GENEVE_VERSION;
	opts.left = (size_t)4 * (h[0] & 0x3f);
	if (!view_take(&v, opts.left, &opts.p))
		return REASON_GENEVE_OPT_AREA;
	if (h[1] & 0x80)
		return REASON_GENEVE_CONTROL;
	if (opts.left != GENEVE_AWS_OPTS_LEN || !parse_aws_exact(&n, opts.p)) {
		r = walk_options(&n, opts);
		if (r)
			return r;
	}
	n.proto = be16(h + 2);
	if (n.proto != 0x0800 && n.proto != 0x86dd)
		return REASON_GENEVE_PROTO;
	n.vni = be32(h + 4) >> 8;
	n.hdr_len = (uint32_t)(len - v.left);
	*g = n;
	return REASON_NONE;
}

enum { AT_IP = 14, AT_UDP = AT_IP + 20, AT_GENEVE = AT_UDP + 8, AT_OPTS = AT_GENEVE + GENEVE_HDR_LEN,
       AT_INNER = AT_OPTS + GENEVE_AWS_OPTS_LEN };

/*
 * What an AWS load balancer sends, and nothing else: no VLAN tag, IPv4 without options and
 * whole, the three options in their order.  False is no verdict: the packet is then looked
 * at layer by layer, by the same rules.  Straight into @e, field by field: a copy of what
 * was just written in smaller pieces would wait for them.
 */
static bool parse_exact(struct encap *e, const uint8_t *p, size_t len)
{
	uint32_t total, udp_len;
	uint16_t proto;

	if (len < AT_INNER || be16(p + 12) != 0x0800 || p[AT_IP] != 0x45 || p[AT_IP + 9] != IPPROTO_UDP ||
	    be16(p + AT_IP + 6) & 0x3fff || be16(p + AT_UDP + 2) != GENEVE_PORT ||
	    (be16(p + AT_GENEVE) & 0xff80) != GENEVE_AWS_OPTS_LEN / 4 << 8)
		return false;
	total = be16(p + AT_IP + 2);
	udp_len = be16(p + AT_UDP + 4);
	proto = be16(p + AT_GENEVE + 2);
	if (total > len - AT_IP || udp_len > total - 20 || udp_len < AT_INNER - AT_UDP || total < 20 ||
	    (proto != 0x0800 && proto != 0x86dd) || !parse_aws_exact(&e->g, p + AT_OPTS))
		return false;
	e->l3 = AT_IP;
	e->udp = AT_UDP;
	e->geneve = AT_GENEVE;
	e->inner = AT_INNER;
	e->end = AT_UDP + udp_len;
	e->version = 4;
	e->g.vni = be32(p + AT_GENEVE + 4) >> 8;
	e->g.hdr_len = AT_INNER - AT_GENEVE;
	e->g.proto = proto;
	e->g.direction = 0;
	return true;
}

enum reason encap_parse(struct encap *e, const uint8_t *data, size_t len, uint32_t linktype)
{
	struct encap n = { 0 };
	struct packet p;
	uint32_t udp_len;
	enum reason r;

	if (likely(linktype == LINKTYPE_ETHERNET && parse_exact(e, data, len)))
		return REASON_NONE;
	r = packet_parse(&p, data, len, linktype);
	if (r)
		return r;
	if (p.flags & (PKT_FRAG_FIRST | PKT_FRAG_LATER))
		return REASON_OUTER_FRAGMENT;
	if (p.proto != IPPROTO_UDP)
		return REASON_NOT_UDP;
	if (p.end - p.l4 < 8)
		return REASON_UDP_SHORT;
	if (be16(data + p.l4 + 2) != GENEVE_PORT)
		return REASON_NOT_GENEVE;
	if (p.flags & PKT_CUT)
		return REASON_TRUNCATED;
	udp_len = be16(data + p.l4 + 4);
	if (udp_len < 8 || udp_len > p.end - p.l4)
		return REASON_UDP_LENGTH;
	n.l3 = p.l3;
	n.udp = p.l4;
	n.version = p.version;
	n.geneve = p.l4 + 8;
	n.end = p.l4 + udp_len;
	r = geneve_parse(&n.g, data + n.geneve, n.end - n.geneve);
	if (r)
		return r;
	n.inner = n.geneve + n.g.hdr_len;
	*e = n;
	return REASON_NONE;
}

size_t geneve_build_aws(uint8_t *out, uint16_t proto, uint64_t endpoint,
			uint64_t attachment, uint32_t cookie)
{
	uint8_t *o = out + GENEVE_HDR_LEN;

	put32(out, (GENEVE_AWS_OPTS_LEN / 4) << 24 | proto);
	put32(out + 4, 0);	/* VNI 0 */
	put32(o, AWS_OPT(1u, 2u));
	put64(o + 4, endpoint);
	put32(o + 12, AWS_OPT(2u, 2u));
	put64(o + 16, attachment);
	put32(o + 24, AWS_OPT(3u, 1u));
	put32(o + 28, cookie);
	return GENEVE_HDR_LEN + GENEVE_AWS_OPTS_LEN;
}
