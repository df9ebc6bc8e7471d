/* SPDX-License-Identifier: MIT */
/*
 * tap.h - Test Anything Protocol for plain C programs under prove(1)
 */
#ifndef TAP_H
#define TAP_H

#include <stdio.h>

static int tap_n, tap_bad;

#define OK(c, ...) do { \
	int ok_ = !!(c); \
	tap_n++; \
	tap_bad += !ok_; \
	printf("%sok %d - ", ok_ ? "" : "not ", tap_n); \
	printf(__VA_ARGS__); \
	putchar('\n'); \
	if (!ok_) \
		printf("# %s:%d: %s\n", __FILE__, __LINE__, #c); \
} while (0)

static inline int tap_done(void)
{
	printf("1..%d\n", tap_n);
	return tap_bad != 0;
}

#endif /* TAP_H */
