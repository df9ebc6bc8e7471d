/* SPDX-License-Identifier: MIT */
/*
 * load.c - gwsim load: how much does this appliance carry?
 */
#include "load.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cell.h"
#include "gwsim.h"
#include "log.h"
#include "opt.h"
#include "wire.h"

#define TIME_MS		5000u
#define TIME_MAX_MS	600000u
#define WAIT_MS		10000u
#define FLOWS_MAX	65536u
#define LIVE_RATE	100000u	/* what a socket sends with little of a CPU */
#define TRIALS		8u	/* halvings of the span in which the rate is looked for */
#define TRIES	2u	/* of each */

enum { OPT_RATE = OPT_LONG, OPT_SIZE, OPT_FLOWS, OPT_TIME, OPT_COUNT, OPT_FIND_MAX,
       OPT_SEND, OPT_CPU, OPT_JSON, OPT_TSV, OPT_WAIT };

static const struct opt load_opts[] = {
	{ "appliance", 'a', "CMD", "run CMD by sh in a network namespace of its own, on eth0" },
	{ "target", 't', "ADDR", "or: load the appliance at this IPv4 address" },
	{ "interface", 'I', "IFACE", "with -t: the interface that it is reached by" },
	{ "rate", OPT_RATE, "PPS|max", "packets a second (10000)" },
	{ "size", OPT_SIZE, "BYTES", "of the inner packet (92)" },
	{ "flows", OPT_FLOWS, "N", "send in turn in N flows (64)" },
	{ "time", OPT_TIME, "TIME", "how long (5s); at most 10 minutes" },
	{ "count", OPT_COUNT, "N", "or: so many packets, within that time" },
	{ "find-max", OPT_FIND_MAX, "PERCENT",
	  "find the highest rate that loses no more than this" },
	{ "wait", OPT_WAIT, "TIME", "for the appliance to start (10s)" },
	{ "send", OPT_SEND, "HOW", "live: the kernel makes the packets; socket; or auto: live where\n"
	  "high rates need it and it is possible" },
	{ "cpu", OPT_CPU, "N", "run the generator, not the appliance, on this CPU" },
	{ "json", OPT_JSON, NULL, "print JSON" },
	{ "tsv", OPT_TSV, NULL, "print names and values, tab-separated" },
	{ 0 }
};

static double percent(const char *arg)
{
	char *end;
	double v = strtod(arg, &end);

	if (end == arg || (*end && strcmp(end, "%") != 0) || !(v >= 0 && v <= 100))
		die_usage("--find-max '%s': not a share in percent", arg);
	return v;
}

static enum load_send send_how(const char *arg)
{
	static const char *const how[] = { "auto", "live", "socket" };

	for (unsigned i = 0; i < ARRAY_SIZE(how); i++)
		if (!strcmp(arg, how[i]))
			return i;
	die_usage("--send '%s': not one of auto, live, socket", arg);
}

static void set(void *ctx, int ch, const char *arg)
{
	struct load_conf *c = ctx;

	switch (ch) {
	case 'a': c->appliance = arg; break;
	case 't': c->addr = arg; break;
	case 'I': c->iface = arg; break;
	case OPT_RATE:
		c->rate = strcmp(arg, "max") ? opt_u64("rate", arg, 1, 100000000) : 0;
		break;
	case OPT_SIZE:
		c->size = (unsigned)opt_u64("size", arg, LOAD_MIN_SIZE, SITE_MTU - 68);
		break;
	case OPT_FLOWS: c->flows = (unsigned)opt_u64("flows", arg, 1, FLOWS_MAX); break;
	case OPT_TIME: c->time_ms = (unsigned)opt_ms("time", arg, 1, TIME_MAX_MS); break;
	case OPT_COUNT: c->count = opt_u64("count", arg, 1, UINT32_MAX); break;
	case OPT_FIND_MAX: c->find_loss = percent(arg); break;
	case OPT_WAIT: c->wait_ms = (unsigned)opt_ms("wait", arg, 0, WAIT_MAX_MS); break;
	case OPT_SEND: c->send = send_how(arg); break;
	case OPT_CPU: c->cpu = (int)opt_u64("cpu", arg, 0, CPU_SETSIZE - 1); break;
	case OPT_JSON: c->form = LOAD_JSON; break;
	case OPT_TSV: c->form = LOAD_TSV; break;
	}
}

static void pin(int cpu)
{
	cpu_set_t set_of;

	if (cpu < 0)
		return;
	CPU_ZERO(&set_of);
	CPU_SET((unsigned)cpu, &set_of);
	if (sched_setaffinity(0, sizeof(set_of), &set_of) < 0)
		log_warn("cannot run on CPU %d: %m", cpu);
}

/* What the generator could not read proves nothing of a rate: it counts against it here */
static bool carried(const struct load_result *r, double percent_lost)
{
	double unread = (double)(r->sent - MIN(r->sent, r->received));

	return r->received && 100 * unread <= percent_lost * (double)r->sent;
}

/* Is a rate carried, at one of a few tries, as something else may have been at work at the
 * others?  false, too, if a signal ended it: then @going is set to false */
static bool holds(struct load *l, const struct load_conf *c, uint64_t rate, unsigned ms,
		  struct load_result *trial, bool *going)
{
	bool good = false;

	for (unsigned i = 0; i < TRIES && *going && !good; i++) {
		*going = load_run(l, rate, ms, 0, trial);
		good = carried(trial, c->find_loss);
		log_notice("%llu a second: loss %.4f %%", (unsigned long long)rate,
			   load_loss(trial));
	}
	return good;
}

/* Halve the span between a rate that loses too much and one that does not; @r becomes the
 * result at the highest rate that does not */
static bool find_max(struct load *l, const struct load_conf *c, struct load_result *r)
{
	struct load_result *trial = calloc(1, sizeof(*trial));
	unsigned ms = MAX(c->time_ms / (TRIALS + 1), 300u);
	uint64_t low = 0, high, mid;
	bool going;

	if (!trial)
		die("out of memory");
	going = load_run(l, 0, ms, 0, trial);
	high = (uint64_t)((double)trial->sent / trial->seconds);
	if (carried(trial, c->find_loss)) {
		*r = *trial;
		low = high;
	}
	for (unsigned i = 0; i < TRIALS && going && high - low > high / 100; i++) {
		mid = low + (high - low) / 2;
		if (holds(l, c, mid, ms, trial, &going)) {
			low = mid;
			*r = *trial;
		} else {
			high = mid;
		}
	}
	free(trial);
	return going;
}

/* false: packets cannot be made as was asked for */
static bool choose_send(struct load *l, const struct load_conf *c)
{
	const char *why = "the appliance is not our own";

	if (c->send == LOAD_SOCKET ||
	    (c->send == LOAD_AUTO && (!c->appliance || (c->find_loss < 0 && c->rate &&
							c->rate <= LIVE_RATE))))
		return true;
	errno = EOPNOTSUPP;
	if (c->appliance && load_go_live(l, &why))
		return true;
	if (c->send == LOAD_LIVE)
		log_error("--send live: %s: %m", why);
	else
		log_notice("packets are sent by a socket, and slowly: %s: %m", why);
	return c->send == LOAD_AUTO;
}

static int load_measure(struct target *t, const struct load_conf *c)
{
	struct load *l = load_new(t, c->flows, c->size);
	struct load_result *r = calloc(1, sizeof(*r));
	int status = EXIT_RUNTIME;
	bool whole = false;

	if (!r)
		die("out of memory");
	if (c->size + 68 > t->mtu) {
		log_error("%u bytes do not fit the MTU of %u", c->size, t->mtu);
	} else if (!choose_send(l, c)) {
		status = EXIT_RUNTIME;
	} else if (!load_wake(l, c->wait_ms)) {
		log_error(target_stopped(t) ? "stopped by a signal" :
			  "nothing comes back from the appliance");
	} else {
		whole = c->find_loss < 0 ? load_run(l, c->rate, c->time_ms, c->count, r)
					 : find_max(l, c, r);
		load_print(r, c->form);
		status = !log_stdout() && whole && r->received ? EXIT_SUCCESS : EXIT_RUNTIME;
	}
	load_free(l);
	free(r);
	return status;
}

static int load_inside(void *arg)
{
	const struct load_conf *c = arg;
	struct target t;
	int err, status;

	err = c->appliance ? target_run(&t, c->appliance, c->wait_ms)
			   : target_reach(&t, c->addr, c->iface);
	if (!err)
		pin(c->cpu);
	status = err ? EXIT_RUNTIME : load_measure(&t, c);
	target_close(&t);
	return status;
}

int gwsim_load(int argc, char **argv)
{
	struct load_conf c = { .rate = 10000, .size = 92, .flows = 64, .time_ms = TIME_MS,
			       .find_loss = -1, .cpu = -1, .wait_ms = WAIT_MS };
	struct opt_group groups[] = { { NULL, load_opts, set, &c }, { 0 } };
	int i = opt_parse("gwsim load", "-a CMD | -t ADDR -I IFACE [--rate PPS|max] [--size BYTES]",
			  "how much does this appliance carry?", groups, argc, argv);

	if (i < argc)
		die_usage("'%s': no operands here", argv[i]);
	if (!c.appliance == !c.addr || !c.addr != !c.iface)
		die_usage("give either --appliance, or -t and -I");
	return c.appliance ? cell_run(load_inside, &c) : load_inside(&c);
}
