/* SPDX-License-Identifier: MIT */
/*
 * tuple.h - Addresses and ports of a connection, and a table of connections by them
 */
#ifndef GW_TUPLE_H
#define GW_TUPLE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define TUPLE_TEXT	160	/* bytes of tuple_print() */

/**
 * struct tuple - Compared and hashed as bytes: zero it first
 * @endpoint:	Networks behind different endpoints may use the same addresses; 0: none
 * @client, @server:	Network byte order; IPv4 in the first 4 bytes
 * @client_port, @server_port:	Network byte order
 */
struct tuple {
	uint64_t endpoint;
	uint16_t family;
	uint16_t client_port;
	uint16_t server_port;
	uint16_t pad;
	uint8_t client[16];
	uint8_t server[16];
};

/**
 * tuple_set() - From two socket addresses, IPv4 within IPv6 taken out
 *
 * Return: false if they are of no or of two families
 */
bool tuple_set(struct tuple *t, uint64_t endpoint, const struct sockaddr_storage *client,
	       const struct sockaddr_storage *server) __attribute__((nonnull));

/**
 * tuple_address() - One end as a socket address.  Return: its length
 */
socklen_t tuple_address(const struct tuple *t, bool client, struct sockaddr_storage *sa)
	__attribute__((nonnull));

/**
 * tuple_hash() - Keyed, so that nobody outside can choose what collides
 *
 * The key is drawn by tuple_hash_init(), once in a process.
 */
void tuple_hash_init(void);
uint64_t tuple_hash(const struct tuple *t) __attribute__((nonnull));

/**
 * tuple_print() - "10.0.0.1:4000 > [2001:db8::1]:443 at vpce-0..."
 */
void tuple_print(const struct tuple *t, char out[TUPLE_TEXT]) __attribute__((nonnull));

/**
 * struct node - In what lies in a table
 */
struct node {
	struct tuple tuple;
	struct node *next;
};

/**
 * struct table - Chained, of a fixed number of buckets
 */
struct table {
	struct node **bucket;
	unsigned mask;
};

int table_open(struct table *t, unsigned entries);	/* 0 or -ENOMEM */
void table_close(struct table *t);
void table_add(struct table *t, struct node *n);
struct node *table_find(const struct table *t, const struct tuple *tuple);
void table_del(struct table *t, struct node *n);

#endif /* GW_TUPLE_H */
