/* SPDX-License-Identifier: MIT */
/*
 * edit.h - One edit of one packet; lengths and checksums stay true
 *
 * Theory of operation
 *
 * What becomes of the bytes from the first match to the end of the last is put together in
 * a buffer and copied back; what follows moves if their length changes, within the
 * frame where it has room.  Checksums are updated by what changed (RFC 1624), so a
 * packet that came with a wrong one leaves with a wrong one, and its receiver still
 * notices; bytes that move by an even number change no sum.  UDP over IPv4 that came without stays without.
 *
 * Left alone, and said so: fragments (the other fragments would not fit any more),
 * packets the capture cut, datagrams with bytes behind the end that the UDP length
 * names, matches in TCP whose replacement has another length (sequence numbers
 * count bytes).
 */
#ifndef GW_EDIT_H
#define GW_EDIT_H

#include "frame.h"
#include "rules.h"

enum edit_result {
	EDIT_DONE	= 1 << 0,	/* the packet was changed */
	EDIT_LEFT	= 1 << 1,	/* something was left alone that matched */
	EDIT_ERROR	= 1 << 2,	/* could not be evaluated, or gets too long; unchanged */
};

#define EDIT_KEEP_MAX	(UINT16_MAX + 128u)	/* an IP packet and its link-layer header */

/**
 * struct editor - What edits share
 * @m:		Finds patterns
 * @mtu:	A packet that grows beyond is kept as it was before
 * @out:	Edited bytes of the payload
 * @kept, @kept_len:	The packet before it grew past @mtu; @kept_len 0: it did not.
 *		Reset by the caller for each packet
 */
struct editor {
	struct matcher *m;
	uint32_t mtu;
	uint32_t kept_len;
	uint8_t out[UINT16_MAX];
	uint8_t kept[EDIT_KEEP_MAX];
};

/**
 * edit_apply() - Carry out a rule that matched
 * @f:		Parsed; its offsets stay right
 * @r:		RULE_REPLACE, RULE_SET_TTL or RULE_SET_DSCP
 *
 * Return: flags of enum edit_result; 0: there was nothing to change
 */
unsigned edit_apply(struct editor *e, struct frame *f, const struct rule *r) __attribute__((nonnull));

#endif /* GW_EDIT_H */
