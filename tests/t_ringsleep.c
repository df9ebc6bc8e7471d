/* SPDX-License-Identifier: MIT */
/*
 * t_ringsleep.c - The ring: who rings whom, stages that take turns, and how much of the pool is used
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>

#include "ringtest.h"
#include "tap.h"

/* --- doorbells ------------------------------------------------------------ */

static bool rings(unsigned k)
{
	struct pollfd pfd = { .fd = ring.bell[k], .events = POLLIN };

	return poll(&pfd, 1, 0) == 1;
}

static void test_stage_bells(void)
{
	begin(2);
	publish(4, 1);
	ring_wake(&pos[0]);
	OK(!rings(1), "nobody rings for one who is awake");
	OK(!ring_doze(&pos[1], false), "nobody sleeps over entries");
	pass(1, 4);
	OK(ring_doze(&pos[1], false), "a stage sleeps when there is nothing");
	publish(1, 5);
	OK(!rings(1), "published is not rung");
	ring_wake(&pos[0]);
	OK(rings(1) && !rings(0) && !rings(2), "the next stage's doorbell rings");
	publish(1, 6);
	ring_rise(&pos[1], true);
	OK(!rings(1), "and is quiet when it rose");
	ring_wake(&pos[0]);
	OK(!rings(1), "an awake stage is left in peace");
	pass(1, 2);
	OK(ring_doze(&pos[1], false), "asleep again");
	ring_wake(&pos[0]);
	OK(!rings(1), "nothing moved: no bell");
	ring_rise(&pos[1], true);
	ring_rise(&pos[1], true);
	publish(1, 7);
	ring_wake(&pos[0]);
	OK(!rings(1), "who rose without a bell gets none");
	OK(!ring_wake_due(&pos[0]), "one entry can wait");
	publish(ENTRIES / 2, 8);
	OK(ring_wake_due(&pos[0]), "half of the ring cannot");
	ring_ring(&ring, 1);
	OK(rings(1), "a doorbell can be rung for nothing");
	ring_ring(&ring, 1);
	ring_rise(&pos[1], true);
	OK(!rings(1), "who did not sleep on it empties it as well");
	end();
}

static void test_head_bell(void)
{
	begin(1);
	publish(64, 1);
	publish(64, 65);
	OK(ring_doze(&pos[0], false), "the head sleeps when the ring is full");
	pass(1, 63);
	ring_wake(&pos[1]);
	OK(!rings(0), "more than half of it in use: it sleeps on");
	pass(1, 1);
	ring_wake(&pos[1]);
	OK(rings(0), "half of it: the bell rings");
	ring_rise(&pos[0], true);
	OK(ring_doze(&pos[0], true), "or it waits for the ring to be empty");
	pass(1, 63);
	ring_wake(&pos[1]);
	OK(!rings(0), "one entry left: it sleeps on");
	pass(1, 1);
	ring_wake(&pos[1]);
	OK(rings(0), "empty: the bell rings");
	ring_rise(&pos[0], true);
	OK(!ring_doze(&pos[0], true) && !ring_doze(&pos[0], false), "nobody waits for what is there");
	publish(1, 129);
	OK(ring_doze(&pos[0], true), "asleep again");
	pass(1, 1);
	ring_extend(&pos[1]);
	OK(rings(0), "a stage that ceases to be the last one wakes the head first");
	ring_rise(&pos[0], true);
	ring_call(&pos[1]);
	OK(rings(2) && !rings(0), "then whoever sits down calls the next one");
	if (ring_sit(&pos[2], &ring, 2))
		abort();
	ring_call(&pos[2]);
	OK(rings(0), "or the head");
	end();
}

static void test_turns(void)
{
	cpu_set_t set, all;

	begin(2);
	bind_seat(1, 8);
	bind_seat(2, 7);
	OK(!ring_turns(&pos[0]) && !ring_turns(&pos[1]), "bound to none, or to different processors");
	bind_seat(0, 8);
	OK(!ring_turns(&pos[0]) && !ring_turns(&pos[1]), "the first two to one, the third elsewhere");
	bind_seat(2, 8);
	OK(ring_turns(&pos[0]) && ring_turns(&pos[1]) && ring_turns(&pos[2]), "all to one");
	OK(ring_doze(&pos[1], false), "the second sleeps");
	publish(64, 1);
	ring_nudge(&pos[0]);
	OK(!rings(1), "the head works: it is not called yet");
	bind_seat(0, 0);
	ring_nudge(&pos[0]);
	OK(rings(1), "where both may work at once it is");
	bind_seat(0, 8);
	OK(ring_doze(&pos[0], false), "the head sleeps");
	pass(1, 64);
	pass(2, 63);
	ring_wake(&pos[2]);
	OK(!rings(0), "until the ring is empty");
	pass(2, 1);
	ring_wake(&pos[2]);
	OK(rings(0), "as it is now");
	end();

	sched_getaffinity(0, sizeof(all), &all);
	CPU_ZERO(&set);
	CPU_SET((size_t)sched_getcpu(), &set);
	sched_setaffinity(0, sizeof(set), &set);
	if (ring_create(&ring, ENTRIES, ROOM) || ring_sit(&pos[0], &ring, 0))
		abort();
	OK(pos[0].cpu == 1 + (uint32_t)sched_getcpu() && ring.shm->seat[0].cpu == pos[0].cpu,
	   "a seat tells where its stage is bound to");
	sched_setaffinity(0, sizeof(all), &all);
	end();
}

/* --- the area ------------------------------------------------------------- */

/* Up to @most packets of @len bytes: how many went in; @top: the end of the part of the pool
 * they lie in */
static unsigned some(unsigned most, uint32_t len, uint32_t *top)
{
	static const uint8_t bytes[9000];
	unsigned n = 0;

	*top = 0;
	while (n < most && ring_reserve(&pos[0], burst, 1) == 1) {
		if (!frame_set(burst[0], bytes, len))
			abort();
		*top = MAX(*top, (uint32_t)(burst[0]->buf - ring.pool) + burst[0]->room);
		ring_publish(&pos[0], 1);
		n++;
	}
	return n;
}

static unsigned fill(uint32_t len, uint32_t *top)
{
	return some(UINT_MAX, len, top);
}

/* Up to @most of them are done with */
static unsigned drain(unsigned most)
{
	unsigned done = 0;
	int n;

	while (done < most && (n = ring_take(&pos[1], burst, (int)MIN(most - done, FRAME_BURST))) > 0) {
		ring_put(&pos[1]);
		done += (unsigned)n;
	}
	return done;
}

/* The head sleeps over @n packets: it is rung when the last one is done with */
static void rung_when_empty(unsigned n)
{
	drain(n - 1);
	ring_wake(&pos[1]);
	OK(!rings(0), "it sleeps on while the ring is not empty");
	drain(1);
	ring_wake(&pos[1]);
	OK(rings(0), "and is rung when it is");
}

/* So often that the head knows how long packets are */
static void get_used_to(uint32_t len)
{
	uint32_t top;

	for (int turn = 0; turn < 10; turn++) {
		fill(len, &top);
		drain(UINT_MAX);
	}
}

/* How much of the pool @n packets of @len bytes take */
static uint32_t taken_by(unsigned n, uint32_t len)
{
	return n * cut_for(FRAME_HEADROOM + len);
}

static void test_area(void)
{
	static const struct { uint32_t len; bool bounded; } t[] = {
		{ 1400, true }, { 600, true }, { 1400, true }, { 8400, false }, { 1400, true },
	};
	unsigned n;
	uint32_t top;

	begin_with(1024, 9216, 1);
	OK(fill(64, &top) == 1024 && top == taken_by(1024, 64), "short packets lie close together");
	drain(UINT_MAX);
	OK(fill(1400, &top) == 1024 && top == taken_by(1024, 1400),
	   "where stages may work at once the area grows as it has to");
	drain(UINT_MAX);
	bind_seat(0, 1);
	bind_seat(1, 1);
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		uint32_t len = t[i].len;

		get_used_to(len);
		n = fill(len, &top);
		if (t[i].bounded)
			OK(top <= RING_WARM && top > RING_WARM - ring.stride &&
			   n >= RING_WARM_MIN && taken_by(n, len) <= RING_WARM,
			   "packets of %u bytes: %u in flight, which stay in the cache", len, n);
		else
			OK(n == 1024, "packets of %u bytes: too few would", len);
		OK(drain(n / 2) == n / 2 && fill(len, &top) <= n / 2 && drain(UINT_MAX) >= n - n / 2 &&
		   ring_idle(&ring), "it is kept while the ring is in use");
	}
	get_used_to(64);
	OK(fill(64, &top) == 1024 && top == taken_by(1024, 64), "short ones are bounded by entries");
	ring.shm->cursor[1].done -= 600;
	OK(ring_reserve(&pos[0], burst, 1) == -EPROTO, "a cursor that went back beyond them lies");
	end();
}

/* A stage came back on another processor: turns are over, and with them the bound */
static void test_area_left(void)
{
	uint32_t top;
	unsigned n;

	begin_with(4096, ROOM, 1);
	bind_seat(0, 1);
	bind_seat(1, 1);
	get_used_to(1400);
	n = fill(1400, &top);
	OK(n < 512 && top <= RING_WARM, "only a part of the ring is in use, by choice");
	bind_seat(1, 2);
	OK(ring_doze(&pos[0], false), "the head sleeps over it");
	rung_when_empty(n);
	ring_rise(&pos[0], true);
	OK(fill(1400, &top) == 4096, "and may be all of it again");
	end();
}

/* Long packets fill the area while few entries are in use: no reason to be awake */
static void test_bytes_short(void)
{
	uint32_t top;
	unsigned n;

	begin_with(1024, 9216, 1);
	some(40, 8400, &top);
	drain(20);
	n = 20 + fill(8400, &top);
	OK(n < 1024 / 8 && top <= RING_WARM && ring_doze(&pos[0], false),
	   "the head sleeps when there are no bytes: %u packets", n);
	rung_when_empty(n);
	end();
}

/* So long that half of the entries are never in use */
static void test_bytes_half(void)
{
	const unsigned entries = 16384;
	uint32_t top;
	unsigned n;

	begin_with(entries, 9216, 1);
	n = fill(9000, &top);
	OK(n > entries / 8 && n < entries / 2 && ring_doze(&pos[0], false),
	   "the head sleeps when there are no bytes: %u packets", n);
	drain(n - entries / 8 - 1);
	ring_wake(&pos[1]);
	OK(!rings(0), "more than an eighth of the entries in use: it sleeps on");
	drain(1);
	ring_wake(&pos[1]);
	OK(rings(0), "an eighth: the bell rings");
	end();
}

int main(void)
{
	test_stage_bells();
	test_head_bell();
	test_turns();
	test_area();
	test_area_left();
	test_bytes_short();
	test_bytes_half();
	return tap_done();
}
