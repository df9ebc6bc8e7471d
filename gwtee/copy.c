/* SPDX-License-Identifier: MIT */
/*
 * copy.c - The stage's side of a copy: encoding, rotation, the queue
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "copy_int.h"
#include "log.h"

#define PATIENCE_NS	1000000000u

/* Digits of the highest number in the ring, as tcpdump has them */
static int number_width(const struct copy_conf *conf)
{
	int width = 0;

	if (!conf->bytes || !conf->files)
		return 0;
	for (uint64_t n = conf->files - 1; n || !width; n /= 10)
		width++;
	return width;
}

/* The format is the user's, as in tcpdump. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static size_t put_time(char *out, size_t size, const char *fmt, time_t t)
{
	struct tm tm;

	return localtime_r(&t, &tm) ? strftime(out, size, fmt, &tm) : 0;
}
#pragma GCC diagnostic pop

/* FILE, with the time in it (-G) and a number behind it (-C): as tcpdump names them */
static void file_name(const struct copy *c, char *out, size_t size)
{
	time_t t = (time_t)(c->slice_ns / 1000000000u);
	char base[PATH_MAX];

	if (!c->conf.seconds || !put_time(base, sizeof(base), c->path, t))
		snprintf(base, sizeof(base), "%s", c->path);
	if (!c->width && !c->number)
		snprintf(out, size, "%s", base);
	else if (snprintf(out, size, "%s%0*llu", base, c->width, (unsigned long long)c->number) >=
		 (int)size)
		out[size - 1] = '\0';
}

static void open_first(struct copy *c, const struct rx *rx, const struct priv *priv)
{
	char path[PATH_MAX];
	struct stat st;

	file_name(c, path, sizeof(path));
	if (!stat(path, &st) && S_ISFIFO(st.st_mode))
		return;			/* no reader yet, maybe: the thread's business */
	c->fd = open(path, O_WRONLY | O_CREAT | O_NONBLOCK | O_CLOEXEC, 0644);
	if (c->fd < 0 || fstat(c->fd, &st))
		die("-w %s: %m", path);
	if (S_ISREG(st.st_mode) && rx->dev == st.st_dev && rx->ino == st.st_ino)
		die_conf("-w %s: is the input as well", path);
	if (S_ISREG(st.st_mode) && ftruncate(c->fd, 0))
		die("-w %s: %m", path);
	if (c->conf.bytes && priv->uid != (uid_t)-1 && fchown(c->fd, priv->uid, priv->gid))
		log_warn("-w %s: cannot hand it to the user we become: %m", path);
}

struct copy *copy_open(const char *path, const struct copy_conf *conf, const char *name,
		       const struct rx *rx, const struct priv *priv)
{
	struct copy *c = calloc(1, sizeof(*c));
	pthread_condattr_t attr;

	if (!c)
		die("no memory");
	c->path = path;
	c->conf = *conf;
	c->fd = -1;
	c->width = number_width(conf);
	c->w.name = name;
	c->w.format = cap_format_of(path);
	for (unsigned i = 0; i < COPY_CHUNKS; i++) {
		if (!(c->chunk[i].data = malloc(COPY_CHUNK)))
			die("no memory");
		c->free[c->nfree++] = &c->chunk[i];
	}
	c->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (c->stop_fd < 0)
		die("eventfd: %m");
	pthread_mutex_init(&c->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&c->work, &attr);
	pthread_cond_init(&c->room, &attr);
	pthread_condattr_destroy(&attr);
	if (!conf->seconds)		/* else the first packet's time names the file */
		open_first(c, rx, priv);
	c->fresh = true;
	return c;
}

/* Files opened later are opened by whom we became: better said now than lost then. */
static void check_access(const struct copy *c)
{
	const char *slash = strrchr(c->path, '/');
	char dir[PATH_MAX];

	if (c->fd < 0 && !c->conf.seconds && access(c->path, W_OK))
		die_conf("-w %s: not for uid %d, who we are now: %m (--user)", c->path, geteuid());
	if (!c->conf.seconds && !c->conf.bytes)
		return;
	snprintf(dir, sizeof(dir), "%.*s", slash ? (int)(slash - c->path) + 1 : 1,
		 slash ? c->path : ".");
	if (!strchr(dir, '%') && access(dir, W_OK))
		die_conf("-w %s: no new files there for uid %d, who we are now: %m (--user)",
			 c->path, geteuid());
}

void copy_start(struct copy *c)
{
	int err;

	check_access(c);
	err = pthread_create(&c->thread, NULL, copy_thread, c);
	if (err)
		die("-w %s: no thread: %s", c->path, strerror(err));
}

static struct timespec at_ns(uint64_t ns)
{
	return (struct timespec){ (time_t)(ns / 1000000000u), (long)(ns % 1000000000u) };
}

/* Wait for a free chunk as long as the copy moves. */
static void wait_for_room(struct copy *c)
{
	uint64_t progress = atomic_load(&c->progress_ns), now = clock_mono();
	uint64_t until = (progress > c->full_ns ? progress : c->full_ns) + PATIENCE_NS;

	while (!c->nfree && now < until) {
		struct timespec ts = at_ns(until);

		pthread_cond_timedwait(&c->room, &c->lock, &ts);
		now = clock_mono();
		progress = atomic_load(&c->progress_ns);
		if (progress + PATIENCE_NS > until)
			until = progress + PATIENCE_NS;
	}
}

/* Return: false when there is no chunk to write to */
static bool take_chunk(struct copy *c, bool wait)
{
	pthread_mutex_lock(&c->lock);
	if (!c->nfree && wait) {
		if (!c->full_ns)
			c->full_ns = clock_mono();
		wait_for_room(c);
	}
	if (c->nfree) {
		c->cur = c->free[--c->nfree];
		c->full_ns = 0;
	}
	pthread_mutex_unlock(&c->lock);
	if (!c->cur)
		return false;
	c->cur->len = 0;
	c->cur->packets = 0;
	c->cur->head_len = 0;
	return true;
}

/* The chunk at hand goes to the thread; not @all: only while that keeps up, else small
 * chunks would soon be all there are */
static void hand_over(struct copy *c, bool all)
{
	if (!c->cur || !c->cur->len)
		return;
	pthread_mutex_lock(&c->lock);
	if (all || c->queued < COPY_CHUNKS / 2) {
		c->queue[(c->first + c->queued++) % COPY_CHUNKS] = c->cur;
		c->cur = NULL;
		pthread_cond_signal(&c->work);
	}
	pthread_mutex_unlock(&c->lock);
}

void copy_push(struct copy *c)
{
	hand_over(c, false);
}

/* Is it time for another file? */
static bool file_is_full(const struct copy *c, const struct frame *f)
{
	return (c->conf.seconds && f->ts_ns >= c->slice_ns + c->conf.seconds * 1000000000u) ||
	       (c->conf.bytes && c->file_bytes > c->conf.bytes);
}

/* Return: false when -W says that this was the last file */
static bool next_file(struct copy *c, const struct frame *f)
{
	if (c->conf.seconds && f->ts_ns >= c->slice_ns + c->conf.seconds * 1000000000u) {
		if (c->conf.files && !c->conf.bytes && c->nfiles >= c->conf.files)
			return false;
		c->slice_ns = f->ts_ns;
		c->number = 0;
	} else if (c->conf.files && c->number + 1 >= c->conf.files) {
		c->number = 0;
	} else {
		c->number++;
	}
	c->w.iface_written = false;
	hand_over(c, true);
	return true;
}

/* The chunk at hand begins a file: the thread opens it and writes the header */
static void begin_file(struct copy *c, const struct frame *f)
{
	struct copy_chunk *k = c->cur;

	if (!c->nfiles)
		c->slice_ns = f->ts_ns;
	file_name(c, k->path, sizeof(k->path));
	k->head_len = cap_write_header(&c->w, k->head, NULL);
	k->head_len += cap_write_iface(&c->w, k->head + k->head_len, f->linktype);
	c->file_bytes = k->head_len;
	c->nfiles++;
}

static void lose(struct copy *c, uint64_t packets)
{
	atomic_fetch_add_explicit(&c->lost, packets, memory_order_relaxed);
}

static void encode(struct copy *c, struct frame *f)
{
	uint32_t len = f->len;
	size_t n;

	if (c->w.format == CAP_PCAP && f->encap_len && !c->warned) {
		log_warn("-w %s: classic pcap cannot hold the encapsulation: it is lost", c->path);
		c->warned = true;
	}
	f->len = MIN(len, c->conf.snaplen);
	n = cap_write_packet(&c->w, c->cur->data + c->cur->len, f);
	f->len = len;
	c->cur->len += n;
	c->cur->packets++;
	c->file_bytes += n;
	c->taken++;
}

void copy_packet(struct copy *c, struct frame *f, bool wait)
{
	if (c->ended)
		return;
	if (c->w.iface_written && file_is_full(c, f) && !next_file(c, f)) {
		copy_finish(c);
		return;
	}
	if (c->cur && c->cur->len + cap_packet_size(f) > COPY_CHUNK)
		hand_over(c, true);
	if (!c->cur && !take_chunk(c, wait)) {
		lose(c, 1);
		return;
	}
	if (!c->w.iface_written)
		begin_file(c, f);
	if (f->linktype != c->w.linktype) {
		lose(c, 1);		/* one interface a file */
		return;
	}
	encode(c, f);
	if (c->conf.limit && c->taken >= c->conf.limit)
		copy_finish(c);
}

void copy_counts(const struct copy *c, uint64_t *copied, uint64_t *lost)
{
	*copied += atomic_load_explicit(&c->written, memory_order_relaxed);
	*lost += atomic_load_explicit(&c->lost, memory_order_relaxed) +
		 atomic_load_explicit(&c->failed, memory_order_relaxed);
}

void copy_finish(struct copy *c)
{
	hand_over(c, true);
	c->ended = true;
	pthread_mutex_lock(&c->lock);
	c->finish = true;
	pthread_cond_signal(&c->work);
	pthread_mutex_unlock(&c->lock);
}

void copy_close(struct copy *c, uint64_t deadline_ns, uint64_t *copied, uint64_t *lost)
{
	struct timespec ts = at_ns(deadline_ns);
	uint64_t one = 1;

	pthread_mutex_lock(&c->lock);
	while (!c->done && !pthread_cond_timedwait(&c->room, &c->lock, &ts))
		;
	pthread_mutex_unlock(&c->lock);
	if (write(c->stop_fd, &one, sizeof(one)) < 0)
		log_warn("-w %s: %m", c->path);
	pthread_join(c->thread, NULL);
	copy_counts(c, copied, lost);
	for (unsigned i = 0; i < COPY_CHUNKS; i++)
		free(c->chunk[i].data);
	pthread_cond_destroy(&c->work);
	pthread_cond_destroy(&c->room);
	pthread_mutex_destroy(&c->lock);
	close(c->stop_fd);
	free(c);
}
