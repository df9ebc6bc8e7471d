/* SPDX-License-Identifier: MIT */
/*
 * relay.h - An engine that moves one protocol between two legs
 *
 * relay_step() does all that can be done without waiting and says what it waits for; the
 * connection (conn.c) calls it when a leg is ready or the deadline is reached.  Memory of an
 * engine is bounded: at most RELAY_HELD bytes of a stream wait for a slow reader, and nothing
 * more is read from the other side then.
 */
#ifndef GW_RELAY_H
#define GW_RELAY_H

#include <stdint.h>

#include "hook.h"
#include "leg.h"

#define RELAY_HELD	262144u

struct relay;

enum relay_state {
	RELAY_WAIT,	/* see @want and @deadline_ns */
	RELAY_DONE,	/* both streams ended in order: close both legs */
	RELAY_RESET,	/* close both with RST: a leg was reset, a hook dropped, or time ran out */
};

/**
 * struct relay_ops - A kind of engine
 * @step:	See relay_step()
 * @free:	Ends exchanges that are open, telling hooks @why
 */
struct relay_ops {
	const char *name;		/* "tcp", "http/1.1", "h2" */
	enum relay_state (*step)(struct relay *r, uint64_t now_ns);
	void (*free)(struct relay *r, const char *why);
};

/**
 * struct relay - In front of each engine's own state
 * @client, @server:	The legs; the connection's
 * @conn:	Facts; bytes_up and bytes_down are advanced by the engine
 * @want_client, @want_server:	POLLIN | POLLOUT to wait for, after RELAY_WAIT
 * @deadline_ns:	CLOCK_MONOTONIC; 0: none
 * @why:	After RELAY_DONE and RELAY_RESET
 * @wake:	Of whom calls relay_step(): do so again, though no leg is ready; NULL: no need to
 * @owner:	For @wake
 */
struct relay {
	const struct relay_ops *ops;
	struct leg *client, *server;
	struct conn_facts *conn;
	const struct hooks *hooks;
	short want_client, want_server;
	uint64_t deadline_ns;
	const char *why;
	void (*wake)(struct relay *r);
	void *owner;
};

/**
 * struct relay_times - Time-outs, ns, of each state
 */
struct relay_times {
	uint64_t idle_ns;		/* plain TCP, WebSocket, idle HTTP/2; between requests */
	uint64_t head_ns;		/* from a head's first byte to its last */
	uint64_t body_ns;		/* without a byte of a body that is under way */
	uint64_t response_ns;		/* from the request to the response's head; of HOOK_WAIT */
	uint64_t linger_ns;		/* half closed, or unsent at the end */
};

static inline enum relay_state relay_step(struct relay *r, uint64_t now_ns)
{
	enum relay_state state = r->ops->step(r, now_ns);

	leg_push(r->client);	/* an error shows in leg.ready */
	leg_push(r->server);
	return state;
}

/**
 * relay_wake() - By an engine that can go on: an exchange that waited was decided
 */
static inline void relay_wake(struct relay *r)
{
	if (r->wake)
		r->wake(r);
}

static inline void relay_free(struct relay *r, const char *why)
{
	if (r)
		r->ops->free(r, why);
}

/* Engines; NULL without memory.  @seen, @seen_len: bytes of the client already read */
struct relay *tcp_relay_new(struct leg *client, struct leg *server, struct conn_facts *c,
			    const struct hooks *h, const struct relay_times *t);
struct relay *h1_relay_new(struct leg *client, struct leg *server, struct conn_facts *c,
			   const struct hooks *h, const struct relay_times *t);
struct relay *h2_relay_new(struct leg *client, struct leg *server, struct conn_facts *c,
			   const struct hooks *h, const struct relay_times *t);
void h2_mem_close(void);	/* at the end of a thread */

#endif /* GW_RELAY_H */
