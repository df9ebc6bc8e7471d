/* SPDX-License-Identifier: MIT */
/*
 * page.h - What gwhealth sees of gwproxy: a page as those of stages (stats.h)
 *
 * Its heartbeat is that of the slowest loop.  Counters of packets stay 0: gwproxy counts
 * connections, each kind in a row of the page's rules; flows are the connections that are open.
 */
#ifndef GW_PAGE_H
#define GW_PAGE_H

#include "conf.h"
#include "priv.h"
#include "stats.h"

/**
 * struct page - @proxy: NULL: not watched
 */
struct page {
	struct stats stats;
	struct proxy *proxy;
	struct timer timer;
};

/**
 * page_open() - Make it, as long as we may; without it gwproxy works as well
 * @priv:	Whose it will be
 */
void page_open(struct page *g, const struct conf *c, struct proxy *p, const struct priv *priv)
	__attribute__((nonnull));

/**
 * page_start() - Keep it up to date, on the first worker's loop
 */
void page_start(struct page *g) __attribute__((nonnull));

/**
 * page_close() - It is gone: a successor may make its own
 */
void page_close(struct page *g) __attribute__((nonnull));

#endif /* GW_PAGE_H */
