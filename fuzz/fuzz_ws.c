/* SPDX-License-Identifier: MIT */
/*
 * fuzz_ws.c - WebSocket between two peers that say anything after the upgrade, with and without
 * permessage-deflate
 */
#include "memleg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t *behind(struct mem_leg *m, const char *head)
{
	size_t n = strlen(head);
	uint8_t *all = malloc(n + m->len);

	memcpy(all, head, n);
	if (m->len)
		memcpy(all + n, m->p, m->len);
	m->p = all;
	m->len += n;
	return all;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct hooks hooks;
	struct mem_world w;
	uint8_t *up, *down;

	if (size < 3)
		return 0;
	if (!hooks.n)
		hooks_add(&hooks, &mem_hooks, NULL);
	mem_open(&w, data + 1, size - 1);
	up = behind(&w.c, "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
	down = behind(&w.s, data[0] & 64 ?
		      "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
		      "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n" :
		      "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
	memset(&mem_hook, 0, sizeof(mem_hook));
	mem_hook.flags = data[0] & (uint8_t)~2;
	w.r = h1_relay_new(&w.c.l, &w.s.l, &w.facts, &hooks, &mem_times);
	mem_run(&w);
	mem_end(&w);
	free(up);
	free(down);
	if (mem_hook.ends < mem_hook.requests)
		abort();
	return 0;
}
