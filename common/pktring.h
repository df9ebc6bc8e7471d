/* SPDX-License-Identifier: MIT */
/*
 * pktring.h - Packets of a packet socket, in memory that the kernel shares with us
 *
 * Theory of operation
 *
 * TPACKET_V2: slots of one size in blocks of memory, filled in order.  A slot belongs to
 * the kernel until its status has TP_STATUS_USER, then to us until we write
 * TP_STATUS_KERNEL.  No system call is made per packet or burst; poll() wakes when a
 * packet is there.  (TPACKET_V3 packs packets tighter, but hands them over by the
 * block, when it is full or a timer runs out: half a millisecond late at low rates.)
 *
 * Slots are to be given back before poll(): it returns without end while the packet last
 * written is still held.
 *
 * The stride of the slots is an odd number of cache lines, and several lie in one block:
 * slots that began at multiples of a power of two would share a few sets of the cache.
 */
#ifndef GW_PKTRING_H
#define GW_PKTRING_H

#include <stddef.h>
#include <stdint.h>

#include <linux/if_packet.h>

/**
 * struct pktring_at - A place in the ring
 * @slot:	There
 * @left:	Slots from there to the end of its block
 */
struct pktring_at {
	uint8_t *slot;
	unsigned left;
};

/**
 * struct pktring - A ring and where we are in it
 * @size:	Of a slot
 * @gap:	Between a block's last slot and the next block
 * @next:	To be handed out
 * @back:	To be given back; @held slots lie between
 */
struct pktring {
	int fd;
	uint8_t *map;
	uint8_t *end;
	size_t size;
	size_t gap;
	unsigned per_block;
	unsigned slots;
	unsigned held;
	struct pktring_at next;
	struct pktring_at back;
};

/**
 * pktring_open() - Give a packet socket that is not bound yet its ring
 * @r:		Written on success only
 * @fd:		Stays the caller's
 * @longest:	Longest packet to have room for
 * @reserve:	Bytes before each that are ours to write
 * @bytes:	Of the ring, as far as whole blocks fit; one block at least
 *
 * Return: 0 or -errno
 */
int pktring_open(struct pktring *r, int fd, uint32_t longest, uint32_t reserve, size_t bytes)
	__attribute__((nonnull, warn_unused_result));

/**
 * pktring_close() - Take the ring, and what lies in it, off its socket; all zero is fine
 */
void pktring_close(struct pktring *r) __attribute__((nonnull));

static inline void pktring_step(const struct pktring *r, struct pktring_at *a)
{
	a->slot += r->size;
	if (--a->left)
		return;
	a->left = r->per_block;
	a->slot += r->gap;
	if (a->slot == r->end)
		a->slot = r->map;
}

/**
 * pktring_peek() - The next packet, or NULL
 *
 * Its bytes, @tp_snaplen of @tp_len, start @tp_mac behind the header.
 */
static inline struct tpacket2_hdr *pktring_peek(const struct pktring *r)
{
	struct tpacket2_hdr *h = (struct tpacket2_hdr *)(void *)r->next.slot;

	/* Acquire: pairs with the kernel's write of the status, behind the packet */
	if (!(__atomic_load_n(&h->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER) ||
	    r->held == r->slots)
		return NULL;
	return h;
}

/**
 * pktring_hold() - Hold the packet that was peeked at: another one is the next
 */
static inline void pktring_hold(struct pktring *r)
{
	r->held++;
	pktring_step(r, &r->next);
}

/**
 * pktring_return() - Give the slot back that is held for longest
 */
static inline void pktring_return(struct pktring *r)
{
	struct tpacket2_hdr *h = (struct tpacket2_hdr *)(void *)r->back.slot;

	/* Release: what was read of it was read before the kernel may write again */
	__atomic_store_n(&h->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
	r->held--;
	pktring_step(r, &r->back);
}

/**
 * pktring_bind() - Take what arrives on an interface, also on another one than before
 *
 * Needs no privilege.  Return: 0 or -errno
 */
int pktring_bind(int fd, int ifindex) __attribute__((warn_unused_result));

/**
 * pktring_drops() - Packets the kernel had no slot for, since the last call
 */
uint32_t pktring_drops(int fd);

#endif /* GW_PKTRING_H */
