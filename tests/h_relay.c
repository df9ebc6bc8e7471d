/* SPDX-License-Identifier: MIT */
/*
 * h_relay.c - An engine of gwproxy between real peers: h_relay PORT UPSTREAM_PORT ENGINE [HOOK...]
 *
 * Listens on 127.0.0.1:PORT, relays each connection to 127.0.0.1:UPSTREAM_PORT.  ENGINE: h1, h2 or
 * copy (no engine at all: what the others are compared with).  HOOK: "header" (X-Seen on both heads),
 * "body" (bodies go through a hook that changes nothing), "upper" (bodies and messages in
 * capitals), "look" (messages of WebSocket are looked at), "log" (none of these).  Says "ready", and for each exchange
 * its method, path, status and end; at the end of its stdin it ends.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>

#include "../gwproxy/message_int.h"
#include "legpair.h"

struct pass {
	struct plain_leg cl, sl;
	struct conn_facts facts;
	struct relay *r;
	uint64_t deadline_ns;
	short ec, es;		/* registered */
	struct pass *next, **prev;
};

static int ep;
static struct pass *all;
static const char *engine;
static bool do_header, do_body, do_upper, do_look, quiet;

static struct text upper(struct body *b)
{
	static char *room;
	static size_t n;

	if (b->len > n)
		room = realloc(room, n = b->len);
	for (size_t i = 0; i < b->len; i++)
		room[i] = (char)toupper(b->data[i]);
	return (struct text){ room, b->len };
}

static enum hook_verdict on_request(void *ctx, unsigned self, struct exchange *x)
{
	(void)ctx, (void)self;
	if (do_header)
		message_set(x->req, text_of("X-Seen"), text_of("up"));
	return HOOK_PASS;
}

static enum hook_verdict on_response(void *ctx, unsigned self, struct exchange *x)
{
	(void)ctx, (void)self;
	if (do_header)
		message_set(x->resp, text_of("X-Seen"), text_of("down"));
	return HOOK_PASS;
}

static enum hook_verdict on_body(void *ctx, unsigned self, struct exchange *x, struct body *b)
{
	(void)ctx, (void)self, (void)x;
	if (do_upper && b->len) {
		struct text t = upper(b);

		body_replace(b, t.p, t.len);
	}
	return HOOK_PASS;
}

static enum hook_verdict on_message(void *ctx, unsigned self, struct exchange *x, bool from_client,
				    enum ws_kind kind, struct body *b)
{
	(void)ctx, (void)self, (void)x;
	if (!quiet)
		printf("message %s %d %zu%s\n", from_client ? "up" : "down", kind, b->len, b->last ? "" : "+");
	return from_client || kind != WS_TEXT ? HOOK_PASS : on_body(NULL, 0, x, b);
}

static bool on_changes(void *ctx, unsigned self, const struct exchange *x, bool response)
{
	(void)ctx, (void)self, (void)x;
	return do_body || (do_upper && (response || x->upgraded));
}

static void on_end(void *ctx, unsigned self, struct exchange *x)
{
	struct text m = message_method(x->req), p = message_path(x->req);

	(void)ctx, (void)self;
	if (!quiet)
		printf("%.*s %.*s %u %s\n", (int)m.len, m.p, (int)p.len, p.p,
		       x->resp ? message_status(x->resp) : 0, x->why);
}

static struct hook_ops hook = {
	.name = "test", .request = on_request, .response = on_response, .request_body = on_body,
	.response_body = on_body, .body_changes = on_changes, .exchange_end = on_end,
};
static struct hooks hooks;

/* No engine: bytes from here to there */
struct copy {
	struct relay r;
	struct {
		char buf[65536];
		size_t off, len;
		bool eof, shut;
	} way[2];
};

static bool copy_way(struct copy *c, int i, struct leg *from, struct leg *to, short *in, short *out)
{
	ssize_t n;

	*in = *out = 0;
	for (;;) {
		if (c->way[i].len) {
			n = leg_writev(to, &(struct iovec){ c->way[i].buf + c->way[i].off, c->way[i].len }, 1);
			if (n == -EAGAIN)
				*out = POLLOUT;
			if (n <= 0)
				return n == -EAGAIN;
			c->way[i].off += (size_t)n;
			c->way[i].len -= (size_t)n;
			continue;
		}
		if (c->way[i].eof) {
			if (!c->way[i].shut)
				leg_shut(to);
			c->way[i].shut = true;
			return true;
		}
		n = leg_read(from, c->way[i].buf, sizeof(c->way[i].buf));
		if (n < 0) {
			*in = POLLIN;
			return n == -EAGAIN;
		}
		c->way[i].off = 0;
		c->way[i].len = (size_t)n;
		c->way[i].eof = !n;
	}
}

static enum relay_state copy_step(struct relay *r, uint64_t now)
{
	struct copy *c = (struct copy *)r;
	short ci, co, si, so;

	(void)now;
	if (!copy_way(c, 0, r->client, r->server, &ci, &so) || !copy_way(c, 1, r->server, r->client, &si, &co))
		return RELAY_RESET;
	r->want_client = ci | co;
	r->want_server = si | so;
	return c->way[0].shut && c->way[1].shut ? RELAY_DONE : RELAY_WAIT;
}

static void copy_free(struct relay *r, const char *why)
{
	(void)why;
	free(r);
}

static const struct relay_ops copy_ops = { "copy", copy_step, copy_free };

static struct relay *copy_new(struct leg *client, struct leg *server, struct conn_facts *f,
			      const struct hooks *h, const struct relay_times *t)
{
	struct copy *c = calloc(1, sizeof(*c));

	(void)h, (void)t;
	c->r = (struct relay){ .ops = &copy_ops, .client = client, .server = server, .conn = f };
	return &c->r;
}

static void watch(struct leg *l, struct pass *p, short want, short *has)
{
	struct epoll_event e = { .events = (uint32_t)want, .data.ptr = p };

	if (want == *has)
		return;
	epoll_ctl(ep, *has < 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, l->fd, &e);
	*has = want;
}

static void step(struct pass *p, bool hung_up)
{
	enum relay_state s = relay_step(p->r, clock_mono());

	if (s == RELAY_WAIT && hung_up && !p->r->want_client && !p->r->want_server)
		s = RELAY_RESET;
	if (s == RELAY_WAIT) {
		watch(&p->cl.l, p, p->r->want_client, &p->ec);
		watch(&p->sl.l, p, p->r->want_server, &p->es);
		p->deadline_ns = p->r->deadline_ns;
		return;
	}
	relay_free(p->r, p->r->why);
	leg_close(&p->cl.l, false);
	leg_close(&p->sl.l, false);
	*p->prev = p->next;
	if (p->next)
		p->next->prev = p->prev;
	free(p);
}

static void accept_one(int l, int upstream)
{
	static const struct relay_times times = { 60000000000u, 10000000000u, 60000000000u,
						  60000000000u, 1000000000u };
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)upstream),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int c = accept4(l, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), s;
	relay_maker *make = !strcmp(engine, "h1") ? h1_relay_new : !strcmp(engine, "h2") ? h2_relay_new : copy_new;
	struct pass *p;

	if (c < 0)
		return;
	s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(s, (struct sockaddr *)&to, sizeof(to))) {
		close(s);
		close(c);
		return;
	}
	fcntl(s, F_SETFL, O_NONBLOCK);
	setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	p = calloc(1, sizeof(*p));
	p->cl.l = (struct leg){ .ops = &plain_ops, .fd = c, .plain = true };
	p->sl.l = (struct leg){ .ops = &plain_ops, .fd = s, .plain = true };
	p->ec = p->es = -1;
	p->next = all;
	p->prev = &all;
	if (all)
		all->prev = &p->next;
	all = p;
	p->r = make(&p->cl.l, &p->sl.l, &p->facts, hooks.n ? &hooks : NULL, &times);
	step(p, false);
}

static int wait_ms(void)
{
	uint64_t now = clock_mono(), first = UINT64_MAX;

	for (struct pass *p = all; p; p = p->next)
		if (p->deadline_ns && p->deadline_ns < first)
			first = p->deadline_ns;
	return first == UINT64_MAX ? -1 : first <= now ? 0 : (int)((first - now) / 1000000u) + 1;
}

static void late(void)
{
	uint64_t now = clock_mono();

	for (struct pass *p = all, *next; p; p = next) {
		next = p->next;
		if (p->deadline_ns && p->deadline_ns <= now)
			step(p, false);
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int l = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), n;
	struct epoll_event e[64];

	if (argc < 4)
		return 2;
	engine = argv[3];
	for (int i = 4; i < argc; i++) {
		do_header |= !strcmp(argv[i], "header");
		do_body |= !strcmp(argv[i], "body");
		do_upper |= !strcmp(argv[i], "upper");
		do_look |= !strcmp(argv[i], "look") || !strcmp(argv[i], "upper");
		quiet |= !strcmp(argv[i], "quiet");
	}
	if (do_look)
		hook.ws_message = on_message;
	if (argc > 4 && strcmp(argv[4], "quiet"))
		hooks_add(&hooks, &hook, NULL);
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	at.sin_port = htons((uint16_t)atoi(argv[1]));
	setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
	if (bind(l, (struct sockaddr *)&at, sizeof(at)) || listen(l, 1024))
		return 1;
	ep = epoll_create1(EPOLL_CLOEXEC);
	epoll_ctl(ep, EPOLL_CTL_ADD, l, &(struct epoll_event){ .events = EPOLLIN, .data.ptr = &l });
	epoll_ctl(ep, EPOLL_CTL_ADD, 0, &(struct epoll_event){ .events = EPOLLIN, .data.ptr = &ep });
	puts("ready");
	for (;;) {
		/* One at a time: the step of one may free what another event names */
		n = epoll_wait(ep, e, 1, wait_ms());
		late();
		if (n < 1)
			continue;
		if (e[0].data.ptr == &ep)
			break;
		if (e[0].data.ptr == &l) {
			accept_one(l, atoi(argv[2]));
			continue;
		}
		for (struct pass *p = all; p; p = p->next)
			if (p == e[0].data.ptr) {
				step(p, e[0].events & (EPOLLHUP | EPOLLERR));
				break;
			}
	}
	while (all) {
		struct pass *p = all;

		all = p->next;
		relay_free(p->r, "end");
		leg_close(&p->cl.l, false);
		leg_close(&p->sl.l, false);
		free(p);
	}
	return 0;
}
