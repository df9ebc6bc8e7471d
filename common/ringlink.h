/* SPDX-License-Identifier: MIT */
/*
 * ringlink.h - Joining a ring: the head's socket, and those who come
 *
 * Theory of operation
 *
 * The head listens on a SOCK_SEQPACKET socket of the abstract namespace (nothing to clean
 * up after a crash; as a pipe's other end, a neighbour shares the network namespace).
 * Who was offered a seat connects, shows the segment's nonce and names the seat; it gets
 * the memory file and all doorbells by SCM_RIGHTS.  The connection stays: when the one
 * closes, the other knows that its peer is gone.
 *
 * A seat belongs to who holds the OFD lock on the memory file's byte of that number,
 * through an open file description of its own (/proc/self/fd); the kernel drops it with
 * the process.  Who was offered a seat and takes no ring says so in the same way, if it can
 * reach the head: the writer knows then not to wait for it.
 *
 * A ring is for processes of one user: kernel credentials of both ends of the connection are
 * compared.
 */
#ifndef GW_RINGLINK_H
#define GW_RINGLINK_H

#include "capfile.h"
#include "ring.h"

/**
 * struct ring_host - The head's side
 * @fd:		For the stage's poll: readable when there is something to serve
 * @deaf:	We have no descriptor left for those who knock: not listened to until the
 *		next host_serve()
 */
struct ring_host {
	struct ring ring;
	uint8_t nonce[RING_NONCE];
	char name[CAP_NAME_MAX];
	int fd;
	int listen_fd;
	bool deaf;
	struct {
		int fd;			/* -1: free */
		unsigned seat;		/* 0: not joined yet */
	} conn[2 * RING_STAGES];
};

/**
 * host_open() - Make a segment and listen for those who join
 * @entries, @stride:	Frames and the bytes of each: ring_create()
 *
 * Return: 0 or -errno
 */
int host_open(struct ring_host *h, uint32_t entries, uint32_t stride) __attribute__((nonnull));

/**
 * host_serve() - Whatever came: connections, requests, ends; never blocks
 *
 * A seat whose connection ends is marked RING_VACANT, if it had not left, and the stage
 * in front of it is rung.
 */
void host_serve(struct ring_host *h) __attribute__((nonnull));

void host_close(struct ring_host *h) __attribute__((nonnull));

/**
 * host_offer() - Offer of seat @seat
 */
void host_offer(const struct ring_host *h, unsigned seat, struct cap_offer *o)
	__attribute__((nonnull));

/**
 * struct ring_guest - The side of a stage that is not the head
 * @fd:		Connection to the head, -1: none; readable when the head is gone
 * @seat:	Ours
 * @joined:	@ring is mapped and the seat's lock is ours
 * @why:	After -ECONNREFUSED and others: what to tell people
 */
struct ring_guest {
	struct ring ring;
	struct cap_offer offer;
	int fd;
	int lock_fd;
	unsigned seat;
	bool joined;
	char why[64];
};

void guest_init(struct ring_guest *g) __attribute__((nonnull));

/**
 * guest_ask() - Ask for the seat that was offered
 *
 * Return: 0: guest_answer() will tell; -errno with @g->why
 */
int guest_ask(struct ring_guest *g, const struct cap_offer *o) __attribute__((nonnull));

/**
 * guest_decline() - Tell the head that we shall not take the seat that was offered
 */
void guest_decline(const struct cap_offer *o) __attribute__((nonnull));

/**
 * guest_answer() - Did the head answer?
 *
 * Return: 0: joined; -EAGAIN: not yet; -errno with @g->why: there is no ring for us
 */
int guest_answer(struct ring_guest *g) __attribute__((nonnull));

/**
 * guest_orphaned() - Is the head gone?
 */
bool guest_orphaned(const struct ring_guest *g) __attribute__((nonnull));

/**
 * seat_held() - Does anybody hold the lock on a seat?
 */
bool seat_held(const struct ring *r, unsigned seat) __attribute__((nonnull));

/**
 * seat_lock() - Take the lock on a seat, if nobody holds it
 *
 * Return: a descriptor that holds it until it is closed; -EBUSY or -errno
 */
int seat_lock(const struct ring *r, unsigned seat) __attribute__((nonnull));

/**
 * seats_clear() - Make stage @k the last one, if nobody holds a seat from @from on
 * @upto:	What @k handed on to them: less done by the last one is lost, which is logged
 * @spec:	For the log
 *
 * Return: was it done?
 */
bool seats_clear(struct ring *r, unsigned k, unsigned from, uint64_t upto, const char *spec)
	__attribute__((nonnull));

/**
 * guest_close() - Give up the seat's lock, close everything; harmless twice
 */
void guest_close(struct ring_guest *g) __attribute__((nonnull));

/**
 * guest_offer() - The same ring, offered to the next stage
 */
void guest_offer(const struct ring_guest *g, struct cap_offer *o) __attribute__((nonnull));

#endif /* GW_RINGLINK_H */
