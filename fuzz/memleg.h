/* SPDX-License-Identifier: MIT */
/*
 * memleg.h - Legs for fuzzers: a peer is bytes that come in pieces, and a place for what it gets
 *
 * The first byte of an input says in what pieces, the second where the client's bytes end and the
 * server's begin, in parts of 256; @held: the server says nothing before it heard something.
 */
#ifndef MEMLEG_H
#define MEMLEG_H

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "../gwproxy/message_int.h"
#include "../gwproxy/relay.h"

struct mem_leg {
	struct leg l;
	const uint8_t *p;
	size_t len, at, piece;
	bool starved, open_end, held;
	uint8_t *got;
	size_t ngot, room;
};

static ssize_t mem_read(struct leg *l, void *buf, size_t len)
{
	struct mem_leg *m = (struct mem_leg *)l;
	size_t n = m->len - m->at;

	l->wants = POLLIN;
	m->starved = !m->starved;
	if (m->starved || m->held || (!n && m->open_end))
		return -EAGAIN;
	n = n < m->piece ? n : m->piece;
	n = n < len ? n : len;
	memcpy(buf, m->p + m->at, n);
	m->at += n;
	return (ssize_t)n;
}

static ssize_t mem_writev(struct leg *l, const struct iovec *iov, int n)
{
	struct mem_leg *m = (struct mem_leg *)l;
	size_t len = iov->iov_len < 7 * m->piece ? iov->iov_len : 7 * m->piece;

	(void)n;
	if (m->ngot + len > m->room) {
		m->room = 2 * (m->ngot + len);
		m->got = realloc(m->got, m->room);
	}
	if (len)
		memcpy(m->got + m->ngot, iov->iov_base, len);
	m->ngot += len;
	return (ssize_t)len;
}

static int mem_shut(struct leg *l)
{
	(void)l;
	return 0;
}

static void mem_close(struct leg *l, bool reset)
{
	(void)l;
	(void)reset;
}

static const struct leg_ops mem_ops = { mem_read, mem_writev, NULL, mem_shut, mem_close, NULL };

struct mem_world {
	struct mem_leg c, s;
	struct conn_facts facts;
	struct relay *r;
	bool over;
	const char *why;
};

static inline void mem_open(struct mem_world *w, const uint8_t *data, size_t size)
{
	static const uint16_t pieces[] = { 1, 2, 3, 7, 60, 500, 4000, 60000 };
	size_t up = (size - 2) * data[1] / 255;

	memset(w, 0, sizeof(*w));
	w->c.l = w->s.l = (struct leg){ .ops = &mem_ops, .fd = -1, .wants = POLLIN };
	w->c.piece = pieces[data[0] & 7];
	w->s.piece = pieces[data[0] >> 3 & 7];
	w->c.p = data + 2;
	w->c.len = up;
	w->s.p = data + 2 + up;
	w->s.len = size - 2 - up;
	w->c.open_end = data[0] & 64;
	w->s.held = true;
}

/* Until nothing moves; memory that an engine holds has to stay bounded */
static inline void mem_run(struct mem_world *w)
{
	uint64_t now = 1000000000u;

	for (unsigned still = 0; still < 6 && !w->over; now++) {
		size_t before = w->c.at + w->s.at + w->c.ngot + w->s.ngot;

		w->over = relay_step(w->r, now) != RELAY_WAIT;
		w->s.held &= !w->s.ngot;
		still = before == w->c.at + w->s.at + w->c.ngot + w->s.ngot ? still + 1 : 0;
	}
	w->why = w->r->why;
}

static inline void mem_end(struct mem_world *w)
{
	relay_free(w->r, "end");
	free(w->c.got);
	free(w->s.got);
}

/* A hook that looks at everything, and changes what the flags say */
static struct mem_hook {
	uint8_t flags;
	unsigned requests, ends, open;
	size_t touched;
} mem_hook;

static inline enum hook_verdict mem_request(void *ctx, unsigned self, struct exchange *x)
{
	(void)ctx;
	mem_hook.requests++;
	x->state[self] = &mem_hook;
	if (mem_hook.flags & 1)
		message_set(x->req, text_of("X-Set"), message_path(x->req).len ? text_of("p") : text_of(""));
	if ((mem_hook.flags & 2) && message_path(x->req).len == 4) {
		x->answer = message_new();
		message_set_status(x->answer, 403, text_of("No"));
		return HOOK_ANSWER;
	}
	return HOOK_PASS;
}

static inline enum hook_verdict mem_response(void *ctx, unsigned self, struct exchange *x)
{
	(void)ctx;
	if (x->state[self] != &mem_hook)
		abort();
	if (mem_hook.flags & 1)
		message_del(x->resp, text_of("Server"));
	return HOOK_PASS;
}

static inline enum hook_verdict mem_body(void *ctx, unsigned self, struct exchange *x, struct body *b)
{
	(void)ctx, (void)self, (void)x;
	for (size_t i = 0; i < b->len; i++)
		mem_hook.touched += b->data[i];
	if (mem_hook.flags & 4)
		body_replace(b, "changed", b->len % 8);
	return HOOK_PASS;
}

static inline enum hook_verdict mem_message(void *ctx, unsigned self, struct exchange *x, bool from_client,
					    enum ws_kind kind, struct body *b)
{
	(void)from_client, (void)kind;
	return mem_body(ctx, self, x, b);
}

static inline bool mem_changes(void *ctx, unsigned self, const struct exchange *x, bool response)
{
	(void)ctx, (void)self, (void)x;
	return mem_hook.flags & (response ? 8 : 16);
}

static inline void mem_exchange_end(void *ctx, unsigned self, struct exchange *x)
{
	(void)ctx, (void)self;
	mem_hook.ends++;
	if (!x->why || !x->req)
		abort();
}

static const struct hook_ops mem_hooks = {
	.name = "fuzz", .request = mem_request, .response = mem_response, .request_body = mem_body,
	.response_body = mem_body, .body_changes = mem_changes, .ws_message = mem_message,
	.exchange_end = mem_exchange_end,
};
static const struct relay_times mem_times = { 60000000000u, 10000000000u, 10000000000u, 20000000000u,
					      1000000000u };

#endif /* MEMLEG_H */
