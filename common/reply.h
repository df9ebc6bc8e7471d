/* SPDX-License-Identifier: MIT */
/*
 * reply.h - Answers to packets that are not passed on, built in the packet's own frame
 *
 * The answer travels back through the encapsulation the packet came with.  Nothing is
 * ever answered that must not be (RFC 1122 3.2.2, RFC 4443 2.4 (e), RFC 9293 3.10.7):
 * ICMP errors, TCP resets, later fragments, multicast, broadcast, unspecified and
 * loopback sources.
 */
#ifndef GW_REPLY_H
#define GW_REPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "frame.h"

/**
 * reply_reject() - Turn a packet into its refusal
 * @f:		Replaced on success by a TCP RST, or by ICMP 3/13, ICMPv6 1/1
 * @both:	TCP: mark FRAME_RST_BOTH, so that the other end is told as well
 *
 * Return: false, with the frame unchanged, if this packet gets no answer
 */
bool reply_reject(struct frame *f, bool both) __attribute__((nonnull, warn_unused_result));

/**
 * reply_too_big() - Turn a packet into "fragmentation needed" or "packet too big"
 * @mtu:	For the sender; an IPv6 MTU below 1280 is said as it is (RFC 8200 5)
 *
 * Return: false, with the frame unchanged, if this packet gets no answer
 */
bool reply_too_big(struct frame *f, uint32_t mtu) __attribute__((nonnull, warn_unused_result));

/**
 * struct reply_error - An ICMP error to be sent in place of somebody else's
 * @type, @code:	As in the packet's own IP version
 * @from:	Whose address it comes from, 4 or 16 bytes; NULL: the packet's destination
 */
struct reply_error {
	uint8_t type;
	uint8_t code;
	const uint8_t *from;
};

/**
 * reply_error() - Turn a packet into an ICMP error about it
 *
 * Return: false, with the frame unchanged, if this packet gets no answer
 */
bool reply_error(struct frame *f, const struct reply_error *e)
	__attribute__((nonnull, warn_unused_result));

#endif /* GW_REPLY_H */
