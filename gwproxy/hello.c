/* SPDX-License-Identifier: MIT */
/*
 * hello.c - ClientHello, RFC 8446 4.1.2, RFC 5246 7.4.1.2
 *
 * view_take() is the only way to a byte; a list gets a view of its own, so a lying length ends the
 * walk.
 */
#include <errno.h>
#include <string.h>

#include "hello.h"
#include "wire.h"

#define RECORD_HEAD		5u
#define RECORD_HANDSHAKE	22u
#define RECORD_MAX		16384u
#define MESSAGE_HEAD		4u
#define CLIENT_HELLO		1u
#define RANDOM_LEN		32u
#define SESSION_ID_MAX		32u
#define HOST_NAME		0u

#define EXT_SERVER_NAME		0u
#define EXT_ALPN		16u
#define EXT_VERSIONS		43u
#define EXT_ECH			0xfe0du

static bool take8(struct view *v, uint8_t *out)
{
	const uint8_t *p;

	if (!view_take(v, 1, &p))
		return false;
	*out = *p;
	return true;
}

static bool take16(struct view *v, uint16_t *out)
{
	const uint8_t *p;

	if (!view_take(v, 2, &p))
		return false;
	*out = be16(p);
	return true;
}

/* A list with its length in front, of 1 or 2 bytes */
static bool take_list(struct view *v, unsigned length_bytes, struct view *out)
{
	uint16_t wide = 0;
	uint8_t narrow = 0;
	size_t len;

	if (length_bytes == 1 ? !take8(v, &narrow) : !take16(v, &wide))
		return false;
	len = length_bytes == 1 ? narrow : wide;
	out->left = len;
	return view_take(v, len, &out->p);
}

/* What may go into a log, a rule's condition, a certificate: letters, digits, '-', '_', '.' */
static bool host_name(struct view name, char out[static HELLO_NAME_MAX])
{
	size_t n = name.left;

	if (n && name.p[n - 1] == '.')
		n--;
	if (!n || n >= HELLO_NAME_MAX || name.p[0] == '.')
		return false;
	for (size_t i = 0; i < n; i++) {
		uint8_t c = name.p[i];

		if (c >= 'A' && c <= 'Z')
			c |= 0x20;
		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
		      (c == '.' && name.p[i - 1] != '.')))
			return false;
		out[i] = (char)c;
	}
	out[n] = '\0';
	return true;
}

/* RFC 6066 3: one host name; other kinds of names never came to be */
static bool server_name(struct hello *h, struct view ext)
{
	struct view list, name;
	uint8_t kind;

	return take_list(&ext, 2, &list) && !ext.left && take8(&list, &kind) && kind == HOST_NAME &&
	       take_list(&list, 2, &name) && !list.left && host_name(name, h->sni);
}

/* RFC 7301 3.1; of a list that is too long what has room: to have one is no way to pass unseen */
static bool alpn(struct hello *h, struct view ext)
{
	struct view list, rest, name;
	size_t fits = 0;

	if (!take_list(&ext, 2, &list) || ext.left || !list.left)
		return false;
	for (rest = list; rest.left;) {
		if (!take_list(&rest, 1, &name) || !name.left)
			return false;
		if (list.left - rest.left <= HELLO_ALPN_MAX)
			fits = list.left - rest.left;
	}
	memcpy(h->alpn, list.p, fits);
	h->alpn_len = fits;
	return true;
}

/* RFC 8446 4.2.1 */
static bool versions(struct hello *h, struct view ext)
{
	uint16_t max = 0, min = UINT16_MAX, v;
	struct view list;

	if (!take_list(&ext, 1, &list) || ext.left || !list.left || list.left % 2)
		return false;
	while (take16(&list, &v)) {
		if (v < SSL3_VERSION || v > TLS1_3_VERSION)
			continue;
		max = MAX(max, v);
		min = MIN(min, v);
	}
	if (max) {		/* else the legacy field stays: nothing we could speak was offered */
		h->version_max = max;
		h->version_min = min;
	}
	return true;
}

static bool extension(struct hello *h, unsigned type, struct view ext)
{
	switch (type) {
	case EXT_SERVER_NAME:
		return server_name(h, ext);
	case EXT_ALPN:
		return alpn(h, ext);
	case EXT_VERSIONS:
		return versions(h, ext);
	case EXT_ECH:
		h->ech = true;
		return true;
	default:
		return true;
	}
}

/* Twice the same extension would let two readers read two names */
static unsigned known(unsigned type)
{
	return type == EXT_SERVER_NAME ? 1 : type == EXT_ALPN ? 2 : type == EXT_VERSIONS ? 4 :
	       type == EXT_ECH ? 8 : 0;
}

static bool extensions(struct hello *h, struct view v)
{
	unsigned seen = 0;
	struct view ext;
	uint16_t type;

	while (v.left) {
		if (!take16(&v, &type) || !take_list(&v, 2, &ext) || seen & known(type) ||
		    !extension(h, type, ext))
			return false;
		seen |= known(type);
	}
	return true;
}

/* RFC 8446 4.1.2: what an old client offers is what the version field says */
static void legacy_version(struct hello *h, uint16_t version)
{
	h->version_max = h->version_min = MIN(version, (uint16_t)TLS1_2_VERSION);
}

static enum hello_verdict body(struct hello *out, struct view v)
{
	struct hello h = { .ech = false };
	struct view id, ciphers, methods, ext;
	const uint8_t *random;
	uint16_t version;

	if (!take16(&v, &version) || !view_take(&v, RANDOM_LEN, &random) ||
	    !take_list(&v, 1, &id) || id.left > SESSION_ID_MAX || !take_list(&v, 2, &ciphers) ||
	    !ciphers.left || ciphers.left % 2 || !take_list(&v, 1, &methods) || !methods.left)
		return HELLO_BROKEN;
	if (version < SSL3_VERSION || version >> 8 != 3)
		return HELLO_BROKEN;
	legacy_version(&h, version);
	if (v.left && (!take_list(&v, 2, &ext) || v.left || !extensions(&h, ext)))
		return HELLO_BROKEN;
	*out = h;
	return HELLO_WHOLE;
}

/**
 * struct gather - A handshake message on its way through records
 * @need:	Length of the message with its head; 0: not known yet
 */
struct gather {
	uint8_t bytes[HELLO_MAX];
	size_t len;
	size_t need;
};

static enum hello_verdict gather_record(struct gather *g, const uint8_t *p, size_t len)
{
	if (g->len + len > sizeof(g->bytes))
		return HELLO_BROKEN;
	memcpy(g->bytes + g->len, p, len);
	g->len += len;
	if (g->len && g->bytes[0] != CLIENT_HELLO)
		return HELLO_NOT;
	if (!g->need && g->len >= MESSAGE_HEAD) {
		g->need = MESSAGE_HEAD + (be32(g->bytes) & 0xffffff);
		if (g->need > HELLO_MAX - RECORD_HEAD)
			return HELLO_BROKEN;
	}
	return g->need && g->len >= g->need ? HELLO_WHOLE : HELLO_MORE;
}

/* The head of a record, as far as it is there */
static enum hello_verdict record_head(const struct view *v)
{
	if (v->left >= 1 && v->p[0] != RECORD_HANDSHAKE)
		return HELLO_NOT;
	if (v->left >= 2 && v->p[1] != 3)	/* the byte behind it no server looks at: RFC 8446 5.1 */
		return HELLO_NOT;
	if (v->left < RECORD_HEAD)
		return HELLO_MORE;
	if (!be16(v->p + 3) || be16(v->p + 3) > RECORD_MAX)
		return HELLO_BROKEN;
	return HELLO_WHOLE;
}

enum hello_verdict hello_scan(struct hello *h, const uint8_t *buf, size_t len)
{
	struct view v = { buf, MIN(len, HELLO_MAX) };
	enum hello_verdict r;
	struct gather g;
	const uint8_t *p;

	g.len = g.need = 0;
	for (;;) {
		r = record_head(&v);
		if (r == HELLO_NOT && g.len)	/* it began well: another record came between */
			r = HELLO_BROKEN;
		if (r != HELLO_WHOLE)
			break;
		size_t n = be16(v.p + 3);

		if (!view_take(&v, RECORD_HEAD, &p))
			return HELLO_BROKEN;
		r = gather_record(&g, v.p, MIN(n, v.left));
		if (r == HELLO_WHOLE)	/* more in the same flight is not the client's turn yet */
			return g.len == g.need ? body(h, (struct view){ g.bytes + MESSAGE_HEAD,
							g.need - MESSAGE_HEAD }) : HELLO_BROKEN;
		if (r != HELLO_MORE || v.left < n)
			break;
		v.p += n;
		v.left -= n;
	}
	return r == HELLO_MORE && len >= HELLO_MAX ? HELLO_BROKEN : r;
}

int hello_prepare(SSL_CTX *ctx)
{
	/* OpenSSL 3 drops extensions that it does not know before any callback */
	return SSL_CTX_add_custom_ext(ctx, EXT_ECH, SSL_EXT_CLIENT_HELLO, NULL, NULL, NULL, NULL,
				      NULL) == 1 ? 0 : -ENOMEM;
}

enum hello_verdict hello_read(struct hello *out, SSL *s)
{
	static const unsigned types[] = { EXT_SERVER_NAME, EXT_ALPN, EXT_VERSIONS, EXT_ECH };
	struct hello h = { .ech = false };
	unsigned version = SSL_client_hello_get0_legacy_version(s);
	struct view ext;

	if (version < SSL3_VERSION || version >> 8 != 3)
		return HELLO_BROKEN;
	legacy_version(&h, (uint16_t)version);
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (SSL_client_hello_get0_ext(s, types[i], &ext.p, &ext.left) &&
		    !extension(&h, types[i], ext))
			return HELLO_BROKEN;
	*out = h;
	return HELLO_WHOLE;
}

bool hello_offers(const struct hello *h, const char *protocol)
{
	struct view list = { h->alpn, h->alpn_len }, name;
	size_t len = strlen(protocol);

	while (take_list(&list, 1, &name))
		if (name.left == len && !memcmp(name.p, protocol, len))
			return true;
	return false;
}
