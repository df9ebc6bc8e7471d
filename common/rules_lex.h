/* SPDX-License-Identifier: MIT */
/*
 * rules_lex.h - Characters, names, numbers, strings that all rule languages share:
 * gwrules(5), gwweb(5)
 */
#ifndef GW_RULES_LEX_H
#define GW_RULES_LEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define RULES_NAME_MAX	64		/* with the NUL */

/**
 * struct lexer - Cursor over one file or -e line
 * @name:	For messages: the file's name, or "-e#1"
 * @src, @len:	Its text; NUL bytes are text as well
 * @pos:	Next character
 * @errors:	How many were reported
 * @counted, @newlines:	Line ends before a place already asked for
 *
 * A "\" before a line's end is skipped wherever a character is looked at, so no part
 * of the parser sees joined lines.
 */
struct lexer {
	const char *name;
	const char *src;
	size_t len;
	size_t pos;
	unsigned errors;
	FILE *err;
	size_t counted;
	unsigned newlines;
};

/* Report an error at a place; the caller gives up this line */
bool lex_error(struct lexer *l, size_t at, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Say that what is at a place may not be meant so; the line stays in force */
void lex_doubt(struct lexer *l, size_t at, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void lex_warn(FILE *err, const char *file, unsigned line, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
unsigned lex_line(struct lexer *l, size_t at);
unsigned lex_column(const struct lexer *l, size_t at);
/* Next character, -1 at the end of the line */
int lex_peek(struct lexer *l);
/* Skip blanks; returns lex_peek(), or -1 at a comment */
int lex_blank(struct lexer *l);
/* To the start of the next line; false at the end of the source */
bool lex_next_line(struct lexer *l);
/* Does the keyword @word come next?  Takes it if so */
bool lex_keyword(struct lexer *l, const char *word);
/* Take one character, else report that @what was expected */
bool lex_char(struct lexer *l, char c, const char *what);
/* Run of characters of a set: "" if none; @at is where it starts */
size_t lex_run(struct lexer *l, const char *set, char *out, size_t size, size_t *at);
bool lex_number(struct lexer *l, const char *what, uint64_t min, uint64_t max, uint64_t *out);
bool lex_name(struct lexer *l, const char *what, char out[RULES_NAME_MAX]);
/* "..." with its escapes; *out is the caller's to free */
bool lex_string(struct lexer *l, char **out, size_t *len);
/* /.../ as written */
bool lex_regex(struct lexer *l, char **out, size_t *len);
/* vpce-0 and 16 hexadecimal digits */
bool lex_endpoint(struct lexer *l, uint64_t *out);
/* Rest of the line up to a comment, white space normalised; @map: place of each character */
void lex_rest(struct lexer *l, char **out, size_t **map);

extern const char lex_name_set[];

/* Is there something to read?  A NUL byte is an error, told */
bool lex_is_text(struct lexer *l);

/* "..." that is read as the same bytes again */
void print_string(const char *s, size_t len, FILE *out);
/* /.../ and its letters, of PCRE2's options */
void print_regex(const char *s, size_t len, uint32_t options, FILE *out);

/* A name that is taken, and by whom */
struct name_entry {
	char name[RULES_NAME_MAX];
	const char *file;
	unsigned line;
};

/* The holder of a name: a new entry if it was free */
const struct name_entry *name_take(void **names, const char *name, const char *file,
				   unsigned line, bool *was_free);

/*
 * What follows "name" in a rule: a string that may be a metric's label and is nobody else's.
 * @label: room for RULES_NAME_MAX
 */
bool name_parse(void **names, struct lexer *l, char *label, const char *file, unsigned line);

/* One for a rule that has none: @word-HASH, .2 for the second of the same hash */
void name_make(void **names, char label[RULES_NAME_MAX], const char *word, uint32_t hash,
	       const char *file, unsigned line);

/* 64 bits that tell a text from all others */
uint64_t rules_hash(const void *text, size_t len);
/* The same, of what is printed between begin and end */
struct printed {
	FILE *f;
	char *text;
	size_t len;
};
FILE *printed_begin(struct printed *p) __attribute__((nonnull, returns_nonnull));
uint64_t printed_hash(struct printed *p) __attribute__((nonnull));

/* Whole file, NUL behind it; NULL with errno */
char *rules_read(const char *path, size_t *len);
/* Memory at set-up: exits when there is none */
void *rules_alloc(size_t size) __attribute__((malloc, returns_nonnull));
void *rules_grow(void *p, size_t n, size_t *room, size_t size) __attribute__((returns_nonnull));

#endif /* GW_RULES_LEX_H */
