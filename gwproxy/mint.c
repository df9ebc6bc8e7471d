/* SPDX-License-Identifier: MIT */
/*
 * mint.c - Leaf certificates and their cache
 *
 * Theory of operation
 *
 * An entry's name is a keyed hash over what was asked for and the server's certificate; nobody
 * outside can choose names that meet in one bucket.  Entries are numbers in one array: a chain for
 * each bucket, and one list from the latest used to the oldest, through an anchor in the array's
 * last place.  Room is bounded twice, by number and by bytes: a server may show a certificate of
 * 100 KB.
 */
#include <errno.h>
#include <stdlib.h>

#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <sodium.h>

#include "mint.h"
#include "wire.h"

#define LEAF_BYTES	2048u		/* encoded, on the average of a full cache; in memory twice that */
#define COMMON_NAME_MAX	64u		/* ub-common-name, RFC 5280 */
#define NONE		UINT32_MAX
#define ID_LEN		32u

struct entry {
	uint8_t id[ID_LEN];
	X509 *cert;
	size_t bytes;
	uint32_t next_in_bucket;
	uint32_t newer, older;
};

struct mint {
	struct ca *ca;
	EVP_PKEY *key;
	uint8_t hash_key[crypto_generichash_KEYBYTES];
	struct leaf leaf;
	uint32_t room, used;
	size_t bytes;
	uint32_t free;			/* chain of entries without a leaf */
	uint32_t mask;
	uint32_t *bucket;
	struct entry *entry;		/* @room of them and the anchor */
	uint64_t made, found;
};

struct mint *mint_new(struct ca *ca, unsigned leaves)
{
	struct mint *m = calloc(1, sizeof(*m));
	uint32_t buckets = 1;

	if (!m)
		return NULL;
	m->ca = ca;
	m->room = MAX(leaves, 1u);
	while (buckets < m->room)
		buckets *= 2;
	m->mask = buckets - 1;
	m->key = EVP_EC_gen("P-256");
	m->bucket = malloc(buckets * sizeof(*m->bucket));
	m->entry = calloc((size_t)m->room + 1, sizeof(*m->entry));
	if (!m->key || !m->bucket || !m->entry) {
		mint_free(m);
		return NULL;
	}
	m->leaf.key = m->key;
	m->leaf.chain = ca->chain;
	randombytes_buf(m->hash_key, sizeof(m->hash_key));
	for (uint32_t i = 0; i < buckets; i++)
		m->bucket[i] = NONE;
	for (uint32_t i = 0; i < m->room; i++)
		m->entry[i].next_in_bucket = i + 1 < m->room ? i + 1 : NONE;
	m->entry[m->room].newer = m->entry[m->room].older = m->room;
	return m;
}

void mint_free(struct mint *m)
{
	if (!m)
		return;
	for (uint32_t i = 0; m->entry && i < m->room; i++)
		X509_free(m->entry[i].cert);
	free(m->entry);
	free(m->bucket);
	EVP_PKEY_free(m->key);
	free(m);
}

static void list_out(struct mint *m, uint32_t i)
{
	m->entry[m->entry[i].newer].older = m->entry[i].older;
	m->entry[m->entry[i].older].newer = m->entry[i].newer;
}

static void list_first(struct mint *m, uint32_t i)
{
	struct entry *anchor = &m->entry[m->room];

	m->entry[i].newer = m->room;
	m->entry[i].older = anchor->older;
	m->entry[anchor->older].newer = i;
	anchor->older = i;
}

static uint32_t *bucket_of(struct mint *m, const uint8_t id[static ID_LEN])
{
	return &m->bucket[be32(id) & m->mask];
}

static void forget_oldest(struct mint *m)
{
	uint32_t i = m->entry[m->room].newer;
	struct entry *e = &m->entry[i];
	uint32_t *at = bucket_of(m, e->id);

	while (*at != i)
		at = &m->entry[*at].next_in_bucket;
	*at = e->next_in_bucket;
	list_out(m, i);
	X509_free(e->cert);
	e->cert = NULL;
	m->bytes -= e->bytes;
	m->used--;
	e->next_in_bucket = m->free;
	m->free = i;
}

static struct entry *find(struct mint *m, const uint8_t id[static ID_LEN])
{
	uint32_t i = *bucket_of(m, id);

	while (i != NONE && memcmp(m->entry[i].id, id, ID_LEN) != 0)
		i = m->entry[i].next_in_bucket;
	if (i == NONE)
		return NULL;
	list_out(m, i);
	list_first(m, i);
	return &m->entry[i];
}

static void keep(struct mint *m, const uint8_t id[static ID_LEN], X509 *cert, size_t bytes)
{
	uint32_t *at = bucket_of(m, id), i;

	while (m->used && (m->used == m->room ||
			   m->bytes + bytes > (size_t)m->room * LEAF_BYTES))
		forget_oldest(m);
	i = m->free;
	m->free = m->entry[i].next_in_bucket;
	memcpy(m->entry[i].id, id, ID_LEN);
	m->entry[i].cert = cert;
	m->entry[i].bytes = bytes;
	m->entry[i].next_in_bucket = *at;
	*at = i;
	list_first(m, i);
	m->bytes += bytes;
	m->used++;
}

/* DNS names and addresses; an empty list if there are none */
static GENERAL_NAMES *names_of(X509 *server)
{
	GENERAL_NAMES *all = X509_get_ext_d2i(server, NID_subject_alt_name, NULL, NULL);
	int i;

	if (!all)
		return sk_GENERAL_NAME_new_null();
	for (i = sk_GENERAL_NAME_num(all) - 1; i >= 0; i--) {
		const GENERAL_NAME *n = sk_GENERAL_NAME_value(all, i);

		if (n->type != GEN_DNS && n->type != GEN_IPADD)
			GENERAL_NAME_free(sk_GENERAL_NAME_delete(all, i));
	}
	return all;
}

static bool add_name(GENERAL_NAMES *names, const ASN1_STRING *text)
{
	GENERAL_NAME *n = GENERAL_NAME_new();
	ASN1_IA5STRING *dns = ASN1_IA5STRING_new();

	if (!n || !dns || !ASN1_STRING_set(dns, ASN1_STRING_get0_data(text), ASN1_STRING_length(text)) ||
	    !sk_GENERAL_NAME_push(names, n)) {
		ASN1_IA5STRING_free(dns);
		GENERAL_NAME_free(n);
		return false;
	}
	GENERAL_NAME_set0_value(n, GEN_DNS, dns);
	return true;
}

/* Letters, digits, '-', '.', '*': what a client would take for a host name */
static bool is_host(const ASN1_STRING *s)
{
	const uint8_t *p = ASN1_STRING_get0_data(s);
	int len = ASN1_STRING_length(s);

	for (int i = 0; i < len; i++)
		if (!((p[i] >= 'a' && p[i] <= 'z') || (p[i] >= 'A' && p[i] <= 'Z') ||
		      (p[i] >= '0' && p[i] <= '9') || p[i] == '-' || p[i] == '.' || p[i] == '*'))
			return false;
	return len > 0;
}

/* Clients of today look at subjectAltName only: a server without it is known by its common
 * name, as far as its own clients go by that */
static bool set_names(X509 *x, X509 *server, const char *name)
{
	GENERAL_NAMES *names = names_of(server);
	X509_NAME *subject = X509_NAME_new();
	X509_NAME *its = X509_get_subject_name(server);
	int at = X509_NAME_get_index_by_NID(its, NID_commonName, -1);
	X509_NAME_ENTRY *cn = at >= 0 ? X509_NAME_get_entry(its, at) : NULL;
	size_t len = strlen(name);
	bool ok = names && subject;

	if (ok && cn)
		ok = X509_NAME_add_entry(subject, cn, -1, 0) &&
		     (sk_GENERAL_NAME_num(names) || !is_host(X509_NAME_ENTRY_get_data(cn)) ||
		      add_name(names, X509_NAME_ENTRY_get_data(cn)));
	else if (ok && len && len <= COMMON_NAME_MAX)
		ok = X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_ASC,
						(const uint8_t *)name, (int)len, -1, 0);
	if (ok && sk_GENERAL_NAME_num(names))
		ok = X509_add1_ext_i2d(x, NID_subject_alt_name, names,
				       !X509_NAME_entry_count(subject), X509V3_ADD_DEFAULT) == 1;
	ok = ok && X509_set_subject_name(x, subject);
	X509_NAME_free(subject);
	GENERAL_NAMES_free(names);
	return ok;
}

static bool set_validity(X509 *x, X509 *server, X509 *issuer)
{
	const ASN1_TIME *from = X509_get0_notBefore(server), *to = X509_get0_notAfter(server);

	if (ASN1_TIME_compare(from, X509_get0_notBefore(issuer)) < 0)
		from = X509_get0_notBefore(issuer);
	if (ASN1_TIME_compare(to, X509_get0_notAfter(issuer)) > 0)
		to = X509_get0_notAfter(issuer);
	return X509_set1_notBefore(x, from) && X509_set1_notAfter(x, to);
}

static X509 *make_leaf(struct mint *m, const char *name, X509 *server)
{
	X509 *issuer = m->ca->cert, *x = X509_new();

	if (x && X509_set_issuer_name(x, X509_get_subject_name(issuer)) &&
	    set_validity(x, server, issuer) && !ca_identify(x, m->key, issuer) &&
	    !ca_add(x, NID_basic_constraints, "critical,CA:FALSE") &&
	    !ca_add(x, NID_key_usage, "critical,digitalSignature") &&
	    !ca_add(x, NID_ext_key_usage, "serverAuth") && set_names(x, server, name) &&
	    !ca_sign(x, m->ca->sign))
		return x;
	X509_free(x);
	return NULL;
}

static bool leaf_id(const struct mint *m, const char *name, X509 *server, uint8_t id[static ID_LEN])
{
	crypto_generichash_state h;
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned len;

	return X509_digest(server, EVP_sha256(), digest, &len) == 1 &&
	       !crypto_generichash_init(&h, m->hash_key, sizeof(m->hash_key), ID_LEN) &&
	       !crypto_generichash_update(&h, digest, len) &&
	       !crypto_generichash_update(&h, (const uint8_t *)name, strlen(name)) &&
	       !crypto_generichash_final(&h, id, ID_LEN);
}

const struct leaf *mint_leaf(struct mint *m, const char *name, X509 *server)
{
	uint8_t id[ID_LEN];
	struct entry *e;
	X509 *cert;
	int bytes;

	if (!leaf_id(m, name, server, id))
		return NULL;
	e = find(m, id);
	if (e) {
		m->found++;
		m->leaf.cert = e->cert;
		return &m->leaf;
	}
	cert = make_leaf(m, name, server);
	bytes = cert ? i2d_X509(cert, NULL) : -1;
	if (bytes < 0) {
		X509_free(cert);
		return NULL;
	}
	keep(m, id, cert, (size_t)bytes);
	m->made++;
	m->leaf.cert = cert;
	return &m->leaf;
}

int mint_use(const struct leaf *l, SSL *s)
{
	return SSL_use_cert_and_key(s, l->cert, l->key, l->chain, 1) == 1 ? 0 : -EINVAL;
}

uint64_t mint_made(const struct mint *m)
{
	return m->made;
}

uint64_t mint_found(const struct mint *m)
{
	return m->found;
}
