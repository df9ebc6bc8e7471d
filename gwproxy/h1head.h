/* SPDX-License-Identifier: MIT */
/*
 * h1head.h - Heads and chunks of HTTP/1.1: read strictly, or refused with a reason
 *
 * Whatever two programs could read in two ways is refused here, since behind us stands a program
 * that we don't know.  llhttp splits the fields; it lets some things pass that h1_scan()
 * and h1_line_check() look for before it sees them, and it knows a fixed list of methods, so the
 * start line is read here, too.
 */
#ifndef GW_H1HEAD_H
#define GW_H1HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "message.h"

enum h1_why {
	H1_OK,
	H1_BARE_CR,		/* CR without LF */
	H1_BARE_LF,		/* LF without CR */
	H1_CONTROL,		/* NUL or another control byte */
	H1_FOLD,		/* a line that continues the one before it (obs-fold) */
	H1_COLON_SPACE,		/* space between a field's name and its colon */
	H1_FIELD_NAME,		/* no colon, no name, or a byte that names may not have */
	H1_START_LINE,
	H1_METHOD,
	H1_TARGET,
	H1_VERSION,
	H1_STATUS,
	H1_HOST_MISSING,
	H1_HOST_TWICE,
	H1_HOST,
	H1_HOST_MISMATCH,	/* target in absolute-form names another one */
	H1_LENGTH,		/* Content-Length is no number, or a list */
	H1_LENGTH_TWICE,
	H1_LENGTH_AND_ENCODING,
	H1_ENCODING,		/* Transfer-Encoding is not exactly chunked */
	H1_ENCODING_TWICE,
	H1_ENCODING_OLD,	/* Transfer-Encoding in HTTP/1.0 */
	H1_ENCODING_NO_BODY,	/* ... where no body may be */
	H1_HOP,			/* Connection names a field that frames or routes */
	H1_LOOKALIKE,		/* Content_Length and its like */
	H1_LARGE,		/* head of more than MESSAGE_HEAD_MAX */
	H1_MANY,		/* more than MESSAGE_FIELDS_MAX fields */
	H1_PARSER,		/* llhttp reads it otherwise */
	H1_CHUNK_SIZE,
	H1_CHUNK_EXTENSION,
	H1_CHUNK_END,		/* data of a chunk not followed by CR LF */
	H1_TRAILER,		/* a trailer that frames or routes, or too large */
	H1_INTERIM,		/* interim responses without end */
	H1_SWITCH,		/* 101 that nobody asked for, or to another protocol */
	H1_UNSOLICITED,		/* bytes of the server that answer nothing */
	H1_EDIT_OLD,		/* a hook wants the body of an HTTP/1.0 request */
	H1_MEMORY,
	H1_NUM_WHY
};

/* "refused: word", and the status that tells the client */
const char *h1_why_text(enum h1_why w);
unsigned h1_why_status(enum h1_why w);

enum h1_body { H1_NO_BODY, H1_SIZED, H1_CHUNKED, H1_UNTIL_CLOSE };

/**
 * struct h1_frame - How a message's body is framed, and what becomes of the connection
 * @body, @length:	H1_SIZED: so many bytes (never 0)
 * @minor:	HTTP/1.x
 * @persist:	The sender lets the connection live on
 * @upgrade:	Connection says upgrade and Upgrade names protocols
 * @websocket:	... and websocket is among them
 * @h2c:	... and HTTP/2 is among them
 * @expect:	Its sender may wait before it sends the body, or leave it out
 * @head, @connect:	The request's method
 */
struct h1_frame {
	enum h1_body body;
	uint64_t length;
	unsigned minor;
	bool persist, upgrade, websocket, h2c, expect, head, connect;
};

/**
 * h1_scan() - Look for the end of a head
 * @seen:	In and out: bytes looked at already
 *
 * Return: > 0: the head's size with its empty line; 0: it is not all there; < 0: -enum h1_why
 */
int h1_scan(const uint8_t *p, size_t len, size_t *seen);

/**
 * h1_request() / h1_response() - Read a head that h1_scan() found
 * @asked:	Frame of the request that a response answers
 *
 * Fills @m, which was cleared, and @f.
 */
enum h1_why h1_request(const uint8_t *p, size_t len, struct message *m, struct h1_frame *f);
enum h1_why h1_response(const uint8_t *p, size_t len, struct message *m, struct h1_frame *f,
			const struct h1_frame *asked);

/* Is it a host's name or address, perhaps with a port? */
bool h1_host_ok(struct text t);

struct lane;

/**
 * h1_write() - Head to @l: untouched lines as they came.  Return: 0 or -ENOMEM
 */
int h1_write(struct lane *l, const struct message *m, bool request);

/**
 * h1_hop() - Connection names no field that a hook set: the next one on the way would drop it
 *
 * Return: 0 or -errno
 */
int h1_hop(struct message *m);

/**
 * h1_trailer_ok() - May a field of this name stand behind a body? (RFC 9110, 6.5.1)
 *
 * What frames, routes, or is asked for before the body is read may not: some merge trailers
 * into the head.
 */
bool h1_trailer_ok(struct text name);

/**
 * struct h1_chunks - Reader of a chunked body
 * @state, @left, @digits, @excess:	Its own
 */
struct h1_chunks {
	unsigned state;
	uint64_t left;
	unsigned digits;
	size_t excess;
	char name[20];		/* start of a trailer's name */
	unsigned nname;
};

enum h1_event { H1_MORE, H1_DATA, H1_TRAILERS, H1_END, H1_BAD };

/**
 * h1_chunk() - Take the next piece of a chunked body
 * @used:	Bytes of @p that it took
 * @data, @n:	H1_DATA: bytes of the body; H1_TRAILERS: raw bytes of the trailers
 * @why:	H1_BAD
 *
 * Return: H1_MORE: framing was taken, call again if bytes are left; H1_END: the body ended, with
 * the empty line
 */
enum h1_event h1_chunk(struct h1_chunks *c, const uint8_t *p, size_t len, size_t *used,
		       const uint8_t **data, size_t *n, enum h1_why *why);

#endif /* GW_H1HEAD_H */
