/* SPDX-License-Identifier: MIT */
/*
 * packet.h - Where the headers of one IP packet lie
 *
 * Every length is checked once, here; offsets in struct packet can then be used
 * without another look.  IPv6 extension headers are skipped, so that a rule on
 * ports cannot be dodged behind them, however many there are.
 */
#ifndef GW_PACKET_H
#define GW_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "reason.h"

/* LINKTYPE_ values (https://www.tcpdump.org/linktypes.html) we can read.  In
 * files, raw IP is 101; DLT_RAW inside libpcap is 12 on Linux. */
#define LINKTYPE_ETHERNET	1u
#define LINKTYPE_RAW		101u
#define LINKTYPE_LINUX_SLL	113u
#define LINKTYPE_IPV4		228u
#define LINKTYPE_IPV6		229u
#define LINKTYPE_LINUX_SLL2	276u

#define GENEVE_PORT		6081u

enum packet_flags {
	PKT_PARSED	= 1 << 0,	/* the offsets below are right for these bytes */
	PKT_FRAG_FIRST	= 1 << 1,	/* first fragment: more follow, ports are here */
	PKT_FRAG_LATER	= 1 << 2,	/* offset > 0: no L4 header in it */
	PKT_L4		= 1 << 3,	/* whole fixed L4 header: TCP, UDP, or 8 bytes of ICMP(v6) */
	PKT_CUT		= 1 << 4,	/* captured shorter than the IP length says */
	PKT_GENEVE	= 1 << 5,	/* UDP to 6081: likely an encapsulation */
	PKT_SURPLUS	= 1 << 6,	/* bytes behind the end that the UDP length names */
	PKT_EXT_CUT	= 1 << 7,	/* first fragment that ends within the IPv6 extension
					 * headers: @proto is that of the one that is cut */
};

/**
 * struct packet - Offsets from the first byte of the packet (frame_data())
 * @port:	Source and destination port of TCP and UDP, host byte order, also of a header that
 *		is cut behind them; else zero
 * @l4:		Transport header or, without PKT_L4, where it would be
 * @payload:	What follows the TCP or UDP header or the 8 bytes of ICMP; equal
 *		to @end when there is none.  Without PKT_L4: @l4
 * @end:	End of the IP packet by its own length, at most the captured
 *		length; what lies behind is link-layer padding
 * @flags:	enum packet_flags
 * @frag_off:	Fragment offset in bytes
 * @frag_id:	IPv4 identification or IPv6 fragment identification
 * @l3:		IP header (behind a link-layer header, if any)
 * @version:	4 or 6
 * @proto:	IP protocol of the transport header, behind extension headers
 */
struct packet {
	uint16_t port[2];
	uint32_t l4;
	uint32_t payload;
	uint32_t end;
	uint32_t frag_id;
	uint16_t flags;
	uint16_t frag_off;
	uint16_t l3;
	uint8_t version;
	uint8_t proto;
};

/**
 * packet_l3() - Skip the link-layer header
 * @off:	Written on success only: offset of the IP header
 * @version:	Written on success only: 4 or 6 by the layer below, 0 if that
 *		does not say (raw IP)
 * @linktype:	LINKTYPE_ value
 *
 * Ethernet with any number of VLAN tags up to 4 (802.1Q, 802.1ad), Linux cooked
 * v1 and v2 (likewise), raw IP.
 */
enum reason packet_l3(const uint8_t *data, size_t len, uint32_t linktype,
		      uint32_t *off, uint8_t *version)
	__attribute__((nonnull, warn_unused_result));

/**
 * packet_parse() - Find the headers of a packet
 * @p:		All zero when it is not REASON_NONE
 * @data:	As captured: link-layer header if @linktype has one
 * @len:	Captured bytes
 * @linktype:	LINKTYPE_ value
 *
 * A transport header that is cut or lies is no error of the IP layer: the
 * packet then simply has no PKT_L4.
 *
 * Return: REASON_NONE or why this is not an IP packet that can be judged
 */
enum reason packet_parse(struct packet *p, const uint8_t *data, size_t len,
			 uint32_t linktype)
	__attribute__((nonnull, warn_unused_result));

/**
 * packet_wire_len() - Length of the IP packet, captured or not
 */
uint32_t packet_wire_len(const struct packet *p, const uint8_t *data)
	__attribute__((nonnull, pure));

/**
 * packet_src() / packet_dst() - Addresses: 4 or 16 bytes by @p->version
 */
static inline const uint8_t *packet_src(const struct packet *p, const uint8_t *data)
{
	return data + p->l3 + (p->version == 4 ? 12 : 8);
}

static inline const uint8_t *packet_dst(const struct packet *p, const uint8_t *data)
{
	return data + p->l3 + (p->version == 4 ? 16 : 24);
}

static inline unsigned packet_addr_len(const struct packet *p)
{
	return p->version == 4 ? 4 : 16;
}

/**
 * packet_describe() - One line for people: "UDP 10.0.0.1:53 > 10.0.0.2:4711 len 120"
 * @out:	NUL-terminated, cut at @size
 */
void packet_describe(const struct packet *p, const uint8_t *data, char *out, size_t size)
	__attribute__((nonnull));

#endif /* GW_PACKET_H */
