/* SPDX-License-Identifier: MIT */
/*
 * listen.h - Listening sockets by name: ":8080", "10.0.0.1:8080", "[::1]:8080" or
 * the path of a Unix socket
 */
#ifndef GW_LISTEN_H
#define GW_LISTEN_H

/**
 * listen_open() - Open one; errors exit
 * @opt:	Option's name, for messages
 * @spec:	With a slash: a path.  ":PORT" listens on IPv4 and IPv6
 *
 * A Unix socket that nobody listens on any more is replaced.
 *
 * Return: non-blocking descriptor
 */
int listen_open(const char *opt, const char *spec);

#endif /* GW_LISTEN_H */
