/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "health.h"
#include "wire.h"

#define UNPROVEN_MS	200u	/* a target not yet proven is looked at more often */

const char *health_state_name(enum health_state state)
{
	static const char *const names[] = {
		[HEALTH_INITIAL] = "initial",
		[HEALTH_HEALTHY] = "healthy",
		[HEALTH_UNHEALTHY] = "unhealthy",
	};

	return names[state];
}

bool health_parse(struct health_conf *c, const char *text)
{
	bool http = !strncmp(text, "http:", 5), tcp = !strncmp(text, "tcp:", 4);
	const char *number = text + (http ? 5 : 4);
	unsigned long port;
	char *end;

	if ((!http && !tcp) || !isdigit((unsigned char)*number))
		return false;
	port = strtoul(number, &end, 10);
	if (!port || port > UINT16_MAX || (*end && (tcp || *end != '/')) ||
	    strlen(end) >= HEALTH_PATH || strpbrk(end, " \t\r\n"))
		return false;
	c->kind = http ? HEALTH_HTTP : HEALTH_TCP;
	c->port = (uint16_t)port;
	snprintf(c->path, sizeof(c->path), "%s", *end ? end : "/");
	return true;
}

void health_init(struct health *h, const struct health_conf *conf, struct in_addr addr)
{
	*h = (struct health){
		.conf = conf,
		.addr = addr,
		.fd = -1,
		.state = conf->kind == HEALTH_NONE ? HEALTH_HEALTHY : HEALTH_INITIAL,
	};
}

void health_close(struct health *h)
{
	if (h->fd >= 0)
		close(h->fd);
	h->fd = -1;
}

/* The check in hand is over: @why is NULL after a success */
static bool finish(struct health *h, const char *why, uint64_t now_ms)
{
	const struct health_conf *c = h->conf;
	enum health_state is = why ? HEALTH_UNHEALTHY : HEALTH_HEALTHY;
	unsigned need = why ? c->down_after : h->proven ? c->up_after : 1;

	health_close(h);
	h->checks++;
	if (why != h->reason)
		snprintf(h->reason, sizeof(h->reason), "%s", why ? why : "");
	h->in_row = is == h->state ? 0 : h->in_row + 1;
	h->proven = h->proven || !why;
	h->due_ms = h->started_ms + c->interval_ms;
	if (!h->proven)
		h->due_ms = MIN(h->due_ms, now_ms + UNPROVEN_MS);
	if (is == h->state || h->in_row < need)
		return false;
	h->in_row = 0;
	h->state = is;
	return true;
}

static const char *start(struct health *h, uint64_t now_ms)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(h->conf->port),
				  .sin_addr = h->addr };

	h->started_ms = now_ms;
	h->asked = false;
	h->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (h->fd < 0)
		return strerror(errno);
	if (connect(h->fd, (struct sockaddr *)&to, sizeof(to)) && errno != EINPROGRESS)
		return strerror(errno);
	return NULL;
}

/* Connected: an error, or the request on its way */
static const char *ask(struct health *h)
{
	char text[HEALTH_PATH + 128];
	socklen_t len = sizeof(int);
	int err = 0, n;

	getsockopt(h->fd, SOL_SOCKET, SO_ERROR, &err, &len);
	if (err)
		return strerror(err);
	h->asked = true;
	if (h->conf->kind == HEALTH_TCP)
		return NULL;
	n = snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: %s:%u\r\n"
		     "User-Agent: ELB-HealthChecker/2.0\r\nConnection: close\r\n\r\n",
		     h->conf->path, "appliance", h->conf->port);
	return send(h->fd, text, (size_t)n, MSG_NOSIGNAL) == n ? NULL : "request not sent";
}

/* "HTTP/1.1 200 ": a status from 200 to 399 is a success */
static const char *answer(struct health *h)
{
	char text[16] = "";
	ssize_t n = recv(h->fd, text, sizeof(text) - 1, 0);
	int status = 0;

	if (n <= 0)
		return n ? strerror(errno) : "closed without an answer";
	if (n < 12 || strncmp(text, "HTTP/1.", 7) != 0)
		return "no HTTP answer";
	status = atoi(text + 9);
	if (status >= 200 && status < 400)
		return NULL;
	snprintf(h->reason, sizeof(h->reason), "status %d", status);
	return h->reason;
}

static bool is_ready(int fd, short events)
{
	struct pollfd pfd = { .fd = fd, .events = events };

	return poll(&pfd, 1, 0) > 0;
}

bool health_tick(struct health *h, uint64_t now_ms)
{
	const char *why;

	if (h->conf->kind == HEALTH_NONE)
		return false;
	if (h->fd < 0) {
		if (now_ms < h->due_ms)
			return false;
		why = start(h, now_ms);
		if (why)
			return finish(h, why, now_ms);
	}
	if (!h->asked && is_ready(h->fd, POLLOUT)) {
		why = ask(h);
		if (why || h->conf->kind == HEALTH_TCP)
			return finish(h, why, now_ms);
	}
	if (h->asked && is_ready(h->fd, POLLIN))
		return finish(h, answer(h), now_ms);
	if (now_ms - h->started_ms >= h->conf->timeout_ms)
		return finish(h, "timeout", now_ms);
	return false;
}
