/* SPDX-License-Identifier: MIT */
/*
 * into.c - From the stream into the TUNs
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "tun.h"

/* --- writing, merged ---------------------------------------------------------- */

/* What the kernel does not take is lost, as on a wire */
static void write_merge(struct tun *t, unsigned i)
{
	struct merge *m = &t->merge[i];
	struct end *e = t->merge_end[i];
	int n = merge_finish(m);

	if (e->fd >= 0 && writev(e->fd, m->iov, n) >= 0)
		return;
	for (unsigned k = 0; k < m->n; k++)
		frame_drop(m->frame[k], REASON_SEND, 0);
}

void into_flush(struct tun *t)
{
	for (unsigned i = 0; i < t->nmerges; i++)
		write_merge(t, i);
	t->nmerges = 0;
}

/* Order is kept within a direction of a flow: it has one merge at a time */
static void queue(struct tun *t, struct end *e, const struct tflow *fl, unsigned dir,
		  struct frame *f)
{
	unsigned i = 0;

	frame_drop(f, REASON_TUN, 0);
	while (i < t->nmerges && (t->merge_flow[i] != fl || t->merge_end[i] != e ||
				  t->merge_dir[i] != dir))
		i++;
	if (i < t->nmerges) {
		if (!t->conf.no_offload && merge_add(&t->merge[i], f))
			return;
		write_merge(t, i);
	} else if (i == MERGES_MAX) {
		into_flush(t);
		i = 0;
	}
	merge_start(&t->merge[i], f);
	t->merge_end[i] = e;
	t->merge_flow[i] = fl;
	t->merge_dir[i] = (uint8_t)dir;
	if (i == t->nmerges)
		t->nmerges++;
}

/* --- choosing ----------------------------------------------------------------- */

static bool is_syn(const struct frame *f, const uint8_t *data)
{
	return f->pkt.proto == IPPROTO_TCP && f->pkt.flags & PKT_L4 &&
	       (data[f->pkt.l4 + 13] & (TH_SYN | TH_ACK | TH_RST)) == TH_SYN;
}

static bool endpoint_chosen(const struct tun *t, uint64_t id)
{
	for (unsigned i = 0; i < t->conf.nendpoints; i++)
		if (t->conf.endpoint[i] == id)
			return true;
	return !t->conf.nendpoints;
}

static enum rules_next choose(void *ctx, struct frame *f, struct rule *r, bool again)
{
	struct tun *t = ctx;

	(void)f, (void)r, (void)again;
	t->chosen = true;
	return RULES_STOP;
}

/* Does a flow that begins with this packet go into a TUN? */
static bool begins(struct tun *t, struct frame *f)
{
	const struct rules_sink sink = { .match = choose, .ctx = t };
	bool tcp = f->pkt.proto == IPPROTO_TCP;

	if (tcp ? !is_syn(f, frame_data(f)) : t->conf.broker.space.kind != SPACE_ROUTER)
		return false;
	if (f->pkt.flags & PKT_FRAG_LATER || !endpoint_chosen(t, f->endpoint))
		return false;
	if (!t->conf.where)
		return true;
	t->chosen = false;
	rules_burst(&t->matcher, &f, 1, &sink);
	return t->chosen;
}

/* A new flow's endpoint; NULL: the packet has its verdict, or passes */
static struct end *place(struct tun *t, struct frame *f)
{
	bool lonely = t->conf.broker.space.kind == SPACE_PROXY && !t->attached;
	struct end *e = lonely ? NULL : ends_get(t, f->endpoint);

	if (!e && t->conf.drop_unproxied) {
		frame_drop(f, REASON_NO_PROXY, 0);
	} else if (e && e->state != END_READY) {
		frame_drop(f, ends_wait(t, f) ? REASON_TUN : REASON_NO_NAMESPACE, 0);
		return NULL;
	}
	return e;
}

static void note(struct tflow *fl, unsigned dir, struct frame *f)
{
	uint8_t *tcp = frame_data(f) + f->pkt.l4, *mss;

	if (!way_note(&fl->way[dir], f) || !fl->tcp || !(f->pkt.flags & PKT_L4) ||
	    !(tcp[13] & TH_SYN))
		return;
	mss = tcp_mss(tcp, f->pkt.end - f->pkt.l4);
	fl->way[dir].mss = mss ? be16(mss) : 0;
}

/* First packet of a flow */
static void enter(struct tun *t, struct frame *f, const struct flow_key *k, unsigned dir)
{
	struct tflow *fl;
	struct end *e;
	enum reason r;

	if (t->conf.broker.space.kind == SPACE_PROXY && strange_packet(t, k, dir, f))
		return;
	if (f->encap_len > WAY_ENCAP_MAX || !begins(t, f))
		return;
	e = place(t, f);
	if (!e)
		return;
	fl = flow_enter(t, k, dir, f);
	note(fl, dir, f);
	e->used_ns = t->st->now_ns;
	r = fl->tcp && t->conf.broker.space.kind == SPACE_PROXY ? hold_syn(t, fl, k, f) :
	    REASON_NONE;
	if (r)
		frame_drop(f, r, 0);
	else
		queue(t, e, fl, dir, f);
}

/* --- packets ------------------------------------------------------------------ */

/*
 * The same client's port once more, and the connection before is over.  If it is not, the SYN may
 * be anybody's: the kernel answers it, and only a client that knows of no connection ends it then,
 * with RST (RFC 5961, 4.2), and sends another SYN.
 */
static bool anew(const struct tflow *fl, const struct frame *f, const uint8_t *data)
{
	return fl->tcp && is_syn(f, data) && be32(data + f->pkt.l4 + 4) != fl->isn &&
	       (flow_is_over(fl, fl->client) || fl->orphan);
}

static void go_on(struct tun *t, struct tflow *fl, unsigned dir, struct frame *f)
{
	struct end *e = ends_find(t, fl->endpoint);
	const uint8_t *data = frame_data(f);
	bool error = icmp_is_error(&f->pkt, data);

	if (!e || e->state != END_READY)
		return;			/* its namespace went: nobody knows this connection */
	fl->last_ns = e->used_ns = t->st->now_ns;
	if (!error)
		note(fl, dir, f);
	flow_note_ends(fl, &f->pkt, data, dir, false);
	if (fl->state == FLOW_HELD && error && dir != fl->client)
		hold_error(t, fl, &f->pkt, data);
	if (fl->state == FLOW_HELD && !error && dir == fl->client) {
		hold_again(t, fl, f);
		frame_drop(f, REASON_TUN, 0);
		return;
	}
	queue(t, e, fl, dir, f);
}

void into_packet(struct tun *t, struct frame *f)
{
	const uint8_t *data = frame_data(f);
	struct tflow *fl;
	struct flow_key k;
	unsigned dir;

	if (frame_parse(f) || f->pkt.flags & PKT_CUT)
		return;
	fl = flow_of(t, f->endpoint, &f->pkt, data, &k, &dir);
	if (fl && fl->state == FLOW_OPEN && anew(fl, f, data)) {
		flow_remove(t->flows, &k);	/* the new one may pass untouched */
		fl = NULL;
	}
	if (fl)
		go_on(t, fl, dir, f);
	else if (!icmp_is_error(&f->pkt, data))
		enter(t, f, &k, dir);
}

void into_burst(struct tun *t, struct frame **f, int n)
{
	frame_fetch_first(f, n);
	for (int i = 0; i < n; i++) {
		frame_fetch_next(f, i, n);
		if (!f[i]->verdict)
			into_packet(t, f[i]);
	}
	into_flush(t);
}
