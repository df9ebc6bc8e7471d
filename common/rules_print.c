/* SPDX-License-Identifier: MIT */
/*
 * rules_print.c - Rules as text that parses again to the same rules
 */
#include <inttypes.h>

#include "rules_int.h"

static const char *const action_names[] = {
	[RULE_PASS] = "pass", [RULE_DROP] = "drop", [RULE_REJECT] = "reject",
	[RULE_COUNT] = "count", [RULE_REPLACE] = "replace", [RULE_SET_TTL] = "set ttl",
	[RULE_SET_DSCP] = "set dscp",
};

void print_string(const char *s, size_t len, FILE *out)
{
	fputc('"', out);
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];

		switch (c) {
		case '\n': fputs("\\n", out); break;
		case '\r': fputs("\\r", out); break;
		case '\t': fputs("\\t", out); break;
		case '\0': fputs("\\0", out); break;
		case '\\': fputs("\\\\", out); break;
		case '"': fputs("\\\"", out); break;
		default:
			if (c < 0x20 || c > 0x7e)
				fprintf(out, "\\x%02x", c);
			else
				fputc(c, out);
		}
	}
	fputc('"', out);
}

void print_regex(const char *s, size_t len, uint32_t options, FILE *out)
{
	fputc('/', out);
	fwrite(s, 1, len, out);
	fprintf(out, "/%s%s%s", options & PCRE2_CASELESS ? "i" : "",
		options & PCRE2_DOTALL ? "s" : "", options & PCRE2_MULTILINE ? "m" : "");
}

static void print_pattern(const struct rule_pattern *p, FILE *out)
{
	if (!p->re) {
		print_string(p->text, p->len, out);
		return;
	}
	print_regex(p->text, p->len, p->flags, out);
}

static void print_test(const struct rule_test *t, FILE *out)
{
	if (t->negate)
		fputs(" not", out);
	switch (t->kind) {
	case TEST_ENDPOINT:
		fprintf(out, " endpoint vpce-0%016" PRIx64, t->endpoint);
		break;
	case TEST_SRC:
		fprintf(out, " src <%s>", t->table_name);
		break;
	case TEST_DST:
		fprintf(out, " dst <%s>", t->table_name);
		break;
	case TEST_HOST:
		fprintf(out, " host <%s>", t->table_name);
		break;
	case TEST_FRAGMENT:
		fputs(" fragment", out);
		break;
	case TEST_PAYLOAD:
		fputs(" payload ", out);
		print_pattern(&t->payload, out);
		break;
	}
}

static void print_rate(const struct rule_rate *rate, FILE *out)
{
	static const char *const by[] = {
		[BY_ALL] = "", [BY_SRC] = " by src", [BY_DST] = " by dst",
		[BY_ENDPOINT] = " by endpoint", [BY_FLOW] = " by flow",
	};

	fprintf(out, " rate %" PRIu64 "/%c", rate->n, rate->unit_ns == 1000000000u ? 's' : 'm');
	if (rate->burst_given)
		fprintf(out, " burst %" PRIu64, rate->burst);
	fputs(by[rate->by], out);
}

void rule_print(const struct rule *rule, bool with_name, FILE *out)
{
	fputs(action_names[rule->action], out);
	if (rule->both)
		fputs(" both", out);
	if (rule->action == RULE_REPLACE) {
		fputc(' ', out);
		print_pattern(&rule->what, out);
		fputc(' ', out);
		print_string(rule->with, rule->with_len, out);
	} else if (rule->action == RULE_SET_TTL || rule->action == RULE_SET_DSCP) {
		fprintf(out, " %u", rule->set);
	}
	fputs(rule->flow ? " flow" : "", out);
	fputs(rule->log ? " log" : "", out);
	if (with_name && rule->named)
		fprintf(out, " name \"%s\"", rule->label);
	for (unsigned i = 0; i < rule->ntests; i++)
		print_test(&rule->test[i], out);
	if (rule->every)
		fprintf(out, " every %" PRIu64, rule->every);
	if (rule->rate.n)
		print_rate(&rule->rate, out);
	if (rule->where)
		fprintf(out, " where %s", rule->where);
	fputc('\n', out);
}

void rules_print(const struct rules *r, FILE *out)
{
	static const char *const defs[] = { "pass", "drop", "reject" };

	for (unsigned i = 0; i < r->ntables; i++)
		table_print(r->tables[i], out);
	for (unsigned i = 0; i < r->n; i++)
		rule_print(&r->rule[i], true, out);
	if (r->error_given)
		fprintf(out, "on-error %s\n", r->error_drop ? "drop" : "pass");
	if (r->def_given)
		fprintf(out, "default %s\n", defs[r->def]);
}
