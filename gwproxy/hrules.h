/* SPDX-License-Identifier: MIT */
/*
 * hrules.h - Rules on HTTP and WebSocket: gwweb(5), a hook
 *
 * Theory of operation
 *
 * hrules_start() reads all files and -e lines, reports every error with its place, and gives a
 * hook's context.  What the lines say is compiled once and not changed afterwards but for
 * counters, which all threads advance.  An exchange keeps the rules that it began with, so
 * that a reload never changes an exchange that is under way; the last one frees them.
 *
 *	HRULES_OPTIONS, hrules_option()	command line
 *	hrules_start()			-n: says what they are and exits
 *	hooks_add(h, &hrules_ops, w)	hrules_ops.reload: SIGHUP
 *	hrules_close()			after all exchanges ended
 */
#ifndef GW_HRULES_H
#define GW_HRULES_H

#include <stdio.h>

#include "hook.h"

#define HRULES_RULES_MAX	4096u
#define HRULES_SOURCES_MAX	256u	/* -f and -e together */
#define HRULES_WINDOW	65536u	/* a longer match in a body is not found */

/**
 * struct hrules_conf - From the command line
 * @err:	Where errors and warnings go; NULL: nowhere
 * @check:	-n was given
 */
struct hrules_conf {
	FILE *err;
	struct {
		bool is_file;
		const char *text;
	} source[HRULES_SOURCES_MAX];
	unsigned nsources;
	bool check;
};

/* Rows for a program's option table, and their taker: false if @ch is none of them */
#define HRULES_OPTIONS \
	{ "file", 'f', "FILE", "read rules from FILE, see gwweb(5); may be given again" }, \
	{ "rule", 'e', "RULE", "one more rule, behind all files; may be given again" }, \
	{ "check", 'n', NULL, "check the rules, print them and exit" }

bool hrules_option(struct hrules_conf *c, int ch, const char *arg) __attribute__((nonnull(1)));

struct hrules;

/**
 * hrules_open() - Read, check and compile everything
 * @c:		Kept for reloads, not copied
 *
 * Return: NULL if there was any error: all of them were written to @c->err as
 * FILE:LINE:COL: what, near "..."
 */
struct hrules *hrules_open(const struct hrules_conf *c)
	__attribute__((nonnull, warn_unused_result));

/**
 * hrules_start() - The same at a program's start: exits where there are errors, and with -n
 */
struct hrules *hrules_start(const struct hrules_conf *c)
	__attribute__((nonnull, returns_nonnull, warn_unused_result));
void hrules_close(struct hrules *w);	/* NULL is fine */

/**
 * hrules_reload() - Read everything again: all or nothing
 *
 * Return: false if there were errors: they were written, the old rules stay
 */
bool hrules_reload(struct hrules *w) __attribute__((nonnull));

/**
 * hrules_print() - Write rules that parse again to the same
 */
void hrules_print(struct hrules *w, FILE *out) __attribute__((nonnull));

/* How many rules there are: with none the hook need not be added */
unsigned hrules_count(struct hrules *w) __attribute__((nonnull));

/**
 * struct hrules_counts - What could not be done, since the start
 * @errors:	A regular expression reached its limit, or a value is none a head may have
 * @too_long:	A match was longer than HRULES_WINDOW
 * @encoded:	Bodies left alone because of their Content-Encoding
 * @partial:	Bodies left alone because they are a part: 206
 */
struct hrules_counts {
	uint64_t errors, too_long, encoded, partial;
};

void hrules_counts(const struct hrules *w, struct hrules_counts *out) __attribute__((nonnull));

/**
 * hrules_label() - Name of a rule and how often it was applied
 * @label:	HRULES_LABEL_MAX bytes
 *
 * Return: false if there is none of that number
 */
#define HRULES_LABEL_MAX	64
bool hrules_label(struct hrules *w, unsigned i, char *label, uint64_t *hits)
	__attribute__((nonnull));

extern const struct hook_ops hrules_ops;	/* its context is the struct hrules */

#endif /* GW_HRULES_H */
