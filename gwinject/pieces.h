/* SPDX-License-Identifier: MIT */
/*
 * pieces.h - What is sent of a frame that is more than one packet: IPv4 fragments
 * (FRAME_FRAGMENT), a TCP reset and its mirror (FRAME_RST_BOTH)
 */
#ifndef GW_PIECES_H
#define GW_PIECES_H

#include "outer.h"

#define PIECES_MARKS	(FRAME_FRAGMENT | FRAME_RST_BOTH)

/* An encapsulation and an IPv4 header with options, or an IP and a TCP header */
#define PIECE_ROOM	(ENCAP_MAX + 128u)

/**
 * struct pieces - Where we are in a frame; nothing in it is to be touched
 */
struct pieces {
	struct frame *f;
	struct outer outer;
	uint32_t next;		/* first byte of the next fragment's data */
	bool whole;		/* fits: goes unfragmented */
	bool mirror;		/* still to come */
};

/**
 * pieces_start() - Before the first piece of a frame that outer_return() turned
 *
 * Return: REASON_NONE, or why the marks cannot be carried out
 */
enum reason pieces_start(struct pieces *it, struct frame *f)
	__attribute__((nonnull, warn_unused_result));

/**
 * pieces_next() - The next packet, encapsulation in front
 * @scratch:	PIECE_ROOM bytes that must live as long as @iov
 * @iov:	Written: the packet in two pieces, the second one in @f
 *
 * Return: false if there is none
 */
bool pieces_next(struct pieces *it, uint8_t *scratch, struct iovec iov[2]) __attribute__((nonnull));

#endif /* GW_PIECES_H */
