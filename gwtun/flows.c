/* SPDX-License-Identifier: MIT */
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "tun.h"

#define LINGER_NS	10000000000ull	/* of a TCP flow that has ended */
#define FRAG_NS		30000000000ull	/* for a datagram's fragments */

/* --- ways --------------------------------------------------------------------- */

bool way_note(struct way *w, struct frame *f)
{
	const uint8_t *ip = frame_data(f) + f->pkt.l3;

	if (f->encap_len > sizeof(w->encap))
		return false;
	w->attachment = f->attachment;
	w->cookie = f->cookie;
	w->dialect = f->dialect;
	w->len = f->encap_len;
	w->linktype = f->encap_linktype;
	memcpy(w->encap, frame_encap(f), f->encap_len);
	w->ttl = f->pkt.version == 4 ? ip[8] : ip[7];
	w->tos = f->pkt.version == 4 ? ip[1] : (uint8_t)(be16(ip) >> 4);
	w->known = true;
	return true;
}

uint8_t *way_frame(const struct way *w, struct frame *f, uint64_t endpoint, size_t *room)
{
	uint8_t *at = f->buf + FRAME_HEADROOM;

	frame_reset(f);
	memcpy(at, w->encap, w->len);
	f->encap_off = frame_rel(f, at);
	f->encap_len = w->len;
	f->encap_linktype = w->linktype;
	f->off = f->encap_off + w->len;
	f->linktype = LINKTYPE_RAW;
	f->endpoint = endpoint;
	f->attachment = w->attachment;
	f->cookie = w->cookie;
	f->dialect = w->dialect;
	f->marks = FRAME_CHANGED;
	*room = f->room - FRAME_HEADROOM - w->len;
	return at + w->len;
}

void flow_way(const struct tflow *fl, unsigned dir, struct way *w)
{
	*w = fl->way[fl->way[dir].known ? dir : !dir];
	if (!fl->way[dir].known)
		w->ttl = 0;
}

/* --- flows -------------------------------------------------------------------- */

struct tflow *flow_enter(struct tun *t, const struct flow_key *k, unsigned dir, struct frame *f)
{
	bool tcp = k->proto == IPPROTO_TCP;
	uint64_t timeout = tcp ? t->conf.tcp_timeout_ns : t->conf.timeout_ns;
	struct tflow *fl = flow_add(t->flows, k, t->st->now_ns, timeout);

	*fl = (struct tflow){
		.endpoint = f->endpoint, .last_ns = t->st->now_ns, .timeout_ns = timeout,
		.client = (uint8_t)dir, .tcp = tcp, .proxy = t->proxy,
	};
	if (tcp && f->pkt.flags & PKT_L4)
		fl->isn = be32(frame_data(f) + f->pkt.l4 + 4);
	return fl;
}

/* Of all fragments of one datagram */
static void datagram_key(struct flow_key *k, uint64_t endpoint, const struct packet *p,
			 const uint8_t *data)
{
	struct packet bare = *p;

	bare.flags |= PKT_FRAG_LATER;	/* no ports: only the first one has them */
	flow_key(k, endpoint, &bare, data);
	k->kind = FLOW_DATAGRAM;
	k->extra = p->frag_id;
	if (p->version == 6)
		k->proto = 0;		/* later ones do not say it */
}

static bool first_of(struct tun *t, uint64_t endpoint, const struct packet *p,
		     const uint8_t *data, struct flow_key *k)
{
	struct flow_key d, *first;

	datagram_key(&d, endpoint, p, data);
	first = flow_find(t->frags, &d, t->st->now_ns);
	if (first)
		*k = *first;
	return first;
}

static void note_first(struct tun *t, uint64_t endpoint, const struct packet *p,
		       const uint8_t *data, const struct flow_key *k)
{
	struct flow_key d;

	datagram_key(&d, endpoint, p, data);
	memcpy(flow_add(t->frags, &d, t->st->now_ns, FRAG_NS), k, sizeof(*k));
}

/* Does a packet go from the key's b to its a?  Fragments have no ports, errors a sender of
 * their own, so it is told by whom it goes to */
static unsigned direction(const struct flow_key *k, const struct packet *p, const uint8_t *data)
{
	unsigned n = packet_addr_len(p);

	return !memcmp(packet_dst(p, data), k->a, n) && memcmp(k->a, k->b, n);
}

struct tflow *flow_of(struct tun *t, uint64_t endpoint, const struct packet *p,
		      const uint8_t *data, struct flow_key *k, unsigned *dir)
{
	struct tflow *fl;
	bool swapped;

	if (p->flags & PKT_FRAG_LATER) {
		if (!first_of(t, endpoint, p, data, k))
			return NULL;
		swapped = direction(k, p, data);
	} else if (flow_key_quoted(k, endpoint, p, data)) {
		swapped = direction(k, p, data);
	} else {
		swapped = flow_key(k, endpoint, p, data);
	}
	*dir = swapped;
	fl = flow_find(t->flows, k, t->st->now_ns);
	if (fl && p->flags & PKT_FRAG_FIRST)
		note_first(t, endpoint, p, data, k);
	return fl;
}

/* Where a RST came in the kernel says nothing more, but its proxy ends the other connection */
bool flow_is_over(const struct tflow *fl, unsigned dir)
{
	bool reset = fl->ends & END_RST << dir && fl->ends & END_OUT << dir;

	return fl->ends & END_IN << dir && (reset || fl->ends & END_OUT << !dir);
}

void flow_note_ends(struct tflow *fl, const struct packet *p, const uint8_t *data, unsigned dir,
		    bool out)
{
	uint8_t flags;

	if (!fl->tcp || p->proto != IPPROTO_TCP || !(p->flags & PKT_L4))
		return;
	flags = data[p->l4 + 13];
	if (flags & TH_FIN)
		fl->ends |= (uint8_t)((out ? END_OUT : END_IN) << dir);
	if (flags & TH_RST)	/* the kernel's ends both directions */
		fl->ends |= out ? (uint8_t)(END_OUT << dir | END_IN << !dir) :
				  (uint8_t)((END_IN | END_RST) << dir);
	if (flow_is_over(fl, 0) && flow_is_over(fl, 1))
		fl->timeout_ns = LINGER_NS;
}

struct walk {
	struct tun *t;
	bool gone;
};

static bool keep(void *ctx, void *value)
{
	const struct walk *w = ctx;
	const struct tflow *fl = value;

	if (w->gone) {
		const struct end *e = ends_find(w->t, fl->endpoint);

		if (!e || e->state != END_READY)
			return false;
	}
	return w->t->st->now_ns - fl->last_ns <= fl->timeout_ns;
}

void flows_walk(struct tun *t, bool gone)
{
	struct walk w = { t, gone };

	flow_walk(t->flows, keep, &w);
}

static bool orphan(void *ctx, void *value)
{
	const uint32_t *proxy = ctx;
	struct tflow *fl = value;

	fl->orphan |= fl->proxy == *proxy;
	return true;
}

void flows_orphan(struct tun *t, uint32_t proxy)
{
	flow_walk(t->flows, orphan, &proxy);
}
