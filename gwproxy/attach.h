/* SPDX-License-Identifier: MIT */
/*
 * attach.h - gwtun's other end: endpoints, listeners, SYNs come from there
 *
 * The socket is connected to again and again while gwtun is away.  When it goes, its networks
 * have gone, and all connections in them.
 *
 * To drain takes two steps (proxylink.h): the packet loop is asked for no more flows; when those
 * that are ours have both ends, or had LEAVE_NS for it, the listeners are closed and gwtun may
 * have a successor.
 */
#ifndef GW_ATTACH_H
#define GW_ATTACH_H

#include "front.h"

enum leaving {
	LEAVE_NOT,
	LEAVE_ASK,	/* tell the packet loop */
	LEAVE_WAIT,	/* it may send more flows */
	LEAVE_LAST,	/* it does not: these are all */
	LEAVE_TELL,	/* tell the broker */
};

/**
 * struct attach - @path: gwtun's socket
 * @version:	Of proxylink.h, as gwtun speaks it
 */
struct attach {
	struct front *front;
	const char *path;
	int fd, link;
	bool said;
	struct watch on_broker, on_link;
	struct timer retry;
	uint32_t version;
	enum leaving leaving;
	struct timer leave;
	uint64_t leave_until_ns;
};

void attach_start(struct attach *a, struct front *f, const char *path) __attribute__((nonnull));

/**
 * attach_leave() - Take no more connections, and let a successor attach; those that are there stay
 */
void attach_leave(struct attach *a) __attribute__((nonnull));
void attach_stop(struct attach *a) __attribute__((nonnull));

#endif /* GW_ATTACH_H */
