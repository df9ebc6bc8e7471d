/* SPDX-License-Identifier: MIT */
/*
 * rules_int.h - Between the files of the rule language; programs use rules.h
 */
#ifndef GW_RULES_INT_H
#define GW_RULES_INT_H

#include <netinet/in.h>
#include <stdarg.h>
#include <stddef.h>

#include "flow.h"
#include "ladder.h"
#include "rules.h"
#include "wire.h"

/* ---- rules_parse.c ---- */

struct rules_builder {
	struct rules *r;
	size_t room;
	pcap_t *pcap;
	void *names;		/* tsearch(3): struct name_entry */
};

void rules_parse(struct rules_builder *b, struct lexer *l);

/* ---- rules_where.c: filter expressions ---- */

/* Check words, then compile; reports errors itself */
bool where_compile(pcap_t *pcap, struct rule *rule, struct lexer *l, const size_t *map);
/* Something a user may not expect; NULL: nothing */
const char *where_warning(const char *expr);

/* ---- rules_table.c: prefix tables ---- */

struct prefix {
	uint8_t addr[16];
	uint8_t version;
	uint8_t bits;
};

struct range {
	unsigned __int128 lo, hi;
};

/**
 * struct rules_table - A set of prefixes
 * @path:	The file it comes from, or NULL: the prefixes were written in the rule
 * @prefix:	As written
 * @hash:	Of them
 * @v4:		Where they begin and end, in turn
 * @edge6, @from6, @v6:	The same for IPv6; by their upper halves: those of rung i
 *		are @edge6[@from6[i]] to @edge6[@from6[i + 1]]
 */
struct rules_table {
	char name[RULES_NAME_MAX];
	char *path;
	struct prefix *prefix;
	size_t n, room;
	uint64_t hash;
	struct ladder v4;
	struct ladder v6;
	unsigned __int128 *edge6;
	uint32_t *from6;
	const char *file;
	unsigned line;
	bool used;
};

bool table_parse(struct rules_table *t, struct lexer *l);
void table_print(const struct rules_table *t, FILE *out);
void table_free(struct rules_table *t);

/* ---- rules_print.c ---- */

/* @with_name: the "name" as well */
void rule_print(const struct rule *rule, bool with_name, FILE *out);

/**
 * struct sight - What rules see of one packet
 * @port:	As the frame's, or turned
 * @ip, @len, @wirelen:	From the IP header on, IPv6 extension headers cut out: what filter
 *		programs run on; NULL: not made yet
 */
struct sight {
	struct frame *f;
	const uint8_t *data;
	const uint8_t *ip;
	uint32_t len;
	uint32_t wirelen;
	uint16_t port[2];
};

/* ---- rules_explore.c: what a filter program can find ---- */

#define WAYS_MAX	32

enum l4_class { L4_TCP, L4_UDP, L4_ICMP, L4_OTHER };

/* Packets that are alike to most filter programs, but for their fields */
struct packet_class {
	uint8_t version;
	enum l4_class l4;
};

static inline enum l4_class l4_class(int version, uint8_t proto)
{
	if (proto == IPPROTO_TCP)
		return L4_TCP;
	if (proto == IPPROTO_UDP)
		return L4_UDP;
	return proto == (version == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6) ? L4_ICMP : L4_OTHER;
}

/* Words of the packet.  Ports are the first two 16-bit words behind the IP header, whatever the
 * protocol; IPv4 has the first word of each address; the protocol is one of L4_OTHER only.
 * The endpoint's lower half is no word of the packet: a test of the rule asks for it */
enum field {
	FIELD_SPORT, FIELD_DPORT, FIELD_SRC, FIELD_DST = FIELD_SRC + 4, FIELD_PROTO = FIELD_DST + 4,
	FIELD_ENDPOINT, FIELDS
};

uint32_t field_max(enum field field);

struct span {
	uint32_t lo, hi;
};

/* What a way through a program asks of the fields: all of these */
struct way {
	struct span field[FIELDS];
};

struct ways {
	unsigned n;
	struct way way[WAYS_MAX];
};

/* The way that asks nothing */
void way_init(struct way *w);
/* On which ways can a packet of the class match?  @steps: instructions followed at most */
void explore_ways(const struct rule *r, struct packet_class class, unsigned steps,
		  struct ways *ways);
/* Does each packet of the class that has its transport header, if it is one that has any,
 * and these fields, match?  @steps: as many fewer afterwards */
bool explore_all(const struct rule *r, struct packet_class class, unsigned *steps,
		 const struct way *given);

/* ---- rules_index.c: which rules can match a packet at all ---- */

struct rules_index *index_build(const struct rules *r);
void index_free(struct rules_index *ix);

/**
 * struct listed - A rule on a list
 * @rule:	Its number
 * @certain:	Where the list and @box say that a packet belongs, "where" holds
 * @box:	What else a packet must have: the first of such conditions, 0: nothing
 */
struct listed {
	uint32_t rule : 31;
	uint32_t certain : 1;
	uint32_t box;
};

/**
 * struct candidate - A rule that may match a packet
 * @certain:	Its "where" does, for certain
 */
struct candidate {
	uint32_t rule;
	bool certain;
};

struct box;

/**
 * struct index_walk - Candidates for one packet, in order
 * @s:		The packet: looked at until the walk ends
 * @p, @end:	Sorted lists that are merged, @n of them, none empty
 * @boxes:	Of the packet's class
 * @sure:	The packet has what a program may read to be certain
 */
struct index_walk {
	const struct sight *s;
	const struct box *boxes;
	unsigned n;
	bool sure;
	const struct listed *p[FIELDS + 2], *end[FIELDS + 2];
};

/* Does a walk look at bytes of packets that are parsed? */
bool index_reads(const struct rules_index *ix) __attribute__((pure));

#define INDEX_LOOK	0u
#define INDEX_FIRST	1u
#define INDEX_ONLY	0x80000000u
#define INDEX_NONE	UINT32_MAX

/**
 * index_tell() - What can be said of packets of a burst by class and ports alone
 * @told:	Written, for each: INDEX_NONE: no rule can match it; INDEX_FIRST and more: that
 *		rule does, and decides; INDEX_ONLY and more: no rule but that can, and its
 *		"where" holds; INDEX_LOOK: only a walk can tell
 *
 * Packets that were not parsed, fragments and those without a whole transport header are to be
 * looked at.  Where rules remember flows it is not asked.
 */
void index_tell(const struct rules_index *ix, struct frame *const *f, int n, uint32_t *told);

void index_start(const struct rules_index *ix, const struct sight *s, struct index_walk *w);

static inline void index_add(struct index_walk *w, const struct listed *list, size_t n)
{
	w->p[w->n] = list;
	w->end[w->n] = list + n;
	w->n += n > 0;
}

/* Next candidate; false: there is none */
bool index_next(struct index_walk *w, struct candidate *c);

/* ---- rules_match.c: does one rule match one packet? ---- */

#define SCRATCH_MAX	65600u	/* longest IPv6 packet: 40 + 65535 */

static inline void sight_init(struct sight *s, struct frame *f)
{
	*s = (struct sight){ .f = f, .data = frame_data(f),
			     .port = { f->pkt.port[0], f->pkt.port[1] } };
}

/* The same packet the other way round, addresses and ports swapped; false: it has no ports */
bool sight_turn(struct matcher *m, const struct sight *s, struct sight *turned);

/* 1 it matches, 0 it does not, -1 it cannot be judged.  @certain: "where" is known to hold */
int rule_matches(struct matcher *m, struct rule *rule, struct sight *s, bool certain);

/* Does a rule look behind the IP header? */
bool rule_looks(const struct rule *rule);

/* ---- rules_memory.c: verdicts of flows and fragments ---- */

enum verdict_by { BY_NOBODY, BY_RULE, BY_DEFAULT };

/**
 * struct verdict - What was decided about a packet
 * @mask:	Edits, or "count flow" rules, that matched
 * @rule:	gwfilter: index of the rule that decided, with BY_RULE
 * @reason:	REASON_NONE, or why the matcher itself dropped it, with BY_NOBODY
 * @by:		Who decided
 * @swapped:	Flows: the opening packet went from b to a
 */
struct verdict {
	uint64_t mask;
	uint32_t rule;
	uint16_t reason;
	uint8_t by;
	uint8_t swapped;
};

/**
 * struct datagram - What is known of a fragmented packet
 * @first_end:	Bytes that its first fragment covers
 * @min_later:	Lowest offset of a later fragment that came before the first one
 * @known:	The first fragment was judged: @verdict holds
 * @evil:	It hides something: all of it is dropped
 */
struct datagram {
	struct verdict verdict;
	uint32_t first_end;
	uint32_t min_later;
	bool known, evil;
};

/**
 * struct flow_place - Where the verdict about a packet's flow is kept
 * @swapped:	The packet goes from b to a
 * @opened:	So did the packet that opened the flow
 * @against:	It is a SYN against the direction in which a flow was opened
 * @decided:	With @against: a decision is kept for that flow
 * @quoted:	It is an ICMP error; what was recalled is of the flow that it quotes
 */
struct flow_place {
	struct flow_key key;
	bool swapped, opened, tcp, against, decided, quoted;
};

/* The packet's flow, or the one that an ICMP error quotes; NULL: judge it by the rules.
 * @at is written always */
struct verdict *flow_recall(struct matcher *m, struct sight *s, struct flow_place *at);
void flow_keep(struct matcher *m, const struct flow_place *at, uint64_t now_ns,
	       const struct verdict *v);
/* Does TCP begin in mid-stream with this packet? */
bool flow_midstream(const struct sight *s);
/* Entry of a fragment's datagram, made if there is none */
struct datagram *datagram_of(struct matcher *m, struct sight *s);
/* Does the fragment hide something from the rules?  Updates the entry */
bool datagram_evil(struct datagram *d, const struct sight *s);

#endif /* GW_RULES_INT_H */
