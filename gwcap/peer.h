/* SPDX-License-Identifier: MIT */
/*
 * peer.h - Whom Geneve packets are taken from, as an expression for the kernel's filter
 */
#ifndef GW_PEER_H
#define GW_PEER_H

#include <stdbool.h>
#include <stddef.h>

struct nl_sock;

#define PEERS_MAX	64	/* more would not fit the kernel's filter program */

/**
 * struct peers - Senders by prefix
 * @n:		How many; 0: anybody
 * @prefix:	"10.1.0.0/16", host bits zero
 */
struct peers {
	unsigned n;
	char prefix[PEERS_MAX][64];
};

/**
 * peers_add() - Add an address or a prefix
 *
 * Return: 0; -EINVAL if @arg is neither; -ENOSPC
 */
int peers_add(struct peers *p, const char *arg) __attribute__((nonnull, warn_unused_result));

/**
 * peers_add_own() - Add the subnets that the interface's own IPv4 addresses lie in
 * @sk:		Connected to NETLINK_ROUTE
 *
 * Return: how many there are, or a negative error: -EIO, -ENOSPC
 */
int peers_add_own(struct peers *p, struct nl_sock *sk, int ifindex)
	__attribute__((nonnull, warn_unused_result));

/**
 * peers_filter() - What the kernel hands to us, as pcap-filter(7) expression
 * @vlan:	The link layer may have VLAN tags: one or two still in the packet
 *
 * UDP to port 6081 from @p.  Where peers are named, also the later fragments of
 * their UDP packets, which carry no port: gwdecap counts them.
 *
 * Return: the expression, freed by the caller; NULL without memory
 */
char *peers_filter(const struct peers *p, bool vlan) __attribute__((nonnull));

#endif /* GW_PEER_H */
