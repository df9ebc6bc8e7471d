/* SPDX-License-Identifier: MIT */
/*
 * h2.c - HTTP/2 between two legs: steps, time-outs, ends
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "clock.h"
#include "h2_int.h"
#include "wire.h"

#define STEP_MAX	64u
#define READ_ROOM	65536u
#define QUEUE_MAX	1000u	/* frames */

/* nghttp2 takes all of what it is given: no connection needs a buffer of its own for this */
static _Thread_local uint8_t in[READ_ROOM];

static void reset(struct h2 *h, const char *why)
{
	if (h->over)
		return;
	if (!h->r.why)
		h->r.why = why;
	h->over = RELAY_RESET;
}

/* Say goodbye; what is to be sent is sent */
static void finish(struct h2 *h, const char *why, uint32_t code)
{
	if (h->ending)
		return;
	h->ending = true;
	h->end_ns = h->now_ns;
	if (!h->r.why)
		h->r.why = why;
	if (!h->client_eof)
		nghttp2_session_terminate_session(h->cs, code);
	if (!h->server_eof)
		nghttp2_session_terminate_session(h->ss, code);
}

/* The server is gone: what it still owed is cut off, what it sent is delivered. */
static void server_gone(struct h2 *h, const char *why)
{
	if (h->server_eof)
		return;
	h->server_eof = true;
	h2_server_gone(h, why);
	if (!h->goaway && h->nstreams)
		nghttp2_submit_goaway(h->cs, NGHTTP2_FLAG_NONE,
				      nghttp2_session_get_last_proc_stream_id(h->cs), NGHTTP2_NO_ERROR,
				      NULL, 0);
	h->goaway = true;
	if (!h->nstreams)
		finish(h, why, NGHTTP2_NO_ERROR);
}

/* Streams that data came for */
static void run_todo(struct h2 *h)
{
	h->todo = false;
	for (struct h2_stream *s = h->streams; s; s = s->next)
		if (s->todo) {
			s->todo = false;
			h2_stream_run(s);
		}
}

static void grant(struct h2 *h)
{
	for (struct h2_stream *s = h->streams; s; s = s->next) {
		if (h->wider_up)
			h2_half_grant(s, true);
		if (h->wider_down)
			h2_half_grant(s, false);
	}
	h->wider_up = h->wider_down = false;
}

/* Bodies are held back by their windows; this is for all else that asks for answers */
static bool queued(const struct h2 *h, bool client)
{
	return nghttp2_session_get_outbound_queue_size(h->cs) > QUEUE_MAX ||
	       (client && nghttp2_session_get_outbound_queue_size(h->ss) > QUEUE_MAX);
}

static bool take(struct h2 *h, bool client)
{
	struct lane *on = client ? &h->to_server : &h->to_client;
	struct leg *l = client ? h->r.client : h->r.server;
	short *want = client ? &h->want_client_in : &h->want_server_in;
	nghttp2_session *session = client ? h->cs : h->ss;
	size_t room = LANE_ROOM;
	ssize_t n, used;

	*want = on->full = 0;
	if ((client ? h->client_eof : h->server_eof) || h->over || queued(h, client))
		return false;
	if (!(client && h->server_eof) && !(room = lane_takes(on, l, h->now_ns)))
		return false;
	n = leg_read(l, in, MIN(room, on->fast ? sizeof(in) : LANE_ROOM));
	if (n == -EAGAIN) {
		*want = l->wants;
		return false;
	}
	if (n < 0) {
		reset(h, client ? "client reset" : "server reset");
		return false;
	}
	if (!n && client) {
		h->client_eof = true;
		finish(h, "done", NGHTTP2_NO_ERROR);
		return true;
	}
	if (!n) {
		server_gone(h, "server closed");
		return true;
	}
	h->moved_ns = h->now_ns;
	*(client ? &h->r.conn->bytes_up : &h->r.conn->bytes_down) += (uint64_t)n;
	used = nghttp2_session_mem_recv(session, in, (size_t)n);
	if (h->todo)
		run_todo(h);
	if (h->wider_up || h->wider_down)
		grant(h);
	if (used == n)
		return true;
	if (used == NGHTTP2_ERR_NOMEM)
		reset(h, "no memory");
	else if (!client)
		server_gone(h, "refused: http/2 of the server");
	else
		finish(h, used == NGHTTP2_ERR_FLOODED ? "refused: flood" : "refused: http/2",
		       used == NGHTTP2_ERR_FLOODED ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_PROTOCOL_ERROR);
	h->client_eof |= client;
	return true;
}

static bool give(struct h2 *h, bool client)
{
	struct lane *l = client ? &h->to_client : &h->to_server;
	nghttp2_session *session = client ? h->cs : h->ss;
	const uint8_t *p;
	ssize_t n = 0;
	size_t done;

	if (h->over || (!client && h->server_eof))
		return false;
	while (lane_waiting(l) < LANE_OUT_MAX && (n = nghttp2_session_mem_send(session, &p)) > 0)
		if (lane_put(l, p, (size_t)n)) {
			reset(h, "no memory");
			return false;
		}
	if (n < 0) {
		reset(h, "no memory");
		return false;
	}
	n = lane_flush(l, &done);
	if (done)
		h->moved_ns = h->now_ns;
	if (n < 0 && n != -EAGAIN) {
		if (client)
			reset(h, "client reset");
		else
			server_gone(h, "server reset");
	}
	return done != 0;
}

/* Streams that a hook let wait, and that go on now */
static void resume(struct h2 *h)
{
	struct h2_stream *s, *next;

	h->resumed = false;
	for (s = h->streams; s; s = next) {
		next = s->next;
		if (s->decided)
			h2_stream_run(s);
	}
}

static uint64_t stream_deadline(const struct h2 *h, const struct h2_stream *s)
{
	bool waits = s->x.wait.point != POINT_NONE;
	uint64_t more = !waits && (s->resp == H2_SENT || !s->up.in_end) ? h->t.body_ns :
			h->t.response_ns;

	return more ? (waits ? s->wait_ns : s->moved_ns) + more : UINT64_MAX;
}

/* Streams whose time is over; the next look is when the first of the others may be */
static void scan(struct h2 *h)
{
	uint64_t first = UINT64_MAX;

	for (struct h2_stream *s = h->streams; s; s = s->next) {
		uint64_t end = stream_deadline(h, s);

		if (end <= h->now_ns && s->timed_out) {		/* not even the reset was taken */
			reset(h, "timeout");
			return;
		}
		if (end <= h->now_ns) {
			h2_stream_reset(s, NGHTTP2_CANCEL, "timeout");
			s->timed_out = true;
			s->moved_ns = s->wait_ns = h->now_ns;
			end = stream_deadline(h, s);
		}
		if (end < first)
			first = end;
	}
	h->scan_ns = first;
}

static uint64_t deadline(struct h2 *h)
{
	if (h->ending)
		return h->end_ns + h->t.linger_ns;
	if (!h->nstreams) {
		h->scan_ns = 0;
		return h->t.idle_ns ? h->moved_ns + h->t.idle_ns : 0;
	}
	return h->scan_ns == UINT64_MAX ? 0 : h->scan_ns;
}

static void time_out(struct h2 *h)
{
	if (h->ending)
		h->over = RELAY_DONE;
	else if (h->nstreams)
		scan(h);
	else if (lane_waiting(&h->to_client))	/* nor is it idle */
		reset(h, "timeout");
	else
		finish(h, "idle", NGHTTP2_NO_ERROR);
}

/* Nothing is left to say to the client, or to hear from it */
static void look_for_end(struct h2 *h)
{
	if (h->over)
		return;
	if (!h->ending && !nghttp2_session_want_read(h->cs) && !nghttp2_session_want_write(h->cs))
		finish(h, "done", NGHTTP2_NO_ERROR);
	if (!h->ending && h->goaway && !h->nstreams)
		finish(h, "server closed", NGHTTP2_NO_ERROR);
	if (!h->ending || lane_waiting(&h->to_client) || (lane_waiting(&h->to_server) && !h->server_eof))
		return;
	if (!h->client_eof && nghttp2_session_want_write(h->cs))
		return;
	h->to_client.shut = true;
	if (h->client_eof || h->to_client.shut_done)
		h->over = RELAY_DONE;
}

static enum relay_state h2_step(struct relay *r, uint64_t now_ns)
{
	struct h2 *h = (struct h2 *)r;
	unsigned rounds = 0;
	bool again = true;

	h->now_ns = now_ns;
	if (r->deadline_ns && now_ns >= r->deadline_ns && deadline(h) && now_ns >= deadline(h))
		time_out(h);
	if (h->resumed)
		resume(h);
	while (again && !h->over && rounds++ < STEP_MAX) {
		again = take(h, true);
		again |= take(h, false);
		again |= give(h, false);
		again |= give(h, true);
		h2_sweep(h, NULL);
		look_for_end(h);
	}
	if (h->over)
		return h->over;
	r->want_client = h->want_client_in | h->to_client.want_out | h->to_client.full;
	r->want_server = h->want_server_in | h->to_server.want_out | h->to_server.full;
	r->deadline_ns = again ? now_ns : deadline(h);
	return RELAY_WAIT;
}

static void h2_free(struct relay *r, const char *why)
{
	struct h2 *h = (struct h2 *)r;
	struct h2_stream *s;

	h2_sweep(h, why ? why : "done");
	nghttp2_session_del(h->cs);
	nghttp2_session_del(h->ss);
	while ((s = h->spare)) {
		h->spare = s->next;
		h2_stream_free(s);
	}
	lane_free(&h->to_client);
	lane_free(&h->to_server);
	free(h);
}

static const struct relay_ops ops = { "h2", h2_step, h2_free };

struct relay *h2_relay_new(struct leg *client, struct leg *server, struct conn_facts *c,
			   const struct hooks *hooks, const struct relay_times *t)
{
	struct h2 *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->r = (struct relay){ .ops = &ops, .client = client, .server = server, .conn = c,
			       .hooks = hooks, .want_client = POLLIN, .want_server = POLLIN | POLLOUT };
	h->t = *t;
	h->to_client = (struct lane){ .to = client };
	h->to_server = (struct lane){ .to = server };
	h->now_ns = h->moved_ns = clock_mono();
	if (h2_sessions_new(h)) {
		h2_free(&h->r, "no memory");
		return NULL;
	}
	return &h->r;
}
