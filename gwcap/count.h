/* SPDX-License-Identifier: MIT */
/*
 * count.h - An input that ends after so many packets
 */
#ifndef GW_COUNT_H
#define GW_COUNT_H

#include <stdint.h>

#include "stream.h"

/**
 * struct count - What is put in front of an input
 * @ops:	Take the place of the input's own, which are in @inner
 * @left:	Packets still to come
 */
struct count {
	struct rx_ops ops;
	const struct rx_ops *inner;
	uint64_t left;
};

/**
 * count_limit() - Let @rx end after @n packets
 * @c:		Lives as long as @rx
 */
void count_limit(struct count *c, struct rx *rx, uint64_t n) __attribute__((nonnull));

#endif /* GW_COUNT_H */
