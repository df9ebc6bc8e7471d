/* SPDX-License-Identifier: MIT */
/*
 * stats.h - A stage's counters, seen from outside
 *
 * Each live stage maps one file of the run folder, CHAIN/STAGE[:NAME], and is its
 * only writer: counters are plain aligned 64-bit words, advanced once a burst,
 * without a lock.  An OFD lock on the file says that the stage lives; it is
 * unlinked after an orderly exit, so a file without a lock is a crash.  Who leaves its
 * place in a running chain to a successor cuts it short instead.  Files runs
 * have a page too, in private memory.  Layout in gwframe(5).
 *
 * A reader (gwhealth) copies what it needs and believes nothing: stats_attach()
 * checks magic, version and size.
 */
#ifndef GW_STATS_H
#define GW_STATS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "reason.h"

#define STATS_MAGIC	0x54535747u	/* "GWST" */
#define STATS_VERSION	2u
#define STATS_RULES_MAX	16384u
#define STATS_UPSTREAM_MAX 64
#define STATS_LATENCY	64		/* bucket i: below 2^i ns */
#define STATS_NAME_MAX	64
#define STATS_SPEC_MAX	128

/* X(symbol, metric, text) */
#define STATS_LIST(X) \
	X(IN_PACKETS,	"in_packets",	"packets taken in") \
	X(IN_BYTES,	"in_bytes",	"bytes of packets taken in") \
	X(OUT_PACKETS,	"out_packets",	"packets handed on") \
	X(OUT_BYTES,	"out_bytes",	"bytes of packets handed on") \
	X(MADE,		"made_packets",	"packets made here: replies, fragments, mirrors") \
	X(DROPPED,	"dropped_packets", "packets dropped, for any reason") \
	X(UNCERTAIN,	"uncertain_packets", "in hand at a crash: sent or not, unknown") \
	X(GAPS,		"gap_packets",	"packets lost on the way to this stage") \
	X(BROKEN,	"broken_messages", "blocks or messages that could not be read") \
	X(BURSTS,	"bursts",	"bursts worked on") \
	X(KERNEL_DROPS,	"kernel_drops",	"packets the kernel dropped for want of buffer") \
	X(IF_DROPS,	"interface_drops", "packets the network card dropped") \
	X(ERRORS,	"rule_errors",	"packets for which a rule could not be evaluated") \
	X(UNEDITED,	"unedited_packets", "packets left alone where a rule would have edited them") \
	X(EDITED,	"edited_packets", "packets a rule edited") \
	X(FLOWS,	"flows",	"flows in the table now") \
	X(FLOWS_EVICTED, "flows_evicted", "flows pushed out of a full table") \
	X(COPIED,	"copied_packets", "packets that copies of a tee took") \
	X(LOST,		"lost_packets",	"packets a copy could not take") \
	X(RELOADS,	"reloads",	"successful reloads of the rules") \
	X(RELOAD_ERRORS, "reload_errors", "reloads that failed; the old rules stayed")

enum stats_counter {
#define X(sym, name, text) STATS_##sym,
	STATS_LIST(X)
#undef X
	STATS_NUM
};

/* What a stage is to its chain.  One beside it is handed flows, not packets: gwproxy */
enum stats_role { STATS_SOURCE = 1, STATS_SINK = 2, STATS_BESIDE = 4 };

/* How packets come, or go: none where no stage is likely at the other end */
enum stats_way { STATS_NO_WAY, STATS_STREAM, STATS_RING };

struct stats_rule {
	char name[STATS_NAME_MAX];
	uint64_t packets;
	uint64_t bytes;
};

/**
 * struct stats_page - The shared page; zero at first
 * @heartbeat_ns:	CLOCK_MONOTONIC, advanced at least once a second while
 *			the stage's loop turns
 * @nonce:		Of this process; @upstream: of those that feed it
 * @upstream_packets:	Packets received from each, @hand included: where a
 *			successor goes on
 * @hand:		Packets taken in and not yet accounted for: a burst at work
 * @in_way, @out_way:	enum stats_way, of @in and @out
 * @trouble:		One line while something outside is wrong ("eth0 is down"),
 *			else ""
 * @rules_gen:		Odd while @rules is being rewritten by a reload
 * @unix_start_ns:	CLOCK_REALTIME at start
 */
struct stats_page {
	uint32_t magic;
	uint32_t version;
	uint32_t size;
	int32_t pid;
	uint32_t uid;
	uint32_t role;
	uint64_t nonce;
	uint64_t unix_start_ns;
	_Atomic uint64_t heartbeat_ns;
	char chain[STATS_NAME_MAX];
	char prog[STATS_NAME_MAX];
	char as[STATS_NAME_MAX];
	char in[STATS_SPEC_MAX];
	char out[STATS_SPEC_MAX];
	char trouble[STATS_SPEC_MAX];
	_Atomic uint32_t nupstream;
	uint16_t in_way;
	uint16_t out_way;
	uint64_t upstream[STATS_UPSTREAM_MAX];
	uint64_t upstream_packets[STATS_UPSTREAM_MAX];
	uint64_t hand;
	uint64_t counter[STATS_NUM];
	uint64_t drop[REASON_NUM];
	uint64_t latency[STATS_LATENCY];
	uint64_t rules_hash;
	uint64_t rules_loaded_unix_ns;
	_Atomic uint32_t rules_gen;
	uint32_t nrules;
	struct stats_rule rules[STATS_RULES_MAX];
};

/**
 * stats_counter_name() - Metric name of a counter, without prefix and "_total"
 */
const char *stats_counter_name(unsigned counter);
const char *stats_counter_text(unsigned counter);

/**
 * struct stats - A page and who holds it
 */
struct stats {
	struct stats_page *page;
	int fd;			/* -1: private memory */
	int dir_fd;
	char file[2 * STATS_NAME_MAX];
};

/**
 * stats_open() - Make the page of this stage
 * @dir_fd:	Run folder of the chain; -1: private memory only
 * @prog, @as:	File name PROG or PROG:AS
 * @old:	NULL, or a copy of the page a predecessor left: written
 *		if there was one, else its magic is 0.  Allocated by the caller:
 *		only the part before @rules is filled
 *
 * Return: 0; -EBUSY if a live stage of that name holds it; -errno
 */
int stats_open(struct stats *s, int dir_fd, const char *prog, const char *as,
	       struct stats_page *old);

/**
 * stats_move() - Carry everything counted so far from private memory to @to's page
 * @from:	Closed afterwards
 */
void stats_move(struct stats *to, struct stats *from);

/**
 * stats_close() - Unlink (orderly exit) and unmap
 *
 * What cannot be unlinked, in a folder that only another user may write to, loses its
 * magic: to readers and to a successor there is no page.
 */
void stats_close(struct stats *s);

/**
 * stats_leave() - Unmap, but leave what a successor must know: the part before @rules,
 * with @pid 0.  To readers the page is gone
 */
void stats_leave(struct stats *s);

/**
 * stats_beat() - The stage's loop turned
 */
static inline void stats_beat(struct stats *s, uint64_t now_ns)
{
	atomic_store_explicit(&s->page->heartbeat_ns, now_ns, memory_order_relaxed);
}

/**
 * struct stats_view - A page of another process, read only
 * @alive:	Its lock is held
 */
struct stats_view {
	const struct stats_page *page;
	int fd;
	bool alive;
};

/**
 * stats_attach() - Map another stage's page
 * @dir_fd, @file:	Run folder and file name
 *
 * Return: 0; -EPROTO if it is no page of ours; -errno
 */
int stats_attach(struct stats_view *v, int dir_fd, const char *file);

/**
 * stats_alive() - Does the stage still hold its lock?
 */
bool stats_alive(const struct stats_view *v);

/**
 * stats_copy() - Copy a page, by reading its file: a stage that cuts it short makes
 * this fail, not fault
 * @rules:	With its rules; else only the part before @rules is written
 *
 * Return: 0; -EPROTO if it is no page any more, -EAGAIN if a reload is rewriting
 * the rules right now; -errno
 */
int stats_copy(const struct stats_view *v, struct stats_page *to, bool rules);

void stats_detach(struct stats_view *v);

#endif /* GW_STATS_H */
