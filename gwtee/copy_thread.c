/* SPDX-License-Identifier: MIT */
/*
 * copy_thread.c - The thread of a copy: everything that may block
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "copy_int.h"
#include "log.h"

#define RETRY_MS	100
#define LAST_TRIES	10	/* for a fifo's reader, after the last packet */

/* Sleep until @fd is writable (-1: only for @ms); false: told to leave */
static bool pause_for(struct copy *c, int fd, int ms)
{
	struct pollfd p[2] = { { .fd = c->stop_fd, .events = POLLIN },
			       { .fd = fd, .events = POLLOUT } };

	poll(p, fd < 0 ? 1 : 2, ms);
	return !p[0].revents;
}

static void complain(struct copy *c, const char *what)
{
	static _Thread_local struct log_site site;

	log_limited(&site, clock_mono(), LOG_LVL_WARN, "-w %s: %s: packets are lost to this copy",
		    c->file, what);
}

static bool no_more_to_come(struct copy *c)
{
	bool finish;

	pthread_mutex_lock(&c->lock);
	finish = c->finish;
	pthread_mutex_unlock(&c->lock);
	return finish;
}

/* Open the file of @c->file; a fifo that nobody reads is waited for. */
static bool open_file(struct copy *c)
{
	while (c->fd < 0) {
		c->fd = open(c->file, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK | O_CLOEXEC, 0644);
		c->fresh = true;
		if (c->fd >= 0)
			break;
		if (errno != ENXIO) {
			complain(c, strerror(errno));
			return false;
		}
		if ((no_more_to_come(c) && !c->tries--) || !pause_for(c, -1, RETRY_MS)) {
			c->tries = 0;
			return false;
		}
	}
	return true;
}

/* All of it, or an error with what was written taken back */
static bool write_all(struct copy *c, const uint8_t *data, size_t len)
{
	off_t start = lseek(c->fd, 0, SEEK_CUR);	/* a pipe has no position */
	const char *why = NULL;
	size_t done = 0;

	while (done < len && !why) {
		ssize_t n = write(c->fd, data + done, len - done);

		if (n > 0) {
			done += (size_t)n;
			atomic_store(&c->progress_ns, clock_mono());
		} else if (n < 0 && errno == EAGAIN) {
			if (!pause_for(c, c->fd, -1))
				why = "its reader takes nothing";
		} else if (n == 0 || errno != EINTR) {
			why = strerror(errno);
		}
	}
	if (done == len)
		return true;
	complain(c, why);
	if (start < 0 || ftruncate(c->fd, start) || lseek(c->fd, start, SEEK_SET) < 0) {
		close(c->fd);		/* a closed fifo: its next reader starts anew */
		c->fd = -1;
	}
	return false;
}

static bool write_chunk(struct copy *c, const struct copy_chunk *k)
{
	if (k->head_len) {
		if (c->fd >= 0 && c->opened) {
			close(c->fd);
			c->fd = -1;
		}
		c->opened = c->fresh = true;
		memcpy(c->head, k->head, k->head_len);
		c->head_len = k->head_len;
		memcpy(c->file, k->path, sizeof(c->file));
	}
	if (!open_file(c))
		return false;
	if (c->fresh) {
		if (!write_all(c, c->head, c->head_len))
			return false;
		c->fresh = false;
	}
	return write_all(c, k->data, k->len);
}

/* Next chunk, or NULL at the end */
static struct copy_chunk *next_chunk(struct copy *c)
{
	struct copy_chunk *k = NULL;

	pthread_mutex_lock(&c->lock);
	while (!c->queued && !c->finish)
		pthread_cond_wait(&c->work, &c->lock);
	if (c->queued) {
		k = c->queue[c->first];
		c->first = (c->first + 1) % COPY_CHUNKS;
		c->queued--;
	}
	pthread_mutex_unlock(&c->lock);
	return k;
}

static void give_back(struct copy *c, struct copy_chunk *k)
{
	pthread_mutex_lock(&c->lock);
	c->free[c->nfree++] = k;
	pthread_cond_signal(&c->room);
	pthread_mutex_unlock(&c->lock);
}

void *copy_thread(void *arg)
{
	struct copy *c = arg;
	struct copy_chunk *k;

	c->tries = LAST_TRIES;
	while ((k = next_chunk(c))) {
		_Atomic uint64_t *count = write_chunk(c, k) ? &c->written : &c->failed;

		atomic_fetch_add_explicit(count, k->packets, memory_order_relaxed);
		give_back(c, k);
	}
	if (c->fd >= 0 && close(c->fd))
		complain(c, strerror(errno));
	pthread_mutex_lock(&c->lock);
	c->done = true;
	pthread_cond_signal(&c->room);
	pthread_mutex_unlock(&c->lock);
	return NULL;
}
