/* SPDX-License-Identifier: MIT */
/*
 * sign.h - sign(tbs) -> signature: whoever holds a key of the certificate authority
 *
 * Theory of operation
 *
 * A certificate is encoded by us up to its signature (ca_sign() in ca.c); the one who holds the
 * key only ever sees these bytes and says which algorithm it signs with.  So the key may as well
 * lie in a token or a service: another struct sign_ops.
 *
 * Keys that lie here are in guarded memory of libsodium: locked (no swap), left out of
 * cores, between guard pages, and not even readable but for the moment of a signature.  What
 * OpenSSL makes of them for that moment lies in its secure heap (locked and left out of cores as
 * well) and is wiped afterwards.
 */
#ifndef GW_SIGN_H
#define GW_SIGN_H

#include <stddef.h>
#include <stdint.h>

#include <openssl/x509.h>

#define SIGN_MAX	1024u	/* bytes of a signature: RSA with 8192 bits */

struct sign;

/**
 * struct sign_ops - A kind of key holder
 * @sign:	See sign_tbs(); may be called by several threads at once
 */
struct sign_ops {
	int (*sign)(struct sign *s, const uint8_t *tbs, size_t len, uint8_t *sig, size_t *sig_len);
	void (*close)(struct sign *s);
};

/**
 * struct sign - In front of each kind's own state
 * @algorithm:	AlgorithmIdentifier of its signatures
 * @public:	The public key
 */
struct sign {
	const struct sign_ops *ops;
	X509_ALGOR *algorithm;
	EVP_PKEY *public;
};

/**
 * sign_secrecy() - No core of this process, no other process looks into it; locked memory for
 * OpenSSL, and what it frees while it handles a key is wiped
 *
 * To be called before anything else uses OpenSSL, and again after each change of user, which makes
 * the kernel forget the first.  Warns where memory cannot be locked; other errors exit.
 */
void sign_secrecy(void);

/**
 * sign_open_pem() - A key from a PEM file, without pass phrase
 *
 * RSA, EC and Ed25519 are known.  Errors exit: 2, with a line that says what is wrong.
 */
struct sign *sign_open_pem(const char *path)
	__attribute__((nonnull, warn_unused_result, returns_nonnull));

/**
 * sign_open_fresh() - A new EC P-256 key that is nowhere else
 *
 * Errors exit.
 */
struct sign *sign_open_fresh(void) __attribute__((warn_unused_result, returns_nonnull));

/**
 * sign_tbs() - Sign
 * @sig:	Room for SIGN_MAX bytes
 * @sig_len:	Written on success
 *
 * Return: 0 or -errno
 */
static inline int sign_tbs(struct sign *s, const uint8_t *tbs, size_t len, uint8_t *sig,
			   size_t *sig_len)
{
	return s->ops->sign(s, tbs, len, sig, sig_len);
}

/**
 * sign_close() - The key is wiped.  NULL is fine
 */
static inline void sign_close(struct sign *s)
{
	if (s)
		s->ops->close(s);
}

#endif /* GW_SIGN_H */
