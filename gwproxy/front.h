/* SPDX-License-Identifier: MIT */
/*
 * front.h - Where connections come in: worker 0 takes them and hands them on
 *
 * Theory of operation
 *
 * To connect from a client's address takes a transparent socket, and to make one takes privileges
 * that are a broker's: gwtun's, or alone a small child of ours (broker.h).  Both speak proxylink.h.
 * A pool of such sockets per endpoint and family makes that a connection has one at hand;
 * the pool grows by what is asked for, up to POOL_MAX.  A connection that comes when it is
 * empty waits for the next sockets, in order; when FRONT_WAITING wait, it is turned away.
 */
#ifndef GW_FRONT_H
#define GW_FRONT_H

#include "proxy.h"

#define POOL_MAX	64u
#define FRONT_WAITING	4096u
#define FRONT_BUCKETS	1024u		/* a power of two */
#define FRONT_SYNS	8192u		/* flows whose SYN may be held: gwtun's --syns is 4096 */

struct waiting {
	struct waiting *next;
	struct mail mail;
};

/**
 * struct pool - Sockets of one endpoint and family
 * @want:	Keep so many
 * @asked:	Not yet delivered; @asked_ns: when the last of them were asked for
 */
struct pool {
	uint64_t endpoint;
	uint16_t family;
	unsigned n, want, asked;
	uint64_t asked_ns;
	int fd[POOL_MAX];
	struct waiting *first, **last;
};

/**
 * struct endpoint - Its listeners and sockets
 * @listener:	-1: none
 */
struct endpoint {
	struct endpoint *next;
	uint64_t id;
	struct front *front;
	struct watch on_accept[2];
	struct task bury;
	int listener[2];
	struct pool pool[2];		/* IPv4, IPv6 */
};

/**
 * struct seen - Whose flow it is: gwtun ends one by its number alone
 */
struct seen {
	uint64_t flow;
	struct tuple tuple;
};

/**
 * struct front - Worker 0's
 * @broker:	To whom transparent sockets are asked from; -1: none
 * @spare:	A descriptor to give up when there is none: to take a connection and reset it
 * @seen:	The latest SYN in each place.  What another one took the place of ends by its
 *		timeout
 */
struct front {
	struct proxy *proxy;
	int broker;
	int spare;
	bool closed;
	unsigned waiting;
	struct endpoint *bucket[FRONT_BUCKETS];
	struct seen seen[FRONT_SYNS];
};

/**
 * endpoint_new() - @listeners: two, -1 for none; taken on success
 *
 * Return: NULL without memory
 */
struct endpoint *endpoint_new(struct front *f, uint64_t id, const int listeners[2]);
struct endpoint *endpoint_find(struct front *f, uint64_t id);

/**
 * endpoint_free() - With all that waits for a socket
 */
void endpoint_free(struct endpoint *e);

/**
 * front_forget() - Free all endpoints
 */
void front_forget(struct front *f);

/**
 * front_syn() - A flow's first packet
 */
void front_syn(struct front *f, const struct proxylink_syn *syn);

/**
 * front_over() - gwtun does not hold this flow's SYN any more
 */
void front_over(struct front *f, uint64_t flow);

/**
 * front_sockets() - What the broker sent: all taken.  Fewer than @m says: there are no more to be
 * had now
 */
void front_sockets(struct front *f, const struct proxylink_endpoint *m, const int *fds, unsigned n);

/**
 * front_close() - Take no more connections: listeners are closed, SYNs are not answered
 */
void front_close(struct front *f);

#endif /* GW_FRONT_H */
