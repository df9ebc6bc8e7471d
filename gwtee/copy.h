/* SPDX-License-Identifier: MIT */
/*
 * copy.h - A copy of a stream in a file or a fifo, written by a thread of its own
 *
 * Theory of operation
 *
 * The stage encodes packets into chunks, whole records only, and hands full ones (or,
 * before it sleeps, what there is) to the copy's thread, which does everything that
 * may block: opening a fifo that nobody reads yet, writing to a slow disk or to a
 * reader that was stopped.  Chunks are a fixed number; when none is free, packets
 * are lost to this copy and counted.
 *
 * A file stays readable whatever happens: what could not be written whole is cut off
 * again at a record's end, and a fifo's next reader gets the header anew.
 *
 * The lock is taken once a chunk, never once a packet.
 */
#ifndef GW_COPY_H
#define GW_COPY_H

#include <stdbool.h>
#include <stdint.h>

#include "frame.h"
#include "priv.h"
#include "stream.h"

/**
 * struct copy_conf - How to copy
 * @snaplen:	At most so many bytes of a packet
 * @limit:	End after so many packets; 0: never
 * @seconds:	-G: a new file after so long by capture time; 0: never
 * @bytes:	-C: a new file after so many bytes; 0: never
 * @files:	-W: with @bytes a ring of so many files, with @seconds alone the last one
 *		ends the copy; 0: no limit
 */
struct copy_conf {
	uint32_t snaplen;
	uint64_t limit;
	uint64_t seconds;
	uint64_t bytes;
	uint64_t files;
};

struct copy;

/**
 * copy_open() - Open what can be opened now; errors exit (set-up only)
 * @path:	Kept, not copied; ".pcap" at its end: classic pcap
 * @name:	Of the interface description
 * @rx:		A copy into the input itself is refused
 * @priv:	Files that will be followed by others are handed to this user
 */
struct copy *copy_open(const char *path, const struct copy_conf *conf, const char *name,
		       const struct rx *rx, const struct priv *priv);

/**
 * copy_start() - Start the thread: after privileges were dropped
 */
void copy_start(struct copy *c);

/**
 * copy_packet() - Copy one packet, or count it as lost
 * @wait:	Nothing is lost while the copy moves: wait up to a second for it
 */
void copy_packet(struct copy *c, struct frame *f, bool wait);

/**
 * copy_push() - Hand over what is encoded so far
 *
 * While the thread is behind, chunks are filled first: call it again within a second.
 */
void copy_push(struct copy *c);

/**
 * copy_counts() - Advance by packets written, and lost; others wait to be the one or the other
 */
void copy_counts(const struct copy *c, uint64_t *copied, uint64_t *lost);

/**
 * copy_finish() - No more packets
 */
void copy_finish(struct copy *c);

/**
 * copy_close() - Wait for the thread until @deadline_ns (CLOCK_MONOTONIC), then count
 * the rest as lost
 * @copied, @lost:	Advanced by its packets
 */
void copy_close(struct copy *c, uint64_t deadline_ns, uint64_t *copied, uint64_t *lost);

#endif /* GW_COPY_H */
