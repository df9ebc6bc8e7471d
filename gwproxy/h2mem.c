/* SPDX-License-Identifier: MIT */
/*
 * h2mem.c - Memory for nghttp2
 *
 * Each of its sessions keeps a buffer for a frame of the largest size, and writes little more
 * than small heads into it: bodies don't pass there.  From malloc(3) it is memory that others
 * have written to, and all of it counts.  So a session and its buffer share a slot of some pages: the
 * session itself lies in front, the buffer behind it, and of the pages that it does not use the kernel
 * gives none.  Who needs a slot and finds none gets memory as ever.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "h2_int.h"

#define PAGE		4096u
#define SLOT_ROOM	(5u * PAGE)
#define SLOTS		65536u		/* of a thread: addresses, not memory */
#define FRONT_MIN	2048u
#define FRONT_ROOM	3056u
#define BACK_MIN	16384u

/**
 * struct slot - Front and back are given and taken back one by one
 * @users:	How many of them are in use
 */
struct slot {
	uint8_t front[FRONT_ROOM];
	struct slot *next;
	unsigned users;
	_Alignas(16) uint8_t back[SLOT_ROOM - FRONT_ROOM - 16];
};

_Static_assert(sizeof(struct slot) == SLOT_ROOM, "slots begin with a page");

/**
 * struct slots - What one thread has
 * @made:	Slots that were ever used; @spare: those that are free
 * @open:	One whose front was given: the next buffer lies behind it
 */
static _Thread_local struct slots {
	struct slot *all, *spare, *open;
	size_t made;
} slots;

static struct slot *slot_of(const void *p)
{
	uintptr_t off = (uintptr_t)p - (uintptr_t)slots.all;

	return slots.all && off < SLOTS * sizeof(struct slot) ? &slots.all[off / sizeof(struct slot)] : NULL;
}

static bool slots_open(void)
{
	void *p;

	if (slots.all)
		return true;
	p = mmap(NULL, SLOTS * sizeof(struct slot), PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return false;
	madvise(p, SLOTS * sizeof(struct slot), MADV_NOHUGEPAGE);
	slots.all = p;
	return true;
}

static struct slot *slot_take(void)
{
	struct slot *s = slots.spare;

	if (s)
		slots.spare = s->next;
	else if (slots_open() && slots.made < SLOTS)
		s = &slots.all[slots.made++];
	if (s)
		s->users = 1;
	return s;
}

static void slot_leave(struct slot *s)
{
	if (--s->users)
		return;
	if (slots.open == s)
		slots.open = NULL;
	madvise((uint8_t *)s + PAGE, SLOT_ROOM - PAGE, MADV_DONTNEED);
	s->next = slots.spare;
	slots.spare = s;
}

static void *take(size_t size, void *user)
{
	struct slot *s = slots.open;

	(void)user;
	if (size <= BACK_MIN || size > sizeof(s->back))
		return malloc(size);
	if (s)
		s->users++;
	else if (!(s = slot_take()))
		return malloc(size);
	slots.open = NULL;
	return s->back;
}

static void *take_zero(size_t n, size_t size, void *user)
{
	struct slot *s;

	(void)user;
	if (n != 1 || size < FRONT_MIN || size > FRONT_ROOM || !(s = slot_take()))
		return calloc(n, size);
	slots.open = s;
	return memset(s->front, 0, size);
}

static void give(void *p, void *user)
{
	struct slot *s = slot_of(p);

	(void)user;
	if (s)
		slot_leave(s);
	else
		free(p);
}

/* nghttp2 takes its buffers in this way, too, and makes none of them larger */
static void *take_more(void *p, size_t size, void *user)
{
	if (!p)
		return take(size, user);
	return slot_of(p) ? NULL : realloc(p, size);
}

nghttp2_mem *h2_mem(void)
{
	static nghttp2_mem mem = { NULL, take, give, take_zero, take_more };

	return &mem;
}

void h2_mem_close(void)
{
	if (slots.all)
		munmap(slots.all, SLOTS * sizeof(struct slot));
	slots = (struct slots){ 0 };
}
