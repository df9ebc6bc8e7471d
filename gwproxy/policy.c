/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "policy.h"
#include "rules_lex.h"
#include "wire.h"

#define NAME_MAX_	256
#define FILE_MAX_	(16u << 20)

/**
 * struct name - A name of a rule
 * @text:	Of "*.example.com": "example.com"
 * @rule:	Its number: the lowest decides
 */
struct name {
	char *text;
	bool below;
	uint8_t when;
	unsigned rule;
};

struct policy_rule {
	enum policy_action action;
	enum policy_when when;
	unsigned line;
	bool all;		/* no names */
};

/**
 * struct policy - Rules in order; names sorted, for bsearch
 * @all:	First rule without names for each condition; UINT_MAX: none
 */
struct policy {
	_Atomic unsigned holders;
	char *path;
	struct policy_rule *rule;
	unsigned nrules;
	size_t rule_room;
	struct name *name;
	size_t nnames, name_room;
	unsigned all[WHEN_NUM];
	enum policy_action otherwise;
	unsigned otherwise_line;
};

static const char *const action_name[] = { "none", "intercept", "pass", "block" };
static const char *const when_name[WHEN_NUM] = {
	"", "no-sni", "not-tls", "ech", "client-cert", "unverified",
};
static const char name_set[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-*";

const char *policy_action_name(enum policy_action a)
{
	return action_name[a];
}

static int compare(const void *a, const void *b)
{
	const struct name *x = a, *y = b;

	if (x->when != y->when)
		return x->when < y->when ? -1 : 1;
	if (x->below != y->below)
		return x->below ? 1 : -1;
	return strcmp(x->text, y->text);
}

static int compare_order(const void *a, const void *b)
{
	const struct name *x = a, *y = b;
	int c = compare(a, b);

	return c ? c : (x->rule > y->rule) - (x->rule < y->rule);
}

static bool is_port(const char *s)
{
	size_t n = strspn(s, "0123456789");
	unsigned long v = strtoul(s, NULL, 10);

	return n && n <= 5 && !s[n] && *s != '0' && v <= 65535;
}

/* Labels of 1 to 63 characters, 253 in all */
static bool is_host(const char *s)
{
	if (strlen(s) > 253)
		return false;
	for (;;) {
		size_t n = strcspn(s, ".");

		if (!n || n > 63 || memchr(s, '*', n) || s[0] == '-' || s[n - 1] == '-')
			return false;
		if (!s[n])
			return true;
		s += n + 1;
	}
}

static bool parse_name(struct policy *p, struct lexer *l, const struct policy_rule *r)
{
	char text[NAME_MAX_];
	size_t at, n = lex_run(l, name_set, text, sizeof(text), &at), len;
	struct name *name;
	bool below;

	if (!n || n >= sizeof(text))
		return lex_error(l, at, n ? "a name has at most 253 characters" :
				 "expected a host name, *.DOMAIN or the end of the line");
	for (char *s = text; *s; s++)
		*s = (char)tolower((unsigned char)*s);
	below = !strncmp(text, "*.", 2);
	len = strlen(text);
	if (len > 1 && text[len - 1] == '.')
		text[len - 1] = '\0';
	if (r->when == WHEN_NOT_TLS && !is_port(text))
		return lex_error(l, at, "'%s': with not-tls there are ports, from 1 to 65535", text);
	if (r->when == WHEN_NO_SNI)
		return lex_error(l, at, "with no-sni there is no name");
	if (!is_host(text + (below ? 2 : 0)))
		return lex_error(l, at, "'%s' is neither a host name nor *.DOMAIN", text);
	p->name = rules_grow(p->name, p->nnames, &p->name_room, sizeof(*p->name));
	name = &p->name[p->nnames++];
	*name = (struct name){ strdup(text + (below ? 2 : 0)), below, (uint8_t)r->when,
			       p->nrules - 1 };
	return true;
}

static bool parse_when(struct lexer *l, enum policy_when *out)
{
	size_t at = l->pos;

	if (!lex_keyword(l, "when"))
		return true;
	for (unsigned w = 1; w < WHEN_NUM; w++) {
		if (lex_keyword(l, when_name[w])) {
			*out = w;
			return true;
		}
	}
	(void)at;
	lex_blank(l);
	return lex_error(l, l->pos, "after \"when\" comes no-sni, not-tls, ech, client-cert "
			 "or unverified");
}

static bool parse_action(struct lexer *l, enum policy_action *out)
{
	for (unsigned a = POLICY_INTERCEPT; a <= POLICY_BLOCK; a++) {
		if (lex_keyword(l, action_name[a])) {
			*out = a;
			return true;
		}
	}
	return lex_error(l, l->pos, "expected intercept, pass, block or default");
}

static bool parse_default(struct policy *p, struct lexer *l)
{
	unsigned line = lex_line(l, l->pos);

	if (p->otherwise_line)
		return lex_error(l, l->pos, "there is a default in line %u already",
				 p->otherwise_line);
	if (!parse_action(l, &p->otherwise))
		return false;
	p->otherwise_line = line;
	return lex_blank(l) < 0 || lex_error(l, l->pos, "a default takes nothing more");
}

static bool parse_line(struct policy *p, struct lexer *l)
{
	struct policy_rule r = { .when = WHEN_ALWAYS }, *kept;
	size_t at;

	if (lex_blank(l) < 0)
		return true;
	at = l->pos;
	if (lex_keyword(l, "default"))
		return parse_default(p, l);
	if (!parse_action(l, &r.action) || !parse_when(l, &r.when))
		return false;
	if (r.when == WHEN_NOT_TLS && r.action == POLICY_INTERCEPT)
		return lex_error(l, at, "what is not TLS can be passed or blocked only");
	r.line = lex_line(l, at);
	p->rule = rules_grow(p->rule, p->nrules, &p->rule_room, sizeof(*p->rule));
	kept = &p->rule[p->nrules++];
	*kept = r;
	kept->all = lex_blank(l) < 0;
	if (kept->all && r.when == WHEN_ALWAYS)
		return lex_error(l, l->pos, "a name is missing; for all others there is \"default\"");
	while (lex_blank(l) >= 0)
		if (!parse_name(p, l, &r))
			return false;
	return true;
}

static void index_rules(struct policy *p)
{
	if (p->nnames)
		qsort(p->name, p->nnames, sizeof(*p->name), compare_order);
	for (unsigned w = 0; w < WHEN_NUM; w++)
		p->all[w] = UINT32_MAX;
	for (unsigned i = p->nrules; i-- > 0; )
		if (p->rule[i].all)
			p->all[p->rule[i].when] = i;
}

struct policy *policy_parse(const char *name, const char *text, size_t len, FILE *err)
{
	struct lexer l = { .name = name, .src = text, .len = len, .err = err };
	struct policy *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->holders = 1;
	p->path = strdup(name);
	p->otherwise = POLICY_INTERCEPT;
	while (l.pos < l.len) {
		parse_line(p, &l);
		lex_next_line(&l);
	}
	index_rules(p);
	if (!l.errors && p->path)
		return p;
	policy_put(p);
	return NULL;
}

struct policy *policy_load(const char *path, FILE *err)
{
	struct policy *p = NULL;
	size_t len = 0;
	char *text;
	FILE *f;

	if (!path)
		return policy_parse("default", "", 0, err);
	f = fopen(path, "re");
	text = f ? malloc(FILE_MAX_) : NULL;
	if (text)
		len = fread(text, 1, FILE_MAX_, f);
	if (text && len < FILE_MAX_ && !ferror(f))
		p = policy_parse(path, text, len, err);
	else if (err)
		fprintf(err, "%s: %s\n", path, len == FILE_MAX_ ? "too large" : strerror(errno));
	free(text);
	if (f)
		fclose(f);
	return p;
}

void policy_get(struct policy *p)
{
	atomic_fetch_add(&p->holders, 1);
}

void policy_put(struct policy *p)
{
	if (!p || atomic_fetch_sub(&p->holders, 1) != 1)
		return;
	for (size_t i = 0; i < p->nnames; i++)
		free(p->name[i].text);
	free(p->name);
	free(p->rule);
	free(p->path);
	free(p);
}

/* First of equal names: sorted, the lowest rule comes first */
static unsigned find(const struct policy *p, enum policy_when when, const char *text, bool below)
{
	const struct name key = { .text = (char *)(uintptr_t)text, .below = below,
				  .when = (uint8_t)when };
	size_t lo = 0, hi = p->nnames;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (compare(&p->name[mid], &key) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < p->nnames && !compare(&p->name[lo], &key) ? p->name[lo].rule : UINT32_MAX;
}

enum policy_action policy_ask(const struct policy *p, enum policy_when when, const char *name,
			      char where[POLICY_WHERE])
{
	unsigned best = MIN(p->all[when], find(p, when, name, false));

	for (const char *dot = strchr(name, '.'); dot; dot = strchr(dot + 1, '.'))
		best = MIN(best, find(p, when, dot + 1, true));
	if (best != UINT32_MAX) {
		snprintf(where, POLICY_WHERE, "%.48s:%u", p->path, p->rule[best].line);
		return p->rule[best].action;
	}
	snprintf(where, POLICY_WHERE, "default");
	return when == WHEN_ALWAYS ? p->otherwise : POLICY_NONE;
}

bool policy_has_intercept(const struct policy *p)
{
	for (unsigned i = 0; i < p->nrules; i++)
		if (p->rule[i].action == POLICY_INTERCEPT)
			return true;
	return p->otherwise_line && p->otherwise == POLICY_INTERCEPT;
}

void policy_print(const struct policy *p, FILE *out)
{
	for (unsigned i = 0; i < p->nrules; i++) {
		const struct policy_rule *r = &p->rule[i];

		fputs(action_name[r->action], out);
		if (r->when)
			fprintf(out, " when %s", when_name[r->when]);
		for (size_t n = 0; n < p->nnames; n++)
			if (p->name[n].rule == i)
				fprintf(out, " %s%s", p->name[n].below ? "*." : "", p->name[n].text);
		fputc('\n', out);
	}
	fprintf(out, "default %s\n", action_name[p->otherwise]);
}
