/* SPDX-License-Identifier: MIT */
/*
 * tls_int.h - Between tls.c and tls_conf.c
 */
#ifndef GW_TLS_INT_H
#define GW_TLS_INT_H

#include <openssl/ssl.h>

#include "conn.h"
#include "mint.h"
#include "policy.h"
#include "tls.h"

/**
 * struct shake - Handshakes under way
 * @cert:	The server's
 * @client:	The server's handshake is done
 * @flight:	The client has seen our certificate
 * @act, @where:	What rules say of a certificate that was asked for or is not to be trusted
 */
struct shake {
	struct hello hello;
	X509 *cert;
	bool client, flight;
	enum policy_action act;
	char where[POLICY_WHERE];
};

/**
 * struct tls - A worker's own
 */
struct tls {
	struct tls_conf *conf;
	int key_index;		/* ex_data of a server's SSL: where its session is kept */
	SSL_CTX *to_client, *to_server;
	struct mint *mint;
	struct sessions *sessions;
};

/* tls_sess.c */
struct sessions *sessions_new(void);
void sessions_free(struct sessions *s);
uint64_t sessions_key(const struct sessions *s, const struct tuple *t, const struct hello *h);
void sessions_keep(struct sessions *s, uint64_t key, SSL_SESSION *session);	/* taken */
SSL_SESSION *sessions_find(const struct sessions *s, uint64_t key);	/* theirs; NULL: none */

int tls_select_alpn(SSL *s, const unsigned char **out, unsigned char *len,
		    const unsigned char *in, unsigned in_len, void *arg);
int tls_client_cert(SSL *s, X509 **x, EVP_PKEY **key);
int tls_verify(int ok, X509_STORE_CTX *ctx);

/**
 * tls_learn() - A client refused our certificate for this name
 */
void tls_learn(struct tls_conf *t, const char *name);

#endif /* GW_TLS_INT_H */
