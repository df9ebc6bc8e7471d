/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "frame.h"
#include "geneve.h"
#include "packet.h"
#include "tap.h"
#include "wire.h"

/* An AWS packet: Ethernet, IPv4, UDP, Geneve, and inside UDP 10.0.0.1:5 > 10.0.0.2:53 "hi" */
static const uint8_t good[] = {
	2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0,
	0x45, 0, 0, 98, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 9, 0, 1, 10, 9, 0, 2,
	0xc0, 0x01, 0x17, 0xc1, 0, 78, 0, 0,
	0x08, 0, 0x08, 0, 0, 0, 0, 0,
	1, 8, 1, 2, 1, 2, 3, 4, 5, 6, 7, 8,
	1, 8, 2, 2, 0, 0, 0, 0, 0, 0, 0, 9,
	1, 8, 3, 1, 0xca, 0xfe, 0xf0, 0x0d,
	0x45, 0, 0, 30, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
	0, 5, 0, 53, 0, 10, 0, 0, 'h', 'i',
};
#define GENEVE_AT 42

static uint8_t *dup(const void *p, size_t n)
{
	uint8_t *d = malloc(n ? n : 1);	/* exact size: ASan is the judge */

	memcpy(d, p, n);
	return d;
}

static void test_good(void)
{
	struct encap e;
	struct packet p;

	OK(encap_parse(&e, good, sizeof(good), LINKTYPE_ETHERNET) == REASON_NONE, "good packet");
	OK(e.g.endpoint == 0x0102030405060708 && e.g.attachment == 9 &&
	   e.g.cookie == 0xcafef00d && e.g.dialect == DIALECT_AWS, "AWS options");
	OK(e.inner == GENEVE_AT + 40 && e.end == sizeof(good), "layers");
	OK(packet_parse(&p, good + e.inner, e.end - e.inner, LINKTYPE_RAW) == REASON_NONE &&
	   p.proto == 17 && p.payload == 28 && p.end == 30 && p.flags == (PKT_PARSED | PKT_L4),
	   "inner packet");
}

static void test_every_cut(void)
{
	unsigned bad = 0;

	for (size_t n = 0; n < sizeof(good); n++) {
		uint8_t *cut = dup(good, n);
		struct encap e = { .inner = 7 };

		bad += encap_parse(&e, cut, n, LINKTYPE_ETHERNET) == REASON_NONE || e.inner != 7;
		free(cut);
	}
	OK(!bad, "every truncation is refused and writes nothing");
}

static void test_every_byte(void)
{
	unsigned long seen[REASON_NUM] = { 0 };

	for (size_t at = 0; at < sizeof(good); at++) {
		for (unsigned v = 0; v < 256; v++) {
			uint8_t *m = dup(good, sizeof(good));
			struct encap e;
			enum reason r;

			m[at] = (uint8_t)v;
			r = encap_parse(&e, m, sizeof(good), LINKTYPE_ETHERNET);
			seen[r]++;
			if (!r && (e.inner > e.end || e.end > sizeof(good)))
				seen[REASON_NUM - 1]++;
			free(m);
		}
	}
	OK(!seen[REASON_NUM - 1], "every corruption of one byte is parsed within bounds");
	OK(seen[REASON_GENEVE_OPT_LEN] && seen[REASON_GENEVE_CRITICAL] && seen[REASON_GENEVE_PROTO] &&
	   seen[REASON_GENEVE_VERSION] && seen[REASON_GENEVE_CONTROL] && seen[REASON_NOT_GENEVE] &&
	   seen[REASON_NOT_UDP] && seen[REASON_L2_NOT_IP] && seen[REASON_IP_VERSION] &&
	   seen[REASON_OUTER_FRAGMENT] && seen[REASON_UDP_LENGTH], "each kind has its reason");
}

/* A VLAN tag keeps a packet off the short way through encap_parse() */
static bool same_with_tag(const uint8_t *plain)
{
	uint8_t tagged[sizeof(good) + 4] = { 0 };
	struct encap a, b;
	enum reason r;

	memset(&a, 0, sizeof(a));
	memset(&b, 0, sizeof(b));
	memcpy(tagged, plain, 12);
	memcpy(tagged + 12, "\x81\0\0\5", 4);
	memcpy(tagged + 16, plain + 12, sizeof(good) - 12);
	r = encap_parse(&a, plain, sizeof(good), LINKTYPE_ETHERNET);
	if (r != encap_parse(&b, tagged, sizeof(tagged), LINKTYPE_ETHERNET))
		return false;
	return r || (a.l3 + 4 == b.l3 && a.udp + 4 == b.udp && a.geneve + 4 == b.geneve &&
		     a.inner + 4 == b.inner && a.end + 4 == b.end && a.version == b.version &&
		     a.g.endpoint == b.g.endpoint && a.g.attachment == b.g.attachment &&
		     a.g.cookie == b.g.cookie && a.g.vni == b.g.vni && a.g.hdr_len == b.g.hdr_len &&
		     a.g.proto == b.g.proto && a.g.dialect == b.g.dialect &&
		     a.g.direction == b.g.direction);
}

static void test_ways(void)
{
	uint8_t m[sizeof(good)];
	unsigned bad = 0;

	for (size_t at = 0; at + 1 < sizeof(good); at++)
		for (unsigned v = 0; v < 65536; v++) {
			memcpy(m, good, sizeof(good));
			m[at] = (uint8_t)(v >> 8);
			m[at + 1] = (uint8_t)v;
			bad += !same_with_tag(m);
		}
	OK(!bad, "the short way takes what the long one takes, and finds the same");
}

static enum reason parse_opts(const uint8_t *opts, size_t n, struct geneve *g)
{
	uint8_t pkt[8 + 252] = { (uint8_t)(n / 4), 0, 0x86, 0xdd };

	memcpy(pkt + 8, opts, n);
	return geneve_parse(g, pkt, 8 + n);
}

static void test_dialects(void)
{
	static const uint8_t reordered[] = {
		1, 8, 3, 1, 0, 0, 0, 5, 9, 9, 0x42, 1, 7, 7, 7, 7,
		1, 8, 1, 2, 0, 0, 0, 0, 0, 0, 0, 1,
	};
	static const uint8_t tencent[] = {
		1, 0x67, 1, 2, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0x67, 3, 1, 0xe0, 0, 0, 5,
	};
	static const uint8_t google[] = {
		1, 0x32, 2, 1, 1, 2, 3, 4, 1, 0x32, 1, 1, 0, 0, 0, 0x51,
	};
	static const uint8_t critical[] = { 9, 9, 0x82, 0 };
	struct geneve g;

	OK(!parse_opts(reordered, sizeof(reordered), &g) && g.cookie == 5 && g.endpoint == 1 &&
	   g.dialect == DIALECT_AWS, "other order with an unknown option between");
	OK(!parse_opts(tencent, sizeof(tencent), &g) && g.cookie == 5 && g.direction == 7 &&
	   g.dialect == DIALECT_TENCENT, "Tencent");
	OK(!parse_opts(google, sizeof(google), &g) && g.cookie == 5 && g.direction == 1 &&
	   g.endpoint == 0x01020304 && g.dialect == DIALECT_GOOGLE, "Google");
	OK(parse_opts(critical, sizeof(critical), &g) == REASON_GENEVE_CRITICAL, "unknown critical option");
	OK(!parse_opts(critical, 0, &g) && g.dialect == DIALECT_GENEVE, "no options at all");
}

static void test_ipv6(void)
{
	uint8_t ip[40 + 8 + 8 + 8 + 2] = { 0x60, [4] = 0, 26, 60, 64 };	/* destination options */
	struct packet p;

	ip[40] = 44;			/* then a fragment header */
	ip[48] = 17;			/* then UDP */
	put32(ip + 52, 0xabcd);
	put16(ip + 58, 53);
	put16(ip + 60, 10);
	OK(!packet_parse(&p, ip, sizeof(ip), LINKTYPE_RAW) && p.proto == 17 && p.l4 == 56 &&
	   p.flags == (PKT_PARSED | PKT_L4), "extension headers are skipped; an atomic fragment is whole");
	ip[40] = 44;
	ip[48] = 44;			/* a second one: 8 bytes of UDP are read as it */
	OK(packet_parse(&p, ip, sizeof(ip), LINKTYPE_RAW) == REASON_IP_EXT, "two fragment headers");
	ip[48] = 17;
	put16(ip + 50, 1);
	OK(!packet_parse(&p, ip, sizeof(ip), LINKTYPE_RAW) && p.flags & PKT_FRAG_FIRST &&
	   p.frag_id == 0xabcd, "first fragment");
	put16(ip + 50, 8);
	OK(!packet_parse(&p, ip, sizeof(ip), LINKTYPE_RAW) && p.flags & PKT_FRAG_LATER &&
	   !(p.flags & PKT_L4) && p.frag_off == 8, "later fragment");
	ip[41] = 200;
	OK(packet_parse(&p, ip, sizeof(ip), LINKTYPE_RAW) == REASON_IP_EXT, "lying extension header");
	ip[41] = 0;
	ip[48] = 60;			/* the first fragment ends within destination options */
	put16(ip + 50, 1);
	ip[57] = 1;
	OK(!packet_parse(&p, ip, sizeof(ip), LINKTYPE_RAW) && p.flags & PKT_FRAG_FIRST &&
	   p.flags & PKT_EXT_CUT && p.proto == 60, "first fragment without the whole header chain");
}

/* Linux takes both, so a rule must not be dodged with them. */
static void test_long_chain(void)
{
	static uint8_t big[100000];
	uint8_t ip[40 + 1000 * 8 + 8] = { 0x60, [6] = 60, 64 };
	struct packet p;

	put16(ip + 4, sizeof(ip) - 40);
	for (size_t i = 40; i < sizeof(ip) - 8; i += 8)
		ip[i] = 60;
	ip[sizeof(ip) - 16] = 17;
	put16(ip + sizeof(ip) - 4, 8);
	OK(!packet_parse(&p, ip, sizeof(ip), LINKTYPE_RAW) && p.proto == 17 && p.flags & PKT_L4 &&
	   p.l4 == sizeof(ip) - 8, "a thousand extension headers");
	put16(ip + 4, 0);
	OK(packet_parse(&p, ip, sizeof(ip), LINKTYPE_RAW) == REASON_IP_EXT, "no length");
	ip[6] = 0;
	OK(!packet_parse(&p, ip, sizeof(ip), LINKTYPE_RAW) && p.proto == 17 &&
	   p.end == sizeof(ip) && packet_wire_len(&p, ip) == sizeof(ip),
	   "no length, but hop-by-hop options: as long as it came");
	memset(big, 0, sizeof(big));
	memcpy(big, ip, 40);
	big[40] = 59;
	OK(!packet_parse(&p, big, sizeof(big), LINKTYPE_RAW) && p.end == 40 + UINT16_MAX,
	   "... but no longer than any packet");
}

static void test_frame(void)
{
	struct frame **pool = frame_pool_new(2, 2048);
	struct frame *f = pool[0];
	uint8_t outside[300];
	int64_t off;

	for (unsigned i = 0; i < sizeof(outside); i++)
		outside[i] = (uint8_t)i;
	f->encap_off = frame_rel(f, outside);
	f->encap_len = 100;
	f->off = frame_rel(f, outside + 100);
	f->len = 200;
	OK(frame_own(f, 500) && !memcmp(frame_data(f), outside + 100, 200) &&
	   !memcmp(frame_encap(f), outside, 100), "a frame takes packet and encapsulation in");
	OK(frame_data(f) >= f->buf + FRAME_HEADROOM && frame_data(f) + 700 <= frame_encap(f), "with room");
	f->off += 50;
	f->len -= 50;
	OK(frame_own(f, 0) && frame_data(f)[0] == 150 && !memcmp(frame_encap(f), outside, 100),
	   "again, in its own buffer");
	OK(!frame_own(f, 4096) && frame_data(f)[0] == 150, "what does not fit changes nothing");
	off = f->off;
	OK(frame_grow(f, 500) && f->off == off, "room behind a packet is used where it lies");
	f->off = f->encap_off - 250;
	frame_unguard(f);
	memcpy(frame_data(f), "xyz", 3);
	OK(frame_grow(f, 100) && f->off == f->encap_off - 250, "up to the encapsulation");
	OK(frame_grow(f, 101) && f->off == off && !memcmp(frame_data(f), "xyz", 3) &&
	   !memcmp(frame_encap(f), outside, 100), "else the packet moves");
	OK(!frame_grow(f, 4096) && f->off == off, "if it fits");
	f->off = frame_rel(f, outside);
	OK(frame_grow(f, 0) && f->off == off && frame_data(f)[1] == 1, "and from elsewhere");
	OK(frame_set(f, "abc", 3) && f->len == 3 && !memcmp(frame_encap(f), outside, 100), "new contents");
	frame_pool_free(pool);
}

/* Every byte, padding as well: a field that is added must not keep what was */
static void test_reset(void)
{
	struct frame **pool = frame_pool_new(2, 2048);
	struct frame *f = pool[0], fresh = *pool[1];

	memset(f, 0xee, FRAME_SHARED);
	frame_reset(f);
	fresh.spare = 0xee;
	OK(!memcmp(f, &fresh, FRAME_SHARED), "a reset frame is a new one where it was");
	frame_pool_free(pool);
}

/* Of a copy all is the original's but where it lies */
static void test_copy(void)
{
	struct frame **pool = frame_pool_new(2, 2048);
	struct frame *from = pool[0], *to = pool[1];
	uint8_t *buf = to->buf;

	if (!frame_set(from, "abc", 3))
		abort();
	from->spare = 1;
	from->seq = 7;
	OK(frame_copy(to, from, 0) && to->seq == 7 && to->len == 3, "a copy is of the same packet");
	OK(!to->spare && to->buf == buf && frame_data(to) == buf + FRAME_HEADROOM &&
	   !memcmp(frame_data(to), "abc", 3), "and lies in its own buffer, of whatever kind");
	frame_pool_free(pool);
}

int main(void)
{
	test_good();
	test_every_cut();
	test_every_byte();
	test_ways();
	test_dialects();
	test_ipv6();
	test_long_chain();
	test_frame();
	test_reset();
	test_copy();
	return tap_done();
}
