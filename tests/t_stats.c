/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stats.h"
#include "tap.h"

static int dir;
static struct stats_page *old;

static void names(void)
{
	OK(!strcmp(stats_counter_name(STATS_IN_PACKETS), "in_packets"), "first counter's name");
	OK(!strcmp(stats_counter_name(STATS_RELOAD_ERRORS), "reload_errors"), "last one's");
	OK(!strcmp(stats_counter_name(STATS_NUM), "?"), "out of range");
}

static void private_page(void)
{
	struct stats s;

	OK(!stats_open(&s, -1, "gwfilter", NULL, old), "without a run folder");
	OK(s.page && s.page->magic == STATS_MAGIC && !old->magic, "private page, no predecessor");
	stats_beat(&s, 5);
	OK(s.page->heartbeat_ns == 5, "heartbeat");
	stats_close(&s);
	OK(!s.page, "closed");
}

static void shared_page(void)
{
	struct stats_view v;
	struct stats s, twin;

	OK(!stats_open(&s, dir, "gwfilter", "censor", old), "open");
	OK(!strcmp(s.file, "gwfilter:censor"), "file name");
	OK(stats_open(&twin, dir, "gwfilter", "censor", NULL) == -EBUSY, "twin is refused");
	OK(!faccessat(dir, s.file, F_OK, 0), "the refused one leaves the page alone");
	OK(!stats_open(&twin, dir, "gwfilter", NULL, NULL), "another name is fine");
	stats_close(&twin);
	OK(!stats_attach(&v, dir, "gwfilter:censor") && v.alive, "reader sees it alive");
	s.page->counter[STATS_IN_PACKETS] = 7;
	OK(v.page->counter[STATS_IN_PACKETS] == 7 && v.page->pid == getpid(), "and its counters");
	stats_close(&s);
	OK(!stats_alive(&v), "dead after close");
	OK(v.page->counter[STATS_IN_PACKETS] == 7, "mapping stays readable");
	stats_detach(&v);
	OK(stats_attach(&v, dir, "gwfilter:censor") == -ENOENT, "unlinked by an orderly exit");
}

/* The run folder is somebody else's: opened as root, left as a user */
static void foreign_folder(void)
{
	struct stats_view v;
	struct stats s;
	int status = 1;
	pid_t pid;

	pid = fork();
	if (!pid) {
		if (stats_open(&s, dir, "gwtee", NULL, NULL) || fchmod(dir, 0555) ||
		    (!geteuid() && setresuid(65534, 65534, 65534)))
			_exit(1);
		stats_close(&s);
		_exit(0);
	}
	OK(waitpid(pid, &status, 0) == pid && !status && !faccessat(dir, "gwtee", F_OK, 0),
	   "a page that its owner may not unlink stays");
	OK(stats_attach(&v, dir, "gwtee") == -EPROTO, "and is none");
	fchmod(dir, 0700);
	OK(!stats_open(&s, dir, "gwtee", NULL, old) && !old->magic,
	   "a successor finds nothing of it");
	stats_close(&s);
}

static void copies(void)
{
	struct stats_view v;
	struct stats s;

	if (stats_open(&s, dir, "gwmangle", NULL, NULL) || stats_attach(&v, dir, "gwmangle"))
		return;
	s.page->counter[STATS_EDITED] = 3;
	s.page->nrules = 2;
	s.page->rules[1].packets = 9;
	memset(old, 0xff, sizeof(*old));
	OK(!stats_copy(&v, old, false) && old->counter[STATS_EDITED] == 3 &&
	   old->rules[1].packets == UINT64_MAX, "front only");
	OK(!stats_copy(&v, old, true) && old->rules[1].packets == 9 &&
	   old->rules[2].packets == UINT64_MAX, "with its two rules");
	s.page->rules_gen = 1;
	OK(stats_copy(&v, old, true) == -EAGAIN && !stats_copy(&v, old, false), "during a reload");
	s.page->nrules = STATS_RULES_MAX + 1;
	OK(stats_copy(&v, old, false) == -EPROTO, "more rules than there can be");
	OK(!ftruncate(s.fd, 100) && stats_copy(&v, old, false) == -EPROTO, "cut short");
	stats_detach(&v);
	stats_close(&s);
}

static void crash(uint64_t count)
{
	struct stats s;
	pid_t pid = fork();

	if (!pid) {
		if (!stats_open(&s, dir, "gwcap", "", NULL)) {
			s.page->counter[STATS_IN_PACKETS] = count;
			strcpy(s.page->rules[0].name, "stale");
		}
		raise(SIGKILL);
	}
	waitpid(pid, NULL, 0);
}

static void crashed_page(void)
{
	struct stats_view v;
	struct stats s;

	crash(42);
	OK(!stats_attach(&v, dir, "gwcap") && !v.alive, "a crash leaves a page without a lock");
	OK(!stats_open(&s, dir, "gwcap", NULL, old), "successor opens");
	OK(old->magic == STATS_MAGIC && old->counter[STATS_IN_PACKETS] == 42, "gets the old counts");
	OK(!s.page->counter[STATS_IN_PACKETS] && !s.page->rules[0].name[0], "starts from zero");
	OK(v.page->counter[STATS_IN_PACKETS] == 42 && !stats_alive(&v),
	   "a reader of the old page neither faults nor takes it for the new one");
	stats_detach(&v);
	OK(!stats_attach(&v, dir, "gwcap") && v.alive, "attaches to the new one");
	stats_detach(&v);
	stats_close(&s);
}

static void put(const char *file, const void *data, size_t len, off_t size)
{
	int fd = openat(dir, file, O_RDWR | O_CREAT | O_TRUNC, 0600);

	if (fd < 0 || write(fd, data, len) != (ssize_t)len || ftruncate(fd, size))
		perror(file);
	close(fd);
}

static void strangers(void)
{
	struct stats_page *p = calloc(1, sizeof(*p));
	struct stats_view v;
	struct stats s;

	put("junk", "hello", 5, 5);
	OK(stats_attach(&v, dir, "junk") == -EPROTO, "too small");
	put("junk", p, sizeof(*p), sizeof(*p));
	OK(stats_attach(&v, dir, "junk") == -EPROTO, "no magic");
	*p = (struct stats_page){ .magic = STATS_MAGIC, .version = STATS_VERSION + 1,
				  .size = sizeof(*p) };
	put("junk", p, sizeof(*p), sizeof(*p));
	OK(stats_attach(&v, dir, "junk") == -EPROTO, "another version");
	p->version = STATS_VERSION;
	p->size--;
	put("junk", p, sizeof(*p), sizeof(*p));
	OK(stats_attach(&v, dir, "junk") == -EPROTO, "another size");
	OK(!stats_open(&s, dir, "junk", NULL, old) && !old->magic, "junk is no predecessor");
	stats_close(&s);
	OK(!mkfifoat(dir, "fifo", 0600) && stats_attach(&v, dir, "fifo") == -EPROTO,
	   "a fifo does not hang the reader");
	unlinkat(dir, "fifo", 0);
	OK(!symlinkat("/etc/passwd", dir, "link") && stats_attach(&v, dir, "link") == -ELOOP &&
	   stats_open(&s, dir, "link", NULL, NULL) == -ELOOP, "a link is not followed");
	unlinkat(dir, "link", 0);
	free(p);
}

/* Many of one name at once: exactly one page, exactly one holder. */
static void race(void)
{
	int done[2], go[2], won = 0;
	pid_t pid[16];
	char c;

	if (pipe(done) || pipe(go))
		return;
	crash(1);
	for (int i = 0; i < 16; i++) {
		struct stats s;

		if ((pid[i] = fork()))
			continue;
		close(go[1]);
		if (read(go[0], &c, 1) < 0)
			_exit(1);
		c = stats_open(&s, dir, "gwcap", NULL, NULL) ? 'n' : 'y';
		if (write(done[1], &c, 1) != 1)
			_exit(1);
		pause();
	}
	close(go[1]);		/* the start signal */
	for (int i = 0; i < 16 && read(done[0], &c, 1) == 1; i++)
		won += c == 'y';
	OK(won == 1, "%d of 16 won", won);
	for (int i = 0; i < 16; i++) {
		kill(pid[i], SIGKILL);
		waitpid(pid[i], NULL, 0);
	}
	crash(1);
	unlinkat(dir, "gwcap", 0);
}

int main(void)
{
	char path[] = "/tmp/t_stats.XXXXXX";

	old = calloc(1, sizeof(*old));
	if (!old || !mkdtemp(path) || (dir = open(path, O_RDONLY | O_DIRECTORY)) < 0)
		return 1;
	names();
	private_page();
	shared_page();
	foreign_folder();
	copies();
	crashed_page();
	strangers();
	race();
	OK(!unlinkat(AT_FDCWD, path, AT_REMOVEDIR), "nothing is left behind");
	free(old);
	return tap_done();
}
