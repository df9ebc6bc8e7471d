/* SPDX-License-Identifier: MIT */
/*
 * stage_int.h - Parts of a stage know each other through this
 */
#ifndef GW_STAGE_INT_H
#define GW_STAGE_INT_H

#include <string.h>

#include "stage.h"

static inline uint64_t *counters(struct stage *st)
{
	return st->stats.page->counter;
}

static inline bool is_kind(const char *kind, const char *what)
{
	return !strcmp(kind, what);
}

/**
 * stage_settle() - The chain's name is known
 */
void stage_settle(struct stage *st, const char *name) __attribute__((nonnull));

/**
 * stage_go_live() - The source is an interface after all: be seen from outside
 */
void stage_go_live(struct stage *st) __attribute__((nonnull));

/**
 * stage_say_ways() - Which way packets come and go: once that is decided, or after a second;
 * again when it changes
 */
void stage_say_ways(struct stage *st) __attribute__((nonnull));

/**
 * stage_say_linktype() - A packet was dropped for its link type: most likely all will be
 */
void stage_say_linktype(struct stage *st, const struct frame *f) __attribute__((nonnull));

/**
 * stage_say_summary() - What became of the packets, at the end
 */
void stage_say_summary(struct stage *st) __attribute__((nonnull));

#endif /* GW_STAGE_INT_H */
