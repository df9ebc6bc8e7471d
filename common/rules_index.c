/* SPDX-License-Identifier: MIT */
/*
 * rules_index.c - Which rules can match a packet at all
 *
 * Theory of operation
 *
 * Packets fall into eight classes: IP version by TCP, UDP, ICMP or other.  For each
 * class every rule's filter program is run once, at load time, on a packet of
 * which only those few bits are known that the class fixes: version, protocol, no
 * fragment offset (later fragments never get here).  Where a jump depends on
 * anything else both ways are followed.  A program that cannot return "match" on
 * any way leaves the class.  On the ways that do, equalities that were asked of the
 * ports are remembered: a rule that always asks for one of a few ports is filed
 * under these, all others under "any".  Being unsure always means "any", so the
 * index never loses a match; the program itself has the last word.
 */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "rules_int.h"

#define STEPS_MAX	3000	/* instructions followed per rule and class */
#define KEYS_MAX	64	/* ports of one rule */
#define IS_PORT		0x10000	/* bit of a key: it is a source port */
#define KEY_ANY		0x20000
#define CLASSES		8

enum l4_class { L4_TCP, L4_UDP, L4_ICMP, L4_OTHER };

/* A list of rules under each of some ports, sorted */
struct side {
	uint16_t *port;
	uint32_t *start;	/* n + 1 of them */
	uint32_t *rule;
	size_t n;
};

struct class {
	uint32_t *any;
	size_t nany;
	struct side dst, src;
};

struct rules_index {
	struct class class[CLASSES];
};

enum symbol { SYM_NONE, SYM_IHL, SYM_SPORT, SYM_DPORT, SYM_OTHER_PROTO };

/* A value of which the bits in @known are @v */
struct value {
	uint32_t v, known;
	enum symbol sym;
};

static const struct value unknown;

struct state {
	const struct bpf_insn *pc;
	struct value a, x, mem[BPF_MEMWORDS];
	int32_t sport, dport;		/* -1: not asked for yet */
};

/**
 * struct explore - One rule in one class
 * @key:	Ports a match needs, or one KEY_ANY
 */
struct explore {
	const struct bpf_insn *first, *last;
	int version;
	enum l4_class l4;
	unsigned steps;
	unsigned nkeys;
	uint32_t key[KEYS_MAX];
};

static enum l4_class l4_class(int version, uint8_t proto)
{
	if (proto == IPPROTO_TCP)
		return L4_TCP;
	if (proto == IPPROTO_UDP)
		return L4_UDP;
	return proto == (version == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6) ? L4_ICMP : L4_OTHER;
}

static struct value known_proto(const struct explore *e)
{
	static const uint8_t protos[] = { IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP };

	if (e->l4 == L4_OTHER)
		return (struct value){ 0, 0, SYM_OTHER_PROTO };
	if (e->l4 == L4_ICMP && e->version == 6)
		return (struct value){ IPPROTO_ICMPV6, ~0u, SYM_NONE };
	return (struct value){ protos[e->l4], ~0u, SYM_NONE };
}

static struct value load_abs(const struct explore *e, uint32_t off, unsigned size)
{
	bool v4 = e->version == 4, ports = e->l4 == L4_TCP || e->l4 == L4_UDP;

	if (off == 0 && size == 1)
		return (struct value){ v4 ? 0x40 : 0x60, ~0x0fu, SYM_NONE };
	if (off == (v4 ? 9 : 6) && size == 1)
		return known_proto(e);
	if (v4 && off == 6 && size == 2)
		return (struct value){ 0, ~0xe000u, SYM_NONE };
	if (!v4 && ports && size == 2 && (off == 40 || off == 42))
		return (struct value){ 0, 0, off == 40 ? SYM_SPORT : SYM_DPORT };
	return unknown;
}

static struct value load_ind(const struct explore *e, struct value x, uint32_t off, unsigned size)
{
	bool ports = e->l4 == L4_TCP || e->l4 == L4_UDP;

	if (x.sym == SYM_IHL && e->version == 4 && ports && size == 2 && (off == 0 || off == 2))
		return (struct value){ 0, 0, off ? SYM_DPORT : SYM_SPORT };
	return unknown;
}

static struct value do_load(const struct explore *e, const struct state *s)
{
	const struct bpf_insn *i = s->pc;
	unsigned size = BPF_SIZE(i->code) == BPF_B ? 1 : BPF_SIZE(i->code) == BPF_H ? 2 : 4;

	switch (BPF_MODE(i->code)) {
	case BPF_IMM:
		return (struct value){ i->k, ~0u, SYM_NONE };
	case BPF_MEM:
		return i->k < BPF_MEMWORDS ? s->mem[i->k] : unknown;
	case BPF_ABS:
		return load_abs(e, i->k, size);
	case BPF_IND:
		return load_ind(e, s->x, i->k, size);
	case BPF_MSH:
		return (struct value){ 0, 0, i->k ? SYM_NONE : SYM_IHL };
	default:
		return unknown;
	}
}

static struct value do_alu(const struct bpf_insn *i, struct value a)
{
	if (BPF_OP(i->code) != BPF_AND || BPF_SRC(i->code) != BPF_K)
		return unknown;
	/* a bit is known if it was, or if the mask clears it */
	return (struct value){ a.v & i->k, a.known | ~i->k, SYM_NONE };
}

static bool never_other(const struct explore *e, uint32_t k)
{
	return k > 255 || l4_class(e->version, (uint8_t)k) != L4_OTHER;
}

/* May the jump be taken, may it not?  Bit 0: the test can be true, bit 1: false */
static unsigned outcomes(const struct explore *e, const struct state *s, struct value a)
{
	uint32_t k = s->pc->k;

	if (BPF_SRC(s->pc->code) == BPF_X)
		return 3;
	if (a.sym == SYM_SPORT && s->sport >= 0)
		a = (struct value){ (uint32_t)s->sport, ~0u, SYM_NONE };
	if (a.sym == SYM_DPORT && s->dport >= 0)
		a = (struct value){ (uint32_t)s->dport, ~0u, SYM_NONE };
	switch (BPF_OP(s->pc->code)) {
	case BPF_JEQ:
		if (((a.v ^ k) & a.known) || (a.sym == SYM_OTHER_PROTO && never_other(e, k)))
			return 2;
		return a.known == ~0u ? 1 : 3;
	case BPF_JSET:
		if (a.v & a.known & k)
			return 1;
		return k & ~a.known ? 3 : 2;
	case BPF_JGT:
		return a.known == ~0u ? (a.v > k ? 1 : 2) : 3;
	case BPF_JGE:
		return a.known == ~0u ? (a.v >= k ? 1 : 2) : 3;
	default:
		return 3;
	}
}

static void found(struct explore *e, const struct state *s)
{
	uint32_t key = s->dport >= 0 ? (uint32_t)s->dport :
		       s->sport >= 0 ? (uint32_t)s->sport | IS_PORT : KEY_ANY;

	for (unsigned i = 0; i < e->nkeys; i++)
		if (e->key[i] == key)
			return;
	if (key == KEY_ANY || e->nkeys == KEYS_MAX) {
		e->nkeys = 0;
		key = KEY_ANY;
	}
	e->key[e->nkeys++] = key;
}

static bool is_any(const struct explore *e)
{
	return e->nkeys == 1 && e->key[0] == KEY_ANY;
}

static void explore(struct explore *e, struct state s);

/* Follows both ways of a jump by itself, or sets @s->pc */
static bool do_jump(struct explore *e, struct state *s)
{
	const struct bpf_insn *i = s->pc;
	struct state yes = *s;
	unsigned out;

	if (BPF_OP(i->code) == BPF_JA) {
		s->pc += 1 + i->k;
		return true;
	}
	out = outcomes(e, s, s->a);
	yes.pc += 1 + i->jt;
	s->pc += 1 + i->jf;
	if (BPF_OP(i->code) == BPF_JEQ && BPF_SRC(i->code) == BPF_K && i->k <= 0xffff) {
		if (s->a.sym == SYM_SPORT)
			yes.sport = (int32_t)i->k;
		if (s->a.sym == SYM_DPORT)
			yes.dport = (int32_t)i->k;
	}
	if (out & 1)
		explore(e, yes);
	return out & 2;
}

static void explore(struct explore *e, struct state s)
{
	while (!is_any(e)) {
		const struct bpf_insn *i = s.pc;

		if (i < e->first || i >= e->last || !e->steps--) {
			e->nkeys = 1;
			e->key[0] = KEY_ANY;
			return;
		}
		switch (BPF_CLASS(i->code)) {
		case BPF_LD:
			s.a = do_load(e, &s);
			break;
		case BPF_LDX:
			s.x = do_load(e, &s);
			break;
		case BPF_ST:
		case BPF_STX:
			if (i->k < BPF_MEMWORDS)
				s.mem[i->k] = BPF_CLASS(i->code) == BPF_ST ? s.a : s.x;
			break;
		case BPF_ALU:
			s.a = do_alu(i, s.a);
			break;
		case BPF_MISC:
			if (BPF_MISCOP(i->code) == BPF_TAX)
				s.x = s.a;
			else
				s.a = s.x;
			break;
		case BPF_JMP:
			if (!do_jump(e, &s))
				return;
			continue;
		case BPF_RET:
			if (BPF_RVAL(i->code) != BPF_K || i->k)
				found(e, &s);
			return;
		}
		s.pc++;
	}
}

static void keys_of(struct explore *e, const struct rule *r, unsigned class)
{
	struct state s = { .sport = -1, .dport = -1 };

	*e = (struct explore){ .version = class < 4 ? 4 : 6, .l4 = (enum l4_class)(class % 4),
			       .steps = STEPS_MAX };
	if (!r->where) {
		e->nkeys = 1;
		e->key[0] = KEY_ANY;
		return;
	}
	e->first = s.pc = r->prog.bf_insns;
	e->last = e->first + r->prog.bf_len;
	explore(e, s);
}

struct entry {
	uint32_t key, rule;
};

static int cmp_entry(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	return (x->rule > y->rule) - (x->rule < y->rule);
}

/* Entries of one side, sorted by port, then rule */
static void fill_side(struct side *s, const struct entry *e, size_t n)
{
	s->port = rules_alloc((n + 1) * sizeof(*s->port));
	s->start = rules_alloc((n + 1) * sizeof(*s->start));
	s->rule = rules_alloc((n + 1) * sizeof(*s->rule));
	for (size_t i = 0; i < n; i++) {
		uint16_t port = (uint16_t)e[i].key;

		if (!s->n || s->port[s->n - 1] != port) {
			s->start[s->n] = (uint32_t)i;
			s->port[s->n++] = port;
		}
		s->rule[i] = e[i].rule;
	}
	s->start[s->n] = (uint32_t)n;
}

static void build_class(struct class *c, const struct rules *r, unsigned class)
{
	struct entry *list = NULL;
	size_t n = 0, room = 0, src = 0, any = 0;
	struct explore e;

	list = rules_grow(list, 0, &room, sizeof(*list));
	for (uint32_t i = 0; i < r->n; i++) {
		keys_of(&e, &r->rule[i], class);
		for (unsigned k = 0; k < e.nkeys; k++) {
			list = rules_grow(list, n, &room, sizeof(*list));
			list[n++] = (struct entry){ e.key[k], i };
		}
	}
	qsort(list, n, sizeof(*list), cmp_entry);
	while (src < n && list[src].key < IS_PORT)
		src++;
	for (any = src; any < n && list[any].key < KEY_ANY;)
		any++;
	fill_side(&c->dst, list, src);
	fill_side(&c->src, list + src, any - src);
	c->nany = n - any;
	c->any = rules_alloc((c->nany + 1) * sizeof(*c->any));
	for (size_t i = any; i < n; i++)
		c->any[i - any] = list[i].rule;
	free(list);
}

struct rules_index *index_build(const struct rules *r)
{
	struct rules_index *ix = rules_alloc(sizeof(*ix));

	for (unsigned i = 0; i < CLASSES; i++)
		build_class(&ix->class[i], r, i);
	return ix;
}

static void free_side(struct side *s)
{
	free(s->port);
	free(s->start);
	free(s->rule);
}

void index_free(struct rules_index *ix)
{
	if (!ix)
		return;
	for (unsigned i = 0; i < CLASSES; i++) {
		free_side(&ix->class[i].dst);
		free_side(&ix->class[i].src);
		free(ix->class[i].any);
	}
	free(ix);
}

static void look_up(const struct side *s, const uint8_t *bytes, struct index_walk *w, int i)
{
	uint16_t port = be16(bytes);
	size_t lo = 0, hi = s->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (s->port[mid] < port)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo < s->n && s->port[lo] == port) {
		w->p[i] = s->rule + s->start[lo];
		w->end[i] = s->rule + s->start[lo + 1];
	}
}

void index_start(const struct rules_index *ix, const struct packet *p, const uint8_t *data,
		 struct index_walk *w)
{
	enum l4_class l4 = l4_class(p->version, p->proto);
	const struct class *c = &ix->class[(p->version == 4 ? 0 : 4) + l4];

	*w = (struct index_walk){ .p = { c->any }, .end = { c->any + c->nany } };
	if (l4 != L4_TCP && l4 != L4_UDP)
		return;
	/* the bytes a filter program would read, also of a header that is cut */
	if (c->src.n && p->end >= p->l4 + 2)
		look_up(&c->src, data + p->l4, w, 1);
	if (c->dst.n && p->end >= p->l4 + 4)
		look_up(&c->dst, data + p->l4 + 2, w, 2);
}
