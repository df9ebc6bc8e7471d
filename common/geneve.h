/* SPDX-License-Identifier: MIT */
/*
 * geneve.h - Geneve (RFC 8926) and the load balancers' dialects of it
 */
#ifndef GW_GENEVE_H
#define GW_GENEVE_H

#include <stddef.h>
#include <stdint.h>

#include "packet.h"
#include "reason.h"

#define GENEVE_HDR_LEN		8u
#define GENEVE_OPT_HDR_LEN	4u
#define GENEVE_AWS_OPTS_LEN	32u	/* AWS always sends exactly this layout */
#define GENEVE_OPTS_MAX		252u	/* 63 words */

/* Option classes (IANA "Geneve Option Class") */
#define GENEVE_CLASS_AWS	0x0108u
#define GENEVE_CLASS_GOOGLE	0x0132u
#define GENEVE_CLASS_TENCENT	0x0167u

/* In frames and files as a number: append only. */
enum dialect {
	DIALECT_PLAIN,		/* no encapsulation at all */
	DIALECT_AWS,
	DIALECT_TENCENT,
	DIALECT_GOOGLE,
	DIALECT_GENEVE,		/* Geneve with none of the options above */
	DIALECT_NUM
};

/**
 * dialect_name() - "plain", "aws", "tencent", "google", "geneve"; "?" otherwise
 */
const char *dialect_name(unsigned dialect);

/**
 * struct geneve - What a Geneve header says
 * @endpoint:	AWS, Tencent type 1: endpoint id; Google: first 8 bytes of the
 *		endpoint id (type 2, variable length)
 * @attachment:	AWS, Tencent type 2; Google: profile id (type 3)
 * @cookie:	AWS: flow cookie.  Tencent: its low 29 bits.  Google: the network
 *		id (type 1, high 28 bits).  0 without
 * @vni:	24 bits
 * @hdr_len:	Base header and options, bytes: the inner packet starts there
 * @proto:	Protocol type: 0x0800 or 0x86dd
 * @dialect:	enum dialect
 * @direction:	Tencent: its 3 direction bits; Google: the low 4; else 0
 */
struct geneve {
	uint64_t endpoint;
	uint64_t attachment;
	uint32_t cookie;
	uint32_t vni;
	uint32_t hdr_len;
	uint16_t proto;
	uint8_t dialect;
	uint8_t direction;
};

/**
 * geneve_parse() - Read a Geneve header
 * @g:		Written on REASON_NONE only
 * @udp:	UDP payload, hostile
 * @len:	Its length
 */
enum reason geneve_parse(struct geneve *g, const uint8_t *udp, size_t len)
	__attribute__((nonnull, warn_unused_result));

/**
 * struct encap - An encapsulated packet, layer by layer; offsets from the start
 * @l3:		Outer IP header
 * @udp:	Outer UDP header
 * @geneve:	Geneve header
 * @inner:	Inner packet: everything before is the encapsulation
 * @end:	End of the inner packet by the outer lengths; padding follows
 * @version:	Outer IP version: 4 or 6
 * @g:		The Geneve header's contents
 */
struct encap {
	uint32_t l3;
	uint32_t udp;
	uint32_t geneve;
	uint32_t inner;
	uint32_t end;
	uint8_t version;
	struct geneve g;
};

/**
 * encap_parse() - Find the layers of an encapsulated packet
 * @e:		Written on REASON_NONE only
 * @data:	From the link layer on
 * @len:	Captured bytes
 * @linktype:	LINKTYPE_ value
 *
 * The outer checksums are not verified: the kernel or card did so, or the load
 * balancer sent none.
 */
enum reason encap_parse(struct encap *e, const uint8_t *data, size_t len, uint32_t linktype)
	__attribute__((nonnull, warn_unused_result));

#define ENCAP_MAX	384u	/* Ethernet with 4 tags 30, IPv4 60 or IPv6 40, UDP 8, Geneve 260 */

/**
 * geneve_build_aws() - Write the 40 bytes an AWS load balancer puts before a packet
 * @out:	Room for GENEVE_HDR_LEN + GENEVE_AWS_OPTS_LEN bytes
 * @proto:	0x0800 or 0x86dd
 *
 * Return: bytes written, always 40
 */
size_t geneve_build_aws(uint8_t *out, uint16_t proto, uint64_t endpoint,
			uint64_t attachment, uint32_t cookie);

#endif /* GW_GENEVE_H */
