/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "log.h"
#include "sim.h"

static json_t *num(uint64_t v)
{
	return json_integer((json_int_t)v);
}

static json_t *side_json(struct sim_side *s)
{
	port_losses(&s->port);
	return json_pack("{s:o, s:o, s:o, s:o}", "sent", num(s->sent), "ignored",
			 num(s->ignored), "delivered", num(s->delivered), "lost",
			 num(s->port.lost + s->port.no_room));
}

static json_t *endpoints_json(struct sim *s)
{
	json_t *all = json_array();

	for (unsigned i = 0; i < s->conf->endpoints; i++) {
		struct sim_endpoint *e = &s->endpoint[i];

		json_array_append_new(all, json_pack("{s:s, s:o, s:o}", "id", e->name,
			"client", side_json(&e->side[SIM_CLIENT]),
			"server", side_json(&e->side[SIM_SERVER])));
	}
	return all;
}

static json_t *appliances_json(struct sim *s)
{
	json_t *all = json_array();

	for (unsigned i = 0; i < s->conf->appliances; i++) {
		struct sim_target *t = &s->target[i];
		char addr[INET_ADDRSTRLEN];

		port_losses(&t->site.port);
		json_array_append_new(all, json_pack("{s:i, s:s, s:b, s:s, s:s, s:o, s:o, s:o, s:o}",
			"number", (int)i + 1,
			"address", inet_ntop(AF_INET, &t->site.addr, addr, sizeof(addr)),
			"running", !t->ended, "health", health_state_name(t->health.state),
			"reason", t->health.reason, "checks", num(t->health.checks),
			"sent", num(t->sent), "returned", num(t->returned),
			"lost", num(t->site.port.lost + t->site.port.no_room)));
	}
	return all;
}

static json_t *violations_json(const struct sim *s)
{
	json_t *all = json_object();

	for (unsigned i = 0; i < JUDGE_NUM; i++)
		if (s->judge.count[i])
			json_object_set_new(all, judge_name(i), num(s->judge.count[i]));
	return all;
}

static json_t *state_json(struct sim *s)
{
	const struct conn_stats *f = conn_stats(s->conns);

	return json_pack("{s:s, s:s, s:o, s:o, s:{s:i, s:o, s:o, s:o}, s:o}",
			 "id", s->id, "phase", s->phase, "endpoints", endpoints_json(s),
			 "appliances", appliances_json(s), "flows", "live", (int)f->live,
			 "created", num(f->created), "expired", num(f->expired), "evicted",
			 num(f->evicted), "violations", violations_json(s));
}

void status_write(struct sim *s)
{
	char tmp[PATH_MAX];
	static bool failed;		/* told once, not five times a second */
	json_t *state;
	bool bad;

	if (!s->conf->status)
		return;
	state = state_json(s);
	snprintf(tmp, sizeof(tmp), "%s.new", s->conf->status);
	/* Readers see the old state or the new one, never half of it */
	bad = !state || json_dump_file(state, tmp, JSON_INDENT(1)) || rename(tmp, s->conf->status);
	if (bad && !failed)
		log_error("%s: cannot be written: %m", s->conf->status);
	failed = bad;
	json_decref(state);
}

void status_dump(struct sim *s)
{
	json_t *state = state_json(s);

	if (state && !json_dumpf(state, stderr, JSON_INDENT(1)))
		fputc('\n', stderr);
	json_decref(state);
}

static void summary_violations(const struct judge *j)
{
	uint64_t total = judge_total(j);

	if (!total)
		log_notice("no violation");
	else
		log_warn("%" PRIu64 " violation%s", total, total == 1 ? "" : "s");
	for (unsigned i = 0; i < JUDGE_NUM; i++)
		if (j->count[i])
			log_warn("%" PRIu64 " %s: %s: first: %s", j->count[i], judge_name(i),
				 judge_text(i), j->example[i]);
}

void status_summary(struct sim *s)
{
	for (unsigned i = 0; !s->conf->quiet && i < s->conf->endpoints; i++) {
		const struct sim_side *c = &s->endpoint[i].side[SIM_CLIENT];
		const struct sim_side *v = &s->endpoint[i].side[SIM_SERVER];

		log_notice("%s: client sent %" PRIu64 ", got %" PRIu64 "; server sent %" PRIu64
			   ", got %" PRIu64, s->endpoint[i].name, c->sent, c->delivered, v->sent,
			   v->delivered);
	}
	for (unsigned i = 0; !s->conf->quiet && i < s->conf->appliances; i++) {
		const struct sim_target *t = &s->target[i];

		log_notice("appliance %u: was sent %" PRIu64 ", returned %" PRIu64 ", %s", i + 1,
			   t->sent, t->returned, health_state_name(t->health.state));
	}
	if (!s->conf->quiet || judge_total(&s->judge))
		summary_violations(&s->judge);
}
