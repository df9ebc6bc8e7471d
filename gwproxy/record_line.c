/* SPDX-License-Identifier: MIT */
/*
 * record_line.c - What a line of the record says
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <inttypes.h>
#include <jansson.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "record_int.h"
#include "wire.h"

/* One line on its way; @latin1: a byte that is no UTF-8 was written as a character */
struct line {
	json_t *top;
	bool latin1;
};

/* Bytes of one character of UTF-8, 0 if these begin none */
static size_t utf8_len(const uint8_t *p, size_t left)
{
	size_t n = p[0] < 0x80 ? 1 : p[0] >= 0xc2 && p[0] <= 0xdf ? 2 : (p[0] & 0xf0) == 0xe0 ? 3 :
		   p[0] >= 0xf0 && p[0] <= 0xf4 ? 4 : 0;

	if (!n || n > left)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

static json_t *text(struct line *l, const char *s, size_t len)
{
	json_t *good = json_stringn(len ? s : "", len);
	char *out;
	size_t n = 0, k;

	if (good)
		return good;
	out = malloc(2 * len + 1);
	if (!out)
		return NULL;
	l->latin1 = true;
	for (size_t i = 0; i < len; i += k ? k : 1) {
		k = utf8_len((const uint8_t *)s + i, len - i);
		if (k) {
			memcpy(out + n, s + i, k);
			n += k;
		} else {
			out[n++] = (char)(0xc0 | (uint8_t)s[i] >> 6);
			out[n++] = (char)(0x80 | ((uint8_t)s[i] & 0x3f));
		}
	}
	good = json_stringn(out, n);
	free(out);
	return good;
}

static void put(struct line *l, const char *name, json_t *v)
{
	json_object_set_new(l->top, name, v);
}

static void put_str(struct line *l, const char *name, const char *s)
{
	if (s && *s)
		put(l, name, text(l, s, strlen(s)));
}

static void put_text(struct line *l, const char *name, struct text t)
{
	if (t.len)
		put(l, name, text(l, t.p, t.len));
}

static void put_time(struct line *l, const char *name, uint64_t ns)
{
	time_t s = (time_t)(ns / 1000000000u);
	char date[32], out[48];
	struct tm tm;

	gmtime_r(&s, &tm);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out, sizeof(out), "%s.%06uZ", date, (unsigned)(ns / 1000u % 1000000u));
	put_str(l, name, out);
}

/* Milliseconds between two moments, if both came */
static void put_ms(json_t *in, const char *name, uint64_t from, uint64_t to)
{
	if (from && to && to >= from)
		json_object_set_new(in, name, json_real((double)((to - from) / 1000u) / 1000.0));
}

static void put_addr(struct line *l, const char *name, const struct sockaddr_storage *a)
{
	char host[INET6_ADDRSTRLEN], out[INET6_ADDRSTRLEN + 16];
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	memcpy(&in, a, sizeof(in));
	memcpy(&in6, a, sizeof(in6));
	if (a->ss_family == AF_INET) {
		inet_ntop(AF_INET, &in.sin_addr, host, sizeof(host));
		snprintf(out, sizeof(out), "%s:%u", host, ntohs(in.sin_port));
	} else if (a->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr)) {
		inet_ntop(AF_INET, &in6.sin6_addr.s6_addr[12], host, sizeof(host));
		snprintf(out, sizeof(out), "%s:%u", host, ntohs(in6.sin6_port));
	} else if (a->ss_family == AF_INET6) {
		inet_ntop(AF_INET6, &in6.sin6_addr, host, sizeof(host));
		snprintf(out, sizeof(out), "[%s]:%u", host, ntohs(in6.sin6_port));
	} else {
		return;
	}
	put_str(l, name, out);
}

static void put_conn(struct line *l, const struct conn_facts *f)
{
	char id[32];

	put(l, "connection", json_integer((json_int_t)f->id));
	if (f->from_lb) {
		snprintf(id, sizeof(id), "vpce-0%016" PRIx64, f->endpoint);
		put_str(l, "endpoint", id);
		snprintf(id, sizeof(id), "%016" PRIx64, f->attachment);
		put_str(l, "attachment", id);
		snprintf(id, sizeof(id), "%08" PRIx32, f->cookie);
		put_str(l, "cookie", id);
	}
	put_addr(l, "client", &f->client);
	put_addr(l, "server", &f->server);
	put_str(l, "protocol", f->how);
	put_str(l, "sni", f->sni);
	put_str(l, "alpn", f->alpn);
	put_str(l, "client_tls", f->client_tls.version);
	put_str(l, "client_cipher", f->client_tls.cipher);
	put_str(l, "server_tls", f->server_tls.version);
	put_str(l, "server_cipher", f->server_tls.cipher);
}

/* ---- what must not be shown ---- */

/* Arguments whose values are credentials */
static bool is_secret(const char *name, size_t len)
{
	static const char *const names[] = {
		"X-Amz-Signature", "X-Amz-Security-Token", "X-Goog-Signature", "Signature", "sig",
		"access_token", "id_token", "refresh_token", "client_secret", "token", "api_key",
		"apikey", "key", "password", "passwd", "pass", "pwd", "secret", "code", "otp", "auth",
		"jwt", "assertion", "client_assertion", "private_token", "session", "session_id",
		"sessionid", "sid", "SAMLRequest", "SAMLResponse", "id_token_hint",
	};

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (strlen(names[i]) == len && !strncasecmp(names[i], name, len))
			return true;
	return false;
}

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 :
	       c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Percent-encoding undone; what does not fit is cut */
static size_t decode(const char *s, size_t len, char *out, size_t room)
{
	size_t n = 0;

	for (size_t i = 0; i < len && n < room; i++) {
		if (s[i] == '%' && i + 2 < len && hex(s[i + 1]) >= 0 && hex(s[i + 2]) >= 0) {
			out[n++] = (char)(hex(s[i + 1]) * 16 + hex(s[i + 2]));
			i += 2;
		} else {
			out[n++] = s[i];
		}
	}
	return n;
}

/* Copy a path, with "-" for the values of secret arguments */
static size_t copy_path(char *out, struct text path)
{
	const char *p = path.len ? memchr(path.p, '?', path.len) : NULL, *end;
	char name[64];
	size_t n;

	if (!p) {
		if (path.len)
			memcpy(out, path.p, path.len);
		return path.len;
	}
	end = path.p + path.len;
	n = (size_t)(p - path.p);
	memcpy(out, path.p, n);
	while (p < end) {
		const char *next = memchr(p + 1, '&', (size_t)(end - p - 1)), *eq;
		size_t len;

		next = next ? next : end;
		eq = memchr(p, '=', (size_t)(next - p));
		len = decode(p + 1, (size_t)((eq ? eq : next) - p - 1), name, sizeof(name));
		len = eq && is_secret(name, len) ? (size_t)(eq + 1 - p) : (size_t)(next - p);
		memcpy(out + n, p, len);
		n += len;
		if (p + len < next)
			out[n++] = '-';
		p = next;
	}
	return n;
}

static void put_url(struct line *l, const struct message *req)
{
	struct text scheme = message_scheme(req), host = message_authority(req);
	struct text path = message_path(req);
	size_t n = 0;
	char *url = malloc(scheme.len + 3 + host.len + path.len + 1);

	if (!url)
		return;
	if (scheme.len && host.len) {
		memcpy(url, scheme.p, scheme.len);
		memcpy(url + scheme.len, "://", 3);
		memcpy(url + scheme.len + 3, host.p, host.len);
		n = scheme.len + 3 + host.len;
	}
	n += copy_path(url + n, path);
	put_text(l, "url", (struct text){ url, n });
	free(url);
}

/* ---- names and signatures ---- */

static void put_host(struct line *l, const psl_ctx_t *psl, struct text t)
{
	char host[256], *colon;
	unsigned char addr[16];
	const char *site;
	size_t n = t.len;

	if (!n || n >= sizeof(host))
		return;
	for (size_t i = 0; i < n; i++)
		host[i] = (char)tolower((unsigned char)t.p[i]);
	host[n] = '\0';
	if (host[0] != '[' && (colon = strrchr(host, ':')))
		*colon = '\0';
	else if (host[0] == '[' && (colon = strrchr(host, ']')))
		colon[1] = '\0';
	n = strlen(host);
	if (n && host[n - 1] == '.')
		host[--n] = '\0';
	put_str(l, "host", host);
	if (!psl || host[0] == '[' || inet_pton(AF_INET, host, addr) == 1)
		return;
	site = psl_registrable_domain(psl, host);
	put_str(l, "site", site);
}

static bool copy_part(char *out, size_t room, const char *s, size_t len)
{
	if (!len || len >= room)
		return false;
	memcpy(out, s, len);
	out[len] = '\0';
	return true;
}

bool sigv4_scope(const char *s, size_t len, struct sigv4 *out)
{
	char scope[400];
	const char *part[5], *p = scope;
	struct sigv4 v = { .key = "" };
	size_t n = 0, size[5];
	bool good;

	len = decode(s, len, scope, sizeof(scope) - 1);
	scope[len] = '\0';
	while (n < 5) {
		size_t k = strcspn(p, "/");

		part[n] = p;
		size[n++] = k;
		if (!p[k])
			break;
		p += k + 1;
	}
	if (n < 4 || part[n - 1] + size[n - 1] != scope + len ||
	    size[n - 1] != 12 || memcmp(part[n - 1], "aws4_request", 12))
		return false;
	good = copy_part(v.key, sizeof(v.key), part[0], size[0]) &&
	       copy_part(v.service, sizeof(v.service), part[n - 2], size[n - 2]) &&
	       (n == 4 || copy_part(v.region, sizeof(v.region), part[2], size[2]));
	if (good)
		*out = v;
	return good;
}

static bool in_authorization(const struct message *req, struct sigv4 *out)
{
	static const char scheme[] = "AWS4-", field[] = "Credential=";
	size_t i = message_find(req, "authorization", 0);
	struct text v;
	const char *at, *end;

	if (i == (size_t)-1)
		return false;
	v = message_field(req, i)->value;
	if (v.len < sizeof(scheme) || memcmp(v.p, scheme, sizeof(scheme) - 1))
		return false;
	end = v.p + v.len;
	at = memmem(v.p, v.len, field, sizeof(field) - 1);
	if (!at)
		return false;
	at += sizeof(field) - 1;
	for (const char *p = at; p < end; p++)
		if (*p == ',' || *p == ' ')
			end = p;
	return sigv4_scope(at, (size_t)(end - at), out);
}

static bool in_query(const struct message *req, struct sigv4 *out)
{
	static const char field[] = "X-Amz-Credential=";
	struct text t = message_path(req);
	const char *q = t.len ? memchr(t.p, '?', t.len) : NULL, *end, *at, *stop;

	end = q ? t.p + t.len : NULL;
	for (at = q; at && at < end; at = memchr(at + 1, '&', (size_t)(end - at - 1))) {
		if ((size_t)(end - at) < sizeof(field) ||
		    strncasecmp(at + 1, field, sizeof(field) - 1))
			continue;
		at += sizeof(field);
		stop = memchr(at, '&', (size_t)(end - at));
		return sigv4_scope(at, (size_t)((stop ? stop : end) - at), out);
	}
	return false;
}

bool sigv4_of(const struct message *req, struct sigv4 *out)
{
	return in_authorization(req, out) || in_query(req, out);
}

/* ---- an exchange ---- */

static void put_headers(struct line *l, const char *name, const struct record_conf *c,
			const struct message *m)
{
	json_t *all = NULL;

	for (unsigned k = 0; m && k < c->nheaders; k++) {
		json_t *values = NULL;

		for (size_t i = 0; (i = message_find(m, c->header[k], i)) != (size_t)-1; i++) {
			struct text v = message_field(m, i)->value;

			values = values ? values : json_array();
			json_array_append_new(values, text(l, v.p, v.len));
		}
		if (!values)
			continue;
		all = all ? all : json_object();
		json_object_set_new(all, c->header[k], values);
	}
	if (all)
		put(l, name, all);
}

static void put_exchange(struct line *l, const struct record_conf *c, const psl_ctx_t *psl,
			 const struct exchange *x)
{
	const struct message *resp = x->resp ? x->resp : x->answer;
	struct sigv4 sig;

	put(l, "exchange", json_integer((json_int_t)x->id));
	if (x->req) {
		put_text(l, "method", message_method(x->req));
		put_url(l, x->req);
		put_host(l, psl, message_authority(x->req));
		if (sigv4_of(x->req, &sig)) {
			put_str(l, "aws_key", sig.key);
			put_str(l, "aws_region", sig.region);
			put_str(l, "aws_service", sig.service);
		}
	}
	put_str(l, "upgraded", x->upgraded);
	if (resp)
		put(l, "status", json_integer(message_status(resp)));
	put_headers(l, "request_header", c, x->req);
	put_headers(l, "response_header", c, resp);
	put(l, "request_bytes", json_integer((json_int_t)x->req_bytes));
	put(l, "response_bytes", json_integer((json_int_t)x->resp_bytes));
}

static void put_timings(struct line *l, const struct conn_facts *f, const struct exchange *x)
{
	json_t *ms = json_object();

	put_ms(ms, "connect", f->opened_ns, f->connected_ns);
	put_ms(ms, "handshake", f->opened_ns, f->handshake_ns);
	if (x) {
		put_ms(ms, "sent", x->start_ns, x->sent_ns);
		put_ms(ms, "head", x->start_ns, x->head_ns);
		put_ms(ms, "end", x->start_ns, x->end_ns);
	}
	if (json_object_size(ms))
		put(l, "ms", ms);
	else
		json_decref(ms);
}

char *record_line(const struct record_conf *c, const psl_ctx_t *psl, const struct conn_facts *f,
		  const struct exchange *x)
{
	struct line l = { .top = json_object() };
	char *out;

	put_time(&l, "time", x && x->start_ns ? x->start_ns : f->opened_ns);
	put_conn(&l, f);
	if (x) {
		put_exchange(&l, c, psl, x);
	} else {
		put(&l, "up_bytes", json_integer((json_int_t)f->bytes_up));
		put(&l, "down_bytes", json_integer((json_int_t)f->bytes_down));
	}
	put_timings(&l, f, x);
	put_str(&l, "why", x ? x->why : f->why);
	if (l.latin1)
		put(&l, "latin1", json_true());
	out = json_dumps(l.top, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(9));
	json_decref(l.top);
	return out;
}
