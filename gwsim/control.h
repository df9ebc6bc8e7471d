/* SPDX-License-Identifier: MIT */
/*
 * control.h - How a shell finds a running simulation and gets into it
 *
 * An abstract Unix socket "gwsim.ID.TIME": it ends with its process, so there are
 * no stale ones.  Abstract names belong to a network namespace, so the simulation
 * listens in the caller's and in each of its own.  Only its own user is served.
 */
#ifndef GW_CONTROL_H
#define GW_CONTROL_H

#include "sim.h"

enum {
	CONTROL_USER, CONTROL_MNT, CONTROL_PID, CONTROL_NET,
	CONTROL_NAMESPACES,			/* those before are namespaces, to be entered so */
	CONTROL_ROOT = CONTROL_NAMESPACES,	/* the root folder: a mount namespace has its own */
	CONTROL_FDS
};

struct control;

/**
 * control_open() - Name this run, and listen in the caller's network namespace
 *
 * Return: NULL with errno set on failure
 */
struct control *control_open(void);

const char *control_id(const struct control *c) __attribute__((nonnull));

/**
 * control_inside() - Listen in every namespace of the simulation too
 *
 * Return: 0 or -errno
 */
int control_inside(struct control *c, const struct sim *s) __attribute__((nonnull));

/**
 * control_listeners() / control_fd() - What to wait for
 */
unsigned control_listeners(const struct control *c) __attribute__((nonnull));
int control_fd(const struct control *c, unsigned i) __attribute__((nonnull));

/**
 * control_serve() - Answer one request on listener @i
 */
void control_serve(const struct control *c, unsigned i, const struct sim *s)
	__attribute__((nonnull));

/**
 * struct control_want - Which namespace
 * @n:		Appliance number, from 0
 * @endpoint:	Its name; "": the first
 */
struct control_want {
	enum sim_role role;
	uint32_t n;
	char endpoint[SIM_ENDPOINT_NAME];
};

/**
 * control_ask() - Ask a running simulation for its namespaces
 * @id:		NULL: the newest one of this user
 * @fds:	Filled on success: by CONTROL_USER...
 *
 * Return: 0, or -1 after the reason was logged
 */
int control_ask(const char *id, const struct control_want *want, int fds[CONTROL_FDS])
	__attribute__((nonnull(2, 3)));

#endif /* GW_CONTROL_H */
