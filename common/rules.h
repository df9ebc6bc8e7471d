/* SPDX-License-Identifier: MIT */
/*
 * rules.h - The rule language of gwfilter and gwmangle: gwrules(5)
 *
 * Theory of operation
 *
 * rules_load() reads all files and -e lines, reports every error with its place and
 * gives a struct rules: what the lines say, compiled (BPF, PCRE2, prefix tables) and
 * indexed.  It is not changed afterwards but for each rule's counters.
 *
 * A struct matcher runs rules over bursts.  It owns what outlives a reload: the flow
 * table, the fragments' verdicts, the token buckets, scratch memory.  All of it is
 * taken by matcher_open() and matcher_reload(); rules_burst() allocates nothing.
 *
 * For each packet the rules that may match it are found through an index of IP
 * version, protocol and ports, tested in order and handed to the program's
 * sink, which says whether the next rule is to be looked at.
 *
 *	rules_options[], rules_option()		command line
 *	rules_start()				-n: says what they are and exits
 *	matcher_open()
 *	rules_burst() ... matcher_renew() ... matcher_close()
 */
#ifndef GW_RULES_H
#define GW_RULES_H

#include <pcap/pcap.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "frame.h"
#include "log.h"
#include "opt.h"
#include "rules_lex.h"
#include "stats.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define RULES_MAX	STATS_RULES_MAX
#define RULES_SOURCES_MAX 256		/* -f and -e together */
#define RULES_KEPT_MAX	64		/* rules whose match is remembered */

enum rules_kind { RULES_FILTER, RULES_MANGLE };

enum rule_action {
	RULE_PASS, RULE_DROP, RULE_REJECT, RULE_COUNT,		/* gwfilter */
	RULE_REPLACE, RULE_SET_TTL, RULE_SET_DSCP,		/* gwmangle */
};

/**
 * struct rule_pattern - STRING or /PCRE/
 * @text:	The string's bytes, or the regular expression as written; NUL behind
 * @len:	Its length
 * @re:		Compiled, with JIT code where the machine has it; NULL: a string
 * @jit:	pcre2_jit_match() does for it
 * @flags:	PCRE2_CASELESS, PCRE2_DOTALL, PCRE2_MULTILINE
 */
struct rule_pattern {
	char *text;
	size_t len;
	pcre2_code *re;
	bool jit;
	uint32_t flags;
};

/**
 * struct rule_part - Piece of a replacement
 * @group:	Capture group to insert, or -1: the literal bytes
 * @off, @len:	Literal, within the rule's @with
 */
struct rule_part {
	int group;
	uint32_t off;
	uint32_t len;
};

struct rules_table;

enum rule_test_kind { TEST_ENDPOINT, TEST_SRC, TEST_DST, TEST_HOST, TEST_FRAGMENT, TEST_PAYLOAD };

/**
 * struct rule_test - One test of a rule; sorted by @kind, which is their order
 * @table_name:	TEST_SRC, TEST_DST, TEST_HOST; @table is that table
 */
struct rule_test {
	enum rule_test_kind kind;
	bool negate;
	uint64_t endpoint;
	char table_name[RULES_NAME_MAX];
	const struct rules_table *table;
	unsigned line, column;		/* of the table's name */
	struct rule_pattern payload;
};

enum rule_by { BY_ALL, BY_SRC, BY_DST, BY_ENDPOINT, BY_FLOW };

/* What is in a token bucket, units of 1/unit_ns packets; all zero: not used yet */
struct rule_bucket {
	uint64_t tokens;
	uint64_t last_ns;
};

/**
 * struct rule_rate - Token bucket
 * @n:		Packets per @unit_ns; 0: no rate
 * @burst:	Depth of the bucket, packets
 * @cap:	The same in units of 1/@unit_ns packets
 */
struct rule_rate {
	uint64_t n;
	uint64_t unit_ns;
	uint64_t burst;
	uint64_t cap;
	bool burst_given;
	enum rule_by by;
};

/**
 * struct rule - One rule
 * @index:	Its place among the rules, from 0: struct frame's @rule
 * @label:	Its name or, if it has none, ACTION-HASH of its text: stable as long as
 *		the text is
 * @named:	@label was given
 * @what, @with, @part, @nparts:	RULE_REPLACE.  @with as its bytes; @part splits it
 * @set:	RULE_SET_TTL, RULE_SET_DSCP
 * @every:	0: no "every"
 * @where:	Filter expression, white space normalised; NULL: none
 * @prog:	Compiled @where
 * @kept:	gwmangle's edits, "count flow": bit in a remembered mask; -1: none
 * @key:	Number of the rule in keys of token buckets; survives a reload
 * @hash:	Of its text without the name, and of what its tables hold: kept decisions
 *		stand as long as it does
 * @bucket:	Of a rate without "by"
 * @seen:	Packets that reached "every"
 * @packets, @bytes:	Packets it matched
 * @log_site:	Rate limit of its log lines
 */
struct rule {
	enum rule_action action;
	bool both, log, flow, named;
	uint32_t index;
	char label[RULES_NAME_MAX];
	struct rule_pattern what;
	char *with;
	size_t with_len;
	struct rule_part *part;
	unsigned nparts;
	uint8_t set;
	struct rule_test *test;
	unsigned ntests;
	uint64_t every;
	struct rule_rate rate;
	char *where;
	struct bpf_program prog;
	int kept;
	uint32_t key;
	uint64_t hash;
	struct rule_bucket bucket;
	const char *file;
	unsigned line;
	uint64_t seen;
	uint64_t packets;
	uint64_t bytes;
	struct log_site log_site;
};

struct rules_index;

/**
 * struct rules - What all files and -e lines say
 * @def:	RULE_PASS, RULE_DROP or RULE_REJECT
 * @error_drop:	What on-error says or implies: drop packets that a rule cannot judge
 * @hash:	Of the canonical text of everything
 * @looks:	Some rule looks behind the IP header, if only for the ports of a flow
 * @keeper:	Rule of each bit of a remembered mask, in their order
 * @nkept:	How many there are
 */
struct rules {
	enum rules_kind kind;
	enum rule_action def;
	bool def_given, error_given, error_drop, looks, has_flow, has_rate;
	uint64_t hash;
	struct rule *rule;
	unsigned n;
	struct rules_table **tables;
	unsigned ntables;
	struct rules_index *index;
	uint32_t keeper[RULES_KEPT_MAX];
	unsigned nkept;
	char **files;			/* names that @file points to */
	unsigned nfiles;
};

enum rules_policy { POLICY_PASS, POLICY_DROP };

/**
 * struct rules_conf - From the command line
 * @kind:	Set by the program
 * @err:	Where errors and warnings go; NULL: nowhere
 * @check:	-n was given
 */
struct rules_conf {
	enum rules_kind kind;
	FILE *err;
	struct {
		bool is_file;
		const char *text;
		const char *name;	/* in errors, where it is no file; NULL: -e and its number */
	} source[RULES_SOURCES_MAX];
	unsigned nsources;
	bool check;
	enum rules_policy fragments, midstream;
	unsigned flows;
	uint64_t tcp_timeout_ns, timeout_ns;
};

#define RULES_CONF_INIT(k) { .kind = (k), .flows = 100000, \
	.tcp_timeout_ns = 350000000000u, .timeout_ns = 120000000000u }

/* Rows for a program's option table, and their taker: false if @ch is none of them */
enum {
	RULES_OPT_FRAGMENTS = OPT_LONG + 128, RULES_OPT_FLOWS, RULES_OPT_MIDSTREAM,
	RULES_OPT_TCP_TIMEOUT, RULES_OPT_TIMEOUT,
};
#define RULES_OPTIONS \
	{ "file", 'f', "FILE", "read rules from FILE; may be given again" }, \
	{ "rule", 'e', "RULE", "one more rule, behind all files; may be given again" }, \
	{ "check", 'n', NULL, "check the rules, print them and exit" }, \
	{ "fragments", RULES_OPT_FRAGMENTS, "pass|drop", \
	  "later fragments whose first one is unknown (pass)" }, \
	{ "flows", RULES_OPT_FLOWS, "N", "flows kept at most (100000)" }, \
	{ "midstream", RULES_OPT_MIDSTREAM, "pass|drop", \
	  "flows of TCP that appear without a SYN (pass)" }, \
	{ "tcp-timeout", RULES_OPT_TCP_TIMEOUT, "TIME", \
	  "forget idle TCP flows after this (350s)" }, \
	{ "timeout", RULES_OPT_TIMEOUT, "TIME", "forget other idle flows after this (120s)" }

bool rules_option(struct rules_conf *c, int ch, const char *arg) __attribute__((nonnull(1)));

/**
 * rules_load() - Read, check and compile everything
 *
 * Return: the rules, freed by rules_free(); NULL if there was any error: all of them
 * were written to @c->err as FILE:LINE:COL: what, near "..."
 */
struct rules *rules_load(const struct rules_conf *c) __attribute__((nonnull, warn_unused_result));
void rules_free(struct rules *r);	/* NULL is fine */

/**
 * rules_print() - Write rules that parse again to the same
 */
void rules_print(const struct rules *r, FILE *out) __attribute__((nonnull));

/**
 * rules_start() - Rules for a program's start; exits where there are errors
 *
 * With -n good rules are printed to stdout, warnings go to @c->err, and it exits as well.
 */
struct rules *rules_start(const struct rules_conf *c)
	__attribute__((nonnull, returns_nonnull, warn_unused_result));

/**
 * rules_table_has() - Is an address in a table?
 * @version:	4 or 6
 * @addr:	4 or 16 bytes
 */
bool rules_table_has(const struct rules_table *t, int version, const uint8_t *addr)
	__attribute__((nonnull, pure));

enum rules_next {
	RULES_NEXT,		/* look at the next rule */
	RULES_EDITED,		/* the same; the frame's bytes changed: look afresh */
	RULES_STOP,		/* done with this packet */
};

struct matcher;

/**
 * struct rules_sink - What a program does with matches
 * @match:	@r matches @f.  Counters of @r were advanced.  @again: it is applied
 *		because the packet's flow, or its first fragment, matched earlier
 * @end:	No match stopped this packet; NULL: nothing to do
 *
 * A frame that cannot be judged is dropped or left alone by the matcher, as on-error says; one
 * of a link type that cannot be read is always dropped.  gwfilter: @match is called for "count"
 * rules and for the one that decides.
 */
struct rules_sink {
	enum rules_next (*match)(void *ctx, struct frame *f, struct rule *r, bool again);
	void (*end)(void *ctx, struct frame *f);
	void *ctx;
};

/**
 * struct matcher - Rules at work
 * @rules:	In force
 * @errors:	Packets that a rule could not judge
 * @now_ns:	Monotonic clock for log limits; set by the caller before each burst
 * @in_row:	Packets lie one behind the other, also from burst to burst; the caller's to set
 * @md:		PCRE2 match data, large enough for every pattern of @rules
 * @mc:		PCRE2 limits: the time a pattern may take is bounded
 */
struct matcher {
	struct rules *rules;
	struct rules_conf conf;
	uint64_t errors;
	uint64_t now_ns;
	bool in_row;
	pcre2_match_data *md;
	pcre2_match_context *mc;
	/* private */
	pcre2_jit_stack *jit_stack;
	struct flow_table *flows;
	struct flow_table *frags;
	struct flow_table *rates;
	uint8_t *scratch;
	uint8_t *turned;
	uint32_t next_key;
	bool met;
};

/**
 * matcher_open() - Take all memory; errors exit (set-up only)
 * @r:		Becomes the matcher's
 */
void matcher_open(struct matcher *m, const struct rules_conf *c, struct rules *r)
	__attribute__((nonnull));
void matcher_close(struct matcher *m) __attribute__((nonnull));

/**
 * matcher_reload() - Read everything again: all or nothing
 *
 * Counters of rules whose label is unchanged go on; flows whose rule is gone are
 * judged anew.
 *
 * Return: false if there were errors: they were written, the old rules stay
 */
bool matcher_reload(struct matcher *m) __attribute__((nonnull, warn_unused_result));

/**
 * rules_burst() - Run the rules over live frames; those with a verdict are skipped
 */
void rules_burst(struct matcher *m, struct frame **f, int n, const struct rules_sink *sink)
	__attribute__((nonnull));

/**
 * matcher_publish() - Counters and hash of the rules to the stage's page
 * @loaded:	The rules are new: write names, hash and time as well
 */
void matcher_publish(const struct matcher *m, struct stats_page *page, bool loaded)
	__attribute__((nonnull));

/**
 * matcher_renew() - matcher_reload() for a stage: counted and published on its page, logged
 */
void matcher_renew(struct matcher *m, struct stats_page *page) __attribute__((nonnull));

/**
 * rule_log() - Say what a rule did with a packet, at most once a second for each rule
 * @did:	"dropped"
 */
void rule_log(const struct matcher *m, struct rule *r, struct frame *f, const char *did)
	__attribute__((nonnull));

/**
 * pattern_find() - First match of a pattern in @data, from @from on
 * @start, @end:	Written on 1 only
 *
 * For a regular expression @m->md holds the groups afterwards.
 *
 * Return: 1 found, 0 not, -1 the match limit was reached
 */
int pattern_find(struct matcher *m, const struct rule_pattern *p, const uint8_t *data,
		 size_t len, size_t from, size_t *start, size_t *end) __attribute__((nonnull));

#endif /* GW_RULES_H */
