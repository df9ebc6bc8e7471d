/* SPDX-License-Identifier: MIT */
/*
 * probe.h - Health checks of one appliance: TCP or HTTP, as a load balancer's
 *
 * Nothing waits: probe_tick() is called often and looks at what has happened.
 */
#ifndef GW_PROBE_H
#define GW_PROBE_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#define PROBE_PATH	256

enum probe_kind { PROBE_NONE, PROBE_TCP, PROBE_HTTP };

/**
 * struct probe_conf - What to check and how often
 * @path:	HTTP only
 * @up_after:	Successes in a row that make an unhealthy target healthy
 * @down_after:	Failures in a row that make a target unhealthy
 */
struct probe_conf {
	enum probe_kind kind;
	uint16_t port;
	char path[PROBE_PATH];
	uint64_t interval_ms;
	uint64_t timeout_ms;
	unsigned up_after;
	unsigned down_after;
};

enum probe_state { PROBE_INITIAL, PROBE_HEALTHY, PROBE_UNHEALTHY };

/**
 * struct probe - One target's health
 * @state:	What the load balancer thinks
 * @proven:	A check has succeeded.  Before that one success is enough
 * @checks:	Checks finished
 * @reason:	Why the last one failed; "" if it did not
 */
struct probe {
	const struct probe_conf *conf;
	struct in_addr addr;
	enum probe_state state;
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
 * probe_parse() - Read "tcp:8080" or "http:8080/path"
 *
 * Return: false if @text is neither; @c is then unchanged
 */
bool probe_parse(struct probe_conf *c, const char *text) __attribute__((nonnull));

/**
 * probe_init() - Without anything to check, a target is healthy
 */
void probe_init(struct probe *p, const struct probe_conf *conf, struct in_addr addr)
	__attribute__((nonnull));

/**
 * probe_tick() - Go on with the check in hand, or start one that is due
 *
 * Return: true if @p->state has changed
 */
bool probe_tick(struct probe *p, uint64_t now_ms) __attribute__((nonnull));

void probe_close(struct probe *p) __attribute__((nonnull));

const char *probe_state_name(enum probe_state state);

#endif /* GW_PROBE_H */
