/* SPDX-License-Identifier: MIT */
/*
 * fanout.h - Several capturing processes share what one interface receives
 *
 * Theory of operation
 *
 * Their sockets form a PACKET_FANOUT group, one for each interface.  The kernel runs a
 * small program on a packet and gives it to the member that the result, modulo their
 * number, names.  The program returns a hash of the flow cookie, which is the same for
 * both directions of a flow, or, where the dialect has none, of the inner addresses; so a
 * flow stays with one member, with its fragments and, by the cookie, its ICMP errors.
 *
 * When a member joins or leaves, the number changes, and flows move to other members:
 * all of them are served at any time.  What lies in the ring of a member that dies is
 * lost with it.
 *
 * The program is classic BPF: it needs no privilege beyond the socket's, cannot loop, and
 * returns 0 where it would read beyond a packet.
 */
#ifndef GW_FANOUT_H
#define GW_FANOUT_H

#include <linux/filter.h>

#define FANOUT_MAX	256u	/* members of a group */

/**
 * fanout_join() - Make a socket that is bound to an interface a member of its group
 * @members:	How many there may be: the same for all of them, up to FANOUT_MAX
 *
 * Return: 0; -ENOSPC: there are so many; -EINVAL: there is such a group, for another
 * number or another program's; or -errno
 */
int fanout_join(int fd, int ifindex, unsigned members) __attribute__((warn_unused_result));

/**
 * fanout_program() - The program, for packets from their network header on
 */
struct sock_fprog fanout_program(void);

#endif /* GW_FANOUT_H */
