/* SPDX-License-Identifier: MIT */
/*
 * ifacetx.h - Sending on an interface, bursts at a time
 *
 * Theory of operation
 *
 * Frames come with their encapsulation turned round (outer.h).  Those with an
 * Ethernet header leave through a packet socket, with no queueing discipline between
 * it and the driver; all others, and all on an interface without Ethernet (TUN),
 * through a raw IP socket, where the kernel finds the link layer.  A burst is one
 * sendmmsg(2) that gathers encapsulation and packet from where they lie.
 *
 * It never blocks: what the kernel has no room for is tried again for a few
 * milliseconds, then dropped.  While the interface is down or gone its packets are
 * dropped, a look at it once a burst; an interface of the same name that comes back
 * is taken, also a new one.
 */
#ifndef GW_IFACETX_H
#define GW_IFACETX_H

#include "stage.h"

/**
 * ifacetx_open() - Open the sockets; errors exit
 * @name:	Interface; kept, not copied
 * @st:		Told when the interface goes and comes; kept
 *
 * Needs CAP_NET_RAW, sending later does not.
 */
struct tx *ifacetx_open(const char *name, struct stage *st) __attribute__((nonnull));

/**
 * ifacetx_tick() - Once a second: is the interface there?
 */
void ifacetx_tick(struct tx *tx) __attribute__((nonnull));

#endif /* GW_IFACETX_H */
