/* SPDX-License-Identifier: MIT */
/*
 * judge.h - Is the chain healthy, and if not, who is to blame
 *
 * Healthy: from every live source an unbroken way of live stages leads to a sink,
 * every stage on such ways moves, and what goes in is sent, or dropped by a rule or
 * for the packet's own fault, within a second.
 *
 * Blame goes to the cause: while a stage is dead or stopped, those that it blocks
 * are not named; of several that hold packets, the last one is.
 */
#ifndef GW_JUDGE_H
#define GW_JUDGE_H

#include <stdbool.h>

#include "survey.h"

#define JUDGE_TEXT_MAX	1024
#define JUDGE_EXPECT_MAX 64

/**
 * struct expect - Stages that must be on the way: STAGE or STAGE:NAME
 */
struct expect {
	unsigned n;
	char name[JUDGE_EXPECT_MAX][2 * STATS_NAME_MAX];
};

struct verdict {
	bool healthy;
	char text[JUDGE_TEXT_MAX];	/* one line, without its end */
};

/**
 * judge() - Pass a verdict
 * @s:		After survey_take(); @why of its stages is written
 * @chain:	Its name, for the text
 */
void judge(struct survey *s, const struct expect *e, const char *chain, struct verdict *v);

#endif /* GW_JUDGE_H */
