/* SPDX-License-Identifier: MIT */
/*
 * fuzz_hello.c - hello_scan(): facts that can be, or nothing written; more bytes only make it
 * surer
 */
#include <stdlib.h>
#include <string.h>

#include "../gwproxy/hello.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum hello_verdict scan(struct hello *h, const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);
	enum hello_verdict r;

	if (!copy)
		abort();
	memcpy(copy, data, size);
	r = hello_scan(h, copy, size);
	free(copy);
	return r;
}

static void check(const struct hello *h)
{
	size_t at = 0;

	if (strnlen(h->sni, sizeof(h->sni)) == sizeof(h->sni) || h->sni[0] == '.')
		abort();
	for (const char *c = h->sni; *c; c++)
		if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789-_.", *c))
			abort();
	if (h->alpn_len > sizeof(h->alpn))
		abort();
	while (at < h->alpn_len && h->alpn[at])
		at += 1u + h->alpn[at];
	if (at != h->alpn_len || h->version_min > h->version_max || h->version_max > TLS1_3_VERSION)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hello h, untouched;
	enum hello_verdict r, before = HELLO_MORE;

	memset(&untouched, 0xa5, sizeof(untouched));
	h = untouched;
	r = scan(&h, data, size);
	if (r == HELLO_WHOLE)
		check(&h);
	else if (memcmp(&h, &untouched, sizeof(h)) != 0)
		abort();
	if (r == HELLO_MORE && size >= HELLO_MAX)
		abort();
	/* What was decided with fewer bytes stays decided */
	for (size_t n = 0; n < size; n += 1 + n / 8) {
		enum hello_verdict now = scan(&h, data, n);

		if (before != HELLO_MORE && now != before)
			abort();
		before = now;
	}
	if (before != HELLO_MORE && before != r)
		abort();
	return 0;
}
