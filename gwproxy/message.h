/* SPDX-License-Identifier: MIT */
/*
 * message.h - Head of an HTTP request or response, as every interceptor sees it
 *
 * HTTP/1.1 and HTTP/2 look the same: method, scheme, authority and path are fields of
 * their own, header fields keep their order and, over HTTP/1.1, the case of their names.  A
 * message holds its text in one buffer that grows up to MESSAGE_HEAD_MAX.
 */
#ifndef GW_MESSAGE_H
#define GW_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MESSAGE_HEAD_MAX	65536u	/* bytes of a head */
#define MESSAGE_FIELDS_MAX	256u

/**
 * struct text - Bytes, not NUL-terminated; valid until the message is changed
 */
struct text {
	const char *p;
	size_t len;
};

/**
 * struct field - One header field, in order; @gone: deleted
 */
struct field {
	struct text name;
	struct text value;
	bool gone;
	bool sensitive;		/* HTTP/2: never indexed */
};

struct message;

/**
 * message_new() - An empty head; freed by message_free().  NULL without memory
 */
struct message *message_new(void);
void message_free(struct message *m);	/* NULL is fine */
void message_clear(struct message *m) __attribute__((nonnull));

/*
 * The start line.  Request: method, scheme ("http", "https"), authority (Host or
 * :authority), path with query ("*" and CONNECT's authority form as they came).  Response: status
 * (100 to 999) and, over HTTP/1.1, the reason phrase.  -EINVAL for what a start line may not have,
 * an authority that is no host and port, a path that does not begin with "/" (but "*", and
 * CONNECT's).
 */
struct text message_method(const struct message *m);
struct text message_scheme(const struct message *m);
struct text message_authority(const struct message *m);
struct text message_path(const struct message *m);
unsigned message_status(const struct message *m);
struct text message_phrase(const struct message *m);

int message_set_method(struct message *m, struct text t);
int message_set_scheme(struct message *m, struct text t);
int message_set_authority(struct message *m, struct text t);
int message_set_path(struct message *m, struct text t);
int message_set_status(struct message *m, unsigned status, struct text phrase);

/* Fields: indices run over those that are gone, too */
size_t message_fields(const struct message *m);
const struct field *message_field(const struct message *m, size_t i);

/**
 * message_find() - First field of that name, case ignored, from @from on; (size_t)-1: none
 */
size_t message_find(const struct message *m, const char *name, size_t from);

/**
 * message_add() / message_set() / message_del() - Append; replace all of that name by one in
 * the place of the first (appended if there is none); delete all of that name
 *
 * Names and values with bytes that a field may not have (RFC 9110 5.1, 5.5) are refused.
 *
 * Return: 0; del: how many; -EINVAL; -E2BIG when the head would be larger than
 * MESSAGE_HEAD_MAX; -ENOMEM
 */
int message_add(struct message *m, struct text name, struct text value);
int message_set(struct message *m, struct text name, struct text value);
int message_del(struct message *m, struct text name);

/**
 * message_set_length() - Content-Length of an answer of ours, as a field @name
 *
 * A 204 has none (RFC 9110 8.6), and a 304's would be that of what it does not send.
 */
void message_set_length(struct message *m, const char *name, size_t len);

#endif /* GW_MESSAGE_H */
