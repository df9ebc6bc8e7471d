/* SPDX-License-Identifier: MIT */
/*
 * ifacerx.h - An interface as the input of a chain
 *
 * Theory of operation
 *
 * The kernel fills a ring (pktring.h).  Each packet is copied once, into a frame, and
 * its slot goes back at once.  When the chain stalls the ring fills, and the kernel
 * drops and counts.
 *
 * The packet socket outlives its interface: down and up again needs nothing; a
 * deleted interface that appears again is bound once more, which takes no
 * privilege.  Only a worker's (fanout.h) cannot be: it has to be started again.
 */
#ifndef GW_IFACERX_H
#define GW_IFACERX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ingress.h"
#include "peer.h"
#include "stream.h"

/**
 * struct ifacerx_conf - What to capture
 * @name:	Interface; kept, not copied
 * @buffer:	Bytes of the kernel's ring; 0: IFACERX_BUFFER
 * @peers:	Whom to take packets from
 * @peer_auto:	Take them from the interface's own subnets (too)
 * @drop_rule:	Keep the kernel's stack away from the packets
 * @fix_offloads: Switch off the offloads that merge packets
 * @workers:	Be one of so many that share the packets; 0: take them all
 */
struct ifacerx_conf {
	const char *name;
	size_t buffer;
	struct peers peers;
	bool peer_auto;
	bool drop_rule;
	bool fix_offloads;
	unsigned workers;
};

#define IFACERX_BUFFER	(16u << 20)	/* 1728 slots for jumbo frames */

/**
 * ifacerx_open() - Start to capture; errors exit, what is not right is warned of
 *
 * Needs CAP_NET_RAW, and CAP_NET_ADMIN for the drop rule and the offloads.
 */
struct rx *ifacerx_open(const struct ifacerx_conf *conf) __attribute__((nonnull, returns_nonnull));

/**
 * struct ifacerx_state - How the interface and the capture are
 * @kernel_drops:	Packets the kernel had no slot for, since the start
 * @if_drops:	Packets the interface dropped, since the start
 * @trouble:	One line while something is wrong, else ""
 */
struct ifacerx_state {
	uint64_t kernel_drops;
	uint64_t if_drops;
	char trouble[128];
};

/**
 * ifacerx_tick() - Look after the interface, once a second: bind again to one
 * that was deleted and came back, say what changed
 * @out:	Written
 */
void ifacerx_tick(struct rx *rx, struct ifacerx_state *out) __attribute__((nonnull));

#endif /* GW_IFACERX_H */
