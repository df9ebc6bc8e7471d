/* SPDX-License-Identifier: MIT */
/*
 * tls_conf.c - Contexts of both legs, and names that clients refused us
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>

#include <sodium.h>

#include "clock.h"
#include "log.h"
#include "tls_int.h"

#define LEARNT		4096u		/* names; a power of two */
#define LEARNT_NS	3600000000000u	/* then it is tried again */

/**
 * struct learnt - A name, or what was there before it, overwritten
 */
struct learnt {
	uint64_t hash;
	uint64_t until_ns;
};

/**
 * struct tls_conf - Shared: the table is asked once a handshake, under a lock
 */
struct tls_conf {
	struct tls_options o;
	X509_STORE *roots;
	int key_index;
	pthread_mutex_t lock;
	uint8_t key[crypto_shorthash_KEYBYTES];
	struct learnt learnt[LEARNT];
};

static uint64_t hash_of(const struct tls_conf *t, const char *name)
{
	uint64_t h;

	crypto_shorthash((unsigned char *)&h, (const unsigned char *)name, strlen(name), t->key);
	return h;
}

void tls_learn(struct tls_conf *t, const char *name)
{
	uint64_t h = hash_of(t, name);

	if (!t->o.learn || !*name)
		return;
	log_notice("%s: a client refused our certificate: passed for an hour (--pass-on-failure)",
		   name);
	pthread_mutex_lock(&t->lock);
	t->learnt[h & (LEARNT - 1)] = (struct learnt){ h, clock_mono() + LEARNT_NS };
	pthread_mutex_unlock(&t->lock);
}

bool tls_learnt(struct tls_conf *t, const char *name)
{
	uint64_t h = hash_of(t, name);
	const struct learnt *l = &t->learnt[h & (LEARNT - 1)];
	bool known;

	if (!t->o.learn)
		return false;
	pthread_mutex_lock(&t->lock);
	known = l->hash == h && l->until_ns > clock_mono();
	pthread_mutex_unlock(&t->lock);
	return known;
}

static X509_STORE *roots(const char *file)
{
	X509_STORE *s = X509_STORE_new();
	int ok;

	if (file && access(file, R_OK))
		die_conf("--upstream-ca %s: %m", file);
	ok = s && (file ? X509_STORE_load_file(s, file) : X509_STORE_set_default_paths(s));
	if (!ok)
		die_conf("--upstream-ca %s: %s", file ? file : "(the system's)",
			 ERR_reason_error_string(ERR_peek_last_error()));
	return s;
}

struct tls_conf *tls_conf_new(const struct tls_options *o)
{
	struct tls_conf *t = calloc(1, sizeof(*t));

	if (!t)
		die("out of memory");
	t->o = *o;
	t->roots = roots(o->upstream_ca);
	t->key_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
	crypto_shorthash_keygen(t->key);
	pthread_mutex_init(&t->lock, NULL);
	return t;
}

void tls_conf_free(struct tls_conf *t)
{
	if (!t)
		return;
	X509_STORE_free(t->roots);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

static SSL_CTX *context(const struct tls_conf *conf, const SSL_METHOD *method)
{
	SSL_CTX *c = SSL_CTX_new(method);

	if (!c || !SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION))
		die("TLS: %s", ERR_reason_error_string(ERR_peek_last_error()));
	SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
			    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_options(c, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	if (conf->o.keylog && keylog_attach(conf->o.keylog, c))
		die("out of memory");
	return c;
}

/* May come at any time of a connection.  Return: 1: @session is kept */
static int new_session(SSL *s, SSL_SESSION *session)
{
	struct tls *t = SSL_CTX_get_app_data(SSL_get_SSL_CTX(s));
	const uint64_t *key = SSL_get_ex_data(s, t->key_index);

	if (!key || SSL_get_verify_result(s) != X509_V_OK)
		return 0;
	sessions_keep(t->sessions, *key, session);
	return 1;
}

struct tls *tls_open(struct tls_conf *conf)
{
	struct tls *t = calloc(1, sizeof(*t));

	if (!t)
		die("out of memory");
	t->conf = conf;
	t->mint = mint_new(conf->o.ca, MINT_LEAVES);
	t->sessions = sessions_new();
	t->key_index = conf->key_index;
	if (!t->mint || !t->sessions)
		die("out of memory");
	t->to_client = context(conf, TLS_server_method());
	SSL_CTX_set_session_cache_mode(t->to_client, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_alpn_select_cb(t->to_client, tls_select_alpn, NULL);
	t->to_server = context(conf, TLS_client_method());
	SSL_CTX_set1_cert_store(t->to_server, conf->roots);
	SSL_CTX_set_app_data(t->to_server, t);
	SSL_CTX_set_session_cache_mode(t->to_server,
				       SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(t->to_server, new_session);
	SSL_CTX_set_client_cert_cb(t->to_server, tls_client_cert);
	SSL_CTX_set_verify(t->to_server, conf->o.insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER,
			   tls_verify);
	return t;
}

void tls_close(struct tls *t)
{
	if (!t)
		return;
	SSL_CTX_free(t->to_client);
	SSL_CTX_free(t->to_server);
	mint_free(t->mint);
	sessions_free(t->sessions);
	free(t);
}
