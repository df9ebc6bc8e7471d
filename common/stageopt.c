/* SPDX-License-Identifier: MIT */
/*
 * stageopt.c - The options all stages share
 */
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "stage.h"

#define DRAIN_MAX_MS	3600000u

enum {
	O_CHAIN = OPT_COMMON, O_AS, O_INPUTS, O_DRAIN, O_HWM, O_USER, O_LOG, O_READY, O_PRINT,
	O_NO_RING, O_SPIN
};

static const struct opt stream_opts[] = {
	{ "in", 'i', "STREAM", "read packets from -, a file, ipc://NAME, tcp://:PORT (default -)" },
	{ "out", 'o', "STREAM", "write packets there; several: spread by flow (default -)" },
	{ NULL, 0, NULL, NULL }
};

static const struct opt one_out_opts[] = {
	{ "in", 'i', "STREAM", "read packets from -, a file, ipc://NAME, tcp://:PORT (default -)" },
	{ "out", 'o', "STREAM", "write packets there (default -)" },
	{ NULL, 0, NULL, NULL }
};

static const struct opt print_opts[] = {
	{ "print", O_PRINT, NULL, "a line a packet: to stdout without -o, else to stderr" },
	{ NULL, 0, NULL, NULL }
};

static const struct opt stage_opts[] = {
	{ "quiet", 'q', NULL, "no summary at the end" },
	{ "chain", O_CHAIN, "NAME", "chain this stage belongs to (default $GW_CHAIN or 'default')" },
	{ "as", O_AS, "NAME", "this stage's own name, where a chain has two of a kind" },
	{ "inputs", O_INPUTS, "N", "end after N producers have ended (default 1)" },
	{ "drain-timeout", O_DRAIN, "TIME", "leave after so long when told to stop (default 5s)" },
	{ "hwm", O_HWM, "N", "ZeroMQ high-water mark, messages (default 4)" },
	{ "no-ring", O_NO_RING, NULL, "keep to streams between neighbours, share no memory" },
	{ "spin", O_SPIN, "US", "look for packets so many microseconds before sleeping (default 0)" },
	{ "user", O_USER, "NAME", "started as root, become this user (default gwtools or nobody)" },
	{ "ready-fd", O_READY, "N", "write a line to this descriptor when ready" },
	{ "log-level", O_LOG, "LEVEL", "error, warning, notice, info or debug (default notice)" },
	{ NULL, 0, NULL, NULL }
};

static const char *take_name(const char *opt, const char *name)
{
	if (!chain_name_ok(name))
		die_usage("--%s: '%s' is no name: 1 to 63 of A-Z a-z 0-9 _ . -, no dot in front",
			  opt, name);
	return name;
}

static void set_chain(struct stage *st, const char *name)
{
	strcpy(st->conf.chain, take_name("chain", name));
	st->conf.chain_given = true;
}

static void add_output(struct stage *st, const char *spec)
{
	if (st->conf.nout == STAGE_OUTPUTS_MAX)
		die_usage("more than %u outputs", STAGE_OUTPUTS_MAX);
	if (st->conf.nout && st->flags & STAGE_ONE_OUT)
		die_usage("one -o: flows are told apart behind gwdecap only");
	for (unsigned i = 0; i < st->conf.nout; i++)
		if (!strcmp(st->conf.out[i], spec))
			die_usage("-o %s: given twice", spec);
	st->conf.out[st->conf.nout++] = spec;
}

static void stage_set(void *ctx, int ch, const char *arg)
{
	struct stage *st = ctx;

	switch (ch) {
	case 'i': st->conf.in = arg; break;
	case 'o': add_output(st, arg); break;
	case 'q': st->conf.quiet = true; break;
	case O_PRINT: st->conf.print = true; break;
	case O_CHAIN: set_chain(st, arg); break;
	case O_AS: st->conf.as = take_name("as", arg); break;
	case O_INPUTS: st->conf.inputs = (unsigned)opt_u64("inputs", arg, 1, STREAM_INPUTS_MAX); break;
	case O_DRAIN:
		st->conf.drain_ms = MIN(opt_ms("drain-timeout", arg, 0, OPT_MS_MAX), DRAIN_MAX_MS);
		break;
	case O_NO_RING: st->conf.no_ring = true; break;
	case O_SPIN: st->conf.spin_ns = opt_u64("spin", arg, 0, 1000000) * 1000; break;
	case O_HWM: st->conf.hwm = (int)opt_u64("hwm", arg, 1, 1000000); break;
	case O_USER: st->conf.user = arg; break;
	case O_READY: st->conf.ready_fd = (int)opt_u64("ready-fd", arg, 0, 65535); break;
	case O_LOG: opt_log_level(arg); break;
	}
}

int stage_options(struct stage *st, const char *synopsis, const char *summary,
		  const struct opt *own, void (*set)(void *ctx, int ch, const char *arg),
		  int argc, char **argv)
{
	struct opt_group groups[5] = { { .opts = NULL } }, *g = groups;
	const char *env = getenv("GW_CHAIN");
	int first;

	st->conf.inputs = 1;
	st->conf.drain_ms = 5000;
	st->conf.hwm = 4;
	st->conf.ready_fd = -1;
	st->run_fd = -1;
	strcpy(st->conf.chain, "default");
	if (own)
		*g++ = (struct opt_group){ NULL, own, set, st->ctx };
	*g++ = (struct opt_group){ own ? "Every stage" : NULL,
				   st->flags & STAGE_ONE_OUT ? one_out_opts : stream_opts,
				   stage_set, st };
	if (st->ops->print)
		*g++ = (struct opt_group){ NULL, print_opts, stage_set, st };
	*g++ = (struct opt_group){ NULL, stage_opts, stage_set, st };
	log_open(st->prog);
	if (env && *env)
		set_chain(st, env);
	first = opt_parse(st->prog, synopsis, summary, groups, argc, argv);
	log_name(st->conf.as);
	return first;
}
