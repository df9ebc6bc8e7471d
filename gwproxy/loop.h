/* SPDX-License-Identifier: MIT */
/*
 * loop.h - An event loop: descriptors, timers, tasks and mail from other loops
 *
 * Theory of operation
 *
 * Each thread runs one loop, and what is made on a loop stays there: nothing is shared and
 * nothing is locked.  The only way in from another thread is mail, a few bytes written to
 * a pipe.
 *
 * Descriptors are watched for changes (EPOLLET) or for states; that is the caller's choice.  A
 * task is run once after all events at hand: work that yielded to others, and the freeing of
 * things that events at hand may still point to.  Timers lie in a heap; to set a timer later
 * than it is set costs nothing, it looks again when it would have fired.
 */
#ifndef GW_LOOP_H
#define GW_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

#define LOOP_MAIL_MAX	256u	/* bytes of a mail */

struct loop;

/**
 * struct watch - Who is told of a descriptor's events
 */
struct watch {
	void (*ready)(struct watch *w, uint32_t events);
};

/**
 * struct timer - Fires once
 * @due_ns:	CLOCK_MONOTONIC; 0: off
 * @heap_ns, @pos:	Its place in the heap; @pos 0: in none
 */
struct timer {
	void (*fire)(struct timer *t);
	uint64_t due_ns;
	uint64_t heap_ns;
	unsigned pos;
};

/**
 * struct task - Runs once after the events at hand
 */
struct task {
	void (*run)(struct task *t);
	struct task *next;
	bool queued;
};

/**
 * loop_new() - @mail: called for what loop_post() sent here; NULL without memory or descriptors
 */
struct loop *loop_new(void (*mail)(void *ctx, const void *msg, size_t len), void *ctx);
void loop_free(struct loop *l);		/* NULL is fine */

/**
 * loop_run() - Until loop_stop()
 */
void loop_run(struct loop *l) __attribute__((nonnull));

/**
 * loop_drain() - Run the tasks that are left, after loop_run()
 */
void loop_drain(struct loop *l) __attribute__((nonnull));

/**
 * loop_stop() - Leave loop_run(); from the loop's own thread
 */
void loop_stop(struct loop *l) __attribute__((nonnull));

/**
 * loop_now() - CLOCK_MONOTONIC, when the events at hand were taken
 */
uint64_t loop_now(const struct loop *l) __attribute__((nonnull));

/**
 * loop_watch() - Return: 0 or -errno
 * @events:	EPOLLIN ...; a closed descriptor is forgotten by itself
 */
int loop_watch(struct loop *l, int fd, uint32_t events, struct watch *w) __attribute__((nonnull));
void loop_unwatch(struct loop *l, int fd) __attribute__((nonnull));

/**
 * loop_timer() - Set (again) or, with @due_ns 0, switch off
 *
 * Return: 0 or -ENOMEM, never once loop_reserve() made room
 */
int loop_timer(struct loop *l, struct timer *t, uint64_t due_ns) __attribute__((nonnull));

/**
 * loop_timer_off() - Out of the heap: before its memory is freed
 */
void loop_timer_off(struct loop *l, struct timer *t) __attribute__((nonnull));

/**
 * loop_reserve() - Room for so many timers.  Return: 0 or -ENOMEM
 */
int loop_reserve(struct loop *l, unsigned timers) __attribute__((nonnull));

void loop_task(struct loop *l, struct task *t) __attribute__((nonnull));

/**
 * loop_post() - Send mail to a loop, from any thread
 *
 * Return: 0; -EAGAIN if its box is full; -EMSGSIZE; -errno
 */
int loop_post(struct loop *l, const void *msg, size_t len) __attribute__((nonnull));

#endif /* GW_LOOP_H */
