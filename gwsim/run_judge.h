/* SPDX-License-Identifier: MIT */
/*
 * run_judge.h - What an appliance sends back, held against what it was sent
 */
#ifndef GW_RUN_JUDGE_H
#define GW_RUN_JUDGE_H

#include <stdbool.h>
#include <stdint.h>

#include "conn.h"
#include "port.h"
#include "site.h"

#define JUDGE_INNER_MAX	8500u
#define JUDGE_EXAMPLE	200u

/* X(symbol, label, lost, text): is such a packet lost, or delivered all the same? */
#define JUDGE_LIST(X) \
	X(LINK_ADDRESS,	"link-address",	true,  "the destination MAC address is not the load balancer's") \
	X(OUTER_MALFORMED, "outer-malformed", true, "the outer packet cannot be parsed") \
	X(OUTER_FRAGMENT, "outer-fragment", true, "the outer packet is a fragment") \
	X(OUTER_CHECKSUM, "outer-checksum", true, "the outer IP or UDP checksum is wrong") \
	X(OUTER_LENGTH,	"outer-length",	true,  "the outer lengths disagree") \
	X(OUTER_ADDRESS, "outer-address", true, "the outer addresses are not those received, swapped") \
	X(OUTER_PORT,	"outer-port",	true,  "the outer UDP ports are not those received") \
	X(GENEVE_HEADER, "geneve-header", true, "the Geneve header is not the one received") \
	X(GENEVE_OPTIONS, "geneve-options", true, "the Geneve options are not those received") \
	X(COOKIE,	"cookie",	true,  "there is no flow with this cookie") \
	X(INNER_SIZE,	"inner-size",	true,  "the inner packet is larger than 8500 bytes") \
	X(INNER_MALFORMED, "inner-malformed", true, "the inner packet cannot be parsed") \
	X(INNER_LENGTH,	"inner-length",	true,  "the inner length is not what the outer packet carries") \
	X(INNER_TUPLE,	"inner-tuple",	true,  "the inner addresses, protocol or ports are not the flow's") \
	X(INNER_CHECKSUM, "inner-checksum", false, "an inner checksum is wrong") \
	X(PORT_UNREACHABLE, "port-unreachable", true, "the appliance's kernel refuses UDP port 6081")

enum judge_kind {
#define X(sym, label, lost, text) JUDGE_##sym,
	JUDGE_LIST(X)
#undef X
	JUDGE_NUM,
	JUDGE_FINE = JUDGE_NUM,		/* nothing wrong with it */
	JUDGE_NOT_OURS,			/* not the load balancer's traffic at all */
};

const char *judge_name(unsigned kind);
const char *judge_text(unsigned kind);

/**
 * struct judge - What was found
 * @count:	By enum judge_kind
 * @example:	The first packet of each kind, in words
 * @endpoint:	Endpoint ids, by their number
 */
struct judge {
	uint64_t count[JUDGE_NUM];
	char example[JUDGE_NUM][JUDGE_EXAMPLE];
	const uint64_t *endpoint;
	unsigned endpoints;
	struct conn_table *conns;
};

/**
 * struct judged - A packet that came back
 * @kind:	JUDGE_FINE, JUDGE_NOT_OURS, or the first thing that is wrong
 * @conn:	Its flow; NULL unless it is to be delivered
 * @inner:	Offset of the inner packet in the frame
 * @len:	The inner packet's length
 * @to_server:	Where it goes
 */
struct judged {
	enum judge_kind kind;
	struct conn *conn;
	uint32_t inner;
	uint32_t len;
	bool to_server;
};

/**
 * judge_packet() - Judge one frame from an appliance, and count it
 * @site:	Where it came from
 */
struct judged judge_packet(struct judge *j, const struct site *site, const struct port_rx *rx,
			   uint64_t now_ms) __attribute__((nonnull));

/**
 * judge_total() - Violations of all kinds
 */
uint64_t judge_total(const struct judge *j) __attribute__((nonnull));

/**
 * judge_csum_ok() - Are the IPv4 header's and the transport's checksum right?
 *
 * Not where the transport header is cut or has a length beyond the packet.
 */
bool judge_csum_ok(const struct packet *p, const uint8_t *data) __attribute__((nonnull));

#endif /* GW_RUN_JUDGE_H */
