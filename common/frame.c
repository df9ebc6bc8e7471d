/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "frame.h"

/* Not a multiple of the page size: headers at one offset of every page would
 * share a few sets of the L1 cache. */
#define STRIDE_ALIGN	64u

void frame_reset(struct frame *f)
{
	uint32_t room = f->room;

	memset(f, 0, sizeof(*f));
	f->magic = FRAME_MAGIC;
	f->version = FRAME_VERSION;
	f->size = sizeof(*f);
	f->room = room;
}

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
		f->opt_off = frame_rel(f, f->buf + aux);
		aux += f->opt_len;
	}
	if (f->encap_len) {
		memmove(f->buf + aux, frame_encap(f), f->encap_len);
		f->encap_off = frame_rel(f, f->buf + aux);
	}
}

bool frame_own(struct frame *f, size_t tail)
{
	uint8_t hold[ENCAP_MAX];
	size_t aux;

	if (f->encap_len > sizeof(hold) || !own_layout(f, f->len, tail, &aux))
		return false;
	/* The encapsulation may lie in the headroom the packet moves into */
	memcpy(hold, frame_encap(f), f->encap_len);
	f->encap_off = frame_rel(f, hold);
	memmove(f->buf + FRAME_HEADROOM, frame_data(f), f->len);
	f->off = frame_rel(f, f->buf + FRAME_HEADROOM);
	own_aux(f, aux);
	return true;
}

bool frame_set(struct frame *f, const void *data, size_t len)
{
	size_t aux;

	if (!own_layout(f, len, 0, &aux))
		return false;
	own_aux(f, aux);
	memmove(f->buf + FRAME_HEADROOM, data, len);
	f->off = frame_rel(f, f->buf + FRAME_HEADROOM);
	f->len = f->orig_len = (uint32_t)len;
	f->pkt.flags = 0;
	return true;
}

struct frame **frame_pool_new(unsigned n, size_t room)
{
	size_t stride = sizeof(struct frame) + room;
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
		pool[i]->room = (uint32_t)(stride - sizeof(struct frame));
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
