/* SPDX-License-Identifier: MIT */
/*
 * find.h - Bytes within bytes: memmem(3) without its start-up cost
 *
 * Payloads are short and patterns, too: memmem() spends most of its time on a table of
 * the pattern.  Here sixteen places at a time are tried for the pattern's first and last byte.
 */
#ifndef GW_FIND_H
#define GW_FIND_H

#include <stddef.h>
#include <stdint.h>

/**
 * find_bytes() - First place of @what in @in
 * @len:	Bytes at @in
 * @n:		Bytes at @what, at least 1
 *
 * Return: where it is, or NULL
 */
const uint8_t *find_bytes(const uint8_t *in, size_t len, const uint8_t *what, size_t n)
	__attribute__((nonnull, pure));

#endif /* GW_FIND_H */
