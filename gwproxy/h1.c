/* SPDX-License-Identifier: MIT */
/*
 * h1.c - HTTP/1.1 between two legs: steps, time-outs, ends
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "h1_int.h"
#include "ws.h"

#define STEP_MAX	64u	/* rounds of one step: others want to live, too */

void h1_close(struct h1 *h, const char *why)
{
	if (h->closing)
		return;
	if (h->open)
		h1_exchange_end(h, why);
	h->closing = true;
	h->close_ns = h->now_ns;
	h->r.why = why;
	h->up.shut = h->down.shut = true;
}

void h1_reset(struct h1 *h, const char *why)
{
	if (h->over)
		return;
	if (h->open)
		h1_exchange_end(h, why);
	h->r.why = h->closing ? h->r.why : why;
	h->over = RELAY_RESET;
}

void h1_begin(struct h1 *h)
{
	struct exchange *x = &h->x;

	*x = (struct exchange){ .conn = h->r.conn, .id = ++h->ids, .req = h->reqm,
				.start_ns = clock_real(), .resumed = x->resumed, .engine = h };
	h->head_ns = 0;
	h->open = true;
	h->begun = false;
}

void h1_exchange_end(struct h1 *h, const char *why)
{
	struct exchange *x = &h->x;

	h->open = false;
	if (!x->why)
		x->why = why;
	x->end_ns = clock_real();
	h->waiting = h->decided = false;
	if (h1_hooked(h))
		hooks_exchange_end(h->r.hooks, x);
	message_free(x->answer);
	x->answer = NULL;
	free(h->piece.own);
	h->piece = (struct body){ 0 };
}

/* @status with a line of text, and the end: what stood in the way is thrown away. */
static void say(struct h1 *h, unsigned status, const char *phrase, const char *text)
{
	char head[512];
	int n;

	lane_skip(&h->down, lane_len(&h->down));
	if (h->begun)
		return;
	n = snprintf(head, sizeof(head), "HTTP/1.1 %u %s\r\nContent-Type: text/plain\r\n"
		     "Content-Length: %zu\r\nConnection: close\r\n\r\n%s\n", status, phrase,
		     strlen(text) + 1, h->req.f.head ? "" : text);
	lane_put(&h->down, head, (size_t)n - (h->req.f.head ? 1 : 0));
}

static const char *phrase_of(unsigned status)
{
	switch (status) {
	case 431: return "Request Header Fields Too Large";
	case 502: return "Bad Gateway";
	case 503: return "Service Unavailable";
	case 505: return "HTTP Version Not Supported";
	default: return "Bad Request";
	}
}

void h1_refuse(struct h1 *h, enum h1_why why)
{
	unsigned status = h1_why_status(why);

	if (!h->open)	/* refused by its head: hooks hear of its end only */
		h1_begin(h);
	say(h, status, phrase_of(status), h1_why_text(why));
	lane_skip(&h->up, lane_len(&h->up));
	if (h->begun && h->resp.f.body == H1_UNTIL_CLOSE)	/* its end would look like that of all */
		h1_reset(h, h1_why_text(why));
	h->req.state = h->resp.state = SIDE_CUT;
	h1_close(h, h1_why_text(why));
}

void h1_bad_response(struct h1 *h, enum h1_why why)
{
	say(h, 502, phrase_of(502), h1_why_text(why));
	h->req.state = h->resp.state = SIDE_CUT;
	if (h->begun)
		h1_reset(h, h1_why_text(why));	/* the client must not take it for whole */
	else
		h1_close(h, h1_why_text(why));
}

/* What the hook set, with a length of ours; the connection lives on if the request has no body. */
void h1_answer(struct h1 *h)
{
	struct message *m = h->x.answer;
	bool live = h->req.f.persist && h->req.f.body == H1_NO_BODY && h->req.f.minor &&
		    h->req.state == SIDE_ASK && !h->begun;

	if (h->begun) {
		h1_reset(h, "dropped");
		return;
	}
	m->minor = 1;
	message_del(m, text_of("Transfer-Encoding"));
	message_set_length(m, "Content-Length", h->x.answer_body.len);
	if (!live)
		message_set(m, text_of("Connection"), text_of("close"));
	lane_skip(&h->down, lane_len(&h->down));
	h1_write(&h->down, m, false);
	if (!h->req.f.head)
		lane_put(&h->down, h->x.answer_body.p, h->x.answer_body.len);
	h->x.resp = m;
	h->x.head_ns = clock_real();
	h->x.resp_bytes = h->x.answer_body.len;
	h1_exchange_end(h, "answered");
	h->x.resp = NULL;
	if (live) {
		h->req = h->resp = (struct h1_side){ .state = SIDE_HEAD };
		message_clear(h->reqm);
		return;
	}
	h->req.state = h->resp.state = SIDE_CUT;
	h1_close(h, "answered");
}

static void resumed(struct exchange *x, enum hook_verdict v)
{
	struct h1 *h = x->engine;

	h->verdict = v;
	h->decided = true;
	relay_wake(&h->r);
}

/* One read; true: something came, were it the end */
static bool fill(struct h1 *h, struct lane *l, bool client)
{
	ssize_t n;

	if (l->eof || h->over) {
		l->want_in = l->full = 0;
		return false;
	}
	/* A piece of it is with the hooks, in place: to read could move it */
	if (!h->closing && (client ? &h->req : &h->resp)->state == SIDE_BODY_ASK) {
		l->want_in = l->full = 0;
		return false;
	}
	/* At the end what comes is thrown away */
	if (!h->closing && !l->dead && !lane_takes(l, l->from, h->now_ns)) {
		l->want_in = 0;
		return false;
	}
	n = lane_fill(l);
	if (n > 0) {
		h->moved_ns = h->now_ns;
		*(client ? &h->r.conn->bytes_up : &h->r.conn->bytes_down) += (uint64_t)n;
	}
	if (n >= 0)
		return true;
	if (n == -EAGAIN || n == -ENOBUFS)
		return false;
	if (client) {
		h1_reset(h, n == -ENOMEM ? "no memory" : "client reset");
	} else {
		size_t done;

		lane_flush(&h->down, &done);	/* what came before goes on before */
		h1_reset(h, n == -ENOMEM ? "no memory" : "server reset");
	}
	return false;
}

static bool flush(struct h1 *h, struct lane *l, bool client)
{
	size_t done;
	ssize_t n;

	if (h->over)
		return false;
	n = lane_flush(l, &done);
	if (done)
		h->moved_ns = h->now_ns;
	if (n >= 0 || n == -EAGAIN)
		return done != 0;
	if (client) {
		h1_reset(h, "client reset");
	} else {	/* it may have answered before it closed: read on */
		l->dead = true;
		if (h->req.state == SIDE_BODY || h->req.state == SIDE_BODY_ASK)
			h->req.state = SIDE_CUT;
	}
	return done != 0;
}

/* Throw away what comes, until the client has seen the end */
static void linger(struct h1 *h)
{
	lane_skip(&h->up, lane_len(&h->up));
	lane_skip(&h->down, lane_len(&h->down));
	if (lane_waiting(&h->down) || !h->down.shut_done || (lane_waiting(&h->up) && !h->up.dead))
		return;
	if (h->up.eof)
		h->over = RELAY_DONE;
}

/* Both sides in turn: what one did may be what the other waits for */
static void look(struct h1 *h)
{
	bool more = true;

	while (more && !h->over && !h->closing) {
		more = h1_requests(h);
		more |= h1_responses(h);
	}
}

static uint64_t later(uint64_t base, uint64_t more)
{
	return more ? base + more : 0;
}

static uint64_t deadline(const struct h1 *h)
{
	if (h->closing)
		return h->close_ns + h->t.linger_ns;
	if (h->waiting)
		return later(h->wait_ns, h->t.response_ns);
	if (h->req.state == SIDE_TUNNEL || (!h->open && !h->head_ns))
		return later(h->moved_ns, h->t.idle_ns);
	if (!h->open)
		return later(h->head_ns, h->t.head_ns);
	if (h->req.state == SIDE_BODY || h->resp.state == SIDE_BODY)
		return later(h->moved_ns, h->t.body_ns);
	return later(h->moved_ns, h->t.response_ns);
}

static void time_out(struct h1 *h)
{
	if (h->closing)
		h->over = RELAY_DONE;
	else if (!h->open && !h->head_ns)
		h1_close(h, "idle");
	else
		h1_reset(h, "timeout");
}

static enum relay_state h1_step(struct relay *r, uint64_t now_ns)
{
	struct h1 *h = (struct h1 *)r;
	unsigned rounds = 0;
	bool again = true;

	h->now_ns = now_ns;
	if (r->deadline_ns && now_ns >= r->deadline_ns && deadline(h) && now_ns >= deadline(h))
		time_out(h);
	while (again && !h->over && rounds++ < STEP_MAX) {
		again = fill(h, &h->up, true);
		again |= fill(h, &h->down, false);
		if (h->closing)
			linger(h);
		else
			look(h);
		again |= flush(h, &h->down, true);
		again |= flush(h, &h->up, false);
	}
	if (h->over)
		return h->over;
	r->want_client = h->up.want_in | h->down.want_out | h->down.full;
	r->want_server = h->down.want_in | h->up.want_out | h->up.full;
	r->deadline_ns = again ? now_ns : deadline(h);
	return RELAY_WAIT;
}

static void h1_free(struct relay *r, const char *why)
{
	struct h1 *h = (struct h1 *)r;

	if (h->open)
		h1_exchange_end(h, why);
	ws_free(h->ws);
	lane_free(&h->up);
	lane_free(&h->down);
	message_free(h->reqm);
	message_free(h->respm);
	free(h->req.trailers);
	free(h->resp.trailers);
	free(h);
}

static const struct relay_ops ops = { "http/1.1", h1_step, h1_free };

struct relay *h1_relay_new(struct leg *client, struct leg *server, struct conn_facts *c,
			   const struct hooks *hooks, const struct relay_times *t)
{
	struct h1 *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->r = (struct relay){ .ops = &ops, .client = client, .server = server, .conn = c,
			       .hooks = hooks, .want_client = POLLIN, .want_server = POLLIN };
	h->t = *t;
	h->up = (struct lane){ .from = client, .to = server };
	h->down = (struct lane){ .from = server, .to = client };
	h->x = (struct exchange){ .conn = c, .resumed = resumed, .engine = h };
	h->moved_ns = clock_mono();
	h->reqm = message_new();
	h->respm = message_new();
	if (!h->reqm || !h->respm) {
		h1_free(&h->r, "no memory");
		return NULL;
	}
	return &h->r;
}
