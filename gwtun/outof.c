/* SPDX-License-Identifier: MIT */
/*
 * outof.c - From the TUNs into the stream
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "csum.h"
#include "tun.h"

#define IP_ECN		3u

struct frame *outof_frame(struct tun *t)
{
	return t->nmade < FRAME_BURST ? t->made[t->nmade++] : NULL;
}

/* --- what a proxy's packets have of the other end's --------------------------- */

/* ECN is the kernel's own business with the other end */
void outof_carry(uint8_t *ip, const struct packet *p, const struct way *w)
{
	uint16_t first;
	uint8_t tos;

	if (!w->ttl)
		return;
	if (p->version == 4) {
		ip[8] = w->ttl;
		ip[1] = (uint8_t)((w->tos & ~IP_ECN) | (ip[1] & IP_ECN));
		csum_ipv4(ip);
		return;
	}
	ip[7] = w->ttl;
	first = be16(ip);
	tos = (uint8_t)((w->tos & ~IP_ECN) | ((first >> 4) & IP_ECN));
	put16(ip, (uint16_t)((first & 0xf00fu) | tos << 4));
}

/* @whole: its checksum is there, and follows */
static void clamp_mss(uint8_t *pkt, const struct packet *p, uint32_t mtu, uint16_t peer, bool whole)
{
	uint32_t most = mtu - (p->version == 4 ? 40 : 60);
	uint8_t *tcp = pkt + p->l4, *mss;
	uint16_t was, now, csum;
	bool odd;

	if (p->proto != IPPROTO_TCP || !(p->flags & PKT_L4) || !(tcp[13] & TH_SYN))
		return;
	mss = tcp_mss(tcp, p->end - p->l4);
	if (!mss)
		return;
	if (peer)
		most = MIN(most, (uint32_t)peer);
	if (be16(mss) <= most)
		return;
	memcpy(&was, mss, sizeof(was));
	put16(mss, (uint16_t)most);
	if (!whole)
		return;
	memcpy(&now, mss, sizeof(now));
	odd = (mss - tcp) & 1;
	memcpy(&csum, tcp + 16, sizeof(csum));
	csum = odd ? csum_replace16(csum, __builtin_bswap16(was), __builtin_bswap16(now)) :
		     csum_replace16(csum, was, now);
	memcpy(tcp + 16, &csum, sizeof(csum));
}

static void as_the_other_end(struct tun *t, struct tflow *fl, unsigned dir, bool whole)
{
	struct cut *c = &t->cut;

	if (t->conf.broker.space.kind == SPACE_ROUTER)
		return;			/* forwarded: its own TTL, one less */
	if (c->p.proto == IPPROTO_TCP) {
		outof_carry(c->pkt + c->p.l3, &c->p, &t->cut_way);
		clamp_mss(c->pkt, &c->p, t->conf.broker.space.mtu, fl->way[dir].mss,
			  whole);
	}
}

/* --- reading ------------------------------------------------------------------ */

/* Pieces into frames; false: there are no more frames */
static bool hand_out(struct tun *t)
{
	while (t->cutting) {
		struct frame *f;
		uint8_t *at;
		size_t room;
		int len;

		if (t->nmade == FRAME_BURST)
			return false;
		f = t->made[t->nmade];
		at = way_frame(&t->cut_way, f, t->cut_endpoint, &room);
		len = cut_next(&t->cut, at, room);
		t->cutting = len > 0;
		t->strays += len < 0;
		if (len <= 0)
			break;
		f->len = f->orig_len = (uint32_t)len;
		f->ts_ns = t->made_ns;
		t->nmade++;
	}
	return true;
}

void outof_go_on(struct tun *t)
{
	hand_out(t);
}

/* A packet belongs to a flow, or nobody would carry it */
static bool begin(struct tun *t, struct end *e, size_t len)
{
	struct virtio_net_hdr h;
	struct flow_key k;
	struct tflow *fl;
	unsigned dir;

	if (len <= sizeof(h))
		return false;
	memcpy(&h, t->buf, sizeof(h));
	if (cut_start(&t->cut, t->buf + sizeof(h), len - sizeof(h), &h))
		return false;
	fl = flow_of(t, e->id, &t->cut.p, t->cut.pkt, &k, &dir);
	if (!fl)
		return false;
	fl->last_ns = e->used_ns = t->st->now_ns;
	flow_note_ends(fl, &t->cut.p, t->cut.pkt, dir, true);
	flow_way(fl, dir, &t->cut_way);
	t->cut_endpoint = e->id;
	as_the_other_end(t, fl, dir, !(h.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM));
	cut_finish(&t->cut, &h);
	if (fl->orphan)
		cut_reset(&t->cut);
	return true;
}

/* Packets of nobody take no frame: they are not to keep all others waiting */
void outof_read(struct tun *t, struct end *e)
{
	int left = FRAME_BURST;

	while (hand_out(t) && e->fd >= 0 && t->nmade < FRAME_BURST && left-- > 0) {
		ssize_t n = read(e->fd, t->buf, TUN_BUF);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			if (!n || errno != EAGAIN)
				ends_lost(t, e);
			return;
		}
		t->cutting = begin(t, e, (size_t)n);
		t->strays += !t->cutting;
	}
	hand_out(t);
}
