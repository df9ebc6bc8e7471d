/* SPDX-License-Identifier: MIT */
/*
 * gwfilter - Pass, drop, reject or count packets by rule
 */
#include "filter.h"
#include "log.h"

static const struct opt options[] = {
	RULES_OPTIONS,
	{ NULL, 0, NULL, NULL }
};

static void set_option(void *ctx, int ch, const char *arg)
{
	rules_option(&((struct filter *)ctx)->conf, ch, arg);
}

/* What "count" counted: without gwhealth, nothing else tells it */
static void print_counts(const struct filter *flt, const struct stage *st)
{
	const struct rules *r = flt->m.rules;

	for (uint32_t i = 0; !st->conf.quiet && i < r->n; i++)
		if (r->rule[i].action == RULE_COUNT)
			fprintf(stderr, "%s%s%s: %s: %llu packets, %llu bytes\n", st->prog,
				st->conf.as ? ":" : "", st->stream.as, r->rule[i].label,
				(unsigned long long)r->rule[i].packets,
				(unsigned long long)r->rule[i].bytes);
}

int main(int argc, char **argv)
{
	static struct filter flt = { .conf = RULES_CONF_INIT(RULES_FILTER) };
	static struct stage st = { .prog = "gwfilter", .ops = &filter_ops, .ctx = &flt,
				   .flags = STAGE_INNER };
	int first, status;

	flt.conf.err = stderr;
	first = stage_options(&st, "[-f FILE]... [-e RULE]... [-n] [-i STREAM] [-o STREAM]",
			      "Pass, drop, reject or count packets by rule: gwrules(5).",
			      options, set_option, argc, argv);
	if (first != argc)
		die_usage("unexpected argument '%s': a rule is given with -e", argv[first]);
	matcher_open(&flt.m, &flt.conf, rules_start(&flt.conf));
	priv_no_new();
	stage_open(&st);
	flt.m.in_row = st.rx && st.rx->lasting;
	matcher_publish(&flt.m, st.stats.page, true);
	stage_confine(&st);
	status = stage_run(&st);
	print_counts(&flt, &st);
	matcher_close(&flt.m);
	return status;
}
