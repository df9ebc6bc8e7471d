/* SPDX-License-Identifier: MIT */
/*
 * target.h - The one appliance that is tested or loaded, wherever it is
 */
#ifndef GW_TARGET_H
#define GW_TARGET_H

#include <stdbool.h>
#include <stdint.h>

#include "craft.h"
#include "port.h"
#include "site.h"

#define WAIT_MAX_MS	3600000u	/* for an appliance, or for what it sends */

/**
 * struct target - Who is spoken to, and as whom
 * @port:	The load balancer's end
 * @lb_mac, @mac:	Of the load balancer's end and of the appliance
 * @lb_addr, @addr:	IPv4 addresses, host order
 * @mtu:	Of the cable: outer IP packets up to this size; no more than SITE_MTU
 * @site:	The appliance's place, if it is ours
 * @own:	It is
 * @ended:	Its command has
 * @failed:	... with an error
 * @stopped:	We were told to stop
 * @signals:	Inside a cell: where signals are read; else -1
 */
struct target {
	struct port *port;
	uint8_t lb_mac[6];
	uint8_t mac[6];
	uint32_t lb_addr;
	uint32_t addr;
	unsigned mtu;
	bool own;
	bool ended;
	bool failed;
	bool stopped;
	int signals;
	struct site site;
	struct port remote;
};

/**
 * target_run() - Start an appliance in a place of its own (inside cell_run())
 * @cmd:	For sh -c
 *
 * Waits until it listens, at most @wait_ms; one that does not is tried anyway.
 *
 * Return: 0, or -errno after an error was logged; target_close() is right either way
 */
int target_run(struct target *t, const char *cmd, unsigned wait_ms) __attribute__((nonnull));

/**
 * target_reach() - Speak to an appliance elsewhere
 * @addr:	Its IPv4 address, on a network that @iface is on
 *
 * Return: as target_run()
 */
int target_reach(struct target *t, const char *addr, const char *iface) __attribute__((nonnull));
void target_close(struct target *t) __attribute__((nonnull));

/**
 * target_outer() - An encapsulation toward the target, without options yet
 */
void target_outer(const struct target *t, struct craft_outer *o) __attribute__((nonnull));

/**
 * target_stopped() - Were we told to stop, now or before?
 */
bool target_stopped(struct target *t) __attribute__((nonnull));

/**
 * target_gone() - Has an appliance of our own ended with an error?
 */
bool target_gone(struct target *t) __attribute__((nonnull));

#endif /* GW_TARGET_H */
