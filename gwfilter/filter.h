/* SPDX-License-Identifier: MIT */
/*
 * filter.h - What gwfilter does with packets that rules match
 */
#ifndef GW_FILTER_H
#define GW_FILTER_H

#include "rules.h"
#include "stage.h"

/**
 * struct filter - gwfilter's own
 * @conf:	From the command line
 * @m:		Rules at work
 * @st:		The stage, while a burst is judged
 */
struct filter {
	struct rules_conf conf;
	struct matcher m;
	struct stage *st;
};

extern const struct stage_ops filter_ops;

#endif /* GW_FILTER_H */
