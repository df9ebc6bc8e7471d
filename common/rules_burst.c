/* SPDX-License-Identifier: MIT */
/*
 * rules_burst.c - Rules over a burst: what is remembered first, then the candidates
 */
#include "rules_int.h"

/**
 * struct job - One packet under judgement
 * @v:		What comes of it
 * @keep:	A rule that says "flow" matched: something is to be kept
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
	if (r->flow && r->action == RULE_PASS && m->conf.midstream == POLICY_DROP && !again &&
	    flow_midstream(&j->s)) {
		refuse(j, REASON_MIDSTREAM, r->index);
		return false;
	}
	j->keep |= r->flow && !again;
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
static unsigned mask_list(const struct rules *r, uint64_t mask, struct listed *list)
{
	unsigned n = 0;

	for (; mask; mask &= mask - 1) {
		unsigned bit = (unsigned)__builtin_ctzll(mask);

		if (bit < r->nkept)
			list[n++] = (struct listed){ .rule = r->keeper[bit] };
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
	struct candidate c;
	struct sight turned;

	if (!sight_turn(j->m, &j->s, &turned))
		return NULL;
	index_start(r->index, &turned, &w);
	while (index_next(&w, &c)) {
		struct rule *rule = &r->rule[c.rule];

		if (rule->action == RULE_COUNT || rule->every || rule->rate.n ||
		    rule_matches(j->m, rule, &turned, c.certain) <= 0)
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

/* False: done with this packet */
static bool try_rule(struct job *j, const struct candidate *c, bool again)
{
	struct rules *r = j->m->rules;
	struct rule *rule = &r->rule[c->rule];
	int found = again ? 1 : rule_matches(j->m, rule, &j->s, c->certain);

	j->m->met = true;
	if (found < 0) {
		failed(j, REASON_ON_ERROR, c->rule);
		return !j->f->verdict && r->kind != RULES_FILTER;	/* without this edit */
	}
	return !found || matched(j, rule, again);
}

static void run_candidates(struct job *j)
{
	struct rules *r = j->m->rules;
	uint64_t recalled = j->v.mask;
	struct listed list[RULES_KEPT_MAX];
	struct index_walk w;
	struct candidate c;

	index_start(r->index, &j->s, &w);
	if (recalled)
		index_add(&w, list, mask_list(r, recalled, list));
	while (index_next(&w, &c)) {
		int kept = r->rule[c.rule].kept;

		if (!try_rule(j, &c, kept >= 0 && recalled >> kept & 1))
			return;
	}
	undecided(j);
}

/* Counts and edits of headers: payload is never edited by hearsay */
static uint64_t header_mask(const struct rules *r, uint64_t mask)
{
	uint64_t out = 0;

	for (unsigned i = 0; i < r->nkept; i++)
		if (mask >> i & 1 && r->rule[r->keeper[i]].action != RULE_REPLACE)
			out |= 1ull << i;
	return out;
}

/* A rule that decided is the last one that is looked at.  False: the packet is done with */
static bool repeat(struct job *j, const struct verdict *v, bool decided)
{
	struct rules *r = j->m->rules;
	struct listed list[RULES_KEPT_MAX];
	unsigned n = mask_list(r, header_mask(r, v->mask), list);

	for (unsigned i = 0; i < n && !(decided && list[i].rule > v->rule); i++)
		if (deliver(j, &r->rule[list[i].rule], true) == RULES_STOP)
			return false;
	return true;
}

/* Do again what was decided before */
static void follow(struct job *j, const struct verdict *v)
{
	struct rules *r = j->m->rules;
	bool decided = v->by == BY_RULE && r->kind == RULES_FILTER;

	if (v->reason)
		refuse(j, (enum reason)v->reason, v->rule);
	else if (!repeat(j, v, decided))
		return;
	else if (decided)
		deliver(j, &r->rule[v->rule], true);
	else if (v->by == BY_DEFAULT)
		finish(j);
}

/* Of what matched, only rules that say "flow" are kept for it */
static uint64_t flow_mask(const struct rules *r, uint64_t mask)
{
	uint64_t out = 0;

	for (unsigned i = 0; i < r->nkept; i++)
		if (mask >> i & 1 && r->rule[r->keeper[i]].flow)
			out |= 1ull << i;
	return out;
}

/*
 * What the packet's flow will remember: marks and, if the rule that decided says "flow",
 * the decision.  A SYN against it ends it neither when it is refused nor by a mark only.
 */
static void keep(struct job *j, const struct flow_place *at, uint64_t recalled)
{
	const struct rules *r = j->m->rules;
	uint64_t own = at->quoted ? j->v.mask & ~recalled : j->v.mask;
	struct verdict kept = { .mask = flow_mask(r, own), .swapped = at->opened };

	if (r->kind == RULES_FILTER && j->v.by == BY_RULE && r->rule[j->v.rule].flow) {
		kept.by = BY_RULE;
		kept.rule = j->v.rule;
		kept.swapped = at->swapped ^ j->turned;
	}
	if (at->against && (j->f->verdict || j->f->marks & FRAME_REPLY ||
			    (at->decided && kept.by != BY_RULE)))
		return;
	flow_keep(j->m, at, j->f->ts_ns, &kept);
}

/* A packet with its transport header, or one that never has any */
static void run_whole(struct job *j)
{
	struct matcher *m = j->m;
	uint64_t recalled = 0;
	const struct verdict *v;
	struct flow_place at;	/* taken now: what a match does may change the bytes */

	if (!m->rules->has_flow) {
		run_candidates(j);
		return;
	}
	v = flow_recall(m, &j->s, &at);
	if (v && v->by == BY_RULE) {
		j->v = *v;
		follow(j, &j->v);
		return;
	}
	if (v)
		recalled = icmp_is_error(&j->f->pkt, j->s.data) ?
			   header_mask(m->rules, v->mask) : v->mask;
	j->v.mask = recalled;
	run_candidates(j);
	if (j->keep)
		keep(j, &at, recalled);
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
		if (rule_matches(j->m, rule, &j->s, false) > 0 && !matched(j, rule, false))
			return;
	}
	finish(j);
}

static void run_fragment(struct job *j)
{
	struct matcher *m = j->m;
	struct datagram *d = datagram_of(m, &j->s);

	if (datagram_evil(d, &j->s) && m->rules->looks)
		refuse(j, REASON_FRAGMENT_EVASION, 0);
	else if (j->f->pkt.flags & PKT_FRAG_FIRST)
		run_first(j, d);
	else if (d->known)
		follow(j, &d->verdict);
	else
		run_unknown(j);
}

static void begin(struct job *j, struct frame *f)
{
	j->f = f;
	j->v = (struct verdict){ 0 };
	j->keep = j->turned = false;
}

static void run_packet(struct job *j, struct frame *f)
{
	enum reason err = frame_parse(f);

	begin(j, f);
	if (unlikely(err)) {
		failed(j, err, 0);
		/* on-error is for packets that are odd: here no rule could look at any */
		if (err == REASON_LINKTYPE)
			refuse(j, err, 0);
		return;
	}
	sight_init(&j->s, f);
	if (likely(!(f->pkt.flags & (PKT_FRAG_FIRST | PKT_FRAG_LATER))))
		run_whole(j);
	else
		run_fragment(j);
}

/* The index knows what comes of it */
static void decide(struct job *j, struct frame *f, struct rule *rule)
{
	j->f = f;
	deliver(j, rule, false);
}

/* The index knows that there is no other */
static void run_only(struct job *j, struct frame *f, uint32_t rule)
{
	begin(j, f);
	sight_init(&j->s, f);
	if (try_rule(j, &(struct candidate){ .rule = rule, .certain = true }, false))
		undecided(j);
}

static void run_told(struct job *j, struct frame *f, uint32_t told)
{
	if (told == INDEX_LOOK || told == INDEX_NONE)
		run_packet(j, f);
	else if (told >= INDEX_ONLY)
		run_only(j, f, told - INDEX_ONLY);
	else
		decide(j, f, &j->m->rules->rule[told - INDEX_FIRST]);
}

/*
 * Are bytes of these packets looked at?  Where no rule asks for more than what gwdecap left in
 * the descriptor, only those of packets that a rule may match; there are some if there were.
 */
static bool looks_at_bytes(const struct matcher *m, const struct frame *f)
{
	return m->met || m->rules->has_flow || index_reads(m->rules->index) ||
	       !(f->pkt.flags & PKT_PARSED);
}

/* The next burst of a file lies behind this one.  Its packets are fetched while these are judged,
 * a few at a time: all at once they would be waited for. */
static inline void fetch_next(const struct frame *f, size_t span)
{
	fetch_line(frame_data(f) + span + 64);
	fetch_line(frame_data(f) + span + 128);
}

/* What is wrong with a packet is said when it is judged */
static void parse_burst(struct frame **f, int n, size_t span)
{
	for (int i = 0; i < n; i++) {
		if (span)
			fetch_next(f[i], span);
		if (!f[i]->verdict)
			frame_parse(f[i]);
	}
}

void rules_burst(struct matcher *m, struct frame **f, int n, const struct rules_sink *sink)
{
	struct job j = { .m = m, .sink = sink };
	uint32_t told[FRAME_BURST] = { 0 };
	size_t span = m->in_row ? (size_t)(frame_data(f[n - 1]) - frame_data(f[0])) : 0;
	bool looks;

	if (!m->rules->n && m->rules->def == RULE_PASS)
		return;
	looks = looks_at_bytes(m, f[0]);
	if (looks)
		frame_fetch_first(f, n);
	m->met = false;
	parse_burst(f, n, span);
	if (!m->rules->has_flow)
		index_tell(m->rules->index, f, n, told);
	for (int i = 0; i < n; i++) {
		if (looks)
			frame_fetch_next(f, i, n);
		if (f[i]->verdict || (told[i] == INDEX_NONE && m->rules->def == RULE_PASS))
			continue;
		run_told(&j, f[i], told[i]);
	}
}
