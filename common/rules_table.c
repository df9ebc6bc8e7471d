/* SPDX-License-Identifier: MIT */
/*
 * rules_table.c - Tables of prefixes: sorted ranges without overlaps
 *
 * A test asks whether an address is in any prefix of a table, so prefixes that lie
 * within others add nothing: all of them become disjoint ranges, and a look-up is
 * one binary search, 14 steps for 10,000 prefixes.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "rules_int.h"

static const char prefix_set[] = "0123456789abcdefABCDEF.:/";

static unsigned __int128 load128(const uint8_t *p)
{
	return (unsigned __int128)be64(p) << 64 | be64(p + 8);
}

static bool host_bits(const struct prefix *p)
{
	unsigned n = p->version == 4 ? 4 : 16;

	for (unsigned i = 0; i < n * 8; i++)
		if (i >= p->bits && p->addr[i / 8] & (0x80 >> i % 8))
			return true;
	return false;
}

static bool parse_prefix(struct rules_table *t, struct lexer *l)
{
	struct prefix p = { .version = 4 };
	char text[64], *slash, *end;
	size_t at, n = lex_run(l, prefix_set, text, sizeof(text), &at);
	unsigned long max = 32, bits;

	if (!n || n >= sizeof(text))
		return lex_error(l, at, "expected an address or prefix");
	if ((slash = strchr(text, '/')))
		*slash = '\0';
	if (strchr(text, ':')) {
		p.version = 6;
		max = 128;
	}
	if (inet_pton(p.version == 4 ? AF_INET : AF_INET6, text, p.addr) != 1)
		return lex_error(l, at, "'%s' is no IPv%d address", text, p.version);
	bits = slash ? strtoul(slash + 1, &end, 10) : max;
	if (slash && (slash[1] < '0' || slash[1] > '9' || *end || bits > max))
		return lex_error(l, at, "'/%s' is no length of an IPv%d prefix", slash + 1,
				 p.version);
	p.bits = (uint8_t)bits;
	if (host_bits(&p))
		return lex_error(l, at, "'%s/%lu' has bits set behind the prefix", text, bits);
	t->prefix = rules_grow(t->prefix, t->n, &t->room, sizeof(p));
	t->prefix[t->n++] = p;
	return true;
}

static int cmp4(const void *a, const void *b)
{
	const struct range4 *x = a, *y = b;

	return (x->lo > y->lo) - (x->lo < y->lo);
}

static int cmp6(const void *a, const void *b)
{
	const struct range6 *x = a, *y = b;

	return (x->lo > y->lo) - (x->lo < y->lo);
}

static void build4(struct rules_table *t)
{
	size_t n = 0;

	t->v4 = rules_alloc((t->n + 1) * sizeof(*t->v4));
	for (size_t i = 0; i < t->n; i++) {
		const struct prefix *p = &t->prefix[i];
		uint32_t lo = be32(p->addr);

		if (p->version == 4)
			t->v4[n++] = (struct range4){ lo,
						      lo | (uint32_t)(0xffffffffull >> p->bits) };
	}
	qsort(t->v4, n, sizeof(*t->v4), cmp4);
	for (size_t i = 0; i < n; i++) {
		if (t->n4 && t->v4[i].lo <= t->v4[t->n4 - 1].hi)
			t->v4[t->n4 - 1].hi = MAX(t->v4[t->n4 - 1].hi, t->v4[i].hi);
		else
			t->v4[t->n4++] = t->v4[i];
	}
}

static void build6(struct rules_table *t)
{
	const unsigned __int128 ones = ~(unsigned __int128)0;
	size_t n = 0;

	t->v6 = rules_alloc((t->n + 1) * sizeof(*t->v6));
	for (size_t i = 0; i < t->n; i++) {
		const struct prefix *p = &t->prefix[i];
		unsigned __int128 lo = load128(p->addr);

		if (p->version == 6)
			t->v6[n++] = (struct range6){ lo,
						      p->bits < 128 ? lo | ones >> p->bits : lo };
	}
	qsort(t->v6, n, sizeof(*t->v6), cmp6);
	for (size_t i = 0; i < n; i++) {
		if (t->n6 && t->v6[i].lo <= t->v6[t->n6 - 1].hi)
			t->v6[t->n6 - 1].hi = MAX(t->v6[t->n6 - 1].hi, t->v6[i].hi);
		else
			t->v6[t->n6++] = t->v6[i];
	}
}

static bool parse_file(struct rules_table *t, struct lexer *outer, size_t at)
{
	struct lexer l = { .name = t->path, .err = outer->err };
	char *text = rules_read(t->path, &l.len);

	if (!text)
		return lex_error(outer, at, "cannot read '%s': %s", t->path, strerror(errno));
	l.src = text;
	if (l.len) do {
		if (lex_blank(&l) >= 0 && parse_prefix(t, &l) && lex_blank(&l) >= 0)
			lex_error(&l, l.pos, "one prefix a line");
	} while (lex_next_line(&l));
	free(text);
	outer->errors += l.errors;
	return !l.errors;
}

static bool parse_inline(struct rules_table *t, struct lexer *l)
{
	l->pos++;
	do {
		if (!parse_prefix(t, l))
			return false;
	} while (lex_blank(l) == ',' && l->pos++);
	return lex_char(l, '}', "',' or '}'");
}

bool table_parse(struct rules_table *t, struct lexer *l)
{
	size_t at, len;
	int c;

	if (!lex_char(l, '<', "the table's <name>") || !lex_name(l, "a table's name", t->name) ||
	    !lex_char(l, '>', "'>'"))
		return false;
	c = lex_blank(l);
	at = l->pos;
	if (c == '{') {
		if (!parse_inline(t, l))
			return false;
	} else if (c == '"') {
		if (!lex_string(l, &t->path, &len))
			return false;
		if (!len || strlen(t->path) != len)
			return lex_error(l, at, "this is no file name");
		if (!parse_file(t, l, at))
			return false;
	} else {
		return lex_error(l, at, "expected { prefixes } or \"FILE\"");
	}
	build4(t);
	build6(t);
	return true;
}

void table_print(const struct rules_table *t, FILE *out)
{
	fprintf(out, "table <%s> ", t->name);
	if (t->path) {
		print_string(t->path, strlen(t->path), out);
		fputc('\n', out);
		return;
	}
	for (size_t i = 0; i < t->n; i++) {
		const struct prefix *p = &t->prefix[i];
		char text[INET6_ADDRSTRLEN];

		inet_ntop(p->version == 4 ? AF_INET : AF_INET6, p->addr, text, sizeof(text));
		fprintf(out, "%s %s/%u", i ? "," : "{", text, p->bits);
	}
	fputs(" }\n", out);
}

void table_free(struct rules_table *t)
{
	if (!t)
		return;
	free(t->path);
	free(t->prefix);
	free(t->v4);
	free(t->v6);
	free(t);
}

bool rules_table_has(const struct rules_table *t, int version, const uint8_t *addr)
{
	size_t lo = 0, hi = version == 4 ? t->n4 : t->n6;
	unsigned __int128 a6 = version == 4 ? 0 : load128(addr);
	uint32_t a4 = version == 4 ? be32(addr) : 0;

	/* the last range that starts at or below the address is the only candidate */
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (version == 4 ? t->v4[mid].lo <= a4 : t->v6[mid].lo <= a6)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (!lo)
		return false;
	return version == 4 ? a4 <= t->v4[lo - 1].hi : a6 <= t->v6[lo - 1].hi;
}
