/* SPDX-License-Identifier: MIT */
/*
 * rules_matcher.c - Life of a matcher: memory, reload, counters for the outside
 */
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "rules_int.h"

#define DATAGRAMS	8192u		/* fragmented packets remembered */
#define BUCKETS		65536u		/* token buckets of all "rate ... by" rules */
#define MATCH_LIMIT	50000u		/* steps of PCRE2: well below a millisecond */
#define JIT_STACK_MAX	(256u << 10)

/* Tables that the rules in force need and that are not there yet */
static void take_tables(struct matcher *m, const struct rules *r)
{
	if (r->has_flow && !m->flows)
		m->flows = flow_open(m->conf.flows, sizeof(struct verdict));
	if (r->has_rate && !m->rates)
		m->rates = flow_open(BUCKETS, sizeof(struct rule_bucket));
	if ((r->has_flow && !m->flows) || (r->has_rate && !m->rates))
		die("no memory for %u flows", m->conf.flows);
}

static unsigned groups_of(const struct rule_pattern *p)
{
	uint32_t n = 0;

	if (p->re)
		pcre2_pattern_info(p->re, PCRE2_INFO_CAPTURECOUNT, &n);
	return n;
}

static void take_match_data(struct matcher *m, const struct rules *r)
{
	unsigned most = 0;

	for (unsigned i = 0; i < r->n; i++) {
		most = MAX(most, groups_of(&r->rule[i].what));
		for (unsigned j = 0; j < r->rule[i].ntests; j++)
			most = MAX(most, groups_of(&r->rule[i].test[j].payload));
	}
	pcre2_match_data_free(m->md);
	m->md = pcre2_match_data_create(most + 1, NULL);
	if (!m->md)
		die("no memory for rules");
}

void matcher_open(struct matcher *m, const struct rules_conf *c, struct rules *r)
{
	*m = (struct matcher){ .conf = *c, .rules = r };
	m->mc = pcre2_match_context_create(NULL);
	m->jit_stack = pcre2_jit_stack_create(32u << 10, JIT_STACK_MAX, NULL);
	m->frags = flow_open(DATAGRAMS, sizeof(struct datagram));
	m->scratch = rules_alloc(SCRATCH_MAX);
	m->turned = rules_alloc(SCRATCH_MAX);
	if (!m->mc || !m->frags)
		die("no memory for rules");
	pcre2_set_match_limit(m->mc, MATCH_LIMIT);
	pcre2_set_heap_limit(m->mc, 1024);
	if (m->jit_stack)
		pcre2_jit_stack_assign(m->mc, NULL, m->jit_stack);
	take_tables(m, r);
	take_match_data(m, r);
	for (unsigned i = 0; i < r->n; i++)
		r->rule[i].key = m->next_key++;
}

void matcher_close(struct matcher *m)
{
	flow_close(m->flows);
	flow_close(m->frags);
	flow_close(m->rates);
	pcre2_match_data_free(m->md);
	pcre2_match_context_free(m->mc);
	if (m->jit_stack)
		pcre2_jit_stack_free(m->jit_stack);
	free(m->scratch);
	free(m->turned);
	rules_free(m->rules);
}

static int cmp_label(const void *a, const void *b)
{
	const struct rule *x = a, *y = b;

	return strcmp(x->label, y->label);
}

static void carry_over(struct rule *to, const struct rule *from)
{
	to->packets = from->packets;
	to->bytes = from->bytes;
	to->seen = from->seen;
	to->key = from->key;
	to->bucket = from->bucket;
	to->log_site = from->log_site;
}

/**
 * struct moves - What became of the old rules
 * @to:		New index of each old rule with the same name and meaning, UINT32_MAX: gone
 */
struct moves {
	const struct rules *old, *new;
	uint32_t *to;
};

/* Let a verdict speak of the new rules; false: the one that decided is gone */
static bool move_verdict(const struct moves *mv, struct verdict *v)
{
	uint64_t mask = 0;

	for (unsigned bit = 0; bit < mv->old->nkept; bit++) {
		uint32_t to = mv->to[mv->old->keeper[bit]];

		if (v->mask >> bit & 1 && to != UINT32_MAX)
			mask |= 1ull << mv->new->rule[to].kept;
	}
	v->mask = mask;
	if (mv->old->kind == RULES_MANGLE || v->by != BY_RULE)
		return true;
	v->rule = mv->to[v->rule];
	return v->rule != UINT32_MAX;
}

static bool keep_flow(void *ctx, void *value)
{
	struct verdict *v = value;

	if (!move_verdict(ctx, v))
		v->by = BY_NOBODY;
	return v->mask || v->by == BY_RULE;
}

static bool keep_datagram(void *ctx, void *value)
{
	struct datagram *d = value;

	if (!move_verdict(ctx, &d->verdict))
		d->known = false;
	return true;
}

/* Counters go by label, decisions by what the rule says as well */
static void match_rules(struct matcher *m, struct moves *mv)
{
	struct rules *new = m->rules;
	void *labels = NULL;

	for (unsigned i = 0; i < mv->old->n; i++) {
		mv->to[i] = UINT32_MAX;
		if (!tsearch(&mv->old->rule[i], &labels, cmp_label))
			die("no memory for rules");
	}
	for (unsigned i = 0; i < new->n; i++) {
		struct rule *rule = &new->rule[i], **was = tfind(rule, &labels, cmp_label);

		if (!was) {
			rule->key = m->next_key++;
			continue;
		}
		carry_over(rule, *was);
		if ((*was)->hash == rule->hash)
			mv->to[(*was)->index] = i;
	}
	for (unsigned i = 0; i < mv->old->n; i++)
		tdelete(&mv->old->rule[i], &labels, cmp_label);
}

bool matcher_reload(struct matcher *m)
{
	struct rules *old = m->rules, *new = rules_load(&m->conf);
	struct moves mv = { .old = old, .new = new };

	if (!new)
		return false;
	mv.to = rules_alloc((old->n + 1) * sizeof(*mv.to));
	m->rules = new;
	match_rules(m, &mv);
	if (m->flows)
		flow_walk(m->flows, keep_flow, &mv);
	flow_walk(m->frags, keep_datagram, &mv);
	take_tables(m, new);
	take_match_data(m, new);
	free(mv.to);
	rules_free(old);
	return true;
}

void rule_log(const struct matcher *m, struct rule *r, struct frame *f, const char *did)
{
	char line[160];

	if (!log_due(&r->log_site, m->now_ns, LOG_LVL_NOTICE))
		return;
	packet_describe(&f->pkt, frame_data(f), line, sizeof(line));
	log_limited(&r->log_site, m->now_ns, LOG_LVL_NOTICE, "%s: %s %s", r->label, did, line);
}

static void publish_names(const struct rules *r, struct stats_page *page)
{
	page->rules_hash = r->hash;
	page->rules_loaded_unix_ns = clock_real();
	page->nrules = r->n;
	for (unsigned i = 0; i < r->n; i++)
		memcpy(page->rules[i].name, r->rule[i].label, sizeof(page->rules[i].name));
}

void matcher_publish(const struct matcher *m, struct stats_page *page, bool loaded)
{
	const struct rules *r = m->rules;

	if (loaded) {
		/* odd while names and counters do not belong together */
		atomic_fetch_add_explicit(&page->rules_gen, 1, memory_order_acq_rel);
		publish_names(r, page);
	}
	for (unsigned i = 0; i < r->n; i++) {
		page->rules[i].packets = r->rule[i].packets;
		page->rules[i].bytes = r->rule[i].bytes;
	}
	if (loaded)
		atomic_fetch_add_explicit(&page->rules_gen, 1, memory_order_release);
	page->counter[STATS_ERRORS] = m->errors;
	page->counter[STATS_FLOWS] = m->flows ? flow_count(m->flows) : 0;
	page->counter[STATS_FLOWS_EVICTED] = m->flows ? flow_evicted(m->flows) : 0;
}

void matcher_renew(struct matcher *m, struct stats_page *page)
{
	bool good = matcher_reload(m);

	page->counter[good ? STATS_RELOADS : STATS_RELOAD_ERRORS]++;
	if (!good) {
		log_error("rules: not reloaded: they have errors, the old ones stay");
		return;
	}
	matcher_publish(m, page, true);
	log_notice("rules: reloaded, %u in force", m->rules->n);
}
