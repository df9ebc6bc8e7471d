/* SPDX-License-Identifier: MIT */
/*
 * t_rules.c - Rules from the inside: the index loses no match, tables, labels,
 * reload, what is kept, answers
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "reply.h"
#include "rules_int.h"
#include "tap.h"

static struct rules_conf conf(enum rules_kind kind, const char *text)
{
	struct rules_conf c = RULES_CONF_INIT(kind);

	c.err = stderr;
	c.source[c.nsources++].text = text;
	return c;
}

static struct frame **pool;
static uint8_t bytes[256];

/* A packet of 64 bytes behind its IP header, in the only frame */
static struct frame *packet(int version, uint8_t proto, uint16_t sport, uint16_t dport)
{
	struct frame *f = pool[0];
	uint32_t l4 = version == 4 ? 20 : 40;

	memset(bytes, 0, sizeof(bytes));
	bytes[0] = version == 4 ? 0x45 : 0x60;
	put16(bytes + (version == 4 ? 2 : 4), (uint16_t)(version == 4 ? 84 : 64));
	bytes[version == 4 ? 9 : 6] = proto;
	memcpy(bytes + (version == 4 ? 12 : 8), (uint8_t[]){ 10, 0, 0, 1 }, 4);
	memcpy(bytes + (version == 4 ? 16 : 24), (uint8_t[]){ 10, 0, 0, 2 }, 4);
	put16(bytes + l4, sport);
	put16(bytes + l4 + 2, dport);
	put16(bytes + l4 + 4, 64);
	if (proto == IPPROTO_TCP)
		bytes[l4 + 12] = 0x50;
	frame_reset(f);
	f->linktype = LINKTYPE_RAW;
	if (!frame_set(f, bytes, l4 + 64) || frame_parse(f))
		exit(1);
	return f;
}

static void start(const struct rules *r, struct frame *f, struct index_walk *w)
{
	static struct sight s;

	sight_init(&s, f);
	index_start(r->index, &s, w);
}

static const char *const filters[] = {
	"tcp", "udp", "icmp", "ip", "ip6", "icmp6", "tcp port 5", "udp port 5", "port 5",
	"dst port 6", "src port 6", "tcp dst port 5 or udp src port 6", "not tcp port 5",
	"not port 5",
	"port not 5",
	"tcp and not src port 5", "portrange 4-5", "tcp portrange 5-5", "port 5 and port 6",
	"src port 5 and dst port 6", "host 10.0.0.1", "src net 10.0.0.0/8 and port 6",
	"ip proto 17", "ip6 proto 6", "proto 132", "proto 47", "tcp[0:2] = 5", "tcp[2:2] = 6",
	"udp[0] = 0", "ip[9] = 6", "ip[9] != 6", "ip[6:2] & 0x1fff = 0", "ip[0] & 0xf = 5",
	"ip[0] >> 4 = 4", "ip6[6] = 17", "ip6[40:2] = 5", "ip6[42:2] > 5", "len > 90", "less 90",
	"tcp[tcpflags] & tcp-syn != 0", "icmp[icmptype] = 0", "icmp[6:2] % 5 = 0",
	"ip[20:2] = 5", "ip[20:2] + 1 = 6", "ip[22:2] = ip[20:2] + 1", "port 5 or host 10.0.0.2",
	"tcp port 5 or icmp", "(tcp or udp) and (port 5 or port 7)", "ip[9] & 16 != 0",
	"udp port 5 and udp[8] = 0", "sctp port 5", "ah or esp", "ip6 and not udp", "not ip",
	"port domain or 5", "tcp or udp port 6", "ip6[40:2] + 0 = 5",
	"ip[2:2] > 80 and dst port 6",
};

/* Each rule that matches must be among the candidates. */
static void check_packet(struct matcher *m, struct frame *f, unsigned *lost, unsigned *matches,
			 unsigned *candidates)
{
	bool found[ARRAY_SIZE(filters)] = { false }, certain[ARRAY_SIZE(filters)] = { false };
	struct index_walk w;
	struct candidate c;

	start(m->rules, f, &w);
	while (index_next(&w, &c)) {
		found[c.rule] = true;
		certain[c.rule] = c.certain;
		++*candidates;
	}
	for (uint32_t i = 0; i < ARRAY_SIZE(filters); i++) {
		struct sight s;

		sight_init(&s, f);
		if (rule_matches(m, &m->rules->rule[i], &s, false) <= 0) {
			*lost += certain[i];
			if (certain[i])
				printf("# not certain: %s\n", filters[i]);
			continue;
		}
		++*matches;
		if (!found[i])
			printf("# lost: %s\n", filters[i]);
		*lost += !found[i];
	}
}

static void test_index(void)
{
	static const uint8_t protos[] = { 6, 17, 1, 58, 132, 47, 50, 51 };
	static const uint16_t ports[] = { 0, 4, 5, 6, 7, 53 };
	unsigned lost = 0, matches = 0, candidates = 0, all = 0;
	struct rules_conf c = RULES_CONF_INIT(RULES_FILTER);
	char text[ARRAY_SIZE(filters)][100];
	struct matcher m;

	c.err = stderr;
	for (unsigned i = 0; i < ARRAY_SIZE(filters); i++) {
		snprintf(text[i], sizeof(text[i]), "count where %s", filters[i]);
		c.source[c.nsources++].text = text[i];
	}
	matcher_open(&m, &c, rules_load(&c));
	for (int version = 4; version <= 6; version += 2)
		for (unsigned i = 0; i < ARRAY_SIZE(protos); i++)
			for (unsigned s = 0; s < ARRAY_SIZE(ports); s++)
				for (unsigned d = 0; d < ARRAY_SIZE(ports); d++) {
					/* not as IPv6 extension header */
					if (version == 6 && protos[i] == 51)
						continue;
					check_packet(&m,
						     packet(version, protos[i], ports[s], ports[d]),
						     &lost, &matches, &candidates);
					all += ARRAY_SIZE(filters);
				}
	OK(!lost && matches > 1000, "the index lost none of %u matches", matches);
	OK(candidates < all / 2, "%u candidates for %u matches, of %u pairs", candidates, matches,
	   all);
	matcher_close(&m);
}

static uint32_t roll(uint32_t n)
{
	static uint32_t seed = 7;

	seed = seed * 1664525u + 1013904223u;
	return (uint32_t)((uint64_t)seed * n >> 32);
}

static const char *one_of(const char *const *words, uint32_t n)
{
	return words[roll(n)];
}

/* Something a filter may ask; few numbers, so that packets often have them */
static void primitive(FILE *out)
{
	static const char *const l4[] = { "", "tcp ", "udp ", "sctp ", "ip6 and " };
	static const char *const dir[] = { "", "src ", "dst " };
	static const char *const word[] = { "tcp", "udp", "icmp", "icmp6", "ip", "ip6",
					    "ip proto 47", "proto 17", "ip6 proto 6" };
	static const char *const op[] = { "=", "!=", ">", ">=", "<", "<=" };
	static const char *const load[] = {
		"ip[20:2]", "ip[22:2]", "tcp[2:2]", "udp[0:2]", "ip6[40:2]", "ip6[42:2]", "ip[9]",
		"ip6[6]", "len", "ip[12:4] & 7", "ip[16:4] & 0xff", "icmp[0]", "udp[4:2] / udp[0:2]",
		"tcp[12]", "udp[8]", "ip6[48]", "ip[3]", "tcp[0:2] & 0xfffe", "udp[2:2] & 6",
	};
	static const char *const addr[] = { "ip[12:4]", "ip[16:4]", "ip6[20:4]", "ip6[36:4]" };

	switch (roll(8)) {
	case 0:
		fprintf(out, "%s%sport %u", one_of(l4, 4), one_of(dir, 3), roll(7));
		break;
	case 1:
		fprintf(out, "%s%sportrange %u-%u", one_of(l4, 4), one_of(dir, 3), roll(4),
			4 + roll(4));
		break;
	case 2:
		fprintf(out, "%shost 10.0.%u.%u", one_of(dir, 3), roll(3), roll(8));
		break;
	case 3:
		fprintf(out, "%snet 10.0.%u.%u/%u", one_of(dir, 3), roll(3), 4 * roll(2),
			30u);
		break;
	case 4:
		fprintf(out, "%snet fd00:%x::%x/%u", one_of(dir, 3), roll(3), 0, 32 + 32 * roll(3));
		break;
	case 5:
		fprintf(out, "%shost fd00:%x::%x", one_of(dir, 3), roll(3), roll(4));
		break;
	case 6:
		fprintf(out, "%s", one_of(word, ARRAY_SIZE(word)));
		break;
	default:
		if (roll(4))
			fprintf(out, "%s %s %u", one_of(load, ARRAY_SIZE(load)), one_of(op, 6),
				roll(20));
		else
			fprintf(out, "%s %s 0x0a00%02x%02x", one_of(addr, 4), one_of(op, 6),
				roll(3), roll(8));
	}
}

static void expression(FILE *out, unsigned depth)
{
	if (!depth || !roll(4)) {
		primitive(out);
		return;
	}
	fprintf(out, "%s(", roll(5) ? "" : "not ");
	expression(out, depth - 1);
	fprintf(out, ") %s (", roll(3) ? "and" : "or");
	expression(out, depth - 1);
	fprintf(out, ")");
}

/* Rules of random expressions; those that libpcap finds can match nothing are not taken */
static char *random_rules(unsigned n)
{
	size_t size;
	char *text;
	FILE *all = open_memstream(&text, &size);

	while (n) {
		char *rule;
		size_t len;
		FILE *out = open_memstream(&rule, &len);
		struct rules_conf c;
		struct rules *r;

		fprintf(out, "count ");
		if (!roll(3))
			fprintf(out, "%sendpoint vpce-0%016x ", roll(4) ? "" : "not ", roll(4));
		fprintf(out, "where ");
		expression(out, roll(4));
		fprintf(out, "\n");
		fclose(out);
		c = conf(RULES_FILTER, rule);
		c.err = NULL;
		r = rules_load(&c);
		if (r) {
			fputs(rule, all);
			n--;
		}
		rules_free(r);
		free(rule);
	}
	fclose(all);
	return text;
}

/* With options, extension headers, more fragments, cut by capture or sender; NULL: none at all */
static struct frame *random_packet(void)
{
	static const uint8_t protos[] = { 6, 17, 1, 58, 132, 47 };
	uint8_t proto = protos[roll(roll(2) ? 2 : 6)], b[200] = { 0 };
	bool v4 = roll(2), more = !roll(4);
	uint32_t l4 = v4 ? 20 + 4 * more : 40 + 8 * more, len = l4 + roll(roll(2) ? 60 : 24);
	struct frame *f = pool[0];

	b[0] = v4 ? (more ? 0x46 : 0x45) : 0x60;
	put16(b + (v4 ? 2 : 4), (uint16_t)(v4 ? len : len - 40));
	b[v4 ? 9 : 6] = !v4 && more ? 60 : proto;
	b[40] = !v4 && more ? proto : 0;
	b[6] |= v4 && !roll(6) ? 0x20 : 0;
	for (unsigned i = 0; i < 2; i++) {
		uint8_t *a = b + (v4 ? 12 + 4 * i : 8 + 16 * i);

		a[0] = v4 ? 10 : 0xfd;
		a[v4 ? 2 : 3] = (uint8_t)roll(3);
		a[v4 ? 3 : 15] = (uint8_t)roll(8);
	}
	for (unsigned i = l4; i < sizeof(b); i++)
		b[i] = (uint8_t)(i % 2 ? roll(8) : !roll(30));
	b[l4 + 12] = proto == 6 ? 0x50 : b[l4 + 12];
	frame_reset(f);
	f->linktype = LINKTYPE_RAW;
	f->dialect = roll(8) ? DIALECT_AWS : DIALECT_PLAIN;
	f->endpoint = (uint64_t)roll(2) << 32 | roll(4);
	return frame_set(f, b, roll(6) ? len : roll(len) + 1) && !frame_parse(f) ? f : NULL;
}

struct tally {
	unsigned pairs, lost, lied, disorder, certain, candidates;
};

/* All rules against one packet: each by itself, and what the index says */
static void compare(struct matcher *m, struct frame *f, struct tally *t)
{
	uint32_t n = m->rules->n, last = 0;
	uint8_t *said = calloc(n, 1);
	struct index_walk w;
	struct candidate c;

	start(m->rules, f, &w);
	for (bool first = true; index_next(&w, &c); first = false) {
		t->disorder += !first && c.rule <= last;
		last = c.rule;
		said[last] = 1 + c.certain;
		t->certain += c.certain;
		t->candidates++;
	}
	for (uint32_t i = 0; i < n; i++) {
		struct rule *rule = &m->rules->rule[i];
		struct sight s;
		bool is, other;

		sight_init(&s, f);
		is = rule_matches(m, rule, &s, false) > 0;
		other = said[i] == 2 && rule_matches(m, rule, &s, true) > 0;
		t->pairs++;
		t->lost += is && !said[i];
		t->lied += said[i] == 2 && other != is;
		if (t->lost + t->lied == 1)
			printf("# %s: %s\n", is ? "lost" : "lied", rule->where);
	}
	free(said);
}

/* Random rules and packets: the index loses no match, and what it is certain of is so */
static void test_index_oracle(void)
{
	struct tally t = { 0 };

	for (unsigned round = 0; round < 12; round++) {
		char *text = random_rules(round % 2 ? 200 : 10);
		struct rules_conf c = conf(RULES_FILTER, text);
		struct matcher m;

		matcher_open(&m, &c, rules_load(&c));
		for (unsigned i = 0; i < 1500; i++) {
			struct frame *f = random_packet();

			if (f)
				compare(&m, f, &t);
		}
		matcher_close(&m);
		free(text);
	}
	OK(!t.lost && !t.disorder, "of %u pairs of rules and packets the index lost %u", t.pairs,
	   t.lost);
	OK(!t.lied && t.certain > 10000, "it was wrong about %u of %u it was certain of", t.lied,
	   t.certain);
	OK(t.candidates < t.pairs / 2, "%u candidates", t.candidates);
}

/* Forms of a thousand rules of which a packet must meet few */
static void test_forms(void)
{
	static const char *const forms[] = {
		"where udp dst port #", "where tcp port #", "where port #", "where host 10.0.1.#",
		"where tcp dst port # and src net 10.1.0.0/16", "where src host 10.0.1.#",
		"where src host 10.0.1.# and udp dst port 6", "where dst net 10.#.0.0/16",
		"where src portrange #-#", "where udp dst portrange #0-#9", "where ip6 host fd00::#",
		"where dst net fd00:#::/32", "where ip proto #", "where not port 777 and dst port #",
		"endpoint vpce-0~", "endpoint vpce-0~ where udp",
	};

	for (size_t k = 0; k < ARRAY_SIZE(forms); k++) {
		unsigned most = 0;
		size_t size;
		char *text;
		FILE *out = open_memstream(&text, &size);
		struct rules_conf c;
		struct rules *r;

		for (unsigned i = 0; i < 250; i++) {
			fprintf(out, "drop ");
			for (const char *p = forms[k]; *p; p++)
				fprintf(out, *p == '#' ? "%u" : *p == '~' ? "%016x" : "%c",
					*p == '#' || *p == '~' ? i : (unsigned char)*p);
			fputc('\n', out);
		}
		fclose(out);
		c = conf(RULES_FILTER, text);
		r = rules_load(&c);
		for (unsigned i = 0; i < 2000; i++) {
			struct frame *f = random_packet();
			struct candidate met;
			struct index_walk w;
			unsigned n = 0;

			if (!f)
				continue;
			start(r, f, &w);
			while (index_next(&w, &met))
				n++;
			most = MAX(most, n);
		}
		OK(most <= 4, "250 times '%s': a packet meets %u", forms[k], most);
		rules_free(r);
		free(text);
	}
}

/* Ranges so wide that not all lists would fit */
static void test_wide(void)
{
	struct tally t = { 0 };
	size_t size;
	char *text;
	FILE *out = open_memstream(&text, &size);
	struct rules_conf c;
	struct matcher m;

	for (unsigned i = 0; i < 2000; i++)
		fprintf(out, "count where udp dst portrange %u-%u\n", i, 9000 - i);
	fclose(out);
	c = conf(RULES_FILTER, text);
	matcher_open(&m, &c, rules_load(&c));
	for (unsigned i = 0; i < 100; i++)
		compare(&m, packet(4, 17, 1, (uint16_t)roll(10000)), &t);
	OK(!t.lost && !t.lied && !t.disorder && t.candidates > t.certain && t.certain,
	   "2000 wide ranges: %u candidates, %u certain", t.candidates, t.certain);
	matcher_close(&m);
	free(text);
}

static void test_ten_thousand(void)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	unsigned n = 0;
	struct candidate met;
	struct index_walk w;
	struct rules_conf c;
	struct frame *f;
	struct rules *r;

	for (int i = 0; i < 10000; i++)
		fprintf(out, "drop where src net 10.%d.%d.0/24 and tcp dst port %d\n", i / 250,
			i % 250, i + 1);
	fclose(out);
	c = conf(RULES_FILTER, text);
	r = rules_load(&c);
	f = packet(4, IPPROTO_TCP, 9, 1);
	start(r, f, &w);
	while (index_next(&w, &met))
		n++;
	OK(n == 1, "of 10,000 port rules a packet meets %u", n);
	f = packet(4, IPPROTO_UDP, 9, 1);
	start(r, f, &w);
	OK(!index_next(&w, &met), "and of another protocol none");
	rules_free(r);
	free(text);
}

static bool has4(const struct rules_table *t, uint32_t addr)
{
	uint8_t a[4];

	put32(a, addr);
	return rules_table_has(t, 4, a);
}

static void test_table(void)
{
	struct rules_conf c = conf(RULES_FILTER,
		"table <t> { 10.0.0.0/8, 10.1.0.0/16, 0.0.0.0/32, 255.255.255.255, 11.0.0.0/8, "
		"::/128, fd00::/8, ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff }\n"
		"table <all> { 0.0.0.0/0, ::/0 }\ndrop src <t> dst <all>");
	struct rules *r = rules_load(&c);
	const struct rules_table *t = r->tables[0], *all = r->tables[1];
	uint8_t v6[16] = { 0xfd, [15] = 1 };

	OK(has4(t, 0x0a000000) && has4(t, 0x0affffff) && has4(t, 0x0bffffff), "within");
	OK(!has4(t, 0x09ffffff) && !has4(t, 0x0c000000) && !has4(t, 1), "outside");
	OK(has4(t, 0) && has4(t, 0xffffffff) && !has4(t, 0xfffffffe), "both ends");
	OK(has4(all, 0) && has4(all, 0xffffffff) && rules_table_has(all, 6, v6), "everything");
	OK(rules_table_has(t, 6, v6), "IPv6 within");
	v6[0] = 0xfe;
	OK(!rules_table_has(t, 6, v6), "IPv6 outside");
	memset(v6, 0xff, 16);
	OK(rules_table_has(t, 6, v6), "IPv6 last");
	rules_free(r);
}

static bool in_prefix(const struct prefix *p, int version, const uint8_t *addr)
{
	for (unsigned i = 0; p->version == version && i < p->bits; i++)
		if ((p->addr[i / 8] ^ addr[i / 8]) & (0x80 >> i % 8))
			return false;
	return p->version == version;
}

static void random_prefix(FILE *out, bool first, bool v6, bool dense)
{
	unsigned bits = v6 ? roll(dense ? 129 : 65) : roll(33);
	uint8_t a[16] = { v6 ? 0xfd : 10 };
	char text[INET6_ADDRSTRLEN];

	for (unsigned i = dense ? (v6 ? 14 : 2) : 0; i < 16; i++)
		a[i] = (uint8_t)roll(256);
	for (unsigned i = bits; i < 128; i++)
		a[i / 8] &= (uint8_t)~(0x80 >> i % 8);
	inet_ntop(v6 ? AF_INET6 : AF_INET, a, text, sizeof(text));
	fprintf(out, "%s%s/%u", first ? "" : ", ", text, bits);
}

/* An address at, one before or one behind an end of a prefix, or any */
static void probe(const struct prefix *p, uint8_t addr[16])
{
	int carry = (int)roll(3) - 1, width = p->version == 4 ? 4 : 16;

	memcpy(addr, p->addr, 16);
	for (unsigned i = p->bits; roll(2) && i < 128; i++)
		addr[i / 8] |= (uint8_t)(0x80 >> i % 8);
	for (int i = width - 1; i >= 0; i--) {
		int v = addr[i] + carry;

		addr[i] = (uint8_t)v;
		carry = v < 0 ? -1 : v > 255;
	}
}

/* Tables of random prefixes against a look at each of them */
static void test_table_oracle(void)
{
	unsigned wrong = 0, in = 0, out = 0;

	for (unsigned round = 0; round < 200; round++) {
		size_t size;
		char *text;
		FILE *f = open_memstream(&text, &size);
		struct rules_conf c;
		struct rules *r;

		fprintf(f, "table <t> { ");
		for (unsigned i = 0, n = 1 + roll(roll(300) + 1); i < n; i++)
			random_prefix(f, !i, round & 1, round & 2);
		fprintf(f, " }\ndrop src <t>");
		fclose(f);
		c = conf(RULES_FILTER, text);
		r = rules_load(&c);
		for (unsigned i = 0; i < 500; i++) {
			const struct rules_table *t = r->tables[0];
			const struct prefix *near = &t->prefix[roll((uint32_t)t->n)];
			uint8_t addr[16];
			bool is = false;

			probe(near, addr);
			for (size_t k = 0; k < t->n; k++)
				is |= in_prefix(&t->prefix[k], near->version, addr);
			wrong += rules_table_has(t, near->version, addr) != is;
			*(is ? &in : &out) += 1;
		}
		rules_free(r);
		free(text);
	}
	OK(!wrong && in > 1000 && out > 1000, "random tables: %u of %u wrong", wrong, in + out);
}

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
	test_index();
	test_index_oracle();
	test_forms();
	test_wide();
	test_ten_thousand();
	test_table();
	test_table_oracle();
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
