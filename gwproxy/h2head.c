/* SPDX-License-Identifier: MIT */
/*
 * h2head.c - Heads of HTTP/2: read into messages, and written from them
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "h1head.h"
#include "h2_int.h"

#define NV_MAX	(MESSAGE_FIELDS_MAX + 4u)

static _Thread_local nghttp2_nv nvs[NV_MAX];

static int pseudo(struct message *m, struct text name, struct text value)
{
	struct text *to = NULL, t;
	int err;

	if (name.len == 7 && !memcmp(name.p, ":method", 7))
		to = &m->method;
	else if (name.len == 7 && !memcmp(name.p, ":scheme", 7))
		to = &m->scheme;
	else if (name.len == 10 && !memcmp(name.p, ":authority", 10))
		to = &m->authority;
	else if (name.len == 5 && !memcmp(name.p, ":path", 5))
		to = &m->path;
	if (!to) {	/* nghttp2 checked that it is three digits */
		m->status = 0;
		for (size_t i = 0; i < value.len && i < 3; i++)
			m->status = 10 * m->status + (unsigned)(value.p[i] - '0');
		return 0;
	}
	m->head_len += name.len + value.len + 4;
	if ((err = message_copy(m, value, &t)))
		return err;
	*to = t;
	m->absolute |= to == &m->authority;
	return 0;
}

int h2_field(struct h2_stream *s, struct text name, struct text value, bool sensitive)
{
	struct message *m = s->reading;
	struct text n, v;
	size_t at = m->len;
	int err;

	if (name.p[0] == ':')
		return pseudo(m, name, value);
	if (m != s->reqm && m != s->respm && !h1_trailer_ok(name))
		return -EINVAL;
	if (m->head_len + name.len + value.len + 4 > MESSAGE_HEAD_MAX)
		return -E2BIG;
	if ((err = message_copy(m, name, &n)) || (err = message_copy(m, value, &v)))
		return err;
	n.p = m->buf + at;	/* the second copy may have moved the first */
	if ((err = message_push(m, n, v)))
		return err;
	m->field[m->nfields - 1].sensitive = sensitive;
	return 0;
}

/* What nghttp2 leaves to us: one authority, and a name in it */
const char *h2_check_request(struct h2_stream *s)
{
	struct message *m = s->reqm;
	size_t i = message_find(m, "host", 0);

	if (i != (size_t)-1) {
		if (message_find(m, "host", i + 1) != (size_t)-1)
			return h1_why_text(H1_HOST_TWICE);
		if (m->authority.p && !text_same(m->authority, m->field[i].value))
			return h1_why_text(H1_HOST_MISMATCH);
		if (!m->authority.p)
			m->authority = m->field[i].value;
	}
	if (!h1_host_ok(m->authority))
		return h1_why_text(H1_HOST);
	if (memchr(m->path.p ? m->path.p : "", '#', m->path.len))
		return h1_why_text(H1_TARGET);
	return NULL;
}

/* Names in small letters; what belongs to a connection of HTTP/1.1 stays behind */
static bool sendable(struct message *m, struct field *f)
{
	static const char *const hop[] = { "connection", "keep-alive", "proxy-connection",
					   "transfer-encoding", "upgrade", "te" };

	if (f->gone)
		return false;
	for (size_t i = 0; i < f->name.len; i++) {
		char *c = m->buf + (f->name.p - m->buf) + i;

		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c | 0x20);
	}
	for (size_t i = 0; i < sizeof(hop) / sizeof(hop[0]); i++)
		if (text_is(f->name, hop[i]))
			return i == 5 && text_is(f->value, "trailers");
	return true;
}

static size_t put(size_t n, const char *name, struct text value)
{
	nvs[n] = (nghttp2_nv){ .name = (uint8_t *)(uintptr_t)name, .namelen = strlen(name),
			       .value = (uint8_t *)(uintptr_t)value.p, .valuelen = value.len };
	return n + 1;
}

static size_t put_fields(struct message *m, size_t n)
{
	for (size_t i = 0; i < m->nfields; i++) {
		struct field *f = &m->field[i];

		if (!sendable(m, f))
			continue;
		nvs[n++] = (nghttp2_nv){
			.name = (uint8_t *)(uintptr_t)f->name.p, .namelen = f->name.len,
			.value = (uint8_t *)(uintptr_t)f->value.p, .valuelen = f->value.len,
			.flags = f->sensitive ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE,
		};
	}
	return n;
}

int h2_submit_request(struct h2_stream *s)
{
	nghttp2_data_provider body = h2_half_provider(s, true);
	struct message *m = s->reqm;
	size_t n = put(0, ":method", m->method);
	bool none = s->up.out_end && s->up.out.off == s->up.out.end && !s->up.trailers;

	if (m->scheme.p)
		n = put(n, ":scheme", m->scheme);
	if (m->absolute)	/* where Host stood alone it stays alone */
		n = put(n, ":authority", m->authority);
	if (m->path.p)
		n = put(n, ":path", m->path);
	n = put_fields(m, n);
	return nghttp2_submit_request(s->h->ss, NULL, nvs, n, none ? NULL : &body, s);
}

int h2_submit_response(struct h2_stream *s, struct message *m, bool interim)
{
	nghttp2_data_provider body = h2_half_provider(s, false);
	bool none = s->down.out_end && s->down.out.off == s->down.out.end && !s->down.trailers;
	char status[12];
	size_t n;

	snprintf(status, sizeof(status), "%03u", m->status % 1000u);
	n = put_fields(m, put(0, ":status", (struct text){ status, 3 }));
	if (interim)
		return nghttp2_submit_headers(s->h->cs, NGHTTP2_FLAG_NONE, s->client_id, NULL, nvs, n,
					      NULL);
	return nghttp2_submit_response(s->h->cs, s->client_id, nvs, n, none ? NULL : &body);
}

int h2_submit_trailers(struct h2_stream *s, bool up)
{
	struct h2_half *f = up ? &s->up : &s->down;
	size_t n = put_fields(f->trailers, 0);

	if (!n)
		return -ENOENT;
	return nghttp2_submit_trailer(up ? s->h->ss : s->h->cs, up ? s->server_id : s->client_id, nvs, n);
}
