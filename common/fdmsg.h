/* SPDX-License-Identifier: MIT */
/*
 * fdmsg.h - Messages with descriptors between processes of one machine (SOCK_SEQPACKET)
 */
#ifndef GW_FDMSG_H
#define GW_FDMSG_H

#include <stddef.h>
#include <sys/types.h>

#define FDMSG_FDS	32u		/* most descriptors in one message */

/**
 * fdmsg_send() - Send a message, without waiting
 * @fds:	@nfds descriptors that go with it; they stay the caller's
 *
 * Return: 0; -EAGAIN if the other end is slow; -EPIPE if it is gone; -errno
 */
int fdmsg_send(int fd, const void *msg, size_t len, const int *fds, unsigned nfds)
	__attribute__((nonnull(2)));

/**
 * fdmsg_recv() - Next message, without waiting
 * @msg:	Room for @size bytes
 * @fds:	Room for FDMSG_FDS; the caller's to close
 * @nfds:	Written on success
 *
 * Return: its length, at least 1; 0: the other end closed; -EAGAIN; -EPROTO if it is longer
 * or has more descriptors (none is kept); -EMFILE: no room for its descriptors, which are lost, but
 * @msg is written; -errno
 */
ssize_t fdmsg_recv(int fd, void *msg, size_t size, int *fds, unsigned *nfds)
	__attribute__((nonnull));

/**
 * fds_close() - Close @n descriptors
 */
void fds_close(const int *fds, unsigned n);

#endif /* GW_FDMSG_H */
