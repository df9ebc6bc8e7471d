/* SPDX-License-Identifier: MIT */
/*
 * h1_int.h - Between the parts of the HTTP/1.1 engine
 *
 * Theory of operation
 *
 * One exchange at a time: a pipelined request stays unread until the response before it is all
 * here, so what the server says answers the one request that is open, or is refused.  Each
 * direction is a lane (lane.h) and a side, a small state machine that looks at the lane's bytes:
 *
 *	SIDE_HEAD -> SIDE_ASK -> SIDE_BODY <-> SIDE_BODY_ASK -> SIDE_DONE
 *
 * In the ASK states a hook decides; one that lets the exchange wait stops both sides.  A body
 * that no hook wants is counted by its framing and passed on in place.  SIDE_CUT: the rest of
 * a request is thrown away, as the server takes no more.  SIDE_TUNNEL: after 101 or CONNECT.
 *
 * At the end (h1_close()) what is to be sent is sent, both legs are shut, and the client's bytes
 * are read and thrown away for a while: a close with unread bytes would be a RST, which
 * may overtake the response.
 */
#ifndef GW_H1_INT_H
#define GW_H1_INT_H

#include "h1head.h"
#include "lane.h"
#include "message_int.h"
#include "relay.h"

#define H1_INTERIM_MAX	MESSAGE_HEAD_MAX	/* bytes of interim responses to one request */

enum h1_state { SIDE_HEAD, SIDE_ASK, SIDE_BODY, SIDE_BODY_ASK, SIDE_DONE, SIDE_CUT, SIDE_TUNNEL };

/**
 * struct h1_side - Requests, or responses
 * @seen:	Bytes of a head that h1_scan() saw
 * @interim:	Bytes of interim responses
 * @left:	H1_SIZED: bytes of the body to come
 * @edit:	Hooks look at the body: it is taken out of its framing
 * @chunk_out:	... and goes on chunked
 * @used:	Bytes of the lane that the piece in the hooks' hands took
 * @trailers:	Of an edited body, held until its last chunk went out
 */
struct h1_side {
	enum h1_state state;
	struct h1_frame f;
	size_t seen, interim;
	uint64_t left;
	struct h1_chunks chunks;
	bool edit, chunk_out;
	size_t used;
	char *trailers;
	size_t ntrailers;
};

struct ws;

/**
 * struct h1 - The engine
 * @open:	Hooks know of an exchange that did not end
 * @begun:	The client saw bytes of a response to the open exchange
 * @waiting, @decided, @verdict:	A hook said HOOK_WAIT, and what was decided; @wait_ns: when
 * @piece:	Of a body, in the hooks' hands
 * @closing, @over:	h1_close() was called; what h1_step() is to say
 * @head_ns, @moved_ns:	First byte of a request's head (0: none yet); last byte of anything
 * @close_ns:	When @closing began
 */
struct h1 {
	struct relay r;
	struct relay_times t;
	struct lane up, down;
	struct h1_side req, resp;
	struct message *reqm, *respm;
	struct exchange x;
	struct body piece;
	struct ws *ws;
	bool open, begun, waiting, decided, closing;
	enum hook_verdict verdict;
	enum relay_state over;
	uint64_t now_ns, head_ns, moved_ns, close_ns, wait_ns, ids;
};

/* Each looks at what there is; true: something changed, look again */
bool h1_requests(struct h1 *h);
bool h1_responses(struct h1 *h);

/* h1body.c: SIDE_BODY, SIDE_BODY_ASK; @done is called at the end of the body */
bool h1_body(struct h1 *h, bool response);
enum h1_why h1_body_edit(struct h1 *h, bool response);	/* before the head goes out */
void h1_body_end(struct h1 *h, bool response);

void h1_request_done(struct h1 *h);
void h1_response_done(struct h1 *h);
void h1_refuse(struct h1 *h, enum h1_why why);		/* a request: 400 to the client */
void h1_bad_response(struct h1 *h, enum h1_why why);	/* a response: 502 */
void h1_answer(struct h1 *h);				/* a hook's answer */
void h1_close(struct h1 *h, const char *why);
void h1_reset(struct h1 *h, const char *why);
void h1_begin(struct h1 *h);			/* an exchange; hooks don't know of it yet */
void h1_exchange_end(struct h1 *h, const char *why);

/* A hook's say; true: the exchange waits for it */
static inline bool h1_waits(struct h1 *h, enum hook_verdict v)
{
	h->decided = false;
	h->waiting = v == HOOK_WAIT;
	h->wait_ns = h->now_ns;
	return h->waiting;
}

static inline bool h1_hooked(const struct h1 *h)
{
	return h->r.hooks && h->r.hooks->n;
}

#endif /* GW_H1_INT_H */
