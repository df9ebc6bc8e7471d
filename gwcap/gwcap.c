/* SPDX-License-Identifier: MIT */
/*
 * gwcap - Read packets from an interface (Geneve) or a file into the chain
 */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "count.h"
#include "fanout.h"
#include "geneve.h"
#include "ifacerx.h"
#include "log.h"
#include "stage.h"

enum { OPT_PEER = OPT_LONG, OPT_NO_DROP_RULE, OPT_FIX_OFFLOADS, OPT_WORKERS };

static const struct opt options[] = {
	{ "interface", 'I', "IFACE", "capture Geneve packets from this interface instead of -i" },
	{ "peer", OPT_PEER, "CIDR|auto", "take packets from these senders only (repeatable);\n"
	  "auto: the subnets of IFACE's own IPv4 addresses" },
	{ "count", 'c', "COUNT", "end after so many packets" },
	{ "buffer-size", 'B', "KIB", "size of the kernel's capture buffer (16384)" },
	{ "no-drop-rule", OPT_NO_DROP_RULE, NULL,
	  "do not keep the kernel from answering the packets" },
	{ "fix-offloads", OPT_FIX_OFFLOADS, NULL,
	  "switch off receive offloads that merge packets" },
	{ "workers", OPT_WORKERS, "N", "be one of N that share the interface's packets by flow" },
	{ NULL, 0, NULL, NULL }
};

struct conf {
	struct ifacerx_conf iface;
	struct count count;
	uint64_t max;		/* 0: no limit */
	const char *live;	/* an option that means nothing without -I */
};

static void set_peer(struct ifacerx_conf *c, const char *arg)
{
	int err;

	if (!strcmp(arg, "auto")) {
		c->peer_auto = true;
		return;
	}
	err = peers_add(&c->peers, arg);
	if (err == -ENOSPC)
		die_usage("--peer: more than %u prefixes", PEERS_MAX);
	if (err)
		die_usage("--peer: '%s' is neither an address, a prefix nor auto", arg);
}

static void set_option(void *ctx, int ch, const char *arg)
{
	struct conf *c = ctx;

	switch (ch) {
	case 'I':
		if (!*arg || strlen(arg) >= IFNAMSIZ)
			die_usage("--interface: '%s' is no name of an interface", arg);
		c->iface.name = arg;
		return;
	case 'c':
		c->max = opt_u64("count", arg, 1, UINT64_MAX);
		return;
	case 'B':
		c->iface.buffer = (size_t)opt_u64("buffer-size", arg, 64, 2097151) << 10;
		c->live = "--buffer-size";
		return;
	case OPT_PEER:
		set_peer(&c->iface, arg);
		c->live = "--peer";
		return;
	case OPT_NO_DROP_RULE:
		c->iface.drop_rule = false;
		c->live = "--no-drop-rule";
		return;
	case OPT_FIX_OFFLOADS:
		c->iface.fix_offloads = true;
		c->live = "--fix-offloads";
		return;
	case OPT_WORKERS:
		c->iface.workers = (unsigned)opt_u64("workers", arg, 1, FANOUT_MAX);
		c->live = "--workers";
		return;
	}
}

static void tick(struct stage *st)
{
	const struct conf *c = st->ctx;
	struct ifacerx_state s;

	if (!c->iface.name)
		return;
	ifacerx_tick(st->rx, &s);
	st->stats.page->counter[STATS_KERNEL_DROPS] = s.kernel_drops;
	st->stats.page->counter[STATS_IF_DROPS] = s.if_drops;
	stage_trouble(st, "%s", s.trouble);
}

static void print(struct stage *st, struct frame *f, FILE *out)
{
	char line[256] = "";
	enum reason why = frame_parse(f);
	struct encap e;

	(void)st;
	if (!why)
		packet_describe(&f->pkt, frame_data(f), line, sizeof(line));
	if (!why)
		why = encap_parse(&e, frame_data(f), f->len, f->linktype);
	fprintf(out, "%llu.%09llu #%llu %s", (unsigned long long)(f->ts_ns / 1000000000u),
		(unsigned long long)(f->ts_ns % 1000000000u), (unsigned long long)f->seq, line);
	if (why)
		fprintf(out, " (%s)\n", reason_name(why));
	else
		fprintf(out, " %s vpce-0%016llx\n", dialect_name(e.g.dialect),
			(unsigned long long)e.g.endpoint);
}

static const struct stage_ops ops = { .tick = tick, .print = print };

static void check(const struct stage *st, const struct conf *c, const char *operand)
{
	if (operand)
		die_usage("unexpected argument '%s': an interface is named by -I", operand);
	if (c->iface.name && st->conf.in)
		die_usage("-I and -i exclude each other: one input");
	if (c->live && !c->iface.name)
		die_usage("%s needs -I IFACE", c->live);
}

int main(int argc, char **argv)
{
	static struct conf c = { .iface.drop_rule = true };
	static struct stage st = {
		.prog = "gwcap", .ops = &ops, .ctx = &c,
		.flags = STAGE_SOURCE | STAGE_ONE_OUT,
	};
	int operand = stage_options(&st, "[-I IFACE | -i STREAM] [-o STREAM] [--peer CIDR|auto]",
				    "Read packets from an interface or a stream into a chain.",
				    options, set_option, argc, argv);

	check(&st, &c, argv[operand]);
	priv_no_new();
	if (c.iface.name)
		st.rx = ifacerx_open(&c.iface);
	stage_open(&st);
	if (c.max)
		count_limit(&c.count, st.rx, c.max);
	stage_confine(&st);
	return stage_run(&st);
}
