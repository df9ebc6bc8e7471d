/* SPDX-License-Identifier: MIT */
/*
 * ring.h - Packets in memory that neighbours share: they stay where they are, cursors move
 *
 * Theory of operation
 *
 * A segment is a head and the stages behind it, numbered 0, 1, 2 ... last.  The head
 * makes one memory file: N frames, a pool of bytes, and for each stage two cursors that run
 * from 0 up and never back.  Entry i has descriptor, version word and place i mod N; its
 * place tells where in the pool its buffer lies.  What neighbours share of descriptors lies
 * side by side, so that a burst of them is read in one sweep; so do the version words and the
 * places.
 *
 *	done[k]		stage k has done with all entries below
 *	taken[k]	it works on those from done[k] up to here: its burst
 *
 *	     done[last]   done[2]      done[1]        done[0]
 *	 free |  of stage 3  |  of stage 2 |  of stage 1  |  free: the head writes here
 *	 -----+--------------+-------------+--------------+------------------> entries
 *
 * Entry i belongs to stage k while done[k] <= i < done[k-1]; the head may write while it
 * is below done[last] + N.  Order, ownership and freeing ARE the cursors: there is no list
 * of free frames, no way back, nothing that can leak.  Each cursor has one writer.
 *
 * Buffers.  The head cuts them from the pool one behind the other, each as long as its packet
 * asks for, and begins at the front again where the pool ends: free is what lies between the
 * last one cut and that of entry done[last].  So packets under way lie close to each other,
 * in few pages and few lines of the cache.  It uses no more of the pool, the area, than
 * what is under way needs.  A packet that outgrows its buffer moves to the entry's spare
 * one, which takes any packet; those pages exist only where that happened.
 *
 * A burst: taken = done + n, work in place, done += n.  A packet that is dropped stays an
 * entry, with its verdict: later stages skip it, the last one frees it.
 *
 * Memory order.  done is stored with release and read with acquire, so who sees the
 * cursor sees the frames below it.  taken is stored behind the done of the burst before
 * (release) and before the first byte of the burst changes (a release fence behind it):
 * whatever a stage that died had changed lies below the taken that its successor reads.
 * last grows with release after the new stage's cursors were set; the head reads last
 * again after done[last], for a stage that joined in between has a smaller done than the
 * one that was last.  It shrinks when nobody holds the seats behind a stage any more; a
 * head that looks meanwhile takes the done of the one that was last, which is no larger,
 * and is rung behind the change.  For that seat may have its next stage already, done
 * of a new one is stored with release, too.
 *
 * Sleep.  A stage that finds nothing says so (asleep = 1), looks once more behind a full
 * fence, and sleeps in its one poll() on its doorbell, an eventfd.  Who moves a cursor
 * looks, behind a full fence as well, whether the one that waits for it sleeps: one of
 * the two sees the other.  A doorbell may ring in vain, and a stage that dies between
 * cursor and doorbell leaves a sleeper: who sits down rings once, whatever it finds.
 *
 * Taking turns.  Stages that are all bound to one processor (each seat tells) work one
 * after the other, whatever is rung: none is called before the one in front of it rests,
 * and the head sleeps until the ring is empty.  It then bounds the area, if the packets are
 * short enough for that, so that all that are in flight stay in the processor's cache.
 * Where stages may work at once they are called when half of the ring has moved.
 *
 * Crash.  A stage's successor, which holds the lock on its seat, turns the entries from
 * done to taken into drops with reason "restart" and goes on behind them: a packet is
 * never worked on twice.  The head has no successor: the segment ends with it.
 *
 * Trust.  Neighbours may be wrong or hostile.  Geometry is checked once and kept in
 * private memory; the memory file is sealed against a change of size.  A cursor that goes
 * back or too far is -EPROTO.  A stage works on a private copy of each descriptor, every
 * offset and length of which was checked; only the packets' bytes are read where
 * others could still change them.  Version words are anybody's: a drop is handed on
 * whatever they say.
 *
 * Seats.  Who sits where is told by a state word per stage, apart from the cursors:
 * joining and leaving is ringlink.h's business.
 */
#ifndef GW_RING_H
#define GW_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "frame.h"

#define RING_MAGIC	0x474e5257u	/* "WRNG" */
#define RING_VERSION	5u
#define RING_STAGES	16u		/* the head included */
#define RING_ENTRIES	1024u		/* frames of a live segment: bounds what may queue */
#define RING_ENTRIES_FILE 16384u	/* nobody waits: processors wake each other less */
#define RING_POOL	4096u		/* longest buffers in a pool, at most */
#define RING_STRIDE	10176u		/* bytes a buffer at most: a packet of MTU 9001, with room */
#define RING_STRIDE_MAX	(1u << 20)
#define RING_NONCE	16u		/* bytes of a segment's secret */
#define RING_WARM	(512u << 10)	/* bytes that stay in a processor's own cache */
#define RING_WARM_MIN	256u		/* in flight: with less, taking turns costs more than it saves */

/**
 * enum ring_state - Of a seat
 * @RING_EMPTY:		Nobody sat here yet
 * @RING_SEATED:	A stage is attached
 * @RING_VACANT:	It is gone without a word: a successor may come
 * @RING_LEFT:		It is done with the ring: nothing comes beyond its done
 */
enum ring_state { RING_EMPTY, RING_SEATED, RING_VACANT, RING_LEFT };

#define RING_DECLINED	(1ull << 40)	/* no uid */

/**
 * struct ring_cursor - What moves with every burst; a pair of cache lines each
 */
struct ring_cursor {
	_Atomic uint64_t taken;
	_Atomic uint64_t done;
	_Atomic uint32_t asleep;
	uint32_t pad[27];
};

/**
 * struct ring_seat - What changes when stages come and go
 * @state:	enum ring_state
 * @gen:	Counts those who sat down here
 * @nonce:	Of the process that sits here, as in its hello
 * @before:	Packets it had sent by stream before its output became the ring
 * @refused:	1 + uid of a reader that was refused because of it; RING_DECLINED: it takes
 *		no ring; 0: neither
 * @cpu:	1 + the one processor that the stage may run on; 0: on more than one
 */
struct ring_seat {
	_Atomic uint32_t state;
	_Atomic uint32_t gen;
	_Atomic uint64_t nonce;
	_Atomic uint64_t before;
	_Atomic uint64_t refused;
	_Atomic uint32_t cpu;
	uint32_t pad[7];
};

/**
 * struct ring_shm - The memory file
 * @size:	Of this header
 * @frame_size:	FRAME_SHARED
 * @entries:	A power of two
 * @stride:	Bytes of a buffer at most, and of a spare one
 * @pool_off:	The pool, @stride bytes for each of @entries or RING_POOL, what is less
 * @spares_off:	Spare buffers, one every @stride bytes
 * @versions_off:	Version words
 * @places_off:	Places: where the entry's buffer begins in the pool, and above 32 bits how long
 *		it is
 * @frames_off:	Descriptors, FRAME_SHARED bytes each
 * @last:	Stage that frees entries
 */
struct ring_shm {
	uint32_t magic;
	uint32_t version;
	uint32_t size;
	uint32_t frame_size;
	uint32_t entries;
	uint32_t stride;
	uint64_t pool_off;
	uint64_t spares_off;
	uint32_t versions_off;
	uint32_t places_off;
	uint32_t frames_off;
	uint32_t pad[19];
	_Atomic uint32_t last;
	uint32_t pad2[31];
	struct ring_cursor cursor[RING_STAGES];
	struct ring_seat seat[RING_STAGES];
};

/**
 * struct ring - A segment, mapped
 * @shm:	Shared
 * @entries, @stride:	As checked when it was mapped
 * @versions, @places, @frames, @pool, @spares:	Where they begin
 * @fd:		Of the memory file
 * @bell:	Doorbells (eventfd), one a stage; -1: none
 */
struct ring {
	struct ring_shm *shm;
	_Atomic uint32_t *versions;
	_Atomic uint64_t *places;
	uint8_t *frames;
	uint8_t *pool;
	uint8_t *spares;
	uint32_t entries;
	uint32_t stride;
	size_t size;
	int fd;
	int bell[RING_STAGES];
};

/**
 * struct ring_pos - One stage's place in a segment
 * @k:		Its number; 0: the head
 * @done:	As last stored
 * @seen:	Upstream's done (head: the last stage's), as last read
 * @held:	Frames of the burst at hand
 * @dead:	Bit i: own[i] had its verdict before we took it
 * @rung:	done when a doorbell was last thought of
 * @cpu:	As in its seat
 * @area:	Head: bytes of the pool in use
 * @at, @end:	Head: where in it the next buffer begins, and those in use do, as last seen
 * @bounded:	Head: @area was chosen for stages that take turns, and does not grow
 * @chosen:	Head: done when @area was chosen
 * @bytes:	Head: of buffers published since then
 * @space:	Where @own find buffers
 * @own:	Private descriptors
 *
 * Stays where ring_sit() found it: @own point to it.
 */
struct ring_pos {
	struct ring *ring;
	unsigned k;
	uint64_t done;
	uint64_t seen;
	uint64_t rung;
	uint64_t dead;
	uint64_t chosen;
	uint64_t bytes;
	uint32_t area;
	uint32_t at;
	uint32_t end;
	uint32_t cpu;
	int held;
	bool asleep;
	bool bounded;
	struct frame_space space;
	struct frame own[FRAME_BURST];
};

/**
 * ring_create() - Make a segment and its doorbells
 * @entries:	A power of two, at least 2 * FRAME_BURST
 * @stride:	Bytes a buffer at most, rounded up; at most RING_STRIDE_MAX
 *
 * Return: 0 or -errno
 */
int ring_create(struct ring *r, uint32_t entries, uint32_t stride) __attribute__((nonnull));

/**
 * ring_map() - Map a segment that was made elsewhere
 * @fd:		Memory file; owned by @r on success
 *
 * Doorbells are the caller's to fill in.  Return: 0; -EPROTO if it is not what it should be
 * or may still change its size; -errno
 */
int ring_map(struct ring *r, int fd) __attribute__((nonnull));

/**
 * ring_close() - Unmap, close file and doorbells
 */
void ring_close(struct ring *r) __attribute__((nonnull));

/**
 * ring_sit() - Take seat @k from where its cursors stand
 *
 * Whoever sits down uses ring_call() after ring_recover(): its predecessor, or the last
 * stage before it, may not have come to ringing.
 *
 * Return: 0; -EPROTO if they cannot be right
 */
int ring_sit(struct ring_pos *p, struct ring *r, unsigned k) __attribute__((nonnull));

/**
 * ring_recover() - Turn what a predecessor had in hand into drops with reason "restart"
 *
 * Return: how many packets these were
 */
unsigned ring_recover(struct ring_pos *p) __attribute__((nonnull));

/**
 * ring_extend() - Let stage @p->k + 1 be the last one, from @p->done on
 *
 * Only whoever is the last one, between two bursts.  Wakes the head, if what @p moved is what
 * it waits for: from here on ring_wake() is for the new stage.
 */
void ring_extend(struct ring_pos *p) __attribute__((nonnull));

/**
 * ring_take() - Next burst of a stage that is not the head
 * @f:		Written: @max pointers at most, to private descriptors, some with a verdict
 *		already; until ring_put()
 * @max:	At most FRAME_BURST
 *
 * Return: how many; 0: nothing there; -EPROTO: a neighbour broke the rules
 */
int ring_take(struct ring_pos *p, struct frame **f, int max) __attribute__((nonnull));

/**
 * ring_put() - Done with the burst taken: it belongs to the next stage
 *
 * Rings nobody: ring_wake().
 */
void ring_put(struct ring_pos *p) __attribute__((nonnull));

/**
 * ring_reserve() - Frames for the head to fill: they hold what was in them before
 * @f:		Written: no buffers yet, each gets its own by frame_room() in this order
 *
 * There is room for one buffer of any length, for as many as are short, and not for more:
 * the head then publishes what it has.
 *
 * Return: how many; 0: the ring is full; -EPROTO
 */
int ring_reserve(struct ring_pos *p, struct frame **f, int max) __attribute__((nonnull));

/**
 * ring_publish() - The first @n frames reserved are filled
 */
void ring_publish(struct ring_pos *p, int n) __attribute__((nonnull));

/**
 * ring_wake() - Ring whoever waits for what @p moved since the last call, if it sleeps
 */
void ring_wake(struct ring_pos *p) __attribute__((nonnull));

/**
 * ring_wake_due() - Has so much moved that the next stage should start now?
 */
static inline bool ring_wake_due(const struct ring_pos *p)
{
	return p->done - p->rung >= MIN(p->ring->entries / 2, 512u);
}

/**
 * ring_turns() - Are all stages of the segment bound to the processor that we are bound to?
 */
bool ring_turns(const struct ring_pos *p) __attribute__((nonnull));

/**
 * ring_nudge() - ring_wake(), once so much moved, of a stage that can run meanwhile
 */
static inline void ring_nudge(struct ring_pos *p)
{
	if (ring_wake_due(p) && !ring_turns(p))
		ring_wake(p);
}

/**
 * ring_doze() - About to sleep: say so, and look once more
 * @all:	The head waits until the ring is empty; else, unless stages take turns or did
 *		when the window was chosen, until most of it is: a stage that filled it is not
 *		woken for a single frame
 *
 * Return: false: what it waits for is there, don't sleep
 */
bool ring_doze(struct ring_pos *p, bool all) __attribute__((nonnull));

/**
 * ring_rise() - Awake again, for whatever reason
 * @rang:	The doorbell is readable
 */
void ring_rise(struct ring_pos *p, bool rang) __attribute__((nonnull));

/**
 * ring_ring() - Ring stage @k's doorbell, asleep or not
 */
void ring_ring(const struct ring *r, unsigned k) __attribute__((nonnull));

/**
 * ring_call() - Ring the stage that waits for @p, or the head if @p is the last one; asleep
 * or not
 */
void ring_call(const struct ring_pos *p) __attribute__((nonnull));

/**
 * ring_upto() - done of stage @k, as it is now
 */
static inline uint64_t ring_upto(const struct ring *r, unsigned k)
{
	/* Acquire: pairs with the release in ring_put(), ring_publish(). */
	return atomic_load_explicit(&r->shm->cursor[k].done, memory_order_acquire);
}

/**
 * ring_idle() - Has every stage done with everything the head published?
 */
bool ring_idle(const struct ring *r) __attribute__((nonnull));

static inline enum ring_state ring_state(const struct ring *r, unsigned k)
{
	/* Acquire: who sees RING_LEFT sees the last done; pairs with ring_set_state(). */
	return (enum ring_state)atomic_load_explicit(&r->shm->seat[k].state, memory_order_acquire);
}

static inline void ring_set_state(struct ring *r, unsigned k, enum ring_state s)
{
	/* Release: pairs with ring_state(). */
	atomic_store_explicit(&r->shm->seat[k].state, (uint32_t)s, memory_order_release);
}

/**
 * ring_leave() - Nothing comes beyond what stage @k has done: the stage behind is told
 */
static inline void ring_leave(struct ring *r, unsigned k)
{
	ring_set_state(r, k, RING_LEFT);
	if (k + 1 < RING_STAGES)
		ring_ring(r, k + 1);
}

#endif /* GW_RING_H */
