/* SPDX-License-Identifier: MIT */
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "csum.h"
#include "segment.h"

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

#define IP_MAX		65535u
#define TH_CWR_BIT	0x80u
#define UDP_LEN		8u
#define TCP_CSUM	16u

/* --- cutting ------------------------------------------------------------------ */

static enum reason want_pieces(struct cut *c, uint8_t type, uint16_t size)
{
	const struct packet *p = &c->p;

	c->udp = type == VIRTIO_NET_HDR_GSO_UDP_L4;
	if (!c->udp && type != VIRTIO_NET_HDR_GSO_TCPV4 && type != VIRTIO_NET_HDR_GSO_TCPV6)
		return REASON_TOO_LARGE;
	if (!(p->flags & PKT_L4) || p->proto != (c->udp ? IPPROTO_UDP : IPPROTO_TCP) || !size ||
	    p->payload > SEGMENT_HEAD_MAX)
		return REASON_TOO_LARGE;
	c->size = size;
	return REASON_NONE;
}

enum reason cut_start(struct cut *c, uint8_t *pkt, size_t len, const struct virtio_net_hdr *h)
{
	struct cut n = { .pkt = pkt };
	uint8_t type = h->gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;
	enum reason r = packet_parse(&n.p, pkt, len, LINKTYPE_RAW);

	if (!r && n.p.flags & PKT_CUT)
		r = REASON_IP_LENGTH;
	if (!r && type != VIRTIO_NET_HDR_GSO_NONE)
		r = want_pieces(&n, type, h->gso_size);
	if (!r && n.size && n.p.end - n.p.payload <= n.size)
		n.size = 0;		/* one piece */
	if (r)
		return r;
	n.next = n.p.payload;
	*c = n;
	return REASON_NONE;
}

void cut_finish(struct cut *c, const struct virtio_net_hdr *h)
{
	uint16_t csum;

	if (c->size || !(h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) || !(c->p.flags & PKT_L4) ||
	    h->csum_start != c->p.l4 || h->csum_offset != csum_l4_field(c->p.proto))
		return;
	csum = csum_fold(csum_partial(c->pkt + c->p.l4, c->p.end - c->p.l4, 0));
	if (!csum && c->p.proto == IPPROTO_UDP)
		csum = 0xffff;
	memcpy(c->pkt + c->p.l4 + h->csum_offset, &csum, sizeof(csum));
}

static void piece_ip(const struct cut *c, uint8_t *ip, uint32_t len)
{
	if (c->p.version == 4) {
		put16(ip + 2, (uint16_t)len);
		put16(ip + 4, (uint16_t)(be16(ip + 4) + c->nth));
		csum_ipv4(ip);
	} else {
		put16(ip + 4, (uint16_t)(len - 40));
	}
}

void cut_reset(struct cut *c)
{
	uint8_t *tcp = c->pkt + c->p.l4;

	if (c->p.proto != IPPROTO_TCP || !(c->p.flags & PKT_L4) || !(tcp[13] & TH_FIN) ||
	    c->p.flags & PKT_FRAG_FIRST)
		return;
	tcp[13] = TH_RST | TH_ACK;
	c->p.end = c->p.payload;
	c->size = 0;
	piece_ip(c, c->pkt + c->p.l3, c->p.end - c->p.l3);
	csum_l4_write(&c->p, c->pkt);
}

static void piece_l4(const struct cut *c, uint8_t *l4, uint32_t done, uint32_t len, bool last)
{
	if (c->udp) {
		put16(l4 + 4, (uint16_t)(UDP_LEN + len));
		put16(l4 + 6, 0xffff);	/* not zero: it shall have one */
		return;
	}
	put32(l4 + 4, be32(l4 + 4) + done);
	if (!last)
		l4[13] &= (uint8_t)~(TH_FIN | TH_PUSH);
	if (c->nth)
		l4[13] &= (uint8_t)~TH_CWR_BIT;
}

static int whole(struct cut *c, uint8_t *out, size_t room)
{
	c->over = true;
	if (c->p.end > room)
		return -1;
	memcpy(out, c->pkt, c->p.end);
	return (int)c->p.end;
}

int cut_next(struct cut *c, uint8_t *out, size_t room)
{
	uint32_t done = c->next - c->p.payload, head = c->p.payload, len;
	struct packet p = c->p;

	if (c->over)
		return 0;
	if (!c->size)
		return whole(c, out, room);
	len = MIN(c->size, c->p.end - c->next);
	if (head + len > room) {
		c->over = true;
		return -1;
	}
	memcpy(out, c->pkt, head);
	memcpy(out + head, c->pkt + c->next, len);
	c->next += len;
	c->over = c->next >= c->p.end;
	piece_ip(c, out + p.l3, head + len - p.l3);
	piece_l4(c, out + p.l4, done, len, c->over);
	p.end = head + len;
	csum_l4_write(&p, out);
	c->nth++;
	return (int)p.end;
}

/* --- merging ------------------------------------------------------------------ */

/* Plain data of TCP: nothing in it but ACK, PSH and FIN */
static bool is_data(const struct frame *f, const uint8_t *data)
{
	const struct packet *p = &f->pkt;
	uint8_t flags;

	if (p->proto != IPPROTO_TCP || !(p->flags & PKT_L4) || p->l3 || p->payload >= p->end ||
	    p->flags & (PKT_FRAG_FIRST | PKT_FRAG_LATER | PKT_CUT) ||
	    p->payload > SEGMENT_HEAD_MAX || p->l4 != (p->version == 4 ? 20u : 40u))
		return false;
	flags = data[p->l4 + 13];
	return (flags & ~(TH_PUSH | TH_FIN)) == TH_ACK;
}

void merge_start(struct merge *m, struct frame *f)
{
	const uint8_t *data = frame_data(f);
	const struct packet *p = &f->pkt;

	m->frame[0] = f;
	m->n = 1;
	m->checked = false;
	m->mergeable = is_data(f, data);
	if (!m->mergeable)
		return;
	m->size = p->end - p->payload;
	m->total = p->end;
	m->next_seq = be32(data + p->l4 + 4) + m->size;
	m->last = data[p->l4 + 13] & (TH_PUSH | TH_FIN);
}

/* Do the headers say the same, but for what differs from segment to segment? */
static bool alike(struct frame *a, struct frame *b)
{
	const uint8_t *x = frame_data(a), *y = frame_data(b);
	const struct packet *p = &a->pkt, *q = &b->pkt;
	const uint8_t *s = x + p->l4, *t = y + q->l4;

	if (p->version != q->version || p->l4 != q->l4 || p->payload != q->payload)
		return false;
	if (p->version == 4 ? memcmp(x, y, 2) || memcmp(x + 6, y + 6, 4) || memcmp(x + 12, y + 12, 8)
			    : memcmp(x, y, 4) || memcmp(x + 6, y + 6, 34))
		return false;
	return !memcmp(s, t, 4) && !memcmp(s + 8, t + 8, 5) && !memcmp(s + 14, t + 14, 2) &&
	       !memcmp(s + 18, t + 18, p->payload - p->l4 - 18);
}

bool merge_add(struct merge *m, struct frame *f)
{
	struct frame *first = m->frame[0];
	const uint8_t *data = frame_data(f);
	const struct packet *p = &f->pkt;
	uint32_t len = p->end - p->payload;

	if (!m->mergeable || m->last || m->n == FRAME_BURST || !is_data(f, data) ||
	    len > m->size || m->total + len > IP_MAX ||
	    be32(data + p->l4 + 4) != m->next_seq || !alike(first, f))
		return false;
	if (!m->checked && !csum_l4_ok(&first->pkt, frame_data(first))) {
		m->mergeable = false;
		return false;
	}
	m->checked = true;
	if (!csum_l4_ok(p, data))
		return false;
	m->frame[m->n++] = f;
	m->total += len;
	m->next_seq += len;
	m->last = len < m->size || data[p->l4 + 13] & (TH_PUSH | TH_FIN);
	return true;
}

/* What CHECKSUM_PARTIAL wants to find: the sum of the pseudo-header */
static void partial_sum(uint8_t *head, const struct packet *p, uint32_t total)
{
	uint32_t len = total - p->l4;
	uint8_t tail[8] = { 0 };
	uint16_t sum;

	put32(tail, len);
	tail[7] = IPPROTO_TCP;
	sum = (uint16_t)~csum_fold(csum_partial(head + (p->version == 4 ? 12 : 8),
						p->version == 4 ? 8 : 32,
						csum_partial(tail, sizeof(tail), 0)));
	memcpy(head + p->l4 + TCP_CSUM, &sum, sizeof(sum));
}

static void large_header(struct merge *m)
{
	struct frame *first = m->frame[0], *last = m->frame[m->n - 1];
	const struct packet *p = &first->pkt;
	uint8_t *head = m->h.head;

	memcpy(head, frame_data(first), p->payload);
	head[p->l4 + 13] |= frame_data(last)[last->pkt.l4 + 13];
	if (p->version == 4) {
		put16(head + 2, (uint16_t)m->total);
		csum_ipv4(head);
	} else {
		put16(head + 4, (uint16_t)(m->total - 40));
	}
	partial_sum(head, p, m->total);
	m->h.v = (struct virtio_net_hdr){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = p->version == 4 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6,
		.hdr_len = (uint16_t)p->payload, .gso_size = (uint16_t)m->size,
		.csum_start = (uint16_t)p->l4, .csum_offset = TCP_CSUM,
	};
}

int merge_finish(struct merge *m)
{
	struct frame *f = m->frame[0];

	if (m->n == 1) {
		m->h.v = (struct virtio_net_hdr){ 0 };
		m->iov[0] = (struct iovec){ &m->h, sizeof(m->h.v) };
		m->iov[1] = (struct iovec){ frame_data(f) + f->pkt.l3, f->pkt.end - f->pkt.l3 };
		return 2;
	}
	large_header(m);
	m->iov[0] = (struct iovec){ &m->h, sizeof(m->h.v) + f->pkt.payload };
	for (unsigned i = 0; i < m->n; i++) {
		const struct packet *p = &m->frame[i]->pkt;

		m->iov[1 + i] = (struct iovec){ frame_data(m->frame[i]) + p->payload,
						p->end - p->payload };
	}
	return (int)m->n + 1;
}

uint8_t *tcp_mss(uint8_t *tcp, size_t len)
{
	size_t end = len < 20 ? 0 : MIN(len, (size_t)(tcp[12] >> 4) * 4);

	for (size_t i = 20; i + 4 <= end && tcp[i] != TCPOPT_EOL;) {
		if (tcp[i] == TCPOPT_NOP) {
			i++;
			continue;
		}
		if (tcp[i] == TCPOPT_MAXSEG)
			return tcp[i + 1] == TCPOLEN_MAXSEG ? tcp + i + 2 : NULL;
		if (tcp[i + 1] < 2)
			return NULL;
		i += tcp[i + 1];
	}
	return NULL;
}
