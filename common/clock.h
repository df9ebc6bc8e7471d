/* SPDX-License-Identifier: MIT */
/*
 * clock.h - Clocks in nanoseconds
 */
#ifndef GW_CLOCK_H
#define GW_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/**
 * clock_mono() - Never jumps: intervals, heartbeats
 */
static inline uint64_t clock_mono(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

/**
 * clock_real() - Since 1970: time stamps
 */
static inline uint64_t clock_real(void)
{
	return clock_ns(CLOCK_REALTIME);
}

#endif /* GW_CLOCK_H */
