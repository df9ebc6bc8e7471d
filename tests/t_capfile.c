/* SPDX-License-Identifier: MIT */
/*
 * t_capfile.c - The capture codec, with libpcap as the second opinion
 *
 * Files are built byte by byte here, not by our writer, and always read from copies
 * of exact size: ASan is the judge of one byte too far.
 */
#include <pcap/pcap.h>
#include <stdlib.h>
#include <string.h>

#include "capfile.h"
#include "capformat.h"
#include "tap.h"

#define PACKETS_MAX	64
#define BURST		3

struct file {
	bool be;
	size_t n;
	uint8_t b[8192];
};

/* What a reader made of a file */
struct got {
	unsigned n;
	enum cap_event last;
	uint64_t offset, sum;
	char err[160];
	struct {
		uint64_t ts_ns, seq;
		uint32_t len, orig, linktype, opt_len;
		uint8_t head[8];
	} p[PACKETS_MAX];
};

static void add(struct file *f, const void *p, size_t n)
{
	memcpy(f->b + f->n, p, n);
	f->n += n;
}

static void add16(struct file *f, uint16_t v)
{
	v = f->be ? __builtin_bswap16(v) : v;
	add(f, &v, 2);
}

static void add32(struct file *f, uint32_t v)
{
	v = f->be ? __builtin_bswap32(v) : v;
	add(f, &v, 4);
}

static void add64(struct file *f, uint64_t v)
{
	v = f->be ? __builtin_bswap64(v) : v;
	add(f, &v, 8);
}

static void pad(struct file *f)
{
	while (f->n % 4)
		f->b[f->n++] = 0;
}

static size_t block(struct file *f, uint32_t type)
{
	add32(f, type);
	add32(f, 0);
	return f->n - 8;
}

static void close_block(struct file *f, size_t at)
{
	size_t end = f->n + 4;

	pad(f);
	end = f->n + 4;
	f->n = at + 4;
	add32(f, (uint32_t)(end - at));
	f->n = end - 4;
	add32(f, (uint32_t)(end - at));
}

static void add_option(struct file *f, uint16_t code, const void *p, uint16_t len)
{
	add16(f, code);
	add16(f, len);
	add(f, p, len);
	pad(f);
}

static void section(struct file *f)
{
	size_t at = block(f, BLOCK_SHB);

	add32(f, BYTE_ORDER_MAGIC);
	add16(f, 1);
	add16(f, 0);
	add64(f, UINT64_MAX);
	close_block(f, at);
}

/* @resol < 0: none; @offset 0: none */
static void interface(struct file *f, uint16_t linktype, uint32_t snaplen, int resol,
		      int64_t offset)
{
	size_t at = block(f, BLOCK_IDB);
	uint8_t r = (uint8_t)resol;

	add16(f, linktype);
	add16(f, 0);
	add32(f, snaplen);
	add_option(f, IF_NAME, "eth0", 4);
	if (resol >= 0)
		add_option(f, IF_TSRESOL, &r, 1);
	if (offset) {
		add16(f, IF_TSOFFSET);
		add16(f, 8);
		add64(f, (uint64_t)offset);
	}
	add32(f, 0);
	close_block(f, at);
}

static void payload(struct file *f, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		f->b[f->n++] = (uint8_t)(0x45 + i);
	pad(f);
}

static void enhanced(struct file *f, uint32_t id, uint64_t ts, uint32_t len, uint32_t orig,
		     const char *comment)
{
	size_t at = block(f, BLOCK_EPB);

	add32(f, id);
	add32(f, (uint32_t)(ts >> 32));
	add32(f, (uint32_t)ts);
	add32(f, len);
	add32(f, orig);
	payload(f, len);
	if (comment) {
		add_option(f, OPT_COMMENT, comment, (uint16_t)strlen(comment));
		add_option(f, 0x9234, "\1\2\3", 3);
		add32(f, 0);
	}
	close_block(f, at);
}

static void simple(struct file *f, uint32_t len, uint32_t orig)
{
	size_t at = block(f, BLOCK_SPB);

	add32(f, orig);
	payload(f, len);
	close_block(f, at);
}

static void obsolete(struct file *f, uint16_t id, uint64_t ts, uint32_t len, uint32_t orig)
{
	size_t at = block(f, BLOCK_PB);

	add16(f, id);
	add16(f, 0xffff);	/* drops: unknown */
	add32(f, (uint32_t)(ts >> 32));
	add32(f, (uint32_t)ts);
	add32(f, len);
	add32(f, orig);
	payload(f, len);
	close_block(f, at);
}

static void unknown(struct file *f, uint32_t type, uint32_t len)
{
	size_t at = block(f, type);

	payload(f, len);
	close_block(f, at);
}

static void classic(struct file *f, uint32_t magic, uint32_t linktype)
{
	add32(f, magic);
	add16(f, 2);
	add16(f, 4);
	add64(f, 0);
	add32(f, 65535);
	add32(f, linktype);
}

static void record(struct file *f, uint32_t sec, uint32_t frac, uint32_t len, uint32_t orig)
{
	add32(f, sec);
	add32(f, frac);
	add32(f, len);
	add32(f, orig);
	for (uint32_t i = 0; i < len; i++)
		f->b[f->n++] = (uint8_t)(0x45 + i);
}

static uint8_t *dup(const void *p, size_t n)
{
	uint8_t *d = malloc(n ? n : 1);

	memcpy(d, p, n);
	return d;
}

static void note(struct got *g, struct frame *f)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < f->len; i++)
		sum += frame_data(f)[i];
	for (uint32_t i = 0; i < f->opt_len; i++)
		sum += frame_at(f, f->opt_off)[i];
	for (uint32_t i = 0; i < f->encap_len; i++)
		sum += frame_encap(f)[i];
	g->sum += sum;
	if (g->n < PACKETS_MAX) {
		g->p[g->n].ts_ns = f->ts_ns;
		g->p[g->n].seq = f->seq;
		g->p[g->n].len = f->len;
		g->p[g->n].orig = f->orig_len;
		g->p[g->n].linktype = f->linktype;
		g->p[g->n].opt_len = f->opt_len;
		memcpy(g->p[g->n].head, frame_data(f), MIN(f->len, 8u));
	}
	g->n++;
}

/*
 * Read @n bytes that come @step at a time, each time from a copy of exactly what is
 * there: a record is only taken when it is whole.  Those that come at once, in bursts.
 */
static void read_steps(struct got *g, const uint8_t *data, size_t n, size_t step)
{
	int max = step < n ? 1 : BURST, found;
	static struct cap_reader r;
	struct frame **pool = frame_pool_new(BURST, 1024);
	size_t start = 0, have = 0;
	unsigned calls = 0;

	memset(g, 0, sizeof(*g));
	cap_reader_init(&r);
	do {
		have = MIN(n, have + step);
		do {
			uint8_t *copy = dup(data + start, have - start);
			size_t used;

			g->last = cap_burst(&r, copy, have - start, &used, pool, max, &found);
			for (int i = 0; i < found; i++)
				note(g, pool[i]);
			free(copy);
			if (used > have - start || calls++ > 4 * n + 16) {
				g->last = CAP_ERROR;
				strcpy(g->err, "runs away");
				break;
			}
			start += used;
		} while (g->last != CAP_MORE && g->last != CAP_ERROR);
	} while (have < n && g->last != CAP_ERROR);
	if (r.err[0])
		strcpy(g->err, r.err);
	if (g->last == CAP_MORE && cap_cut(&r, have - start)) {
		g->last = CAP_ERROR;
		strcpy(g->err, "cut");
	}
	g->offset = r.offset;
	frame_pool_free(pool);
}

static void read_all(struct got *g, const struct file *f)
{
	read_steps(g, f->b, f->n, f->n);
}

/* The same packets through libpcap? */
static bool as_libpcap(const struct file *f, const struct got *g, char *why)
{
	uint8_t *copy = dup(f->b, f->n);
	FILE *in = fmemopen(copy, f->n, "r");
	struct pcap_pkthdr *h;
	const u_char *data;
	unsigned n = 0, bad = 0;
	pcap_t *p;
	int r;

	p = pcap_fopen_offline_with_tstamp_precision(in, PCAP_TSTAMP_PRECISION_NANO, why);
	if (!p) {
		fclose(in);
		free(copy);
		return false;
	}
	while ((r = pcap_next_ex(p, &h, &data)) == 1) {
		uint64_t ns = (uint64_t)h->ts.tv_sec * 1000000000u + (uint64_t)h->ts.tv_usec;

		bad += n >= g->n || ns != g->p[n].ts_ns || h->caplen != g->p[n].len ||
		       h->len != g->p[n].orig || memcmp(data, g->p[n].head, MIN(h->caplen, 8u));
		n++;
	}
	snprintf(why, PCAP_ERRBUF_SIZE, "%u of %u packets, %u differ: %s", n, g->n, bad,
		 r == PCAP_ERROR ? pcap_geterr(p) : "end");
	pcap_close(p);
	free(copy);
	return r == PCAP_ERROR_BREAK && n == g->n && !bad;
}

static void agrees(const struct file *f, unsigned packets, const char *what)
{
	char why[PCAP_ERRBUF_SIZE] = "";
	struct got all, steps;
	bool same;

	read_all(&all, f);
	OK(all.last == CAP_MORE && all.n == packets, "%s: %u packets, %s", what, all.n, all.err);
	same = as_libpcap(f, &all, why);
	OK(same, "%s: as libpcap (%s)", what, why);
	read_steps(&steps, f->b, f->n, 7);
	OK(!memcmp(&all, &steps, sizeof(all)), "%s: the same in pieces of 7 bytes", what);
}

static void build_pcapng(struct file *f, bool be, int resol, int64_t offset)
{
	*f = (struct file){ .be = be };
	section(f);
	unknown(f, 0x0bad, 5);
	interface(f, LINKTYPE_ETHERNET, 96, resol, offset);
	enhanced(f, 0, 1700000000123456ull, 60, 60, NULL);
	unknown(f, 5, 24);
	enhanced(f, 0, 1700000000123457ull, 61, 1514, "what a comment");
	obsolete(f, 0, 1700000000123458ull, 3, 3);
	enhanced(f, 0, 0, 0, 0, NULL);
}

static void build_classic(struct file *f, bool be, bool nano, uint32_t linktype)
{
	*f = (struct file){ .be = be };
	classic(f, nano ? CLASSIC_NS : CLASSIC_US, linktype);
	record(f, 1700000000, 999999, 60, 60);
	record(f, 1700000001, 0, 1, 9000);
	record(f, 0x7fffffff, 5, 0, 0);
}

static void test_against_libpcap(void)
{
	static const int resols[] = { -1, 0, 3, 6, 7, 9, 12, 0x80, 0x8a, 0x80 + 32 };
	struct file f;
	char what[80];

	for (int be = 0; be < 2; be++) {
		for (size_t i = 0; i < ARRAY_SIZE(resols); i++) {
			snprintf(what, sizeof(what), "pcapng %s-endian, resolution %#x",
				 be ? "big" : "little", (unsigned)resols[i]);
			build_pcapng(&f, be, resols[i], 0);
			if (resols[i] > 0 && resols[i] < 6)	/* seconds that fit into 64 bits */
				build_pcapng(&f, be, resols[i], -1000000000);
			agrees(&f, 4, what);
		}
		build_pcapng(&f, be, 6, 86400);
		agrees(&f, 4, "a timestamp offset");
		for (int nano = 0; nano < 2; nano++) {
			build_classic(&f, be, nano, LINKTYPE_ETHERNET);
			agrees(&f, 3, nano ? "classic nano" : "classic micro");
		}
	}
}

static void test_simple_packets(void)
{
	struct file f = { .be = true };

	section(&f);
	interface(&f, LINKTYPE_RAW, 40, 6, 0);
	simple(&f, 40, 1500);
	simple(&f, 33, 33);
	agrees(&f, 2, "simple packet blocks");
}

static void test_sections(void)
{
	struct file f = { .be = false };
	struct got g;

	section(&f);
	interface(&f, LINKTYPE_ETHERNET, 0, 6, 0);
	interface(&f, LINKTYPE_RAW, 0, 9, 0);
	enhanced(&f, 0, 5, 20, 20, NULL);
	enhanced(&f, 1, 5, 21, 21, "kept");
	f.be = true;
	section(&f);
	interface(&f, LINKTYPE_LINUX_SLL, 0, -1, 0);
	enhanced(&f, 0, 7, 22, 22, "not kept: foreign byte order");
	read_all(&g, &f);
	OK(g.last == CAP_MORE && g.n == 3, "two sections of both byte orders, three interfaces");
	OK(g.p[0].linktype == LINKTYPE_ETHERNET && g.p[1].linktype == LINKTYPE_RAW &&
	   g.p[2].linktype == LINKTYPE_LINUX_SLL, "each packet has its interface's link type");
	OK(g.p[0].ts_ns == 5000 && g.p[1].ts_ns == 5 && g.p[2].ts_ns == 7000, "and resolution");
	OK(g.p[0].seq == 1 && g.p[1].seq == 2 && g.p[2].seq == 3, "numbered through");
	OK(g.p[0].opt_len == 0 && g.p[1].opt_len == 16 && g.p[2].opt_len == 0,
	   "options in our byte order are kept");
	f.n = 0;
	f.be = false;
	section(&f);
	interface(&f, LINKTYPE_RAW, 0, 6, 0);
	section(&f);
	enhanced(&f, 0, 0, 4, 4, NULL);
	read_all(&g, &f);
	OK(g.last == CAP_ERROR && strstr(g.err, "interface 0, 0 described") && g.offset == 28 + 40 + 28 &&
	   !g.n, "interfaces end with their section: %s at %llu", g.err,
	   (unsigned long long)g.offset);
}

static void expect_error(const struct file *f, const char *text)
{
	struct got g;

	read_all(&g, f);
	OK(g.last == CAP_ERROR && strstr(g.err, text), "refused: '%s' for '%s'", g.err, text);
}

/* The upper bits of a classic header's link type tell the frame check sequence */
static void test_classic_linktype(void)
{
	struct file f;

	build_classic(&f, false, false, LINKTYPE_ETHERNET | 0x44000000);
	agrees(&f, 3, "link type with FCS bits");
	build_classic(&f, false, false, 0x10001);
	expect_error(&f, "link type 65537");
	for (int i = 0; i < 2; i++) {
		struct got g;

		build_classic(&f, i, false, i ? 12 : 14);
		read_all(&g, &f);
		OK(g.p[0].linktype == LINKTYPE_RAW, "a platform's DLT_RAW is raw IP");
	}
}

static void test_refusals(void)
{
	struct file f = { .be = false };

	expect_error(&f, "cut");
	add(&f, "<?xml version=\"1.0\"?> and more", 30);
	expect_error(&f, "neither pcapng nor pcap: starts with 3c 3f 78 6d");
	build_classic(&f, false, false, 1);
	f.b[4] = 9;
	expect_error(&f, "pcap version 9.4");
	build_classic(&f, false, false, 1);
	memcpy(f.b + 24 + 8, "\xff\xff\xff\xff", 4);
	expect_error(&f, "packet of 4294967295 bytes");
	build_pcapng(&f, false, 6, 0);
	f.b[8] ^= 1;
	expect_error(&f, "byte-order magic");
	build_pcapng(&f, false, 6, 0);
	f.b[12] = 2;
	expect_error(&f, "version 2");
	build_pcapng(&f, false, 6, 0);
	f.b[24] ^= 4;
	expect_error(&f, "two lengths");
	build_pcapng(&f, false, 77, 0);
	expect_error(&f, "resolution");
	f.n = 0;
	section(&f);
	simple(&f, 4, 4);
	expect_error(&f, "before any interface");
	f.n = 0;
	section(&f);
	for (unsigned i = 0; i < CAP_IFACES_MAX + 1 && f.n < sizeof(f.b) - 64; i++) {
		size_t at = block(&f, BLOCK_IDB);

		add64(&f, 1);
		close_block(&f, at);
	}
	expect_error(&f, "more than 256 interfaces");
}

/* A block and a packet of the largest sizes; the next larger ones are refused */
static void test_large(void)
{
	uint32_t total = CAP_BLOCK_MAX, len = FRAME_DATA_MAX;
	struct file f = { .be = false };
	uint8_t *big = calloc(1, (size_t)CAP_BLOCK_MAX + 1024), *p;
	struct got g;

	section(&f);
	interface(&f, LINKTYPE_RAW, 0, 9, 0);
	memcpy(big, f.b, f.n);
	p = big + f.n;
	memcpy(p, (uint32_t[]){ BLOCK_EPB, total, 0, 0, 0, len, len }, 28);
	memcpy(p + total - 4, &total, 4);
	read_steps(&g, big, f.n + total, f.n + total);
	OK(g.last == CAP_MORE && g.n == 1 && g.p[0].len == FRAME_DATA_MAX,
	   "a block of 16 MB with a packet of 262144");
	OK(g.p[0].opt_len <= CAP_OPTIONS_MAX, "of its options no more than is bounded is kept");
	len++;
	memcpy(p + 20, &len, 4);
	read_steps(&g, big, f.n + total, f.n + total);
	OK(g.last == CAP_ERROR && strstr(g.err, "packet of 262145"), "%s", g.err);
	total += 4;
	memcpy(p + 4, &total, 4);
	read_steps(&g, big, f.n + 64, f.n + 64);
	OK(g.last == CAP_ERROR && strstr(g.err, "length 16777220"), "%s", g.err);
	free(big);
}

/* Many options, 16 MB of them: what is kept must be bounded, as buffers for it are */
static void test_options_bounded(void)
{
	uint32_t total = 1u << 20;
	struct file f = { .be = false };
	uint8_t *big = calloc(1, (size_t)total + 1024), *p;
	struct got g;

	section(&f);
	interface(&f, LINKTYPE_RAW, 0, 9, 0);
	memcpy(big, f.b, f.n);
	p = big + f.n;
	memcpy(p, (uint32_t[]){ BLOCK_EPB, total, 0, 0, 0, 0, 0 }, 28);
	for (uint32_t at = 28; at + 1004 + 4 < total; at += 1004)
		memcpy(p + at, (uint16_t[]){ OPT_COMMENT, 1000 }, 4);
	memcpy(p + total - 4, &total, 4);
	read_steps(&g, big, f.n + total, f.n + total);
	OK(g.n == 1 && g.p[0].opt_len > 1004 && g.p[0].opt_len <= CAP_OPTIONS_MAX &&
	   g.p[0].opt_len % 1004 == 0, "a megabyte of options: whole ones of %u bytes kept",
	   g.p[0].opt_len);
	free(big);
}

static size_t write_sample(uint8_t *out, struct frame *f, enum cap_format format,
			   const struct cap_hello *h)
{
	struct cap_writer w = { .format = format, .name = "gwdecap:censor" };
	size_t n = cap_write_header(&w, out, h);

	n += cap_write_iface(&w, out + n, f->linktype);
	for (int i = 0; i < 3; i++) {
		f->seq = 100u + (unsigned)i;
		n += cap_write_packet(&w, out + n, f);
	}
	return n + cap_write_end(&w, out + n, 3, false);
}

static void fill(struct frame *f, unsigned len, unsigned encap)
{
	uint8_t bytes[512];

	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7);
	frame_reset(f);
	f->linktype = LINKTYPE_RAW;
	f->ts_ns = 1700000000987654321ull;
	if (!frame_set(f, bytes, len))
		OK(false, "a small packet fits a frame");
	f->orig_len = len + 5;
	frame_unguard(f);
	memcpy(f->buf + 600, bytes, encap);
	f->encap_off = encap ? 600 : 0;
	f->encap_len = (uint16_t)encap;
	f->encap_linktype = LINKTYPE_ETHERNET;
	f->endpoint = 0x0102030405060708;
	f->attachment = 9;
	f->cookie = 0xcafef00d;
	f->dialect = DIALECT_AWS;
	f->marks = FRAME_CHANGED | FRAME_FRAGMENT;
	f->frag_mtu = 1500;
	f->both_seq = 77;
	f->both_ack = 78;
}

static bool same_metadata(struct frame *a, struct frame *b)
{
	return a->len == b->len && !memcmp(frame_data(a), frame_data(b), a->len) &&
	       a->ts_ns == b->ts_ns && a->orig_len == b->orig_len && a->linktype == b->linktype &&
	       a->endpoint == b->endpoint && a->attachment == b->attachment &&
	       a->cookie == b->cookie && a->dialect == b->dialect && a->marks == b->marks &&
	       a->frag_mtu == b->frag_mtu && a->both_seq == b->both_seq &&
	       a->both_ack == b->both_ack && a->encap_len == b->encap_len &&
	       a->encap_linktype == b->encap_linktype &&
	       !memcmp(frame_encap(a), frame_encap(b), a->encap_len);
}

static void test_round_trip(void)
{
	struct cap_hello h = { .nonce = 0x1122334455667788, .message = 3, .packets = 99, .live = true,
			       .chain = "default", .prog = "gwdecap", .as = "censor" };
	struct frame **pool = frame_pool_new(2, 4096);
	static struct cap_reader r;
	static uint8_t out[16384];
	unsigned bad = 0, n = 0, hellos = 0;

	for (unsigned len = 0; len < 70; len++)
		for (unsigned encap = 0; encap <= ENCAP_MAX; encap += len ? 96 : 1) {
			size_t size, at = 0, used;
			enum cap_event ev;
			uint8_t *copy;

			fill(pool[0], len, encap);
			size = write_sample(out, pool[0], CAP_PCAPNG, &h);
			bad += size > 2 * CAP_HEADER_ROOM + 3 * cap_packet_size(pool[0]);
			copy = dup(out, size);
			cap_reader_init(&r);
			while ((ev = cap_next(&r, copy + at, size - at, &used, pool[1])) == CAP_PACKET ||
			       ev == CAP_HELLO) {
				at += used;
				hellos += ev == CAP_HELLO;
				if (ev == CAP_HELLO)
					continue;
				n++;
				bad += !same_metadata(pool[0], pool[1]);
				bad += pool[1]->seq < 100 || pool[1]->seq > 102;
			}
			bad += ev != CAP_END || r.total != 3 || r.ours || r.skipped;
			bad += memcmp(&r.hello, &h, sizeof(h)) != 0;
			bad += at + used != size;
			free(copy);
		}
	OK(!bad, "metadata come back as written: %u packets, %u wrong", n, bad);
	OK(hellos * 3 == n, "and so does the hello");
	frame_pool_free(pool);
}

/* Foreign options stand before ours and are read back as they were */
static void test_foreign_options(void)
{
	struct frame **pool = frame_pool_new(2, 4096);
	struct file f = { .be = false };
	static struct cap_reader r;
	static uint8_t out[4096];
	struct cap_writer w = { .name = "t" };
	size_t n, at = 0, used = 0;
	unsigned round = 0;

	section(&f);
	interface(&f, LINKTYPE_RAW, 0, 9, 0);
	enhanced(&f, 0, 1, 9, 9, "a comment to keep");
	n = f.n;
	memcpy(out, f.b, n);
	for (; round < 3; round++) {
		uint8_t *copy = dup(out, n);
		unsigned len;

		cap_reader_init(&r);
		while (cap_next(&r, copy + at, n - at, &used, pool[0]) != CAP_PACKET && used)
			at += used;
		len = pool[0]->opt_len;
		if (len != 32 || memcmp(frame_at(pool[0], pool[0]->opt_off) + 4, "a comment to keep", 17))
			break;
		if (!frame_own(pool[0], 100) ||
		    memcmp(frame_at(pool[0], pool[0]->opt_off) + 4, "a comment to keep", 17))
			break;
		w.iface_written = false;
		n = cap_write_header(&w, out, NULL);
		n += cap_write_iface(&w, out + n, LINKTYPE_RAW);
		n += cap_write_packet(&w, out + n, pool[0]);
		at = 0;
		free(copy);
	}
	OK(round == 3, "a foreign packet's options survive three rounds");
	frame_pool_free(pool);
}

static void test_libpcap_reads_ours(void)
{
	struct cap_hello h = { .chain = "c", .prog = "p", .as = "" };
	struct frame **pool = frame_pool_new(1, 4096);
	struct file f = { .be = false };

	for (unsigned len = 0; len < 40; len += 13) {
		for (int format = CAP_PCAPNG; format <= CAP_PCAP; format++) {
			char why[PCAP_ERRBUF_SIZE];
			struct got g;
			bool same;

			fill(pool[0], len, 82);
			f.n = write_sample(f.b, pool[0], (enum cap_format)format, &h);
			read_all(&g, &f);
			same = g.n == 3 && g.p[2].ts_ns == 1700000000987654321ull &&
			       g.p[1].orig == len + 5 && as_libpcap(&f, &g, why);
			OK(same, "libpcap reads our %s of %u bytes: %s", format ? "pcap" : "pcapng", len, why);
		}
	}
	frame_pool_free(pool);
}

/* Every cut: what is whole comes out, then it is said that the file is cut */
static void every_cut(const struct file *f, const char *what)
{
	struct got all, g;
	unsigned bad = 0, clean = 0;

	read_all(&all, f);
	for (size_t n = 0; n < f->n; n++) {
		read_steps(&g, f->b, n, n ? n : 1);
		bad += g.n > all.n || memcmp(g.p, all.p, g.n * sizeof(g.p[0])) != 0;
		bad += g.last != CAP_MORE && strcmp(g.err, "cut");
		clean += g.last == CAP_MORE;
	}
	OK(!bad, "%s: every cut gives the packets before it, then 'cut' (%u at a boundary)", what, clean);
}

/* Every byte in several wrong ways: no crash, no endless loop, offsets within the file */
static void every_flip(const struct file *f, const char *what)
{
	static const uint8_t flips[] = { 0x01, 0x80, 0xff, 0x04 };
	unsigned bad = 0, errors = 0, tried = 0;
	struct file t = *f;
	struct got g;

	for (size_t at = 0; at < f->n; at++) {
		for (size_t i = 0; i < sizeof(flips); i++, tried++) {
			t.b[at] = f->b[at] ^ flips[i];
			read_all(&g, &t);
			bad += g.offset > t.n || !strcmp(g.err, "runs away");
			bad += g.last == CAP_ERROR && !g.err[0];
			errors += g.last == CAP_ERROR;
		}
		t.b[at] = f->b[at];
	}
	OK(!bad && errors && errors < tried, "%s: %u corruptions, %u found broken", what, tried, errors);
}

/* A chain's name becomes the name of a folder */
static void test_names(void)
{
	static const struct { const char *name; bool good; } names[] = {
		{ "default", true }, { "", true }, { "a.b-c_9", true }, { "..", false },
		{ ".hidden", false }, { "a/b", false }, { "../up", false }, { "a b", false },
		{ "a\"b", false },
	};
	struct frame **pool = frame_pool_new(1, 4096);

	fill(pool[0], 30, 82);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct cap_hello h = { .prog = "gwcap" };
		struct file f = { .be = false };
		struct got g;

		strcpy(h.chain, names[i].name);
		f.n = write_sample(f.b, pool[0], CAP_PCAPNG, &h);
		read_all(&g, &f);
		OK((g.last != CAP_ERROR) == names[i].good, "a hello of chain '%s': %s", names[i].name, g.err);
	}
	frame_pool_free(pool);
}

static void test_hostile(void)
{
	struct cap_hello h = { .chain = "default", .prog = "gwcap", .as = "x" };
	struct frame **pool = frame_pool_new(1, 4096);
	struct file f;

	for (int be = 0; be < 2; be++) {
		build_pcapng(&f, be, 9, 3);
		simple(&f, 5, 5);
		every_cut(&f, be ? "pcapng big-endian" : "pcapng little-endian");
		every_flip(&f, be ? "pcapng big-endian" : "pcapng little-endian");
		build_classic(&f, be, true, LINKTYPE_RAW);
		every_cut(&f, be ? "classic big-endian" : "classic little-endian");
		every_flip(&f, be ? "classic big-endian" : "classic little-endian");
	}
	memset(&f, 0, sizeof(f));
	fill(pool[0], 30, 82);
	f.n = write_sample(f.b, pool[0], CAP_PCAPNG, &h);
	every_flip(&f, "our stream");
	f.n -= 20;		/* without the end block: never a boundary after the hello */
	every_cut(&f, "our stream");
	frame_pool_free(pool);
}

int main(void)
{
	test_against_libpcap();
	test_simple_packets();
	test_sections();
	test_classic_linktype();
	test_refusals();
	test_large();
	test_options_bounded();
	test_round_trip();
	test_foreign_options();
	test_libpcap_reads_ours();
	test_names();
	test_hostile();
	return tap_done();
}
