/* SPDX-License-Identifier: MIT */
/*
 * frame.h - One packet on its way through a stage
 *
 * Theory of operation
 *
 * A frame is a descriptor that has a buffer of its own.  The bytes of the packet lie
 * either in that buffer or, when a capture file or a message is parsed in place, in
 * the block they were read into.  All positions count from the buffer's first byte, so
 * that they mean the same in every process that maps it.  Metadata are never interleaved
 * with packet bytes: a stage that splits the encapsulation off only moves two positions.
 *
 * The first FRAME_SHARED bytes of a descriptor, two cache lines, are what neighbours
 * on a ring share; what follows is where the frame lies in this process.
 *
 * A frame may be changed, its descriptor and the bytes within [off, off + len) in place, after
 * frame_touch(): only of a frame that was touched the next stage on a ring learns anything
 * new.  Who needs more room calls frame_own(), which moves the packet into the frame's own
 * buffer.  A frame belongs to a stage from rx_recv() to rx_release().
 *
 * On a ring a buffer is no longer than its packet asks for when it comes in: packets that lie
 * close to each other share pages, and with them what a processor knows of pages.  The few
 * that grow later move to a spare buffer that each entry of a ring has.
 *
 * Each frame has a version word, odd while anything of it changes: who only looks at a
 * shared ring copies a frame and looks at the word before and after.
 *
 * A dropped packet stays in its burst, with a verdict: later code skips it.
 *
 * Builds with AddressSanitizer know what of an own buffer may be touched: the packet, its
 * encapsulation and options, and the room that was asked for.
 *
 * What a stream carries of a frame is described in gwframe(5).
 */
#ifndef GW_FRAME_H
#define GW_FRAME_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "geneve.h"
#include "packet.h"
#include "reason.h"
#include "wire.h"

#define FRAME_BURST	64		/* most frames in one burst */
#define FRAME_HEADROOM	128u		/* before a packet in the frame's own buffer */
#define FRAME_SHARED	128u		/* bytes of a descriptor that neighbours share */
#define FRAME_LINE	64u		/* bytes of a line of the cache: buffers begin at one */
#define FRAME_DATA_MAX	262144u		/* longest packet: libpcap's MAXIMUM_SNAPLEN */

/* What gwinject carries out on a frame's behalf (also in streams: append only) */
enum frame_marks {
	FRAME_REPLY	= 1 << 0,	/* made here in answer to the dropped packet;
					 * travels back through its encapsulation */
	FRAME_RST_BOTH	= 1 << 1,	/* this is a TCP RST to one end: send its
					 * mirror to the other end too, with
					 * both_seq and both_ack */
	FRAME_FRAGMENT	= 1 << 2,	/* send as IPv4 fragments, inner packets of
					 * at most frag_mtu bytes */
	FRAME_CHANGED	= 1 << 3,	/* its bytes are not those received */
};

/**
 * struct frame_space - Where frames on a ring get buffers
 * @at, @end:	What the head may cut buffers from, one behind the other, in the order of its
 *		frames; NULL for other stages
 * @spare:	The first entry's spare buffer, one every @stride bytes
 * @versions:	The first entry's version word: where a frame's lies tells its entry
 * @stride:	Most that a buffer may have, too
 */
struct frame_space {
	uint8_t *at;
	uint8_t *end;
	uint8_t *spare;
	_Atomic uint32_t *versions;
	uint32_t stride;
};

/**
 * struct frame - Descriptor
 * @off:	First byte of the packet; like all positions, from @buf
 * @encap_off, @encap_len, @encap_linktype:	The encapsulation as received: link
 *		layer, outer IP, UDP, Geneve; @encap_len 0: none
 * @opt_off, @opt_len:	Options of the packet in a foreign pcapng, in our byte order,
 *		kept for the output; 0: none
 * @len:	Bytes of the packet
 * @orig_len:	Bytes on the wire: more than @len if the capture cut it
 * @seq:	Source sequence number: 1 for the first packet captured
 * @ts_ns:	Capture time, ns since 1970
 * @endpoint, @attachment, @cookie, @dialect:	From the encapsulation
 * @pkt:	Offsets from the packet's first byte; valid with PKT_PARSED
 * @rule:	Index of the rule that decided, in the stage's own list
 * @verdict:	enum reason; REASON_NONE: alive
 * @marks:	enum frame_marks
 * @linktype:	LINKTYPE_ of the packet at @off
 * @frag_mtu:	With FRAME_FRAGMENT
 * @both_seq, @both_ack:	With FRAME_RST_BOTH: the mirror's TCP numbers; it has
 *		the ACK flag
 * @spare:	On a ring: not 0: the frame's own buffer is the entry's spare one
 * @buf, @room:	The frame's own buffer; from here on not shared
 * @version:	The frame's version word
 * @space:	On a ring: where there is more room; else NULL
 */
struct frame {
	int64_t off;
	int64_t encap_off;
	int64_t opt_off;
	uint32_t len;
	uint32_t orig_len;
	uint64_t seq;
	uint64_t ts_ns;
	uint64_t endpoint;
	uint64_t attachment;
	struct packet pkt;
	uint32_t rule;
	uint16_t verdict;
	uint16_t marks;
	uint32_t cookie;
	uint16_t linktype;
	uint16_t encap_linktype;
	uint16_t encap_len;
	uint16_t frag_mtu;
	uint32_t opt_len;
	uint32_t both_seq;
	uint32_t both_ack;
	uint8_t dialect;
	uint8_t spare;
	uint16_t pad;
	uint8_t *buf;
	_Atomic uint32_t *version;
	struct frame_space *space;
	uint32_t room;
};

_Static_assert(offsetof(struct frame, buf) == FRAME_SHARED, "two cache lines");

static inline uint8_t *frame_at(const struct frame *f, int64_t off)
{
	return (uint8_t *)((uintptr_t)f->buf + (uintptr_t)off);
}

/**
 * frame_data() - The packet's bytes, @f->len of them
 */
static inline uint8_t *frame_data(const struct frame *f)
{
	return frame_at(f, f->off);
}

/**
 * frame_encap() - The encapsulation's bytes, @f->encap_len of them
 */
static inline uint8_t *frame_encap(const struct frame *f)
{
	return frame_at(f, f->encap_off);
}

static inline int64_t frame_rel(const struct frame *f, const void *p)
{
	return (int64_t)((uintptr_t)p - (uintptr_t)f->buf);
}

/*
 * frame_guard(), frame_unguard() - For AddressSanitizer: of the own buffer only what the
 * descriptor names may be touched, and @head bytes before and @tail behind the packet; all
 */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FRAME_GUARDED
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define FRAME_GUARDED
#endif
#ifdef FRAME_GUARDED
#define FRAME_REDZONE	64u	/* at least, behind a packet in a buffer cut for it */
void frame_guard(struct frame *f, size_t head, size_t tail);
void frame_unguard(struct frame *f);
#else
#define FRAME_REDZONE	0u
static inline void frame_guard(struct frame *f, size_t head, size_t tail)
{
	(void)f, (void)head, (void)tail;
}

static inline void frame_unguard(struct frame *f)
{
	(void)f;
}
#endif

static inline void version_touch(_Atomic uint32_t *v)
{
	uint32_t now = atomic_load_explicit(v, memory_order_relaxed);

	if (now & 1)
		return;
	atomic_store_explicit(v, now + 1, memory_order_relaxed);
	/* Release: the bytes change after the word; pairs with a reader's acquire fence. */
	atomic_thread_fence(memory_order_release);
}

static inline bool version_odd(_Atomic uint32_t *v)
{
	return atomic_load_explicit(v, memory_order_relaxed) & 1;
}

static inline void version_settle(_Atomic uint32_t *v)
{
	uint32_t now = atomic_load_explicit(v, memory_order_relaxed);

	if (now & 1)	/* Release: pairs with a reader's acquire of the word. */
		atomic_store_explicit(v, now + 1, memory_order_release);
}

/**
 * frame_touch() - The frame, its descriptor or its bytes, is about to be changed
 *
 * Its version is odd until the frame is handed on; called again meanwhile, it does nothing.
 */
static inline void frame_touch(struct frame *f)
{
	version_touch(f->version);
}

/**
 * frame_drop() - Give a live frame its verdict
 * @reason:	Not REASON_NONE
 * @rule:	Index of the rule, 0 where there is none
 */
static inline void frame_drop(struct frame *f, enum reason reason, uint32_t rule)
{
	frame_touch(f);
	f->verdict = (uint16_t)reason;
	f->rule = rule;
}

/**
 * frame_reset() - Make a frame empty: everything but where it lies is initial
 *
 * Cleared in pieces, each small enough for the compiler to make plain stores of it: its
 * "rep stos" for the whole costs more than all else a reader does with a packet.
 */
static inline void __attribute__((nonnull)) frame_reset(struct frame *f)
{
	uint8_t spare = f->spare;

	memset(f, 0, FRAME_SHARED / 2);
	memset((uint8_t *)f + FRAME_SHARED / 2, 0, FRAME_SHARED / 2);
	f->spare = spare;
	frame_unguard(f);
}

/**
 * frame_spread() - How far apart buffers of so many bytes are to begin: an odd number of lines
 *
 * Headers of packets of one length would share a few sets of the cache if their distance were a
 * power of two, as that of pages is.
 */
static inline size_t frame_spread(size_t bytes)
{
	return ((bytes + FRAME_LINE - 1) / FRAME_LINE | 1) * FRAME_LINE;
}

bool frame_find_room(struct frame *f, size_t bytes) __attribute__((nonnull));	/* frame_room()'s */

/**
 * frame_room() - Make sure that the frame's own buffer has room for so many bytes
 *
 * On a ring this may be another buffer afterwards, while the packet stays where it was: what
 * is to be kept of it is the caller's to move, by pointers taken before.
 *
 * Return: false, with nothing changed, if there is no such room
 */
static inline bool __attribute__((nonnull, warn_unused_result))
frame_room(struct frame *f, size_t bytes)
{
	return bytes <= f->room || frame_find_room(f, bytes);
}

/**
 * frame_own() - Move packet, encapsulation and options into the frame's own buffer
 * @tail:	Bytes that must be free behind the packet
 *
 * Afterwards [off - FRAME_HEADROOM, off + len + tail) lies in the buffer and may be
 * written.  Pointers from frame_data() and frame_encap() become stale.
 *
 * Return: false, with nothing changed, if the buffer is too small
 */
bool frame_own(struct frame *f, size_t tail) __attribute__((nonnull, warn_unused_result));

/**
 * frame_grow() - frame_own() only if there is no room for @tail more bytes behind the packet
 */
bool frame_grow(struct frame *f, size_t tail) __attribute__((nonnull, warn_unused_result));

/**
 * frame_set() - Put a packet into the frame's own buffer
 * @data:	Copied
 * @len:	FRAME_HEADROOM, the encapsulation and options need room, too
 *
 * Keeps metadata and encapsulation (moved into the buffer as well); forgets
 * parsed offsets.
 *
 * Return: false, with nothing changed, if it does not fit
 */
bool frame_set(struct frame *f, const void *data, size_t len) __attribute__((nonnull, warn_unused_result));

/**
 * frame_copy() - Copy a packet and all that is known of it into another frame's own buffer
 * @tail:	Bytes that must be free behind the packet
 *
 * An encapsulation right in front of the packet stays there.
 *
 * Return: false, with @to undefined, if its buffer is too small
 */
bool frame_copy(struct frame *to, struct frame *from, size_t tail)
	__attribute__((nonnull, warn_unused_result));

/**
 * frame_parse() - Make @f->pkt valid, if it is not yet
 */
static inline enum reason frame_parse(struct frame *f)
{
	if (likely(f->pkt.flags & PKT_PARSED))
		return REASON_NONE;
	frame_touch(f);
	return packet_parse(&f->pkt, frame_data(f), f->len, f->linktype);
}

#define FRAME_AHEAD	16	/* as many have their bytes fetched while one is worked on */

/**
 * frame_fetch() - The headers of a frame, and the first bytes behind them, are looked at soon
 */
static inline void frame_fetch(const struct frame *f)
{
	fetch_line(frame_data(f));
	fetch_line(frame_data(f) + 64);
}

/**
 * frame_fetch_first() - A burst is gone through next: the bytes of the first FRAME_AHEAD
 *
 * The rest follows by frame_fetch_next(): all at once they would be waited for.
 */
static inline void frame_fetch_first(struct frame *const *f, int n)
{
	for (int i = 0; i < n && i < FRAME_AHEAD; i++)
		frame_fetch(f[i]);
}

/**
 * frame_fetch_next() - Frame @i of a burst of @n is looked at now: one more is fetched
 */
static inline void frame_fetch_next(struct frame *const *f, int i, int n)
{
	if (i + FRAME_AHEAD < n)
		frame_fetch(f[i + FRAME_AHEAD]);
}

/**
 * frame_pool_new() - Frames of a process, each with a buffer of its own
 * @n:		How many
 * @room:	Bytes of buffer each; rounded up so that headers spread over cache sets
 *
 * Return: array of @n pointers, freed by frame_pool_free(); NULL without memory
 */
struct frame **frame_pool_new(unsigned n, size_t room);
void frame_pool_free(struct frame **pool);

#endif /* GW_FRAME_H */
