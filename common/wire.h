/* SPDX-License-Identifier: MIT */
/*
 * wire.h - Bytes of the wire: checked views, big-endian loads and stores
 *
 * Nothing here believes a length: a view only ever shrinks, and taking from it
 * is the bounds check.
 */
#ifndef GW_WIRE_H
#define GW_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)	((a) < (b) ? (a) : (b))
#define MAX(a, b)	((a) > (b) ? (a) : (b))
#define likely(x)	__builtin_expect(!!(x), 1)
#define unlikely(x)	__builtin_expect(!!(x), 0)

/**
 * fetch_line() - Have the cache line at @p fetched: it is read or written soon
 *
 * A loop that does nothing but __builtin_prefetch() is thrown away by GCC (12), as if it did
 * nothing at all.
 */
static inline void fetch_line(const void *p)
{
	__builtin_prefetch(p);
	__asm__ volatile("");
}

/**
 * struct view - Read-only bytes that are still to be taken
 * @p:		First byte not yet taken
 * @left:	How many there are
 */
struct view {
	const uint8_t *p;
	size_t left;
};

/**
 * view_take() - Take @n bytes off the front
 * @v:		View; unchanged on failure
 * @n:		Bytes wanted
 * @out:	Written on success only: the bytes taken
 *
 * Return: false if fewer than @n bytes are left
 */
static inline bool view_take(struct view *v, size_t n, const uint8_t **out)
{
	if (v->left < n)
		return false;
	*out = v->p;
	v->p += n;
	v->left -= n;
	return true;
}

static inline uint16_t be16(const void *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return __builtin_bswap16(v);
}

static inline uint32_t be32(const void *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return __builtin_bswap32(v);
}

static inline uint64_t be64(const void *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return __builtin_bswap64(v);
}

static inline void put16(void *p, uint16_t v)
{
	v = __builtin_bswap16(v);
	memcpy(p, &v, sizeof(v));
}

static inline void put32(void *p, uint32_t v)
{
	v = __builtin_bswap32(v);
	memcpy(p, &v, sizeof(v));
}

static inline void put64(void *p, uint64_t v)
{
	v = __builtin_bswap64(v);
	memcpy(p, &v, sizeof(v));
}

/* Two places of up to 16 bytes that do not overlap change places */
static inline void swap_bytes(uint8_t *a, uint8_t *b, size_t len)
{
	uint8_t tmp[16];

	memcpy(tmp, a, len);
	memcpy(a, b, len);
	memcpy(b, tmp, len);
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	       "loads and stores here swap: a big-endian port starts in wire.h");

#endif /* GW_WIRE_H */
