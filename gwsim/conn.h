/* SPDX-License-Identifier: MIT */
/*
 * conn.h - The load balancer's table of flows
 *
 * A flow is what one stickiness entry is: TCP and UDP by addresses, protocol and
 * ports (or fewer of them, with less stickiness), all else by addresses and
 * protocol.  Both directions are one flow, with one cookie and one outer source
 * port.  The table has a fixed size; when it is full, the flow idle longest goes.
 */
#ifndef GW_CONN_H
#define GW_CONN_H

#include <stdbool.h>
#include <stdint.h>

#include "packet.h"

/**
 * struct conn_key - What tells flows apart
 * @addr:	The smaller one first, by memcmp(3); IPv4 in the first 4 bytes
 * @port:	In the order of @addr; 0 where they do not count
 * @proto:	0 where it does not count
 */
struct conn_key {
	uint8_t addr[2][16];
	uint16_t port[2];
	uint16_t endpoint;
	uint8_t proto;
	uint8_t version;
};

/**
 * struct conn - One flow
 * @cookie:	Unique within its endpoint
 * @sport:	Outer UDP source port, host order
 * @target:	Appliance it sticks to
 * @far:	Which of the two addresses belongs to the server's side
 * @bad_csum:	An end has sent packets with wrong checksums itself
 * @used_ms:	Time of its last packet
 */
struct conn {
	struct conn_key key;
	uint32_t cookie;
	uint16_t sport;
	uint8_t target;
	uint8_t far;
	bool bad_csum;
	uint64_t used_ms;
	uint32_t next_key, next_cookie;		/* hash chains */
	uint32_t newer, older;			/* by @used_ms */
};

/**
 * struct conn_conf - How flows are told apart and for how long they are kept
 * @max:	Flows at most
 * @tuple:	5, 3 or 2
 * @tcp_ms:	Idle timeout of TCP; under 5-tuple stickiness only
 * @other_ms:	Idle timeout of everything else
 */
struct conn_conf {
	uint32_t max;
	unsigned tuple;
	uint64_t tcp_ms;
	uint64_t other_ms;
};

struct conn_table;

/**
 * conn_open() - Take all memory a table will ever use; NULL: not enough
 */
struct conn_table *conn_open(const struct conn_conf *conf) __attribute__((nonnull));

void conn_close(struct conn_table *t);

/**
 * conn_of_packet() - The flow of a packet that an end sends; made if it is new
 * @inner:	The packet @p was parsed from
 * @from_server: Which side it comes from
 * @fresh:	Set to whether it was made just now: the caller picks @target
 *
 * Later fragments belong to the flow of their first one, if that was seen.
 */
struct conn *conn_of_packet(struct conn_table *t, uint16_t endpoint, const struct packet *p,
			    const uint8_t *inner, bool from_server, uint64_t now_ms, bool *fresh)
	__attribute__((nonnull));

/**
 * conn_by_cookie() - The flow an appliance answers for; NULL if there is none
 */
struct conn *conn_by_cookie(struct conn_table *t, uint16_t endpoint, uint32_t cookie,
			    uint64_t now_ms) __attribute__((nonnull));

/**
 * conn_matches() - Is this packet one of the flow?
 * @far:	Set, if so, to whether it goes to the server's side
 *
 * Ports are not compared in later fragments.
 */
bool conn_matches(const struct conn_table *t, const struct conn *c, const struct packet *p,
		  const uint8_t *inner, bool *far) __attribute__((nonnull));

/**
 * struct conn_stats - Of the whole table
 */
struct conn_stats {
	uint64_t created;
	uint64_t expired;
	uint64_t evicted;
	uint32_t live;
};

const struct conn_stats *conn_stats(const struct conn_table *t) __attribute__((nonnull));

/**
 * conn_hash() - Keyed hash of a flow: the same for both directions
 */
uint64_t conn_hash(const struct conn_table *t, const struct conn_key *key)
	__attribute__((nonnull));

#endif /* GW_CONN_H */
