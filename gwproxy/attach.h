/* SPDX-License-Identifier: MIT */
/*
 * attach.h - gwtun's other end: endpoints, listeners, SYNs come from there
 *
 * The socket is connected to again and again while gwtun is away.  When it goes, its networks
 * have gone, and all connections in them.
 */
#ifndef GW_ATTACH_H
#define GW_ATTACH_H

#include "front.h"

/**
 * struct attach - @path: gwtun's socket
 */
struct attach {
	struct front *front;
	const char *path;
	int fd, link;
	bool said;
	struct watch on_broker, on_link;
	struct timer retry;
};

void attach_start(struct attach *a, struct front *f, const char *path) __attribute__((nonnull));
void attach_stop(struct attach *a) __attribute__((nonnull));

#endif /* GW_ATTACH_H */
