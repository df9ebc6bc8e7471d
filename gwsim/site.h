/* SPDX-License-Identifier: MIT */
/*
 * site.h - An appliance's place: its namespace, its cable to the load balancer,
 * its processes
 *
 * In the appliance's namespace there is "eth0", 10.99.N.2/24, MTU 9001, and no
 * default route; at the load balancer's end "app1", "app2"..., 10.99.N.1/24.
 * Both answer ARP.  There, ordinary TCP connections to the appliance's address
 * work (health checks), and @port carries Geneve.
 */
#ifndef GW_SITE_H
#define GW_SITE_H

#include <net/if.h>
#include <netinet/in.h>
#include <stdint.h>
#include <sys/types.h>

#include "port.h"

#define SITE_MTU	9001u

/**
 * struct site - One appliance
 * @ns:		Network namespace
 * @dev:	Device at the load balancer's end
 * @mac:	Of the appliance's eth0
 * @lb_mac:	Of @dev
 * @addr:	The appliance's address, network order
 * @lb_addr:	The load balancer's address toward this appliance, network order
 * @port:	The load balancer's end
 * @pid:	Its command; 0: none runs
 */
struct site {
	int ns;
	char dev[IFNAMSIZ];
	uint8_t mac[6];
	uint8_t lb_mac[6];
	struct in_addr addr;
	struct in_addr lb_addr;
	struct port port;
	pid_t pid;
};

/**
 * site_open() - Make the place of appliance number @n
 * @n:		From 1 to 99
 *
 * The load balancer's end is in the calling thread's namespace (inside
 * cell_run()).
 *
 * Return: 0 or -errno; @s is good for site_close() either way
 */
int site_open(struct site *s, unsigned n) __attribute__((nonnull));

/**
 * site_start() - Run the appliance there, by sh -c
 *
 * Return: 0 or -errno
 */
int site_start(struct site *s, const char *cmd) __attribute__((nonnull));

/**
 * site_listens() - Has anything there opened a packet socket, a raw socket for UDP
 * or UDP port 6081?  Without a health check, the only sign of being ready.
 */
bool site_listens(const struct site *s) __attribute__((nonnull));

/**
 * site_close() - Close what is open; processes are stopped by cell_stop()
 */
void site_close(struct site *s) __attribute__((nonnull));

#endif /* GW_SITE_H */
