/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "front.h"
#include "leg_sock.h"
#include "log.h"
#include "wire.h"

#define POOL_FIRST	2u
#define ACCEPTS		64	/* at once */
#define ASKED_NS	2000000000u

static void pool_ask(struct front *f, struct pool *p)
{
	union proxylink_msg m = { .endpoint = { .head.type = PROXYLINK_WANT,
						.endpoint = p->endpoint, .family = p->family } };
	unsigned have = p->n + p->asked;

	while (f->broker >= 0 && have < p->want) {
		m.endpoint.count = MIN(p->want - have, PROXYLINK_FDS);
		if (proxylink_send(f->broker, &m, NULL, 0))
			return;		/* the next connection asks again */
		p->asked += m.endpoint.count;
		p->asked_ns = loop_now(f->proxy->worker[0]->loop);
		have += m.endpoint.count;
	}
}

/* The pool fell short of what comes at once: keep twice as many. */
static void pool_grow(struct pool *p)
{
	p->want = MIN(2 * p->want, POOL_MAX);
}

static void hand_over(struct front *f, const struct mail *m)
{
	worker_send(worker_for(f->proxy, &m->tuple), m);
}

static void turn_away(struct front *f, const struct mail *m)
{
	struct worker *w = f->proxy->worker[0];
	union proxylink_msg a = { .answer = { .head.type = PROXYLINK_ANSWER,
					      .answer = PROXYLINK_SILENT, .flow = m->syn.flow } };

	count(w, COUNT_FULL);
	if (m->kind == MAIL_SYN && m->syn.hold && w->link >= 0)
		proxylink_send(w->link, &a, NULL, 0);
	if (m->fd >= 0)
		fd_close(m->fd, true);
}

static struct waiting *pop_waiting(struct front *f, struct pool *p)
{
	struct waiting *wait = p->first;

	if (!wait)
		return NULL;
	p->first = wait->next;
	if (!p->first)
		p->last = &p->first;
	f->waiting--;
	return wait;
}

/* As many as will not get a socket; all, if none is on its way: a wait has to end. */
static void give_up(struct front *f, struct pool *p, unsigned missing)
{
	struct waiting *wait;

	while ((missing || !p->asked) && (wait = pop_waiting(f, p))) {
		turn_away(f, &wait->mail);
		free(wait);
		missing -= missing > 0;
	}
}

/* A broker whose box to us was full has dropped its answer. */
static void pool_look(struct front *f, struct pool *p)
{
	if (!p->asked || loop_now(f->proxy->worker[0]->loop) - p->asked_ns < ASKED_NS)
		return;
	p->asked = 0;
	give_up(f, p, 0);
}

/* With a socket of the pool, now or when there is one */
static void with_socket(struct front *f, struct pool *p, struct mail *m)
{
	struct waiting *wait;

	if (p->n) {
		m->upstream = p->fd[--p->n];
		if (p->n < p->want / 4)
			pool_grow(p);
		pool_ask(f, p);
		hand_over(f, m);
		return;
	}
	pool_look(f, p);
	pool_grow(p);
	pool_ask(f, p);
	wait = p->asked && f->waiting < FRONT_WAITING ? malloc(sizeof(*wait)) : NULL;
	if (!wait) {
		turn_away(f, m);
		return;
	}
	f->waiting++;
	wait->mail = *m;
	wait->next = NULL;
	*p->last = wait;
	p->last = &wait->next;
}

void front_sockets(struct front *f, const struct proxylink_endpoint *m, const int *fds, unsigned n)
{
	struct endpoint *e = endpoint_find(f, m->endpoint);
	struct pool *p = e ? &e->pool[m->family == AF_INET6] : NULL;
	unsigned missing = m->count - MIN(m->count, n);

	if (p)
		p->asked -= MIN(p->asked, MAX(m->count, n));
	for (unsigned i = 0; i < n; i++) {
		struct waiting *wait = p ? pop_waiting(f, p) : NULL;

		if (wait) {
			wait->mail.upstream = fds[i];
			hand_over(f, &wait->mail);
			free(wait);
		} else if (p && p->n < POOL_MAX) {
			p->fd[p->n++] = fds[i];
		} else {
			close(fds[i]);
		}
	}
	if (!p)
		return;
	if (!missing)		/* else the next connection asks again */
		pool_ask(f, p);
	give_up(f, p, missing);
}

void front_syn(struct front *f, const struct proxylink_syn *syn)
{
	struct endpoint *e = endpoint_find(f, syn->endpoint);
	struct mail m = { .kind = MAIL_SYN, .fd = -1, .upstream = -1, .syn = *syn };

	m.tuple.endpoint = syn->endpoint;
	m.tuple.family = syn->family;
	m.tuple.client_port = syn->client_port;
	m.tuple.server_port = syn->server_port;
	memcpy(m.tuple.client, syn->client, syn->family == AF_INET ? 4 : 16);
	memcpy(m.tuple.server, syn->server, syn->family == AF_INET ? 4 : 16);
	f->seen[syn->flow % FRONT_SYNS] = (struct seen){ syn->flow, m.tuple };
	if (!e || f->closed || (syn->family != AF_INET && syn->family != AF_INET6))
		turn_away(f, &m);
	else
		with_socket(f, &e->pool[syn->family == AF_INET6], &m);
}

void front_over(struct front *f, uint64_t flow)
{
	const struct seen *s = &f->seen[flow % FRONT_SYNS];
	struct mail m = { .kind = MAIL_OVER, .fd = -1, .upstream = -1, .tuple = s->tuple,
			  .syn.flow = flow };

	if (s->flow == flow)
		hand_over(f, &m);
}

/* No descriptor is left: a connection that stays in the queue would wake us for ever. */
static bool reject_one(struct front *f, int listener)
{
	int fd;

	if (f->spare >= 0)
		close(f->spare);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0)
		fd_close(fd, true);
	f->spare = dup(listener);
	count(f->proxy->worker[0], COUNT_FULL);
	return fd >= 0;
}

static bool take_one(struct endpoint *e, int listener)
{
	struct front *f = e->front;
	struct mail m = { .kind = MAIL_ACCEPT, .upstream = -1 };
	struct sockaddr_storage client, server;
	socklen_t len = sizeof(client), slen = sizeof(server);

	m.fd = accept4(listener, (struct sockaddr *)&client, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (m.fd < 0 && (errno == EMFILE || errno == ENFILE))
		return reject_one(f, listener);
	if (m.fd < 0)
		return errno == ECONNABORTED || errno == EINTR;
	if (getsockname(m.fd, (struct sockaddr *)&server, &slen) ||
	    !tuple_set(&m.tuple, e->id, &client, &server))
		fd_close(m.fd, true);
	else if (!f->proxy->transparent || (f->proxy->hold && !f->proxy->listens))
		hand_over(f, &m);	/* its upstream is there, or needs no broker */
	else
		with_socket(f, &e->pool[m.tuple.family == AF_INET6], &m);
	return true;
}

static void take(struct endpoint *e, int which)
{
	for (int i = 0; i < ACCEPTS && take_one(e, e->listener[which]); i++)
		;
}

static void accept_first(struct watch *w, uint32_t events)
{
	(void)events;
	take((struct endpoint *)(void *)((char *)w - offsetof(struct endpoint, on_accept[0])), 0);
}

static void accept_second(struct watch *w, uint32_t events)
{
	(void)events;
	take((struct endpoint *)(void *)((char *)w - offsetof(struct endpoint, on_accept[1])), 1);
}

/* Numbers of endpoints are the load balancer's: nobody chooses what collides. */
static struct endpoint **bucket_of(struct front *f, uint64_t id)
{
	return &f->bucket[(id * 0x9e3779b97f4a7c15u) >> 54 & (FRONT_BUCKETS - 1)];
}

struct endpoint *endpoint_find(struct front *f, uint64_t id)
{
	struct endpoint *e = *bucket_of(f, id);

	while (e && e->id != id)
		e = e->next;
	return e;
}

/* Events at hand may still point to it. */
static void bury(struct task *t)
{
	free((char *)t - offsetof(struct endpoint, bury));
}

static void pool_init(struct pool *p, uint64_t endpoint, uint16_t family)
{
	p->endpoint = endpoint;
	p->family = family;
	p->want = POOL_FIRST;
	p->last = &p->first;
}

struct endpoint *endpoint_new(struct front *f, uint64_t id, const int listeners[2])
{
	struct endpoint *e = calloc(1, sizeof(*e)), **at = bucket_of(f, id);
	struct loop *l = f->proxy->worker[0]->loop;

	if (!e)
		return NULL;
	e->id = id;
	e->front = f;
	e->bury.run = bury;
	e->on_accept[0].ready = accept_first;
	e->on_accept[1].ready = accept_second;
	pool_init(&e->pool[0], id, AF_INET);
	pool_init(&e->pool[1], id, AF_INET6);
	for (int i = 0; i < 2; i++) {
		e->listener[i] = listeners[i];
		if (listeners[i] >= 0 && loop_watch(l, listeners[i], EPOLLIN, &e->on_accept[i]))
			log_warn("listener: %m");
	}
	e->next = *at;
	*at = e;
	if (f->proxy->transparent) {
		pool_ask(f, &e->pool[0]);
		pool_ask(f, &e->pool[1]);
	}
	return e;
}

static void pool_close(struct front *f, struct pool *p)
{
	struct waiting *wait;

	while ((wait = pop_waiting(f, p))) {
		turn_away(f, &wait->mail);
		free(wait);
	}
	while (p->n)
		close(p->fd[--p->n]);
}

/* gwtun has them open as well: closing alone would not end the watch. */
static void close_listeners(struct endpoint *e)
{
	for (int i = 0; i < 2; i++) {
		if (e->listener[i] < 0)
			continue;
		loop_unwatch(e->front->proxy->worker[0]->loop, e->listener[i]);
		close(e->listener[i]);
		e->listener[i] = -1;
	}
}

void endpoint_free(struct endpoint *e)
{
	struct endpoint **at = bucket_of(e->front, e->id);

	while (*at != e)
		at = &(*at)->next;
	*at = e->next;
	close_listeners(e);
	pool_close(e->front, &e->pool[0]);
	pool_close(e->front, &e->pool[1]);
	loop_task(e->front->proxy->worker[0]->loop, &e->bury);
}

void front_close(struct front *f)
{
	f->closed = true;
	for (unsigned i = 0; i < FRONT_BUCKETS; i++) {
		for (struct endpoint *e = f->bucket[i]; e; e = e->next) {
			close_listeners(e);
			pool_close(f, &e->pool[0]);
			pool_close(f, &e->pool[1]);
		}
	}
}

void front_forget(struct front *f)
{
	for (unsigned i = 0; i < FRONT_BUCKETS; i++)
		while (f->bucket[i])
			endpoint_free(f->bucket[i]);
}
