/* SPDX-License-Identifier: MIT */
/*
 * h1head.c - Heads of HTTP/1.1: scanned, split, and what frames their bodies
 */
#include <errno.h>
#include <string.h>

#include <llhttp.h>

#include "h1head.h"
#include "message_int.h"

struct reading {
	struct message *m;
	struct text name, value;
	enum h1_why why;
};

int h1_scan(const uint8_t *p, size_t len, size_t *seen)
{
	size_t i = *seen;

	while (i < len) {
		const uint8_t *lf = memchr(p + i, '\n', len - i);

		if (!lf)
			break;
		i = (size_t)(lf - p) + 1;
		if (i < 2 || p[i - 2] != '\r')
			return -(int)H1_BARE_LF;
		if (i >= 4 && p[i - 3] == '\n')
			return i > MESSAGE_HEAD_MAX ? -(int)H1_LARGE : (int)i;
	}
	*seen = len;
	return len > MESSAGE_HEAD_MAX ? -(int)H1_LARGE : 0;
}

/* What llhttp lets pass: spaces before the colon, folded lines, bytes within lines */
static enum h1_why field_line(const uint8_t *p, size_t len)
{
	size_t i = 0;

	if (p[0] == ' ' || p[0] == '\t')
		return H1_FOLD;
	while (i < len && message_token_byte(p[i]))
		i++;
	if (i < len && (p[i] == ' ' || p[i] == '\t')) {
		while (i < len && (p[i] == ' ' || p[i] == '\t'))
			i++;
		return i < len && p[i] == ':' ? H1_COLON_SPACE : H1_FIELD_NAME;
	}
	if (i == len || !i || p[i] != ':')
		return i < len && p[i] == '\r' ? H1_BARE_CR :
		       i < len && !message_value_byte(p[i]) ? H1_CONTROL : H1_FIELD_NAME;
	for (; i < len; i++)
		if (!message_value_byte(p[i]))
			return p[i] == '\r' ? H1_BARE_CR : H1_CONTROL;
	return H1_OK;
}

/* Lines behind the start line: each ends in CR LF, as h1_scan() saw */
static enum h1_why field_lines(const uint8_t *p, size_t len)
{
	enum h1_why w;

	while (len > 2) {
		const uint8_t *lf = memchr(p, '\n', len);
		size_t line = (size_t)(lf - p) + 1;

		if ((w = field_line(p, line - 2)))
			return w;
		p += line;
		len -= line;
	}
	return H1_OK;
}

static int on_name(llhttp_t *l, const char *p, size_t len)
{
	struct reading *r = l->data;

	r->name = (struct text){ p, len };
	r->value = (struct text){ p + len, 0 };
	return 0;
}

static int on_value(llhttp_t *l, const char *p, size_t len)
{
	struct reading *r = l->data;

	r->value = (struct text){ p, len };
	return 0;
}

static int on_field(llhttp_t *l)
{
	struct reading *r = l->data;
	struct text v = r->value;
	int err;

	while (v.len && (v.p[v.len - 1] == ' ' || v.p[v.len - 1] == '\t'))
		v.len--;
	err = message_push(r->m, r->name, v);
	r->why = !err ? H1_OK : err == -E2BIG ? H1_MANY : H1_MEMORY;
	return err ? -1 : 0;
}

static int on_head(llhttp_t *l)
{
	(void)l;
	return HPE_PAUSED;
}

/* Why llhttp would not go on */
static enum h1_why llhttp_why(const llhttp_t *l, const struct reading *r)
{
	switch (llhttp_get_errno(l)) {
	case HPE_INVALID_CONTENT_LENGTH:
		return H1_LENGTH;
	case HPE_UNEXPECTED_CONTENT_LENGTH:
		return message_find(r->m, "transfer-encoding", 0) != (size_t)-1 ||
		       text_is(r->name, "transfer-encoding") ? H1_LENGTH_AND_ENCODING : H1_LENGTH_TWICE;
	case HPE_INVALID_TRANSFER_ENCODING:
		return message_find(r->m, "transfer-encoding", 0) != (size_t)-1 ?
		       H1_ENCODING_TWICE : H1_ENCODING;
	default:
		return r->why ? r->why : H1_PARSER;
	}
}

/* llhttp knows some methods only: it is told one that it knows, and reads the fields. */
static enum h1_why split(struct message *m, const char *fields, size_t len, bool request)
{
	static const llhttp_settings_t settings = {
		.on_header_field = on_name, .on_header_value = on_value,
		.on_header_value_complete = on_field, .on_headers_complete = on_head,
	};
	static const char start[2][2][18] = {
		{ "HTTP/1.0 200 OK\r\n", "HTTP/1.1 200 OK\r\n" },
		{ "POST / HTTP/1.0\r\n", "POST / HTTP/1.1\r\n" },
	};
	struct reading r = { .m = m };
	llhttp_t l;

	llhttp_init(&l, request ? HTTP_REQUEST : HTTP_RESPONSE, &settings);
	l.data = &r;
	if (llhttp_execute(&l, start[request][m->minor], 17) != HPE_OK)
		return H1_PARSER;
	return llhttp_execute(&l, fields, len) == HPE_PAUSED ? H1_OK : llhttp_why(&l, &r);
}

static bool host_byte(uint8_t c)
{
	return message_token_byte(c) || (c && strchr("()[],;:=", c)) || c >= 0x80;
}

/* uri-host [ ":" port ], loosely: no user, no space, one name */
bool h1_host_ok(struct text t)
{
	size_t i = 0, colon = t.len;

	if (t.len && t.p[0] == '[') {
		const char *end = memchr(t.p, ']', t.len);

		if (!end)
			return false;
		i = (size_t)(end - t.p) + 1;
		for (size_t k = 1; k + 1 < i; k++)
			if (!message_token_byte((uint8_t)t.p[k]) && t.p[k] != ':')
				return false;
		if (i < t.len && t.p[i] != ':')
			return false;
	}
	for (; i < t.len; i++) {
		if (colon < t.len && (t.p[i] < '0' || t.p[i] > '9'))
			return false;
		if (t.p[i] == ':')
			colon = i;
		else if (!host_byte((uint8_t)t.p[i]) || t.p[i] == ',')
			return false;
	}
	return true;
}

/* Is @word an element of the list? */
static bool listed(struct text list, const char *word)
{
	size_t i = 0, n = strlen(word);

	while (i < list.len) {
		size_t from, end;

		while (i < list.len && (list.p[i] == ',' || list.p[i] == ' ' || list.p[i] == '\t'))
			i++;
		from = i;
		while (i < list.len && list.p[i] != ',')
			i++;
		for (end = i; end > from && (list.p[end - 1] == ' ' || list.p[end - 1] == '\t'); end--)
			;
		if (end - from == n && text_is((struct text){ list.p + from, n }, word))
			return true;
	}
	return false;
}

/* Final coding chunked, and no other that isn't a compression: only where a client asked for it */
static bool coding_ok(struct text t, bool request)
{
	static const char *const known[] = { "gzip", "deflate", "compress", "x-gzip", "x-compress" };
	size_t from;

	if (text_is(t, "chunked"))
		return true;
	if (request || t.len < 9 || !text_is((struct text){ t.p + t.len - 7, 7 }, "chunked"))
		return false;
	t.len -= 7;
	while (t.len && (t.p[t.len - 1] == ' ' || t.p[t.len - 1] == '\t'))
		t.len--;
	if (!t.len || t.p[--t.len] != ',')
		return false;
	for (from = 0; from <= t.len; ) {
		const char *comma = memchr(t.p + from, ',', t.len - from);
		size_t end = comma ? (size_t)(comma - t.p) : t.len;
		struct text one = { t.p + from, end - from };
		bool is = false;

		while (one.len && (*one.p == ' ' || *one.p == '\t'))
			one = (struct text){ one.p + 1, one.len - 1 };
		while (one.len && (one.p[one.len - 1] == ' ' || one.p[one.len - 1] == '\t'))
			one.len--;
		for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
			is |= text_is(one, known[i]);
		if (!is)
			return false;
		from = end + 1;
	}
	return true;
}

/* A zero in front makes some servers read the rest as octal */
static enum h1_why read_length(struct text t, bool request, uint64_t *out)
{
	uint64_t n = 0;

	if (!t.len || t.len > 18 || (request && t.len > 1 && t.p[0] == '0'))
		return H1_LENGTH;
	for (size_t i = 0; i < t.len; i++) {
		if (t.p[i] < '0' || t.p[i] > '9')
			return H1_LENGTH;
		n = 10 * n + (uint64_t)(t.p[i] - '0');
	}
	*out = n;
	return H1_OK;
}

/* What the fields say of framing */
struct fields {
	bool length, encoding, close, keep_alive, upgrade_option, h2c, websocket, upgrade_field, expect;
	unsigned hosts;
	uint64_t bytes;
	struct text host;
};

static bool lookalike(struct text t)
{
	static const char *const names[] = { "content_length", "transfer_encoding" };

	for (size_t i = 0; i < 2; i++)
		if (text_is(t, names[i]))
			return true;
	return false;
}

static enum h1_why connection_field(struct fields *f, struct text v)
{
	static const char *const kept[] = { "content-length", "transfer-encoding", "host" };

	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
		if (listed(v, kept[i]))
			return H1_HOP;
	f->close |= listed(v, "close");
	f->keep_alive |= listed(v, "keep-alive");
	f->upgrade_option |= listed(v, "upgrade");
	return H1_OK;
}

static enum h1_why one_field(struct fields *f, const struct field *x, bool request, unsigned minor)
{
	switch (x->name.len) {
	case 4:
		if (request && text_is(x->name, "host")) {
			f->host = x->value;
			if (f->hosts++)
				return H1_HOST_TWICE;
		}
		break;
	case 6:
		f->expect |= text_is(x->name, "expect");
		break;
	case 7:
		if (text_is(x->name, "upgrade")) {
			f->upgrade_field = true;
			f->websocket |= request ? listed(x->value, "websocket") :
						  text_is(x->value, "websocket");
			f->h2c |= listed(x->value, "h2c") || listed(x->value, "h2");
		}
		break;
	case 10:
		return text_is(x->name, "connection") ? connection_field(f, x->value) : H1_OK;
	case 14:
		if (lookalike(x->name))
			return H1_LOOKALIKE;
		if (!text_is(x->name, "content-length"))
			break;
		if (f->length)
			return H1_LENGTH_TWICE;
		f->length = true;
		return read_length(x->value, request, &f->bytes);
	case 17:
		if (lookalike(x->name))
			return H1_LOOKALIKE;
		if (!text_is(x->name, "transfer-encoding"))
			break;
		if (f->encoding)
			return H1_ENCODING_TWICE;
		f->encoding = true;
		return minor == 0 ? H1_ENCODING_OLD : coding_ok(x->value, request) ? H1_OK : H1_ENCODING;
	default:
		break;
	}
	return H1_OK;
}

static enum h1_why read_fields(struct fields *f, const struct message *m, bool request)
{
	enum h1_why w;

	for (size_t i = 0; i < m->nfields; i++)
		if ((w = one_field(f, &m->field[i], request, m->minor)))
			return w;
	return f->length && f->encoding ? H1_LENGTH_AND_ENCODING : H1_OK;
}

static void fill_frame(struct h1_frame *f, const struct fields *s, unsigned minor)
{
	f->minor = minor;
	f->persist = minor ? !s->close : s->keep_alive && !s->close;
	f->upgrade = minor && s->upgrade_option && s->upgrade_field;
	f->websocket = f->upgrade && s->websocket;
	f->h2c = s->h2c;
	f->expect = s->expect;
	f->length = s->bytes;
	f->body = s->encoding ? H1_CHUNKED : s->length && s->bytes ? H1_SIZED : H1_NO_BODY;
}

/* The end of a start line: everything in it was looked at only for CR and LF. */
static enum h1_why start_bytes(const char *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!message_value_byte((uint8_t)p[i]) || p[i] == '\t')
			return p[i] == '\r' ? H1_BARE_CR : H1_CONTROL;
	return H1_OK;
}

static enum h1_why target(struct message *m, struct text t)
{
	size_t scheme;

	m->path = t;
	for (size_t i = 0; i < t.len; i++)
		if (t.p[i] == '#')
			return H1_TARGET;
	if (text_same(m->method, text_of("CONNECT"))) {
		m->authority = t;
		return h1_host_ok(t) && memchr(t.p, ':', t.len) ? H1_OK : H1_TARGET;
	}
	if (t.p[0] == '/')
		return H1_OK;
	if (t.len == 1 && t.p[0] == '*')
		return text_same(m->method, text_of("OPTIONS")) ? H1_OK : H1_TARGET;
	scheme = t.len >= 7 && text_is((struct text){ t.p, 7 }, "http://") ? 7 :
		 t.len >= 8 && text_is((struct text){ t.p, 8 }, "https://") ? 8 : 0;
	if (!scheme)
		return H1_TARGET;
	m->absolute = true;
	m->authority = (struct text){ t.p + scheme, 0 };
	while (scheme + m->authority.len < t.len && !strchr("/?", t.p[scheme + m->authority.len]))
		m->authority.len++;
	m->path = (struct text){ m->authority.p + m->authority.len,
				 t.len - scheme - m->authority.len };
	return m->authority.len && h1_host_ok(m->authority) ? H1_OK : H1_TARGET;
}

static enum h1_why version(struct message *m, const char *p, size_t len)
{
	if (len != 8 || memcmp(p, "HTTP/1.", 7) || (p[7] != '0' && p[7] != '1'))
		return H1_VERSION;
	m->minor = p[7] == '1';
	return H1_OK;
}

/* Some take "head" for HEAD, and some don't: then there is a body, or none */
static bool nearly(struct text t, const char *method)
{
	return text_is(t, method) && memcmp(t.p, method, t.len);
}

static enum h1_why request_line(struct message *m, const char *p, size_t len)
{
	const char *a = memchr(p, ' ', len), *b = a ? memchr(a + 1, ' ', len - (size_t)(a + 1 - p)) : NULL;
	enum h1_why w = start_bytes(p, len);

	if (w)
		return w;
	if (!b || b == a + 1 || memchr(b + 1, ' ', len - (size_t)(b + 1 - p)))
		return !a && len ? H1_START_LINE : b ? H1_START_LINE : H1_VERSION;
	m->method = (struct text){ p, (size_t)(a - p) };
	for (const char *c = p; c < a; c++)
		if (!message_token_byte((uint8_t)*c))
			return H1_METHOD;
	if (a == p || nearly(m->method, "HEAD") || nearly(m->method, "CONNECT"))
		return H1_METHOD;
	if ((w = version(m, b + 1, len - (size_t)(b + 1 - p))))
		return w;
	return target(m, (struct text){ a + 1, (size_t)(b - a - 1) });
}

static enum h1_why hosts(struct message *m, const struct fields *s)
{
	bool named = m->authority.len != 0;

	if (!s->hosts)
		return m->minor ? H1_HOST_MISSING : H1_OK;
	if (!h1_host_ok(s->host))
		return H1_HOST;
	if (named && m->absolute && !text_same(m->authority, s->host))
		return H1_HOST_MISMATCH;
	if (!named)
		m->authority = s->host;
	return H1_OK;
}

/* Copy, and split off the start line */
static enum h1_why load(struct message *m, const uint8_t *p, size_t len, char **raw, size_t *line)
{
	const uint8_t *lf = memchr(p, '\n', len);

	if (!(*raw = message_load(m, p, len)))
		return H1_MEMORY;
	*line = (size_t)(lf - p) + 1;
	return H1_OK;
}

enum h1_why h1_request(const uint8_t *p, size_t len, struct message *m, struct h1_frame *f)
{
	struct fields s = { 0 };
	enum h1_why w;
	size_t line;
	char *raw;

	*f = (struct h1_frame){ 0 };
	if ((w = load(m, p, len, &raw, &line)) ||
	    (w = request_line(m, raw, line - 2)) ||
	    (w = field_lines(p + line, len - line)) ||
	    (w = split(m, raw + line, len - line, true)) ||
	    (w = read_fields(&s, m, true)) ||
	    (w = hosts(m, &s)))
		return w;
	fill_frame(f, &s, m->minor);
	f->head = text_same(m->method, text_of("HEAD"));
	f->connect = text_same(m->method, text_of("CONNECT"));
	if (f->connect && f->body != H1_NO_BODY)
		return H1_ENCODING_NO_BODY;
	return H1_OK;
}

static enum h1_why status_line(struct message *m, const char *p, size_t len)
{
	enum h1_why w = start_bytes(p, len);

	if (w)
		return w;
	if (len < 12 || p[8] != ' ' || (len > 12 && p[12] != ' '))
		return len < 9 || memcmp(p, "HTTP/1.", 7) ? H1_START_LINE : H1_STATUS;
	if ((w = version(m, p, 8)))
		return w;
	for (int i = 9; i < 12; i++) {
		if (p[i] < '0' || p[i] > '9')
			return H1_STATUS;
		m->status = 10 * m->status + (unsigned)(p[i] - '0');
	}
	m->phrase = (struct text){ p + 12 + (len > 12), len > 12 ? len - 13 : 0 };
	return m->status < 100 ? H1_STATUS : H1_OK;
}

enum h1_why h1_response(const uint8_t *p, size_t len, struct message *m, struct h1_frame *f,
			const struct h1_frame *asked)
{
	struct fields s = { 0 };
	enum h1_why w;
	bool no_body;
	size_t line;
	char *raw;

	*f = (struct h1_frame){ 0 };
	if ((w = load(m, p, len, &raw, &line)) ||
	    (w = status_line(m, raw, line - 2)) ||
	    (w = field_lines(p + line, len - line)) ||
	    (w = split(m, raw + line, len - line, false)) ||
	    (w = read_fields(&s, m, false)))
		return w;
	fill_frame(f, &s, m->minor);
	no_body = m->status < 200 || m->status == 204 || (asked->connect && m->status < 300);
	if (no_body && s.encoding)
		return H1_ENCODING_NO_BODY;
	if (no_body || asked->head || m->status == 304)
		f->body = H1_NO_BODY;
	else if (!s.encoding && !s.length)
		f->body = H1_UNTIL_CLOSE;
	if (m->status == 101 && (!asked->upgrade || !f->upgrade || f->h2c ||
				 (f->websocket && !asked->websocket)))
		return H1_SWITCH;
	return H1_OK;
}
