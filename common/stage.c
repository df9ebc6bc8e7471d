/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "clock.h"
#include "flow.h"
#include "log.h"
#include "stage_int.h"

#define SECOND		1000000000ull
#define LOOK_NS		10000000ull	/* under load, signals are looked for so often */
#define LAST_BURSTS	256		/* of packets the stage makes, once the input has ended */

/* --- neighbours ----------------------------------------------------------- */

/* Frames that a sink joins to pieces, that go several ways or come between others cannot be
 * passed on as they lie */
static void open_rings(struct stage *st)
{
	const char *why = st->conf.no_ring ? "--no-ring" : NULL;
	bool passes = st->ntx == 1 && !(st->flags & STAGE_SINK) && !st->ops->make;

	ring_in_open(&st->in, st->rx, &st->stream, why);
	st->in.fresh = !passes || !is_kind(st->tx[0]->kind, "zmq") || why;
	st->out = calloc(st->ntx, sizeof(*st->out));
	if (!st->out)
		die("no memory");
	for (unsigned t = 0; t < st->ntx; t++)
		ring_out_open(&st->out[t], st->tx[t], &st->stream, passes ? &st->in : NULL,
			      st->rx->longest, why);
	st->fills = st->ntx == 1 && rx_can_fill(st->rx);
}

/* A hello told whom we follow, or packets came without one: outputs may say hello */
static void learn(struct stage *st, bool packets)
{
	struct rx *rx = st->rx;

	if (unlikely(!st->stream.settled) && (packets || rx->chain[0])) {
		stage_settle(st, rx->chain[0] ? rx->chain : st->conf.chain);
		st->stream.settled = true;
	}
	st->stream.live |= rx->live;
	if (unlikely(rx->live && !st->live))
		stage_go_live(st);
}

/* --- signals, time -------------------------------------------------------- */

static void note_upstream(struct stage *st)
{
	struct stats_page *p = st->stats.page;
	unsigned n = st->rx->nupstream;

	memcpy(p->upstream, st->rx->upstream, n * sizeof(p->upstream[0]));
	memcpy(p->upstream_packets, st->rx->upstream_packets, n * sizeof(p->upstream_packets[0]));
	atomic_store_explicit(&p->nupstream, n, memory_order_release);
}

static uint16_t way(bool ring, const char *kind)
{
	return ring ? STATS_RING : kind_has_neighbour(kind) ? STATS_STREAM : STATS_NO_WAY;
}

static void publish(struct stage *st)
{
	struct stats_page *p = st->stats.page;

	p->in_way = way(st->in.state == IN_RING, st->rx->kind);
	p->out_way = way(st->out[0].state == OUT_RING, st->tx[0]->kind);
	p->counter[STATS_GAPS] = st->rx->gaps;
	p->counter[STATS_BROKEN] = st->rx->broken;
	note_upstream(st);
}

static bool own_end(const struct stage *st)
{
	return st->flags & STAGE_SOURCE || is_kind(st->rx->kind, "file");
}

static void on_stop_signal(struct stage *st)
{
	st->signals++;
	if (st->signals > 1) {
		st->leaving = true;
	} else if (own_end(st) || is_kind(st->rx->kind, "zmq")) {
		ring_in_stop(&st->in);
	}
	/* else the upstream got the signal too: its end comes with the stream */
	st->stream.linger_ms = st->stream.drain_ms;
	if (!st->stop_at_ns)
		st->stop_at_ns = st->now_ns + st->conf.drain_ms * 1000000;
}

static void read_signals(struct stage *st)
{
	struct signalfd_siginfo si;

	while (read(st->sig_fd, &si, sizeof(si)) == sizeof(si)) {
		if (si.ssi_signo != SIGHUP)
			on_stop_signal(st);
		else if (st->ops->reload)
			st->ops->reload(st);
	}
}

/* The same instant for all stages: the processor wakes once for the five of a chain */
static uint64_t next_second(uint64_t now_ns)
{
	return now_ns - now_ns % SECOND + SECOND;
}

static void tick(struct stage *st)
{
	st->next_tick_ns = next_second(st->now_ns);
	ring_in_look(&st->in);
	if (st->ops->tick)
		st->ops->tick(st);
}

/* Once in a while under load, and after every sleep */
static void look_around(struct stage *st)
{
	st->next_look_ns = st->now_ns + LOOK_NS;
	st->look = true;
	if (st->live)
		stage_say_ways(st);
	if (st->stop_at_ns && st->now_ns >= st->stop_at_ns)
		st->leaving = true;
	publish(st);
	stats_beat(&st->stats, st->now_ns);
	if (st->now_ns >= st->next_tick_ns)
		tick(st);
}

/* When to wake at the latest */
static uint64_t wake_at(const struct stage *st)
{
	uint64_t at = st->next_tick_ns;

	if (st->stop_at_ns)
		at = MIN(at, st->stop_at_ns);
	if (st->live && !st->said[0])
		at = MIN(at, st->said_by_ns);
	for (unsigned t = 0; t < st->ntx; t++)
		if (ring_out_due_ns(&st->out[t]))
			at = MIN(at, ring_out_due_ns(&st->out[t]));
	return at;
}

/* Nothing but packets, signals and neighbours can set us going: all of them move one of those
 * descriptors that rest() sleeps on, and no turn of the loop would find anything */
static bool settled(const struct stage *st)
{
	bool ok = ring_in_settled(&st->in);

	for (unsigned t = 0; t < st->ntx; t++)
		ok &= ring_out_settled(&st->out[t]);
	return ok && st->live && st->said[0] && !st->full && !st->stop_at_ns &&
	       !st->ops->make && !st->ops->idle && !st->stats.page->trouble[0];
}

/* Return: did one of @fds move? */
static bool sleep_until(struct stage *st, struct pollfd *fds, int n)
{
	uint64_t until = wake_at(st);
	struct timespec ts = { 0 };
	bool moved;

	st->now_ns = clock_mono();
	if (until > st->now_ns)
		ts.tv_nsec = (long)MIN(until - st->now_ns, SECOND - 1);
	moved = ppoll(fds, (nfds_t)n, &ts, NULL);
	st->now_ns = clock_mono();
	return moved;
}

/*
 * Sleep until one of @fds moves, a signal comes or the next second begins
 * @idle:	All was done that there is to do: sleep on if a second is all that came
 *
 * Return: false when an output is gone
 */
static bool sleep_on(struct stage *st, struct pollfd *fds, int n, bool idle)
{
	bool ok = true, moved;

	fds[n++] = (struct pollfd){ .fd = st->sig_fd, .events = POLLIN };
	/* What a turn of the loop touches is in no cache after a second: there is none, behind
	 * one that found nothing */
	while (!(moved = sleep_until(st, fds, n)) && idle && st->calm &&
	       st->now_ns >= st->next_tick_ns) {
		stats_beat(&st->stats, st->now_ns);
		tick(st);
		idle = settled(st);
	}
	st->calm = !moved;
	ring_in_rise(&st->in);
	for (unsigned t = 0; t < st->ntx; t++)
		ok &= ring_out_rise(&st->out[t]);
	if (fds[n - 1].revents)
		read_signals(st);
	look_around(st);
	return ok;
}

/* --- packets -------------------------------------------------------------- */

/* Rings are offered, entered and left between two bursts */
static void step_outputs(struct stage *st)
{
	for (unsigned t = 0; t < st->ntx; t++)
		ring_out_step(&st->out[t], st->now_ns, st->look);
	st->look = false;
}

/* Next burst, from the input or by it into frames of our own ring */
static int take(struct stage *st, struct frame **f)
{
	int room = -1, n;

	st->full = false;
	if (st->fills)
		room = ring_out_room(&st->out[0], f, FRAME_BURST);
	if (room == -1)
		return ring_in_recv(&st->in, f, FRAME_BURST);
	if (room < 0)
		return RX_FAIL;
	st->full = !room;
	n = room ? rx_recv_into(st->rx, f, room) : RX_AGAIN;
	if (n <= 0)
		ring_out_fill_done(&st->out[0], 0);
	return n;
}

static void give_back(struct stage *st, int n)
{
	if (unlikely(st->rx->moving))	/* it takes back what outputs borrowed */
		for (unsigned t = 0; t < st->ntx; t++)
			tx_flush(st->tx[t]);
	if (st->out[0].filling)
		ring_out_fill_done(&st->out[0], n);
	else
		ring_in_release(&st->in, n);
}

/* Frames an output has no more use for */
static void refuse(struct frame **f, int n, enum reason why)
{
	for (int i = 0; i < n; i++)
		if (!f[i]->verdict)
			frame_drop(f[i], why, 0);
}

/* Sleep until @out can go on; false: it is gone */
static bool wait_for(struct stage *st, struct ring_out *out)
{
	struct pollfd fds[STREAM_POLL_MAX + 1];
	int n;

	for (unsigned t = 0; t < st->ntx; t++)	/* others are not to wait for what is there because we do */
		ring_out_wake(&st->out[t]);
	ring_in_wake(&st->in);
	n = ring_out_poll(out, fds, true);
	if (n >= 0 && !sleep_on(st, fds, n, false))
		return false;
	if (out->state == OUT_RING || out->state == OUT_MOVING)	/* readers change in mid-burst, too */
		ring_out_step(out, st->now_ns, true);
	return true;
}

/* All of a burst into one output, waiting where it is full; false: it is gone */
static bool give_one(struct stage *st, struct ring_out *out, struct frame **f, int n)
{
	int took;

	while (n) {
		took = ring_out_send(out, f, n);
		if (took < 0) {
			refuse(f, n, REASON_OUTPUT_GONE);
			return false;
		}
		f += took;
		n -= took;
		if (!n)
			break;
		if (took)		/* to the end of a ring's pool, as it may be */
			continue;
		if (st->leaving) {
			refuse(f, n, REASON_STOPPED);
			break;
		}
		if (!wait_for(st, out)) {
			refuse(f, n, REASON_OUTPUT_GONE);
			return false;
		}
	}
	return true;
}

/* Stands for the flow where no load balancer names it: later fragments have no ports, and an
 * ICMP error goes with what it quotes */
static uint64_t hash_hosts(struct frame *f)
{
	uint64_t part[4], h = 0;
	struct flow_key k;

	if (f->verdict || frame_parse(f))
		return 0;
	if (!flow_key_quoted(&k, f->endpoint, &f->pkt, frame_data(f)))
		flow_key(&k, f->endpoint, &f->pkt, frame_data(f));
	memcpy(part, k.a, sizeof(k.a));
	memcpy(part + 2, k.b, sizeof(k.b));
	for (unsigned i = 0; i < ARRAY_SIZE(part); i++) {
		h = (h ^ part[i]) * 0x9e3779b97f4a7c15ull;
		h ^= h >> 32;
	}
	return h;
}

static unsigned spread(const struct stage *st, struct frame *f)
{
	uint64_t flow = f->cookie ? f->cookie : hash_hosts(f);
	uint64_t h = f->endpoint * 0x9e3779b97f4a7c15ull ^ flow * 0xc2b2ae3d27d4eb4full;

	return (unsigned)((h ^ h >> 32) * 0xff51afd7ed558ccdull >> 33) % st->ntx;
}

static bool give(struct stage *st, struct frame **f, int n)
{
	struct frame *part[FRAME_BURST];
	unsigned to[FRAME_BURST];
	bool ok = true;

	if (st->ntx == 1)
		return give_one(st, &st->out[0], f, n);
	for (int i = 0; i < n; i++)
		to[i] = spread(st, f[i]);
	for (unsigned t = 0; t < st->ntx; t++) {
		int m = 0;

		for (int i = 0; i < n; i++)
			if (to[i] == t)
				part[m++] = f[i];
		ok &= give_one(st, &st->out[t], part, m);
	}
	return ok;
}

static void account(struct stage *st, struct frame **f, int n)
{
	uint64_t *c = counters(st), drops = 0;
	uint64_t packets = 0, bytes = 0, made = st->made;
	uint64_t uncertain = st->flags & STAGE_SINK ? st->inherited : 0;

	for (int i = 0; i < n; i++) {
		if (!f[i]->verdict)
			continue;
		st->stats.page->drop[f[i]->verdict < REASON_NUM ? f[i]->verdict : 0]++;
		if (unlikely(f[i]->verdict == REASON_LINKTYPE))
			stage_say_linktype(st, f[i]);
		drops++;
	}
	for (unsigned t = 0; t < st->ntx; t++) {
		packets += st->tx[t]->packets;
		bytes += st->tx[t]->bytes;
		made += st->tx[t]->made;
		uncertain += st->tx[t]->uncertain;
	}
	c[STATS_DROPPED] += drops;
	c[STATS_OUT_PACKETS] = packets;
	c[STATS_OUT_BYTES] = bytes;
	c[STATS_MADE] = made;
	c[STATS_UNCERTAIN] = uncertain;
}

static void note_latency(struct stage *st, const struct frame *f)
{
	uint64_t age = clock_real() - f->ts_ns;
	unsigned bucket = (int64_t)age <= 0 ? 0 : 64 - (unsigned)__builtin_clzll(age);

	st->stats.page->latency[MIN(bucket, STATS_LATENCY - 1u)]++;
}

/* A look at the first packet of each burst is enough */
static void warn_geneve(struct stage *st, struct frame *f)
{
	if (f->dialect != DIALECT_PLAIN || frame_parse(f) || !(f->pkt.flags & PKT_GENEVE))
		return;
	st->warned_geneve = true;
	log_warn("Geneve where inner packets belong: is gwdecap missing?");
}

/* Of errno; said once.  Lines since the last flush were written or not, nobody knows. */
static bool print_lost(struct stage *st)
{
	struct tx *tx = st->tx[0];

	if (st->print_failed)
		return false;
	log_error("stdout: %m");
	st->print_failed = true;
	tx->uncertain += tx->packets - st->printed;
	tx->packets = st->printed;
	return false;
}

/* Lines on stdout are an output too; false: nobody takes them any more */
static bool print_ok(struct stage *st)
{
	return st->print_to != stdout || !ferror(stdout) || print_lost(st);
}

static bool print_flush(struct stage *st)
{
	if (st->print_to)
		fflush(st->print_to);
	if (!print_ok(st))
		return false;
	st->printed = st->tx[0]->packets;
	return true;
}

/* While we slept, and nothing may ever be written again; @p: NULL, or as poll(2) left it */
static bool reader_there(struct stage *st, const struct pollfd *p)
{
	errno = EPIPE;
	return !p || !(p->revents & POLLERR) || print_lost(st);
}

/* Return: false when an output is gone */
static bool work(struct stage *st, struct frame **burst, int n)
{
	struct frame *f[FRAME_BURST];
	uint64_t *c = counters(st), bytes = 0;
	int live = 0;
	bool ok;

	for (int i = 0; i < n; i++) {	/* on a ring, some were dropped before */
		if (burst[i]->verdict)
			continue;
		f[live++] = burst[i];
		bytes += burst[i]->len;
	}
	c[STATS_IN_BYTES] += bytes;
	c[STATS_IN_PACKETS] += (unsigned)live;
	c[STATS_BURSTS]++;
	note_upstream(st);
	st->stats.page->hand = st->in.state == IN_RING ? 0 : (unsigned)live;	/* a ring knows */
	if (st->flags & STAGE_INNER && !st->warned_geneve && live)
		warn_geneve(st, f[0]);
	if (st->ops->burst && live)
		st->ops->burst(st, f, live);
	if (st->print_to)
		for (int i = 0; i < live; i++)
			if (!f[i]->verdict)
				st->ops->print(st, f[i], st->print_to);
	ok = give(st, f, live) && print_ok(st);
	if (st->live && live)
		note_latency(st, f[0]);
	account(st, f, live);
	st->stats.page->hand = 0;
	return ok;
}

/* Packets of the stage's own making: how many; -1: it or an output is at an end */
static int make(struct stage *st)
{
	struct frame *f[FRAME_BURST];
	int n = st->ops->make ? st->ops->make(st, f, FRAME_BURST) : 0;
	bool ok;

	if (n <= 0)
		return n;
	st->made += (unsigned)n;
	ok = give(st, f, n);
	account(st, f, n);
	return ok ? n : -1;
}

void stage_reply(struct stage *st, struct frame *f, enum reason reason)
{
	f->marks |= FRAME_REPLY | FRAME_CHANGED;
	st->made++;
	st->stats.page->drop[reason]++;
	counters(st)[STATS_DROPPED]++;
}

void stage_trouble(struct stage *st, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(st->stats.page->trouble, sizeof(st->stats.page->trouble), fmt, ap);
	va_end(ap);
}

/* Nothing to do: everything out, then sleep; false: an output is gone */
static bool rest(struct stage *st)
{
	struct pollfd fds[STREAM_POLL_MAX * (STAGE_OUTPUTS_MAX + 1) + 3], *lines = NULL;
	bool all_out = true, awake = false;
	int n = 0;

	learn(st, false);
	if (!print_flush(st))
		return false;
	if (st->ops->idle)
		st->ops->idle(st);
	for (unsigned t = 0; t < st->ntx; t++) {
		int err = ring_out_flush(&st->out[t]), more;

		if (err && err != -EAGAIN)
			return false;
		all_out &= !err;
		more = ring_out_poll(&st->out[t], fds + n, err || st->full);
		awake |= more < 0;
		n += MAX(more, 0);
	}
	if (all_out)
		publish(st);	/* all is handed on: a successor counts none of it as lost */
	if (!st->full) {	/* else packets wait in the kernel until there are frames */
		int more = ring_in_poll(&st->in, fds + n);

		awake |= more < 0;
		n += MAX(more, 0);
	}
	if (st->ops->make)
		fds[n++] = (struct pollfd){ .fd = st->watch_fd, .events = POLLIN };
	if (st->print_to == stdout)
		*(lines = &fds[n++]) = (struct pollfd){ .fd = STDOUT_FILENO };
	if (!awake)
		return sleep_on(st, fds, n, true) && reader_there(st, lines);
	ring_in_rise(&st->in);
	for (unsigned t = 0; t < st->ntx; t++)
		if (!ring_out_rise(&st->out[t]))
			return false;
	return true;
}

/* Is there something to make? */
static bool stirs(const struct stage *st)
{
	struct pollfd p = { .fd = st->watch_fd, .events = POLLIN };

	return st->ops->make && poll(&p, 1, 0) > 0;
}

/* --spin: look for packets a while, so that nobody need wake us */
static int spin(struct stage *st, struct frame **f)
{
	uint64_t until = clock_mono() + st->conf.spin_ns;
	int n;

	for (unsigned t = 0; t < st->ntx; t++)
		ring_out_flush(&st->out[t]);
	do {
		step_outputs(st);	/* an input that left its ring is not read before */
		n = take(st, f);
	} while (n == RX_AGAIN && !stirs(st) && clock_mono() < until);
	return n;
}

/* --- the end -------------------------------------------------------------- */

/* Told to stop while its ZeroMQ input goes on: a successor may follow */
static bool leaves(const struct stage *st, int state)
{
	return !own_end(st) && (state == RX_LEFT || (st->leaving && is_kind(st->rx->kind, "zmq")));
}

/* The mark an output ends with; nobody can go on with a file or a pipe */
static enum tx_end mark(const struct stage *st, const struct tx *tx, int state)
{
	if (leaves(st, state) && is_kind(tx->kind, "zmq"))
		return TX_DETACH;
	return st->leaving || (state != RX_END && state != RX_LEFT) ? TX_ABORT : TX_END;
}

static bool finish_outputs(struct stage *st, int state)
{
	bool ok = true;
	int err;

	for (unsigned t = 0; t < st->ntx; t++) {
		enum tx_end how = mark(st, st->tx[t], state);

		while ((err = ring_out_end(&st->out[t], how)) == -EAGAIN && !st->leaving)
			if (!wait_for(st, &st->out[t]))
				break;
		if (err == -EAGAIN)
			ring_out_end(&st->out[t], TX_LEAVE);
		ok &= !err;
	}
	return ok;
}

static int finish(struct stage *st, int state)
{
	bool ok = state == RX_END || state == RX_LEFT;

	learn(st, true);
	st->said_by_ns = 0;	/* a short life: now or never */
	if (st->live)
		stage_say_ways(st);
	for (int n = 1, left = LAST_BURSTS; ok && n > 0 && left; left--)
		n = make(st);
	if (st->ops->done)
		st->ops->done(st);
	ok &= finish_outputs(st, state);
	publish(st);
	if (st->ops->tick)
		st->ops->tick(st);
	ok &= print_flush(st);
	account(st, NULL, 0);
	if (!st->conf.quiet)
		stage_say_summary(st);
	if (leaves(st, state))
		stats_leave(&st->stats);	/* what is lost between us is its to count */
	else
		stats_close(&st->stats);
	ring_in_close(&st->in);		/* a successor may come, ... */
	for (unsigned t = 0; t < st->ntx; t++)
		ring_out_close(&st->out[t]);	/* ... while our last messages leave */
	free(st->out);
	return ok && !st->leaving ? EXIT_SUCCESS : EXIT_RUNTIME;
}

/* What a predecessor had in hand: sent or not, nobody knows; else it is lost */
static void account_recovered(struct stage *st)
{
	uint64_t n = st->in.recovered;

	st->in.recovered = 0;
	counters(st)[STATS_IN_PACKETS] += n;
	if (st->flags & STAGE_SINK) {
		st->inherited += n;
		return;
	}
	counters(st)[STATS_DROPPED] += n;
	st->stats.page->drop[REASON_RESTART] += n;
}

int stage_run(struct stage *st)
{
	struct frame *f[FRAME_BURST];
	int n;

	st->now_ns = clock_mono();
	st->next_tick_ns = next_second(st->now_ns);
	st->said_by_ns = st->now_ns + SECOND;
	open_rings(st);
	while (!st->leaving) {
		step_outputs(st);
		n = take(st, f);
		if (n == RX_AGAIN && st->conf.spin_ns)
			n = spin(st, f);
		if (unlikely(st->in.recovered))
			account_recovered(st);
		if (n > 0) {
			st->now_ns = clock_mono();
			learn(st, true);
			if (!work(st, f, n))
				return finish(st, RX_FAIL);
			give_back(st, n);
			if (make(st) < 0)
				return finish(st, RX_FAIL);
		} else if (n == RX_AGAIN) {
			int made = make(st);

			if (made < 0 || (!made && !rest(st)))
				return finish(st, RX_FAIL);
			if (made)
				st->now_ns = clock_mono();
		} else {
			return finish(st, n);
		}
		if (st->now_ns >= st->next_look_ns) {
			read_signals(st);
			look_around(st);
		}
	}
	return finish(st, RX_ABORT);
}
