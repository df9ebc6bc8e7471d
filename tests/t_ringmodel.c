/* SPDX-License-Identifier: MIT */
/*
 * t_ringmodel.c - The ring's protocol, every interleaving of it: what is modelled, and what
 * not, is told in ringmodel.h
 *
 * A search in depth over all states that can be reached.  Those that were seen are
 * remembered by 64 bits of hash: of a million, one run in 10^7 takes a new one for seen.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ringmodel.h"
#include "tap.h"

enum { A_STEP, A_OTHER, A_DIE, A_DRAIN = A_DIE + SB + 1, ACTIONS = A_DRAIN + SB };

static uint64_t hash(const struct state *x)
{
	const uint8_t *b = (const uint8_t *)x;
	uint64_t h = 0x9e3779b97f4a7c15u;

	for (size_t i = 0; i < sizeof(*x); i += 8) {
		uint64_t w = 0;

		memcpy(&w, b + i, sizeof(*x) - i < 8 ? sizeof(*x) - i : 8);
		h = (h ^ w) * 0xff51afd7ed558ccdu;
		h ^= h >> 32;
	}
	return h ? h : 1;
}

static struct {
	uint64_t *slot;
	size_t size, used;
} seen;

static void seen_grow(void)
{
	uint64_t *old = seen.slot;
	size_t size = seen.size;

	seen.size = size ? 2 * size : 1u << 20;
	seen.slot = calloc(seen.size, sizeof(*seen.slot));
	if (!seen.slot)
		abort();
	for (size_t i = 0; i < size; i++) {
		size_t at = old[i] & (seen.size - 1);

		if (!old[i])
			continue;
		while (seen.slot[at])
			at = (at + 1) & (seen.size - 1);
		seen.slot[at] = old[i];
	}
	free(old);
}

/* true: not seen before */
static bool is_new(const struct state *x)
{
	uint64_t h = hash(x);
	size_t at;

	if (seen.used * 2 >= seen.size)
		seen_grow();
	for (at = h & (seen.size - 1); seen.slot[at]; at = (at + 1) & (seen.size - 1))
		if (seen.slot[at] == h)
			return false;
	seen.slot[at] = h;
	seen.used++;
	return true;
}

static struct level {
	struct state at;
	uint8_t proc, action;	/* to try next */
	bool moved;
} *path;
static size_t depth, depth_max, ends;

static void push(const struct state *x)
{
	if (depth == depth_max) {
		depth_max = depth_max ? 2 * depth_max : 1024;
		path = realloc(path, depth_max * sizeof(*path));
		if (!path)
			abort();
	}
	path[depth++] = (struct level){ .at = *x };
}

static void start(struct state *x)
{
	memset(x, 0, sizeof(*x));
	x->mem[V_LAST] = conf->last;
	x->kills = conf->kills;
	x->joins = conf->joins;
	x->spurious = conf->spurious;
	x->clears = conf->clears;
	x->choices = conf->choices;
	for (unsigned j = 0; j < PROCS; j++) {
		x->proc[j].pc = j > conf->last ? ABSENT : TOP;
		x->proc[j].last = j == conf->last;
	}
	x->proc[0].area = WARM;
}

/* A way to the violation, for people */
static void tell(void)
{
	static const char *const names[] = {
		"top", "take", "copy", "work", "send", "put", "wake", "rang", "bell", "doze", "look",
		"sleep", "rise", "hush", "reserve", "reload", "again", "choose", "fill", "extend",
		"finished", "absent", "gone", "recover", "recovered", "ring" };

	printf("# %s after %zu steps:", bad, depth);
	for (size_t d = depth > 200 ? depth - 200 : 0; d < depth; d++) {
		unsigned act = path[d].action - 1u, j = path[d].proc;

		if (act >= A_DRAIN)
			printf(" %u:drain%u", j, act - A_DRAIN);
		else
			printf(" %u:%s%s", j, act >= A_DIE ? "die@" : act == A_OTHER ? "!" : "",
			       names[path[d].at.proc[j].pc]);
	}
	putchar('\n');
}

/* The next state behind the last one of the path; false: there is none left */
static bool next(struct state *x)
{
	struct level *l = &path[depth - 1];

	for (; l->proc <= conf->stages; l->proc++, l->action = 0) {
		while (l->action < ACTIONS) {
			uint8_t act = l->action++;
			bool did;

			*x = l->at;
			s = x;
			k = l->proc;
			p = &x->proc[k];
			did = act >= A_DRAIN ? drain(act - A_DRAIN) :
			      act >= A_DIE ? die(act - A_DIE) : steps(act == A_OTHER);
			if (!did)
				continue;
			l->moved |= memcmp(x, &l->at, sizeof(*x)) && (act < A_DIE || act >= A_DRAIN) &&
				    !(act == A_OTHER && l->at.proc[k].pc == SLEEP);
			return true;
		}
	}
	return false;
}

/* Try everything; NULL: nothing is wrong */
static const char *explore(const struct conf *c)
{
	struct state x;

	conf = c;
	bad = NULL;
	depth = ends = 0;
	seen.used = 0;
	if (seen.slot)
		memset(seen.slot, 0, seen.size * sizeof(*seen.slot));
	start(&x);
	is_new(&x);
	push(&x);
	while (depth && !bad) {
		if (next(&x)) {
			if (!bad && is_new(&x))
				push(&x);
			continue;
		}
		if (!path[depth - 1].moved) {
			ends++;
			judge_end(&path[depth - 1].at);
		}
		if (!bad)
			depth--;
	}
	return bad;
}

/* stages, last at the start, entries, burst, packets, kills, joins, spurious, clears, choices,
 * weak, polls.  Where all poll nobody rings: what can happen to frames can happen so as well,
 * for when anybody looks is left open, in far fewer states. */
static const struct conf right[] = {
	{ "two stages sleep, tso", 2, 2, 2, 1, 3, 0, 0, 0, 0, 0, 0, 0, RIGHT },
	{ "two stages sleep, weak", 2, 2, 2, 1, 3, 0, 0, 0, 0, 0, 1, 0, RIGHT },
	{ "one sleeps and wakes without a bell, weak", 1, 1, 2, 1, 4, 0, 0, 2, 0, 0, 1, 0, RIGHT },
	{ "one sleeps, two deaths, weak", 1, 1, 2, 1, 3, 2, 0, 0, 0, 0, 1, 0, RIGHT },
	{ "two sleep, one death, weak", 2, 2, 2, 1, 2, 1, 0, 0, 0, 0, 1, 0, RIGHT },
	{ "one sleeps, one joins, weak", 2, 1, 2, 1, 2, 0, 1, 0, 0, 0, 1, 0, RIGHT },
	{ "two stages, two deaths, tso", 2, 2, 4, 2, 6, 2, 0, 0, 0, 0, 0, 1, RIGHT },
	{ "two stages, two deaths, weak", 2, 2, 4, 2, 6, 2, 0, 0, 0, 0, 1, 1, RIGHT },
	{ "three stages, two deaths, weak", 3, 3, 2, 1, 3, 2, 0, 0, 0, 0, 1, 1, RIGHT },
	{ "one joins, one death, weak", 2, 1, 2, 1, 4, 1, 1, 0, 0, 0, 1, 1, RIGHT },
	{ "two join, one death, weak", 2, 0, 2, 1, 3, 1, 2, 0, 0, 0, 1, 1, RIGHT },
	{ "one dies and is cleared, one joins, weak", 2, 2, 2, 1, 4, 1, 1, 0, 1, 0, 1, 1, RIGHT },
	{ "one dies and is cleared, one sleeps, weak", 2, 2, 2, 1, 2, 1, 0, 0, 1, 0, 1, 0, RIGHT },
	{ "the area changes, one death, weak", 2, 2, 4, 1, 6, 1, 0, 0, 0, 2, 1, 1, RIGHT },
	{ "the area changes in a small ring, two deaths, weak", 2, 2, 2, 1, 5, 2, 0, 0, 0, 3, 1, 1, RIGHT },
	{ "the area changes, one sleeps, weak", 1, 1, 2, 1, 4, 0, 0, 0, 0, 2, 1, 0, RIGHT },
};

/* With SOAK=1: millions of states each */
static const struct conf deep[] = {
	{ "two sleep, one death, three packets, tso", 2, 2, 2, 1, 3, 1, 0, 0, 0, 0, 0, 0, RIGHT },
	{ "two sleep, one death, three packets, weak", 2, 2, 2, 1, 3, 1, 0, 0, 0, 0, 1, 0, RIGHT },
	{ "one sleeps, one joins, one death, weak", 2, 1, 2, 1, 2, 1, 1, 0, 0, 0, 1, 0, RIGHT },
	{ "two sleep, bursts of two, weak", 2, 2, 4, 2, 5, 0, 0, 1, 0, 0, 1, 0, RIGHT },
	{ "three stages, three deaths, weak", 3, 3, 4, 2, 6, 3, 0, 0, 0, 0, 1, 1, RIGHT },
	{ "one joins, two deaths, weak", 2, 1, 4, 2, 6, 2, 1, 0, 0, 0, 1, 1, RIGHT },
	{ "two die and are cleared, two join, weak", 3, 3, 2, 1, 4, 2, 2, 0, 1, 0, 1, 1, RIGHT },
	{ "the area changes, one is cleared, weak", 2, 2, 4, 2, 6, 2, 1, 0, 1, 2, 1, 1, RIGHT },
};

static const struct conf wrong[] = {
	{ "the head does not read last again", 2, 1, 2, 1, 4, 0, 1, 0, 0, 0, 0, 1, NO_AGAIN },
	{ "taken is stored after a change", 2, 2, 2, 1, 3, 1, 0, 0, 0, 0, 0, 1, LATE_TAKEN },
	{ "no fence behind taken", 2, 2, 2, 1, 3, 1, 0, 0, 0, 0, 1, 1, NO_FENCE },
	{ "no full fence before the look", 1, 1, 2, 1, 3, 0, 0, 0, 0, 0, 0, 0, NO_FULL_FENCE },
	{ "no look once more before sleep", 1, 1, 2, 1, 3, 0, 0, 0, 0, 0, 0, 0, NO_LOOK },
	{ "a successor goes on from done", 2, 2, 2, 1, 3, 1, 0, 0, 0, 0, 0, 1, NO_DROPS },
	{ "done is stored before the frames", 2, 2, 2, 1, 3, 0, 0, 0, 0, 0, 0, 1, EARLY_DONE },
	{ "done is stored without release", 2, 2, 2, 1, 3, 0, 0, 0, 0, 0, 1, 1, LOOSE_DONE },
	{ "done is read without acquire", 2, 2, 2, 1, 3, 0, 0, 0, 0, 0, 0, 1, EARLY_LOADS },
	{ "taken is stored without release", 2, 2, 4, 2, 6, 1, 0, 0, 0, 0, 1, 1, LOOSE_TAKEN },
	{ "last is stored without release", 2, 1, 2, 1, 4, 0, 1, 0, 0, 0, 1, 1, LOOSE_LAST },
	{ "a new done is stored without release", 2, 2, 2, 1, 4, 1, 1, 0, 1, 0, 1, 1, LOOSE_JOIN },
	{ "a successor rings nobody", 1, 1, 2, 1, 3, 1, 0, 0, 0, 0, 0, 0, QUIET },
	{ "a stage joins, and nobody rings", 2, 1, 2, 1, 3, 0, 1, 0, 0, 0, 0, 0, QUIET },
	{ "seats are cleared, and nobody rings", 2, 2, 2, 1, 3, 1, 0, 0, 1, 0, 0, 0, QUIET },
	{ "a last that shrank is a lie", 2, 2, 2, 1, 4, 1, 0, 0, 1, 0, 0, 1, SHRUNK_LIES },
	{ "the area changes in use", 2, 2, 4, 1, 6, 0, 0, 0, 0, 3, 0, 1, BUSY_CHOICE },
	{ "the first buffer in use is no bound", 2, 2, 4, 1, 6, 0, 0, 0, 0, 0, 0, 1, NO_TAIL },
	{ "a stage takes unit i for entry i's buffer", 2, 2, 4, 1, 6, 0, 0, 0, 0, 0, 0, 1, NO_PLACE },
	{ "a place is stored behind done", 2, 2, 2, 1, 3, 0, 0, 0, 0, 0, 0, 1, LATE_PLACE },
};

static void all_right(const struct conf *c, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const char *why = explore(&c[i]);

		OK(!why && ends, "%s: %zu states, %zu ends", c[i].what, seen.used, ends);
		if (why)
			tell();
	}
}

int main(void)
{
	all_right(right, sizeof(right) / sizeof(right[0]));
	if (getenv("SOAK"))
		all_right(deep, sizeof(deep) / sizeof(deep[0]));
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		const char *why = explore(&wrong[i]);

		OK(why, "%s: found, %s", wrong[i].what, why ? why : "no");
	}
	return tap_done();
}
