/* SPDX-License-Identifier: MIT */
/*
 * fuzz_h1.c - HTTP/1.1 between two peers that say anything: what goes on to the server, llhttp
 * reads as the same number of requests as the hooks saw
 */
#include <stdio.h>

#include <llhttp.h>

#include "memleg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned begun;

static int on_complete(llhttp_t *l)
{
	(void)l;
	begun++;
	return 0;
}

/* What llhttp is stricter about than the standard is, or can't know */
static bool llhttp_own(llhttp_errno_t e)
{
	return e == HPE_INVALID_METHOD || e == HPE_INVALID_URL || e == HPE_PAUSED_UPGRADE ||
	       e == HPE_INVALID_CONSTANT || e == HPE_CLOSED_CONNECTION || e == HPE_INVALID_VERSION;
}

/* A second chunk extension behind one with a value: llhttp 8 looks for the size again */
static bool second_extension(const llhttp_t *l, llhttp_errno_t e, const uint8_t *got)
{
	const uint8_t *at = (const uint8_t *)llhttp_get_error_pos(l);

	return e == HPE_INVALID_CHUNK_SIZE && at > got && at[-1] == ';';
}

static void second_reading(const struct mem_world *w)
{
	static const llhttp_settings_t settings = { .on_headers_complete = on_complete };
	llhttp_errno_t e;
	llhttp_t l;

	/* What is refused went on up to there, and the connection with it */
	if (!w->s.ngot || (w->why && !strncmp(w->why, "refused", 7)))
		return;
	begun = 0;
	llhttp_init(&l, HTTP_REQUEST, &settings);
	llhttp_set_lenient_keep_alive(&l, 1);
	e = llhttp_execute(&l, (const char *)w->s.got, w->s.ngot);
	if (llhttp_own(e) || second_extension(&l, e, w->s.got))
		return;
	if (e != HPE_OK) {
		fprintf(stderr, "llhttp: %s %s\n", llhttp_errno_name(e), llhttp_get_error_reason(&l));
		abort();
	}
	if (begun != mem_hook.requests) {
		fprintf(stderr, "hooks saw %u, llhttp %u\n", mem_hook.requests, begun);
		abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct hooks hooks;
	struct mem_world w;

	if (size < 3)
		return 0;
	if (!hooks.n)
		hooks_add(&hooks, &mem_hooks, NULL);
	mem_open(&w, data + 1, size - 1);
	memset(&mem_hook, 0, sizeof(mem_hook));
	mem_hook.flags = data[0];
	w.r = h1_relay_new(&w.c.l, &w.s.l, &w.facts, data[0] & 32 ? NULL : &hooks, &mem_times);
	mem_run(&w);
	if (!(data[0] & (2 | 16 | 32)))	/* answered, or refused, after the hooks saw it */
		second_reading(&w);
	mem_end(&w);
	if (mem_hook.ends < mem_hook.requests)
		abort();
	return 0;
}
