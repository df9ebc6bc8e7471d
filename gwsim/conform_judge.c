/* SPDX-License-Identifier: MIT */
/*
 * conform_judge.c - Every way in which a reply deviates from what was sent
 *
 * Knows nothing of the tests; believes nothing of the reply.
 */
#include <netinet/in.h>
#include <string.h>

#include "conform.h"
#include "csum.h"
#include "geneve.h"
#include "packet.h"
#include "wire.h"

#define ETH_LEN		14u
#define IP_LEN		20u
#define UDP_LEN		8u
#define TTL_LEAST	16
#define TAG_LEN		8u

const char *dev_text(unsigned bit)
{
	static const char *const text[] = {
#define X(sym, words) words,
		DEV_LIST(X)
#undef X
	};

	return bit < DEV_NUM ? text[bit] : "?";
}

_Static_assert(DEV_NUM <= 32, "deviations are bits of a uint32_t");

bool judge_geneve(const uint8_t *pkt, uint32_t len)
{
	const uint8_t *ip = pkt + ETH_LEN;
	size_t hdr;

	if (len < ETH_LEN + IP_LEN + UDP_LEN || be16(pkt + 12) != 0x0800)
		return false;
	hdr = (size_t)4 * (ip[0] & 15);
	return ip[9] == IPPROTO_UDP && hdr >= IP_LEN && len >= ETH_LEN + hdr + UDP_LEN &&
	       (be16(ip + hdr + 2) == GENEVE_PORT || be16(ip + hdr) == GENEVE_PORT);
}

bool judge_unreachable(const uint8_t *pkt, uint32_t len)
{
	const uint8_t *ip = pkt + ETH_LEN, *icmp, *quoted;
	size_t hdr;

	if (len < ETH_LEN + IP_LEN || be16(pkt + 12) != 0x0800 || ip[9] != IPPROTO_ICMP)
		return false;
	hdr = (size_t)4 * (ip[0] & 15);
	if (hdr < IP_LEN || len < ETH_LEN + hdr + 8 + IP_LEN + UDP_LEN)
		return false;
	icmp = ip + hdr;
	quoted = icmp + 8;
	return icmp[0] == 3 && icmp[1] == 3 && quoted[0] == 0x45 && quoted[9] == IPPROTO_UDP &&
	       be16(quoted + IP_LEN + 2) == GENEVE_PORT;
}

/* Where the inner packet of something like Geneve starts; 0: nowhere */
static size_t find_inner(const uint8_t *pkt, uint32_t len)
{
	size_t at;

	if (!judge_geneve(pkt, len))
		return 0;
	at = ETH_LEN + 4u * (pkt[ETH_LEN] & 15) + UDP_LEN;
	if (len < at + GENEVE_HDR_LEN)
		return 0;
	at += GENEVE_HDR_LEN + 4u * (pkt[at] & 63);
	return at < len ? at : 0;
}

static struct probe *by_tag(struct suite *s, const uint8_t *pkt, uint32_t len)
{
	uint8_t magic[4];
	const uint8_t *p = pkt, *end = pkt + len;

	put32(magic, s->magic);
	while ((p = memmem(p, (size_t)(end - p), magic, sizeof(magic)))) {
		if ((size_t)(end - p) < TAG_LEN)
			return NULL;
		for (unsigned i = 0; i < s->nprobes; i++)
			if (s->probe[i].tagged && s->probe[i].serial == be32(p + 4))
				return &s->probe[i];
		p++;
	}
	return NULL;
}

/* Untagged packets carry their serial in the IPv4 identification or IPv6 flow label */
static struct probe *by_id(struct suite *s, const uint8_t *pkt, uint32_t len)
{
	size_t at = find_inner(pkt, len);
	uint32_t id, mask;

	if (!at || len < at + IP_LEN)
		return NULL;
	mask = pkt[at] >> 4 == 4 ? 0xffff : 0xfffff;
	id = pkt[at] >> 4 == 4 ? be16(pkt + at + 4) : be32(pkt + at) & mask;
	for (unsigned i = 0; i < s->nprobes; i++)
		if (!s->probe[i].tagged && (s->probe[i].serial & mask) == id)
			return &s->probe[i];
	return NULL;
}

static const uint8_t *cookie_of(const uint8_t *pkt, uint32_t geneve, uint32_t inner)
{
	for (uint32_t at = geneve + GENEVE_HDR_LEN; at + 8 <= inner;
	     at += 4 + 4u * (pkt[at + 3] & 31))
		if (be16(pkt + at) == GENEVE_CLASS_AWS && pkt[at + 2] == 3)
			return pkt + at + 4;
	return NULL;
}

static struct probe *by_cookie(struct suite *s, const uint8_t *pkt, uint32_t len)
{
	size_t at = find_inner(pkt, len);
	const uint8_t *got, *sent;

	if (!at)
		return NULL;
	got = cookie_of(pkt, (uint32_t)(ETH_LEN + 4u * (pkt[ETH_LEN] & 15) + UDP_LEN),
			(uint32_t)at);
	for (unsigned i = 0; got && i < s->nprobes; i++) {
		const struct probe *p = &s->probe[i];

		sent = p->len >= p->l.inner ? cookie_of(p->pkt, p->l.geneve, p->l.inner) : NULL;
		if (sent && !memcmp(sent, got, 4))
			return &s->probe[i];
	}
	return NULL;
}

/* Cut short of its inner packet, it can only be known by all that is left */
static struct probe *by_bytes(struct suite *s, const uint8_t *pkt, uint32_t len)
{
	for (unsigned i = 0; i < s->nprobes; i++) {
		const struct probe *p = &s->probe[i];

		if (p->len == len && len <= p->l.inner + 20 &&
		    (len <= p->l.geneve ||
		     !memcmp(pkt + p->l.geneve, p->pkt + p->l.geneve, len - p->l.geneve)))
			return &s->probe[i];
	}
	return NULL;
}

struct probe *judge_match(struct suite *s, const uint8_t *pkt, uint32_t len)
{
	struct probe *p;

	/* An ICMP error of the appliance's kernel may quote the tag */
	if (len > ETH_LEN + 9 && pkt[ETH_LEN + 9] != IPPROTO_UDP)
		return NULL;
	p = by_tag(s, pkt, len);
	if (!p)
		p = by_bytes(s, pkt, len);
	if (!p)
		p = by_id(s, pkt, len);
	return p ? p : by_cookie(s, pkt, len);
}

/* The outer layers of the frame, as far as the UDP header */
static uint32_t judge_ip(const struct probe *p, const uint8_t *pkt, uint32_t len)
{
	const uint8_t *ip = pkt + ETH_LEN, *sent = p->pkt + p->l.l3;
	uint32_t dev = 0, hdr = 4u * (ip[0] & 15);

	if (memcmp(pkt, p->pkt + 6, 6) || memcmp(pkt + 6, p->pkt, 6))
		dev |= DEV_MAC;
	if (ip[0] >> 4 != 4 || hdr < IP_LEN || len < ETH_LEN + hdr + UDP_LEN)
		return dev | DEV_IP_VERSION;
	if (hdr != IP_LEN)
		dev |= DEV_IP_OPTIONS;
	if (csum_fold(csum_partial(ip, hdr, 0)))
		dev |= DEV_IP_CSUM;
	if (be16(ip + 2) != len - ETH_LEN && (len > 60 || be16(ip + 2) > len - ETH_LEN))
		dev |= DEV_IP_LENGTH;
	if (be16(ip + 6) & 0x3fff)
		dev |= DEV_FRAGMENT;
	if (!(be16(ip + 6) & 0x4000))
		dev |= DEV_DF;
	if (ip[8] < TTL_LEAST)
		dev |= DEV_TTL;
	if (memcmp(ip + 12, sent + 16, 4) || memcmp(ip + 16, sent + 12, 4))
		dev |= DEV_ADDRESS;
	return dev;
}

static uint32_t judge_udp(const struct probe *p, const uint8_t *pkt, uint32_t udp_at, uint32_t len)
{
	const uint8_t *ip = pkt + ETH_LEN, *udp = pkt + udp_at, *sent = p->pkt + p->l.udp;
	uint32_t dev = 0, n = be16(udp + 4);
	uint8_t tail[4] = { 0, IPPROTO_UDP };
	uint64_t sum;

	if (memcmp(udp, sent, 4))
		dev |= DEV_PORTS;
	if (n + udp_at - ETH_LEN != be16(ip + 2) || udp_at + n > len)
		return dev | DEV_UDP_LENGTH;
	if (!be16(udp + 6))
		return dev;
	put16(tail + 2, (uint16_t)n);
	sum = csum_partial(tail, 4, csum_partial(ip + 12, 8, 0));
	if (csum_fold(csum_partial(udp, n, sum)))
		dev |= DEV_UDP_CSUM;
	return dev;
}

/* Is this very option, byte for byte, in the other list? */
static bool has_option(const uint8_t *opts, size_t len, const uint8_t *opt, size_t n)
{
	for (size_t at = 0; at + 4 <= len; at += 4 + 4u * (opts[at + 3] & 31)) {
		size_t have = 4 + 4u * (opts[at + 3] & 31);

		if (have == n && at + have <= len && !memcmp(opts + at, opt, n))
			return true;
	}
	return false;
}

static uint32_t option_dev(const uint8_t *opt)
{
	if (be16(opt) == GENEVE_CLASS_AWS && opt[2] == 1)
		return DEV_ENDPOINT;
	return be16(opt) == GENEVE_CLASS_AWS && opt[2] == 3 ? DEV_COOKIE : DEV_OPTIONS;
}

static uint32_t judge_options(const struct probe *p, const uint8_t *opts, size_t len)
{
	const uint8_t *sent = p->pkt + p->l.geneve + GENEVE_HDR_LEN;
	size_t sent_len = p->l.inner - p->l.geneve - GENEVE_HDR_LEN, n;
	uint32_t dev = 0;

	if (p->keep_len && !memmem(opts, len, p->keep, p->keep_len))
		dev |= DEV_KEPT;
	if (len == sent_len && !memcmp(sent, opts, len))
		return dev;
	for (size_t at = 0; at + 4 <= sent_len; at += n) {
		n = MIN(4 + 4u * (sent[at + 3] & 31), sent_len - at);
		if (!has_option(opts, len, sent + at, n))
			dev |= option_dev(sent + at);
	}
	if (!(dev & ~(uint32_t)DEV_KEPT))
		dev |= len == sent_len ? DEV_OPT_ORDER : DEV_OPTIONS;
	return dev;
}

static uint32_t judge_l4(const struct packet *a, const uint8_t *sent, const struct packet *b,
			 const uint8_t *got)
{
	int field = csum_l4_field(a->proto);
	uint32_t dev = 0;

	if (a->proto != b->proto || a->version != b->version ||
	    memcmp(packet_src(a, sent), packet_src(b, got), 2 * packet_addr_len(a)))
		return DEV_TUPLE;
	if (a->l4 != b->l4 || a->payload != b->payload)
		return DEV_INNER_LENGTH;
	if (!(a->flags & PKT_L4))
		return memcmp(sent + a->l4, got + b->l4, a->end - a->l4) ? DEV_INNER_BYTES : 0;
	if ((a->proto == IPPROTO_TCP || a->proto == IPPROTO_UDP) &&
	    memcmp(sent + a->l4, got + b->l4, 4))
		dev |= DEV_TUPLE;
	if (memcmp(sent + a->payload, got + b->payload, a->end - a->payload))
		dev |= DEV_INNER_BYTES;
	if (field >= 0 && csum_l4_ok(a, sent) && !csum_l4_ok(b, got))
		dev |= DEV_INNER_CSUM;
	else if (!dev && field >= 0 && memcmp(sent + a->l4 + field, got + b->l4 + field, 2))
		dev |= DEV_INNER_HEADER;
	return dev;
}

/* IP header fields beyond the addresses, that no gateway has a reason to touch */
static uint32_t judge_l3(const struct packet *a, const uint8_t *sent, const uint8_t *got)
{
	unsigned ttl = a->version == 4 ? 8 : 7, n = a->version == 4 ? 8 : 4;
	uint32_t dev = 0;

	if (sent[ttl] != got[ttl])
		dev |= DEV_INNER_TTL;
	if (memcmp(sent, got, n))
		dev |= DEV_INNER_HEADER;
	if (a->version == 4 && !csum_fold(csum_partial(sent, 4u * (sent[0] & 15), 0)) &&
	    csum_fold(csum_partial(got, 4u * (got[0] & 15), 0)))
		dev |= DEV_INNER_CSUM;
	return dev;
}

/* The probe itself, whatever became of its addresses and ports */
static bool is_same(const struct packet *a, const uint8_t *sent, const struct packet *b,
		    const uint8_t *got)
{
	bool icmp = a->proto == IPPROTO_ICMP || a->proto == IPPROTO_ICMPV6;

	return a->proto == b->proto && a->end > a->payload &&
	       a->end - a->payload == b->end - b->payload &&
	       !memcmp(sent + a->payload, got + b->payload, a->end - a->payload) &&
	       (!icmp || sent[a->l4] == got[b->l4]);
}

/* An answer of the appliance's own: from the other end, as a firewall's TCP reset */
static bool is_reject(const struct packet *a, const uint8_t *sent, const struct packet *b,
		      const uint8_t *got)
{
	return a->version == b->version && !is_same(a, sent, b, got) &&
	       !memcmp(packet_src(a, sent), packet_dst(b, got), packet_addr_len(a)) &&
	       memcmp(packet_src(a, sent), packet_dst(a, sent), packet_addr_len(a));
}

static uint32_t judge_inner(struct reply *r, const uint8_t *got, size_t len)
{
	const struct probe *p = r->probe;
	const uint8_t *sent = p->pkt + p->l.inner;
	size_t sent_len = p->len - p->l.inner;
	struct packet a, b;

	if (len == sent_len && !memcmp(sent, got, len))
		return 0;
	if (packet_parse(&a, sent, sent_len, LINKTYPE_RAW) != REASON_NONE)
		return DEV_INNER_BYTES;
	if (packet_parse(&b, got, len, LINKTYPE_RAW) != REASON_NONE)
		return DEV_INNER_LENGTH;
	if (is_reject(&a, sent, &b, got)) {
		r->reject = true;
		return 0;
	}
	if (a.version == b.version && (a.end != b.end || len != sent_len))
		return DEV_INNER_LENGTH;
	return judge_l4(&a, sent, &b, got) |
	       (a.version == b.version ? judge_l3(&a, sent, got) : 0);
}

/* Does the encapsulation of another of our flows lie around this packet? */
static bool is_crossed(const struct suite *s, const struct probe *p, const uint8_t *opts,
		       size_t len)
{
	for (unsigned i = 0; i < s->nprobes; i++) {
		const struct probe *q = &s->probe[i];
		size_t n = q->l.inner - q->l.geneve - GENEVE_HDR_LEN;

		if (q != p && n && n == len &&
		    !memcmp(q->pkt + q->l.geneve + GENEVE_HDR_LEN, opts, n))
			return true;
	}
	return false;
}

uint32_t judge_reply(struct suite *s, struct reply *r)
{
	const struct probe *p = r->probe;
	uint32_t dev = judge_ip(p, r->pkt, r->len), udp, geneve, inner, end;

	udp = ETH_LEN + 4u * (r->pkt[ETH_LEN] & 15);
	geneve = udp + UDP_LEN;
	if (dev & DEV_IP_VERSION)
		return dev;
	if (r->len < geneve + GENEVE_HDR_LEN)
		return dev | DEV_IP_LENGTH;
	dev |= judge_udp(p, r->pkt, udp, r->len);
	inner = geneve + GENEVE_HDR_LEN + 4u * (r->pkt[geneve] & 63);
	end = MIN(r->len, ETH_LEN + be16(r->pkt + ETH_LEN + 2));
	if (inner > end || p->len < p->l.inner)
		return dev | DEV_BASE;
	if ((r->pkt[geneve] ^ p->pkt[p->l.geneve]) & 0xc0 ||
	    memcmp(r->pkt + geneve + 1, p->pkt + p->l.geneve + 1, GENEVE_HDR_LEN - 1))
		dev |= DEV_BASE;
	dev |= judge_options(p, r->pkt + geneve + GENEVE_HDR_LEN, inner - geneve - GENEVE_HDR_LEN);
	if (dev & (DEV_ENDPOINT | DEV_COOKIE) &&
	    is_crossed(s, p, r->pkt + geneve + GENEVE_HDR_LEN, inner - geneve - GENEVE_HDR_LEN))
		dev |= DEV_CROSSED;
	if (dev & DEV_FRAGMENT)
		return dev;
	return dev | judge_inner(r, r->pkt + inner, end - inner);
}
