/* SPDX-License-Identifier: MIT */
/*
 * gwmangle.c - Rewrite payloads and header fields by rule
 */
#include <stdlib.h>

#include "edit.h"
#include "log.h"
#include "reply.h"
#include "rules.h"
#include "stage.h"
#include "wire.h"

enum { MTU_DEFAULT = 8500, MTU_MIN4 = 68, MTU_MIN6 = 1280 };

/**
 * struct mangle - The program at work
 * @now:	Packet in hand, or NULL
 * @done:	What the edits of it did so far: enum edit_result
 * @end:	Its end before them
 */
struct mangle {
	struct stage *st;
	struct rules_conf conf;
	struct matcher m;
	struct editor *e;
	uint32_t mtu;
	struct frame *now;
	unsigned done;
	uint32_t end;
};

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

/* What its sender may send, so that it fits when it has grown as this packet did */
static uint32_t room_for_sender(const struct mangle *g, const struct packet *p)
{
	uint32_t least = p->version == 4 ? MTU_MIN4 : MTU_MIN6;
	uint32_t growth = p->end > g->end ? p->end - g->end : 0;

	return g->mtu > growth + least ? g->mtu - growth : least;
}

static void outgrown(struct mangle *g, struct frame *f)
{
	const uint8_t *ip = frame_data(f) + f->pkt.l3;
	uint32_t room = room_for_sender(g, &f->pkt);

	if (f->pkt.version == 4 && !(ip[6] & 0x40)) {
		f->marks |= FRAME_FRAGMENT;
		f->frag_mtu = (uint16_t)g->mtu;
		return;
	}
	if ((!g->e->kept_len || frame_set(f, g->e->kept, g->e->kept_len)) &&
	    reply_too_big(f, room))
		stage_reply(g->st, f, REASON_TOO_BIG);
	else
		frame_drop(f, REASON_TOO_BIG, 0);
}

/* All rules have seen the packet in hand */
static void settle(struct mangle *g)
{
	uint64_t *counter = g->st->stats.page->counter;
	struct frame *f = g->now;

	if (!f)
		return;
	g->now = NULL;
	counter[STATS_UNEDITED] += !!(g->done & EDIT_LEFT);
	if (!(g->done & EDIT_DONE))
		return;
	counter[STATS_EDITED]++;
	if (!f->verdict && f->pkt.end - f->pkt.l3 > g->mtu)
		outgrown(g, f);
}

static enum rules_next match(void *ctx, struct frame *f, struct rule *r, bool again)
{
	struct mangle *g = ctx;
	unsigned res;

	(void)again;	/* the matcher asks for what may be done again only */
	if (f != g->now) {
		settle(g);
		g->now = f;
		g->done = 0;
		g->end = f->pkt.end;
		g->e->kept_len = 0;
	}
	res = edit_apply(g->e, f, r);
	g->done |= res;
	if (res & EDIT_DONE && r->log)
		rule_log(&g->m, r, f, "edited");
	if (res & EDIT_ERROR) {
		g->m.errors++;
		if (g->m.rules->error_drop) {
			frame_drop(f, REASON_ON_ERROR, r->index);
			return RULES_STOP;
		}
	}
	return res & EDIT_DONE ? RULES_EDITED : RULES_NEXT;
}

static void burst(struct stage *st, struct frame **f, int n)
{
	struct mangle *g = st->ctx;
	const struct rules_sink sink = { .match = match, .ctx = g };

	g->m.now_ns = st->now_ns;
	rules_burst(&g->m, f, n, &sink);
	settle(g);
}

static void tick(struct stage *st)
{
	struct mangle *g = st->ctx;

	matcher_publish(&g->m, st->stats.page, false);
}

static void reload(struct stage *st)
{
	struct mangle *g = st->ctx;

	matcher_renew(&g->m, st->stats.page);
}

static void print(struct stage *st, struct frame *f, FILE *out)
{
	char line[160];

	(void)st;
	if (frame_parse(f))
		return;
	packet_describe(&f->pkt, frame_data(f), line, sizeof(line));
	fprintf(out, "#%llu %s%s%s\n", (unsigned long long)f->seq, line,
		f->marks & FRAME_CHANGED ? " edited" : "",
		f->marks & FRAME_FRAGMENT ? " to be fragmented" : "");
}

int main(int argc, char **argv)
{
	static const struct stage_ops ops = {
		.burst = burst, .tick = tick, .reload = reload, .print = print,
	};
	struct mangle g = { .conf = RULES_CONF_INIT(RULES_MANGLE), .mtu = MTU_DEFAULT };
	struct stage st = { .prog = "gwmangle", .ops = &ops, .ctx = &g, .flags = STAGE_INNER };
	int first;

	g.st = &st;
	g.conf.err = stderr;
	first = stage_options(&st, "[-i STREAM] [-o STREAM] [-f FILE] [-e RULE]",
			      "Rewrite payloads and header fields by rule.", options, set, argc, argv);
	if (first != argc)
		die_usage("unexpected argument '%s'", argv[first]);
	matcher_open(&g.m, &g.conf, rules_start(&g.conf));
	g.e = malloc(sizeof(*g.e));
	if (!g.e)
		die("no memory");
	g.e->m = &g.m;
	g.e->mtu = g.mtu;
	priv_no_new();
	stage_open(&st);
	matcher_publish(&g.m, st.stats.page, true);
	stage_confine(&st);
	first = stage_run(&st);
	matcher_close(&g.m);
	free(g.e);
	return first;
}
