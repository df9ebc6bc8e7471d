/* SPDX-License-Identifier: MIT */
/*
 * capwrite.c - Writing pcapng and classic pcap into the caller's buffer
 */
#include <stdio.h>

#include "capfile.h"
#include "capformat.h"

enum cap_format cap_format_of(const char *path)
{
	size_t n = strlen(path);

	return n >= 5 && !strcmp(path + n - 5, ".pcap") ? CAP_PCAP : CAP_PCAPNG;
}

static uint8_t *w16(uint8_t *p, uint16_t v)
{
	memcpy(p, &v, sizeof(v));
	return p + sizeof(v);
}

static uint8_t *w32(uint8_t *p, uint32_t v)
{
	memcpy(p, &v, sizeof(v));
	return p + sizeof(v);
}

static uint8_t *w64(uint8_t *p, uint64_t v)
{
	memcpy(p, &v, sizeof(v));
	return p + sizeof(v);
}

/* Bytes and zeros up to the next multiple of four */
static uint8_t *wpad(uint8_t *p, const void *data, size_t len)
{
	memset(p + (len & ~(size_t)3), 0, 4);
	memcpy(p, data, len);
	return p + PAD4(len);
}

static uint8_t *woption(uint8_t *p, uint16_t code, const void *data, size_t len)
{
	p = w16(p, code);
	p = w16(p, (uint16_t)len);
	return wpad(p, data, len);
}

/* Both lengths of the block that starts at @start */
static size_t wclose(uint8_t *start, uint8_t *p)
{
	uint32_t total = (uint32_t)(p - start) + 4;

	w32(start + 4, total);
	w32(p, total);
	return total;
}

/* The same, after names: zeros up to a multiple of four */
static size_t wclose_names(uint8_t *start, uint8_t *p)
{
	while ((p - start) % 4)
		*p++ = 0;
	return wclose(start, p);
}

static uint8_t *wname(uint8_t *p, const char *name)
{
	size_t len = strnlen(name, CAP_NAME_MAX - 1);

	*p++ = (uint8_t)len;
	memcpy(p, name, len);
	return p + len;
}

static size_t write_hello(uint8_t *start, const struct cap_hello *h)
{
	uint8_t *p = w32(start, BLOCK_HELLO) + 4;

	p = w16(p, HELLO_VERSION);
	p = w16(p, (uint16_t)((h->live ? HELLO_LIVE : 0) | (h->ring ? HELLO_RING : 0)));
	p = w32(p, 0);
	p = w64(p, h->nonce);
	p = w64(p, h->message);
	p = w64(p, h->packets);
	p = w64(p, h->old_nonce);
	p = w64(p, h->old_packets);
	p = wname(p, h->chain);
	p = wname(p, h->prog);
	p = wname(p, h->as);
	return wclose_names(start, p);
}

size_t cap_write_header(struct cap_writer *w, uint8_t *start, const struct cap_hello *hello)
{
	char app[CAP_NAME_MAX + sizeof(" " GW_VERSION)];
	uint8_t *p = start;
	size_t n;

	if (w->format == CAP_PCAP)
		return 0;
	p = w32(p, BLOCK_SHB) + 4;
	p = w32(p, BYTE_ORDER_MAGIC);
	p = w16(p, 1);
	p = w16(p, 0);
	p = w64(p, UINT64_MAX);		/* section length not given */
	/* Foreign readers of a bare file need not know whose part the program is */
	snprintf(app, sizeof(app), "%.*s %s", (int)CAP_NAME_MAX, w->bare ? w->name : "gwtools",
		 GW_VERSION);
	p = woption(p, SHB_USERAPPL, app, MIN(strlen(app), 100u));
	p = w32(p, OPT_END);
	n = wclose(start, p);
	if (hello)
		n += write_hello(start + n, hello);
	return n;
}

static size_t classic_header(uint8_t *start, uint32_t linktype)
{
	uint8_t *p = w32(start, CLASSIC_NS);

	p = w16(p, 2);
	p = w16(p, 4);
	p = w64(p, 0);
	p = w32(p, FRAME_DATA_MAX);
	w32(p, linktype);
	return CLASSIC_HEADER;
}

size_t cap_write_iface(struct cap_writer *w, uint8_t *start, uint32_t linktype)
{
	static const uint8_t nanoseconds = 9;
	uint8_t *p = start;

	if (w->iface_written)
		return 0;
	w->iface_written = true;
	w->linktype = linktype;
	if (w->format == CAP_PCAP)
		return classic_header(start, linktype);
	p = w32(p, BLOCK_IDB) + 4;
	p = w16(p, (uint16_t)linktype);
	p = w16(p, 0);
	p = w32(p, FRAME_DATA_MAX);
	p = woption(p, IF_NAME, w->name, strnlen(w->name, 2 * CAP_NAME_MAX));
	p = woption(p, IF_TSRESOL, &nanoseconds, 1);
	p = w32(p, OPT_END);
	return wclose(start, p);
}

static uint8_t *write_metadata(uint8_t *p, struct frame *f)
{
	bool full = f->encap_len || f->endpoint || f->attachment || f->cookie || f->marks;

	p = w16(p, META_OPTION);
	p = w16(p, (uint16_t)(full ? META_LONG + f->encap_len : META_SHORT));
	p = w16(p, META_VERSION);
	p = w16(p, f->encap_len);
	*p++ = f->dialect;
	*p++ = 0;
	p = w16(p, f->encap_linktype);
	p = w64(p, f->seq);
	if (!full)
		return p;
	p = w64(p, f->endpoint);
	p = w64(p, f->attachment);
	p = w32(p, f->cookie);
	p = w16(p, f->marks);
	p = w16(p, f->frag_mtu);
	p = w32(p, f->both_seq);
	p = w32(p, f->both_ack);
	return f->encap_len ? wpad(p, frame_encap(f), f->encap_len) : p;
}

static size_t classic_packet(uint8_t *start, struct frame *f)
{
	uint8_t *p = w32(start, (uint32_t)(f->ts_ns / 1000000000u));

	p = w32(p, (uint32_t)(f->ts_ns % 1000000000u));
	p = w32(p, f->len);
	p = w32(p, f->orig_len);
	memcpy(p, frame_data(f), f->len);
	return CAP_RECORD + f->len;
}

bool cap_is_record(const struct cap_writer *w, const struct frame *f, size_t before)
{
	const uint8_t *p = frame_data(f) - CAP_RECORD;

	return w->format == CAP_PCAP && before >= CAP_RECORD &&
	       le32(p) * 1000000000ull + le32(p + 4) == f->ts_ns && le32(p + 4) < 1000000000u &&
	       le32(p + 8) == f->len && le32(p + 12) == f->orig_len;
}

size_t cap_write_packet(struct cap_writer *w, uint8_t *start, struct frame *f)
{
	uint8_t *p = start;

	if (w->format == CAP_PCAP)
		return classic_packet(start, f);
	p = w32(p, BLOCK_EPB) + 4;
	p = w32(p, 0);
	p = w32(p, (uint32_t)(f->ts_ns >> 32));
	p = w32(p, (uint32_t)f->ts_ns);
	p = w32(p, f->len);
	p = w32(p, f->orig_len);
	p = wpad(p, frame_data(f), f->len);
	if (f->opt_len) {
		memcpy(p, frame_at(f, f->opt_off), f->opt_len);
		p += f->opt_len;
	}
	if (!w->bare)
		p = write_metadata(p, f);
	if (f->opt_len || !w->bare)
		p = w32(p, OPT_END);
	return wclose(start, p);
}

size_t cap_write_end(struct cap_writer *w, uint8_t *start, uint64_t total, bool abort)
{
	uint8_t *p = start;

	if (w->format == CAP_PCAP)
		return 0;
	p = w32(p, abort ? BLOCK_ABORT : BLOCK_END) + 4;
	p = w64(p, total);
	return wclose(start, p);
}

size_t cap_write_offer(uint8_t *start, const struct cap_offer *o)
{
	uint8_t *p = w32(start, BLOCK_OFFER) + 4;

	p = w16(p, OFFER_VERSION);
	p = w16(p, 0);
	p = w32(p, o->seat);
	p = w32(p, o->magic);
	p = w32(p, o->version);
	p = w32(p, o->layout);
	p = w32(p, o->frame);
	p = w64(p, o->dev);
	p = w64(p, o->ino);
	memcpy(p, o->nonce, sizeof(o->nonce));
	p = wname(p + sizeof(o->nonce), o->path);
	return wclose_names(start, p);
}

size_t cap_write_switch(uint8_t *start, const struct cap_switch *s)
{
	uint8_t *p = w32(start, BLOCK_SWITCH) + 4;

	memcpy(p, s->nonce, sizeof(s->nonce));
	p = w32(p + sizeof(s->nonce), s->seat);
	p = w32(p, s->gen);
	return wclose(start, p);
}

size_t cap_write_padding(uint8_t *start, uint32_t len)
{
	uint8_t *p = w32(start, BLOCK_PADDING) + 4;

	memset(p, 0, len);
	return wclose(start, p + len);
}
