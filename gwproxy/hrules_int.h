/* SPDX-License-Identifier: MIT */
/*
 * hrules_int.h - Between the files of the rules on HTTP; programs use hrules.h
 */
#ifndef GW_HRULES_INT_H
#define GW_HRULES_INT_H

#include <stdatomic.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "log.h"
#include "rules_lex.h"
#include "hrules.h"
#include "wire.h"

/**
 * struct hrules_out - Bytes that grow, up to @max
 * @failed:	Something did not fit
 */
struct hrules_out {
	char *p;
	size_t n, room, max;
	bool failed;
};

void hrules_put(struct hrules_out *o, const void *p, size_t len);
static inline void hrules_put_text(struct hrules_out *o, struct text t)
{
	hrules_put(o, t.p, t.len);
}

/* ---- hrules_pattern.c: regular expressions and strings ---- */

/**
 * struct hrules_pattern - STRING or /PCRE/
 * @text, @len:	As written, without quotes or slashes
 * @re:		Compiled; NULL: a string that is only compared
 * @regex:	Written between slashes
 * @jit:	Has machine code
 * @flags:	PCRE2_CASELESS, PCRE2_DOTALL, PCRE2_MULTILINE
 * @groups:	How many it has
 * @behind:	Bytes in front of a match that decide about it
 */
struct hrules_pattern {
	char *text;
	size_t len;
	pcre2_code *re;
	bool regex, jit;
	uint32_t flags, groups;
	size_t behind;
};

/* One in the source.  @search: a string is searched for too, so it must not be empty */
bool hrules_pattern_parse(struct hrules_pattern *p, struct lexer *l, bool search);
void hrules_pattern_print(const struct hrules_pattern *p, FILE *out);
void hrules_pattern_free(struct hrules_pattern *p);

/* What of a thread's memory is asked for, so that one use leaves another's results alone */
enum hrules_use { USE_FIND, USE_TEST, USE_CAPTURE, USE_KINDS };
/* An empty buffer; NULL without memory */
struct hrules_out *hrules_scratch(enum hrules_use use, size_t max);
/* Match data; NULL without memory */
pcre2_match_data *hrules_match_data(enum hrules_use use, uint32_t groups);
/* pcre2_match() with limits */
int hrules_pattern_match(const struct hrules_pattern *p, const char *s, size_t len, size_t from,
			 uint32_t options, pcre2_match_data *md);
/* How often this thread could not match since this was called last */
uint64_t hrules_match_errors(void);

/* ---- hrules_value.c: strings with variables ---- */

enum hrules_var {
	VAR_TEXT, VAR_GROUP, VAR_ENDPOINT, VAR_ATTACHMENT, VAR_COOKIE, VAR_CLIENT,
	VAR_CLIENT_PORT, VAR_SERVER, VAR_SERVER_PORT, VAR_HOST, VAR_METHOD, VAR_SCHEME, VAR_PATH,
	VAR_URL, VAR_SNI, VAR_STATUS, VAR_HEADER, VAR_RESPONSE, VAR_QUERY, VAR_LOWER, VAR_UPPER,
	VAR_ENCODE,
};

/**
 * struct hrules_piece - Part of a value
 * @text, @len:	VAR_TEXT: the bytes; VAR_HEADER, VAR_RESPONSE, VAR_QUERY: the name
 * @group:	VAR_GROUP
 * @inner:	VAR_LOWER, VAR_UPPER, VAR_ENCODE: pieces that follow and are what it is made of
 */
struct hrules_piece {
	enum hrules_var var;
	char *text;
	size_t len;
	unsigned group;
	unsigned inner;
};

/**
 * struct hrules_value - A string with variables
 * @raw, @raw_len:	As written, escapes resolved
 * @groups:	Highest $N in it; -1: none
 * @at:		Where in the source it is
 */
struct hrules_value {
	char *raw;
	size_t raw_len;
	struct hrules_piece *piece;
	unsigned n;
	size_t room;
	int groups;
	bool of_response;
	size_t at;
};

/**
 * struct hrules_groups - What a regular expression found: $0, $1 ...
 */
struct hrules_groups {
	const char *s;
	const PCRE2_SIZE *at;
	uint32_t n;
};

bool hrules_value_parse(struct hrules_value *v, struct lexer *l);
void hrules_value_free(struct hrules_value *v);
void hrules_value_put(const struct hrules_value *v, const struct exchange *x,
		      const struct hrules_groups *g, struct hrules_out *o);

/* Facts of an exchange, also for tests */
struct text hrules_host(const struct exchange *x);		/* no port, no dot at the end */
struct text hrules_path(const struct exchange *x);		/* no query */
/* Next argument of the query whose decoded name is @name; *pos starts at 0.  Its value, decoded,
 * comes into @o */
bool hrules_query(const struct exchange *x, struct text name, size_t *pos, struct hrules_out *o);
bool hrules_same(struct text a, struct text b);		/* case ignored */

/* ---- hrules_stream.c: replacing in what comes in pieces ---- */

/**
 * struct hrules_stream - One pattern at work on one body
 * @buf, @len, @room:	Held bytes, behind some that were passed on but decide about matches
 * @from:	Where the search goes on; may be one behind @len
 * @done:	Up to here all was passed on
 * @behind_start:	Bytes in front of @buf were passed on already
 * @step:	How far to go on behind a match that got too long
 */
struct hrules_stream {
	const struct hrules_pattern *p;
	char *buf;
	size_t len, room;
	size_t from, done;
	bool behind_start;
	size_t step;
};

/**
 * struct hrules_edit - What is put in place of matches, and what came of it
 * @hits, @errors, @too_long:	Advanced
 */
struct hrules_edit {
	const struct hrules_value *with;
	const struct exchange *x;
	uint64_t hits, errors, too_long;
};

/**
 * hrules_stream_feed() - More bytes: what is certain of them goes to @out
 *
 * Return: false without memory: the body cannot go on
 */
bool hrules_stream_feed(struct hrules_stream *s, struct hrules_edit *e, const void *data,
			size_t len, bool last, struct hrules_out *out)
	__attribute__((warn_unused_result));
void hrules_stream_free(struct hrules_stream *s);

/* ---- hrules_parse.c ---- */

enum hrules_action {
	HRULES_SET, HRULES_ADD, HRULES_DEL, HRULES_RESPOND, HRULES_REDIRECT, HRULES_REPLACE,
	HRULES_DROP, HRULES_LOG,
};

/* What "replace" works on */
enum hrules_part { PART_HEADER, PART_PATH, PART_BODY, PART_MESSAGE };

enum hrules_test_kind {
	HRULES_HOST, HRULES_PATH, HRULES_METHOD, HRULES_HEADER, HRULES_RESPONSE_HEADER,
	HRULES_QUERY, HRULES_TYPE, HRULES_STATUS, HRULES_ENDPOINT,
};

/**
 * struct hrules_test - One test of a rule
 * @name:	Of a header field or argument, a method, a host ("*.": and any in front)
 * @pattern:	What its value must be; @any: it must be there only
 */
struct hrules_test {
	enum hrules_test_kind kind;
	bool negate, any;
	char *name;
	size_t name_len;
	struct hrules_pattern pattern;
	unsigned min, max;
	uint64_t endpoint;
};

/* Directions of messages */
enum hrules_from { FROM_BOTH, FROM_CLIENT, FROM_SERVER };

/**
 * struct hrule - One rule
 * @label:	Its name or, if it has none, ACTION-HASH of its text
 * @request, @response:	Where it acts; the request is where a rule on messages is decided
 * @part:	HRULES_REPLACE
 * @header:	HRULES_SET, HRULES_ADD, HRULES_DEL; PART_HEADER
 * @what:	HRULES_REPLACE
 * @value:	Its string; @as: the content type of an answer
 * @capture:	Test whose groups $1 stands for; -1: the replaced expression's, or none
 */
struct hrule {
	enum hrules_action action;
	enum hrules_part part;
	bool request, response;
	enum hrules_from from;
	bool log, named;
	char label[RULES_NAME_MAX];
	char *header;
	struct hrules_pattern what;
	struct hrules_value value, as;
	bool has_value, has_as;
	unsigned status;
	struct hrules_test *test;
	unsigned ntests;
	int capture;
	const char *file;
	unsigned line;
	_Atomic uint64_t hits;
	struct log_site log_site;
};

/**
 * struct hrules_set - What all files and -e lines say
 * @refs:	Exchanges that began with it, and the hook itself
 * @names:	Only while it is read
 */
struct hrules_set {
	atomic_uint refs;
	struct hrule *rule;
	unsigned n;
	size_t room;
	char **files;
	unsigned nfiles;
	void *names;
};

struct hrules_set *hrules_set_load(const struct hrules_conf *c);
void hrules_set_free(struct hrules_set *r);
void hrules_set_parse(struct hrules_set *r, struct lexer *l);
void hrule_print(const struct hrule *r, bool with_name, FILE *out);
/* Fields whose values are the proxy's to write */
bool hrules_framing(const char *name);

/* ---- hrules_test.c ---- */

/* Do all tests hold?  @response: of its head; else those that ask about it are left out with
 * @maybe, and do not hold without.  @g: groups for the value, written if the rule has any */
bool hrules_matches(const struct hrule *r, const struct exchange *x, bool response, bool maybe,
		    struct hrules_groups *g);

#endif /* GW_HRULES_INT_H */
