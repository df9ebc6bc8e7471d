/* SPDX-License-Identifier: MIT */
/*
 * capfile.h - The capture codec: pcapng and classic pcap, both byte orders
 *
 * Reading works on a block of bytes that the caller fills: packets are parsed in
 * place and handed out as frames that point into it.  Writing appends to a
 * buffer that the caller drains.  Neither does I/O, so files, pipes and ZeroMQ
 * messages share one codec.  Formats: IETF draft-ietf-opsawg-pcapng; the local-use
 * blocks and the packet option of ours are in gwframe(5).
 */
#ifndef GW_CAPFILE_H
#define GW_CAPFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "frame.h"

#define CAP_NAME_MAX	64	/* chain, program, stage name; with the NUL */
#define CAP_BLOCK_MAX	(16u << 20)	/* a longer pcapng block is a broken file */
#define CAP_IFACES_MAX	256	/* interfaces of one section that are told apart */
#define CAP_NONCE	16u	/* bytes of a ring's secret */
#define CAP_OPTIONS_MAX	(64u << 10)	/* bytes of foreign options a packet keeps */

/**
 * struct cap_hello - Who writes this stream (local-use block, first after the section)
 * @nonce:	Random per process of the writer: tells a restart from a gap
 * @message:	ZeroMQ: number of this message, from 0; byte stream: 0
 * @packets:	Packets this writer sent before this block
 * @old_nonce:	Of a writer that died and whose successor this is; 0: none
 * @old_packets:	How many packets that one had sent
 * @live:	The chain's source is an interface, not a file
 * @ring:	An offer to share a ring may follow
 * @chain, @prog, @as:	NUL-terminated
 */
struct cap_hello {
	uint64_t nonce;
	uint64_t message;
	uint64_t packets;
	uint64_t old_nonce;
	uint64_t old_packets;
	bool live;
	bool ring;
	char chain[CAP_NAME_MAX];
	char prog[CAP_NAME_MAX];
	char as[CAP_NAME_MAX];
};

/**
 * struct cap_offer - A ring that the reader of this stream may join: ring.h
 * @seat:	The one that is the reader's
 * @magic, @version, @layout, @frame:	RING_MAGIC, RING_VERSION, sizeof(struct ring_shm),
 *		FRAME_SHARED
 * @dev, @ino:	Of the pipe written to: who reads another one is not meant; 0: ZeroMQ
 * @nonce:	To be shown at the head's socket
 * @path:	That socket's name in the abstract namespace, without the NUL in front
 */
struct cap_offer {
	uint32_t seat;
	uint32_t magic;
	uint32_t version;
	uint32_t layout;
	uint32_t frame;
	uint64_t dev;
	uint64_t ino;
	uint8_t nonce[CAP_NONCE];
	char path[CAP_NAME_MAX];
};

/**
 * struct cap_switch - From here on packets come through the ring
 * @nonce, @seat:	As offered
 * @gen:	Whom it is for: struct ring_seat
 */
struct cap_switch {
	uint8_t nonce[CAP_NONCE];
	uint32_t seat;
	uint32_t gen;
};

/* What cap_next() found */
enum cap_event {
	CAP_PACKET,		/* the frame is filled */
	CAP_MORE,		/* the block holds no further whole record */
	CAP_HELLO,		/* r->hello is filled */
	CAP_END,		/* our writer ended in order: r->total packets in all */
	CAP_ABORT,		/* our writer passes on that its upstream died */
	CAP_OFFER,		/* r->offer is filled */
	CAP_SWITCH,		/* r->to_ring is filled */
	CAP_ERROR,		/* broken: r->err says what, r->offset where */
};

/**
 * struct cap_iface - One interface of the section being read (classic: the only one)
 * @linktype:	LINKTYPE_ value
 * @snaplen:	0: unlimited
 * @units:	Timestamp ticks a second
 * @offset_s:	Seconds to add (if_tsoffset)
 */
struct cap_iface {
	uint32_t linktype;
	uint32_t snaplen;
	uint64_t units;
	int64_t offset_s;
};

/**
 * struct cap_reader - Incremental reader
 * @offset:	Bytes of the stream consumed so far
 * @err:	After CAP_ERROR: what is wrong, with the offending value
 * @hello:	After CAP_HELLO
 * @total:	After CAP_END
 * @offer, @to_ring:	After CAP_OFFER, CAP_SWITCH
 * @skipped:	Blocks of unknown type passed over
 * @ours:	A hello was seen: an end block must come
 * @padding:	A block that says nothing was seen
 */
struct cap_reader {
	uint64_t offset;
	uint64_t total;
	uint64_t skipped;
	struct cap_hello hello;
	struct cap_offer offer;
	struct cap_switch to_ring;
	char err[160];
	bool ours;
	bool padding;
	/* private */
	bool swap, classic, started;
	unsigned nifaces;
	uint64_t seq;
	struct cap_iface iface[CAP_IFACES_MAX];	/* last: not cleared by cap_reader_init() */
};

void cap_reader_init(struct cap_reader *r) __attribute__((nonnull));

/**
 * cap_burst() - Packets of the block, as far as nothing else comes between them
 * @data:	Bytes not yet consumed
 * @len:	How many
 * @used:	Written always: bytes to skip before the next call
 * @f:		The first *@n of them are reset and filled; they point into @data
 * @max:	How many there are, at least 1
 * @n:		Written always: packets found
 *
 * A packet without our option gets the next source sequence number and dialect
 * plain.  After CAP_ERROR the reader stays in error.
 *
 * Return: what came behind those packets; CAP_PACKET if @max were found
 */
enum cap_event cap_burst(struct cap_reader *r, uint8_t *data, size_t len, size_t *used,
			 struct frame **f, int max, int *n) __attribute__((nonnull));

/**
 * cap_next() - Next record of the block: a burst of one
 * @f:		Reset and filled on CAP_PACKET only; points into @data
 */
enum cap_event cap_next(struct cap_reader *r, uint8_t *data, size_t len,
			size_t *used, struct frame *f) __attribute__((nonnull));

/**
 * cap_need() - How many bytes the record at the front of a block that gave
 * CAP_MORE needs in all, as far as is known: the caller's buffer must hold so many
 */
size_t cap_need(const struct cap_reader *r, const uint8_t *data, size_t len) __attribute__((nonnull));

/**
 * cap_cut() - Did the stream end inside a record (or before any header)?
 * @left:	Bytes not consumed at end of file
 */
bool cap_cut(const struct cap_reader *r, size_t left) __attribute__((nonnull));

enum cap_format { CAP_PCAPNG, CAP_PCAP };

/**
 * cap_format_of() - Classic pcap where @path ends in ".pcap", else pcapng
 */
enum cap_format cap_format_of(const char *path) __attribute__((nonnull));

/**
 * struct cap_writer - Encoder; the functions below append to @p and advance it
 * @name:	Interface name in the description block; of the writing program, too, if @bare
 * @linktype:	Of the one interface, once it is written
 */
struct cap_writer {
	enum cap_format format;
	const char *name;
	uint32_t linktype;
	bool iface_written;
	bool bare;		/* no option of ours: for foreign readers */
};

/* Room each call may need at most, packet bytes not counted */
#define CAP_HEADER_ROOM	512u
#define CAP_PACKET_ROOM	(128u + ENCAP_MAX + 64u)

/**
 * cap_write_header() - Section header; then the hello, if there is one (pcapng)
 * @p:		At least CAP_HEADER_ROOM bytes
 * @hello:	NULL: none
 *
 * Classic pcap writes nothing yet: its header names the link type.
 *
 * Return: bytes written
 */
size_t cap_write_header(struct cap_writer *w, uint8_t *p, const struct cap_hello *hello)
	__attribute__((nonnull(1, 2)));

/**
 * cap_write_iface() - Interface description (classic: file header), once
 * @p:		At least CAP_HEADER_ROOM bytes
 *
 * Return: bytes written; 0 if it was there already
 */
size_t cap_write_iface(struct cap_writer *w, uint8_t *p, uint32_t linktype) __attribute__((nonnull));

/**
 * cap_packet_size() - Upper bound of what cap_write_packet() appends for @f
 */
static inline size_t cap_packet_size(const struct frame *f)
{
	return (size_t)f->len + f->opt_len + CAP_PACKET_ROOM;
}

/**
 * cap_write_packet() - One packet; the interface must be written
 * @p:		At least cap_packet_size() bytes
 *
 * Return: bytes written
 */
size_t cap_write_packet(struct cap_writer *w, uint8_t *p, struct frame *f) __attribute__((nonnull));

#define CAP_RECORD	16u	/* classic pcap, in front of each packet */

/**
 * cap_is_record() - Do the bytes around a packet look as cap_write_packet() would write them?
 * @before:	How many may be looked at in front of it
 *
 * Only classic pcap's, which are CAP_RECORD bytes and the packet.
 */
bool cap_is_record(const struct cap_writer *w, const struct frame *f, size_t before)
	__attribute__((nonnull));

/**
 * cap_write_end() - End or abort block (pcapng; classic: nothing)
 * @total:	Packets written to the stream
 * @abort:	The upstream died
 *
 * An interface must have been written, else tcpdump refuses the file.
 */
size_t cap_write_end(struct cap_writer *w, uint8_t *p, uint64_t total, bool abort) __attribute__((nonnull));

/**
 * cap_write_offer() / cap_write_switch() - The way into a ring (pcapng)
 * @p:		At least CAP_HEADER_ROOM bytes
 */
size_t cap_write_offer(uint8_t *p, const struct cap_offer *o) __attribute__((nonnull));
size_t cap_write_switch(uint8_t *p, const struct cap_switch *s) __attribute__((nonnull));

/**
 * cap_write_padding() - A block that says nothing (pcapng)
 * @p:		@len + 12 bytes
 * @len:	A multiple of four
 */
size_t cap_write_padding(uint8_t *p, uint32_t len) __attribute__((nonnull));

#endif /* GW_CAPFILE_H */
