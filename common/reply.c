/* SPDX-License-Identifier: MIT */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "csum.h"
#include "flow.h"
#include "reply.h"

#define L2_MAX		64u
#define QUOTE4_MAX	548u	/* an ICMP error has at most 576 bytes (RFC 1812 4.3.2.3) */
#define QUOTE6_MAX	1232u	/* ... of IPv6 1280 (RFC 4443 2.4 (c)) */
#define ICMP_HDR	8u

/**
 * struct reply - An answer under construction
 * @data:	Link-layer header and IP packet
 * @l3:		Where the latter begins
 * @l4:		Where its payload goes
 */
struct reply {
	uint8_t data[L2_MAX + 1280];
	uint32_t l3, l4;
};

static bool unicast4(const uint8_t *a)
{
	return a[0] && a[0] != 127 && a[0] < 224;
}

static bool unicast6(const uint8_t *a)
{
	static const uint8_t zeros[15];

	return a[0] != 0xff && (memcmp(a, zeros, 15) || a[15] > 1);
}

/* May anything be said about this packet, to its sender, as from its receiver? */
static bool answerable(struct frame *f)
{
	const uint8_t *data = frame_data(f), *src, *dst;
	const struct packet *p = &f->pkt;

	if (frame_parse(f) || p->flags & PKT_FRAG_LATER || p->l3 > L2_MAX)
		return false;
	if (f->linktype == LINKTYPE_ETHERNET && data[0] & 1)
		return false;
	src = packet_src(p, data);
	dst = packet_dst(p, data);
	if (p->version == 4 ? !unicast4(src) || !unicast4(dst) : !unicast6(src) || !unicast6(dst))
		return false;
	return !icmp_is_error(p, data);
}

/* Link layer and IP header of the way back; what follows is zero */
static void begin(struct reply *r, struct frame *f, uint8_t proto)
{
	const uint8_t *data = frame_data(f), *src = packet_src(&f->pkt, data);
	const uint8_t *dst = packet_dst(&f->pkt, data);
	uint8_t *ip = r->data + r->l3;

	memcpy(r->data, data, r->l3);
	if (f->linktype == LINKTYPE_ETHERNET) {
		memcpy(r->data, data + 6, 6);
		memcpy(r->data + 6, data, 6);
	}
	if (f->pkt.version == 4) {
		memcpy(ip, (const uint8_t[20]){ 0x45, [6] = 0x40, [8] = 64, [9] = proto }, 20);
		memcpy(ip + 12, dst, 4);
		memcpy(ip + 16, src, 4);
		r->l4 = r->l3 + 20;
	} else {
		memcpy(ip, (const uint8_t[8]){ 0x60, [6] = proto, [7] = 64 }, 8);
		memcpy(ip + 8, dst, 16);
		memcpy(ip + 24, src, 16);
		r->l4 = r->l3 + 40;
	}
}

/* Lengths, checksums, and into the frame */
static bool finish(struct reply *r, struct frame *f, uint32_t l4_len)
{
	uint32_t len = r->l4 + l4_len;
	uint8_t *ip = r->data + r->l3;
	struct packet p;

	if (f->pkt.version == 4) {
		put16(ip + 2, (uint16_t)(len - r->l3));
		csum_ipv4(ip);
	} else {
		put16(ip + 4, (uint16_t)l4_len);
	}
	if (packet_parse(&p, r->data, len, f->linktype))
		return false;
	csum_l4_write(&p, r->data);
	if (!frame_set(f, r->data, len))
		return false;
	f->marks = 0;
	return !frame_parse(f);
}

static bool icmp(struct frame *f, const struct reply_error *e, uint32_t mtu)
{
	bool v4 = f->pkt.version == 4;
	const uint8_t *quoted = frame_data(f) + f->pkt.l3;
	uint32_t n = MIN(f->pkt.end - f->pkt.l3, v4 ? QUOTE4_MAX : QUOTE6_MAX);
	struct reply r = { .l3 = f->pkt.l3 };
	uint8_t *h;

	begin(&r, f, v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
	if (e->from)
		memcpy(r.data + r.l3 + (v4 ? 12 : 8), e->from, v4 ? 4 : 16);
	h = r.data + r.l4;
	h[0] = e->type;
	h[1] = e->code;
	if (v4)
		put16(h + 6, (uint16_t)MIN(mtu, 0xffff));
	else
		put32(h + 4, mtu);
	memcpy(h + ICMP_HDR, quoted, n);
	return finish(&r, f, ICMP_HDR + n);
}

/* Bytes of sequence space a segment takes, by its IP length, captured or not */
static uint32_t segment_len(const struct packet *p, const uint8_t *data)
{
	uint32_t end = p->l3 + packet_wire_len(p, data);
	uint8_t flags = data[p->l4 + 13];

	return end - p->payload + !!(flags & TH_SYN) + !!(flags & TH_FIN);
}

/* RFC 9293 3.10.7.1: what a host without the connection would send */
static bool reset(struct frame *f, bool both)
{
	const uint8_t *data = frame_data(f), *tcp = data + f->pkt.l4;
	uint32_t seq = be32(tcp + 4), ack = be32(tcp + 8);
	uint8_t flags = tcp[13];
	struct reply r = { .l3 = f->pkt.l3 };
	uint8_t *h;

	if (flags & TH_RST || (!(flags & TH_ACK) && f->pkt.flags & PKT_FRAG_FIRST))
		return false;
	begin(&r, f, IPPROTO_TCP);
	h = r.data + r.l4;
	memcpy(h, tcp + 2, 2);
	memcpy(h + 2, tcp, 2);
	h[12] = 5 << 4;
	if (flags & TH_ACK) {
		put32(h + 4, ack);
		h[13] = TH_RST;
	} else {
		put32(h + 8, seq + segment_len(&f->pkt, data));
		h[13] = TH_RST | TH_ACK;
	}
	if (!finish(&r, f, 20))
		return false;
	/* the other end waits for just the segment that was dropped */
	if (both && flags & TH_ACK) {
		f->marks = FRAME_RST_BOTH;
		f->both_seq = seq;
		f->both_ack = ack;
	}
	return true;
}

bool reply_reject(struct frame *f, bool both)
{
	if (!answerable(f))
		return false;
	if (f->pkt.proto == IPPROTO_TCP)
		return f->pkt.flags & PKT_L4 && reset(f, both);
	return icmp(f, f->pkt.version == 4 ? &(struct reply_error){ 3, 13, NULL } :
					     &(struct reply_error){ 1, 1, NULL }, 0);
}

bool reply_too_big(struct frame *f, uint32_t mtu)
{
	return answerable(f) && icmp(f, f->pkt.version == 4 ? &(struct reply_error){ 3, 4, NULL } :
							      &(struct reply_error){ 2, 0, NULL }, mtu);
}

bool reply_error(struct frame *f, const struct reply_error *e)
{
	return answerable(f) && icmp(f, e, 0);
}
