/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <stdlib.h>

#include "metrics.h"

static json_t *counters(const struct stats_page *p)
{
	json_t *o = json_object();

	for (unsigned c = 0; c < STATS_NUM; c++)
		json_object_set_new(o, stats_counter_name(c),
				    json_integer((json_int_t)p->counter[c]));
	return o;
}

static json_t *drops(const struct stats_page *p)
{
	json_t *o = json_object();

	for (unsigned r = REASON_NONE + 1; r < REASON_NUM; r++)
		if (p->drop[r])
			json_object_set_new(o, reason_name(r),
					    json_integer((json_int_t)p->drop[r]));
	return o;
}

static json_t *rules(const struct stats_page *p)
{
	json_t *a = json_array();

	for (uint32_t i = 0; i < p->nrules; i++)
		json_array_append_new(a, json_pack("{s:s, s:I, s:I}", "name", p->rules[i].name,
			"packets", (json_int_t)p->rules[i].packets,
			"bytes", (json_int_t)p->rules[i].bytes));
	return a;
}

/* [[upper bound in ns, packets], ...] without the empty ones */
static json_t *latency(const struct stats_page *p)
{
	json_t *a = json_array();

	for (unsigned i = 0; i < STATS_LATENCY - 1; i++)
		if (p->latency[i])
			json_array_append_new(a, json_pack("[I, I]", (json_int_t)(1ull << i),
							   (json_int_t)p->latency[i]));
	return a;
}

static json_t *readers(const struct survey *s, unsigned from)
{
	json_t *a = json_array();

	for (unsigned to = 0; to < s->nstages; to++)
		if (survey_edge(s, from, to))
			json_array_append_new(a, json_string(s->stage[to]->file));
	return a;
}

/* NULL: by none */
static const char *way(unsigned how)
{
	return how == STATS_RING ? "ring" : how == STATS_STREAM ? "stream" : NULL;
}

static json_t *stage(const struct survey *s, unsigned i)
{
	const struct survey_stage *st = s->stage[i];
	const struct stats_page *p = st->page;
	uint64_t beat = p->heartbeat_ns;
	char hash[24];

	snprintf(hash, sizeof(hash), "%016llx", (unsigned long long)p->rules_hash);
	return json_pack("{s:s, s:b, s:b, s:s, s:i, s:i, s:b, s:b, s:s, s:s, s:s?, s:s?,"
			 " s:f, s:f, s:f, s:s, s:o, s:o, s:o, s:o, s:o}",
		"stage", st->file, "alive", st->alive && !st->gone, "ok", !st->why[0],
		"why", st->why, "pid", (int)p->pid, "uid", (int)p->uid,
		"source", (int)(p->role & STATS_SOURCE), "sink", (int)(p->role & STATS_SINK),
		"in", p->in, "out", p->out, "in_way", way(p->in_way), "out_way", way(p->out_way),
		"heartbeat_age_s", beat < s->now_ns ? (double)(s->now_ns - beat) / 1e9 : 0.0,
		"started", (double)(p->unix_start_ns / 1000000) / 1e3,
		"rules_loaded", (double)(p->rules_loaded_unix_ns / 1000000) / 1e3,
		"rules_hash", hash, "readers", readers(s, i), "counters", counters(p),
		"drops", drops(p), "rules", rules(p), "latency_ns", latency(p));
}

char *metrics_json(const struct survey *s, const char *chain, const struct verdict *v)
{
	json_t *stages = json_array(), *top;
	char *text;

	for (unsigned i = 0; i < s->nstages; i++)
		json_array_append_new(stages, stage(s, i));
	top = json_pack("{s:s, s:s, s:b, s:s, s:o}", "chain", chain, "folder", s->dir,
			"healthy", v->healthy, "text", v->text, "stages", stages);
	text = json_dumps(top, JSON_INDENT(2));
	json_decref(top);
	return text;
}
