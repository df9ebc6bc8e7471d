/* SPDX-License-Identifier: MIT */
/*
 * rules_table.c - Tables of prefixes: where the addresses inside begin and end
 *
 * A test asks whether an address is in any prefix of a table, so prefixes that lie
 * within others add nothing: all of them become disjoint ranges.  Their edges, sorted,
 * lead into the table and out of it in turn: behind an odd number of them is inside.
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

static int cmp_range(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	return (x->lo > y->lo) - (x->lo < y->lo);
}

/* Prefixes of one version as ranges, sorted, with a gap behind each */
static struct range *disjoint(const struct rules_table *t, uint8_t version, size_t *n)
{
	struct range *r = rules_alloc((t->n + 1) * sizeof(*r));
	size_t all = 0, kept = 0;

	for (size_t i = 0; i < t->n; i++) {
		const struct prefix *p = &t->prefix[i];
		unsigned width = version == 4 ? 32 : 128;
		unsigned __int128 ones = ~(unsigned __int128)0 >> (128 - width);
		unsigned __int128 lo = version == 4 ? be32(p->addr) : load128(p->addr);

		if (p->version == version)
			r[all++] = (struct range){ lo, p->bits < width ? lo | ones >> p->bits : lo };
	}
	qsort(r, all, sizeof(*r), cmp_range);
	for (size_t i = 0; i < all; i++) {
		if (kept && (r[i].lo <= r[kept - 1].hi || r[i].lo == r[kept - 1].hi + 1))
			r[kept - 1].hi = MAX(r[kept - 1].hi, r[i].hi);
		else
			r[kept++] = r[i];
	}
	*n = kept;
	return r;
}

static void build4(struct rules_table *t)
{
	size_t n;
	struct range *r = disjoint(t, 4, &n);
	uint64_t *edge = rules_alloc(2 * (n + 1) * sizeof(*edge));

	for (size_t i = 0; i < n; i++) {
		edge[2 * i] = (uint64_t)r[i].lo;
		edge[2 * i + 1] = (uint64_t)r[i].hi + 1;
	}
	ladder_make(&t->v4, edge, 2 * n);
	free(r);
}

/* The last edge may be one behind the last address, which no number holds: none is there */
static void build6(struct rules_table *t)
{
	uint64_t *high;
	size_t n, edges = 0;
	struct range *r = disjoint(t, 6, &n);

	t->edge6 = rules_alloc(2 * (n + 1) * sizeof(*t->edge6));
	high = rules_alloc(2 * (n + 1) * sizeof(*high));
	for (size_t i = 0; i < n; i++) {
		t->edge6[edges++] = r[i].lo;
		if (r[i].hi + 1)
			t->edge6[edges++] = r[i].hi + 1;
	}
	for (size_t i = 0; i < edges; i++)
		high[i] = (uint64_t)(t->edge6[i] >> 64);
	ladder_make(&t->v6, high, edges);
	t->from6 = rules_alloc((t->v6.n + 1) * sizeof(*t->from6));
	for (size_t i = 0, rung = 0; i < edges; i++)
		if (rung < t->v6.n && t->edge6[i] >> 64 == t->v6.rung[rung])
			t->from6[rung++] = (uint32_t)i;
	t->from6[t->v6.n] = (uint32_t)edges;
	free(r);
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
	ladder_free(&t->v4);
	ladder_free(&t->v6);
	free(t->edge6);
	free(t->from6);
	free(t);
}

/* Edges at or below an IPv6 address: by its upper half, then by all of it */
static size_t edges6(const struct rules_table *t, const uint8_t *addr)
{
	unsigned __int128 a = load128(addr);
	size_t rung = ladder_find(&t->v6, (uint64_t)(a >> 64)), lo, hi;

	if (!rung || t->v6.rung[rung - 1] != (uint64_t)(a >> 64))
		return t->from6[rung];
	lo = t->from6[rung - 1];
	hi = t->from6[rung];
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (t->edge6[mid] <= a)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

bool rules_table_has(const struct rules_table *t, int version, const uint8_t *addr)
{
	return (version == 4 ? ladder_find(&t->v4, be32(addr)) : edges6(t, addr)) & 1;
}
