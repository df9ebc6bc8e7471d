/* SPDX-License-Identifier: MIT */
/*
 * connect.c - The server's side: from the client's own address, before the client's side if gwtun
 * holds its SYN
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conn_int.h"
#include "leg_sock.h"
#include "log.h"
#include "wire.h"

#define ANSWER_RETRY_NS	1000000u

static void set_int(int fd, int level, int name, int value)
{
	setsockopt(fd, level, name, &value, sizeof(value));	/* as good as it can be had */
}

/* Left alone, the kernel makes room for tens of megabytes that a slow reader then holds.  Before
 * connect(2), and as early as can be after accept(2): a window is never taken back. */
static void tune(const struct proxy *p, struct leg *l)
{
	int fd = l->fd;

	l->window = LEG_WINDOW(p->receive);
	if (p->receive)		/* the kernel doubles it, for what it adds */
		set_int(fd, SOL_SOCKET, SO_RCVBUF, (int)(p->receive / 2));
	set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	set_int(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, LEG_UNSENT);
	set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
}

static int send_answer(const struct worker *w, uint64_t flow, enum proxylink_answer a, uint32_t code)
{
	union proxylink_msg m = { .answer = { .head.type = PROXYLINK_ANSWER, .answer = a,
					      .flow = flow, .code = code } };

	return w->link < 0 ? -EPIPE : proxylink_send(w->link, &m, NULL, 0);
}

/* gwtun was told; what it does with the client's SYN is up to the answer. */
void connect_answer(struct conn *c)
{
	struct worker *w = c->worker;
	int err = send_answer(w, c->flow, c->answer, c->code);

	if (err == -EAGAIN) {
		conn_state(c, CONN_ANSWER, ANSWER_RETRY_NS);
		return;
	}
	c->held = false;
	if (err)
		conn_end(c, "gwtun-gone", true);
	else if (c->answer == PROXYLINK_ACCEPT)
		conn_state(c, CONN_AWAIT, w->proxy->accept_ns);
	else
		conn_end(c, c->facts.why ? c->facts.why : "gwtun-gone", true);
}

static void answer(struct conn *c, enum proxylink_answer a, int code, const char *why)
{
	c->answer = a;
	c->code = (uint32_t)code;
	c->facts.why = why;
	if (c->held)
		connect_answer(c);
	else
		conn_end(c, why, true);
}

static void failed(struct conn *c, int err)
{
	struct worker *w = c->worker;

	switch (err) {
	case ECONNREFUSED:
	case ECONNRESET:
		count(w, COUNT_REFUSED);
		answer(c, PROXYLINK_REFUSE, 0, "server-refused");
		break;
	case ETIMEDOUT:
		count(w, COUNT_SILENT);
		answer(c, PROXYLINK_SILENT, 0, "connect-timeout");
		break;
	case EADDRINUSE:
	case EADDRNOTAVAIL:	/* the same ports, too soon after they were last used */
		answer(c, PROXYLINK_SILENT, 0, "address-in-use");
		break;
	default:
		count(w, COUNT_UNREACHABLE);
		log_debug("connecting to a server: %s", strerror(err));
		answer(c, PROXYLINK_UNREACHABLE, err, "server-unreachable");
	}
}

void connect_timeout(struct conn *c)
{
	failed(c, ETIMEDOUT);
}

static void let_in(struct conn *c)
{
	c->answer = PROXYLINK_ACCEPT;
	connect_answer(c);
}

static void connected(struct conn *c)
{
	if (c->restarted)
		conn_bytes(c, "pass");
	else if (c->client)
		conn_both(c);
	else if (c->held)
		let_in(c);
	else
		conn_state(c, CONN_AWAIT, c->worker->proxy->accept_ns);
}

/* Is there an end to speak with?  A socket that was begun again may tell of its former life. */
static bool is_connected(int fd)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);

	return !getpeername(fd, (struct sockaddr *)&sa, &len);
}

void connect_step(struct conn *c, uint32_t events)
{
	socklen_t len = sizeof(int);
	int err = 0;

	if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
		return;
	if (getsockopt(c->server->fd, SOL_SOCKET, SO_ERROR, &err, &len))
		err = errno;
	if (err)
		failed(c, err);
	else if (!c->restarted || is_connected(c->server->fd))
		connected(c);
}

/* Return: 0 or errno */
static int begin(struct conn *c, struct leg *l)
{
	const struct tuple *t = &c->node.tuple;
	struct sockaddr_storage sa;
	socklen_t len;
	int fd = l->fd;

	tune(c->worker->proxy, l);
	if (c->worker->proxy->transparent) {
		len = tuple_address(t, true, &sa);
		if (bind(fd, (struct sockaddr *)&sa, len))
			return errno;
	}
	len = tuple_address(t, false, &sa);
	if (!connect(fd, (struct sockaddr *)&sa, len) || errno == EINPROGRESS)
		return 0;
	return errno;
}

void connect_start(struct conn *c, int upstream)
{
	int fd = upstream, err;
	struct leg *l;

	if (fd < 0)
		fd = socket(c->node.tuple.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	l = fd < 0 ? NULL : leg_sock_new(fd);
	if (!l) {
		if (fd >= 0)
			close(fd);
		answer(c, PROXYLINK_SILENT, 0, "memory");
		return;
	}
	conn_state(c, CONN_CONNECT, c->worker->proxy->connect_ns);
	err = begin(c, l);
	if (!err)
		err = -conn_leg(c, l, false);
	else
		c->server = l;
	if (err)
		failed(c, err);
}

static void from_syn(struct conn *c, const struct proxylink_syn *syn)
{
	c->from_syn = true;
	c->flow = syn->flow;
	c->held = syn->hold;
	c->facts.attachment = syn->attachment;
	c->facts.cookie = syn->cookie;
	c->facts.from_lb = true;
}

/* A new flow with the addresses of one that we still have: that one is over. */
void conn_syn(struct worker *w, const struct proxylink_syn *syn, const struct tuple *t, int upstream)
{
	struct conn *c = (struct conn *)table_find(&w->table, t);

	if (c && !c->from_syn) {
		from_syn(c, syn);
		c->held = false;
		close(upstream);
		return;
	}
	if (c)
		conn_end(c, "replaced", true);
	c = conn_new(w, t);
	if (!c) {
		close(upstream);
		if (syn->hold)
			send_answer(w, syn->flow, PROXYLINK_SILENT, 0);
		return;
	}
	from_syn(c, syn);
	connect_start(c, upstream);
}

/* Its client does not want it any more, or has waited too long: nor need the server. */
void conn_over(struct worker *w, const struct tuple *t, uint64_t flow)
{
	struct conn *c = (struct conn *)table_find(&w->table, t);

	if (!c || !c->held || c->flow != flow)
		return;
	c->held = false;
	conn_end(c, "client-gone", true);
}

/* A client's SYN must not wait for an answer that nobody will give. */
void connect_forsake(struct conn *c)
{
	if (c->held)
		send_answer(c->worker, c->flow, PROXYLINK_SILENT, 0);
	c->held = false;
}

static void join(struct conn *c, int fd)
{
	struct leg *l = leg_sock_new(fd);

	if (!l)
		close(fd);
	if (!l || conn_leg(c, l, true)) {
		conn_end(c, "memory", true);
		return;
	}
	tune(c->worker->proxy, l);
	if (c->state == CONN_ANSWER || c->state == CONN_AWAIT)
		conn_both(c);
}

void conn_accepted(struct worker *w, const struct tuple *t, int fd, int upstream)
{
	struct conn *c = (struct conn *)table_find(&w->table, t);

	if (c && c->client) {
		conn_end(c, "replaced", true);
		c = NULL;
	}
	if (c) {
		if (upstream >= 0)
			close(upstream);
		join(c, fd);
		return;
	}
	if (w->proxy->hold && !w->proxy->listens) {
		count(w, COUNT_LOST);
		fd_close(fd, true);
		return;
	}
	c = conn_new(w, t);
	if (!c) {
		fd_close(fd, true);
		if (upstream >= 0)
			close(upstream);
		return;
	}
	c->state = CONN_CONNECT;
	join(c, fd);
	if (c->state != CONN_DEAD)
		connect_start(c, upstream);
}
