/* SPDX-License-Identifier: MIT */
/*
 * sign.c - Keys in guarded memory: from a PEM file, or made here
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <sodium.h>

#include "log.h"
#include "sign.h"

#define FILE_MAX	65536		/* bytes of a key file: PEM with whatever stands around it */
#define SECURE_HEAP	131072		/* bytes; RSA with 8192 bits takes 5 KB while it signs */
#define SECURE_LEAST	32
#define P256_SCALAR	32

/**
 * struct sign_held - A key that lies here
 * @secret, @len:	Guarded; readable between reveal() and hide() only
 * @lock:	Protection of pages is the process's: one thread at a time
 * @make:	@secret as OpenSSL takes it
 * @digest:	NULL: the algorithm has its own
 */
struct sign_held {
	struct sign s;
	void *secret;
	size_t len;
	pthread_mutex_t lock;
	EVP_PKEY *(*make)(const struct sign_held *h);
	const EVP_MD *digest;
};

static const char *openssl_why(void)
{
	const char *why = ERR_reason_error_string(ERR_peek_last_error());

	return why ? why : "unknown error";
}

/* OpenSSL's decoders free copies of a key as they are: while a thread handles one, whatever it
 * frees is wiped.  (glibc's M_PERTURB leaves its caches out.) */
static _Thread_local bool wiping;

static void *mem_get(size_t len, const char *file, int line)
{
	(void)file;
	(void)line;
	return malloc(len);
}

static void mem_free(void *p, const char *file, int line)
{
	(void)file;
	(void)line;
	if (wiping && p)
		explicit_bzero(p, malloc_usable_size(p));
	free(p);
}

static void *mem_resize(void *p, size_t len, const char *file, int line)
{
	void *bigger;

	if (!wiping || !p)
		return realloc(p, len);
	bigger = malloc(len);
	if (bigger) {
		memcpy(bigger, p, len < malloc_usable_size(p) ? len : malloc_usable_size(p));
		mem_free(p, file, line);
	}
	return bigger;
}

void sign_secrecy(void)
{
	const struct rlimit none = { 0, 0 };

	if (prctl(PR_SET_DUMPABLE, 0) || setrlimit(RLIMIT_CORE, &none))
		die("core dumps cannot be turned off: %m");
	if (CRYPTO_secure_malloc_initialized())
		return;
	if (!CRYPTO_set_mem_functions(mem_get, mem_resize, mem_free))
		die("OpenSSL was in use before it could be told to wipe what it frees");
	if (sodium_init() < 0)
		die("libsodium: cannot start");
	switch (CRYPTO_secure_malloc_init(SECURE_HEAP, SECURE_LEAST)) {
	case 1:
		return;
	case 2:
		log_warn("keys may be swapped out: memory cannot be locked: see ulimit -l");
		return;
	default:
		die("OpenSSL: no locked memory");
	}
}

static void *guarded(size_t len)
{
	void *p = sodium_malloc(len);

	if (!p)
		die("%zu bytes of guarded memory: %m", len);
	return p;
}

/* The key as OpenSSL's, for one signature */
static EVP_PKEY *reveal(struct sign_held *h)
{
	EVP_PKEY *key;

	pthread_mutex_lock(&h->lock);
	if (sodium_mprotect_readonly(h->secret)) {
		pthread_mutex_unlock(&h->lock);
		return NULL;
	}
	key = h->make(h);
	if (sodium_mprotect_noaccess(h->secret)) {
		EVP_PKEY_free(key);
		key = NULL;
	}
	pthread_mutex_unlock(&h->lock);
	return key;
}

static int held_sign(struct sign *s, const uint8_t *tbs, size_t len, uint8_t *sig, size_t *sig_len)
{
	struct sign_held *h = (struct sign_held *)s;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	size_t n = SIGN_MAX;
	int err = -ENOMEM;
	EVP_PKEY *key;

	wiping = true;
	key = reveal(h);
	if (ctx && key && EVP_DigestSignInit(ctx, NULL, h->digest, NULL, key) == 1) {
		err = EVP_DigestSign(ctx, sig, &n, tbs, len) == 1 ? 0 : -EIO;
		if (!err)
			*sig_len = n;
	}
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(key);
	wiping = false;
	return err;
}

static void held_close(struct sign *s)
{
	struct sign_held *h = (struct sign_held *)s;

	sodium_free(h->secret);
	pthread_mutex_destroy(&h->lock);
	X509_ALGOR_free(s->algorithm);
	EVP_PKEY_free(s->public);
	free(h);
}

static const struct sign_ops held_ops = { held_sign, held_close };

static struct sign_held *held_new(int algorithm, int parameter)
{
	struct sign_held *h = calloc(1, sizeof(*h));

	if (!h || !(h->s.algorithm = X509_ALGOR_new()) ||
	    !X509_ALGOR_set0(h->s.algorithm, OBJ_nid2obj(algorithm), parameter, NULL))
		die("out of memory");
	pthread_mutex_init(&h->lock, NULL);
	h->s.ops = &held_ops;
	return h;
}

/* Through its encoding: an EVP_PKEY with the private half would stay readable */
static EVP_PKEY *public_half(EVP_PKEY *key)
{
	EVP_PKEY *public = NULL;
	uint8_t *der = NULL;
	const uint8_t *p;
	int len = i2d_PUBKEY(key, &der);

	if (len > 0) {
		p = der;
		public = d2i_PUBKEY(NULL, &p, len);
	}
	OPENSSL_free(der);
	return public;
}

static EVP_PKEY *make_pem(const struct sign_held *h)
{
	const uint8_t *p = h->secret;

	return d2i_AutoPrivateKey(NULL, &p, (long)h->len);
}

/* A pass phrase would have to come from somewhere: there is nobody to ask */
static int no_phrase(char *buf, int size, int writing, void *asked)
{
	(void)buf;
	(void)size;
	(void)writing;
	*(int *)asked = 1;
	return -1;
}

/* The file, in guarded memory from its first byte on */
static char *read_guarded(const char *path, size_t *len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *text = guarded(FILE_MAX);
	struct stat st;
	ssize_t n = 1;

	if (fd < 0 || fstat(fd, &st))
		die_conf("%s: %m", path);
	if (st.st_mode & (S_IRWXG | S_IRWXO) && S_ISREG(st.st_mode))
		log_warn("%s: others may read this key (mode %03o): chmod 600 it", path,
			 (unsigned)st.st_mode & 0777);
	for (*len = 0; n > 0 && *len < FILE_MAX; *len += (size_t)n) {
		n = read(fd, text + *len, FILE_MAX - *len);
		if (n < 0)
			die_conf("%s: %m", path);
	}
	if (*len == FILE_MAX)
		die_conf("%s: too long for a key", path);
	close(fd);
	return text;
}

static EVP_PKEY *read_pem(const char *path)
{
	size_t len;
	char *text = read_guarded(path, &len);
	BIO *bio = BIO_new_mem_buf(text, (int)len);
	EVP_PKEY *key;
	int asked = 0;

	if (!bio)
		die("out of memory");
	key = PEM_read_bio_PrivateKey(bio, NULL, no_phrase, &asked);
	BIO_free(bio);
	sodium_free(text);
	if (asked)
		die_conf("%s: the key has a pass phrase, which nobody could type here: "
			 "openssl pkey -in ... -out ... takes it off", path);
	if (!key)
		die_conf("%s: no private key in PEM: %s", path, openssl_why());
	return key;
}

/* What the certificates that this key signs are to say */
static struct sign_held *held_for(EVP_PKEY *key, const char *path)
{
	struct sign_held *h;
	int bits = EVP_PKEY_get_bits(key);
	bool sha384 = bits > 256;

	switch (EVP_PKEY_get_base_id(key)) {
	case EVP_PKEY_RSA:
		if (bits < 2048 || EVP_PKEY_get_size(key) > (int)SIGN_MAX)
			die_conf("%s: RSA with %d bits: 2048 to %u are taken", path, bits,
				 8 * SIGN_MAX);
		h = held_new(NID_sha256WithRSAEncryption, V_ASN1_NULL);
		h->digest = EVP_sha256();
		return h;
	case EVP_PKEY_EC:
		h = held_new(sha384 ? NID_ecdsa_with_SHA384 : NID_ecdsa_with_SHA256, V_ASN1_UNDEF);
		h->digest = sha384 ? EVP_sha384() : EVP_sha256();
		return h;
	case EVP_PKEY_ED25519:
		return held_new(NID_ED25519, V_ASN1_UNDEF);
	default:
		die_conf("%s: a %s key: RSA, EC and Ed25519 are known", path,
			 OBJ_nid2sn(EVP_PKEY_get_base_id(key)));
	}
}

struct sign *sign_open_pem(const char *path)
{
	struct sign_held *h;
	EVP_PKEY *key;
	uint8_t *p;
	int len;

	wiping = true;
	key = read_pem(path);
	h = held_for(key, path);
	len = i2d_PrivateKey(key, NULL);
	if (len <= 0 || !(h->s.public = public_half(key)))
		die_conf("%s: %s", path, openssl_why());
	h->secret = p = guarded((size_t)len);
	h->len = (size_t)len;
	h->make = make_pem;
	if (i2d_PrivateKey(key, &p) != len || sodium_mprotect_noaccess(h->secret))
		die("%s: the key cannot be kept: %m", path);
	EVP_PKEY_free(key);
	wiping = false;
	return &h->s;
}

/* Fast, as each leaf needs it: no decoder has to find out what this is */
static EVP_PKEY *make_p256(const struct sign_held *h)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
	BIGNUM *scalar = BN_secure_new();
	OSSL_PARAM *params = NULL;
	EVP_PKEY *key = NULL;

	if (ctx && bld && scalar && BN_bin2bn(h->secret, P256_SCALAR, scalar) &&
	    OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, SN_X9_62_prime256v1, 0) &&
	    OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_PRIV_KEY, scalar) &&
	    (params = OSSL_PARAM_BLD_to_param(bld)) && EVP_PKEY_fromdata_init(ctx) == 1 &&
	    EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_KEYPAIR, params) != 1)
		key = NULL;
	OSSL_PARAM_free(params);
	BN_clear_free(scalar);
	OSSL_PARAM_BLD_free(bld);
	EVP_PKEY_CTX_free(ctx);
	return key;
}

struct sign *sign_open_fresh(void)
{
	struct sign_held *h = held_new(NID_ecdsa_with_SHA256, V_ASN1_UNDEF);
	BIGNUM *scalar = NULL;
	EVP_PKEY *key;

	wiping = true;
	key = EVP_EC_gen("P-256");
	h->secret = guarded(P256_SCALAR);
	h->len = P256_SCALAR;
	h->make = make_p256;
	h->digest = EVP_sha256();
	if (!key || !(h->s.public = public_half(key)) ||
	    !EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_PRIV_KEY, &scalar) ||
	    BN_bn2binpad(scalar, h->secret, P256_SCALAR) != P256_SCALAR)
		die("a new key cannot be made: %s", openssl_why());
	BN_clear_free(scalar);
	EVP_PKEY_free(key);
	wiping = false;
	if (sodium_mprotect_noaccess(h->secret))
		die("a new key cannot be kept: %m");
	return &h->s;
}
