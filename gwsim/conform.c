/* SPDX-License-Identifier: MIT */
/*
 * conform.c - gwsim conform: is this appliance fit for a gateway load balancer?
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cell.h"
#include "conform.h"
#include "gwsim.h"
#include "log.h"
#include "opt.h"

#define SNAP_ALLOW	65535
#define WAIT_MS		10000u
#define TIMEOUT_MS	700u
#define REVIVE_MS	3000u
#define CHECK_MS	2000u	/* for one health check */

enum { OPT_PROFILE = OPT_LONG, OPT_ALLOW, OPT_ONLY, OPT_SKIP, OPT_EXPECT, OPT_SEED,
       OPT_JUNIT, OPT_PCAP, OPT_STRICT, OPT_LIST, OPT_EXPLAIN, OPT_MDOC, OPT_HEALTH, OPT_WAIT,
       OPT_TIMEOUT };

static const struct opt conform_opts[] = {
	{ "appliance", 'a', "CMD", "run CMD by sh in a network namespace of its own, on eth0" },
	{ "target", 't', "ADDR", "or: test the appliance at this IPv4 address" },
	{ "interface", 'I', "IFACE", "with -t: the interface that it is reached by" },
	{ "profile", OPT_PROFILE, "echo|filter",
	  "echo (default): everything must come back; filter: it\n"
	  "may drop, but what comes back must be right" },
	{ "allow", OPT_ALLOW, "EXPR",
	  "profile filter: inner packets it must pass, pcap-filter(7)" },
	{ "health", OPT_HEALTH, "CHECK", "test its health check too: tcp:PORT or http:PORT/PATH" },
	{ "wait", OPT_WAIT, "TIME", "for it to start (10s)" },
	{ "timeout", OPT_TIMEOUT, "TIME",
	  "for a packet to come back (700ms); less when many do not" },
	{ "only", OPT_ONLY, "ID", "run this test; repeatable" },
	{ "skip", OPT_SKIP, "ID", "leave this test out; repeatable" },
	{ "expect", OPT_EXPECT, "FILE", "known results: lines of ID and pass, fail, skip or any" },
	{ "strict", OPT_STRICT, NULL, "failures of what is not documented count too" },
	{ "seed", OPT_SEED, "N", "for all that is random (1)" },
	{ "junit", OPT_JUNIT, "FILE", "write the results as JUnit XML too" },
	{ "pcap", OPT_PCAP, "DIR", "write the packets of failed tests there, with comments" },
	{ "list", OPT_LIST, NULL, "print the tests: id, level, provenance, title" },
	{ "explain", OPT_EXPLAIN, "ID", "print all about a test" },
	{ "mdoc", OPT_MDOC, NULL, "print gwsim-conformance(7)" },
	{ 0 }
};

static uint8_t *chosen_test(struct conform_conf *c, const char *id)
{
	for (unsigned i = 0; i < conform_ntests; i++)
		if (!strcmp(conform_tests[i].id, id))
			return &c->chosen[i];
	die_usage("no test has the id '%s'", id);
}

static void set_only(struct conform_conf *c, const char *id)
{
	if (!c->only)
		memset(c->chosen, 0, conform_ntests);
	c->only = true;
	*chosen_test(c, id) = 1;
}

static void set_profile(struct conform_conf *c, const char *arg)
{
	c->filter = !strcmp(arg, "filter");
	if (!c->filter && strcmp(arg, "echo") != 0)
		die_usage("--profile '%s': not echo or filter", arg);
}

static void set_allow(struct conform_conf *c, const char *arg)
{
	pcap_t *p = pcap_open_dead(DLT_RAW, SNAP_ALLOW);

	if (!p)
		die("out of memory");
	if (pcap_compile(p, &c->allow, arg, 1, PCAP_NETMASK_UNKNOWN) < 0)
		die_usage("--allow '%s': %s", arg, pcap_geterr(p));
	c->allow_set = true;
	pcap_close(p);
}

static void set_health(struct conform_conf *c, const char *arg)
{
	if (!health_parse(&c->health, arg))
		die_usage("--health: '%s' is not tcp:PORT or http:PORT/PATH", arg);
}

static void set(void *ctx, int ch, const char *arg)
{
	struct conform_conf *c = ctx;

	switch (ch) {
	case 'a': c->appliance = arg; break;
	case 't': c->addr = arg; break;
	case 'I': c->iface = arg; break;
	case OPT_PROFILE: set_profile(c, arg); break;
	case OPT_ALLOW: set_allow(c, arg); break;
	case OPT_HEALTH: set_health(c, arg); break;
	case OPT_WAIT: c->wait_ms = (unsigned)opt_ms("wait", arg, 0, WAIT_MAX_MS); break;
	case OPT_TIMEOUT: c->timeout_ms = (unsigned)opt_ms("timeout", arg, 0, WAIT_MAX_MS); break;
	case OPT_ONLY: set_only(c, arg); break;
	case OPT_SKIP: *chosen_test(c, arg) = 0; break;
	case OPT_EXPECT: c->expect = arg; break;
	case OPT_STRICT: c->strict = true; break;
	case OPT_SEED: c->seed = opt_u64("seed", arg, 0, UINT32_MAX); break;
	case OPT_JUNIT: c->junit = arg; break;
	case OPT_PCAP: c->pcap = arg; break;
	case OPT_LIST: doc_list(); exit(log_stdout());
	case OPT_EXPLAIN: exit(doc_explain(arg));
	case OPT_MDOC: doc_mdoc(); exit(log_stdout());
	}
}

/* What ends a run early; NULL: nothing */
static const char *bail_reason(struct suite *s, bool answers)
{
	if (target_stopped(&s->target))
		return "stopped by a signal";
	if (target_gone(&s->target))
		return "the appliance has ended";
	return answers || s->conf->filter ? NULL : "the appliance does not answer";
}

/* Returns what ended the run early */
static const char *run_tests(struct suite *s, struct report *r)
{
	bool answers = suite_wake(s, s->conf->wait_ms);
	const char *bail = target_stopped(&s->target) ? "stopped by a signal" : NULL;

	for (unsigned i = 0; i < conform_ntests && !bail; i++) {
		if (!s->conf->chosen[i])
			continue;
		suite_probes(s, &conform_tests[i]);
		report_test(r, s, &conform_tests[i]);
		if (s->fail & DEV_DEAD)
			answers = suite_wake(s, REVIVE_MS);
		bail = bail_reason(s, answers);
	}
	/* Of a filter, single tests may be silent, but not all of them */
	return bail || s->heard ? bail : "nothing came back";
}

static int conform_run(void *arg)
{
	const struct conform_conf *conf = arg;
	struct report *r = conf->report;
	const char *bail;
	struct suite s;
	int status;

	if (suite_open(&s, conf)) {
		suite_close(&s);
		return EXIT_RUNTIME;
	}
	report_plan(r);
	bail = run_tests(&s, r);
	if (bail)
		printf("Bail out! %s\n", bail);
	status = report_close(r);
	suite_close(&s);
	return bail ? EXIT_RUNTIME : status;
}

int gwsim_conform(int argc, char **argv)
{
	struct conform_conf conf = {
		.wait_ms = WAIT_MS, .timeout_ms = TIMEOUT_MS, .seed = 1,
		.health = { .timeout_ms = CHECK_MS, .up_after = 1, .down_after = 1 },
	};
	struct opt_group groups[] = { { NULL, conform_opts, set, &conf }, { 0 } };
	int i;

	conf.chosen = malloc(conform_ntests);
	if (!conf.chosen)
		die("out of memory");
	memset(conf.chosen, 1, conform_ntests);
	i = opt_parse("gwsim conform", "-a CMD | -t ADDR -I IFACE [--only ID]... [--strict]",
		      "is this appliance fit for a gateway load balancer?", groups, argc, argv);
	if (i < argc)
		die_usage("'%s': no operands here", argv[i]);
	if (!conf.appliance == !conf.addr || !conf.addr != !conf.iface)
		die_usage("give either --appliance, or -t and -I");
	conf.report = report_open(&conf);
	i = conf.appliance ? cell_run(conform_run, &conf) : conform_run(&conf);
	report_free(conf.report);
	free(conf.chosen);
	pcap_freecode(&conf.allow);
	return i;
}
