/* SPDX-License-Identifier: MIT */
/*
 * tlsio.h - Between OpenSSL and a socket: many records in one system call
 *
 * Theory of operation
 *
 * OpenSSL reads and writes a record at a time.  Each by itself, records go out as packets of their
 * own, and each read opens the sender's window for one more of them; but what the kernel does, it
 * does by the packet.  So they are gathered:
 *
 *	recvmsg(2): what OpenSSL asks for, and @in behind it -> a record at a time -> the engine
 *	the engine -> a record at a time -> @out -> send(2)
 *
 * @out is written when it is full, before more is read that goes there, and at the end of
 * relay_step(): nothing waits in it for what is not there yet.
 *
 * More than a record is gathered only while the kernel has room for it (leg.room), and no more is
 * read at once than has room on the other side (leg.ahead): a slow reader holds hardly anything of
 * ours.
 *
 * The large buffers are the thread's: what is left in one when its leg is pushed goes to memory of
 * its own size.
 */
#ifndef GW_TLSIO_H
#define GW_TLSIO_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/bio.h>

#include "leg.h"

/**
 * struct tlsio_buf - Bytes [@at, @end) of @room
 */
struct tlsio_buf {
	uint8_t *p;
	size_t at, end, room;
};

/**
 * struct tlsio - One leg's
 * @leg:	Its descriptor, and what is known to be ready
 * @in:		Read, and not yet taken by OpenSSL
 * @out:	Written by OpenSSL, and not yet taken by the kernel
 * @eof:	The stream has ended
 */
struct tlsio {
	struct leg *leg;
	struct tlsio_buf in, out;
	bool eof;
};

/**
 * tlsio_bio() - What OpenSSL reads from and writes to
 * @io:		Outlives it; @leg is set before it is used
 *
 * Return: NULL without memory
 */
BIO *tlsio_bio(struct tlsio *io) __attribute__((nonnull));

/**
 * tlsio_push() - Write what was gathered, and keep no large buffer
 *
 * Return: 0, -EAGAIN or -errno
 */
int tlsio_push(struct tlsio *io) __attribute__((nonnull));

/* Is there something to be read without the socket? */
static inline bool tlsio_pending(const struct tlsio *io)
{
	return io->in.at != io->in.end;
}

/* Did the kernel not take all? */
static inline bool tlsio_stuck(const struct tlsio *io)
{
	return io->out.at != io->out.end && !(io->leg->ready & POLLOUT);
}

/**
 * tlsio_close() - What is left in it is lost
 */
void tlsio_close(struct tlsio *io) __attribute__((nonnull));

void tlsio_spare_close(void);	/* at the end of a thread */

#endif /* GW_TLSIO_H */
