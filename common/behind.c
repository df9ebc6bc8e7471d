/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "behind.h"

#define SHORT	1024u		/* a run below is put beside others */
#define SIDE	(256u << 10)	/* so much of them: it stays in a processor's own cache */
#define LIST	512u		/* runs that the kernel is given at once */

void behind_init(struct behind *b, int fd)
{
	/* Without it runs are written as they are */
	*b = (struct behind){ .fd = fd, .side = malloc(SIDE), .lock = PTHREAD_MUTEX_INITIALIZER,
			      .moved = PTHREAD_COND_INITIALIZER };
}

/* Write them all.  Return: 0 or errno */
static int write_list(int fd, struct iovec *v, unsigned n)
{
	while (n) {
		ssize_t done = writev(fd, v, (int)n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return errno;
		for (; n && (size_t)done >= v->iov_len; v++, n--)
			done -= (ssize_t)v->iov_len;
		if (n) {
			v->iov_base = (uint8_t *)v->iov_base + done;
			v->iov_len -= (size_t)done;
		}
	}
	return 0;
}

/* A block, without the lock: it is the writer's.  Return: 0 or errno */
static int write_block(const struct behind *b, const struct iovec *run, unsigned n)
{
	struct iovec v[LIST] = { 0 };
	uint8_t *free = b->side;
	unsigned used = 0;
	int err;

	for (unsigned i = 0; i < n; i++) {
		struct iovec r = run[i];
		bool copied = r.iov_len < SHORT && b->side;

		if (used == LIST || (copied && r.iov_len > (size_t)(b->side + SIDE - free))) {
			err = write_list(b->fd, v, used);
			if (err)
				return err;
			used = 0;
			free = b->side;
		}
		if (copied) {
			r.iov_base = memcpy(free, r.iov_base, r.iov_len);
			free += r.iov_len;
		}
		if (copied && used && (uint8_t *)v[used - 1].iov_base + v[used - 1].iov_len ==
				      (uint8_t *)r.iov_base)
			v[used - 1].iov_len += r.iov_len;
		else
			v[used++] = r;
	}
	return write_list(b->fd, v, used);
}

static void *writer(void *arg)
{
	struct behind *b = arg;

	pthread_mutex_lock(&b->lock);
	for (;;) {
		unsigned at = b->done % BEHIND_BLOCKS;
		int err = b->err;

		if (b->done == b->given && b->quit)
			break;
		if (b->done == b->given) {
			pthread_cond_wait(&b->moved, &b->lock);
			continue;
		}
		pthread_mutex_unlock(&b->lock);
		if (!err)
			err = write_block(b, b->block[at].run, b->block[at].n);
		pthread_mutex_lock(&b->lock);
		b->err = err;
		b->done++;
		b->written += !err;
		pthread_cond_signal(&b->moved);
	}
	pthread_mutex_unlock(&b->lock);
	return NULL;
}

/* Until no more than @most blocks are on their way */
static int wait_for(struct behind *b, unsigned most)
{
	int err;

	pthread_mutex_lock(&b->lock);
	while (b->given - b->done > most)
		pthread_cond_wait(&b->moved, &b->lock);
	err = b->err;
	pthread_mutex_unlock(&b->lock);
	return -err;
}

int behind_wait(struct behind *b)
{
	return wait_for(b, 0);
}

unsigned behind_written(struct behind *b)
{
	unsigned n;

	pthread_mutex_lock(&b->lock);
	n = b->written;
	pthread_mutex_unlock(&b->lock);
	return n;
}

int behind_last(struct behind *b, const struct iovec *run, unsigned n)
{
	int err = behind_wait(b);

	if (!err) {
		b->err = write_block(b, run, n);
		err = -b->err;
	}
	return err;
}

int behind_give(struct behind *b, const struct iovec *run, unsigned n)
{
	int err = wait_for(b, BEHIND_BLOCKS - 1);

	if (err)
		return err;
	if (!b->started && pthread_create(&b->thread, NULL, writer, b)) {
		err = behind_last(b, run, n);	/* no thread to be had */
		b->written += !err;
		b->given++;
		b->done++;
		return err;
	}
	b->started = true;
	pthread_mutex_lock(&b->lock);
	b->block[b->given % BEHIND_BLOCKS].run = run;
	b->block[b->given % BEHIND_BLOCKS].n = n;
	b->given++;
	pthread_cond_signal(&b->moved);
	pthread_mutex_unlock(&b->lock);
	return 0;
}

void behind_close(struct behind *b)
{
	if (b->started) {
		pthread_mutex_lock(&b->lock);
		b->quit = true;
		pthread_cond_signal(&b->moved);
		pthread_mutex_unlock(&b->lock);
		pthread_join(b->thread, NULL);
		b->started = false;
	}
	free(b->side);
	b->side = NULL;
}
