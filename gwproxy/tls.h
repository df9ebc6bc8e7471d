/* SPDX-License-Identifier: MIT */
/*
 * tls.h - Between a TLS client and a TLS server
 *
 * Theory of operation
 *
 * The ClientHello is read without taking it (MSG_PEEK): up to the moment in which the first byte
 * goes back to the client the connection can still be passed as it is.  So the order is
 *
 *	1. what does the client ask for (choose.c), what do rules say?
 *	2. handshake with the server: the client's name and ALPN list, certificate verified
 *	3. a leaf for this name from the mint
 *	4. handshake with the client: the protocol that the server has chosen
 *
 * To pass in step 2 the connection to the server is begun again: the same socket, so the same
 * ports, after a RST.
 */
#ifndef GW_TLS_H
#define GW_TLS_H

#include <stdbool.h>

#include "ca.h"
#include "conn.h"
#include "hello.h"
#include "keylog.h"

/**
 * struct tls_options - From the command line
 * @upstream_ca:	PEM file; NULL: the system's roots
 * @insecure:	Servers' certificates are not verified
 * @learn:	--pass-on-failure
 * @keylog:	NULL: none
 */
struct tls_options {
	struct ca *ca;
	const char *upstream_ca;
	bool insecure, learn;
	struct keylog *keylog;
};

/**
 * tls_conf_new() - What workers share; errors exit
 */
struct tls_conf *tls_conf_new(const struct tls_options *o) __attribute__((nonnull));
void tls_conf_free(struct tls_conf *t);		/* NULL is fine */

/**
 * tls_open() - A worker's own contexts and mint; errors exit
 */
struct tls *tls_open(struct tls_conf *conf) __attribute__((nonnull));
void tls_close(struct tls *t);			/* NULL is fine */

/**
 * tls_start() - Intercept; the client's hello still lies in its socket
 */
void tls_start(struct conn *c, const struct hello *h) __attribute__((nonnull));
void tls_step(struct conn *c) __attribute__((nonnull));
void tls_shake_free(struct conn *c) __attribute__((nonnull));

/**
 * tls_refuse() - End a connection whose client waits for a ServerHello, with an alert
 */
void tls_refuse(struct conn *c, unsigned alert, const char *why) __attribute__((nonnull));

#define TLS_ALERT_HANDSHAKE	40u
#define TLS_ALERT_DENIED	49u

/**
 * tls_learnt() - Did an earlier client refuse our certificate for this name?
 */
bool tls_learnt(struct tls_conf *t, const char *name) __attribute__((nonnull));

#endif /* GW_TLS_H */
