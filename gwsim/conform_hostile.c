/* SPDX-License-Identifier: MIT */
/*
 * conform_hostile.c - The probes of the tests about packets that are wrong: an appliance
 * drops them, and lives on
 */
#include <string.h>

#include "conform.h"
#include "geneve.h"
#include "wire.h"

#define MUTATIONS	500u

static struct probe *add_plain(struct suite *s, unsigned kind, const char *what, enum want want)
{
	struct flow f;

	flow_new(s, &f, what);
	flow_kind(&f, kind);
	return probe_add(s, &f, want);
}

static void set_byte(struct probe *p, size_t at, uint8_t value)
{
	if (p && at < p->len)
		p->pkt[at] = value;
}

static void refix(struct probe *p)
{
	if (p)
		craft_fix(p->pkt, &p->l, p->len);
}

void case_critical_flag(struct suite *s)
{
	struct flow f;

	flow_new(s, &f, "the critical flag set, but no critical option");
	f.o.flags = CRAFT_CRITICAL;
	probe_add(s, &f, WANT_ANY);
}

void case_control(struct suite *s)
{
	struct flow f;

	flow_new(s, &f, "a control packet");
	f.o.flags = CRAFT_CONTROL;
	probe_add(s, &f, WANT_NONE);
}

void case_version(struct suite *s)
{
	struct flow f;

	for (uint8_t v = 1; v < 4; v++) {
		flow_new(s, &f, "a Geneve version other than 0");
		f.o.version = v;
		probe_add(s, &f, WANT_NONE);
	}
}

void case_opt_overrun(struct suite *s)
{
	struct probe *p = add_plain(s, 0, "an option longer than the option area", WANT_NONE);

	set_byte(p, p->l.geneve + GENEVE_HDR_LEN + 24 + 3, 31);
	refix(p);
	p = add_plain(s, 0, "the first option swallows half the next", WANT_NONE);
	set_byte(p, p->l.geneve + GENEVE_HDR_LEN + 3, 8);
	refix(p);
}

/* One word of an option area that has no room for an option's header and its data */
void case_opt_header(struct suite *s)
{
	struct probe *p = add_plain(s, 0, "the option area ends inside the last option", WANT_NONE);

	set_byte(p, p->l.geneve, 7);
	refix(p);
}

static void add_cuts(struct suite *s, unsigned kind, size_t from, size_t to, size_t step,
		     enum want want, const char *what)
{
	for (size_t len = from; len < to; len += step) {
		struct probe *p = add_plain(s, kind, what, want);

		if (p && len < p->len)
			probe_cut(p, len);
	}
}

/* Lengths in the headers as they were: the frame just ends */
void case_trunc_ip(struct suite *s)
{
	for (uint32_t len = 14; len < 34; len += 3) {
		struct probe *p = add_plain(s, 0, "the frame ends inside the outer IPv4 header",
					    WANT_NONE);

		if (p)
			p->len = len;
	}
}

void case_trunc_udp(struct suite *s)
{
	add_cuts(s, 0, 34, 42, 1, WANT_NONE, "ends inside the outer UDP header");
}

void case_trunc_geneve(struct suite *s)
{
	add_cuts(s, 0, 42, 50, 1, WANT_NONE, "ends inside the Geneve base header");
}

void case_trunc_options(struct suite *s)
{
	add_cuts(s, 0, 50, 82, 1, WANT_NONE, "ends inside the Geneve options");
}

void case_trunc_inner(struct suite *s)
{
	add_cuts(s, 0, 83, 102, 1, WANT_ANY, "ends inside the inner IPv4 header");
	add_cuts(s, 3, 83, 122, 3, WANT_ANY, "ends inside the inner IPv6 header");
}

void case_trunc_l4(struct suite *s)
{
	for (unsigned kind = 0; kind < FLOW_KINDS; kind++)
		add_cuts(s, kind, kind < 3 ? 102 : 122, kind < 3 ? 122 : 142, 3, WANT_ANY,
			 "ends inside the inner transport header");
}

void case_empty(struct suite *s)
{
	add_cuts(s, 0, 82, 83, 1, WANT_ANY, "no inner packet at all");
}

void case_inner_version(struct suite *s)
{
	for (unsigned v = 0; v < 16; v++) {
		struct probe *p;

		if (v == 4 || v == 6)
			continue;
		p = add_plain(s, v & 1 ? 3 : 0, "inner IP version neither 4 nor 6", WANT_ANY);
		set_byte(p, p->l.inner, (uint8_t)(v << 4 | 5));
		refix(p);
	}
}

void case_inner_lengths(struct suite *s)
{
	static const uint16_t lengths[] = { 0, 1, 19, 20, 27, 97, 4000, 65535 };
	struct probe *p;

	for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
		p = add_plain(s, 0, "inner IPv4 length wrong", WANT_ANY);
		put16(p->pkt + p->l.inner + 2, lengths[i]);
		refix(p);
		p = add_plain(s, 3, "inner IPv6 payload length wrong", WANT_ANY);
		put16(p->pkt + p->l.inner + 4, lengths[i]);
		refix(p);
		p = add_plain(s, 0, "inner UDP length wrong", WANT_ANY);
		put16(p->pkt + p->l.inner + 24, lengths[i]);
		refix(p);
	}
	for (uint8_t ihl = 0; ihl < 16; ihl++) {
		p = add_plain(s, 1, "inner IPv4 header length wrong", WANT_ANY);
		set_byte(p, p->l.inner, 0x40 | ihl);
		set_byte(p, p->l.inner + 32, (uint8_t)(ihl << 4));
		refix(p);
	}
}

void case_inner_ext(struct suite *s)
{
	static const uint8_t types[] = { 0, 43, 44, 51, 60, 135, 139, 140 };

	for (unsigned i = 0; i < ARRAY_SIZE(types); i++)
		for (unsigned n = 0; n < 2; n++) {
			struct probe *p = add_plain(s, 3,
						    "extension headers that run past the packet "
						    "or never end",
						    WANT_ANY);

			set_byte(p, p->l.inner + 6, types[i]);
			for (unsigned at = 40; at < 72; at += 8) {
				set_byte(p, p->l.inner + at, types[i]);
				set_byte(p, p->l.inner + at + 1, n ? 255 : 0);
			}
			refix(p);
		}
}

void case_proto_other(struct suite *s)
{
	static const uint16_t protos[] = { 0x6558, 0x0806, 0x8847, 0x0001, 0xffff };
	struct flow f;

	for (unsigned i = 0; i < ARRAY_SIZE(protos); i++) {
		flow_new(s, &f, "a protocol type other than IPv4 and IPv6");
		f.o.proto = protos[i];
		probe_add(s, &f, WANT_ANY);
	}
}

void case_proto_mismatch(struct suite *s)
{
	struct flow f;

	for (unsigned i = 0; i < 2; i++) {
		flow_new(s, &f, "the protocol type says IPv4, the packet IPv6, or the reverse");
		flow_kind(&f, i ? 3 : 0);
		f.o.proto = i ? 0x0800 : 0x86dd;
		probe_add(s, &f, WANT_ANY);
	}
}

void case_outer_ip_bad(struct suite *s)
{
	static const struct { uint8_t at, value;
	} bad[] = {
		{ 0, 0x44 }, { 0, 0x40 }, { 0, 0x4f }, { 0, 0x55 }, { 0, 0x05 },
		{ 9, 6 },    { 9, 132 },  { 2, 0 },    { 2, 255 },  { 10, 0x55 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct probe *p = add_plain(s, 0, "a broken outer IPv4 header", WANT_ANY);

		set_byte(p, p->l.l3 + bad[i].at, bad[i].value);
	}
}

void case_outer_udp_bad(struct suite *s)
{
	static const uint16_t lengths[] = { 0, 1, 7, 8, 15, 16, 47, 200, 65535 };

	for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
		struct probe *p = add_plain(s, 0, "a wrong outer UDP length", WANT_ANY);

		put16(p->pkt + p->l.udp + 4, lengths[i]);
	}
}

void case_outer_fragment(struct suite *s)
{
	static const uint16_t fields[] = { 0x2000, 0x2010, 0x0010 };

	for (unsigned i = 0; i < ARRAY_SIZE(fields); i++) {
		struct probe *p = add_plain(s, 0, "the outer packet is a fragment", WANT_NONE);

		put16(p->pkt + p->l.l3 + 6, fields[i]);
		refix(p);
	}
}

void case_other_port(struct suite *s)
{
	static const uint16_t ports[] = { 6080, 6082, 4789, 53 };

	for (unsigned i = 0; i < ARRAY_SIZE(ports); i++) {
		struct flow f;

		flow_new(s, &f, "to a UDP port other than 6081");
		f.o.dport = ports[i];
		probe_add(s, &f, WANT_NONE);
	}
}

void case_other_mac(struct suite *s)
{
	struct flow f;

	flow_new(s, &f, "to somebody else's MAC address");
	f.o.dst_mac[5] ^= 0x55;
	probe_add(s, &f, WANT_NONE);
}

void case_known_length(struct suite *s)
{
	uint8_t v[12] = { 0 };

	for (uint8_t type = 1; type <= 3; type++)
		for (unsigned n = 0; n <= 12; n += 4) {
			struct flow f;

			if (n == (type == 3 ? 4 : 8))
				continue;
			flow_bare(s, &f, "a known option with a wrong length");
			craft_opt(&f.o, GENEVE_CLASS_AWS, type, v, n);
			probe_add(s, &f, WANT_ANY);
		}
}

void case_corrupt_each(struct suite *s)
{
	for (unsigned kind = 0; kind < FLOW_KINDS; kind += 3)
		for (uint32_t at = 14; at < 142; at++) {
			struct probe *p = add_plain(s, kind, "one byte of the headers inverted",
						    WANT_ANY);

			set_byte(p, at, p ? (uint8_t)~p->pkt[at] : 0);
		}
}

void case_mutations(struct suite *s)
{
	for (unsigned i = 0; i < MUTATIONS; i++) {
		struct probe *p = add_plain(s, suite_random(s, FLOW_KINDS), "random damage",
					    WANT_ANY);
		unsigned n = 1 + suite_random(s, 6);

		if (!p)
			return;
		while (n--)
			set_byte(p, 14 + suite_random(s, p->len - 14),
				 (uint8_t)suite_random(s, 256));
		if (suite_random(s, 4) == 0)
			p->len = 14 + suite_random(s, p->len - 14);
		if (suite_random(s, 2) && p->len > p->l.geneve)
			refix(p);
	}
}
