/* SPDX-License-Identifier: MIT */
/*
 * hostport.h - "10.0.0.1:8080", "[::1]:8080", ":8080" on a command line
 */
#ifndef GW_HOSTPORT_H
#define GW_HOSTPORT_H

struct addrinfo;

/**
 * hostport_parse() - Address for a listener; usage errors exit
 * @opt:	Option's name, for messages
 * @spec:	Numeric: no name is looked up.  Without an address: any of IPv4
 *
 * Return: for freeaddrinfo(3)
 */
struct addrinfo *hostport_parse(const char *opt, const char *spec)
	__attribute__((nonnull, returns_nonnull, warn_unused_result));

#endif /* GW_HOSTPORT_H */
