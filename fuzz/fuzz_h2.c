/* SPDX-License-Identifier: MIT */
/*
 * fuzz_h2.c - HTTP/2 between two peers that say anything; the client's preface is added
 */
#include <nghttp2/nghttp2.h>

#include "memleg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct hooks hooks;
	struct mem_world w;
	uint8_t *up;

	if (size < 3)
		return 0;
	if (!hooks.n)
		hooks_add(&hooks, &mem_hooks, NULL);
	mem_open(&w, data + 1, size - 1);
	up = malloc(w.c.len + NGHTTP2_CLIENT_MAGIC_LEN);
	memcpy(up, NGHTTP2_CLIENT_MAGIC, NGHTTP2_CLIENT_MAGIC_LEN);
	memcpy(up + NGHTTP2_CLIENT_MAGIC_LEN, w.c.p, w.c.len);
	w.c.p = up;
	w.c.len += NGHTTP2_CLIENT_MAGIC_LEN;
	memset(&mem_hook, 0, sizeof(mem_hook));
	mem_hook.flags = data[0];
	w.r = h2_relay_new(&w.c.l, &w.s.l, &w.facts, data[0] & 32 ? NULL : &hooks, &mem_times);
	mem_run(&w);
	mem_end(&w);
	free(up);
	if (mem_hook.ends < mem_hook.requests)
		abort();
	return 0;
}
