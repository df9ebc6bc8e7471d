/* SPDX-License-Identifier: MIT */
/*
 * t_hello.c - ClientHello: those of OpenSSL's clients and odd ones, whole and in pieces
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "../gwproxy/hello.h"
#include "tap.h"
#include "wire.h"

static const uint8_t h2_h1[] = "\x02h2\x08http/1.1";

/* A copy of exact size: one byte too far is a sanitizer's matter */
static enum hello_verdict scan(struct hello *h, const uint8_t *p, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);
	enum hello_verdict r;

	memcpy(copy, p, len);
	r = hello_scan(h, copy, len);
	free(copy);
	return r;
}

static size_t hello_of(uint8_t *out, size_t room, char *sni, int min, int max, const uint8_t *alpn,
		       size_t alpn_len)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	BIO *to = BIO_new(BIO_s_mem()), *from = BIO_new(BIO_s_mem());
	SSL *s = SSL_new(ctx);
	int n;

	SSL_set_bio(s, from, to);
	SSL_set_min_proto_version(s, min);
	SSL_set_max_proto_version(s, max);
	if (sni)
		SSL_ctrl(s, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, sni);
	SSL_set_alpn_protos(s, alpn, (unsigned)alpn_len);
	SSL_connect(s);
	n = BIO_read(to, out, (int)room);
	SSL_free(s);
	SSL_CTX_free(ctx);
	return n > 0 ? (size_t)n : 0;
}

static size_t client_hello(uint8_t *out, size_t room, char *sni, int min, int max)
{
	return hello_of(out, room, sni, min, max, h2_h1, sizeof(h2_h1) - 1);
}

static void of_openssl(void)
{
	uint8_t buf[4096];
	struct hello h = { .ech = true };
	char name[] = "WWW.Example.com";
	size_t n = client_hello(buf, sizeof(buf), name, TLS1_2_VERSION, TLS1_3_VERSION), i;

	for (i = 0; i < n; i++)
		if (scan(&h, buf, i) != HELLO_MORE)
			break;
	OK(n && i == n && h.ech, "more is wanted up to the last byte, and nothing written");
	OK(scan(&h, buf, n) == HELLO_WHOLE, "whole");
	OK(!strcmp(h.sni, "www.example.com"), "server name, lower case: %s", h.sni);
	OK(h.alpn_len == sizeof(h2_h1) - 1 && !memcmp(h.alpn, h2_h1, h.alpn_len), "ALPN as sent");
	OK(hello_offers(&h, "h2") && hello_offers(&h, "http/1.1") && !hello_offers(&h, "http/1.0") &&
	   !hello_offers(&h, ""), "what it offers and what not");
	OK(h.version_max == TLS1_3_VERSION && h.version_min == TLS1_2_VERSION && !h.ech, "TLS 1.2 to 1.3");
	buf[2] = 0xff;
	OK(scan(&h, buf, n) == HELLO_WHOLE && !strcmp(h.sni, "www.example.com"),
	   "a record's version means nothing: servers go on whatever it says");
	memset(buf + n, 'x', 100);
	OK(scan(&h, buf, n + 100) == HELLO_WHOLE, "what follows is not looked at");
	n = client_hello(buf, sizeof(buf), NULL, TLS1_2_VERSION, TLS1_2_VERSION);
	OK(scan(&h, buf, n) == HELLO_WHOLE && !*h.sni && h.version_max == TLS1_2_VERSION &&
	   h.version_min == TLS1_2_VERSION, "no name, TLS 1.2 only");
}

/* No list of protocols hides a name */
static void long_alpn(void)
{
	char name[] = "a.example";
	uint8_t buf[4096], list[900];
	struct hello h;
	size_t n;

	for (size_t at = 0; at < sizeof(list); at += 9)
		memcpy(list + at, "\x08http/1.1", 9);
	n = hello_of(buf, sizeof(buf), name, TLS1_2_VERSION, TLS1_3_VERSION, list, sizeof(list));
	OK(scan(&h, buf, n) == HELLO_WHOLE && !strcmp(h.sni, name) && h.alpn_len == 252 &&
	   !memcmp(h.alpn, list, 252), "of a long list of protocols the first names");
}

/* The same handshake message in records of @piece bytes */
static size_t in_records(uint8_t *out, const uint8_t *hello, size_t len, size_t piece)
{
	size_t n = 0;

	for (size_t at = 5; at < len; at += piece) {
		size_t take = MIN(piece, len - at);

		memcpy(out + n, hello, 3);
		put16(out + n + 3, (uint16_t)take);
		memcpy(out + n + 5, hello + at, take);
		n += 5 + take;
	}
	return n;
}

static void fragmented(void)
{
	uint8_t whole[4096], cut[40960];
	struct hello h;
	char name[] = "a.example";
	size_t n = client_hello(whole, sizeof(whole), name, TLS1_2_VERSION, TLS1_3_VERSION);

	for (size_t piece = 1; piece < 300; piece = piece * 2 + 1) {
		size_t len = in_records(cut, whole, n, piece), i;

		for (i = 0; i < len; i++)
			if (scan(&h, cut, i) != HELLO_MORE)
				break;
		OK(i == len && scan(&h, cut, len) == HELLO_WHOLE && !strcmp(h.sni, "a.example"),
		   "in records of %zu", piece);
	}
	n = in_records(cut, whole, n, 100);
	cut[105] = 23;
	OK(scan(&h, cut, n) == HELLO_BROKEN, "another kind of record in between");
}

static void other_protocols(void)
{
	static const struct { const char *what, *bytes; size_t len; } others[] = {
		{ "HTTP", "GET / HTTP/1.1\r\n", 16 }, { "SSH", "SSH-2.0-x\r\n", 11 },
		{ "SSL 2", "\x80\x2e\x01\x03\x01", 5 }, { "one byte", "\0", 1 },
		{ "a server's hello", "\x16\x03\x03\x00\x10\x02", 6 },
		{ "version 2", "\x16\x02", 2 }, { "an alert", "\x15\x03\x01", 3 },
	};
	struct hello h;

	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		OK(scan(&h, (const uint8_t *)others[i].bytes, others[i].len) == HELLO_NOT, "not: %s",
		   others[i].what);
	OK(scan(&h, (const uint8_t *)"", 0) == HELLO_MORE, "nothing yet");
	OK(scan(&h, (const uint8_t *)"\x16\x03\x01\0\0", 5) == HELLO_BROKEN, "an empty record");
	OK(scan(&h, (const uint8_t *)"\x16\x03\x01\x40\x01", 5) == HELLO_BROKEN, "too long a record");
	OK(scan(&h, (const uint8_t *)"\x16\x03\x01\x40\x00\x01\x00\x80\x00", 9) == HELLO_BROKEN,
	   "too long a message");
}

/* A hello around an extension block */
static size_t make(uint8_t *out, const uint8_t *ext, size_t len)
{
	uint8_t *p = out + 9;

	put16(p, 0x0303);
	memset(p + 2, 7, 32);
	p += 34;
	*p++ = 0;			/* session id */
	put16(p, 2);
	put16(p + 2, 0x1301);
	p += 4;
	*p++ = 1;
	*p++ = 0;
	put16(p, (uint16_t)len);
	memcpy(p + 2, ext, len);
	p += 2 + len;
	memcpy(out, "\x16\x03\x01", 3);
	put16(out + 3, (uint16_t)(p - out - 5));
	put32(out + 5, (uint32_t)(p - out - 9) | 1u << 24);
	return (size_t)(p - out);
}

static enum hello_verdict with(struct hello *h, const char *ext, size_t len)
{
	uint8_t buf[1024];

	return scan(h, buf, make(buf, (const uint8_t *)ext, len));
}

#define WITH(h, s) with(h, s, sizeof(s) - 1)

static void extensions(void)
{
	struct hello h = { .alpn_len = 0 };

	OK(WITH(&h, "") == HELLO_WHOLE && h.version_max == TLS1_2_VERSION, "no extension");
	OK(WITH(&h, "\xfe\x0d\0\x02\0\0") == HELLO_WHOLE && h.ech, "Encrypted Client Hello");
	OK(WITH(&h, "\x0a\x0a\0\0\0\x2b\0\x05\x04\x0a\x0a\x03\x04") == HELLO_WHOLE &&
	   h.version_max == TLS1_3_VERSION && h.version_min == TLS1_3_VERSION && !h.ech,
	   "values without a meaning are left out");
	OK(WITH(&h, "\0\0\0\x08\0\x06\0\0\x03" "a.b") == HELLO_WHOLE && !strcmp(h.sni, "a.b"), "a name");
	OK(WITH(&h, "\0\0\0\x09\0\x07\0\0\x04" "a.b.") == HELLO_WHOLE && !strcmp(h.sni, "a.b"),
	   "a dot at its end is taken off");
	OK(WITH(&h, "\0\0\0\x08\0\x06\0\0\x03" "a\0b") == HELLO_BROKEN, "a name with a NUL");
	OK(WITH(&h, "\0\0\0\x08\0\x06\0\0\x03" "a/b") == HELLO_BROKEN, "a name with a slash");
	OK(WITH(&h, "\0\0\0\x08\0\x06\0\0\x03" "..b") == HELLO_BROKEN, "an empty label");
	OK(WITH(&h, "\0\0\0\x05\0\x03\0\0\0") == HELLO_BROKEN, "an empty name");
	OK(WITH(&h, "\0\0\0\x08\0\x06\0\0\x04" "a.b") == HELLO_BROKEN, "a name longer than its list");
	OK(WITH(&h, "\0\0\0\x08\0\x07\0\0\x03" "a.b") == HELLO_BROKEN, "a list longer than its extension");
	OK(WITH(&h, "\0\0\0\x09\0\x06\0\0\x03" "a.b") == HELLO_BROKEN, "an extension longer than all");
	OK(WITH(&h, "\0\0\0\x08\0\x06\0\0\x03" "a.b\0\0\0\x08\0\x06\0\0\x03" "c.d") == HELLO_BROKEN,
	   "two names in two extensions");
	OK(WITH(&h, "\0\x10\0\x05\0\x03\x02h2") == HELLO_WHOLE && hello_offers(&h, "h2"), "ALPN");
	OK(WITH(&h, "\0\x10\0\x05\0\x03\x03h2") == HELLO_BROKEN, "ALPN: a name longer than its list");
	OK(WITH(&h, "\0\x10\0\x03\0\x01\0") == HELLO_BROKEN, "ALPN: an empty name");
	OK(WITH(&h, "\0\x10\0\x02\0\0") == HELLO_BROKEN, "ALPN: nothing");
	OK(WITH(&h, "\0\x2b\0\x04\x03\x03\x04\x03") == HELLO_BROKEN, "versions: an odd length");
}

struct seen {
	struct hello h;
	enum hello_verdict r;
};

static int on_hello(SSL *s, int *alert, void *arg)
{
	struct seen *seen = arg;

	(void)alert;
	seen->r = hello_read(&seen->h, s);
	return SSL_CLIENT_HELLO_ERROR;
}

static void same_from_within(const char *what, const uint8_t *p, size_t len)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	struct seen seen = { .r = HELLO_NOT };
	struct hello h = { .alpn_len = 0 };
	SSL *s;

	if (hello_prepare(ctx))
		puts("# hello_prepare()");
	SSL_CTX_set_client_hello_cb(ctx, on_hello, &seen);
	s = SSL_new(ctx);
	SSL_set_bio(s, BIO_new_mem_buf(p, (int)len), BIO_new(BIO_s_mem()));
	SSL_accept(s);
	OK(scan(&h, p, len) == HELLO_WHOLE && seen.r == HELLO_WHOLE && !strcmp(h.sni, seen.h.sni) &&
	   h.alpn_len == seen.h.alpn_len && !memcmp(h.alpn, seen.h.alpn, h.alpn_len) &&
	   h.ech == seen.h.ech && h.version_max == seen.h.version_max &&
	   h.version_min == seen.h.version_min, "OpenSSL's callback sees the same: %s", what);
	SSL_free(s);
	SSL_CTX_free(ctx);
}

int main(void)
{
	char name[] = "x.example";
	uint8_t buf[4096];
	size_t n;

	of_openssl();
	fragmented();
	long_alpn();
	other_protocols();
	extensions();
	n = client_hello(buf, sizeof(buf), name, TLS1_2_VERSION, TLS1_3_VERSION);
	same_from_within("TLS 1.3", buf, n);
	n = client_hello(buf, sizeof(buf), NULL, TLS1_2_VERSION, TLS1_2_VERSION);
	same_from_within("TLS 1.2", buf, n);
#define ECH "\0\0\0\x08\0\x06\0\0\x03" "a.b\xfe\x0d\0\x02\0\0"
	n = make(buf, (const uint8_t *)ECH, sizeof(ECH) - 1);
	same_from_within("ECH", buf, n);
	return tap_done();
}
