/* SPDX-License-Identifier: MIT */
/*
 * hold.c - Connect first: a client's SYN waits until its server has answered
 *
 * Theory of operation
 *
 * The proxy is told of each new connection.  If it wants them held, the SYN is kept here, in a
 * fixed number of places, until the proxy says what became of its own connection to the
 * server: then the SYN goes into the TUN, or is answered as the server, or a router on the
 * way, answered the proxy's.  What the client sends again meanwhile is absorbed, so it looks
 * like a server that takes its time.
 *
 * Nothing here grows: without a free place the SYN that is held longest is given up, if it had
 * YIELD_NS to be answered; else the new one is dropped and counted (syn-limit).  Either client
 * tries again.  So who asks one silent server after the other keeps nobody out whose server
 * answers.  The data that a SYN may carry (TCP Fast Open) are not kept, which the client must
 * reckon with.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/uio.h>

#include "csum.h"
#include "log.h"
#include "proxylink.h"
#include "reply.h"
#include "tun.h"

#define NONE		UINT32_MAX
#define YIELD_NS	500000000u

void hold_open(struct tun *t)
{
	struct hold *h = &t->hold;

	h->n = t->conf.syns;
	h->slot = calloc(h->n, sizeof(*h->slot));
	if (!h->slot)
		die("no memory for %u SYNs", h->n);
	for (uint32_t i = 0; i < h->n; i++)
		h->slot[i].newer = i + 1 < h->n ? i + 1 : NONE;
	h->newest = h->oldest = NONE;
	h->next_id = 1;
}

static void release(struct hold *h, struct held *s)
{
	*(s->newer == NONE ? &h->newest : &h->slot[s->newer].older) = s->older;
	*(s->older == NONE ? &h->oldest : &h->slot[s->older].newer) = s->newer;
	s->id = 0;
	s->newer = h->free;
	h->free = (uint32_t)(s - h->slot);
	h->used--;
}

/* Its flow may have been forgotten, and another SYN be held for the next one */
static struct tflow *flow_held(struct tun *t, const struct held *s)
{
	struct tflow *fl = flow_find(t->flows, &s->key, t->st->now_ns);

	return fl && fl->state == FLOW_HELD && fl->held == (uint32_t)(s - t->hold.slot) ? fl : NULL;
}

static void say_over(struct tun *t, const struct held *s)
{
	union proxylink_msg m = { .answer = { .head.type = PROXYLINK_OVER, .flow = s->id } };
	int pair = link_pair(t, s->proxy);

	if (pair >= 0)
		proxylink_send(pair, &m, NULL, 0);
}

/* With its flow: the next SYN begins anew */
static void forget(struct tun *t, struct held *s)
{
	if (flow_held(t, s))
		flow_remove(t->flows, &s->key);
	release(&t->hold, s);
}

static void give_up(struct tun *t, struct held *s)
{
	say_over(t, s);
	forget(t, s);
}

/* The SYN without its data, from the IP header on; false: its headers are too long */
static bool keep_syn(struct held *s, struct frame *f)
{
	struct packet p = f->pkt;
	uint32_t len = p.payload - p.l3;

	if (len > sizeof(s->syn))
		return false;
	memcpy(s->syn, frame_data(f) + p.l3, len);
	s->len = (uint16_t)len;
	if (p.payload == p.end)
		return true;
	if (p.version == 4) {
		put16(s->syn + 2, (uint16_t)len);
		csum_ipv4(s->syn);
	} else {
		put16(s->syn + 4, (uint16_t)(len - 40));
	}
	p.l4 -= p.l3;
	p.payload = p.end = len;
	p.l3 = 0;
	csum_l4_write(&p, s->syn);
	return true;
}

/* The one that waits longest goes, if it had its time */
static void make_room(struct tun *t)
{
	struct hold *h = &t->hold;
	struct held *s = h->free == NONE ? &h->slot[h->oldest] : NULL;

	if (!s || t->st->now_ns - s->since_ns < YIELD_NS)
		return;
	give_up(t, s);
}

static struct held *hold_slot(struct tun *t, const struct flow_key *k, struct frame *f)
{
	struct hold *h = &t->hold;
	struct held *s;
	uint32_t i;

	make_room(t);
	i = h->free;
	if (i == NONE)
		return NULL;
	s = &h->slot[i];
	if (!keep_syn(s, f))
		return NULL;
	h->free = s->newer;
	h->used++;
	s->newer = NONE;
	s->older = h->newest;
	*(h->newest == NONE ? &h->oldest : &h->slot[h->newest].newer) = i;
	h->newest = i;
	s->id = h->next_id++ * h->n + (uint64_t)(s - h->slot);
	s->since_ns = t->st->now_ns;
	s->key = *k;
	s->proxy = t->proxy;
	s->error = false;
	return s;
}

static int tell(struct tun *t, const struct tflow *fl, struct frame *f, uint64_t id)
{
	const struct packet *p = &f->pkt;
	const uint8_t *data = frame_data(f), *tcp = data + p->l4;
	const struct way *w = &fl->way[fl->client];
	union proxylink_msg m = { .syn = {
		.head.type = PROXYLINK_SYN, .family = p->version == 4 ? AF_INET : AF_INET6,
		.mss = w->mss, .flow = id, .endpoint = f->endpoint, .attachment = f->attachment,
		.cookie = f->cookie, .hold = t->holds, .ttl = w->ttl, .tos = w->tos,
		.dialect = f->dialect,
	} };

	memcpy(&m.syn.client_port, tcp, 2);
	memcpy(&m.syn.server_port, tcp + 2, 2);
	memcpy(m.syn.client, packet_src(p, data), packet_addr_len(p));
	memcpy(m.syn.server, packet_dst(p, data), packet_addr_len(p));
	return proxylink_send(t->pair, &m, NULL, 0);
}

enum reason hold_syn(struct tun *t, struct tflow *fl, const struct flow_key *k, struct frame *f)
{
	struct held *s = t->holds ? hold_slot(t, k, f) : NULL;
	uint64_t id = s ? s->id : t->hold.next_id++ * t->hold.n;
	enum reason r = REASON_NONE;

	if (t->holds && !s)
		r = REASON_SYN_LIMIT;
	else if (tell(t, fl, f, id))
		r = REASON_PROXY_SLOW;
	if (r) {
		if (s)
			release(&t->hold, s);
		flow_remove(t->flows, k);
		return r;
	}
	if (!s)
		return REASON_NONE;
	fl->state = FLOW_HELD;
	fl->held = (uint32_t)(s - t->hold.slot);
	return REASON_TUN;
}

void hold_again(struct tun *t, struct tflow *fl, struct frame *f)
{
	struct held *s = &t->hold.slot[fl->held];
	const uint8_t *tcp = frame_data(f) + f->pkt.l4;

	if (f->pkt.proto != IPPROTO_TCP || !(f->pkt.flags & PKT_L4))
		return;
	if (tcp[13] & TH_RST) {		/* it does not want it any more */
		give_up(t, s);
	} else if (tcp[13] & TH_SYN && be32(tcp + 4) != fl->isn && keep_syn(s, f)) {
		fl->isn = be32(tcp + 4);
	}
}

/* "Too big" is no end of it, nor is a redirect */
void hold_error(struct tun *t, struct tflow *fl, const struct packet *p, const uint8_t *data)
{
	struct held *s = &t->hold.slot[fl->held];
	uint8_t type = data[p->l4], code = data[p->l4 + 1];

	if (p->version == 4 ? (type != 3 || code == 4) && type != 11 && type != 12 :
			      type != 1 && type != 3 && type != 4)
		return;
	s->error = true;
	s->error_type = type;
	s->error_code = code;
	memcpy(s->error_from, packet_src(p, data), packet_addr_len(p));
}

/* --- answers ------------------------------------------------------------------ */

static void let_in(struct tun *t, struct tflow *fl, struct held *s)
{
	struct end *e = ends_find(t, fl->endpoint);
	struct virtio_net_hdr h = { 0 };
	struct iovec iov[2] = { { &h, sizeof(h) }, { s->syn, s->len } };

	fl->state = FLOW_OPEN;
	fl->last_ns = t->st->now_ns;
	if (e && e->fd >= 0 && writev(e->fd, iov, 2) < 0)
		t->strays++;		/* lost, as on a wire: the client sends it again */
	release(&t->hold, s);
}

/* What connect(2) gives for what ICMP says; both ways a table of the kernel's */
static struct reply_error from_errno(bool v4, uint32_t code)
{
	static const struct {
		uint32_t err;
		uint8_t code4, code6;
	} map[] = {
		{ ENETUNREACH, 0, 0 }, { EHOSTUNREACH, 1, 3 }, { ENOPROTOOPT, 2, 4 },
		{ ECONNREFUSED, 3, 4 }, { EOPNOTSUPP, 5, 0 }, { EHOSTDOWN, 7, 3 },
		{ ENONET, 8, 3 }, { EACCES, 13, 1 }, { EPERM, 13, 1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(map); i++)
		if (map[i].err == code)
			return (struct reply_error){ v4 ? 3 : 1, v4 ? map[i].code4 : map[i].code6,
						     NULL };
	return (struct reply_error){ v4 ? 3 : 1, v4 ? 1 : 3, NULL };
}

/* As it came from the server, or from a router about it */
static bool answer_syn(struct frame *f, const struct held *s, bool refuse, uint32_t code)
{
	bool v4 = f->pkt.version == 4;
	struct reply_error e = from_errno(v4, code);

	if (refuse)
		return reply_reject(f, false);
	if (s->error)
		e = (struct reply_error){ s->error_type, s->error_code, s->error_from };
	return reply_error(f, &e);
}

static void turn_down(struct tun *t, struct tflow *fl, const struct held *s, bool refuse,
		      uint32_t code)
{
	struct frame *f = outof_frame(t);
	struct way w;
	size_t room;
	uint8_t *at;

	if (!f)
		return;
	flow_way(fl, !fl->client, &w);
	at = way_frame(&w, f, fl->endpoint, &room);
	memcpy(at, s->syn, s->len);
	f->len = f->orig_len = s->len;
	if (frame_parse(f) || !answer_syn(f, s, refuse, code)) {
		t->nmade--;
		return;
	}
	if (refuse)
		outof_carry(frame_data(f), &f->pkt, &w);
	f->ts_ns = t->made_ns;
	f->marks = FRAME_REPLY | FRAME_CHANGED;
}

void hold_answer(struct tun *t, uint32_t proxy, uint64_t id, uint32_t answer, uint32_t code)
{
	struct held *s = &t->hold.slot[id % t->hold.n];
	struct tflow *fl;

	if (!id || s->id != id || s->proxy != proxy)
		return;			/* forgotten meanwhile */
	fl = flow_held(t, s);
	if (!fl) {
		release(&t->hold, s);
		return;
	}
	if (answer == PROXYLINK_ACCEPT) {
		let_in(t, fl, s);
		return;
	}
	if (answer != PROXYLINK_SILENT)
		turn_down(t, fl, s, answer == PROXYLINK_REFUSE, code);
	forget(t, s);
}

void hold_forget(struct tun *t, uint64_t before_ns)
{
	for (uint32_t i = 0; t->hold.used && i < t->hold.n; i++) {
		struct held *s = &t->hold.slot[i];

		if (s->id && s->since_ns <= before_ns)
			give_up(t, s);
	}
}

void hold_abandon(struct tun *t, uint32_t proxy)
{
	for (uint32_t i = 0; t->hold.used && i < t->hold.n; i++) {
		struct held *s = &t->hold.slot[i];

		if (s->id && s->proxy == proxy)
			give_up(t, s);
	}
}
