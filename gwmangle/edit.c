/* SPDX-License-Identifier: MIT */
#include <netinet/in.h>

#include "csum.h"
#include "edit.h"
#include "wire.h"

/**
 * struct change - A payload and what becomes of it; offsets from its start
 * @data, @len:	As it is
 * @first:	Where the first edit starts
 * @last:	End of the last one: what is between is in the editor's buffer, edited
 * @n:		Bytes in the editor's buffer
 */
struct change {
	const uint8_t *data;
	size_t len;
	size_t first;
	size_t last;
	size_t n;
};

static bool put(struct editor *e, struct change *c, const void *p, size_t len)
{
	if (len > sizeof(e->out) - c->n)
		return false;
	memcpy(e->out + c->n, p, len);
	c->n += len;
	return true;
}

/* The bytes a part of the replacement stands for */
static struct view part_bytes(const struct editor *e, const struct change *c,
			      const struct rule *r, unsigned i)
{
	const struct rule_part *part = &r->part[i];
	const PCRE2_SIZE *group;

	if (part->group < 0)
		return (struct view){ (const uint8_t *)r->with + part->off, part->len };
	group = pcre2_get_ovector_pointer(e->m->md) + 2 * part->group;
	if (group[0] == PCRE2_UNSET || group[1] < group[0] || group[1] > c->len)
		return (struct view){ c->data, 0 };
	return (struct view){ c->data + group[0], group[1] - group[0] };
}

static size_t replacement_len(const struct editor *e, const struct change *c, const struct rule *r)
{
	size_t len = 0;

	for (unsigned i = 0; i < r->nparts; i++)
		len += part_bytes(e, c, r, i).left;
	return len;
}

static bool replace_one(struct editor *e, struct change *c, const struct rule *r,
			size_t start, size_t end, bool first)
{
	if (first)
		c->first = c->last = start;
	if (!put(e, c, c->data + c->last, start - c->last))
		return false;
	for (unsigned i = 0; i < r->nparts; i++) {
		struct view v = part_bytes(e, c, r, i);

		if (!put(e, c, v.p, v.left))
			return false;
	}
	c->last = end;
	return true;
}

/* All matches, left to right; what becomes of them lies in the editor's buffer. */
static unsigned replace_all(struct editor *e, struct change *c, const struct rule *r, bool equal)
{
	size_t from = 0, start, end;
	unsigned res = 0;

	while (from <= c->len) {
		int found = pattern_find(e->m, &r->what, c->data, c->len, from, &start, &end);

		if (found < 0)
			return EDIT_ERROR;
		if (!found)
			break;
		if (start < c->last || end < start || end > c->len)
			return EDIT_ERROR;	/* \K in a look-around */
		if (equal && replacement_len(e, c, r) != end - start) {
			res |= EDIT_LEFT;
		} else {
			if (!replace_one(e, c, r, start, end, !(res & EDIT_DONE)))
				return EDIT_ERROR;
			res |= EDIT_DONE;
		}
		from = end > from ? end : from;
		from += end == start;		/* an empty match: go on behind it */
	}
	return res;
}

static bool editable(const struct packet *p)
{
	const unsigned no = PKT_FRAG_FIRST | PKT_FRAG_LATER | PKT_CUT | PKT_SURPLUS;

	return p->flags & PKT_L4 && !(p->flags & no);
}

static void write_ip_length(const struct packet *p, uint8_t *data, int32_t delta)
{
	uint8_t *ip = data + p->l3;
	uint8_t *field = ip + (p->version == 4 ? 2 : 4);
	uint16_t from, to, csum;

	memcpy(&from, field, sizeof(from));
	put16(field, (uint16_t)((int32_t)(p->end - p->l3 - (p->version == 4 ? 0 : 40)) + delta));
	if (p->version == 6)
		return;
	memcpy(&to, field, sizeof(to));
	memcpy(&csum, ip + 10, sizeof(csum));
	csum = csum_replace16(csum, from, to);
	memcpy(ip + 10, &csum, sizeof(csum));
}

/*
 * Transport checksum and UDP length after bytes and the end of the packet changed
 * @from, @to:	Sums of the bytes before and after
 * @len:	Transport length before
 */
static void write_l4(const struct packet *p, uint8_t *data, uint64_t from, uint64_t to,
		     uint32_t len)
{
	uint8_t *l4 = data + p->l4;
	uint8_t *field = l4 + csum_l4_field(p->proto);
	uint16_t was = __builtin_bswap16((uint16_t)len), is, csum;

	is = __builtin_bswap16((uint16_t)(p->end - p->l4));
	from = csum_half(from);
	to = csum_half(to);
	if (p->proto != IPPROTO_ICMP) {		/* length in the pseudo-header */
		from += was;
		to += is;
	}
	if (p->proto == IPPROTO_UDP) {		/* and once more in the header */
		memcpy(&was, l4 + 4, sizeof(was));
		memcpy(l4 + 4, &is, sizeof(is));
		from += was;
		to += is;
	}
	memcpy(&csum, field, sizeof(csum));
	if (p->proto == IPPROTO_UDP && csum == 0) {
		csum_l4_write(p, data);		/* IPv4: stays without */
		return;
	}
	csum = csum_update(csum, from, to);
	if (p->proto == IPPROTO_UDP && csum == 0)
		csum = 0xffff;
	memcpy(field, &csum, sizeof(csum));
}

/* Room for the packet's new length; keeps the packet as it was if it outgrows the MTU */
static bool make_room(struct editor *e, struct frame *f, int32_t delta)
{
	uint32_t end = f->pkt.end, fixed = f->pkt.version == 6 ? 40 : 0;

	if (delta <= 0)
		return true;
	if (end - f->pkt.l3 - fixed + (uint32_t)delta > UINT16_MAX)
		return false;
	if (!e->kept_len && end - f->pkt.l3 + (uint32_t)delta > e->mtu) {
		if (end > sizeof(e->kept))
			return false;
		memcpy(e->kept, frame_data(f), end);
		e->kept_len = end;
	}
	return frame_grow(f, (size_t)delta);
}

/*
 * Bytes that move, from @at on, count for the sums only if they move by an odd number: each
 * changes sides within its 16 bits then
 */
static void moved_sums(const uint8_t *at, size_t len, bool odd, uint64_t *from, uint64_t *to)
{
	uint16_t sum = (uint16_t)~csum_fold(csum_partial(at, len, 0));
	uint16_t turned = __builtin_bswap16(sum);

	*from = csum_partial(odd ? &turned : &sum, sizeof(sum), *from);
	*to = csum_partial(odd ? &sum : &turned, sizeof(sum), *to);
}

/* Put the edited bytes in place of those they were made from, move what follows */
static unsigned commit(struct editor *e, struct frame *f, const struct change *c)
{
	size_t head = c->first & 1, old = c->last - c->first, left = c->len - c->last;
	int32_t delta = (int32_t)c->n - (int32_t)old;
	uint32_t l4_len = f->pkt.end - f->pkt.l4;
	uint64_t from, to;
	uint8_t *at;

	if (!make_room(e, f, delta))
		return EDIT_ERROR;
	frame_touch(f);
	at = frame_data(f) + f->pkt.payload + c->first;
	from = csum_partial(at - head, head + old, 0);
	if (delta)
		memmove(at + c->n, at + old, left);
	memcpy(at, e->out, c->n);
	to = csum_partial(at - head, head + c->n, 0);
	if (delta & 1)
		moved_sums(at + c->n, left, c->last & 1, &from, &to);
	if (delta) {
		write_ip_length(&f->pkt, frame_data(f), delta);
		f->pkt.end = (uint32_t)((int32_t)f->pkt.end + delta);
		f->len = f->orig_len = f->pkt.end;
	}
	write_l4(&f->pkt, frame_data(f), from, to, l4_len);
	return EDIT_DONE;
}

static unsigned edit_replace(struct editor *e, struct frame *f, const struct rule *r)
{
	const struct packet *p = &f->pkt;
	struct change c = { .data = frame_data(f) + p->payload, .len = p->end - p->payload };
	size_t start, end;
	unsigned res;
	int found;

	if (!(p->flags & (PKT_L4 | PKT_FRAG_LATER)))
		return 0;
	if (!editable(p)) {
		found = pattern_find(e->m, &r->what, c.data, c.len, 0, &start, &end);
		return found < 0 ? EDIT_ERROR : found ? EDIT_LEFT : 0;
	}
	res = replace_all(e, &c, r, p->proto == IPPROTO_TCP);
	if (!(res & EDIT_ERROR) && res & EDIT_DONE)
		res = (res & EDIT_LEFT) | commit(e, f, &c);
	return res;
}

/* One 16-bit word of the IPv4 header */
static void set_ip4_word(uint8_t *ip, unsigned at, uint16_t to)
{
	uint16_t from, csum;

	memcpy(&from, ip + at, sizeof(from));
	memcpy(&csum, ip + 10, sizeof(csum));
	put16(ip + at, to);
	memcpy(&to, ip + at, sizeof(to));
	csum = csum_replace16(csum, from, to);
	memcpy(ip + 10, &csum, sizeof(csum));
}

static unsigned edit_ttl(struct frame *f, uint8_t ttl)
{
	uint8_t *ip = frame_data(f) + f->pkt.l3;
	uint8_t *field = ip + (f->pkt.version == 4 ? 8 : 7);

	if (*field == ttl)
		return 0;
	frame_touch(f);
	if (f->pkt.version == 4)
		set_ip4_word(ip, 8, (uint16_t)(ttl << 8 | ip[9]));
	else
		*field = ttl;
	return EDIT_DONE;
}

/* The two lower bits of the byte are the network's (ECN) and stay */
static unsigned edit_dscp(struct frame *f, uint8_t dscp)
{
	uint8_t *ip = frame_data(f) + f->pkt.l3;
	uint16_t was = be16(ip), is;

	if (f->pkt.version == 4)
		is = (uint16_t)((was & 0xff03) | dscp << 2);
	else
		is = (uint16_t)((was & 0xf03f) | dscp << 6);
	if (is == was)
		return 0;
	frame_touch(f);
	if (f->pkt.version == 4)
		set_ip4_word(ip, 0, is);
	else
		put16(ip, is);
	return EDIT_DONE;
}

unsigned edit_apply(struct editor *e, struct frame *f, const struct rule *r)
{
	unsigned res;

	if (r->action == RULE_REPLACE)
		res = edit_replace(e, f, r);
	else if (f->pkt.flags & PKT_CUT)
		return EDIT_LEFT;
	else if (r->action == RULE_SET_TTL)
		res = edit_ttl(f, r->set);
	else
		res = edit_dscp(f, r->set);
	if (res & EDIT_DONE)
		f->marks |= FRAME_CHANGED;
	return res;
}
