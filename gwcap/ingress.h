/* SPDX-License-Identifier: MIT */
/*
 * ingress.h - Keep the kernel's own stack away from the Geneve packets
 *
 * Nothing is bound to UDP 6081, so the kernel would answer every packet with an
 * ICMP port unreachable, after all the work of receiving it.  A drop rule at
 * the interface's ingress hook stops that: packet taps, and so gwcap, see a
 * packet before that hook.
 *
 * The rule lives in an nf_tables table with the owner flag (Linux 5.12): it
 * belongs to the netlink socket that made it, nobody else can change it, and it
 * vanishes with that socket, however the process dies.
 */
#ifndef GW_INGRESS_H
#define GW_INGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct nl_sock;

/**
 * struct ingress - A drop rule in force
 * @owner:	Its owner: the rule lives as long as this socket
 * @watch:	Hears of changes to tables
 * @table:	Name of the table, unique in the network namespace
 * @lost:	The kernel took the rule away: its interface was deleted
 */
struct ingress {
	struct nl_sock *owner;
	struct nl_sock *watch;
	char table[32];
	bool lost;
};

/**
 * ingress_open() - Drop UDP packets to @port that arrive on @ifname
 * @in:		Written on success only
 *
 * Packets with VLAN tags too, where the card or the kernel took the tag off.
 * Needs CAP_NET_ADMIN, here only.
 *
 * Return: 0 or -errno
 */
int ingress_open(struct ingress *in, const char *ifname, uint16_t port)
	__attribute__((nonnull, warn_unused_result));

/**
 * ingress_follow() - Learn whether the rule vanished together with its interface
 *
 * To be called about once a second: the kernel's messages are not kept for ever.
 * Linux 6.16 and later put the rule back when an interface of that name appears;
 * older ones delete it for good, and @in->lost is set.
 */
void ingress_follow(struct ingress *in) __attribute__((nonnull));

/**
 * ingress_close() - Take the rule away
 */
void ingress_close(struct ingress *in) __attribute__((nonnull));

#endif /* GW_INGRESS_H */
