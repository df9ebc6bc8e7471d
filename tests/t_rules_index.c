/* SPDX-License-Identifier: MIT */
/*
 * t_rules_index.c - What saves looking at every rule: the index and tables lose no match, and
 * are certain only of what is so
 */
#include <arpa/inet.h>
#include <stdio.h>

#include "rulestest.h"
#include "tap.h"

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
	unsigned pairs, lost, lied, disorder, certain, candidates, decided, only;
};

static bool is_only(uint32_t told)
{
	return told >= INDEX_ONLY && told != INDEX_NONE;
}

/* May this rule match, after what was told? */
static bool possible(uint32_t told, uint32_t rule)
{
	return is_only(told) ? told == rule + INDEX_ONLY :
	       told == INDEX_LOOK || told <= rule + INDEX_FIRST;
}

/* All rules against one packet: each by itself, and what the index says */
static void compare(struct matcher *m, struct frame *f, struct tally *t)
{
	uint32_t n = m->rules->n, last = 0;
	uint8_t *said = calloc(n, 1);
	struct index_walk w;
	struct candidate c;
	uint32_t told;

	index_tell(m->rules->index, &f, 1, &told);
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
		t->lost += is && (!said[i] || !possible(told, i));
		t->lied += !is && i + INDEX_FIRST == told;
		t->decided += i + INDEX_FIRST == told;
		t->only += i + INDEX_ONLY == told;
		t->lied += i + INDEX_ONLY == told && said[i] != 2;
		t->lied += said[i] == 2 && other != is;
		if (t->lost + t->lied == 1)
			printf("# %s: %s\n", is ? "lost" : "lied", rule->where);
	}
	free(said);
}

static void compare_random(char *text, unsigned packets, struct tally *t)
{
	struct rules_conf c = conf(RULES_FILTER, text);
	struct matcher m;

	c.err = NULL;	/* of contradictions there are many */
	matcher_open(&m, &c, rules_load(&c));
	for (unsigned i = 0; i < packets; i++) {
		struct frame *f = random_packet();

		if (f)
			compare(&m, f, t);
	}
	matcher_close(&m);
}

/* Random rules and packets: the index loses no match, and what it is certain of is so */
static void test_index_oracle(void)
{
	struct tally t = { 0 };

	for (unsigned round = 0; round < 12; round++) {
		char *text = random_rules(round % 2 ? 200 : 10);

		compare_random(text, 1500, &t);
		free(text);
	}
	OK(!t.lost && !t.disorder, "of %u pairs of rules and packets the index lost %u", t.pairs,
	   t.lost);
	OK(!t.lied && t.certain > 10000, "it was wrong about %u of %u it was certain of", t.lied,
	   t.certain);
	OK(t.candidates < t.pairs / 2, "%u candidates", t.candidates);
}

/* The same of rules that ask for ports only: a few, and many */
static void test_ports_oracle(void)
{
	static const char *const actions[] = {
		"drop", "drop", "pass", "reject", "count", "drop payload /[0-9]/",
	};
	static const char *const forms[] = {
		"port #", "udp dst port #", "tcp src port #", "udp src portrange 1-#", "tcp portrange #-6",
		"udp and (dst port # or src port 7)", "src port 4 and udp dst port #",
	};
	struct tally t = { 0 };

	for (unsigned round = 0; round < 100; round++) {
		size_t size;
		char *text;
		FILE *out = open_memstream(&text, &size);

		for (unsigned n = roll(round % 2 ? 20 : 3) + 1; n; n--) {
			fprintf(out, "%s where ", actions[roll(ARRAY_SIZE(actions))]);
			for (const char *p = forms[roll(ARRAY_SIZE(forms))]; *p; p++)
				fputc(*p == '#' ? '1' + (int)roll(7) : *p, out);
			fputc('\n', out);
		}
		fclose(out);
		compare_random(text, 500, &t);
		free(text);
	}
	OK(!t.lost && !t.lied && t.decided > 500 && t.only > 200,
	   "of %u pairs ports decided %u, %u were the only ones: %u lost, %u wrong",
	   t.pairs, t.decided, t.only, t.lost, t.lied);
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

static uint32_t told(const struct rules *r, struct frame *f)
{
	uint32_t t;

	index_tell(r->index, &f, 1, &t);
	return t;
}

/* Of all ports, how many are told so? */
static unsigned ports(const struct rules *r, uint32_t what, int version, uint8_t proto,
		      uint16_t other, bool dst)
{
	unsigned n = 0;

	for (uint32_t port = 0; port <= UINT16_MAX; port++)
		n += told(r, dst ? packet(version, proto, other, (uint16_t)port)
				 : packet(version, proto, (uint16_t)port, other)) == what;
	return n;
}

/* What can be told by ports alone, where rules ask for ports only */
static void test_tell(void)
{
	enum { FIRST = INDEX_FIRST };
	const uint32_t only = INDEX_ONLY;
	struct rules_conf c = conf(RULES_FILTER, "drop where udp dst port 7\n"
				   "drop where udp src port 65535\n"
				   "pass where udp src portrange 100-163\n"
				   "reject where tcp dst port 0\n"
				   "count where udp dst port 9\n"
				   "drop every 2 where udp dst port 10\n"
				   "drop payload \"x\" where udp dst port 11\n"
				   "drop where udp dst port 12 and udp[8] = 1\n"
				   "drop where udp src port 100\n");
	struct rules *r = rules_load(&c);
	struct frame *f[3];
	uint32_t each[3];

	OK(ports(r, FIRST, 4, 17, 8, true) == 1 && told(r, packet(4, 17, 8, 7)) == FIRST,
	   "one destination port");
	OK(told(r, packet(4, 17, 8, 9)) == only + 4 && told(r, packet(4, 17, 8, 10)) == only + 5 &&
	   told(r, packet(4, 17, 8, 11)) == only + 6, "the only one that may match, and may not");
	OK(ports(r, INDEX_LOOK, 4, 17, 8, true) == 1, "what asks for bytes as well is walked to");
	OK(ports(r, INDEX_NONE, 4, 17, 8, true) == 65531, "all others are nobody's");
	OK(ports(r, FIRST + 1, 6, 17, 8, false) == 1 && told(r, packet(6, 17, 65535, 8)) == FIRST + 1,
	   "the last source port");
	OK(ports(r, FIRST + 2, 4, 17, 8, false) == 64, "a range");
	OK(ports(r, FIRST, 4, 17, 7, false) == 65536, "of two rules the first decides");
	OK(told(r, packet(4, 17, 100, 9)) == INDEX_LOOK, "if it does, and it is not the only one");
	OK(ports(r, FIRST + 3, 6, 6, 1, true) == 1 && told(r, packet(6, 6, 1, 0)) == FIRST + 3,
	   "the first port");
	OK(told(r, packet(4, 1, 7, 7)) == INDEX_NONE, "a class without rules is nobody's");
	OK(told(r, packet(4, 132, 8, 8)) == INDEX_LOOK, "ports that nobody parsed");
	f[0] = packet(4, 17, 8, 8);
	f[0]->pkt.flags |= PKT_FRAG_FIRST;
	OK(told(r, f[0]) == INDEX_LOOK, "a fragment");
	f[0]->pkt.flags = 0;
	OK(told(r, f[0]) == INDEX_LOOK, "what was not parsed");
	f[0] = f[1] = f[2] = packet(4, 17, 8, 7);
	index_tell(r->index, f, 3, each);
	OK(each[0] == FIRST && each[1] == FIRST && each[2] == FIRST, "each of a burst");
	rules_free(r);
	c = conf(RULES_FILTER, "drop where udp dst port 7\ndrop where udp and host 10.0.0.9\n"
		 "drop where tcp\n");
	r = rules_load(&c);
	OK(told(r, packet(4, 17, 8, 7)) == INDEX_LOOK, "who asks for an address has to look");
	OK(told(r, packet(4, 6, 8, 8)) == INDEX_LOOK, "and who asks for nothing");
	rules_free(r);
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

int main(void)
{
	pool = frame_pool_new(1, 4096);
	test_index();
	test_index_oracle();
	test_ports_oracle();
	test_forms();
	test_tell();
	test_wide();
	test_ten_thousand();
	test_table();
	test_table_oracle();
	frame_pool_free(pool);
	return tap_done();
}
