/* SPDX-License-Identifier: MIT */
/*
 * link.c - The loop's ends of what connects it with broker and proxy
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "proxylink.h"
#include "tun.h"

#define ANSWERS_MAX	256	/* taken from a proxy at once */

int tun_watch(struct tun *t, int fd, uint32_t kind, uint32_t n)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = (uint64_t)kind << 32 | n };

	return epoll_ctl(t->epoll, EPOLL_CTL_ADD, fd, &ev) ? -errno : 0;
}

/* --- the socket proxies connect to -------------------------------------------- */

static int path_of(struct tun *t)
{
	const struct stage *st = t->st;
	int n;

	if (t->conf.socket)
		n = snprintf(t->socket_path, sizeof(t->socket_path), "%s", t->conf.socket);
	else if (st->conf.as)
		n = snprintf(t->socket_path, sizeof(t->socket_path), "%s/gwtun:%s.sock",
			     st->run_path, st->conf.as);
	else
		n = snprintf(t->socket_path, sizeof(t->socket_path), "%s/" PROXYLINK_SOCKET,
			     st->run_path);
	return n < 0 || (size_t)n >= sizeof(((struct sockaddr_un *)0)->sun_path) ? -ENAMETOOLONG : 0;
}

/* What a crashed gwtun left is in nobody's use; a file that is no socket is none of ours */
static int bind_socket(int fd, const struct sockaddr_un *a)
{
	struct stat st;
	int probe, err;

	if (!bind(fd, (const struct sockaddr *)a, sizeof(*a)))
		return 0;
	if (errno != EADDRINUSE)
		return -errno;
	if (lstat(a->sun_path, &st) || !S_ISSOCK(st.st_mode))
		return -EADDRINUSE;
	probe = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	err = connect(probe, (const struct sockaddr *)a, sizeof(*a)) ? errno : EADDRINUSE;
	close(probe);
	if (err != ECONNREFUSED)
		return -EADDRINUSE;
	if (unlink(a->sun_path) || bind(fd, (const struct sockaddr *)a, sizeof(*a)))
		return -errno;
	return 0;
}

static int listen_at(struct tun *t)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	const struct priv *p = &t->st->priv;
	int err = path_of(t);

	if (err)
		return err;
	strcpy(a.sun_path, t->socket_path);
	t->listen = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (t->listen < 0)
		return -errno;
	err = bind_socket(t->listen, &a);
	if (err) {
		t->socket_path[0] = '\0';	/* not ours to unlink */
		return err;
	}
	if (chmod(a.sun_path, 0600) ||
	    (p->uid != (uid_t)-1 && geteuid() != p->uid && chown(a.sun_path, p->uid, p->gid)) ||
	    listen(t->listen, 4))
		return -errno;
	return tun_watch(t, t->listen, WATCH_LISTEN, 0);
}

void link_listen(struct tun *t)
{
	int err;

	if (t->listening || t->conf.broker.space.kind != SPACE_PROXY ||
	    (!t->conf.socket && (!t->st->live || t->st->run_fd < 0)))
		return;
	t->listening = true;
	err = listen_at(t);
	if (!err) {
		log_info("%s: waiting for a proxy", t->socket_path);
		return;
	}
	if (t->conf.socket)		/* at the start */
		die_conf("--socket %s: %s", t->conf.socket, strerror(-err));
	log_error("%s: no proxy can come: %s",
		  t->socket_path[0] ? t->socket_path : PROXYLINK_SOCKET, strerror(-err));
}

/* Root, or who we are */
static bool is_trusted(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len))
		return false;
	if (!peer.uid || peer.uid == geteuid())
		return true;
	log_warn("proxy: turned away: it is uid %u, we are %u", peer.uid, geteuid());
	return false;
}

void link_accept(struct tun *t)
{
	struct broker_msg m = { .type = BROKER_PROXY };
	int fd = accept4(t->listen, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	if (is_trusted(fd))
		fdmsg_send(t->broker.fd, &m, sizeof(m), &fd, 1);
	close(fd);
}

/* --- the broker --------------------------------------------------------------- */

static int *pair_at(struct tun *t, uint32_t proxy)
{
	if (t->pair >= 0 && t->proxy == proxy)
		return &t->pair;
	for (unsigned i = 0; i < LEFT_MAX; i++)
		if (t->left[i].fd >= 0 && t->left[i].proxy == proxy)
			return &t->left[i].fd;
	return NULL;
}

int link_pair(struct tun *t, uint32_t proxy)
{
	const int *fd = pair_at(t, proxy);

	return fd ? *fd : -1;
}

static const char *no_proxy(const struct tun *t)
{
	return t->conf.drop_unproxied ? "are dropped" : "pass untouched";
}

/* Its flows end with it, and none of anybody else's */
static void detach(struct tun *t, uint32_t proxy)
{
	int *pair = pair_at(t, proxy);

	if (!pair)
		return;
	flows_orphan(t, proxy);
	if (pair != &t->pair)
		log_notice("a proxy that took no more is gone");
	else if (t->attached)
		log_notice("the proxy is gone: new connections %s", no_proxy(t));
	if (pair == &t->pair)
		t->attached = false;
	close(*pair);
	*pair = -1;
	hold_abandon(t, proxy);
}

static void attach(struct tun *t, int fd, bool hold, uint32_t proxy)
{
	if (t->pair >= 0)
		detach(t, t->proxy);
	t->pair = fd;
	t->proxy = proxy;
	t->holds = hold;
	if (!t->strange_until_ns)
		t->strange_until_ns = clock_mono() + t->conf.tcp_timeout_ns;
	t->attached = !tun_watch(t, fd, WATCH_PAIR, proxy);
	log_notice("a proxy is attached%s", hold ? ": it connects first" : "");
}

/* From here on flows find no proxy.  What it holds it may still answer, until the broker lets a
 * successor in */
static void leave(struct tun *t)
{
	union proxylink_msg m = { .head.type = PROXYLINK_LEAVE };
	struct mate *l = &t->left[t->next_left++ % LEFT_MAX];

	if (l->fd >= 0)
		detach(t, l->proxy);
	*l = (struct mate){ t->pair, t->proxy };
	t->pair = -1;
	t->attached = false;
	proxylink_send(l->fd, &m, NULL, 0);
	log_notice("the proxy takes no more: new connections %s", no_proxy(t));
}

static void left(struct tun *t, uint32_t proxy)
{
	if (t->pair >= 0 && t->proxy == proxy)
		leave(t);
	hold_abandon(t, proxy);
}

static void hear(struct tun *t, const struct broker_msg *m, int *fds, unsigned n)
{
	int fd = n == 1 ? fds[0] : -1;

	if (n > 1)
		fds_close(fds, n);
	if (m->type == BROKER_MADE)
		ends_made(t, m, fd);
	else if (m->type == BROKER_ATTACHED && fd >= 0)
		attach(t, fd, m->hold, m->proxy);
	else if (m->type == BROKER_LEFT)
		left(t, m->proxy);
	else if (m->type == BROKER_DETACHED)
		detach(t, m->proxy);
}

void link_broker(struct tun *t)
{
	struct broker_msg m = { 0 };
	int fds[FDMSG_FDS];
	unsigned nfds;
	ssize_t n;

	while ((n = fdmsg_recv(t->broker.fd, &m, sizeof(m), fds, &nfds)) == sizeof(m))
		hear(t, &m, fds, nfds);
	if (n == -EAGAIN)
		return;
	log_error("the broker died: no namespace is left");
	t->broken = true;
}

/* --- the proxy ---------------------------------------------------------------- */

/* An answer may take a frame; packets go on whatever a proxy sends */
void link_proxy(struct tun *t, uint32_t proxy)
{
	int fds[FDMSG_FDS], n = -EAGAIN, turns = ANSWERS_MAX, *pair;
	union proxylink_msg m;
	unsigned nfds;

	while ((pair = pair_at(t, proxy)) && t->nmade < FRAME_BURST && turns-- &&
	       (n = proxylink_recv(*pair, &m, fds, &nfds)) > 0) {
		fds_close(fds, nfds);
		if (m.head.type == PROXYLINK_LEAVE && pair == &t->pair) {
			leave(t);
		} else if (m.head.type == PROXYLINK_ANSWER) {
			hold_answer(t, proxy, m.answer.flow, m.answer.answer, m.answer.code);
		} else {
			n = -EPROTO;
			break;
		}
	}
	if (n > 0 || n == -EAGAIN)
		return;
	if (n == -EPROTO)
		log_warn("proxy: cut off: it is none of this build");
	detach(t, proxy);
}

/* While the place in the chain is still ours: a successor's socket has the same name */
void link_unlisten(struct tun *t)
{
	if (t->listen >= 0)
		close(t->listen);
	if (t->socket_path[0])
		unlink(t->socket_path);
	t->socket_path[0] = '\0';
	t->listen = -1;
}

void link_open(struct tun *t)
{
	t->listen = t->pair = -1;
	for (unsigned i = 0; i < LEFT_MAX; i++)
		t->left[i].fd = -1;
}

void link_close(struct tun *t)
{
	link_unlisten(t);
	if (t->pair >= 0)
		close(t->pair);
	for (unsigned i = 0; i < LEFT_MAX; i++)
		if (t->left[i].fd >= 0)
			close(t->left[i].fd);
}
