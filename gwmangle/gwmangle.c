/* SPDX-License-Identifier: MIT */
/*
 * gwmangle - Rewrite payloads and header fields by rule
 */
#include "log.h"
#include "mangle.h"

enum { OPT_MTU = OPT_LONG };

static const struct opt options[] = {
	RULES_OPTIONS,
	{ "mtu", OPT_MTU, "BYTES", "longest packet that an edit may leave (default 8500)" },
	{ NULL, 0, NULL, NULL }
};

static void set(void *ctx, int ch, const char *arg)
{
	struct mangle *g = ctx;

	if (ch == OPT_MTU)
		g->mtu = (uint32_t)opt_u64("mtu", arg, MTU_MIN4, UINT16_MAX);
	else
		rules_option(&g->conf, ch, arg);
}

int main(int argc, char **argv)
{
	static struct mangle g = { .conf = RULES_CONF_INIT(RULES_MANGLE), .mtu = MTU_DEFAULT };
	static struct stage st = { .prog = "gwmangle", .ops = &mangle_ops, .ctx = &g,
				   .flags = STAGE_INNER | STAGE_EDITS };
	int first, status;

	g.conf.err = stderr;
	first = stage_options(&st, "[-i STREAM] [-o STREAM] [-f FILE] [-e RULE]",
			      "Rewrite payloads and header fields by rule.", options, set, argc, argv);
	if (first != argc)
		die_usage("unexpected argument '%s'", argv[first]);
	matcher_open(&g.m, &g.conf, rules_start(&g.conf));
	mangle_open(&g);
	priv_no_new();
	stage_open(&st);
	matcher_publish(&g.m, st.stats.page, true);
	stage_confine(&st);
	status = stage_run(&st);
	matcher_close(&g.m);
	mangle_close(&g);
	return status;
}
