/* SPDX-License-Identifier: MIT */
/*
 * ringout.h - A stage's output, by stream or by ring
 *
 * Theory of operation
 *
 * Every stage starts with streams.  A stage that gets its packets from anything but a
 * ring, or that cannot pass frames on as they lie (several outputs), heads a segment of
 * its own and offers it in its output.  The reader joins (ringlink.h), and the stream
 * goes on until the writer sees it seated: then it sets the reader's cursors, lets it be
 * the last stage, and writes the switch block, behind which no packet follows.  A stage
 * whose input is a ring passes the offer on: the next seat of the same segment.  So a
 * chain becomes one segment from its head to its end.
 *
 * The stream stays open and quiet.  Who has no more to say in the ring - the end, a
 * packet too long for its frames, an input that left it - marks its seat RING_LEFT and
 * goes on by stream; the reader takes what lies in the ring, then reads the stream again.
 *
 * A head that ends waits until its ring is empty before it leaves: as long as packets
 * lie there, every stage can still offer a successor the seat behind it.
 *
 * A pipe's end tells that the process at its other end died, the connection to the
 * head that the head did.  ZeroMQ: a seat that falls vacant is offered again until somebody
 * sits there; its entries wait.  Until it is known that nobody will: the new reader said so,
 * or it takes one offer after the other and sits nowhere.  Then the writer empties the seat
 * itself, and goes on by stream (ringheir.h).
 */
#ifndef GW_RINGOUT_H
#define GW_RINGOUT_H

#include "ringheir.h"
#include "ringin.h"

enum ring_out_state {
	OUT_STREAM,		/* and it will stay so: @why */
	OUT_UNDECIDED,
	OUT_OFFERED,
	OUT_RING,
	OUT_MOVING,		/* from the ring to the stream: nobody takes the reader's seat */
};

/**
 * struct ring_out - One output of a stage
 * @tx:		The stream; its counters are the output's, whatever way packets go
 * @in:		The input whose ring it may share; NULL: it heads a segment of its own
 * @host:	That segment, while @hosting
 * @pos:	Where packets are handed on: the input's, or @own
 * @filling:	The burst at hand lies in frames of ring_out_room()
 * @quit:	Why to go by stream as soon as the reader has taken what lies in the ring; or NULL
 * @given:	Offers the stream took since the seat fell vacant
 * @heard_ns:	Since then somebody takes them who does not sit down; 0: nobody does
 * @ending, @left:	ring_out_end() was called; it told the reader that nothing more comes
 */
struct ring_out {
	struct tx *tx;
	struct stream_conf *conf;
	struct ring_in *in;
	enum ring_out_state state;
	const char *why;
	bool hosting;
	bool filling;
	bool ending;
	bool left;
	bool unflushed;		/* the stream has something to write */
	bool vacant;
	uint32_t stride;
	uint32_t told;
	const char *quit;
	unsigned given;
	uint64_t heard_ns;
	uint64_t offer_at_ns;	/* while the reader's seat is vacant: next time, ... */
	uint64_t again_ns;	/* ... and how long after that one */
	struct ring_host host;
	struct ring_pos *pos;
	struct ring_pos own;
	struct ring_heir heir;
	struct pollfd *fds;
	int nfds;
	char text[64];		/* @why, where it names a number */
};

/**
 * ring_out_open() - After the stream was opened
 * @in:		Of a stage with one output that passes frames on as they are; or NULL
 * @longest:	Bytes of the longest packet that may come; 0: not known
 * @why:	NULL, or why there shall be no ring
 */
void ring_out_open(struct ring_out *out, struct tx *tx, struct stream_conf *conf,
		   struct ring_in *in, uint32_t longest, const char *why)
	__attribute__((nonnull(1, 2, 3)));

/**
 * ring_out_step() - Between two bursts: offer, switch, leave, serve, as it is time for
 * @look:	Once in a while: look at everything
 */
void ring_out_step(struct ring_out *out, uint64_t now_ns, bool look) __attribute__((nonnull));

/**
 * ring_out_room() - Frames of our own segment for rx_fill()
 *
 * The burst that is then made of them is sent with ring_out_send() and published with
 * ring_out_fill_done().
 *
 * Return: how many; 0: the ring is full; -1: packets go by stream now
 */
int ring_out_room(struct ring_out *out, struct frame **f, int max) __attribute__((nonnull));
void ring_out_fill_done(struct ring_out *out, int n) __attribute__((nonnull));

/**
 * ring_out_send() - tx_send(), to wherever packets go
 */
int ring_out_send(struct ring_out *out, struct frame **f, int n) __attribute__((nonnull));

/**
 * ring_out_wake() - Call whoever waits for what is in the ring already
 */
void ring_out_wake(struct ring_out *out) __attribute__((nonnull));

/**
 * ring_out_flush() - tx_flush()
 */
int ring_out_flush(struct ring_out *out) __attribute__((nonnull));

/**
 * ring_out_poll() - Descriptors to sleep on
 * @blocked:	Something could not be sent, flushed or ended; else: what is to be watched
 *
 * Return: how many; -1: it can go on already
 */
int ring_out_poll(struct ring_out *out, struct pollfd *fds, bool blocked) __attribute__((nonnull));

/**
 * ring_out_settled() - While we sleep: does nothing wait, here or for a neighbour, but what moves
 * a descriptor of ring_out_poll()?
 */
bool ring_out_settled(const struct ring_out *out) __attribute__((nonnull));

/**
 * ring_out_rise() - Awake again
 *
 * Return: false: the reader closed a pipe
 */
bool ring_out_rise(struct ring_out *out) __attribute__((nonnull));

/**
 * ring_out_end() - tx_end()
 */
int ring_out_end(struct ring_out *out, enum tx_end how) __attribute__((nonnull));
void ring_out_close(struct ring_out *out) __attribute__((nonnull));

/**
 * ring_out_due_ns() - When ring_out_step() wants to be called at the latest; 0: whenever
 */
uint64_t ring_out_due_ns(const struct ring_out *out) __attribute__((nonnull));

#endif /* GW_RINGOUT_H */
