/* SPDX-License-Identifier: MIT */
/*
 * load_run.c - Sends what is due, takes what came
 */
#include "load.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../gwcap/ingress.h"
#include "geneve.h"
#include "load_live.h"
#include "log.h"
#include "wire.h"

#define HEAD_LEN	LIVE_HEAD	/* all of a packet that differs between packets */
#define AT_MAGIC	CRAFT_OUTER
#define AT_FLOW		(CRAFT_OUTER + 4u)
#define AT_SEQ		(CRAFT_OUTER + 8u)
#define AT_TIME		(CRAFT_OUTER + 16u)
#define AT_UDP		34u
#define AT_INNER	82u
#define RECEIVE_MAX	512u		/* received between two bursts sent */
#define RING_FRAMES	8192u
#define RING_HEAD	256u
#define IDLE_US		200u		/* longest sleep while sending */
#define PAUSE_NS	500000u		/* longer is one of the machine's, not of our pace */
#define PULL_UP		4u		/* a pause is made up for by one packet more in so many */
#define LINGER_NS	200000000ull	/* without a packet: nothing is on its way any more */
#define LINGER_MAX_NS	2000000000ull
#define ENDPOINT	0x0a1b2c3d4e5f6071ull

/**
 * struct load_flow - What a flow's packets start with, and which came back
 * @next:	Number of its next packet
 * @top:	Highest number seen, plus one
 * @seen:	Bit i: number @top - 1 - i came back
 */
struct load_flow {
	uint8_t head[HEAD_LEN];
	uint64_t next;
	uint64_t top;
	uint64_t seen;
};

struct load {
	struct target *t;
	struct load_flow *flow;
	unsigned nflows;
	unsigned at;
	unsigned size;
	uint32_t len;
	uint32_t magic;
	uint8_t *frames;
	struct iovec iov[PORT_BURST];
	struct live *live;	/* NULL: by the socket */
	struct ingress drop;	/* what came back is of no use to the kernel's own stack */
};

static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void flow_build(struct load *l, unsigned i, uint8_t *pkt)
{
	static const uint8_t zero[CRAFT_MAX];
	uint8_t inner[CRAFT_MAX];
	struct craft_layers at;
	struct craft_outer o;
	struct craft_inner c = {
		.version = 4,
		.proto = 17,
		.src = 0x0a010000 + (i >> 14),
		.dst = 0x0a020002,
		.sport = (uint16_t)(1024 + (i & 0x3fff)),
		.dport = 7777,
		.df = true,
		.no_csum = true,
		.payload = zero,
	};

	c.payload_len = l->size - craft_inner_overhead(&c);
	target_outer(l->t, &o);
	o.sport = (uint16_t)(1024 + i % 64000);
	craft_aws(&o, ENDPOINT, 0, l->magic ^ i);
	l->len = (uint32_t)craft_packet(pkt, &at, &o, inner, craft_inner(inner, &c));
	put32(pkt + AT_MAGIC, l->magic);
	put32(pkt + AT_FLOW, i);
	memcpy(l->flow[i].head, pkt, HEAD_LEN);
}

bool load_go_live(struct load *l, const char **why)
{
	l->live = live_open(&l->t->site, l->frames, l->len, why);
	return l->live;
}

struct load *load_new(struct target *t, unsigned flows, unsigned size)
{
	struct load *l = calloc(1, sizeof(*l));
	int err;

	if (!l)
		die("out of memory");
	l->t = t;
	l->nflows = flows;
	l->size = size;
	l->magic = (uint32_t)clock_ns(CLOCK_REALTIME) | 1;
	l->flow = calloc(flows, sizeof(*l->flow));
	l->frames = calloc(PORT_BURST, CRAFT_MAX);
	if (!l->flow || !l->frames)
		die("out of memory");
	for (unsigned i = 0; i < flows; i++)
		flow_build(l, i, l->frames);
	for (unsigned i = 0; i < PORT_BURST; i++) {
		memcpy(l->frames + (size_t)i * CRAFT_MAX, l->frames, l->len);
		l->iov[i] = (struct iovec){ l->frames + (size_t)i * CRAFT_MAX, l->len };
	}
	/* That work would be done on the appliance's CPU.  Not on others' interfaces */
	if (t->own && ingress_open(&l->drop, t->site.dev, GENEVE_PORT))
		log_debug("%s: no drop rule", t->site.dev);
	/* Room for what comes while something else has the CPU; no more than fits its cache, and
	 * no more of a packet than is looked at: the appliance's CPU copies it */
	err = port_resize(l->t->port, RING_FRAMES * (HEAD_LEN + RING_HEAD), HEAD_LEN);
	if (err)
		die("receive ring: %s", strerror(-err));
	return l;
}

void load_free(struct load *l)
{
	if (!l)
		return;
	live_close(l->live);
	ingress_close(&l->drop);
	free(l->flow);
	free(l->frames);
	free(l);
}

/* What the device refuses is a gap in the numbers of its flow, which says nothing: losses are
 * the difference of what was sent and what came back */
static void send_burst(struct load *l, unsigned n, struct load_result *r)
{
	uint64_t now = clock_ns(CLOCK_REALTIME);
	unsigned sent;

	for (unsigned i = 0; i < n; i++) {
		struct load_flow *f = &l->flow[l->at];
		uint8_t *p = l->live ? live_head(l->live, i) : l->iov[i].iov_base;

		memcpy(p, f->head, HEAD_LEN);
		put64(p + AT_SEQ, f->next++);
		put64(p + AT_TIME, now);
		l->at = l->at + 1 == l->nflows ? 0 : l->at + 1;
	}
	sent = l->live ? live_send(l->live, n) : port_send(l->t->port, l->iov, n);
	r->sent += sent;
	r->refused += n - sent;
}

static unsigned bucket_of(uint64_t ns)
{
	unsigned exp, i;

	if (ns < LOAD_SUB)
		return (unsigned)ns;
	exp = 63u - (unsigned)__builtin_clzll(ns);
	i = (exp - 4) * LOAD_SUB + (unsigned)(ns >> (exp - 5)) - LOAD_SUB;
	return MIN(i, LOAD_BUCKETS - 1);
}

/* false: it came before */
static bool note_order(struct load_flow *f, uint64_t seq, struct load_result *r)
{
	uint64_t back, step;

	if (seq >= f->top) {
		step = seq + 1 - f->top;
		f->seen = (step < 64 ? f->seen << step : 0) | 1;
		f->top = seq + 1;
		return true;
	}
	back = f->top - 1 - seq;
	if (back < 64 && f->seen >> back & 1) {
		r->duplicates++;
		return false;
	}
	r->out_of_order++;
	if (back < 64)
		f->seen |= 1ull << back;
	return true;
}

static void take(struct load *l, const struct port_rx *rx, struct load_result *r)
{
	const uint8_t *p = rx->data;
	struct load_flow *f;
	uint64_t ns, sent;

	if (!rx->for_us || rx->len < HEAD_LEN || be32(p + AT_MAGIC) != l->magic ||
	    be32(p + AT_FLOW) >= l->nflows)
		return;
	f = &l->flow[be32(p + AT_FLOW)];
	if (be64(p + AT_SEQ) >= f->next || !note_order(f, be64(p + AT_SEQ), r))
		return;
	r->received++;
	if (rx->whole != l->len || memcmp(p + AT_UDP, f->head + AT_UDP, 4) ||
	    memcmp(p + AT_UDP + 8, f->head + AT_UDP + 8, AT_INNER - AT_UDP - 8))
		r->changed++;
	sent = be64(p + AT_TIME);
	ns = rx->time_ns > sent ? rx->time_ns - sent : 0;
	r->bucket[bucket_of(ns)]++;
	r->max_ns = MAX(r->max_ns, ns);
}

static unsigned receive(struct load *l, struct load_result *r)
{
	struct port_rx rx[PORT_BURST];
	unsigned n = port_recv(l->t->port, rx, PORT_BURST);

	for (unsigned i = 0; i < n; i++)
		take(l, &rx[i], r);
	port_release(l->t->port);
	return n;
}

/* What is there, before more is sent: the ring is short */
static unsigned receive_all(struct load *l, struct load_result *r)
{
	unsigned n = 0, got;

	do {
		got = receive(l, r);
		n += got;
	} while (got == PORT_BURST && n < RECEIVE_MAX);
	return n;
}

static void nap(struct load *l, uint64_t us)
{
	struct pollfd fd = { .fd = l->t->port->fd, .events = POLLIN };
	struct timespec ts = { .tv_nsec = (long)us * 1000 };

	(void)ppoll(&fd, 1, &ts, NULL);
}

/*
 * Time as the packets see it: ours, but behind it after a pause, when something else had our
 * processor.  All that a pause kept back, at once, is a rate of its own, many times that asked
 * for: it finds room in no appliance's buffer.
 */
static uint64_t pace(uint64_t paced_ns, uint64_t step_ns, uint64_t elapsed_ns)
{
	uint64_t step = MIN(step_ns, PAUSE_NS);

	return MIN(elapsed_ns, paced_ns + step + step / PULL_UP);
}

/* How many packets are due now: all that the rate has earned, a burst at most */
static unsigned due(const struct load *l, uint64_t elapsed_ns, uint64_t count, uint64_t tried,
		    uint64_t rate)
{
	uint64_t n = l->live ? LIVE_BURST : PORT_BURST;

	if (rate)
		n = (uint64_t)((double)elapsed_ns * (double)rate / 1e9) + 1;
	n = rate && n > tried ? n - tried : rate ? 0 : n;
	if (count)
		n = MIN(n, count - MIN(count, tried));
	return (unsigned)MIN(n, rate ? PORT_BURST : n);
}

static void linger(struct load *l, struct load_result *r)
{
	uint64_t start = clock_ns(CLOCK_MONOTONIC), last = start, now = start;

	while (r->received < r->sent && now - last < LINGER_NS && now - start < LINGER_MAX_NS) {
		if (receive(l, r))
			last = clock_ns(CLOCK_MONOTONIC);
		else
			nap(l, 1000);
		now = clock_ns(CLOCK_MONOTONIC);
	}
	while (receive(l, r))
		;
}

/* The socket says what the device refused; of live frames its counter does */
static void count_refused(struct load *l, uint64_t before, struct load_result *r)
{
	uint64_t n = l->live ? MIN(live_refused(l->live) - before, r->sent) : 0;

	r->sent -= n;
	r->refused += n;
}

bool load_run(struct load *l, uint64_t rate, unsigned time_ms, uint64_t count,
	      struct load_result *r)
{
	uint64_t refused = l->live ? live_refused(l->live) : 0;
	uint64_t start = clock_ns(CLOCK_MONOTONIC), now = start, end, lost, check = start;
	uint64_t last = start, paced = 0;
	bool stopped = false;

	memset(r, 0, sizeof(*r));
	port_losses(l->t->port);
	lost = l->t->port->lost;
	for (end = start + time_ms * 1000000ull; now < end && !stopped;
	     now = clock_ns(CLOCK_MONOTONIC)) {
		/* What the device refused is not made up for: the rate is that of trying */
		uint64_t tried = r->sent + (rate ? r->refused : 0);
		unsigned n, got;

		paced = pace(paced, now - last, now - start);
		last = now;
		n = due(l, paced, count, tried, rate);
		if (count && tried >= count)
			break;
		if (n)
			send_burst(l, n, r);
		got = receive_all(l, r);
		if (!n && !got)
			nap(l, rate ? MIN(IDLE_US, 1000000 / rate + 1) : IDLE_US);
		if (now > check) {
			check = now + 50000000;
			stopped = target_stopped(l->t);
		}
	}
	r->seconds = (double)(now - start) / 1e9;
	count_refused(l, refused, r);
	linger(l, r);
	port_losses(l->t->port);
	r->overrun = l->t->port->lost - lost;
	r->rate = rate;
	r->size = l->size;
	r->flows = l->nflows;
	r->live = l->live;
	return !stopped;
}

bool load_wake(struct load *l, unsigned wait_ms)
{
	uint64_t end = clock_ns(CLOCK_MONOTONIC) + wait_ms * 1000000ull, until;
	struct load_result *r = calloc(1, sizeof(*r));
	bool answered = false;

	if (!r)
		die("out of memory");
	while (!answered && clock_ns(CLOCK_MONOTONIC) < end && !target_gone(l->t) &&
	       !target_stopped(l->t)) {
		send_burst(l, 1, r);
		until = clock_ns(CLOCK_MONOTONIC) + 50000000;
		while (!r->received && clock_ns(CLOCK_MONOTONIC) < until)
			if (!receive(l, r))
				nap(l, 1000);
		answered = r->received > 0;
	}
	linger(l, r);
	free(r);
	return answered;
}

double load_loss(const struct load_result *r)
{
	uint64_t back = MIN(r->sent, r->received + r->overrun);

	return r->sent ? 100.0 * (double)(r->sent - back) / (double)r->sent : 0;
}
