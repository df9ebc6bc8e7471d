/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "joiner.h"
#include "log.h"
#include "pieces.h"

/**
 * struct joiner - An output that knows of fragments and mirrors
 * @pool:	One frame: the piece in hand
 * @it:		Where we are in the frame in hand, while @busy
 * @held:	The piece in hand is still to be written
 * @written:	Pieces of the frame in hand that were
 */
struct joiner {
	struct tx tx;
	struct tx *inner;
	struct frame **pool;
	struct pieces it;
	bool busy;
	bool held;
	uint64_t written;
};

#define ROOM	(FRAME_HEADROOM + UINT16_MAX + ENCAP_MAX)

static bool hold_piece(struct joiner *j, const struct frame *f)
{
	struct frame *p = j->pool[0];
	uint8_t scratch[PIECE_ROOM];
	struct iovec iov[2];

	if (!pieces_next(&j->it, scratch, iov))
		return false;
	frame_reset(p);
	p->seq = f->seq;
	p->ts_ns = f->ts_ns;
	p->endpoint = f->endpoint;
	p->attachment = f->attachment;
	p->cookie = f->cookie;
	p->dialect = f->dialect;
	p->linktype = f->encap_linktype;
	p->off = (int64_t)FRAME_HEADROOM;
	p->len = p->orig_len = (uint32_t)(iov[0].iov_len + iov[1].iov_len);
	memcpy(frame_data(p), iov[0].iov_base, iov[0].iov_len);
	memcpy(frame_data(p) + iov[0].iov_len, iov[1].iov_base, iov[1].iov_len);
	return true;
}

/*
 * One frame, piece by piece; goes on where it was when the output was full
 *
 * Return: 1 when it is done with, 0 if it would block, or -errno
 */
static int send_pieces(struct joiner *j, struct frame *f)
{
	enum reason r;
	int n;

	if (!j->busy) {
		r = pieces_start(&j->it, f);
		if (r) {
			frame_drop(f, r, 0);
			return 1;
		}
		j->busy = true;
		j->written = 0;
	}
	while (j->held || hold_piece(j, f)) {
		j->held = true;
		n = tx_send(j->inner, j->pool, 1);
		if (n <= 0)
			return n;
		j->held = false;
		if (j->pool[0]->verdict)
			frame_drop(f, j->pool[0]->verdict, 0);
		else
			j->written++;
	}
	j->busy = false;
	j->tx.made += j->written - !f->verdict;
	return 1;
}

static int plain_run(struct frame **f, int n)
{
	int i = 0;

	while (i < n && (f[i]->verdict || !(f[i]->marks & PIECES_MARKS)))
		i++;
	return i;
}

/* The real output's counters, which also go back when it fails */
static void follow(struct joiner *j)
{
	j->tx.packets = j->inner->packets;
	j->tx.bytes = j->inner->bytes;
	j->tx.uncertain = j->inner->uncertain;
}

static int joiner_send(struct tx *tx, struct frame **f, int n)
{
	struct joiner *j = (struct joiner *)tx;
	int done = 0, took = 1;

	while (done < n && took > 0) {
		int run = plain_run(f + done, n - done);

		took = run ? tx_send(j->inner, f + done, run) : send_pieces(j, f[done]);
		if (took > 0)
			done += took;
	}
	follow(j);
	return took < 0 && !done ? took : done;
}

static int joiner_flush(struct tx *tx)
{
	struct joiner *j = (struct joiner *)tx;
	int err = tx_flush(j->inner);

	follow(j);
	return err;
}

static int joiner_poll(struct tx *tx, struct pollfd *fds)
{
	return tx_poll(((struct joiner *)tx)->inner, fds);
}

static int joiner_end(struct tx *tx, enum tx_end how)
{
	struct joiner *j = (struct joiner *)tx;
	int err;

	if (j->busy)		/* given up half-way: the frame was dropped */
		tx->made += j->written;
	j->busy = false;
	err = tx_end(j->inner, how);
	follow(j);
	return err;
}

static void joiner_close(struct tx *tx)
{
	struct joiner *j = (struct joiner *)tx;

	tx_close(j->inner);
	frame_pool_free(j->pool);
	free(j);
}

static const struct tx_ops joiner_ops = {
	.send = joiner_send,
	.flush = joiner_flush,
	.poll = joiner_poll,
	.end = joiner_end,
	.close = joiner_close,
};

struct tx *joiner_open(struct tx *inner)
{
	struct joiner *j = calloc(1, sizeof(*j));

	if (!j)
		die("%m");
	j->tx = (struct tx){ .ops = &joiner_ops, .spec = inner->spec, .kind = inner->kind };
	j->inner = inner;
	j->pool = frame_pool_new(1, ROOM);
	if (!j->pool)
		die("%m");
	return (struct tx *)j;
}
