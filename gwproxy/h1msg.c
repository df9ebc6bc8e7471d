/* SPDX-License-Identifier: MIT */
/*
 * h1msg.c - Requests and responses of HTTP/1.1, one exchange after the other
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "h1_int.h"
#include "ws.h"

/* A head's end, or 0; what is refused ends the exchange. */
static size_t find_head(struct lane *l, struct h1_side *s, enum h1_why *why)
{
	int n = h1_scan(lane_data(l), lane_len(l), &s->seen);

	*why = n < 0 ? (enum h1_why)-n : H1_OK;
	if (n > 0) {
		s->seen = 0;
		return (size_t)n;
	}
	/* All of a head has to be in one piece */
	if (!n && l->end == l->room && l->sent == l->pass && !l->sent &&
	    lane_widen(l, MESSAGE_HEAD_MAX + LANE_ROOM) == -ENOMEM)
		*why = H1_MEMORY;
	return 0;
}

static void reset_side(struct h1_side *s)
{
	free(s->trailers);
	*s = (struct h1_side){ .state = SIDE_HEAD };
}

/* HTTP/2 may not begin in the midst of a connection where nobody would look into it. */
static int no_h2c(struct message *m)
{
	message_del(m, text_of("Upgrade"));
	message_del(m, text_of("HTTP2-Settings"));
	return message_set(m, text_of("Connection"), text_of("keep-alive"));
}

/* The head goes on: as it came, or written anew */
static bool send_head(struct lane *l, struct message *m, bool request)
{
	if (!m->changed) {
		lane_pass(l, m->raw_len);
		return true;
	}
	return !lane_skip(l, m->raw_len) && !h1_write(l, m, request);
}

static void go_request(struct h1 *h)
{
	struct h1_side *s = &h->req;
	enum h1_why why = H1_OK;

	if (h1_hooked(h) && !s->f.upgrade && hooks_body_changes(h->r.hooks, &h->x, true) &&
	    message_find(h->reqm, "accept-encoding", 0) != (size_t)-1 &&
	    message_set(h->reqm, text_of("Accept-Encoding"), text_of("identity")))
		why = H1_MEMORY;
	if (!why && s->f.h2c && s->f.upgrade) {
		s->f.upgrade = s->f.websocket = false;
		why = no_h2c(h->reqm) ? H1_MEMORY : H1_OK;
	}
	if (!why)
		why = h1_body_edit(h, false);
	if (!why && h1_hop(h->reqm))
		why = H1_MEMORY;
	if (!why && !send_head(&h->up, h->reqm, true))
		why = H1_MEMORY;
	if (why) {
		h1_refuse(h, why);
		return;
	}
	h->x.sent_ns = clock_real();
	h->resp.state = SIDE_HEAD;
	s->left = s->f.length;
	s->state = SIDE_BODY;
	if (s->f.body == H1_NO_BODY)
		h1_request_done(h);
}

static bool ask_request(struct h1 *h)
{
	enum hook_verdict v = HOOK_PASS;

	if (h->decided)
		v = h->verdict;
	else if (h1_hooked(h))
		v = hooks_request(h->r.hooks, &h->x);
	if (h1_waits(h, v))
		return false;
	if (v == HOOK_DROP) {
		h1_reset(h, "dropped");
	} else if (v == HOOK_ANSWER) {
		if (lane_skip(&h->up, h->reqm->raw_len))
			h1_reset(h, "no memory");
		else
			h1_answer(h);
	} else {
		go_request(h);
	}
	return true;
}

/* One empty line before a request is left out: old clients end their bodies with one. */
static bool empty_line(struct h1 *h)
{
	const uint8_t *p = lane_data(&h->up);

	if (!p || lane_len(&h->up) < 2 || p[0] != '\r' || p[1] != '\n' || h->req.used)
		return false;
	h->req.used = 2;
	return !lane_skip(&h->up, 2);
}

static bool request_head(struct h1 *h)
{
	struct lane *l = &h->up;
	enum h1_why why;
	size_t n;

	if (h->open)	/* a response is under way: the next request waits */
		return false;
	if (!lane_len(l)) {
		if (l->eof)
			h1_close(h, "done");
		return l->eof;
	}
	if (!h->head_ns)
		h->head_ns = h->now_ns;
	if (empty_line(h))
		return true;
	n = find_head(l, &h->req, &why);
	if (!n && !why) {
		if (l->eof)
			h1_close(h, "client closed");
		return l->eof;
	}
	message_clear(h->reqm);
	if (!why)
		why = h1_request(lane_data(l), n, h->reqm, &h->req.f);
	if (why) {
		h1_refuse(h, why);
		return true;
	}
	h->reqm->scheme = text_of(h->r.conn->tls ? "https" : "http");
	h1_begin(h);
	h->req.state = SIDE_ASK;
	h->resp.state = SIDE_DONE;	/* until the request went on: nothing to answer */
	return true;
}

bool h1_requests(struct h1 *h)
{
	if (h->over || h->closing || (h->waiting && !h->decided))
		return false;
	switch (h->req.state) {
	case SIDE_HEAD:
		return request_head(h);
	case SIDE_ASK:
		return ask_request(h);
	case SIDE_BODY:
	case SIDE_BODY_ASK:
		return h1_body(h, false);
	case SIDE_CUT:
		lane_skip(&h->up, lane_len(&h->up));
		return false;
	case SIDE_TUNNEL:
		if (h->ws) {
			if (ws_take(h->ws, true))
				return true;
			if (h->over || !ws_dry(h->ws, true))
				return false;
			break;
		}
		h->x.req_bytes += lane_len(&h->up);
		lane_pass(&h->up, lane_len(&h->up));
		break;
	case SIDE_DONE:
		break;
	}
	if (h->up.eof && (h->req.state == SIDE_TUNNEL || !lane_len(&h->up)))
		h->up.shut = true;	/* half-closed: the server hears of it */
	if (h->req.state == SIDE_TUNNEL && h->up.eof && h->down.eof && (!h->ws || ws_dry(h->ws, false)))
		h1_close(h, "done");
	return false;
}

/* Both messages are through */
static void exchange_done(struct h1 *h)
{
	bool live = h->req.f.persist && h->resp.f.persist && h->resp.f.body != H1_UNTIL_CLOSE &&
		    h->req.state == SIDE_DONE;

	h1_exchange_end(h, "done");
	h->x.resp = NULL;
	if (!live) {
		h1_close(h, "done");
		return;
	}
	reset_side(&h->req);
	reset_side(&h->resp);
	message_clear(h->reqm);
	message_clear(h->respm);
}

void h1_request_done(struct h1 *h)
{
	h->req.state = SIDE_DONE;
	if (h->open && h->resp.state == SIDE_DONE && h->x.resp)
		exchange_done(h);
}

/* The client that asked to send a body was not told to: what it sends next is the body to one
 * server, and to another the next request */
static bool body_in_doubt(const struct h1 *h)
{
	return h->req.f.expect && !h->x.req_bytes && !h->resp.interim;
}

void h1_response_done(struct h1 *h)
{
	h->resp.state = SIDE_DONE;
	if (h->req.state == SIDE_DONE || h->req.state == SIDE_CUT || !h->resp.f.persist ||
	    body_in_doubt(h))
		exchange_done(h);
}

static void tunnel(struct h1 *h)
{
	bool websocket = h->respm->status == 101 && h->resp.f.websocket;

	h->x.upgraded = websocket ? "websocket" : h->respm->status == 101 ? "other" : "connect";
	h->req.state = h->resp.state = SIDE_TUNNEL;
	if (websocket && h1_hooked(h))
		h->ws = ws_new(h);
}

static void go_response(struct h1 *h)
{
	struct h1_side *s = &h->resp;
	bool through = h->respm->status == 101 || (h->req.f.connect && h->respm->status / 100 == 2);
	enum h1_why why = through ? H1_OK : h1_body_edit(h, true);

	if (!why && h1_hop(h->respm))
		why = H1_MEMORY;
	if (!why && !send_head(&h->down, h->respm, false))
		why = H1_MEMORY;
	if (why) {
		h1_bad_response(h, why);
		return;
	}
	h->begun = true;
	if (through) {
		tunnel(h);
		return;
	}
	s->left = s->f.length;
	s->state = SIDE_BODY;
	if (s->f.body == H1_NO_BODY)
		h1_response_done(h);
}

static bool ask_response(struct h1 *h)
{
	enum hook_verdict v = HOOK_PASS;

	if (h->decided)
		v = h->verdict;
	else if (h1_hooked(h))
		v = hooks_response(h->r.hooks, &h->x);
	if (h1_waits(h, v))
		return false;
	if (v == HOOK_PASS)
		go_response(h);
	else
		h1_reset(h, "dropped");
	return true;
}

static bool response_head(struct h1 *h)
{
	struct lane *l = &h->down;
	enum h1_why why = H1_OK;
	size_t n;

	if (!h->open || h->req.state == SIDE_HEAD || h->req.state == SIDE_ASK) {
		if (lane_len(l)) {
			lane_skip(l, lane_len(l));
			h1_close(h, h1_why_text(H1_UNSOLICITED));
		} else if (l->eof) {
			h1_close(h, "done");
		}
		return h->closing;
	}
	n = lane_len(l) ? find_head(l, &h->resp, &why) : 0;
	if (!n && !why) {
		if (l->eof)
			h1_close(h, "server closed");
		return l->eof;
	}
	message_clear(h->respm);
	if (!why)
		why = h1_response(lane_data(l), n, h->respm, &h->resp.f, &h->req.f);
	if (why) {
		h1_bad_response(h, why);
		return true;
	}
	if (h->respm->status < 200 && h->respm->status != 101) {
		h->resp.interim += n;
		if (h->resp.interim > H1_INTERIM_MAX)
			h1_bad_response(h, H1_INTERIM);
		else
			lane_pass(l, n);
		return true;
	}
	h->x.resp = h->respm;
	h->x.head_ns = clock_real();
	h->resp.state = SIDE_ASK;
	return true;
}

bool h1_responses(struct h1 *h)
{
	if (h->over || h->closing || (h->waiting && !h->decided))
		return false;
	switch (h->resp.state) {
	case SIDE_HEAD:
		return response_head(h);
	case SIDE_ASK:
		return ask_response(h);
	case SIDE_BODY:
	case SIDE_BODY_ASK:
		return h1_body(h, true);
	case SIDE_TUNNEL:
		if (h->ws) {
			if (ws_take(h->ws, false))
				return true;
			h->down.shut |= h->down.eof && ws_dry(h->ws, false);
			break;
		}
		h->x.resp_bytes += lane_len(&h->down);
		lane_pass(&h->down, lane_len(&h->down));
		h->down.shut |= h->down.eof;
		break;
	case SIDE_DONE:
		if (lane_len(&h->down)) {
			lane_skip(&h->down, lane_len(&h->down));
			h1_close(h, h1_why_text(H1_UNSOLICITED));
			return true;
		}
		if (h->down.eof) {
			h1_close(h, h->x.resp ? "done" : "server closed");
			return true;
		}
		break;
	case SIDE_CUT:
		lane_skip(&h->down, lane_len(&h->down));
		break;
	}
	return false;
}
