/* SPDX-License-Identifier: MIT */
/*
 * flow.h - Bounded tables keyed by flow
 *
 * Theory of operation
 *
 * A table holds at most a fixed number of entries; all of its memory is taken and
 * touched by flow_open().  An entry is a key and a value of a fixed size.  The hash is
 * SipHash with a random key per table, so nobody outside can choose packets that
 * collide.  Entries lie on one list by last use: when the table is full, the entry
 * that was idle longest makes room, so an entry in use is only ever pushed out by
 * as many others that were used after it.
 *
 * Time is the packets' own: files give the same result every time.  An entry's idle
 * time is measured against its own last use only, so a packet with a time from the
 * far future cannot age others.
 */
#ifndef GW_FLOW_H
#define GW_FLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "packet.h"

/* What an entry is for, so that keys of different uses never meet */
enum flow_kind { FLOW_CONNECTION, FLOW_DATAGRAM, FLOW_RATE };

/**
 * struct flow_key - Compared and hashed as bytes: zero it first
 * @endpoint:	Networks behind different endpoints may use the same addresses
 * @a, @b:	Addresses; IPv4 in the first 4 bytes
 * @port_a, @port_b:	Ports; ICMP echo: the identifier in both
 * @extra:	What else tells two keys apart: a fragment's identification, a rule
 * @version:	4 or 6
 * @kind:	enum flow_kind
 */
struct flow_key {
	uint64_t endpoint;
	uint8_t a[16];
	uint8_t b[16];
	uint16_t port_a;
	uint16_t port_b;
	uint32_t extra;
	uint8_t version;
	uint8_t proto;
	uint8_t kind;
	uint8_t pad[5];
};

/**
 * flow_key() - Key of a packet's connection, the same for both directions
 * @p, @data:	A parsed packet; a later fragment has no ports
 *
 * Return: true if the packet goes from @b to @a
 */
bool flow_key(struct flow_key *k, uint64_t endpoint, const struct packet *p, const uint8_t *data)
	__attribute__((nonnull));

/**
 * flow_key_quoted() - Key of the connection that an ICMP error quotes
 *
 * Return: false if this is no ICMP error, quotes too little, or goes to somebody else
 * than the sender of what it quotes
 */
bool flow_key_quoted(struct flow_key *k, uint64_t endpoint, const struct packet *p,
		     const uint8_t *data) __attribute__((nonnull));

/**
 * icmp_is_error() - Does an ICMP or ICMPv6 packet report an error about another one?
 */
bool icmp_is_error(const struct packet *p, const uint8_t *data) __attribute__((nonnull));

struct flow_table;

/**
 * flow_open() - Take a table's memory
 * @max:	Entries, at least 1
 * @value_size:	Bytes
 *
 * Return: NULL without memory
 */
struct flow_table *flow_open(unsigned max, size_t value_size);
void flow_close(struct flow_table *t);	/* NULL is fine */

/**
 * flow_find() - Value of a live entry, which counts as used
 * @now_ns:	The packet's time
 *
 * Return: NULL if there is none or it was idle for longer than its timeout: it is
 * gone then
 */
void *flow_find(struct flow_table *t, const struct flow_key *k, uint64_t now_ns)
	__attribute__((nonnull));

/**
 * flow_add() - Value of an entry that is made if it is not there
 *
 * A new value is zero.  A full table gives up the entry that was idle longest.
 */
void *flow_add(struct flow_table *t, const struct flow_key *k, uint64_t now_ns,
	       uint64_t timeout_ns) __attribute__((nonnull, returns_nonnull));

/**
 * flow_remove() - Forget an entry, if it is there
 */
void flow_remove(struct flow_table *t, const struct flow_key *k) __attribute__((nonnull));

/**
 * flow_walk() - Look at every entry
 * @keep:	May change the value; false: the entry is removed
 */
void flow_walk(struct flow_table *t, bool (*keep)(void *ctx, void *value), void *ctx)
	__attribute__((nonnull(1, 2)));

unsigned flow_count(const struct flow_table *t) __attribute__((nonnull));
uint64_t flow_evicted(const struct flow_table *t) __attribute__((nonnull));

#endif /* GW_FLOW_H */
