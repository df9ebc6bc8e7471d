/* SPDX-License-Identifier: MIT */
/*
 * rules_index.c - Which rules can match a packet at all
 *
 * Theory of operation
 *
 * Packets fall into eight classes: IP version by TCP, UDP, ICMP or other.  For each
 * class and rule explore_ways() tells the ways on which its filter program can match, as
 * spans of ports and addresses.  Each way is filed on a shelf, that of one of the fields
 * that it asks for: the one that fewest others ask in the same words, so that
 * "dst port 53 and src host ..." goes by host.  An endpoint that a rule is for is such a
 * field as well.  A way that asks for none is filed under "any".
 *
 * The spans of a shelf cut the field's numbers into intervals; each has its list of rules,
 * sorted.  A packet meets the lists of its fields' intervals, and "any", merged.  What else
 * a way asks for, its box, is looked at then: a packet that matches on this way has
 * all of it.  Where explore_all() says that a program matches whatever is within these
 * spans, it need not be run.
 *
 * Being unsure always means "any", so the index never loses a match; the program itself has
 * the last word where nothing is certain.
 *
 * Most packets are of no interest to any rule.  A class of TCP or UDP whose shelves are of
 * ports only has a gate, a bit map for each of the two: a packet neither of whose ports is in
 * it meets no rule.  So has a class without any rule.  Where the first rule on a list asks
 * for nothing but what the list says, it decides; where there is only one, it is named.
 */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "rules_int.h"

#define STEPS_MAX	3000		/* instructions followed per rule and class */
#define CLASSES		8
#define LISTED_MAX	(1u << 20)	/* candidates on all lists of a shelf */

/* What a way asks of a field, up to the @last of them */
struct box {
	struct span span;
	enum field field;
	uint8_t off;
	bool last;
};

/* A list on a shelf; @told: by it, as index_tell() says */
struct slot {
	uint32_t at, n;
	uint32_t told;
};

/**
 * struct shelf - Lists by intervals of a field
 * @ladder:	Where intervals begin
 * @slot:	List of each of them, that below the first one in front
 * @field:	Which one
 * @off:	Where it is, in the packet: from the transport header, addresses from
 *		the IP header on
 */
struct shelf {
	struct ladder ladder;
	struct slot *slot;
	struct listed *list;
	enum field field;
	uint8_t off;
};

/**
 * struct class
 * @any:	Rules on no shelf
 * @box:	From 1 on
 * @gate:	By FIELD_SPORT, FIELD_DPORT: ports that are asked for; NULL, both: not only
 *		ports are
 * @port:	Their shelves
 */
struct class {
	struct listed *any;
	size_t nany;
	struct box *box;
	size_t nboxes, box_room;
	uint64_t *gate[2];
	const struct shelf *port[2];
	unsigned nshelves;
	struct shelf shelf[FIELDS];
};

/**
 * struct rules_index
 * @reads:	Some field that is asked for is read from the packet's bytes
 */
struct rules_index {
	struct class class[CLASSES];
	bool reads;
};

#define PORTS	65536u
#define WORD	64u

/* A span of a field that a way asks for, and how many ask for just that */
struct ask {
	uint32_t field;
	struct span span;
	uint32_t n;
};

/* A rule to be filed */
struct entry {
	struct span span;
	uint32_t width;		/* intervals it takes */
	struct listed listed;
};

struct entries {
	struct entry *e;
	size_t n, room;
};

/**
 * struct filing - One class at work
 * @ways, @rule:	All ways of all rules, and whose they are
 * @ask:	What they ask for, sorted, each once
 * @reads:	An address is among it
 * @pile:	What goes to each shelf; [FIELDS]: to "any"
 */
struct filing {
	const struct rules *rules;
	struct packet_class class;
	struct way *way;
	uint32_t *rule;
	size_t n, way_room, rule_room;
	struct ask *ask;
	size_t nasks;
	bool reads;
	struct entries pile[FIELDS + 1];
};

static uint8_t field_offset(const struct packet_class *c, enum field field)
{
	bool v4 = c->version == 4;

	if (field <= FIELD_DPORT)
		return field == FIELD_SPORT ? 0 : 2;
	if (field >= FIELD_PROTO)
		return 0;		/* it is not there */
	if (field < FIELD_DST)
		return (uint8_t)((v4 ? 12 : 8) + 4 * (field - FIELD_SRC));
	return (uint8_t)((v4 ? 16 : 24) + 4 * (field - FIELD_DST));
}

static bool asks_for(const struct way *w, unsigned field)
{
	return w->field[field].lo > 0 || w->field[field].hi < field_max((enum field)field);
}

static bool asks_nothing(const struct way *w)
{
	for (unsigned i = 0; i < FIELDS; i++)
		if (asks_for(w, i))
			return false;
	return true;
}

static void gather(struct filing *f)
{
	struct ways *ways = rules_alloc(sizeof(*ways));

	for (uint32_t i = 0; i < f->rules->n; i++) {
		explore_ways(&f->rules->rule[i], f->class, STEPS_MAX, ways);
		for (unsigned k = 0; k < ways->n; k++)
			if (asks_nothing(&ways->way[k])) {
				way_init(&ways->way[0]);
				ways->n = 1;
			}
		for (unsigned k = 0; k < ways->n; k++) {
			f->way = rules_grow(f->way, f->n, &f->way_room, sizeof(*f->way));
			f->rule = rules_grow(f->rule, f->n, &f->rule_room, sizeof(*f->rule));
			f->way[f->n] = ways->way[k];
			f->rule[f->n++] = i;
		}
	}
	free(ways);
}

static int cmp_ask(const void *a, const void *b)
{
	const struct ask *x = a, *y = b;

	if (x->field != y->field)
		return x->field < y->field ? -1 : 1;
	if (x->span.lo != y->span.lo)
		return x->span.lo < y->span.lo ? -1 : 1;
	return (x->span.hi > y->span.hi) - (x->span.hi < y->span.hi);
}

static void count_asks(struct filing *f)
{
	size_t room = 0, n = 0, kept = 0;
	struct ask *ask = NULL;

	for (size_t i = 0; i < f->n; i++)
		for (unsigned k = 0; k < FIELDS; k++) {
			if (!asks_for(&f->way[i], k))
				continue;
			f->reads |= k > FIELD_DPORT && k < FIELD_PROTO;
			ask = rules_grow(ask, n, &room, sizeof(*ask));
			ask[n++] = (struct ask){ k, f->way[i].field[k], 1 };
		}
	if (n)
		qsort(ask, n, sizeof(*ask), cmp_ask);
	for (size_t i = 0; i < n; i++) {
		if (kept && !cmp_ask(&ask[kept - 1], &ask[i]))
			ask[kept - 1].n++;
		else
			ask[kept++] = ask[i];
	}
	f->ask = ask;
	f->nasks = kept;
}

/* How many ways ask a field for just this */
static uint32_t askers(const struct filing *f, unsigned field, struct span span)
{
	const struct ask wanted = { field, span, 0 };
	const struct ask *ask = bsearch(&wanted, f->ask, f->nasks, sizeof(*ask), cmp_ask);

	return ask ? ask->n : 0;
}

/* The field that tells a way best from those of other rules, or FIELDS */
static unsigned best_field(const struct filing *f, const struct way *w)
{
	unsigned best = FIELDS;
	uint32_t least = UINT32_MAX;
	double narrowest = 1;

	for (unsigned i = 0; i < FIELDS; i++) {
		struct span span = w->field[i];
		double part = ((double)span.hi - span.lo + 1) / (1.0 + field_max((enum field)i));
		uint32_t n;

		if (!asks_for(w, i))
			continue;
		n = askers(f, i, span);
		if (n < least || (n == least && part <= narrowest)) {
			best = i;
			least = n;
			narrowest = part;
		}
	}
	return best;
}

static void put(struct entries *to, struct span span, struct listed listed)
{
	to->e = rules_grow(to->e, to->n, &to->room, sizeof(*to->e));
	to->e[to->n++] = (struct entry){ span, 0, listed };
}

/* What a way asks for beside @filed: where it begins, 0 if that is nothing */
static uint32_t make_box(struct class *c, const struct packet_class *class, const struct way *w,
			 unsigned filed)
{
	size_t first = c->nboxes;

	for (unsigned i = 0; i < FIELDS; i++) {
		if (i == filed || !asks_for(w, i))
			continue;
		c->box = rules_grow(c->box, c->nboxes, &c->box_room, sizeof(*c->box));
		c->box[c->nboxes++] = (struct box){ w->field[i], (enum field)i,
						    field_offset(class, (enum field)i), false };
	}
	if (c->nboxes == first)
		return 0;
	c->box[c->nboxes - 1].last = true;
	return (uint32_t)first;
}

/* Each way to the pile of a field */
static void distribute(struct filing *f, struct class *c)
{
	unsigned steps = STEPS_MAX;

	for (size_t i = 0; i < f->n; i++) {
		unsigned field = best_field(f, &f->way[i]);
		struct span span = field < FIELDS ? f->way[i].field[field] : (struct span){ 0 };
		struct listed l = { .rule = f->rule[i] };

		if (!i || f->rule[i] != f->rule[i - 1])
			steps = STEPS_MAX;
		l.certain = explore_all(&f->rules->rule[l.rule], f->class, &steps, &f->way[i]);
		l.box = make_box(c, &f->class, &f->way[i], field);
		put(&f->pile[field], span, l);
	}
}

static int cmp_width(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Widest entries that still fit on the lists of a shelf: none wider is filed there */
static uint32_t widest(const struct entries *pile)
{
	uint32_t *width = rules_alloc(pile->n * sizeof(*width)), most = 0;
	uint64_t sum = 0;

	for (size_t i = 0; i < pile->n; i++)
		width[i] = pile->e[i].width;
	qsort(width, pile->n, sizeof(*width), cmp_width);
	for (size_t i = 0; i < pile->n && sum + width[i] <= LISTED_MAX; i++) {
		sum += width[i];
		if (i + 1 == pile->n || width[i + 1] != width[i])
			most = width[i];
	}
	free(width);
	return most;
}

static void cut(struct shelf *s, struct entries *pile)
{
	uint64_t *edge = rules_alloc(2 * pile->n * sizeof(*edge));

	for (size_t i = 0; i < pile->n; i++) {
		edge[2 * i] = pile->e[i].span.lo;
		edge[2 * i + 1] = (uint64_t)pile->e[i].span.hi + 1;
	}
	ladder_make(&s->ladder, edge, 2 * pile->n);
	for (size_t i = 0; i < pile->n; i++) {
		struct entry *e = &pile->e[i];

		e->width = (uint32_t)(ladder_find(&s->ladder, e->span.hi) -
				      ladder_find(&s->ladder, e->span.lo) + 1);
	}
}

/* One rule to the end of a list; it may be there already, by another way */
static void list(struct listed *list, uint32_t *n, struct listed l)
{
	struct listed *last = list + *n - 1;

	if (*n && last->rule == l.rule && !last->box && !l.box)
		last->certain |= l.certain;
	else
		list[(*n)++] = l;
}

/* Entries come and are listed in the order of rules */
static void fill_shelf(struct filing *f, struct shelf *s, struct entries *pile)
{
	uint32_t limit, at = 0;

	cut(s, pile);
	limit = widest(pile);
	s->slot = rules_alloc((s->ladder.n + 1) * sizeof(*s->slot));
	for (size_t i = 0; i < pile->n; i++) {
		const struct entry *e = &pile->e[i];
		size_t first = ladder_find(&s->ladder, e->span.lo);

		if (e->width > limit)
			put(&f->pile[FIELDS], e->span,
			    (struct listed){ .rule = e->listed.rule, .box = e->listed.box });
		else
			for (uint32_t k = 0; k < e->width; k++)
				s->slot[first + k].n++;
	}
	for (size_t i = 0; i <= s->ladder.n; i++) {
		s->slot[i].at = at;
		at += s->slot[i].n;
		s->slot[i].n = 0;
	}
	s->list = rules_alloc(at * sizeof(*s->list));
	for (size_t i = 0; i < pile->n; i++) {
		const struct entry *e = &pile->e[i];
		size_t first = ladder_find(&s->ladder, e->span.lo);

		for (uint32_t k = 0; e->width <= limit && k < e->width; k++)
			list(s->list + s->slot[first + k].at, &s->slot[first + k].n, e->listed);
	}
}

static int cmp_entry(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return (x->listed.rule > y->listed.rule) - (x->listed.rule < y->listed.rule);
}

static void fill_any(struct class *c, struct entries *pile)
{
	uint32_t n = 0;

	c->any = rules_alloc(pile->n * sizeof(*c->any));
	if (pile->n)
		qsort(pile->e, pile->n, sizeof(*pile->e), cmp_entry);
	for (size_t i = 0; i < pile->n; i++)
		list(c->any, &n, pile->e[i].listed);
	c->nany = n;
}

/* Does a rule decide about each packet for which its "where" holds? */
static bool decides(const struct rule *r)
{
	return (r->action == RULE_PASS || r->action == RULE_DROP || r->action == RULE_REJECT) &&
	       !r->flow && !r->ntests && !r->every && !r->rate.n;
}

static void foretell(const struct rules *r, const struct shelf *s)
{
	for (size_t i = 0; i <= s->ladder.n; i++) {
		struct slot *slot = &s->slot[i];
		const struct listed *first = &s->list[slot->at];

		if (!slot->n || !first->certain || first->box)
			continue;
		if (decides(&r->rule[first->rule]))
			slot->told = INDEX_FIRST + first->rule;
		else if (slot->n == 1)
			slot->told = INDEX_ONLY + first->rule;
	}
}

/* Ports for which the shelf has a list */
static void open_gate(uint64_t *gate, const struct shelf *s)
{
	for (size_t i = 0; i <= s->ladder.n; i++) {
		uint64_t lo = i ? s->ladder.rung[i - 1] : 0;
		uint64_t end = i < s->ladder.n ? MIN(s->ladder.rung[i], PORTS) : PORTS;

		for (; s->slot[i].n && lo < end; lo++)
			gate[lo / WORD] |= 1ull << lo % WORD;
	}
}

/* Shelves are sorted by field */
static void build_gate(struct class *c, const struct rules *r, enum l4_class l4)
{
	bool ports = l4 <= L4_UDP && c->nshelves && c->shelf[c->nshelves - 1].field <= FIELD_DPORT;

	if (c->nany || (c->nshelves && !ports))
		return;
	for (unsigned i = 0; i < 2; i++)
		c->gate[i] = rules_alloc(PORTS / 8);
	for (unsigned i = 0; i < c->nshelves; i++) {
		c->port[c->shelf[i].field] = &c->shelf[i];
		open_gate(c->gate[c->shelf[i].field], &c->shelf[i]);
		foretell(r, &c->shelf[i]);
	}
}

/* Return: does it look at addresses? */
static bool build_class(struct class *c, const struct rules *r, unsigned class)
{
	struct filing f = { .rules = r, .class = { class < 4 ? 4 : 6, (enum l4_class)(class % 4) } };

	c->box = rules_grow(NULL, 0, &c->box_room, sizeof(*c->box));
	c->nboxes = 1;
	gather(&f);
	count_asks(&f);
	distribute(&f, c);
	for (unsigned i = 0; i < FIELDS; i++) {
		struct shelf *s = &c->shelf[c->nshelves];

		if (!f.pile[i].n)
			continue;
		s->field = (enum field)i;
		s->off = field_offset(&f.class, s->field);
		fill_shelf(&f, s, &f.pile[i]);
		c->nshelves++;
	}
	fill_any(c, &f.pile[FIELDS]);
	build_gate(c, r, f.class.l4);
	for (unsigned i = 0; i <= FIELDS; i++)
		free(f.pile[i].e);
	free(f.way);
	free(f.rule);
	free(f.ask);
	return f.reads;
}

struct rules_index *index_build(const struct rules *r)
{
	struct rules_index *ix = rules_alloc(sizeof(*ix));

	for (unsigned i = 0; i < CLASSES; i++)
		ix->reads |= build_class(&ix->class[i], r, i);
	return ix;
}

bool index_reads(const struct rules_index *ix)
{
	return ix->reads;
}

void index_free(struct rules_index *ix)
{
	if (!ix)
		return;
	for (unsigned i = 0; i < CLASSES; i++) {
		struct class *c = &ix->class[i];

		for (unsigned k = 0; k < c->nshelves; k++) {
			ladder_free(&c->shelf[k].ladder);
			free(c->shelf[k].slot);
			free(c->shelf[k].list);
		}
		free(c->any);
		free(c->box);
		free(c->gate[0]);
		free(c->gate[1]);
	}
	free(ix);
}

/* Of ports what a filter program would read, also of a header that is cut */
static bool read_field(enum field field, uint8_t off, const struct sight *s, uint32_t *v)
{
	const struct packet *p = &s->f->pkt;

	if (field <= FIELD_DPORT) {
		uint32_t left = p->end - p->l4;

		if (unlikely(left < off + 2u))
			return false;
		*v = likely(left >= 4 && (p->proto == IPPROTO_UDP || p->proto == IPPROTO_TCP)) ?
			s->port[field] : be16(s->data + p->l4 + off);
	} else if (field < FIELD_PROTO) {
		*v = be32(s->data + p->l3 + off);
	} else {
		*v = field == FIELD_PROTO ? p->proto : (uint32_t)s->f->endpoint;
	}
	return true;
}

static const struct class *class_of(const struct rules_index *ix, const struct packet *p)
{
	return &ix->class[(p->version == 4 ? 0 : 4) + l4_class(p->version, p->proto)];
}

static uint32_t told_by(const struct class *c, enum field field, uint16_t port)
{
	const struct shelf *s = c->port[field];

	if (!(c->gate[field][port / WORD] >> port % WORD & 1))
		return INDEX_NONE;
	return s->slot[ladder_find(&s->ladder, port)].told;
}

/* By its lists: the rule that decides first does; none is the only one beside others */
static uint32_t told_by_both(uint32_t a, uint32_t b)
{
	uint32_t most = MAX(a, b);

	return a != b && most >= INDEX_ONLY && most != INDEX_NONE ? INDEX_LOOK : MIN(a, b);
}

void index_tell(const struct rules_index *ix, struct frame *const *f, int n, uint32_t *told)
{
	enum { WHOLE = PKT_PARSED | PKT_L4, FRAGMENT = PKT_FRAG_FIRST | PKT_FRAG_LATER };

	for (int i = 0; i < n; i++) {
		const struct packet *p = &f[i]->pkt;
		const struct class *c = class_of(ix, p);

		told[i] = INDEX_LOOK;
		if (likely((p->flags & (WHOLE | FRAGMENT)) == WHOLE && c->gate[0]))
			told[i] = told_by_both(told_by(c, FIELD_SPORT, p->port[0]),
					       told_by(c, FIELD_DPORT, p->port[1]));
	}
}

void index_start(const struct rules_index *ix, const struct sight *s, struct index_walk *w)
{
	const struct packet *p = &s->f->pkt;
	const struct class *c = class_of(ix, p);
	uint32_t v;

	w->s = s;
	w->boxes = c->box;
	w->n = 0;
	w->sure = p->flags & PKT_L4 || l4_class(p->version, p->proto) == L4_OTHER;
	index_add(w, c->any, c->nany);
	for (unsigned i = 0; i < c->nshelves; i++) {
		const struct shelf *shelf = &c->shelf[i];
		const struct slot *slot;

		if (!read_field(shelf->field, shelf->off, s, &v))
			continue;
		slot = &shelf->slot[ladder_find(&shelf->ladder, v)];
		if (slot->n)
			index_add(w, shelf->list + slot->at, slot->n);
	}
}

static bool in_box(const struct index_walk *w, const struct box *b)
{
	uint32_t v;

	for (;; b++) {
		if (!read_field(b->field, b->off, w->s, &v) || v < b->span.lo || v > b->span.hi)
			return false;
		if (b->last)
			return true;
	}
}

/* Take a rule off a list, as often as it is there; false: the packet is in none of its boxes */
static bool take(struct index_walk *w, unsigned i, struct candidate *c)
{
	const struct listed *l = w->p[i], *end = w->end[i];
	bool taken = false;

	for (; l < end && l->rule == c->rule; l++) {
		if (l->box && !in_box(w, w->boxes + l->box))
			continue;
		c->certain |= l->certain & w->sure;
		taken = true;
	}
	w->p[i] = l;
	if (l == end) {
		w->p[i] = w->p[--w->n];
		w->end[i] = w->end[w->n];
	}
	return taken;
}

bool index_next(struct index_walk *w, struct candidate *c)
{
	while (w->n) {
		bool taken = false;

		*c = (struct candidate){ .rule = UINT32_MAX };
		for (unsigned i = 0; i < w->n; i++)
			c->rule = MIN(c->rule, w->p[i]->rule);
		for (unsigned i = w->n; i-- > 0;)
			if (w->p[i]->rule == c->rule)
				taken |= take(w, i, c);
		if (taken)
			return true;
	}
	return false;
}
