/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "find.h"
#include "wire.h"

#define BLOCK	16u
#define LONG	64u	/* from here on a bad pattern could cost: memmem() is linear */

typedef uint8_t block __attribute__((vector_size(BLOCK)));

static block load(const uint8_t *p)
{
	block b;

	memcpy(&b, p, sizeof(b));
	return b;
}

static block repeat(uint8_t byte)
{
	block b;

	memset(&b, byte, sizeof(b));
	return b;
}

/* First of eight places whose byte in @hits is set, and that really is one */
static const uint8_t *check(const uint8_t *at, uint64_t hits, const uint8_t *what, size_t n)
{
	while (hits) {
		unsigned i = (unsigned)__builtin_ctzll(hits) / 8;

		if (!memcmp(at + i, what, n))
			return at + i;
		hits &= ~(0xffull << 8 * i);
	}
	return NULL;
}

static const uint8_t *find_short(const uint8_t *in, size_t places, const uint8_t *what, size_t n)
{
	for (const uint8_t *end = in + places; in < end; in++)
		if (*in == *what && !memcmp(in, what, n))
			return in;
	return NULL;
}

const uint8_t *find_bytes(const uint8_t *in, size_t len, const uint8_t *what, size_t n)
{
	const block first = repeat(what[0]), last = repeat(what[n - 1]);
	size_t places = len - n + 1;

	if (n > len)
		return NULL;
	if (n > LONG)
		return memmem(in, len, what, n);
	if (places < BLOCK)
		return find_short(in, places, what, n);
	for (size_t i = 0;; i += BLOCK) {
		const uint8_t *at = in + MIN(i, places - BLOCK), *hit;	/* the last two may overlap */
		block both = (block)((load(at) == first) & (load(at + n - 1) == last));
		uint64_t half[2];

		memcpy(half, &both, sizeof(half));
		if (half[0] | half[1]) {
			hit = check(at, half[0], what, n);
			if (!hit)
				hit = check(at + 8, half[1], what, n);
			if (hit)
				return hit;
		}
		if (i + BLOCK >= places)
			return NULL;
	}
}
