/* SPDX-License-Identifier: MIT */
/*
 * net.h - Network namespaces and what is in them, by libnl
 *
 * A namespace is a file descriptor, close-on-exec, and has no name anywhere: it
 * ends when the last descriptor and process in it do.  So nothing can be left
 * behind, and runs cannot collide: device names and addresses are only ever seen
 * inside.  Needs CAP_SYS_ADMIN and CAP_NET_ADMIN over the namespaces, which
 * everything inside cell_run() has.
 *
 * All calls return 0 or a descriptor, or -errno; the caller says what failed.
 * Every call leaves the calling thread in the namespace it was in.
 */
#ifndef GW_NET_H
#define GW_NET_H

#include <stdbool.h>
#include <stdint.h>

/**
 * net_create() - Make a network namespace with its loopback device up
 *
 * Return: descriptor of the namespace; the caller closes it
 */
int net_create(void);

/**
 * net_self() - Descriptor of the calling thread's own network namespace
 */
int net_self(void);

/**
 * net_enter() - Move the calling thread into a namespace
 *
 * Sockets opened from then on belong to it; sockets keep their namespace.
 */
int net_enter(int ns);

/**
 * struct net_end - One end of a veth pair
 * @ns:		Namespace it is made in
 * @name:	Device name, unique in @ns
 * @mac:	Hardware address
 */
struct net_end {
	int ns;
	const char *name;
	uint8_t mac[6];
};

/**
 * net_veth() - A cable between two namespaces, both ends up
 * @mtu:	Of both ends
 *
 * Checksum and segmentation offloads are off at both ends: what a packet socket
 * sees on either is complete, as on a wire.  No address, also no IPv6 link-local
 * one, until net_addr().
 */
int net_veth(const struct net_end *a, const struct net_end *b, unsigned mtu)
	__attribute__((nonnull));

/**
 * net_addr() - Add an address: "10.1.0.2/24" or "fd00:1::2/64", usable at once
 */
int net_addr(int ns, const char *dev, const char *prefix) __attribute__((nonnull));

/**
 * net_route() - Add a route
 * @prefix:	"10.0.0.0/8", "fd00::/8", "0.0.0.0/0" or "::/0"
 * @via:	Gateway, or NULL: directly over @dev
 */
int net_route(int ns, const char *dev, const char *prefix, const char *via)
	__attribute__((nonnull(2, 3)));

/**
 * net_up() - Set a device up, without an IPv6 link-local address
 */
int net_up(int ns, const char *dev) __attribute__((nonnull));

/**
 * net_captures() - Is there a packet socket that receives?
 */
bool net_captures(int ns);

/**
 * net_listens() - Does anything listen on this TCP or UDP port?
 */
bool net_listens(int ns, uint16_t port);

/**
 * net_raw_udp() - Is there a raw socket for UDP?
 */
bool net_raw_udp(int ns);

/**
 * net_noarp() - Send on a device without asking for hardware addresses
 *
 * For a cable whose other end is read by a program: it takes every frame.
 */
int net_noarp(int ns, const char *dev) __attribute__((nonnull));

#endif /* GW_NET_H */
