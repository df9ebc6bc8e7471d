/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "log.h"
#include "ringin.h"

static bool by_pipe(const struct ring_in *in)
{
	return kind_is_pipe(in->rx->kind);
}

void ring_in_open(struct ring_in *in, struct rx *rx, const struct stream_conf *conf,
		  const char *why)
{
	memset(in, 0, sizeof(*in));
	in->rx = rx;
	in->conf = conf;
	in->why = why;
	in->never = why;
	guest_init(&in->guest);
	if (!why && !kind_has_neighbour(rx->kind))
		in->why = "no neighbour";
	else if (!why && conf->inputs > 1)
		in->why = "--inputs";
	in->state = in->why ? IN_STREAM : IN_WAITING;
}

/* --- joining -------------------------------------------------------------- */

static void stay_stream(struct ring_in *in, const char *why)
{
	in->state = IN_STREAM;
	in->why = why;
}

static void refused(struct ring_in *in, int err)
{
	/* Whoever sat there is still dying, or many ask at once: it is offered again */
	if (err == -EBUSY || err == -EAGAIN) {
		in->state = IN_WAITING;
		return;
	}
	memcpy(in->refused, in->guest.offer.nonce, sizeof(in->refused));
	stay_stream(in, in->guest.why);
}

static void consider(struct ring_in *in)
{
	const struct cap_offer *o = &in->rx->offer;
	int err;

	in->offers = in->rx->offers;
	if (!memcmp(o->nonce, in->refused, sizeof(in->refused)))
		return;
	if (in->never || in->conf->inputs > 1) {
		memcpy(in->refused, o->nonce, sizeof(in->refused));
		guest_decline(o);
		return;
	}
	if (in->state == IN_ASKED || in->state == IN_SEATED) {
		if (!memcmp(o->nonce, in->guest.offer.nonce, sizeof(o->nonce)) &&
		    o->seat == in->guest.seat)
			return;
		guest_close(&in->guest);
	}
	err = guest_ask(&in->guest, o);
	in->state = IN_ASKED;
	if (err)
		refused(in, err);
}

static void hear(struct ring_in *in)
{
	struct ring *r = &in->guest.ring;
	struct ring_seat *seat;
	int err = guest_answer(&in->guest);

	if (err == -EAGAIN)
		return;
	if (err) {
		refused(in, err);
		return;
	}
	seat = &r->shm->seat[in->guest.seat];
	in->gen = atomic_fetch_add_explicit(&seat->gen, 1, memory_order_relaxed) + 1;
	atomic_store_explicit(&seat->nonce, in->conf->nonce, memory_order_relaxed);
	ring_set_state(r, in->guest.seat, RING_SEATED);
	ring_ring(r, in->guest.seat - 1);
	in->state = IN_SEATED;
}

/* Only a hello tells: writers that a predecessor knew (rx_resume()) have said nothing yet */
static void decide(struct ring_in *in, int n)
{
	if (in->rx->between)
		stay_stream(in, "it comes through somebody else's hands");
	else if (in->rx->chain[0] ? !in->rx->ring : n > 0)
		stay_stream(in, "the writer offers no ring");
}

/* --- the ring ------------------------------------------------------------- */

/* A neighbour broke the rules: whatever it says from now on, we do not hear it */
static int broken(struct ring_in *in)
{
	log_error("%s: the ring's cursors or frames cannot be right: left", in->rx->spec);
	in->rx->broken++;
	in->left = in->moved = true;
	stay_stream(in, "the ring was broken");
	memcpy(in->refused, in->guest.offer.nonce, sizeof(in->refused));
	return by_pipe(in) ? RX_FAIL : RX_AGAIN;
}

/* What is there already is still ours */
static void stop_here(struct ring_in *in)
{
	in->stop_at = ring_upto(&in->guest.ring, in->guest.seat - 1);
}

/* Seats behind ours that a predecessor's readers had, and that ours does not take over:
 * once they are empty we are the last one.  Return: are they? */
static bool clear_behind(struct ring_in *in)
{
	struct ring *r = &in->guest.ring;
	unsigned k = in->guest.seat;

	if (!seats_clear(r, k, k + 1, in->pos.done, in->rx->spec))
		return false;
	ring_set_state(r, k, RING_SEATED);
	return true;
}

/* The switch block came: what a predecessor had in hand is lost, the rest is ours */
static int enter(struct ring_in *in)
{
	const struct cap_switch *s = &in->rx->to_ring;

	if (in->state != IN_SEATED || s->seat != in->guest.seat || s->gen != in->gen ||
	    memcmp(s->nonce, in->guest.offer.nonce, sizeof(s->nonce)))
		return 0;	/* meant for somebody before us */
	if (ring_sit(&in->pos, &in->guest.ring, in->guest.seat))
		return broken(in);
	in->recovered += ring_recover(&in->pos);
	ring_call(&in->pos);
	in->clearing = in->fresh && !clear_behind(in);
	if (in->clearing)
		ring_leave(&in->guest.ring, in->guest.seat);
	in->state = IN_RING;
	in->why = "";
	in->nonce = 0;
	in->cut = in->orphan = false;
	if (in->stop)
		stop_here(in);
	return 0;
}

/* Nothing more will come from the stage in front of us */
static bool over(const struct ring_in *in)
{
	const struct ring *r = &in->guest.ring;
	unsigned up = in->guest.seat - 1;
	bool left = ring_state(r, up) == RING_LEFT;

	if (!left && !in->cut && !(in->orphan && (!up || !seat_held(r, up))))
		return false;
	return ring_upto(r, up) == in->pos.done;
}

/* What a stage that died had still before it, in a ring without a head */
static uint64_t stranded(const struct ring_in *in)
{
	const struct ring *r = &in->guest.ring;
	uint64_t n = ring_upto(r, 0) - in->pos.done;

	return in->orphan && n <= r->entries ? n : 0;
}

static void leave(struct ring_in *in)
{
	uint64_t lost = stranded(in);

	in->rx->gaps += lost;
	in->rx->upstream_packets[in->who] += lost;
	in->left = in->moved = true;
	in->state = IN_WAITING;
}

static void count(struct ring_in *in, int n)
{
	uint64_t nonce = atomic_load_explicit(&in->guest.ring.shm->seat[in->guest.seat - 1].nonce,
					      memory_order_relaxed);

	if (unlikely(nonce != in->nonce)) {
		in->nonce = nonce;
		in->who = rx_upstream(in->rx, nonce, 0);
	}
	in->rx->upstream_packets[in->who] += (unsigned)(n - __builtin_popcountll(in->pos.dead));
}

/* Several writers take turns in a stream, not in a ring: our writer follows us there */
static void give_way(struct ring_in *in)
{
	struct ring *r = &in->guest.ring;

	log_notice("%s: several producers without --inputs: packets come by stream now",
		   in->rx->spec);
	in->crowded = false;
	in->never = in->left = in->moved = true;
	stay_stream(in, "several producers");
	ring_wake(&in->pos);
	atomic_store_explicit(&r->shm->seat[in->guest.seat].refused, RING_DECLINED,
			      memory_order_relaxed);
}

void ring_in_look(struct ring_in *in)
{
	const struct ring *r = &in->guest.ring;
	unsigned up = in->guest.seat - 1;

	if (in->state != IN_RING || !in->rx->ops->packets || in->stop || in->clearing || in->orphan ||
	    ring_state(r, up) != RING_SEATED || (up && !seat_held(r, up)))
		return;		/* they may be our own writer's, or its successor's */
	in->crowded = in->rx->ops->packets(in->rx) && ring_state(r, up) == RING_SEATED;
}

bool ring_in_settled(const struct ring_in *in)
{
	if (in->state != IN_RING)
		return !kind_has_neighbour(in->rx->kind);
	/* Entries that nobody rang for: there should be none */
	return ring_upto(&in->guest.ring, in->guest.seat - 1) == in->pos.done &&
	       !(in->clearing || in->paused || in->crowded || in->stop || in->orphan || in->cut);
}

/* Does something have to go first? */
static bool held_up(struct ring_in *in)
{
	if (in->crowded && !in->paused) {
		give_way(in);
		return true;
	}
	if (in->clearing)
		in->clearing = !clear_behind(in);
	return in->clearing || in->paused;
}

static int recv_ring(struct ring_in *in, struct frame **f, int max)
{
	int n = 0;

	if (unlikely(in->clearing || in->paused || in->crowded) && held_up(in))
		return RX_AGAIN;
	if (unlikely(in->stop))
		max = (int)MIN((uint64_t)max, in->stop_at - in->pos.done);
	if (likely(max))
		n = ring_take(&in->pos, f, max);
	if (likely(n > 0)) {
		count(in, n);
		return n;
	}
	if (n < 0)
		return broken(in);
	if (over(in)) {
		leave(in);
		return RX_AGAIN;
	}
	ring_wake(&in->pos);	/* we may go on, with what we make or by looking again, and not sleep */
	return in->stop ? RX_LEFT : RX_AGAIN;
}

int ring_in_recv(struct ring_in *in, struct frame **f, int max)
{
	int n, err;

	if (likely(in->state == IN_RING))
		return recv_ring(in, f, max);
	if (in->left) {
		guest_close(&in->guest);
		in->left = false;
	}
	n = rx_recv(in->rx, f, max);
	if (unlikely(in->rx->offers != in->offers))
		consider(in);
	if (in->state == IN_ASKED)
		hear(in);
	else if (in->state == IN_WAITING)
		decide(in, n);
	if (likely(n != RX_SWITCH))
		return n;
	in->moved = true;
	err = enter(in);
	return err ? err : RX_AGAIN;
}

void ring_in_release(struct ring_in *in, int n)
{
	if (in->state != IN_RING) {
		rx_release(in->rx, n);
		return;
	}
	ring_put(&in->pos);
	ring_nudge(&in->pos);
}

void ring_in_wake(struct ring_in *in)
{
	if (in->state == IN_RING)
		ring_wake(&in->pos);
}

void ring_in_stop(struct ring_in *in)
{
	if (in->rx->ops->stop)
		in->rx->ops->stop(in->rx);
	in->stop = true;
	if (in->state == IN_RING)
		stop_here(in);
}

/* --- sleep ---------------------------------------------------------------- */

int ring_in_poll(struct ring_in *in, struct pollfd *fds)
{
	int n = 0;

	in->fds = fds;
	in->nfds = 0;
	if (in->moved) {
		in->moved = false;
		return -1;
	}
	if (in->state != IN_RING) {
		n = rx_poll(in->rx, fds);
		if (in->state == IN_ASKED)
			fds[n++] = (struct pollfd){ .fd = in->guest.fd, .events = POLLIN };
		return n;
	}
	ring_wake(&in->pos);		/* the last stage has no output that does */
	if (unlikely(in->clearing || in->paused))	/* who leaves a seat behind rings us, too */
		in->pos.asleep = true;
	else if (!ring_doze(&in->pos, false))
		return -1;
	fds[n++] = (struct pollfd){ .fd = in->guest.ring.bell[in->guest.seat], .events = POLLIN };
	fds[n++] = (struct pollfd){ .fd = in->orphan ? -1 : in->guest.fd };
	if (by_pipe(in)) {
		rx_poll(in->rx, fds + n);
		fds[n].events = 0;		/* its end only: POLLHUP */
		fds[n].fd = in->cut ? -1 : fds[n].fd;
		n++;
	}
	in->nfds = n;
	return n;
}

void ring_in_rise(struct ring_in *in)
{
	if (in->state != IN_RING || !in->nfds)
		return;
	ring_rise(&in->pos, in->fds[0].revents);
	if (in->fds[1].revents)
		in->orphan = true;
	if (in->nfds > 2 && in->fds[2].revents)
		in->cut = true;
	in->nfds = 0;
}

void ring_in_close(struct ring_in *in)
{
	guest_close(&in->guest);
	rx_close(in->rx);
}
