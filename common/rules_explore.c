/* SPDX-License-Identifier: MIT */
/*
 * rules_explore.c - What a filter program can find in packets of one class
 *
 * Theory of operation
 *
 * A program is run at load time on a packet of which only those bits are known that
 * the class fixes: version, protocol, no fragment offset.  Ports and addresses are
 * ranges: everything at first, narrowed by each test that was passed on the way.  Where a jump
 * depends on anything else both ways are followed.  Each way that can end in a match is
 * kept as the ranges it asks for; a packet outside all of them cannot match.
 *
 * The other way round: if no way ends without a match, and nothing is read that a
 * packet with its transport header may not have, every packet of the class with the given
 * ranges matches, and the program need not be run.
 *
 * Being unsure always means "can match" and "need not match".
 */
#include <netinet/in.h>
#include <string.h>

#include "rules_int.h"

enum { SYM_NONE = -1, SYM_IHL = -2 };

/**
 * struct value - Of a register
 * @v, @known:	The bits in @known are those of @v
 * @sym:	It is this field and @mask, SYM_IHL the length of the IPv4 header
 */
struct value {
	uint32_t v, known, mask;
	int sym;
};

/* A span that may be empty */
struct wide {
	uint64_t lo, hi;
};

static const struct value unknown = { .sym = SYM_NONE };

struct state {
	const struct bpf_insn *pc;
	struct value a, x, mem[BPF_MEMWORDS];
	struct way way;
};

/**
 * struct explore - One program in one class
 * @steps:	Instructions that may still be followed
 * @all:	Every way so far ends in a match, for certain
 * @ways:	Where those that can are kept; NULL: @all is what is asked
 */
struct explore {
	const struct bpf_insn *first, *last;
	struct packet_class class;
	unsigned *steps;
	bool all;
	struct ways *ways;
};

uint32_t field_max(enum field field)
{
	return field == FIELD_PROTO ? 0xff : field <= FIELD_DPORT ? 0xffff : UINT32_MAX;
}

static struct value constant(uint32_t v)
{
	return (struct value){ v, ~0u, 0, SYM_NONE };
}

static struct value field_value(unsigned field)
{
	return (struct value){ 0, 0, ~0u, (int)field };
}

/* Bytes that each packet of the class has, if it has its transport header */
static uint32_t sure_len(const struct explore *e, uint32_t ip)
{
	return ip + (e->class.l4 == L4_TCP ? 20 : e->class.l4 == L4_OTHER ? 0 : 8);
}

static struct value proto_value(const struct explore *e)
{
	static const uint8_t protos[] = { IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP };

	if (e->class.l4 == L4_OTHER)
		return field_value(FIELD_PROTO);
	if (e->class.l4 == L4_ICMP && e->class.version == 6)
		return constant(IPPROTO_ICMPV6);
	return constant(protos[e->class.l4]);
}

static struct value load_abs(struct explore *e, uint32_t off, unsigned size)
{
	bool v4 = e->class.version == 4;
	uint32_t src = v4 ? 12 : 8, addrs = v4 ? 8 : 32;

	e->all &= (uint64_t)off + size <= sure_len(e, v4 ? 20 : 40);
	if (off == 0 && size == 1)
		return (struct value){ v4 ? 0x40 : 0x60, ~0x0fu, 0, SYM_NONE };
	if (off == (v4 ? 9 : 6) && size == 1)
		return proto_value(e);
	if (v4 && off == 6 && size == 2)
		return (struct value){ 0, ~0xe000u, 0, SYM_NONE };
	if (size == 4 && off >= src && off < src + addrs && !(off % 4)) {
		unsigned word = (off - src) / 4;

		return field_value(v4 ? FIELD_SRC + word * 4 : FIELD_SRC + word);
	}
	if (!v4 && size == 2 && (off == 40 || off == 42))
		return field_value(off == 40 ? FIELD_SPORT : FIELD_DPORT);
	return unknown;
}

static struct value load_ind(struct explore *e, struct value x, uint32_t off, unsigned size)
{
	if (x.sym != SYM_IHL) {
		e->all = false;
		return unknown;
	}
	e->all &= (uint64_t)off + size <= sure_len(e, 0);
	if (size == 2 && (off == 0 || off == 2))
		return field_value(off ? FIELD_DPORT : FIELD_SPORT);
	return unknown;
}

static struct value do_load(struct explore *e, const struct state *s)
{
	const struct bpf_insn *i = s->pc;
	unsigned size = BPF_SIZE(i->code) == BPF_B ? 1 : BPF_SIZE(i->code) == BPF_H ? 2 : 4;

	switch (BPF_MODE(i->code)) {
	case BPF_IMM:
		return constant(i->k);
	case BPF_MEM:
		return i->k < BPF_MEMWORDS ? s->mem[i->k] : unknown;
	case BPF_ABS:
		return load_abs(e, i->k, size);
	case BPF_IND:
		return load_ind(e, s->x, i->k, size);
	case BPF_MSH:
		e->all &= i->k == 0;
		return (struct value){ 0, 0, 0,
				       i->k || e->class.version != 4 ? SYM_NONE : SYM_IHL };
	default:
		return unknown;
	}
}

static struct value do_alu(struct explore *e, const struct bpf_insn *i, struct value a)
{
	if (BPF_OP(i->code) == BPF_DIV || BPF_OP(i->code) == BPF_MOD)
		e->all &= BPF_SRC(i->code) == BPF_K && i->k;	/* by zero: no match */
	if (BPF_OP(i->code) != BPF_AND || BPF_SRC(i->code) != BPF_K)
		return unknown;
	if (a.sym >= 0 && !(~i->k & (~i->k + 1)))	/* a prefix of a field */
		return (struct value){ 0, 0, a.mask & i->k, a.sym };
	/* a bit is known if it was, or if the mask clears it */
	return (struct value){ a.v & i->k, a.known | ~i->k, 0, SYM_NONE };
}

static bool never_other(const struct explore *e, uint32_t k)
{
	return k > 255 || l4_class(e->class.version, (uint8_t)k) != L4_OTHER;
}

/* May the jump be taken, may it not?  Bit 0: the test can be true, bit 1: false */
static unsigned outcomes(const struct bpf_insn *i, struct value a)
{
	uint32_t k = i->k;

	switch (BPF_OP(i->code)) {
	case BPF_JEQ:
		if ((a.v ^ k) & a.known)
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

/* Values of the field for which a test is true: a range, none if it is empty; false: no range */
static bool true_range(const struct explore *e, const struct bpf_insn *i, struct value a,
		       struct wide *t)
{
	uint64_t max = field_max((enum field)a.sym);

	*t = (struct wide){ i->k, max };
	switch (BPF_OP(i->code)) {
	case BPF_JEQ:
		if (i->k & ~a.mask || (a.sym == FIELD_PROTO && never_other(e, i->k)))
			t->lo = max + 1;
		else
			t->hi = MIN(i->k | (uint64_t)~a.mask, max);
		return true;
	case BPF_JGT:
		t->lo++;
		return a.mask == ~0u;
	case BPF_JGE:
		return a.mask == ~0u;
	default:
		return false;
	}
}

/* The same for a test of a field; both ways are narrowed */
static unsigned narrow(const struct explore *e, const struct bpf_insn *i, struct value a,
		       struct way *yes, struct way *no)
{
	struct span *y = &yes->field[a.sym], *n = &no->field[a.sym];
	const struct span r = *y;
	struct wide t;

	if (r.lo == r.hi)
		return outcomes(i, constant((uint32_t)r.lo & a.mask));
	if (!true_range(e, i, a, &t))
		return 3;
	if (t.lo > r.hi || t.hi < r.lo || t.lo > t.hi)
		return 2;
	if (t.lo <= r.lo && t.hi >= r.hi)
		return 1;
	*y = (struct span){ (uint32_t)MAX(r.lo, t.lo), (uint32_t)MIN(r.hi, t.hi) };
	if (t.lo <= r.lo)
		n->lo = (uint32_t)t.hi + 1;
	else if (t.hi >= r.hi)
		n->hi = (uint32_t)t.lo - 1;
	return 3;
}

static void cover(struct way *w, const struct way *by)
{
	for (unsigned i = 0; i < FIELDS; i++) {
		w->field[i].lo = MIN(w->field[i].lo, by->field[i].lo);
		w->field[i].hi = MAX(w->field[i].hi, by->field[i].hi);
	}
}

static void found(struct ways *ways, const struct way *w)
{
	if (!ways)
		return;
	for (unsigned i = 0; i < ways->n; i++)
		if (!memcmp(&ways->way[i], w, sizeof(*w)))
			return;
	if (ways->n < WAYS_MAX) {
		ways->way[ways->n++] = *w;
		return;
	}
	/* too many to tell apart */
	for (unsigned i = 1; i < ways->n; i++)
		cover(&ways->way[0], &ways->way[i]);
	cover(&ways->way[0], w);
	ways->n = 1;
}

static void explore(struct explore *e, struct state s);

/* Follows both ways of a jump by itself, or sets @s->pc */
static bool do_jump(struct explore *e, struct state *s)
{
	const struct bpf_insn *i = s->pc;
	struct state yes;
	unsigned out;

	if (BPF_OP(i->code) == BPF_JA) {
		s->pc += 1 + i->k;
		return true;
	}
	yes = *s;
	if (BPF_SRC(i->code) == BPF_X)
		out = 3;
	else if (s->a.sym >= 0)
		out = narrow(e, i, s->a, &yes.way, &s->way);
	else
		out = outcomes(i, s->a);
	yes.pc += 1 + i->jt;
	s->pc += 1 + i->jf;
	if (out & 1)
		explore(e, yes);
	return out & 2;
}

/* A way ends */
static void ended(struct explore *e, const struct state *s)
{
	bool constant = BPF_RVAL(s->pc->code) == BPF_K;

	e->all &= constant && s->pc->k;
	if (!constant || s->pc->k)
		found(e->ways, &s->way);
}

static void explore(struct explore *e, struct state s)
{
	while (e->all || e->ways) {
		const struct bpf_insn *i = s.pc;

		if (i < e->first || i >= e->last || !*e->steps) {
			e->all = false;
			found(e->ways, &s.way);
			return;
		}
		--*e->steps;
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
			s.a = do_alu(e, i, s.a);
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
			ended(e, &s);
			return;
		}
		s.pc++;
	}
}

static void start(struct explore *e, const struct rule *r, const struct way *given)
{
	struct state s = { .pc = r->prog.bf_insns, .a = unknown, .x = unknown, .way = *given };

	for (unsigned i = 0; i < BPF_MEMWORDS; i++)
		s.mem[i] = unknown;
	e->first = s.pc;
	e->last = s.pc + r->prog.bf_len;
	e->all = true;
	explore(e, s);
}

void way_init(struct way *w)
{
	for (unsigned i = 0; i < FIELDS; i++)
		w->field[i] = (struct span){ 0, field_max((enum field)i) };
}

/* What tests of the rule itself ask for */
static void test_fields(const struct rule *r, struct way *w)
{
	for (unsigned i = 0; i < r->ntests; i++) {
		uint32_t id = (uint32_t)r->test[i].endpoint;

		if (r->test[i].kind == TEST_ENDPOINT && !r->test[i].negate)
			w->field[FIELD_ENDPOINT] = (struct span){ id, id };
	}
}

void explore_ways(const struct rule *r, struct packet_class class, unsigned steps,
		  struct ways *ways)
{
	struct explore e = { .class = class, .steps = &steps, .ways = ways };
	struct way any;

	way_init(&any);
	test_fields(r, &any);
	ways->n = 0;
	if (r->where)
		start(&e, r, &any);
	else
		found(ways, &any);
}

bool explore_all(const struct rule *r, struct packet_class class, unsigned *steps,
		 const struct way *given)
{
	struct explore e = { .class = class, .steps = steps };

	if (r->where)
		start(&e, r, given);
	return !r->where || e.all;
}
