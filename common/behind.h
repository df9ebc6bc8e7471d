/* SPDX-License-Identifier: MIT */
/*
 * behind.h - Write behind: one block goes to a file while the next is filled
 *
 * Theory of operation
 *
 * A write to a file costs about as much time as making what is written.  So a thread does
 * it: behind_give() hands it a block, which is its own until the next behind_give() or
 * behind_wait() returns; the caller fills another one meanwhile.  One block is on its way
 * at most, so an error is known one block later, and nothing is queued without bound.  The
 * thread starts with the first block: it has the signal mask and the privileges of then.
 */
#ifndef GW_BEHIND_H
#define GW_BEHIND_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * struct behind - A file and the block on its way to it
 * @data, @len:	That block, or what is left of it; @len 0: none
 * @err:	errno of a write that failed: nothing is written any more
 * @started:	The thread is there
 */
struct behind {
	int fd;
	const uint8_t *data;
	size_t len;
	int err;
	bool started;
	bool quit;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t moved;
};

void behind_init(struct behind *b, int fd) __attribute__((nonnull));

/**
 * behind_wait() - Wait until nothing is on its way
 *
 * Return: 0 if all that was given is written, else -errno
 */
int behind_wait(struct behind *b) __attribute__((nonnull, warn_unused_result));

/**
 * behind_give() - Hand a block over, as soon as the one before is written
 * @data:	Left alone by the caller until the next behind_give() or behind_wait()
 *
 * Return: as behind_wait(), about what was given before; then this one is not taken
 */
int behind_give(struct behind *b, const uint8_t *data, size_t len)
	__attribute__((nonnull, warn_unused_result));

/**
 * behind_close() - Wait, and end the thread; the file stays open
 */
void behind_close(struct behind *b) __attribute__((nonnull));

#endif /* GW_BEHIND_H */
