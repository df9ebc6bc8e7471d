/* SPDX-License-Identifier: MIT */
/*
 * stage.h - What every stage of a chain does the same: options, streams, the
 * loop, accounts, signals, the end
 *
 * Theory of operation
 *
 * main() is a table of contents:
 *
 *	stage_options(&st, ...)		options, usage errors exit
 *	... the program's own set-up: rules, interfaces ...
 *	stage_open(&st)			run folder, streams, page of counters
 *	stage_confine(&st)		privileges are gone
 *	return stage_run(&st)		the loop; the exit status
 *
 * The loop: take a burst from the input, hand its live frames to ops->burst, count
 * verdicts, give the burst to the outputs, release it.  Input and outputs are streams or,
 * between neighbours, a ring (ringout.h): then frames stay where they are, and a
 * source that can captures right into them.  When the input has nothing, outputs
 * are flushed and the stage sleeps in its one poll() on input, signals and, where
 * an output is full, that output: that is back-pressure.  Sleeping is cut to a
 * second for the heartbeat.
 *
 * A source (gwcap) brings its own rx, a sink (gwinject) may bring its own tx: set
 * st->rx or st->tx[0] before stage_open().
 *
 * A stage that makes packets beside those it passes on (gwtun) has ops->make: it is asked
 * after each burst and before each sleep, and the sleep ends when st->watch_fd can be
 * read.  What it makes lies in frames of its own, so it heads a segment.
 *
 * Accounts: in + made = out + dropped + uncertain.
 */
#ifndef GW_STAGE_H
#define GW_STAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "frame.h"
#include "log.h"
#include "opt.h"
#include "priv.h"
#include "ringout.h"
#include "stats.h"
#include "stream.h"

#define STAGE_OUTPUTS_MAX 64

struct stage;

/**
 * struct stage_ops - What makes a stage this stage
 * @burst:	Work on live frames in place; drops by frame_drop() or
 *		stage_reply().  May be NULL: a stage that only passes on
 * @tick:	Once a second, and once before the summary; may be NULL
 * @reload:	SIGHUP; logs its own errors; may be NULL: the signal is then ignored
 * @print:	--print: write one line about a live frame; NULL: not offered
 * @idle:	Nothing to do right now, about to sleep; may be NULL
 * @make:	Hand out up to @max frames of packets that the stage made; they stay its own, and
 *		as they are until the next call.  How many; -1: the stage cannot go on, which
 *		it logged.  NULL: it makes none
 * @done:	After the last burst and before the end mark; may be NULL
 */
struct stage_ops {
	void (*burst)(struct stage *st, struct frame **f, int n);
	void (*tick)(struct stage *st);
	void (*reload)(struct stage *st);
	void (*print)(struct stage *st, struct frame *f, FILE *out);
	void (*idle)(struct stage *st);
	int (*make)(struct stage *st, struct frame **f, int max);
	void (*done)(struct stage *st);
};

enum stage_flags {
	STAGE_SOURCE	= 1 << 0,	/* signals end the stream here: gwcap */
	STAGE_SINK	= 1 << 1,	/* end of the chain: gwinject */
	STAGE_INNER	= 1 << 2,	/* works on inner packets: says once when it meets Geneve */
	STAGE_ONE_OUT	= 1 << 3,	/* several -o make no sense before gwdecap: gwcap */
	STAGE_EDITS	= 1 << 4,	/* changes most packets where they lie */
};

/**
 * struct stage - One running stage
 * @prog:	Program name
 * @ops, @ctx, @flags:	Set by the program
 * @conf:	From the command line
 * @watch_fd:	With ops->make: what can be read when there is something to make (epoll(7)
 *		for several)
 * @now_ns:	CLOCK_MONOTONIC, read once a burst
 * @stats:	Counters; st->stats.page->counter[STATS_...] may be advanced by ops
 */
struct stage {
	const char *prog;
	const struct stage_ops *ops;
	void *ctx;
	unsigned flags;
	struct {
		const char *in;
		const char *out[STAGE_OUTPUTS_MAX];
		unsigned nout;
		const char *as;
		const char *user;
		const char *run;
		char chain[CAP_NAME_MAX];
		bool chain_given;
		unsigned inputs;
		uint64_t drain_ms;
		int hwm;
		bool quiet;
		bool print;
		bool no_ring;
		uint64_t spin_ns;
		int ready_fd;
	} conf;
	struct rx *rx;
	struct tx *tx[STAGE_OUTPUTS_MAX];
	unsigned ntx;
	struct ring_in in;
	struct ring_out *out;
	struct stats stats;
	struct priv priv;
	struct stream_conf stream;
	int watch_fd;
	uint64_t now_ns;
	/* private to common/stage*.c */
	FILE *print_to;
	int run_fd;
	int sig_fd;
	int signals;
	bool leaving;
	bool live;
	bool warned_geneve;
	struct log_site linktype_site;
	bool print_failed;
	uint64_t printed;		/* packets whose lines are written */
	bool fills;			/* the source captures into our ring's frames */
	bool full;			/* ... of which none is free */
	bool look;
	uint64_t said_by_ns;		/* the start line is due by then */
	unsigned said_way;
	char said[192];			/* what it said last */
	uint64_t next_tick_ns;
	uint64_t next_look_ns;
	bool calm;			/* nothing but time woke us the last time */
	uint64_t stop_at_ns;
	uint64_t made;			/* by stage_reply() and ops->make */
	uint64_t inherited;		/* a crashed predecessor's burst */
	bool run_system;		/* as it was before privileges went */
	char run_path[200];
};

/**
 * stage_options() - Parse the command line of a stage
 * @st:		Zeroed but for prog, ops, ctx, flags
 * @synopsis, @summary:	For --help
 * @own:	The program's own options, or NULL
 * @set:	Their taker
 *
 * Return: index of the first operand
 */
int stage_options(struct stage *st, const char *synopsis, const char *summary,
		  const struct opt *own, void (*set)(void *ctx, int ch, const char *arg),
		  int argc, char **argv);

/**
 * stage_open() - Open run folder, streams and page; errors exit
 */
void stage_open(struct stage *st);

/**
 * stage_confine() - Drop privileges, say the start line, tell readiness
 */
void stage_confine(struct stage *st);

/**
 * stage_run() - The loop, until the end
 *
 * Return: exit status
 */
int stage_run(struct stage *st);

/**
 * stage_reply() - A dropped packet's frame now holds our answer to it
 * @f:		Holds the answer (frame_set()); its verdict is REASON_NONE
 * @reason:	Why the packet it held was dropped
 *
 * Counts the packet as dropped and the answer as made; marks FRAME_REPLY.
 */
void stage_reply(struct stage *st, struct frame *f, enum reason reason);

/**
 * stage_trouble() - Say on the page what is wrong outside; "" when it is over
 */
void stage_trouble(struct stage *st, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif /* GW_STAGE_H */
