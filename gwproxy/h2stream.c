/* SPDX-License-Identifier: MIT */
/*
 * h2stream.c - One request of HTTP/2 and its response
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "h1head.h"
#include "h2_int.h"

#define SPARE_MAX	16u
#define SPARE_QUIET	2u	/* of a connection that has no stream */

static void resumed(struct exchange *x, enum hook_verdict v)
{
	struct h2_stream *s = x->engine;

	s->verdict = v;
	s->decided = s->h->resumed = true;
	relay_wake(&s->h->r);
}

struct h2_stream *h2_stream_new(struct h2 *h, int32_t client_id)
{
	uint64_t least = h->t.body_ns < h->t.response_ns ? h->t.body_ns : h->t.response_ns;
	struct h2_stream *s = h->spare;
	struct message *req = NULL, *resp = NULL;

	if (s) {
		h->spare = s->next;
		h->nspare--;
		req = s->reqm;
		resp = s->respm;
	} else if (!(s = malloc(sizeof(*s))) || !(req = message_new()) || !(resp = message_new())) {
		message_free(req);
		free(s);
		return NULL;
	}
	*s = (struct h2_stream){ .h = h, .client_id = client_id, .reqm = req, .respm = resp, .reading = req,
				 .next = h->streams, .prev = &h->streams, .client_open = true,
				 .moved_ns = h->now_ns };
	s->x = (struct exchange){ .conn = h->r.conn, .id = (uint64_t)client_id, .req = req,
				  .start_ns = clock_real(), .resumed = resumed, .engine = s };
	if (h->streams)
		h->streams->prev = &s->next;
	if (!h->scan_ns || h->scan_ns > h->now_ns + least)
		h->scan_ns = h->now_ns + least;
	h->streams = s;
	h->nstreams++;
	return s;
}

void h2_stream_free(struct h2_stream *s)
{
	message_free(s->reqm);
	message_free(s->respm);
	free(s);
}

static void spare_drop(struct h2 *h, unsigned most)
{
	struct h2_stream *s;

	for (; h->nspare > most; h->nspare--) {
		s = h->spare;
		h->spare = s->next;
		h2_stream_free(s);
	}
}

/* The exchange is over, for the hooks, too */
static void end(struct h2_stream *s, const char *why)
{
	struct h2 *h = s->h;

	if (!s->x.why)
		s->x.why = why;
	s->x.end_ns = clock_real();
	if (h2_hooked(h))
		hooks_exchange_end(h->r.hooks, &s->x);
	message_free(s->x.answer);
	free(s->piece.own);
	lane_give(s->with_hooks.p, s->with_hooks.room);
	h2_half_free(s, true);
	h2_half_free(s, false);
	*s->prev = s->next;
	if (s->next)
		s->next->prev = s->prev;
	h->nstreams--;
	if (h->nspare >= (h->nstreams ? SPARE_MAX : SPARE_QUIET)) {
		h2_stream_free(s);
		spare_drop(h, h->nstreams ? SPARE_MAX : SPARE_QUIET);
		return;
	}
	message_clear(s->reqm);
	message_clear(s->respm);
	s->next = h->spare;
	h->spare = s;
	h->nspare++;
}

static void die_later(struct h2_stream *s)
{
	if (s->dead)
		return;
	s->dead = true;
	s->dead_next = s->h->dead;
	s->h->dead = s;
}

void h2_sweep(struct h2 *h, const char *why)
{
	struct h2_stream *s;

	while ((s = h->dead)) {
		h->dead = s->dead_next;
		end(s, "done");
	}
	while (why && (s = h->streams)) {
		h->streams = s->next;
		end(s, why);
	}
}

static void reset_server(struct h2_stream *s, uint32_t code)
{
	if (s->server_open)
		nghttp2_submit_rst_stream(s->h->ss, NGHTTP2_FLAG_NONE, s->server_id, code);
}

static void reset_client(struct h2_stream *s, uint32_t code)
{
	if (s->client_open)
		nghttp2_submit_rst_stream(s->h->cs, NGHTTP2_FLAG_NONE, s->client_id, code);
}

/* Both streams; what nghttp2 does not know any more is gone */
void h2_stream_reset(struct h2_stream *s, uint32_t code, const char *why)
{
	if (!s->x.why)
		s->x.why = why;
	s->answered = true;
	reset_server(s, code);
	reset_client(s, code);
	if (!s->client_open && !s->server_open)
		die_later(s);
}

/* nghttp2 forgets a stream of one session. */
void h2_stream_closed(struct h2_stream *s, bool client, uint32_t code)
{
	if (client) {
		s->client_open = false;
		if (code != NGHTTP2_NO_ERROR || !s->up.in_end) {
			if (!s->x.why && !s->rst_after)
				s->x.why = "client reset";
			reset_server(s, code == NGHTTP2_NO_ERROR ? NGHTTP2_CANCEL : code);
		}
	} else {
		s->server_open = false;
		if (code == NGHTTP2_NO_ERROR && s->down.in_end) {
			s->rst_after = !s->up.in_end;
			if (s->rst_after && s->sent_all)
				reset_client(s, NGHTTP2_NO_ERROR);
		} else if (!s->answered) {
			if (!s->x.why)
				s->x.why = "server reset";
			reset_client(s, code);
		}
	}
	if (!s->client_open && !s->server_open)
		die_later(s);
}

void h2_stream_sent_all(struct h2_stream *s)
{
	s->sent_all = true;
	if (!s->up.in_end && (s->rst_after || s->answered))
		reset_client(s, NGHTTP2_NO_ERROR);
}

void h2_server_gone(struct h2 *h, const char *why)
{
	for (struct h2_stream *s = h->streams; s; s = s->next) {
		if (!s->server_open)
			continue;
		if (!s->down.in_end && !s->x.why)
			s->x.why = why;
		h2_stream_closed(s, false, s->down.in_end ? NGHTTP2_NO_ERROR : NGHTTP2_INTERNAL_ERROR);
	}
}

/* A response of ours, with all of its body */
static void respond(struct h2_stream *s, struct message *m, struct text body)
{
	s->answered = true;
	reset_server(s, NGHTTP2_CANCEL);
	if (s->resp == H2_SENT) {	/* too late */
		reset_client(s, NGHTTP2_CANCEL);
		return;
	}
	message_set_length(m, "content-length", body.len);
	h2_half_free(s, false);
	s->down.in_end = s->down.out_end = true;
	s->x.resp = m;
	s->x.head_ns = clock_real();
	s->x.resp_bytes = body.len;
	s->resp = H2_SENT;
	if ((!text_is(message_method(s->reqm), "head") && h2_buf_add(&s->down.out, body.p, body.len, false)) ||
	    h2_submit_response(s, m, false))
		reset_client(s, NGHTTP2_INTERNAL_ERROR);
}

static void refuse(struct h2_stream *s)
{
	char text[80];

	snprintf(text, sizeof(text), "%s\n", s->bad);
	s->x.why = s->bad;
	message_clear(s->respm);
	s->respm->status = s->bad_status ? s->bad_status : 400;
	message_add(s->respm, text_of("content-type"), text_of("text/plain"));
	respond(s, s->respm, text_of(text));
}

/* A hook's say, now or after it waited; false: it waits */
static bool verdict(struct h2_stream *s, enum hook_verdict now)
{
	if (now == HOOK_WAIT) {
		s->wait_ns = s->h->now_ns;
		return false;
	}
	s->verdict = now;
	return true;
}

static bool act(struct h2_stream *s)
{
	s->decided = false;
	switch (s->verdict) {
	case HOOK_PASS:
		return true;
	case HOOK_ANSWER:
		s->x.why = "answered";
		respond(s, s->x.answer, s->x.answer_body);
		return false;
	default:
		h2_stream_reset(s, NGHTTP2_CANCEL, "dropped");
		return false;
	}
}

static void send_request(struct h2_stream *s)
{
	const struct hooks *hooks = s->h->r.hooks;
	int32_t id;

	s->up.edit = false;
	if (h2_hooked(s->h)) {
		if (hooks_body_changes(hooks, &s->x, true) &&
		    message_find(s->reqm, "accept-encoding", 0) != (size_t)-1)
			message_set(s->reqm, text_of("accept-encoding"), text_of("identity"));
		s->up.edit = (!s->up.in_end || s->up.pre.p) && hooks_body_changes(hooks, &s->x, false);
		if (s->up.edit)
			message_del(s->reqm, text_of("content-length"));
	}
	if (!s->up.edit) {	/* what came while a hook thought */
		struct h2_buf none = s->up.out;

		s->up.out = s->up.pre;
		s->up.pre = none;
		s->up.out_end = s->up.in_end;
	}
	s->req = H2_SENT;
	if (s->h->server_eof || s->h->goaway || (id = h2_submit_request(s)) < 0) {
		h2_stream_reset(s, NGHTTP2_REFUSED_STREAM, "server closed");
		return;
	}
	s->server_id = id;
	s->server_open = true;
	s->x.sent_ns = clock_real();
}

static void send_response(struct h2_stream *s)
{
	struct h2_half *f = &s->down;

	f->edit = false;
	if (h2_hooked(s->h)) {
		f->edit = (!f->in_end || f->pre.p) && hooks_body_changes(s->h->r.hooks, &s->x, true);
		if (f->edit || (f->in_end && text_is(message_method(s->reqm), "head") &&
				hooks_body_changes(s->h->r.hooks, &s->x, true)))
			message_del(s->respm, text_of("content-length"));
	}
	if (!f->edit) {
		struct h2_buf none = f->out;

		f->out = f->pre;
		f->pre = none;
		f->out_end = f->in_end;
	}
	s->resp = H2_SENT;
	if (h2_submit_response(s, s->respm, false))
		h2_stream_reset(s, NGHTTP2_INTERNAL_ERROR, "refused: response");
}

/* true: there may be more to do */
static bool run_request(struct h2_stream *s)
{
	if (s->req == H2_CAME) {
		s->req = H2_ASKED;
		if (s->bad || (s->bad = h2_check_request(s))) {
			refuse(s);
			return false;
		}
		message_settle(s->reqm);
		if (!verdict(s, h2_hooked(s->h) ? hooks_request(s->h->r.hooks, &s->x) : HOOK_PASS))
			return false;
	} else if (!s->decided) {
		return false;
	}
	if (!act(s))
		return false;
	send_request(s);
	return true;
}

static bool run_response(struct h2_stream *s)
{
	if (s->resp == H2_CAME) {
		s->resp = H2_ASKED;
		message_settle(s->respm);
		s->x.resp = s->respm;
		s->x.head_ns = clock_real();
		if (!verdict(s, h2_hooked(s->h) ? hooks_response(s->h->r.hooks, &s->x) : HOOK_PASS))
			return false;
	} else if (!s->decided) {
		return false;
	}
	if (!act(s))
		return false;
	send_response(s);
	return true;
}

/* One piece to the hooks, and on */
static bool run_body(struct h2_stream *s, bool up)
{
	struct h2_half *f = up ? &s->up : &s->down;
	size_t n = f->pre.end - f->pre.off;

	if (!s->asked_body) {
		if (f->out_end || (!n && !f->in_end))
			return false;
		s->with_hooks = f->pre;		/* where it stays: what comes meanwhile lies elsewhere */
		f->pre = (struct h2_buf){ 0 };
		s->piece.data = n ? s->with_hooks.p + s->with_hooks.off : (const uint8_t *)"";
		s->piece.len = n;
		s->piece.last = f->in_end;
		s->asked_body = up ? 1 : 2;
		if (!verdict(s, up ? hooks_request_body(s->h->r.hooks, &s->x, &s->piece) :
				     hooks_response_body(s->h->r.hooks, &s->x, &s->piece)))
			return false;
	} else if (s->asked_body != (up ? 1 : 2) || !s->decided) {
		return false;
	}
	s->asked_body = 0;
	if (!act(s))
		return false;
	if (h2_buf_add(&f->out, s->piece.data, s->piece.len, false)) {
		h2_stream_reset(s, NGHTTP2_INTERNAL_ERROR, "no memory");
		return false;
	}
	h2_buf_drop(&s->with_hooks, s->with_hooks.end - s->with_hooks.off);
	f->out_end = s->piece.last;
	if (!f->out.p && !f->pre.p) {	/* nothing of it is left to send */
		h2_half_open(s, up, f->owed);
		h2_half_grant(s, up);
	}
	h2_half_wake(s, up);
	return !f->out_end;
}

void h2_stream_run(struct h2_stream *s)
{
	bool again = true;

	while (again && !s->dead && !s->answered && (s->x.wait.point == POINT_NONE || s->decided)) {
		again = false;
		if (s->req == H2_CAME || s->req == H2_ASKED)
			again = run_request(s);
		else if (s->asked_body != 2 && s->up.edit && s->req == H2_SENT && run_body(s, true))
			again = true;
		else if (s->asked_body != 1 && (s->resp == H2_CAME || s->resp == H2_ASKED))
			again = run_response(s);
		else if (s->down.edit && s->resp == H2_SENT)
			again = run_body(s, false);
	}
	if (s->dead || s->answered)
		return;
	if (s->req == H2_SENT && !s->up.edit)
		s->up.out_end = s->up.in_end;
	if (s->resp == H2_SENT && !s->down.edit)
		s->down.out_end = s->down.in_end;
	h2_half_wake(s, true);
	h2_half_wake(s, false);
}
