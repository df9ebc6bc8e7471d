/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "log.h"
#include "page.h"

/* Names as those of rules */
static void fill_names(struct stats_page *s)
{
	static const char *const name[] = {
#define X(sym, text) [COUNT_##sym] = text,
		COUNT_LIST(X)
#undef X
	};

	for (unsigned i = 0; i < COUNT_NUM; i++) {
		snprintf(s->rules[i].name, sizeof(s->rules[i].name), "%s", name[i]);
		for (char *c = s->rules[i].name; (c = strpbrk(c, " -")); c++)
			*c = '-';
	}
	s->nrules = COUNT_NUM;
}

static void fill(struct page *g)
{
	struct stats_page *s = g->stats.page;
	uint64_t beat = UINT64_MAX, open = 0, bytes = 0;

	for (unsigned c = 0; c < COUNT_NUM; c++) {
		uint64_t n = 0;

		for (unsigned i = 0; i < g->proxy->nworkers; i++)
			n += atomic_load_explicit(&g->proxy->worker[i]->count[c], memory_order_relaxed);
		s->rules[c].packets = n;
	}
	for (unsigned i = 0; i < g->proxy->nworkers; i++) {
		struct worker *w = g->proxy->worker[i];
		uint64_t its = atomic_load_explicit(&w->beat_ns, memory_order_relaxed);

		beat = its < beat ? its : beat;
		open += atomic_load_explicit(&w->open, memory_order_relaxed);
		bytes += atomic_load_explicit(&w->bytes, memory_order_relaxed);
	}
	s->rules[COUNT_CLOSED].bytes = bytes;
	s->counter[STATS_FLOWS] = open;
	stats_beat(&g->stats, beat);
}

static void again(struct timer *t)
{
	struct page *g = (struct page *)(void *)((char *)t - offsetof(struct page, timer));
	struct loop *l = g->proxy->worker[0]->loop;

	if (!g->stats.page)
		return;
	fill(g);
	loop_timer(l, t, loop_now(l) + WORKER_PULSE_NS);
}

void page_open(struct page *g, const struct conf *c, struct proxy *p, const struct priv *priv)
{
	int dir = rundir_open(c->run_dir, priv), err;
	struct stats_page *s;

	err = dir < 0 ? dir : stats_open(&g->stats, dir, "gwproxy", NULL, NULL);
	if (err) {
		log_notice("%s: gwhealth will not see us: %s", c->run_dir, strerror(-err));
		if (dir >= 0)
			close(dir);
		return;
	}
	s = g->stats.page;
	if (priv->uid != (uid_t)-1) {
		s->uid = priv->uid;
		if (fchown(g->stats.fd, priv->uid, priv->gid))
			log_info("%s: %m", c->run_dir);
	}
	s->role = STATS_BESIDE;
	randombytes_buf(&s->nonce, sizeof(s->nonce));
	snprintf(s->chain, sizeof(s->chain), "%s", c->chain);
	snprintf(s->in, sizeof(s->in), "%.*s", (int)sizeof(s->in) - 1, c->tun);
	fill_names(s);
	g->proxy = p;
	p->watched = true;
}

void page_start(struct page *g)
{
	g->timer.fire = again;
	if (g->proxy)
		again(&g->timer);
}

void page_close(struct page *g)
{
	int dir = g->stats.dir_fd;

	if (!g->proxy || !g->stats.page)
		return;
	stats_close(&g->stats);
	close(dir);
}
