/* SPDX-License-Identifier: MIT */
/*
 * ca.h - The certificate authority: a root from files, an intermediate of our own
 *
 * The root's key signs once, the intermediate, and is wiped.  The intermediate's key is made at the
 * start, lies in guarded memory only (sign.h) and is gone with the process; its certificate is
 * valid as long as the root's.
 */
#ifndef GW_CA_H
#define GW_CA_H

#include <openssl/x509.h>

#include "sign.h"

/**
 * struct ca - Read-only once open: threads share it
 * @root:	As in the file
 * @cert:	The intermediate
 * @chain:	@cert alone: what goes to a client behind its leaf
 * @sign:	The intermediate's key
 */
struct ca {
	X509 *root;
	X509 *cert;
	STACK_OF(X509) *chain;
	struct sign *sign;
};

/**
 * ca_open() - Read root certificate and key, make the intermediate
 * @cert, @key:	PEM files (--ca-cert, --ca-key); may be one and the same
 *
 * A root that is no CA, may have no CA below it, may not sign certificates, is not (or no longer)
 * valid or has another key than @key is refused.  Errors exit: 2.
 */
struct ca *ca_open(const char *cert, const char *key)
	__attribute__((nonnull, warn_unused_result, returns_nonnull));

void ca_close(struct ca *ca);	/* NULL is fine */

/**
 * ca_sign() - Make a certificate of @x, which is complete but for its signature
 *
 * Return: 0 or -errno
 */
int ca_sign(X509 *x, struct sign *s) __attribute__((nonnull, warn_unused_result));

/**
 * ca_identify() - What is the same in all we issue: version, random serial number, key, and key
 * identifiers of @key and @issuer
 * @issuer:	NULL: none yet
 *
 * Return: 0 or -ENOMEM
 */
int ca_identify(X509 *x, EVP_PKEY *key, X509 *issuer)
	__attribute__((nonnull(1, 2), warn_unused_result));

/**
 * ca_add() - Add an extension as in openssl.cnf: "critical,CA:FALSE"
 *
 * Return: 0 or -ENOMEM
 */
int ca_add(X509 *x, int nid, const char *value) __attribute__((nonnull, warn_unused_result));

#endif /* GW_CA_H */
