/* SPDX-License-Identifier: MIT */
/*
 * h1write.c - Heads of HTTP/1.1 written again, after hooks changed them
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "h1head.h"
#include "lane.h"
#include "message_int.h"

/* The line of a field that nobody touched, as it came; NULL: of one that was set */
static const char *received(const struct message *m, const struct field *f, size_t *len)
{
	const char *end = m->buf + m->raw_len, *lf;

	if (!m->raw_len || f->name.p < m->buf || f->name.p >= end || f->value.p < f->name.p ||
	    f->value.p > end)
		return NULL;
	lf = memchr(f->value.p, '\n', (size_t)(end - f->value.p));
	*len = lf ? (size_t)(lf + 1 - f->name.p) : 0;
	return lf ? f->name.p : NULL;
}

static int put(struct lane *l, struct text t)
{
	return lane_put(l, t.p, t.len);
}

static int write_start(struct lane *l, const struct message *m, bool request)
{
	char line[32];
	int err = 0;

	if (!m->start_changed && m->raw_len) {
		const char *lf = memchr(m->buf, '\n', m->raw_len);

		return lane_put(l, m->buf, (size_t)(lf + 1 - m->buf));
	}
	if (request) {
		err |= put(l, m->method) | put(l, text_of(" "));
		if (m->absolute)
			err |= put(l, m->scheme) | put(l, text_of("://")) | put(l, m->authority);
		err |= put(l, m->path);
		err |= put(l, text_of(m->minor ? " HTTP/1.1\r\n" : " HTTP/1.0\r\n"));
		return err;
	}
	__builtin_snprintf(line, sizeof(line), "HTTP/1.%u %03u ", m->minor, m->status % 1000u);
	return put(l, text_of(line)) | put(l, m->phrase) | put(l, text_of("\r\n"));
}

int h1_write(struct lane *l, const struct message *m, bool request)
{
	int err = write_start(l, m, request);

	for (size_t i = 0; i < m->nfields && !err; i++) {
		const struct field *f = &m->field[i];
		const char *line;
		size_t len;

		if (f->gone)
			continue;
		if ((line = received(m, f, &len)))
			err = lane_put(l, line, len);
		else
			err = put(l, f->name) | put(l, text_of(": ")) | put(l, f->value) |
			      put(l, text_of("\r\n"));
	}
	return err ? err : put(l, text_of("\r\n"));
}

/* Did a hook set a field of this name? */
static bool was_set(const struct message *m, struct text name)
{
	size_t len;

	for (size_t i = 0; i < m->nfields; i++)
		if (!m->field[i].gone && text_same(m->field[i].name, name) &&
		    !received(m, &m->field[i], &len))
			return true;
	return false;
}

/* The options of one field that may stay, behind those that are in @out already */
static bool keep_options(const struct message *m, struct text list, char *out, size_t *n)
{
	bool all = true;

	for (size_t i = 0, end; i < list.len; i = end + 1) {
		const char *comma = memchr(list.p + i, ',', list.len - i);
		struct text one = { list.p + i, 0 };

		end = comma ? (size_t)(comma - list.p) : list.len;
		one.len = end - i;
		while (one.len && (*one.p == ' ' || *one.p == '\t'))
			one = (struct text){ one.p + 1, one.len - 1 };
		while (one.len && (one.p[one.len - 1] == ' ' || one.p[one.len - 1] == '\t'))
			one.len--;
		if (!one.len)
			continue;
		if (was_set(m, one)) {
			all = false;
			continue;
		}
		if (*n) {
			memcpy(out + *n, ", ", 2);
			*n += 2;
		}
		memcpy(out + *n, one.p, one.len);
		*n += one.len;
	}
	return all;
}

int h1_hop(struct message *m)
{
	size_t room = 1, n = 0;
	bool all = true;
	char *out;
	int err;

	for (size_t i = 0; (i = message_find(m, "connection", i)) != (size_t)-1; i++)
		room += 2 * m->field[i].value.len + 2;
	if (!m->changed || room == 1)
		return 0;
	if (!(out = malloc(room)))
		return -ENOMEM;
	for (size_t i = 0; (i = message_find(m, "connection", i)) != (size_t)-1; i++)
		all &= keep_options(m, m->field[i].value, out, &n);
	if (!all && !n)
		message_del(m, text_of("Connection"));
	err = all || !n ? 0 : message_set(m, text_of("Connection"), (struct text){ out, n });
	free(out);
	return err;
}
