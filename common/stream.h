/* SPDX-License-Identifier: MIT */
/*
 * stream.h - Where packets come from and go to, behind one interface
 *
 * Theory of operation
 *
 * An rx hands out bursts of frames that the caller may change in place and must
 * give back before the next burst.  A tx takes frames of a burst; those with a
 * verdict are not written.  Neither ever blocks: when nothing moves, the caller
 * sleeps in its one poll() on the descriptors that the ends name, and tries again.
 *
 * Kinds: byte streams (files, pipes: bytestream.c), ZeroMQ (zmqstream.c), and what a
 * program brings itself (gwcap's interface as an rx, gwinject's as a tx).  A shared
 * ring between neighbours is a further kind: recv is "taken = done + n", release
 * is "done += n", and send does nothing, since frames are where they should be.
 *
 * ZeroMQ descriptors are edge-triggered: poll them only after recv or send said
 * "would block".
 */
#ifndef GW_STREAM_H
#define GW_STREAM_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "capfile.h"
#include "frame.h"
#include "priv.h"

#define STREAM_POLL_MAX	4	/* descriptors one end may name */
#define STREAM_INPUTS_MAX 64	/* producers told apart on one input */

/* rx_recv(): > 0 is a burst */
enum rx_state {
	RX_AGAIN	= 0,	/* nothing now: flush, then sleep on rx_poll() */
	RX_END		= -1,	/* every producer ended in order, or a foreign file ended */
	RX_ABORT	= -2,	/* the upstream died or its stream is cut; it was logged */
	RX_FAIL		= -3,	/* our own failure, logged */
	RX_LEFT		= -4,	/* told to stop, and more would come: a successor's */
	RX_SWITCH	= -5,	/* what follows comes through the ring: rx->to_ring */
};

/**
 * kind_is_pipe() - Of a struct rx or tx: a shell pipe, a fifo
 */
static inline bool kind_is_pipe(const char *kind)
{
	return !strcmp(kind, "stream");
}

/**
 * kind_has_neighbour() - Is a stage likely at the other end?
 */
static inline bool kind_has_neighbour(const char *kind)
{
	return kind_is_pipe(kind) || !strcmp(kind, "zmq");
}

/**
 * struct rx - One input
 * @spec:	As the user wrote it, for messages
 * @kind:	"file", "pipe", "zmq", "iface", ...: for the start line
 * @gaps:	Packets known to be lost before they reached us
 * @broken:	Messages or blocks that could not be read, counted
 * @upstream:	Nonces of the producers seen, for gwhealth
 * @upstream_packets:	Packets received from each, gaps included
 * @streamed:	Of these, by stream: what hellos and ends speak of
 * @resumed:	Bit i: of @streamed we know only that it is not more
 * @longest:	Bytes of the longest packet that can come; 0: not known
 * @dev, @ino:	Of a byte stream's file
 * @lasting, @lasting_len:	Packets that lie there stay beyond rx_release(), NULL: none do,
 * @moving:	... but this time: whom the input lends to flushes before
 * @chain:	Chain name learnt from a hello, "" before
 * @live:	A hello said that the chain's source is an interface, or we are it
 * @ring:	The last hello said that an offer may follow
 * @offers:	Counts offers; @offer is the last one
 * @between:	An offer came that was meant for somebody between its writer and us
 * @to_ring:	After RX_SWITCH
 * @ops:	The kind's functions; a ring head or an interface is just one more
 */
struct rx {
	const struct rx_ops *ops;
	const char *spec;
	const char *kind;
	uint64_t gaps;
	uint64_t broken;
	unsigned nupstream;
	uint64_t upstream[STREAM_INPUTS_MAX];
	uint64_t upstream_packets[STREAM_INPUTS_MAX];
	uint64_t streamed[STREAM_INPUTS_MAX];
	uint64_t resumed;
	uint32_t longest;
	uint64_t dev, ino;
	const uint8_t *lasting;
	size_t lasting_len;
	bool moving;
	char chain[CAP_NAME_MAX];
	bool live;
	bool ring;
	bool between;
	unsigned offers;
	struct cap_offer offer;
	struct cap_switch to_ring;
};

struct rx_ops {
	int (*recv)(struct rx *rx, struct frame **f, int max);
	int (*fill)(struct rx *rx, struct frame **f, int max);	/* NULL: recv only */
	void (*release)(struct rx *rx, int n);
	int (*poll)(struct rx *rx, struct pollfd *fds);
	bool (*packets)(struct rx *rx);	/* are there some? What else is there is read; or NULL */
	void (*stop)(struct rx *rx);	/* take no more; NULL: nothing to do */
	void (*close)(struct rx *rx);
};

/**
 * rx_recv() - Next burst
 * @f:		Written: pointers to frames, the caller's until rx_release()
 * @max:	At most FRAME_BURST
 *
 * Return: number of frames, or enum rx_state
 */
static inline int rx_recv(struct rx *rx, struct frame **f, int max)
{
	return rx->ops->recv(rx, f, max);
}

/**
 * rx_can_fill() - Can this input put packets into frames that the caller brings?
 */
static inline bool rx_can_fill(const struct rx *rx)
{
	return rx->ops->fill;
}

/**
 * rx_recv_into() - Next burst, into frames of the caller's
 * @f:		Whatever they hold; the first ones are made empty and filled, in their own
 *		buffers, one after the other: frame_room()
 * @max:	At most FRAME_BURST
 *
 * Needs rx_can_fill(); takes the place of rx_recv() for good, and nothing is given
 * back by rx_release().
 *
 * Return: number of frames, or enum rx_state
 */
static inline int rx_recv_into(struct rx *rx, struct frame **f, int max)
{
	return rx->ops->fill(rx, f, max);
}

/**
 * rx_release() - Give the whole last burst back
 * @n:		What rx_recv() returned
 */
static inline void rx_release(struct rx *rx, int n)
{
	rx->ops->release(rx, n);
}

/**
 * rx_poll() - Descriptors to sleep on after RX_AGAIN
 * @fds:	Room for STREAM_POLL_MAX
 *
 * Return: how many were written
 */
static inline int rx_poll(struct rx *rx, struct pollfd *fds)
{
	return rx->ops->poll(rx, fds);
}

enum tx_end {
	TX_END,		/* the stream ended in order */
	TX_ABORT,	/* it did not */
	TX_DETACH,	/* ZeroMQ: no mark, a successor of ours goes on with it */
	TX_LEAVE,	/* no mark, no waiting: what is still buffered counts as uncertain */
};

/**
 * struct tx - One output
 * @packets, @bytes:	Handed on so far (packet bytes)
 * @ringed:	Of these, by a ring: streams count, and tell their readers, only the rest
 * @ring:	An offer may follow: its hello says so
 * @made:	Packets sent beyond one a frame (fragments, mirrors)
 * @uncertain:	Packets in hand when the output failed: written or not, unknown
 * @lender:	An input whose lasting packets need not be copied, or NULL
 */
struct tx {
	const struct tx_ops *ops;
	const char *spec;
	const char *kind;
	uint64_t packets;
	uint64_t ringed;
	uint64_t bytes;
	uint64_t made;
	uint64_t uncertain;
	const struct rx *lender;
	bool ring;
};

struct tx_ops {
	int (*send)(struct tx *tx, struct frame **f, int n);
	int (*flush)(struct tx *tx);
	int (*poll)(struct tx *tx, struct pollfd *fds);
	int (*end)(struct tx *tx, enum tx_end how);
	int (*offer)(struct tx *tx, struct cap_offer *o, bool now);
	int (*to_ring)(struct tx *tx, const struct cap_switch *s);
	void (*close)(struct tx *tx);
};

static inline uint64_t tx_streamed(const struct tx *tx)
{
	return tx->packets - tx->ringed;
}

/**
 * tx_send() - Take frames from the front of a burst
 *
 * Frames with a verdict are skipped but count as taken.  A tx may give frames it
 * cannot send a verdict.
 *
 * Return: frames taken, less than @n when it would block or failed behind them;
 * -errno when none was and the output is gone (logged; EPIPE for a closed reader)
 */
static inline int tx_send(struct tx *tx, struct frame **f, int n)
{
	return tx->ops->send(tx, f, n);
}

/**
 * tx_flush() - Push out what is buffered
 *
 * Return: 0, -EAGAIN if it would block, or -errno when the output is gone
 */
static inline int tx_flush(struct tx *tx)
{
	return tx->ops->flush(tx);
}

/**
 * tx_offer() - Write an offer of a ring
 * @o:		@o->dev and @o->ino are filled in
 * @now:	ZeroMQ: in a message of its own.  Else it rides in every message until
 *		tx_to_ring()
 *
 * Return: 0, -EAGAIN, or -errno
 */
static inline int tx_offer(struct tx *tx, struct cap_offer *o, bool now)
{
	return tx->ops->offer(tx, o, now);
}

/**
 * tx_to_ring() - Write that packets come through the ring from here on
 *
 * Return: 0 (tx_flush() it), -EAGAIN with nothing written, or -errno
 */
static inline int tx_to_ring(struct tx *tx, const struct cap_switch *s)
{
	return tx->ops->to_ring(tx, s);
}

static inline int tx_poll(struct tx *tx, struct pollfd *fds)
{
	return tx->ops->poll(tx, fds);
}

/**
 * tx_end() - Write the mark @how stands for and flush; call again after -EAGAIN,
 * at last with TX_LEAVE
 */
static inline int tx_end(struct tx *tx, enum tx_end how)
{
	return tx->ops->end(tx, how);
}

/**
 * struct stream_conf - What the ends need to know of their stage
 * @prog, @as, @chain, @live:	For the hello
 * @settled:	These are known: a byte stream's hello, written once, waits for that
 * @nonce:	Of this process
 * @old_nonce, @old_packets:	Of a crashed predecessor: what it had sent; 0: none, or it
 *		had several outputs
 * @run_dir:	Run folder: ipc://NAME lies there
 * @hwm:	ZeroMQ high-water mark, messages
 * @inputs:	Producers whose ends end the input
 * @linger_ms:	How long the last messages may take to leave once we close; -1: until a
 *		reader takes them, or @drain_ms after a signal, or a second one
 * @drain_ms:	At most 24 days
 * @priv:	Who the process will be after set-up: ipc sockets are handed to it
 * @rx:		The input, for an output that must not be the same file; or NULL
 * @edits:	Most packets are changed where they lie
 */
struct stream_conf {
	const char *prog;
	const char *as;
	char chain[CAP_NAME_MAX];
	bool live;
	bool settled;
	uint64_t nonce;
	uint64_t old_nonce;
	uint64_t old_packets;
	const char *run_dir;
	int hwm;
	int linger_ms;
	int drain_ms;
	unsigned inputs;
	struct priv priv;
	const struct rx *rx;
	bool edits;
};

/**
 * rx_open() / tx_open() - Open a STREAM by its name; errors exit (set-up only)
 * @spec:	"-", a path, "ipc://...", "tcp://..."; kept, not copied
 */
struct rx *rx_open(const char *spec, const struct stream_conf *conf) __attribute__((nonnull));
struct tx *tx_open(const char *spec, const struct stream_conf *conf) __attribute__((nonnull));

/**
 * rx_resume() - Tell an input what a predecessor of this stage had already received
 * @nonce:	The producer's
 * @packets:	How many packets of it
 *
 * What lies between and never arrives is then seen as a gap.
 */
void rx_resume(struct rx *rx, uint64_t nonce, uint64_t packets) __attribute__((nonnull));

void rx_close(struct rx *rx);	/* NULL is fine */
void tx_close(struct tx *tx);	/* NULL is fine */

/**
 * stream_is_zmq() - Does @spec name a ZeroMQ endpoint?
 */
bool stream_is_zmq(const char *spec) __attribute__((nonnull));

/* The kinds, each in a file of its own */
struct rx *bytes_rx_open(const char *spec, const struct stream_conf *conf);
struct tx *bytes_tx_open(const char *spec, const struct stream_conf *conf);
struct rx *mq_rx_open(const char *spec, const struct stream_conf *conf);
struct tx *mq_tx_open(const char *spec, const struct stream_conf *conf);

/**
 * tx_discard() - An output that takes everything and keeps nothing (--print alone)
 */
struct tx *tx_discard(void);

/**
 * stream_hello() - The hello of @tx, which has sent @message messages
 */
void stream_hello(struct cap_hello *h, const struct stream_conf *conf, const struct tx *tx,
		  uint64_t message) __attribute__((nonnull));

/**
 * rx_take_hello() - Note what a hello says: chain, liveness, who feeds us
 *
 * Return: index of the producer in @rx->upstream
 */
unsigned rx_take_hello(struct rx *rx, const struct cap_hello *h) __attribute__((nonnull));

/**
 * rx_upstream() - Index of a producer in @rx->upstream, which is noted if it is new
 * @packets:	What it had sent before, then
 */
unsigned rx_upstream(struct rx *rx, uint64_t nonce, uint64_t packets) __attribute__((nonnull));

/* Room of a frame that packets are parsed in place for: any IP packet fits */
#define STREAM_FRAME_ROOM	(FRAME_HEADROOM + 65536u + ENCAP_MAX + 1024u)

#endif /* GW_STREAM_H */
