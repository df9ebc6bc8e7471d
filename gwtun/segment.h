/* SPDX-License-Identifier: MIT */
/*
 * segment.h - Large packets: cut what comes from a TUN, merge what goes to it
 *
 * Theory of operation
 *
 * A TUN with offloads carries packets of up to 64 KB with a struct virtio_net_hdr in front:
 * one pass through the kernel's stack for many segments.  Its packets may also lack
 * their transport checksum (NEEDS_CSUM).  On the wire each must be whole and no longer than
 * the MTU.
 *
 * Cutting: each piece gets the headers of the whole, with its own lengths, identification,
 * sequence number and checksums; FIN and PSH go with the last piece, CWR with the first.
 *
 * Merging: consecutive segments of one direction of a TCP connection whose headers say the
 * same but for sequence number, length, identification and checksum become one packet.  Nothing is
 * copied: a merge is a list of pieces for writev(2).  As the kernel then takes the checksum
 * for verified, it is verified here.
 */
#ifndef GW_SEGMENT_H
#define GW_SEGMENT_H

#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "frame.h"

#define SEGMENT_HEAD_MAX	256u	/* IP and transport header of what is cut or merged */

/**
 * struct cut - A packet from the TUN, being cut
 * @pkt, @p:	The packet, changed in place
 * @size:	Payload of each piece but the last; 0: it goes as it is
 * @next:	Payload not handed out yet
 */
struct cut {
	uint8_t *pkt;
	struct packet p;
	uint32_t size;
	uint32_t next;
	uint32_t nth;
	bool udp;
	bool over;
};

/**
 * cut_start() - Take a packet; headers may then be changed before cut_finish()
 * @pkt:	Behind the virtio header; @len bytes, the cut's until cut_next() returns 0
 *
 * Return: REASON_NONE, or why this is not fit to be sent
 */
enum reason cut_start(struct cut *c, uint8_t *pkt, size_t len, const struct virtio_net_hdr *h)
	__attribute__((nonnull, warn_unused_result));

/**
 * cut_finish() - Make the checksum of a packet that goes as it is, if it lacks one
 */
void cut_finish(struct cut *c, const struct virtio_net_hdr *h) __attribute__((nonnull));

/**
 * cut_reset() - Make a TCP packet with FIN a RST in its place, and whole
 */
void cut_reset(struct cut *c) __attribute__((nonnull));

/**
 * cut_next() - Next piece
 * @out:	Room for @room bytes
 *
 * Return: its length; 0: there is none; -1: it is longer than @room: nothing is left of it
 */
int cut_next(struct cut *c, uint8_t *out, size_t room) __attribute__((nonnull));

/**
 * struct merge - Segments that go to the TUN as one packet
 * @frame:	The packets; @n of them, @iov[0] is the header in front of all
 * @h:		Virtio header, then copies of the other ones
 */
struct merge {
	struct frame *frame[FRAME_BURST];
	struct iovec iov[FRAME_BURST + 1];
	unsigned n;
	uint32_t size;
	uint32_t total;
	uint32_t next_seq;
	bool mergeable;
	bool last;
	bool checked;
	struct {
		struct virtio_net_hdr v;
		uint8_t head[SEGMENT_HEAD_MAX];
	} __attribute__((packed)) h;
};

/**
 * merge_start() - Begin with a packet, whatever it is
 * @f:		Parsed; stays as it is until merge_finish() and the write
 */
void merge_start(struct merge *m, struct frame *f) __attribute__((nonnull));

/**
 * merge_add() - Add the next packet of the same connection and direction
 *
 * Return: false: it does not follow; finish the merge and start another
 */
bool merge_add(struct merge *m, struct frame *f) __attribute__((nonnull));

/**
 * merge_finish() - Headers of the whole
 *
 * Return: how many of @m->iov to write
 */
int merge_finish(struct merge *m) __attribute__((nonnull));

/**
 * tcp_mss() - Where the MSS option of a SYN is
 * @tcp:	@len bytes from the TCP header on
 *
 * Return: its two bytes, or NULL
 */
uint8_t *tcp_mss(uint8_t *tcp, size_t len) __attribute__((nonnull));

#endif /* GW_SEGMENT_H */
