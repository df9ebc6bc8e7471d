/* SPDX-License-Identifier: MIT */
/*
 * rules_parse.c - One line of rules: default, on-error, table or rule
 */
#include <stdlib.h>
#include <string.h>

#include "rules_int.h"

static const struct {
	const char *word;
	enum rule_action action;
	enum rules_kind kind;
} actions[] = {
	{ "pass", RULE_PASS, RULES_FILTER },
	{ "drop", RULE_DROP, RULES_FILTER },
	{ "reject", RULE_REJECT, RULES_FILTER },
	{ "count", RULE_COUNT, RULES_FILTER },
	{ "replace", RULE_REPLACE, RULES_MANGLE },
	{ "set", RULE_SET_TTL, RULES_MANGLE },
};

static const char *const programs[] = { [RULES_FILTER] = "gwfilter", [RULES_MANGLE] = "gwmangle" };

static bool compile_regex(struct rule_pattern *p, struct lexer *l, size_t at)
{
	PCRE2_UCHAR text[120];
	PCRE2_SIZE off;
	size_t size = 0;
	int err;

	p->re = pcre2_compile((PCRE2_SPTR)p->text, p->len, p->flags | PCRE2_NEVER_UTF |
			      PCRE2_NEVER_UCP, &err, &off, NULL);
	if (!p->re) {
		pcre2_get_error_message(err, text, sizeof(text));
		return lex_error(l, at + 1 + off, "regular expression: %s", (char *)text);
	}
	/* Without JIT on this machine the interpreter does the same, slower.  It also minds
	 * what "(*" may set for a whole pattern. */
	if (!pcre2_jit_compile(p->re, PCRE2_JIT_COMPLETE))
		pcre2_pattern_info(p->re, PCRE2_INFO_JITSIZE, &size);
	p->jit = size && strncmp(p->text, "(*", 2);
	return true;
}

static bool regex_flags(struct rule_pattern *p, struct lexer *l)
{
	int c;

	while ((c = lex_peek(l)) > 0 && strchr(lex_name_set, c)) {
		uint32_t flag = c == 'i' ? PCRE2_CASELESS : c == 's' ? PCRE2_DOTALL :
				c == 'm' ? PCRE2_MULTILINE : 0;

		if (!flag || p->flags & flag)
			return lex_error(l, l->pos,
					 "flags behind a regular expression are i, s, m, "
					 "each once");
		p->flags |= flag;
		l->pos++;
	}
	return true;
}

static bool parse_pattern(struct rule_pattern *p, struct lexer *l)
{
	int c = lex_blank(l);
	size_t at = l->pos;

	if (c != '"' && c != '/')
		return lex_error(l, at, "expected a \"string\" or a /regular expression/");
	if (c == '"') {
		if (!lex_string(l, &p->text, &p->len))
			return false;
		return p->len || lex_error(l, at, "an empty string is found everywhere");
	}
	if (!lex_regex(l, &p->text, &p->len) || !regex_flags(p, l))
		return false;
	if (!p->len)
		return lex_error(l, at, "an empty regular expression is found everywhere");
	return compile_regex(p, l, at);
}

static void add_part(struct rule *r, int group, size_t off, size_t len)
{
	if (group < 0 && !len)
		return;
	if (group < 0 && r->nparts) {
		struct rule_part *last = &r->part[r->nparts - 1];

		if (last->group < 0 && last->off + last->len == off) {
			last->len += (uint32_t)len;
			return;
		}
	}
	r->part[r->nparts++] = (struct rule_part){ group, (uint32_t)off, (uint32_t)len };
}

/* "$1", "${1}" at @i: its group and length; false if it is none */
static bool group_ref(const struct rule *r, size_t i, int *group, size_t *len)
{
	bool brace = i + 1 < r->with_len && r->with[i + 1] == '{';
	size_t at = i + 1 + brace, n = 0;

	*group = 0;
	while (at + n < r->with_len && n < 5 && r->with[at + n] >= '0' && r->with[at + n] <= '9')
		*group = *group * 10 + r->with[at + n++] - '0';
	if (!n || (brace && (at + n >= r->with_len || r->with[at + n] != '}')))
		return false;
	*len = 1 + brace + n + brace;
	return true;
}

static bool split_with(struct rule *r, struct lexer *l, size_t at)
{
	uint32_t groups = 0;
	size_t len = 1;
	int group;

	r->part = rules_alloc((r->with_len + 1) * sizeof(*r->part));
	if (!r->what.re) {
		add_part(r, -1, 0, r->with_len);
		return true;
	}
	pcre2_pattern_info(r->what.re, PCRE2_INFO_CAPTURECOUNT, &groups);
	for (size_t i = 0; i < r->with_len; i += len) {
		len = 1;
		if (r->with[i] != '$') {
			add_part(r, -1, i, 1);
		} else if (i + 1 < r->with_len && r->with[i + 1] == '$') {
			add_part(r, -1, i, 1);
			len = 2;
		} else if (!group_ref(r, i, &group, &len)) {
			return lex_error(l, at, "'$' is written $$; $1 or ${1} is a group");
		} else if ((uint32_t)group > groups) {
			return lex_error(l, at, "there is no group %d: the expression has %u",
					 group, groups);
		} else {
			add_part(r, group, 0, 0);
		}
	}
	return true;
}

static bool parse_replace(struct rule *r, struct lexer *l)
{
	size_t at;

	if (!parse_pattern(&r->what, l))
		return false;
	lex_blank(l);
	at = l->pos;
	return lex_string(l, &r->with, &r->with_len) && split_with(r, l, at);
}

static bool parse_set(struct rule *r, struct lexer *l)
{
	bool ttl = lex_keyword(l, "ttl");
	uint64_t v;

	if (!ttl && !lex_keyword(l, "dscp"))
		return lex_error(l, l->pos, "'set' knows ttl and dscp");
	r->action = ttl ? RULE_SET_TTL : RULE_SET_DSCP;
	if (!lex_number(l, ttl ? "a TTL" : "a DSCP", ttl ? 1 : 0, ttl ? 255 : 63, &v))
		return false;
	r->set = (uint8_t)v;
	return true;
}

static bool parse_opts(struct rules_builder *b, struct rule *r, struct lexer *l)
{
	for (;;) {
		size_t at;
		bool *flag;

		lex_blank(l);
		at = l->pos;
		if (lex_keyword(l, "name")) {
			if (r->named)
				return lex_error(l, at, "a rule has one name");
			r->named = true;
			if (!name_parse(&b->names, l, r->label, r->file, r->line))
				return false;
			continue;
		}
		flag = lex_keyword(l, "log") ? &r->log : lex_keyword(l, "flow") ? &r->flow : NULL;
		if (!flag)
			return true;
		if (*flag)
			return lex_error(l, at, "said twice");
		*flag = true;
	}
}

static bool parse_ref(struct rule_test *t, struct lexer *l)
{
	lex_blank(l);
	t->line = lex_line(l, l->pos);
	t->column = lex_column(l, l->pos);
	return lex_char(l, '<', "a table's <name>") &&
	       lex_name(l, "a table's name", t->table_name) && lex_char(l, '>', "'>'");
}

static struct rule_test *add_test(struct rule *r, bool negate)
{
	struct rule_test *grown = realloc(r->test, (r->ntests + 1) * sizeof(*grown));

	if (!grown)
		die("no memory for rules");
	r->test = grown;
	r->test[r->ntests] = (struct rule_test){ .negate = negate };
	return &r->test[r->ntests++];
}

/* One test; *found is false when what comes next is none */
static bool parse_test(struct rule *r, struct lexer *l, bool *found)
{
	static const char *const words[] = {
		[TEST_ENDPOINT] = "endpoint", [TEST_SRC] = "src", [TEST_DST] = "dst",
		[TEST_HOST] = "host", [TEST_FRAGMENT] = "fragment", [TEST_PAYLOAD] = "payload",
	};
	bool negate = lex_keyword(l, "not");
	struct rule_test *t;

	for (unsigned i = 0; i < ARRAY_SIZE(words); i++) {
		if (!lex_keyword(l, words[i]))
			continue;
		*found = true;
		t = add_test(r, negate);
		t->kind = (enum rule_test_kind)i;
		if (i == TEST_FRAGMENT)
			return true;
		if (i == TEST_ENDPOINT)
			return lex_endpoint(l, &t->endpoint);
		return i == TEST_PAYLOAD ? parse_pattern(&t->payload, l) : parse_ref(t, l);
	}
	*found = false;
	lex_blank(l);
	return !negate || lex_error(l, l->pos, "behind 'not' comes endpoint, src, dst, host, "
				    "fragment or payload");
}

static bool rate_by(struct rule_rate *rate, struct lexer *l)
{
	static const char *const words[] = {
		[BY_SRC] = "src", [BY_DST] = "dst", [BY_ENDPOINT] = "endpoint", [BY_FLOW] = "flow",
	};

	for (unsigned i = BY_SRC; i < ARRAY_SIZE(words); i++) {
		if (lex_keyword(l, words[i])) {
			rate->by = (enum rule_by)i;
			return true;
		}
	}
	return lex_error(l, l->pos, "'by' knows src, dst, endpoint, flow");
}

static bool parse_rate(struct rule_rate *rate, struct lexer *l)
{
	bool second;

	if (!lex_number(l, "a rate", 1, 100000000, &rate->n) || !lex_char(l, '/', "'/s' or '/m'"))
		return false;
	second = lex_keyword(l, "s");
	if (!second && !lex_keyword(l, "m"))
		return lex_error(l, l->pos, "a rate is N/s or N/m");
	rate->unit_ns = second ? 1000000000u : 60000000000u;
	rate->burst = rate->n;
	if (lex_keyword(l, "burst")) {
		rate->burst_given = true;
		if (!lex_number(l, "a burst", 1, 100000000, &rate->burst))
			return false;
	}
	rate->cap = rate->burst * rate->unit_ns;
	return !lex_keyword(l, "by") || rate_by(rate, l);
}

static bool parse_limits(struct rule *r, struct lexer *l, bool *found)
{
	size_t at;

	lex_blank(l);
	at = l->pos;
	*found = true;
	if (lex_keyword(l, "every")) {
		if (r->every)
			return lex_error(l, at, "a rule has one 'every'");
		return lex_number(l, "'every'", 1, UINT32_MAX, &r->every);
	}
	if (lex_keyword(l, "rate")) {
		if (r->rate.n)
			return lex_error(l, at, "a rule has one 'rate'");
		return parse_rate(&r->rate, l);
	}
	*found = false;
	return true;
}

static bool misplaced(struct lexer *l)
{
	static const char *const opts[] = { "log", "name", "flow" };
	size_t at = l->pos;

	for (unsigned i = 0; i < ARRAY_SIZE(opts); i++)
		if (lex_keyword(l, opts[i]))
			return lex_error(l, at, "'%s' stands in front of the tests", opts[i]);
	if (lex_keyword(l, "both"))
		return lex_error(l, at, "'both' stands right behind 'reject'");
	return lex_error(l, l->pos, "this is no test; a filter expression starts with 'where'");
}

static int cmp_test(const void *a, const void *b)
{
	const struct rule_test *x = a, *y = b;

	return (int)x->kind - (int)y->kind;
}

static bool parse_tests(struct rules_builder *b, struct rule *r, struct lexer *l)
{
	size_t *map;
	bool found = true, ok;

	while (found)
		if (!parse_test(r, l, &found) || (!found && !parse_limits(r, l, &found)))
			return false;
	if (r->ntests)
		qsort(r->test, r->ntests, sizeof(*r->test), cmp_test);
	if (lex_blank(l) < 0)
		return true;
	if (!lex_keyword(l, "where"))
		return misplaced(l);
	lex_rest(l, &r->where, &map);
	ok = where_compile(b->pcap, r, l, map);
	free(map);
	return ok;
}

static bool parse_rule(struct rules_builder *b, struct rule *r, struct lexer *l, unsigned which,
		       size_t at)
{
	enum rules_kind kind = actions[which].kind;

	r->action = actions[which].action;
	if (kind != b->r->kind)
		return lex_error(l, at, "'%s' is a rule of %s, this is %s", actions[which].word,
				 programs[kind], programs[b->r->kind]);
	if (b->r->n >= RULES_MAX)
		return lex_error(l, at, "more than %u rules", RULES_MAX);
	if (r->action == RULE_REJECT)
		r->both = lex_keyword(l, "both");
	if (r->action == RULE_REPLACE && !parse_replace(r, l))
		return false;
	if (r->action == RULE_SET_TTL && !parse_set(r, l))
		return false;
	if (!parse_opts(b, r, l))
		return false;
	return parse_tests(b, r, l);
}

static bool parse_default(struct rules *r, struct lexer *l, size_t at)
{
	static const char *const words[] = { "pass", "drop", "reject" };

	if (r->kind != RULES_FILTER)
		return lex_error(l, at, "'default' is a line of gwfilter");
	if (r->def_given)
		return lex_error(l, at, "'default' was given before");
	for (unsigned i = 0; i < ARRAY_SIZE(words); i++) {
		if (lex_keyword(l, words[i])) {
			r->def = (enum rule_action)(RULE_PASS + i);
			r->def_given = true;
			return true;
		}
	}
	return lex_error(l, l->pos, "'default' knows pass, drop, reject");
}

static bool parse_on_error(struct rules *r, struct lexer *l, size_t at)
{
	if (r->error_given)
		return lex_error(l, at, "'on-error' was given before");
	r->error_drop = lex_keyword(l, "drop");
	if (!r->error_drop && !lex_keyword(l, "pass"))
		return lex_error(l, l->pos, "'on-error' knows pass, drop");
	r->error_given = true;
	return true;
}

static bool parse_table(struct rules *r, struct lexer *l, size_t at)
{
	struct rules_table *t = rules_alloc(sizeof(*t));
	struct rules_table **grown;

	t->file = l->name;
	t->line = lex_line(l, at);
	if (!table_parse(t, l)) {
		t->used = true;		/* no second error for who refers to it */
	} else {
		for (unsigned i = 0; i < r->ntables; i++)
			if (!strcmp(r->tables[i]->name, t->name))
				lex_error(l, at, "table <%s> was given in %s:%u", t->name,
					  r->tables[i]->file, r->tables[i]->line);
	}
	grown = realloc(r->tables, (r->ntables + 1) * sizeof(*grown));
	if (!grown)
		die("no memory for rules");
	r->tables = grown;
	r->tables[r->ntables++] = t;
	return true;
}

static bool parse_line(struct rules_builder *b, struct lexer *l)
{
	size_t at = l->pos;
	struct rule *r;

	if (lex_keyword(l, "default"))
		return parse_default(b->r, l, at);
	if (lex_keyword(l, "on-error"))
		return parse_on_error(b->r, l, at);
	if (lex_keyword(l, "table"))
		return parse_table(b->r, l, at);
	for (unsigned i = 0; i < ARRAY_SIZE(actions); i++) {
		if (!lex_keyword(l, actions[i].word))
			continue;
		b->r->rule = rules_grow(b->r->rule, b->r->n, &b->room, sizeof(*r));
		r = &b->r->rule[b->r->n];
		*r = (struct rule){ .kept = -1, .file = l->name, .line = lex_line(l, at) };
		r->index = b->r->n;
		if (!parse_rule(b, r, l, i, at)) {
			b->r->n++;	/* freed with the others */
			return false;
		}
		b->r->n++;
		return true;
	}
	return lex_error(l, at, "a line starts with %s", b->r->kind == RULES_FILTER ?
			 "pass, drop, reject, count, table, default or on-error" :
			 "replace, set, table or on-error");
}

void rules_parse(struct rules_builder *b, struct lexer *l)
{
	if (!lex_is_text(l))
		return;
	do {
		unsigned before = l->errors;

		if (lex_blank(l) < 0)
			continue;
		parse_line(b, l);
		if (l->errors == before && lex_blank(l) >= 0)
			lex_error(l, l->pos, "nothing is expected here");
	} while (lex_next_line(l));
}
