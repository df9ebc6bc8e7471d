/* SPDX-License-Identifier: MIT */
/*
 * ws.c - WebSocket messages between the lanes of an upgraded connection
 *
 * Theory of operation
 *
 * wslay takes frames apart and makes them.  What a message's frames carry is gathered until the
 * message ends or WS_PIECE bytes are there, handed to the hooks, and sent as one frame: a short
 * message is one frame again, a long one is fragments of that size, and never collected.
 *
 * Messages in permessage-deflate go on as they are, and hooks see them packed.  Only if a hook
 * announces that it will look at what is in them (body_changes() of an exchange that is upgraded)
 * they are unpacked, and go on unpacked: a message without RSV1 is legal at any time (RFC 7692, 6).
 */
#include <stdlib.h>
#include <string.h>

#include <sodium.h>
#include <wslay/wslay.h>
#include <zlib.h>

#include "h1_int.h"
#include "ws.h"

#define WS_PIECE	65536u

/**
 * struct ws_way - One direction
 * @frame:	That is coming in; @left: bytes of it to come
 * @open, @kind, @rsv:	A message is under way, its kind, RSV bits to send with its first frame
 * @begun:	Some of it was sent
 * @packed:	It is deflated, and we unpack it
 * @tail:	The bytes that end a deflated message were added
 * @dry:	All that came was looked at
 * @buf, @len:	Gathered; @ctl, @nctl: of a control frame
 */
struct ws_way {
	struct ws *w;
	struct lane *l;
	bool up;
	wslay_frame_context_ptr in, out;
	uint64_t left;
	bool in_frame, fin, open, begun, packed, tail, dry;
	enum ws_kind kind, control;
	uint8_t rsv;
	uint8_t *buf;
	size_t len;
	uint8_t ctl[128];
	size_t nctl;
	z_stream z;
	bool z_open;
};

struct ws {
	struct h1 *h;
	struct ws_way up, down;
	struct ws_way *asked;	/* whose piece the hooks have */
	bool asked_control, asked_last;
	bool deflate, unpack;
};

static const uint8_t deflate_tail[4] = { 0, 0, 0xff, 0xff };

static ssize_t on_recv(uint8_t *buf, size_t len, int flags, void *user)
{
	struct ws_way *y = user;
	size_t n = lane_len(y->l);

	(void)flags;
	if (!n)
		return -1;
	if (n > len)
		n = len;
	memcpy(buf, lane_data(y->l), n);
	*(y->up ? &y->w->h->x.req_bytes : &y->w->h->x.resp_bytes) += n;
	return lane_skip(y->l, n) ? -1 : (ssize_t)n;
}

static ssize_t on_send(const uint8_t *data, size_t len, int flags, void *user)
{
	struct ws_way *y = user;

	(void)flags;
	return lane_put(y->l, data, len) ? -1 : (ssize_t)len;
}

/* Many at once: each time the kernel is asked */
static int on_mask(uint8_t *buf, size_t len, void *user)
{
	static _Thread_local uint8_t random[1024];
	static _Thread_local size_t left;

	(void)user;
	if (left < len) {
		randombytes_buf(random, sizeof(random));
		left = sizeof(random);
	}
	left -= len;
	memcpy(buf, random + left, len);
	return 0;
}

static bool way_open(struct ws *w, struct ws_way *y, struct lane *l, bool up)
{
	static const struct wslay_frame_callbacks calls = { on_send, on_recv, on_mask };

	y->w = w;
	y->l = l;
	y->up = up;
	if (wslay_frame_context_init(&y->in, &calls, y) || wslay_frame_context_init(&y->out, &calls, y))
		return false;
	if (w->unpack && inflateInit2(&y->z, -15) != Z_OK)
		return false;
	y->z_open = w->unpack;
	return (y->buf = malloc(WS_PIECE)) != NULL;
}

static void way_close(struct ws_way *y)
{
	if (y->in)
		wslay_frame_context_free(y->in);
	if (y->out)
		wslay_frame_context_free(y->out);
	if (y->z_open)
		inflateEnd(&y->z);
	free(y->buf);
}

void ws_free(struct ws *w)
{
	if (!w)
		return;
	way_close(&w->up);
	way_close(&w->down);
	free(w);
}

struct ws *ws_new(struct h1 *h)
{
	static const char name[] = "sec-websocket-extensions", deflate[] = "permessage-deflate";
	size_t i = message_find(h->respm, name, 0), n = sizeof(deflate) - 1;
	struct text ext = i == (size_t)-1 ? text_of("") : h->respm->field[i].value;
	struct ws *w;

	if (!hooks_ws_looks(h->r.hooks, &h->x) || !(w = calloc(1, sizeof(*w))))
		return NULL;
	w->h = h;
	w->deflate = i != (size_t)-1;
	w->unpack = w->deflate && (hooks_body_changes(h->r.hooks, &h->x, false) ||
				   hooks_body_changes(h->r.hooks, &h->x, true));
	/* Another extension may use the frames in any way: nothing to look at */
	if (w->deflate && (ext.len < n || !text_same((struct text){ ext.p, n }, text_of(deflate)) ||
			   (ext.len > n && message_token_byte((uint8_t)ext.p[n])) ||
			   memchr(ext.p, ',', ext.len) || message_find(h->respm, name, i + 1) != (size_t)-1)) {
		ws_free(w);
		return NULL;
	}
	if (!way_open(w, &w->up, &h->up, true) || !way_open(w, &w->down, &h->down, false)) {
		ws_free(w);
		return NULL;
	}
	return w;
}

static bool send_frame(struct ws_way *y, uint8_t opcode, bool fin, uint8_t rsv, const uint8_t *data,
		       size_t len)
{
	struct wslay_frame_iocb io = { .fin = fin, .rsv = rsv, .opcode = opcode, .mask = y->up,
				       .payload_length = len, .data = data, .data_length = len };

	return wslay_frame_send(y->out, &io) == (ssize_t)len;
}

/* The hooks' say about a control frame, or a piece of a message */
static bool ask(struct ws *w)
{
	struct ws_way *y = w->asked;
	struct h1 *h = w->h;
	enum hook_verdict v = h->verdict;
	struct body *b = &h->piece;
	bool sent;

	if (!h->decided)
		v = hooks_ws_message(h->r.hooks, &h->x, y->up, w->asked_control ? y->control : y->kind, b);
	if (h1_waits(h, v))
		return false;
	w->asked = NULL;
	if (v != HOOK_PASS) {
		h1_reset(h, "dropped");
		return false;
	}
	if (w->asked_control) {
		sent = b->len <= 125 && send_frame(y, (uint8_t)y->control, true, 0, b->data, b->len);
	} else {
		sent = (!b->len && !w->asked_last) ||
		       send_frame(y, y->begun ? 0 : (uint8_t)y->kind, w->asked_last, y->begun ? 0 : y->rsv,
				  b->data, b->len);
		y->begun |= b->len != 0;
		y->len = 0;
		if (w->asked_last)
			y->open = y->begun = y->packed = false;
	}
	if (!sent)
		h1_reset(h, "no memory");
	return sent;
}

static bool piece(struct ws_way *y, bool control, bool last)
{
	struct body *b = &y->w->h->piece;

	b->data = control ? y->ctl : y->buf;
	b->len = control ? y->nctl : y->len;
	b->last = last;
	y->w->asked = y;
	y->w->asked_control = control;
	y->w->asked_last = last;
	return ask(y->w);
}

static bool broken(struct ws_way *y)
{
	h1_reset(y->w->h, "refused: websocket");
	return false;
}

/* A frame begins */
static bool begin(struct ws_way *y, const struct wslay_frame_iocb *io)
{
	bool first = io->opcode && !wslay_is_ctrl_frame(io->opcode);
	uint8_t allowed = y->w->deflate && first ? WSLAY_RSV1_BIT : 0;

	if (!io->mask == y->up || (io->rsv & (uint8_t)~allowed) || (io->opcode & 7) > 2)
		return false;	/* kinds 3 to 7 and 11 to 15 mean nothing yet */
	y->in_frame = true;
	y->left = io->payload_length;
	if (wslay_is_ctrl_frame(io->opcode)) {
		y->control = (enum ws_kind)io->opcode;
		y->nctl = 0;
		return io->fin && io->payload_length <= 125;
	}
	y->control = 0;
	y->fin = io->fin;
	if (!io->opcode)
		return y->open;
	if (y->open)
		return false;
	y->open = true;
	y->kind = (enum ws_kind)io->opcode;
	y->packed = y->w->unpack && io->rsv;
	y->rsv = y->w->unpack ? 0 : io->rsv;
	return true;
}

/* Unpack what is there, as far as it may go out; true: all of it */
static bool unpack(struct ws_way *y)
{
	int err;

	do {
		if (!y->z.avail_in && y->fin && !y->left && !y->tail) {
			y->tail = true;
			y->z.next_in = (uint8_t *)(uintptr_t)deflate_tail;
			y->z.avail_in = sizeof(deflate_tail);
		}
		y->z.next_out = y->buf + y->len;
		y->z.avail_out = (unsigned)(WS_PIECE - y->len);
		err = inflate(&y->z, Z_SYNC_FLUSH);
		y->len = WS_PIECE - y->z.avail_out;
		if (err == Z_STREAM_END) {	/* what follows a last block starts anew */
			inflateReset(&y->z);
			if (y->tail)
				y->z.avail_in = 0;
		} else if (err != Z_OK && (err != Z_BUF_ERROR || (y->z.avail_in && y->z.avail_out))) {
			return broken(y);
		}
		if (y->z.avail_out)
			continue;
		if (!piece(y, false, false) || lane_waiting(y->l) >= LANE_OUT_MAX)
			return false;
	} while (!y->z.avail_out || y->z.avail_in || (y->fin && !y->left && !y->tail));
	return true;
}

/* The end of a frame, and perhaps of a message; true: go on */
static bool finish(struct ws_way *y)
{
	if (y->packed && !y->control) {
		if (!unpack(y))
			return false;
		y->tail = false;
	}
	y->in_frame = false;
	if (y->control)
		return piece(y, true, true);
	return y->fin ? piece(y, false, true) : true;
}

static bool data(struct ws_way *y, const uint8_t *p, size_t n)
{
	y->left -= n;
	if (y->control) {
		memcpy(y->ctl + y->nctl, p, n);
		y->nctl += n;
		return true;
	}
	if (y->packed) {
		y->z.next_in = (uint8_t *)(uintptr_t)p;
		y->z.avail_in = (unsigned)n;
		return unpack(y);
	}
	if (n > WS_PIECE - y->len && !piece(y, false, false))	/* never: see step() */
		return false;
	memcpy(y->buf + y->len, p, n);
	y->len += n;
	return true;
}

/* One read of wslay's, of 4 KB at most; true: there may be more */
static bool step(struct ws_way *y)
{
	struct wslay_frame_iocb io;
	ssize_t n;

	if (y->packed && !y->control && y->z.avail_in && !unpack(y))
		return false;
	if (y->in_frame && !y->left)
		return finish(y);
	if (y->len > WS_PIECE - 8192 && !y->packed)	/* room for what comes next */
		return piece(y, false, false);
	n = wslay_frame_recv(y->in, &io);
	if ((y->dry = n == WSLAY_ERR_WANT_READ))
		return false;
	if (n < 0 || (!y->in_frame && !begin(y, &io)) || io.data_length > y->left)
		return broken(y);
	return !io.data_length || data(y, io.data, io.data_length);
}

bool ws_dry(const struct ws *w, bool from_client)
{
	return from_client ? w->up.dry : w->down.dry;
}

bool ws_take(struct ws *w, bool from_client)
{
	struct ws_way *y = from_client ? &w->up : &w->down;
	size_t before = lane_len(y->l), out = lane_waiting(y->l);

	y->dry = false;
	if (w->asked && (w->asked != y || !ask(w)))
		return false;
	while (lane_waiting(y->l) < LANE_OUT_MAX && step(y))
		;
	return lane_len(y->l) != before || lane_waiting(y->l) != out;
}
