/* SPDX-License-Identifier: MIT */
/*
 * hello.h - What a TLS client asks for, from its ClientHello
 *
 * Read from the first bytes of a connection, before anything is decided and without taking
 * them (hello_scan(), MSG_PEEK), or within OpenSSL's client_hello_cb (hello_read()).  Both
 * say the same.
 */
#ifndef GW_HELLO_H
#define GW_HELLO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/ssl.h>

#define HELLO_MAX	16384u	/* bytes, with record headers, in which a ClientHello must end */
#define HELLO_NAME_MAX	256u
#define HELLO_ALPN_MAX	256u

enum hello_verdict {
	HELLO_WHOLE,	/* it is there and well-formed */
	HELLO_MORE,	/* so far it may be one: read on */
	HELLO_NOT,	/* another protocol: the first bytes say so */
	HELLO_BROKEN,	/* TLS, but lengths don't fit, a name is none, or all of it > HELLO_MAX */
};

/**
 * struct hello - Facts of a ClientHello
 * @sni:	Host name, lower case, without a dot at its end; "" if none
 * @alpn, @alpn_len:	As on the wire (and for SSL_set_alpn_protos()): length, name, ...; of a list
 *		that is longer the names that have room, the first ones
 * @ech:	Encrypted Client Hello is there: @sni may be only the outer name.  Browsers send
 *		one that means nothing to servers that have none (GREASE)
 * @version_max, @version_min:	Highest and lowest version offered, as on the wire: TLS1_3_VERSION;
 *		values that mean nothing (GREASE) left out
 */
struct hello {
	char sni[HELLO_NAME_MAX];
	uint8_t alpn[HELLO_ALPN_MAX];
	size_t alpn_len;
	bool ech;
	uint16_t version_max;
	uint16_t version_min;
};

/**
 * hello_scan() - Is this the beginning of a ClientHello, and is it whole?
 * @h:		Written on HELLO_WHOLE
 * @buf, @len:	From the connection's first byte on
 *
 * Never says HELLO_MORE once @len >= HELLO_MAX.
 */
enum hello_verdict hello_scan(struct hello *h, const uint8_t *buf, size_t len)
	__attribute__((nonnull(1), warn_unused_result));

/**
 * hello_prepare() - Let OpenSSL keep what hello_read() wants to see; once for a server's context
 *
 * Return: 0 or -ENOMEM
 */
int hello_prepare(SSL_CTX *ctx) __attribute__((nonnull, warn_unused_result));

/**
 * hello_read() - The same from within client_hello_cb
 * @h:		Written on HELLO_WHOLE
 *
 * Return: HELLO_WHOLE or HELLO_BROKEN
 */
enum hello_verdict hello_read(struct hello *h, SSL *s) __attribute__((nonnull, warn_unused_result));

/**
 * hello_offers() - Is a protocol in the ALPN list?
 */
bool hello_offers(const struct hello *h, const char *protocol) __attribute__((nonnull));

#endif /* GW_HELLO_H */
