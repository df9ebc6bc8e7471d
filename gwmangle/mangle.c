/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "mangle.h"
#include "reply.h"
#include "wire.h"

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

static enum rules_next mangle_match(void *ctx, struct frame *f, struct rule *r, bool again)
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

static void mangle_burst(struct stage *st, struct frame **f, int n)
{
	struct mangle *g = st->ctx;
	const struct rules_sink sink = { .match = mangle_match, .ctx = g };

	g->st = st;
	g->m.now_ns = st->now_ns;
	rules_burst(&g->m, f, n, &sink);
	settle(g);
}

static void mangle_tick(struct stage *st)
{
	struct mangle *g = st->ctx;

	matcher_publish(&g->m, st->stats.page, false);
}

static void mangle_reload(struct stage *st)
{
	struct mangle *g = st->ctx;

	matcher_renew(&g->m, st->stats.page);
}

static void mangle_print(struct stage *st, struct frame *f, FILE *out)
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

const struct stage_ops mangle_ops = {
	.burst = mangle_burst,
	.tick = mangle_tick,
	.reload = mangle_reload,
	.print = mangle_print,
};

void mangle_open(struct mangle *g)
{
	g->e = malloc(sizeof(*g->e));
	if (!g->e)
		die("no memory");
	g->e->m = &g->m;
	g->e->mtu = g->mtu;
}

void mangle_close(struct mangle *g)
{
	free(g->e);
}
