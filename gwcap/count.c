/* SPDX-License-Identifier: MIT */
#include "count.h"
#include "wire.h"

/* The input's functions are called by its own address, so its state stays its own. */
static int count_take(struct rx *rx, struct frame **f, int max,
		      int (*take)(struct rx *rx, struct frame **f, int max))
{
	struct count *c = (struct count *)(uintptr_t)rx->ops;
	int n;

	if (!c->left)
		return RX_END;
	n = take(rx, f, (int)MIN((uint64_t)max, c->left));
	if (n > 0)
		c->left -= (uint64_t)n;
	return n;
}

static int count_recv(struct rx *rx, struct frame **f, int max)
{
	return count_take(rx, f, max, ((struct count *)(uintptr_t)rx->ops)->inner->recv);
}

static int count_fill(struct rx *rx, struct frame **f, int max)
{
	return count_take(rx, f, max, ((struct count *)(uintptr_t)rx->ops)->inner->fill);
}

void count_limit(struct count *c, struct rx *rx, uint64_t n)
{
	c->inner = rx->ops;
	c->ops = *rx->ops;
	c->ops.recv = count_recv;
	c->ops.fill = c->inner->fill ? count_fill : NULL;
	c->left = n;
	rx->ops = &c->ops;
}

_Static_assert(offsetof(struct count, ops) == 0, "count_recv() goes from ops to count");
