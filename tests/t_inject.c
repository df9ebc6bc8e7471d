/* SPDX-License-Identifier: MIT */
/* The way back: outer.h and pieces.h, judged by the parsers and by plain sums */
#include <netinet/in.h>
#include <stdlib.h>

#include "../gwinject/pieces.h"
#include "csum.h"
#include "tap.h"

#define ROOM	(FRAME_HEADROOM + 80000u)

static struct frame **pool;

/* Outer Ethernet (VLAN tag if asked for), IPv4 or IPv6, UDP, Geneve of AWS */
static size_t build_encap(uint8_t *p, uint8_t version, bool vlan)
{
	static const uint8_t macs[12] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2 };
	uint8_t *o = p + 12;

	memcpy(p, macs, 12);
	if (vlan) {
		put32(o, 0x81000064);
		o += 4;
	}
	put16(o, version == 4 ? 0x0800 : 0x86dd);
	o += 2;
	memset(o, 0, 40);
	if (version == 4) {
		put32(o, 0x45000000);
		put32(o + 4, 0x12340000);
		put32(o + 8, 3u << 24 | IPPROTO_UDP << 16);
		put32(o + 12, 0x0a000001);
		put32(o + 16, 0x0a000002);
		o += 20;
	} else {
		put32(o, 6u << 28);
		o[6] = IPPROTO_UDP;
		o[7] = 3;
		o[8] = o[24] = 0xfd;
		o[23] = 1;
		o[39] = 2;
		o += 40;
	}
	put32(o, 40001u << 16 | GENEVE_PORT);
	put32(o + 4, 0x00001111);
	o += 8;
	return (size_t)(o - p) + geneve_build_aws(o, 0x0800, 0x0123456789abcdef, 7, 0xc00c1e);
}

/* Inner UDP packet over IPv4 of @len bytes, @options of them IPv4 options */
static void build_inner(uint8_t *p, uint16_t len, uint8_t options)
{
	for (unsigned i = 0; i < len; i++)
		p[i] = (uint8_t)(i * 13 + 5);
	put32(p, (0x45000000u + ((options / 4u) << 24)) | len);
	put32(p + 4, 0xbeef0000);
	put32(p + 8, 9u << 24 | IPPROTO_UDP << 16);
	memset(p + 20, 1, options);
	put16(p + 20 + options + 4, (uint16_t)(len - 20 - options));
	csum_ipv4(p);
}

static struct frame *make(uint8_t version, bool vlan, uint16_t len, bool apart)
{
	static uint8_t block[70000], inner[70000];
	struct frame *f = pool[0];
	size_t n;

	frame_reset(f);
	n = build_encap(block, version, vlan);
	build_inner(inner, len, 0);
	f->linktype = LINKTYPE_RAW;
	f->encap_linktype = LINKTYPE_ETHERNET;
	f->encap_off = frame_rel(f, block);
	f->encap_len = (uint16_t)n;
	memcpy(block + n, inner, len);
	f->off = frame_rel(f, apart ? inner : block + n);
	f->len = f->orig_len = len;
	return f;
}

static bool ip4_sum_ok(const uint8_t *ip)
{
	return csum_fold(csum_partial(ip, (ip[0] & 0xfu) * 4, 0)) == 0;
}

static void turned(uint8_t version, bool vlan, bool apart)
{
	struct frame *f = make(version, vlan, 301, apart);
	uint8_t before[ENCAP_MAX];
	size_t n = f->encap_len, l3 = vlan ? 18 : 14;
	const uint8_t *d;
	struct packet p;
	struct encap e;

	memcpy(before, frame_encap(f), n);
	OK(outer_return(f, 8500) == REASON_NONE && outer_join(f), "IPv%u%s%s goes back", version,
	   vlan ? ", tagged" : "", apart ? ", in two places" : "");
	d = frame_data(f);
	OK(f->len == n + 301 && f->linktype == LINKTYPE_ETHERNET && !f->encap_len, "as one packet");
	OK(encap_parse(&e, d, f->len, f->linktype) == REASON_NONE && e.inner == n &&
	   e.end == f->len, "whose lengths are right");
	OK(!memcmp(d, before + 6, 6) && !memcmp(d + 6, before, 6) &&
	   !memcmp(d + 12, before + 12, l3 - 12), "MACs swapped, tag kept");
	OK(!memcmp(d + e.udp, before + e.udp, 4) &&
	   !memcmp(d + e.geneve, before + e.geneve, n - e.geneve), "ports and Geneve as they came");
	OK(packet_parse(&p, d, f->len, f->linktype) == REASON_NONE &&
	   packet_src(&p, d)[p.version == 4 ? 3 : 15] == 2 &&
	   packet_dst(&p, d)[p.version == 4 ? 3 : 15] == 1, "addresses swapped");
	OK(d[l3 + (version == 4 ? 8 : 7)] == 64, "TTL 64");
	if (version == 4)
		OK(ip4_sum_ok(d + l3) && be32(d + l3 + 4) == 0x4000 && be16(d + e.udp + 6) == 0,
		   "sum right, id 0, DF, no UDP sum");
	else
		OK(be16(d + e.udp + 6) && csum_l4_ok(&p, d), "UDP sum right");
}

static void ipv6_zero(void)
{
	struct frame *f = make(6, false, 100, false);
	size_t udp = 14 + 40;

	put16(frame_encap(f) + udp + 6, 0);
	OK(outer_return(f, 8500) == REASON_NONE && be16(frame_encap(f) + udp + 6) == 0,
	   "a UDP sum of zero over IPv6 goes back as zero");
}

static void cooked(void)
{
	struct frame *f = make(4, false, 100, false);

	/* Linux cooked v1: 16 bytes where Ethernet has 14 */
	f->encap_off -= 2;
	f->encap_len += 2;
	f->encap_linktype = LINKTYPE_LINUX_SLL;
	OK(outer_return(f, 8500) == REASON_NONE && outer_join(f) && f->linktype == LINKTYPE_RAW &&
	   frame_data(f)[0] == 0x45 && be16(frame_data(f) + 2) == f->len, "cooked goes back raw");
}

static void refused(void)
{
	uint8_t copy[ENCAP_MAX];
	struct frame *f = make(4, false, 100, false);
	size_t n = f->encap_len;
	int bad = 0;

	memcpy(copy, frame_encap(f), n);
	for (size_t cut = 0; cut < n; cut++) {
		uint8_t *exact = malloc(cut ? cut : 1);

		memcpy(exact, copy, cut);
		f->encap_len = (uint16_t)cut;
		f->encap_off = frame_rel(f, exact);
		bad += outer_return(f, 8500) != REASON_NO_ENCAP;
		free(exact);
	}
	OK(bad == 0, "every cut of the encapsulation: no-encap");
	f = make(4, false, 9000, false);
	OK(outer_return(f, 8500) == REASON_NONE, "longer than the MTU, as received: goes");
	f = make(4, false, 9000, false);
	f->marks = FRAME_CHANGED;
	OK(outer_return(f, 8500) == REASON_TOO_LARGE, "longer and changed: too large");
	f = make(4, false, 8500, false);
	f->marks = FRAME_CHANGED;
	OK(outer_return(f, 8500) == REASON_NONE, "as long as the MTU: goes");
	f = make(4, false, 65500, false);
	OK(outer_return(f, 8500) == REASON_TOO_LARGE, "longer than IP can say: too large");
	f = make(4, false, 100, false);
	f->linktype = LINKTYPE_ETHERNET;
	OK(outer_return(f, 8500) == REASON_LINKTYPE, "Ethernet inside is not ours");
}

/* Put fragments together again; 0 if any of them is wrong */
static size_t reassemble(struct frame *f, uint8_t *out, uint16_t mtu, int *count)
{
	uint8_t scratch[PIECE_ROOM], whole[70000];
	struct iovec iov[2];
	struct pieces it;
	size_t total = 0, expect = 0;

	if (outer_return(f, 8500) || pieces_start(&it, f))
		return 0;
	for (*count = 0; pieces_next(&it, scratch, iov); ++*count) {
		size_t n = iov[0].iov_len + iov[1].iov_len;
		struct encap e;
		const uint8_t *ip;
		size_t off, hlen, data;

		memcpy(whole, iov[0].iov_base, iov[0].iov_len);
		memcpy(whole + iov[0].iov_len, iov[1].iov_base, iov[1].iov_len);
		if (encap_parse(&e, whole, n, LINKTYPE_ETHERNET) || e.end != n)
			return 0;
		ip = whole + e.inner;
		hlen = (ip[0] & 0xfu) * 4;
		off = (be16(ip + 6) & 0x1fff) * 8u;
		data = be16(ip + 2) - hlen;
		if (!ip4_sum_ok(whole + e.l3) || !ip4_sum_ok(ip) || e.inner + hlen + data != n ||
		    hlen + data > mtu || off != expect)
			return 0;
		memcpy(out + off, ip + hlen, data);
		expect = off + data;
		if (!(be16(ip + 6) & 0x2000))
			total = expect;
	}
	return total;
}

static void fragments(void)
{
	static const uint16_t mtus[] = { 68, 576, 1280, 1499, 8500 };
	static uint8_t out[70000];
	struct pieces it;
	struct frame *f;
	int n, bad = 0, short_run = 0;

	for (size_t i = 0; i < ARRAY_SIZE(mtus); i++)
		for (uint16_t len = 8400; len < 9500; len += 133) {
			f = make(4, true, len, i % 2);
			f->marks = FRAME_CHANGED | FRAME_FRAGMENT;
			f->frag_mtu = mtus[i];
			bad += reassemble(f, out, mtus[i], &n) != len - 20u ||
			       memcmp(out, frame_data(f) + 20, len - 20);
			short_run += n < (len - 20) / (mtus[i] - 20);
		}
	OK(bad == 0, "fragments go together again");
	OK(short_run == 0, "as many as it takes");
	f = make(4, false, 9000, false);
	f->marks = FRAME_FRAGMENT;
	f->frag_mtu = 67;
	OK(pieces_start(&it, f) == REASON_TOO_LARGE, "fragments below 68 bytes are refused");
	f->frag_mtu = 8500;
	frame_data(f)[6] |= 0x40;
	OK(pieces_start(&it, f) == REASON_TOO_LARGE, "so are those of a packet with DF");
}

static void options(void)
{
	static const uint8_t opts[12] = {
		7, 3, 4,		/* record route: only in the first */
		0x83, 4, 4, 9,		/* loose source route: in all */
		1, 0x94, 4, 0, 0,	/* no-op, router alert: in all */
	};
	uint8_t scratch[PIECE_ROOM];
	struct frame *f = make(4, false, 3000, false);
	struct iovec iov[2];
	struct pieces it;
	const uint8_t *ip;

	build_inner(frame_data(f), 3000, 12);
	memcpy(frame_data(f) + 20, opts, 12);
	f->marks = FRAME_FRAGMENT;
	f->frag_mtu = 1500;
	OK(outer_return(f, 8500) == REASON_NONE && pieces_start(&it, f) == REASON_NONE &&
	   pieces_next(&it, scratch, iov), "a packet with options");
	ip = scratch + f->encap_len;
	OK((ip[0] & 0xf) == 8 && !memcmp(ip + 20, opts, 12), "first fragment: all options");
	OK(pieces_next(&it, scratch, iov) && (ip[0] & 0xf) == 7 &&
	   !memcmp(ip + 20, "\x83\x04\x04\x09\x94\x04\x00\x00", 8) && ip4_sum_ok(ip),
	   "later ones: those marked for copying");
}

static void fragment_of_fragment(void)
{
	uint8_t scratch[PIECE_ROOM];
	struct frame *f = make(4, false, 1020, false);
	struct iovec iov[2];
	struct pieces it;
	const uint8_t *ip = scratch + f->encap_len;
	int n = 0, right = 0;

	put16(frame_data(f) + 6, 0x2000 | 100);
	f->marks = FRAME_FRAGMENT;
	f->frag_mtu = 520;
	OK(outer_return(f, 8500) == REASON_NONE && pieces_start(&it, f) == REASON_NONE,
	   "a middle fragment");
	for (; pieces_next(&it, scratch, iov); n++)
		right += be16(ip + 6) == (0x2000 | (100 + n * 496 / 8));
	OK(n == 3 && right == 3, "offsets go on, more fragments follow all of them");
}

static void mirror(uint8_t version)
{
	uint8_t scratch[PIECE_ROOM], rst[60] = { 0 };
	uint8_t hlen = version == 4 ? 20 : 40;
	struct frame *f = make(4, false, 100, false);
	struct packet p = { .l4 = hlen, .end = hlen + 20u, .payload = hlen + 20u,
			    .version = version, .proto = IPPROTO_TCP, .flags = PKT_L4 };
	struct iovec iov[2];
	struct pieces it;
	uint8_t *m = scratch + f->encap_len;

	put32(rst, version == 4 ? 0x45000028 : 0x60000000);
	if (version == 4)
		put32(rst + 8, 64u << 24 | IPPROTO_TCP << 16);
	else
		put32(rst + 4, 20u << 16 | IPPROTO_TCP << 8 | 64);
	for (int i = 0; i < 2 * (version == 4 ? 4 : 16); i++)
		rst[(version == 4 ? 12 : 8) + i] = (uint8_t)(i + 1);
	put32(rst + hlen, 23u << 16 | 4711);
	put32(rst + hlen + 4, 1000);
	put16(rst + hlen + 12, 0x5004);
	csum_l4_write(&p, rst);
	f->off = frame_rel(f, rst);
	f->len = f->orig_len = hlen + 20u;
	f->marks = FRAME_REPLY | FRAME_RST_BOTH;
	f->both_seq = 0xa0a0a0a0;
	f->both_ack = 0xb0b0b0b0;
	OK(outer_return(f, 8500) == REASON_NONE && pieces_start(&it, f) == REASON_NONE &&
	   pieces_next(&it, scratch, iov) && iov[1].iov_base == rst && iov[1].iov_len == f->len,
	   "IPv%u: the reset itself", version);
	OK(pieces_next(&it, scratch, iov) && iov[0].iov_len + iov[1].iov_len == f->encap_len + f->len,
	   "and its mirror");
	OK(!memcmp(packet_src(&p, m), packet_dst(&p, rst), packet_addr_len(&p)) &&
	   !memcmp(packet_dst(&p, m), packet_src(&p, rst), packet_addr_len(&p)) &&
	   be32(m + hlen) == (4711u << 16 | 23), "the other way");
	OK(be32(m + hlen + 4) == 0xa0a0a0a0 && be32(m + hlen + 8) == 0xb0b0b0b0 &&
	   m[hlen + 13] == 0x14, "with its own numbers, RST and ACK");
	OK(csum_l4_ok(&p, m) && (version == 6 || ip4_sum_ok(m)), "and right sums");
	OK(!pieces_next(&it, scratch, iov), "and no more");
}

int main(void)
{
	pool = frame_pool_new(1, ROOM);
	turned(4, false, false);
	turned(4, true, true);
	turned(6, false, true);
	turned(6, true, false);
	ipv6_zero();
	cooked();
	refused();
	fragments();
	options();
	fragment_of_fragment();
	mirror(4);
	mirror(6);
	frame_pool_free(pool);
	return tap_done();
}
