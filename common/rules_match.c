/* SPDX-License-Identifier: MIT */
/*
 * rules_match.c - Does one rule match one packet?
 */
#include <string.h>

#include "find.h"
#include "rules_int.h"

#define CLOCK_SET_NS	1000000000u	/* no packet is overtaken by as much */

bool rule_looks(const struct rule *rule)
{
	if (rule->where || rule->action == RULE_REPLACE)
		return true;
	for (unsigned i = 0; i < rule->ntests; i++)
		if (rule->test[i].kind == TEST_PAYLOAD)
			return true;
	return false;
}

/*
 * Filter programs find ports right behind the fixed IPv6 header only.  So a packet
 * with extension headers is shown to them without these: a first fragment
 * looks like a whole packet, too.
 */
static void sight_make(struct matcher *m, struct sight *s)
{
	const struct packet *p = &s->f->pkt;
	const uint8_t *ip = s->data + p->l3;
	uint32_t ext = p->version == 6 ? p->l4 - p->l3 - 40 : 0;

	s->ip = ip;
	s->len = p->end - p->l3 - ext;
	s->wirelen = packet_wire_len(p, s->data) - ext;
	if (!ext)
		return;
	memcpy(m->scratch, ip, 40);
	put16(m->scratch + 4, (uint16_t)(s->wirelen - 40));
	m->scratch[6] = p->proto;
	memcpy(m->scratch + 40, s->data + p->l4, s->len - 40);
	s->ip = m->scratch;
}

bool sight_turn(struct matcher *m, const struct sight *s, struct sight *turned)
{
	const struct packet *p = &s->f->pkt;
	uint8_t *data = m->turned;
	unsigned n = packet_addr_len(p);
	size_t src = (size_t)(packet_src(p, data) - data), dst = src + n;

	if (p->end > SCRATCH_MAX || !(p->flags & PKT_L4))
		return false;
	memcpy(data, s->data, p->end);
	memcpy(data + src, s->data + dst, n);
	memcpy(data + dst, s->data + src, n);
	memcpy(data + p->l4, s->data + p->l4 + 2, 2);
	memcpy(data + p->l4 + 2, s->data + p->l4, 2);
	*turned = (struct sight){ .f = s->f, .data = data, .port = { p->port[1], p->port[0] } };
	return true;
}

static bool where_matches(struct matcher *m, const struct rule *rule, struct sight *s)
{
	if (!s->ip)
		sight_make(m, s);
	return bpf_filter(rule->prog.bf_insns, s->ip, s->wirelen, s->len);
}

int pattern_find(struct matcher *m, const struct rule_pattern *p, const uint8_t *data,
		 size_t len, size_t from, size_t *start, size_t *end)
{
	const uint8_t *hit;
	PCRE2_SIZE *o;
	int n;

	if (!p->re) {
		hit = from <= len ? find_bytes(data + from, len - from,
					       (const uint8_t *)p->text, p->len) : NULL;
		if (!hit)
			return 0;
		*start = (size_t)(hit - data);
		*end = *start + p->len;
		return 1;
	}
	if (p->jit)
		n = pcre2_jit_match(p->re, data, len, from, 0, m->md, m->mc);
	else
		n = pcre2_match(p->re, data, len, from, 0, m->md, m->mc);
	if (n == PCRE2_ERROR_NOMATCH)
		return 0;
	if (n < 0)
		return -1;
	o = pcre2_get_ovector_pointer(m->md);
	if (o[0] > o[1])		/* \K in a look-ahead */
		return -1;
	*start = o[0];
	*end = o[1];
	return 1;
}

static int payload_matches(struct matcher *m, const struct rule_test *t, const struct sight *s)
{
	const struct packet *p = &s->f->pkt;
	uint32_t stop = p->end;
	size_t start, end;
	int found = 0;

	if (p->flags & PKT_SURPLUS)	/* what is behind, no program is ever given */
		stop = p->l4 + be16(s->data + p->l4 + 4);
	if (p->flags & PKT_L4)
		found = pattern_find(m, &t->payload, s->data + p->payload, stop - p->payload, 0,
				     &start, &end);
	return found < 0 ? -1 : found != t->negate;
}

/* Tests but payload */
static bool header_test(const struct rule_test *t, const struct sight *s)
{
	const struct packet *p = &s->f->pkt;
	bool yes = false;

	switch (t->kind) {
	case TEST_ENDPOINT:
		yes = s->f->dialect != DIALECT_PLAIN && s->f->endpoint == t->endpoint;
		break;
	case TEST_SRC:
		yes = rules_table_has(t->table, p->version, packet_src(p, s->data));
		break;
	case TEST_DST:
		yes = rules_table_has(t->table, p->version, packet_dst(p, s->data));
		break;
	case TEST_HOST:
		yes = rules_table_has(t->table, p->version, packet_src(p, s->data)) ||
		      rules_table_has(t->table, p->version, packet_dst(p, s->data));
		break;
	case TEST_FRAGMENT:
		yes = p->flags & (PKT_FRAG_FIRST | PKT_FRAG_LATER);
		break;
	case TEST_PAYLOAD:
		break;
	}
	return yes != t->negate;
}

static struct rule_bucket *bucket_of(struct matcher *m, struct rule *rule, const struct sight *s)
{
	const struct packet *p = &s->f->pkt;
	struct flow_key k = { .version = p->version };

	switch (rule->rate.by) {
	case BY_ALL:
		return &rule->bucket;
	case BY_SRC:
		memcpy(k.a, packet_src(p, s->data), packet_addr_len(p));
		break;
	case BY_DST:
		memcpy(k.a, packet_dst(p, s->data), packet_addr_len(p));
		break;
	case BY_ENDPOINT:
		k.version = 0;
		break;
	case BY_FLOW:
		flow_key(&k, 0, p, s->data);
		break;
	}
	k.endpoint = s->f->endpoint;
	k.kind = FLOW_RATE;
	k.extra = rule->key;
	/* an idle bucket fills up: to forget it changes nothing */
	return flow_add(m->rates, &k, s->f->ts_ns, UINT64_MAX);
}

/*
 * Is this packet over the rate?  Takes a token if not.  Packets may come a little out of
 * order; when their times go further back the clock was set, and time goes on from there.
 */
static bool over_rate(const struct rule_rate *rate, struct rule_bucket *b, uint64_t now)
{
	uint64_t room, dt;

	if (!b->last_ns && !b->tokens)
		b->tokens = rate->cap;
	if (b->last_ns > now + CLOCK_SET_NS)
		b->last_ns = now;
	room = rate->cap - MIN(b->tokens, rate->cap);
	dt = now > b->last_ns && b->last_ns ? now - b->last_ns : 0;
	b->tokens = dt >= room / rate->n + 1 ? rate->cap : MIN(rate->cap, b->tokens + dt * rate->n);
	b->last_ns = MAX(MAX(b->last_ns, now), 1u);
	if (b->tokens < rate->unit_ns)
		return true;
	b->tokens -= rate->unit_ns;
	return false;
}

/* endpoint, tables, fragment; where; payload; every; rate: tests are sorted so */
int rule_matches(struct matcher *m, struct rule *rule, struct sight *s, bool certain)
{
	unsigned i = 0;
	int found;

	for (; i < rule->ntests && rule->test[i].kind != TEST_PAYLOAD; i++)
		if (!header_test(&rule->test[i], s))
			return 0;
	if (!certain && rule->where && !where_matches(m, rule, s))
		return 0;
	for (; i < rule->ntests; i++) {
		found = payload_matches(m, &rule->test[i], s);
		if (found <= 0)
			return found;
	}
	if (rule->every && ++rule->seen % rule->every)
		return 0;
	return !rule->rate.n || over_rate(&rule->rate, bucket_of(m, rule, s), s->f->ts_ns);
}
