/* SPDX-License-Identifier: MIT */
/*
 * conform_health.c - The tests of the appliance's health check
 */
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conform.h"

#define HALF_OPEN	200u
#define AT_ONCE		20u
#define PAUSE_MS	2u

static bool is_asked_for(const struct suite *s)
{
	return s->conf->health.kind != HEALTH_NONE;
}

void case_health(struct suite *s)
{
	if (!is_asked_for(s))
		snprintf(s->detail, sizeof(s->detail), "no --health given");
}

/* The first @n checks, at once: DEV_HEALTH if one of them fails */
static uint32_t check_all(struct suite *s, unsigned n)
{
	struct in_addr addr = { .s_addr = htonl(s->target.addr) };
	struct health h[AT_ONCE];
	unsigned going, good = 0;

	for (unsigned i = 0; i < n; i++)
		health_init(&h[i], &s->conf->health, addr);
	do {
		going = 0;
		for (unsigned i = 0; i < n; i++) {
			if (!h[i].checks)
				health_tick(&h[i], suite_now_ns() / 1000000);
			going += !h[i].checks;
		}
		if (going)
			suite_pause(s, PAUSE_MS);
	} while (going);
	for (unsigned i = 0; i < n; i++)
		good += h[i].proven;
	return good == n ? 0 : DEV_HEALTH;
}

uint32_t check_health(struct suite *s)
{
	return is_asked_for(s) ? check_all(s, 1) : 0;
}

uint32_t check_health_many(struct suite *s)
{
	return is_asked_for(s) ? check_all(s, AT_ONCE) : 0;
}

/* A connection on which nothing is asked; -1: there is none */
static int idle_connection(const struct suite *s)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(s->conf->health.port),
				  .sin_addr.s_addr = htonl(s->target.addr) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd >= 0)
		(void)!connect(fd, (struct sockaddr *)&to, sizeof(to));
	return fd;
}

uint32_t check_health_open(struct suite *s)
{
	int fds[HALF_OPEN];
	uint32_t dev;

	if (!is_asked_for(s))
		return 0;
	for (unsigned i = 0; i < HALF_OPEN; i++)
		fds[i] = idle_connection(s);
	dev = check_all(s, 1);
	for (unsigned i = 0; i < HALF_OPEN; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return dev;
}
