/* SPDX-License-Identifier: MIT */
/*
 * record.h - A line of JSON for each exchange: a hook
 *
 * Theory of operation
 *
 * Lines are made by the thread whose exchange ended, and put into one bounded buffer; a
 * thread of its own writes them out.  No loop ever waits for a disk: a line that finds no
 * room is counted, and the next one that is written says how many were lost.  The file is
 * opened once, since privileges are dropped then: who rotates it copies and truncates (it
 * is opened for appending), or names a pipe.
 *
 * Lines never hold bodies, the value of Authorization, or what in a URL is a secret.  They
 * are JSON that is ECMAScript too, and valid UTF-8: a byte that is not is written as the
 * character of that number, U+0080 to U+00FF, and the line has "latin1": true.
 *
 *	record_open()	file, buffer; exits if it cannot
 *	record_run()	the thread; after privileges were dropped
 *	hooks_add(h, &record_ops, r)
 *	record_close()	writes what is left, for a second at most
 */
#ifndef GW_RECORD_H
#define GW_RECORD_H

#include <stdint.h>

#include "hook.h"

#define RECORD_HEADERS_MAX	32u
#define RECORD_BUFFER		(4u << 20)

/**
 * struct record_conf - From the command line
 * @path:	"-": stdout; NULL: no record
 * @header:	Shown of requests and responses
 * @buffer:	Bytes; 0: RECORD_BUFFER
 */
struct record_conf {
	const char *path;
	const char *header[RECORD_HEADERS_MAX];
	unsigned nheaders;
	size_t buffer;
};

enum { RECORD_OPT_FILE = 256 + 160, RECORD_OPT_HEADER };	/* 256: OPT_LONG */
#define RECORD_OPTIONS \
	{ "record", RECORD_OPT_FILE, "FILE", "write a line of JSON for each exchange" }, \
	{ "record-header", RECORD_OPT_HEADER, "NAME", \
	  "show this header field in records; may be given again" }

/* Takes one of these options: false if @ch is none of them */
bool record_option(struct record_conf *c, int ch, const char *arg) __attribute__((nonnull(1)));

struct record;

struct record *record_open(const struct record_conf *c)
	__attribute__((nonnull, returns_nonnull, warn_unused_result));
void record_run(struct record *r) __attribute__((nonnull));
void record_close(struct record *r);	/* NULL is fine */

/**
 * struct record_counts - Lines, since the start
 * @lost:	For want of room, or because they could not be written
 */
struct record_counts {
	uint64_t written, lost;
};

void record_counts(struct record *r, struct record_counts *out) __attribute__((nonnull));

extern const struct hook_ops record_ops;	/* its context is the struct record */

#endif /* GW_RECORD_H */
