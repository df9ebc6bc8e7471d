/* SPDX-License-Identifier: MIT */
/*
 * leg.h - One end of a proxied connection: a byte stream toward client or server
 *
 * Plain sockets and TLS look the same from here (leg_sock.c, leg_tls.c).  Nothing blocks:
 * what cannot go on says -EAGAIN, and @wants then says what its descriptor waits for.
 */
#ifndef GW_LEG_H
#define GW_LEG_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

struct leg;

struct leg_ops {
	ssize_t (*read)(struct leg *l, void *buf, size_t len);
	ssize_t (*writev)(struct leg *l, const struct iovec *iov, int n);
	int (*shut)(struct leg *l);
	void (*close)(struct leg *l, bool reset);
	bool (*takes)(struct leg *l);			/* NULL: it always does */
	void (*read_ahead)(struct leg *l, bool on);	/* NULL: it never does */
};

/**
 * struct leg - One end
 * @fd:		For the event loop and splice(2)
 * @plain:	Bytes on @fd are the stream's own: splice(2) may be used
 * @wants:	POLLIN | POLLOUT: what the last -EAGAIN waits for (TLS may have to read in order
 *		to write)
 * @pending:	Bytes can be read although @fd may not be readable (TLS records)
 * @ready:	POLLIN | POLLOUT: what the event loop saw and no -EAGAIN took back since; POLLERR,
 *		POLLRDHUP: seen once.  The loop sets, the leg clears, so that epoll(7) is asked for
 *		changes only (EPOLLET)
 * @cut:	Its stream ended without TLS's close_notify
 * @quiet:	So shall what is written to it
 */
struct leg {
	const struct leg_ops *ops;
	int fd;
	bool plain;
	bool pending;
	short wants;
	short ready;
	bool cut, quiet;
};

/**
 * leg_read() - Return: bytes; 0 at the end of the stream; -EAGAIN; -ECONNRESET; -errno
 */
static inline ssize_t leg_read(struct leg *l, void *buf, size_t len)
{
	return l->ops->read(l, buf, len);
}

/**
 * leg_writev() - Return: bytes taken, at least one; -EAGAIN; -EPIPE; -errno
 */
static inline ssize_t leg_writev(struct leg *l, const struct iovec *iov, int n)
{
	return l->ops->writev(l, iov, n);
}

/**
 * leg_shut() - Nothing more will be written: FIN, after TLS's close_notify
 *
 * Return: 0, -EAGAIN or -errno
 */
static inline int leg_shut(struct leg *l)
{
	return l->ops->shut(l);
}

/**
 * leg_shut_as() - Because @from has ended: a stream that was cut short must not look whole
 * @from:	NULL: it was not one stream
 */
static inline int leg_shut_as(struct leg *l, const struct leg *from)
{
	l->quiet |= from && from->cut;
	return leg_shut(l);
}

/**
 * leg_takes() - Would 16 KB that are written now go to the kernel?
 *
 * If not, @wants and @ready are as after -EAGAIN: but nothing waits in our own memory.
 */
static inline bool leg_takes(struct leg *l)
{
	return !l->ops->takes || l->ops->takes(l);
}

/**
 * leg_read_ahead() - May a library read more than was asked for, and keep it?  That saves time
 */
static inline void leg_read_ahead(struct leg *l, bool on)
{
	if (l->ops->read_ahead)
		l->ops->read_ahead(l, on);
}

/**
 * leg_close() - @reset: with RST, as when the other side did so
 */
static inline void leg_close(struct leg *l, bool reset)
{
	l->ops->close(l, reset);
}

#endif /* GW_LEG_H */
