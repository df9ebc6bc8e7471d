/* SPDX-License-Identifier: MIT */
/* rulestest.h - What tests of rules start from: a text of rules, and packets to judge */
#ifndef GW_RULESTEST_H
#define GW_RULESTEST_H

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "rules_int.h"

static inline struct rules_conf conf(enum rules_kind kind, const char *text)
{
	struct rules_conf c = RULES_CONF_INIT(kind);

	c.err = stderr;
	c.source[c.nsources++].text = text;
	return c;
}

static struct frame **pool;
static uint8_t bytes[256];

/* A packet of 64 bytes behind its IP header, in the only frame */
static inline struct frame *packet(int version, uint8_t proto, uint16_t sport, uint16_t dport)
{
	struct frame *f = pool[0];
	uint32_t l4 = version == 4 ? 20 : 40;

	memset(bytes, 0, sizeof(bytes));
	bytes[0] = version == 4 ? 0x45 : 0x60;
	put16(bytes + (version == 4 ? 2 : 4), (uint16_t)(version == 4 ? 84 : 64));
	bytes[version == 4 ? 9 : 6] = proto;
	memcpy(bytes + (version == 4 ? 12 : 8), (uint8_t[]){ 10, 0, 0, 1 }, 4);
	memcpy(bytes + (version == 4 ? 16 : 24), (uint8_t[]){ 10, 0, 0, 2 }, 4);
	put16(bytes + l4, sport);
	put16(bytes + l4 + 2, dport);
	put16(bytes + l4 + 4, 64);
	if (proto == IPPROTO_TCP)
		bytes[l4 + 12] = 0x50;
	frame_reset(f);
	f->linktype = LINKTYPE_RAW;
	if (!frame_set(f, bytes, l4 + 64) || frame_parse(f))
		exit(1);
	return f;
}

#endif /* GW_RULESTEST_H */
