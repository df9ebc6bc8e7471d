/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "ladder.h"
#include "log.h"

static int cmp(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static size_t unique(uint64_t *v, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++)
		if (!kept || v[kept - 1] != v[i])
			v[kept++] = v[i];
	return kept;
}

void ladder_make(struct ladder *l, uint64_t *rung, size_t n)
{
	size_t parts = 1, i = 0;
	uint64_t span;

	*l = (struct ladder){ .rung = rung };
	qsort(rung, n, sizeof(*rung), cmp);
	l->n = n = unique(rung, n);
	if (!n)
		return;
	l->base = rung[0];
	span = rung[n - 1] - l->base;
	while (parts < 4 * n)
		parts *= 2;
	while (span >> l->shift >= parts)
		l->shift++;
	l->last = (uint32_t)(span >> l->shift);
	l->first = malloc((l->last + 2) * sizeof(*l->first));
	if (!l->first)
		die("no memory for %zu numbers", n);
	for (uint64_t part = 0; part <= l->last; part++) {
		while ((rung[i] - l->base) >> l->shift < part)
			i++;
		l->first[part] = (uint32_t)i;
	}
	l->first[l->last + 1] = (uint32_t)n;
}

void ladder_free(struct ladder *l)
{
	free(l->rung);
	free(l->first);
}
