/* SPDX-License-Identifier: MIT */
/*
 * t_layout.c - Every number, name and reason that gwframe(5) and gwchain(7) print is
 * the one in the programs
 *
 * A table of a page starts behind the comment '.\" table NAME' and ends at
 * '.\" end'; its rows are '.It cell Ta cell ...', the first one its head.
 */
#include <stdlib.h>
#include <string.h>

#include "capfile.h"
#include "capformat.h"
#include "stats.h"
#include "stream.h"
#include "tap.h"

#define CELLS	4
#define ROWS	64

struct table {
	char line[ROWS][256];
	char *cell[ROWS][CELLS];
	int n;
};

static struct table t;

static void split_row(char *line, char **cell)
{
	for (int i = 0; i < CELLS; i++) {
		char *ta = strstr(line, " Ta");

		cell[i] = line;
		if (!ta) {
			line += strlen(line);
			continue;
		}
		*ta = '\0';
		line = ta + 3 + (ta[3] == ' ');
	}
}

/* Read table @name of @page into t; false: it is not there */
static bool load(const char *page, const char *name)
{
	char line[256], start[64];
	bool in = false, head = false;
	FILE *f = fopen(page, "r");

	t.n = 0;
	snprintf(start, sizeof(start), ".\\\" table %s\n", name);
	while (f && fgets(line, sizeof(line), f)) {
		if (!in) {
			in = !strcmp(line, start);
			continue;
		}
		if (!strncmp(line, ".\\\" end", 7))
			break;
		line[strcspn(line, "\n")] = '\0';
		if (head && t.n < ROWS && !strncmp(line, ".It ", 4)) {
			strcpy(t.line[t.n], line + 4);
			split_row(t.line[t.n], t.cell[t.n]);
			t.n++;
		}
		head = true;
	}
	if (f)
		fclose(f);
	OK(in && t.n, "%s has a table '%s'", page, name);
	return in && t.n;
}

struct field {
	const char *name;
	size_t off, size;
};
#define FIELD(s, m) { #m, offsetof(struct s, m), sizeof(((struct s *)0)->m) }

static void check_struct(const char *name, const struct field *f, size_t n, size_t size)
{
	size_t end = 0;

	if (!load("man/gwframe.5", name))
		return;
	for (size_t i = 0; i < n; i++) {
		char want[128];
		bool ok;

		snprintf(want, sizeof(want), ".It %zu Ta %zu Ta %s", f[i].off, f[i].size, f[i].name);
		ok = (int)i < t.n && strtoul(t.cell[i][0], NULL, 10) == f[i].off &&
		     strtoul(t.cell[i][1], NULL, 10) == f[i].size && !strcmp(t.cell[i][2], f[i].name);
		OK(ok, "%s: %s", name, want);
		OK(f[i].off == end, "%s: nothing undescribed before %s", name, f[i].name);
		end = f[i].off + f[i].size;
	}
	OK(t.n == (int)n && size - end < _Alignof(struct frame), "%s: nothing else, %zu bytes", name, size);
}

#define CHECK_STRUCT(s, ...) do { \
	static const struct field f_[] = { __VA_ARGS__ }; \
	check_struct(#s, f_, ARRAY_SIZE(f_), sizeof(struct s)); \
} while (0)

static void structs(void)
{
	CHECK_STRUCT(frame, FIELD(frame, magic), FIELD(frame, version), FIELD(frame, size),
		     FIELD(frame, linktype), FIELD(frame, len), FIELD(frame, seq),
		     FIELD(frame, ts_ns), FIELD(frame, off), FIELD(frame, encap_off),
		     FIELD(frame, opt_off), FIELD(frame, buf_off), FIELD(frame, orig_len),
		     FIELD(frame, encap_len), FIELD(frame, encap_linktype),
		     FIELD(frame, opt_len), FIELD(frame, room),
		     FIELD(frame, endpoint), FIELD(frame, attachment), FIELD(frame, cookie),
		     FIELD(frame, dialect), FIELD(frame, pad), FIELD(frame, flow_hash),
		     FIELD(frame, pkt), FIELD(frame, verdict), FIELD(frame, marks),
		     FIELD(frame, rule), FIELD(frame, both_seq), FIELD(frame, both_ack),
		     FIELD(frame, frag_mtu), FIELD(frame, pad2));
	CHECK_STRUCT(packet, FIELD(packet, l3), FIELD(packet, l4), FIELD(packet, payload),
		     FIELD(packet, end), FIELD(packet, frag_id), FIELD(packet, flags),
		     FIELD(packet, frag_off), FIELD(packet, version), FIELD(packet, proto),
		     FIELD(packet, pad));
	CHECK_STRUCT(stats_rule, FIELD(stats_rule, name), FIELD(stats_rule, packets),
		     FIELD(stats_rule, bytes));
}

static void page_of_counters(void)
{
	CHECK_STRUCT(stats_page, FIELD(stats_page, magic), FIELD(stats_page, version),
		     FIELD(stats_page, size), FIELD(stats_page, pid), FIELD(stats_page, uid),
		     FIELD(stats_page, role), FIELD(stats_page, nonce),
		     FIELD(stats_page, unix_start_ns), FIELD(stats_page, heartbeat_ns),
		     FIELD(stats_page, chain), FIELD(stats_page, prog), FIELD(stats_page, as),
		     FIELD(stats_page, in), FIELD(stats_page, out), FIELD(stats_page, trouble),
		     FIELD(stats_page, nupstream), FIELD(stats_page, pad),
		     FIELD(stats_page, upstream), FIELD(stats_page, upstream_packets),
		     FIELD(stats_page, hand),
		     FIELD(stats_page, counter), FIELD(stats_page, drop),
		     FIELD(stats_page, latency), FIELD(stats_page, rules_hash),
		     FIELD(stats_page, rules_loaded_unix_ns), FIELD(stats_page, rules_gen),
		     FIELD(stats_page, nrules), FIELD(stats_page, rules));
}

struct value {
	const char *name;
	uint64_t v;
};

/* What the page says of a body of @len bytes at @body: each row a value found there */
static void check_wire(const char *name, const struct value *v, int n, const uint8_t *body, size_t len)
{
	size_t end = 0;

	if (!load("man/gwframe.5", name))
		return;
	OK(t.n == n, "%s: %d fields", name, n);
	for (int i = 0; i < n && i < t.n; i++) {
		size_t off = strtoul(t.cell[i][0], NULL, 10), size = strtoul(t.cell[i][1], NULL, 10);
		uint64_t got = 0;

		OK(!strcmp(t.cell[i][2], v[i].name) && off == end, "%s: %s follows at %zu", name,
		   v[i].name, end);
		if (!strcmp(t.cell[i][1], "rest"))
			size = len - off;
		if (off + size <= len && size <= sizeof(got))
			memcpy(&got, body + off, size);
		OK(size && got == v[i].v, "%s: %s is %#llx", name, v[i].name,
		   (unsigned long long)got);
		end = off + size;
	}
	OK(end == len, "%s: %zu bytes", name, len);
}

static void hello_and_end(void)
{
	static const struct cap_hello h = {
		.nonce = 0x1112131415161718, .message = 0x2122232425262728,
		.packets = 0x3132333435363738, .live = true,
		.old_nonce = 0x5152535455565758, .old_packets = 0x6162636465666768,
		.chain = "lab", .prog = "gwfilter", .as = "x",
	};
	const struct value hello[] = {
		{ "version", HELLO_VERSION }, { "flags", 1 }, { "zero", 0 }, { "nonce", h.nonce },
		{ "message", h.message }, { "packets", h.packets },
		{ "old_nonce", h.old_nonce }, { "old_packets", h.old_packets },
	};
	static const struct value end[] = { { "total", 0x4142434445464748 } };
	static const char names[] = "\3lab\10gwfilter\1x";
	struct cap_writer w = { .name = "x" };
	uint8_t buf[2 * CAP_HEADER_ROOM], *p = buf;

	cap_write_header(&w, buf, &h);
	p += le32(buf + 4);
	OK(le32(p) == 0x80475701, "hello block");
	check_wire("hello", hello, ARRAY_SIZE(hello), p + 8, HELLO_FIXED);
	OK(!memcmp(p + 8 + HELLO_FIXED, names, sizeof(names) - 1), "hello: three names follow");
	cap_write_end(&w, buf, 0x4142434445464748, false);
	OK(le32(buf) == 0x80475702, "end block");
	check_wire("end", end, ARRAY_SIZE(end), buf + 8, le32(buf + 4) - 12);
	cap_write_end(&w, buf, 1, true);
	OK(le32(buf) == 0x80475703, "abort block");
	OK(cap_write_padding(buf, 8) == 20 && le32(buf) == 0x80475704, "padding block");
}

static struct frame *a_frame(struct frame **pool)
{
	struct frame *f = pool[0];

	f->linktype = LINKTYPE_RAW;
	f->seq = 0x0102030405060708;
	return frame_set(f, "\x45packet", 8) ? f : NULL;
}

#define OPTION_AT	(8 + 20 + 8)	/* block header, packet block, 8 bytes of packet */

static void option(void)
{
	static const struct value brief[] = {
		{ "version", 1 }, { "encap_len", 0 }, { "dialect", 0 }, { "zero", 0 },
		{ "encap_linktype", 0 }, { "seq", 0x0102030405060708 },
	};
	struct frame **pool = frame_pool_new(1, STREAM_FRAME_ROOM);
	struct frame *f = pool ? a_frame(pool) : NULL;
	struct cap_writer w = { .name = "x", .iface_written = true };
	uint8_t buf[1024];

	if (!f)
		exit(1);
	cap_write_packet(&w, buf, f);
	OK(le16(buf + OPTION_AT) == 0x8757 && le16(buf + OPTION_AT + 2) == 16, "short option");
	for (size_t i = 0, at = 0; i < ARRAY_SIZE(brief); i++) {
		static const uint8_t size[] = { 2, 2, 1, 1, 2, 8 };
		uint64_t got = 0;

		memcpy(&got, buf + OPTION_AT + 4 + at, size[i]);
		OK(got == brief[i].v, "short option: %s", brief[i].name);
		at += size[i];
	}
	frame_pool_free(pool);
}

static void option_long(void)
{
	static uint8_t encap[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	static const struct value full[] = {
		{ "version", 1 }, { "encap_len", 8 }, { "dialect", DIALECT_AWS }, { "zero", 0 },
		{ "encap_linktype", 0x5152 }, { "seq", 0x0102030405060708 },
		{ "endpoint", 0x1112131415161718 }, { "attachment", 0x2122232425262728 },
		{ "cookie", 0x31323334 }, { "marks", FRAME_REPLY }, { "frag_mtu", 0x4142 },
		{ "both_seq", 0x61626364 }, { "both_ack", 0x71727374 },
		{ "encap", 0x0807060504030201 },
	};
	struct frame **pool = frame_pool_new(1, STREAM_FRAME_ROOM);
	struct frame *f = pool ? a_frame(pool) : NULL;
	struct cap_writer w = { .name = "x", .iface_written = true };
	uint8_t buf[1024];

	if (!f)
		exit(1);
	f->dialect = DIALECT_AWS;
	f->endpoint = full[6].v;
	f->attachment = full[7].v;
	f->cookie = 0x31323334;
	f->marks = FRAME_REPLY;
	f->frag_mtu = 0x4142;
	f->both_seq = 0x61626364;
	f->both_ack = 0x71727374;
	f->encap_len = sizeof(encap);
	f->encap_linktype = 0x5152;
	f->encap_off = frame_rel(f, encap);
	cap_write_packet(&w, buf, f);
	OK(le16(buf + OPTION_AT) == 0x8757, "long option");
	check_wire("option", full, ARRAY_SIZE(full), buf + OPTION_AT + 4, le16(buf + OPTION_AT + 2));
	frame_pool_free(pool);
}

static void numbers(void)
{
	static const struct { int bit; const char *word; } marks[] = {
		{ FRAME_REPLY, "reply:" }, { FRAME_RST_BOTH, "reset both:" },
		{ FRAME_FRAGMENT, "fragment:" }, { FRAME_CHANGED, "changed:" },
	};

	if (load("man/gwframe.5", "dialect"))
		for (int i = 0; i < DIALECT_NUM; i++)
			OK(i < t.n && atoi(t.cell[i][0]) == i &&
			   !strcmp(t.cell[i][1], dialect_name((unsigned)i)), "dialect %d", i);
	OK(t.n == DIALECT_NUM, "no other dialect");
	if (load("man/gwframe.5", "mark"))
		for (int i = 0; i < (int)ARRAY_SIZE(marks); i++)
			OK(i < t.n && 1 << atoi(t.cell[i][0]) == marks[i].bit &&
			   !strncmp(t.cell[i][1], marks[i].word, strlen(marks[i].word)),
			   "mark %s", marks[i].word);
	OK(t.n == (int)ARRAY_SIZE(marks), "no other mark");
}

static void reasons(void)
{
	static const char *const classes[] = { "rule", "packet", "fault" };

	if (!load("man/gwchain.7", "reasons"))
		return;
	for (unsigned r = 1; r < REASON_NUM; r++) {
		char **c = t.cell[r - 1];

		OK((int)r <= t.n && !strcmp(c[0], reason_name(r)) &&
		   !strcmp(c[1], classes[reason_class(r)]) && !strcmp(c[2], reason_text(r)),
		   ".It %s Ta %s Ta %s", reason_name(r), classes[reason_class(r)], reason_text(r));
	}
	OK(t.n == REASON_NUM - 1, "no other reason");
}

static void counters(void)
{
	if (!load("man/gwchain.7", "counters"))
		return;
	for (unsigned i = 0; i < STATS_NUM; i++) {
		char **c = t.cell[i];

		OK((int)i < t.n && !strcmp(c[0], stats_counter_name(i)) &&
		   !strcmp(c[1], stats_counter_text(i)),
		   ".It %s Ta %s", stats_counter_name(i), stats_counter_text(i));
	}
	OK(t.n == STATS_NUM, "no other counter");
}

int main(void)
{
	structs();
	page_of_counters();
	hello_and_end();
	option();
	option_long();
	numbers();
	reasons();
	counters();
	return tap_done();
}
