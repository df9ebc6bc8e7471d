/* SPDX-License-Identifier: MIT */
/*
 * fuzz_hrules.c - Any text as rules on HTTP; any body, in pieces, under good ones
 *
 * The first two bytes are a seed and how long the body at the end is, times 4.  What is
 * between is rules.  Rules that load print rules that print the same again.  A body that
 * comes in pieces becomes what it becomes as a whole.
 */
#include <stdlib.h>
#include <string.h>

#include "../gwproxy/hrules.h"
#include "wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct conn_facts conn = { .from_lb = true, .endpoint = 7, .sni = "a.example" };

static struct text text_of(const char *s)
{
	return (struct text){ s, strlen(s) };
}

static struct hrules *load(struct hrules_conf *c, const char *text)
{
	*c = (struct hrules_conf){ .nsources = 1, .source[0].text = text };
	return hrules_open(c);
}

static char *print(struct hrules *hr)
{
	size_t len;
	char *text;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		abort();
	hrules_print(hr, f);
	fclose(f);
	return text;
}

static void same_again(struct hrules *hr)
{
	char *once = print(hr), *twice;
	struct hrules_conf c;
	struct hrules *again = load(&c, once);

	if (!again)
		abort();
	twice = print(again);
	if (strcmp(once, twice))
		abort();
	hrules_close(again);
	free(once);
	free(twice);
}

/* Through a request, a response and a message; what comes out, or NULL if it was not passed */
struct run {
	struct exchange x;
	struct hrules *hr;
	char *out;
	size_t n, room;
};

static void keep(struct run *r, struct body *b)
{
	if (r->room - r->n < b->len) {
		r->room = 2 * (r->n + b->len);
		r->out = realloc(r->out, r->room);
	}
	if (b->len)
		memcpy(r->out + r->n, b->data, b->len);
	r->n += b->len;
	free(b->own);
}

static enum hook_verdict one_piece(struct run *r, unsigned point, struct body *b)
{
	if (point == 0)
		return hrules_ops.request_body(r->hr, 0, &r->x, b);
	if (point == 1)
		return hrules_ops.response_body(r->hr, 0, &r->x, b);
	return hrules_ops.ws_message(r->hr, 0, &r->x, point == 2, WS_TEXT, b);
}

static bool pieces(struct run *r, unsigned point, const uint8_t *data, size_t size, unsigned seed)
{
	struct body b;

	do {
		size_t len = seed ? (size_t)rand_r(&seed) % 8 : size;
		uint8_t *exact;

		len = MIN(len, size);
		exact = malloc(len + !len);
		memcpy(exact, data, len);
		b = (struct body){ .data = exact, .len = len, .last = len == size };
		data += len;
		size -= len;
		if (one_piece(r, point, &b) != HOOK_PASS) {
			free(b.own);
			free(exact);
			return false;
		}
		keep(r, &b);
		free(exact);
	} while (!b.last);
	return true;
}

static struct message *head(bool response)
{
	struct message *m = message_new();

	if (!m)
		abort();
	if (response) {
		message_set_status(m, 200, text_of("OK"));
	} else {
		message_set_method(m, text_of("POST"));
		message_set_scheme(m, text_of("https"));
		message_set_authority(m, text_of("a.example:8"));
		message_set_path(m, text_of("/a/b?q=1&r=%41+b&q="));
	}
	message_add(m, text_of("A"), text_of("a1 b"));
	message_add(m, text_of("Content-Type"), text_of("text/html; charset=utf-8"));
	message_add(m, text_of("a"), text_of("2"));
	return m;
}

/* False: an answer, a drop */
static bool run(struct run *r, struct hrules *hr, const uint8_t *data, size_t size, unsigned seed)
{
	bool good;

	*r = (struct run){ .x = { .conn = &conn }, .hr = hr };
	r->x.req = head(false);
	good = hrules_ops.request(hr, 0, &r->x) == HOOK_PASS && pieces(r, 0, data, size, seed);
	if (good) {
		r->x.resp = head(true);
		good = hrules_ops.response(hr, 0, &r->x) == HOOK_PASS;
	}
	for (unsigned point = 1; point < 4 && good; point++)
		good = pieces(r, point, data, size, seed);
	hrules_ops.exchange_end(hr, 0, &r->x);
	message_free(r->x.req);
	message_free(r->x.resp);
	message_free(r->x.answer);
	free((void *)(uintptr_t)r->x.answer_body.p);
	return good;
}

static void bodies(struct hrules *hr, const uint8_t *data, size_t size, unsigned seed)
{
	struct hrules_counts n;
	struct run whole, cut;
	bool good = run(&whole, hr, data, size, 0);

	if (run(&cut, hr, data, size, seed + 1) != good)
		abort();
	/* Where a limit was reached the two may differ */
	hrules_counts(hr, &n);
	if (good && !n.errors && !n.too_long &&
	    (whole.n != cut.n || (whole.n && memcmp(whole.out, cut.out, whole.n))))
		abort();
	free(whole.out);
	free(cut.out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hrules_conf c;
	struct hrules *hr;
	size_t tail;
	char *text;

	if (size < 2)
		return 0;
	tail = MIN((size_t)data[1] * 4, size - 2);
	text = strndup((const char *)data + 2, size - 2 - tail);
	if (!text)
		return 0;
	hr = load(&c, text);
	if (hr) {
		same_again(hr);
		bodies(hr, data + size - tail, tail, data[0]);
	}
	hrules_close(hr);
	free(text);
	return 0;
}
