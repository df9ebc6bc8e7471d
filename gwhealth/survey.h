/* SPDX-License-Identifier: MIT */
/*
 * survey.h - What the pages of a chain say, now and in the last seconds
 *
 * Theory of operation
 *
 * survey_take() reads every page of the run folder into memory of ours; nothing
 * of a page is looked at twice or believed.  A stage is known by its file's name,
 * its history belongs to one process: a new nonce starts it anew.  A stage whose
 * page went away in an orderly exit is remembered as gone, so that it can be named.
 *
 * An edge (writer to reader) is a writer's nonce among a reader's upstreams.  The
 * packets that crossed it cannot be compared absolutely, since either end may have
 * restarted: @settled is the smallest difference ever seen between what the writer
 * has sent at one time and its readers had received one survey earlier.  While
 * everything arrives within that time, what was sent can't exceed what arrived by
 * more than that.
 */
#ifndef GW_SURVEY_H
#define GW_SURVEY_H

#include <stdbool.h>
#include <stdint.h>

#include "stats.h"

#define SURVEY_STAGES_MAX 128
#define SURVEY_SAMPLES	14u
#define SURVEY_PERIOD_MS 500u
#define SURVEY_WHY_MAX	256

struct survey_sample {
	uint64_t t_ns;
	uint64_t in;		/* taken in and made */
	uint64_t out;
	uint64_t dropped;	/* and uncertain */
	uint64_t arrived;	/* what this stage's readers had taken in */
	uint64_t drop[REASON_NUM];
};

/**
 * struct survey_stage - One stage
 * @file:	STAGE[:NAME]: its name for people
 * @page:	Copy of its page, strings made printable; rules only on demand
 * @alive:	Holds its lock
 * @gone:	Its page vanished
 * @edge:	Bit i: stage i takes what this one writes
 * @sample:	Ring of @nsamples, the newest at @newest; @now is newer still
 * @readers:	Tells one set of readers from another; @settled is about it
 * @why:	What is wrong with it, "" if nothing: written by judge()
 */
struct survey_stage {
	char file[2 * STATS_NAME_MAX];
	struct stats_page *page;
	bool seen, alive, gone;
	uint64_t edge[SURVEY_STAGES_MAX / 64];
	unsigned nsamples, newest;
	struct survey_sample sample[SURVEY_SAMPLES];
	struct survey_sample now;
	uint64_t readers;
	uint64_t settled_since_ns;
	int64_t settled;
	char why[SURVEY_WHY_MAX];
};

struct survey {
	const char *dir;
	int err;		/* why the folder could not be read, or 0 */
	uint64_t now_ns;	/* CLOCK_MONOTONIC of the last look */
	uint64_t stored_ns;
	unsigned nstages;
	struct survey_stage *stage[SURVEY_STAGES_MAX];
};

/**
 * survey_take() - Look at all pages
 * @s:		Zeroed but for @dir before the first time
 * @rules:	Copy the rules' counters as well
 */
void survey_take(struct survey *s, bool rules);

/**
 * survey_forget_gone() - The chain does without those that ended
 */
void survey_forget_gone(struct survey *s);
void survey_free(struct survey *s);

/**
 * survey_before() - The newest sample of a stage that is @age_ns old or older
 *
 * Return: NULL if its history does not reach so far
 */
const struct survey_sample *survey_before(const struct survey *s, const struct survey_stage *st,
					  uint64_t age_ns);

/**
 * survey_oldest() - The oldest sample of a stage, NULL if there is none
 */
const struct survey_sample *survey_oldest(const struct survey_stage *st);

static inline bool survey_edge(const struct survey *s, unsigned from, unsigned to)
{
	return s->stage[from]->edge[to / 64] >> (to % 64) & 1;
}

#endif /* GW_SURVEY_H */
