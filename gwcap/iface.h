/* SPDX-License-Identifier: MIT */
/*
 * iface.h - A look at a network interface, and what about it stands in the way
 */
#ifndef GW_IFACE_H
#define GW_IFACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct nl_sock;

/**
 * struct iface - An interface as it is now
 * @ifindex:	Changes when it is deleted and made again
 * @arptype:	ARPHRD_ value
 * @mtu:	Bytes
 * @up:		Switched on
 * @lost:	Packets it dropped on receive: no buffer, overrun, missed
 */
struct iface {
	int ifindex;
	unsigned arptype;
	unsigned mtu;
	bool up;
	uint64_t lost;
};

/**
 * iface_look() - Ask the kernel
 * @sk:		Connected to NETLINK_ROUTE
 * @out:	Written on success only
 *
 * Needs no privilege.
 *
 * Return: 0; -ENODEV: there is none of that name; -EIO
 */
int iface_look(struct nl_sock *sk, const char *name, struct iface *out)
	__attribute__((nonnull, warn_unused_result));

/**
 * iface_watch() - A socket that hears of every change of an interface, counters left out
 *
 * Return: to be freed; NULL if there is none
 */
struct nl_sock *iface_watch(void);

/**
 * iface_stirred() - Was there a change since the last call, or may there have been?
 * @watch:	Of iface_watch()
 *
 * Does not say of which interface, nor what: ask iface_look()
 */
bool iface_stirred(struct nl_sock *watch) __attribute__((nonnull));

#define IFACE_MTU_MIN	8568u	/* 8500 bytes of inner packet, 68 of encapsulation */

/**
 * iface_check_mtu() - Warn, with the command that mends it, of too small an MTU
 */
void iface_check_mtu(const char *name, unsigned mtu) __attribute__((nonnull));

/**
 * iface_check_port() - Warn if a program, or a tunnel of the kernel's, has UDP @port
 *
 * Return: somebody has it
 */
bool iface_check_port(uint16_t port);

/**
 * iface_check_offloads() - Warn of receive offloads that merge UDP packets
 * @bound:	UDP 6081 has an owner: then plain GRO may merge as well
 * @fix:	Switch them off instead, and say so (needs CAP_NET_ADMIN)
 */
void iface_check_offloads(const char *name, bool bound, bool fix) __attribute__((nonnull));

#endif /* GW_IFACE_H */
