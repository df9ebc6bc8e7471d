/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker.h"
#include "clock.h"
#include "command.h"
#include "log.h"
#include "proxylink.h"

#define REFS_MS		10
#define TURN_MAX	64		/* messages of a proxy until others have their turn */
#define GRACE_NS	5000000000ull	/* for what --on-destroy runs, at the end */

enum state {
	CREATING,		/* --on-create is at work */
	UNTOLD,			/* the proxy is to be told, or the loop */
	READY,
	DESTROYING,		/* --on-destroy is */
};

/**
 * struct endpoint - One namespace
 * @told:	The proxy that is attached knows it
 * @group:	Process group of --on-create, or 0
 * @task:	The command at work, or 0
 */
struct endpoint {
	struct endpoint *next;
	uint64_t id;
	enum state state;
	bool told;
	pid_t group;
	pid_t task;
	struct space space;
};

/**
 * struct left - A proxy that takes no more: its connection, or -1, and number
 */
struct left {
	int link;
	uint32_t proxy;
};

/**
 * struct work - All of the broker's
 * @link:	The proxy's connection, or -1
 * @proxy:	Its number
 * @pair:	The loop's end of the pair, until it is handed over; else -1
 * @slow:	The proxy could not take a message: go on when it can
 */
struct work {
	const struct broker_conf *conf;
	int loop;
	int link;
	int pair;
	bool hello;
	bool hold;
	bool slow;
	bool over;
	uint32_t proxy;
	uint32_t version;
	struct left left[LEFT_MAX];
	unsigned next_left;
	int sig;
	struct endpoint *first;
};

static void shut(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static bool is_slow(int err)
{
	return err == -EAGAIN || err == -ETOOMANYREFS;
}

/*
 * The loop reads at once whatever comes: waiting for it is short.  Descriptors that a proxy
 * has not read yet may take all that can be on their way: only time helps.
 */
static void tell_loop(struct work *w, struct broker_msg *m, const int *fds, unsigned n)
{
	struct pollfd p = { .fd = w->loop };
	int err;

	while (is_slow(err = fdmsg_send(w->loop, m, sizeof(*m), fds, n))) {
		p.events = err == -EAGAIN ? POLLOUT : 0;
		if (poll(&p, 1, REFS_MS) > 0 && p.revents & (POLLHUP | POLLERR))
			break;
	}
	w->over |= err < 0;
}

static void tell_failed(struct work *w, uint64_t id, int err, const char *what)
{
	struct broker_msg m = { .type = BROKER_MADE, .err = err, .endpoint = id };

	strncpy(m.what, what, sizeof(m.what) - 1);
	tell_loop(w, &m, NULL, 0);
}

/* --- endpoints ---------------------------------------------------------------- */

static struct endpoint **find(struct work *w, uint64_t id)
{
	struct endpoint **e = &w->first;

	while (*e && ((*e)->id != id || (*e)->state == DESTROYING))
		e = &(*e)->next;
	return e;
}

static void announce(struct work *w, struct endpoint *e);
static void detach(struct work *w);

/* Return: the proxy knows this endpoint, or there is none */
static bool tell_proxy(struct work *w, struct endpoint *e)
{
	union proxylink_msg m = { .endpoint = { .head.type = PROXYLINK_ENDPOINT,
						.endpoint = e->id, .count = 2 } };
	int err;

	if (w->link < 0 || !w->hello || e->told || e->space.listener[1] < 0)
		return true;
	err = proxylink_send(w->link, &m, e->space.listener, 2);
	e->told = !err;
	if (is_slow(err))
		w->slow = true;
	else if (err)
		detach(w);
	return e->told || w->link < 0;
}

/* First the proxy, then the loop: no SYN comes before its endpoint is known */
static void announce(struct work *w, struct endpoint *e)
{
	struct broker_msg m = { .type = BROKER_MADE, .endpoint = e->id };

	if (e->state == CREATING || e->state == DESTROYING || !tell_proxy(w, e) ||
	    e->state == READY)
		return;
	tell_loop(w, &m, &e->space.tun, 1);
	shut(&e->space.tun);
	e->state = READY;
}

static void announce_all(struct work *w)
{
	struct broker_msg m = { .type = BROKER_ATTACHED, .hold = w->hold, .proxy = w->proxy };

	w->slow = false;
	for (struct endpoint *e = w->first; e && !w->slow; e = e->next)
		announce(w, e);
	if (w->slow || w->pair < 0)
		return;
	tell_loop(w, &m, &w->pair, 1);
	shut(&w->pair);
}

static bool remove_at(struct work *w, struct endpoint **at);

static void make(struct work *w, uint64_t id)
{
	struct endpoint **old = find(w, id), *e = calloc(1, sizeof(*e));
	const char *what = "memory";
	int err = e ? space_open(&e->space, &w->conf->space, &what) : -ENOMEM;

	if (*old)		/* the loop lost its TUN */
		remove_at(w, old);
	if (err) {
		free(e);
		tell_failed(w, id, err, what);
		return;
	}
	e->id = id;
	e->state = UNTOLD;
	e->next = w->first;
	w->first = e;
	if (!w->conf->on_create) {
		announce(w, e);
		return;
	}
	e->task = command_start(w->conf->on_create, "create", id, &e->space, w->conf->space.mtu);
	e->group = e->task;
	if (e->task > 0)
		e->state = CREATING;
	else
		announce(w, e);
}

static void drop(struct endpoint **at)
{
	struct endpoint *e = *at;

	command_end(e->group, SIGTERM);
	*at = e->next;
	space_close(&e->space);
	free(e);
}

/* What proxies hold of the namespace they are asked to close */
static void say_gone(struct work *w, const struct endpoint *e)
{
	union proxylink_msg m = { .endpoint = { .head.type = PROXYLINK_GONE, .endpoint = e->id } };

	if (w->link >= 0 && e->told)
		proxylink_send(w->link, &m, NULL, 0);
	for (unsigned i = 0; i < LEFT_MAX; i++)
		if (w->left[i].link >= 0)
			proxylink_send(w->left[i].link, &m, NULL, 0);
}

/* Return: it is gone; else --on-destroy is at work */
static bool remove_at(struct work *w, struct endpoint **at)
{
	struct endpoint *e = *at;

	say_gone(w, e);
	if (e->task > 0 && e->state == CREATING)
		command_end(e->group, SIGTERM);
	if (!w->conf->on_destroy) {
		drop(at);
		return true;
	}
	e->task = command_start(w->conf->on_destroy, "destroy", e->id, &e->space,
				w->conf->space.mtu);
	e->state = DESTROYING;
	if (e->task >= 0)
		return false;
	drop(at);
	return true;
}

/* --- commands that ended ------------------------------------------------------ */

static void created(struct work *w, struct endpoint **at, int status)
{
	struct endpoint *e = *at;

	e->task = 0;
	e->state = UNTOLD;
	if (WIFEXITED(status) && !WEXITSTATUS(status)) {
		announce(w, e);
		return;
	}
	log_error("vpce-0%016llx: --on-create failed with status %d: nothing goes in, "
		  "--no-proxy says what becomes of its flows",
		  (unsigned long long)e->id,
		  WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	tell_failed(w, e->id, -ECANCELED, "--on-create");
	remove_at(w, at);
}

static void reap(struct work *w)
{
	struct signalfd_siginfo si;
	int status;
	pid_t pid;

	while (read(w->sig, &si, sizeof(si)) > 0)
		;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct endpoint **at = &w->first;

		while (*at && (*at)->task != pid)
			at = &(*at)->next;
		if (!*at)
			continue;
		if ((*at)->state == DESTROYING)
			drop(at);
		else
			created(w, at, status);
	}
}

/* --- the proxy ---------------------------------------------------------------- */

static void tell_of(struct work *w, enum broker_type type, uint32_t proxy)
{
	struct broker_msg m = { .type = type, .proxy = proxy };

	tell_loop(w, &m, NULL, 0);
}

/* Nobody is attached: the listeners are for the next one */
static void vacate(struct work *w)
{
	w->hello = w->slow = false;
	for (struct endpoint *e = w->first; e; e = e->next) {
		space_reset(&e->space);
		e->told = false;
	}
	for (struct endpoint *e = w->first; e; e = e->next)
		announce(w, e);		/* those it was too slow for */
}

static void detach(struct work *w)
{
	if (w->link < 0)
		return;
	shut(&w->link);
	if (w->pair >= 0)
		shut(&w->pair);		/* the loop had not heard of it yet */
	else if (w->hello)
		tell_of(w, BROKER_DETACHED, w->proxy);
	vacate(w);
}

static void end_left(struct work *w, struct left *l)
{
	shut(&l->link);
	tell_of(w, BROKER_DETACHED, l->proxy);
}

/* It has closed its listeners, and keeps its connections */
static int leave(struct work *w)
{
	struct left *l = &w->left[w->next_left % LEFT_MAX];

	if (!w->hello || w->pair >= 0 || w->version < PROXYLINK_LEAVES)
		return -EPROTO;
	w->next_left++;
	if (l->link >= 0) {
		log_warn("proxy: cut off: %u have left after it", LEFT_MAX);
		end_left(w, l);
	}
	*l = (struct left){ w->link, w->proxy };
	w->link = -1;
	tell_of(w, BROKER_LEFT, l->proxy);
	vacate(w);
	return 0;
}

/* It has nothing more to say: it closes */
static void hear_left(struct work *w, struct left *l)
{
	union proxylink_msg m;
	int fds[FDMSG_FDS], n;
	unsigned nfds;

	n = proxylink_recv(l->link, &m, fds, &nfds);
	if (n == -EAGAIN)
		return;
	if (n > 0)
		fds_close(fds, nfds);
	if (n > 0 || n == -EPROTO)
		log_warn("proxy: cut off: it has left, and goes on");
	end_left(w, l);
}

static int greet(struct work *w, const struct proxylink_hello *h)
{
	union proxylink_msg m = { .hello = { .head.type = PROXYLINK_HELLO,
					     .magic = PROXYLINK_MAGIC,
					     .version = h->version } };
	int pair[2], err;

	if (w->hello || h->magic != PROXYLINK_MAGIC || h->version < PROXYLINK_OLDEST ||
	    h->version > PROXYLINK_VERSION)
		return -EPROTO;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
		return -errno;
	err = proxylink_send(w->link, &m, &pair[1], 1);
	close(pair[1]);
	if (err) {
		close(pair[0]);
		return err;
	}
	w->pair = pair[0];
	w->hello = true;
	w->hold = h->hold;
	w->version = h->version;
	w->proxy++;
	announce_all(w);
	return 0;
}

static int serve_sockets(struct work *w, const struct proxylink_endpoint *want)
{
	union proxylink_msg m = { .endpoint = *want };
	struct endpoint *e = *find(w, want->endpoint);
	int fds[FDMSG_FDS], n = 0, err;

	if (!w->hello || (want->family != AF_INET && want->family != AF_INET6))
		return -EPROTO;
	if (e && want->count)
		n = space_sockets(&e->space, want->family, fds,
				  want->count < FDMSG_FDS ? want->count : FDMSG_FDS);
	if (n < 0) {
		log_warn("upstream sockets: %s", strerror(-n));
		n = 0;
	}
	m.endpoint.head.type = PROXYLINK_SOCKETS;	/* @count as asked: what is missing shows */
	err = proxylink_send(w->link, &m, fds, (unsigned)n);
	fds_close(fds, (unsigned)n);
	return is_slow(err) ? 0 : err;	/* it asks for more than it takes: its loss */
}

static void hear_proxy(struct work *w)
{
	union proxylink_msg m;
	int fds[FDMSG_FDS], n = 1, err = 0, left = TURN_MAX;
	unsigned nfds;

	while (!err && w->link >= 0 && left-- && (n = proxylink_recv(w->link, &m, fds, &nfds)) > 0) {
		fds_close(fds, nfds);
		if (m.head.type == PROXYLINK_HELLO)
			err = greet(w, &m.hello);
		else if (m.head.type == PROXYLINK_WANT)
			err = serve_sockets(w, &m.endpoint);
		else if (m.head.type == PROXYLINK_LEAVE)
			err = leave(w);
		else
			err = -EPROTO;
	}
	if (n < 0 && n != -EAGAIN)
		err = n;
	if (err)
		log_warn("proxy: cut off: %s", err == -EPROTO ? "it is none of this build" :
			 strerror(-err));
	if (err || !n)
		detach(w);
}

/* --- the loop ----------------------------------------------------------------- */

static void attach(struct work *w, int fd)
{
	static struct log_site site;

	hear_proxy(w);		/* the one before may have gone just now */
	if (w->link >= 0) {	/* it will try again, and again */
		log_limited(&site, clock_mono(), LOG_LVL_WARN,
			    "proxy: there is one already: a second one is turned away");
		close(fd);
		return;
	}
	w->link = fd;
}

static void obey(struct work *w, const struct broker_msg *m, int *fds, unsigned nfds)
{
	struct endpoint **at;

	switch (m->type) {
	case BROKER_MAKE:
		make(w, m->endpoint);
		break;
	case BROKER_REMOVE:
		at = find(w, m->endpoint);
		if (*at)
			remove_at(w, at);
		break;
	case BROKER_PROXY:
		if (nfds == 1) {
			attach(w, fds[0]);
			return;
		}
		break;
	}
	fds_close(fds, nfds);
}

static void hear_loop(struct work *w)
{
	struct broker_msg m = { 0 };
	int fds[FDMSG_FDS];
	unsigned nfds;
	ssize_t n;

	while ((n = fdmsg_recv(w->loop, &m, sizeof(m), fds, &nfds)) == sizeof(m))
		obey(w, &m, fds, nfds);
	w->over |= n != -EAGAIN;
}

static void turn(struct work *w, int timeout_ms)
{
	struct pollfd p[3 + LEFT_MAX] = {
		{ .fd = w->sig, .events = POLLIN },
		{ .fd = w->over ? -1 : w->loop, .events = POLLIN },
		{ .fd = w->link, .events = (short)(POLLIN | (w->slow ? POLLOUT : 0)) },
	};

	for (unsigned i = 0; i < LEFT_MAX; i++)
		p[3 + i] = (struct pollfd){ .fd = w->left[i].link, .events = POLLIN };
	if (poll(p, 3 + LEFT_MAX, timeout_ms) <= 0)
		return;
	if (p[0].revents)
		reap(w);
	for (unsigned i = 0; i < LEFT_MAX; i++)
		if (p[3 + i].revents)
			hear_left(w, &w->left[i]);
	if (p[1].revents)
		hear_loop(w);
	if (p[2].revents & (POLLIN | POLLHUP | POLLERR))
		hear_proxy(w);
	if (w->slow && p[2].revents & POLLOUT)
		announce_all(w);
}

/* The loop is gone: every namespace goes, and what runs in it has its time to end */
static void finish(struct work *w)
{
	uint64_t until = clock_mono() + GRACE_NS, now;

	shut(&w->link);
	for (unsigned i = 0; i < LEFT_MAX; i++)
		shut(&w->left[i].link);
	for (struct endpoint **at = &w->first; *at;)
		if ((*at)->state == DESTROYING || !remove_at(w, at))
			at = &(*at)->next;
	while (w->first && (now = clock_mono()) < until)
		turn(w, (int)((until - now) / 1000000u) + 1);
	while (w->first) {
		command_end(w->first->task, SIGKILL);
		command_end(w->first->group, SIGKILL);
		drop(&w->first);
	}
}

int broker_run(int fd, const struct broker_conf *c)
{
	struct work w = { .conf = c, .loop = fd, .link = -1, .pair = -1 };
	sigset_t set;

	for (unsigned i = 0; i < LEFT_MAX; i++)
		w.left[i].link = -1;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	w.sig = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (w.sig < 0)
		return EXIT_RUNTIME;
	while (!w.over)
		turn(&w, -1);
	finish(&w);
	close(w.sig);
	return EXIT_SUCCESS;
}
