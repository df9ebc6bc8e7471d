/* SPDX-License-Identifier: MIT */
/*
 * csum.h - Internet checksums (RFC 1071, incremental: RFC 1624)
 *
 * Sums are kept in "wire order": put the folded result into the header with
 * memcpy(), no byte swap.
 */
#ifndef GW_CSUM_H
#define GW_CSUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "packet.h"

/**
 * csum_partial() - Add @len bytes to a one's complement sum
 *
 * All parts but the last must have an even length.
 */
uint64_t csum_partial(const void *data, size_t len, uint64_t sum) __attribute__((nonnull, pure));

/**
 * csum_half() - The same sum in little more than 32 bits: words may be added to it
 */
static inline uint64_t csum_half(uint64_t sum)
{
	return (sum & UINT32_MAX) + (sum >> 32);
}

/**
 * csum_fold() - 16-bit complement of a sum, as it goes into a header
 */
static inline uint16_t csum_fold(uint64_t sum)
{
	sum = csum_half(csum_half(sum));
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/**
 * csum_ipv4() - Write the header checksum of an IPv4 header (20 to 60 bytes)
 */
void csum_ipv4(uint8_t *ip) __attribute__((nonnull));

/**
 * csum_l4_value() - Checksum the transport header should have, as stored
 * @data:	The packet @p was parsed from
 *
 * Sums [l4, end), or what a shorter UDP length says, with the pseudo-header where
 * the protocol has one (TCP, UDP, ICMPv6); the checksum field itself counts as
 * zero.  Needs PKT_L4 and a protocol that csum_l4_field() knows.  A UDP sum of zero
 * comes back as 0xffff (RFC 768).
 */
uint16_t csum_l4_value(const struct packet *p, const uint8_t *data) __attribute__((nonnull));

/**
 * csum_l4_field() - Offset of the checksum field from l4, or -1 if @proto has none
 */
int csum_l4_field(uint8_t proto);

/**
 * csum_l4_write() - Make the transport checksum right
 *
 * UDP over IPv4 that came without one (zero) stays without.  Needs PKT_L4 and
 * an unfragmented packet; does nothing otherwise.
 */
void csum_l4_write(const struct packet *p, uint8_t *data) __attribute__((nonnull));

/**
 * csum_l4_ok() - Is the transport checksum right?  True where it is not used
 */
bool csum_l4_ok(const struct packet *p, const uint8_t *data) __attribute__((nonnull));

/**
 * csum_replace16() - Update a checksum for one changed 16-bit word (RFC 1624, eqn. 3)
 * @csum:	Checksum field, as stored
 * @from:	Old word, as stored
 * @to:		New word, as stored
 */
static inline uint16_t csum_replace16(uint16_t csum, uint16_t from, uint16_t to)
{
	return csum_fold((uint64_t)(uint16_t)~csum + (uint16_t)~from + to);
}

/**
 * csum_update() - Update a checksum for changed bytes (RFC 1624, eqn. 3)
 * @csum:	Checksum field, as stored
 * @from:	csum_partial() of the old bytes
 * @to:		csum_partial() of the new ones, from the same even offset on
 */
static inline uint16_t csum_update(uint16_t csum, uint64_t from, uint64_t to)
{
	return csum_fold(csum_half(to) + (uint16_t)~csum + csum_fold(from));
}

#endif /* GW_CSUM_H */
