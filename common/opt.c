/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "opt.h"

#define OPT_MAX		128
#define HELP_COLUMN	30

static const struct opt builtin[] = {
	{ "help", 'h', NULL, "show this and exit" },
	{ "version", 'V', NULL, "show the version and exit" },
	{ NULL, 0, NULL, NULL }
};

/* A standard descriptor that is closed stays unusable, instead of becoming the first file
 * that is opened: read or written, it fails. */
static void guard_standard(void)
{
	static const int way[] = { O_WRONLY, O_RDONLY, O_RDONLY };

	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", way[fd]) < 0)
			exit(EXIT_RUNTIME);
}

static void print_opts(const struct opt *o)
{
	for (; o->name; o++) {
		const char *help = o->help, *nl;
		int n;

		n = o->ch < OPT_LONG ? printf("  -%c, --%s", o->ch, o->name)
				     : printf("      --%s", o->name);
		if (o->arg)
			n += printf(" %s", o->arg);
		if (n > HELP_COLUMN - 2) {
			putchar('\n');
			n = 0;
		}
		while ((nl = strchr(help, '\n'))) {
			printf("%*s%.*s\n", HELP_COLUMN - n, "", (int)(nl - help), help);
			help = nl + 1;
			n = 0;
		}
		printf("%*s%s\n", HELP_COLUMN - n, "", help);
	}
}

static void __attribute__((noreturn))
print_help(const char *prog, const char *synopsis, const char *summary,
	   const struct opt_group *g)
{
	printf("usage: %s %s\n%s\n\n", prog, synopsis, summary);
	for (; g->opts; g++) {
		if (g->title)
			printf("\n%s:\n", g->title);
		print_opts(g->opts);
	}
	putchar('\n');
	print_opts(builtin);
	exit(log_stdout());
}

struct table {
	struct option longs[OPT_MAX + 1];
	char shorts[3 * OPT_MAX + 2];
	const struct opt_group *owner[OPT_COMMON + OPT_MAX];	/* by ch */
	int n;
	size_t nshort;
};

static void table_add(struct table *t, const struct opt *o, const struct opt_group *g)
{
	for (; o->name && t->n < OPT_MAX; o++) {
		t->longs[t->n++] = (struct option){ o->name,
			o->arg ? required_argument : no_argument, NULL, o->ch };
		t->owner[o->ch] = g;
		if (o->ch >= OPT_LONG)
			continue;
		t->shorts[t->nshort++] = (char)o->ch;
		if (o->arg)
			t->shorts[t->nshort++] = ':';
	}
}

int opt_parse(const char *prog, const char *synopsis, const char *summary,
	      const struct opt_group *groups, int argc, char **argv)
{
	static struct table t;
	int ch;

	guard_standard();
	log_open(prog);
	t = (struct table){ .n = 0 };
	for (const struct opt_group *g = groups; g->opts; g++)
		table_add(&t, g->opts, g);
	table_add(&t, builtin, NULL);

	while ((ch = getopt_long(argc, argv, t.shorts, t.longs, NULL)) != -1) {
		if (ch == 'h')
			print_help(prog, synopsis, summary, groups);
		if (ch == 'V') {
			printf("%s %s\n", prog, GW_VERSION);
			exit(log_stdout());
		}
		if (ch == '?' || !t.owner[ch]) {	/* getopt said what is wrong */
			fprintf(stderr, "usage: %s %s\nTry '%s --help'.\n", prog,
				synopsis, prog);
			exit(EXIT_USAGE);
		}
		t.owner[ch]->set(t.owner[ch]->ctx, ch, optarg);
	}
	return optind;
}

uint64_t opt_u64(const char *opt, const char *arg, uint64_t min, uint64_t max)
{
	unsigned long long v;
	char *end;

	errno = 0;
	v = strtoull(arg, &end, 10);
	if (*arg < '0' || *arg > '9' || *end || errno || v < min || v > max)
		die_usage("--%s: '%s' is not a whole number from %llu to %llu", opt, arg,
			  (unsigned long long)min, (unsigned long long)max);
	return v;
}

static const struct { const char *unit; uint64_t ms; } units[] = {
	{ "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "ms", 1 }, { "", 1000 },
};

/* As people write it; the buffer is the caller's */
static const char *duration(uint64_t ms, char *out, size_t size)
{
	size_t i = 0;

	while (ms % units[i].ms)
		i++;
	snprintf(out, size, "%llu%s", (unsigned long long)(ms / units[i].ms),
		 ms ? units[i].unit : "");
	return out;
}

uint64_t opt_ms(const char *opt, const char *arg, uint64_t min, uint64_t max)
{
	char *end, low[32], high[32];
	double v;

	if (*arg >= '0' && *arg <= '9') {
		v = strtod(arg, &end);
		for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
			double ms = v * (double)units[i].ms;

			if (!strcmp(end, units[i].unit) && ms >= (double)min && ms <= (double)max)
				return (uint64_t)ms;
		}
	}
	die_usage("--%s: '%s' is not a duration from %s to %s, such as 250ms, 5s, 2m", opt, arg,
		  duration(min, low, sizeof(low)), duration(max, high, sizeof(high)));
}

uint64_t opt_bytes(const char *opt, const char *arg, uint64_t min, uint64_t max)
{
	unsigned long long v = 0;
	int shift = 0;
	char *end;

	errno = 0;
	if (*arg >= '0' && *arg <= '9') {
		v = strtoull(arg, &end, 10);
		switch (*end) {
		case 'K': case 'k': shift = 10; end++; break;
		case 'M': case 'm': shift = 20; end++; break;
		case 'G': case 'g': shift = 30; end++; break;
		}
		if (!*end && !errno && v <= max >> shift && v << shift >= min)
			return v << shift;
	}
	die_usage("--%s: '%s' is not a size from %llu to %llu bytes (K, M, G)", opt, arg,
		  (unsigned long long)min, (unsigned long long)max);
}

void opt_log_level(const char *arg)
{
	if (log_set_level(arg))
		die_usage("--log-level: '%s' is not error, warning, notice, info or debug", arg);
}
