/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "alone.h"
#include "hostport.h"
#include "log.h"

#define BACKLOG	4096

/* Return: 0 or -errno */
static int set_transparent(int fd, int family)
{
	int one = 1;

	if (family == AF_INET6)
		return setsockopt(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, &one, sizeof(one)) ? -errno : 0;
	return setsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &one, sizeof(one)) ? -errno : 0;
}

static int make(int family)
{
	int one = 1, fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), err;

	if (fd < 0)
		return -errno;
	err = set_transparent(fd, family);
	if (!err && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)))
		err = -errno;
	if (!err)
		return fd;
	close(fd);
	return err;
}

void alone_listen(struct alone *a, const char *spec)
{
	struct addrinfo *ai = hostport_parse("listen", spec);
	int fd = make(ai->ai_family);

	if (a->n == ALONE_MAX)
		die_usage("--listen: more than one for IPv4 and one for IPv6");
	if (fd == -EPERM)
		die("--listen %s: transparent sockets take CAP_NET_ADMIN or CAP_NET_RAW", spec);
	if (fd < 0)
		die("--listen %s: %s", spec, strerror(-fd));
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) || listen(fd, BACKLOG))
		die("--listen %s: %m", spec);
	freeaddrinfo(ai);
	a->listener[a->n++] = fd;
}

/* Of all rights only CAP_NET_RAW is left, and it is not root's */
static void confine(const struct priv *p)
{
	struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct d[2] = {
		{ .effective = 1u << CAP_NET_RAW, .permitted = 1u << CAP_NET_RAW },
	};

	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0))
		die("keepcaps: %m");
	if (p->uid != (uid_t)-1 && p->uid != geteuid() &&
	    (setgroups(0, NULL) || setresgid(p->gid, p->gid, p->gid) ||
	     setresuid(p->uid, p->uid, p->uid)))
		die("broker becoming uid %u: %m", p->uid);
	if (syscall(SYS_capset, &h, d))
		die("broker: capset: %m");
	priv_no_new();
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

static int deliver(int fd, union proxylink_msg *m)
{
	int fds[PROXYLINK_FDS], err;
	unsigned n = 0;

	if (m->head.type != PROXYLINK_WANT || m->endpoint.count > PROXYLINK_FDS)
		return -EPROTO;
	while (n < m->endpoint.count && (fds[n] = make(m->endpoint.family)) >= 0)
		n++;
	m->head.type = PROXYLINK_SOCKETS;
	err = proxylink_send(fd, m, fds, n);
	while (n)
		close(fds[--n]);
	return err == -EAGAIN || err == -ETOOMANYREFS ? 0 : err;	/* it asks again */
}

static void __attribute__((noreturn)) serve(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int fds[PROXYLINK_FDS], got;
	union proxylink_msg m;
	unsigned n;

	while (poll(&p, 1, -1) > 0 || errno == EINTR) {
		got = proxylink_recv(fd, &m, fds, &n);
		if (got == -EAGAIN)
			continue;
		if (got != 1 || n || deliver(fd, &m))
			break;
	}
	_exit(0);
}

/* Signals for the whole group are the parent's; it ends us by closing the socket. */
void alone_broker(struct alone *a, const struct priv *p)
{
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
		die("socketpair: %m");
	pid = fork();
	if (pid < 0)
		die("fork: %m");
	if (!pid) {
		signal(SIGINT, SIG_IGN);
		signal(SIGHUP, SIG_IGN);
		close(pair[0]);
		for (unsigned i = 0; i < a->n; i++)
			close(a->listener[i]);
		confine(p);
		serve(pair[1]);
	}
	close(pair[1]);
	a->fd = pair[0];
}

static void broker_ready(struct watch *w, uint32_t events)
{
	struct alone *a = (struct alone *)(void *)((char *)w - offsetof(struct alone, on_broker));
	int fds[PROXYLINK_FDS], got;
	union proxylink_msg m = { .head.type = 0 };
	unsigned n = 0;

	(void)events;
	while ((got = proxylink_recv(a->fd, &m, fds, &n)) == 1 ||
	       (got == -EMFILE && m.head.type == PROXYLINK_SOCKETS))
		front_sockets(a->front, &m.endpoint, fds, got == 1 ? n : 0);
	if (got != -EAGAIN) {
		log_error("the broker of transparent sockets is gone: %s",
			  got ? strerror(-got) : "it ended");
		a->front->broker = -1;
		loop_unwatch(a->front->proxy->worker[0]->loop, a->fd);
		loop_stop(a->front->proxy->worker[0]->loop);
	}
}

void alone_start(struct alone *a, struct front *f)
{
	struct loop *l = f->proxy->worker[0]->loop;

	a->front = f;
	a->on_broker.ready = broker_ready;
	f->broker = a->fd;
	if (a->fd >= 0 && loop_watch(l, a->fd, EPOLLIN, &a->on_broker))
		die("epoll: %m");
	if (a->n == 1)
		a->listener[1] = -1;
	if (!endpoint_new(f, 0, a->listener))
		die("out of memory");
}

void alone_stop(struct alone *a)
{
	if (a->fd >= 0)
		close(a->fd);
}
