/* SPDX-License-Identifier: MIT */
/*
 * conform_inner.c - The probes of the tests about inner packets: right ones, all of which an
 * appliance without rules hands back as they are
 */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "conform.h"
#include "wire.h"

static void add_one(struct suite *s, unsigned version, unsigned proto, uint16_t dport, size_t size,
		    const char *what)
{
	struct flow f;

	flow_new(s, &f, what);
	f.c.version = (uint8_t)version;
	f.c.proto = (uint8_t)proto;
	f.c.dport = dport;
	f.c.tcp_flags = 0x02;
	f.size = size;
	probe_add(s, &f, WANT_BACK);
}

static void add_ports(struct suite *s, unsigned version, unsigned proto)
{
	static const uint16_t ports[] = { 53, 80, 443, 4500, 6081, 65535 };

	for (unsigned i = 0; i < ARRAY_SIZE(ports); i++)
		add_one(s, version, proto, ports[i], 100 + i, "to a common port");
}

void case_ipv4_udp(struct suite *s)
{
	add_ports(s, 4, IPPROTO_UDP);
}

void case_ipv6_udp(struct suite *s)
{
	add_ports(s, 6, IPPROTO_UDP);
}

static void add_tcp(struct suite *s, unsigned version)
{
	static const uint8_t flags[] = { 0x02, 0x12, 0x10, 0x18, 0x11, 0x10 };
	static const uint8_t mss[] = { 2, 4, 5, 0xb4, 1, 3, 3, 7, 4, 2, 1, 1 };
	struct flow f;

	flow_new(s, &f, "a TCP connection, packet by packet");
	flow_kind(&f, version == 4 ? 1 : 4);
	for (unsigned i = 0; i < ARRAY_SIZE(flags); i++) {
		f.c.tcp_flags = flags[i];
		f.c.tcp_opts = mss;
		f.c.tcp_opts_len = i < 2 ? sizeof(mss) : 0;
		f.size = i == 3 ? 700 : 80;
		probe_add(s, &f, WANT_BACK);
	}
}

void case_ipv4_tcp(struct suite *s)
{
	add_tcp(s, 4);
}

void case_ipv6_tcp(struct suite *s)
{
	add_tcp(s, 6);
}

void case_ipv4_icmp(struct suite *s)
{
	add_one(s, 4, IPPROTO_ICMP, 8 << 8, 84, "echo request");
	add_one(s, 4, IPPROTO_ICMP, 0 << 8, 84, "echo reply");
	add_one(s, 4, IPPROTO_ICMP, 13 << 8, 60, "timestamp request");
}

void case_ipv6_icmp(struct suite *s)
{
	add_one(s, 6, IPPROTO_ICMPV6, 128 << 8, 104, "echo request");
	add_one(s, 6, IPPROTO_ICMPV6, 129 << 8, 104, "echo reply");
}

static void add_protocols(struct suite *s, unsigned version)
{
	static const uint8_t protos[] = { 4, 47, 50, 51, 89, 132, 136, 253 };

	/* 51 (AH) is an extension header of IPv6 and would need a body of its own */
	for (unsigned i = 0; i < ARRAY_SIZE(protos); i++)
		if (version == 4 || protos[i] != 51)
			add_one(s, version, protos[i], 0, 90, "a protocol without a parser");
}

void case_ipv4_other(struct suite *s)
{
	add_protocols(s, 4);
}

void case_ipv6_other(struct suite *s)
{
	add_protocols(s, 6);
}

void case_ipv4_options(struct suite *s)
{
	static const uint8_t alert[] = { 148, 4, 0, 0 };
	static const uint8_t route[] = { 7, 39, 4, [3 ... 38] = 0, 0 };
	struct flow f;

	for (unsigned kind = 0; kind < 3; kind++) {
		flow_new(s, &f, "IPv4 with router alert, or with 40 bytes of record route");
		flow_kind(&f, kind);
		f.c.ip_opts = kind & 1 ? route : alert;
		f.c.ip_opts_len = kind & 1 ? sizeof(route) : sizeof(alert);
		f.size = 140;
		probe_add(s, &f, WANT_BACK);
	}
}

void case_ipv6_ext(struct suite *s)
{
	static const uint8_t chains[][CRAFT_EXT_MAX] = {
		{ IPPROTO_HOPOPTS }, { IPPROTO_DSTOPTS }, { IPPROTO_ROUTING },
		{ IPPROTO_HOPOPTS, IPPROTO_DSTOPTS, IPPROTO_ROUTING, IPPROTO_DSTOPTS },
		{ IPPROTO_FRAGMENT },
	};
	struct flow f;

	for (unsigned i = 0; i < ARRAY_SIZE(chains); i++) {
		flow_new(s, &f, "IPv6 with extension headers");
		flow_kind(&f, 3 + i % 3);
		memcpy(f.c.ext, chains[i], sizeof(f.c.ext));
		f.c.next = i == 3 ? 4 : 1;
		f.size = 160;
		probe_add(s, &f, WANT_BACK);
	}
}

/* Pieces of @step bytes of one datagram, in the order given */
static void add_fragments(struct suite *s, unsigned kind, const unsigned *order, unsigned n,
			  size_t step, enum want want)
{
	uint8_t whole[2048], part[CRAFT_MAX], body[1600];
	size_t len, hdr = kind < 3 ? 20 : 40;
	uint32_t id = s->serial + 1;
	struct flow f;

	flow_new(s, &f, "a fragment");
	flow_kind(&f, kind);
	memset(body, 'f', sizeof(body));
	for (unsigned i = 0; i < n; i++)
		suite_tag(s, body + (order[i] ? order[i] * step - 8 : 0), id + i);
	f.c.payload = body;
	f.c.payload_len = n * step - 8 - 4;
	f.c.df = false;
	len = craft_inner(whole, &f.c);
	for (unsigned i = 0; i < n; i++) {
		size_t off = order[i] * step;
		size_t got = craft_fragment(part, whole, len, off, MIN(step, len - hdr - off), id);

		/* A piece sent twice has the tag of its last copy until here */
		suite_tag(s, part + (hdr == 20 ? 20 : 48) + (order[i] ? 0 : 8), id + i);
		probe_raw(s, &f.o, part, got, f.what, want);
	}
}

void case_ipv4_fragments(struct suite *s)
{
	static const unsigned order[] = { 0, 1, 2 };

	add_fragments(s, 0, order, 3, 480, WANT_BACK);
	add_fragments(s, 2, order, 2, 160, WANT_BACK);
}

void case_ipv6_fragments(struct suite *s)
{
	static const unsigned order[] = { 0, 1, 2 };

	add_fragments(s, 3, order, 3, 480, WANT_BACK);
	add_fragments(s, 5, order, 2, 160, WANT_BACK);
}

void case_late_first(struct suite *s)
{
	static const unsigned order[] = { 2, 1, 0 };

	add_fragments(s, 0, order, 3, 480, WANT_ANY);
	add_fragments(s, 3, order, 3, 480, WANT_ANY);
}

void case_overlap(struct suite *s)
{
	static const unsigned order[] = { 0, 1, 1, 0, 1 };

	add_fragments(s, 0, order, 5, 160, WANT_ANY);
	add_fragments(s, 3, order, 5, 160, WANT_ANY);
}

/* An ICMP error that quotes the start of a packet of another flow */
static void add_error(struct suite *s, unsigned version, uint16_t type_code, const char *what)
{
	uint8_t quote[160] = { 0 };
	struct craft_inner q;
	struct flow f;
	size_t n;

	flow_new(s, &f, what);
	q = f.c;
	q.version = (uint8_t)version;
	q.payload = quote;
	q.payload_len = 32;
	suite_tag(s, quote, s->serial + 1);
	n = craft_inner(quote + 40, &q);
	f.c.version = (uint8_t)version;
	f.c.proto = version == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	f.c.dport = type_code;
	f.c.sport = 0;
	f.c.seq = 1400;
	f.c.payload = quote + 40;
	f.c.payload_len = n;
	f.c.src = 0x0a030001;
	f.c.dst = q.src;
	n = craft_inner(s->scratch, &f.c);
	probe_raw(s, &f.o, s->scratch, n, what, WANT_BACK);
}

void case_icmp_error(struct suite *s)
{
	add_error(s, 4, 3 << 8 | 4, "fragmentation needed");
	add_error(s, 4, 3 << 8 | 3, "port unreachable");
	add_error(s, 4, 11 << 8, "time exceeded");
	add_error(s, 6, 2 << 8, "packet too big");
	add_error(s, 6, 1 << 8 | 4, "port unreachable over IPv6");
}

void case_udp_nocsum(struct suite *s)
{
	struct flow f;

	flow_new(s, &f, "inner UDP without a checksum");
	f.c.no_csum = true;
	probe_add(s, &f, WANT_BACK);
}

void case_bad_csum(struct suite *s)
{
	struct flow f;

	for (unsigned k = 0; k < FLOW_KINDS; k++) {
		flow_new(s, &f, "inner transport checksum wrong");
		flow_kind(&f, k);
		f.c.bad_csum = true;
		probe_add(s, &f, WANT_ANY);
	}
}

void case_inner_ttl(struct suite *s)
{
	struct flow f;

	for (unsigned i = 0; i < 8; i++) {
		flow_new(s, &f, "inner TTL or hop limit 1, 2, 64 or 255");
		flow_kind(&f, i & 1 ? 3 : 0);
		f.c.ttl = (uint8_t[]){ 1, 2, 64, 255 }[i / 2];
		probe_add(s, &f, WANT_BACK);
	}
}

void case_inner_tos(struct suite *s)
{
	struct flow f;

	for (unsigned i = 0; i < 8; i++) {
		flow_new(s, &f, "inner DSCP and ECN");
		flow_kind(&f, i & 1 ? 3 : 0);
		f.c.tos = (uint8_t[]){ 0xb8, 0x01, 0x02, 0x03 }[i / 2];
		f.c.df = i & 2;
		probe_add(s, &f, WANT_BACK);
	}
}

void case_size_28(struct suite *s)
{
	add_one(s, 4, IPPROTO_UDP, 9, 28, "IPv4 and UDP headers alone");
	add_one(s, 4, IPPROTO_ICMP, 8 << 8, 28, "IPv4 and ICMP headers alone");
	add_one(s, 6, IPPROTO_UDP, 9, 48, "IPv6 and UDP headers alone");
}

void case_size_20(struct suite *s)
{
	add_one(s, 4, 253, 0, 20, "an IPv4 header alone");
	add_one(s, 6, IPPROTO_NONE, 0, 40, "an IPv6 header alone");
}

void case_size_odd(struct suite *s)
{
	for (unsigned kind = 0; kind < FLOW_KINDS; kind++)
		for (unsigned size = 61; size < 70; size += 2) {
			struct flow f;

			flow_new(s, &f, "an odd length");
			flow_kind(&f, kind);
			f.size = size + (kind > 2 ? 20u : 0u);
			probe_add(s, &f, WANT_BACK);
		}
}

void case_size_sweep(struct suite *s)
{
	unsigned most = MIN(8500u, suite_room(s));

	for (unsigned size = 28; size < MIN(1500u, most); size += 1 + suite_random(s, 11))
		add_one(s, 4, IPPROTO_UDP, 9, size, "one of all sizes");
	for (unsigned size = 1500; size < most; size += 40 + suite_random(s, 400))
		add_one(s, 4, IPPROTO_UDP, 9, size, "one of all sizes");
}

/* Can packets of this size leave at all? */
static bool has_room(struct suite *s, unsigned size)
{
	if (size > suite_room(s))
		snprintf(s->detail, sizeof(s->detail), "the interface's MTU is %u", s->target.mtu);
	return size <= suite_room(s);
}

void case_size_1500(struct suite *s)
{
	if (!has_room(s, 1501))
		return;
	for (unsigned size = 1430; size <= 1501; size++)
		add_one(s, size & 1 ? 4 : 6, IPPROTO_TCP, 80, size,
			"about the size of an Ethernet");
}

void case_size_8500(struct suite *s)
{
	if (!has_room(s, 8500))
		return;
	for (unsigned kind = 0; kind < FLOW_KINDS; kind++)
		for (unsigned size = 8499; size <= 8500; size++) {
			struct flow f;

			flow_new(s, &f, "8500 bytes");
			flow_kind(&f, kind);
			f.size = size;
			probe_add(s, &f, WANT_BACK);
		}
}

void case_size_above(struct suite *s)
{
	unsigned most = suite_room(s);

	if (!has_room(s, 8501))
		return;
	add_one(s, 4, IPPROTO_UDP, 9, 8501, "8501 bytes");
	add_one(s, 4, IPPROTO_TCP, 80, (8500 + most) / 2, "between 8500 and the interface's MTU");
	add_one(s, 4, IPPROTO_UDP, 9, most, "as large as the interface carries");
	add_one(s, 6, IPPROTO_UDP, 9, most, "as large as the interface carries");
}

void case_tcp_odd(struct suite *s)
{
	static const uint8_t flags[] = { 0x3f, 0x29, 0x03, 0x06, 0xc2 };
	struct flow f;

	for (unsigned i = 0; i < ARRAY_SIZE(flags); i++) {
		flow_new(s, &f, "TCP flags nobody should set together");
		flow_kind(&f, 1);
		f.c.tcp_flags = flags[i];
		probe_add(s, &f, WANT_ANY);
	}
}

void case_multicast(struct suite *s)
{
	struct flow f;

	for (unsigned i = 0; i < 3; i++) {
		flow_new(s, &f, "to multicast, broadcast or nobody");
		f.c.dst = (uint32_t[]){ 0xe0000001, 0xffffffff, 0 }[i];
		probe_add(s, &f, WANT_ANY);
	}
}

void case_same_ends(struct suite *s)
{
	struct flow f;

	flow_new(s, &f, "source and destination are the same");
	f.c.dst = f.c.src;
	f.c.dport = f.c.sport;
	probe_add(s, &f, WANT_ANY);
}

void case_padding(struct suite *s)
{
	uint8_t inner[256] = { 0 };
	struct flow f;
	size_t n;

	for (unsigned extra = 1; extra < 8; extra += 3) {
		flow_new(s, &f, "bytes behind the end of the inner packet");
		f.c.payload = inner + 128;
		f.c.payload_len = 40;
		suite_tag(s, inner + 128, s->serial + 1);
		n = craft_inner(inner, &f.c);
		probe_raw(s, &f.o, inner, n + extra, f.what, WANT_ANY);
	}
}
