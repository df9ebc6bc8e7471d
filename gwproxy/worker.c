/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "conn.h"
#include "lane.h"
#include "leg_sock.h"
#include "log.h"
#include "policy.h"
#include "splice.h"
#include "tls.h"
#include "tlsio.h"
#include "wire.h"

static void close_link(struct worker *w)
{
	if (w->link >= 0)
		close(w->link);
	w->link = -1;
}

static void take(struct worker *w, const struct mail *m)
{
	switch (m->kind) {
	case MAIL_SYN:
		conn_syn(w, &m->syn, &m->tuple, m->upstream);
		break;
	case MAIL_OVER:
		conn_over(w, &m->tuple, m->syn.flow);
		break;
	case MAIL_ACCEPT:
		conn_accepted(w, &m->tuple, m->fd, m->upstream);
		break;
	case MAIL_LINK:
		close_link(w);
		w->link = m->fd;
		break;
	case MAIL_LOST:
		conn_end_all(w, 0, "gwtun-gone");
		close_link(w);
		break;
	case MAIL_GONE:
		conn_end_all(w, m->tuple.endpoint, "endpoint-gone");
		break;
	case MAIL_POLICY:
		policy_put(w->policy);
		w->policy = m->policy;
		break;
	case MAIL_RESET:
		conn_end_all(w, 0, "drain-timeout");
		break;
	case MAIL_STOP:
		loop_stop(w->loop);
		break;
	}
}

static void take_mail(void *ctx, const void *msg, size_t len)
{
	if (len == sizeof(struct mail))
		take(ctx, msg);
}

static void pulse(struct timer *t)
{
	struct worker *w = (struct worker *)(void *)((char *)t - offsetof(struct worker, pulse));

	atomic_store_explicit(&w->beat_ns, loop_now(w->loop), memory_order_relaxed);
	loop_timer(w->loop, t, loop_now(w->loop) + WORKER_PULSE_NS);
}

struct worker *worker_new(struct proxy *p, unsigned index)
{
	struct worker *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->proxy = p;
	w->index = index;
	w->link = -1;
	w->loop = loop_new(take_mail, w);
	if (!w->loop || table_open(&w->table, p->max_conns)) {
		worker_free(w);
		return NULL;
	}
	w->pulse.fire = pulse;
	if (p->watched)
		pulse(&w->pulse);
	_Static_assert(sizeof(struct mail) <= LOOP_MAIL_MAX, "mail");
	return w;
}

void worker_free(struct worker *w)
{
	if (!w)
		return;
	close_link(w);
	tls_close(w->tls);
	policy_put(w->policy);
	table_close(&w->table);
	loop_free(w->loop);
	free(w);
}

void worker_run(struct worker *w)
{
	loop_run(w->loop);
	conn_end_all(w, 0, "stopped");
	loop_drain(w->loop);
	splice_pool_close();
	lane_spare_close();
	h2_mem_close();
	tlsio_spare_close();
}

static void *run(void *arg)
{
	worker_run(arg);
	return NULL;
}

void worker_start(struct worker *w)
{
	int err = pthread_create(&w->thread, NULL, run, w);

	errno = err;
	if (err)
		die("thread: %m");
}

void worker_join(struct worker *w)
{
	pthread_join(w->thread, NULL);
}

static void lose(const struct worker *w, const struct mail *m)
{
	union proxylink_msg a = { .answer = { .head.type = PROXYLINK_ANSWER,
					      .answer = PROXYLINK_SILENT, .flow = m->syn.flow } };

	if (m->kind == MAIL_SYN && m->syn.hold && w->link >= 0)
		proxylink_send(w->link, &a, NULL, 0);
	if (m->fd >= 0)
		fd_close(m->fd, true);
	if (m->upstream >= 0)
		close(m->upstream);
}

void worker_send(struct worker *w, const struct mail *m)
{
	if (!w->index)
		take(w, m);
	else if (loop_post(w->loop, m, sizeof(*m)))
		lose(w->proxy->worker[0], m);
}

/* Mails of these kinds are few, and must arrive: their box is emptied by its owner soon. */
static void send_surely(struct worker *w, const struct mail *m)
{
	if (!w->index) {
		take(w, m);
		return;
	}
	while (loop_post(w->loop, m, sizeof(*m)) == -EAGAIN)
		usleep(1000);
}

void worker_send_all(struct proxy *p, const struct mail *m)
{
	for (unsigned i = p->nworkers; i-- > 0; ) {	/* its own end comes last */
		struct mail own = *m;

		if (m->fd >= 0)
			own.fd = i ? fcntl(m->fd, F_DUPFD_CLOEXEC, 0) : m->fd;
		if (m->policy && i)
			policy_get(m->policy);
		send_surely(p->worker[i], &own);
	}
}

struct worker *worker_for(struct proxy *p, const struct tuple *t)
{
	return p->worker[(uint32_t)tuple_hash(t) % p->nworkers];
}
