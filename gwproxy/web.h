/* SPDX-License-Identifier: MIT */
/*
 * web.h - Rules on HTTP and WebSocket: gwweb(5), a hook
 *
 * Theory of operation
 *
 * web_start() reads all files and -e lines, reports every error with its place, and gives a
 * hook's context.  What the lines say is compiled once and not changed afterwards but for
 * counters, which all threads advance.  An exchange keeps the rules that it began with, so
 * that a reload never changes an exchange that is under way; the last one frees them.
 *
 *	WEB_OPTIONS, web_option()	command line
 *	web_start()			-n: says what they are and exits
 *	hooks_add(h, &web_ops, w)	web_ops.reload: SIGHUP
 *	web_close()			after all exchanges ended
 */
#ifndef GW_WEB_H
#define GW_WEB_H

#include <stdio.h>

#include "hook.h"

#define WEB_RULES_MAX	4096u
#define WEB_SOURCES_MAX	256u	/* -f and -e together */
#define WEB_WINDOW	65536u	/* a longer match in a body is not found */

/**
 * struct web_conf - From the command line
 * @err:	Where errors and warnings go; NULL: nowhere
 * @check:	-n was given
 */
struct web_conf {
	FILE *err;
	struct {
		bool is_file;
		const char *text;
	} source[WEB_SOURCES_MAX];
	unsigned nsources;
	bool check;
};

/* Rows for a program's option table, and their taker: false if @ch is none of them */
#define WEB_OPTIONS \
	{ "file", 'f', "FILE", "read rules from FILE, see gwweb(5); may be given again" }, \
	{ "rule", 'e', "RULE", "one more rule, behind all files; may be given again" }, \
	{ "check", 'n', NULL, "check the rules, print them and exit" }

bool web_option(struct web_conf *c, int ch, const char *arg) __attribute__((nonnull(1)));

struct web;

/**
 * web_open() - Read, check and compile everything
 * @c:		Kept for reloads, not copied
 *
 * Return: NULL if there was any error: all of them were written to @c->err as
 * FILE:LINE:COL: what, near "..."
 */
struct web *web_open(const struct web_conf *c) __attribute__((nonnull, warn_unused_result));

/**
 * web_start() - The same at a program's start: exits where there are errors, and with -n
 */
struct web *web_start(const struct web_conf *c)
	__attribute__((nonnull, returns_nonnull, warn_unused_result));
void web_close(struct web *w);	/* NULL is fine */

/**
 * web_reload() - Read everything again: all or nothing
 *
 * Return: false if there were errors: they were written, the old rules stay
 */
bool web_reload(struct web *w) __attribute__((nonnull));

/**
 * web_print() - Write rules that parse again to the same
 */
void web_print(const struct web *w, FILE *out) __attribute__((nonnull));

/* How many rules there are: with none the hook need not be added */
unsigned web_rules(struct web *w) __attribute__((nonnull));

/**
 * struct web_counts - What could not be done, since the start
 * @errors:	A regular expression reached its limit, or a value is none a head may have
 * @too_long:	A match was longer than WEB_WINDOW
 * @encoded:	Bodies left alone because of their Content-Encoding
 * @partial:	Bodies left alone because they are a part: 206
 */
struct web_counts {
	uint64_t errors, too_long, encoded, partial;
};

void web_counts(const struct web *w, struct web_counts *out) __attribute__((nonnull));

/**
 * web_label() - Name of a rule and how often it was applied: false if there is none of that number
 * @label:	WEB_LABEL_MAX bytes
 */
#define WEB_LABEL_MAX	64
bool web_label(struct web *w, unsigned i, char *label, uint64_t *hits) __attribute__((nonnull));

extern const struct hook_ops web_ops;	/* its context is the struct web */

#endif /* GW_WEB_H */
