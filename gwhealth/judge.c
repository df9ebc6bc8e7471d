/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "judge.h"

#define SECOND_NS	1000000000u
#define STALLED_NS	(2 * (uint64_t)SECOND_NS)

typedef bool stage_set[SURVEY_STAGES_MAX];

/* What judge() finds out step by step */
struct court {
	struct survey *s;
	stage_set bad;		/* dead, stopped, in trouble, gone */
	stage_set fed;		/* reached from a live source, over good and bad stages */
	stage_set leads;	/* a sink is reached from it, over good and bad stages */
	stage_set way;		/* on an unbroken way of good stages */
	char text[JUDGE_TEXT_MAX];
	size_t len;
};

static void __attribute__((format(printf, 2, 3))) accuse(struct court *c, const char *fmt, ...)
{
	size_t room = sizeof(c->text) - c->len;
	va_list ap;
	int n;

	if (c->len)
		c->len += (size_t)snprintf(c->text + c->len, room, "; ");
	if (c->len >= sizeof(c->text)) {
		c->len = sizeof(c->text) - 1;
		return;
	}
	va_start(ap, fmt);
	n = vsnprintf(c->text + c->len, sizeof(c->text) - c->len, fmt, ap);
	va_end(ap);
	c->len += n > 0 ? (size_t)n : 0;
	if (c->len >= sizeof(c->text))
		c->len = sizeof(c->text) - 1;
}

static bool is_source(const struct survey_stage *st)
{
	return st->page->role & STATS_SOURCE;
}

static bool is_sink(const struct survey_stage *st)
{
	return st->page->role & STATS_SINK;
}

static bool is_beside(const struct survey_stage *st)
{
	return st->page->role & STATS_BESIDE;
}

/* Each stage by itself: is it there, does it turn, is it content? */
static void examine(struct court *c)
{
	const struct survey *s = c->s;

	for (unsigned i = 0; i < s->nstages; i++) {
		struct survey_stage *st = s->stage[i];
		uint64_t beat = st->page->heartbeat_ns;
		uint64_t age = beat < s->now_ns ? s->now_ns - beat : 0;

		st->why[0] = '\0';
		if (st->gone)
			snprintf(st->why, sizeof(st->why), "ended and is not back");
		else if (!st->alive)
			snprintf(st->why, sizeof(st->why), "died (pid %d)", st->page->pid);
		else if (age > STALLED_NS)
			snprintf(st->why, sizeof(st->why), "does not move (heartbeat %.1f s old)",
				 (double)age / SECOND_NS);
		else if (st->page->trouble[0])
			snprintf(st->why, sizeof(st->why), "is in trouble: %.*s",
				 (int)sizeof(st->page->trouble), st->page->trouble);
		c->bad[i] = st->why[0];
	}
}

/* Grow a set along the edges until it is stable. */
static void spread(const struct survey *s, bool *set, bool forward, const bool *barred)
{
	bool grew;

	do {
		grew = false;
		for (unsigned a = 0; a < s->nstages; a++) {
			for (unsigned b = 0; b < s->nstages; b++) {
				if (!survey_edge(s, a, b))
					continue;
				unsigned from = forward ? a : b, to = forward ? b : a;

				if (!set[from] || set[to] || (barred && barred[to]))
					continue;
				set[to] = grew = true;
			}
		}
	} while (grew);
}

static void find_ways(struct court *c)
{
	const struct survey *s = c->s;
	stage_set from_source = { false }, to_sink = { false };

	for (unsigned i = 0; i < s->nstages; i++) {
		const struct survey_stage *st = s->stage[i];

		c->fed[i] = !st->gone && st->alive && is_source(st);
		c->leads[i] = !st->gone && is_sink(st);
		from_source[i] = !c->bad[i] && is_source(st);
		to_sink[i] = !c->bad[i] && is_sink(st);
	}
	spread(s, c->fed, true, NULL);
	spread(s, c->leads, false, NULL);
	spread(s, from_source, true, c->bad);
	spread(s, to_sink, false, c->bad);
	for (unsigned i = 0; i < s->nstages; i++)
		c->way[i] = from_source[i] && to_sink[i];
}

/* Does a live stage take what the dead one took? */
static bool replaced(const struct court *c, unsigned dead)
{
	const char *in = c->s->stage[dead]->page->in;

	for (unsigned i = 0; i < c->s->nstages; i++)
		if (!c->bad[i] && strcmp(in, "-") && *in && !strcmp(c->s->stage[i]->page->in, in))
			return true;
	return false;
}

static bool expected(const struct expect *e, const struct survey_stage *st)
{
	size_t prog = strcspn(st->file, ":");

	for (unsigned i = 0; i < e->n; i++)
		if (!strcmp(e->name[i], st->file) ||
		    (strlen(e->name[i]) == prog && !strncmp(e->name[i], st->file, prog)))
			return true;
	return false;
}

/* Every live source has a way, and there is one */
static bool all_sources_have_ways(const struct court *c)
{
	unsigned n = 0;

	for (unsigned i = 0; i < c->s->nstages; i++) {
		const struct survey_stage *st = c->s->stage[i];

		if (st->gone || !st->alive || !is_source(st))
			continue;
		if (!c->way[i])
			return false;
		n++;
	}
	return n;
}

/* A bad stage matters if packets go through it, if flows are handed to it, if somebody expects
 * it, or if there is no way without it. */
static void accuse_bad(struct court *c, const struct expect *e, bool whole)
{
	for (unsigned i = 0; i < c->s->nstages; i++) {
		struct survey_stage *st = c->s->stage[i];
		bool between = ((c->fed[i] && c->leads[i]) || is_beside(st)) &&
			       !(!st->alive && replaced(c, i));

		if (!c->bad[i])
			continue;
		if (st->gone ? !whole && !expected(e, st)
			     : between || !whole || expected(e, st))
			accuse(c, "%s %s", st->file, st->why);
	}
}

static void accuse_missing(struct court *c, const struct expect *e)
{
	for (unsigned k = 0; k < e->n; k++) {
		struct expect one = { .n = 1 };
		bool seen = false, on_way = false;

		memcpy(one.name[0], e->name[k], sizeof(one.name[0]));
		for (unsigned i = 0; i < c->s->nstages; i++) {
			if (!expected(&one, c->s->stage[i]))
				continue;
			seen |= c->bad[i] || !c->s->stage[i]->gone;
			on_way |= c->way[i] || (is_beside(c->s->stage[i]) && !c->bad[i]);
		}
		if (!seen)
			accuse(c, "%s is not running", e->name[k]);
		else if (!on_way && !c->len)
			accuse(c, "%s is not on a way from a source to a sink", e->name[k]);
	}
}

/* No stage is bad, yet a way is missing: say where it ends. */
static void accuse_gap(struct court *c)
{
	const struct survey *s = c->s;
	unsigned sources = 0, sinks = 0;

	for (unsigned i = 0; i < s->nstages; i++) {
		const struct survey_stage *st = s->stage[i];
		bool any = false;

		if (c->bad[i])
			continue;
		sources += is_source(st);
		sinks += is_sink(st);
		for (unsigned r = 0; r < s->nstages; r++)
			any |= survey_edge(s, i, r);
		if (c->fed[i] && !any && !is_sink(st))
			accuse(c, "nobody takes what %s hands on", st->file);
	}
	if (!sources)
		accuse(c, "no source (gwcap) is running");
	else if (!sinks)
		accuse(c, "no sink (gwinject) is running");
	else if (!c->len)
		accuse(c, "no way from a source to a sink");
}

/* The packets that were in a stage's hands a second ago */
static uint64_t held(const struct survey *s, const struct survey_stage *st)
{
	const struct survey_sample *then = survey_before(s, st, SECOND_NS);
	uint64_t left = st->now.out + st->now.dropped;

	return then && then->in > left ? then->in - left : 0;
}

/* The packets that were on their way to a stage's readers a second ago */
static uint64_t underway(const struct survey *s, const struct survey_stage *st)
{
	const struct survey_sample *then = survey_before(s, st, SECOND_NS);
	int64_t d;

	if (!then || then->t_ns < st->settled_since_ns || st->settled == INT64_MAX || !st->readers)
		return 0;
	d = (int64_t)(then->out - st->now.arrived);
	return d > st->settled ? (uint64_t)(d - st->settled) : 0;
}

/* Of those that hold packets, name the last ones. */
static void accuse_stuck(struct court *c, uint64_t (*amount)(const struct survey *s,
			 const struct survey_stage *st), const char *does, const char *how)
{
	const struct survey *s = c->s;
	stage_set stuck = { false };

	for (unsigned i = 0; i < s->nstages; i++)
		stuck[i] = c->way[i] && amount(s, s->stage[i]);
	for (unsigned i = 0; i < s->nstages; i++) {
		stage_set behind = { false };
		bool last = true;

		if (!stuck[i])
			continue;
		behind[i] = true;
		spread(s, behind, true, NULL);
		for (unsigned k = 0; k < s->nstages; k++)
			last &= k == i || !behind[k] || !stuck[k];
		if (!last)
			continue;
		snprintf(s->stage[i]->why, sizeof(s->stage[i]->why), "%s %llu packets %s", does,
			 (unsigned long long)amount(s, s->stage[i]), how);
		accuse(c, "%s %s", s->stage[i]->file, s->stage[i]->why);
	}
}

/* A sink that sent nothing and dropped for want of something of ours */
static void accuse_failing(struct court *c)
{
	for (unsigned i = 0; i < c->s->nstages; i++) {
		struct survey_stage *st = c->s->stage[i];
		const struct survey_sample *then = survey_oldest(st);
		uint64_t faults = 0, most = 0;
		unsigned why = 0;

		if (!c->way[i] || !is_sink(st) || !then || st->now.out != then->out)
			continue;
		for (unsigned r = 0; r < REASON_NUM; r++) {
			uint64_t n = st->now.drop[r] - then->drop[r];

			if (reason_class(r) != REASON_CLASS_FAULT)
				continue;
			faults += n;
			if (n > most) {
				most = n;
				why = r;
			}
		}
		if (!faults)
			continue;
		snprintf(st->why, sizeof(st->why),
			 "sends nothing: %llu packets dropped, mostly as %s (%s)",
			 (unsigned long long)faults, reason_name(why), reason_text(why));
		accuse(c, "%s %s", st->file, st->why);
	}
}

/* Names the stages on the ways from sources to sinks, in the order packets take. */
static void praise(struct court *c)
{
	const struct survey *s = c->s;
	stage_set named = { false };
	bool more;

	accuse(c, "ok:");
	do {
		stage_set next = { false };

		more = false;
		for (unsigned i = 0; i < s->nstages; i++) {
			next[i] = c->way[i] && !named[i];
			for (unsigned w = 0; w < s->nstages; w++)
				next[i] &= !c->way[w] || named[w] || !survey_edge(s, w, i);
		}
		for (unsigned i = 0; i < s->nstages; i++) {
			if (!next[i] || c->len + 2 * STATS_NAME_MAX >= sizeof(c->text))
				continue;
			named[i] = more = true;
			c->len += (size_t)snprintf(c->text + c->len, sizeof(c->text) - c->len,
						   " %s", s->stage[i]->file);
		}
	} while (more);
}

static bool nothing_there(const struct survey *s)
{
	for (unsigned i = 0; i < s->nstages; i++)
		if (!s->stage[i]->gone)
			return false;
	return true;
}

void judge(struct survey *s, const struct expect *e, const char *chain, struct verdict *v)
{
	struct court c = { .s = s };
	bool whole;

	examine(&c);
	find_ways(&c);
	whole = all_sources_have_ways(&c);
	if (s->err && s->err != ENOENT) {
		accuse(&c, "cannot read %s: %s", s->dir, strerror(s->err));
	} else if (nothing_there(s)) {
		accuse(&c, "no chain '%s' in %s", chain, s->dir);
	} else {
		accuse_bad(&c, e, whole);
		accuse_missing(&c, e);
		if (!whole && !c.len)
			accuse_gap(&c);
	}
	if (!c.len)
		accuse_stuck(&c, held, "has held", "for more than a second");
	if (!c.len)
		accuse_stuck(&c, underway, "has handed on",
			     "that did not arrive within a second");
	if (!c.len)
		accuse_failing(&c);
	v->healthy = !c.len;
	if (v->healthy) {
		praise(&c);
		survey_forget_gone(s);
	}
	memcpy(v->text, c.text, sizeof(v->text));
}
