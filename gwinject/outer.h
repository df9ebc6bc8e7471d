/* SPDX-License-Identifier: MIT */
/*
 * outer.h - The way back: a received encapsulation turned round
 *
 * The load balancer wants its own header back: addresses (and MACs) swapped, UDP
 * ports and every byte of Geneve as they came.  Lengths and checksums follow what
 * the frame holds now.  TTL is 64, DF is set, the IPv4 identification is 0, which
 * RFC 6864 allows for packets that are never fragmented.
 *
 * The UDP checksum is 0 over IPv4.  Over IPv6 it is 0 only if it came so: RFC 6935
 * lets two ends of a tunnel agree on that, and who sends it takes it; to everybody
 * else a zero is a broken packet, so it is computed.
 *
 * All of it happens in the bytes of the frame's encapsulation, so that sending is
 * gathering two pieces of memory.  A cooked link-layer header (Linux SLL) cannot be
 * turned round: it is left off, and what remains is raw IP.
 */
#ifndef GW_OUTER_H
#define GW_OUTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "frame.h"

/**
 * struct outer - Layers of an encapsulation without its inner packet
 * @l3:		Outer IP header, from the encapsulation's start
 * @udp:	Outer UDP header
 * @len:	All of it
 * @version:	4 or 6
 */
struct outer {
	uint16_t l3;
	uint16_t udp;
	uint16_t len;
	uint8_t version;
};

/**
 * outer_parse() - Find the layers of @f's encapsulation
 * @o:		Written on REASON_NONE only
 *
 * The bytes may be a stranger's (a file, a message): all is checked.
 */
enum reason outer_parse(struct outer *o, struct frame *f)
	__attribute__((nonnull, warn_unused_result));

/**
 * outer_fit() - Lengths, checksums and, for IPv4, what else of its header is ours to
 * say, of an encapsulation for an inner packet
 * @encap:	Bytes of the encapsulation, changed
 * @inner:	The inner packet in @n pieces, all but the last of even length
 * @len:	Its length, at least that of the pieces (a capture may have cut it)
 *
 * Return: false, with nothing changed, if it is longer than IP can carry
 */
bool outer_fit(const struct outer *o, uint8_t *encap, const struct iovec *inner, int n,
	       size_t len) __attribute__((nonnull, warn_unused_result));

/**
 * outer_return() - Turn a frame's encapsulation round, once
 * @mtu:	Longest inner packet to send, unless it is as it was received
 *
 * Return: REASON_NONE, or why this cannot be sent
 */
enum reason outer_return(struct frame *f, uint32_t mtu)
	__attribute__((nonnull, warn_unused_result));

/**
 * outer_join() - Make one packet of encapsulation and inner packet, in place
 *
 * Free where the one lies directly before the other, else the packet moves into
 * the frame's own buffer.
 *
 * Return: false, with nothing changed, if that is too small
 */
bool outer_join(struct frame *f) __attribute__((nonnull, warn_unused_result));

#endif /* GW_OUTER_H */
