/* SPDX-License-Identifier: MIT */
/* h1head.h: what is refused and why, as a table; what is odd and yet legal */
#include <stdlib.h>
#include <string.h>

#include "../gwproxy/h1head.h"
#include "../gwproxy/message_int.h"
#include "tap.h"

struct bad {
	enum h1_why why;
	const char *head;
	size_t len;
};

#define HOST	"Host: h\r\n"
#define END	"\r\n"
#define GET	"GET / HTTP/1.1\r\n"
#define POST	"POST / HTTP/1.1\r\n"
#define S(s)	s, sizeof(s) - 1

static const struct bad requests[] = {
	/* Content-Length and Transfer-Encoding */
	{ H1_LENGTH_AND_ENCODING, S(POST HOST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" END) },
	{ H1_LENGTH_AND_ENCODING, S(POST HOST "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n" END) },
	{ H1_LENGTH_TWICE, S(POST HOST "Content-Length: 5\r\nContent-Length: 5\r\n" END) },
	{ H1_LENGTH_TWICE, S(POST HOST "Content-Length: 5\r\ncontent-length: 6\r\n" END) },
	{ H1_LENGTH, S(POST HOST "Content-Length: 5, 5\r\n" END) },
	{ H1_LENGTH, S(POST HOST "Content-Length: +5\r\n" END) },
	{ H1_LENGTH, S(POST HOST "Content-Length: -5\r\n" END) },
	{ H1_LENGTH, S(POST HOST "Content-Length: 0x5\r\n" END) },
	{ H1_LENGTH, S(POST HOST "Content-Length: 010\r\n" END) },
	{ H1_LENGTH, S(POST HOST "Content-Length: 00\r\n" END) },
	{ H1_LENGTH, S(POST HOST "Content-Length: 1_0\r\n" END) },
	{ H1_LENGTH, S(POST HOST "Content-Length: 5 5\r\n" END) },
	{ H1_LENGTH, S(POST HOST "Content-Length: 5.0\r\n" END) },
	{ H1_LENGTH, S(POST HOST "Content-Length: \"5\"\r\n" END) },
	{ H1_LENGTH, S(POST HOST "Content-Length:\r\n" END) },
	{ H1_LENGTH, S(POST HOST "Content-Length: 5;\r\n" END) },
	{ H1_LENGTH, S(POST HOST "Content-Length: 18446744073709551621\r\n" END) },
	{ H1_LENGTH, S(POST HOST "Content-Length: 9999999999999999999999999\r\n" END) },
	{ H1_LOOKALIKE, S(POST HOST "Content_Length: 5\r\n" END) },
	{ H1_LOOKALIKE, S(POST HOST "Transfer_Encoding: chunked\r\n" END) },
	{ H1_ENCODING, S(POST HOST "Transfer-Encoding: xchunked\r\n" END) },
	{ H1_ENCODING, S(POST HOST "Transfer-Encoding: chunked, identity\r\n" END) },
	{ H1_ENCODING, S(POST HOST "Transfer-Encoding: identity\r\n" END) },
	{ H1_ENCODING, S(POST HOST "Transfer-Encoding: identity, chunked\r\n" END) },
	{ H1_ENCODING, S(POST HOST "Transfer-Encoding: chunked, chunked\r\n" END) },
	{ H1_ENCODING, S(POST HOST "Transfer-Encoding: gzip, chunked\r\n" END) },
	{ H1_ENCODING, S(POST HOST "Transfer-Encoding: chunked,\r\n" END) },
	{ H1_ENCODING, S(POST HOST "Transfer-Encoding: , chunked\r\n" END) },
	{ H1_ENCODING, S(POST HOST "Transfer-Encoding: \"chunked\"\r\n" END) },
	{ H1_ENCODING, S(POST HOST "Transfer-Encoding: chunked;q=1\r\n" END) },
	{ H1_ENCODING, S(POST HOST "Transfer-Encoding:\r\n" END) },
	{ H1_ENCODING, S(POST HOST "Transfer-Encoding: chunke\xc4\x91\r\n" END) },
	{ H1_ENCODING_TWICE, S(POST HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n" END) },
	{ H1_ENCODING_TWICE, S(POST HOST "Transfer-Encoding: chunked\r\nTransfer-encoding: x\r\n" END) },
	{ H1_ENCODING_OLD, S("POST / HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n" END) },
	{ H1_CONTROL, S(POST HOST "Transfer-Encoding: \x0b" "chunked\r\n" END) },
	{ H1_CONTROL, S(POST HOST "Transfer-Encoding: chunked\x0c\r\n" END) },
	{ H1_FIELD_NAME, S(POST HOST "\xef\xbb\xbfTransfer-Encoding: chunked\r\n" END) },
	{ H1_ENCODING_NO_BODY, S("CONNECT h:1 HTTP/1.1\r\n" HOST "Content-Length: 1\r\n" END) },
	/* Lines */
	{ H1_COLON_SPACE, S(POST HOST "Transfer-Encoding : chunked\r\n" END) },
	{ H1_COLON_SPACE, S(POST HOST "Content-Length\t: 5\r\n" END) },
	{ H1_FOLD, S(POST HOST "X: a\r\n b\r\n" END) },
	{ H1_FOLD, S(POST HOST "Transfer-Encoding:\r\n chunked\r\n" END) },
	{ H1_FOLD, S(POST " Host: h\r\n" END) },
	{ H1_FOLD, S(GET "\tX: y\r\n" HOST END) },
	{ H1_BARE_LF, S("GET / HTTP/1.1\n" HOST END) },
	{ H1_BARE_LF, S(GET HOST "X: y\nTransfer-Encoding: chunked\r\n" END) },
	{ H1_BARE_LF, S(GET "Host: h\n\n") },
	{ H1_BARE_LF, S(GET HOST "\n") },
	{ H1_BARE_LF, S("\n" GET HOST END) },
	{ H1_BARE_CR, S(GET HOST "X: y\rTransfer-Encoding: chunked\r\n" END) },
	{ H1_BARE_CR, S(GET HOST "X: y\r\r\n" END) },
	{ H1_BARE_CR, S(GET HOST "X\r: y\r\n" END) },
	{ H1_BARE_CR, S("GET / HTTP/1.1\r\r\n" HOST END) },
	{ H1_BARE_CR, S("GET /\r HTTP/1.1\r\n" HOST END) },
	{ H1_BARE_CR, S(GET "\rHost: h\r\n" END) },
	{ H1_CONTROL, S(GET HOST "X: a\0b\r\n" END) },
	{ H1_CONTROL, S(GET HOST "X\0: b\r\n" END) },
	{ H1_CONTROL, S("GET /\0 HTTP/1.1\r\n" HOST END) },
	{ H1_CONTROL, S(GET HOST "X: \x01\r\n" END) },
	{ H1_CONTROL, S(GET HOST "X: \x7f\r\n" END) },
	{ H1_FIELD_NAME, S(GET HOST ": v\r\n" END) },
	{ H1_FIELD_NAME, S(GET HOST "no colon\r\n" END) },
	{ H1_FIELD_NAME, S(GET HOST "nocolon\r\n" END) },
	{ H1_FIELD_NAME, S(GET HOST "a(b): v\r\n" END) },
	{ H1_FIELD_NAME, S(GET HOST "a/b: v\r\n" END) },
	{ H1_FIELD_NAME, S(GET HOST "\x80: v\r\n" END) },
	/* Start line */
	{ H1_START_LINE, S("GET\r\n" HOST END) },
	{ H1_VERSION, S("GET /\r\n" HOST END) },
	{ H1_START_LINE, S("GET  / HTTP/1.1\r\n" HOST END) },
	{ H1_START_LINE, S("GET /  HTTP/1.1\r\n" HOST END) },
	{ H1_START_LINE, S("GET / a HTTP/1.1\r\n" HOST END) },
	{ H1_START_LINE, S("GET / HTTP/1.1 \r\n" HOST END) },
	{ H1_METHOD, S(" GET /\r\n" HOST END) },
	{ H1_CONTROL, S("GET\t/ HTTP/1.1\r\n" HOST END) },
	{ H1_METHOD, S("G(T / HTTP/1.1\r\n" HOST END) },
	{ H1_METHOD, S("head / HTTP/1.1\r\n" HOST END) },
	{ H1_METHOD, S("Connect h:443 HTTP/1.1\r\n" HOST END) },
	{ H1_VERSION, S("GET / HTTP/1.2\r\n" HOST END) },
	{ H1_VERSION, S("GET / HTTP/2.0\r\n" HOST END) },
	{ H1_VERSION, S("GET / HTTP/0.9\r\n" HOST END) },
	{ H1_VERSION, S("GET / HTTP/1.10\r\n" HOST END) },
	{ H1_VERSION, S("GET / http/1.1\r\n" HOST END) },
	{ H1_VERSION, S("GET / HTTP/1,1\r\n" HOST END) },
	{ H1_VERSION, S("GET / XTTP/1.1\r\n" HOST END) },
	{ H1_VERSION, S("PRI * HTTP/2.0\r\n" END) },
	{ H1_TARGET, S("GET index.html HTTP/1.1\r\n" HOST END) },
	{ H1_TARGET, S("GET * HTTP/1.1\r\n" HOST END) },
	{ H1_TARGET, S("GET /a#b HTTP/1.1\r\n" HOST END) },
	{ H1_TARGET, S("GET ftp://h/ HTTP/1.1\r\n" HOST END) },
	{ H1_TARGET, S("GET http:///x HTTP/1.1\r\n" HOST END) },
	{ H1_TARGET, S("GET http://u@h/ HTTP/1.1\r\n" HOST END) },
	{ H1_TARGET, S("CONNECT /x HTTP/1.1\r\n" HOST END) },
	{ H1_TARGET, S("CONNECT h HTTP/1.1\r\n" HOST END) },
	{ H1_TARGET, S("GET h:443 HTTP/1.1\r\n" HOST END) },
	/* Whom it is for */
	{ H1_HOST_MISSING, S(GET END) },
	{ H1_HOST_MISSING, S("GET http://h/ HTTP/1.1\r\n" END) },
	{ H1_HOST_TWICE, S(GET HOST HOST END) },
	{ H1_HOST_TWICE, S(GET HOST "hoST: other\r\n" END) },
	{ H1_HOST, S(GET "Host: a, b\r\n" END) },
	{ H1_HOST, S(GET "Host: a b\r\n" END) },
	{ H1_HOST, S(GET "Host: u@h\r\n" END) },
	{ H1_HOST, S(GET "Host: h/x\r\n" END) },
	{ H1_HOST, S(GET "Host: h:80x\r\n" END) },
	{ H1_HOST, S(GET "Host: h:80:81\r\n" END) },
	{ H1_HOST, S(GET "Host: [::1\r\n" END) },
	{ H1_HOST, S(GET "Host: [::1]x\r\n" END) },
	{ H1_HOST_MISMATCH, S("GET http://a/ HTTP/1.1\r\nHost: b\r\n" END) },
	{ H1_HOST_MISMATCH, S("GET http://a:81/ HTTP/1.1\r\nHost: a\r\n" END) },
	{ H1_HOP, S(POST HOST "Connection: close, Content-Length\r\nContent-Length: 4\r\n" END) },
	{ H1_HOP, S(POST HOST "Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n" END) },
	{ H1_HOP, S(GET HOST "Connection: Host\r\n" END) },
};

#define OKAY	"HTTP/1.1 200 OK\r\n"
static const struct bad responses[] = {
	{ H1_LENGTH_AND_ENCODING, S(OKAY "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" END) },
	{ H1_LENGTH_TWICE, S(OKAY "Content-Length: 5\r\nContent-Length: 5\r\n" END) },
	{ H1_LENGTH, S(OKAY "Content-Length: 5,6\r\n" END) },
	{ H1_ENCODING, S(OKAY "Transfer-Encoding: chunked, gzip\r\n" END) },
	{ H1_ENCODING, S(OKAY "Transfer-Encoding: gzip\r\n" END) },
	{ H1_ENCODING, S(OKAY "Transfer-Encoding: identity, chunked\r\n" END) },
	{ H1_ENCODING_OLD, S("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n" END) },
	{ H1_ENCODING_NO_BODY, S("HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n" END) },
	{ H1_ENCODING_NO_BODY, S("HTTP/1.1 100 C\r\nTransfer-Encoding: chunked\r\n" END) },
	{ H1_FOLD, S(OKAY "A: b\r\n c\r\n" END) },
	{ H1_COLON_SPACE, S(OKAY "A : b\r\n" END) },
	{ H1_BARE_LF, S("HTTP/1.1 200 OK\n" END) },
	{ H1_BARE_CR, S(OKAY "A: b\rSet-Cookie: x\r\n" END) },
	{ H1_BARE_CR, S("HTTP/1.1 200 O\rK\r\n" END) },
	{ H1_CONTROL, S(OKAY "A: b\0\r\n" END) },
	{ H1_STATUS, S("HTTP/1.1 20\r\n" END) },
	{ H1_STATUS, S("HTTP/1.1 2000 OK\r\n" END) },
	{ H1_STATUS, S("HTTP/1.1 20a OK\r\n" END) },
	{ H1_STATUS, S("HTTP/1.1 099 OK\r\n" END) },
	{ H1_STATUS, S("HTTP/1.1  200 OK\r\n" END) },
	{ H1_VERSION, S("HTTP/1.2 200 OK\r\n" END) },
	{ H1_START_LINE, S("ICY 200 OK\r\n" END) },
	{ H1_START_LINE, S("\r\nHTTP/1.1 200 OK\r\n" END) },
	{ H1_SWITCH, S("HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n" END) },
};

static enum h1_why judge(const struct bad *b, bool request, struct h1_frame *f, struct message *m)
{
	static const struct h1_frame asked = { .minor = 1, .persist = true };
	size_t len = b->len, seen = 0;
	uint8_t *copy = malloc(len);
	enum h1_why w = H1_OK;
	int n;

	memcpy(copy, b->head, len);
	message_clear(m);
	n = h1_scan(copy, len, &seen);
	if (n < 0)
		w = (enum h1_why)-n;
	else if (n != (int)len)
		w = H1_NUM_WHY;
	else
		w = request ? h1_request(copy, len, m, f) : h1_response(copy, len, m, f, &asked);
	free(copy);
	return w;
}

static void test_refused(const struct bad *list, size_t n, bool request)
{
	struct message *m = message_new();
	struct h1_frame f;

	for (size_t i = 0; i < n; i++) {
		enum h1_why w = judge(&list[i], request, &f, m);

		OK(w == list[i].why, "%s %zu: %s (%s)", request ? "request" : "response", i,
		   h1_why_text(list[i].why), w < H1_NUM_WHY ? h1_why_text(w) : "no end");
	}
	message_free(m);
}

static void test_legal(void)
{
	static const struct { enum h1_body body; struct bad b; } legal[] = {
		{ H1_NO_BODY, { H1_OK, S(GET HOST END) } },
		{ H1_NO_BODY, { H1_OK, S("FOO-bar! / HTTP/1.1\r\n" HOST END) } },
		{ H1_NO_BODY, { H1_OK, S("GET /?a=\"<>{}|\\^` HTTP/1.1\r\n" HOST END) } },
		{ H1_NO_BODY, { H1_OK, S("GET /caf\xc3\xa9 HTTP/1.1\r\n" HOST END) } },
		{ H1_NO_BODY, { H1_OK, S("GET // HTTP/1.1\r\nHOST:h:8080   \r\n" END) } },
		{ H1_NO_BODY, { H1_OK, S(GET "Host:\r\n" END) } },
		{ H1_NO_BODY, { H1_OK, S(GET "Host: [::1]:80\r\nX:\r\nX: \t \r\nY:\ta\tb \r\n" END) } },
		{ H1_NO_BODY, { H1_OK, S("GET / HTTP/1.0\r\n" END) } },
		{ H1_NO_BODY, { H1_OK, S("OPTIONS * HTTP/1.1\r\n" HOST END) } },
		{ H1_NO_BODY, { H1_OK, S("CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n" END) } },
		{ H1_NO_BODY, { H1_OK, S("GET HTTP://H/x?y HTTP/1.1\r\nHost: h\r\n" END) } },
		{ H1_NO_BODY, { H1_OK, S("GET https://h HTTP/1.1\r\nHost: h\r\n" END) } },
		{ H1_NO_BODY, { H1_OK, S(POST HOST "Content-Length: 0\r\n" END) } },
		{ H1_SIZED, { H1_OK, S(POST HOST "Content-Length:5 \r\n" END) } },
		{ H1_SIZED, { H1_OK, S("GET / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n" END) } },
		{ H1_CHUNKED, { H1_OK, S(POST HOST "transfer-ENCODING:\tCHUNKED \r\n" END) } },
		{ H1_NO_BODY, { H1_OK, S(GET HOST "Connection: close,,keep-alive , x\r\nA~: \xff\r\n" END) } },
	};
	struct message *m = message_new();
	struct h1_frame f;

	for (size_t i = 0; i < sizeof(legal) / sizeof(legal[0]); i++) {
		enum h1_why w = judge(&legal[i].b, true, &f, m);

		OK(!w && f.body == legal[i].body, "legal %zu (%s)", i, w < H1_NUM_WHY ? h1_why_text(w) : "");
	}
	judge(&(struct bad){ H1_OK, S("GET http://H:1/x?y HTTP/1.1\r\nHost: h:1\r\n" END) }, true, &f, m);
	OK(text_same(message_path(m), text_of("/x?y")) && text_same(message_authority(m), text_of("h:1")),
	   "parts of a target in absolute-form");
	message_free(m);
}

static void test_limits(void)
{
	struct message *m = message_new();
	struct h1_frame f;
	static char big[80000];
	size_t seen = 0, n;

	n = (size_t)snprintf(big, sizeof(big), GET HOST "X: ");
	memset(big + n, 'x', 70000);
	OK(h1_scan((uint8_t *)big, n + 70000, &seen) == -(int)H1_LARGE, "a head without end is too large");
	memcpy(big + n + 70000, "\r\n\r\n", 4);
	seen = 0;
	OK(h1_scan((uint8_t *)big, n + 70004, &seen) == -(int)H1_LARGE, "and with one");
	seen = 0;
	OK(!h1_scan((uint8_t *)big, 60000, &seen) && seen == 60000, "no byte is looked at twice");
	OK(h1_why_status(H1_LARGE) == 431 && h1_why_status(H1_MANY) == 431, "both are 431");
	n = (size_t)snprintf(big, sizeof(big), GET HOST);
	for (int i = 0; i < 300; i++)
		n += (size_t)snprintf(big + n, sizeof(big) - n, "a: b\r\n");
	n += (size_t)snprintf(big + n, sizeof(big) - n, "\r\n");
	OK(judge(&(struct bad){ H1_MANY, big, n }, true, &f, m) == H1_MANY, "too many fields");
	message_free(m);
}

static const struct { enum h1_why why; const char *text; const char *data; } chunked[] = {
	{ H1_OK, "5\r\nhello\r\n0\r\n\r\n", "hello" },
	{ H1_OK, "0\r\n\r\n", "" },
	{ H1_OK, "000\r\n\r\n", "" },
	{ H1_OK, "1\r\na\r\nB\r\nbcdefghijkl\r\n0\r\nX: y\r\nZ:\r\n\r\n", "abcdefghijkl" },
	{ H1_OK, "3;a\r\nabc\r\n2;b=c;d=\"e;\\\"f \"\r\nde\r\n0;end\r\n\r\n", "abcde" },
	{ H1_CHUNK_SIZE, "3 ;a\r\nabc\r\n0\r\n\r\n", NULL },
	{ H1_CHUNK_SIZE, "\r\n", NULL },
	{ H1_CHUNK_SIZE, "g\r\n", NULL },
	{ H1_CHUNK_SIZE, "-1\r\n", NULL },
	{ H1_CHUNK_SIZE, "+1\r\n", NULL },
	{ H1_CHUNK_SIZE, "0x1\r\n", NULL },
	{ H1_CHUNK_SIZE, " 1\r\n", NULL },
	{ H1_CHUNK_SIZE, "1 \r\n", NULL },
	{ H1_CHUNK_SIZE, "1 2\r\n", NULL },
	{ H1_CHUNK_SIZE, "1_\r\n", NULL },
	{ H1_CHUNK_SIZE, "ffffffffffffffff1\r\n", NULL },
	{ H1_CHUNK_SIZE, "00000000000000001\r\n", NULL },
	{ H1_BARE_LF, "1\na\r\n", NULL },
	{ H1_BARE_LF, "1;a\na\r\n", NULL },
	{ H1_BARE_LF, "1;a=\"\n\"\r\n", NULL },
	{ H1_BARE_CR, "1\ra\r\n", NULL },
	{ H1_CHUNK_EXTENSION, "1;\r\n", NULL },
	{ H1_CHUNK_EXTENSION, "1;a=\r\n", NULL },
	{ H1_CHUNK_EXTENSION, "1;a=\"b\r\n", NULL },
	{ H1_CONTROL, "1;a\x01\r\n", NULL },
	{ H1_CHUNK_END, "1\r\nab\r\n", NULL },
	{ H1_CHUNK_END, "1\r\na\n", NULL },
	{ H1_CHUNK_END, "1\r\na\rb", NULL },
	{ H1_CHUNK_END, "2\r\na\r\n0\r\n\r\n", NULL },
	{ H1_BARE_LF, "0\n\r\n", NULL },
	{ H1_BARE_LF, "0\r\n\n", NULL },
	{ H1_BARE_CR, "0\r\n\rx", NULL },
	{ H1_BARE_LF, "0\r\nX: y\n\r\n", NULL },
	{ H1_COLON_SPACE, "0\r\nX : y\r\n\r\n", NULL },
	{ H1_FOLD, "0\r\nX: y\r\n z\r\n\r\n", NULL },
	{ H1_FIELD_NAME, "0\r\n: y\r\n\r\n", NULL },
	{ H1_TRAILER, "0\r\nContent-Length: 5\r\n\r\n", NULL },
	{ H1_TRAILER, "0\r\nhost: h\r\n\r\n", NULL },
	{ H1_TRAILER, "0\r\nX: y\r\nAuthorization: x\r\n\r\n", NULL },
	{ H1_TRAILER, "0\r\nProxy-Authorization: x\r\n\r\n", NULL },
	{ H1_TRAILER, "0\r\ncontent_length: 5\r\n\r\n", NULL },
	{ H1_OK, "0\r\nTransfer-Encodings: x\r\nETag: \"a\"\r\nproxy-authorizations: y\r\n\r\n", "" },
	{ H1_TRAILER, "0\r\nTransfer-Encoding: chunked\r\n\r\n", NULL },
};

/* @step bytes at a time */
static bool read_chunks(size_t i, size_t step)
{
	const char *p = chunked[i].text;
	size_t len = strlen(p), used = 0, n = 0, got = 0;
	struct h1_chunks c = { 0 };
	char body[64];

	for (size_t at = 0; at < len; at += used) {
		size_t max = len - at < step ? len - at : step;
		uint8_t *cut = malloc(max);
		const uint8_t *data;
		enum h1_why why = H1_OK;
		enum h1_event e;

		memcpy(cut, p + at, max);
		e = h1_chunk(&c, cut, max, &used, &data, &n, &why);
		if (e == H1_DATA) {
			memcpy(body + got, data, n);
			got += n;
		}
		free(cut);
		if (e == H1_BAD)
			return why == chunked[i].why;
		if (e == H1_END)
			return !chunked[i].why && at + used == len && got == strlen(chunked[i].data) &&
			       !memcmp(body, chunked[i].data, got);
	}
	return false;
}

/* Is @word an item of a list of the page? */
static bool in_page(const char *page, const char *word)
{
	char line[512];
	bool found = false;
	FILE *f = fopen(page, "r");

	while (f && !found && fgets(line, sizeof(line), f)) {
		if (strncmp(line, ".It Cm ", 7))
			continue;
		line[strcspn(line, "\n")] = '\0';
		for (char *p = line + 7, *next; p && !found; p = next) {
			next = strstr(p, " , ");
			if (next) {
				*next = '\0';
				next += 3;
			}
			found = !strcmp(p, word);
		}
	}
	if (f)
		fclose(f);
	return found;
}

static void test_reasons(void)
{
	for (int w = 0; w < H1_NUM_WHY; w++) {
		const char *text = h1_why_text((enum h1_why)w), *word = strstr(text, "refused: ");

		if (word)
			OK(in_page("gwproxy/gwproxy.8", word + 9), "gwproxy(8) has '%s'", word + 9);
	}
}

int main(void)
{
	test_reasons();
	test_refused(requests, sizeof(requests) / sizeof(requests[0]), true);
	test_refused(responses, sizeof(responses) / sizeof(responses[0]), false);
	test_legal();
	test_limits();
	for (size_t i = 0; i < sizeof(chunked) / sizeof(chunked[0]); i++)
		OK(read_chunks(i, 1) && read_chunks(i, 2) && read_chunks(i, 1000), "chunks %zu: %s", i,
		   h1_why_text(chunked[i].why));
	return tap_done();
}
