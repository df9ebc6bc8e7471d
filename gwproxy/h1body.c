/* SPDX-License-Identifier: MIT */
/*
 * h1body.c - Bodies of HTTP/1.1: passed on in place, or through the hooks
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "h1_int.h"

#define TRAILERS_MAX	16384u
#define SMALL		4096u	/* a piece for the hooks should have so many bytes, if they are there */

static struct lane *lane_of(struct h1 *h, bool response)
{
	return response ? &h->down : &h->up;
}

static struct h1_side *side_of(struct h1 *h, bool response)
{
	return response ? &h->resp : &h->req;
}

static void bad(struct h1 *h, bool response, enum h1_why why)
{
	if (response)
		h1_bad_response(h, why);
	else
		h1_refuse(h, why);
}

/* Hooks want the body: its length will be another one.  Chunked where the receiver knows that. */
enum h1_why h1_body_edit(struct h1 *h, bool response)
{
	struct h1_side *s = side_of(h, response);
	struct message *m = response ? h->respm : h->reqm;
	bool old = response ? !s->f.minor || !h->req.f.minor : !s->f.minor;
	int err = 0;

	s->edit = h1_hooked(h) && hooks_body_changes(h->r.hooks, &h->x, response);
	if (!s->edit)
		return H1_OK;
	if (s->f.body == H1_NO_BODY) {	/* HEAD says what GET would say */
		s->edit = false;
		if (response && h->req.f.head)
			message_del(m, text_of("Content-Length"));
		return H1_OK;
	}
	if (!response && old)
		return H1_EDIT_OLD;
	message_del(m, text_of("Content-Length"));
	s->chunk_out = !old;
	if (old) {
		message_del(m, text_of("Transfer-Encoding"));
		err = message_set(m, text_of("Connection"), text_of("close"));
		s->f.persist = false;
	} else if (s->f.body != H1_CHUNKED) {
		err = message_set(m, text_of("Transfer-Encoding"), text_of("chunked"));
	}
	return err ? H1_MEMORY : H1_OK;
}

static bool emit(struct h1_side *s, struct lane *l, const struct body *b)
{
	char line[24];
	int err = 0;

	if (!s->chunk_out)
		return !lane_put(l, b->data, b->len);
	if (b->len) {
		snprintf(line, sizeof(line), "%zx\r\n", b->len);
		err = lane_put(l, line, strlen(line)) | lane_put(l, b->data, b->len) |
		      lane_put(l, "\r\n", 2);
	}
	if (b->last)
		err |= lane_put(l, "0\r\n", 3) | lane_put(l, s->trailers, s->ntrailers) |
		       lane_put(l, "\r\n", 2);
	return !err;
}

/* The piece in the hooks' hands, or back from them */
static bool ask(struct h1 *h, bool response)
{
	struct h1_side *s = side_of(h, response);
	struct lane *l = lane_of(h, response);
	enum hook_verdict v = h->verdict;

	if (!h->decided)
		v = response ? hooks_response_body(h->r.hooks, &h->x, &h->piece) :
			       hooks_request_body(h->r.hooks, &h->x, &h->piece);
	if (h1_waits(h, v))
		return false;
	if (v == HOOK_ANSWER) {
		h1_answer(h);
	} else if (v == HOOK_DROP) {
		h1_reset(h, "dropped");
	} else if (!emit(s, l, &h->piece) || lane_skip(l, s->used)) {
		h1_reset(h, "no memory");
	} else {
		s->state = SIDE_BODY;
		if (h->piece.last)
			h1_body_end(h, response);
	}
	return true;
}

/* @n bytes at @data, which took @used bytes of the lane */
static bool piece(struct h1 *h, bool response, const uint8_t *data, size_t n, size_t used, bool last)
{
	struct h1_side *s = side_of(h, response);

	*(response ? &h->x.resp_bytes : &h->x.req_bytes) += n;
	if (!s->edit) {
		lane_pass(lane_of(h, response), used);
		if (last)
			h1_body_end(h, response);
		return true;
	}
	h->piece.data = data;
	h->piece.len = n;
	h->piece.last = last;
	s->used = used;
	s->state = SIDE_BODY_ASK;
	return ask(h, response);
}

static bool keep_trailers(struct h1_side *s, const uint8_t *p, size_t n)
{
	char *now;

	if (s->ntrailers + n > TRAILERS_MAX || !(now = realloc(s->trailers, s->ntrailers + n)))
		return false;
	memcpy(now + s->ntrailers, p, n);
	s->trailers = now;
	s->ntrailers += n;
	return true;
}

/* Room for small chunks, where hooks will put what they make of them */
static bool gather_room(struct body *b)
{
	uint8_t *own;

	if (b->own_room >= LANE_ROOM)
		return true;
	if (!(own = malloc(LANE_ROOM)))
		return false;
	free(b->own);
	b->own = own;
	b->own_room = LANE_ROOM;
	return true;
}

/*
 * What lies in the lane in small chunks goes to the hooks as one piece: they may search all that
 * they hold at each, and bytes sent one by one must not make them.  True: there was such.
 */
static bool gather(struct h1 *h, bool response)
{
	struct h1_side *s = side_of(h, response);
	struct lane *l = lane_of(h, response);
	size_t at = 0, n = 0, used, k = 0;

	while (at < lane_len(l)) {
		struct h1_chunks c = s->chunks;
		const uint8_t *data;
		enum h1_why why = H1_OK;
		enum h1_event e = h1_chunk(&c, lane_data(l) + at, lane_len(l) - at, &used, &data, &k, &why);

		if (e != H1_MORE && (e != H1_DATA || k >= SMALL || n + k > LANE_ROOM))
			break;	/* it is read again, by itself */
		if (e == H1_DATA && !gather_room(&h->piece))
			break;
		if (e == H1_DATA) {
			memcpy(h->piece.own + n, data, k);
			n += k;
		}
		s->chunks = c;
		at += used;
	}
	if (n)
		piece(h, response, h->piece.own, n, at, false);
	else
		lane_skip(l, at);
	return at != 0;
}

static bool chunked(struct h1 *h, bool response)
{
	struct h1_side *s = side_of(h, response);
	struct lane *l = lane_of(h, response);
	const uint8_t *data;
	enum h1_why why = H1_OK;
	size_t used, n = 0;

	if (s->edit && gather(h, response))
		return true;
	switch (h1_chunk(&s->chunks, lane_data(l), lane_len(l), &used, &data, &n, &why)) {
	case H1_DATA:
		return piece(h, response, data, n, used, false);
	case H1_END:
		return piece(h, response, data, 0, used, true);
	case H1_BAD:
		bad(h, response, why);
		return true;
	case H1_TRAILERS:
		if (s->edit && !keep_trailers(s, data, n)) {
			bad(h, response, H1_TRAILER);
			return true;
		}
		break;
	case H1_MORE:
		break;
	}
	if (s->edit)
		lane_skip(l, used);
	else
		lane_pass(l, used);
	return used != 0;
}

/* The stream ended within a body */
static bool cut(struct h1 *h, bool response)
{
	struct h1_side *s = side_of(h, response);

	if (response && s->f.body == H1_UNTIL_CLOSE)
		return piece(h, response, lane_data(&h->down), 0, 0, true);
	if (response && s->edit && !s->chunk_out) {	/* its end is the connection's */
		h1_reset(h, "server closed");
		return true;
	}
	if (response) {
		h1_close(h, "server closed");
		return true;
	}
	s->state = SIDE_CUT;
	h->up.shut = true;
	return true;
}

bool h1_body(struct h1 *h, bool response)
{
	struct h1_side *s = side_of(h, response);
	struct lane *l = lane_of(h, response);
	size_t n = lane_len(l);

	if (s->state == SIDE_BODY_ASK)
		return ask(h, response);
	if (l->out_end - l->out_sent >= LANE_OUT_MAX)
		return false;
	if (!n)
		return l->eof && cut(h, response);
	switch (s->f.body) {
	case H1_CHUNKED:
		return chunked(h, response);
	case H1_SIZED:
		if (n > s->left)
			n = (size_t)s->left;
		s->left -= n;
		return piece(h, response, lane_data(l), n, n, !s->left);
	default:
		return piece(h, response, lane_data(l), n, n, false);
	}
}

void h1_body_end(struct h1 *h, bool response)
{
	if (response)
		h1_response_done(h);
	else
		h1_request_done(h);
}
