/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "leg_sock.h"
#include "wire.h"

static void linger(int fd, bool reset)
{
	const struct linger l = { .l_onoff = reset, .l_linger = 0 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
}

void fd_close(int fd, bool reset)
{
	linger(fd, reset);
	close(fd);
}

static int blocked(struct leg *l, short what)
{
	l->wants = what;
	l->ready &= (short)~what;
	return -EAGAIN;
}

/* A short read emptied the socket, unless its end is in there, too. */
static ssize_t sock_read(struct leg *l, void *buf, size_t len)
{
	ssize_t n = recv(l->fd, buf, len, 0);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? blocked(l, POLLIN) : -errno;
	if (n && (size_t)n < len && !(l->ready & (POLLRDHUP | POLLERR)))
		l->ready &= (short)~POLLIN;
	return n;
}

static ssize_t sock_writev(struct leg *l, const struct iovec *iov, int n)
{
	/* sendmsg(2) does not write to it */
	struct msghdr h = { .msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)n };
	ssize_t done = sendmsg(l->fd, &h, MSG_NOSIGNAL);

	if (done < 0)
		return errno == EAGAIN || errno == EINTR ? blocked(l, POLLOUT) : -errno;
	leg_wrote(l, (size_t)done);
	return done;
}

static int sock_shut(struct leg *l)
{
	return shutdown(l->fd, SHUT_WR) && errno != ENOTCONN ? -errno : 0;
}

static void sock_close(struct leg *l, bool reset)
{
	fd_close(l->fd, reset);
	free(l);
}

/* TCP_NOTSENT_LOWAT lets poll(2) say so when less than half of LEG_UNSENT is there (connect.c) */
size_t leg_sock_takes(struct leg *l)
{
	struct pollfd p = { .fd = l->fd, .events = POLLOUT };
	int unsent;

	if (!poll(&p, 1, 0)) {
		blocked(l, POLLOUT);
		return 0;
	}
	/* Errors, too, are for who writes */
	if (ioctl(l->fd, SIOCOUTQNSD, &unsent) || unsent < 0 || unsent > (int)LEG_UNSENT / 2)
		unsent = LEG_UNSENT / 2;
	return LEG_UNSENT - (size_t)unsent;
}

static const struct leg_ops sock_ops = { sock_read, sock_writev, NULL, sock_shut, sock_close,
					 leg_sock_takes };

struct leg *leg_sock_new(int fd)
{
	struct leg *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	/* If we are killed the kernel closes it: with RST, lest half a stream looks like all of it */
	linger(fd, true);
	l->ops = &sock_ops;
	l->fd = fd;
	l->plain = true;
	return l;
}

int leg_sock_release(struct leg *l)
{
	int fd = l->fd;

	free(l);
	return fd;
}
