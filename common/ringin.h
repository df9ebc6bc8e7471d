/* SPDX-License-Identifier: MIT */
/*
 * ringin.h - A stage's input, by stream or by ring: the way in and out is told in ringout.h
 */
#ifndef GW_RINGIN_H
#define GW_RINGIN_H

#include "ringlink.h"
#include "stream.h"

enum ring_in_state {
	IN_STREAM,		/* there is none, or not for us: @why */
	IN_WAITING,		/* an offer may come */
	IN_ASKED,
	IN_SEATED,		/* the stream goes on until the writer switches */
	IN_RING,
};

/**
 * struct ring_in - A stage's input
 * @rx:		The stream; its counters are the input's, whatever way packets come
 * @why:	Why it is no ring, for people; "" while nothing is decided
 * @pos:	Valid in IN_RING
 * @recovered:	Packets that a predecessor had in hand; the stage's to account for
 * @fresh:	Who reads our output is none of those a predecessor passed packets to in the
 *		ring: they leave it before we take anything
 * @clearing:	They have not all left yet
 * @crowded:	Another writer's packets wait in the stream: leave the ring
 * @paused:	The output is on its way from the ring to its stream: nothing is taken
 * @fds:	During a sleep: ours
 */
struct ring_in {
	struct rx *rx;
	const struct stream_conf *conf;
	enum ring_in_state state;
	const char *why;
	struct ring_guest guest;
	struct ring_pos pos;
	unsigned offers;
	uint32_t gen;
	uint64_t nonce;
	unsigned who;
	unsigned recovered;
	bool never;		/* --no-ring */
	bool fresh;
	bool clearing;
	bool paused;
	bool crowded;
	bool stop;
	uint64_t stop_at;	/* entries from here on are a successor's */
	bool moved;		/* packets come another way now: recv before sleeping */
	bool left;		/* @guest is kept for the output, until its next step */
	bool cut;		/* the pipe's other end is closed */
	bool orphan;		/* the head is gone */
	uint8_t refused[RING_NONCE];	/* nonce of an offer that was none to us */
	struct pollfd *fds;
	int nfds;
};

/**
 * ring_in_open() - After the stream was opened
 * @why:	NULL, or why there shall be no ring
 */
void ring_in_open(struct ring_in *in, struct rx *rx, const struct stream_conf *conf,
		  const char *why) __attribute__((nonnull(1, 2, 3)));

/**
 * ring_in_recv() - rx_recv(), from wherever packets come
 */
int ring_in_recv(struct ring_in *in, struct frame **f, int max) __attribute__((nonnull));

/**
 * ring_in_release() - rx_release()
 */
void ring_in_release(struct ring_in *in, int n) __attribute__((nonnull));

/**
 * ring_in_wake() - Call whoever waits for what was released already
 */
void ring_in_wake(struct ring_in *in) __attribute__((nonnull));

/**
 * ring_in_look() - Once a second, at any time: does another writer starve meanwhile?
 */
void ring_in_look(struct ring_in *in) __attribute__((nonnull));

/**
 * ring_in_settled() - While we sleep: does nothing wait, here or for a neighbour, but what moves
 * a descriptor of ring_in_poll()?
 */
bool ring_in_settled(const struct ring_in *in) __attribute__((nonnull));

/**
 * ring_in_stop() - Take no more than what is there
 */
void ring_in_stop(struct ring_in *in) __attribute__((nonnull));

/**
 * ring_in_poll() - Descriptors to sleep on
 * @fds:	Room for STREAM_POLL_MAX; kept until ring_in_rise()
 *
 * Return: how many; -1: there is something already, don't sleep
 */
int ring_in_poll(struct ring_in *in, struct pollfd *fds) __attribute__((nonnull));

/**
 * ring_in_rise() - Awake again
 */
void ring_in_rise(struct ring_in *in) __attribute__((nonnull));

void ring_in_close(struct ring_in *in) __attribute__((nonnull));

#endif /* GW_RINGIN_H */
