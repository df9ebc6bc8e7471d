/* SPDX-License-Identifier: MIT */
/*
 * capread.c - Reading pcapng and classic pcap, in place
 */
#include <inttypes.h>
#include <stdio.h>

#include "capfile.h"
#include "capformat.h"
#include "priv.h"

static uint16_t ld16(bool swap, const uint8_t *p)
{
	return swap ? be16(p) : le16(p);
}

static uint16_t rd16(const struct cap_reader *r, const uint8_t *p)
{
	return ld16(r->swap, p);
}

static uint32_t ld32(bool swap, const uint8_t *p)
{
	return swap ? be32(p) : le32(p);
}

static uint32_t rd32(const struct cap_reader *r, const uint8_t *p)
{
	return ld32(r->swap, p);
}

static uint64_t rd64(const struct cap_reader *r, const uint8_t *p)
{
	return r->swap ? be64(p) : le64(p);
}

void cap_reader_init(struct cap_reader *r)
{
	memset(r, 0, offsetof(struct cap_reader, iface));
}

static enum cap_event __attribute__((format(printf, 2, 3)))
broken(struct cap_reader *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(r->err, sizeof(r->err), fmt, ap);
	va_end(ap);
	return CAP_ERROR;
}

static uint64_t to_ns(const struct cap_iface *i, uint64_t ts)
{
	uint64_t ns;

	if (i->units == 1000000000u)
		ns = ts;
	else if (i->units == 1000000u)
		ns = ts * 1000;
	else
		ns = ts / i->units * 1000000000u +
		     (uint64_t)((unsigned __int128)(ts % i->units) * 1000000000u / i->units);
	return ns + (uint64_t)i->offset_s * 1000000000u;
}

static void set_packet(struct frame *f, uint32_t linktype, uint64_t ts_ns,
		       const uint8_t *data, uint32_t caplen, uint32_t wirelen)
{
	frame_reset(f);
	f->linktype = linktype;
	f->ts_ns = ts_ns;
	f->off = frame_rel(f, data);
	f->len = caplen;
	f->orig_len = MAX(wirelen, caplen);
}

/* Our packet option: gwframe(5).  What does not fit its own lengths is ignored:
 * the packet is then one without metadata. */
static void take_metadata(struct frame *f, const uint8_t *o, size_t len)
{
	uint32_t encap_len;

	if (len < META_SHORT || le16(o) != META_VERSION)
		return;
	encap_len = le16(o + 2);
	if (o[4] >= DIALECT_NUM || encap_len > ENCAP_MAX)
		return;
	if (len >= META_LONG && encap_len <= len - META_LONG) {
		f->endpoint = le64(o + 16);
		f->attachment = le64(o + 24);
		f->cookie = le32(o + 32);
		f->marks = le16(o + 36) & (FRAME_REPLY | FRAME_RST_BOTH | FRAME_FRAGMENT |
					   FRAME_CHANGED);
		f->frag_mtu = le16(o + 38);
		f->both_seq = le32(o + 40);
		f->both_ack = le32(o + 44);
		f->encap_len = (uint16_t)encap_len;
		f->encap_linktype = le16(o + 6);
		f->encap_off = encap_len ? frame_rel(f, o + META_LONG) : 0;
	} else if (len != META_SHORT) {
		return;
	}
	f->dialect = o[4];
	f->seq = le64(o + 8);
}

/* Options of a packet: ours is taken, those before it are kept for the output, as
 * far as buffers for them go */
static inline __attribute__((always_inline))
void take_options(bool swap, struct frame *f, const uint8_t *o, size_t left)
{
	const uint8_t *start = o;
	uint32_t keep = 0;

	while (left >= 4) {
		uint16_t code = ld16(swap, o), len = ld16(swap, o + 2);
		size_t padded = 4 + PAD4((size_t)len);

		if (!code || padded > left)
			break;
		if (code == META_OPTION) {
			take_metadata(f, o + 4, len);
			break;
		}
		o += padded;
		left -= padded;
		if ((size_t)(o - start) <= CAP_OPTIONS_MAX)
			keep = (uint32_t)(o - start);
	}
	if (keep && !swap) {
		f->opt_off = frame_rel(f, start);
		f->opt_len = keep;
	}
}

/* Enhanced Packet Block; false: broken.  Inline, since nearly all have our byte order. */
static inline __attribute__((always_inline))
bool epb_frame(struct cap_reader *r, bool swap, const uint8_t *b, size_t body, struct frame *f)
{
	uint32_t id = ld32(swap, b), caplen = ld32(swap, b + 12);
	size_t padded = PAD4((size_t)caplen);
	uint64_t ts;

	if (id >= r->nifaces || caplen > body - 20 || caplen > FRAME_DATA_MAX)
		return false;
	ts = (uint64_t)ld32(swap, b + 4) << 32 | ld32(swap, b + 8);
	set_packet(f, r->iface[id].linktype, to_ns(&r->iface[id], ts), b + 20, caplen,
		   ld32(swap, b + 16));
	f->seq = ++r->seq;
	if (body - 20 > padded)
		take_options(swap, f, b + 20 + padded, body - 20 - padded);
	return true;
}

/* Such blocks in a row, in our byte order; where it ends, next_block() says why */
static int take_epbs(struct cap_reader *r, const uint8_t *p, size_t len, size_t *used,
		     struct frame **f, int max)
{
	const uint8_t *start = p, *end = p + len;
	int n = 0;

	while (n < max && end - p >= (ptrdiff_t)EPB_MIN && le32(p) == BLOCK_EPB) {
		uint32_t total = le32(p + 4);

		if (total < EPB_MIN || total % 4 || total > (size_t)(end - p) ||
		    total > CAP_BLOCK_MAX || le32(p + total - 4) != total ||
		    !epb_frame(r, false, p + 8, total - 12, f[n]))
			break;
		p += total;
		n++;
	}
	*used = (size_t)(p - start);
	return n;
}

static enum cap_event take_epb(struct cap_reader *r, const uint8_t *b, size_t body, struct frame *f)
{
	if (body < 20)
		return broken(r, "packet block of %zu bytes is too short", body);
	if (epb_frame(r, r->swap, b, body, f))
		return CAP_PACKET;
	if (rd32(r, b) >= r->nifaces)
		return broken(r, "packet on interface %u, %u described", rd32(r, b), r->nifaces);
	return broken(r, "packet of %u bytes in a block of %zu", rd32(r, b + 12), body);
}

/* Simple Packet Block: no time, no options */
static enum cap_event take_spb(struct cap_reader *r, const uint8_t *b, size_t body, struct frame *f)
{
	uint32_t wirelen, caplen;

	if (body < 4 || !r->nifaces)
		return broken(r, "simple packet block %s", body < 4 ? "is too short" : "before any interface");
	wirelen = rd32(r, b);
	caplen = MIN(wirelen, (uint32_t)body - 4);
	if (r->iface[0].snaplen)
		caplen = MIN(caplen, r->iface[0].snaplen);
	if (caplen > FRAME_DATA_MAX)
		return broken(r, "packet of %u bytes", caplen);
	set_packet(f, r->iface[0].linktype, 0, b + 4, caplen, wirelen);
	f->seq = ++r->seq;
	return CAP_PACKET;
}

/* The obsolete Packet Block, still found in old captures */
static enum cap_event take_pb(struct cap_reader *r, uint8_t *b, size_t body, struct frame *f)
{
	uint32_t id;

	if (body < 20)
		return broken(r, "packet block of %zu bytes is too short", body);
	id = rd16(r, b);
	if (r->swap)
		put32(b, id);
	else
		memcpy(b, &id, sizeof(id));
	return take_epb(r, b, body, f);
}

/* if_tsresol: a negative power of 10, or of 2 with the top bit set */
static uint64_t ts_units(uint8_t v)
{
	uint64_t units = 1;

	if (v & 0x80)
		return (v & 0x7f) < 64 ? 1ull << (v & 0x7f) : 0;
	if (v > 19)
		return 0;
	while (v--)
		units *= 10;
	return units;
}

static enum cap_event take_idb(struct cap_reader *r, const uint8_t *b, size_t body)
{
	struct cap_iface i = { .units = 1000000 };
	const uint8_t *o;

	if (body < 8)
		return broken(r, "interface block of %zu bytes is too short", body);
	if (r->nifaces == CAP_IFACES_MAX)
		return broken(r, "more than %u interfaces in a section", CAP_IFACES_MAX);
	i.linktype = linktype_of(rd16(r, b));
	i.snaplen = rd32(r, b + 4);
	o = b + 8;
	for (size_t left = body - 8; left >= 4;) {
		uint16_t code = rd16(r, o), len = rd16(r, o + 2);
		size_t padded = 4 + PAD4((size_t)len);

		if (!code || padded > left)
			break;
		if (code == IF_TSRESOL && len == 1)
			i.units = ts_units(o[4]);
		if (code == IF_TSOFFSET && len == 8)
			i.offset_s = (int64_t)rd64(r, o + 4);
		o += padded;
		left -= padded;
	}
	if (!i.units)
		return broken(r, "interface with a timestamp resolution that cannot be");
	r->iface[r->nifaces++] = i;
	return CAP_MORE;
}

/* A chain's name names its run folder: nothing but a plain name, or none */
static bool take_name(const uint8_t **p, const uint8_t *end, char *out)
{
	size_t len;

	if (*p == end)
		return false;
	len = *(*p)++;
	if (len >= CAP_NAME_MAX || len > (size_t)(end - *p))
		return false;
	memset(out, 0, CAP_NAME_MAX);
	memcpy(out, *p, len);
	*p += len;
	return !len || (strlen(out) == len && chain_name_ok(out));
}

static enum cap_event take_hello(struct cap_reader *r, const uint8_t *b, size_t body)
{
	const uint8_t *p = b + HELLO_FIXED, *end = b + body;
	struct cap_hello h = { 0 };

	if (body < HELLO_FIXED)
		return broken(r, "hello block of %zu bytes is too short", body);
	if (le16(b) != HELLO_VERSION)
		return broken(r, "stream is of version %u, this program reads %u: builds differ",
			      le16(b), HELLO_VERSION);
	h.live = le16(b + 2) & HELLO_LIVE;
	h.ring = le16(b + 2) & HELLO_RING;
	h.nonce = le64(b + 8);
	h.message = le64(b + 16);
	h.packets = le64(b + 24);
	h.old_nonce = le64(b + 32);
	h.old_packets = le64(b + 40);
	if (!take_name(&p, end, h.chain) || !take_name(&p, end, h.prog) || !take_name(&p, end, h.as))
		return broken(r, "hello block with a broken name");
	r->hello = h;
	r->ours = true;
	return CAP_HELLO;
}

/* An offer that another build makes is none to us */
static enum cap_event take_offer(struct cap_reader *r, const uint8_t *b, size_t body)
{
	const uint8_t *p = b + OFFER_FIXED;
	struct cap_offer o = { 0 };

	if (body < OFFER_FIXED || le16(b) != OFFER_VERSION || !take_name(&p, b + body, o.path)) {
		r->skipped++;
		return CAP_MORE;
	}
	o.seat = le32(b + 4);
	o.magic = le32(b + 8);
	o.version = le32(b + 12);
	o.layout = le32(b + 16);
	o.frame = le32(b + 20);
	o.dev = le64(b + 24);
	o.ino = le64(b + 32);
	memcpy(o.nonce, b + 40, sizeof(o.nonce));
	r->offer = o;
	return CAP_OFFER;
}

static enum cap_event take_switch(struct cap_reader *r, const uint8_t *b, size_t body)
{
	if (body < SWITCH_SIZE)
		return broken(r, "switch block of %zu bytes is too short", body);
	memcpy(r->to_ring.nonce, b, sizeof(r->to_ring.nonce));
	r->to_ring.seat = le32(b + 16);
	r->to_ring.gen = le32(b + 20);
	return CAP_SWITCH;
}

static enum cap_event take_end(struct cap_reader *r, const uint8_t *b, size_t body, bool abort)
{
	if (body < 8)
		return broken(r, "end block of %zu bytes is too short", body);
	r->total = le64(b);
	r->ours = false;
	return abort ? CAP_ABORT : CAP_END;
}

static enum cap_event take_block(struct cap_reader *r, uint32_t type, uint8_t *b,
				 size_t body, struct frame *f)
{
	switch (type) {
	case BLOCK_EPB: return take_epb(r, b, body, f);
	case BLOCK_IDB: return take_idb(r, b, body);
	case BLOCK_SPB: return take_spb(r, b, body, f);
	case BLOCK_PB: return take_pb(r, b, body, f);
	case BLOCK_HELLO: return take_hello(r, b, body);
	case BLOCK_END: return take_end(r, b, body, false);
	case BLOCK_ABORT: return take_end(r, b, body, true);
	case BLOCK_OFFER: return take_offer(r, b, body);
	case BLOCK_SWITCH: return take_switch(r, b, body);
	case BLOCK_PADDING:
		r->padding = true;
		return CAP_MORE;
	}
	r->skipped++;
	return CAP_MORE;
}

/* A section header tells the byte order of all that follows it */
static enum cap_event section_order(struct cap_reader *r, const uint8_t *b)
{
	if (le32(b + 8) == BYTE_ORDER_MAGIC)
		r->swap = false;
	else if (be32(b + 8) == BYTE_ORDER_MAGIC)
		r->swap = true;
	else
		return broken(r, "section header with byte-order magic %#x", le32(b + 8));
	if (rd16(r, b + 12) != 1)
		return broken(r, "pcapng version %u is not 1", rd16(r, b + 12));
	r->nifaces = 0;
	return CAP_MORE;
}

/* One pcapng block; CAP_MORE with *@used 0: it is not whole yet */
static enum cap_event next_block(struct cap_reader *r, uint8_t *p, size_t len,
				 size_t *used, struct frame *f)
{
	enum cap_event ev;
	uint32_t type, total;

	*used = 0;
	if (len < 12)
		return CAP_MORE;
	type = rd32(r, p);
	if (type == BLOCK_SHB) {	/* the same number in both byte orders */
		if (len < 16)
			return CAP_MORE;
		ev = section_order(r, p);
		if (ev == CAP_ERROR)
			return ev;
	}
	total = rd32(r, p + 4);
	if (total < (type == BLOCK_SHB ? 28u : 12u) || total % 4 || total > CAP_BLOCK_MAX)
		return broken(r, "block of type %#x with length %u", type, total);
	if (len < total)
		return CAP_MORE;
	if (rd32(r, p + total - 4) != total)
		return broken(r, "block of type %#x: its two lengths are %u and %u", type,
			      total, rd32(r, p + total - 4));
	ev = type == BLOCK_SHB ? CAP_MORE : take_block(r, type, p + 8, total - 12, f);
	*used = ev == CAP_ERROR ? 0 : total;	/* an error is where its block begins */
	return ev;
}

/* Classic records, as many as are whole and @f holds */
static int take_records(struct cap_reader *r, const uint8_t *p, size_t len, size_t *used,
			struct frame **f, int max)
{
	const uint64_t tick_ns = 1000000000u / r->iface[0].units;
	const uint32_t linktype = r->iface[0].linktype;
	const uint8_t *start = p, *end = p + len;
	const bool swap = r->swap;
	uint64_t seq = r->seq;
	int n = 0;

	while (n < max && end - p >= (ptrdiff_t)CAP_RECORD) {
		uint32_t caplen = ld32(swap, p + 8);

		if (caplen > FRAME_DATA_MAX || caplen > (size_t)(end - p) - CAP_RECORD)
			break;
		/* Headers to come: where is a guess, right where packets are of one size */
		fetch_line(p + 8 * (size_t)(CAP_RECORD + caplen));
		fetch_line(p + 8 * (size_t)(CAP_RECORD + caplen) + 64);
		set_packet(f[n], linktype,
			   ld32(swap, p) * 1000000000ull + ld32(swap, p + 4) * tick_ns,
			   p + CAP_RECORD, caplen, ld32(swap, p + 12));
		f[n++]->seq = ++seq;
		p += CAP_RECORD + caplen;
	}
	r->seq = seq;
	*used = (size_t)(p - start);
	return n;
}

/* Why no classic record could be taken */
static enum cap_event no_record(struct cap_reader *r, const uint8_t *p, size_t len)
{
	uint32_t caplen = len < CAP_RECORD ? 0 : rd32(r, p + 8);

	return caplen > FRAME_DATA_MAX ? broken(r, "packet of %u bytes", caplen) : CAP_MORE;
}

static enum cap_event classic_header(struct cap_reader *r, const uint8_t *p)
{
	uint32_t magic = le32(p);

	r->swap = magic == __builtin_bswap32(CLASSIC_US) || magic == __builtin_bswap32(CLASSIC_NS);
	magic = rd32(r, p);
	if (magic != CLASSIC_US && magic != CLASSIC_NS)
		return broken(r, "neither pcapng nor pcap: starts with %02x %02x %02x %02x",
			      p[0], p[1], p[2], p[3]);
	if (rd16(r, p + 4) != 2)
		return broken(r, "pcap version %u.%u is not 2.4", rd16(r, p + 4), rd16(r, p + 6));
	if ((rd32(r, p + 20) & CLASSIC_LINKTYPE) > UINT16_MAX)
		return broken(r, "link type %u", rd32(r, p + 20) & CLASSIC_LINKTYPE);
	r->classic = true;
	r->iface[0] = (struct cap_iface){
		.linktype = linktype_of(rd32(r, p + 20) & CLASSIC_LINKTYPE),
		.snaplen = rd32(r, p + 16),
		.units = magic == CLASSIC_NS ? 1000000000 : 1000000,
	};
	r->nifaces = 1;
	return CAP_MORE;
}

static enum cap_event start(struct cap_reader *r, const uint8_t *p, size_t len, size_t *used)
{
	enum cap_event ev = CAP_MORE;

	*used = 0;
	if (len >= 4 && le32(p) != BLOCK_SHB) {
		if (len < CLASSIC_HEADER && (p[0] == 0xa1 || p[3] == 0xa1))
			return CAP_MORE;
		if (len < CLASSIC_HEADER)
			return broken(r, "neither pcapng nor pcap: starts with %02x %02x %02x %02x",
				      p[0], p[1], p[2], p[3]);
		ev = classic_header(r, p);
		*used = ev == CAP_ERROR ? 0 : CLASSIC_HEADER;
	}
	r->started = len >= 4;
	return ev;
}

enum cap_event cap_burst(struct cap_reader *r, uint8_t *data, size_t len,
			 size_t *used, struct frame **f, int max, int *n)
{
	enum cap_event ev;
	size_t step = 0;
	int got;

	*used = 0;
	*n = 0;
	if (unlikely(r->err[0]))
		return CAP_ERROR;
	if (unlikely(!r->started)) {
		ev = start(r, data, len, &step);
		r->offset += *used = step;
		if (ev == CAP_ERROR || !r->started)
			return ev;
	}
	do {
		uint8_t *p = data + *used;
		size_t left = len - *used;

		got = r->classic ? take_records(r, p, left, &step, f + *n, max - *n)
		      : r->swap ? 0 : take_epbs(r, p, left, &step, f + *n, max - *n);
		if (got) {
			ev = CAP_PACKET;
		} else if (r->classic) {
			ev = no_record(r, p, left);
		} else {
			ev = next_block(r, p, left, &step, f[*n]);
			got = ev == CAP_PACKET;
		}
		*n += got;
		*used += step;
		r->offset += step;
	} while ((ev == CAP_PACKET && *n < max) || (ev == CAP_MORE && step));
	return ev;
}

enum cap_event cap_next(struct cap_reader *r, uint8_t *data, size_t len,
			size_t *used, struct frame *f)
{
	int n;

	return cap_burst(r, data, len, used, &f, 1, &n);
}

size_t cap_need(const struct cap_reader *r, const uint8_t *data, size_t len)
{
	if (!r->started)
		return CLASSIC_HEADER;
	if (r->classic)
		return len < CAP_RECORD ? CAP_RECORD : CAP_RECORD + (size_t)rd32(r, data + 8);
	return len < 16 ? 16 : rd32(r, data + 4);
}

bool cap_cut(const struct cap_reader *r, size_t left)
{
	return left || !r->started || r->ours;
}
