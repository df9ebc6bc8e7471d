/* SPDX-License-Identifier: MIT */
/*
 * conform_health.c - Health checks as a load balancer makes them: ordinary TCP or HTTP
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conform.h"
#include "wire.h"

#define CHECK_MS	2000ull
#define HALF_OPEN	200u
#define AT_ONCE		20u

void case_health(struct suite *s)
{
	if (!s->conf->health)
		snprintf(s->detail, sizeof(s->detail), "no --health given");
}

/* "tcp:PORT" or "http:PORT/PATH"; checked when the options were read */
static uint16_t health_port(const struct suite *s)
{
	return (uint16_t)atoi(strchr(s->conf->health, ':') + 1);
}

static int health_connect(const struct suite *s)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons(health_port(s)),
				   .sin_addr.s_addr = htonl(s->target.addr) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (struct sockaddr *)&sin, sizeof(sin)) < 0 &&
	    errno != EINPROGRESS) {
		close(fd);
		return -1;
	}
	return fd;
}

static bool health_ready(int fd, short events, uint64_t end_ns)
{
	struct pollfd p = { .fd = fd, .events = events };
	uint64_t now = suite_now_ns();
	int err = 0;
	socklen_t n = sizeof(err);

	return poll(&p, 1, end_ns > now ? (int)((end_ns - now) / 1000000) : 0) == 1 &&
	       !getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &n) && !err;
}

static bool health_http(const struct suite *s, int fd, uint64_t end_ns)
{
	const char *path = strchr(s->conf->health, '/');
	char buf[512];
	ssize_t n;
	int status;

	n = snprintf(buf, sizeof(buf),
		     "GET %s HTTP/1.1\r\nHost: appliance\r\nConnection: close\r\n\r\n",
		     path ? path : "/");
	if (n >= (ssize_t)sizeof(buf) || send(fd, buf, (size_t)n, MSG_NOSIGNAL) != n ||
	    !health_ready(fd, POLLIN, end_ns))
		return false;
	n = recv(fd, buf, sizeof(buf) - 1, 0);
	if (n <= 0)
		return false;
	buf[n] = '\0';
	return sscanf(buf, "HTTP/1.%*1d %d", &status) == 1 && status >= 200 && status < 400;
}

/* Checks made at once share one end */
static uint64_t health_end_ns(void)
{
	return suite_now_ns() + CHECK_MS * 1000000ull;
}

static bool health_finish(const struct suite *s, int fd, uint64_t end_ns)
{
	bool ok = fd >= 0 && health_ready(fd, POLLOUT, end_ns) &&
		  (strncmp(s->conf->health, "http", 4) != 0 || health_http(s, fd, end_ns));

	if (fd >= 0)
		close(fd);
	return ok;
}

uint32_t check_health(struct suite *s)
{
	if (!s->conf->health || health_finish(s, health_connect(s), health_end_ns()))
		return 0;
	return DEV_HEALTH;
}

uint32_t check_health_open(struct suite *s)
{
	int fds[HALF_OPEN];
	uint32_t dev;

	if (!s->conf->health)
		return 0;
	for (unsigned i = 0; i < HALF_OPEN; i++)
		fds[i] = health_connect(s);
	dev = check_health(s);
	for (unsigned i = 0; i < HALF_OPEN; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return dev;
}

uint32_t check_health_many(struct suite *s)
{
	int fds[AT_ONCE];
	uint64_t end_ns = health_end_ns();
	uint32_t dev = 0;

	if (!s->conf->health)
		return 0;
	for (unsigned i = 0; i < AT_ONCE; i++)
		fds[i] = health_connect(s);
	for (unsigned i = 0; i < AT_ONCE; i++)
		if (!health_finish(s, fds[i], end_ns))
			dev = DEV_HEALTH;
	return dev;
}
