/* SPDX-License-Identifier: MIT */
/*
 * leg_tls.h - A leg that speaks TLS
 */
#ifndef GW_LEG_TLS_H
#define GW_LEG_TLS_H

#include <openssl/ssl.h>

#include "leg.h"

/**
 * leg_tls_new() - On top of a plain leg
 * @s:		Taken on success; accept or connect state is set
 * @sock:	Taken on success: descriptor and state go over
 *
 * Return: NULL without memory
 */
struct leg *leg_tls_new(SSL *s, struct leg *sock) __attribute__((nonnull));

/**
 * leg_tls_shake() - Handshake
 *
 * Return: 0: done; -EAGAIN; -EBADMSG: OpenSSL's queue says why; -ECONNRESET, -EPIPE: the other
 * end went away
 */
int leg_tls_shake(struct leg *l) __attribute__((nonnull));

/**
 * leg_tls_peek() - As leg_read(), without taking
 */
ssize_t leg_tls_peek(struct leg *l, void *buf, size_t len) __attribute__((nonnull));

/**
 * leg_tls_last_word() - Look for an alert that nobody has read, if the handshake is done; see @broke
 */
void leg_tls_last_word(struct leg *l) __attribute__((nonnull));

SSL *leg_tls_ssl(struct leg *l) __attribute__((nonnull));

/**
 * leg_tls_strip() - Back to a plain leg; TLS is forgotten, not ended
 */
struct leg *leg_tls_strip(struct leg *l) __attribute__((nonnull));

#endif /* GW_LEG_TLS_H */
