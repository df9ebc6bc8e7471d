/* SPDX-License-Identifier: MIT */
/*
 * pktring.h - A packet socket whose packets the kernel puts into memory that we share
 *
 * Theory of operation
 *
 * TPACKET_V2: slots of one size in blocks of memory, filled in order.  A slot belongs to
 * the kernel until its status has TP_STATUS_USER, then to us until we write
 * TP_STATUS_KERNEL.  No system call is made per packet or burst; poll() wakes when a
 * packet is there.  (TPACKET_V3 packs packets tighter, but hands them over by the
 * block, when it is full or a timer runs out: half a millisecond late at low rates.)
 *
 * A slot is to be given back at once: poll() on a ring returns without end while the
 * packet last written is still held.
 *
 * The stride of the slots is an odd number of cache lines, and several lie in one block:
 * slots that began at multiples of a power of two would share a few sets of the cache.
 */
#ifndef GW_PKTRING_H
#define GW_PKTRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/if_packet.h>

/**
 * struct pktring - Socket, ring and where we are in it
 * @fd:		To poll for POLLIN
 * @at:		Next slot, and @left behind it in its block
 */
struct pktring {
	int fd;
	uint8_t *map;
	uint8_t *end;
	uint8_t *at;
	size_t slot;
	size_t gap;		/* from a block's last slot to the next block, less @slot */
	unsigned per_block;
	unsigned left;
};

/**
 * pktring_open() - Make socket and ring; nothing arrives before pktring_bind()
 * @r:		Written on success only
 * @type:	SOCK_RAW: packets with their link layer; SOCK_DGRAM: without
 * @longest:	Longest packet to have room for
 * @bytes:	Of the ring, as far as whole blocks fit; one block at least
 *
 * Needs CAP_NET_RAW.
 *
 * Return: 0 or -errno
 */
int pktring_open(struct pktring *r, int type, uint32_t longest, size_t bytes)
	__attribute__((nonnull, warn_unused_result));

/**
 * pktring_bind() - Take what arrives on an interface, also on another one than before
 *
 * Needs no privilege.  Return: 0 or -errno
 */
int pktring_bind(struct pktring *r, int ifindex) __attribute__((nonnull, warn_unused_result));

/**
 * pktring_peek() - The oldest packet, or NULL
 *
 * Its bytes, @tp_snaplen of @tp_len, start @tp_mac behind the header.
 */
static inline const struct tpacket2_hdr *pktring_peek(const struct pktring *r)
{
	const struct tpacket2_hdr *h = (const struct tpacket2_hdr *)(const void *)r->at;

	/* Pairs with the barrier the kernel has between packet and status */
	return __atomic_load_n(&h->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER ? h : NULL;
}

/**
 * pktring_return() - Give the slot back that pktring_peek() showed
 */
static inline void pktring_return(struct pktring *r)
{
	struct tpacket2_hdr *h = (struct tpacket2_hdr *)(void *)r->at;

	/* What was read of the slot was read: only then may the kernel write to it */
	__atomic_store_n(&h->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
	r->at += r->slot;
	if (--r->left)
		return;
	r->left = r->per_block;
	r->at += r->gap;
	if (r->at == r->end)
		r->at = r->map;
}

/**
 * pktring_clear() - Take a pending error off the socket: poll() would wake for ever
 *
 * Return: the error, e.g. -ENETDOWN once after the interface went down; or 0
 */
int pktring_clear(struct pktring *r) __attribute__((nonnull));

/**
 * pktring_drops() - Packets the kernel had no slot for, since the last call
 */
uint32_t pktring_drops(struct pktring *r) __attribute__((nonnull));

void pktring_close(struct pktring *r) __attribute__((nonnull));

#endif /* GW_PKTRING_H */
