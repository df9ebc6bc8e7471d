/* SPDX-License-Identifier: MIT */
/*
 * rules_lex.c - Characters, names, numbers, strings of the rule languages
 */
#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "rules_lex.h"
#include "wire.h"

#define NEAR_MAX 24

const char lex_name_set[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";

/* Places are asked for from front to back: each character is counted once. */
unsigned lex_line(struct lexer *l, size_t at)
{
	if (at < l->counted)
		l->counted = l->newlines = 0;
	for (; l->counted < at && l->counted < l->len; l->counted++)
		l->newlines += l->src[l->counted] == '\n';
	return l->newlines + 1;
}

unsigned lex_column(const struct lexer *l, size_t at)
{
	size_t start = at;

	while (start && l->src[start - 1] != '\n')
		start--;
	return (unsigned)(at - start + 1);
}

static void put_near(const struct lexer *l, size_t at, FILE *err)
{
	size_t end = at;

	while (end < l->len && end < at + NEAR_MAX && l->src[end] != '\n' && l->src[end] != '\r')
		end++;
	if (end == at) {
		fputs("near end of line\n", err);
		return;
	}
	fputs("near \"", err);
	for (size_t i = at; i < end; i++)
		fputc(isprint((unsigned char)l->src[i]) ? l->src[i] : '?', err);
	fputs("\"\n", err);
}

static void __attribute__((format(printf, 4, 0)))
say(struct lexer *l, size_t at, const char *kind, const char *fmt, va_list ap)
{
	if (!l->err)
		return;
	while (at < l->len && (l->src[at] == ' ' || l->src[at] == '\t'))
		at++;
	fprintf(l->err, "%s:%u:%u: %s", l->name, lex_line(l, at), lex_column(l, MIN(at, l->len)),
		kind);
	vfprintf(l->err, fmt, ap);
	fputs(", ", l->err);
	put_near(l, at, l->err);
}

bool lex_error(struct lexer *l, size_t at, const char *fmt, ...)
{
	va_list ap;

	l->errors++;
	va_start(ap, fmt);
	say(l, at, "", fmt, ap);
	va_end(ap);
	return false;
}

void lex_doubt(struct lexer *l, size_t at, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(l, at, "warning: ", fmt, ap);
	va_end(ap);
}

void lex_warn(FILE *err, const char *file, unsigned line, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return;
	fprintf(err, "%s:%u: warning: ", file, line);
	va_start(ap, fmt);
	vfprintf(err, fmt, ap);
	va_end(ap);
	fputc('\n', err);
}

/* Length of a line end at @at, 0 if there is none */
static size_t eol(const struct lexer *l, size_t at)
{
	if (at < l->len && l->src[at] == '\n')
		return 1;
	if (at + 1 < l->len && l->src[at] == '\r' && l->src[at + 1] == '\n')
		return 2;
	return 0;
}

int lex_peek(struct lexer *l)
{
	while (l->pos < l->len && l->src[l->pos] == '\\' && eol(l, l->pos + 1))
		l->pos += 1 + eol(l, l->pos + 1);
	if (l->pos >= l->len || eol(l, l->pos))
		return -1;
	return (unsigned char)l->src[l->pos];
}

int lex_blank(struct lexer *l)
{
	int c;

	while ((c = lex_peek(l)) == ' ' || c == '\t')
		l->pos++;
	return c == '#' ? -1 : c;
}

/* A comment ends with its line, even behind a "\": it must not swallow a rule. */
bool lex_next_line(struct lexer *l)
{
	bool comment = lex_blank(l) == -1;

	while (l->pos < l->len) {
		size_t n = eol(l, l->pos);

		if (n && (comment || !l->pos || l->src[l->pos - 1] != '\\')) {
			l->pos += n;
			break;
		}
		l->pos += n ? n : 1;
	}
	return l->pos < l->len;
}

size_t lex_run(struct lexer *l, const char *set, char *out, size_t size, size_t *at)
{
	size_t n = 0;
	int c;

	lex_blank(l);
	*at = l->pos;
	while ((c = lex_peek(l)) > 0 && strchr(set, c)) {
		if (n + 1 < size)
			out[n] = (char)c;
		n++;
		l->pos++;
	}
	out[MIN(n, size - 1)] = '\0';
	return n;
}

bool lex_keyword(struct lexer *l, const char *word)
{
	char got[32];
	size_t back = l->pos, at;

	if (lex_run(l, lex_name_set, got, sizeof(got), &at) < sizeof(got) && !strcmp(got, word))
		return true;
	l->pos = back;
	return false;
}

bool lex_char(struct lexer *l, char c, const char *what)
{
	if (lex_blank(l) != c)
		return lex_error(l, l->pos, "expected %s", what);
	l->pos++;
	return true;
}

bool lex_number(struct lexer *l, const char *what, uint64_t min, uint64_t max, uint64_t *out)
{
	char text[24];
	uint64_t v = 0;
	size_t at, n = lex_run(l, "0123456789", text, sizeof(text), &at);

	for (size_t i = 0; i < n && n < sizeof(text) - 4; i++)
		v = v * 10 + (uint64_t)(text[i] - '0');
	if (!n || n >= sizeof(text) - 4 || v < min || v > max)
		return lex_error(l, at, "%s is a whole number from %llu to %llu", what,
				 (unsigned long long)min, (unsigned long long)max);
	*out = v;
	return true;
}

bool lex_name(struct lexer *l, const char *what, char out[RULES_NAME_MAX])
{
	size_t at, n = lex_run(l, lex_name_set, out, RULES_NAME_MAX, &at);

	if (!n || n >= RULES_NAME_MAX)
		return lex_error(l, at, "%s has 1 to 63 of the characters A-Z a-z 0-9 _ . -", what);
	return true;
}

bool lex_endpoint(struct lexer *l, uint64_t *out)
{
	char text[40];
	size_t at, n = lex_run(l, lex_name_set, text, sizeof(text), &at);

	if (n != 22 || strncmp(text, "vpce-0", 6) ||
	    strspn(text + 6, "0123456789abcdef") != 16)
		return lex_error(l, at, "an endpoint is vpce-0 and 16 hexadecimal digits");
	*out = strtoull(text + 6, NULL, 16);
	return true;
}

static bool hex_byte(struct lexer *l, char *out)
{
	static const char digits[] = "0123456789abcdef";
	int v = 0;

	for (int i = 0; i < 2; i++) {
		int c = lex_peek(l);
		const char *d = c > 0 ? strchr(digits, tolower(c)) : NULL;

		if (!d)
			return lex_error(l, l->pos, "\\x takes two hexadecimal digits");
		v = v * 16 + (int)(d - digits);
		l->pos++;
	}
	*out = (char)v;
	return true;
}

static bool escape(struct lexer *l, char *out)
{
	static const char from[] = "nrt0\\\"", to[] = "\n\r\t\0\\\"";
	int c = lex_peek(l);
	const char *f = c > 0 ? strchr(from, c) : NULL;

	if (c == 'x') {
		l->pos++;
		return hex_byte(l, out);
	}
	if (!f)
		return lex_error(l, l->pos,
				 "a string knows \\n \\r \\t \\0 \\\\ \\\" and \\xHH only");
	*out = to[f - from];
	l->pos++;
	return true;
}

bool lex_string(struct lexer *l, char **out, size_t *len)
{
	size_t start, n = 0, room = 0;
	char *s = NULL;
	int c;

	if (lex_blank(l) != '"')
		return lex_error(l, l->pos, "expected a string in double quotes");
	start = l->pos++;
	for (;;) {
		s = rules_grow(s, n, &room, 1);
		if ((c = lex_peek(l)) < 0)
			break;
		l->pos++;
		if (c == '"') {
			s[n] = '\0';
			*out = s;
			*len = n;
			return true;
		}
		s[n] = (char)c;
		if (c == '\\' && !escape(l, &s[n]))
			goto fail;
		n++;
	}
	lex_error(l, start, "string without its closing quote");
fail:
	free(s);
	return false;
}

bool lex_regex(struct lexer *l, char **out, size_t *len)
{
	size_t start = l->pos++, n = 0, room = 0;
	char *s = NULL;
	bool escaped = false;
	int c;

	for (;;) {
		s = rules_grow(s, n, &room, 1);
		if ((c = lex_peek(l)) < 0)
			break;
		l->pos++;
		if (c == '/' && !escaped) {
			s[n] = '\0';
			*out = s;
			*len = n;
			return true;
		}
		escaped = c == '\\' && !escaped;
		s[n++] = (char)c;
	}
	free(s);
	return lex_error(l, start, "regular expression without its closing /");
}

void lex_rest(struct lexer *l, char **out, size_t **map)
{
	size_t n = 0, room = 0, mroom = 0, prev = l->pos;
	size_t *m = NULL;
	char *s = NULL;
	int c;

	lex_blank(l);
	while ((c = lex_peek(l)) >= 0 && c != '#') {
		bool joined = l->pos > prev + 1;

		s = rules_grow(s, n + 2, &room, 1);
		m = rules_grow(m, n + 2, &mroom, sizeof(*m));
		if (joined || c == ' ' || c == '\t') {
			if (n && s[n - 1] != ' ') {
				m[n] = l->pos;
				s[n++] = ' ';
			}
		}
		prev = l->pos++;
		if (c == ' ' || c == '\t')
			continue;
		m[n] = prev;
		s[n++] = (char)c;
	}
	while (n && s[n - 1] == ' ')
		n--;
	s = rules_grow(s, n + 1, &room, 1);
	m = rules_grow(m, n + 1, &mroom, sizeof(*m));
	m[n] = l->pos;
	s[n] = '\0';
	*out = s;
	*map = m;
}

bool lex_is_text(struct lexer *l)
{
	const char *nul = memchr(l->src, '\0', l->len);

	if (nul)
		lex_error(l, (size_t)(nul - l->src), "a NUL byte: is this a text file?");
	return !nul && l->len;
}
