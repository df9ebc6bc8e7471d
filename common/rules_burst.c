/* SPDX-License-Identifier: MIT */
/*
 * rules_burst.c - Rules over a burst: what is remembered first, then the candidates
 */
#include "rules_int.h"

/**
 * struct job - One packet under judgement
 * @v:		What comes of it
 * @keep:	@v is to be kept for the packet's flow
 * @turned:	It answers: the flow was opened the other way
 */
struct job {
	struct matcher *m;
	const struct rules_sink *sink;
	struct frame *f;
	struct sight s;
	struct verdict v;
	bool keep;
	bool turned;
};

static enum rules_next deliver(struct job *j, struct rule *r, bool again)
{
	r->packets++;
	r->bytes += j->f->len;
	return j->sink->match(j->sink->ctx, j->f, r, again);
}

static void finish(struct job *j)
{
	j->v.by = BY_DEFAULT;
	if (j->sink->end)
		j->sink->end(j->sink->ctx, j->f);
}

static void refuse(struct job *j, enum reason reason, uint32_t rule)
{
	j->v = (struct verdict){ .mask = j->v.mask, .rule = rule, .reason = (uint16_t)reason };
	frame_drop(j->f, reason, rule);
}

/* A rule that cannot be evaluated: on-error has the last word */
static void failed(struct job *j, enum reason reason, uint32_t rule)
{
	j->m->errors++;
	j->v = (struct verdict){ .mask = j->v.mask };
	if (j->m->rules->error_drop)
		refuse(j, reason, rule);
}

/* Hand a match to the program; false: done with this packet */
static bool matched(struct job *j, struct rule *r, bool again)
{
	const struct matcher *m = j->m;
	enum rules_next next;

	if (r->kept >= 0)
		j->v.mask |= 1ull << r->kept;
	j->keep |= r->flow && !again;
	if (r->flow && r->action == RULE_PASS && m->conf.midstream == POLICY_DROP && !again &&
	    flow_midstream(&j->s)) {
		j->keep = false;
		refuse(j, REASON_MIDSTREAM, r->index);
		return false;
	}
	next = deliver(j, r, again);
	if (next == RULES_STOP) {
		j->v.by = BY_RULE;
		j->v.rule = r->index;
		return false;
	}
	if (next == RULES_EDITED) {
		enum reason err = frame_parse(j->f);

		if (err || j->f->verdict) {
			j->v.reason = (uint16_t)err;
			return false;
		}
		sight_init(&j->s, j->f);
	}
	return true;
}

/* Rules of a remembered mask as a sorted list */
static unsigned mask_list(const struct rules *r, uint64_t mask, uint32_t *list)
{
	unsigned n = 0;

	for (; mask; mask &= mask - 1) {
		unsigned bit = (unsigned)__builtin_ctzll(mask);

		if (bit < r->nkept)
			list[n++] = r->keeper[bit];
	}
	return n;
}

/*
 * TCP in mid-stream, as after a failover: its first packet here may be an answer.  A rule
 * that passes flows and would have passed the packet that opened this one, the packet the
 * other way round, decides then.  Return: the rule, or NULL
 */
static struct rule *answered_by(struct job *j)
{
	struct rules *r = j->m->rules;
	struct index_walk w;
	struct sight turned;
	uint32_t i;

	if (!sight_turn(j->m, &j->s, &turned))
		return NULL;
	index_start(r->index, &j->f->pkt, turned.data, &w);
	while ((i = index_next(&w)) != UINT32_MAX) {
		struct rule *rule = &r->rule[i];

		if (rule->action == RULE_COUNT || rule->every || rule->rate.n ||
		    rule_matches(j->m, rule, &turned) <= 0)
			continue;
		return rule->flow && rule->action == RULE_PASS ? rule : NULL;
	}
	return NULL;
}

/* No rule decided: the default, unless this answers in mid-stream */
static void undecided(struct job *j)
{
	const struct rules *r = j->m->rules;
	struct rule *rule = NULL;

	if (r->has_flow && r->def != RULE_PASS && j->m->conf.midstream == POLICY_PASS &&
	    flow_midstream(&j->s))
		rule = answered_by(j);
	j->turned = rule;
	if (!rule || matched(j, rule, false))
		finish(j);
}

static void run_candidates(struct job *j)
{
	struct rules *r = j->m->rules;
	uint64_t recalled = j->v.mask;
	uint32_t list[RULES_KEPT_MAX], i;
	struct index_walk w;

	index_start(r->index, &j->f->pkt, j->s.data, &w);
	w.p[3] = list;
	w.end[3] = list + mask_list(r, recalled, list);
	while ((i = index_next(&w)) != UINT32_MAX) {
		struct rule *rule = &r->rule[i];
		bool again = rule->kept >= 0 && recalled >> rule->kept & 1;
		int found = again ? 1 : rule_matches(j->m, rule, &j->s);

		if (found < 0) {
			failed(j, REASON_ON_ERROR, i);
			if (j->f->verdict || r->kind == RULES_FILTER)
				return;
			continue;	/* without this edit */
		}
		if (found && !matched(j, rule, again))
			return;
	}
	undecided(j);
}

/* Edits of headers only: payload is never edited by hearsay */
static uint64_t header_mask(const struct rules *r, uint64_t mask)
{
	uint64_t out = 0;

	for (unsigned i = 0; i < r->nkept; i++)
		if (mask >> i & 1 && r->rule[r->keeper[i]].action != RULE_REPLACE)
			out |= 1ull << i;
	return out;
}

/* Do again what was decided before */
static void follow(struct job *j, const struct verdict *v)
{
	struct rules *r = j->m->rules;
	uint32_t list[RULES_KEPT_MAX];
	unsigned n = mask_list(r, header_mask(r, v->mask), list);

	if (v->reason) {
		refuse(j, (enum reason)v->reason, v->rule);
		return;
	}
	if (v->by == BY_RULE && r->kind == RULES_FILTER) {
		deliver(j, &r->rule[v->rule], true);
		return;
	}
	for (unsigned i = 0; i < n; i++)
		if (deliver(j, &r->rule[list[i]], true) == RULES_STOP)
			return;
	if (v->by == BY_DEFAULT)
		finish(j);
}

/* gwmangle keeps matches of "flow" edits only for the flow */
static uint64_t flow_mask(const struct rules *r, uint64_t mask)
{
	uint64_t out = 0;

	for (unsigned i = 0; i < r->nkept; i++)
		if (mask >> i & 1 && r->rule[r->keeper[i]].flow)
			out |= 1ull << i;
	return out;
}

/* A packet with its transport header, or one that never has any */
static void run_whole(struct job *j)
{
	struct matcher *m = j->m;
	const struct verdict *v;
	struct flow_place at;	/* taken now: what a match does may change the bytes */

	if (!m->rules->has_flow) {
		run_candidates(j);
		return;
	}
	v = flow_recall(m, &j->s, &at);
	if (v && m->rules->kind == RULES_FILTER) {
		j->v = *v;
		follow(j, &j->v);
		return;
	}
	if (v)
		j->v.mask = icmp_is_error(&j->f->pkt, j->s.data) ?
			    header_mask(m->rules, v->mask) : v->mask;
	run_candidates(j);
	if (j->keep && !(at.against && (j->f->verdict || j->f->marks & FRAME_REPLY))) {
		struct verdict kept = j->v;

		kept.mask = flow_mask(m->rules, kept.mask);
		at.swapped ^= j->turned;
		flow_keep(m, &at, j->f->ts_ns, &kept);
	}
}

/* With several of them the latest counts: more likely the identification came round than
 * somebody gains by it, since one that is dropped does not arrive. */
static void run_first(struct job *j, struct datagram *d)
{
	run_whole(j);
	d->verdict = j->v;
	d->known = true;
}

/*
 * A later fragment that came before its first one: rules that look at IP headers only
 * judge it all the same, until one would have to look further.
 */
static void run_unknown(struct job *j)
{
	struct rules *r = j->m->rules;

	for (uint32_t i = 0; i < r->n; i++) {
		struct rule *rule = &r->rule[i];

		if (rule_looks(rule)) {
			if (j->m->conf.fragments == POLICY_DROP) {
				refuse(j, REASON_FRAGMENT, i);
				return;
			}
			if (r->kind == RULES_FILTER)
				return;
			continue;
		}
		if (rule_matches(j->m, rule, &j->s) > 0 && !matched(j, rule, false))
			return;
	}
	finish(j);
}

static void run_packet(struct job *j)
{
	struct matcher *m = j->m;
	struct datagram *d;
	enum reason err = frame_parse(j->f);

	if (unlikely(err)) {
		failed(j, err, 0);
		return;
	}
	sight_init(&j->s, j->f);
	if (likely(!(j->f->pkt.flags & (PKT_FRAG_FIRST | PKT_FRAG_LATER)))) {
		run_whole(j);
		return;
	}
	d = datagram_of(m, &j->s);
	if (datagram_evil(d, &j->s) && m->rules->looks)
		refuse(j, REASON_FRAGMENT_EVASION, 0);
	else if (j->f->pkt.flags & PKT_FRAG_FIRST)
		run_first(j, d);
	else if (d->known)
		follow(j, &d->verdict);
	else
		run_unknown(j);
}

void rules_burst(struct matcher *m, struct frame **f, int n, const struct rules_sink *sink)
{
	if (!m->rules->n && m->rules->def == RULE_PASS)
		return;
	for (int i = 0; i < n; i++) {
		struct job j = { .m = m, .sink = sink, .f = f[i] };

		if (!f[i]->verdict)
			run_packet(&j);
	}
}
