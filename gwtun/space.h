/* SPDX-License-Identifier: MIT */
/*
 * space.h - The network namespace of an endpoint: a TUN, and what makes the kernel take its
 * packets
 *
 * Theory of operation
 *
 * The main table routes everything to the TUN.  What comes in by it:
 *
 *	SPACE_PROXY, SPACE_FOREIGN	is looked up in a table of its own, where every address
 *			is local; an nf_tables rule (TPROXY) gives each TCP packet to the socket
 *			that has its addresses and ports, else to the listener.  That is bound to
 *			loopback: bound to the wildcard address, it would have the 4-tuples of
 *			clients whose source port is its own.
 *	SPACE_ROUTER	is forwarded, by whatever rules and routes somebody adds: as it is, out by
 *			the TUN again.
 *
 * Two sockets of a connection, one toward the client, one toward the server that is bound to
 * the client's address, have 4-tuples that mirror each other, and never collide.
 *
 * Needs CAP_SYS_ADMIN and CAP_NET_ADMIN over the namespaces.  Each call leaves the calling
 * thread in the namespace it was in.  No name is left anywhere: a namespace ends with the last
 * descriptor and process that is in it, and the TUN with the namespace, not with its own
 * descriptor.  Where somebody else keeps the namespace the TUN stays, with nobody behind it.
 */
#ifndef GW_SPACE_H
#define GW_SPACE_H

#include <stdint.h>

#define SPACE_DEVICE	"gwtun0"

enum space_kind {
	SPACE_PROXY,		/* listeners of ours, for a proxy that takes them */
	SPACE_FOREIGN,		/* somebody else's transparent proxy listens */
	SPACE_ROUTER,
};

/**
 * struct space_conf - How namespaces are made
 * @port:	SPACE_FOREIGN: where that proxy listens, on 127.0.0.1 and ::1
 */
struct space_conf {
	enum space_kind kind;
	uint16_t port;
	uint32_t mtu;
};

/**
 * struct space - One namespace
 * @ns:		Descriptor of it
 * @tun:	Of the TUN: packets with a struct virtio_net_hdr in front; whoever reads it may
 *		have it, and set it to -1
 * @listener:	SPACE_PROXY: for IPv4 and IPv6; else -1
 */
struct space {
	int ns;
	int tun;
	int listener[2];
};

/**
 * space_open() - Make a namespace
 * @s:		Written on success
 * @what:	Written on failure: what could not be done
 *
 * Return: 0 or -errno
 */
int space_open(struct space *s, const struct space_conf *c, const char **what)
	__attribute__((nonnull));
void space_close(struct space *s) __attribute__((nonnull));

/**
 * space_reset() - Whoever had the listeners is gone: connections nobody accepted get a RST
 */
void space_reset(struct space *s) __attribute__((nonnull));

/**
 * space_sockets() - Make transparent TCP sockets
 * @family:	AF_INET, AF_INET6
 * @fds:	Room for @n; the caller's to close
 *
 * Return: how many, at least 1; -errno
 */
int space_sockets(const struct space *s, int family, int *fds, unsigned n)
	__attribute__((nonnull));

#endif /* GW_SPACE_H */
