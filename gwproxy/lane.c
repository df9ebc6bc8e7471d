/* SPDX-License-Identifier: MIT */
/*
 * lane.c - One direction of a relayed connection
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lane.h"

/* Buffers of the usual sizes that are free: each loop runs in a thread of its own.  Large ones are
 * full for the time of one step, most of them */
#define SPARE_MAX	64u
#define LARGE_MAX	4u

static _Thread_local struct spare {
	uint8_t *buf[SPARE_MAX];
	unsigned n;
} usual, large;

static struct spare *spare_of(size_t room)
{
	return room == LANE_ROOM ? &usual : room == LANE_OUT_MAX ? &large : NULL;
}

uint8_t *lane_take(size_t room)
{
	struct spare *s = spare_of(room);

	return s && s->n ? s->buf[--s->n] : malloc(room);
}

void lane_give(uint8_t *buf, size_t room)
{
	struct spare *s = spare_of(room);

	if (buf && s && s->n < (s == &large ? LARGE_MAX : SPARE_MAX))
		s->buf[s->n++] = buf;
	else
		free(buf);
}

void lane_spare_close(void)
{
	while (usual.n)
		free(usual.buf[--usual.n]);
	while (large.n)
		free(large.buf[--large.n]);
}

static void drop_in(struct lane *l)
{
	lane_give(l->in, l->room);
	l->in = NULL;
	l->room = l->sent = l->pass = l->end = 0;
}

static void drop_out(struct lane *l)
{
	lane_give(l->out, l->out_room);
	l->out = NULL;
	l->out_room = l->out_sent = l->out_end = 0;
}

void lane_free(struct lane *l)
{
	drop_in(l);
	drop_out(l);
}

/* Room behind @end: start anew when all is gone, move the rest down when little is left */
static bool make_room(struct lane *l)
{
	size_t left = l->end - l->sent;

	if (!left && l->room != LANE_ROOM)
		drop_in(l);
	if (!l->in) {
		if (!(l->in = lane_take(LANE_ROOM)))
			return false;
		l->room = LANE_ROOM;
	}
	if (!left) {
		l->sent = l->pass = l->end = 0;
	} else if (l->sent && l->room - l->end < l->room / 4) {
		memmove(l->in, l->in + l->sent, left);
		l->pass -= l->sent;
		l->sent = 0;
		l->end = left;
	}
	return true;
}

size_t lane_takes(struct lane *l, struct leg *from, uint64_t now_ns)
{
	size_t room = l->want_out ? 0 : leg_takes(l->to, from);

	l->full = room || l->want_out ? 0 : l->to->wants;
	if (!room) {
		if (!l->stuck_ns)
			l->stuck_ns = now_ns;
		return 0;
	}
	if (l->stuck_ns && now_ns - l->stuck_ns > LANE_SLOW_NS)
		l->moved = 0;
	l->stuck_ns = 0;
	l->fast = l->moved > LANE_FAST;
	return room;
}

ssize_t lane_fill(struct lane *l)
{
	ssize_t n;

	l->want_in = 0;
	if (l->eof)
		return 0;
	if (l->out_end - l->out_sent >= LANE_OUT_MAX)
		return -ENOBUFS;
	if (!make_room(l))
		return -ENOMEM;
	if (l->end == l->room)
		return -ENOBUFS;
	n = leg_read(l->from, l->in + l->end, l->room - l->end);
	if (n > 0) {
		l->end += (size_t)n;
		l->bytes += (size_t)n;
		return n;
	}
	if (l->sent == l->end)
		drop_in(l);
	if (n == -EAGAIN)
		l->want_in = l->from->wants;
	l->eof = !n;
	return n;
}

int lane_widen(struct lane *l, size_t room)
{
	size_t left = l->end - l->sent;
	uint8_t *now;

	if (l->room >= room)
		return -ENOBUFS;
	if (!(now = malloc(room)))
		return -ENOMEM;
	if (left)
		memcpy(now, l->in + l->sent, left);
	lane_give(l->in, l->room);
	l->in = now;
	l->room = room;
	l->pass -= l->sent;
	l->sent = 0;
	l->end = left;
	return 0;
}

static bool out_room(struct lane *l, size_t len)
{
	size_t left = l->out_end - l->out_sent, room = l->out_room;
	uint8_t *now;

	if (!room)
		room = l->fast && len > LANE_BULK ? LANE_OUT_MAX : LANE_ROOM;
	if (!left)
		l->out_sent = l->out_end = 0;
	if (l->out_room - l->out_end >= len)
		return true;
	while (room < left + len)
		room *= 2;
	if (room == l->out_room) {
		memmove(l->out, l->out + l->out_sent, left);
	} else {
		if (!(now = lane_take(room)))
			return false;
		if (left)
			memcpy(now, l->out + l->out_sent, left);
		lane_give(l->out, l->out_room);
		l->out = now;
		l->out_room = room;
	}
	l->out_sent = 0;
	l->out_end = left;
	return true;
}

/* What was to go on as it is joins what was made. */
static int settle(struct lane *l)
{
	size_t n = l->pass - l->sent;

	if (!n)
		return 0;
	if (!out_room(l, n))
		return -ENOMEM;
	memcpy(l->out + l->out_end, l->in + l->sent, n);
	l->out_end += n;
	l->sent = l->pass;
	return 0;
}

int lane_skip(struct lane *l, size_t n)
{
	if (settle(l))
		return -ENOMEM;
	l->pass += n;
	l->sent = l->pass;
	return 0;
}

uint8_t *lane_room(struct lane *l, size_t len)
{
	if (settle(l) || !out_room(l, len))
		return NULL;
	return l->out + l->out_end;
}

int lane_put(struct lane *l, const void *data, size_t len)
{
	uint8_t *to;

	if (!len)
		return 0;
	if (!(to = lane_room(l, len)))
		return -ENOMEM;
	memcpy(to, data, len);
	l->out_end += len;
	return 0;
}

static void throw_away(struct lane *l)
{
	drop_out(l);
	l->sent = l->pass;
	if (l->sent == l->end)
		drop_in(l);
}

/* @n bytes were written */
static void sent(struct lane *l, size_t n)
{
	size_t made = l->out_end - l->out_sent;

	if (n < made) {
		l->out_sent += n;
		return;
	}
	if (l->out)
		drop_out(l);
	l->sent += n - made;
	if (l->sent == l->end)
		drop_in(l);
}

static int flush_shut(struct lane *l)
{
	int err;

	if (!l->shut || l->shut_done)
		return 0;
	err = leg_shut_as(l->to, l->from);
	if (err == -EAGAIN)
		l->want_out = l->to->wants;
	else
		l->shut_done = true;
	return err;
}

ssize_t lane_flush(struct lane *l, size_t *done)
{
	ssize_t n;

	*done = 0;
	l->want_out = 0;
	if (l->dead)
		throw_away(l);
	while (lane_waiting(l)) {
		struct iovec iov[2];
		int k = 0;

		if (l->out_end > l->out_sent)
			iov[k++] = (struct iovec){ l->out + l->out_sent, l->out_end - l->out_sent };
		if (l->pass > l->sent)
			iov[k++] = (struct iovec){ l->in + l->sent, l->pass - l->sent };
		n = leg_writev(l->to, iov, k);
		if (n < 0) {
			if (n == -EAGAIN)
				l->want_out = l->to->wants;
			return n;
		}
		sent(l, (size_t)n);
		l->moved += (size_t)n;
		*done += (size_t)n;
	}
	n = l->dead ? 0 : flush_shut(l);
	return n ? n : (ssize_t)*done;
}
