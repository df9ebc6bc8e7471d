/* SPDX-License-Identifier: MIT */
/*
 * metrics.h - What a survey and a verdict say, for machines
 */
#ifndef GW_METRICS_H
#define GW_METRICS_H

#include <stdio.h>

#include "judge.h"
#include "survey.h"

/**
 * metrics_prometheus() - Text exposition format 0.0.4
 * @s:		Taken with its rules
 */
void metrics_prometheus(FILE *out, const struct survey *s, const char *chain,
			const struct verdict *v);

/**
 * metrics_json() - One object
 *
 * Return: from malloc(), or NULL without memory
 */
char *metrics_json(const struct survey *s, const char *chain, const struct verdict *v);

#endif /* GW_METRICS_H */
