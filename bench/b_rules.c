/* SPDX-License-Identifier: MIT */
/*
 * b_rules.c - What rules cost: CPU time a packet, over frames in memory
 *
 *	b_rules [PATTERN...]
 *
 * name, unit, figure.  Each case judges the same PACKETS frames again and again, a burst
 * at a time, as its program would; putting the frames back in between is not counted.  All
 * cases take turns RUNS times: the figure is the median.  The folder of example rules is
 * $EXAMPLES, or examples.
 */
#include <fnmatch.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <time.h>

#include "../gwfilter/filter.h"
#include "../gwmangle/mangle.h"
#include "csum.h"

#define PACKETS	1024u
#define ROOM	1024u
#define PASSES	20u
#define RUNS	9u
#define CASES	64u
#define PAYLOAD	64u

/* What the packets of a case are */
enum mix { MIX_ANY, MIX_V6, MIX_DROP_ME, MIX_WEAKLY, MIX_CLEAN, MIXES };

/**
 * struct shape - Rules of one form
 * @name:	Of one of them; several: behind their number
 * @form:	A rule; # is its number, ~ in hexadecimal, ^ with
 *		16 digits of it, @ its high and low byte
 */
struct shape {
	const char *name;
	const char *form;
	enum mix mix;
};

static const struct shape shapes[] = {
	{ "port rule", "drop where udp dst port #\n", MIX_ANY },
	{ "'tcp port'", "drop where tcp port #\n", MIX_ANY },
	{ "'port'", "drop where port #\n", MIX_ANY },
	{ "'tcp dst port and src net'",
	  "drop where tcp dst port # and src net 10.1.0.0/16\n", MIX_ANY },
	{ "'src portrange'", "drop where udp src portrange #-#\n", MIX_ANY },
	{ "'dst portrange' of ten",
	  "drop where udp dst portrange #0-#9\n", MIX_ANY },
	{ "'host'", "drop where host 10.1.@\n", MIX_ANY },
	{ "'src host and udp dst port 53'",
	  "drop where src host 10.1.@ and udp dst port 53\n", MIX_ANY },
	{ "'dst net'", "drop where dst net 10.@.0/24\n", MIX_ANY },
	{ "'ip6 host'", "drop where ip6 host fd00::1:~\n", MIX_V6 },
	{ "'dst net' of IPv6", "drop where dst net fd00:~::/32\n", MIX_V6 },
	{ "'endpoint'", "drop endpoint vpce-0^\n", MIX_ANY },
	{ "rule of another protocol", "drop where sctp port #\n", MIX_ANY },
	{ "'payload' rule", "drop payload \"x#\" where udp\n", MIX_ANY },
	{ "'payload' rule by regex", "drop payload /y[#]/ where udp\n", MIX_ANY },
	{ "'pass flow' rule", "pass flow where port #\n", MIX_ANY },
};

/**
 * struct bench - One case
 * @st:		A stage that has nothing but its program's burst and a page
 * @flt, @mgl:	One of them is @st's
 * @ns:		Figures, one a run
 */
struct bench {
	char name[80];
	bool mangle;
	enum mix mix;
	struct stage st;
	struct filter flt;
	struct mangle mgl;
	double ns[RUNS];
};

static struct bench *benches[CASES];
static unsigned nbenches;
static struct frame **pool;
static uint8_t *kept[MIXES];
static uint32_t seed = 1;

static uint32_t roll(uint32_t n)
{
	seed = seed * 1664525u + 1013904223u;
	return (uint32_t)((uint64_t)seed * n >> 32);
}

static double cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Half of all ports and addresses are those of a thousand rules */
static size_t build(uint8_t *p, enum mix mix)
{
	static const char *const text[MIXES] = { "", "", "please drop me", "weakly typed", "nothing" };
	bool censor = mix >= MIX_DROP_ME, v6 = mix == MIX_V6, tcp = !censor && roll(2);
	size_t l4 = v6 ? 40 : 20, hdr = tcp ? 20 : 8, len = l4 + hdr + PAYLOAD;
	uint32_t host = 1 + roll(2000);
	struct packet parsed;

	memset(p, 0, len);
	if (v6) {
		put32(p, 0x60000000);
		put32(p + 4, (uint32_t)(len - 40) << 16 | (tcp ? 6u : 17u) << 8 | 64);
		put32(p + 8, 0xfd000000 | roll(2000));
		put32(p + 20, 0x10000 | host);
		put32(p + 24, 0xfd000000 | roll(2000));
		put32(p + 36, 0x10000 | roll(2000));
	} else {
		put32(p, 0x45000000 | (uint32_t)len);
		put32(p + 8, 0x40000000 | (tcp ? 6u : 17u) << 16);
		put32(p + 12, 0x0a010000 | host);
		put32(p + 16, 0x0a000000 | roll(2000) << 8 | 7);
		csum_ipv4(p);
	}
	put16(p + l4, (uint16_t)(1 + roll(2000)));
	put16(p + l4 + 2, censor ? 3000 : (uint16_t)(1 + roll(2000)));
	if (tcp)
		put16(p + l4 + 12, 0x5010);
	else
		put32(p + l4 + 4, (8 + PAYLOAD) << 16 | 1);
	memset(p + l4 + hdr, 'x', PAYLOAD);
	memcpy(p + l4 + hdr + 24, text[mix], strlen(text[mix]));
	if (packet_parse(&parsed, p, len, LINKTYPE_RAW))
		die("packet");
	csum_l4_write(&parsed, p);
	return len;
}

static void build_all(enum mix mix)
{
	const size_t stride = FRAME_SHARED + ROOM;

	if (kept[mix])
		return;
	kept[mix] = calloc(PACKETS, stride);
	for (unsigned i = 0; i < PACKETS; i++) {
		struct frame *f = pool[i];
		uint8_t data[ROOM];
		size_t len = build(data, mix);

		frame_reset(f);
		f->linktype = LINKTYPE_RAW;
		f->seq = i + 1;
		f->ts_ns = i;
		f->dialect = DIALECT_AWS;
		f->endpoint = 1 + roll(2000);
		if (!frame_set(f, data, len) || frame_parse(f))
			die("frame");
		memcpy(kept[mix] + i * stride, f, FRAME_SHARED);
		memcpy(kept[mix] + i * stride + FRAME_SHARED, f->buf, FRAME_HEADROOM + len);
	}
}

static void restore(enum mix mix)
{
	const size_t stride = FRAME_SHARED + ROOM;

	for (unsigned i = 0; i < PACKETS; i++) {
		const uint8_t *k = kept[mix] + i * stride;

		memcpy(pool[i], k, FRAME_SHARED);
		memcpy(pool[i]->buf, k + FRAME_SHARED, FRAME_HEADROOM + pool[i]->len);
	}
}

static struct bench *add(const char *name, enum mix mix, bool mangle, const char *text, bool file)
{
	struct bench *b = calloc(1, sizeof(*b));
	struct rules_conf *c = mangle ? &b->mgl.conf : &b->flt.conf;
	struct matcher *m = mangle ? &b->mgl.m : &b->flt.m;
	struct rules *r;

	if (nbenches == CASES)
		die("too many cases");
	snprintf(b->name, sizeof(b->name), "%s", name);
	b->mix = mix;
	b->mangle = mangle;
	*c = (struct rules_conf)RULES_CONF_INIT(mangle ? RULES_MANGLE : RULES_FILTER);
	c->err = stderr;
	c->source[c->nsources].is_file = file;
	c->source[c->nsources++].text = text;
	r = rules_load(c);
	if (!r)
		die("%s: these rules do not load", name);
	matcher_open(m, c, r);
	b->mgl.mtu = MTU_DEFAULT;
	if (mangle)
		mangle_open(&b->mgl);
	b->st.ops = mangle ? &mangle_ops : &filter_ops;
	b->st.ctx = mangle ? (void *)&b->mgl : (void *)&b->flt;
	b->st.stats.page = calloc(1, sizeof(*b->st.stats.page));
	build_all(mix);
	return benches[nbenches++] = b;
}

static double run(struct bench *b)
{
	double ns = 0, start;

	for (unsigned pass = 0; pass <= PASSES; pass++) {
		restore(b->mix);
		start = cpu_ns();
		for (unsigned i = 0; i < PACKETS; i += FRAME_BURST)
			b->st.ops->burst(&b->st, pool + i, FRAME_BURST);
		if (pass)	/* the first one warms up */
			ns += cpu_ns() - start;
	}
	return ns / PASSES / PACKETS;
}

/* Rules of a form, for numbers from 1 on */
static char *repeat(const char *form, unsigned n)
{
	char *text;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	for (unsigned i = 1; i <= n; i++)
		for (const char *c = form; *c; c++)
			if (*c == '#')
				fprintf(out, "%u", i);
			else if (*c == '~')
				fprintf(out, "%x", i);
			else if (*c == '^')
				fprintf(out, "%016x", i);
			else if (*c == '@')
				fprintf(out, "%u.%u", i >> 8, i & 255);
			else
				fputc(*c, out);
	fclose(out);
	return text;
}

static bool wanted(const char *name, char **patterns)
{
	for (char **p = patterns; *p; p++)
		if (!fnmatch(*p, name, 0))
			return true;
	return !*patterns;
}

static void add_shapes(char **patterns)
{
	char name[80], *text;

	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++)
		for (unsigned many = 0; many < 2; many++) {
			snprintf(name, sizeof(name), "rules: %s %s%s", many ? "1,000" : "1",
				 shapes[i].name, many && i == 0 ? "s" : "");
			if (!wanted(name, patterns))
				continue;
			text = repeat(shapes[i].form, many ? 1000 : 1);
			add(name, shapes[i].mix, false, text, false);
			free(text);
		}
}

/* Prefixes of scattered or neighbouring networks */
static char *table(unsigned n, bool v6, bool dense)
{
	char *text;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	fprintf(out, "table <t> {");
	for (unsigned i = 0; i < n; i++) {
		uint32_t a = dense ? 0x0a000000 + i * 2 * 256 : roll(UINT32_MAX) & 0xffffff00;

		if (v6)
			fprintf(out, "%s fd00:%x:%x::/48", i ? "," : "", dense ? i * 2 : a >> 16,
				dense ? 0 : a & 0xffff);
		else
			fprintf(out, "%s %u.%u.%u.0/24", i ? "," : "", a >> 24, a >> 16 & 255,
				a >> 8 & 255);
	}
	fprintf(out, " }\ndrop src <t>\n");
	fclose(out);
	return text;
}

static void add_tables(char **patterns)
{
	static const struct {
		const char *name;
		unsigned n;
		bool v6, dense;
	} tables[] = {
		{ "table: 1 prefix", 1, false, false },
		{ "table: 10,000 prefixes", 10000, false, false },
		{ "table: 10,000 neighbouring prefixes", 10000, false, true },
		{ "table: 1 prefix of IPv6", 1, true, false },
		{ "table: 10,000 prefixes of IPv6", 10000, true, false },
		{ "table: 10,000 neighbouring prefixes of IPv6", 10000, true, true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		char *text;

		if (!wanted(tables[i].name, patterns))
			continue;
		text = table(tables[i].n, tables[i].v6, tables[i].dense);
		add(tables[i].name, tables[i].v6 ? MIX_V6 : MIX_ANY, false, text, false);
		free(text);
	}
}

static void add_censor(char **patterns)
{
	static const struct {
		const char *name;
		enum mix mix;
		bool mangle;
	} censors[] = {
		{ "censor filter", MIX_WEAKLY, false },
		{ "censor filter, what it drops", MIX_DROP_ME, false },
		{ "censor mangle", MIX_WEAKLY, true },
		{ "censor mangle, nothing to edit", MIX_CLEAN, true },
	};
	const char *dir = getenv("EXAMPLES") ? getenv("EXAMPLES") : "examples";
	char path[4096];

	for (size_t i = 0; i < ARRAY_SIZE(censors); i++) {
		if (!wanted(censors[i].name, patterns))
			continue;
		snprintf(path, sizeof(path), "%s/censor-%s.rules", dir,
			 censors[i].mangle ? "mangle" : "filter");
		add(censors[i].name, censors[i].mix, censors[i].mangle, path, true);
	}
}

static int cmp(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void measure(void)
{
	for (unsigned r = 0; r < RUNS; r++)
		for (unsigned i = 0; i < nbenches; i++)
			benches[i]->ns[r] = run(benches[i]);
	for (unsigned i = 0; i < nbenches; i++) {
		qsort(benches[i]->ns, RUNS, sizeof(double), cmp);
		printf("%s\tns\t%.1f\n", benches[i]->name, benches[i]->ns[RUNS / 2]);
	}
}

static void load(const char *name, char *text)
{
	struct rules_conf c = RULES_CONF_INIT(RULES_FILTER);
	double start = cpu_ns();
	struct rules *r;

	c.err = stderr;
	c.source[c.nsources++].text = text;
	r = rules_load(&c);
	printf("%s\ts\t%.3f\n", name, (cpu_ns() - start) / 1e9);
	rules_free(r);
	free(text);
}

static void loads(char **patterns)
{
	static const char *const name[] = {
		"load: 10,000 port rules", "load: 10,000 'host' rules",
		"load: table of 100,000 prefixes"
	};

	if (wanted(name[0], patterns))
		load(name[0], repeat("drop where tcp dst port # and src net 10.1.0.0/16\n", 10000));
	if (wanted(name[1], patterns))
		load(name[1], repeat("drop where host 10.1.@\n", 10000));
	if (wanted(name[2], patterns))
		load(name[2], table(100000, false, false));
}

int main(int argc, char **argv)
{
	char **patterns = argv + 1;

	(void)argc;
	pool = frame_pool_new(PACKETS, ROOM);
	if (!pool)
		die("no memory");
	if (wanted("rules: none", patterns))
		add("rules: none", MIX_ANY, false, "default pass\n", false);
	add_censor(patterns);
	add_shapes(patterns);
	add_tables(patterns);
	measure();
	loads(patterns);
	return 0;
}
