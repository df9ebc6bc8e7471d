/* SPDX-License-Identifier: MIT */
/*
 * fuzz_policy.c - Any text as rules for TLS; any bytes as a client's first
 *
 * First byte: bit 0 tells which of both.  Rules that load print rules that print the same.
 */
#include <stdlib.h>
#include <string.h>

#include "../gwproxy/policy.h"
#include "../gwproxy/sniff.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *print(const struct policy *p, size_t *len)
{
	char *text;
	FILE *f = open_memstream(&text, len);

	if (!f)
		abort();
	policy_print(p, f);
	fclose(f);
	return text;
}

static void rules(const char *text, size_t len)
{
	struct policy *p = policy_parse("fuzz", text, len, NULL), *again;
	char where[POLICY_WHERE], *once, *twice;
	size_t n, m;

	if (!p)
		return;
	for (unsigned w = 0; w < WHEN_NUM; w++)
		policy_ask(p, w, "a.b.example.com", where);
	once = print(p, &n);
	again = policy_parse("again", once, n, stderr);
	if (!again)
		abort();
	twice = print(again, &m);
	if (n != m || memcmp(once, twice, n))
		abort();
	policy_put(p);
	policy_put(again);
	free(once);
	free(twice);
}

/* What more bytes say never takes back what fewer said. */
static void bytes(const uint8_t *data, size_t size, bool tls, bool http)
{
	enum sniff_verdict all, part;
	struct hello h;
	size_t half = size / 2;
	uint8_t *exact = malloc(half ? half : 1);

	memcpy(exact, data, half);
	all = sniff(data, size, tls, http, &h);
	part = sniff(exact, half, tls, http, &h);
	if (part != SNIFF_MORE && part != all)
		abort();
	free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	if (data[0] & 1)
		rules((const char *)data + 1, size - 1);
	else
		bytes(data + 1, size - 1, data[0] & 2, data[0] & 4);
	return 0;
}
