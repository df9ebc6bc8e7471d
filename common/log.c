/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"

static const char *log_prog = "gwtools", *log_as = "";
static enum log_level log_max = LOG_LVL_NOTICE;
static int log_journal;

static const struct {
	const char *name;
	int syslog;
} levels[] = {
	[LOG_LVL_ERROR]  = { "error", 3 },
	[LOG_LVL_WARN]   = { "warning", 4 },
	[LOG_LVL_NOTICE] = { "notice", 5 },
	[LOG_LVL_INFO]   = { "info", 6 },
	[LOG_LVL_DEBUG]  = { "debug", 7 },
};

void log_name(const char *as)
{
	log_as = as ? as : "";
}

int log_set_level(const char *name)
{
	for (unsigned i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		if (!strcmp(levels[i].name, name)) {
			log_max = (enum log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

/* systemd.exec(5): JOURNAL_STREAM is "device:inode" of the journal's stream */
static int is_journal(void)
{
	const char *env = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	return env && sscanf(env, "%llu:%llu", &dev, &ino) == 2 &&
	       !fstat(STDERR_FILENO, &st) && st.st_dev == dev && st.st_ino == ino;
}

void log_open(const char *prog)
{
	log_prog = prog;
	log_journal = is_journal();
}

/* One write(2) a line: lines of several processes on one stderr stay whole. */
static void __attribute__((format(printf, 3, 0)))
log_line(enum log_level level, const char *suffix, const char *fmt, va_list ap)
{
	char line[2048];
	int saved = errno;
	size_t n = 0, max = sizeof(line) - 1;

	if (log_journal)
		n += (size_t)snprintf(line, max, "<%d>", levels[level].syslog);
	n += (size_t)snprintf(line + n, max - n, "%s%s%s: %s: ", log_prog,
			      *log_as ? ":" : "", log_as, levels[level].name);
	errno = saved;		/* for %m */
	n += (size_t)vsnprintf(line + n, max - n, fmt, ap);
	if (n < max)
		n += (size_t)snprintf(line + n, max - n, "%s", suffix);
	if (n > max - 1)
		n = max - 1;
	line[n++] = '\n';
	(void)!write(STDERR_FILENO, line, n);	/* if it fails, nowhere is left to say so */
	errno = saved;
}

bool log_shows(enum log_level level)
{
	return level <= log_max;
}

void log_at(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	if (level > log_max)
		return;
	va_start(ap, fmt);
	log_line(level, "", fmt, ap);
	va_end(ap);
}

bool log_due(struct log_site *site, uint64_t now_ns, enum log_level level)
{
	if (level > log_max)
		return false;
	if (now_ns >= site->next_ns)
		return true;
	site->suppressed++;
	return false;
}

void log_limited(struct log_site *site, uint64_t now_ns, enum log_level level,
		 const char *fmt, ...)
{
	char suffix[64] = "";
	va_list ap;

	if (!log_due(site, now_ns, level))
		return;
	if (site->suppressed)
		snprintf(suffix, sizeof(suffix), " (and %llu more like it)",
			 (unsigned long long)site->suppressed);
	site->suppressed = 0;
	site->next_ns = now_ns + 1000000000u;
	va_start(ap, fmt);
	log_line(level, suffix, fmt, ap);
	va_end(ap);
}

int log_stdout(void)
{
	if (!fflush(stdout) && !ferror(stdout))
		return EXIT_SUCCESS;
	log_error("stdout: %m");
	return EXIT_RUNTIME;
}

void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_line(LOG_LVL_ERROR, "", fmt, ap);
	va_end(ap);
	exit(EXIT_RUNTIME);
}

void die_usage(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_line(LOG_LVL_ERROR, "", fmt, ap);
	va_end(ap);
	fprintf(stderr, "Try '%s --help'.\n", log_prog);
	exit(EXIT_USAGE);
}

void die_conf(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_line(LOG_LVL_ERROR, "", fmt, ap);
	va_end(ap);
	exit(EXIT_USAGE);
}
