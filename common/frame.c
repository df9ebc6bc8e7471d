/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "frame.h"

#ifdef FRAME_GUARDED
#include <sanitizer/asan_interface.h>
#endif

#ifdef FRAME_GUARDED
/* Of [off, off + len) what lies in the own buffer */
static void open_up(struct frame *f, int64_t off, size_t len)
{
	int64_t end = MIN(off + (int64_t)len, (int64_t)f->room);

	off = MAX(off, 0);
	if (off < end)
		__asan_unpoison_memory_region(frame_at(f, off), (size_t)(end - off));
}

void frame_guard(struct frame *f, size_t head, size_t tail)
{
	__asan_poison_memory_region(f->buf, f->room);
	open_up(f, f->off - (int64_t)head, head + f->len + tail);
	if (f->encap_len)
		open_up(f, f->encap_off, f->encap_len);
	if (f->opt_len)
		open_up(f, f->opt_off, f->opt_len);
}

void frame_unguard(struct frame *f)
{
	open_up(f, 0, f->room);
}
#endif

/* A buffer off what is free */
static bool cut(struct frame *f, struct frame_space *s, size_t bytes)
{
	size_t size = MIN(frame_spread(bytes + FRAME_REDZONE), (size_t)s->stride);

	if (size > (size_t)(s->end - s->at))
		return false;
	f->buf = s->at;
	f->room = (uint32_t)size;
	s->at += size;
	return true;
}

bool frame_find_room(struct frame *f, size_t bytes)
{
	struct frame_space *s = f->space;

	if (!s || bytes > s->stride || f->spare)
		return false;
	if (!f->room && s->at) {
		if (!cut(f, s, bytes))
			return false;
	} else {
		f->buf = s->spare + (size_t)(f->version - s->versions) * s->stride;
		f->room = s->stride;
		frame_touch(f);
		f->spare = 1;
	}
	frame_unguard(f);
	return true;
}

/*
 * Into the own buffer: @data as the packet, behind its headroom, foreign options and the
 * encapsulation at the very end
 */
static bool settle(struct frame *f, const uint8_t *data, size_t len, size_t tail)
{
	size_t back = (size_t)f->opt_len + f->encap_len;
	const uint8_t *opt = frame_at(f, f->opt_off);
	uint8_t hold[ENCAP_MAX], *end;

	if (f->encap_len > sizeof(hold))
		return false;
	if (f->encap_len)	/* it may lie where the packet goes */
		memcpy(hold, frame_encap(f), f->encap_len);
	if (!frame_room(f, FRAME_HEADROOM + len + tail + back))
		return false;
	frame_touch(f);
	frame_unguard(f);
	memmove(f->buf + FRAME_HEADROOM, data, len);
	f->off = (int64_t)FRAME_HEADROOM;
	end = f->buf + f->room - back;
	if (f->opt_len)
		memmove(end, opt, f->opt_len);
	f->opt_off = frame_rel(f, end);
	if (f->encap_len)
		memcpy(end + f->opt_len, hold, f->encap_len);
	f->encap_off = frame_rel(f, end + f->opt_len);
	return true;
}

bool frame_own(struct frame *f, size_t tail)
{
	if (!settle(f, frame_data(f), f->len, tail))
		return false;
	frame_guard(f, FRAME_HEADROOM, tail);
	return true;
}

/* Does [at, at + len) lie outside of [from, to)? */
static bool apart(int64_t at, size_t len, int64_t from, int64_t to)
{
	return !len || at >= to || at + (int64_t)len <= from;
}

bool frame_grow(struct frame *f, size_t tail)
{
	int64_t end = f->off + f->len, grown = end + (int64_t)tail;

	if (f->off < 0 || grown > (int64_t)f->room ||
	    !apart(f->encap_off, f->encap_len, end, grown) ||
	    !apart(f->opt_off, f->opt_len, end, grown))
		return frame_own(f, tail);
	frame_touch(f);
	frame_guard(f, 0, tail);
	return true;
}

bool frame_set(struct frame *f, const void *data, size_t len)
{
	if (!settle(f, data, len, 0))
		return false;
	f->len = f->orig_len = (uint32_t)len;
	f->pkt.flags = 0;
	frame_guard(f, 0, 0);
	return true;
}

bool frame_copy(struct frame *to, struct frame *from, size_t tail)
{
	bool front = from->encap_len && from->encap_off + from->encap_len == from->off;
	size_t head = front ? from->encap_len : FRAME_HEADROOM;
	size_t aux = from->opt_len + (front ? 0u : from->encap_len);
	uint8_t *back, spare;

	if (!frame_room(to, head + from->len + tail + aux))
		return false;
	frame_touch(to);
	frame_unguard(to);
	spare = to->spare;
	memcpy(to, from, FRAME_SHARED);
	to->spare = spare;
	to->off = (int64_t)head;
	if (front)
		memcpy(to->buf, frame_encap(from), head + from->len);
	else
		memcpy(to->buf + head, frame_data(from), from->len);
	to->encap_off = front ? to->off - from->encap_len : 0;
	if (likely(!aux)) {
		frame_guard(to, 0, tail);
		return true;
	}
	back = to->buf + to->room - aux;
	if (from->opt_len)
		memcpy(back, frame_at(from, from->opt_off), from->opt_len);
	to->opt_off = frame_rel(to, back);
	if (!front && from->encap_len) {
		memcpy(back + from->opt_len, frame_encap(from), from->encap_len);
		to->encap_off = frame_rel(to, back + from->opt_len);
	}
	frame_guard(to, 0, tail);
	return true;
}

/* Descriptors lie side by side, in a few pages: each is looked at again and again */
struct frame **frame_pool_new(unsigned n, size_t room)
{
	size_t each = frame_spread(sizeof(struct frame)), stride = frame_spread(room);
	size_t buffers = n * (each + FRAME_LINE), size = buffers + n * stride;
	struct frame **pool = calloc(n + 1, sizeof(*pool));
	uint8_t *mem = pool ? aligned_alloc(FRAME_LINE, size) : NULL;

	if (!mem) {
		free(pool);
		return NULL;
	}
	for (unsigned i = 0; i < n; i++) {
		pool[i] = (struct frame *)(void *)(mem + i * each);
		pool[i]->buf = mem + buffers + i * stride;
		pool[i]->room = (uint32_t)stride;
		pool[i]->version = (_Atomic uint32_t *)(void *)(mem + n * each) + i;
		pool[i]->space = NULL;
		pool[i]->spare = 0;
		atomic_init(pool[i]->version, 0);
		frame_reset(pool[i]);
	}
	return pool;
}

void frame_pool_free(struct frame **pool)
{
	if (pool)
		free(pool[0]);
	free(pool);
}
