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

#define LEG_UNSENT	122880u	/* not sent: the kernel shall hold no more */
#define LEG_WINDOW(receive)	((receive) / 8 * 7)	/* see @window */
#define LEG_PIECE	16384u	/* who takes less takes nothing */

struct leg;

struct leg_ops {
	ssize_t (*read)(struct leg *l, void *buf, size_t len);
	ssize_t (*writev)(struct leg *l, const struct iovec *iov, int n);
	int (*push)(struct leg *l);	/* NULL: writev() does */
	int (*shut)(struct leg *l);
	void (*close)(struct leg *l, bool reset);
	size_t (*takes)(struct leg *l);	/* see leg_takes(); NULL: as much as can be */
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
 * @room:	Bytes that the kernel takes, it said, less those that were written since
 * @ahead:	Bytes that may be read at once, though fewer were asked for: they can go on
 * @window:	Bytes that its peer may send at once: two packets of 64 KB, nearly; 0: any
 * @drained:	A library reads ahead, and its next read is one of the socket
 * @part:	Bytes of it are held that are no whole record yet, or wait for their turn
 * @cut:	Its stream ended without TLS's close_notify
 * @quiet:	So shall what is written to it
 * @broke:	What TLS says of its end, if it was an alert or an error of its own
 */
struct leg {
	const struct leg_ops *ops;
	int fd;
	bool plain;
	bool pending;
	short wants;
	short ready;
	size_t room, ahead, window;
	bool drained, part, cut, quiet;
	const char *broke;
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
 * leg_push() - What leg_writev() took goes to the kernel; relay_step() does so at its end
 *
 * Return: 0; -EAGAIN: some of it is to be pushed later; -errno
 */
static inline int leg_push(struct leg *l)
{
	return l->ops->push ? l->ops->push(l) : 0;
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
 * leg_takes() - How much that is read from @from now would go to the kernel at once?
 *
 * So nothing waits in our memory for a reader that stops, and little in the kernel's.  The kernel
 * is asked when it was told what it had said that it takes; @from may read as much at once.
 *
 * Return: bytes, LEG_PIECE at least; 0: none, and @wants and @ready are as after -EAGAIN
 */
static inline size_t leg_takes(struct leg *l, struct leg *from)
{
	if (l->room < (from->drained ? LEG_UNSENT : LEG_PIECE))
		l->room = l->ops->takes ? l->ops->takes(l) : LEG_UNSENT;
	from->ahead = l->room;
	return l->room || !from->part ? l->room : LEG_PIECE;
}

/* @n bytes were written to it */
static inline void leg_wrote(struct leg *l, size_t n)
{
	l->room -= n < l->room ? n : l->room;
}

/**
 * leg_close() - @reset: with RST, as when the other side did so
 */
static inline void leg_close(struct leg *l, bool reset)
{
	l->ops->close(l, reset);
}

#endif /* GW_LEG_H */
