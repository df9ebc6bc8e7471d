/* SPDX-License-Identifier: MIT */
/*
 * Behaviour of libzmq that the streams rely on, or guard against
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <zmq.h>

#include "../tap.h"

#define WAIT_MS	2000
#define HWM	4

static char dir[] = "/tmp/t_zmq-XXXXXX";

static void *sock(void *ctx, int type)
{
	void *s = zmq_socket(ctx, type);
	int linger = 0, hwm = HWM, one = 1, ms = WAIT_MS;

	zmq_setsockopt(s, ZMQ_LINGER, &linger, sizeof(linger));
	zmq_setsockopt(s, ZMQ_SNDHWM, &hwm, sizeof(hwm));
	zmq_setsockopt(s, ZMQ_RCVHWM, &hwm, sizeof(hwm));
	zmq_setsockopt(s, ZMQ_IMMEDIATE, &one, sizeof(one));
	zmq_setsockopt(s, ZMQ_RCVTIMEO, &ms, sizeof(ms));
	zmq_setsockopt(s, ZMQ_SNDTIMEO, &ms, sizeof(ms));
	return s;
}

static int got(void *s, char c)
{
	char buf[8] = "";

	return zmq_recv(s, buf, sizeof(buf), 0) == 1 && buf[0] == c;
}

static int events(void *s)
{
	size_t len = sizeof(int);
	int ev = 0;

	zmq_getsockopt(s, ZMQ_EVENTS, &ev, &len);
	return ev;
}

/* Why the binder of an endpoint holds a lock beside it */
static void test_steal(void *ctx, const char *ep)
{
	void *first = sock(ctx, ZMQ_PULL), *second = sock(ctx, ZMQ_PULL), *push = sock(ctx, ZMQ_PUSH);
	char c;

	OK(!zmq_bind(first, ep), "bind");
	OK(!zmq_bind(second, ep), "another one takes the path, and nobody is told");
	OK(!zmq_connect(push, ep) && zmq_send(push, "a", 1, 0) == 1, "a message to it");
	OK(got(second, 'a'), "the second has it");
	OK(zmq_recv(first, &c, 1, ZMQ_DONTWAIT) < 0 && errno == EAGAIN, "the first has not");
	zmq_close(push);
	zmq_close(second);
	zmq_close(first);
}

/* Producers may start first: nothing is taken while nobody is there. */
static void test_order(void *ctx, const char *ep)
{
	void *push = sock(ctx, ZMQ_PUSH), *pull = sock(ctx, ZMQ_PULL);

	OK(!zmq_connect(push, ep), "connect before anybody has bound");
	OK(zmq_send(push, "a", 1, ZMQ_DONTWAIT) < 0 && errno == EAGAIN,
	   "ZMQ_IMMEDIATE: nothing is queued for nobody");
	OK(!zmq_bind(pull, ep) && zmq_send(push, "b", 1, 0) == 1 && got(pull, 'b'),
	   "bound later: it goes");
	zmq_close(push);
	zmq_close(pull);
}

/* Messages of 1 MiB until none is taken for a while */
static int fill(void *push)
{
	static char big[1 << 20];
	int n = 0;

	for (int quiet = 0; quiet < 10 && n < 100; quiet++) {
		usleep(10000);
		while (n < 100 && zmq_send(push, big, sizeof(big), n ? ZMQ_DONTWAIT : 0) > 0) {
			n++;
			quiet = 0;
		}
	}
	return n;
}

/* What may be on its way, and so be lost, is bounded. */
static void test_bounded(void *ctx, const char *ep)
{
	void *push = sock(ctx, ZMQ_PUSH), *pull = sock(ctx, ZMQ_PULL);
	int n;

	zmq_bind(pull, ep);
	zmq_connect(push, ep);
	n = fill(push);
	OK(n && n < 4 * HWM, "a reader that does not read stops its writer after %d messages", n);
	zmq_close(push);
	zmq_close(pull);
}

/* poll() on ZMQ_FD is only right after "would block". */
static void test_edge(void *ctx, const char *ep)
{
	void *push = sock(ctx, ZMQ_PUSH), *pull = sock(ctx, ZMQ_PULL);
	struct pollfd p = { .events = POLLIN };
	size_t len = sizeof(p.fd);

	zmq_bind(pull, ep);
	zmq_connect(push, ep);
	zmq_getsockopt(pull, ZMQ_FD, &p.fd, &len);
	zmq_send(push, "a", 1, 0);
	zmq_send(push, "b", 1, 0);
	OK(got(pull, 'a'), "one of two messages");
	for (int ms = 0; !(events(pull) & ZMQ_POLLIN) && ms < WAIT_MS; ms += 10)
		usleep(10000);
	OK(events(pull) & ZMQ_POLLIN && poll(&p, 1, 0) == 0,
	   "the other is there, and its descriptor does not say so");
	OK(got(pull, 'b') && !(events(pull) & ZMQ_POLLIN), "none is left");
	zmq_send(push, "c", 1, 0);
	OK(poll(&p, 1, WAIT_MS) == 1, "the next one wakes");
	zmq_close(push);
	zmq_close(pull);
}

/* A full socket's descriptor says when there is room, and its events, not the next send,
 * are how to know. */
static void test_room(void *ctx, const char *ep)
{
	void *push = sock(ctx, ZMQ_PUSH), *pull = sock(ctx, ZMQ_PULL);
	struct pollfd p = { .events = POLLIN };
	size_t len = sizeof(p.fd);
	int n, left, woken = 0;

	zmq_bind(pull, ep);
	zmq_connect(push, ep);
	zmq_getsockopt(push, ZMQ_FD, &p.fd, &len);
	n = left = fill(push);
	OK(!(events(push) & ZMQ_POLLOUT) && poll(&p, 1, 0) == 0, "full, after %d messages", n);
	while (left && zmq_recv(pull, NULL, 0, 0) > 0)
		left--;
	while (!(events(push) & ZMQ_POLLOUT) && poll(&p, 1, WAIT_MS) == 1)
		woken++;
	OK(!left && events(push) & ZMQ_POLLOUT, "read empty: asked, it takes more (woken %d times)",
	   woken);
	OK(zmq_send(push, "a", 1, ZMQ_DONTWAIT) == 1, "and does");
	zmq_close(push);
	zmq_close(pull);
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* The end waits for the reader no longer than the linger time. */
static void test_linger(const char *ep)
{
	void *ctx = zmq_ctx_new(), *other = zmq_ctx_new();
	void *push = sock(ctx, ZMQ_PUSH), *pull = sock(other, ZMQ_PULL);
	int linger = 300;
	double t;

	zmq_bind(pull, ep);
	zmq_connect(push, ep);
	zmq_setsockopt(push, ZMQ_LINGER, &linger, sizeof(linger));
	fill(push);
	t = seconds();
	zmq_close(push);
	zmq_ctx_term(ctx);
	t = seconds() - t;
	OK(t > 0.2 && t < 2, "the context ends after the linger time: %.1f s", t);
	zmq_close(pull);
	zmq_ctx_term(other);
}

int main(void)
{
	static void (*const tests[])(void *ctx, const char *ep) = {
		test_steal, test_order, test_bounded, test_edge, test_room,
	};
	unsigned n = sizeof(tests) / sizeof(tests[0]);
	void *ctx = zmq_ctx_new();
	char ep[64];

	if (!mkdtemp(dir))
		return 1;
	for (unsigned i = 0; i <= n; i++) {
		snprintf(ep, sizeof(ep), "ipc://%s/%u", dir, i);
		if (i < n)
			tests[i](ctx, ep);
		else
			test_linger(ep);
	}
	zmq_ctx_term(ctx);
	for (unsigned i = 0; i <= n; i++) {
		snprintf(ep, sizeof(ep), "%s/%u", dir, i);
		unlink(ep);
	}
	rmdir(dir);
	return tap_done();
}
