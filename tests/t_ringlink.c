/* SPDX-License-Identifier: MIT */
/* Who joins a ring, and what is known of a seat when its owner has gone */
#include <errno.h>
#include <poll.h>
#include <sodium.h>
#include <sys/resource.h>
#include <unistd.h>

#include "ringlink.h"
#include "tap.h"

static int join(struct ring_host *h, struct ring_guest *g, unsigned seat)
{
	struct cap_offer o;
	int err;

	host_offer(h, seat, &o);
	err = guest_ask(g, &o);
	for (int i = 0; !err && i < 8; i++) {
		host_serve(h);
		err = guest_answer(g);
		if (err != -EAGAIN)
			return err;
		err = 0;
	}
	return err ? err : -ETIMEDOUT;
}

static void leave(struct ring_host *h, struct ring_guest *g)
{
	guest_close(g);
	host_serve(h);
}

static bool readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

/* Somebody knocks while the head has no descriptor left */
static void no_descriptors(struct ring_host *h, struct ring_guest *g)
{
	struct rlimit was, now;
	struct cap_offer o;
	int err;

	host_offer(h, 1, &o);
	err = guest_ask(g, &o);
	getrlimit(RLIMIT_NOFILE, &was);
	now = was;
	now.rlim_cur = 3;
	setrlimit(RLIMIT_NOFILE, &now);
	host_serve(h);
	OK(!err && !readable(h->fd), "who knocks does not keep a head awake that cannot answer");
	host_serve(h);
	OK(!readable(h->fd), "nor later");
	setrlimit(RLIMIT_NOFILE, &was);
	host_serve(h);
	host_serve(h);
	OK(!guest_answer(g), "with descriptors it answers");
	leave(h, g);
}

int main(void)
{
	static struct ring_host h;
	static struct ring_guest a, b;
	struct cap_offer o;

	if (sodium_init() < 0 || host_open(&h, RING_ENTRIES, RING_STRIDE))
		return 1;
	OK(!join(&h, &a, 1), "a stage joins");
	ring_set_state(&a.ring, 1, RING_SEATED);
	OK(seat_held(&h.ring, 1), "the seat is held");
	OK(join(&h, &b, 1) == -EBUSY, "a second one is refused");
	host_serve(&h);
	OK(ring_state(&h.ring, 1) == RING_SEATED, "which does not make the seat vacant");
	leave(&h, &a);
	OK(ring_state(&h.ring, 1) == RING_VACANT, "who goes without a word makes it vacant");
	OK(!join(&h, &a, 1), "a successor joins");
	ring_set_state(&a.ring, 1, RING_LEFT);
	leave(&h, &a);
	OK(ring_state(&h.ring, 1) == RING_LEFT, "who left has left");
	OK(!seat_held(&h.ring, 1), "and holds nothing");
	host_offer(&h, 2, &o);
	o.nonce[0] ^= 1;
	OK(!guest_ask(&b, &o), "who does not know the nonce may ask");
	host_serve(&h);
	host_serve(&h);
	OK(guest_answer(&b) == -EPROTO, "and is refused");
	no_descriptors(&h, &a);
	host_close(&h);
	return tap_done();
}
