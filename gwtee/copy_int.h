/* SPDX-License-Identifier: MIT */
/*
 * copy_int.h - What the two sides of a copy share: copy.c encodes, copy_thread.c writes
 */
#ifndef GW_COPY_INT_H
#define GW_COPY_INT_H

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>

#include "copy.h"

#define COPY_CHUNK	(512u << 10)	/* holds any one packet */
#define COPY_CHUNKS	16u

_Static_assert(COPY_CHUNK > FRAME_DATA_MAX + 65536u + CAP_PACKET_ROOM, "one packet, its options");

/**
 * struct copy_chunk - Whole records, and where they go
 * @head_len:	> 0: a new file begins here, called @path, with @head in front
 */
struct copy_chunk {
	uint8_t *data;
	size_t len;
	uint32_t packets;
	size_t head_len;
	uint8_t head[2 * CAP_HEADER_ROOM];
	char path[PATH_MAX];
};

struct copy {
	/* the stage's */
	const char *path;
	struct copy_conf conf;
	struct cap_writer w;
	struct copy_chunk *cur;
	int width;			/* digits of a file's number */
	uint64_t number;		/* of the file, behind its name */
	uint64_t nfiles;
	uint64_t file_bytes;
	uint64_t slice_ns;		/* capture time at the start of the file */
	uint64_t taken;
	uint64_t full_ns;		/* since when there was no chunk */
	bool ended;
	bool warned;
	_Atomic uint64_t lost;		/* never encoded */

	/* under the lock */
	pthread_mutex_t lock;
	pthread_cond_t work;		/* the stage to the thread */
	pthread_cond_t room;		/* and back */
	struct copy_chunk *free[COPY_CHUNKS];
	struct copy_chunk *queue[COPY_CHUNKS];
	unsigned nfree, first, queued;
	bool finish;
	bool done;

	/* the thread's, once it runs */
	pthread_t thread;
	int fd;
	int stop_fd;			/* readable: leave everything and end */
	bool fresh;			/* the file has no header yet */
	bool opened;			/* some file was open already */
	int tries;			/* left to open a fifo at the end */
	uint8_t head[2 * CAP_HEADER_ROOM];
	size_t head_len;
	char file[PATH_MAX];
	_Atomic uint64_t written;
	_Atomic uint64_t failed;	/* encoded, but not written */
	_Atomic uint64_t progress_ns;

	struct copy_chunk chunk[COPY_CHUNKS];
};

void *copy_thread(void *arg);

#endif /* GW_COPY_INT_H */
