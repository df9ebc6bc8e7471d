/* SPDX-License-Identifier: MIT */
/*
 * h1chunk.c - Chunked bodies, read byte by byte where they are framing, at once where data
 *
 * llhttp's own reading of chunks is lenient about what stands on the lines between the data;
 * fuzz_h1 holds this one against it: what passes here, llhttp reads the same way.
 */
#include <string.h>
#include <strings.h>

#include "h1head.h"
#include "message_int.h"

#define SIZE_DIGITS	15u		/* no overflow, not even signed */
#define EXTENSION_MAX	4096u		/* bytes on one line */
#define TRAILERS_MAX	16384u

enum {
	SIZE, EXT_NAME_FIRST, EXT_NAME, EXT_VALUE_FIRST, EXT_VALUE, EXT_QUOTED, EXT_ESCAPED,
	EXT_AFTER, SIZE_LF, DATA, DATA_CR, DATA_LF,
	LINE, NAME, VALUE, LINE_LF, END_LF, ENDED,
};

static int hex(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A byte of the line that has the chunk's size */
static enum h1_why size_byte(struct h1_chunks *c, uint8_t b)
{
	int digit;

	if (c->state == SIZE) {
		if ((digit = hex(b)) >= 0) {
			c->left = c->left << 4 | (unsigned)digit;
			return ++c->digits > SIZE_DIGITS ? H1_CHUNK_SIZE : H1_OK;
		}
		if (!c->digits)
			return H1_CHUNK_SIZE;
		c->excess = 0;
	}
	if (++c->excess > EXTENSION_MAX)
		return H1_CHUNK_EXTENSION;
	if (b == '\n')
		return H1_BARE_LF;
	switch (b) {
	case '\r':
		if (c->state == EXT_NAME_FIRST || c->state == EXT_VALUE_FIRST ||
		    c->state == EXT_QUOTED || c->state == EXT_ESCAPED)
			return H1_CHUNK_EXTENSION;
		c->state = SIZE_LF;
		return H1_OK;
	case ';':
		if (c->state == SIZE || c->state == EXT_NAME || c->state == EXT_VALUE ||
		    c->state == EXT_AFTER) {
			c->state = EXT_NAME_FIRST;
			return H1_OK;
		}
		break;
	default:
		break;
	}
	if (c->state == SIZE)	/* spaces, too: some end the number there, some don't take them */
		return H1_CHUNK_SIZE;
	return H1_NUM_WHY;	/* a byte of an extension */
}

static enum h1_why extension_byte(struct h1_chunks *c, uint8_t b)
{
	if (!message_value_byte(b))
		return H1_CONTROL;
	switch (c->state) {
	case EXT_NAME_FIRST:
	case EXT_NAME:
		if (b == '=' && c->state == EXT_NAME)
			c->state = EXT_VALUE_FIRST;
		else if (message_token_byte(b))
			c->state = EXT_NAME;
		else
			return H1_CHUNK_EXTENSION;
		return H1_OK;
	case EXT_VALUE_FIRST:
	case EXT_VALUE:
		if (b == '"' && c->state == EXT_VALUE_FIRST)
			c->state = EXT_QUOTED;
		else if (message_token_byte(b))
			c->state = EXT_VALUE;
		else
			return H1_CHUNK_EXTENSION;
		return H1_OK;
	case EXT_QUOTED:
		c->state = b == '"' ? EXT_AFTER : b == '\\' ? EXT_ESCAPED : EXT_QUOTED;
		return H1_OK;
	case EXT_ESCAPED:
		c->state = EXT_QUOTED;
		return H1_OK;
	default:
		return H1_CHUNK_EXTENSION;
	}
}

bool h1_trailer_ok(struct text name)
{
	static const char *const no[] = {
		"content-length", "content_length", "transfer-encoding", "transfer_encoding", "host",
		"connection", "keep-alive", "proxy-connection", "upgrade", "te", "trailer", "expect",
		"content-encoding", "content-range", "content-type", "authorization",
		"proxy-authorization", "cookie", "set-cookie", "range", "max-forwards", "location",
	};

	for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++)
		if (text_is(name, no[i]))
			return false;
	return true;
}

static enum h1_why trailer_byte(struct h1_chunks *c, uint8_t b)
{
	if (++c->excess > TRAILERS_MAX)
		return H1_TRAILER;
	switch (c->state) {
	case LINE:
		c->nname = 0;
		if (b == '\r') {
			c->state = END_LF;
			return H1_OK;
		}
		if (b == ' ' || b == '\t')
			return H1_FOLD;
		c->state = NAME;
		/* fallthrough */
	case NAME:
		if (b == ':' && c->nname) {
			c->state = VALUE;
			return h1_trailer_ok((struct text){ c->name, c->nname }) ? H1_OK : H1_TRAILER;
		}
		if (!message_token_byte(b))
			return b == '\n' ? H1_BARE_LF : b == ' ' ? H1_COLON_SPACE : H1_FIELD_NAME;
		if (c->nname < sizeof(c->name))
			c->name[c->nname++] = (char)b;
		return H1_OK;
	case VALUE:
		if (b == '\r')
			c->state = LINE_LF;
		else if (!message_value_byte(b))
			return b == '\n' ? H1_BARE_LF : H1_CONTROL;
		return H1_OK;
	case LINE_LF:
		c->state = LINE;
		return b == '\n' ? H1_OK : H1_BARE_CR;
	default:
		c->state = ENDED;
		return b == '\n' ? H1_OK : H1_BARE_CR;
	}
}

static enum h1_why frame_byte(struct h1_chunks *c, uint8_t b)
{
	enum h1_why w;

	switch (c->state) {
	case SIZE_LF:
		if (b != '\n')
			return H1_BARE_CR;
		c->state = c->left ? DATA : LINE;
		c->excess = 0;
		return H1_OK;
	case DATA_CR:
		c->state = DATA_LF;
		return b == '\r' ? H1_OK : H1_CHUNK_END;
	case DATA_LF:
		c->state = SIZE;
		c->digits = 0;
		c->left = 0;
		return b == '\n' ? H1_OK : H1_CHUNK_END;
	case LINE: case NAME: case VALUE: case LINE_LF: case END_LF:
		return trailer_byte(c, b);
	case EXT_QUOTED: case EXT_ESCAPED:
		if (b != '\r' && b != '\n')
			return extension_byte(c, b);
		/* fallthrough */
	default:
		w = size_byte(c, b);
		return w == H1_NUM_WHY ? extension_byte(c, b) : w;
	}
}

/* Lines of trailers, without the empty one that ends them */
static enum h1_event trailers(struct h1_chunks *c, const uint8_t *p, size_t len, size_t *used,
			      size_t *n, enum h1_why *why)
{
	size_t i = 0;

	while (i < len && !(c->state == LINE && p[i] == '\r') && c->state != END_LF)
		if ((*why = frame_byte(c, p[i++])))
			return H1_BAD;
	*n = *used = i;
	if (i)
		return H1_TRAILERS;
	while (i < len && c->state != ENDED)
		if ((*why = frame_byte(c, p[i++])))
			return H1_BAD;
	*used = i;
	return c->state == ENDED ? H1_END : H1_MORE;
}

enum h1_event h1_chunk(struct h1_chunks *c, const uint8_t *p, size_t len, size_t *used,
		       const uint8_t **data, size_t *n, enum h1_why *why)
{
	size_t i = 0;

	*data = p;
	if (c->state == DATA && len) {
		*n = *used = c->left < len ? (size_t)c->left : len;
		c->left -= *n;
		if (!c->left)
			c->state = DATA_CR;
		return H1_DATA;
	}
	if (c->state >= LINE)
		return trailers(c, p, len, used, n, why);
	while (i < len && c->state < LINE && c->state != DATA)
		if ((*why = frame_byte(c, p[i++])))
			return H1_BAD;
	*used = i;
	return H1_MORE;
}
