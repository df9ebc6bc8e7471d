/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "opt.h"
#include "run_conf.h"
#include "wire.h"

#define FIRST_ENDPOINT	0x0a1b2c3d4e5f6071ull
#define TCP_IDLE_MS	350000u
#define OTHER_IDLE_MS	120000u
#define FLOWS		65536u

enum {
	OPT_SERVER_WAIT = OPT_LONG, OPT_ENDPOINT, OPT_AT, OPT_IN, OPT_HEALTH, OPT_INTERVAL,
	OPT_TIMEOUT, OPT_UP, OPT_DOWN, OPT_REBALANCE, OPT_STICKINESS, OPT_TCP_IDLE, OPT_SCALE,
	OPT_FLOWS, OPT_STRICT, OPT_STATUS, OPT_WAIT, OPT_GRACE
};

static const struct opt run_opts[] = {
	{ "appliance", 'a', "CMD", "run this by sh -c as an appliance, on its eth0\n"
				   "(repeatable: several appliances)" },
	{ "server", 's', "CMD", "run this in the server's place (repeatable)" },
	{ "server-wait", OPT_SERVER_WAIT, "PORT", "wait until the server listens on this TCP or\n"
						  "UDP port (repeatable)" },
	{ "endpoint", OPT_ENDPOINT, "ID,...", "endpoints: vpce-0 and 16 hex digits; each has a\n"
					      "client and a server, all with the same addresses" },
	{ "at", OPT_AT, "ID", "run the command at this endpoint (default: the first)" },
	{ "in", OPT_IN, "PLACE", "run the command in client (default), server,\n"
				 "appliance or applianceN" },
	{ "health", OPT_HEALTH, "CHECK", "check appliances by tcp:PORT or http:PORT/PATH" },
	{ "health-interval", OPT_INTERVAL, "TIME", "between checks (default 10s)" },
	{ "health-timeout", OPT_TIMEOUT, "TIME", "for one check (default 5s)" },
	{ "healthy-after", OPT_UP, "N", "successes in a row (default 5)" },
	{ "unhealthy-after", OPT_DOWN, "N", "failures in a row (default 2)" },
	{ "rebalance", OPT_REBALANCE, NULL, "move flows away from an unhealthy appliance" },
	{ "stickiness", OPT_STICKINESS, "5|3|2", "what makes a flow: the 5-tuple (default), addresses\n"
						 "and protocol, or addresses" },
	{ "tcp-idle", OPT_TCP_IDLE, "TIME", "idle timeout of TCP flows (default 350s)" },
	{ "timeout-scale", OPT_SCALE, "X", "multiply all idle timeouts by this (default 1)" },
	{ "flows", OPT_FLOWS, "N", "size of the flow table (default 65536)" },
	{ "strict-judge", OPT_STRICT, NULL, "exit with status 3 after any violation" },
	{ "status", OPT_STATUS, "FILE", "keep the state in this file, as JSON" },
	{ "wait", OPT_WAIT, "TIME", "start the command after this time even if something\n"
				    "is not ready (default 10s)" },
	{ "grace", OPT_GRACE, "TIME", "what appliances have to end after SIGTERM (default 3s)" },
	{ "quiet", 'q', NULL, "no summary, unless there are violations" },
	{ NULL, 0, NULL, NULL }
};

struct parse {
	struct sim_conf *c;
	const char *at;
	double scale;
};

bool sim_role_parse(const char *text, enum sim_role *role, uint32_t *n)
{
	const char *number = text + strlen("appliance");

	*n = 0;
	if (!strcmp(text, "client"))
		*role = SIM_CLIENT;
	else if (!strcmp(text, "server"))
		*role = SIM_SERVER;
	else if (!strncmp(text, "appliance", strlen("appliance")))
		*role = SIM_APPLIANCE;
	else
		return false;
	if (*role != SIM_APPLIANCE || !*number)
		return true;
	if (!isdigit((unsigned char)*number) || strlen(number) > 2 || *number == '0')
		return false;
	*n = (uint32_t)atoi(number) - 1;
	return !number[strspn(number, "0123456789")];
}

static uint64_t endpoint_id(const char *text, size_t len)
{
	char hex[17] = "";

	if (len == 22 && !strncmp(text, "vpce-0", 6))
		memcpy(hex, text + 6, 16);
	if (strspn(hex, "0123456789abcdef") != 16)
		die_usage("--endpoint: '%.*s' is not vpce-0 and 16 hex digits", (int)len, text);
	return strtoull(hex, NULL, 16);
}

static void add_endpoint(struct sim_conf *c, uint64_t id)
{
	if (c->endpoints == SIM_ENDPOINTS)
		die_usage("--endpoint: at most %u endpoints", SIM_ENDPOINTS);
	for (unsigned i = 0; i < c->endpoints; i++)
		if (c->endpoint[i] == id)
			die_usage("--endpoint: vpce-0%016" PRIx64 " is given twice", id);
	c->endpoint[c->endpoints++] = id;
}

static void add_endpoints(struct sim_conf *c, const char *list)
{
	for (size_t len; ; list += len + 1) {
		len = strcspn(list, ",");
		add_endpoint(c, endpoint_id(list, len));
		if (!list[len])
			return;
	}
}

static void add_command(const char *opt, const char **list, unsigned *n, unsigned max,
			const char *cmd)
{
	if (*n == max)
		die_usage("--%s: at most %u", opt, max);
	list[(*n)++] = cmd;
}

static void add_server_port(struct sim_conf *c, const char *arg)
{
	if (c->server_ports == SIM_SERVERS)
		die_usage("--server-wait: at most %u", SIM_SERVERS);
	c->server_port[c->server_ports++] =
		(uint16_t)opt_u64("server-wait", arg, 1, UINT16_MAX);
}

static void set_scale(struct parse *p, const char *arg)
{
	char *end;

	p->scale = strtod(arg, &end);
	if (end == arg || *end || !(p->scale > 0 && p->scale <= 1000))
		die_usage("--timeout-scale: '%s' is not a number above 0, up to 1000", arg);
}

static void set_stickiness(struct sim_conf *c, const char *arg)
{
	c->flows.tuple = (unsigned)opt_u64("stickiness", arg, 2, 5);
	if (c->flows.tuple == 4)
		die_usage("--stickiness: 5, 3 or 2");
}

/* false: not one of these */
static bool set_health(struct health_conf *h, int ch, const char *arg)
{
	switch (ch) {
	case OPT_HEALTH:
		if (!health_parse(h, arg))
			die_usage("--health: '%s' is not tcp:PORT or http:PORT/PATH", arg);
		return true;
	case OPT_INTERVAL:
		h->interval_ms = opt_ms("health-interval", arg, 0, OPT_MS_MAX);
		return true;
	case OPT_TIMEOUT:
		h->timeout_ms = opt_ms("health-timeout", arg, 0, OPT_MS_MAX);
		return true;
	case OPT_UP:
		h->up_after = (unsigned)opt_u64("healthy-after", arg, 1, 100);
		return true;
	case OPT_DOWN:
		h->down_after = (unsigned)opt_u64("unhealthy-after", arg, 1, 100);
		return true;
	default:
		return false;
	}
}

/* false: not one of these */
static bool set_flows(struct parse *p, int ch, const char *arg)
{
	struct sim_conf *c = p->c;

	switch (ch) {
	case OPT_REBALANCE:
		c->rebalance = true;
		return true;
	case OPT_STICKINESS:
		set_stickiness(c, arg);
		return true;
	case OPT_TCP_IDLE:
		c->flows.tcp_ms = opt_ms("tcp-idle", arg, 0, OPT_MS_MAX);
		return true;
	case OPT_SCALE:
		set_scale(p, arg);
		return true;
	case OPT_FLOWS:
		c->flows.max = (uint32_t)opt_u64("flows", arg, 1, 1u << 24);
		return true;
	default:
		return false;
	}
}

static void set_place(struct sim_conf *c, const char *arg)
{
	if (!sim_role_parse(arg, &c->in, &c->in_appliance))
		die_usage("--in: '%s' is not client, server, appliance or applianceN", arg);
}

static void run_set(void *ctx, int ch, const char *arg)
{
	struct parse *p = ctx;
	struct sim_conf *c = p->c;

	if (set_health(&c->health, ch, arg) || set_flows(p, ch, arg))
		return;
	switch (ch) {
	case 'a':
		add_command("appliance", c->appliance, &c->appliances, SIM_APPLIANCES, arg);
		break;
	case 's':
		add_command("server", c->server, &c->servers, SIM_SERVERS, arg);
		break;
	case OPT_SERVER_WAIT:
		add_server_port(c, arg);
		break;
	case OPT_ENDPOINT:
		add_endpoints(c, arg);
		break;
	case OPT_AT:
		p->at = arg;
		break;
	case OPT_IN:
		set_place(c, arg);
		break;
	case OPT_STRICT:
		c->strict = true;
		break;
	case OPT_STATUS:
		c->status = arg;
		break;
	case OPT_WAIT:
		c->wait_ms = opt_ms("wait", arg, 0, OPT_MS_MAX);
		break;
	case OPT_GRACE:
		c->grace_ms = opt_ms("grace", arg, 0, OPT_MS_MAX);
		break;
	case 'q':
		c->quiet = true;
		break;
	}
}

static unsigned endpoint_index(const struct sim_conf *c, const char *name)
{
	uint64_t id = endpoint_id(name, strlen(name));

	for (unsigned i = 0; i < c->endpoints; i++)
		if (c->endpoint[i] == id)
			return i;
	die_usage("--at: %s is not one of --endpoint", name);
}

static void finish(struct parse *p)
{
	struct sim_conf *c = p->c;

	if (!c->appliances)
		die_usage("no --appliance");
	if (!c->endpoints)
		add_endpoint(c, FIRST_ENDPOINT);
	if (p->at)
		c->at = endpoint_index(c, p->at);
	if (c->in == SIM_APPLIANCE && c->in_appliance >= c->appliances)
		die_usage("--in: there %s only %u appliance%s", c->appliances > 1 ? "are" : "is",
			  c->appliances, c->appliances > 1 ? "s" : "");
	c->flows.tcp_ms = (uint64_t)((double)c->flows.tcp_ms * p->scale);
	c->flows.other_ms = (uint64_t)((double)c->flows.other_ms * p->scale);
}

void run_conf(struct sim_conf *c, int argc, char **argv)
{
	struct parse p = { .c = c, .scale = 1 };
	const struct opt_group groups[] = {
		{ NULL, run_opts, run_set, &p }, { NULL, NULL, NULL, NULL }
	};
	int i;

	*c = (struct sim_conf){
		.health = { .interval_ms = 10000, .timeout_ms = 5000, .up_after = 5,
			    .down_after = 2 },
		.flows = { .max = FLOWS, .tuple = 5, .tcp_ms = TCP_IDLE_MS,
			   .other_ms = OTHER_IDLE_MS },
		.wait_ms = 10000,
		.grace_ms = 3000,
	};
	i = opt_parse("gwsim run", "-a CMD [OPTIONS] -- COMMAND...",
		      "run a command in the client's place; what it sends to \"server\" passes through\n"
		      "an appliance, over Geneve, and what the appliance sends back is judged",
		      groups, argc, argv);
	if (i >= argc)
		die_usage("no command");
	c->command = argv + i;
	finish(&p);
}
