/* SPDX-License-Identifier: MIT */
#include <inttypes.h>

#include "filter.h"
#include "reply.h"

static const char *const did[] = {
	[RULE_PASS] = "passed", [RULE_DROP] = "dropped", [RULE_REJECT] = "rejected",
	[RULE_COUNT] = "counted",
};

static void reject(struct filter *flt, struct frame *f, bool both, enum reason reason,
		   uint32_t rule)
{
	if (reply_reject(f, both))
		stage_reply(flt->st, f, reason);
	else
		frame_drop(f, reason, rule);
}

static enum rules_next filter_match(void *ctx, struct frame *f, struct rule *r, bool again)
{
	struct filter *flt = ctx;

	if (r->log && !again)
		rule_log(&flt->m, r, f, did[r->action]);
	if (r->action == RULE_COUNT)
		return RULES_NEXT;
	if (r->action == RULE_DROP)
		frame_drop(f, REASON_RULE, r->index);
	if (r->action == RULE_REJECT)
		reject(flt, f, r->both, REASON_RULE, r->index);
	return RULES_STOP;
}

static void filter_end(void *ctx, struct frame *f)
{
	struct filter *flt = ctx;

	if (flt->m.rules->def == RULE_DROP)
		frame_drop(f, REASON_DEFAULT, 0);
	if (flt->m.rules->def == RULE_REJECT)
		reject(flt, f, false, REASON_DEFAULT, 0);
}

static void filter_burst(struct stage *st, struct frame **f, int n)
{
	struct filter *flt = st->ctx;
	const struct rules_sink sink = { .match = filter_match, .end = filter_end, .ctx = flt };

	flt->st = st;
	flt->m.now_ns = st->now_ns;
	rules_burst(&flt->m, f, n, &sink);
}

static void filter_tick(struct stage *st)
{
	matcher_publish(&((struct filter *)st->ctx)->m, st->stats.page, false);
}

static void filter_reload(struct stage *st)
{
	matcher_renew(&((struct filter *)st->ctx)->m, st->stats.page);
}

static void filter_print(struct stage *st, struct frame *f, FILE *out)
{
	char line[160];

	(void)st;
	if (frame_parse(f))
		snprintf(line, sizeof(line), "not IP len %u", f->len);
	else
		packet_describe(&f->pkt, frame_data(f), line, sizeof(line));
	fprintf(out, "%" PRIu64 ".%09" PRIu64 " #%" PRIu64 " %s\n", f->ts_ns / 1000000000u,
		f->ts_ns % 1000000000u, f->seq, line);
}

const struct stage_ops filter_ops = {
	.burst = filter_burst,
	.tick = filter_tick,
	.reload = filter_reload,
	.print = filter_print,
};
