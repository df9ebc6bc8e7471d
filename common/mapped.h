/* SPDX-License-Identifier: MIT */
/*
 * mapped.h - A capture file in memory: read where the kernel has it
 *
 * Theory of operation
 *
 * read(2) copies all of a file; of a mapped one only what is looked at is ever touched, and
 * what goes on to another file is copied there straight away.  The mapping is private: who
 * changes a packet changes a page of ours, which costs more than to read it, so a stage that
 * edits reads.
 *
 * The file may change meanwhile, which read(2) made harmless: what was checked stays as it was.
 * So only files are mapped that nobody but root and ourselves can write.  What we do to
 * ourselves, as in "> in.pcap", is a file that gets shorter: the pages behind its new end are
 * gone, and a look at them is a SIGBUS.  The handler puts zeros there, and the reader asks
 * after each burst whether that happened.
 *
 * To enter pages into our tables takes a tenth of the time that a packet of 64 bytes does, so a
 * thread does it, ahead of the reader; from a disk, it is what waits.  It also takes pages out
 * again that the reader has left, and gives back what it has done with: page tables do not
 * grow with the file.  The thread starts with the first burst: it has the signal mask and the
 * privileges of then.
 *
 * One file of a process is mapped at most.
 */
#ifndef GW_MAPPED_H
#define GW_MAPPED_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "wire.h"

/**
 * struct mapped - A file, as it was when it was opened
 * @base, @size:	Where it lies; NULL: it is not mapped
 * @call_at:	When the reader has come so far, the thread is told
 * @due_at:	... and when so far, it is time to give back
 * @at, @done:	What it was told: where the reader is, what it has done with
 * @entered, @left, @given:	Up to where pages are in our tables, where they no longer are, and
 *		what is not even mapped any more
 */
struct mapped {
	uint8_t *base;
	size_t size;
	size_t call_at;
	size_t due_at;
	size_t at, done;
	size_t entered, left, given;
	bool started;
	bool quit;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t moved;
};

/**
 * mapped_open() - Map a file as far as it goes now
 * @st:		Of @fd, a regular file's
 *
 * Return: false if it is to be read(2)
 */
bool mapped_open(struct mapped *m, int fd, const struct stat *st)
	__attribute__((nonnull, warn_unused_result));

/**
 * mapped_call() - Tell the thread where the reader is: mapped_ahead() says when
 */
void mapped_call(struct mapped *m, size_t at) __attribute__((nonnull));

/**
 * mapped_ahead() - What follows @at is looked at next
 */
static inline void mapped_ahead(struct mapped *m, size_t at)
{
	if (unlikely(at >= m->call_at))
		mapped_call(m, at);
}

/**
 * mapped_due() - Is it time to give back what lies in front of @at?
 */
static inline bool mapped_due(const struct mapped *m, size_t at)
{
	return at >= m->due_at;
}

/**
 * mapped_give_back() - What lies in front of @at is not looked at any more
 *
 * Return: how many bytes in front are gone
 */
size_t mapped_give_back(struct mapped *m, size_t at) __attribute__((nonnull));

/**
 * mapped_shrunk() - Did the file get shorter under us?
 */
bool mapped_shrunk(void);

void mapped_close(struct mapped *m) __attribute__((nonnull));

#endif /* GW_MAPPED_H */
