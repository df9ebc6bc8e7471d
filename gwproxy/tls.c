/* SPDX-License-Identifier: MIT */
/*
 * tls.c - Two handshakes: the server's, then the client's in its image
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "clock.h"
#include "conn_int.h"
#include "leg_sock.h"
#include "leg_tls.h"
#include "log.h"
#include "mint.h"
#include "policy.h"
#include "tls.h"
#include "tls_int.h"

static const struct hello *hello_of(SSL *s)
{
	const struct conn *c = SSL_get_app_data(s);

	return &c->shake->hello;
}

/* The server's choice, which is one of the client's own list */
int tls_select_alpn(SSL *s, const unsigned char **out, unsigned char *len,
		    const unsigned char *in, unsigned in_len, void *arg)
{
	const struct conn *c = SSL_get_app_data(s);

	(void)in;
	(void)in_len;
	(void)arg;
	if (!c->facts.alpn[0])
		return SSL_TLSEXT_ERR_NOACK;
	*out = (const unsigned char *)c->facts.alpn;
	*len = (unsigned char)strlen(c->facts.alpn);
	return SSL_TLSEXT_ERR_OK;
}

/* Asked for the client's certificate, which only the client has */
int tls_client_cert(SSL *s, X509 **x, EVP_PKEY **key)
{
	struct conn *c = SSL_get_app_data(s);
	struct shake *h = c->shake;

	(void)x;
	(void)key;
	c->cert_asked = true;
	h->act = policy_ask(c->worker->policy, WHEN_CLIENT_CERT, hello_of(s)->sni, h->where);
	return h->act == POLICY_PASS || h->act == POLICY_BLOCK ? -1 : 0;
}

/* Rules may let a name go on with a certificate that is not to be trusted. */
int tls_verify(int ok, X509_STORE_CTX *ctx)
{
	SSL *s = X509_STORE_CTX_get_ex_data(ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct conn *c = SSL_get_app_data(s);
	struct shake *h = c->shake;

	if (ok)
		return 1;
	h->act = policy_ask(c->worker->policy, WHEN_UNVERIFIED, hello_of(s)->sni, h->where);
	if (h->act != POLICY_INTERCEPT)
		return 0;
	conn_say(c, "server-certificate",
		 X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
	conn_say(c, "intercept", h->where);
	return 1;
}

void tls_shake_free(struct conn *c)
{
	struct shake *h = c->shake;

	c->shake = NULL;
	if (!h)
		return;
	X509_free(h->cert);
	free(h);
}

/* A fatal alert in the clear, which is how an answer to a ClientHello may begin.  What lies in the
 * socket unread would turn the end into a RST. */
void tls_refuse(struct conn *c, unsigned alert, const char *why)
{
	const uint8_t record[7] = { 21, 3, 1, 0, 2, 2, (uint8_t)alert };
	struct iovec iov = { (void *)(uintptr_t)record, sizeof(record) };
	uint8_t hello[HELLO_MAX];

	if (c->client->plain) {
		leg_read(c->client, hello, sizeof(hello));
		leg_writev(c->client, &iov, 1);
		leg_shut(c->client);
	}
	conn_end(c, why, false);
}

static void fail(struct conn *c, unsigned alert, const char *why)
{
	count(c->worker, COUNT_TLS_FAILED);
	tls_refuse(c, alert, why);
}

/* Pass after all: the server has to hear the client's own hello.  The socket keeps its ports. */
static void begin_again(struct conn *c, const char *where)
{
	struct sockaddr_storage sa = { .ss_family = AF_UNSPEC };
	struct leg *sock = leg_tls_strip(c->server);
	socklen_t len;
	int err;

	count(c->worker, COUNT_PASSED);
	conn_say(c, "pass", where);
	tls_shake_free(c);
	if (!sock) {
		conn_end(c, "memory", true);
		return;
	}
	c->server = sock;
	c->restarted = true;
	sock->ready = 0;
	err = connect(sock->fd, (struct sockaddr *)&sa, sizeof(sa));
	len = tuple_address(&c->node.tuple, false, &sa);
	conn_state(c, CONN_CONNECT, c->worker->proxy->connect_ns);
	if (err || (connect(sock->fd, (struct sockaddr *)&sa, len) && errno != EINPROGRESS))
		conn_end(c, "server-unreachable", true);
}

static void obey(struct conn *c, const char *why)
{
	struct shake *h = c->shake;
	char where[POLICY_WHERE];

	memcpy(where, h->where, sizeof(where));
	if (h->act == POLICY_PASS) {
		begin_again(c, where);
		return;
	}
	conn_say(c, "block", where);
	count(c->worker, COUNT_BLOCKED);
	c->facts.how = "block";
	tls_refuse(c, TLS_ALERT_DENIED, why);
}

static const char *openssl_why(void)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	return reason ? reason : "unknown";
}

static void server_failed(struct conn *c, int err)
{
	struct shake *h = c->shake;
	long verify = SSL_get_verify_result(leg_tls_ssl(c->server));
	char where[POLICY_WHERE];

	if (err == -ENOKEY) {
		obey(c, "client-certificate");
	} else if (verify != X509_V_OK && h->act != POLICY_INTERCEPT) {
		conn_say(c, "server-certificate", X509_verify_cert_error_string(verify));
		memcpy(where, h->where, sizeof(where));
		if (h->act == POLICY_PASS)
			begin_again(c, where);
		else
			fail(c, TLS_ALERT_HANDSHAKE, "server-certificate");
	} else {
		conn_say(c, "server-handshake", err == -EBADMSG ? openssl_why() : strerror(-err));
		fail(c, TLS_ALERT_HANDSHAKE, c->cert_asked ? "client-certificate" :
		     "server-handshake");
	}
}

static void note_leg(SSL *s, const char **version, const char **cipher)
{
	*version = SSL_get_version(s);
	*cipher = SSL_get_cipher_name(s);
}

static void server_done(struct conn *c)
{
	struct tls *t = c->worker->tls;
	SSL *s = leg_tls_ssl(c->server), *client;
	const struct leaf *leaf;
	const unsigned char *alpn;
	struct leg *l;
	unsigned len;

	note_leg(s, &c->facts.server_tls.version, &c->facts.server_tls.cipher);
	SSL_get0_alpn_selected(s, &alpn, &len);
	if (len && len < sizeof(c->facts.alpn))
		memcpy(c->facts.alpn, alpn, len);
	c->shake->cert = SSL_get1_peer_certificate(s);
	leaf = c->shake->cert ? mint_leaf(t->mint, c->facts.sni, c->shake->cert) : NULL;
	client = leaf ? SSL_new(t->to_client) : NULL;
	if (!client || mint_use(leaf, client)) {
		SSL_free(client);
		fail(c, TLS_ALERT_HANDSHAKE, "mint");
		return;
	}
	SSL_set_app_data(client, c);
	SSL_set_accept_state(client);
	/* Who resumes a session looks at no certificate: only where we look in its place */
	if (!c->facts.sni[0] || SSL_get_verify_result(s) != X509_V_OK ||
	    !(SSL_get_verify_mode(s) & SSL_VERIFY_PEER)) {
		SSL_set_options(client, SSL_OP_NO_TICKET);
		SSL_set_num_tickets(client, 0);
	}
	l = leg_tls_new(client, c->client);
	if (!l) {
		SSL_free(client);
		fail(c, TLS_ALERT_HANDSHAKE, "memory");
		return;
	}
	c->client = l;
	c->shake->client = true;
}

/* Alerts by which clients say that they do not believe our certificate, or know another one */
static bool is_refusal(void)
{
	switch (ERR_GET_REASON(ERR_peek_error())) {
	case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
	case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
	case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
	case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
	case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
	case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
	case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
		return true;
	default:
		return false;
	}
}

static void client_failed(struct conn *c, int err)
{
	bool refused = err == -EBADMSG ? is_refusal() : c->shake->flight;
	const char *why = refused ? "client-refused" : "client-handshake";

	conn_say(c, why, err == -EBADMSG ? openssl_why() : "it closed the connection");
	count(c->worker, COUNT_TLS_FAILED);
	if (refused)
		tls_learn(c->worker->proxy->tls, c->facts.sni);
	conn_end(c, why, err != -EBADMSG);
}

static void client_done(struct conn *c)
{
	note_leg(leg_tls_ssl(c->client), &c->facts.client_tls.version,
		 &c->facts.client_tls.cipher);
	c->facts.tls = true;
	c->facts.handshake_ns = clock_real();
	count(c->worker, COUNT_INTERCEPTED);
	SSL_set_app_data(leg_tls_ssl(c->client), NULL);
	SSL_set_app_data(leg_tls_ssl(c->server), NULL);
	tls_shake_free(c);
	choose_after_tls(c);
}

void tls_step(struct conn *c)
{
	int err;

	if (!c->shake->client) {
		err = leg_tls_shake(c->server);
		if (err == -EAGAIN)
			return;
		if (err) {
			server_failed(c, err);
			return;
		}
		server_done(c);
		if (c->state != CONN_SHAKE)
			return;
	}
	err = leg_tls_shake(c->client);
	if (err == -EAGAIN)
		c->shake->flight |= SSL_get_state(leg_tls_ssl(c->client)) >= TLS_ST_SW_CERT;
	else if (err)
		client_failed(c, err);
	else
		client_done(c);
}

/* The client checks names by what it knows; without SNI we know none. */
static int set_up(SSL *s, struct hello *h)
{
	if (h->alpn_len && SSL_set_alpn_protos(s, h->alpn, (unsigned)h->alpn_len))
		return -EINVAL;
	if (!h->sni[0])
		return 0;
	SSL_set_hostflags(s, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return SSL_set_tlsext_host_name(s, h->sni) && SSL_set1_host(s, h->sni) ? 0 : -EINVAL;
}

void tls_start(struct conn *c, const struct hello *h)
{
	struct tls *t = c->worker->tls;
	SSL *s = SSL_new(t->to_server);
	SSL_SESSION *old;
	struct leg *l;

	c->shake = calloc(1, sizeof(*c->shake));
	if (c->shake)
		c->shake->hello = *h;
	if (!s || !c->shake || set_up(s, &c->shake->hello)) {
		SSL_free(s);
		fail(c, TLS_ALERT_HANDSHAKE, "memory");
		return;
	}
	c->session_key = sessions_key(t->sessions, &c->node.tuple, h);
	SSL_set_ex_data(s, t->key_index, &c->session_key);
	old = sessions_find(t->sessions, c->session_key);
	if (old)
		SSL_set_session(s, old);	/* it is tried; else the handshake is whole */
	SSL_set_app_data(s, c);
	SSL_set_connect_state(s);
	l = leg_tls_new(s, c->server);
	if (!l) {
		SSL_free(s);
		fail(c, TLS_ALERT_HANDSHAKE, "memory");
		return;
	}
	c->server = l;
	conn_state(c, CONN_SHAKE, c->worker->proxy->shake_ns);
	tls_step(c);
}
