/* SPDX-License-Identifier: MIT */
/*
 * h2half.c - Bodies of HTTP/2: held until the other side takes them
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "h2_int.h"

#define FRAME_HEAD	9u

/* A buffer lasts as long as there is something in it. */
int h2_buf_add(struct h2_buf *b, const void *data, size_t len, bool large)
{
	size_t left = b->end - b->off, room = b->room;
	uint8_t *now;

	if (!room)
		room = len < LANE_BULK ? LANE_ROOM / 4 : large ? LANE_OUT_MAX : LANE_ROOM;
	if (b->room - b->end < len) {
		while (room < left + len)
			room *= 2;
		if (room == b->room) {
			memmove(b->p, b->p + b->off, left);
		} else {
			if (!(now = lane_take(room)))
				return -ENOMEM;
			if (left)
				memcpy(now, b->p + b->off, left);
			lane_give(b->p, b->room);
			b->p = now;
			b->room = room;
		}
		b->off = 0;
		b->end = left;
	}
	if (len)
		memcpy(b->p + b->end, data, len);
	b->end += len;
	return 0;
}

/* What is going to wait needs no room to grow; without memory it stays where it is */
static void buf_trim(struct h2_buf *b)
{
	size_t left = b->end - b->off;
	uint8_t *now = left && b->room > left ? malloc(left) : NULL;

	if (!now)
		return;
	memcpy(now, b->p + b->off, left);
	lane_give(b->p, b->room);
	*b = (struct h2_buf){ .p = now, .room = left, .end = left };
}

void h2_buf_drop(struct h2_buf *b, size_t n)
{
	b->off += n;
	if (b->off < b->end)
		return;
	lane_give(b->p, b->room);
	*b = (struct h2_buf){ 0 };
}

static struct h2_half *half_of(struct h2_stream *s, bool up)
{
	return up ? &s->up : &s->down;
}

/* Where the bytes of this direction come from */
static nghttp2_session *source(struct h2_stream *s, bool up)
{
	return up ? s->h->cs : s->h->ss;
}

static int32_t source_id(const struct h2_stream *s, bool up)
{
	return up ? s->client_id : s->server_id;
}

/* @n bytes went on; what may come for them is up to h2_half_grant(). */
void h2_half_open(struct h2_stream *s, bool up, size_t n)
{
	struct h2_half *f = half_of(s, up);
	nghttp2_session *from = source(s, up);
	size_t conn;

	if (n > f->owed)
		n = f->owed;
	f->owed -= n;
	s->h->held -= n;
	conn = n < f->owed_conn ? n : f->owed_conn;
	f->owed_conn -= conn;
	if (conn)
		nghttp2_session_consume_connection(from, conn);
}

/* What this direction's reader takes now */
static int32_t window(struct h2_stream *s, bool up)
{
	nghttp2_session *to = up ? s->h->ss : s->h->cs;
	int32_t all = nghttp2_session_get_remote_window_size(to), one;

	if (!(up ? s->server_open : s->client_open))
		return 0;
	one = nghttp2_session_get_stream_remote_window_size(to, up ? s->server_id : s->client_id);
	return one < all ? one : all;
}

void h2_half_grant(struct h2_stream *s, bool up)
{
	struct h2_half *f = half_of(s, up);
	int32_t most = window(s, up), has;

	if (most <= 0)
		buf_trim(&f->out);
	/* Short bodies need no more than they have */
	if (!(up ? s->client_open : s->server_open) || f->in_end || f->moved < H2_WINDOW / 2)
		return;
	if (most < (int32_t)H2_AHEAD)
		most = H2_AHEAD;
	if (most > (int32_t)H2_WINDOW_BIG)
		most = H2_WINDOW_BIG;
	has = nghttp2_session_get_stream_local_window_size(source(s, up), source_id(s, up)) +
	      (int32_t)f->owed;
	if (has <= most / 2)
		nghttp2_submit_window_update(source(s, up), NGHTTP2_FLAG_NONE, source_id(s, up),
					     most - has);
}

void h2_half_free(struct h2_stream *s, bool up)
{
	struct h2_half *f = half_of(s, up);

	h2_half_open(s, up, f->owed);
	if (f->owed_conn)
		nghttp2_session_consume_connection(source(s, up), f->owed_conn);
	lane_give(f->pre.p, f->pre.room);
	lane_give(f->out.p, f->out.room);
	if (s->reading == f->trailers)	/* what is still to come of them is thrown away */
		s->reading = NULL;
	message_free(f->trailers);
	*f = (struct h2_half){ 0 };
}

int h2_trailers_begin(struct h2_stream *s, bool up)
{
	struct h2_half *f = half_of(s, up);

	message_free(f->trailers);
	s->reading = f->trailers = message_new();
	return s->reading ? 0 : -ENOMEM;
}

int h2_half_came(struct h2_stream *s, bool up, const uint8_t *data, size_t len)
{
	struct h2_half *f = half_of(s, up);

	f->moved += len;
	f->owed += len;
	s->h->held += len;
	if (s->h->held > H2_HELD)
		f->owed_conn += len;
	else
		nghttp2_session_consume_connection(source(s, up), len);
	if (up)
		s->x.req_bytes += len;
	else
		s->x.resp_bytes += len;
	return h2_buf_add(f->edit ? &f->pre : &f->out, data, len,
			  up ? s->h->to_server.fast : s->h->to_client.fast);
}

/* Something is there for the session that sends this half. */
void h2_half_wake(struct h2_stream *s, bool up)
{
	struct h2_half *f = half_of(s, up);

	if (!f->idle || (f->out.off == f->out.end && !f->out_end))
		return;
	f->idle = false;
	nghttp2_session_resume_data(up ? s->h->ss : s->h->cs, up ? s->server_id : s->client_id);
}

static ssize_t read_half(struct h2_stream *s, bool up, size_t len, uint32_t *flags)
{
	const struct lane *l = up ? &s->h->to_server : &s->h->to_client;
	struct h2_half *f = half_of(s, up);
	size_t n = f->out.end - f->out.off, waits = lane_waiting(l);

	/* While its reader is slow one frame is enough */
	if (waits >= (l->fast && !l->want_out ? LANE_OUT_MAX - LANE_BULK : LANE_BULK))
		return NGHTTP2_ERR_PAUSE;
	if (len > LANE_OUT_MAX - FRAME_HEAD - waits)
		len = LANE_OUT_MAX - FRAME_HEAD - waits;
	if (!n && !f->out_end) {
		f->idle = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	if (n <= len && f->out_end) {
		*flags |= NGHTTP2_DATA_FLAG_EOF;
		if (f->trailers && !h2_submit_trailers(s, up))
			*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
	}
	*flags |= NGHTTP2_DATA_FLAG_NO_COPY;
	return (ssize_t)(n < len ? n : len);
}

static ssize_t read_up(nghttp2_session *session, int32_t id, uint8_t *buf, size_t len, uint32_t *flags,
		       nghttp2_data_source *src, void *user)
{
	(void)session, (void)id, (void)buf, (void)user;
	return read_half(src->ptr, true, len, flags);
}

static ssize_t read_down(nghttp2_session *session, int32_t id, uint8_t *buf, size_t len, uint32_t *flags,
			 nghttp2_data_source *src, void *user)
{
	(void)session, (void)id, (void)buf, (void)user;
	return read_half(src->ptr, false, len, flags);
}

nghttp2_data_provider h2_half_provider(struct h2_stream *s, bool up)
{
	return (nghttp2_data_provider){ .source = { .ptr = s }, .read_callback = up ? read_up : read_down };
}

/* A DATA frame: its head, and what read_half() promised */
int h2_half_send(struct h2 *h, bool up, struct h2_stream *s, const uint8_t *head, size_t len,
		 size_t pad)
{
	struct lane *l = up ? &h->to_server : &h->to_client;
	struct h2_half *f = half_of(s, up);
	uint8_t *to;

	if (!(to = lane_room(l, FRAME_HEAD + pad + len)))
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	memcpy(to, head, FRAME_HEAD);
	to += FRAME_HEAD;
	if (pad)
		*to++ = (uint8_t)(pad - 1);
	if (len)
		memcpy(to, f->out.p + f->out.off, len);
	if (pad)
		memset(to + len, 0, pad - 1);
	lane_made(l, FRAME_HEAD + pad + len);
	if (len)
		h2_buf_drop(&f->out, len);
	s->moved_ns = h->now_ns;
	/* What hooks changed has another length: all is taken when all is gone */
	h2_half_open(s, up, f->out.p || f->pre.p || s->with_hooks.p ? len : f->owed);
	return 0;
}
