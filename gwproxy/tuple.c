/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "tuple.h"

static uint8_t key[crypto_shorthash_KEYBYTES];

/* Family of an address; *ip, *port: where it has them */
static int take(const struct sockaddr_storage *sa, const uint8_t **ip, uint16_t *port)
{
	if (sa->ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)sa;

		*ip = (const uint8_t *)&in->sin_addr;
		*port = in->sin_port;
		return AF_INET;
	}
	if (sa->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)sa;
		bool mapped = IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr);

		*ip = in6->sin6_addr.s6_addr + (mapped ? 12 : 0);
		*port = in6->sin6_port;
		return mapped ? AF_INET : AF_INET6;
	}
	return AF_UNSPEC;
}

bool tuple_set(struct tuple *t, uint64_t endpoint, const struct sockaddr_storage *client,
	       const struct sockaddr_storage *server)
{
	struct tuple n = { .endpoint = endpoint };
	const uint8_t *from, *to;
	int family = take(client, &from, &n.client_port);

	if (family == AF_UNSPEC || take(server, &to, &n.server_port) != family)
		return false;
	n.family = (uint16_t)family;
	memcpy(n.client, from, family == AF_INET ? 4 : 16);
	memcpy(n.server, to, family == AF_INET ? 4 : 16);
	*t = n;
	return true;
}

socklen_t tuple_address(const struct tuple *t, bool client, struct sockaddr_storage *sa)
{
	const uint8_t *ip = client ? t->client : t->server;
	uint16_t port = client ? t->client_port : t->server_port;

	memset(sa, 0, sizeof(*sa));
	if (t->family == AF_INET) {
		struct sockaddr_in *in = (struct sockaddr_in *)sa;

		in->sin_family = AF_INET;
		in->sin_port = port;
		memcpy(&in->sin_addr, ip, 4);
		return sizeof(*in);
	} else {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)sa;

		in6->sin6_family = AF_INET6;
		in6->sin6_port = port;
		memcpy(&in6->sin6_addr, ip, 16);
		return sizeof(*in6);
	}
}

void tuple_hash_init(void)
{
	crypto_shorthash_keygen(key);
}

uint64_t tuple_hash(const struct tuple *t)
{
	uint64_t h;

	_Static_assert(sizeof(h) == crypto_shorthash_BYTES, "SipHash-2-4");
	crypto_shorthash((unsigned char *)&h, (const unsigned char *)t, sizeof(*t), key);
	return h;
}

static int print_end(const struct tuple *t, bool client, char *out, size_t size)
{
	char ip[INET6_ADDRSTRLEN];

	inet_ntop(t->family, client ? t->client : t->server, ip, sizeof(ip));
	return snprintf(out, size, t->family == AF_INET ? "%s:%u" : "[%s]:%u", ip,
			ntohs(client ? t->client_port : t->server_port));
}

void tuple_print(const struct tuple *t, char out[TUPLE_TEXT])
{
	int n = print_end(t, true, out, TUPLE_TEXT);

	n += snprintf(out + n, TUPLE_TEXT - (size_t)n, " > ");
	n += print_end(t, false, out + n, TUPLE_TEXT - (size_t)n);
	if (t->endpoint)
		snprintf(out + n, TUPLE_TEXT - (size_t)n, " at vpce-0%016llx",
			 (unsigned long long)t->endpoint);
}

int table_open(struct table *t, unsigned entries)
{
	unsigned n = 64;

	while (n < entries && n < 1u << 24)
		n *= 2;
	t->bucket = calloc(n, sizeof(struct node *));
	t->mask = n - 1;
	return t->bucket ? 0 : -ENOMEM;
}

void table_close(struct table *t)
{
	free(t->bucket);
	t->bucket = NULL;
}

static struct node **bucket_of(const struct table *t, const struct tuple *tuple)
{
	return &t->bucket[tuple_hash(tuple) >> 32 & t->mask];
}

void table_add(struct table *t, struct node *n)
{
	struct node **b = bucket_of(t, &n->tuple);

	n->next = *b;
	*b = n;
}

struct node *table_find(const struct table *t, const struct tuple *tuple)
{
	struct node *n = *bucket_of(t, tuple);

	while (n && memcmp(&n->tuple, tuple, sizeof(*tuple)))
		n = n->next;
	return n;
}

void table_del(struct table *t, struct node *n)
{
	struct node **b = bucket_of(t, &n->tuple);

	while (*b && *b != n)
		b = &(*b)->next;
	if (*b)
		*b = n->next;
}
