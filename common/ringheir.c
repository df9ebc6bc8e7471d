/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <unistd.h>

#include "log.h"
#include "ringheir.h"

void heir_init(struct ring_heir *h)
{
	h->lock_fd = -1;
}

int heir_sit(struct ring_heir *h, struct ring *r, unsigned k, unsigned *lost)
{
	int err, fd = seat_lock(r, k);

	if (fd < 0)
		return fd;
	err = ring_sit(&h->pos, r, k);
	if (err) {
		close(fd);
		return err;
	}
	h->lock_fd = fd;
	h->emptied = false;
	*lost = ring_recover(&h->pos);
	return 0;
}

/* Return: 1; 0: nothing is left; -EAGAIN, or other errors */
static int send_one(struct ring_heir *h, struct tx *tx)
{
	struct frame *f;
	int n = ring_take(&h->pos, &f, 1);
	uint32_t len;

	if (n <= 0)
		return n;
	if (!f->verdict) {
		len = f->len;
		n = tx_send(tx, &f, 1);
		if (n <= 0) {
			h->pos.held = 0;	/* it is taken again */
			return n ? n : -EAGAIN;
		}
		tx->packets--;		/* counted when it went into the ring */
		tx->ringed--;
		tx->bytes -= len;
		frame_drop(f, REASON_RESTART, 0);
	}
	ring_put(&h->pos);
	return 1;
}

/* What lies there and was not sent */
static uint64_t waiting(const struct ring_heir *h)
{
	uint64_t n = ring_upto(h->pos.ring, h->pos.k - 1) - h->pos.done;

	return n <= h->pos.ring->entries ? n : 0;
}

int heir_send(struct ring_heir *h, struct tx *tx, uint64_t *lost)
{
	int n = 0;

	if (h->emptied)
		return 0;
	while ((n = send_one(h, tx)) > 0)
		;
	ring_wake(&h->pos);
	if (n == -EAGAIN)
		return n;
	if (n)			/* it cannot be read, or not be sent, and will never be */
		*lost += waiting(h);
	h->emptied = true;
	ring_leave(h->pos.ring, h->pos.k);
	return 0;
}

bool heir_done(struct ring_heir *h, const char *spec)
{
	unsigned k = h->pos.k;

	if (!seats_clear(h->pos.ring, k - 1, k + 1, ring_upto(h->pos.ring, k), spec))
		return false;
	ring_set_state(h->pos.ring, k, RING_EMPTY);
	heir_close(h);
	return true;
}

uint64_t heir_close(struct ring_heir *h)
{
	uint64_t left = 0;

	if (h->lock_fd < 0)
		return 0;
	if (!h->emptied)
		left = waiting(h);
	close(h->lock_fd);
	h->lock_fd = -1;
	return left;
}
