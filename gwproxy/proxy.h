/* SPDX-License-Identifier: MIT */
/*
 * proxy.h - What all loops share, and what each has for itself
 *
 * Theory of operation
 *
 * Worker 0 is the main thread.  It alone takes connections in (attach.c, alone.c) and hands each
 * to the worker that its addresses hash to, by mail; from then on a connection lives on that
 * worker only.  struct proxy is not changed once workers run, but for the counters, which have one
 * writer each.
 */
#ifndef GW_PROXY_H
#define GW_PROXY_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "loop.h"
#include "proxylink.h"
#include "relay.h"
#include "tuple.h"

#define WORKERS_MAX	64u
#define PORTS_ANY	65536u
#define WORKER_PULSE_NS	500000000u	/* each loop turns so often, if it is watched */

/* X(symbol, name): what is counted; one writer each */
#define COUNT_LIST(X) \
	X(OPENED,	"opened") \
	X(CLOSED,	"closed") \
	X(REFUSED,	"refused by server") \
	X(UNREACHABLE,	"server unreachable") \
	X(SILENT,	"server silent") \
	X(RESET,	"ended by reset") \
	X(TIMEOUT,	"ended by a timeout") \
	X(FULL,		"turned away at --max-connections") \
	X(LOST,		"no upstream for an accepted connection") \
	X(PLAIN,	"plain TCP") \
	X(HTTP,		"plain HTTP") \
	X(INTERCEPTED,	"TLS intercepted") \
	X(PASSED,	"TLS passed") \
	X(BLOCKED,	"blocked") \
	X(TLS_FAILED,	"TLS failed")

enum counter {
#define X(sym, name) COUNT_##sym,
	COUNT_LIST(X)
#undef X
	COUNT_NUM
};

struct policy;
struct tls;
struct tls_conf;

/**
 * struct ports - A set of ports
 */
struct ports {
	uint8_t bit[8192];
};

static inline bool ports_has(const struct ports *p, unsigned port)
{
	return p->bit[port >> 3] >> (port & 7) & 1;
}

/**
 * struct proxy - Read-only while workers run
 * @connect_ns ... @shake_ns:	Time-outs: server connects; client's side follows; TLS or HTTP is
 *		recognised in what the client sends; both TLS handshakes
 * @transparent:	To the server from the client's own address
 * @listens:	Stand-alone: no gwtun
 * @receive:	Bytes of a stream that the kernel may hold for us; 0: as it likes
 * @max_conns:	Of one worker
 * @watched:	Somebody looks at @beat_ns of the workers
 * @tls:	NULL: TLS passes
 */
struct proxy {
	struct relay_times times;
	uint64_t connect_ns, accept_ns, sniff_ns, shake_ns;
	bool transparent;
	bool listens;
	bool hold;
	bool watched;
	unsigned receive;
	unsigned max_conns;
	struct ports tls_ports, http_ports;
	struct tls_conf *tls;
	struct worker *worker[WORKERS_MAX];
	unsigned nworkers;
};

/**
 * struct worker - One loop and its connections
 * @link:	To gwtun's packet loop, for answers; -1: none
 * @conns:	All of them
 * @open:	How many; @half: of these, not yet with both ends
 * @bytes:	Of those that have ended, both ways
 * @beat_ns:	When its loop turned last
 */
struct worker {
	struct proxy *proxy;
	unsigned index;
	pthread_t thread;
	struct loop *loop;
	struct table table;
	struct conn *conns;
	_Atomic unsigned open, half;
	uint64_t next_id;
	int link;
	struct policy *policy;
	struct tls *tls;
	const struct hooks *hooks;
	_Atomic uint64_t count[COUNT_NUM];
	_Atomic uint64_t bytes;
	_Atomic uint64_t beat_ns;
	struct timer pulse;
};

static inline void count(struct worker *w, enum counter c)
{
	uint64_t n = atomic_load_explicit(&w->count[c], memory_order_relaxed);

	atomic_store_explicit(&w->count[c], n + 1, memory_order_relaxed);
}

enum mail_kind {
	MAIL_SYN,	/* a held (or not) SYN: connect */
	MAIL_OVER,	/* gwtun gave up a SYN that it held: @tuple, @syn.flow */
	MAIL_ACCEPT,	/* the client's side was accepted */
	MAIL_LINK,	/* to gwtun's packet loop: @fd */
	MAIL_LOST,	/* gwtun is gone, and all its connections */
	MAIL_GONE,	/* an endpoint is: @tuple.endpoint */
	MAIL_POLICY,	/* new rules */
	MAIL_RESET,	/* end all connections */
	MAIL_STOP,
};

/**
 * struct mail - From worker 0 to another (or itself, directly)
 * @fd:		MAIL_ACCEPT: the client's socket
 * @upstream:	Socket to connect with; -1: none (yet)
 */
struct mail {
	enum mail_kind kind;
	int fd;
	int upstream;
	struct tuple tuple;
	struct proxylink_syn syn;
	struct policy *policy;
};

/**
 * worker_new() - @index: its number; NULL without memory or descriptors
 */
struct worker *worker_new(struct proxy *p, unsigned index);
void worker_free(struct worker *w);

/**
 * worker_run() - Its loop, in this thread; afterwards no connection is left
 */
void worker_run(struct worker *w) __attribute__((nonnull));

/**
 * worker_start() - A thread for it; errors exit
 */
void worker_start(struct worker *w) __attribute__((nonnull));
void worker_join(struct worker *w) __attribute__((nonnull));

/**
 * worker_send() - Hand over; what cannot be is closed, and a held SYN forgotten
 */
void worker_send(struct worker *w, const struct mail *m) __attribute__((nonnull));

/**
 * worker_send_all() - To each worker; @m's descriptor is duplicated for each
 */
void worker_send_all(struct proxy *p, const struct mail *m) __attribute__((nonnull));

/**
 * worker_for() - Whom a connection belongs to
 */
struct worker *worker_for(struct proxy *p, const struct tuple *t) __attribute__((nonnull));

#endif /* GW_PROXY_H */
