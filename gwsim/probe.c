/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "probe.h"
#include "wire.h"

#define UNPROVEN_MS	200u	/* a target not yet proven is looked at more often */

const char *probe_state_name(enum probe_state state)
{
	static const char *const names[] = {
		[PROBE_INITIAL] = "initial",
		[PROBE_HEALTHY] = "healthy",
		[PROBE_UNHEALTHY] = "unhealthy",
	};

	return names[state];
}

bool probe_parse(struct probe_conf *c, const char *text)
{
	bool http = !strncmp(text, "http:", 5), tcp = !strncmp(text, "tcp:", 4);
	const char *number = text + (http ? 5 : 4);
	unsigned long port;
	char *end;

	if ((!http && !tcp) || !isdigit((unsigned char)*number))
		return false;
	port = strtoul(number, &end, 10);
	if (!port || port > UINT16_MAX || (*end && (tcp || *end != '/')) ||
	    strlen(end) >= PROBE_PATH || strpbrk(end, " \t\r\n"))
		return false;
	c->kind = http ? PROBE_HTTP : PROBE_TCP;
	c->port = (uint16_t)port;
	snprintf(c->path, sizeof(c->path), "%s", *end ? end : "/");
	return true;
}

void probe_init(struct probe *p, const struct probe_conf *conf, struct in_addr addr)
{
	*p = (struct probe){
		.conf = conf,
		.addr = addr,
		.fd = -1,
		.state = conf->kind == PROBE_NONE ? PROBE_HEALTHY : PROBE_INITIAL,
	};
}

void probe_close(struct probe *p)
{
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
}

/* The check in hand is over: @why is NULL after a success */
static bool finish(struct probe *p, const char *why, uint64_t now_ms)
{
	const struct probe_conf *c = p->conf;
	enum probe_state is = why ? PROBE_UNHEALTHY : PROBE_HEALTHY;
	unsigned need = why ? c->down_after : p->proven ? c->up_after : 1;

	probe_close(p);
	p->checks++;
	if (why != p->reason)
		snprintf(p->reason, sizeof(p->reason), "%s", why ? why : "");
	p->in_row = is == p->state ? 0 : p->in_row + 1;
	p->proven = p->proven || !why;
	p->due_ms = p->started_ms + c->interval_ms;
	if (!p->proven)
		p->due_ms = MIN(p->due_ms, now_ms + UNPROVEN_MS);
	if (is == p->state || p->in_row < need)
		return false;
	p->in_row = 0;
	p->state = is;
	return true;
}

static const char *start(struct probe *p, uint64_t now_ms)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(p->conf->port),
				  .sin_addr = p->addr };

	p->started_ms = now_ms;
	p->asked = false;
	p->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (p->fd < 0)
		return strerror(errno);
	if (connect(p->fd, (struct sockaddr *)&to, sizeof(to)) && errno != EINPROGRESS)
		return strerror(errno);
	return NULL;
}

/* Connected: an error, or the request on its way */
static const char *ask(struct probe *p)
{
	char text[PROBE_PATH + 128];
	socklen_t len = sizeof(int);
	int err = 0, n;

	getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &err, &len);
	if (err)
		return strerror(err);
	p->asked = true;
	if (p->conf->kind == PROBE_TCP)
		return NULL;
	n = snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: %s:%u\r\n"
		     "User-Agent: ELB-HealthChecker/2.0\r\nConnection: close\r\n\r\n",
		     p->conf->path, "appliance", p->conf->port);
	return send(p->fd, text, (size_t)n, MSG_NOSIGNAL) == n ? NULL : "request not sent";
}

/* "HTTP/1.1 200 ": a status from 200 to 399 is a success */
static const char *answer(struct probe *p)
{
	char text[16] = "";
	ssize_t n = recv(p->fd, text, sizeof(text) - 1, 0);
	int status = 0;

	if (n <= 0)
		return n ? strerror(errno) : "closed without an answer";
	if (n < 12 || strncmp(text, "HTTP/1.", 7) != 0)
		return "no HTTP answer";
	status = atoi(text + 9);
	if (status >= 200 && status < 400)
		return NULL;
	snprintf(p->reason, sizeof(p->reason), "status %d", status);
	return p->reason;
}

static bool is_ready(int fd, short events)
{
	struct pollfd pfd = { .fd = fd, .events = events };

	return poll(&pfd, 1, 0) > 0;
}

bool probe_tick(struct probe *p, uint64_t now_ms)
{
	const char *why;

	if (p->conf->kind == PROBE_NONE)
		return false;
	if (p->fd < 0) {
		if (now_ms < p->due_ms)
			return false;
		why = start(p, now_ms);
		if (why)
			return finish(p, why, now_ms);
	}
	if (!p->asked && is_ready(p->fd, POLLOUT)) {
		why = ask(p);
		if (why || p->conf->kind == PROBE_TCP)
			return finish(p, why, now_ms);
	}
	if (p->asked && is_ready(p->fd, POLLIN))
		return finish(p, answer(p), now_ms);
	if (now_ms - p->started_ms >= p->conf->timeout_ms)
		return finish(p, "timeout", now_ms);
	return false;
}
