/* SPDX-License-Identifier: MIT */
/* edit.h on exact-size copies: lengths, checksums, offsets, and what is left alone */
#include <stdlib.h>

#include "../gwmangle/edit.h"
#include "csum.h"
#include "tap.h"
#include "wire.h"

#define ROOM	(FRAME_HEADROOM + 66000u)

static struct editor editor;
static struct matcher matcher;
static struct frame **pool;
static uint8_t *exact;

static void use_rules(const char *text)
{
	struct rules_conf c = RULES_CONF_INIT(RULES_MANGLE);
	struct rules *r;

	c.err = stderr;
	c.source[c.nsources++].text = text;
	r = rules_load(&c);
	if (!r)
		exit(1);
	if (matcher.rules)
		matcher_close(&matcher);
	memset(&matcher, 0, sizeof(matcher));
	matcher_open(&matcher, &c, r);
	editor.m = &matcher;
	editor.mtu = UINT16_MAX;
	editor.kept_len = 0;
}

/* A packet in memory of just its size: one byte too far is seen by ASan */
static struct frame *make(uint8_t version, uint8_t proto, const char *body)
{
	size_t l4 = version == 4 ? 20 : 40, n = strlen(body);
	size_t hdr = proto == 6 ? 20 : 8, len = l4 + hdr + n;
	struct frame *f = pool[0];

	free(exact);
	exact = calloc(1, len);
	put32(exact, version == 4 ? 0x45000000 + (uint32_t)len : 0x60000000);
	if (version == 4) {
		put32(exact + 8, 9u << 24 | (uint32_t)proto << 16);
		put32(exact + 12, 0x0a010001);
		put32(exact + 16, 0x0a020001);
		csum_ipv4(exact);
	} else {
		put32(exact + 4, (uint32_t)(hdr + n) << 16 | (uint32_t)proto << 8 | 9);
		exact[8] = exact[24] = 0xfd;
	}
	put32(exact + l4, 7u << 16 | 3000);
	if (proto == 17)
		put32(exact + l4 + 4, (uint32_t)(8 + n) << 16 | 1);
	if (proto == 6)
		exact[l4 + 12] = 0x50;
	memcpy(exact + l4 + hdr, body, n);
	frame_reset(f);
	f->linktype = LINKTYPE_RAW;
	f->off = frame_rel(f, exact);
	f->len = f->orig_len = (uint32_t)len;
	if (frame_parse(f))
		exit(1);
	csum_l4_write(&f->pkt, exact);
	return f;
}

static unsigned apply(struct frame *f)
{
	return edit_apply(&editor, f, &matcher.rules->rule[0]);
}

/* Offsets as a new look finds them, sums right, and this payload */
static bool is(struct frame *f, const char *body)
{
	const uint8_t *d = frame_data(f);
	struct packet p;

	if (packet_parse(&p, d, f->len, f->linktype) || memcmp(&p, &f->pkt, sizeof(p)))
		return false;
	if (p.version == 4 && csum_fold(csum_partial(d, 20, 0)))
		return false;
	return csum_l4_ok(&p, d) && f->len == p.end && f->orig_len == f->len &&
	       p.end - p.payload == strlen(body) && !memcmp(d + p.payload, body, strlen(body));
}

static const uint8_t datagrams[][2] = { { 4, 17 }, { 6, 17 }, { 4, 1 }, { 6, 58 } };

static void replaced(const char *rule, const char *before, const char *after)
{
	use_rules(rule);
	for (size_t i = 0; i < ARRAY_SIZE(datagrams); i++) {
		struct frame *f = make(datagrams[i][0], datagrams[i][1], before);

		OK(apply(f) == EDIT_DONE && is(f, after) && f->marks & FRAME_CHANGED,
		   "IPv%u, protocol %u: %s", datagrams[i][0], datagrams[i][1], rule);
	}
}

static void replacements(void)
{
	replaced("replace \"ab\" \"xyz\"", "ab", "xyz");
	replaced("replace \"ab\" \"xyz\"", "1ab22ababab", "1xyz22xyzxyzxyz");
	replaced("replace \"abc\" \"z\"", "1abc", "1z");
	replaced("replace \"abc\" \"\"", "abcabc", "");
	replaced("replace \"ab\" \"cd\"", "1ab33", "1cd33");
	replaced("replace \"b\" \"bb\"", "abba", "abbbba");
	replaced("replace \"aa\" \"a\"", "aaaaa", "aaa");
	replaced("replace /(.)(.)/ \"$2${1}$$\"", "abcde", "ba$dc$e");
	replaced("replace /x*/ \"-\"", "abc", "-a-b-c-");
	replaced("replace /^a|c$/ \"Z\"", "aacc", "ZacZ");
	replaced("replace /(q)?b/ \"[$1]\"", "ab", "a[]");
	replaced("replace /\\x01?B/i \"\\x01\\xff\"", "b", "\1\xff");
}

/* One text with each 'a' replaced; in memory of its own or in the frame's buffer */
static bool random_edit(const char *to)
{
	char before[100], after[400] = "";
	size_t n = (size_t)random() % 80, at = 0;
	uint8_t version = random() % 2 ? 4 : 6, proto = random() % 3 ? 17 : 58;
	struct frame *f;

	for (size_t k = 0; k < n; k++) {
		before[k] = random() % 3 ? 'b' : 'a';
		at += (size_t)(before[k] == 'b' ? sprintf(after + at, "b") :
						  sprintf(after + at, "%s", to));
	}
	before[n] = '\0';
	f = make(version, version == 4 && proto == 58 ? 1 : proto, before);
	if (random() % 2 && !frame_own(f, 0))
		return false;
	return apply(f) == (strchr(before, 'a') ? EDIT_DONE : 0) && is(f, after);
}

static void random_edits(void)
{
	static const char *const with[] = { "", "x", "xy", "xyz", "xyzz" };
	char rule[40];

	for (size_t i = 0; i < ARRAY_SIZE(with); i++) {
		unsigned wrong = 0;

		snprintf(rule, sizeof(rule), "replace \"a\" \"%s\"", with[i]);
		use_rules(rule);
		for (unsigned k = 0; k < 2000; k++)
			wrong += !random_edit(with[i]);
		OK(!wrong, "%u of 2000 texts are wrong after %s", wrong, rule);
	}
}

static void untouched(void)
{
	struct frame *f;
	int64_t off;

	use_rules("replace \"zz\" \"y\"");
	f = make(4, 17, "abc");
	off = f->off;
	OK(apply(f) == 0 && is(f, "abc") && f->off == off && !f->marks,
	   "without a match nothing moves");
	f = make(4, 6, "abzzc");
	OK(apply(f) == EDIT_LEFT && is(f, "abzzc") && !f->marks,
	   "TCP: another length is left alone");
	use_rules("replace /z+/ \"yy\"");
	f = make(4, 6, "zzazbzzczzz");
	OK(apply(f) == (EDIT_DONE | EDIT_LEFT) && is(f, "yyazbyyczzz"),
	   "TCP: matches of equal length are edited, others not");
	use_rules("replace \"a\" \"b\"");
	f = make(4, 17, "aaa");
	frame_data(f)[6] = 0x20;
	f->pkt.flags = 0;
	OK(!frame_parse(f) && apply(f) == EDIT_LEFT && frame_data(f)[28] == 'a',
	   "a first fragment is left alone");
	f = make(4, 17, "aaa");
	frame_data(f)[7] = 5;
	f->pkt.flags = 0;
	OK(!frame_parse(f) && apply(f) == EDIT_LEFT && frame_data(f)[28] == 'a', "a later one too");
	f = make(4, 17, "aaa");
	put16(frame_data(f) + 24, 9);
	f->pkt.flags = 0;
	OK(!frame_parse(f) && apply(f) == EDIT_LEFT, "a UDP length below the packet's");
	f = make(4, 17, "aaa");
	put16(frame_data(f) + 2, 100);
	f->pkt.flags = 0;
	OK(!frame_parse(f) && apply(f) == EDIT_LEFT, "a cut packet");
	f = make(4, 132, "aaaaaaaa");
	OK(apply(f) == 0, "a protocol without a payload of ours");
}

static void zero_sum(void)
{
	struct frame *f;

	use_rules("replace \"a\" \"bcd\"");
	f = make(4, 17, "a");
	put16(frame_data(f) + 26, 0);
	OK(apply(f) == EDIT_DONE && is(f, "bcd") && be16(frame_data(f) + 26) == 0,
	   "UDP over IPv4 without a sum stays without");
	f = make(6, 17, "a");
	put16(frame_data(f) + 46, 0);
	OK(apply(f) == EDIT_DONE && is(f, "bcd") && be16(frame_data(f) + 46),
	   "over IPv6 it gets one");
	f = make(4, 17, "a");
	put16(frame_data(f) + 26, (uint16_t)(be16(frame_data(f) + 26) + 1));
	OK(apply(f) == EDIT_DONE && !csum_l4_ok(&f->pkt, frame_data(f)), "a wrong sum stays wrong");
}

static void headers(void)
{
	static const char *const set[] = { "set ttl 200", "set dscp 46" };

	for (int i = 0; i < 4; i++) {
		struct frame *f = make(i % 2 ? 4 : 6, 17, "a");
		const uint8_t *d = frame_data(f);
		unsigned tc;

		use_rules(set[i / 2]);
		exact[1] |= i % 2 ? 3 : 0x30;
		if (i % 2)
			csum_ipv4(exact);
		OK(apply(f) == EDIT_DONE && is(f, "a"), "IPv%d: %s", i % 2 ? 4 : 6, set[i / 2]);
		tc = i % 2 ? d[1] : be16(d) >> 4 & 0xff;
		OK(i < 2 ? d[i % 2 ? 8 : 7] == 200 && tc == 3 : tc == (46 << 2 | 3),
		   "the field, and not its neighbours");
		OK(apply(f) == 0, "once more changes nothing");
	}
}

static void limits(void)
{
	static char big[40001];
	struct frame *f;

	memset(big, 'a', 40000);
	use_rules("replace \"a\" \"bb\"");
	f = make(4, 17, big);
	OK(apply(f) == EDIT_ERROR && is(f, big), "longer than IP can say: unchanged");
	big[32000] = '\0';
	f = make(4, 17, big);
	editor.mtu = 8500;
	OK(apply(f) == EDIT_DONE && f->len == 64028 && csum_l4_ok(&f->pkt, frame_data(f)),
	   "64028 bytes are fine");
	OK(editor.kept_len == 32028 && editor.kept[28] == 'a' && editor.kept[32027] == 'a',
	   "and the packet before it grew is kept");
	editor.kept_len = 0;
	f = make(4, 17, "aaa");
	OK(apply(f) == EDIT_DONE && !editor.kept_len, "but not below the MTU");
	use_rules("replace /(a+)+$/ \"x\"");
	f = make(4, 17, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab");
	OK(apply(f) == EDIT_ERROR, "the match limit");
	f = make(4, 17, big);
	f->room = FRAME_HEADROOM + 32028;
	use_rules("replace /^a/ \"xy\"");
	OK(apply(f) == EDIT_ERROR && is(f, big), "no room in the frame: unchanged");
	f->room = ROOM;
}

int main(void)
{
	pool = frame_pool_new(1, ROOM);
	replacements();
	random_edits();
	untouched();
	zero_sum();
	headers();
	limits();
	matcher_close(&matcher);
	frame_pool_free(pool);
	free(exact);
	return tap_done();
}
