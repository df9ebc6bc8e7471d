/* SPDX-License-Identifier: MIT */
/*
 * t_ringthreads.c - A head and four stages as threads over one ring, for ThreadSanitizer
 *
 * Numbered packets of many lengths go through; each stage in the middle marks the bytes, makes
 * some longer, drops some by rule and now and then dies with a burst in its hand: it forgets its
 * place, sits down again and recovers.  All sleep on their doorbells.  ThreadSanitizer knows nothing of cursors: that
 * frames pass from hand to hand without a race is shown by the cursors' acquire and release
 * alone.  It does not understand fences either, but none is needed for that: threads don't
 * die halfway through a store, and asleep is atomic.  What the fences are for is proved by
 * t_ringmodel.
 */
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "ringlink.h"
#include "tap.h"

#define STAGES	4u
#define ROOM	1024u
#define PACKETS	200000u
#define RULED	97u		/* stage 2 drops each so manieth packet */
#define VISITS	100000u

struct bytes {
	uint64_t no;
	uint32_t mark[STAGES + 1];
};

/**
 * struct worker - One thread
 * @lost:	Packets dropped by its own restarts
 * @died:	How often
 * @grown:	Packets that were moved to their spare buffer, or lay there
 */
struct worker {
	pthread_t thread;
	struct ring_pos pos;
	unsigned k;
	uint64_t rand, lost, died, wrong, grown;
};

static struct ring ring;
static struct worker worker[STAGES + 1];
static uint64_t sent, ruled, dead;

static unsigned chance(struct worker *w)
{
	w->rand ^= w->rand << 13;
	w->rand ^= w->rand >> 7;
	w->rand ^= w->rand << 17;
	return (unsigned)(w->rand >> 33);
}

static void nap(struct worker *w, bool all)
{
	struct pollfd pfd = { .fd = ring.bell[w->k], .events = POLLIN };

	ring_wake(&w->pos);
	if (ring_doze(&w->pos, all))
		poll(&pfd, 1, -1);
	ring_rise(&w->pos, true);
}

static void moved(struct worker *w)
{
	if (ring_wake_due(&w->pos) || chance(w) % 8 == 0)
		ring_wake(&w->pos);
	if (chance(w) % 512 == 0)
		poll(NULL, 0, 1);
}

/* false: there is no room for it now */
static bool fill(struct worker *w, struct frame *f, uint64_t no)
{
	uint8_t bytes[ROOM - FRAME_HEADROOM] = { 0 };
	struct bytes b = { .no = no, .mark[0] = 1 };

	memcpy(bytes, &b, sizeof(b));
	if (!frame_set(f, bytes, sizeof(b) + chance(w) % (sizeof(bytes) - sizeof(b))))
		return false;
	f->seq = no;
	return true;
}

static void *head(void *arg)
{
	struct worker *w = arg;
	struct frame *f[FRAME_BURST];
	uint64_t no = 0;

	while (no < PACKETS) {
		int n = ring_reserve(&w->pos, f, 1 + (int)(chance(w) % FRAME_BURST));

		if (n < 0)
			abort();
		if (!n)
			nap(w, false);
		n = (int)MIN((uint64_t)n, PACKETS - no);
		for (int i = 0; i < n; i++, no++)
			if (!fill(w, f[i], no)) {
				if (!i)
					abort();
				n = i;
				break;
			}
		ring_publish(&w->pos, n);
		moved(w);
	}
	while (!ring_idle(&ring))
		nap(w, true);
	return NULL;
}

/* Bytes are changed in place, as an edit does */
static void work(struct worker *w, struct frame *f, uint64_t no)
{
	struct bytes b;

	if (f->verdict)
		return;
	memcpy(&b, frame_data(f), sizeof(b));
	w->wrong += b.no != no || f->seq != no || f->len < sizeof(b);
	for (unsigned k = 0; k <= STAGES; k++)
		w->wrong += b.mark[k] != (k < w->k);
	if (w->k == 2 && no % RULED == 0) {
		frame_drop(f, REASON_RULE, 0);
		return;
	}
	frame_touch(f);
	b.mark[w->k]++;
	memcpy(frame_data(f), &b, sizeof(b));
	if (chance(w) % 16 == 0 && frame_grow(f, (ROOM - FRAME_HEADROOM) / 2))
		w->grown += f->spare;
}

static void count(struct frame *f)
{
	sent += f->verdict == REASON_NONE;
	ruled += f->verdict == REASON_RULE;
	dead += f->verdict == REASON_RESTART;
}

static void come_back(struct worker *w)
{
	memset(&w->pos, 0xee, sizeof(w->pos));
	if (ring_sit(&w->pos, &ring, w->k))
		abort();
	w->lost += ring_recover(&w->pos);
	w->died++;
	ring_call(&w->pos);
}

static void *stage(void *arg)
{
	struct worker *w = arg;
	struct frame *f[FRAME_BURST];

	while (w->pos.done < PACKETS) {
		int n = ring_take(&w->pos, f, 1 + (int)(chance(w) % FRAME_BURST)), upto;

		if (n < 0)
			abort();
		if (!n) {
			nap(w, false);
			continue;
		}
		upto = chance(w) % 1024 == 0 && w->k < STAGES ? (int)chance(w) % n : n;
		for (int i = 0; i < upto; i++)
			work(w, f[i], w->pos.done + (unsigned)i);
		if (upto < n) {
			come_back(w);
			continue;
		}
		for (int i = 0; w->k == STAGES && i < n; i++)
			count(f[i]);
		ring_put(&w->pos);
		moved(w);
	}
	ring_wake(&w->pos);
	return NULL;
}

static void test_packets(void)
{
	uint64_t lost = 0, died = 0, wrong = 0, grown = 0;
	bool recounted;

	if (ring_create(&ring, 256, ROOM))
		abort();
	for (unsigned k = 0; k <= STAGES; k++) {
		worker[k].k = k;
		worker[k].rand = 0x2545f4914f6cdd1du * (k + 1);
		if (ring_sit(&worker[k].pos, &ring, k))
			abort();
		if (k < STAGES)
			ring_extend(&worker[k].pos);
	}
	for (unsigned k = 0; k <= STAGES; k++)
		if (pthread_create(&worker[k].thread, NULL, k ? stage : head, &worker[k]))
			abort();
	for (unsigned k = 0; k <= STAGES; k++) {
		pthread_join(worker[k].thread, NULL);
		wrong += worker[k].wrong;
		lost += worker[k].lost;
		died += worker[k].died;
		grown += worker[k].grown;
	}
	recounted = sent + ruled + dead == PACKETS;
	printf("# sent %lu, by rule %lu, by %lu restarts %lu\n", (unsigned long)sent,
	       (unsigned long)ruled, (unsigned long)died, (unsigned long)dead);
	OK(!wrong, "each stage saw every packet in order and marked it once");
	OK(recounted, "every packet was sent or dropped");
	OK(dead == lost && dead <= died * FRAME_BURST, "a restart drops a burst at most");
	OK(died > 0 && ruled > 0 && grown > 0, "there were restarts, drops by rule, and packets that grew");
	OK(ring_idle(&ring), "the ring is empty");
	ring_close(&ring);
}

static _Atomic unsigned visits;

/* Stage 2 joins behind stage 1, and is gone again */
static void *come_and_go(void *arg)
{
	struct ring_pos *p = arg;

	while (atomic_fetch_add_explicit(&visits, 1, memory_order_relaxed) < VISITS) {
		ring_extend(p);
		if (!seats_clear(&ring, 1, 2, p->done, "ring"))
			abort();
	}
	return NULL;
}

static void test_last_changes(void)
{
	struct ring_pos *own = &worker[0].pos;
	struct frame *f[FRAME_BURST];
	pthread_t thread;
	unsigned refused = 0;
	bool full = true;
	int n;

	if (ring_create(&ring, 2 * FRAME_BURST, ROOM) || ring_sit(own, &ring, 0))
		abort();
	ring_extend(own);
	if (ring_sit(&worker[1].pos, &ring, 1))
		abort();
	while ((n = ring_reserve(own, f, FRAME_BURST)) > 0)
		ring_publish(own, n);
	if (pthread_create(&thread, NULL, come_and_go, &worker[1].pos))
		abort();
	while (atomic_load_explicit(&visits, memory_order_relaxed) < VISITS) {
		n = ring_reserve(own, f, 1);
		refused += n < 0;
		full &= n <= 0;
	}
	pthread_join(thread, NULL);
	OK(!refused, "nobody lies who was the last one a moment ago: refused %u times", refused);
	OK(full, "nor is there room in a full ring");
	ring_close(&ring);
}

int main(void)
{
	test_packets();
	test_last_changes();
	return tap_done();
}
