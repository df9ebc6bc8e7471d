/* SPDX-License-Identifier: MIT */
/*
 * fuzz_rules.c - Any text as rules; any packet under good ones
 *
 * First byte: bit 0 is the program, bits 1 to 7 the length of the packets' part at the
 * end, which is a run of packets, each behind two bytes of length.  What is between is
 * rules.  Rules that load print rules that print the same again.
 */
#include <stdlib.h>
#include <string.h>

#include "rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *print(const struct rules *r)
{
	size_t len;
	char *text;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		abort();
	rules_print(r, f);
	fclose(f);
	return text;
}

static enum rules_next match(void *ctx, struct frame *f, struct rule *r, bool again)
{
	(void)ctx;
	(void)f;
	return r->index & 1 || again ? RULES_STOP : RULES_NEXT;
}

static void one_packet(struct matcher *m, struct frame *f, const uint8_t *data, size_t len)
{
	const struct rules_sink sink = { .match = match };
	uint8_t *exact = malloc(len ? len : 1);

	memcpy(exact, data, len);
	frame_reset(f);
	f->linktype = LINKTYPE_RAW;
	f->off = frame_rel(f, exact);
	f->len = f->orig_len = (uint32_t)len;
	f->ts_ns = len * 1000000000u;
	rules_burst(m, &f, 1, &sink);
	free(exact);
}

static void packets(struct rules_conf *c, struct rules *r, const uint8_t *data, size_t size)
{
	static struct frame **pool;
	struct matcher m;

	if (!pool)
		pool = frame_pool_new(1, 4096);
	matcher_open(&m, c, r);
	while (size > 2) {
		size_t len = MIN(be16(data), size - 2);

		one_packet(&m, pool[0], data + 2, len);
		data += 2 + len;
		size -= 2 + len;
	}
	if (!matcher_reload(&m))
		abort();
	matcher_close(&m);
}

static void same_again(struct rules_conf c, const struct rules *r)
{
	char *once = print(r), *twice;
	struct rules *again;

	c.source[0].text = once;
	c.err = stderr;
	again = rules_load(&c);
	if (!again)
		abort();
	twice = print(again);
	if (strcmp(once, twice))
		abort();
	rules_free(again);
	free(once);
	free(twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rules_conf c = RULES_CONF_INIT(RULES_FILTER);
	struct rules *r;
	size_t tail;
	char *text;

	if (!size)
		return 0;
	c.kind = data[0] & 1 ? RULES_MANGLE : RULES_FILTER;
	c.flows = 16;
	tail = MIN((size_t)(data[0] >> 1) * 4, size - 1);
	text = strndup((const char *)data + 1, size - 1 - tail);
	/* no file of this machine is to be read */
	if (!text || (strstr(text, "table") && strchr(text, '"'))) {
		free(text);
		return 0;
	}
	c.source[c.nsources++].text = text;
	r = rules_load(&c);
	if (r) {
		same_again(c, r);
		packets(&c, r, data + size - tail, tail);
	}
	free(text);
	return 0;
}
