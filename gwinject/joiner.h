/* SPDX-License-Identifier: MIT */
/*
 * joiner.h - gwinject's -o: encapsulated packets into a stream
 *
 * Most frames were joined in place already; this wraps the real output to write
 * those as well that are more than one packet (pieces.h).
 */
#ifndef GW_JOINER_H
#define GW_JOINER_H

#include "stream.h"

/**
 * joiner_open() - Put ourselves before @inner, which is closed with us
 *
 * Errors exit.
 */
struct tx *joiner_open(struct tx *inner) __attribute__((nonnull));

#endif /* GW_JOINER_H */
