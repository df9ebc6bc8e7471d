/* SPDX-License-Identifier: MIT */
/*
 * legpair.h - An engine between two socket pairs, and what stands at their other ends
 */
#ifndef LEGPAIR_H
#define LEGPAIR_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../gwproxy/relay.h"
#include "clock.h"

struct plain_leg {
	struct leg l;
	bool reset;
	size_t write_max;	/* at once; 0: no limit */
};

static inline ssize_t plain_read(struct leg *l, void *buf, size_t len)
{
	ssize_t n = recv(l->fd, buf, len, MSG_DONTWAIT);

	if (n >= 0)
		return n;
	l->wants = POLLIN;
	return errno == EWOULDBLOCK ? -EAGAIN : -errno;
}

static inline ssize_t plain_writev(struct leg *l, const struct iovec *iov, int n)
{
	struct plain_leg *p = (struct plain_leg *)l;
	struct iovec one = iov[0];
	struct msghdr m = { .msg_iov = p->write_max ? &one : (struct iovec *)(uintptr_t)iov,
			    .msg_iovlen = p->write_max ? 1 : (size_t)n };
	ssize_t done;

	if (p->write_max && one.iov_len > p->write_max)
		one.iov_len = p->write_max;
	done = sendmsg(l->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (done >= 0)
		return done;
	l->wants = POLLOUT;
	return errno == EWOULDBLOCK ? -EAGAIN : -errno;
}

static inline int plain_shut(struct leg *l)
{
	shutdown(l->fd, SHUT_WR);
	return 0;
}

static inline void plain_close(struct leg *l, bool reset)
{
	((struct plain_leg *)l)->reset = reset;
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
}

static const struct leg_ops plain_ops = { plain_read, plain_writev, NULL, plain_shut, plain_close, NULL };

/**
 * struct pair - What a test holds
 * @client, @server:	The peers' ends
 */
struct pair {
	struct plain_leg cl, sl;
	struct conn_facts facts;
	struct relay *r;
	int client, server;
	enum relay_state state;
	const char *why;
	uint64_t now;
};

typedef struct relay *relay_maker(struct leg *, struct leg *, struct conn_facts *,
				  const struct hooks *, const struct relay_times *);

static inline void pair_open(struct pair *p, relay_maker *make, const struct hooks *h)
{
	static const struct relay_times times = { 60000000000u, 10000000000u, 10000000000u,
						  20000000000u, 1000000000u };
	int a[2], b[2];

	*p = (struct pair){ .now = clock_mono() };
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, a) ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, b))
		abort();
	p->client = a[0];
	p->server = b[0];
	p->cl.l = (struct leg){ .ops = &plain_ops, .fd = a[1], .plain = true };
	p->sl.l = (struct leg){ .ops = &plain_ops, .fd = b[1], .plain = true };
	p->r = make(&p->cl.l, &p->sl.l, &p->facts, h, &times);
}

/* One step; when it is over both legs are closed, as a connection does it */
static inline enum relay_state pair_step(struct pair *p)
{
	if (!p->r)
		return p->state;
	p->state = relay_step(p->r, p->now);
	if (p->state != RELAY_WAIT) {
		p->why = p->r->why;
		relay_free(p->r, p->why);
		p->r = NULL;
		leg_close(&p->cl.l, p->state == RELAY_RESET);
		leg_close(&p->sl.l, p->state == RELAY_RESET);
	}
	return p->state;
}

static inline void pair_close(struct pair *p)
{
	relay_free(p->r, "test");
	p->r = NULL;
	leg_close(&p->cl.l, false);
	leg_close(&p->sl.l, false);
	if (p->client >= 0)
		close(p->client);
	if (p->server >= 0)
		close(p->server);
}

/**
 * struct got - What came out at one end
 */
struct got {
	char *p;
	size_t len, room;
	bool eof, error;
};

static inline void got_take(struct got *g, int fd)
{
	ssize_t n;

	for (;;) {
		if (g->room - g->len < 65536) {
			g->room = 2 * g->room + 131072;
			g->p = realloc(g->p, g->room);
		}
		n = recv(fd, g->p + g->len, g->room - g->len - 1, MSG_DONTWAIT);
		if (n <= 0)
			break;
		g->len += (size_t)n;
	}
	g->p[g->len] = '\0';
	g->eof |= n == 0;
	g->error |= n < 0 && errno != EAGAIN;
}

static inline void got_free(struct got *g)
{
	free(g->p);
	*g = (struct got){ 0 };
}

#endif /* LEGPAIR_H */
