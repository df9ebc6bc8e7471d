/* SPDX-License-Identifier: MIT */
/*
 * tls_sess.c - Sessions with servers, to be resumed: the next handshake takes no certificates
 *
 * By what a connection was made for: name, address, port and the client's list of protocols.  Only
 * sessions whose certificate was verified are kept, so a resumed one is as good as
 * it was then; for an hour at most.
 */
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "clock.h"
#include "tls_int.h"

#define SESSIONS	512u		/* a power of two */
#define SESSION_NS	3600000000000u

struct kept {
	uint64_t key;
	uint64_t until_ns;
	SSL_SESSION *session;
};

struct sessions {
	uint8_t secret[crypto_shorthash_KEYBYTES];
	struct kept kept[SESSIONS];
};

struct sessions *sessions_new(void)
{
	struct sessions *s = calloc(1, sizeof(*s));

	if (s)
		crypto_shorthash_keygen(s->secret);
	return s;
}

void sessions_free(struct sessions *s)
{
	for (unsigned i = 0; s && i < SESSIONS; i++)
		SSL_SESSION_free(s->kept[i].session);
	free(s);
}

uint64_t sessions_key(const struct sessions *s, const struct tuple *t, const struct hello *h)
{
	struct {
		struct tuple server;
		char sni[HELLO_NAME_MAX];
		uint8_t alpn[HELLO_ALPN_MAX];
	} k;
	uint64_t key;

	memset(&k, 0, sizeof(k));
	k.server = *t;
	k.server.client_port = 0;
	memset(k.server.client, 0, sizeof(k.server.client));
	strcpy(k.sni, h->sni);
	memcpy(k.alpn, h->alpn, h->alpn_len);
	crypto_shorthash((unsigned char *)&key, (const unsigned char *)&k, sizeof(k), s->secret);
	return key;
}

void sessions_keep(struct sessions *s, uint64_t key, SSL_SESSION *session)
{
	struct kept *k = &s->kept[key & (SESSIONS - 1)];

	SSL_SESSION_free(k->session);
	*k = (struct kept){ key, clock_mono() + SESSION_NS, session };
}

SSL_SESSION *sessions_find(const struct sessions *s, uint64_t key)
{
	const struct kept *k = &s->kept[key & (SESSIONS - 1)];

	return k->session && k->key == key && k->until_ns > clock_mono() ? k->session : NULL;
}
