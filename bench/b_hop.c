/* SPDX-License-Identifier: MIT */
/*
 * b_hop - What it costs to hand a packet to the next process on a ring
 *
 * A head and five processes behind it on one ring and one processor.  The head hands out
 * packets of 64 bytes; each process behind it takes bursts, does nothing to them, hands
 * them on, and sleeps when there is none.  Counted is the processor time of the four in
 * the middle, with their system calls.  name, unit, figure.
 */
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "ring.h"

#define PACKETS		4000000u
#define BEHIND		5u
#define BYTES		64u

static void sleep_on(struct ring_pos *p)
{
	struct pollfd fd = { .fd = p->ring->bell[p->k], .events = POLLIN };

	ring_wake(p);
	if (ring_doze(p, false)) {
		poll(&fd, 1, -1);
		ring_rise(p, fd.revents);
	}
}

static void pass(struct ring *r, unsigned k, int result)
{
	struct frame *f[FRAME_BURST];
	static struct ring_pos p;
	uint64_t ns;

	if (ring_sit(&p, r, k))
		_exit(1);
	while (p.done < PACKETS) {
		int n = ring_take(&p, f, FRAME_BURST);

		if (n < 0)
			_exit(1);
		if (!n) {
			sleep_on(&p);
			continue;
		}
		ring_put(&p);
		ring_nudge(&p);
	}
	ring_wake(&p);
	ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	_exit(write(result, &ns, sizeof(ns)) != sizeof(ns));
}

static void feed(struct ring_pos *p)
{
	static const uint8_t packet[BYTES];
	struct frame *f[FRAME_BURST];

	while (p->done < PACKETS) {
		int n = ring_reserve(p, f, (int)MIN(FRAME_BURST, PACKETS - p->done));

		if (!n) {
			sleep_on(p);
			continue;
		}
		for (int i = 0; i < n; i++)
			if (!frame_set(f[i], packet, sizeof(packet)))
				die("a packet that does not fit");
		ring_publish(p, n);
		ring_nudge(p);
	}
	ring_wake(p);
}

/* One processor: what a hop costs where neighbours take turns */
static void stay_here(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)sched_getcpu(), &set);
	sched_setaffinity(0, sizeof(set), &set);
}

int main(void)
{
	static struct ring_pos head;
	uint64_t total = 0, ns;
	struct ring r;
	int result[2];

	stay_here();
	if (ring_create(&r, RING_ENTRIES, RING_STRIDE) || pipe(result))
		die("no ring: %m");
	if (ring_sit(&head, &r, 0))
		die("no seat");
	for (unsigned k = 1; k <= BEHIND; k++) {
		struct ring_pos before = { .ring = &r, .k = k - 1 };

		ring_extend(&before);
		fflush(stdout);
		if (!fork())
			pass(&r, k, result[1]);
	}
	feed(&head);
	for (unsigned k = 1; k <= BEHIND; k++) {
		if (read(result[0], &ns, sizeof(ns)) != sizeof(ns))
			die("a process failed");
		total += k < BEHIND ? ns : 0;
	}
	while (wait(NULL) > 0)
		;
	printf("hop\tns\t%.2f\n", (double)total / PACKETS / (BEHIND - 1));
	return 0;
}
