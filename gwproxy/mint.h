/* SPDX-License-Identifier: MIT */
/*
 * mint.h - Leaf certificates in the image of a server's own, kept for its next visitor
 *
 * One mint per event loop: no locks, but for the moment in which a new leaf is signed.
 *
 * A leaf says of the server what its own certificate says: names (DNS and IP of
 * subjectAltName, the common name) and validity, cut to the intermediate's.  So a client that would
 * refuse the server's name or date refuses the leaf, too.
 */
#ifndef GW_MINT_H
#define GW_MINT_H

#include <stdint.h>

#include <openssl/ssl.h>

#include "ca.h"

#define MINT_LEAVES	1024u	/* kept if nothing else is said; a leaf is some 4 KB */

/**
 * struct leaf - What the client's leg shows; all belong to the mint
 * @cert:	The leaf
 * @key:	The mint's own key, EC P-256: the same for all its leaves
 * @chain:	What is sent behind it
 */
struct leaf {
	X509 *cert;
	EVP_PKEY *key;
	STACK_OF(X509) *chain;
};

struct mint;

/**
 * mint_new() - A loop's own mint
 * @ca:		Outlives it
 * @leaves:	Keep so many at most, at least one; the one not used for longest goes first
 *
 * Return: NULL without memory
 */
struct mint *mint_new(struct ca *ca, unsigned leaves)
	__attribute__((nonnull, warn_unused_result));
void mint_free(struct mint *m);		/* NULL is fine */

/**
 * mint_leaf() - The leaf for a server
 * @name:	What the client asked for (SNI); "" if nothing
 * @server:	The server's certificate
 *
 * Return: valid until the next call; NULL: without memory, or it could not be signed
 */
const struct leaf *mint_leaf(struct mint *m, const char *name, X509 *server)
	__attribute__((nonnull, warn_unused_result));

/**
 * mint_use() - Let a connection (the client's leg) show it; before or in the certificate callback
 *
 * Return: 0 or -EINVAL
 */
int mint_use(const struct leaf *l, SSL *s) __attribute__((nonnull, warn_unused_result));

/**
 * mint_made() / mint_found() - Leaves made, and asked for when they were there
 */
uint64_t mint_made(const struct mint *m) __attribute__((nonnull));
uint64_t mint_found(const struct mint *m) __attribute__((nonnull));

#endif /* GW_MINT_H */
