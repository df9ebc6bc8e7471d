/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "metrics.h"

/* Latency buckets shown: 2^10 ns (1 us) to 2^33 ns (8.6 s) */
#define LE_FIRST	10u
#define LE_LAST		33u

struct prom {
	FILE *out;
	const struct survey *s;
	const char *chain;
};

/* A page's strings are printable ASCII already. */
static void put_escaped(FILE *out, const char *s)
{
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			fputc('\\', out);
		fputc(*s, out);
	}
}

static void put_head(const struct prom *p, const char *name, const char *type, const char *help)
{
	fprintf(p->out, "# HELP gw_%s %s\n# TYPE gw_%s %s\n", name, help, name, type);
}

/* name{chain="...",stage="...",name="..." and what follows; @label may be NULL */
static void put_name(const struct prom *p, const char *name, const struct survey_stage *st,
		     const char *label, const char *value)
{
	size_t prog = strcspn(st->file, ":");

	fprintf(p->out, "gw_%s{chain=\"%s\",stage=\"%.*s\",name=\"%s\"", name, p->chain,
		(int)prog, st->file, st->file[prog] ? st->file + prog + 1 : "");
	if (label && value) {
		fprintf(p->out, ",%s=\"", label);
		put_escaped(p->out, value);
		fputc('"', p->out);
	}
	fputs("} ", p->out);
}

static void put_u64(const struct prom *p, const char *name, const struct survey_stage *st,
		    const char *label, const char *value, uint64_t n)
{
	put_name(p, name, st, label, value);
	fprintf(p->out, "%llu\n", (unsigned long long)n);
}

static void put_double(const struct prom *p, const char *name, const struct survey_stage *st,
		       double v)
{
	put_name(p, name, st, NULL, NULL);
	fprintf(p->out, "%.15g\n", v);
}

/* Of a time since 1970; a double holds milliseconds of it */
static double seconds(uint64_t ns)
{
	return (double)(ns / 1000000) / 1e3;
}

/* Next stage whose page is there; @i is advanced */
static const struct survey_stage *next(const struct prom *p, unsigned *i)
{
	while (*i < p->s->nstages) {
		const struct survey_stage *st = p->s->stage[(*i)++];

		if (!st->gone)
			return st;
	}
	return NULL;
}

static void put_life(const struct prom *p)
{
	const struct survey_stage *st;

	put_head(p, "up", "gauge", "1 while the stage lives");
	for (unsigned i = 0; (st = next(p, &i));)
		put_u64(p, "up", st, NULL, NULL, st->alive);
	put_head(p, "ok", "gauge", "1 while nothing is wrong with the stage");
	for (unsigned i = 0; (st = next(p, &i));)
		put_u64(p, "ok", st, NULL, NULL, !st->why[0]);
	put_head(p, "heartbeat_age_seconds", "gauge", "time since the stage's loop turned");
	for (unsigned i = 0; (st = next(p, &i));) {
		uint64_t beat = st->page->heartbeat_ns;

		put_double(p, "heartbeat_age_seconds", st,
			   beat < p->s->now_ns ? (double)(p->s->now_ns - beat) / 1e9 : 0);
	}
	put_head(p, "start_time_seconds", "gauge", "start of the stage, seconds since 1970");
	for (unsigned i = 0; (st = next(p, &i));)
		put_double(p, "start_time_seconds", st, seconds(st->page->unix_start_ns));
	put_head(p, "rules_loaded_time_seconds", "gauge",
		 "last good load of the rules, seconds since 1970");
	for (unsigned i = 0; (st = next(p, &i));)
		if (st->page->rules_loaded_unix_ns)
			put_double(p, "rules_loaded_time_seconds", st,
				   seconds(st->page->rules_loaded_unix_ns));
}

static void put_counters(const struct prom *p)
{
	const struct survey_stage *st;
	char name[96];

	for (unsigned c = 0; c < STATS_NUM; c++) {
		bool gauge = c == STATS_FLOWS;

		snprintf(name, sizeof(name), "%s%s", stats_counter_name(c), gauge ? "" : "_total");
		put_head(p, name, gauge ? "gauge" : "counter", stats_counter_text(c));
		for (unsigned i = 0; (st = next(p, &i));)
			put_u64(p, name, st, NULL, NULL, st->page->counter[c]);
	}
}

static void put_drops(const struct prom *p)
{
	const struct survey_stage *st;

	put_head(p, "drops_total", "counter", "packets dropped, by reason");
	for (unsigned i = 0; (st = next(p, &i));)
		for (unsigned r = REASON_NONE + 1; r < REASON_NUM; r++)
			if (st->page->drop[r])
				put_u64(p, "drops_total", st, "reason", reason_name(r),
					st->page->drop[r]);
}

static void put_rules(const struct prom *p)
{
	const struct survey_stage *st;

	put_head(p, "rule_packets_total", "counter", "packets a rule matched");
	for (unsigned i = 0; (st = next(p, &i));)
		for (uint32_t r = 0; r < st->page->nrules; r++)
			put_u64(p, "rule_packets_total", st, "rule", st->page->rules[r].name,
				st->page->rules[r].packets);
	put_head(p, "rule_bytes_total", "counter", "bytes of packets a rule matched");
	for (unsigned i = 0; (st = next(p, &i));)
		for (uint32_t r = 0; r < st->page->nrules; r++)
			put_u64(p, "rule_bytes_total", st, "rule", st->page->rules[r].name,
				st->page->rules[r].bytes);
}

/* The page counts per power of two; the sum is estimated from their middles. */
static void put_histogram(const struct prom *p, const struct survey_stage *st)
{
	uint64_t total = 0;
	double sum = 0;
	char le[32];

	for (unsigned i = 0; i < STATS_LATENCY; i++) {
		uint64_t n = st->page->latency[i];

		total += n;
		sum += (double)n * 0.75 * (double)(1ull << i) / 1e9;
		if (i < LE_FIRST || i > LE_LAST)
			continue;
		snprintf(le, sizeof(le), "%.9g", (double)(1ull << i) / 1e9);
		put_u64(p, "latency_seconds_bucket", st, "le", le, total);
	}
	put_u64(p, "latency_seconds_bucket", st, "le", "+Inf", total);
	put_double(p, "latency_seconds_sum", st, sum);
	put_u64(p, "latency_seconds_count", st, NULL, NULL, total);
}

void metrics_prometheus(FILE *out, const struct survey *s, const char *chain,
			const struct verdict *v)
{
	const struct prom p = { out, s, chain };
	const struct survey_stage *st;

	put_head(&p, "healthy", "gauge", "1 while health checks are answered with 200");
	fprintf(out, "gw_healthy{chain=\"%s\"} %d\n", chain, v->healthy);
	put_life(&p);
	put_counters(&p);
	put_drops(&p);
	put_rules(&p);
	put_head(&p, "latency_seconds", "histogram", "time from capture to this stage's output");
	for (unsigned i = 0; (st = next(&p, &i));)
		put_histogram(&p, st);
}
