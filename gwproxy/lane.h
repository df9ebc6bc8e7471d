/* SPDX-License-Identifier: MIT */
/*
 * lane.h - One direction of a relayed connection: bytes read, looked at, and passed on
 *
 * What was read lies in one buffer, in three parts: bytes that go on as they are, bytes that
 * nobody looked at yet, and room.  So a body that nobody changes is never copied.  What an
 * engine makes itself lies in a second buffer, and goes out first: lane_put() moves what
 * was to go on before it there.  Buffers are taken when there is something to hold, and given
 * back when there is not: a connection that waits has none.
 *
 * So that one whose reader stops has none, either, no more is read than the kernel takes
 * (lane_takes()).
 */
#ifndef GW_LANE_H
#define GW_LANE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "leg.h"

#define LANE_ROOM	16384u	/* one TLS record */
#define LANE_OUT_MAX	65536u	/* with so much to go out no more is read */
#define LANE_BULK	8192u	/* who sends so many at once has more */
#define LANE_FAST	(1u << 19)	/* who took so many bytes is quick ... */
#define LANE_SLOW_NS	500000000u	/* ... until it takes nothing for so long */

/**
 * struct lane - One direction
 * @in, @room:	What was read: [@sent, @pass) goes on as it is, [@pass, @end) is to be looked at
 * @out, @out_room:	What was made: [@out_sent, @out_end) goes out before it
 * @eof:	@from's stream ended
 * @dead:	@to takes nothing any more: what is for it is thrown away
 * @shut:	Shut @to when all is out; @shut_done: it is
 * @want_in, @want_out:	What the last -EAGAIN waits for, or 0
 * @full:	POLLOUT: as @want_out, for lane_takes()
 * @fast:	@to was quick so far: larger buffers are worth it; @moved: bytes since it was slow
 * @stuck_ns:	Since when @to takes nothing; 0: it does
 * @bytes:	Read
 */
struct lane {
	struct leg *from, *to;
	uint8_t *in, *out;
	size_t room, sent, pass, end;
	size_t out_room, out_sent, out_end;
	bool eof, dead, shut, shut_done, fast;
	short want_in, want_out, full;
	size_t moved;
	uint64_t stuck_ns;
	uint64_t bytes;
};

/* Bytes to look at */
static inline const uint8_t *lane_data(const struct lane *l)
{
	return l->in ? l->in + l->pass : NULL;
}

static inline size_t lane_len(const struct lane *l)
{
	return l->end - l->pass;
}

static inline size_t lane_waiting(const struct lane *l)
{
	return l->pass - l->sent + (l->out_end - l->out_sent);
}

/* The next @n bytes go on as they are */
static inline void lane_pass(struct lane *l, size_t n)
{
	l->pass += n;
}

/**
 * lane_take() / lane_give() - A buffer of @room bytes; those of LANE_ROOM and LANE_OUT_MAX are
 * kept for the next one
 */
uint8_t *lane_take(size_t room);
void lane_give(uint8_t *buf, size_t room);
void lane_spare_close(void);	/* at the end of a thread */

/**
 * lane_takes() - How much may be read for it?
 * @from:	Where
 *
 * Return: as leg_takes()
 */
size_t lane_takes(struct lane *l, struct leg *from, uint64_t now_ns);

/**
 * lane_fill() - Read what there is room for, at most once
 *
 * Return: bytes; 0 at the end of the stream (@eof); -EAGAIN; -ENOBUFS: no room, as what was
 * read is not looked at or not taken; -ENOMEM; -errno of the leg
 */
ssize_t lane_fill(struct lane *l);

/**
 * lane_widen() - Let up to @room bytes lie unlooked-at: a head that has to be in one piece
 *
 * Return: 0, -ENOBUFS when there is as much room already, -ENOMEM
 */
int lane_widen(struct lane *l, size_t room);

/**
 * lane_skip() - The next @n bytes don't go on.  Return: 0 or -ENOMEM
 */
int lane_skip(struct lane *l, size_t n);

/**
 * lane_put() - These bytes go out next.  Return: 0 or -ENOMEM
 */
int lane_put(struct lane *l, const void *data, size_t len);

/**
 * lane_room() - @len bytes, at least one, to be written in place, as lane_put()
 *
 * lane_made() says how many of them were used.  Return: NULL without memory
 */
uint8_t *lane_room(struct lane *l, size_t len);
static inline void lane_made(struct lane *l, size_t n)
{
	l->out_end += n;
}

/**
 * lane_flush() - Write what is to go out, then shut if asked for
 *
 * Return: bytes written (0: there were none, and none is left); -EAGAIN with what was written
 * in *@done; -errno of the leg
 */
ssize_t lane_flush(struct lane *l, size_t *done);

/**
 * lane_free() - Give the buffers back
 */
void lane_free(struct lane *l);

#endif /* GW_LANE_H */
