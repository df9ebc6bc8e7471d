/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <linux/mman.h>
#include <netinet/in.h>
#include <sched.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ring.h"

#define LINE		FRAME_LINE
#define PAGE		4096u
#define HUGE		(2u << 20)	/* on amd64, and on arm64 with such pages */
#define FEW_PART	8u	/* of a ring: how much of it is few entries */
#define FETCH_AHEAD	8u	/* descriptors under way from memory while one is looked at */
#define SEALS		(F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW)

_Static_assert(sizeof(struct ring_cursor) == 2 * LINE, "neighbouring lines are fetched in pairs");
_Static_assert(sizeof(struct ring_seat) == LINE, "a line a seat");
_Static_assert(offsetof(struct ring_shm, cursor) % (2 * LINE) == 0, "cursors begin at lines");
_Static_assert(FRAME_BURST <= 64, "struct ring_pos: a bit a frame");

/* --- the memory file ------------------------------------------------------ */

static uint64_t pool_bytes(uint32_t entries, uint32_t stride)
{
	return MIN(entries, RING_POOL) * (uint64_t)stride;
}

/**
 * struct layout - Where what the file holds begins: all of it follows from two numbers
 */
struct layout {
	uint32_t versions, places, frames;
	uint64_t pool, spares, end;
};

static struct layout layout_of(uint32_t entries, uint32_t stride)
{
	struct layout l = { .versions = sizeof(struct ring_shm) };

	l.places = l.versions + entries * (uint32_t)sizeof(uint32_t);
	l.frames = l.places + entries * (uint32_t)sizeof(uint64_t);
	l.pool = (l.frames + entries * (uint64_t)FRAME_SHARED + PAGE - 1) / PAGE * PAGE;
	l.spares = (l.pool + pool_bytes(entries, stride) + PAGE - 1) / PAGE * PAGE;
	l.end = l.spares + (uint64_t)entries * stride;
	return l;
}

/* Places have 32 bits */
static bool geometry_ok(uint32_t entries, uint32_t stride)
{
	return entries >= 2 * FRAME_BURST && entries <= 1u << 16 && !(entries & (entries - 1)) &&
	       stride > FRAME_HEADROOM && stride <= RING_STRIDE_MAX + LINE &&
	       stride % LINE == 0 && pool_bytes(entries, stride) <= UINT32_MAX;
}

/* Where huge pages of the file can be mapped as such */
static uint8_t *map_aligned(int fd, size_t size)
{
	uint8_t *all = mmap(NULL, size + HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *mem;
	size_t page = (size_t)sysconf(_SC_PAGESIZE), skip;	/* arm64: up to 64 kB */

	if (all == MAP_FAILED)
		return NULL;
	skip = -(uintptr_t)all % HUGE;
	mem = mmap(all + skip, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	if (mem == MAP_FAILED) {
		munmap(all, size + HUGE);
		return NULL;
	}
	munmap(all, skip);
	size = (size + page - 1) / page * page;
	munmap(mem + size, HUGE - skip);
	return mem;
}

/*
 * All pages are there before the first packet, which comes at full rate; huge ones (Linux 6.1):
 * of long packets each has pages of its own, more than a processor knows at a time.  Best
 * effort: else pages come when they are touched.  Spare buffers are seldom used.
 */
static void populate(uint8_t *mem, const struct layout *l)
{
	madvise(mem, MIN((l->spares + HUGE - 1) / HUGE * HUGE, l->end), MADV_COLLAPSE);
	madvise(mem, l->spares, MADV_POPULATE_WRITE);
}

static int map(struct ring *r, uint32_t entries, uint32_t stride)
{
	struct layout l = layout_of(entries, stride);
	uint8_t *mem;

	r->size = l.end;
	mem = map_aligned(r->fd, r->size);
	if (!mem)
		return -errno;
	if (entries <= RING_ENTRIES)	/* a live segment */
		populate(mem, &l);
	r->shm = (struct ring_shm *)(void *)mem;
	r->entries = entries;
	r->stride = stride;
	r->versions = (_Atomic uint32_t *)(void *)(mem + l.versions);
	r->places = (_Atomic uint64_t *)(void *)(mem + l.places);
	r->frames = mem + l.frames;
	r->pool = mem + l.pool;
	r->spares = mem + l.spares;
	return 0;
}

static void blank(struct ring *r)
{
	memset(r, 0, sizeof(*r));
	r->fd = -1;
	for (unsigned k = 0; k < RING_STAGES; k++)
		r->bell[k] = -1;
}

int ring_create(struct ring *r, uint32_t entries, uint32_t stride)
{
	struct layout l;
	int err;

	blank(r);
	stride = (uint32_t)frame_spread(stride);
	if (!geometry_ok(entries, stride))
		return -EINVAL;
	l = layout_of(entries, stride);
	r->fd = memfd_create("gwtools-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (r->fd < 0 || ftruncate(r->fd, (off_t)l.end) ||
	    fcntl(r->fd, F_ADD_SEALS, SEALS))
		goto fail;
	for (unsigned k = 0; k < RING_STAGES; k++) {
		r->bell[k] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (r->bell[k] < 0)
			goto fail;
	}
	err = map(r, entries, stride);
	if (err) {
		errno = -err;
		goto fail;
	}
	r->shm->magic = RING_MAGIC;
	r->shm->version = RING_VERSION;
	r->shm->size = sizeof(*r->shm);
	r->shm->frame_size = FRAME_SHARED;
	r->shm->entries = entries;
	r->shm->stride = stride;
	r->shm->versions_off = l.versions;
	r->shm->places_off = l.places;
	r->shm->frames_off = l.frames;
	r->shm->pool_off = l.pool;
	r->shm->spares_off = l.spares;
	return 0;
fail:
	err = -errno;
	ring_close(r);
	return err;
}

int ring_map(struct ring *r, int fd)
{
	struct ring_shm head;
	struct layout l;
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS), err;

	blank(r);
	if (seals < 0 || (seals & SEALS) != SEALS || fstat(fd, &st))
		return -EPROTO;
	if (pread(fd, &head, sizeof(head), 0) != sizeof(head))
		return -EPROTO;
	if (head.magic != RING_MAGIC || head.version != RING_VERSION ||
	    head.size != sizeof(head) || head.frame_size != FRAME_SHARED ||
	    !geometry_ok(head.entries, head.stride))
		return -EPROTO;
	l = layout_of(head.entries, head.stride);
	if (head.versions_off != l.versions || head.places_off != l.places ||
	    head.frames_off != l.frames || head.pool_off != l.pool ||
	    head.spares_off != l.spares || (uint64_t)st.st_size != l.end)
		return -EPROTO;
	r->fd = fd;
	err = map(r, head.entries, head.stride);
	if (err)
		r->fd = -1;
	return err;
}

/* What is shared of entry @i's descriptor */
static struct frame *frame_of(const struct ring *r, uint64_t i)
{
	return (struct frame *)(void *)(r->frames + (i & (r->entries - 1)) * FRAME_SHARED);
}

static _Atomic uint32_t *version_of(const struct ring *r, uint64_t i)
{
	return &r->versions[i & (r->entries - 1)];
}

static uint32_t pool_size(const struct ring *r)
{
	return (uint32_t)pool_bytes(r->entries, r->stride);
}

/* Where entry @i's frame lies: false: outside of the pool, by its head's word */
static inline bool place(struct frame *own, const struct ring *r, uint64_t i)
{
	uint32_t n = (uint32_t)i & (r->entries - 1);
	uint64_t at = atomic_load_explicit(&r->places[n], memory_order_relaxed);
	uint32_t begin = (uint32_t)at, room = (uint32_t)(at >> 32);

	own->version = &r->versions[n];
	if (unlikely(own->spare)) {
		own->buf = r->spares + (size_t)n * r->stride;
		own->room = r->stride;
		return true;
	}
	own->buf = r->pool + begin;
	own->room = room;
	return (uint64_t)begin + room <= pool_size(r);
}

void ring_close(struct ring *r)
{
	struct frame all = { .buf = r->pool };

	if (r->shm) {	/* the addresses may be another's next */
		all.room = pool_size(r);
		frame_unguard(&all);
	}
	all.room = r->stride;
	for (uint32_t i = 0; r->shm && i < r->entries; i++) {
		all.buf = r->spares + (size_t)i * r->stride;
		frame_unguard(&all);
	}
	if (r->shm)
		munmap(r->shm, r->size);
	if (r->fd >= 0)
		close(r->fd);
	for (unsigned k = 0; k < RING_STAGES; k++)
		if (r->bell[k] >= 0)
			close(r->bell[k]);
	blank(r);
}

/* --- descriptors ---------------------------------------------------------- */

static struct ring_cursor *cursor(const struct ring_pos *p, unsigned k)
{
	return &p->ring->shm->cursor[k];
}

static bool within(int64_t off, uint64_t len, uint64_t end)
{
	return (uint64_t)off <= end && len <= end - (uint64_t)off;	/* below 0: far too large */
}

/* Headers as packet_parse() leaves them, in this order and inside the packet */
static bool headers_ok(const struct packet *p, uint32_t len)
{
	uint32_t ip = p->version == 4 ? 20 : 40, l4 = p->proto == IPPROTO_TCP ? 20 : 8;

	return (p->version == 4 || p->version == 6) && p->end <= len && p->payload <= p->end &&
	       p->l4 <= p->payload && p->l3 <= p->l4 && p->l4 - p->l3 >= ip &&
	       (!(p->flags & PKT_L4) || p->payload - p->l4 >= l4);
}

/* A private copy of a neighbour's word about a frame: may it be believed? */
static bool descriptor_ok(const struct frame *f)
{
	return within(f->off, f->len, f->room) &&
	       (!f->encap_len || (f->encap_len <= ENCAP_MAX &&
				  within(f->encap_off, f->encap_len, f->room))) &&
	       (!f->opt_len || within(f->opt_off, f->opt_len, f->room)) &&
	       f->dialect < DIALECT_NUM && f->verdict < REASON_NUM &&
	       (!(f->pkt.flags & PKT_PARSED) || headers_ok(&f->pkt, f->len));
}

/* --- stages that take ----------------------------------------------------- */

/* 1 + the one processor that we may run on; 0: there are more */
static uint32_t bound_to(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) || CPU_COUNT(&set) != 1)
		return 0;
	for (uint32_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &set))
			return cpu + 1;
	return 0;
}

bool ring_turns(const struct ring_pos *p)
{
	const struct ring_shm *shm = p->ring->shm;
	uint32_t last = atomic_load_explicit(&shm->last, memory_order_relaxed);

	if (!p->cpu || !last || last >= RING_STAGES)
		return false;
	for (uint32_t k = 0; k <= last; k++)
		if (atomic_load_explicit(&shm->seat[k].cpu, memory_order_relaxed) != p->cpu)
			return false;
	return true;
}

/* What a processor's own cache keeps, and some buffers of any length fit */
static uint32_t warm_area(const struct ring *r)
{
	return MIN(MAX(RING_WARM, 4 * r->stride), pool_size(r));
}

int ring_sit(struct ring_pos *p, struct ring *r, unsigned k)
{
	uint64_t taken, above;

	*p = (struct ring_pos){
		.ring = r, .k = k, .cpu = bound_to(), .area = warm_area(r),
		.space = { .spare = r->spares, .versions = r->versions, .stride = r->stride },
	};
	for (unsigned i = 0; i < FRAME_BURST; i++)
		p->own[i].space = &p->space;
	atomic_store_explicit(&r->shm->seat[k].cpu, p->cpu, memory_order_relaxed);
	if (!k)
		return 0;
	p->done = p->seen = p->rung = ring_upto(r, k);
	taken = atomic_load_explicit(&cursor(p, k)->taken, memory_order_acquire);
	above = ring_upto(r, k - 1);
	if (taken - p->done > FRAME_BURST || above - taken > r->entries)
		return -EPROTO;
	return 0;
}

unsigned ring_recover(struct ring_pos *p)
{
	uint64_t taken = atomic_load_explicit(&cursor(p, p->k)->taken, memory_order_acquire);
	unsigned n = 0;

	for (uint64_t i = p->done; i != taken; i++) {
		struct frame *f = frame_of(p->ring, i);

		if (!f->verdict) {
			version_touch(version_of(p->ring, i));
			f->verdict = REASON_RESTART;
			f->rule = 0;
			n++;
		}
		version_settle(version_of(p->ring, i));
	}
	p->done = p->seen = taken;
	/* Release: the verdicts above; pairs with ring_upto(). */
	atomic_store_explicit(&cursor(p, p->k)->done, taken, memory_order_release);
	return n;
}

void ring_extend(struct ring_pos *p)
{
	struct ring_cursor *next = cursor(p, p->k + 1);

	ring_wake(p);	/* the head: from here on it is the next stage that we wake */
	atomic_store_explicit(&next->taken, p->done, memory_order_relaxed);
	/* Release: frames and our done, for a head that still takes a stage that sat there
	 * before for the last one; pairs with ring_upto(). */
	atomic_store_explicit(&next->done, p->done, memory_order_release);
	/* Release: its cursors; pairs with the head's acquire in look_free(). */
	atomic_store_explicit(&p->ring->shm->last, p->k + 1, memory_order_release);
}

/* A descriptor that is taken soon; not what is yet to be handed on: its writer has it */
static inline void fetch(const struct ring *r, uint64_t entry)
{
	const struct frame *f = frame_of(r, entry);

	fetch_line(f);
	fetch_line((const char *)f + FRAME_SHARED / 2);
}

/* One frame into private memory; false: its descriptor lies */
static inline bool take_one(struct ring_pos *p, const struct ring *r, int i)
{
	uint64_t entry = p->done + (unsigned)i;
	struct frame *own = &p->own[i];

	memcpy(own, frame_of(r, entry), FRAME_SHARED);
	if (unlikely(!place(own, r, entry)))
		return false;
	if (unlikely(own->verdict)) {
		p->dead |= 1ull << i;
		return own->verdict < REASON_NUM;
	}
	if (unlikely(!descriptor_ok(own)))
		return false;
	frame_guard(own, 0, 0);
	return true;
}

int ring_take(struct ring_pos *p, struct frame **f, int max)
{
	struct ring_cursor *mine = cursor(p, p->k);
	const struct ring r = *p->ring;	/* of our own: no store to a frame can change it */
	uint64_t there = p->seen - p->done;
	int n;

	if (there < (unsigned)max) {
		uint64_t seen = ring_upto(p->ring, p->k - 1);

		there = seen - p->done;
		if (unlikely(there > p->ring->entries || seen < p->seen))
			return -EPROTO;
		p->seen = seen;
	}
	n = (int)MIN(there, (unsigned)max);
	if (!n)
		return 0;
	/* Release: not before the done of the burst before, lest taken - done exceeds a
	 * burst; and the fence: before anything that changes.  Both pair with ring_recover(). */
	atomic_store_explicit(&mine->taken, p->done + (unsigned)n, memory_order_release);
	atomic_thread_fence(memory_order_release);
	p->dead = 0;
	for (int i = 0; i < n; i++) {
		fetch(&r, MIN(p->done + (unsigned)i + FETCH_AHEAD, p->seen - 1));
		if (unlikely(!take_one(p, &r, i)))
			return -EPROTO;
		f[i] = &p->own[i];
	}
	p->held = n;
	return n;
}

/* A private descriptor, of a frame that was touched, back into the ring */
static inline void give_one(struct ring_pos *p, int i)
{
	struct frame *own = &p->own[i];

	memcpy(frame_of(p->ring, p->done + (unsigned)i), own, FRAME_SHARED);
	version_settle(own->version);
}

/* Builds with AddressSanitizer find the stage that changed a frame without frame_touch() */
static inline void check_untouched(const struct ring_pos *p, int i)
{
#ifdef FRAME_GUARDED
	if (memcmp(&p->own[i], frame_of(p->ring, p->done + (unsigned)i), FRAME_SHARED))
		abort();
#else
	(void)p, (void)i;
#endif
}

void ring_put(struct ring_pos *p)
{
	for (int i = 0; i < p->held; i++) {
		if (p->dead >> i & 1)
			continue;
		/* Others can write the word: a verdict does not hang on it */
		if (version_odd(p->own[i].version) || p->own[i].verdict)
			give_one(p, i);
		else
			check_untouched(p, i);
	}
	p->done += (unsigned)p->held;
	p->held = 0;
	/* Release: the frames; pairs with ring_upto(). */
	atomic_store_explicit(&cursor(p, p->k)->done, p->done, memory_order_release);
}

/* --- the head ------------------------------------------------------------- */

/* How far the head may go, by what is free now; false: somebody's cursor lies */
static bool look_free(struct ring_pos *p)
{
	const struct ring_shm *shm = p->ring->shm;
	/* Acquire, both: pair with ring_extend() and seats_clear(). */
	uint32_t again = atomic_load_explicit(&shm->last, memory_order_acquire), last;
	uint64_t done;

	do {	/* grows each time: who makes it flicker does not keep us here */
		last = again;
		if (unlikely(last >= RING_STAGES))
			return false;
		done = last ? ring_upto(p->ring, last) : p->done;
		again = atomic_load_explicit(&shm->last, memory_order_acquire);
	} while (unlikely(again > last));
	/* If it shrank: whoever is last now has done with as much at least, and who made it
	 * shrink rings us */
	if (unlikely(p->done - done > p->ring->entries))
		return false;
	p->seen = done;
	return true;
}

/*
 * How much of the pool to use, by the buffers since it was last chosen; the ring is empty.
 * Where stages take turns, what the processor's own cache keeps, if that is enough for
 * a turn.
 */
static void choose_area(struct ring_pos *p)
{
	uint64_t n = p->done - p->chosen, each;

	p->at = 0;
	if (n < RING_WARM_MIN)
		return;
	each = p->bytes / n;
	p->chosen = p->done;
	p->bytes = 0;
	p->bounded = RING_WARM_MIN * each <= RING_WARM && ring_turns(p);
	p->area = warm_area(p->ring);
	if (!p->bounded)
		p->area = (uint32_t)MIN(MAX(p->ring->entries * each, p->area), pool_size(p->ring));
}

/* Is there room for a long buffer before @end? */
static bool enough(const struct ring_pos *p, uint32_t end)
{
	return end - p->at >= p->ring->stride;
}

/* Where the part of the pool ends that is free from @p->at on: where the buffer of the first
 * entry in use begins, or the area ends.  Too little there: the front is next, or more of
 * the pool. */
static uint32_t free_end(struct ring_pos *p)
{
	uint32_t n = (uint32_t)p->seen & (p->ring->entries - 1), pool = pool_size(p->ring);
	uint32_t first = (uint32_t)atomic_load_explicit(&p->ring->places[n], memory_order_relaxed);

	first = MIN(first, p->area);	/* no buffer lies beyond: who says so must not lead us there */
	if (p->at <= first)
		return first;
	if (enough(p, p->area))
		return p->area;
	if (first >= p->ring->stride) {
		p->at = 0;
		return first;
	}
	if (!p->bounded)
		p->area = (uint32_t)MIN(2 * (uint64_t)p->area, pool);
	return p->area;
}

int ring_reserve(struct ring_pos *p, struct frame **f, int max)
{
	uint64_t room = p->seen + p->ring->entries - p->done;
	int n;

	if (room < (unsigned)max || !enough(p, p->end)) {
		if (unlikely(!look_free(p)))
			return -EPROTO;
		if (p->seen == p->done)
			choose_area(p);
		p->end = p->seen == p->done ? p->area : free_end(p);
		room = enough(p, p->end) ? p->seen + p->ring->entries - p->done : 0;
	}
	p->space.at = p->ring->pool + p->at;
	p->space.end = p->ring->pool + p->end;
	n = (int)MIN(room, (unsigned)max);
	for (int i = 0; i < n; i++) {
		struct frame *own = &p->own[i];

		own->buf = NULL;
		own->room = 0;
		own->spare = 0;
		own->version = version_of(p->ring, p->done + (unsigned)i);
		f[i] = own;
	}
	p->held = n;
	return n;
}

/* Where the entry's buffer lies, for all; one without a buffer of the pool begins where the
 * next one may */
static void tell_place(struct ring_pos *p, uint64_t entry, const struct frame *own)
{
	uint64_t size = 0;

	if (own->room && !own->spare) {
		p->at = (uint32_t)(own->buf - p->ring->pool);
		size = own->room;
	}
	atomic_store_explicit(&p->ring->places[entry & (p->ring->entries - 1)],
			      p->at | size << 32, memory_order_relaxed);
	p->at += (uint32_t)size;
	p->bytes += size;
}

void ring_publish(struct ring_pos *p, int n)
{
	for (int i = 0; i < n; i++) {
		tell_place(p, p->done + (unsigned)i, &p->own[i]);
		frame_touch(&p->own[i]);
		give_one(p, i);
	}
	p->done += (unsigned)n;
	p->held = 0;
	/* Release: the frames; pairs with ring_upto(). */
	atomic_store_explicit(&cursor(p, 0)->done, p->done, memory_order_release);
}

/* --- sleep ---------------------------------------------------------------- */

/* What a sleeper waits for, in its cursor's asleep */
enum { AWAKE, WANTS_ENTRIES, WANTS_MOST, WANTS_ALL, WANTS_HALF };

void ring_ring(const struct ring *r, unsigned k)
{
	uint64_t one = 1;

	if (r->bell[k] >= 0 && write(r->bell[k], &one, sizeof(one)) < 0)
		return;		/* full: it rings already */
}

void ring_call(const struct ring_pos *p)
{
	uint32_t last = atomic_load_explicit(&p->ring->shm->last, memory_order_relaxed);

	ring_ring(p->ring, p->k < last && p->k + 1 < RING_STAGES ? p->k + 1 : 0);
}

/* Is a sleeper's wish fulfilled when so many entries are in use? */
static bool fulfilled(const struct ring *r, uint32_t wish, uint64_t used)
{
	switch (wish) {
	case WANTS_HALF: return used <= r->entries / 2;
	case WANTS_MOST: return used <= r->entries / FEW_PART;
	case WANTS_ALL: return !used;
	}
	return false;
}

void ring_wake(struct ring_pos *p)
{
	const struct ring *r = p->ring;
	_Atomic uint32_t *asleep;
	uint32_t last, wish;

	if (p->rung == p->done)
		return;
	p->rung = p->done;
	/* Full: our cursor before its word; pairs with ring_doze(). */
	atomic_thread_fence(memory_order_seq_cst);
	last = atomic_load_explicit(&r->shm->last, memory_order_relaxed);
	if (p->k < last && p->k + 1 < RING_STAGES) {
		asleep = &r->shm->cursor[p->k + 1].asleep;
		if (atomic_load_explicit(asleep, memory_order_relaxed) &&
		    atomic_exchange_explicit(asleep, AWAKE, memory_order_relaxed))
			ring_ring(r, p->k + 1);
		return;
	}
	asleep = &r->shm->cursor[0].asleep;
	wish = p->k ? atomic_load_explicit(asleep, memory_order_relaxed) : AWAKE;
	if (wish && fulfilled(r, wish, ring_upto(r, 0) - p->done) &&
	    atomic_exchange_explicit(asleep, AWAKE, memory_order_relaxed))
		ring_ring(r, 0);
}

/* A bounded area grows in an empty ring only; and buffers, not entries, may be short */
static uint32_t head_wants(const struct ring_pos *p, bool all)
{
	uint64_t used = p->done - p->seen;

	if (all || p->bounded || ring_turns(p) || fulfilled(p->ring, WANTS_MOST, used))
		return WANTS_ALL;
	return fulfilled(p->ring, WANTS_HALF, used) ? WANTS_MOST : WANTS_HALF;
}

bool ring_doze(struct ring_pos *p, bool all)
{
	uint32_t wish = p->k ? WANTS_ENTRIES : head_wants(p, all);

	atomic_store_explicit(&cursor(p, p->k)->asleep, wish, memory_order_relaxed);
	/* Full: our word before the other's cursor; pairs with ring_wake(). */
	atomic_thread_fence(memory_order_seq_cst);
	p->asleep = true;
	if (p->k ? ring_upto(p->ring, p->k - 1) == p->done :
	    look_free(p) && !fulfilled(p->ring, wish, p->done - p->seen))
		return true;
	ring_rise(p, false);
	return false;
}

void ring_rise(struct ring_pos *p, bool rang)
{
	uint64_t count;

	if (p->asleep)
		atomic_store_explicit(&cursor(p, p->k)->asleep, AWAKE, memory_order_relaxed);
	p->asleep = false;
	while (rang && read(p->ring->bell[p->k], &count, sizeof(count)) < 0 && errno == EINTR)
		;
}

bool ring_idle(const struct ring *r)
{
	uint32_t last = atomic_load_explicit(&r->shm->last, memory_order_acquire);

	return !last || last >= RING_STAGES || ring_upto(r, last) == ring_upto(r, 0);
}
