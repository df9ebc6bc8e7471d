/* SPDX-License-Identifier: MIT */
/*
 * log.h - One line an event on stderr: "program: level: what: why"
 *
 * errno survives every call; "%m" in a format is its text.  Under systemd
 * ($JOURNAL_STREAM names our stderr) a line starts with its "<N>" priority.
 * The packet path does not log; it counts.
 */
#ifndef GW_LOG_H
#define GW_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LVL_ERROR, LOG_LVL_WARN, LOG_LVL_NOTICE, LOG_LVL_INFO, LOG_LVL_DEBUG };

/**
 * log_open() - Name the program; every line starts with it
 * @prog:	Kept, not copied: "gwfilter"
 */
void log_open(const char *prog);

/**
 * log_name() - Add the stage's own name (--as), so that two gwfilters differ
 * @as:		Kept, not copied; NULL or "" for none
 */
void log_name(const char *as);

/**
 * log_set_level() - Show this level and those more severe
 * @name:	"error", "warning", "notice", "info" or "debug"
 *
 * Return: 0, or -EINVAL
 */
int log_set_level(const char *name);

/* Would log_at() write?  Asked before work that serves the line only */
bool log_shows(enum log_level level);

void log_at(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...)	log_at(LOG_LVL_ERROR, __VA_ARGS__)
#define log_warn(...)	log_at(LOG_LVL_WARN, __VA_ARGS__)
#define log_notice(...)	log_at(LOG_LVL_NOTICE, __VA_ARGS__)
#define log_info(...)	log_at(LOG_LVL_INFO, __VA_ARGS__)
#define log_debug(...)	log_at(LOG_LVL_DEBUG, __VA_ARGS__)

/* At most one line a second from this place; the next one says how many were
 * left out.  @now_ns: any monotonic clock. */
struct log_site {
	uint64_t next_ns;
	uint64_t suppressed;
};
/* Would log_limited() write now?  If not the line is counted as left out: asked before
 * work that serves the line only. */
bool log_due(struct log_site *site, uint64_t now_ns, enum log_level level);
void log_limited(struct log_site *site, uint64_t now_ns, enum log_level level,
		 const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* Exit statuses of every program */
#define EXIT_RUNTIME	1	/* failed at run time */
#define EXIT_USAGE	2	/* usage or configuration */

/**
 * log_stdout() - Flush what was printed; say so if it could not be written
 *
 * Return: EXIT_SUCCESS or EXIT_RUNTIME
 */
int log_stdout(void);

/**
 * die() - Log an error and exit 1: set-up only
 */
void die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/**
 * die_usage() - Log an error, hint at --help and exit 2
 */
void die_usage(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/**
 * die_conf() - Log an error about a configuration and exit 2, without the hint
 */
void die_conf(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

#endif /* GW_LOG_H */
