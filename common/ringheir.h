/* SPDX-License-Identifier: MIT */
/*
 * ringheir.h - A seat that nobody will take again: the writer empties it, and streams go on
 *
 * Theory of operation
 *
 * A stage on a ring may be gone, and who reads in its place takes no ring: it was started so,
 * as another user, from another build, on another machine.  Its writer inherits the seat.  It
 * takes the lock, so that nobody sits down meanwhile, sends by stream what waits there, and
 * marks these entries as dropped: for the stages behind they are nothing.  These work off
 * what is before them, see that the seat was left, and leave as well; their streams go on
 * from the new reader's.  When none of them is left the writer is the last stage, and gives
 * the lock back: from then on a ring may be offered as to any reader.
 *
 * Nothing is lost but the burst that the dead stage had in hand.
 */
#ifndef GW_RINGHEIR_H
#define GW_RINGHEIR_H

#include "ringlink.h"
#include "stream.h"

struct ring_heir {
	struct ring_pos pos;
	int lock_fd;
	bool emptied;
};

void heir_init(struct ring_heir *h) __attribute__((nonnull));

/**
 * heir_sit() - Inherit seat @k
 * @lost:	Written: packets that were in its owner's hand
 *
 * Return: 0; -EBUSY: somebody sits there; -EPROTO and others
 */
int heir_sit(struct ring_heir *h, struct ring *r, unsigned k, unsigned *lost)
	__attribute__((nonnull));

/**
 * heir_send() - What waits there goes by @tx, which has counted it as sent by the ring
 * @lost:	Added to: packets that cannot be sent any more
 *
 * Return: 0: it is empty, the stages behind were told; -EAGAIN
 */
int heir_send(struct ring_heir *h, struct tx *tx, uint64_t *lost) __attribute__((nonnull));

/**
 * heir_done() - Once the stages behind have left: the seat is empty as in the beginning
 *
 * Return: have they?
 */
bool heir_done(struct ring_heir *h, const char *spec) __attribute__((nonnull));

/**
 * heir_close() - Give up the lock; harmless twice
 *
 * Return: packets that were not sent
 */
uint64_t heir_close(struct ring_heir *h) __attribute__((nonnull));

#endif /* GW_RINGHEIR_H */
