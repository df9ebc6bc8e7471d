/* SPDX-License-Identifier: MIT */
/*
 * h_badecho IFACE [FAULT] - A right appliance with one planted fault, named after the
 * conformance test that is about it; without FAULT it is right.  "--list" names all.
 *
 * A fault drops, hangs after, reflects in spite of being malformed, or edits the packets
 * for which its condition holds.
 */
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "csum.h"
#include "geneve.h"
#include "wire.h"

#define FRAME_MAX	(1u << 16)
#define HANG_MS		400
#define HEALTH_PORT	8080
#define CLIENTS_MAX	256

/* The packet at hand, its layers where a right one has them */
static uint8_t frame[FRAME_MAX], held[FRAME_MAX];
static size_t len, held_len;
static uint8_t *ip = frame + 14, *udp = frame + 34, *g = frame + 42, *in;
static size_t in_len;
static struct packet pk;	/* of the inner packet; version 0: it has no right one */
static int fd;
static uint64_t hang_until_ms;
static unsigned long number;

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void layers(void)
{
	size_t at = 50 + 4u * (g[0] & 63);

	in = frame + at;
	in_len = at < len ? len - at : 0;
	memset(&pk, 0, sizeof(pk));
	if (packet_parse(&pk, in, in_len, LINKTYPE_RAW) != REASON_NONE)
		memset(&pk, 0, sizeof(pk));
}

static const uint8_t *opt(uint16_t class)
{
	for (uint8_t *o = g + 8; o + 4 <= in; o += 4 + 4 * (o[3] & 31))
		if (be16(o) == class || !class)
			return o;
	return NULL;
}

static bool has_critical(void)
{
	for (uint8_t *o = g + 8; o + 4 <= in; o += 4 + 4 * (o[3] & 31))
		if (o[2] & 0x80)
			return true;
	return false;
}

static bool l4_is(unsigned version, unsigned proto)
{
	return pk.version == version && pk.proto == proto && pk.flags & PKT_L4;
}

static unsigned dport(void)
{
	return be16(in + pk.l4 + 2);
}

static uint8_t tcp_flags(void)
{
	return pk.proto == 6 && pk.flags & PKT_L4 ? in[pk.l4 + 13] : 0;
}

static unsigned in_total(void)
{
	return in_len >= 4 ? be16(in + 2) : 0;
}

/* Memory of the faults that have one: what was stored under a key before */
static uint8_t *remember(uint64_t key, const void *value, size_t n)
{
	static struct { uint64_t key; uint8_t v[64]; } table[1u << 16];
	size_t i = (size_t)(key * 0x9e3779b97f4a7c15u >> 48);

	if (table[i].key != key) {
		table[i].key = key;
		memcpy(table[i].v, value, n);
	}
	return table[i].v;
}

static uint64_t tuple(void)
{
	return pk.flags & PKT_L4 ? (uint64_t)be32(in + pk.l4) << 16 | pk.version << 8 | pk.proto :
				   0;
}

static bool midstream(void)
{
	static uint64_t syn;
	bool start = tcp_flags() & 2;

	if (pk.proto != 6)
		return false;
	if (start)
		syn = tuple();
	return syn != tuple();
}

static bool in_a_row(void)
{
	static uint16_t port;
	static unsigned n;

	n = port == be16(udp) ? n + 1 : 0;
	port = be16(udp);
	return n > 40;
}

static bool many_flows(void)
{
	static uint64_t last_ms;
	static unsigned n;

	n = now_ms() - last_ms > 500 ? 0 : n + 1;
	if (!n)
		last_ms = now_ms();
	return n > 120 && in_len == 96;
}

static bool fragment_first_late(void)
{
	static uint32_t first;

	if (pk.flags & PKT_FRAG_FIRST)
		first = pk.frag_id;
	return pk.version == 4 && pk.flags & PKT_FRAG_LATER && first != pk.frag_id;
}

static bool fragment_twice(void)
{
	static uint64_t last;
	uint64_t id = (uint64_t)pk.frag_id << 16 | pk.frag_off;
	bool twice = pk.flags & PKT_FRAG_LATER && id == last;

	last = id;
	return twice;
}

static bool broken_after(void)
{
	static bool seen;

	seen |= len > 42 && be16(udp + 2) == 4789;
	return seen && l4_is(6, 6);
}

static bool opts_overrun(void)
{
	uint8_t *o = g + 8;

	while (o + 4 <= in)
		o += 4 + 4 * (o[3] & 31);
	return len > 82 && o != in;
}

/* Edits; the outer lengths and checksums are made right afterwards, if @fix */
static bool fix = true;

static void grow(size_t at, size_t n)
{
	memmove(frame + at + n, frame + at, len - at);
	memset(frame + at, 0, n);
	len += n;
}

static void edit_inner(size_t at, uint8_t flip)
{
	bool right = csum_l4_ok(&pk, in);

	in[at] ^= flip;
	if (right)
		csum_l4_write(&pk, in);
	if (pk.version == 4 && at < 20)
		csum_ipv4(in);
}

/* As a server would, not a gateway; checksums stay right */
static void turn_inner(void)
{
	unsigned n = pk.version == 4 ? 4 : 16, at = pk.version == 4 ? 12 : 8;

	swap_bytes(in + at, in + at + n, n);
	if (pk.flags & PKT_L4 && (pk.proto == 6 || pk.proto == 17))
		swap_bytes(in + pk.l4, in + pk.l4 + 2, 2);
}

static void udp_sum(void)
{
	uint16_t sum;

	if (!l4_is(4, 17) || be16(in + pk.l4 + 6))
		return;
	sum = csum_l4_value(&pk, in);
	memcpy(in + pk.l4 + 6, &sum, 2);
}

static void send_frame(void)
{
	(void)!send(fd, frame, len, 0);
}

static void originate(void)
{
	send_frame();
	memset(g + 8, 0x5a, 4);
	memset(g + 36, 0xa5, 4);
	memset(in, 0, in_len);
	fix = true;
}

static void hold(void)
{
	memcpy(held, frame, len);
	held_len = len;
	len = 0;
}

#define ANY	(!!pk.version)
#define WHOLE	(pk.flags & PKT_L4 && !(pk.flags & PKT_FRAG_FIRST))

enum kind { DROP, HANG, RAW, EDIT };

/* X(symbol, name, kind, condition, edit) */
#define FAULTS(X) \
	X(answers, "answers", DROP, true, ) \
	X(addr, "outer-addr-swap", EDIT, ANY, swap_bytes(ip + 12, ip + 16, 4)) \
	X(ports, "udp-ports-kept", EDIT, ANY, swap_bytes(udp, udp + 2, 2)) \
	X(mac, "mac-swap", EDIT, ANY, frame[11] ^= 1) \
	X(outer_v, "outer-ipv4", EDIT, ANY, (ip[0] ^= 0x10, fix = false)) \
	X(outer_opt, "outer-options-none", EDIT, ANY &&len < 8900, \
	  (ip[0] = 0x46, grow(34, 4), memset(frame + 34, 1, 4))) \
	X(ip_csum, "ip-csum", EDIT, ANY, (ip[10] ^= 1, fix = false)) \
	X(ip_len, "ip-length", EDIT, ANY &&len < 8900, (len += 8, fix = false)) \
	X(udp_len, "udp-length", EDIT, ANY, (udp[5] ^= 1, fix = false)) \
	X(udp_csum, "udp-csum", EDIT, ANY && !be16(udp + 6), (udp[6] = 1, fix = false)) \
	X(udp_csum_r, "udp-csum-received", EDIT, ANY &&be16(udp + 6), (udp[6] ^= 1, fix = false)) \
	X(frag_outer, "no-fragment-outer", EDIT, in_len > 2000 && in_len < 8000, ip[6] = 0x20) \
	X(df, "outer-df", EDIT, ANY, ip[6] = 0) \
	X(ttl, "outer-ttl", EDIT, ANY, ip[8] = 5) \
	X(ttl_low, "outer-ttl-low", DROP, ip[8] == 1, ) \
	X(df_clear, "outer-df-clear", DROP, !ip[6], ) \
	X(tos, "outer-dscp", DROP, ip[1] == 0xb8, ) \
	X(sport, "source-port-any", DROP, be16(udp) < 1024, ) \
	X(base, "base-header-verbatim", EDIT, ANY, g[4] ^= 1) \
	X(endpoint, "endpoint-verbatim", EDIT, ANY &&opt(0) && be32(g + 8) == 0x01080102, \
	  g[12] ^= 1) \
	X(cookie, "cookie-verbatim", EDIT, ANY &&g[0] >= 8 && be32(g + 32) == 0x01080301, \
	  g[36] ^= 1) \
	X(options, "options-verbatim", EDIT, ANY &&g[0] >= 8 && be32(g + 20) == 0x01080202, \
	  g[24] ^= 1) \
	X(order_kept, "option-order-kept", EDIT, ANY &&g[0] == 8 && be32(g + 20) == 0x01080202, \
	  swap_bytes(g + 8, g + 20, 12)) \
	X(attach, "attachment", EDIT, be32(g + 20) == 0x01080202, memset(g + 24, 0, 8)) \
	X(opt_order, "option-order", DROP, be16(g + 8) == 0x0108 && g[10] != 1, ) \
	X(unknown_i, "unknown-option-ignored", DROP, opt(0x0fff) || g[0] == 8 + 3, ) \
	X(unknown_k, "unknown-option-kept", EDIT, g[0] == 8 + 3 && be16(g + 40) == 0x0108, \
	  g[45] ^= 1) \
	X(unknown_p, "unknown-option-place", DROP, be16(g + 20) == 0x0ffe, ) \
	X(opt_full, "options-full", DROP, g[0] == 63, ) \
	X(opt_none, "options-none", DROP, g[0] == 0, ) \
	X(opt_resv, "option-reserved", DROP, g[0] >= 2 && g[11] & 0xe0, ) \
	X(resv, "geneve-reserved", DROP, g[7] != 0, ) \
	X(vni, "vni", DROP, g[4] | g[5] | g[6], ) \
	X(tencent, "class-tencent", DROP, opt(0x0167), ) \
	X(google, "class-google", DROP, opt(0x0132), ) \
	X(other_c, "class-unknown", DROP, opt(0x0ffd), ) \
	X(critical, "critical-option", RAW, \
	  has_critical() && be16(g + 8) == 0x0108 && be16(g + 20) == 0x0108, ) \
	X(critical_p, "critical-option-place", RAW, \
	  has_critical() && (be16(g + 8) != 0x0108 || be16(g + 20) != 0x0108), ) \
	X(critical_f, "critical-flag", HANG, g[1] == 0x40 && !has_critical(), ) \
	X(control, "control-packet", RAW, g[1] & 0x80, ) \
	X(version, "geneve-version", RAW, g[0] >> 6, ) \
	X(order, "order-in-flow", EDIT, ANY &&number % 10 == 0, hold()) \
	X(dup, "no-duplicates", EDIT, ANY, send_frame()) \
	X(flows, "many-flows", DROP, many_flows(), ) \
	X(burst, "burst", DROP, in_a_row(), ) \
	X(endpoints, "endpoint-isolation", EDIT, WHOLE &&g[0] == 8, \
	  memcpy(g + 8, remember(tuple() ^ (uint64_t)be32(g + 36) << 20, g + 8, 32), 32)) \
	X(cookies, "cookie-isolation", EDIT, WHOLE &&g[0] == 8, \
	  memcpy(g + 8, remember(tuple() ^ be64(g + 12) << 20, g + 8, 32), 32)) \
	X(directions, "both-directions", EDIT, WHOLE &&g[0] == 8 && be32(g + 32) == 0x01080301, \
	  memcpy(udp, remember(be32(g + 36), udp, 2), 2)) \
	X(moves, "source-port-moves", EDIT, WHOLE, memcpy(udp, remember(tuple(), udp, 2), 2)) \
	X(midstream, "midstream-tcp", DROP, midstream(), ) \
	X(v4_udp, "ipv4-udp", DROP, l4_is(4, 17) && dport() == 4500, ) \
	X(v4_tcp, "ipv4-tcp", DROP, l4_is(4, 6) && tcp_flags() == 0x12, ) \
	X(v4_icmp, "ipv4-icmp", DROP, l4_is(4, 1) && in[pk.l4] == 13, ) \
	X(v4_other, "ipv4-other", DROP, pk.version == 4 && pk.proto == 47, ) \
	X(v4_opts, "ipv4-options", DROP, in[0] == 0x46, ) \
	X(v4_frag, "ipv4-fragments", DROP, pk.version == 4 && pk.flags & PKT_FRAG_LATER, ) \
	X(v6_udp, "ipv6-udp", DROP, l4_is(6, 17) && dport() == 4500, ) \
	X(v6_tcp, "ipv6-tcp", DROP, l4_is(6, 6) && tcp_flags() == 0x12, ) \
	X(v6_icmp, "ipv6-icmp", DROP, l4_is(6, 58) && in[pk.l4] == 129, ) \
	X(v6_other, "ipv6-other", DROP, pk.version == 6 && pk.proto == 47, ) \
	X(v6_ext, "ipv6-ext", DROP, pk.version == 6 && in[6] == 60, ) \
	X(v6_frag, "ipv6-fragments", DROP, pk.version == 6 && pk.flags & PKT_FRAG_LATER, ) \
	X(icmp_err, "icmp-error", DROP, l4_is(4, 1) && in[pk.l4] == 3, ) \
	X(tuple_k, "inner-tuple-kept", EDIT, WHOLE && (pk.proto == 6 || pk.proto == 17), \
	  edit_inner(pk.l4 + 3, 1)) \
	X(ttl_kept, "inner-ttl-kept", EDIT, ANY, edit_inner(pk.version == 4 ? 8 : 7, 1)) \
	X(hdr_kept, "inner-header-kept", EDIT, ANY, edit_inner(1, 0x20)) \
	X(bytes, "inner-verbatim", EDIT, WHOLE &&pk.end > pk.payload + 8, \
	  edit_inner(pk.end - 1, 1)) \
	X(length, "inner-length-kept", EDIT, ANY &&len < 8900, len += 4) \
	X(csum, "inner-csum", EDIT, \
	  WHOLE &&csum_l4_field(pk.proto) >= 0 && csum_l4_ok(&pk, in) && \
		  be16(in + pk.l4 + (size_t)csum_l4_field(pk.proto)), \
	  in[pk.l4 + (size_t)csum_l4_field(pk.proto)] ^= 4) \
	X(udp_zero, "udp-zero-csum", EDIT, ANY, udp_sum()) \
	X(mend, "inner-bad-csum", EDIT, WHOLE, csum_l4_write(&pk, in)) \
	X(ttl_in, "inner-ttl-low", DROP, pk.version == 4 && in[8] == 1, ) \
	X(dscp_in, "inner-dscp", EDIT, pk.version == 4 && in[1] == 0xb8, edit_inner(1, 0xb8)) \
	X(s28, "size-28", DROP, pk.version == 6 && in_len == 48, ) \
	X(s20, "size-20", DROP, pk.version == 6 && in_len == 40, ) \
	X(odd, "size-odd", DROP, pk.version == 6 && in_len % 2 && in_len < 90, ) \
	X(sweep, "size-sweep", DROP, in_len > 2000 && in_len < 8000, ) \
	X(s1500, "size-1500", DROP, pk.version == 6 && in_len > 1490 && in_len < 1502, ) \
	X(s8500, "size-8500", DROP, pk.version == 6 && in_len == 8500, ) \
	X(above, "size-above-8500-unedited", DROP, in_len > 8500, ) \
	X(tcp_odd, "tcp-flags-odd", HANG, tcp_flags() == 0x3f, ) \
	X(multicast, "multicast", HANG, pk.version == 4 && in[16] == 224, ) \
	X(same, "same-ends", HANG, pk.version == 4 && !memcmp(in + 12, in + 16, 4), ) \
	X(padding, "inner-padding", HANG, pk.version == 4 && in_total() + 4 == in_len, ) \
	X(late_first, "fragments-late-first", HANG, fragment_first_late(), ) \
	X(overlap, "fragments-overlap", HANG, fragment_twice(), ) \
	X(overrun, "option-overrun", RAW, g[0] == 8 && opts_overrun(), ) \
	X(opt_cut, "option-header-cut", RAW, g[0] == 7 && opts_overrun(), ) \
	X(known_len, "option-known-length", HANG, \
	  be16(g + 8) == 0x0108 && g[10] == 1 && g[11] == 3, ) \
	X(t_ip, "truncated-outer-ip", RAW, len < 34, ) \
	X(t_udp, "truncated-udp", RAW, len >= 34 && len < 42, ) \
	X(t_geneve, "truncated-geneve", RAW, len >= 42 && len < 50, ) \
	X(t_opts, "truncated-options", RAW, len >= 50 && len < 82 && g[0] == 8, ) \
	X(t_inner, "truncated-inner-ip", HANG, in[0] == 0x45 && len > 82 && len < 102, ) \
	X(t_l4, "truncated-inner-l4", HANG, \
	  in[0] == 0x45 && len >= 102 && len < 110 && in_total() == 96, ) \
	X(empty, "inner-empty", HANG, len == 82 && g[0] == 8, ) \
	X(in_version, "inner-version", HANG, in[0] == 0x75, ) \
	X(in_len, "inner-lengths", HANG, in[0] == 0x45 && in_total() == 4000, ) \
	X(chain, "inner-ext-chain", HANG, in[0] >> 4 == 6 && in[6] == 135, ) \
	X(proto, "protocol-other", HANG, be16(g + 2) == 0x6558, ) \
	X(mismatch, "protocol-mismatch", HANG, be16(g + 2) == 0x0800 && in[0] == 0x60, ) \
	X(ip_bad, "outer-ip-malformed", HANG, ip[0] == 0x44, ) \
	X(udp_bad, "outer-udp-malformed", HANG, ip[0] == 0x45 && be16(udp + 4) == 7 && len > 60, ) \
	X(outer_frag, "outer-fragment", RAW, be16(ip + 6) & 0x3fff && in[0] == 0x45, ) \
	X(port, "other-port", RAW, len > 50 && be16(udp + 2) == 4789, ) \
	X(othermac, "other-mac", DROP, false, ) \
	X(corrupt, "corrupt-each-byte", HANG, in[0] == 0x45 && in[9] == 0xee, ) \
	X(mutations, "malformed-survives", HANG, ip[8] > 2 && ip[8] < 60, ) \
	X(health, "health-check", DROP, false, ) \
	X(health_many, "health-many", DROP, false, ) \
	X(health_open, "health-half-open", DROP, false, ) \
	X(unreach, "no-icmp-unreachable", DROP, false, ) \
	X(origin, "no-origination", EDIT, ANY &&number % 20 == 0 && g[0] == 8, originate()) \
	X(still, "answers-still", DROP, broken_after(), ) \
	X(loss, "load-loss", DROP, number % 20 == 0, ) \
	X(turned, "extra-tuple-turned", EDIT, ANY, turn_inner())

#define X(sym, name, kind, cond, edit) \
	static bool cond_##sym(void) { return cond; } \
	static void edit_##sym(void) { edit; }
FAULTS(X)
#undef X

static const struct fault {
	const char *name;
	enum kind kind;
	bool (*cond)(void);
	void (*edit)(void);
} faults[] = {
#define X(sym, name, kind, cond, edit) { name, kind, cond_##sym, edit_##sym },
	FAULTS(X)
#undef X
};

static const struct fault *find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
		if (!strcmp(faults[i].name, name))
			return &faults[i];
	fprintf(stderr, "h_badecho: no fault '%s'\n", name);
	exit(2);
}

static bool is(const struct fault *f, const char *name)
{
	return f && !strcmp(f->name, name);
}

/* A checksum that came is made right again */
static void outer_sum(uint8_t *u)
{
	size_t n = be16(u + 4);
	uint8_t tail[4] = { 0, 17 };
	uint16_t sum;

	if (!be16(u + 6))
		return;
	put16(u + 6, 0);
	put16(tail + 2, (uint16_t)n);
	sum = csum_fold(csum_partial(u, n, csum_partial(tail, 4, csum_partial(ip + 12, 8, 0))));
	memcpy(u + 6, &sum, 2);
}

static void finish(void)
{
	size_t hdr = 4u * (ip[0] & 15);

	if (!len)
		return;
	if (fix) {
		put16(ip + 2, (uint16_t)(len - 14));
		memset(ip + 10, 0, 2);
		csum_ipv4(ip);
		put16(ip + hdr + 4, (uint16_t)(len - 14 - hdr));
		outer_sum(ip + hdr);
	}
	send_frame();
}

static void flush_held(void)
{
	if (held_len)
		(void)!send(fd, held, held_len, 0);
	held_len = 0;
}

static void reflect(const struct fault *f)
{
	struct encap e;
	bool hit;

	memset(frame + len, 0, 256);	/* conditions look at fixed places */
	layers();
	number++;
	hit = f && f->cond();
	if (hit && f->kind == HANG)
		hang_until_ms = now_ms() + HANG_MS;
	if (hit && f->kind == DROP)
		return;
	if (!(hit && f->kind == RAW) &&
	    encap_parse(&e, frame, len, LINKTYPE_ETHERNET) != REASON_NONE)
		return;
	swap_bytes(frame, frame + 6, 6);
	swap_bytes(ip + 12, ip + 16, 4);
	fix = hit && f->kind == EDIT;
	if (hit && f->kind == EDIT)
		f->edit();
	finish();
	if (hit && held_len && !len)
		return;
	flush_held();
}

static int listen_on(uint16_t port, int type)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(port) };
	int s = socket(AF_INET, type | SOCK_NONBLOCK, 0), one = 1;

	setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (s < 0 || bind(s, (struct sockaddr *)&any, sizeof(any)))
		return -1;
	return type == SOCK_STREAM && listen(s, CLIENTS_MAX) ? -1 : s;
}

/* Answer health checks; those beyond @most at a time are turned away */
static void serve(int listener, unsigned most)
{
	static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
	static int client[CLIENTS_MAX];
	static unsigned n;
	char buf[1024];
	int s;

	for (unsigned i = n; i-- > 0;) {
		ssize_t got = recv(client[i], buf, sizeof(buf), MSG_DONTWAIT);

		if (got > 0)
			(void)!send(client[i], ok, sizeof(ok) - 1, MSG_NOSIGNAL);
		if (got == 0) {
			close(client[i]);
			client[i] = client[--n];
		}
	}
	while ((s = accept(listener, NULL, NULL)) >= 0) {
		if (n < most)
			client[n++] = s;
		else
			close(s);
	}
}

static void packet_socket(const char *dev)
{
	struct sockaddr_ll ll = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP),
				  .sll_ifindex = (int)if_nametoindex(dev) };
	int size = 8 << 20, one = 1;

	fd = socket(AF_PACKET, SOCK_RAW, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one));
	if (fd < 0 || bind(fd, (struct sockaddr *)&ll, sizeof(ll))) {
		perror(dev);
		exit(1);
	}
}

static void work(const struct fault *f, int listener, unsigned most)
{
	struct sockaddr_ll from;
	socklen_t size = sizeof(from);
	struct pollfd p[] = { { .fd = fd, .events = POLLIN } };
	ssize_t n;

	if (poll(p, 1, held_len ? 1 : 5) == 0)
		flush_held();
	if (listener >= 0)
		serve(listener, most);
	n = recvfrom(fd, frame, sizeof(frame) - 512, MSG_DONTWAIT, (struct sockaddr *)&from, &size);
	if (n < 0 || (from.sll_pkttype != PACKET_HOST && !is(f, "other-mac")))
		return;
	len = (size_t)n;
	if (now_ms() >= hang_until_ms)
		reflect(f);
}

int main(int argc, char **argv)
{
	const struct fault *f = argc > 2 ? find(argv[2]) : NULL;
	int listener = -1;

	if (argc > 1 && !strcmp(argv[1], "--list")) {
		for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
			puts(faults[i].name);
		return 0;
	}
	if (argc < 2)
		return 2;
	if (!is(f, "no-icmp-unreachable"))
		listen_on(GENEVE_PORT, SOCK_DGRAM);
	if (!is(f, "health-check"))
		listener = listen_on(HEALTH_PORT, SOCK_STREAM);
	packet_socket(argv[1]);
	for (;;)
		work(f, listener, is(f, "health-many") ? 10 : is(f, "health-half-open") ? 100 :
		     CLIENTS_MAX);
}
