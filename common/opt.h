/* SPDX-License-Identifier: MIT */
/*
 * opt.h - One table of options per program: parsed by getopt_long(3), printed
 * by --help, compared with the man page by the tests
 */
#ifndef GW_OPT_H
#define GW_OPT_H

#include <stdint.h>

/**
 * struct opt - One option
 * @name:	Long name, without dashes
 * @ch:		Short letter, or a number >= OPT_LONG for "long only"
 * @arg:	Name of its argument in the usage text; NULL: takes none
 * @help:	What it does, in a few words; '\n' continues on the next line
 */
struct opt {
	const char *name;
	int ch;
	const char *arg;
	const char *help;
};

#define OPT_LONG	256	/* a program's own long-only options */
#define OPT_COMMON	512	/* long-only options of a shared group */

/**
 * struct opt_group - A table and who takes what it yields
 * @title:	Heading in the usage text, NULL for the program's own
 * @opts:	Ends with a row whose name is NULL
 * @set:	Called in the order given on the command line; bad values end in
 *		die_usage()
 * @ctx:	Handed to @set
 */
struct opt_group {
	const char *title;
	const struct opt *opts;
	void (*set)(void *ctx, int ch, const char *arg);
	void *ctx;
};

/**
 * opt_parse() - Parse the command line; --help and --version exit in here
 * @prog:	Program name, also for log_open()
 * @synopsis:	What follows the name in the usage line: "[-i STREAM] [EXPR]"
 * @summary:	One line: its one job
 * @groups:	Ends with a row whose opts is NULL; at most 128 options in all
 *
 * Return: index into @argv of the first operand
 */
int opt_parse(const char *prog, const char *synopsis, const char *summary,
	      const struct opt_group *groups, int argc, char **argv);

/**
 * opt_u64() - A whole number in [@min, @max]; anything else dies, naming @opt
 */
uint64_t opt_u64(const char *opt, const char *arg, uint64_t min, uint64_t max);

#define OPT_MS_MAX	3153600000000u	/* 100 years: in ns it fits 64 bits */

/**
 * opt_ms() - A duration in [@min, @max] ms: "250ms", "5s", "2m", "1h" or plain seconds ("5",
 * "0.5")
 *
 * Return: milliseconds
 */
uint64_t opt_ms(const char *opt, const char *arg, uint64_t min, uint64_t max);

/**
 * opt_ns() - The same, in nanoseconds
 * @min, @max:	ms; at most OPT_MS_MAX
 */
static inline uint64_t opt_ns(const char *opt, const char *arg, uint64_t min, uint64_t max)
{
	return opt_ms(opt, arg, min, max) * 1000000u;
}

/**
 * opt_bytes() - A size: "4096", "64K", "2M", "1G" (powers of 1024)
 */
uint64_t opt_bytes(const char *opt, const char *arg, uint64_t min, uint64_t max);

/**
 * opt_log_level() - log_set_level(), for --log-level
 */
void opt_log_level(const char *arg);

#endif /* GW_OPT_H */
