/* SPDX-License-Identifier: MIT */
/*
 * choose.c - What a connection is, and what is to be done with it
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "conn_int.h"
#include "leg_tls.h"
#include "log.h"
#include "policy.h"
#include "sniff.h"
#include "tls.h"
#include "wire.h"

static unsigned port(const struct conn *c)
{
	return ntohs(c->node.tuple.server_port);
}

static void block(struct conn *c, const char *where, bool tls)
{
	count(c->worker, COUNT_BLOCKED);
	c->facts.how = "block";
	conn_say(c, "block", where);
	if (tls)
		tls_refuse(c, TLS_ALERT_DENIED, "blocked");
	else
		conn_end(c, "blocked", true);
}

static void pass(struct conn *c, const char *where)
{
	count(c->worker, COUNT_PASSED);
	conn_say(c, "pass", where);
	conn_bytes(c, "pass");
}

static void http(struct conn *c, bool two)
{
	struct worker *w = c->worker;
	const struct relay_times *t = &w->proxy->times;

	if (!c->facts.tls)
		count(w, COUNT_HTTP);
	c->facts.how = two ? "h2" : "http/1.1";
	conn_say(c, c->facts.how, c->facts.tls ? "inside TLS" : "plain");
	conn_relay(c, two ? h2_relay_new(c->client, c->server, &c->facts, w->hooks, t) :
			    h1_relay_new(c->client, c->server, &c->facts, w->hooks, t));
}

/* Rules for a name, a hidden name and no name */
static void decide_tls(struct conn *c, const struct hello *h)
{
	struct worker *w = c->worker;
	enum policy_action a = POLICY_NONE;
	char where[POLICY_WHERE];

	memcpy(c->facts.sni, h->sni, sizeof(h->sni));
	if (h->ech)
		a = policy_ask(w->policy, WHEN_ECH, h->sni, where);
	if (a == POLICY_NONE && !h->sni[0])
		a = policy_ask(w->policy, WHEN_NO_SNI, "", where);
	if (a == POLICY_NONE)
		a = policy_ask(w->policy, WHEN_ALWAYS, h->sni, where);
	if (a == POLICY_INTERCEPT && !w->tls) {
		a = POLICY_PASS;
		strcpy(where, "no --ca-cert");
	} else if (a == POLICY_INTERCEPT && tls_learnt(w->proxy->tls, h->sni)) {
		a = POLICY_PASS;
		strcpy(where, "learnt");
	}
	if (a == POLICY_BLOCK) {
		block(c, where, true);
	} else if (a == POLICY_PASS) {
		pass(c, where);
	} else {
		conn_say(c, "intercept", where);
		tls_start(c, h);
	}
}

/* Something else where TLS is expected */
static void decide_other(struct conn *c, const char *why)
{
	char where[POLICY_WHERE], text[8];

	snprintf(text, sizeof(text), "%u", port(c));
	if (policy_ask(c->worker->policy, WHEN_NOT_TLS, text, where) == POLICY_BLOCK)
		block(c, where, false);
	else
		conn_plain(c, why);
}

/* Whoever spoke first has said what it is not */
static void not_client(struct conn *c, const char *why)
{
	if (c->facts.tls)
		conn_bytes(c, "tcp");
	else
		decide_other(c, why);
}

static void wait_for_more(struct conn *c)
{
	if (c->client->ready & POLLRDHUP)
		not_client(c, "client-ended");
	else if (!c->spoke)
		conn_state(c, CONN_SNIFF, c->worker->proxy->sniff_ns);
	c->spoke = true;
}

static void decide(struct conn *c, const uint8_t *buf, size_t len)
{
	const struct proxy *p = c->worker->proxy;
	struct hello h;

	bool tls = !c->facts.tls && ports_has(&p->tls_ports, port(c));

	switch (sniff(buf, len, tls, ports_has(&p->http_ports, port(c)), &h)) {
	case SNIFF_MORE:
		c->hello = tls && hello_scan(&h, buf, len) == HELLO_MORE;
		wait_for_more(c);
		break;
	case SNIFF_TLS:
		decide_tls(c, &h);
		break;
	case SNIFF_BROKEN:
		decide_other(c, "broken-hello");
		break;
	case SNIFF_HTTP1:
		http(c, false);
		break;
	case SNIFF_HTTP2:
		http(c, true);
		break;
	case SNIFF_OTHER:
		not_client(c, "not-tls");
		break;
	}
}

static ssize_t peek(struct leg *l, void *buf, size_t len)
{
	ssize_t n;

	if (!l->plain)
		return leg_tls_peek(l, buf, len);
	if (!(l->ready & POLLIN))
		return -EAGAIN;
	n = recv(l->fd, buf, len, MSG_PEEK);
	if (n < 0 && errno == EAGAIN)
		l->ready &= (short)~POLLIN;
	return n < 0 ? -errno : n;
}

/* The server's leg is looked at first: who speaks at all, speaks first there */
void choose_step(struct conn *c)
{
	uint8_t buf[HELLO_MAX];
	ssize_t n = peek(c->server, buf, 1);

	if (n >= 0) {
		not_client(c, "server-first");
		return;
	}
	if (n != -EAGAIN) {
		conn_end(c, "server-reset", true);
		return;
	}
	n = peek(c->client, buf, sizeof(buf));
	if (n > 0)
		decide(c, buf, (size_t)n);
	else if (!n)
		not_client(c, "client-ended");
	else if (n != -EAGAIN)
		conn_end(c, "client-reset", true);
}

/* Half a method, and then nothing */
static bool begins_http(struct conn *c)
{
	uint8_t buf[HELLO_MAX];
	struct hello h;
	ssize_t n = peek(c->client, buf, sizeof(buf));

	return n > 0 && ports_has(&c->worker->proxy->http_ports, port(c)) &&
	       sniff(buf, (size_t)n, false, true, &h) == SNIFF_MORE;
}

/* To be slow is no way round rules, for a hello's name or for a request */
void choose_timeout(struct conn *c)
{
	if (c->spoke && c->hello)
		conn_end(c, "sniff-timeout", true);
	else if (c->spoke && begins_http(c))
		http(c, false);
	else if (c->spoke)
		not_client(c, "sniff-timeout");
	else
		conn_end(c, "idle-timeout", true);
}

void choose_start(struct conn *c)
{
	const struct proxy *p = c->worker->proxy;
	bool tls = !c->facts.tls && ports_has(&p->tls_ports, port(c));

	if (!tls && !ports_has(&p->http_ports, port(c))) {
		not_client(c, "port");
		return;
	}
	c->spoke = false;
	conn_state(c, CONN_SNIFF, p->times.idle_ns);
	choose_step(c);
}

void choose_after_tls(struct conn *c)
{
	if (!strcmp(c->facts.alpn, "h2"))
		http(c, true);
	else if (!strncmp(c->facts.alpn, "http/1.", 7))
		http(c, false);
	else if (c->facts.alpn[0])
		conn_bytes(c, "tcp");
	else
		choose_start(c);
}
