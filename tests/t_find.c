/* SPDX-License-Identifier: MIT */
/* find.h against memmem(3), on exact-size copies: a byte too far is seen by ASan */
#include <stdlib.h>
#include <string.h>

#include "find.h"
#include "tap.h"

static unsigned rounds, hits, wrong;

static void one(size_t len, size_t n, unsigned letters)
{
	uint8_t *in = malloc(len + 1), *what = malloc(n);
	const uint8_t *is;

	for (size_t i = 0; i < len; i++)
		in[i] = (uint8_t)(random() % letters);
	for (size_t i = 0; i < n; i++)
		what[i] = (uint8_t)(random() % letters);
	if (len > n && random() % 2)
		memcpy(in + (size_t)random() % (len - n + 1), what, n);
	memmove(in + 1, in, len);	/* odd addresses, and nothing behind them */
	is = find_bytes(in + 1, len, what, n);
	wrong += is != memmem(in + 1, len, what, n);
	hits += is != NULL;
	rounds++;
	free(in);
	free(what);
}

int main(void)
{
	static const unsigned letters[] = { 1, 2, 3, 255 };

	for (unsigned i = 0; i < 4; i++)
		for (size_t len = 0; len < 100; len++)
			for (size_t n = 1; n < 80; n++)
				one(len, n, letters[i]);
	for (unsigned i = 0; i < 2000; i++)
		one((size_t)random() % 3000, 1 + (size_t)random() % 70, 2 + i % 4);
	OK(!wrong, "%u of %u searches differ from memmem()", wrong, rounds);
	OK(hits > rounds / 8 && hits < rounds - rounds / 8, "%u find something", hits);
	return tap_done();
}
