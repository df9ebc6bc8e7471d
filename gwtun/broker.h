/* SPDX-License-Identifier: MIT */
/*
 * broker.h - The process that makes network namespaces, TUNs and upstream sockets
 *
 * Theory of operation
 *
 * gwtun is two processes.  The packet loop reads what strangers sent, and holds no
 * privilege.  The broker, forked before anything else, makes one namespace per endpoint when the
 * loop asks for it, and hands over descriptors; it never sees a packet.  It is root of a user
 * namespace of its own, with CAP_SYS_ADMIN and CAP_NET_ADMIN there and nothing outside.  Only
 * where a router shall reach the machine's other devices, or commands are to be run as root,
 * it stays the root that started it.
 *
 *	loop				broker
 *				<-	READY, or why not
 *	MAKE endpoint		->
 *				<-	MADE + TUN, or why not
 *	REMOVE endpoint		->	the loop has closed its TUN
 *	PROXY + connection	->	whoever connected to gwtun.sock: proxylink.h begins
 *				<-	ATTACHED + our end of the pair for SYNs; all endpoints made
 *					so far are known to the proxy, and each later one before
 *					its MADE
 *				<-	LEFT: it takes no more, and keeps what it has
 *				<-	DETACHED: it is gone
 *
 * One proxy at a time is attached, and up to LEFT_MAX that have left are kept until they are
 * gone; one more ends the first of these.  Each has a number.  When the loop closes its end the
 * broker ends, and with it all namespaces.  When the broker dies, the loop does: nothing would
 * work any more.
 */
#ifndef GW_BROKER_H
#define GW_BROKER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "fdmsg.h"
#include "priv.h"
#include "space.h"

#define LEFT_MAX	8u

enum broker_type {
	BROKER_READY = 1, BROKER_MAKE, BROKER_MADE, BROKER_REMOVE, BROKER_PROXY, BROKER_ATTACHED,
	BROKER_DETACHED, BROKER_LEFT,
};

/**
 * struct broker_msg - Between loop and broker
 * @err:	READY, MADE: 0 or -errno
 * @hold:	ATTACHED: the proxy wants SYNs held
 * @proxy:	ATTACHED, LEFT, DETACHED: its number
 * @what:	READY, MADE: what could not be done
 */
struct broker_msg {
	uint32_t type;
	int32_t err;
	uint64_t endpoint;
	uint32_t hold;
	uint32_t proxy;
	char what[64];
};

/**
 * struct broker_conf - From the command line
 * @on_create, @on_destroy:	Commands for sh(1), run in the namespace; or NULL
 * @priv:	Whom to become where root is not needed
 */
struct broker_conf {
	struct space_conf space;
	const char *on_create;
	const char *on_destroy;
	struct priv priv;
};

/**
 * struct broker - As the loop sees it
 */
struct broker {
	pid_t pid;
	int fd;
};

/**
 * broker_start() - Fork it and wait until it is ready; errors exit
 */
void broker_start(struct broker *b, const struct broker_conf *c) __attribute__((nonnull));

/**
 * broker_stop() - Let it end, wait until it has
 */
void broker_stop(struct broker *b) __attribute__((nonnull));

/**
 * broker_run() - What the broker does
 * @fd:		To the loop
 *
 * Return: exit status
 */
int broker_run(int fd, const struct broker_conf *c) __attribute__((nonnull));

#endif /* GW_BROKER_H */
