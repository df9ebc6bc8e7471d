/* SPDX-License-Identifier: MIT */
/*
 * health.h - Health checks of one appliance: TCP or HTTP, as a load balancer's
 *
 * Nothing waits: health_tick() is called often and looks at what has happened.
 */
#ifndef GW_HEALTH_H
#define GW_HEALTH_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#define HEALTH_PATH	256

enum health_kind { HEALTH_NONE, HEALTH_TCP, HEALTH_HTTP };

/**
 * struct health_conf - What to check and how often
 * @path:	HTTP only
 * @up_after:	Successes in a row that make an unhealthy target healthy
 * @down_after:	Failures in a row that make a target unhealthy
 */
struct health_conf {
	enum health_kind kind;
	uint16_t port;
	char path[HEALTH_PATH];
	uint64_t interval_ms;
	uint64_t timeout_ms;
	unsigned up_after;
	unsigned down_after;
};

enum health_state { HEALTH_INITIAL, HEALTH_HEALTHY, HEALTH_UNHEALTHY };

/**
 * struct health - One target's health
 * @state:	What the load balancer thinks
 * @proven:	A check has succeeded.  Before that one success is enough
 * @checks:	Checks finished
 * @reason:	Why the last one failed; "" if it did not
 */
struct health {
	const struct health_conf *conf;
	struct in_addr addr;
	enum health_state state;
	bool proven;
	int fd;
	bool asked;			/* connected and, for HTTP, request sent */
	unsigned in_row;		/* results that speak against @state */
	uint64_t due_ms;
	uint64_t started_ms;
	uint64_t checks;
	char reason[64];
};

/**
 * health_parse() - Read "tcp:8080" or "http:8080/path"
 *
 * Return: false if @text is neither; @c is then unchanged
 */
bool health_parse(struct health_conf *c, const char *text) __attribute__((nonnull));

/**
 * health_init() - Without anything to check, a target is healthy
 */
void health_init(struct health *h, const struct health_conf *conf, struct in_addr addr)
	__attribute__((nonnull));

/**
 * health_tick() - Go on with the check in hand, or start one that is due
 *
 * Return: true if @h->state has changed
 */
bool health_tick(struct health *h, uint64_t now_ms) __attribute__((nonnull));

void health_close(struct health *h) __attribute__((nonnull));

const char *health_state_name(enum health_state state);

#endif /* GW_HEALTH_H */
