/* SPDX-License-Identifier: MIT */
/*
 * h2session.c - The two sessions of nghttp2, and what they tell
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "h1head.h"
#include "h2_int.h"

#define CHEAP_BURST	2000u	/* frames that ask for work and carry nothing */
#define CHEAP_PER_S	200u
#define CONN_WINDOW	(1 << 20)

static nghttp2_session_callbacks *calls;
static nghttp2_option *options;

static struct h2_stream *find(nghttp2_session *session, int32_t id)
{
	return nghttp2_session_get_stream_user_data(session, id);
}

/* Frames that cost the client next to nothing; true: too many of them */
static bool flooded(struct h2 *h)
{
	uint64_t since = h->now_ns - h->cheap_ns, back = since / (1000000000u / CHEAP_PER_S);

	if (back) {
		h->cheap = back >= h->cheap ? 0 : h->cheap - (unsigned)back;
		h->cheap_ns = h->now_ns;
	}
	return ++h->cheap > CHEAP_BURST;
}

static int flood(struct h2 *h, nghttp2_session *session)
{
	if (!flooded(h) || h->r.why)
		return 0;
	h->r.why = "refused: flood";
	return nghttp2_session_terminate_session(session, NGHTTP2_ENHANCE_YOUR_CALM) ?
	       NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct h2 *h = user;
	struct h2_stream *s;

	if (session == h->cs && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
		if (!(s = h2_stream_new(h, frame->hd.stream_id)))
			return NGHTTP2_ERR_CALLBACK_FAILURE;
		nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, s);
		return 0;
	}
	if (!(s = find(session, frame->hd.stream_id)))
		return 0;
	if (session == h->ss && s->resp == H2_NONE) {
		message_clear(s->respm);
		s->reading = s->respm;
		return 0;
	}
	return h2_trailers_begin(s, session == h->cs) ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t nlen, const uint8_t *value, size_t vlen, uint8_t flags, void *user)
{
	struct h2_stream *s = find(session, frame->hd.stream_id);
	struct text n = { (const char *)name, nlen }, v = { (const char *)value, vlen };

	(void)user;
	if (!s || !s->reading || s->bad)
		return 0;
	switch (h2_field(s, n, v, flags & NGHTTP2_NV_FLAG_NO_INDEX)) {
	case 0:
		return 0;
	case -E2BIG:
		if (s->reading != s->reqm)
			return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
		s->bad = h1_why_text(s->reqm->nfields == MESSAGE_FIELDS_MAX ? H1_MANY : H1_LARGE);
		s->bad_status = 431;
		return 0;
	default:
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	}
}

/* nghttp2 would leave the field out, and go on */
static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
			     size_t nlen, const uint8_t *value, size_t vlen, uint8_t flags, void *user)
{
	struct h2_stream *s = find(session, frame->hd.stream_id);

	(void)name, (void)nlen, (void)value, (void)vlen, (void)flags, (void)user;
	if (s && !s->x.why)
		s->x.why = "refused: field";
	return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int err, void *user)
{
	struct h2_stream *s = find(session, frame->hd.stream_id);

	(void)user, (void)err;
	if (s && !s->x.why)
		s->x.why = "refused: message";
	return 0;
}

/* However many may come: those that the client did not read yet lie in our memory */
static void interim_came(struct h2_stream *s)
{
	s->interim += s->respm->head_len + 64;
	if (s->answered)
		return;
	if (s->interim > H2_INTERIM_MAX)
		h2_stream_reset(s, NGHTTP2_ENHANCE_YOUR_CALM, h1_why_text(H1_INTERIM));
	else
		h2_submit_response(s, s->respm, true);
}

/* A head, or trailers, is all there */
static void headers_came(struct h2 *h, struct h2_stream *s, bool client)
{
	if (client && s->req == H2_NONE) {
		s->req = H2_CAME;
		s->up.edit = true;	/* until we know better, bodies wait for the hooks */
	} else if (!client && s->resp == H2_NONE) {
		if (s->respm->status < 200) {
			interim_came(s);
			return;
		}
		s->resp = H2_CAME;
		s->down.edit = true;
	}
	s->reading = NULL;
	s->moved_ns = h->now_ns;
}

static void goaway_came(struct h2 *h, nghttp2_session *session, const nghttp2_goaway *g)
{
	if (session == h->cs) {
		nghttp2_submit_goaway(h->ss, NGHTTP2_FLAG_NONE, 0, g->error_code, g->opaque_data,
				      g->opaque_data_len);
		return;
	}
	if (g->last_stream_id == INT32_MAX) {
		nghttp2_submit_shutdown_notice(h->cs);
		return;
	}
	h->goaway = true;
	nghttp2_submit_goaway(h->cs, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(h->cs),
			      g->error_code, g->opaque_data, g->opaque_data_len);
}

/* One side takes more: so may be sent by the other */
static void window_came(struct h2 *h, nghttp2_session *session, int32_t id)
{
	bool up = session == h->ss;
	struct h2_stream *s = id ? find(session, id) : NULL;

	if (s)
		h2_half_grant(s, up);
	else if (!id)
		*(up ? &h->wider_up : &h->wider_down) = true;
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct h2 *h = user;
	bool client = session == h->cs;
	struct h2_stream *s;

	switch (frame->hd.type) {
	case NGHTTP2_HEADERS:
	case NGHTTP2_DATA:
		if (frame->hd.type == NGHTTP2_DATA && !frame->hd.length && client &&
		    !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM) && flood(h, session))
			return NGHTTP2_ERR_CALLBACK_FAILURE;
		if (!(s = find(session, frame->hd.stream_id)))
			return 0;
		if (frame->hd.type == NGHTTP2_HEADERS)
			headers_came(h, s, client);
		if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
			(client ? &s->up : &s->down)->in_end = true;
		else if (frame->hd.type == NGHTTP2_DATA)
			return 0;
		h2_stream_run(s);
		return 0;
	case NGHTTP2_GOAWAY:
		goaway_came(h, session, &frame->goaway);
		return 0;
	case NGHTTP2_WINDOW_UPDATE:
		window_came(h, session, frame->hd.stream_id);
		return 0;
	case NGHTTP2_SETTINGS:
		window_came(h, session, 0);
		return frame->hd.flags & NGHTTP2_FLAG_ACK ? 0 : flood(h, session);
	case NGHTTP2_PING:
		return frame->hd.flags & NGHTTP2_FLAG_ACK ? 0 : flood(h, session);
	case NGHTTP2_RST_STREAM:
	case NGHTTP2_PRIORITY:
		return client ? flood(h, session) : 0;
	default:
		return 0;
	}
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
		   size_t len, void *user)
{
	struct h2 *h = user;
	struct h2_stream *s = find(session, id);

	(void)flags;
	if (!s || s->answered) {
		nghttp2_session_consume(session, id, len);
		return 0;
	}
	s->moved_ns = h->now_ns;
	if (h2_half_came(s, session == h->cs, data, len))
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	/* Hooks may search all that they hold for each piece: not for each of a thousand frames */
	s->todo = h->todo = true;
	return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
	struct h2 *h = user;
	struct h2_stream *s = find(session, id);
	bool client = session == h->cs;

	if (!s)
		return 0;
	/* It made work for the server and took it back, or made us do so: both cost it nothing */
	if (client && code != NGHTTP2_NO_ERROR && s->server_open && !s->answered && flood(h, session))
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	h2_stream_closed(s, client, code);
	return 0;
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	bool data = frame->hd.type == NGHTTP2_DATA;
	struct h2 *h = user;
	struct h2_stream *s;

	if ((!data && frame->hd.type != NGHTTP2_HEADERS) || !(s = find(session, frame->hd.stream_id)))
		return 0;
	if (data)	/* only now the window is less by it */
		h2_half_grant(s, session == h->ss);
	if (session == h->cs && frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
		h2_stream_sent_all(s);
	return 0;
}

static int send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head, size_t len,
		     nghttp2_data_source *src, void *user)
{
	struct h2 *h = user;

	return h2_half_send(h, session == h->ss, src->ptr, head, len, frame->data.padlen);
}

/* One for all connections: nghttp2 copies what it needs */
static void prepare(void)
{
	nghttp2_session_callbacks *c;

	if (nghttp2_option_new(&options) || nghttp2_session_callbacks_new(&c))
		return;
	nghttp2_session_callbacks_set_on_begin_headers_callback(c, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(c, on_header);
	nghttp2_session_callbacks_set_on_invalid_header_callback(c, on_invalid_header);
	nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(c, on_invalid_frame);
	nghttp2_session_callbacks_set_on_frame_recv_callback(c, on_frame_recv);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(c, on_stream_close);
	nghttp2_session_callbacks_set_on_frame_send_callback(c, on_frame_send);
	nghttp2_session_callbacks_set_send_data_callback(c, send_data);
	nghttp2_option_set_no_auto_window_update(options, 1);
	nghttp2_option_set_no_closed_streams(options, 1);
	nghttp2_option_set_max_outbound_ack(options, 100);
	nghttp2_option_set_max_settings(options, 32);
	nghttp2_option_set_peer_max_concurrent_streams(options, H2_STREAMS);
	nghttp2_option_set_stream_reset_rate_limit(options, 1000, 33);
	nghttp2_option_set_max_continuations(options, 8);
	/* A head as large as we take, and what rules add, has to go on */
	nghttp2_option_set_max_send_header_block_length(options, 2 * MESSAGE_HEAD_MAX);
	calls = c;
}

int h2_sessions_new(struct h2 *h)
{
	static const nghttp2_settings_entry to_client[] = {
		{ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, H2_STREAMS },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_WINDOW },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, MESSAGE_HEAD_MAX },
		{ NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1 },
	}, to_server[] = {
		{ NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_WINDOW },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, MESSAGE_HEAD_MAX },
	};
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, prepare);
	if (!calls || nghttp2_session_server_new3(&h->cs, calls, h, options, h2_mem()) ||
	    nghttp2_session_client_new3(&h->ss, calls, h, options, h2_mem()))
		return -ENOMEM;
	if (nghttp2_submit_settings(h->cs, NGHTTP2_FLAG_NONE, to_client, 4) ||
	    nghttp2_submit_settings(h->ss, NGHTTP2_FLAG_NONE, to_server, 3) ||
	    nghttp2_session_set_local_window_size(h->cs, NGHTTP2_FLAG_NONE, 0, CONN_WINDOW) ||
	    nghttp2_session_set_local_window_size(h->ss, NGHTTP2_FLAG_NONE, 0, CONN_WINDOW))
		return -ENOMEM;
	return 0;
}
