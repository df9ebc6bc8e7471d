/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "frame.h"

#ifdef FRAME_GUARDED
#include <sanitizer/asan_interface.h>
#endif

/* Not a multiple of the page size: headers at one offset of every page would
 * share a few sets of the L1 cache. */
#define STRIDE_ALIGN	64u

/* Descriptor and version word, before a buffer in a pool */
#define FRONT		192u

_Static_assert(sizeof(struct frame) + sizeof(uint32_t) <= FRONT, "and the version word");

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

/* Layout of an own buffer: encapsulation and foreign options at the very end,
 * the packet behind its headroom. */
static bool own_layout(const struct frame *f, size_t len, size_t tail, size_t *aux)
{
	size_t back = (size_t)f->encap_len + f->opt_len;

	if (back + FRAME_HEADROOM > f->room ||
	    len + tail > f->room - FRAME_HEADROOM - back)
		return false;
	*aux = f->room - back;
	return true;
}

static void own_aux(struct frame *f, size_t aux)
{
	if (f->opt_len) {
		memmove(f->buf + aux, frame_at(f, f->opt_off), f->opt_len);
		f->opt_off = (int64_t)aux;
		aux += f->opt_len;
	}
	if (f->encap_len) {
		memmove(f->buf + aux, frame_encap(f), f->encap_len);
		f->encap_off = (int64_t)aux;
	}
}

bool frame_own(struct frame *f, size_t tail)
{
	uint8_t hold[ENCAP_MAX];
	size_t aux;

	if (f->encap_len > sizeof(hold) || !own_layout(f, f->len, tail, &aux))
		return false;
	frame_touch(f);
	frame_unguard(f);
	/* The encapsulation may lie in the headroom the packet moves into */
	memcpy(hold, frame_encap(f), f->encap_len);
	f->encap_off = frame_rel(f, hold);
	memmove(f->buf + FRAME_HEADROOM, frame_data(f), f->len);
	f->off = (int64_t)FRAME_HEADROOM;
	own_aux(f, aux);
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
	size_t aux;

	if (!own_layout(f, len, 0, &aux))
		return false;
	frame_touch(f);
	frame_unguard(f);
	own_aux(f, aux);
	memmove(f->buf + FRAME_HEADROOM, data, len);
	f->off = (int64_t)FRAME_HEADROOM;
	f->len = f->orig_len = (uint32_t)len;
	f->pkt.flags = 0;
	frame_guard(f, 0, 0);
	return true;
}

bool frame_copy(struct frame *to, struct frame *from, size_t tail)
{
	bool front = from->encap_len && from->encap_off + from->encap_len == from->off;
	size_t head = FRAME_HEADROOM + (front ? from->encap_len : 0u);
	size_t aux = from->opt_len + (front ? 0u : from->encap_len);
	uint8_t *buf = to->buf, *back;
	uint16_t slot = to->slot;

	if (head + from->len + tail + aux > to->room)
		return false;
	frame_touch(to);
	frame_unguard(to);
	memcpy(to, from, FRAME_SHARED);
	to->slot = slot;
	to->off = (int64_t)head;
	memcpy(buf + head - (front ? from->encap_len : 0u),
	       front ? frame_encap(from) : frame_data(from),
	       from->len + (front ? from->encap_len : 0u));
	to->encap_off = front ? to->off - from->encap_len : 0;
	if (likely(!aux)) {
		frame_guard(to, 0, tail);
		return true;
	}
	back = buf + to->room - aux;
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

struct frame **frame_pool_new(unsigned n, size_t room)
{
	size_t stride = FRONT + room;
	struct frame **pool;
	uint8_t *mem;

	stride = (stride + STRIDE_ALIGN - 1) / STRIDE_ALIGN * STRIDE_ALIGN;
	if (stride % 4096 == 0)
		stride += STRIDE_ALIGN;
	pool = calloc(n + 1, sizeof(*pool));
	mem = pool ? aligned_alloc(STRIDE_ALIGN, n * stride) : NULL;
	if (!mem) {
		free(pool);
		return NULL;
	}
	for (unsigned i = 0; i < n; i++) {
		pool[i] = (struct frame *)(void *)(mem + i * stride);
		pool[i]->buf = mem + i * stride + FRONT;
		pool[i]->room = (uint32_t)(stride - FRONT);
		pool[i]->version = (_Atomic uint32_t *)(void *)(pool[i]->buf - sizeof(uint32_t));
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
