/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "stats.h"

_Static_assert(offsetof(struct stats_page, size) == 2 * sizeof(uint32_t), "three words in front");

static const struct {
	const char *name, *text;
} counters[] = {
#define X(sym, nam, txt) { nam, txt },
	STATS_LIST(X)
#undef X
};

_Static_assert(sizeof(counters) / sizeof(counters[0]) == STATS_NUM, "one row a counter");

const char *stats_counter_name(unsigned counter)
{
	return counter < STATS_NUM ? counters[counter].name : "?";
}

const char *stats_counter_text(unsigned counter)
{
	return counter < STATS_NUM ? counters[counter].text : "?";
}

static bool head_ok(uint32_t magic, uint32_t version, uint32_t size)
{
	return magic == STATS_MAGIC && version == STATS_VERSION &&
	       size == sizeof(struct stats_page);
}

static int lock_page(int fd)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	if (!fcntl(fd, F_OFD_SETLK, &l))
		return 0;
	return errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
}

/* The name may have gone to another inode between our open and our lock. */
static bool still_named(int dir_fd, const char *file, int fd)
{
	struct stat a, b;

	return !fstat(fd, &a) && !fstatat(dir_fd, file, &b, AT_SYMLINK_NOFOLLOW) &&
	       a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* A file without a lock is a crash: keep what it counted, then take it away.  A new
 * inode, not the old one emptied: readers that still map it must not fault. */
static int bury_old(int dir_fd, const char *file, struct stats_page *old)
{
	size_t front = offsetof(struct stats_page, rules);
	int fd, err;

	fd = openat(dir_fd, file, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	err = lock_page(fd);
	if (!err && still_named(dir_fd, file, fd)) {
		if (old && (pread(fd, old, front, 0) != (ssize_t)front ||
			    !head_ok(old->magic, old->version, old->size)))
			old->magic = 0;
		if (unlinkat(dir_fd, file, 0) && errno != ENOENT)
			err = -errno;
	}
	close(fd);
	return err;
}

/* Disk space is taken now: a full file system must not be a SIGBUS later. */
static int create_page(int dir_fd, const char *file)
{
	int fd, err;

	fd = openat(dir_fd, file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return -errno;
	err = lock_page(fd);
	if (!err && fchmod(fd, 0644))	/* whatever the umask: gwhealth is somebody else */
		err = -errno;
	if (!err)
		err = -posix_fallocate(fd, 0, sizeof(struct stats_page));
	if (!err && !still_named(dir_fd, file, fd))
		err = -EEXIST;		/* another one of our name was faster */
	if (err) {
		if (err != -EEXIST && err != -EBUSY)
			unlinkat(dir_fd, file, 0);
		close(fd);
		return err;
	}
	return fd;
}

static void fill_page(struct stats_page *p, const char *prog, const char *as)
{
	p->version = STATS_VERSION;
	p->size = sizeof(*p);
	p->pid = getpid();
	p->uid = getuid();
	p->unix_start_ns = clock_real();
	snprintf(p->prog, sizeof(p->prog), "%s", prog);
	snprintf(p->as, sizeof(p->as), "%s", as ? as : "");
	atomic_store_explicit(&p->heartbeat_ns, clock_mono(), memory_order_relaxed);
	/* Release: who reads the magic finds the rest; pairs with stats_attach(). */
	__atomic_store_n(&p->magic, STATS_MAGIC, __ATOMIC_RELEASE);
}

int stats_open(struct stats *s, int dir_fd, const char *prog, const char *as,
	       struct stats_page *old)
{
	int flags = dir_fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
	int err = 0;
	void *p;

	*s = (struct stats){ .fd = -1, .dir_fd = dir_fd };
	if (old)
		old->magic = 0;
	if (snprintf(s->file, sizeof(s->file), "%s%s%s", prog, as && *as ? ":" : "",
		     as ? as : "") >= (int)sizeof(s->file))
		return -ENAMETOOLONG;
	if (dir_fd >= 0) {
		do {
			err = bury_old(dir_fd, s->file, old);
			s->fd = err ? err : create_page(dir_fd, s->file);
		} while (s->fd == -EEXIST);
		if (s->fd < 0)
			return s->fd;
	}
	p = mmap(NULL, sizeof(*s->page), PROT_READ | PROT_WRITE, flags, s->fd, 0);
	if (p == MAP_FAILED) {
		err = -errno;
		stats_close(s);
		return err;
	}
	s->page = p;
	fill_page(s->page, prog, as);
	return 0;
}

void stats_move(struct stats *to, struct stats *from)
{
	struct stats_page *t = to->page, *f = from->page;

	memcpy(t->counter, f->counter, sizeof(t->counter));
	memcpy(t->drop, f->drop, sizeof(t->drop));
	memcpy(t->latency, f->latency, sizeof(t->latency));
	memcpy(t->trouble, f->trouble, sizeof(t->trouble));
	t->rules_hash = f->rules_hash;
	t->rules_loaded_unix_ns = f->rules_loaded_unix_ns;
	t->nrules = f->nrules;
	memcpy(t->rules, f->rules, f->nrules * sizeof(t->rules[0]));
	stats_close(from);
}

void stats_close(struct stats *s)
{
	if (s->fd >= 0) {
		/* The folder may be nobody's that we became: then what stays is no page */
		if (unlinkat(s->dir_fd, s->file, 0) && s->page)
			__atomic_store_n(&s->page->magic, 0, __ATOMIC_RELAXED);
		close(s->fd);
	}
	if (s->page)
		munmap(s->page, sizeof(*s->page));
	s->page = NULL;
	s->fd = -1;
}

void stats_leave(struct stats *s)
{
	s->page->pid = 0;
	if (s->fd >= 0 && !ftruncate(s->fd, offsetof(struct stats_page, rules))) {
		close(s->fd);
		s->fd = -1;
	}
	stats_close(s);
}

int stats_attach(struct stats_view *v, int dir_fd, const char *file)
{
	uint32_t head[3];
	struct stat st;
	void *p;
	int fd, err;

	fd = openat(dir_fd, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st)) {
		err = -errno;
		goto fail;
	}
	err = -EPROTO;
	if (!S_ISREG(st.st_mode) || st.st_size != sizeof(struct stats_page) ||
	    pread(fd, head, sizeof(head), 0) != sizeof(head) || !head_ok(head[0], head[1], head[2]))
		goto fail;
	p = mmap(NULL, sizeof(struct stats_page), PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED) {
		err = -errno;
		goto fail;
	}
	/* Acquire: who found the magic finds the rest; pairs with fill_page(). */
	(void)__atomic_load_n(&((struct stats_page *)p)->magic, __ATOMIC_ACQUIRE);
	*v = (struct stats_view){ .page = p, .fd = fd };
	v->alive = stats_alive(v);
	return 0;
fail:
	close(fd);
	return err;
}

bool stats_alive(const struct stats_view *v)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	return !fcntl(v->fd, F_OFD_GETLK, &l) && l.l_type != F_UNLCK;
}

int stats_copy(const struct stats_view *v, struct stats_page *to, bool rules)
{
	size_t front = offsetof(struct stats_page, rules), tail;
	uint32_t gen;
	ssize_t n;

	n = pread(v->fd, to, front, 0);
	if (n != (ssize_t)front || !head_ok(to->magic, to->version, to->size) ||
	    to->nrules > STATS_RULES_MAX)
		return n < 0 ? -errno : -EPROTO;
	if (!rules)
		return 0;
	tail = to->nrules * sizeof(to->rules[0]);
	n = pread(v->fd, to->rules, tail, (off_t)front);
	if (n != (ssize_t)tail ||
	    pread(v->fd, &gen, sizeof(gen), offsetof(struct stats_page, rules_gen)) != sizeof(gen))
		return n < 0 ? -errno : -EPROTO;
	return gen & 1 || gen != to->rules_gen ? -EAGAIN : 0;
}

void stats_detach(struct stats_view *v)
{
	union { const struct stats_page *in; void *out; } p = { .in = v->page };

	if (v->page)
		munmap(p.out, sizeof(*v->page));
	if (v->fd >= 0)
		close(v->fd);
	*v = (struct stats_view){ .fd = -1 };
}
