/* SPDX-License-Identifier: MIT */
/*
 * ringmodelmem.h - What ringmodel.h works on: a state of the ring, and stores that linger
 */
#ifndef RINGMODELMEM_H
#define RINGMODELMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ENTRIES		4	/* at most */
#define UNITS		8	/* of the pool, at most */
#define STRIDE		2	/* units of the longest buffer */
#define WARM		4	/* units of a bounded area */
#define PROCS		4	/* the head included */
#define SB		8	/* stores that linger */
#define RULED		1	/* entry that stage 1 drops by rule */

/* One place in memory each */
enum { V_LAST, V_TAKEN, V_DONE = V_TAKEN + PROCS, V_ASLEEP = V_DONE + PROCS,
       V_DESC = V_ASLEEP + PROCS, V_PLACE = V_DESC + ENTRIES, V_DATA = V_PLACE + ENTRIES,
       VARS = V_DATA + UNITS };

/* Flags of a lingering store */
enum { VAR = 0x1f, RELEASE = 0x40, FENCE = 0x80 };

/* Bits of a descriptor: entry + 1, verdict; own copies have CHANGED.
 * Of data: entry + 1, one mark a stage */
enum { WHO = 0x07, BY_RULE = 0x08, BY_RESTART = 0x10, DEAD = BY_RULE | BY_RESTART, CHANGED = 0x20 };
enum { MARK = 0x08 };

enum { AWAKE, WANTS_ENTRIES, WANTS_HALF, WANTS_ALL };

enum pc { TOP, TAKE, COPY, WORK, SEND, PUT, WAKE, RANG, BELL, DOZE, LOOK, SLEEP, RISE, HUSH,
	  RESERVE, RELOAD, AGAIN, CHOOSE, FILL, EXTEND, FINISHED, ABSENT, GONE, RECOVER, RECOVERED,
	  RING };

enum fault { RIGHT, NO_AGAIN, LATE_TAKEN, NO_FENCE, NO_FULL_FENCE, NO_LOOK, NO_DROPS, EARLY_DONE,
	     LOOSE_DONE, LOOSE_TAKEN, LOOSE_LAST, LOOSE_JOIN, EARLY_LOADS, QUIET, SHRUNK_LIES,
	     BUSY_CHOICE, NO_TAIL, NO_PLACE, LATE_PLACE };

struct store {
	uint8_t var, val;
};

/**
 * struct proc - Private memory of a process
 * @after:	Where to go on after ring_wake(), or after look_free()
 * @ahead:	Frames were loaded before the cursor (EARLY_LOADS)
 * @rang:	It was the doorbell that woke it
 * @at, @end, @area, @bounded:	Of the head
 */
struct proc {
	uint8_t pc, after, done, seen, rung, n, i, a, b, last, ahead, rang, at, end, area, bounded;
	uint8_t own[2];
	uint8_t stores;
	struct store sb[SB];
};

struct state {
	uint8_t mem[VARS];
	uint8_t bell[PROCS];
	uint8_t sent, gone;	/* bit an entry */
	uint8_t kills, joins, spurious, clears, choices;
	struct proc proc[PROCS];
};

struct conf {
	const char *what;
	uint8_t stages, last, entries, burst, packets, kills, joins, spurious, clears, choices;
	bool weak, polls;
	enum fault fault;
};

static const struct conf *conf;
static struct state *s;		/* at hand */
static struct proc *p;
static unsigned k;
static const char *bad;

static void violated(const char *what)
{
	if (!bad)
		bad = what;
}

static void need(bool good, const char *what)
{
	if (!good)
		violated(what);
}

static uint8_t load(unsigned var)
{
	for (int j = p->stores - 1; j >= 0; j--)
		if (p->sb[j].var != FENCE && (p->sb[j].var & VAR) == var)
			return p->sb[j].val;
	return s->mem[var];
}

static void store(unsigned var, unsigned val)
{
	if (p->stores == SB)
		abort();
	p->sb[p->stores++] = (struct store){ (uint8_t)var, (uint8_t)val };
}

static void release_fence(void)
{
	if (conf->weak && p->stores)
		store(FENCE, 0);
}

static bool room_for(int n)
{
	return p->stores + n <= SB;
}

/* May store @j of the buffer drain now? */
static bool may_drain(const struct proc *q, int j)
{
	if (j && (!conf->weak || q->sb[j].var & RELEASE))
		return false;
	if (q->sb[j].var == FENCE)
		return false;
	for (int b = 0; b < j; b++)
		if (q->sb[b].var == FENCE || (q->sb[b].var & VAR) == (q->sb[j].var & VAR))
			return false;
	return true;
}

static void forget(int j)
{
	p->stores--;
	memmove(&p->sb[j], &p->sb[j + 1], (unsigned)(p->stores - j) * sizeof(p->sb[0]));
	p->sb[p->stores] = (struct store){ 0 };
}

static void drain_one(int j)
{
	s->mem[p->sb[j].var & VAR] = p->sb[j].val;
	forget(j);
	while (p->stores && p->sb[0].var == FENCE)
		forget(0);
}

static bool of_frame(const struct store *st)
{
	return st->var != FENCE && (st->var & VAR) >= V_DESC;
}

/* Store @j drains.  Those to frames do no earlier than something needs them to: the later
 * they are seen, the worse.  When a process dies they may all have been seen: die(). */
static bool drain(int j)
{
	if (j >= p->stores || p->sb[j].var == FENCE)
		return false;
	if (of_frame(&p->sb[j])) {
		for (int i = 0; i < p->stores; i++)
			if (!of_frame(&p->sb[i]))
				return false;
		drain_one(0);
		return true;
	}
	while (j && !may_drain(p, j) && of_frame(&p->sb[0])) {
		int had = p->stores;

		drain_one(0);
		j -= had - p->stores;
	}
	if (!may_drain(p, j))
		return false;
	drain_one(j);
	return true;
}

static unsigned desc_of(unsigned i)
{
	return V_DESC + i % conf->entries;
}

static unsigned place_of(unsigned i)
{
	return V_PLACE + i % conf->entries;
}

/* The bytes of entry @i: all are in its buffer's first unit */
static unsigned data_of(unsigned i)
{
	return V_DATA + (conf->fault == NO_PLACE ? i % conf->entries : load(place_of(i)));
}

/* Units of entry @i's buffer */
static unsigned size_of(unsigned i)
{
	return 1 + i % STRIDE;
}

/* done of process @j as it believes itself */
static uint8_t done_of(unsigned j)
{
	const struct proc *q = &s->proc[j];

	return q->pc == ABSENT || q->pc == GONE ? s->mem[V_DONE + j] : q->done;
}

#endif /* RINGMODELMEM_H */
