/* SPDX-License-Identifier: MIT */
/*
 * conform.h - The conformance suite: its parts know each other through this
 *
 * Theory of operation
 *
 * A test is a row of the table (conform_table.c): an id, what it demands, and a
 * function that fills the suite with probes: packets, each with what is wanted of it
 * (conform_cases.c, conform_hostile.c).  The runner (conform_run.c) sends them, gathers what
 * comes back and finds the probe that each reply answers.  The judge (conform_judge.c)
 * lists every way in which a reply deviates; a test fails when one of the deviations that
 * it is about was seen, so that one fault of an appliance fails one test and
 * not all.  The reporter (conform_report.c) tells people and machines.
 *
 * A reply is recognised by a tag in its payload, else (packets too short for one) by its
 * IPv4 identification or IPv6 flow label, else by its flow cookie.  Behind probes that
 * need not come back follows a sentinel that must: when it is back, so is the rest.
 */
#ifndef GW_CONFORM_H
#define GW_CONFORM_H

#include <pcap/pcap.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "craft.h"
#include "health.h"
#include "target.h"

#define PROBES_MAX	1100u
#define REPLIES_MAX	2200u
#define STORE_SIZE	(24u << 20)	/* of the packets of one test */

/* X(symbol, what is said of the reply) */
#define DEV_LIST(X) \
	X(MISSING,	"did not come back") \
	X(PROCESSED,	"came back, must not") \
	X(DEAD,		"good packets behind it are no longer answered") \
	X(DUPLICATE,	"came back more than once") \
	X(ORDER,	"overtook a packet of its flow") \
	X(MAC,		"MAC addresses are not swapped") \
	X(IP_VERSION,	"outer packet is not IPv4 with a plain header") \
	X(IP_OPTIONS,	"outer IPv4 header has options") \
	X(IP_CSUM,	"outer IPv4 header checksum is wrong") \
	X(IP_LENGTH,	"outer IPv4 length disagrees with the frame") \
	X(FRAGMENT,	"outer packet is a fragment") \
	X(DF,		"outer packet lacks \"don't fragment\"") \
	X(TTL,		"outer TTL is below 16") \
	X(ADDRESS,	"outer addresses are not swapped") \
	X(PORTS,	"UDP ports differ from those sent") \
	X(UDP_LENGTH,	"outer UDP length disagrees with the IPv4 length") \
	X(UDP_CSUM,	"outer UDP checksum is neither zero nor right") \
	X(BASE,		"Geneve base header changed") \
	X(OPTIONS,	"a Geneve option changed, vanished or came in addition") \
	X(OPT_ORDER,	"Geneve options came in another order") \
	X(ENDPOINT,	"endpoint id changed") \
	X(CROSSED,	"carries the encapsulation of another flow") \
	X(COOKIE,	"flow cookie changed") \
	X(KEPT,		"the option under test did not come back as it was") \
	X(TUPLE,	"inner addresses, protocol or ports changed") \
	X(INNER_TTL,	"inner TTL or hop limit changed") \
	X(INNER_HEADER,	"another inner header field or checksum changed") \
	X(INNER_LENGTH,	"inner packet has another length") \
	X(INNER_BYTES,	"inner payload changed") \
	X(INNER_CSUM,	"inner checksum is wrong, was right") \
		X(UNASKED,	"a packet that answers nothing came from the appliance") \
	X(HEALTH,	"the health check failed")

enum dev_bit {
#define X(sym, text) DEV_BIT_##sym,
	DEV_LIST(X)
#undef X
	DEV_NUM
};

enum dev {
#define X(sym, text) DEV_##sym = (int)(1u << DEV_BIT_##sym),
	DEV_LIST(X)
#undef X
};

enum want { WANT_BACK, WANT_NONE, WANT_ANY };
enum level { LEVEL_MUST, LEVEL_SHOULD, LEVEL_MAY };

struct reply;

/**
 * struct probe - A packet sent, and what became of it
 * @what:	In a few words, for people; static
 * @serial:	Unique in a run
 * @tagged:	Its payload says @serial
 * @sentinel:	It only shows that the appliance lives
 * @may_drop:	A filter may drop it
 * @keep, @keep_len:	Bytes of the Geneve options that must come back as they are
 * @dev:	Of all its replies
 */
struct probe {
	uint8_t *pkt;
	uint32_t len;
	struct craft_layers l;
	const char *what;
	enum want want;
	uint32_t serial;
	bool tagged;
	bool sentinel;
	bool may_drop;
	const uint8_t *keep;
	size_t keep_len;
	unsigned nreplies;
	uint32_t dev;
	uint64_t sent_ns;
};

/**
 * struct reply - A packet that came back
 * @probe:	What it answers; NULL: nothing we sent
 * @reject:	It is the appliance's own answer to the probe's sender
 */
struct reply {
	uint8_t *pkt;
	uint32_t len;
	struct probe *probe;
	uint32_t dev;
	bool reject;
	uint64_t ts_ns;
};

struct report;

/**
 * struct conform_conf - What was asked for
 */
struct conform_conf {
	const char *appliance;
	const char *addr;
	const char *iface;
	struct health_conf health;
	const char *expect;
	const char *junit;
	const char *pcap;
	bool filter;
	bool strict;
	bool allow_set;
	bool only;
	struct bpf_program allow;
	unsigned wait_ms;
	unsigned timeout_ms;
	uint64_t seed;
	uint8_t *chosen;	/* one byte a test: run it */
	struct report *report;
};

/**
 * struct suite - A run
 * @chunk:	Packets sent before the suite looks for replies
 * @heard:	Something came back that we sent
 * @stray, @unreachable:	Packets nobody asked for, since the tests began
 * @rtt_ns:	Longest round trip seen
 * @timeouts:	How often something wanted did not come
 * @damaged:	The test at hand sends packets that may come back beyond recognition
 * @general:	Deviations that every ordinary packet shows: the tests about them fail,
 *		tests of special packets look for others
 * @detail:	Why a test failed or was skipped, beyond what the probes say
 * @hurry:	The appliance is dead: do not wait long for it any more
 */
struct suite {
	const struct conform_conf *conf;
	struct target target;
	struct probe *probe;
	unsigned nprobes;
	struct reply *reply;
	unsigned nreplies;
	uint8_t *store;
	size_t used;
	uint8_t *scratch;
	uint64_t random;
	uint32_t magic;
	uint32_t serial;
	unsigned chunk;
	uint16_t next_port;
	uint64_t rtt_ns;
	unsigned timeouts;
	unsigned stray;
	unsigned unreachable;
	bool heard;
	bool running;
	bool hurry;
	bool damaged;
	uint32_t general;
	int sentinel_kind;
	uint32_t fail;
	char detail[200];
};

/**
 * struct conform_test - A row of the table
 * @level:	enum level
 * @prov:	'D' documented, 'C' seen in code, 'I' inferred
 * @mask:	Deviations that fail it
 * @special:	Those that all ordinary packets show are left to their own tests
 * @fill:	Adds the probes; or, with @check, judges by itself afterwards
 * @check:	NULL, or called when everything is back: returns further deviations
 */
struct conform_test {
	const char *id;
	const char *title;
	const char *text;
	const char *source;
	enum level level;
	char prov;
	uint32_t mask;
	bool special;
	void (*fill)(struct suite *s);
	uint32_t (*check)(struct suite *s);
};

extern const struct conform_test conform_tests[];
extern const unsigned conform_ntests;

const char *conform_level(enum level level);
const char *dev_text(unsigned bit);

/**
 * struct flow - A flow under construction: what its next probe looks like
 * @size:	Length of the inner packet; 0: @c.payload_len is right already
 * @what:	For the probe
 */
struct flow {
	struct craft_outer o;
	struct craft_inner c;
	size_t size;
	const char *what;
	uint64_t endpoint;
	uint32_t cookie;
};

/**
 * flow_new() - A flow of its own: ports, cookie, AWS options; UDP over IPv4, 96 bytes
 */
void flow_new(struct suite *s, struct flow *f, const char *what);

/**
 * flow_bare() - The same without any Geneve option
 */
void flow_bare(struct suite *s, struct flow *f, const char *what);

/* Kinds of inner packet: UDP, TCP, ICMP echo over IPv4, then over IPv6 */
#define FLOW_KINDS	6
void flow_kind(struct flow *f, unsigned kind);

/**
 * probe_add() - Add the flow's next packet
 *
 * Return: the probe, or NULL if the suite is full
 */
struct probe *probe_add(struct suite *s, struct flow *f, enum want want);

/**
 * probe_raw() - Add a packet whose inner bytes the caller made
 * @inner:	Holds the tag of serial @s->serial + 1
 */
struct probe *probe_raw(struct suite *s, const struct craft_outer *o, const uint8_t *inner,
			size_t len, const char *what, enum want want);

/**
 * probe_cut() - Make a probe end after @len bytes, outer lengths and checksums right
 */
void probe_cut(struct probe *p, size_t len);

/**
 * suite_room() - The largest inner packet that the way to the appliance carries, in AWS options
 */
unsigned suite_room(const struct suite *s);

uint32_t suite_random(struct suite *s, uint32_t below);
void suite_tag(struct suite *s, uint8_t *p, uint32_t serial);
uint64_t suite_now_ns(void);

/* conform_run.c */
int suite_open(struct suite *s, const struct conform_conf *conf);
void suite_close(struct suite *s);
bool suite_wake(struct suite *s, unsigned wait_ms);	/* until it answers */
void suite_probes(struct suite *s, const struct conform_test *t);
	/* send, gather; s->fail says how it went */

/**
 * suite_pause() - Take what comes for a while
 */
void suite_pause(struct suite *s, unsigned ms);

/**
 * suite_mask() - Deviations that fail @t in this run
 */
uint32_t suite_mask(const struct suite *s, const struct conform_test *t);

/* conform_judge.c */
uint32_t judge_reply(struct suite *s, struct reply *r);
struct probe *judge_match(struct suite *s, const uint8_t *pkt, uint32_t len);
bool judge_unreachable(const uint8_t *pkt, uint32_t len);
bool judge_geneve(const uint8_t *pkt, uint32_t len);

/* conform_report.c */
enum outcome { OUT_PASS, OUT_FAIL, OUT_SKIP };
struct report *report_open(const struct conform_conf *conf);	/* reads --expect */
void report_plan(struct report *r);
void report_test(struct report *r, struct suite *s, const struct conform_test *t);
int report_close(struct report *r);		/* writes JUnit; exit status */
void report_free(struct report *r);

/* conform_doc.c */
void doc_list(void);
void doc_mdoc(void);
int doc_explain(const char *id);

/* conform_cases.c, conform_inner.c, conform_hostile.c, conform_health.c: see the table */
#define CASE_LIST(X) \
	X(mixed) X(options_mixed) X(ipv6_mixed) X(csum_mixed) X(ports_any) X(outer_ttl) \
	X(outer_nodf) X(outer_tos) X(attachment) X(opt_order) X(unknown_option) X(unknown_places) \
	X(options_full) X(options_none) X(tencent) X(google) X(unknown_class) X(vni) \
	X(reserved) X(option_flags) X(burst) X(order) X(many_flows) X(endpoints) X(cookies) \
	X(directions) X(moved_port) X(midstream) \
	X(ipv4_udp) X(ipv4_tcp) X(ipv4_icmp) X(ipv4_other) X(ipv4_options) X(ipv4_fragments) \
	X(ipv6_udp) X(ipv6_tcp) X(ipv6_icmp) X(ipv6_other) X(ipv6_ext) X(ipv6_fragments) \
	X(icmp_error) X(udp_nocsum) X(bad_csum) X(inner_ttl) X(inner_tos) X(size_28) \
	X(size_20) X(size_odd) X(size_sweep) X(size_1500) X(size_8500) X(size_above) X(tcp_odd) \
	X(multicast) X(same_ends) X(overlap) X(late_first) X(padding) \
	X(critical) X(critical_late) X(critical_flag) X(control) X(version) X(opt_overrun) \
	X(opt_header) X(trunc_ip) X(trunc_udp) X(trunc_geneve) X(trunc_options) X(trunc_inner) \
	X(trunc_l4) X(inner_version) X(inner_lengths) X(inner_ext) X(proto_other) \
	X(proto_mismatch) X(outer_ip_bad) X(outer_udp_bad) X(outer_fragment) X(other_port) \
	X(other_mac) X(corrupt_each) X(mutations) X(empty) X(known_length) \
	X(unreachable) X(stray) X(alive) X(health)

#define X(name) void case_##name(struct suite *s);
CASE_LIST(X)
#undef X

uint32_t check_unreachable(struct suite *s);
uint32_t check_stray(struct suite *s);
uint32_t check_health(struct suite *s);
uint32_t check_health_open(struct suite *s);
uint32_t check_health_many(struct suite *s);

#endif /* GW_CONFORM_H */
