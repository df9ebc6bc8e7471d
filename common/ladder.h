/* SPDX-License-Identifier: MIT */
/*
 * ladder.h - Sorted numbers, and how many of them lie at or below another one
 *
 * A binary search that begins near its end: the span of the numbers is cut into four times
 * as many equal parts as there are numbers, and for each part it is known where it begins.
 * Numbers that are spread evenly are found in a step or two, all others in the steps of
 * a plain binary search.  A few are counted: they lie in one line of the cache.
 */
#ifndef GW_LADDER_H
#define GW_LADDER_H

#include <stddef.h>
#include <stdint.h>

#include "wire.h"

#define LADDER_FEW	8u

/**
 * struct ladder
 * @rung:	@n numbers, sorted, each once
 * @first:	Number of rungs below each part, and @n
 * @base:	The lowest rung
 * @shift:	Width of a part: a power of two
 * @last:	The highest part
 */
struct ladder {
	uint64_t *rung;
	uint32_t *first;
	uint64_t base;
	size_t n;
	uint32_t last;
	unsigned shift;
};

/**
 * ladder_make() - Sort numbers and make them a ladder; no memory: exits (set-up only)
 * @rung:	From malloc(); becomes the ladder's
 */
void ladder_make(struct ladder *l, uint64_t *rung, size_t n) __attribute__((nonnull));
void ladder_free(struct ladder *l) __attribute__((nonnull));

/**
 * ladder_find() - How many rungs are at or below @v
 */
static inline size_t ladder_find(const struct ladder *l, uint64_t v)
{
	const uint64_t *p;
	uint64_t part;
	size_t n;

	if (l->n <= LADDER_FEW) {
		for (size_t i = n = 0; i < l->n; i++)
			n += l->rung[i] <= v;
		return n;
	}
	if (v < l->base)
		return 0;
	part = MIN((v - l->base) >> l->shift, l->last);
	p = l->rung + l->first[part];
	n = l->first[part + 1] - l->first[part];
	while (n > 1) {
		size_t half = n / 2;

		p += p[half - 1] <= v ? half : 0;
		n -= half;
	}
	/* of an empty part, the next one's first rung: above @v, and the last is not empty */
	return (size_t)(p - l->rung) + (*p <= v);
}

#endif /* GW_LADDER_H */
