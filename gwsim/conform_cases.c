/* SPDX-License-Identifier: MIT */
/*
 * conform_cases.c - The probes of the tests about the encapsulation and about flows
 */
#include <stdio.h>
#include <string.h>

#include "conform.h"
#include "geneve.h"
#include "wire.h"

#define ICMP_PAUSE_MS	1100u

static const char *const kind_names[FLOW_KINDS] = {
	"UDP over IPv4", "TCP over IPv4", "ICMP echo over IPv4",
	"UDP over IPv6", "TCP over IPv6", "ICMPv6 echo",
};

static void add_kind(struct suite *s, unsigned kind)
{
	struct flow f;

	flow_new(s, &f, kind_names[kind]);
	flow_kind(&f, kind);
	probe_add(s, &f, WANT_BACK);
}

void case_alive(struct suite *s)
{
	for (unsigned k = 0; k < FLOW_KINDS; k++)
		add_kind(s, k);
}

void case_mixed(struct suite *s)
{
	for (unsigned k = 0; k < FLOW_KINDS; k++)
		add_kind(s, k);
}

void case_ipv6_mixed(struct suite *s)
{
	for (unsigned k = 3; k < FLOW_KINDS; k++)
		add_kind(s, k);
}

void case_options_mixed(struct suite *s)
{
	struct flow f;

	for (unsigned i = 0; i < 8; i++) {
		flow_bare(s, &f, "random ids");
		craft_aws(&f.o,
			  (uint64_t)suite_random(s, UINT32_MAX) << 32 | suite_random(s, UINT32_MAX),
			  suite_random(s, UINT32_MAX), suite_random(s, UINT32_MAX));
		flow_kind(&f, i % FLOW_KINDS);
		probe_add(s, &f, WANT_BACK);
	}
}

void case_csum_mixed(struct suite *s)
{
	struct flow f;

	for (unsigned k = 0; k < FLOW_KINDS; k++) {
		flow_new(s, &f, kind_names[k]);
		flow_kind(&f, k);
		f.size = 95 + 2 * k;
		f.o.csum = true;
		probe_add(s, &f, WANT_BACK);
	}
}

void case_ports_any(struct suite *s)
{
	static const uint16_t ports[] = { 1, 53, 1024, 6080, 6081, 6082, 32768, 49152, 65535 };
	struct flow f;

	for (unsigned i = 0; i < ARRAY_SIZE(ports); i++) {
		flow_new(s, &f, "an unusual outer source port");
		f.o.sport = ports[i];
		probe_add(s, &f, WANT_BACK);
	}
}

void case_outer_ttl(struct suite *s)
{
	struct flow f;

	for (unsigned i = 0; i < 3; i++) {
		flow_new(s, &f, "received with an outer TTL of 1, 2 or 255");
		f.o.ttl = (uint8_t[]){ 1, 2, 255 }[i];
		probe_add(s, &f, WANT_BACK);
	}
}

void case_outer_nodf(struct suite *s)
{
	struct flow f;

	flow_new(s, &f, "received without outer \"don't fragment\"");
	f.o.df = false;
	probe_add(s, &f, WANT_BACK);
}

void case_outer_tos(struct suite *s)
{
	struct flow f;

	for (unsigned i = 0; i < 4; i++) {
		flow_new(s, &f, "received with an outer DSCP or ECN");
		f.o.tos = (uint8_t[]){ 0xb8, 0x01, 0x02, 0x03 }[i];
		probe_add(s, &f, WANT_BACK);
	}
}

void case_attachment(struct suite *s)
{
	struct flow f;

	flow_bare(s, &f, "an attachment id other than zero");
	craft_aws(&f.o, f.endpoint, 0x0123456789abcdef, f.cookie);
	probe_add(s, &f, WANT_BACK);
}

void case_opt_order(struct suite *s)
{
	uint8_t v[8];
	struct flow f;

	for (unsigned first = 1; first <= 3; first++) {
		flow_bare(s, &f, "the three options in another order");
		for (unsigned i = 0; i < 3; i++) {
			uint8_t type = (uint8_t)((first + 2 * i) % 3 + 1);

			put64(v, type == 1 ? f.endpoint : 0);
			if (type == 3)
				put32(v, f.cookie);
			craft_opt(&f.o, GENEVE_CLASS_AWS, type, v, type == 3 ? 4 : 8);
		}
		probe_add(s, &f, WANT_BACK);
	}
}

/* An option nobody knows, before, among or behind those of AWS */
static void add_unknown(struct suite *s, unsigned place, uint16_t class, uint8_t type, size_t len,
			enum want want, const char *what)
{
	uint8_t v[124];
	size_t at = 0;
	struct flow f;
	struct probe *p;

	for (size_t i = 0; i < len; i++)
		v[i] = (uint8_t)suite_random(s, 256);
	flow_bare(s, &f, what);
	if (place == 0)
		craft_opt(&f.o, class, type, v, len);
	craft_aws(&f.o, f.endpoint, 0, f.cookie);
	if (place == 1) {
		memmove(f.o.opts + 16 + len, f.o.opts + 12, 20);
		at = f.o.opts_len + 4 + len;
		f.o.opts_len = 12;
		craft_opt(&f.o, class, type, v, len);
		f.o.opts_len = at;
		at = 12;
	}
	if (place == 2) {
		at = f.o.opts_len;
		craft_opt(&f.o, class, type, v, len);
	}
	if (type & 0x80)
		f.o.flags |= CRAFT_CRITICAL;
	p = probe_add(s, &f, want);
	if (!p)
		return;
	p->keep = p->pkt + p->l.geneve + GENEVE_HDR_LEN + at;
	p->keep_len = 4 + len;
}

void case_unknown_option(struct suite *s)
{
	add_unknown(s, 2, GENEVE_CLASS_AWS, 0x7e, 8, WANT_BACK,
		    "an unknown type of the known class");
	add_unknown(s, 2, 0x0fff, 0x01, 16, WANT_BACK, "an unknown class");
	add_unknown(s, 2, 0xffff, 0x00, 0, WANT_BACK, "an unknown option without data");
}

void case_unknown_places(struct suite *s)
{
	for (unsigned place = 0; place < 3; place++)
		add_unknown(s, place, 0x0ffe, 0x11, 12, WANT_BACK,
			    "an unknown option before, among or behind the known ones");
}

void case_options_full(struct suite *s)
{
	uint8_t v[124] = { 0 };
	struct flow f;

	flow_new(s, &f, "63 words of options");
	craft_opt(&f.o, 0x0ffc, 1, v, 124);
	craft_opt(&f.o, 0x0ffc, 2, v, 252 - f.o.opts_len - 4);
	probe_add(s, &f, WANT_BACK);
}

void case_options_none(struct suite *s)
{
	struct flow f;

	flow_bare(s, &f, "no options");
	probe_add(s, &f, WANT_BACK);
}

void case_tencent(struct suite *s)
{
	uint8_t v[8];
	struct flow f;

	flow_bare(s, &f, "options of class 0x0167");
	put64(v, f.endpoint);
	craft_opt(&f.o, GENEVE_CLASS_TENCENT, 1, v, 8);
	put64(v, 0);
	craft_opt(&f.o, GENEVE_CLASS_TENCENT, 2, v, 8);
	put32(v, 1u << 29 | (f.cookie & 0x1fffffff));
	craft_opt(&f.o, GENEVE_CLASS_TENCENT, 3, v, 4);
	probe_add(s, &f, WANT_BACK);
}

void case_google(struct suite *s)
{
	uint8_t v[16] = { 0 };
	struct flow f;

	for (unsigned n = 4; n <= 16; n += 4) {
		flow_bare(s, &f, "options of class 0x0132, endpoint id of 4 to 16 bytes");
		put32(v, f.cookie);
		craft_opt(&f.o, GENEVE_CLASS_GOOGLE, 3, v, 8);
		craft_opt(&f.o, GENEVE_CLASS_GOOGLE, 2, v, n);
		craft_opt(&f.o, GENEVE_CLASS_GOOGLE, 1, v, 4);
		probe_add(s, &f, WANT_BACK);
	}
}

void case_unknown_class(struct suite *s)
{
	struct flow f;

	flow_bare(s, &f, "only options of an unknown class");
	craft_opt(&f.o, 0x0ffd, 1, &f.endpoint, 8);
	probe_add(s, &f, WANT_BACK);
}

void case_vni(struct suite *s)
{
	struct flow f;

	for (unsigned i = 0; i < 2; i++) {
		flow_new(s, &f, "a VNI other than zero");
		f.o.vni = i ? 0xffffff : 1;
		probe_add(s, &f, WANT_BACK);
	}
}

void case_reserved(struct suite *s)
{
	struct flow f;

	flow_new(s, &f, "reserved bits set in the base header");
	f.o.flags = 0x3f;
	probe_add(s, &f, WANT_BACK);
	flow_new(s, &f, "the reserved last byte set");
	f.o.reserved = 0xff;
	probe_add(s, &f, WANT_BACK);
}

void case_option_flags(struct suite *s)
{
	struct flow f;

	flow_new(s, &f, "the reserved bits of an option set");
	f.o.opts[3] |= 0xe0;
	probe_add(s, &f, WANT_BACK);
}

void case_burst(struct suite *s)
{
	struct flow f;

	s->chunk = PORT_BURST;
	flow_new(s, &f, "one of 64 packets back to back");
	for (unsigned i = 0; i < PORT_BURST; i++)
		probe_add(s, &f, WANT_BACK);
}

void case_order(struct suite *s)
{
	struct flow f;

	for (unsigned kind = 0; kind < 2; kind++) {
		flow_new(s, &f, "one of 100 packets of a flow");
		flow_kind(&f, kind);
		for (unsigned i = 0; i < 100; i++) {
			f.size = 60 + suite_random(s, MIN(1400u, suite_room(s) - 60));
			probe_add(s, &f, WANT_BACK);
		}
	}
}

void case_many_flows(struct suite *s)
{
	struct flow f;

	for (unsigned i = 0; i < 256; i++) {
		flow_new(s, &f, "one of 256 flows");
		flow_kind(&f, i % FLOW_KINDS);
		probe_add(s, &f, WANT_BACK);
	}
}

/* The same inner 5-tuple under several encapsulations, alternating */
static void add_twins(struct suite *s, bool endpoints, const char *what)
{
	struct flow f, g;

	flow_new(s, &f, what);
	g = f;
	g.o.opts_len = 0;
	if (endpoints)
		craft_aws(&g.o, f.endpoint + 1, 0, f.cookie);
	else
		craft_aws(&g.o, f.endpoint, 0, f.cookie ^ 0x10000);
	g.o.sport++;
	for (unsigned i = 0; i < 8; i++)
		probe_add(s, i & 1 ? &g : &f, WANT_BACK);
	s->next_port++;
}

void case_endpoints(struct suite *s)
{
	add_twins(s, true, "two endpoints with the same addresses, ports and cookie");
}

void case_cookies(struct suite *s)
{
	add_twins(s, false, "the same addresses and ports under two cookies");
}

void case_directions(struct suite *s)
{
	struct flow f, g;

	for (unsigned kind = 0; kind < FLOW_KINDS; kind += 3) {
		flow_new(s, &f, "a request and its answer under one cookie");
		flow_kind(&f, kind);
		g = f;
		g.c.src = f.c.dst;
		g.c.dst = f.c.src;
		g.c.sport = f.c.dport;
		g.c.dport = f.c.sport;
		g.o.sport = (uint16_t)(f.o.sport + 7);
		for (unsigned i = 0; i < 6; i++)
			probe_add(s, i & 1 ? &g : &f, WANT_BACK);
	}
}

void case_moved_port(struct suite *s)
{
	struct flow f;

	flow_new(s, &f, "a flow whose outer source port changes");
	for (unsigned i = 0; i < 4; i++) {
		f.o.sport = (uint16_t)(f.o.sport + 100 * i);
		probe_add(s, &f, WANT_BACK);
	}
}

void case_midstream(struct suite *s)
{
	static const uint8_t flags[] = { 0x10, 0x18, 0x11, 0x04 };
	struct flow f;

	for (unsigned i = 0; i < ARRAY_SIZE(flags); i++) {
		flow_new(s, &f, "TCP without its SYN");
		flow_kind(&f, 1);
		f.c.seq = 0x12345678;
		f.c.tcp_flags = flags[i];
		probe_add(s, &f, WANT_BACK);
	}
}

void case_critical(struct suite *s)
{
	add_unknown(s, 2, GENEVE_CLASS_AWS, 0xfe, 4, WANT_NONE, "an unknown critical type");
	add_unknown(s, 2, 0x0fff, 0x81, 8, WANT_NONE,
		    "an unknown critical option of an unknown class");
}

void case_critical_late(struct suite *s)
{
	for (unsigned place = 0; place < 2; place++)
		add_unknown(s, place, 0x0fff, 0x80, 0, WANT_NONE,
			    "an unknown critical option before or among the known ones");
}

/* The kernel sends an ICMP error a second after a first few: give it the time */
void case_unreachable(struct suite *s)
{
	if (!s->unreachable)
		suite_pause(s, ICMP_PAUSE_MS);
	case_mixed(s);
}

uint32_t check_unreachable(struct suite *s)
{
	if (s->unreachable)
		snprintf(s->detail, sizeof(s->detail), "%u ICMP port unreachable in this run",
			 s->unreachable);
	return s->unreachable ? DEV_UNASKED : 0;
}

void case_stray(struct suite *s)
{
	case_mixed(s);
}

uint32_t check_stray(struct suite *s)
{
	if (s->stray)
		snprintf(s->detail, sizeof(s->detail), "%u packets that answer nothing in this run",
			 s->stray);
	return s->stray ? DEV_UNASKED : 0;
}
