/* SPDX-License-Identifier: MIT */
/*
 * mangle.h - What gwmangle does with packets that rules match
 */
#ifndef GW_MANGLE_H
#define GW_MANGLE_H

#include "edit.h"
#include "rules.h"
#include "stage.h"

enum { MTU_DEFAULT = 8500, MTU_MIN4 = 68, MTU_MIN6 = 1280 };

/**
 * struct mangle - gwmangle's own
 * @conf:	From the command line
 * @m:		Rules at work
 * @e:		Carries edits out
 * @mtu:	Longest packet that an edit may leave
 * @st:		The stage, while a burst is edited
 * @now:	Packet in hand, or NULL
 * @done:	What the edits of it did so far: enum edit_result
 * @end:	Its end before them
 */
struct mangle {
	struct rules_conf conf;
	struct matcher m;
	struct editor *e;
	uint32_t mtu;
	struct stage *st;
	struct frame *now;
	unsigned done;
	uint32_t end;
};

/**
 * mangle_open() - Take the editor's memory; errors exit
 */
void mangle_open(struct mangle *g) __attribute__((nonnull));
void mangle_close(struct mangle *g) __attribute__((nonnull));

extern const struct stage_ops mangle_ops;

#endif /* GW_MANGLE_H */
