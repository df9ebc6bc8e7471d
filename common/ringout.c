/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "ringout.h"

/* While a seat is vacant it is offered again, more and more seldom: ZeroMQ keeps the first
 * offers for who comes later */
#define AGAIN_MIN_NS	50000000u
#define AGAIN_MAX_NS	1000000000u
#define HEARD_NS	3000000000u	/* so long a reader may take offers, and not a seat */
#define MOVE_NS		20000000u	/* stages behind are looked for so often */
#define FETCHED_MAX	512u		/* bytes of a packet */

static bool by_pipe(const struct ring_out *out)
{
	return kind_is_pipe(out->tx->kind);
}

void ring_out_open(struct ring_out *out, struct tx *tx, struct stream_conf *conf,
		   struct ring_in *in, uint32_t longest, const char *why)
{
	memset(out, 0, sizeof(*out));
	out->tx = tx;
	out->conf = conf;
	out->in = in;
	out->why = why;
	out->stride = MAX(RING_STRIDE, FRAME_HEADROOM + longest);
	if (!why && !kind_has_neighbour(tx->kind))
		out->why = "no neighbour";
	else if (!why && !tx->ops->offer)
		out->why = "classic pcap";
	else if (!why && !strncmp(tx->spec, "bind+", 5))
		out->why = "several readers may come";
	out->state = out->why ? OUT_STREAM : OUT_UNDECIDED;
	out->again_ns = AGAIN_MIN_NS;
	heir_init(&out->heir);
	tx->ring = !out->why;
}

/* --- offer, switch, leave ------------------------------------------------- */

/* Does it head a segment of its own, now or as soon as it is in a ring at all? */
static bool heads(const struct ring_out *out)
{
	return out->hosting || !out->in;
}

static struct ring *ring_of(struct ring_out *out)
{
	return heads(out) ? &out->host.ring : &out->in->guest.ring;
}

/* The reader's seat */
static struct ring_seat *seat_of(struct ring_out *out, unsigned *k)
{
	*k = heads(out) ? 1 : out->in->guest.seat + 1;
	return &ring_of(out)->shm->seat[*k];
}

static void stay_stream(struct ring_out *out, const char *why)
{
	out->state = OUT_STREAM;
	out->why = why;
}

static bool head(struct ring_out *out)
{
	int err;

	if (out->hosting)
		return true;
	err = host_open(&out->host, out->conf->live ? RING_ENTRIES : RING_ENTRIES_FILE, out->stride);
	if (err) {
		log_info("%s: no ring: %s", out->tx->spec, strerror(-err));
		stay_stream(out, "no memory for a ring");
		return false;
	}
	atomic_store_explicit(&out->host.ring.shm->seat[0].nonce, out->conf->nonce,
			      memory_order_relaxed);
	ring_sit(&out->own, &out->host.ring, 0);
	out->hosting = true;
	return true;
}

/* Where the input's ring goes on: a seat of the same segment, if there is one */
static bool member(const struct ring_out *out)
{
	return !out->hosting && out->in && out->in->state == IN_RING &&
	       out->in->guest.seat + 1 < RING_STAGES;
}

static void make_offer(struct ring_out *out, struct cap_offer *o)
{
	if (out->hosting)
		host_offer(&out->host, 1, o);
	else
		guest_offer(&out->in->guest, o);
}

/* A predecessor of ours had its reader in the ring already */
static void resume(struct ring_out *out)
{
	_Atomic uint64_t *before = &ring_of(out)->shm->seat[out->in->guest.seat].before;

	out->conf->old_packets = MIN(out->conf->old_packets,
				     atomic_load_explicit(before, memory_order_relaxed));
	atomic_store_explicit(before, tx_streamed(out->tx), memory_order_relaxed);
	out->state = OUT_RING;
	out->told = 0;
}

static void try_offer(struct ring_out *out)
{
	struct cap_offer o;

	if (!out->conf->settled ||
	    (out->in && out->in->state != IN_STREAM && out->in->state != IN_RING))
		return;
	if (member(out)) {
		out->pos = &out->in->pos;
		if (atomic_load_explicit(&ring_of(out)->shm->last, memory_order_relaxed) >
		    out->in->guest.seat) {
			resume(out);
			return;
		}
	} else if (head(out)) {
		out->pos = &out->own;
	} else {
		return;
	}
	make_offer(out, &o);
	if (!tx_offer(out->tx, &o, true))
		out->state = OUT_OFFERED;
}

/* From here on packets go by the ring; the reader is told as soon as the stream takes it */
static void go_ring(struct ring_out *out)
{
	struct ring_seat *own = &ring_of(out)->shm->seat[out->pos->k];

	atomic_store_explicit(&own->before, tx_streamed(out->tx), memory_order_relaxed);
	atomic_store_explicit(&ring_of(out)->shm->seat[out->pos->k + 1].refused, 0,
			      memory_order_relaxed);
	ring_extend(out->pos);
	out->state = OUT_RING;
	out->told = 0;
}

static void look_refused(struct ring_out *out)
{
	unsigned k;
	uint64_t refused = atomic_load_explicit(&seat_of(out, &k)->refused, memory_order_relaxed);

	if (!refused)
		return;
	if (refused == RING_DECLINED)
		snprintf(out->text, sizeof(out->text), "the reader takes no ring");
	else
		snprintf(out->text, sizeof(out->text), "reader is uid %u, we are %u",
			 (unsigned)(refused - 1), (unsigned)geteuid());
	out->why = out->text;
}

/* Packets that we took for sent, and nobody knows */
static void uncertain(struct tx *tx, uint64_t n)
{
	n = MIN(n, tx->packets);	/* the rest are a predecessor's */
	tx->packets -= n;
	tx->ringed -= n;
	tx->uncertain += n;
}

/* Nobody will take the reader's seat: it is ours to empty */
static void inherit(struct ring_out *out)
{
	unsigned k, lost;

	seat_of(out, &k);
	if (heir_sit(&out->heir, ring_of(out), k, &lost))
		return;		/* somebody does, after all */
	uncertain(out->tx, lost);
	out->why = out->quit ? out->quit : "the reader takes no ring";
	look_refused(out);
	if (!out->hosting)
		out->in->paused = true;
	out->state = OUT_MOVING;
}

static void move_on(struct ring_out *out, uint64_t now_ns)
{
	uint64_t lost = 0;
	int err = heir_send(&out->heir, out->tx, &lost);

	out->unflushed = tx_flush(out->tx) == -EAGAIN;
	out->offer_at_ns = now_ns + MOVE_NS;
	uncertain(out->tx, lost);
	if (err || !heir_done(&out->heir, out->tx->spec))
		return;
	if (!out->hosting)
		out->in->paused = false;
	out->vacant = false;
	if (out->quit)
		stay_stream(out, out->quit);
	else
		out->state = OUT_UNDECIDED;
}

static void offer_again(struct ring_out *out, struct cap_offer *o, uint64_t now_ns)
{
	if (now_ns < out->offer_at_ns)
		return;
	/* So many wait where nobody reads, one of them with us */
	if (!tx_offer(out->tx, o, true) && ++out->given > (unsigned)out->conf->hwm + 2 &&
	    !out->heard_ns)
		out->heard_ns = now_ns;
	out->offer_at_ns = now_ns + out->again_ns;
	out->again_ns = MIN(2 * out->again_ns, AGAIN_MAX_NS);
}

/* Does somebody read here who takes no ring? */
static bool hopeless(const struct ring_out *out, const struct ring_seat *seat, uint64_t now_ns)
{
	return !by_pipe(out) && (atomic_load_explicit(&seat->refused, memory_order_relaxed) ||
				 (out->heard_ns && now_ns - out->heard_ns > HEARD_NS));
}

static void tell(struct ring_out *out, uint64_t now_ns)
{
	struct cap_switch s = { 0 };
	struct cap_offer o;
	struct ring_seat *seat = seat_of(out, &s.seat);
	enum ring_state state = ring_state(ring_of(out), s.seat);

	s.gen = atomic_load_explicit(&seat->gen, memory_order_relaxed);
	if (likely(state == RING_SEATED && s.gen == out->told)) {
		out->vacant = false;
		return;
	}
	if (!out->vacant) {
		out->again_ns = AGAIN_MIN_NS;
		out->given = 0;
		out->heard_ns = 0;
	}
	/* A whole pipeline that ended left its seats, and another one may come */
	out->vacant = state == RING_VACANT ||
		      (state == RING_LEFT && !seat_held(ring_of(out), s.seat));
	make_offer(out, &o);
	if (state == RING_SEATED) {
		memcpy(s.nonce, o.nonce, sizeof(s.nonce));
		if (!tx_to_ring(out->tx, &s))
			out->told = s.gen;
		out->unflushed = tx_flush(out->tx) == -EAGAIN;
	} else if (out->vacant && hopeless(out, seat, now_ns)) {
		inherit(out);
	} else if (out->vacant) {
		offer_again(out, &o, now_ns);
	}
}

/* The reader takes what is there, then reads the stream */
static void leave(struct ring_out *out)
{
	ring_wake(out->pos);
	ring_leave(ring_of(out), out->pos->k);
}

void ring_out_step(struct ring_out *out, uint64_t now_ns, bool look)
{
	bool lost = !heads(out) && out->in->state != IN_RING;
	unsigned k;

	if (look && out->hosting)
		host_serve(&out->host);
	switch (out->state) {
	case OUT_STREAM:
		return;
	case OUT_UNDECIDED:
		try_offer(out);
		break;
	case OUT_OFFERED:
		if (lost) {
			out->state = OUT_UNDECIDED;
			return;
		}
		seat_of(out, &k);
		if (ring_state(ring_of(out), k) == RING_SEATED)
			go_ring(out);
		else if (look)
			look_refused(out);
		break;
	case OUT_RING:
		if (likely(!lost))
			break;
		leave(out);
		out->state = OUT_UNDECIDED;
		return;
	case OUT_MOVING:
		move_on(out, now_ns);
		return;
	}
	if (likely(out->state == OUT_RING))	/* at once: nothing else may ever wake us */
		tell(out, now_ns);
	if (unlikely(out->quit) && out->state == OUT_RING && ring_idle(ring_of(out))) {
		leave(out);
		stay_stream(out, out->quit);
	}
}

uint64_t ring_out_due_ns(const struct ring_out *out)
{
	bool waits = (out->state == OUT_RING && out->vacant) || out->state == OUT_MOVING;

	return waits ? out->offer_at_ns : 0;
}

/* --- packets -------------------------------------------------------------- */

static void count(struct tx *tx, struct frame **f, int n)
{
	uint64_t packets = 0, bytes = 0;

	for (int i = 0; i < n; i++) {
		packets += !f[i]->verdict;
		bytes += f[i]->verdict ? 0 : f[i]->len;
	}
	tx->packets += packets;
	tx->ringed += packets;
	tx->bytes += bytes;
}

/* What lies in the ring goes first */
static void too_long(struct ring_out *out, const struct frame *f)
{
	log_notice("%s: a packet of %u bytes does not fit the ring: packets go by stream now",
		   out->tx->spec, f->len);
	out->quit = "a packet was too long for it";
}

static int broken(struct ring_out *out)
{
	log_error("%s: the ring's cursors cannot be right", out->tx->spec);
	return -EPROTO;
}

/* The next burst of a file lies behind this one, and is fetched while this one is copied: every
 * line, as processors are fast at rows without gaps; of long packets they see one themselves */
static void fetch_next(const struct frame *f, size_t span)
{
	for (uint32_t at = 0; at < MIN(f->len, FETCHED_MAX) + FRAME_LINE; at += FRAME_LINE)
		fetch_line(frame_data(f) + span + at);
}

/* Into frames of our own segment; how many were taken, less when it is full */
static int copy(struct ring_out *out, struct frame **f, int n)
{
	struct frame *to[FRAME_BURST];
	int room = ring_reserve(out->pos, to, MIN(n, FRAME_BURST)), used = 0, i;
	bool in_row = out->tx->lender && out->tx->lender->lasting;
	size_t span = in_row ? (size_t)(frame_data(f[n - 1]) - frame_data(f[0])) : 0;

	if (unlikely(room < 0))
		return broken(out);
	for (i = 0; i < n && used < room; i++) {
		if (span)
			fetch_next(f[i], span);
		if (f[i]->verdict)
			continue;
		if (unlikely(!frame_copy(to[used], f[i], 0)))
			break;
		used++;
	}
	if (unlikely(room && !used && i < n))	/* there is room for one of any length that fits */
		too_long(out, f[i]);
	ring_publish(out->pos, used);
	count(out->tx, f, i);
	ring_nudge(out->pos);
	return i;
}

int ring_out_send(struct ring_out *out, struct frame **f, int n)
{
	if (unlikely(out->state == OUT_MOVING))
		return 0;
	if (out->state != OUT_RING)
		return tx_send(out->tx, f, n);
	if (out->hosting && !out->filling)
		return out->quit ? 0 : copy(out, f, n);
	count(out->tx, f, n);
	return n;
}

int ring_out_room(struct ring_out *out, struct frame **f, int max)
{
	int n;

	if (out->state == OUT_MOVING && out->hosting)
		return 0;
	if (out->state != OUT_RING || !out->hosting)
		return -1;
	n = ring_reserve(out->pos, f, max);
	if (unlikely(n < 0))
		return broken(out);
	out->filling = n;
	return n;
}

void ring_out_fill_done(struct ring_out *out, int n)
{
	out->filling = false;
	ring_publish(out->pos, n);
	ring_nudge(out->pos);
}

void ring_out_wake(struct ring_out *out)
{
	if (out->state == OUT_RING)
		ring_wake(out->pos);
}

int ring_out_flush(struct ring_out *out)
{
	int err;

	ring_out_wake(out);
	err = tx_flush(out->tx);
	out->unflushed = err == -EAGAIN;
	return err;
}

/* --- sleep ---------------------------------------------------------------- */

int ring_out_poll(struct ring_out *out, struct pollfd *fds, bool blocked)
{
	bool ring = out->state == OUT_RING || out->state == OUT_MOVING;
	int n = 0;

	out->fds = fds;
	out->nfds = 0;
	if (out->state == OUT_RING && blocked && out->hosting &&
	    !ring_doze(out->pos, out->ending || out->quit))
		return -1;
	if (out->hosting) {	/* the bell: who sits down rings */
		fds[n++] = (struct pollfd){ .fd = out->host.ring.bell[0], .events = POLLIN };
		fds[n++] = (struct pollfd){ .fd = out->host.fd, .events = POLLIN };
	}
	if (!ring || out->unflushed || by_pipe(out)) {
		int more = tx_poll(out->tx, fds + n);

		if (ring && !out->unflushed)
			fds[n].events = 0;	/* its end only: POLLERR */
		n += blocked || ring ? more : 0;
	}
	out->nfds = n;
	return n;
}

bool ring_out_settled(const struct ring_out *out)
{
	return !out->unflushed && !out->host.deaf &&
	       (out->state == OUT_RING ? !out->vacant && !out->quit
				       : !kind_has_neighbour(out->tx->kind));
}

bool ring_out_rise(struct ring_out *out)
{
	bool gone = false, rang = false;

	if (out->unflushed)
		ring_out_flush(out);
	for (int i = 0; i < out->nfds; i++) {
		if (!out->fds[i].revents)
			continue;
		if (out->hosting && out->fds[i].fd == out->host.fd)
			host_serve(&out->host);
		rang |= out->hosting && out->fds[i].fd == out->host.ring.bell[0];
		gone |= out->fds[i].revents & POLLERR && out->state == OUT_RING && by_pipe(out);
	}
	out->nfds = 0;
	if (out->hosting)
		ring_rise(&out->own, rang);
	return !gone;	/* ending the stream will say so */
}

/* --- the end -------------------------------------------------------------- */

int ring_out_end(struct ring_out *out, enum tx_end how)
{
	struct ring *r;
	int err;

	if (out->state == OUT_MOVING && how == TX_LEAVE)
		uncertain(out->tx, heir_close(&out->heir));
	else if (out->state == OUT_MOVING && (out->hosting || how != TX_DETACH))
		return -EAGAIN;
	if (out->state != OUT_RING)
		return tx_end(out->tx, how);
	r = ring_of(out);
	if (how == TX_DETACH && !out->hosting) {
		ring_wake(out->pos);
		return 0;
	}
	out->ending = true;
	if (out->hosting && how != TX_LEAVE && !ring_idle(r)) {
		ring_wake(out->pos);
		return -EAGAIN;
	}
	if (!out->left)
		leave(out);
	out->left = true;
	err = tx_end(out->tx, how);
	out->unflushed = err == -EAGAIN;
	return err;
}

void ring_out_close(struct ring_out *out)
{
	heir_close(&out->heir);
	if (out->hosting)
		host_close(&out->host);
	tx_close(out->tx);
}
