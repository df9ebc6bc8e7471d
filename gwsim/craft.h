/* SPDX-License-Identifier: MIT */
/*
 * craft.h - Packets as a load balancer sends them, and as nobody should
 *
 * Builds inner IP packets of every kind and wraps them in Ethernet, IPv4, UDP and
 * Geneve.  What comes out is right in every length and checksum unless a field
 * here says otherwise; malformed packets are made by damaging right ones.
 */
#ifndef GW_CRAFT_H
#define GW_CRAFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CRAFT_OUTER	110u	/* Ethernet to AWS options: what precedes an inner packet */
#define CRAFT_MAX	16384u	/* room that holds any packet made here */
#define CRAFT_EXT_MAX	4

/* Geneve base header, second byte */
#define CRAFT_CONTROL	0x80
#define CRAFT_CRITICAL	0x40

/**
 * struct craft_inner - One inner packet
 * @version:	4 or 6
 * @proto:	IP protocol; TCP, UDP, ICMP and ICMPv6 get their header, others none
 * @src, @dst:	IPv4 address in host order; in IPv6 the low 32 bits below fd00::/96
 * @sport, @dport:	Ports; ICMP: type and code in @dport, identifier in @sport
 * @seq:	TCP sequence number, ICMP sequence number
 * @id:		IPv4 identification, IPv6 flow label
 * @tcp_flags:	0: ACK
 * @ip_opts, @ip_opts_len:	IPv4 options, a multiple of 4
 * @tcp_opts, @tcp_opts_len:	likewise
 * @ext:	IPv6 extension headers, 8 bytes each, @next of them
 * @no_csum:	UDP: send without checksum
 * @bad_csum:	Transport checksum wrong by one bit
 * @payload, @payload_len:	Behind the transport header
 */
struct craft_inner {
	uint8_t version;
	uint8_t proto;
	uint8_t ttl;
	uint8_t tos;
	uint32_t src;
	uint32_t dst;
	uint16_t sport;
	uint16_t dport;
	uint32_t seq;
	uint32_t id;
	uint8_t tcp_flags;
	bool df;
	bool no_csum;
	bool bad_csum;
	const uint8_t *ip_opts;
	size_t ip_opts_len;
	const uint8_t *tcp_opts;
	size_t tcp_opts_len;
	uint8_t ext[CRAFT_EXT_MAX];
	unsigned next;
	const uint8_t *payload;
	size_t payload_len;
};

/**
 * craft_inner_overhead() - Bytes before the payload
 */
size_t craft_inner_overhead(const struct craft_inner *c) __attribute__((nonnull));

/**
 * craft_inner() - Build an inner packet
 * @out:	Room for CRAFT_MAX bytes
 *
 * Return: its length
 */
size_t craft_inner(uint8_t *out, const struct craft_inner *c) __attribute__((nonnull));

/**
 * craft_fragment() - Cut a piece out of an inner packet
 * @out:	Room for CRAFT_MAX bytes
 * @in, @len:	The whole packet; IPv6 without extension headers
 * @off, @n:	Bytes of IP payload to take; @off is a multiple of 8
 * @id:		Fragment identification
 *
 * "More fragments" is set unless the piece ends where the packet does.
 *
 * Return: its length
 */
size_t craft_fragment(uint8_t *out, const uint8_t *in, size_t len, size_t off, size_t n,
		      uint32_t id) __attribute__((nonnull));

/**
 * struct craft_outer - What is wrapped around it
 * @src, @dst:	Host order
 * @csum:	Send a UDP checksum; else it is zero
 * @version:	Geneve version
 * @flags:	Second byte of the base header
 * @reserved:	Last byte of the base header
 * @proto:	Protocol type; 0: from the inner packet
 * @opts_len:	A multiple of 4, at most 252
 */
struct craft_outer {
	uint8_t src_mac[6];
	uint8_t dst_mac[6];
	uint32_t src;
	uint32_t dst;
	uint16_t sport;
	uint16_t dport;
	uint16_t id;
	uint8_t ttl;
	uint8_t tos;
	bool df;
	bool csum;
	uint8_t version;
	uint8_t flags;
	uint8_t reserved;
	uint16_t proto;
	uint32_t vni;
	uint8_t opts[256];
	size_t opts_len;
};

/**
 * struct craft_layers - Where the layers of a built packet start
 */
struct craft_layers {
	uint32_t l3;
	uint32_t udp;
	uint32_t geneve;
	uint32_t inner;
	uint32_t end;
};

/**
 * craft_packet() - Wrap an inner packet
 * @out:	Room for CRAFT_MAX bytes
 * @l:		Written
 *
 * Return: length of the whole
 */
size_t craft_packet(uint8_t *out, struct craft_layers *l, const struct craft_outer *o,
		    const uint8_t *inner, size_t len) __attribute__((nonnull));

/**
 * craft_fix() - Make the outer lengths and checksums right again
 * @len:	Of the whole: what is there ends here
 *
 * After bytes of the packet were changed, or it was cut or made longer.
 */
void craft_fix(uint8_t *pkt, const struct craft_layers *l, size_t len) __attribute__((nonnull));

/**
 * craft_opt() - Append one Geneve option
 * @type:	With 0x80: critical
 * @data_len:	A multiple of 4, at most 124
 */
void craft_opt(struct craft_outer *o, uint16_t class, uint8_t type, const void *data,
	       size_t data_len) __attribute__((nonnull(1)));

/**
 * craft_aws() - Append the three options of AWS, 32 bytes
 */
void craft_aws(struct craft_outer *o, uint64_t endpoint, uint64_t attachment, uint32_t cookie)
	__attribute__((nonnull));

#endif /* GW_CRAFT_H */
