/* SPDX-License-Identifier: MIT */
/* ringtest.h - What tests of the ring start from: a segment with its stages, and packets */
#ifndef GW_RINGTEST_H
#define GW_RINGTEST_H

#include <stdlib.h>
#include <string.h>

#include "ring.h"

#define ENTRIES	128u
#define ROOM	2048u

static struct ring ring;
static struct ring_pos pos[4];
static struct frame *burst[FRAME_BURST];

/* Whatever this machine has: bound to processor @cpu, or (0) to none */
static inline void bind_seat(unsigned k, uint32_t cpu)
{
	pos[k].cpu = cpu;
	ring.shm->seat[k].cpu = cpu;
}

/* A segment of a head and @stages stages, all of them seated */
static inline void begin_with(uint32_t entries, uint32_t room, unsigned stages)
{
	if (ring_create(&ring, entries, room))
		abort();
	for (unsigned k = 0; k <= stages; k++) {
		if (ring_sit(&pos[k], &ring, k))
			abort();
		bind_seat(k, 0);
		if (k < stages)
			ring_extend(&pos[k]);
	}
}

static inline void begin(unsigned stages)
{
	begin_with(ENTRIES, ROOM, stages);
}

static inline void end(void)
{
	ring_close(&ring);
}

/* What is shared of entry @i's descriptor */
static inline struct frame *shared(unsigned i)
{
	return (struct frame *)(void *)(ring.frames + (size_t)(i % ENTRIES) * FRAME_SHARED);
}

/* Where entry @i's buffer begins in the pool */
static inline uint32_t place_of(unsigned i)
{
	return (uint32_t)ring.places[i % ENTRIES];
}

/* How long a buffer is that is cut for so many bytes */
static inline uint32_t cut_for(uint32_t bytes)
{
	return ((bytes + FRAME_REDZONE + 63) / 64 | 1) * 64;
}

static inline uint8_t *spare(unsigned i)
{
	return ring.spares + (size_t)(i % ENTRIES) * ring.stride;
}

static inline uint32_t version(unsigned i)
{
	return ring.versions[i % ENTRIES];
}

/* @n packets that begin with their number */
static inline void publish(int n, uint64_t first)
{
	int got = ring_reserve(&pos[0], burst, n);

	if (got != n)
		abort();
	for (int i = 0; i < n; i++) {
		uint64_t no = first + (unsigned)i;

		if (!frame_set(burst[i], &no, sizeof(no)))
			abort();
		burst[i]->seq = no;
		burst[i]->linktype = LINKTYPE_RAW;
	}
	ring_publish(&pos[0], n);
}

static inline uint64_t number(struct frame *f)
{
	uint64_t no = 0;

	if (f->len == sizeof(no))
		memcpy(&no, frame_data(f), sizeof(no));
	return no;
}

static inline void pass(unsigned k, int n)
{
	if (ring_take(&pos[k], burst, n) != n)
		abort();
	ring_put(&pos[k]);
}
#endif /* GW_RINGTEST_H */
