/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <unistd.h>

#include "behind.h"

void behind_init(struct behind *b, int fd)
{
	*b = (struct behind){ .fd = fd, .lock = PTHREAD_MUTEX_INITIALIZER,
			      .moved = PTHREAD_COND_INITIALIZER };
}

/* A block, without the lock: it is the writer's.  Return: 0 or errno */
static int write_block(int fd, const uint8_t *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

static void *writer(void *arg)
{
	struct behind *b = arg;

	pthread_mutex_lock(&b->lock);
	for (;;) {
		int err;

		while (!b->len && !b->quit)
			pthread_cond_wait(&b->moved, &b->lock);
		if (!b->len)
			break;
		pthread_mutex_unlock(&b->lock);
		err = write_block(b->fd, b->data, b->len);
		pthread_mutex_lock(&b->lock);
		b->err = err;
		b->len = 0;
		pthread_cond_signal(&b->moved);
	}
	pthread_mutex_unlock(&b->lock);
	return NULL;
}

int behind_wait(struct behind *b)
{
	int err;

	pthread_mutex_lock(&b->lock);
	while (b->len)
		pthread_cond_wait(&b->moved, &b->lock);
	err = b->err;
	pthread_mutex_unlock(&b->lock);
	return -err;
}

int behind_give(struct behind *b, const uint8_t *data, size_t len)
{
	int err = behind_wait(b);

	if (err)
		return err;
	if (!b->started && pthread_create(&b->thread, NULL, writer, b)) {
		b->err = write_block(b->fd, data, len);	/* no thread to be had: in front */
		return -b->err;
	}
	b->started = true;
	pthread_mutex_lock(&b->lock);
	b->data = data;
	b->len = len;
	pthread_cond_signal(&b->moved);
	pthread_mutex_unlock(&b->lock);
	return 0;
}

void behind_close(struct behind *b)
{
	if (!b->started)
		return;
	pthread_mutex_lock(&b->lock);
	b->quit = true;
	pthread_cond_signal(&b->moved);
	pthread_mutex_unlock(&b->lock);
	pthread_join(b->thread, NULL);
	b->started = false;
}
