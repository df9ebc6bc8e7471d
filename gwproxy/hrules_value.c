/* SPDX-License-Identifier: MIT */
/*
 * hrules_value.c - Strings with variables: "$1", "${host}", "${lower:${header:User-Agent}}"
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "hrules_int.h"

#define NESTED_MAX	8

static const struct {
	const char *word;
	enum hrules_var var;
	bool named;		/* takes ":NAME" */
	bool nests;		/* takes ":VALUE" */
} vars[] = {
	{ "endpoint", VAR_ENDPOINT, false, false },
	{ "attachment", VAR_ATTACHMENT, false, false },
	{ "cookie", VAR_COOKIE, false, false },
	{ "client", VAR_CLIENT, false, false },
	{ "client-port", VAR_CLIENT_PORT, false, false },
	{ "server", VAR_SERVER, false, false },
	{ "server-port", VAR_SERVER_PORT, false, false },
	{ "host", VAR_HOST, false, false },
	{ "method", VAR_METHOD, false, false },
	{ "scheme", VAR_SCHEME, false, false },
	{ "path", VAR_PATH, false, false },
	{ "url", VAR_URL, false, false },
	{ "sni", VAR_SNI, false, false },
	{ "status", VAR_STATUS, false, false },
	{ "header", VAR_HEADER, true, false },
	{ "response", VAR_RESPONSE, true, false },
	{ "query", VAR_QUERY, true, false },
	{ "lower", VAR_LOWER, false, true },
	{ "upper", VAR_UPPER, false, true },
	{ "encode", VAR_ENCODE, false, true },
};

void hrules_put(struct hrules_out *o, const void *p, size_t len)
{
	size_t room = o->room ? o->room : 256;
	char *grown;

	if (len > o->max - o->n || o->failed) {
		o->failed = true;
		return;
	}
	while (room - o->n < len)
		room *= 2;
	if (room > o->room) {
		grown = realloc(o->p, room);
		if (!grown) {
			o->failed = true;
			return;
		}
		o->p = grown;
		o->room = room;
	}
	if (len)
		memcpy(o->p + o->n, p, len);
	o->n += len;
}

/* ---- reading ---- */

static struct hrules_piece *add_piece(struct hrules_value *v, enum hrules_var var)
{
	struct hrules_piece *p;

	v->piece = rules_grow(v->piece, v->n, &v->room, sizeof(*v->piece));
	p = &v->piece[v->n++];
	*p = (struct hrules_piece){ .var = var };
	return p;
}

static void keep_text(struct hrules_piece *p, const char *s, size_t len)
{
	p->text = rules_alloc(len + 1);
	memcpy(p->text, s, len);
	p->len = len;
}

static bool parse_pieces(struct hrules_value *v, struct lexer *l, size_t *i, unsigned depth);

/* "$1" behind the dollar sign at @i; with @brace up to the closing one */
static bool parse_group(struct hrules_value *v, struct lexer *l, size_t *i, bool brace)
{
	unsigned group = 0, n = 0;

	while (*i < v->raw_len && n < 4 && isdigit((unsigned char)v->raw[*i])) {
		group = group * 10 + (unsigned)(v->raw[(*i)++] - '0');
		n++;
	}
	if (brace && (*i >= v->raw_len || v->raw[(*i)++] != '}'))
		return lex_error(l, v->at, "'${' and a number without its '}'");
	v->groups = MAX(v->groups, (int)group);
	add_piece(v, VAR_GROUP)->group = group;
	return true;
}

static bool name_of_var(struct hrules_value *v, struct lexer *l, size_t *i, struct hrules_piece *p)
{
	size_t start = *i;

	while (*i < v->raw_len && v->raw[*i] != '}')
		++*i;
	if (*i == v->raw_len || *i == start)
		return lex_error(l, v->at, "a variable's name without its '}'");
	keep_text(p, v->raw + start, *i - start);
	++*i;
	return true;
}

static bool unknown_var(struct hrules_value *v, struct lexer *l, size_t start, size_t n)
{
	return lex_error(l, v->at, "there is no variable '${%.*s}'; '$' is written $$",
			 (int)MIN(n, 32u), v->raw + start);
}

/* "${...}" behind the brace at @i */
static bool parse_var(struct hrules_value *v, struct lexer *l, size_t *i, unsigned depth)
{
	size_t start = *i, n, which;
	bool colon;

	if (*i < v->raw_len && isdigit((unsigned char)v->raw[*i]))
		return parse_group(v, l, i, true);
	while (*i < v->raw_len && (isalpha((unsigned char)v->raw[*i]) || v->raw[*i] == '-'))
		++*i;
	n = *i - start;
	for (which = 0; which < ARRAY_SIZE(vars); which++)
		if (strlen(vars[which].word) == n && !memcmp(vars[which].word, v->raw + start, n))
			break;
	colon = *i < v->raw_len && v->raw[*i] == ':';
	if (which == ARRAY_SIZE(vars) || colon != (vars[which].named || vars[which].nests) ||
	    *i >= v->raw_len || (!colon && v->raw[*i] != '}'))
		return unknown_var(v, l, start, n);
	++*i;
	v->of_response |= vars[which].var == VAR_RESPONSE || vars[which].var == VAR_STATUS;
	add_piece(v, vars[which].var);
	if (vars[which].named)
		return name_of_var(v, l, i, &v->piece[v->n - 1]);
	if (!vars[which].nests)
		return true;
	which = v->n - 1;
	if (depth == NESTED_MAX)
		return lex_error(l, v->at, "variables within variables, more than %d deep",
				 NESTED_MAX);
	if (!parse_pieces(v, l, i, depth + 1))
		return false;
	v->piece[which].inner = (unsigned)(v->n - 1 - which);
	return true;
}

/* Up to the end or, within a variable, its closing brace */
static bool parse_pieces(struct hrules_value *v, struct lexer *l, size_t *i, unsigned depth)
{
	size_t start;

	while (*i < v->raw_len && !(depth && v->raw[*i] == '}')) {
		if (v->raw[*i] != '$') {
			start = *i;
			while (*i < v->raw_len && v->raw[*i] != '$' &&
			       !(depth && v->raw[*i] == '}'))
				++*i;
			keep_text(add_piece(v, VAR_TEXT), v->raw + start, *i - start);
			continue;
		}
		++*i;
		if (*i < v->raw_len && v->raw[*i] == '$') {
			keep_text(add_piece(v, VAR_TEXT), "$", 1);
			++*i;
		} else if (*i < v->raw_len && v->raw[*i] == '{') {
			++*i;
			if (!parse_var(v, l, i, depth))
				return false;
		} else if (*i < v->raw_len && isdigit((unsigned char)v->raw[*i])) {
			if (!parse_group(v, l, i, false))
				return false;
		} else {
			return lex_error(l, v->at, "'$' is written $$; $1 is a group, ${...} a "
					 "variable");
		}
	}
	if (depth && (*i)++ >= v->raw_len)
		return lex_error(l, v->at, "a variable without its '}'");
	return true;
}

bool hrules_value_parse(struct hrules_value *v, struct lexer *l)
{
	size_t i = 0;

	lex_blank(l);
	v->at = l->pos;
	v->groups = -1;
	return lex_string(l, &v->raw, &v->raw_len) && parse_pieces(v, l, &i, 0);
}

void hrules_value_free(struct hrules_value *v)
{
	for (unsigned i = 0; i < v->n; i++)
		free(v->piece[i].text);
	free(v->piece);
	free(v->raw);
}

/* ---- facts ---- */

bool hrules_same(struct text a, struct text b)
{
	return a.len == b.len && (!a.len || !strncasecmp(a.p, b.p, a.len));
}

struct text hrules_host(const struct exchange *x)
{
	struct text t = message_authority(x->req);
	const char *end = t.len ? memchr(t.p, ']', t.len) : NULL;
	const char *from = end ? end : t.p;
	const char *colon = t.len ? memchr(from, ':', t.len - (size_t)(from - t.p)) : NULL;

	if (colon)
		t.len = (size_t)(colon - t.p);
	if (t.len && t.p[t.len - 1] == '.')
		t.len--;
	return t;
}

struct text hrules_path(const struct exchange *x)
{
	struct text t = message_path(x->req);
	const char *q = t.len ? memchr(t.p, '?', t.len) : NULL;

	if (q)
		t.len = (size_t)(q - t.p);
	return t;
}

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 :
	       c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* As forms encode it; a "%" that is no code is itself */
static void decode(struct hrules_out *o, const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		char c = s[i] == '+' ? ' ' : s[i];

		if (c == '%' && i + 2 < len && hex(s[i + 1]) >= 0 && hex(s[i + 2]) >= 0) {
			c = (char)(hex(s[i + 1]) * 16 + hex(s[i + 2]));
			i += 2;
		}
		hrules_put(o, &c, 1);
	}
}

bool hrules_query(const struct exchange *x, struct text name, size_t *pos, struct hrules_out *o)
{
	struct text t = message_path(x->req), path = hrules_path(x);

	for (size_t i = MAX(*pos, path.len + 1); i < t.len; i = *pos) {
		const char *end = memchr(t.p + i, '&', t.len - i), *eq;
		size_t n = end ? (size_t)(end - t.p) - i : t.len - i, n_name;
		bool same;

		*pos = i + n + 1;
		eq = memchr(t.p + i, '=', n);
		n_name = eq ? (size_t)(eq - t.p) - i : n;
		o->n = 0;
		decode(o, t.p + i, n_name);
		same = o->p && !o->failed && o->n == name.len && !memcmp(o->p, name.p, o->n);
		if (!same)
			continue;
		o->n = 0;
		if (eq)
			decode(o, eq + 1, n - n_name - 1);
		return !o->failed;
	}
	return false;
}

/* ---- writing ---- */

static void put_format(struct hrules_out *o, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static void put_format(struct hrules_out *o, const char *format, ...)
{
	char text[48];
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	hrules_put(o, text, (size_t)n);
}

static void put_addr(struct hrules_out *o, const struct sockaddr_storage *a, bool port)
{
	char text[INET6_ADDRSTRLEN] = "";
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	memcpy(&in, a, sizeof(in));
	memcpy(&in6, a, sizeof(in6));
	if (a->ss_family != AF_INET && a->ss_family != AF_INET6)
		return;
	if (port) {
		put_format(o, "%u", ntohs(a->ss_family == AF_INET ? in.sin_port : in6.sin6_port));
		return;
	}
	if (a->ss_family == AF_INET)
		inet_ntop(AF_INET, &in.sin_addr, text, sizeof(text));
	else if (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr))
		inet_ntop(AF_INET, &in6.sin6_addr.s6_addr[12], text, sizeof(text));
	else
		inet_ntop(AF_INET6, &in6.sin6_addr, text, sizeof(text));
	hrules_put(o, text, strlen(text));
}

/* Fields of one name are one value, with commas between */
static void put_header(struct hrules_out *o, const struct message *m, const char *name)
{
	bool first = true;

	if (!m)
		return;
	for (size_t i = 0; (i = message_find(m, name, i)) != (size_t)-1; i++) {
		if (!first)
			hrules_put(o, ", ", 2);
		hrules_put_text(o, message_field(m, i)->value);
		first = false;
	}
}

static void put_encoded(struct hrules_out *o, size_t from)
{
	static const char plain[] = "-._~", digits[] = "0123456789ABCDEF";
	size_t len = o->n - from;
	char *s = malloc(len + 1);

	if (!s) {
		o->failed = true;
		return;
	}
	memcpy(s, o->p + from, len);
	o->n = from;
	for (size_t i = 0; i < len; i++) {
		uint8_t c = (uint8_t)s[i];
		const char code[3] = { '%', digits[c >> 4], digits[c & 15] };

		if ((c < 0x80 && isalnum(c)) || (c && strchr(plain, c)))
			hrules_put(o, &s[i], 1);
		else
			hrules_put(o, code, sizeof(code));
	}
	free(s);
}

static void put_pieces(const struct hrules_piece *p, unsigned n, const struct exchange *x,
		       const struct hrules_groups *g, struct hrules_out *o);

/* What is made of other pieces */
static void put_made(const struct hrules_piece *p, const struct exchange *x,
		     const struct hrules_groups *g, struct hrules_out *o)
{
	size_t from = o->n;

	put_pieces(p + 1, p->inner, x, g, o);
	if (o->n == from)
		return;
	if (p->var == VAR_ENCODE)
		put_encoded(o, from);
	for (size_t i = from; i < o->n && p->var != VAR_ENCODE; i++) {
		uint8_t c = (uint8_t)o->p[i];

		if (p->var == VAR_LOWER && c >= 'A' && c <= 'Z')
			o->p[i] = (char)(c + 'a' - 'A');
		else if (p->var == VAR_UPPER && c >= 'a' && c <= 'z')
			o->p[i] = (char)(c - 'a' + 'A');
	}
}

static void put_group(const struct hrules_groups *g, unsigned i, struct hrules_out *o)
{
	if (i < g->n && g->at[2 * i] != PCRE2_UNSET && g->at[2 * i + 1] > g->at[2 * i])
		hrules_put(o, g->s + g->at[2 * i], g->at[2 * i + 1] - g->at[2 * i]);
}

static void put_query(const struct hrules_piece *p, const struct exchange *x, struct hrules_out *o)
{
	struct hrules_out arg = { .max = MESSAGE_HEAD_MAX };
	size_t pos = 0;

	if (hrules_query(x, (struct text){ p->text, p->len }, &pos, &arg))
		hrules_put(o, arg.p, arg.n);
	free(arg.p);
}

/* Of the connection */
static void put_conn(enum hrules_var var, const struct conn_facts *c, struct hrules_out *o)
{
	if (var == VAR_ENDPOINT && c->from_lb)
		put_format(o, "vpce-0%016" PRIx64, c->endpoint);
	else if (var == VAR_ATTACHMENT && c->from_lb)
		put_format(o, "%016" PRIx64, c->attachment);
	else if (var == VAR_COOKIE && c->from_lb)
		put_format(o, "%08" PRIx32, c->cookie);
	else if (var == VAR_CLIENT || var == VAR_CLIENT_PORT)
		put_addr(o, &c->client, var == VAR_CLIENT_PORT);
	else if (var == VAR_SERVER || var == VAR_SERVER_PORT)
		put_addr(o, &c->server, var == VAR_SERVER_PORT);
	else if (var == VAR_SNI)
		hrules_put(o, c->sni, strlen(c->sni));
}

static void put_one(const struct hrules_piece *p, const struct exchange *x,
		    const struct hrules_groups *g, struct hrules_out *o)
{
	switch (p->var) {
	case VAR_TEXT: hrules_put(o, p->text, p->len); break;
	case VAR_GROUP: put_group(g, p->group, o); break;
	case VAR_HOST: hrules_put_text(o, hrules_host(x)); break;
	case VAR_METHOD: hrules_put_text(o, message_method(x->req)); break;
	case VAR_SCHEME: hrules_put_text(o, message_scheme(x->req)); break;
	case VAR_PATH: hrules_put_text(o, message_path(x->req)); break;
	case VAR_URL:
		hrules_put_text(o, message_scheme(x->req));
		hrules_put(o, "://", 3);
		hrules_put_text(o, message_authority(x->req));
		hrules_put_text(o, message_path(x->req));
		break;
	case VAR_STATUS:
		if (x->resp)
			put_format(o, "%u", message_status(x->resp));
		break;
	case VAR_HEADER:
		if (strcasecmp(p->text, "host"))
			put_header(o, x->req, p->text);
		else
			hrules_put_text(o, message_authority(x->req));
		break;
	case VAR_RESPONSE: put_header(o, x->resp, p->text); break;
	case VAR_QUERY: put_query(p, x, o); break;
	case VAR_LOWER:
	case VAR_UPPER:
	case VAR_ENCODE: put_made(p, x, g, o); break;
	default: put_conn(p->var, x->conn, o);
	}
}

static void put_pieces(const struct hrules_piece *p, unsigned n, const struct exchange *x,
		       const struct hrules_groups *g, struct hrules_out *o)
{
	for (unsigned i = 0; i < n; i += 1 + p[i].inner)
		put_one(&p[i], x, g, o);
}

void hrules_value_put(const struct hrules_value *v, const struct exchange *x,
		      const struct hrules_groups *g, struct hrules_out *o)
{
	put_pieces(v->piece, v->n, x, g, o);
}
