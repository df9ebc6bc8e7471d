/* SPDX-License-Identifier: MIT */
#include <netinet/in.h>

#include "csum.h"
#include "pieces.h"

enum { MTU_MIN = 68 };		/* RFC 791: every link carries as much */

#define IP4_DF		0x4000u
#define IP4_MF		0x2000u
#define IP4_OFFSET	0x1fffu
#define OPT_COPIED	0x80u
#define TCP_RST_ACK	0x14u

static enum reason fragment_start(struct pieces *it)
{
	const struct packet *p = &it->f->pkt;

	it->whole = p->end - p->l3 <= it->f->frag_mtu;
	if (it->whole)
		return REASON_NONE;
	if (p->version != 4 || p->flags & PKT_CUT || it->f->frag_mtu < MTU_MIN)
		return REASON_TOO_LARGE;
	if (be16(frame_data(it->f) + p->l3 + 6) & IP4_DF)
		return REASON_TOO_LARGE;
	return REASON_NONE;
}

enum reason pieces_start(struct pieces *it, struct frame *f)
{
	enum reason r;

	*it = (struct pieces){ .f = f, .whole = true };
	r = frame_parse(f);
	if (!r)
		r = outer_parse(&it->outer, f);
	if (!r && f->orig_len > f->len)
		r = REASON_TRUNCATED;
	if (r)
		return r;
	it->mirror = f->marks & FRAME_RST_BOTH && f->pkt.flags & PKT_L4 &&
		     f->pkt.proto == IPPROTO_TCP;
	it->next = f->pkt.l3;
	r = f->marks & FRAME_FRAGMENT ? fragment_start(it) : REASON_NONE;
	if (!r && it->outer.len + (it->whole ? f->len : f->frag_mtu) > UINT16_MAX)
		r = REASON_TOO_LARGE;
	return r;
}

/* Later fragments carry only the options marked for it (RFC 791, 3.1) */
static size_t copied_options(uint8_t *out, const uint8_t *opt, size_t left)
{
	size_t n = 0;

	while (left && opt[0] != 0) {
		size_t len = opt[0] == 1 ? 1 : left >= 2 ? opt[1] : 0;

		if (len == 0 || len > left || (opt[0] != 1 && len < 2))
			break;
		if (opt[0] & OPT_COPIED) {
			memcpy(out + n, opt, len);
			n += len;
		}
		opt += len;
		left -= len;
	}
	while (n % 4)
		out[n++] = 0;
	return n;
}

static size_t fragment_header(uint8_t *h, const uint8_t *ip, size_t hlen, bool first)
{
	if (first) {
		memcpy(h, ip, hlen);
		return hlen;
	}
	memcpy(h, ip, 20);
	hlen = 20 + copied_options(h + 20, ip + 20, hlen - 20);
	h[0] = (uint8_t)(0x40 | hlen / 4);
	return hlen;
}

/* The encapsulation as turned, and behind it room for new headers */
static uint8_t *copy_encap(struct pieces *it, uint8_t *scratch)
{
	memcpy(scratch, frame_encap(it->f), it->outer.len);
	return scratch + it->outer.len;
}

static bool finish(struct pieces *it, uint8_t *scratch, size_t hlen, struct iovec iov[2])
{
	struct iovec inner[2] = { { scratch + it->outer.len, hlen }, iov[1] };

	iov[0] = (struct iovec){ scratch, it->outer.len + hlen };
	return outer_fit(&it->outer, scratch, inner, 2, hlen + iov[1].iov_len);
}

static bool next_fragment(struct pieces *it, uint8_t *scratch, struct iovec iov[2])
{
	const struct packet *p = &it->f->pkt;
	uint8_t *data = frame_data(it->f), *ip = data + p->l3;
	uint8_t *h = copy_encap(it, scratch);
	uint32_t hlen = p->l4 - p->l3, len;
	bool first = it->next == p->l3;
	uint16_t off = be16(ip + 6);

	if (first)
		it->next = p->l4;
	hlen = (uint32_t)fragment_header(h, ip, hlen, first);
	len = (it->f->frag_mtu - hlen) & ~7u;
	if (len >= p->end - it->next)
		len = p->end - it->next;
	else
		off |= IP4_MF;
	put16(h + 2, (uint16_t)(hlen + len));
	put16(h + 6, (uint16_t)((off & ~IP4_OFFSET) |
				((off + (it->next - p->l4) / 8) & IP4_OFFSET)));
	csum_ipv4(h);
	iov[1] = (struct iovec){ data + it->next, len };
	it->next += len;
	return finish(it, scratch, hlen, iov);
}

static bool next_mirror(struct pieces *it, uint8_t *scratch, struct iovec iov[2])
{
	struct packet p = it->f->pkt;
	const uint8_t *data = frame_data(it->f);
	uint8_t *h = copy_encap(it, scratch), *tcp;
	uint8_t *src = h + (p.version == 4 ? 12 : 8);
	size_t alen = packet_addr_len(&p);

	it->mirror = false;
	p.end = p.l4 + 20;
	if (p.end - p.l3 > PIECE_ROOM - ENCAP_MAX)
		return false;
	memcpy(h, data + p.l3, p.end - p.l3);
	memcpy(src, packet_dst(&p, data), alen);
	memcpy(src + alen, packet_src(&p, data), alen);
	tcp = h + (p.l4 - p.l3);
	memcpy(tcp, data + p.l4 + 2, 2);
	memcpy(tcp + 2, data + p.l4, 2);
	put32(tcp + 4, it->f->both_seq);
	put32(tcp + 8, it->f->both_ack);
	put16(tcp + 12, 5u << 12 | TCP_RST_ACK);
	p.l4 -= p.l3;
	p.end -= p.l3;
	p.l3 = 0;
	if (p.version == 4) {
		put16(h + 2, (uint16_t)p.end);
		csum_ipv4(h);
	} else {
		put16(h + 4, (uint16_t)(p.end - 40));
	}
	csum_l4_write(&p, h);
	iov[1] = (struct iovec){ frame_data(it->f), 0 };
	return finish(it, scratch, p.end, iov);
}

static bool whole_frame(struct pieces *it, uint8_t *scratch, struct iovec iov[2])
{
	it->next = it->f->pkt.end;
	copy_encap(it, scratch);
	iov[1] = (struct iovec){ frame_data(it->f), it->f->len };
	return finish(it, scratch, 0, iov);
}

bool pieces_next(struct pieces *it, uint8_t *scratch, struct iovec iov[2])
{
	if (it->next < it->f->pkt.end) {
		if (it->whole)
			return whole_frame(it, scratch, iov);
		return next_fragment(it, scratch, iov);
	}
	return it->mirror && next_mirror(it, scratch, iov);
}
