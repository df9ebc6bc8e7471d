/* SPDX-License-Identifier: MIT */
/*
 * conform_run.c - Sends the probes of a test and gathers what comes back
 *
 * In small bursts, so that an appliance with ordinary buffers loses nothing; waits
 * only for what is still missing, and for a moment after the last reply, in which
 * duplicates and late comers show.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "conform.h"
#include "log.h"
#include "wire.h"

#define TAG_LEN		8u
#define DEFAULT_SIZE	96u
#define CHUNK_PACKETS	32u
#define CHUNK_BYTES	49152u
#define MS		1000000ull	/* ns */
#define FIRST_PORT	20000u
#define AWS_OVERHEAD	68u
#define MTU_LEAST	1280u	/* of the interface: most packets of most tests fit */

uint64_t suite_now_ns(void)
{
	return clock_mono();
}

uint32_t suite_random(struct suite *s, uint32_t below)
{
	s->random ^= s->random << 13;
	s->random ^= s->random >> 7;
	s->random ^= s->random << 17;
	return (uint32_t)(s->random >> 32) % below;
}

void suite_tag(struct suite *s, uint8_t *p, uint32_t serial)
{
	put32(p, s->magic);
	put32(p + 4, serial);
}

unsigned suite_room(const struct suite *s)
{
	return s->target.mtu - AWS_OVERHEAD;
}

void flow_bare(struct suite *s, struct flow *f, const char *what)
{
	memset(f, 0, sizeof(*f));
	target_outer(&s->target, &f->o);
	f->what = what;
	f->o.sport = s->next_port;
	f->c = (struct craft_inner){ .version = 4,
				     .proto = 17,
				     .src = 0x0a010002,
				     .dst = 0x0a020002,
				     .sport = s->next_port,
				     .dport = 7777,
				     .df = true };
	f->size = DEFAULT_SIZE;
	f->endpoint = 0x0a1b2c3d4e5f6071;
	f->cookie = suite_random(s, UINT32_MAX) | 1;
	s->next_port = s->next_port == 59999 ? FIRST_PORT : (uint16_t)(s->next_port + 1);
}

void flow_new(struct suite *s, struct flow *f, const char *what)
{
	flow_bare(s, f, what);
	craft_aws(&f->o, f->endpoint, 0, f->cookie);
}

void flow_kind(struct flow *f, unsigned kind)
{
	static const uint8_t v4[] = { 17, 6, 1 }, v6[] = { 17, 6, 58 };

	f->c.version = kind < 3 ? 4 : 6;
	f->c.proto = kind < 3 ? v4[kind] : v6[kind % 3];
	if (kind % 3 == 2)
		f->c.dport = kind < 3 ? 8 << 8 : 128 << 8;
	if (kind % 3 == 1) {
		f->c.dport = 80;
		f->c.tcp_flags = 0x02;	/* a policy may drop TCP without its SYN */
	}
}

static struct probe *probe_slot(struct suite *s)
{
	struct probe *p;

	if (s->nprobes == PROBES_MAX || s->used + CRAFT_MAX > STORE_SIZE)
		return NULL;
	p = &s->probe[s->nprobes];
	memset(p, 0, sizeof(*p));
	p->serial = ++s->serial;
	p->pkt = s->store + s->used;
	return p;
}

static struct probe *probe_done(struct suite *s, struct probe *p, const char *what, enum want want)
{
	p->what = what;
	p->want = want;
	p->may_drop = s->conf->filter;
	if (s->conf->filter && s->conf->allow_set && p->len > p->l.inner) {
		struct pcap_pkthdr h = { .len = p->len - p->l.inner,
					 .caplen = p->len - p->l.inner };

		p->may_drop = !pcap_offline_filter(&s->conf->allow, &h, p->pkt + p->l.inner);
	}
	s->used += (p->len + 63u) & ~63u;
	s->nprobes++;
	return p;
}

struct probe *probe_raw(struct suite *s, const struct craft_outer *o, const uint8_t *inner,
			size_t len, const char *what, enum want want)
{
	struct probe *p = probe_slot(s);

	if (!p)
		return NULL;
	p->len = (uint32_t)craft_packet(p->pkt, &p->l, o, inner, len);
	p->tagged = true;
	return probe_done(s, p, what, want);
}

struct probe *probe_add(struct suite *s, struct flow *f, enum want want)
{
	struct probe *p = probe_slot(s);
	size_t over = craft_inner_overhead(&f->c), n;
	uint8_t payload[CRAFT_MAX];

	if (!p)
		return NULL;
	if (f->size)
		f->c.payload_len = f->size > over ? f->size - over : 0;
	n = f->c.payload_len;
	for (size_t i = 0; i < n; i++)
		payload[i] = (uint8_t)(i * 7 + p->serial);
	p->tagged = n >= TAG_LEN;
	if (p->tagged)
		suite_tag(s, payload, p->serial);
	f->c.payload = payload;
	f->c.id = p->serial;
	n = craft_inner(s->scratch, &f->c);
	f->c.payload = NULL;
	f->c.seq++;
	f->o.id++;
	p->len = (uint32_t)craft_packet(p->pkt, &p->l, &f->o, s->scratch, n);
	return probe_done(s, p, f->what, want);
}

void probe_cut(struct probe *p, size_t len)
{
	p->len = (uint32_t)len;
	craft_fix(p->pkt, &p->l, len);
}

static bool same_flow(const struct probe *p, const struct probe *q)
{
	return p->l.inner == q->l.inner && be16(p->pkt + p->l.udp) == be16(q->pkt + q->l.udp) &&
	       !memcmp(p->pkt + p->l.geneve, q->pkt + q->l.geneve, p->l.inner - p->l.geneve);
}

static bool overtaken(const struct suite *s, const struct probe *p)
{
	for (const struct probe *q = p + 1; q < s->probe + s->nprobes; q++)
		if (q->nreplies && same_flow(p, q))
			return true;
	return false;
}

/* Something of Geneve that answers nothing; what answers an earlier test is just late, and
 * what answers a damaged packet may be beyond recognition */
static bool is_stray(const struct suite *s, const struct port_rx *rx)
{
	uint8_t magic[4];

	put32(magic, s->magic);
	return !s->damaged && judge_geneve(rx->data, rx->len) &&
	       !memmem(rx->data, rx->len, magic, sizeof(magic));
}

/* Keep a packet that no probe asked for, if it is one that tests are about */
static bool keep_unasked(struct suite *s, const struct port_rx *rx)
{
	bool unreachable = judge_unreachable(rx->data, rx->len), stray = is_stray(s, rx);

	if (!s->running)
		return false;
	s->unreachable += unreachable;
	s->stray += stray;
	return unreachable || stray;
}

static void reply_judge(struct suite *s, struct reply *r)
{
	struct probe *p = r->probe;
	uint64_t now = suite_now_ns();

	s->heard = true;
	r->dev = judge_reply(s, r);
	if (r->reject)
		return;
	if (!p->nreplies && overtaken(s, p))
		r->dev |= DEV_ORDER;
	if (p->nreplies++)
		r->dev |= DEV_DUPLICATE;
	else
		s->rtt_ns = MAX(s->rtt_ns, now - p->sent_ns);
	p->dev |= r->dev;
}

static void reply_add(struct suite *s, const struct port_rx *rx)
{
	struct probe *p = judge_match(s, rx->data, rx->len);
	struct reply *r;

	if (!p && !keep_unasked(s, rx))
		return;
	if (s->nreplies == REPLIES_MAX || s->used + rx->len > STORE_SIZE)
		return;
	r = &s->reply[s->nreplies++];
	*r = (struct reply){ .pkt = s->store + s->used, .len = rx->len, .probe = p,
			     .ts_ns = rx->time_ns };
	memcpy(r->pkt, rx->data, rx->len);
	s->used += (rx->len + 63u) & ~63u;
	if (p)
		reply_judge(s, r);
}

static bool drain(struct suite *s)
{
	struct port_rx rx[PORT_BURST];
	unsigned n = port_recv(s->target.port, rx, PORT_BURST);

	for (unsigned i = 0; i < n; i++)
		if (rx[i].for_us && !rx[i].cut)
			reply_add(s, &rx[i]);
	port_release(s->target.port);
	return n > 0;
}

static uint64_t clamp_ns(uint64_t v, uint64_t low, uint64_t high)
{
	return v < low ? low : v > high ? high : v;
}

/* How long to wait for the first @upto probes yet, at most @left; 0: none is awaited.  What
 * may have been dropped is not waited for as long as what must come back */
static uint64_t awaited_ns(const struct suite *s, unsigned upto, uint64_t now, uint64_t left)
{
	uint64_t most = clamp_ns(20 * s->rtt_ns, 80 * MS, 500 * MS), wait = 0;

	for (unsigned i = 0; i < upto; i++) {
		const struct probe *p = &s->probe[i];

		if (p->want != WANT_BACK || p->nreplies || !p->sent_ns)
			continue;
		if (!p->may_drop)
			return left;
		if (now < p->sent_ns + most)
			wait = MAX(wait, p->sent_ns + most - now);
	}
	return MIN(wait, left);
}

static void suite_sleep(struct suite *s, uint64_t ns)
{
	struct pollfd fd = { .fd = s->target.port->fd, .events = POLLIN };
	struct timespec ts = { .tv_sec = (time_t)(ns / 1000000000u),
			       .tv_nsec = (long)(ns % 1000000000u) };

	(void)ppoll(&fd, 1, &ts, NULL);
}

/* Wait until all of the first @upto probes are back and @settle_ns have passed since */
static void gather(struct suite *s, unsigned upto, uint64_t timeout_ns, uint64_t settle_ns)
{
	uint64_t start = suite_now_ns(), now = start, quiet = 0, wait;

	for (; now - start < timeout_ns; now = suite_now_ns()) {
		if (drain(s)) {
			quiet = 0;
			continue;
		}
		wait = awaited_ns(s, upto, now, timeout_ns - (now - start));
		if (!wait) {
			if (!quiet)
				quiet = now;
			if (now - quiet >= settle_ns)
				return;
			wait = settle_ns - (now - quiet);
		}
		suite_sleep(s, wait);
	}
}

static unsigned send_chunk(struct suite *s, unsigned from)
{
	struct iovec iov[PORT_BURST];
	unsigned n = 0;
	size_t bytes = 0;
	uint64_t now = suite_now_ns();

	while (from + n < s->nprobes && n < s->chunk && (!n || bytes < CHUNK_BYTES)) {
		struct probe *p = &s->probe[from + n];

		iov[n].iov_base = p->pkt;
		iov[n].iov_len = p->len;
		p->sent_ns = now;
		bytes += p->len;
		n++;
	}
	(void)port_send(s->target.port, iov, n);
	return n;
}

/* Long while little is known, shorter the more often waiting was in vain */
static uint64_t timeout_ns(const struct suite *s)
{
	if (s->hurry)
		return 40 * MS;
	return clamp_ns(50 * s->rtt_ns, s->conf->timeout_ms * MS / (s->timeouts < 3 ? 1 : 3),
			2 * s->conf->timeout_ms * MS);
}

static void add_sentinel(struct suite *s)
{
	struct flow f;
	struct probe *p;
	bool needed = false;

	for (unsigned i = 0; i < s->nprobes; i++)
		needed |= s->probe[i].want != WANT_BACK;
	if (!needed || s->sentinel_kind < 0)
		return;
	flow_new(s, &f, "a good packet behind the others");
	flow_kind(&f, (unsigned)s->sentinel_kind);
	p = probe_add(s, &f, WANT_BACK);
	if (!p)
		return;
	p->sentinel = true;
	p->may_drop = false;
}

static void conclude(struct suite *s)
{
	bool late = false;

	for (unsigned i = 0; i < s->nprobes; i++) {
		struct probe *p = &s->probe[i];

		if (p->want == WANT_BACK && !p->nreplies && !p->may_drop)
			p->dev |= p->sentinel ? DEV_DEAD : DEV_MISSING;
		if (p->want == WANT_NONE && p->nreplies)
			p->dev |= DEV_PROCESSED;
		late |= (p->dev & (DEV_DEAD | DEV_MISSING)) != 0;
		s->hurry &= !p->nreplies;
		s->fail |= p->dev;
	}
	s->timeouts += late;
}

void suite_pause(struct suite *s, unsigned ms)
{
	gather(s, 0, ms * MS, ms * MS);
}

static void suite_reset(struct suite *s)
{
	s->nprobes = s->nreplies = 0;
	s->used = 0;
	s->fail = 0;
	s->detail[0] = '\0';
	s->damaged = false;
	s->chunk = CHUNK_PACKETS;
}

static void exchange(struct suite *s, uint64_t timeout)
{
	uint64_t settle = clamp_ns(3 * s->rtt_ns, 4 * MS, 40 * MS);
	uint64_t pace = clamp_ns(2 * s->rtt_ns, 2 * MS, 20 * MS);
	unsigned sent = 0;

	while (sent < s->nprobes) {
		sent += send_chunk(s, sent);
		if (sent < s->nprobes)
			gather(s, sent, clamp_ns(4 * s->rtt_ns, 10 * MS, 60 * MS), pace);
	}
	gather(s, sent, timeout, settle);
}

void suite_probes(struct suite *s, const struct conform_test *t)
{
	suite_reset(s);
	t->fill(s);
	add_sentinel(s);
	for (unsigned i = 0; i < s->nprobes; i++)
		s->damaged |= s->probe[i].want == WANT_ANY;
	exchange(s, timeout_ns(s));
	conclude(s);
	if (t->check)
		s->fail |= t->check(s);
}

uint32_t suite_mask(const struct suite *s, const struct conform_test *t)
{
	return t->special ? t->mask & ~(s->general & ~(uint32_t)DEV_MISSING) : t->mask;
}

/* One round of every kind of packet; the first that is answered serves as sentinel */
static bool ask(struct suite *s)
{
	suite_reset(s);
	case_alive(s);
	exchange(s, 100 * MS);
	for (unsigned i = 0; i < s->nprobes; i++)
		if (s->probe[i].nreplies) {
			s->sentinel_kind = (int)i;
			return true;
		}
	return false;
}

bool suite_wake(struct suite *s, unsigned wait_ms)
{
	uint64_t end = suite_now_ns() + wait_ms * MS;
	bool answers;

	s->running = false;
	do {
		answers = ask(s);
	} while (!answers && suite_now_ns() < end && !target_gone(&s->target) &&
		 !target_stopped(&s->target));
	gather(s, s->nprobes, 200 * MS, 30 * MS);
	for (unsigned i = 0; i < s->nprobes; i++)
		s->general |= s->probe[i].dev;
	s->rtt_ns = MIN(s->rtt_ns, 20 * MS);
	s->running = true;
	s->hurry = !answers;
	return answers;
}

int suite_open(struct suite *s, const struct conform_conf *conf)
{
	int err;

	memset(s, 0, sizeof(*s));
	s->conf = conf;
	s->random = conf->seed * 2654435761u + 88172645463325252u;
	s->magic = suite_random(s, UINT32_MAX) | 0x80000001;
	s->next_port = FIRST_PORT;
	s->sentinel_kind = -1;
	s->probe = calloc(PROBES_MAX, sizeof(*s->probe));
	s->reply = calloc(REPLIES_MAX, sizeof(*s->reply));
	s->store = malloc(STORE_SIZE);
	s->scratch = malloc(CRAFT_MAX);
	if (!s->probe || !s->reply || !s->store || !s->scratch)
		die("out of memory");
	if (conf->appliance)
		return target_run(&s->target, conf->appliance, conf->wait_ms);
	err = target_reach(&s->target, conf->addr, conf->iface);
	if (err || s->target.mtu >= MTU_LEAST)
		return err;
	log_error("%s: an MTU of %u is too small, it takes %u", conf->iface, s->target.mtu, MTU_LEAST);
	return -EMSGSIZE;
}

void suite_close(struct suite *s)
{
	target_close(&s->target);
	free(s->probe);
	free(s->reply);
	free(s->store);
	free(s->scratch);
}
