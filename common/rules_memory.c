/* SPDX-License-Identifier: MIT */
/*
 * rules_memory.c - What was decided about a packet's flow or its first fragment
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "rules_int.h"

#define DATAGRAM_NS	60000000000u	/* as long as receivers wait (RFC 1122, 8200) */

static bool lone_syn(const struct sight *s)
{
	const struct packet *p = &s->f->pkt;

	return p->proto == IPPROTO_TCP && p->flags & PKT_L4 &&
	       (s->data[p->l4 + 13] & (TH_SYN | TH_ACK | TH_RST)) == TH_SYN;
}

bool flow_midstream(const struct sight *s)
{
	return s->f->pkt.proto == IPPROTO_TCP && !(s->f->pkt.flags & PKT_FRAG_LATER) &&
	       !lone_syn(s);
}

/*
 * A SYN against the direction in which a flow was opened opens another one: whoever
 * may only answer cannot start a connection from the port it answered from.  Nor can it
 * end the flow with such a SYN: what refuses that is not kept.
 */
struct verdict *flow_recall(struct matcher *m, struct sight *s, struct flow_place *at)
{
	const struct packet *p = &s->f->pkt;
	struct flow_key quoted;
	struct verdict *v;

	at->tcp = p->proto == IPPROTO_TCP;
	at->against = at->decided = false;
	at->swapped = at->opened = flow_key(&at->key, s->f->endpoint, p, s->data);
	at->quoted = flow_key_quoted(&quoted, s->f->endpoint, p, s->data);
	if (at->quoted)
		return flow_find(m->flows, &quoted, s->f->ts_ns);
	v = flow_find(m->flows, &at->key, s->f->ts_ns);
	at->against = v && v->swapped != at->swapped && lone_syn(s);
	at->decided = at->against && v->by == BY_RULE;
	if (!v || at->against)
		return NULL;
	at->opened = v->swapped;
	return v;
}

void flow_keep(struct matcher *m, const struct flow_place *at, uint64_t now_ns,
	       const struct verdict *v)
{
	struct verdict *kept = flow_add(m->flows, &at->key, now_ns, at->tcp ?
					m->conf.tcp_timeout_ns : m->conf.timeout_ns);

	*kept = *v;
}

/* IPv6 identifies a datagram without its protocol (RFC 8200 4.5), IPv4 with it */
struct datagram *datagram_of(struct matcher *m, struct sight *s)
{
	const struct packet *p = &s->f->pkt;
	struct flow_key k = { .endpoint = s->f->endpoint, .version = p->version,
			      .kind = FLOW_DATAGRAM, .extra = p->frag_id,
			      .proto = p->version == 4 ? p->proto : 0 };

	memcpy(k.a, packet_src(p, s->data), packet_addr_len(p));
	memcpy(k.b, packet_dst(p, s->data), packet_addr_len(p));
	return flow_add(m->frags, &k, s->f->ts_ns, DATAGRAM_NS);
}

/* Where the fragment's own bytes begin: behind the IPv6 fragment header */
static uint32_t fragment_data(const struct packet *p, const uint8_t *data)
{
	uint32_t at = p->l3 + 40;
	uint8_t next = data[p->l3 + 6];

	if (p->version == 4)
		return p->l4;
	while (next != IPPROTO_FRAGMENT && at + 8 <= p->l4) {
		uint32_t n = next == IPPROTO_AH ? 4u * (data[at + 1] + 2u) :
						  8u * (data[at + 1] + 1u);

		next = data[at];
		at += n;
	}
	return MIN(at + 8, p->l4);
}

static bool headless(const struct packet *p)
{
	if (p->flags & (PKT_L4 | PKT_CUT))
		return false;
	return p->flags & PKT_EXT_CUT || p->proto == IPPROTO_TCP || p->proto == IPPROTO_UDP ||
	       p->proto == IPPROTO_ICMP || p->proto == IPPROTO_ICMPV6;
}

bool datagram_evil(struct datagram *d, const struct sight *s)
{
	const struct packet *p = &s->f->pkt;
	uint32_t end;

	if (p->flags & PKT_FRAG_LATER) {
		if (d->known)
			d->evil |= p->frag_off < d->first_end;
		else
			d->min_later = d->min_later ? MIN(d->min_later, p->frag_off) : p->frag_off;
		return d->evil;
	}
	end = p->end - fragment_data(p, s->data);
	d->first_end = MAX(d->first_end, end);
	d->evil |= headless(p) || (d->min_later && d->min_later < end);
	return d->evil;
}
