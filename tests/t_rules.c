/* SPDX-License-Identifier: MIT */
/*
 * t_rules.c - Rules from the inside: labels, reload, what is kept, answers
 */
#include <stdio.h>
#include <unistd.h>

#include "reply.h"
#include "rulestest.h"
#include "tap.h"

static void test_labels(void)
{
	struct rules_conf c = conf(RULES_FILTER, "drop where udp\ndrop   where\tudp # again\n"
				   "drop where tcp\npass name \"x\" where udp");
	struct rules *r = rules_load(&c), *again = rules_load(&c);
	char second[RULES_NAME_MAX + 2];

	snprintf(second, sizeof(second), "%s.2", r->rule[0].label);
	OK(!strcmp(r->rule[1].label, second), "the same text twice: %s", r->rule[1].label);
	OK(strncmp(r->rule[0].label, "drop-", 5) == 0 &&
	   strcmp(r->rule[0].label, r->rule[2].label), "labels tell texts apart");
	OK(!strcmp(r->rule[3].label, "x"), "a name is a label");
	OK(r->hash == again->hash && !strcmp(r->rule[2].label, again->rule[2].label), "stable");
	rules_free(r);
	rules_free(again);
}

static void test_parts(void)
{
	struct rules_conf c = conf(RULES_MANGLE, "replace /(a)(b)/ \"x$2${1}y$$z\"\n"
				   "replace \"a\" \"$1\"");
	struct rules *r = rules_load(&c);
	const struct rule_part *p = r->rule[0].part;

	OK(r->rule[0].nparts == 5, "parts: %u", r->rule[0].nparts);
	OK(p[0].group == -1 && p[0].len == 1 && p[1].group == 2 && p[2].group == 1, "groups");
	OK(p[3].len == 2 && r->rule[0].with[p[3].off + 1] == '$', "a dollar sign: y$");
	OK(r->rule[1].nparts == 1 && r->rule[1].part[0].len == 2, "a string has no groups");
	rules_free(r);
}

static enum rules_next decide(void *ctx, struct frame *f, struct rule *r, bool again)
{
	(void)f;
	*(int *)ctx = (int)r->index + (again ? 100 : 0);
	return r->action == RULE_COUNT ? RULES_NEXT : RULES_STOP;
}

/* Index of the rule that decided, 100 more from memory, -1 none */
static int judge(struct matcher *m, struct frame *f)
{
	int got = -1;
	const struct rules_sink sink = { .match = decide, .ctx = &got };

	rules_burst(m, &f, 1, &sink);
	return got;
}

static void test_reload(void)
{
	struct rules_conf c = conf(RULES_FILTER,
				   "drop where icmp\npass flow name \"a\" where udp dst "
				   "port 5\npass flow name \"b\" where udp dst port 6\n");
	struct matcher m;

	matcher_open(&m, &c, rules_load(&c));
	OK(judge(&m, packet(4, 17, 1, 5)) == 1 && judge(&m, packet(4, 17, 1, 5)) == 101, "kept");
	OK(judge(&m, packet(4, 17, 1, 6)) == 2, "another flow");
	m.conf.source[0]
		.text = "pass flow name \"b\" where udp dst port 6 or tcp\ncount name \"new\"\n"
			"pass flow name \"a\" where udp dst port 5\n";
	OK(matcher_reload(&m), "reload");
	OK(m.rules->rule[2].packets == 2 && m.rules->rule[0].packets == 1,
	   "counters go on by name");
	OK(judge(&m, packet(4, 17, 1, 5)) == 102, "a decision follows its rule");
	OK(judge(&m, packet(4, 17, 1, 6)) == 0, "that of a changed rule is made anew");
	m.conf.err = NULL;
	m.conf.source[0].text = "pass flow\nnonsense";
	OK(!matcher_reload(&m) && judge(&m, packet(4, 17, 1, 5)) == 102, "errors change nothing");
	m.conf.source[0].text = "table <t> { 10.0.0.0/8 }\npass flow src <t>";
	OK(matcher_reload(&m) && judge(&m, packet(4, 17, 1, 5)) == 0 &&
	   matcher_reload(&m) && judge(&m, packet(4, 17, 1, 5)) == 100, "a rule with a table");
	m.conf.source[0].text = "table <t> { 11.0.0.0/8 }\npass flow src <t>";
	OK(matcher_reload(&m) && judge(&m, packet(4, 17, 1, 5)) == -1,
	   "what it decided ends when its table is another");
	matcher_close(&m);
}

static void test_mangle_flow(void)
{
	struct rules_conf c = conf(RULES_MANGLE, "set ttl 9 flow where udp dst port 5");
	struct matcher m;

	matcher_open(&m, &c, rules_load(&c));
	OK(judge(&m, packet(4, 17, 1, 6)) == -1, "an edit that does not match");
	OK(judge(&m, packet(4, 17, 1, 5)) == 0, "one that does");
	OK(judge(&m, packet(4, 17, 1, 5)) == 100, "is remembered");
	m.conf.source[0].text = "set dscp 1 flow where udp dst port 7";
	OK(matcher_reload(&m) && judge(&m, packet(4, 17, 1, 5)) == -1, "until it is gone");
	matcher_close(&m);
}

/* The same packet's answer */
static struct frame *answer(uint8_t proto, uint16_t sport, uint16_t dport)
{
	struct frame *f = packet(4, proto, dport, sport);

	memcpy(frame_data(f) + 12, (uint8_t[]){ 10, 0, 0, 2, 10, 0, 0, 1 }, 8);
	return f;
}

static void test_count_flow(void)
{
	struct rules_conf c = conf(RULES_FILTER,
				   "count flow name \"c\" where udp dst port 5\n"
				   "drop where udp src port 5 and udp[6] = 1\n"
				   "drop flow name \"d\" where udp src port 5 and udp[6] = 2\n"
				   "count flow name \"late\" where udp dst port 5");
	struct matcher m;
	const struct rule *r;
	struct frame *f;

	matcher_open(&m, &c, rules_load(&c));
	r = m.rules->rule;
	OK(judge(&m, answer(17, 1, 5)) == -1, "what nobody opened is not counted");
	OK(judge(&m, packet(4, 17, 1, 5)) == 3 && r[0].packets == 1, "a flow's first packet");
	OK(judge(&m, answer(17, 1, 5)) == 103 && r[0].packets == 2 && r[0].bytes == 168,
	   "its answer is counted from memory");
	for (int i = 0; i < 2; i++) {
		f = answer(17, 1, 5);
		frame_data(f)[26] = 1;
		OK(judge(&m, f) == 1, "what another rule decides is not kept");
	}
	OK(r[0].packets == 4 && r[3].packets == 2, "only what reaches a rule is counted");
	f = answer(17, 1, 5);
	frame_data(f)[26] = 2;
	OK(judge(&m, f) == 2 && judge(&m, packet(4, 17, 1, 5)) == 102, "but if it says 'flow'");
	OK(r[0].packets == 6 && r[3].packets == 2, "then only rules before it go on counting");
	m.conf.source[0].text = "count name \"new\" where tcp\n"
				"count flow name \"c\" where udp dst port 5\n"
				"drop flow name \"d\" where udp src port 6\n";
	OK(matcher_reload(&m) && judge(&m, answer(17, 1, 5)) == 101,
	   "reload: a mark outlives the decision that is gone");
	m.conf.source[0].text = "count flow name \"c\" where udp dst port 5 or tcp\n";
	OK(matcher_reload(&m) && judge(&m, answer(17, 1, 5)) == -1 && !flow_count(m.flows),
	   "but not its own rule");
	matcher_close(&m);
}

/* An ICMP error about UDP 1 > 5: 28 bytes of it are quoted */
static struct frame *icmp_error(void)
{
	struct frame *f;
	uint8_t quote[28];

	memcpy(quote, frame_data(packet(4, 17, 1, 5)), sizeof(quote));
	f = answer(IPPROTO_ICMP, 0, 3 << 8);
	memcpy(frame_data(f) + 28, quote, sizeof(quote));
	return f;
}

static void test_count_flow_borders(void)
{
	struct rules_conf c = conf(RULES_FILTER,
				   "count flow name \"u\" where udp\n"
				   "count flow name \"i\" where icmp[icmptype] = 3\n"
				   "pass flow where tcp dst port 5\n"
				   "count flow name \"t\" where tcp src port 5 or tcp dst port 7");
	struct matcher m;
	const struct rule *r;
	struct frame *f;

	matcher_open(&m, &c, rules_load(&c));
	r = m.rules->rule;
	judge(&m, packet(4, 17, 1, 5));
	OK(judge(&m, icmp_error()) == 1 && r[0].packets == 2, "an ICMP error: in both flows");
	OK(judge(&m, answer(IPPROTO_ICMP, 0, 13 << 8)) == 101 && r[0].packets == 2,
	   "its own flow has its own marks only");
	judge(&m, packet(4, IPPROTO_TCP, 1, 5));
	f = answer(IPPROTO_TCP, 1, 5);
	frame_data(f)[33] = 2;
	OK(judge(&m, f) == 3 && judge(&m, answer(IPPROTO_TCP, 1, 5)) == 102,
	   "a count does not end the decision that a SYN is against");
	matcher_close(&m);
	c.source[0].text = "pass flow where tcp dst port 5\ncount flow where tcp";
	c.midstream = POLICY_DROP;
	matcher_open(&m, &c, rules_load(&c));
	OK(judge(&m, packet(4, IPPROTO_TCP, 1, 5)) == -1 && !flow_count(m.flows),
	   "what --midstream drops leaves nothing");
	c.source[0].text = "count flow where tcp\npass flow where tcp dst port 5";
	matcher_close(&m);
	matcher_open(&m, &c, rules_load(&c));
	OK(judge(&m, packet(4, IPPROTO_TCP, 1, 5)) == 0 &&
	   judge(&m, packet(4, IPPROTO_TCP, 1, 5)) == 100 && pool[0]->verdict,
	   "or the mark of a count before it, not a decision");
	matcher_close(&m);
	c.source[0].text = "count flow where udp\npass where udp";
	matcher_open(&m, &c, rules_load(&c));
	OK(judge(&m, packet(4, 17, 1, 5)) == 1 && judge(&m, packet(4, 17, 1, 5)) == 1,
	   "nor is that of a rule without 'flow' kept with it");
	matcher_close(&m);
	c.source[0].text = "count flow where tcp dst port 5\ncount flow where tcp src port 5";
	matcher_open(&m, &c, rules_load(&c));
	OK(judge(&m, packet(4, IPPROTO_TCP, 1, 5)) == 0 &&
	   judge(&m, answer(IPPROTO_TCP, 1, 5)) == 1, "an answer may get a mark as well");
	f = packet(4, IPPROTO_TCP, 1, 5);
	frame_data(f)[33] = 2;
	OK(judge(&m, f) == 101, "who opened the flow stays known");
	matcher_close(&m);
}

static void test_count_flow_limit(void)
{
	struct rules_conf c = RULES_CONF_INIT(RULES_FILTER);
	struct rules *r;

	for (unsigned i = 0; i < RULES_KEPT_MAX; i++)
		c.source[c.nsources++].text = "count flow where udp";
	c.source[c.nsources++].text = "count where udp\npass flow where udp";
	r = rules_load(&c);
	OK(r && r->nkept == RULES_KEPT_MAX, "as many 'count flow' as there are bits");
	rules_free(r);
	c.source[c.nsources++].text = "count flow where tcp";
	r = rules_load(&c);
	OK(!r, "one more is an error");
	rules_free(r);
}

static void test_reply(void)
{
	struct frame *f = packet(4, IPPROTO_TCP, 1000, 23);
	uint8_t *tcp = frame_data(f) + 20;

	put32(tcp + 4, 500);
	put32(tcp + 8, 900);
	tcp[13] = 0x18;
	OK(reply_reject(f, true) && f->marks == FRAME_RST_BOTH, "both ends are told");
	OK(f->both_seq == 500 && f->both_ack == 900, "the other one with the numbers it waits for");
	OK(f->len == 40 && be32(frame_data(f) + 24) == 900 && frame_data(f)[33] == 4, "a reset");
	OK(!reply_reject(f, true), "which is not answered");
	f = packet(6, IPPROTO_UDP, 5, 6);
	OK(reply_too_big(f, 1400) && frame_data(f)[40] == 2 && be32(frame_data(f) + 44) == 1400,
	   "packet too big");
	f = packet(4, IPPROTO_UDP, 5, 6);
	OK(reply_too_big(f, 1400) && frame_data(f)[21] == 4 && be16(frame_data(f) + 26) == 1400,
	   "fragmentation needed");
	OK(!reply_too_big(f, 1400), "an error is not answered");
}

int main(void)
{
	pool = frame_pool_new(1, 4096);
	test_labels();
	test_parts();
	test_reload();
	test_mangle_flow();
	test_count_flow();
	test_count_flow_borders();
	test_count_flow_limit();
	test_reply();
	frame_pool_free(pool);
	return tap_done();
}
