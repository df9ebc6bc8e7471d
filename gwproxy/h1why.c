/* SPDX-License-Identifier: MIT */
/*
 * h1why.c - Reasons for which a message is refused
 */
#include <assert.h>

#include "h1head.h"

static const struct {
	const char *text;
	unsigned status;	/* to the client, when it is a request that is refused */
} whys[] = {
	[H1_OK] = { "done", 200 },
	[H1_BARE_CR] = { "refused: bare-cr", 400 },
	[H1_BARE_LF] = { "refused: bare-lf", 400 },
	[H1_CONTROL] = { "refused: control-byte", 400 },
	[H1_FOLD] = { "refused: folded-field", 400 },
	[H1_COLON_SPACE] = { "refused: space-before-colon", 400 },
	[H1_FIELD_NAME] = { "refused: field-name", 400 },
	[H1_START_LINE] = { "refused: start-line", 400 },
	[H1_METHOD] = { "refused: method", 400 },
	[H1_TARGET] = { "refused: target", 400 },
	[H1_VERSION] = { "refused: version", 400 },
	[H1_STATUS] = { "refused: status", 400 },
	[H1_HOST_MISSING] = { "refused: host-missing", 400 },
	[H1_HOST_TWICE] = { "refused: host-twice", 400 },
	[H1_HOST] = { "refused: host", 400 },
	[H1_HOST_MISMATCH] = { "refused: host-mismatch", 400 },
	[H1_LENGTH] = { "refused: content-length", 400 },
	[H1_LENGTH_TWICE] = { "refused: content-length-twice", 400 },
	[H1_LENGTH_AND_ENCODING] = { "refused: length-and-encoding", 400 },
	[H1_ENCODING] = { "refused: transfer-encoding", 400 },
	[H1_ENCODING_TWICE] = { "refused: transfer-encoding-twice", 400 },
	[H1_ENCODING_OLD] = { "refused: transfer-encoding-in-1.0", 400 },
	[H1_ENCODING_NO_BODY] = { "refused: transfer-encoding-without-body", 400 },
	[H1_HOP] = { "refused: connection-names-framing", 400 },
	[H1_LOOKALIKE] = { "refused: lookalike-field", 400 },
	[H1_LARGE] = { "refused: head-too-large", 431 },
	[H1_MANY] = { "refused: too-many-fields", 431 },
	[H1_PARSER] = { "refused: second-reading", 400 },
	[H1_CHUNK_SIZE] = { "refused: chunk-size", 400 },
	[H1_CHUNK_EXTENSION] = { "refused: chunk-extension", 400 },
	[H1_CHUNK_END] = { "refused: chunk-end", 400 },
	[H1_TRAILER] = { "refused: trailer", 400 },
	[H1_INTERIM] = { "refused: too-many-interim", 400 },
	[H1_SWITCH] = { "refused: upgrade-unasked", 400 },
	[H1_UNSOLICITED] = { "refused: unsolicited-response", 400 },
	[H1_EDIT_OLD] = { "refused: body-in-1.0", 505 },
	[H1_MEMORY] = { "no memory", 503 },
};
static_assert(sizeof(whys) / sizeof(whys[0]) == H1_NUM_WHY, "a reason has no text");

const char *h1_why_text(enum h1_why w)
{
	return whys[w].text;
}

unsigned h1_why_status(enum h1_why w)
{
	return whys[w].status;
}
