/* SPDX-License-Identifier: MIT */
/*
 * message_int.h - Inside of a message, for the engines that read and write heads
 *
 * A head that came over HTTP/1.1 lies at the start of @buf as it was received, and what the
 * fields show points into it.  What is set later is appended.  So an engine can tell a field
 * that nobody touched, and send the very line that came.
 */
#ifndef GW_MESSAGE_INT_H
#define GW_MESSAGE_INT_H

#include "message.h"

/**
 * struct message - See message.h
 * @buf, @len, @room:	Text
 * @raw_len:	Of a head as received, at the start of @buf; 0: none
 * @head_len:	What the fields would take on the wire
 * @changed:	Somebody set, added or deleted something
 * @start_changed:	... of the start line
 * @minor:	HTTP/1.x
 * @absolute:	The request's target had a scheme and an authority (absolute-form); HTTP/2: an
 *		:authority
 */
struct message {
	char *buf;
	size_t len, room;
	size_t raw_len, head_len;
	struct field *field;
	size_t nfields, field_room;
	struct text method, scheme, authority, path, phrase;
	unsigned status;
	unsigned minor;
	bool changed, start_changed, absolute;
};

static inline struct text text_of(const char *s)
{
	return (struct text){ s, __builtin_strlen(s) };
}

/**
 * message_load() - An empty message takes a copy of a received head
 *
 * Return: the copy, to which message_push() may point, or NULL without memory
 */
char *message_load(struct message *m, const void *head, size_t len);

/**
 * message_push() - Append a field that was checked; texts are not copied
 *
 * Return: 0, -E2BIG when there are too many, -ENOMEM
 */
int message_push(struct message *m, struct text name, struct text value);

/**
 * message_copy() - Text that lives as long as the message
 */
int message_copy(struct message *m, struct text t, struct text *out);

/* Forget that anything changed: what is there now is what came */
static inline void message_settle(struct message *m)
{
	m->changed = m->start_changed = false;
}

bool text_is(struct text t, const char *lower);		/* equal, case of @t ignored */
bool text_same(struct text a, struct text b);		/* equal, case ignored */
bool message_token_byte(uint8_t c);			/* RFC 9110 5.6.2: tchar */
bool message_value_byte(uint8_t c);			/* of a field: no control byte but HTAB */

#endif /* GW_MESSAGE_INT_H */
