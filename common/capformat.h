/* SPDX-License-Identifier: MIT */
/*
 * capformat.h - Numbers of the capture formats, shared by capread.c and capwrite.c
 *
 * pcapng: IETF draft-ietf-opsawg-pcapng.  Ours, with the top bit for local use set:
 * gwframe(5).  Our own blocks and the option's contents are little-endian always.
 */
#ifndef GW_CAPFORMAT_H
#define GW_CAPFORMAT_H

#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include "packet.h"

#define BLOCK_SHB	0x0a0d0d0au
#define BLOCK_IDB	1u
#define BLOCK_PB	2u
#define BLOCK_SPB	3u
#define BLOCK_EPB	6u
#define BLOCK_HELLO	0x80475701u
#define BLOCK_END	0x80475702u
#define BLOCK_ABORT	0x80475703u
#define BLOCK_PADDING	0x80475704u
#define BLOCK_OFFER	0x80475705u
#define BLOCK_SWITCH	0x80475706u

#define BYTE_ORDER_MAGIC 0x1a2b3c4du

#define OPT_END		0u
#define OPT_COMMENT	1u
#define SHB_USERAPPL	4u
#define IF_NAME		2u
#define IF_TSRESOL	9u
#define IF_TSOFFSET	14u

#define EPB_MIN		32u	/* type, two lengths, 20 bytes in front of the packet */

#define CLASSIC_US	0xa1b2c3d4u
#define CLASSIC_NS	0xa1b23c4du
#define CLASSIC_HEADER	24u
#define CLASSIC_LINKTYPE 0x03ffffffu	/* the bits above tell of a frame check sequence */

#define META_OPTION	0x8757u
#define META_VERSION	1u
#define META_SHORT	16u	/* no encapsulation, no marks */
#define META_LONG	48u	/* then the encapsulation's bytes */

#define HELLO_VERSION	1u
#define HELLO_LIVE	1u
#define HELLO_RING	2u
#define HELLO_FIXED	48u	/* then three names, each with a length byte in front */

#define OFFER_VERSION	1u
#define OFFER_FIXED	56u	/* then a name, with a length byte in front */
#define SWITCH_SIZE	24u

#define PAD4(n)		(((n) + 3) & ~(__typeof__(n))3)

static inline uint16_t le16(const void *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint32_t le32(const void *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint64_t le64(const void *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* Some writers put libpcap's DLT_RAW of their platform (12, 14) into files */
static inline uint32_t linktype_of(uint32_t v)
{
	return v == 12 || v == 14 ? LINKTYPE_RAW : v;
}

#endif /* GW_CAPFORMAT_H */
