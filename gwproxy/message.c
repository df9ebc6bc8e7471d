/* SPDX-License-Identifier: MIT */
/*
 * message.c - Head of an HTTP request or response
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "h1head.h"
#include "message_int.h"

#define TEXT_ROOM	1024u
#define TEXT_KEEP	8192u	/* a connection that waits holds no more */
#define FIELD_ROOM	24u
#define TEXT_MAX	(4u * MESSAGE_HEAD_MAX)		/* with what was set and set again */

/* tchar of RFC 9110 5.6.2 */
static const bool token_bytes[256] = {
	['!'] = 1, ['#'] = 1, ['$'] = 1, ['%'] = 1, ['&'] = 1, ['\''] = 1, ['*'] = 1, ['+'] = 1,
	['-'] = 1, ['.'] = 1, ['^'] = 1, ['_'] = 1, ['`'] = 1, ['|'] = 1, ['~'] = 1,
	['0' ... '9'] = 1, ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1,
};

bool message_token_byte(uint8_t c)
{
	return token_bytes[c];
}

bool message_value_byte(uint8_t c)
{
	return (c >= ' ' && c != 0x7f) || c == '\t';
}

bool text_is(struct text t, const char *lower)
{
	return t.len == strlen(lower) && !strncasecmp(t.p, lower, t.len);
}

bool text_same(struct text a, struct text b)
{
	return a.len == b.len && (!a.len || !strncasecmp(a.p, b.p, a.len));
}

static bool token_ok(struct text t)
{
	for (size_t i = 0; i < t.len; i++)
		if (!token_bytes[(uint8_t)t.p[i]])
			return false;
	return t.len != 0;
}

static bool value_ok(struct text t)
{
	for (size_t i = 0; i < t.len; i++)
		if (!message_value_byte((uint8_t)t.p[i]))
			return false;
	return !t.len || (t.p[0] != ' ' && t.p[0] != '\t' && t.p[t.len - 1] != ' ' &&
			  t.p[t.len - 1] != '\t');
}

/* In a start line: no space either */
static bool target_ok(struct text t)
{
	for (size_t i = 0; i < t.len; i++)
		if ((uint8_t)t.p[i] <= ' ' || t.p[i] == 0x7f)
			return false;
	return t.len != 0;
}

struct message *message_new(void)
{
	return calloc(1, sizeof(struct message));
}

void message_free(struct message *m)
{
	if (!m)
		return;
	free(m->buf);
	free(m->field);
	free(m);
}

void message_clear(struct message *m)
{
	if (m->room > TEXT_KEEP) {
		free(m->buf);
		m->buf = NULL;
		m->room = 0;
	}
	struct message kept = { .buf = m->buf, .room = m->room, .field = m->field,
				.field_room = m->field_room };

	*m = kept;
}

static void rebase(struct text *t, const char *old, size_t len, char *now)
{
	uintptr_t off = (uintptr_t)t->p - (uintptr_t)old;

	if (t->p && off <= len)
		t->p = now + off;
}

/* Texts may point into the old buffer, and so may what the caller is about to copy: it is
 * returned for him to free. */
static int grow(struct message *m, size_t more, char **old)
{
	size_t room = m->room ? m->room : TEXT_ROOM;
	char *now;

	*old = NULL;
	if (m->room - m->len >= more)
		return 0;
	while (room - m->len < more)
		room *= 2;
	if (room > TEXT_MAX)
		return -E2BIG;
	if (!(now = malloc(room)))
		return -ENOMEM;
	if (m->len)
		memcpy(now, m->buf, m->len);
	if (m->buf) {
		struct text *start[] = { &m->method, &m->scheme, &m->authority, &m->path, &m->phrase };

		for (size_t i = 0; i < sizeof(start) / sizeof(start[0]); i++)
			rebase(start[i], m->buf, m->len, now);
		for (size_t i = 0; i < m->nfields; i++) {
			rebase(&m->field[i].name, m->buf, m->len, now);
			rebase(&m->field[i].value, m->buf, m->len, now);
		}
	}
	*old = m->buf;
	m->buf = now;
	m->room = room;
	return 0;
}

int message_copy(struct message *m, struct text t, struct text *out)
{
	char *old;
	int err = grow(m, t.len + 1, &old);

	if (err)
		return err;
	if (t.len)
		memcpy(m->buf + m->len, t.p, t.len);
	free(old);
	*out = (struct text){ m->buf + m->len, t.len };
	m->len += t.len;
	return 0;
}

char *message_load(struct message *m, const void *head, size_t len)
{
	struct text t;

	if (message_copy(m, (struct text){ head, len }, &t))
		return NULL;
	m->raw_len = len;
	return m->buf;
}

int message_push(struct message *m, struct text name, struct text value)
{
	size_t line = name.len + value.len + 4;

	if (m->nfields == MESSAGE_FIELDS_MAX || m->head_len + line > MESSAGE_HEAD_MAX)
		return -E2BIG;
	if (m->nfields == m->field_room) {
		size_t room = m->field_room ? 2 * m->field_room : FIELD_ROOM;
		struct field *f = realloc(m->field, room * sizeof(*f));

		if (!f)
			return -ENOMEM;
		m->field = f;
		m->field_room = room;
	}
	m->field[m->nfields++] = (struct field){ .name = name, .value = value };
	m->head_len += line;
	return 0;
}

struct text message_method(const struct message *m)
{
	return m->method;
}

struct text message_scheme(const struct message *m)
{
	return m->scheme;
}

struct text message_authority(const struct message *m)
{
	return m->authority;
}

struct text message_path(const struct message *m)
{
	return m->path;
}

unsigned message_status(const struct message *m)
{
	return m->status;
}

struct text message_phrase(const struct message *m)
{
	return m->phrase;
}

static int set_start(struct message *m, struct text *which, struct text t)
{
	struct text own;
	int err;

	if (t.len > MESSAGE_HEAD_MAX)
		return -E2BIG;
	if ((err = message_copy(m, t, &own)))
		return err;
	*which = own;
	m->changed = m->start_changed = true;
	return 0;
}

int message_set_method(struct message *m, struct text t)
{
	return token_ok(t) ? set_start(m, &m->method, t) : -EINVAL;
}

int message_set_scheme(struct message *m, struct text t)
{
	return token_ok(t) ? set_start(m, &m->scheme, t) : -EINVAL;
}

/* The Host field says the same, where there is one. */
int message_set_authority(struct message *m, struct text t)
{
	int err = target_ok(t) && h1_host_ok(t) ? set_start(m, &m->authority, t) : -EINVAL;

	if (err || message_find(m, "host", 0) == (size_t)-1)
		return err;
	return message_set(m, text_of("Host"), m->authority);
}

int message_set_path(struct message *m, struct text t)
{
	/* Behind a host, as in absolute-form, anything else would be a part of it */
	bool path = t.len && (t.p[0] == '/' || (t.len == 1 && t.p[0] == '*') ||
			      text_is(m->method, "connect"));

	return path && target_ok(t) && !memchr(t.p, '#', t.len) ? set_start(m, &m->path, t) : -EINVAL;
}

int message_set_status(struct message *m, unsigned status, struct text phrase)
{
	int err;

	if (status < 100 || status > 999 || !value_ok(phrase))
		return -EINVAL;
	if ((err = set_start(m, &m->phrase, phrase)))
		return err;
	m->status = status;
	return 0;
}

size_t message_fields(const struct message *m)
{
	return m->nfields;
}

const struct field *message_field(const struct message *m, size_t i)
{
	return &m->field[i];
}

static size_t find(const struct message *m, struct text name, size_t from)
{
	for (size_t i = from; i < m->nfields; i++)
		if (!m->field[i].gone && text_same(m->field[i].name, name))
			return i;
	return (size_t)-1;
}

size_t message_find(const struct message *m, const char *name, size_t from)
{
	return find(m, text_of(name), from);
}

int message_add(struct message *m, struct text name, struct text value)
{
	size_t kept = m->len;
	struct text n, v;
	int err;

	if (!token_ok(name) || !value_ok(value))
		return -EINVAL;
	if (m->head_len + name.len + value.len + 4 > MESSAGE_HEAD_MAX)
		return -E2BIG;
	if ((err = message_copy(m, name, &n)))
		return err;
	if ((err = message_copy(m, value, &v)))
		goto out;
	n.p = m->buf + kept;	/* the second copy may have moved the first */
	if ((err = message_push(m, n, v)))
		goto out;
	m->changed = true;
	return 0;
out:
	m->len = kept;
	return err;
}

static void drop_field(struct message *m, size_t i)
{
	m->field[i].gone = true;
	m->head_len -= m->field[i].name.len + m->field[i].value.len + 4;
	m->changed = true;
}

int message_set(struct message *m, struct text name, struct text value)
{
	size_t i = find(m, name, 0), at = i;
	struct text v;
	int err;

	if (i == (size_t)-1)
		return message_add(m, name, value);
	if (!value_ok(value))
		return -EINVAL;
	if (m->head_len - m->field[i].value.len + value.len > MESSAGE_HEAD_MAX)
		return -E2BIG;
	/* @name may lie in the text that is about to move */
	while ((at = find(m, m->field[i].name, at + 1)) != (size_t)-1)
		drop_field(m, at);
	if ((err = message_copy(m, value, &v)))
		return err;
	m->head_len += v.len - m->field[i].value.len;
	m->field[i].value = v;
	m->changed = true;
	return 0;
}

int message_del(struct message *m, struct text name)
{
	int n = 0;

	for (size_t i = 0; (i = find(m, name, i)) != (size_t)-1; i++, n++)
		drop_field(m, i);
	return n;
}

void message_set_length(struct message *m, const char *name, size_t len)
{
	char n[24];

	if (m->status == 204 || m->status == 304) {
		message_del(m, text_of(name));
		return;
	}
	snprintf(n, sizeof(n), "%zu", len);
	message_set(m, text_of(name), text_of(n));
}
