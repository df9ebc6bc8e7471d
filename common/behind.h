/* SPDX-License-Identifier: MIT */
/*
 * behind.h - Write behind: one block goes to a file while the next is filled
 *
 * Theory of operation
 *
 * A write to a file costs about as much time as making what is written.  So a thread does
 * it: behind_give() hands it a block, which is its own until BEHIND_BLOCKS further ones were
 * taken or behind_wait() returns; the caller fills another one meanwhile.  So many are on their
 * way at most, so an error is known as many blocks later, and nothing is queued without bound.
 * With only one the thread would wait for its giver after each: both are woken late.  The
 * thread starts with the first block: it has the signal mask and the privileges of then.
 *
 * A block is a list of runs, each where it happens to lie.  The kernel takes about 40 ns for
 * each that it is given, whatever its length: short ones are put side by side first.
 */
#ifndef GW_BEHIND_H
#define GW_BEHIND_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define BEHIND_BLOCKS	4u		/* on their way */

/**
 * struct behind - A file and the blocks on their way to it
 * @block:	These, each a list of @n runs
 * @given, @done:	Blocks so far: what is between is in @block
 * @written:	Of the latter, before any that failed
 * @side:	Where short runs are put side by side
 * @err:	errno of a write that failed: nothing is written any more
 * @started:	The thread is there
 */
struct behind {
	int fd;
	struct {
		const struct iovec *run;
		unsigned n;
	} block[BEHIND_BLOCKS];
	unsigned given, done, written;
	uint8_t *side;
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
 * behind_give() - Hand a block over, as soon as there is room for one
 * @run:	At least one.  List and bytes are left alone by the caller until BEHIND_BLOCKS
 *		further ones were taken, or behind_wait() returned
 *
 * Return: as behind_wait(), about what was written by now; then this one is not taken
 */
int behind_give(struct behind *b, const struct iovec *run, unsigned n)
	__attribute__((nonnull, warn_unused_result));

/**
 * behind_last() - Write a block that nothing follows soon, here: a thread would not pay
 *
 * Return: 0 if all that was given is written, else -errno
 */
int behind_last(struct behind *b, const struct iovec *run, unsigned n)
	__attribute__((nonnull, warn_unused_result));

/**
 * behind_written() - How many of the blocks that were given are written by now
 */
unsigned behind_written(struct behind *b) __attribute__((nonnull));

/**
 * behind_close() - Wait, and end the thread; the file stays open
 */
void behind_close(struct behind *b) __attribute__((nonnull));

#endif /* GW_BEHIND_H */
