/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "conn_int.h"
#include "leg_sock.h"
#include "leg_tls.h"
#include "log.h"
#include "tls.h"
#include "wire.h"

#define EVENTS	(EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)

#define TIMERS	64u	/* of others than connections */

#define CONN_OF(p, member)	((struct conn *)(void *)((char *)(p) - offsetof(struct conn, member)))

void conn_say(const struct conn *c, const char *what, const char *why)
{
	unsigned long long id = c->facts.id;
	char text[TUPLE_TEXT];

	if (!log_shows(LOG_LVL_INFO))
		return;
	tuple_print(&c->node.tuple, text);
	if (c->facts.sni[0])
		log_info("#%llu %s (%s): %s: %s", id, text, c->facts.sni, what, why);
	else
		log_info("#%llu %s: %s: %s", id, text, what, why);
}

static void conn_free(struct conn *c)
{
	loop_timer_off(c->worker->loop, &c->timer);
	free(c);
}

static bool wants_more(const struct leg *l, short want)
{
	return want & l->ready & (POLLIN | POLLOUT) || (want & POLLIN && l->pending);
}

/* What was read before a reset is still passed on; then the reset is. */
static void relay_wait(struct conn *c)
{
	const struct relay *r = c->relay;

	if (wants_more(c->client, r->want_client) || wants_more(c->server, r->want_server))
		loop_task(c->worker->loop, &c->again);
	else if (c->client->ready & POLLERR)
		conn_end(c, "client-reset", true);
	else if (c->server->ready & POLLERR)
		conn_end(c, "server-reset", true);
	else
		loop_timer(c->worker->loop, &c->timer, r->deadline_ns);
}

static void relay_on(struct conn *c)
{
	switch (relay_step(c->relay, loop_now(c->worker->loop))) {
	case RELAY_WAIT:
		relay_wait(c);
		break;
	case RELAY_DONE:
		conn_end(c, c->relay->why, false);
		break;
	case RELAY_RESET:
		conn_end(c, c->relay->why, true);
		break;
	}
}

/* An end that was reset while nothing is relayed yet */
static bool broken(struct conn *c)
{
	if (c->client && c->client->ready & POLLERR)
		conn_end(c, "client-reset", true);
	else if (c->server && c->server->ready & POLLERR)
		conn_end(c, "server-reset", true);
	else
		return false;
	return true;
}

static void step(struct conn *c)
{
	switch (c->state) {
	case CONN_SNIFF:
		if (!c->facts.tls && broken(c))
			break;
		choose_step(c);		/* an alert may lie in front of a reset */
		if (c->state == CONN_SNIFF)
			broken(c);
		break;
	case CONN_SHAKE:
		tls_step(c);		/* likewise */
		if (c->state == CONN_SHAKE)
			broken(c);
		break;
	case CONN_RELAY:
		relay_on(c);
		break;
	case CONN_CONNECT:
	case CONN_ANSWER:
	case CONN_AWAIT:
		broken(c);
		break;
	case CONN_DEAD:
		break;
	}
}

/* epoll(7) and poll(2) use the same bits */
static void note(struct leg *l, uint32_t events)
{
	if (events & (EPOLLHUP | EPOLLERR))
		events |= EPOLLIN | EPOLLOUT;
	l->ready |= (short)(events & (EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLRDHUP));
}

static void client_ready(struct watch *w, uint32_t events)
{
	struct conn *c = CONN_OF(w, on_client);

	if (c->state == CONN_DEAD)
		return;
	note(c->client, events);
	step(c);
}

static void server_ready(struct watch *w, uint32_t events)
{
	struct conn *c = CONN_OF(w, on_server);

	if (c->state == CONN_DEAD)
		return;
	note(c->server, events);
	if (c->state == CONN_CONNECT)
		connect_step(c, events);
	else
		step(c);
}

static void conn_again(struct task *t)
{
	struct conn *c = CONN_OF(t, again);

	if (c->state == CONN_DEAD)
		conn_free(c);
	else
		step(c);
}

static void conn_fire(struct timer *t)
{
	struct conn *c = CONN_OF(t, timer);

	switch (c->state) {
	case CONN_CONNECT:
		connect_timeout(c);
		break;
	case CONN_ANSWER:
		connect_answer(c);
		break;
	case CONN_AWAIT:
		conn_end(c, "client-gone", true);
		break;
	case CONN_SNIFF:
		choose_timeout(c);
		break;
	case CONN_SHAKE:
		conn_end(c, "handshake-timeout", true);
		break;
	case CONN_RELAY:
		relay_on(c);
		break;
	case CONN_DEAD:
		break;
	}
}

struct conn *conn_new(struct worker *w, const struct tuple *t)
{
	struct conn *c;

	if (atomic_load_explicit(&w->open, memory_order_relaxed) >= w->proxy->max_conns ||
	    loop_reserve(w->loop, w->proxy->max_conns + TIMERS) || !(c = calloc(1, sizeof(*c)))) {
		count(w, COUNT_FULL);
		return NULL;
	}
	c->worker = w;
	c->node.tuple = *t;
	c->on_client.ready = client_ready;
	c->on_server.ready = server_ready;
	c->again.run = conn_again;
	c->timer.fire = conn_fire;
	c->facts.id = w->next_id++ * w->proxy->nworkers + w->index;
	c->facts.endpoint = t->endpoint;
	c->facts.opened_ns = clock_real();
	tuple_address(t, true, &c->facts.client);
	tuple_address(t, false, &c->facts.server);
	c->next = w->conns;
	c->prev = &w->conns;
	if (c->next)
		c->next->prev = &c->next;
	w->conns = c;
	table_add(&w->table, &c->node);
	atomic_fetch_add_explicit(&w->open, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&w->half, 1, memory_order_relaxed);
	count(w, COUNT_OPENED);
	return c;
}

int conn_leg(struct conn *c, struct leg *l, bool client)
{
	if (client)
		c->client = l;
	else
		c->server = l;
	return loop_watch(c->worker->loop, l->fd, EVENTS, client ? &c->on_client : &c->on_server);
}

void conn_state(struct conn *c, enum conn_state s, uint64_t limit_ns)
{
	c->state = s;
	loop_timer(c->worker->loop, &c->timer, loop_now(c->worker->loop) + limit_ns);
}

static bool is_timeout(const char *why)
{
	size_t n = strlen(why);

	return n > 8 && !strcmp(why + n - 8, "-timeout");
}

static void say_broken(struct conn *c, struct leg *l, bool reset)
{
	if (!l || l->plain)
		return;
	if (reset)
		leg_tls_last_word(l);
	if (l->broke)
		conn_say(c, l == c->client ? "client-tls" : "server-tls", l->broke);
}

/* In TLS 1.3 a server refuses a client that shows no certificate when the handshake is over for the
 * client, and maybe for ours: what looks like a reset begins with an alert. */
static const char *say_why(struct conn *c, const char *why, bool reset)
{
	say_broken(c, c->client, reset);
	say_broken(c, c->server, reset);
	if (c->cert_asked && c->server && c->server->broke && !c->facts.bytes_down)
		return "client-certificate";
	return why;
}

void conn_end(struct conn *c, const char *why, bool reset)
{
	struct worker *w = c->worker;

	if (c->state == CONN_DEAD)
		return;
	c->state = CONN_DEAD;
	connect_forsake(c);
	why = say_why(c, why, reset);
	relay_free(c->relay, why);
	tls_shake_free(c);
	if (c->client && c->server) {
		c->client->quiet |= c->server->cut;
		c->server->quiet |= c->client->cut;
	}
	if (c->client)
		leg_close(c->client, reset);
	if (c->server) {
		/* a broker may still hold it: closing alone would not end the watch */
		if (w->proxy->transparent)
			loop_unwatch(w->loop, c->server->fd);
		leg_close(c->server, reset);
	}
	c->facts.why = why;
	conn_say(c, "ended", why);
	if (w->hooks)
		hooks_conn_close(w->hooks, &c->facts);
	table_del(&w->table, &c->node);
	*c->prev = c->next;
	if (c->next)
		c->next->prev = c->prev;
	loop_timer(w->loop, &c->timer, 0);
	loop_task(w->loop, &c->again);
	atomic_fetch_sub_explicit(&w->open, 1, memory_order_relaxed);
	if (!c->whole)
		atomic_fetch_sub_explicit(&w->half, 1, memory_order_relaxed);
	count(w, COUNT_CLOSED);
	atomic_fetch_add_explicit(&w->bytes, c->facts.bytes_up + c->facts.bytes_down, memory_order_relaxed);
	if (reset)
		count(w, is_timeout(why) ? COUNT_TIMEOUT : COUNT_RESET);
}

void conn_end_all(struct worker *w, uint64_t endpoint, const char *why)
{
	for (struct conn *c = w->conns, *next; c; c = next) {
		next = c->next;
		if (!endpoint || c->node.tuple.endpoint == endpoint)
			conn_end(c, why, true);
	}
}

static void wake(struct relay *r)
{
	struct conn *c = r->owner;

	loop_task(c->worker->loop, &c->again);
}

void conn_relay(struct conn *c, struct relay *r)
{
	struct worker *w = c->worker;

	c->relay = r;
	if (!r) {
		conn_end(c, "memory", true);
		return;
	}
	r->wake = wake;
	r->owner = c;
	if (w->hooks && hooks_conn_open(w->hooks, &c->facts) == HOOK_DROP) {
		conn_end(c, "dropped", true);
		return;
	}
	c->state = CONN_RELAY;
	relay_on(c);
}

void conn_bytes(struct conn *c, const char *how)
{
	struct worker *w = c->worker;

	c->facts.how = how;
	conn_relay(c, tcp_relay_new(c->client, c->server, &c->facts, w->hooks, &w->proxy->times));
}

void conn_plain(struct conn *c, const char *why)
{
	count(c->worker, COUNT_PLAIN);
	conn_say(c, "plain", why);
	conn_bytes(c, "tcp");
}

void conn_both(struct conn *c)
{
	c->facts.connected_ns = clock_real();
	c->whole = true;
	atomic_fetch_sub_explicit(&c->worker->half, 1, memory_order_relaxed);
	choose_start(c);
}
