/* SPDX-License-Identifier: MIT */
/*
 * hrules_stream.c - Replacing in a body that comes in pieces
 *
 * Theory of operation
 *
 * The buffer holds what may be part of a match, and in front of it the bytes a look-behind
 * may ask for:
 *
 *	0 ........ done ........ from ........ len
 *	  context,      passed on    searched
 *	  passed on     next         next
 *
 * A piece is appended and searched from @from on, the matcher being told that more may
 * come.  A match is certain then.  No match: nothing up to the end can begin one.  A
 * partial match: what is in front of it cannot begin one; the rest waits for the next piece, up
 * to HRULES_WINDOW bytes.  A longer one is given up: the search goes on behind where it began, in
 * steps that double as long as the next one is too long as well, so that no body makes us
 * search one window from each of its bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "hrules_int.h"

#define GROWTH_MAX	262144u		/* of one piece: further matches in it are left alone */

void hrules_stream_free(struct hrules_stream *s)
{
	free(s->buf);
	s->buf = NULL;
	s->len = s->room = s->from = s->done = s->step = 0;
	s->behind_start = false;
}

static bool append(struct hrules_stream *s, const void *data, size_t len)
{
	size_t room = s->room ? s->room : 1024;
	char *grown;

	while (room - s->len < len)
		room *= 2;
	if (room > s->room) {
		grown = realloc(s->buf, room);
		if (!grown)
			return false;
		s->buf = grown;
		s->room = room;
	}
	if (len)
		memcpy(s->buf + s->len, data, len);
	s->len += len;
	return true;
}

static void pass_on(struct hrules_stream *s, size_t to, struct hrules_out *out)
{
	if (to <= s->done)
		return;
	hrules_put(out, s->buf + s->done, to - s->done);
	s->done = to;
}

/* A match that began at @start waits for more; false: it may */
static bool too_long(struct hrules_stream *s, struct hrules_edit *e, size_t start)
{
	if (s->len - start <= HRULES_WINDOW) {
		s->from = start;
		s->step = 1;
		return false;
	}
	e->too_long++;
	s->from = MIN(start + s->step, s->len);
	s->step = MIN(s->step * 2, HRULES_WINDOW);
	return true;
}

/* One step of the search; false: there is nothing more to find in what is here */
static bool search(struct hrules_stream *s, struct hrules_edit *e, bool last, pcre2_match_data *md,
		   struct hrules_out *out)
{
	uint32_t options = (last ? 0 : PCRE2_PARTIAL_HARD) | (s->behind_start ? PCRE2_NOTBOL : 0);
	int rc = hrules_pattern_match(s->p, s->buf, s->len, s->from, options, md);
	const PCRE2_SIZE *at = pcre2_get_ovector_pointer(md);
	struct hrules_groups g = { s->buf, at, s->p->groups + 1 };

	if (rc == PCRE2_ERROR_PARTIAL)
		return too_long(s, e, MAX(at[0], s->from));
	s->step = 1;
	if (rc < 0) {		/* no match, or no way to tell */
		s->from = s->len;
		return false;
	}
	if (at[0] < s->from || at[1] < at[0]) {		/* \K in a look-around */
		e->errors++;
		s->from = s->len;
		return false;
	}
	if (!last && at[0] == s->len) {			/* what follows decides */
		s->from = s->len;
		return false;
	}
	e->hits++;
	pass_on(s, at[0], out);
	hrules_value_put(e->with, e->x, &g, out);
	s->done = at[1];
	s->from = at[1] + (at[0] == at[1]);	/* behind an empty match: one byte on */
	return true;
}

/* Forget what was passed on, but for what a look-behind may see */
static void trim(struct hrules_stream *s)
{
	size_t gone = s->done > s->p->behind ? s->done - s->p->behind : 0;

	if (!gone)
		return;
	memmove(s->buf, s->buf + gone, s->len - gone);
	s->len -= gone;
	s->from -= gone;
	s->done -= gone;
	s->behind_start = true;
}

bool hrules_stream_feed(struct hrules_stream *s, struct hrules_edit *e, const void *data, size_t len,
			bool last, struct hrules_out *out)
{
	pcre2_match_data *md = hrules_match_data(USE_FIND, s->p->groups);
	size_t most = out->n + len + GROWTH_MAX;

	if (!md || !append(s, data, len))
		return false;
	s->step = MAX(s->step, 1u);
	while (s->from < s->len + last && search(s, e, last, md, out)) {
		if (out->n > most) {
			e->errors++;
			s->from = s->len;
			break;
		}
	}
	if (last) {
		pass_on(s, s->len, out);
		hrules_stream_free(s);
	} else {
		pass_on(s, MIN(s->from, s->len), out);
		trim(s);
	}
	return !out->failed;
}
