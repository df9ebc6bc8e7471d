/* SPDX-License-Identifier: MIT */
/*
 * ringmodel.h - The ring's protocol as steps, for t_ringmodel.c
 *
 * What is modelled: the steps of ring_take(), ring_put(), ring_reserve() with its second
 * look at last, ring_publish(), ring_wake(), ring_doze(), ring_rise(), ring_extend(),
 * ring_sit(), ring_recover() and seats_clear(), one access to shared memory (or one run of
 * stores) a step, for a head and two or three stages over a ring of two to four entries in
 * bursts of one or two.  The head cuts buffers of two lengths from a pool, each entry's place
 * tells where, and all that happens to bytes happens there.  Stages mark them in place, one
 * drops a packet by rule, the last one sends.  All orders of all steps are tried (states that
 * were seen are not gone through again), with
 *
 * - stores that linger: each process has a buffer of them, which drains at any time.  In
 *   mode "tso" first in, first out, as on x86; in mode "weak" in any order that release
 *   stores, release fences and one place's order allow.  It must be empty for a full
 *   fence and for a system call (send, doorbell): no compiler moves a store behind one.
 * - death of any stage behind any step.  What its buffer held is lost: each part of it
 *   that may drain first may have drained.  A successor sits down any time later, and
 *   rings once whoever waits for this stage.
 * - a stage that joins (ring_extend, between two bursts; it then sits down as a successor
 *   does), one that makes itself the last one when those behind are dead, and a sleeper
 *   that wakes for some other reason.
 * - a head that bounds the area it cuts from, or no longer does, whenever it has seen the ring
 *   empty.
 *
 * Left out: spare buffers, which are an entry's like its descriptor; loads that run ahead of each other where an acquire forbids it (where nothing
 * does, in ring_wake(), both orders are tried; that the acquire is needed is a planted
 * fault), buffers of more than SB stores, cursors that wrap, the offer and the seats'
 * states, neighbours that lie, and a head that dies: the segment ends with it.
 *
 * Required in every state: entries are seen in order and with the bytes they were filled
 * with, no entry is in two hands, none is marked by one stage twice, sent twice or
 * unmarked, none is overwritten that somebody still needs, no honest cursor is refused;
 * where nothing can go on every stage sleeps, the head has seen the ring empty, and each
 * entry was sent, or dropped by the rule, by a restart, or by who became the last one.
 */
#ifndef RINGMODEL_H
#define RINGMODEL_H

#include "ringmodelmem.h"

/* --- both ----------------------------------------------------------------- */

static bool go(enum pc pc)
{
	p->pc = (uint8_t)pc;
	return true;
}

static bool wake_then(enum pc after)
{
	if (conf->polls)
		return go(after == EXTEND ? EXTEND : TOP);
	if (p->rung == p->done)
		return go(after);
	p->after = (uint8_t)after;
	return go(WAKE);
}

static bool back(void)
{
	enum pc after = p->after;

	p->after = p->a = p->b = 0;
	return go(after);
}

static unsigned waiting(void)
{
	return p->last ? 0 : k + 1;
}

static bool fulfilled(uint8_t wish, unsigned used)
{
	return wish == WANTS_HALF ? used <= conf->entries / 2u : wish == WANTS_ALL && !used;
}

/* The two loads of what the last stage looks at have no order: @second tries the other */
static bool wake(bool second)
{
	if (p->stores && conf->fault != NO_FULL_FENCE)
		return false;
	p->rung = p->done;
	if (!p->last) {
		p->a = load(V_ASLEEP + k + 1);
		return p->a ? go(BELL) : back();
	}
	if (!k)
		return back();
	p->i = second;
	if (second)
		p->b = load(V_DONE);
	else
		p->a = load(V_ASLEEP);
	return go(RANG);
}

static bool rang(void)
{
	if (p->i)
		p->a = load(V_ASLEEP);
	else
		p->b = load(V_DONE);
	p->i = 0;
	need(p->b >= p->done, "the last stage is ahead of the head");
	return fulfilled(p->a, p->b - p->done) ? go(BELL) : back();
}

/* a: still to be exchanged */
static bool bell(void)
{
	unsigned w = waiting();

	if (p->stores)
		return false;
	if (p->a) {
		p->a = s->mem[V_ASLEEP + w];
		s->mem[V_ASLEEP + w] = AWAKE;
		if (!p->a)
			return back();
		p->a = 0;
		return true;
	}
	s->bell[w] = 1;
	return back();
}

static uint8_t wish(void)
{
	if (k)
		return WANTS_ENTRIES;
	return p->done == conf->packets || p->bounded ||
	       fulfilled(WANTS_HALF, p->done - p->seen) ? WANTS_ALL : WANTS_HALF;
}

static bool doze(void)
{
	if (!room_for(1))
		return false;
	store(V_ASLEEP + k, wish());
	if (conf->fault == NO_LOOK)
		return go(SLEEP);
	return go(k ? LOOK : RESERVE);
}

static bool fenced(void)
{
	return !p->stores || conf->fault == NO_FULL_FENCE;
}

static bool look(void)
{
	if (!fenced())
		return false;
	return go(load(V_DONE + k - 1) == p->done ? SLEEP : RISE);
}

static bool sleeping(bool spurious)
{
	if (spurious ? !s->spurious : !s->bell[k])
		return false;
	s->spurious -= spurious;
	p->rang = !spurious;
	return go(RISE);
}

static bool rise(void)
{
	if (!room_for(1))
		return false;
	store(V_ASLEEP + k, AWAKE);
	return go(p->rang ? HUSH : TOP);
}

static bool hush(void)
{
	s->bell[k] = 0;
	p->rang = 0;
	return go(TOP);
}

/* The doorbell is for the caller to ring, at once or when it finds nothing: both */
static bool cursor_moved(void)
{
	p->n = 0;
	memset(p->own, 0, sizeof(p->own));
	return p->done % 3 ? go(TOP) : wake_then(TOP);
}

static bool extend(void)
{
	unsigned first = conf->fault == LOOSE_JOIN ? 0 : RELEASE;
	unsigned second = conf->fault == LOOSE_LAST ? 0 : RELEASE;

	if (!room_for(3))
		return false;
	store(V_TAKEN + k + 1, p->done);
	store((V_DONE + k + 1) | first, p->done);
	store(V_LAST | second, k + 1);
	p->last = 0;
	return go(TOP);
}

static bool may_extend(void)
{
	if (!p->last || !s->joins || k == conf->stages)
		return false;
	s->joins--;
	return conf->fault == QUIET ? go(EXTEND) : wake_then(EXTEND);
}

/* seats_clear(): what those behind had not done with is lost */
static bool may_clear(void)
{
	uint8_t last = load(V_LAST);

	if (p->last || !k || !s->clears || p->stores)
		return false;
	for (unsigned j = k + 1; j <= last; j++)
		if (s->proc[j].pc != GONE)
			return false;
	s->clears--;
	for (unsigned e = load(V_DONE + last); e < p->done; e++)
		s->gone |= (uint8_t)(1u << e);
	store(V_LAST | RELEASE, k);
	p->last = 1;
	return go(conf->fault == QUIET ? TOP : RING);
}

/* --- a stage -------------------------------------------------------------- */

static bool frames_of_burst(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		p->own[i] = load(desc_of(p->done + i));
	p->n = (uint8_t)n;
	return true;
}

static unsigned burst_of(unsigned there)
{
	return there < conf->burst ? there : conf->burst;
}

/* EARLY_LOADS: nothing keeps the frames from being read before the cursor */
static bool look_ahead(void)
{
	if (p->ahead)
		return false;
	p->ahead = 1;
	return frames_of_burst(conf->burst);
}

static bool stage_top(bool other)
{
	unsigned there = p->seen - p->done;

	if (other && conf->fault == EARLY_LOADS)
		return look_ahead();
	if (other)
		return p->last ? may_extend() : may_clear();
	if (there < conf->burst) {
		uint8_t seen = load(V_DONE + k - 1);

		there = (uint8_t)(seen - p->done);
		need(there <= conf->entries && seen >= p->seen, "an honest cursor is refused");
		p->seen = seen;
	}
	p->n = (uint8_t)burst_of(there);
	if (p->n)
		return go(TAKE);
	p->ahead = 0;
	memset(p->own, 0, sizeof(p->own));
	return wake_then(DOZE);
}

static void in_one_hand(void)
{
	for (unsigned j = 0; j <= s->mem[V_LAST]; j++) {
		if (j < k)
			need(done_of(j) >= p->done + p->n, "an entry is in two hands");
		if (j > k)
			need(done_of(j) <= p->done, "an entry is in two hands");
	}
}

static bool take(void)
{
	if (!room_for(2 + p->n))	/* what work() stores as well */
		return false;
	in_one_hand();
	if (conf->fault != LATE_TAKEN) {
		store((V_TAKEN + k) | (conf->fault == LOOSE_TAKEN ? 0 : RELEASE), p->done + p->n);
		if (conf->fault != NO_FENCE)
			release_fence();
	}
	return go(COPY);
}

static bool copy(void)
{
	if (!p->ahead)
		frames_of_burst(p->n);
	p->ahead = 0;
	memset(p->own + p->n, 0, sizeof(p->own) - p->n);
	for (unsigned i = 0; i < p->n; i++)
		need((p->own[i] & WHO) == p->done + i + 1, "a frame is not the entry's");
	return go(WORK);
}

/* Is everything that stages 1 to @upto mark marked, and nothing else? */
static bool marks_right(uint8_t data, unsigned upto)
{
	return (data >> 3) == (1u << upto) - 1;
}

static bool work(void)
{
	unsigned e = p->done + p->i, at;
	uint8_t *own, data;

	if (p->i == p->n)
		return go(PUT);
	own = &p->own[p->i];
	at = data_of(e);
	data = load(at);
	if (*own & DEAD) {
		if (p->last)
			s->gone |= (uint8_t)(1u << e);
		p->i++;
		return true;
	}
	need((data & WHO) == e + 1, "bytes are not the entry's");
	need(!(data & MARK << (k - 1)), "a packet is marked twice by one stage");
	need(marks_right(data, k - 1), "a packet was not marked by every stage before");
	if (k == 1 && e == RULED)
		*own |= BY_RULE | CHANGED;
	else
		store(at, data | MARK << (k - 1));
	if (p->last && !(*own & DEAD))
		return go(SEND);
	if (p->last)
		s->gone |= (uint8_t)(1u << e);
	p->i++;
	return true;
}

static bool send(void)
{
	unsigned e = p->done + p->i;

	if (p->stores)
		return false;
	need(!(s->sent >> e & 1), "a packet is sent twice");
	need(!(s->sent >> e), "packets are sent out of order");
	need((s->mem[data_of(e)] & WHO) == e + 1,
	     "other bytes than the packet's are sent");
	s->sent |= (uint8_t)(1u << e);
	p->i++;
	return go(WORK);
}

static void store_done(void)
{
	p->done += p->n;
	store((V_DONE + k) | (conf->fault == LOOSE_DONE ? 0 : RELEASE), p->done);
}

static bool put(void)
{
	unsigned first = p->done;

	if (!room_for(4))
		return false;
	p->i = 0;
	if (conf->fault == EARLY_DONE)
		store_done();
	for (unsigned i = 0; i < p->n; i++)
		if (p->own[i] & CHANGED)
			store(desc_of(first + i), p->own[i] & ~CHANGED);
	if (conf->fault == LATE_TAKEN)
		store(V_TAKEN + k, first + p->n);
	if (conf->fault != EARLY_DONE)
		store_done();
	return cursor_moved();
}

/* --- a successor ---------------------------------------------------------- */

static bool sit(void)
{
	unsigned taken, above;

	if (s->mem[V_LAST] < k)
		return false;
	for (unsigned j = 0; j < k; j++)
		if (s->proc[j].last)
			return false;	/* which does not let it in */
	*p = (struct proc){ .last = load(V_LAST) == k };
	p->done = p->seen = p->rung = p->i = load(V_DONE + k);
	taken = load(V_TAKEN + k);
	above = load(V_DONE + k - 1);
	need(taken >= p->done && taken - p->done <= conf->burst, "a successor refuses taken");
	need(above >= taken && above - taken <= conf->entries, "a successor refuses its upstream");
	p->a = conf->fault == NO_DROPS ? p->done : (uint8_t)taken;
	return go(RECOVER);
}

static bool recover(void)
{
	uint8_t desc = load(desc_of(p->i));

	if (p->i == p->a)
		return go(RECOVERED);
	need((desc & WHO) == p->i + 1, "a frame to recover is not the entry's");
	if (!(desc & DEAD))
		store(desc_of(p->i), desc | BY_RESTART);
	if (p->last)
		s->gone |= (uint8_t)(1u << p->i);
	p->i++;
	return true;
}

static bool recovered(void)
{
	p->done = p->seen = p->rung = p->a;
	p->i = p->a = 0;
	store((V_DONE + k) | RELEASE, p->done);
	return go(conf->fault == QUIET || conf->polls ? TOP : RING);
}

static bool ring(void)
{
	if (p->stores)
		return false;
	s->bell[waiting()] = 1;
	return go(TOP);
}

/* Behind some step, the stores to frames among the first @n seen */
static bool die(int n)
{
	if (!k || !s->kills || p->pc == ABSENT || p->pc == GONE || n > p->stores)
		return false;
	for (int j = 0; j < n;)
		if (of_frame(&p->sb[j]) && may_drain(p, j)) {
			int had = p->stores;

			drain_one(j);
			n -= had - p->stores;
		} else {
			j++;
		}
	s->kills--;
	*p = (struct proc){ .pc = GONE };
	return true;
}

/* --- the head ------------------------------------------------------------- */

static unsigned room(void)
{
	return p->seen + conf->entries - p->done;
}

static bool enough(void)
{
	return p->end - p->at >= STRIDE;
}

/* The first entry in use bounds what is free */
static uint8_t free_end(void)
{
	uint8_t first = load(place_of(p->seen));

	if (conf->fault == NO_TAIL)
		first = p->at > p->area - STRIDE ? STRIDE : 0;
	if (p->at <= first && conf->fault != NO_TAIL)
		return first;
	if (p->area - p->at >= STRIDE)
		return p->area;
	if (first >= STRIDE) {
		p->at = 0;
		return first;
	}
	if (!p->bounded)
		p->area = (uint8_t)(STRIDE * conf->entries);
	return p->area;
}

static bool head_top(bool other)
{
	unsigned left = conf->packets - p->done;

	if (other)
		return may_extend();
	if (p->last)
		return false;		/* nobody reads it yet */
	if (!left)
		return conf->polls ? go(RESERVE) : wake_then(DOZE);
	p->n = (uint8_t)burst_of(left);
	return go(room() < p->n || !enough() ? RESERVE : FILL);
}

/* look_free(), in ring_reserve() and in ring_doze(): where nothing is wanted */
static bool look_free(void)
{
	bool dozing = !p->n;

	if (dozing && !conf->polls && !fenced())
		return false;
	p->a = load(V_LAST);
	return go(RELOAD);
}

static bool reserved(void)
{
	bool anew = p->seen == p->done || (conf->fault == BUSY_CHOICE && !p->at);

	p->end = anew ? p->area : free_end();
	p->n = (uint8_t)(!enough() ? 0 : room() < p->n ? room() : p->n);
	return p->n ? go(FILL) : wake_then(DOZE);
}

/* The area may be bounded or not, or as it was */
static bool choose(bool other)
{
	p->at = 0;
	if (other) {
		s->choices--;
		p->bounded = !p->bounded;
		p->area = (uint8_t)(p->bounded ? WARM : STRIDE * conf->entries);
	}
	return reserved();
}

static bool freed(void)
{
	need(p->b <= p->done && p->done - p->b <= conf->entries, "the head refuses an honest done");
	p->seen = p->b;
	p->a = p->b = 0;
	if (p->n && s->choices && (p->seen == p->done || conf->fault == BUSY_CHOICE))
		return go(CHOOSE);
	if (p->n && p->seen == p->done)
		p->at = 0;
	if (p->n)
		return reserved();
	if (!fulfilled(wish(), p->done - p->seen))
		return go(conf->polls ? TOP : SLEEP);
	return go(p->done == conf->packets ? FINISHED : RISE);
}

static bool reload(void)
{
	p->b = load(V_DONE + p->a);
	return conf->fault == NO_AGAIN ? freed() : go(AGAIN);
}

static bool again(void)
{
	uint8_t last = load(V_LAST);

	need(last >= p->a || conf->fault != SHRUNK_LIES, "a last that shrank is taken for a lie");
	if (last <= p->a)
		return freed();
	p->a = last;
	return go(RELOAD);
}

/* Entry @e takes its predecessor's descriptor and place, and the buffer at @at */
static void overwrites(unsigned e, unsigned at)
{
	unsigned least = p->done;

	for (unsigned j = 1; j <= s->mem[V_LAST]; j++)
		if (done_of(j) < least)
			least = done_of(j);
	need(e < least + conf->entries, "an entry is overwritten that is still needed");
	need(at + size_of(e) <= STRIDE * conf->entries, "a buffer is cut beyond the pool");
	for (unsigned i = least; i < e && !bad; i++) {
		unsigned other = load(place_of(i));

		need(at + size_of(e) <= other || other + size_of(i) <= at,
		     "a buffer is overwritten that is still needed");
	}
}

static bool fill(void)
{
	unsigned first = p->done, most = p->n;
	uint8_t cut[2];

	if (!room_for(3 * p->n + 1))
		return false;
	for (p->n = 0; p->n < most && p->at + size_of(first + p->n) <= p->end; p->n++) {
		unsigned e = first + p->n;

		overwrites(e, p->at);
		cut[p->n] = p->at;
		p->at += (uint8_t)size_of(e);
	}
	if (conf->fault == EARLY_DONE)
		store_done();
	for (unsigned i = 0; i < p->n; i++) {
		store(V_DATA + cut[i], first + i + 1);
		if (conf->fault != LATE_PLACE)
			store(place_of(first + i), cut[i]);
		store(desc_of(first + i), first + i + 1);
	}
	if (conf->fault != EARLY_DONE)
		store_done();
	for (unsigned i = 0; conf->fault == LATE_PLACE && i < p->n; i++)
		store(place_of(first + i), cut[i]);
	return cursor_moved();
}

/* --- all of it ------------------------------------------------------------ */

/* One step of the process at hand; @other: the other one, where there is a choice */
static bool step(bool other)
{
	switch ((enum pc)p->pc) {
	case TOP:	return k ? stage_top(other) : head_top(other);
	case WAKE:	return !(other && !p->last) && wake(other);
	case SLEEP:	return sleeping(other);
	case CHOOSE:	return choose(other);
	default:	break;
	}
	if (other)
		return false;
	switch ((enum pc)p->pc) {
	case PUT:	return put();
	case FILL:	return fill();
	case TAKE:	return take();
	case COPY:	return copy();
	case WORK:	return work();
	case SEND:	return send();
	case RANG:	return rang();
	case BELL:	return bell();
	case DOZE:	return doze();
	case LOOK:	return look();
	case RISE:	return rise();
	case HUSH:	return hush();
	case RESERVE:	return look_free();
	case RELOAD:	return reload();
	case AGAIN:	return again();
	case EXTEND:	return extend();
	case ABSENT:
	case GONE:	return sit();
	case RECOVER:	return recover();
	case RECOVERED:	return recovered();
	case RING:	return ring();
	default:	return false;
	}
}

/* Stores go to a process's own buffer, where they may linger: no other process can tell
 * whether they came at once behind the step before.  Nor does it matter when frames are
 * read that nobody else may write: overwrites() sees to that. */
static bool unseen(void)
{
	switch ((enum pc)p->pc) {
	case TAKE:
	case FILL:
	case EXTEND:
	case DOZE:
	case RISE:	return room_for(5);
	case COPY:
	case WORK:
	case RECOVER:
	case RECOVERED:	return true;
	default:	return false;
	}
}

static bool steps(bool other)
{
	bool did = step(other);

	while (did && unseen() && !bad)
		step(false);
	return did;
}

/* Is there nothing left to do?  Then what is must be right */
static void judge_end(const struct state *end)
{
	unsigned all = (1u << conf->packets) - 1;

	need(end->proc[0].pc == FINISHED, "the head waits for ever");
	for (unsigned j = 1; j <= end->mem[V_LAST]; j++) {
		need(end->proc[j].pc == (conf->polls ? TOP : SLEEP), "a stage hangs");
		need(end->mem[V_DONE + j] == conf->packets, "a stage sleeps over entries");
	}
	need((end->sent | end->gone) == all, "an entry is not accounted for");
	need(!(end->sent >> RULED & 1), "a dropped packet is sent");
	if (!conf->kills)
		need(end->sent == (all & ~(1u << RULED)), "a packet is lost without a death");
}

#endif /* RINGMODEL_H */
