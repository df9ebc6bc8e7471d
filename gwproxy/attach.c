/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "attach.h"
#include "log.h"

#define RETRY_NS	200000000u
#define LEAVE_NS	500000000u
#define LEAVE_LOOK_NS	5000000u
#define BURST		256	/* messages, then others have their turn */

static struct loop *loop_of(struct attach *a)
{
	return a->front->proxy->worker[0]->loop;
}

static void close_all(const int *fds, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
}

/* @err: 0: it closed the connection */
static void detach(struct attach *a, int err)
{
	struct mail m = { .kind = MAIL_LOST, .fd = -1, .upstream = -1 };
	const char *why = strerror(-err);

	if (!err || err == -EPIPE || err == -ECONNRESET)
		why = a->link >= 0 ? "it closed the connection" :
				     "it turns us away; has it a proxy already?";
	if (a->link >= 0) {
		log_notice("gwtun is gone: %s", why);
		worker_send_all(a->front->proxy, &m);
		front_forget(a->front);
		loop_unwatch(loop_of(a), a->link);
		close(a->link);
	} else if (!a->said) {
		log_notice("waiting for gwtun at %s: %s", a->path, why);
	}
	a->said = true;
	if (a->fd >= 0)
		close(a->fd);
	a->fd = a->link = a->front->broker = -1;
	loop_timer(loop_of(a), &a->retry, loop_now(loop_of(a)) + RETRY_NS);
}

static int take_hello(struct attach *a, const struct proxylink_hello *h, const int *fds, unsigned n)
{
	struct mail m = { .kind = MAIL_LINK, .upstream = -1 };
	int err;

	if (n != 1 || a->link >= 0 || h->magic != PROXYLINK_MAGIC ||
	    h->version < PROXYLINK_OLDEST || h->version > PROXYLINK_VERSION)
		return -EPROTO;
	a->link = fds[0];
	a->version = h->version;
	a->said = false;
	m.fd = fcntl(a->link, F_DUPFD_CLOEXEC, 0);
	if (m.fd < 0)
		return -errno;
	err = loop_watch(loop_of(a), a->link, EPOLLIN, &a->on_link);
	if (err) {
		close(m.fd);
		return err;
	}
	worker_send_all(a->front->proxy, &m);
	log_notice("attached to gwtun at %s", a->path);
	return 0;
}

static int take_endpoint(struct attach *a, const struct proxylink_endpoint *m, const int *fds,
			 unsigned n)
{
	struct endpoint *old = endpoint_find(a->front, m->endpoint);
	int two[2] = { n > 0 ? fds[0] : -1, n > 1 ? fds[1] : -1 };

	if (n > 2 || a->link < 0 || old)
		return -EPROTO;
	if (!endpoint_new(a->front, m->endpoint, two))
		return -ENOMEM;
	return 0;
}

static void take_gone(struct attach *a, uint64_t endpoint)
{
	struct endpoint *e = endpoint_find(a->front, endpoint);
	struct mail m = { .kind = MAIL_GONE, .fd = -1, .upstream = -1,
			  .tuple.endpoint = endpoint };

	if (!e)
		return;
	endpoint_free(e);
	worker_send_all(a->front->proxy, &m);
}

/* Return: 0; <0: the other end broke the rules, and descriptors are not taken */
static int take(struct attach *a, const union proxylink_msg *m, const int *fds, unsigned n)
{
	int err = 0;

	switch (m->head.type) {
	case PROXYLINK_HELLO:
		err = take_hello(a, &m->hello, fds, n);
		break;
	case PROXYLINK_ENDPOINT:
		err = take_endpoint(a, &m->endpoint, fds, n);
		break;
	case PROXYLINK_SOCKETS:
		front_sockets(a->front, &m->endpoint, fds, n);
		return 0;
	case PROXYLINK_GONE:
		close_all(fds, n);
		take_gone(a, m->endpoint.endpoint);
		return 0;
	default:
		err = -EPROTO;
	}
	if (err && a->link != fds[0])
		close_all(fds, n);
	return err;
}

static void broker_ready(struct watch *w, uint32_t events)
{
	struct attach *a = (struct attach *)(void *)((char *)w - offsetof(struct attach, on_broker));
	int fds[PROXYLINK_FDS] = { -1 }, got = 1;
	union proxylink_msg m = { .head.type = 0 };
	unsigned n = 0;

	(void)events;
	if (a->fd < 0)
		return;		/* lost within these events */
	for (int i = 0; i < BURST && got == 1; i++) {
		got = proxylink_recv(a->fd, &m, fds, &n);
		if (got == -EMFILE && m.head.type == PROXYLINK_SOCKETS) {
			front_sockets(a->front, &m.endpoint, fds, 0);
			got = 1;
		} else if (got == 1) {
			got = take(a, &m, fds, n) ? -EPROTO : 1;
		}
	}
	if (got != 1 && got != -EAGAIN)
		detach(a, got);
}

/* Maybe late: then we have gone on without it */
static void take_leave(struct attach *a)
{
	if (a->leaving == LEAVE_WAIT)
		a->leaving = LEAVE_LAST;
}

static void link_ready(struct watch *w, uint32_t events)
{
	struct attach *a = (struct attach *)(void *)((char *)w - offsetof(struct attach, on_link));
	int fds[PROXYLINK_FDS], got = 1;
	union proxylink_msg m;
	unsigned n = 0;

	(void)events;
	if (a->link < 0)
		return;
	for (int i = 0; i < BURST && got == 1; i++) {
		got = proxylink_recv(a->link, &m, fds, &n);
		if (got != 1)
			break;
		close_all(fds, n);
		if (m.head.type == PROXYLINK_SYN)
			front_syn(a->front, &m.syn);
		else if (m.head.type == PROXYLINK_OVER)
			front_over(a->front, m.answer.flow);
		else if (m.head.type == PROXYLINK_LEAVE && a->leaving)
			take_leave(a);
		else
			got = -EPROTO;
	}
	if (got != 1 && got != -EAGAIN)
		detach(a, got);
}

static int reach(struct attach *a)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	union proxylink_msg hello = { .hello = { .head.type = PROXYLINK_HELLO,
		.magic = PROXYLINK_MAGIC, .version = PROXYLINK_VERSION,
		.hold = a->front->proxy->hold } };
	int err;

	strcpy(un.sun_path, a->path);	/* main() has measured it */
	a->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (a->fd < 0 || connect(a->fd, (struct sockaddr *)&un, sizeof(un)))
		return -errno;
	err = proxylink_send(a->fd, &hello, NULL, 0);
	if (err)
		return err;
	a->front->broker = a->fd;
	return loop_watch(loop_of(a), a->fd, EPOLLIN, &a->on_broker);
}

static void try_again(struct timer *t)
{
	struct attach *a = (struct attach *)(void *)((char *)t - offsetof(struct attach, retry));
	int err;

	if (a->leaving)
		return;
	err = reach(a);
	if (err)
		detach(a, err);
}

void attach_start(struct attach *a, struct front *f, const char *path)
{
	*a = (struct attach){ .front = f, .path = path, .fd = -1, .link = -1 };
	a->on_broker.ready = broker_ready;
	a->on_link.ready = link_ready;
	a->retry.fire = try_again;
	try_again(&a->retry);
}

/* Flows that are ours, but lack an end */
static bool is_half(const struct front *f)
{
	unsigned n = f->waiting;

	for (unsigned i = 0; i < f->proxy->nworkers; i++)
		n += atomic_load_explicit(&f->proxy->worker[i]->half, memory_order_relaxed);
	return n;
}

static void leave_look(struct timer *t)
{
	struct attach *a = (struct attach *)(void *)((char *)t - offsetof(struct attach, leave));
	union proxylink_msg m = { .head.type = PROXYLINK_LEAVE };
	struct front *f = a->front;
	uint64_t now = loop_now(loop_of(a));

	if (a->link < 0 || a->version < PROXYLINK_LEAVES) {
		front_close(f);
		return;
	}
	if (a->leaving == LEAVE_ASK && !proxylink_send(a->link, &m, NULL, 0))
		a->leaving = LEAVE_WAIT;
	if ((a->leaving == LEAVE_LAST && !is_half(f)) || now >= a->leave_until_ns) {
		front_close(f);
		a->leaving = LEAVE_TELL;
		f->broker = -1;		/* it has no sockets for who left */
	}
	if (a->leaving != LEAVE_TELL || proxylink_send(a->fd, &m, NULL, 0) == -EAGAIN)
		loop_timer(loop_of(a), &a->leave, now + LEAVE_LOOK_NS);
}

void attach_leave(struct attach *a)
{
	a->leaving = LEAVE_ASK;
	a->leave.fire = leave_look;
	a->leave_until_ns = loop_now(loop_of(a)) + LEAVE_NS;
	leave_look(&a->leave);
}

void attach_stop(struct attach *a)
{
	if (a->link >= 0)
		close(a->link);
	if (a->fd >= 0)
		close(a->fd);
}
