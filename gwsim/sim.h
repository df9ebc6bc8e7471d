/* SPDX-License-Identifier: MIT */
/*
 * sim.h - A running simulation: endpoints, appliances and the load balancer
 * between them
 */
#ifndef GW_SIM_H
#define GW_SIM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "conn.h"
#include "health.h"
#include "port.h"
#include "run_judge.h"
#include "site.h"

#define SIM_ENDPOINTS	16u
#define SIM_APPLIANCES	16u
#define SIM_SERVERS	16u
#define SIM_ENDPOINT_NAME 24u	/* "vpce-0" and 16 hex digits */

enum sim_role { SIM_CLIENT, SIM_SERVER, SIM_APPLIANCE };

/**
 * struct sim_conf - What the command line asked for
 * @endpoint:	Ids, as in the Geneve option
 * @appliance:	Commands, as is @server
 * @in, @in_appliance, @at: Where the command runs: role, number of the appliance,
 *		number of the endpoint
 */
struct sim_conf {
	uint64_t endpoint[SIM_ENDPOINTS];
	unsigned endpoints;
	const char *appliance[SIM_APPLIANCES];
	unsigned appliances;
	const char *server[SIM_SERVERS];
	unsigned servers;
	uint16_t server_port[SIM_SERVERS];
	unsigned server_ports;
	struct health_conf health;
	struct conn_conf flows;
	bool rebalance;
	bool strict;
	bool quiet;
	enum sim_role in;
	unsigned in_appliance;
	unsigned at;
	const char *status;
	uint64_t wait_ms;
	uint64_t grace_ms;
	char **command;
};

/* Frames that leave through one port in this burst */
struct sim_batch {
	struct iovec iov[PORT_BURST];
	unsigned n;
};

/**
 * struct sim_side - A client or server and the load balancer's end of its cable
 * @sent:	Packets it sent that went to an appliance
 * @ignored:	Packets it sent that a network would not carry: multicast, malformed
 * @delivered:	Packets it got
 */
struct sim_side {
	int ns;
	uint8_t mac[6];
	uint8_t lb_mac[6];
	struct port port;
	struct sim_batch out;
	uint64_t sent;
	uint64_t ignored;
	uint64_t delivered;
};

struct sim_endpoint {
	uint64_t id;
	char name[SIM_ENDPOINT_NAME];
	struct sim_side side[2];	/* by SIM_CLIENT, SIM_SERVER */
};

/**
 * struct sim_target - An appliance as the load balancer sees it
 * @sent, @returned: Packets
 * @ended:	Its command has ended
 */
struct sim_target {
	struct site site;
	struct health health;
	struct sim_batch out;
	uint64_t sent;
	uint64_t returned;
	bool ended;
};

struct sim {
	const struct sim_conf *conf;
	struct sim_endpoint endpoint[SIM_ENDPOINTS];
	struct sim_target target[SIM_APPLIANCES];
	struct conn_table *conns;
	struct judge judge;
	pid_t server[SIM_ENDPOINTS * SIM_SERVERS];
	unsigned servers;
	pid_t command;
	const char *phase;
	const char *id;
};

/**
 * sim_build() - Namespaces, cables, names and tables; errors are logged
 *
 * Return: 0 or -errno
 */
int sim_build(struct sim *s, const struct sim_conf *conf);

/**
 * sim_destroy() - Close what is open and free what is taken
 */
void sim_destroy(struct sim *s);

/**
 * sim_ns() - The namespace of a role, at endpoint or appliance number @n
 */
int sim_ns(const struct sim *s, enum sim_role role, unsigned n);

/**
 * sim_role_parse() - "client", "server", "appliance", "appliance2"
 * @n:		Set to the appliance's number, from 0
 *
 * Return: false if @text is none of these
 */
bool sim_role_parse(const char *text, enum sim_role *role, uint32_t *n);

/**
 * lb_from_side() - Take a burst of what an end sent to the appliances
 */
void lb_from_side(struct sim *s, unsigned endpoint, enum sim_role side, uint64_t now_ms);

/**
 * lb_from_target() - Take a burst of what an appliance sent, judge and deliver it
 */
void lb_from_target(struct sim *s, unsigned target, uint64_t now_ms);

/**
 * status_write() - Write the state as JSON to the file named by --status, if any
 */
void status_write(struct sim *s);

/**
 * status_dump() - Write the state as JSON to stderr
 */
void status_dump(struct sim *s);

/**
 * status_summary() - What happened, for people, on stderr
 */
void status_summary(struct sim *s);

/**
 * sim_now_ms() - Monotonic clock
 */
uint64_t sim_now_ms(void);

#endif /* GW_SIM_H */
