/* SPDX-License-Identifier: MIT */
/*
 * ca.c - Root from files, intermediate in memory, certificates around the part that is signed
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "ca.h"
#include "log.h"

#define SERIAL_BITS	159	/* positive in 20 bytes: RFC 5280 4.1.2.2 */
#define SOON_DAYS	30

/* OpenSSL has no setter for these: in a certificate of our own they may be written to */
static X509_ALGOR *own_algorithm(const X509_ALGOR *a)
{
	return (X509_ALGOR *)(uintptr_t)a;
}

static ASN1_BIT_STRING *own_bits(const ASN1_BIT_STRING *b)
{
	return (ASN1_BIT_STRING *)(uintptr_t)b;
}

int ca_sign(X509 *x, struct sign *s)
{
	const ASN1_BIT_STRING *bits;
	const X509_ALGOR *outer;
	ASN1_BIT_STRING *own;
	uint8_t sig[SIGN_MAX], *tbs = NULL;
	size_t sig_len;
	int len, err;

	X509_get0_signature(&bits, &outer, x);
	if (!X509_ALGOR_copy(own_algorithm(X509_get0_tbs_sigalg(x)), s->algorithm) ||
	    !X509_ALGOR_copy(own_algorithm(outer), s->algorithm))
		return -ENOMEM;
	len = i2d_re_X509_tbs(x, &tbs);
	if (len <= 0)
		return -ENOMEM;
	err = sign_tbs(s, tbs, (size_t)len, sig, &sig_len);
	OPENSSL_free(tbs);
	if (err)
		return err;
	own = own_bits(bits);
	if (!ASN1_BIT_STRING_set(own, sig, (int)sig_len))
		return -ENOMEM;
	/* All bits count, also zeros at the end */
	own->flags &= ~(ASN1_STRING_FLAG_BITS_LEFT | 7L);
	own->flags |= ASN1_STRING_FLAG_BITS_LEFT;
	return 0;
}

int ca_add(X509 *x, int nid, const char *value)
{
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
	int ok = e && X509_add_ext(x, e, -1);

	X509_EXTENSION_free(e);
	return ok ? 0 : -ENOMEM;
}

static int add_key_ids(X509 *x, X509 *issuer)
{
	const ASN1_OCTET_STRING *of_issuer = issuer ? X509_get0_subject_key_id(issuer) : NULL;
	ASN1_OCTET_STRING *own = ASN1_OCTET_STRING_new();
	AUTHORITY_KEYID *akid = AUTHORITY_KEYID_new();
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned len;
	bool ok;

	ok = own && akid && X509_pubkey_digest(x, EVP_sha1(), digest, &len) == 1 &&
	     ASN1_OCTET_STRING_set(own, digest, (int)len) &&
	     X509_add1_ext_i2d(x, NID_subject_key_identifier, own, 0, X509V3_ADD_DEFAULT) == 1;
	if (ok && of_issuer)
		ok = (akid->keyid = ASN1_OCTET_STRING_dup(of_issuer)) &&
		     X509_add1_ext_i2d(x, NID_authority_key_identifier, akid, 0,
				       X509V3_ADD_DEFAULT) == 1;
	AUTHORITY_KEYID_free(akid);
	ASN1_OCTET_STRING_free(own);
	return ok ? 0 : -ENOMEM;
}

int ca_identify(X509 *x, EVP_PKEY *key, X509 *issuer)
{
	BIGNUM *serial = BN_new();
	bool ok;

	ok = serial && X509_set_version(x, X509_VERSION_3) &&
	     BN_rand(serial, SERIAL_BITS, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) &&
	     BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(x)) && X509_set_pubkey(x, key);
	BN_free(serial);
	return ok ? add_key_ids(x, issuer) : -ENOMEM;
}

/* Room for one more between it and the leaves; a key that may sign certificates */
static void check_root(X509 *root, const char *path)
{
	long below = X509_get_pathlen(root);

	if (!(X509_get_key_usage(root) & KU_KEY_CERT_SIGN))
		die_conf("%s: may not sign certificates: its keyUsage lacks keyCertSign", path);
	if (X509_check_ca(root) != 1)
		die_conf("%s: not a certificate authority: it needs basicConstraints CA:TRUE", path);
	if (below == 0)
		die_conf("%s: may have no authority below it (pathlen:0): "
			 "leaves are signed by an intermediate, so it takes pathlen:1 at least", path);
	if (X509_cmp_current_time(X509_get0_notBefore(root)) > 0)
		die_conf("%s: is not valid yet", path);
	if (X509_cmp_current_time(X509_get0_notAfter(root)) < 0)
		die_conf("%s: has expired", path);
}

static void warn_of_end(X509 *root, const char *path)
{
	int days, seconds;

	if (ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(root)) && days < SOON_DAYS)
		log_warn("%s: expires in %d days, and with it all that it signs", path, days);
}

static X509 *read_root(const char *path)
{
	BIO *bio = BIO_new_file(path, "r");
	X509 *root;

	if (!bio)
		die_conf("%s: %m", path);
	root = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	if (!root)
		die_conf("%s: no certificate in PEM: %s", path,
			 ERR_reason_error_string(ERR_peek_last_error()));
	BIO_free(bio);
	check_root(root, path);
	warn_of_end(root, path);
	return root;
}

/* The name tells one run from another: clients may keep intermediates that they saw */
static X509_NAME *intermediate_name(X509 *root)
{
	X509_NAME *name = X509_NAME_dup(X509_get_subject_name(root));
	char cn[64];
	int at;

	if (!name)
		return NULL;
	while ((at = X509_NAME_get_index_by_NID(name, NID_commonName, -1)) >= 0)
		X509_NAME_ENTRY_free(X509_NAME_delete_entry(name, at));
	snprintf(cn, sizeof(cn), "gwproxy intermediate %lld", (long long)time(NULL));
	if (!X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const uint8_t *)cn, -1, -1, 0)) {
		X509_NAME_free(name);
		return NULL;
	}
	return name;
}

static X509 *make_intermediate(X509 *root, struct sign *root_key, struct sign *own)
{
	X509_NAME *name = intermediate_name(root);
	X509 *x = X509_new();

	if (!name || !x || !X509_set_issuer_name(x, X509_get_subject_name(root)) ||
	    !X509_set_subject_name(x, name) ||
	    !X509_set1_notBefore(x, X509_get0_notBefore(root)) ||
	    !X509_set1_notAfter(x, X509_get0_notAfter(root)) || ca_identify(x, own->public, root) ||
	    ca_add(x, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
	    ca_add(x, NID_key_usage, "critical,keyCertSign") || ca_sign(x, root_key))
		die("the intermediate certificate cannot be made");
	X509_NAME_free(name);
	return x;
}

struct ca *ca_open(const char *cert, const char *key)
{
	struct ca *ca = calloc(1, sizeof(*ca));
	struct sign *root_key;

	if (!ca || !(ca->chain = sk_X509_new_null()))
		die("out of memory");
	ca->root = read_root(cert);
	root_key = sign_open_pem(key);
	if (EVP_PKEY_eq(X509_get0_pubkey(ca->root), root_key->public) != 1)
		die_conf("%s: not the key of %s", key, cert);
	ca->sign = sign_open_fresh();
	ca->cert = make_intermediate(ca->root, root_key, ca->sign);
	sign_close(root_key);
	/* Parses what it caches, which threads would do at once; and the last look at it all */
	if (X509_verify(ca->cert, X509_get0_pubkey(ca->root)) != 1 || X509_check_ca(ca->cert) != 1 ||
	    !sk_X509_push(ca->chain, ca->cert))
		die("the intermediate certificate does not verify");
	return ca;
}

void ca_close(struct ca *ca)
{
	if (!ca)
		return;
	sign_close(ca->sign);
	sk_X509_free(ca->chain);
	X509_free(ca->cert);
	X509_free(ca->root);
	free(ca);
}
