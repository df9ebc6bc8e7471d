/* SPDX-License-Identifier: MIT */
/*
 * alone.h - Without gwtun: listeners for a TPROXY rule, and who makes transparent sockets
 *
 * The broker is a child that keeps CAP_NET_RAW and nothing else: it makes unbound transparent
 * sockets, as gwtun's broker does, and ends with us.
 */
#ifndef GW_ALONE_H
#define GW_ALONE_H

#include "front.h"
#include "priv.h"

#define ALONE_MAX	2u	/* one a family */

/**
 * struct alone - Stand-alone use
 * @fd:		To the broker; -1: none
 */
struct alone {
	struct front *front;
	int listener[ALONE_MAX];
	unsigned n;
	int fd;
	struct watch on_broker;
};

/**
 * alone_listen() - A transparent listener; errors exit
 * @spec:	ADDR:PORT, [ADDR]:PORT, :PORT
 */
void alone_listen(struct alone *a, const char *spec) __attribute__((nonnull));

/**
 * alone_broker() - Start the broker, before any thread; errors exit
 */
void alone_broker(struct alone *a, const struct priv *p) __attribute__((nonnull));

/**
 * alone_start() - Take connections
 */
void alone_start(struct alone *a, struct front *f) __attribute__((nonnull));
void alone_stop(struct alone *a) __attribute__((nonnull));

#endif /* GW_ALONE_H */
