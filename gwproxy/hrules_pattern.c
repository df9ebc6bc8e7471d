/* SPDX-License-Identifier: MIT */
/*
 * hrules_pattern.c - Strings and regular expressions of web rules
 *
 * Theory of operation
 *
 * What is searched for in bodies is compiled for partial matching (PCRE2_PARTIAL_HARD): the
 * matcher says so whenever it had to look at the end of what is there.  So a result is the
 * same as if all of the body were there, and "$" is its very end.  What would tie a match to
 * where a piece begins or to the line end that might be the last (\G, \Z), and verbs, which
 * end a search as a whole, is refused.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "hrules_int.h"

#define MATCH_LIMIT	500000u		/* steps of PCRE2: some milliseconds */
#define HEAP_LIMIT_KB	8192u
#define JIT_STACK_MAX	(1u << 20)

/* What matching needs, of one thread */
struct workplace {
	pcre2_match_context *mc;
	pcre2_jit_stack *stack;
	pcre2_match_data *md[USE_KINDS];
	uint32_t room[USE_KINDS];
	struct hrules_out text[USE_KINDS];
	uint64_t errors;
};

static pthread_key_t key;
static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static bool key_made;

static void workplace_free(void *p)
{
	struct workplace *w = p;

	for (unsigned i = 0; i < USE_KINDS; i++) {
		pcre2_match_data_free(w->md[i]);
		free(w->text[i].p);
	}
	pcre2_match_context_free(w->mc);
	if (w->stack)
		pcre2_jit_stack_free(w->stack);
	free(w);
}

/* Threads free theirs as they end; the main thread leaves by exit(3). */
static void main_ends(void)
{
	struct workplace *w = pthread_getspecific(key);

	if (w)
		workplace_free(w);
	pthread_setspecific(key, NULL);
}

static void make_key(void)
{
	key_made = !pthread_key_create(&key, workplace_free) && !atexit(main_ends);
}

static struct workplace *workplace(void)
{
	struct workplace *w;

	pthread_once(&key_once, make_key);
	if (!key_made)
		return NULL;
	w = pthread_getspecific(key);
	if (w)
		return w;
	w = calloc(1, sizeof(*w));
	if (!w)
		return NULL;
	w->mc = pcre2_match_context_create(NULL);
	w->stack = pcre2_jit_stack_create(32u << 10, JIT_STACK_MAX, NULL);
	if (!w->mc || pthread_setspecific(key, w)) {
		workplace_free(w);
		return NULL;
	}
	pcre2_set_match_limit(w->mc, MATCH_LIMIT);
	pcre2_set_heap_limit(w->mc, HEAP_LIMIT_KB);
	if (w->stack)
		pcre2_jit_stack_assign(w->mc, NULL, w->stack);
	return w;
}

pcre2_match_data *hrules_match_data(enum hrules_use use, uint32_t groups)
{
	struct workplace *w = workplace();

	if (!w)
		return NULL;
	if (!w->md[use] || w->room[use] < groups) {
		pcre2_match_data_free(w->md[use]);
		w->md[use] = pcre2_match_data_create(groups + 1, NULL);
		w->room[use] = groups;
	}
	return w->md[use];
}

int hrules_pattern_match(const struct hrules_pattern *p, const char *s, size_t len, size_t from,
			 uint32_t options, pcre2_match_data *md)
{
	struct workplace *w = workplace();
	PCRE2_SPTR at = (PCRE2_SPTR)(s ? s : "");
	int rc;

	if (!w || !md)
		return PCRE2_ERROR_NOMEMORY;
	rc = (p->jit ? pcre2_jit_match : pcre2_match)(p->re, at, len, from, options, md, w->mc);
	w->errors += rc < 0 && rc != PCRE2_ERROR_NOMATCH && rc != PCRE2_ERROR_PARTIAL;
	return rc;
}

uint64_t hrules_match_errors(void)
{
	struct workplace *w = workplace();
	uint64_t n = w ? w->errors : 0;

	if (w)
		w->errors = 0;
	return n;
}

struct hrules_out *hrules_scratch(enum hrules_use use, size_t max)
{
	struct workplace *w = workplace();

	if (!w)
		return NULL;
	w->text[use].n = 0;
	w->text[use].max = max;
	w->text[use].failed = false;
	return &w->text[use];
}

/* An escape or verb that means nothing in what comes in pieces: where it is, or NULL */
static const char *refused(const struct hrules_pattern *p)
{
	for (size_t i = 0; i + 1 < p->len; i++) {
		if (p->text[i] == '\\') {
			if (p->text[i + 1] == 'G' || p->text[i + 1] == 'Z')
				return p->text + i;
			i++;
		} else if (p->text[i] == '(' && p->text[i + 1] == '*') {
			return p->text + i;
		}
	}
	return NULL;
}

/*
 * PCRE2 names the longest look-behind; one within another reaches farther.  It counts \b
 * and ^ as a look-behind of one byte.
 */
static size_t reach_behind(const struct hrules_pattern *p)
{
	uint32_t longest = 0;
	size_t nested = 1;

	pcre2_pattern_info(p->re, PCRE2_INFO_MAXLOOKBEHIND, &longest);
	for (size_t i = 0; i + 2 < p->len; i++)
		nested += !memcmp(p->text + i, "(?<", 3);
	return longest ? longest * nested + 8 : 1;
}

static bool compile(struct hrules_pattern *p, struct lexer *l, size_t at, bool search)
{
	uint32_t options = p->flags | PCRE2_NEVER_UTF | PCRE2_NEVER_UCP | PCRE2_DOLLAR_ENDONLY;
	const char *bad = p->regex && search ? refused(p) : NULL;
	PCRE2_UCHAR text[120];
	PCRE2_SIZE off;
	size_t size = 0;
	int err;

	if (bad)
		return lex_error(l, at + 1 + (size_t)(bad - p->text),
				 "regular expression: \\G, \\Z and (*... are not known here");
	if (!p->regex)
		options = PCRE2_LITERAL;
	p->re = pcre2_compile((PCRE2_SPTR)p->text, p->len, options, &err, &off, NULL);
	if (!p->re) {
		pcre2_get_error_message(err, text, sizeof(text));
		return lex_error(l, at + 1 + off, "regular expression: %s", (char *)text);
	}
	pcre2_pattern_info(p->re, PCRE2_INFO_CAPTURECOUNT, &p->groups);
	p->behind = reach_behind(p);
	if (p->behind > HRULES_WINDOW / 2)
		return lex_error(l, at, "regular expression: it looks too far behind");
	if (!pcre2_jit_compile(p->re, PCRE2_JIT_COMPLETE | PCRE2_JIT_PARTIAL_HARD))
		pcre2_pattern_info(p->re, PCRE2_INFO_JITSIZE, &size);
	p->jit = size && strncmp(p->text, "(*", 2);
	return true;
}

static bool regex_flags(struct hrules_pattern *p, struct lexer *l)
{
	int c;

	while ((c = lex_peek(l)) > 0 && strchr(lex_name_set, c)) {
		uint32_t flag = c == 'i' ? PCRE2_CASELESS : c == 's' ? PCRE2_DOTALL :
				c == 'm' ? PCRE2_MULTILINE : 0;

		if (!flag || p->flags & flag)
			return lex_error(l, l->pos, "flags behind a regular expression are i, s, m, "
					 "each once");
		p->flags |= flag;
		l->pos++;
	}
	return true;
}

bool hrules_pattern_parse(struct hrules_pattern *p, struct lexer *l, bool search)
{
	int c = lex_blank(l);
	size_t at = l->pos;

	if (c != '"' && c != '/')
		return lex_error(l, at, "expected a \"string\" or a /regular expression/");
	p->regex = c == '/';
	if (p->regex && (!lex_regex(l, &p->text, &p->len) || !regex_flags(p, l)))
		return false;
	if (!p->regex && !lex_string(l, &p->text, &p->len))
		return false;
	if (!p->len && (search || p->regex))
		return lex_error(l, at, "an empty %s is found everywhere",
				 p->regex ? "regular expression" : "string");
	return !(p->regex || search) || compile(p, l, at, search);
}

void hrules_pattern_print(const struct hrules_pattern *p, FILE *out)
{
	if (!p->regex) {
		print_string(p->text, p->len, out);
		return;
	}
	print_regex(p->text, p->len, p->flags, out);
}

void hrules_pattern_free(struct hrules_pattern *p)
{
	pcre2_code_free(p->re);
	free(p->text);
}
