/* SPDX-License-Identifier: MIT */
#include <net/ethernet.h>
#include <netinet/in.h>

#include "csum.h"
#include "geneve.h"
#include "outer.h"

enum { ETHER_LEN = 14, UDP_LEN = 8, IP4_MIN = 20, IP6_LEN = 40, TTL = 64 };

#define IP4_DF	0x4000u

static uint16_t ip_header_len(const uint8_t *ip, size_t left, uint8_t version)
{
	uint16_t hlen;

	if (version == 6)
		return left >= IP6_LEN && ip[6] == IPPROTO_UDP ? IP6_LEN : 0;
	if (version != 4 || left < IP4_MIN || ip[9] != IPPROTO_UDP)
		return 0;
	hlen = (uint16_t)(4 * (ip[0] & 0xfu));
	return hlen >= IP4_MIN && hlen <= left ? hlen : 0;
}

/* What load balancers send: no VLAN tag, IPv4 without options */
static bool is_plain(const uint8_t *encap, size_t len, uint32_t linktype)
{
	return linktype == LINKTYPE_ETHERNET &&
	       len >= ETHER_LEN + IP4_MIN + UDP_LEN + GENEVE_HDR_LEN &&
	       be16(encap + 12) == ETHERTYPE_IP && encap[ETHER_LEN] == 0x45 &&
	       encap[ETHER_LEN + 9] == IPPROTO_UDP;
}

/* Offsets of IP and UDP; written also where there is neither */
static bool find_layers(const uint8_t *encap, size_t len, uint32_t linktype, uint32_t *l3,
			uint32_t *udp)
{
	uint8_t version;
	uint16_t hlen;

	if (!len || packet_l3(encap, len, linktype, l3, &version) || *l3 >= len)
		return false;
	version = encap[*l3] >> 4;
	hlen = ip_header_len(encap + *l3, len - *l3, version);
	*udp = *l3 + hlen;
	return hlen && *udp + UDP_LEN + GENEVE_HDR_LEN <= len;
}

enum reason outer_parse(struct outer *o, struct frame *f)
{
	const uint8_t *encap = frame_encap(f);
	uint32_t l3 = ETHER_LEN, udp = ETHER_LEN + IP4_MIN;

	if (!is_plain(encap, f->encap_len, f->encap_linktype) &&
	    !find_layers(encap, f->encap_len, f->encap_linktype, &l3, &udp))
		return REASON_NO_ENCAP;
	if (be16(encap + udp + 2) != GENEVE_PORT ||
	    udp + UDP_LEN + GENEVE_HDR_LEN + 4 * (encap[udp + UDP_LEN] & 0x3fu) != f->encap_len)
		return REASON_NO_ENCAP;
	*o = (struct outer){
		.l3 = (uint16_t)l3, .udp = (uint16_t)udp, .len = f->encap_len,
		.version = encap[l3] >> 4,
	};
	return REASON_NONE;
}

static void turn(const struct outer *o, uint8_t *encap, uint32_t linktype)
{
	uint8_t *ip = encap + o->l3;

	if (linktype == LINKTYPE_ETHERNET)
		swap_bytes(encap, encap + 6, 6);
	if (o->version == 4) {
		swap_bytes(ip + 12, ip + 16, 4);
	} else {
		ip[7] = TTL;
		swap_bytes(ip + 8, ip + 24, 16);
	}
}

static void udp6_checksum(const struct outer *o, uint8_t *encap, const struct iovec *inner, int n)
{
	uint8_t *udp = encap + o->udp;
	uint8_t pseudo[8] = { 0 };
	uint64_t sum;
	uint16_t csum;

	if (be16(udp + 6) == 0)
		return;
	put16(udp + 6, 0);
	put32(pseudo, be16(udp + 4));
	pseudo[7] = IPPROTO_UDP;
	sum = csum_partial(encap + o->l3 + 8, 32, 0);
	sum = csum_partial(pseudo, sizeof(pseudo), sum);
	sum = csum_partial(udp, o->len - o->udp, sum);
	for (int i = 0; i < n; i++)
		sum = csum_partial(inner[i].iov_base, inner[i].iov_len, sum);
	csum = csum_fold(sum);
	if (csum == 0)
		csum = 0xffff;
	memcpy(udp + 6, &csum, sizeof(csum));
}

/*
 * The sum is of what is written, not of what lies there: loads that wait for smaller
 * stores before them took longer than all the rest.
 */
static void ip4_header(uint8_t *ip, size_t hlen, size_t len)
{
	uint32_t front = (uint32_t)be16(ip) << 16 | (uint32_t)len;
	uint32_t ttl = (uint32_t)TTL << 24 | IPPROTO_UDP << 16;
	uint64_t sum = csum_partial(ip + 12, hlen - 12, 0);

	sum = (sum & UINT32_MAX) + (sum >> 32) + __builtin_bswap32(front) +
	      __builtin_bswap32(IP4_DF) + __builtin_bswap32(ttl);
	put32(ip, front);
	put32(ip + 4, IP4_DF);
	put32(ip + 8, ttl | __builtin_bswap16(csum_fold(sum)));
}

bool outer_fit(const struct outer *o, uint8_t *encap, const struct iovec *inner, int n, size_t len)
{
	uint8_t *ip = encap + o->l3, *udp = encap + o->udp;
	size_t udp_len = o->len - o->udp + len;
	size_t ip_len = o->len - o->l3 + len;

	if (ip_len > UINT16_MAX)
		return false;
	if (o->version == 4) {
		ip4_header(ip, o->udp - o->l3, ip_len);
		put32(udp + 4, (uint32_t)udp_len << 16);	/* no checksum */
	} else {
		put16(udp + 4, (uint16_t)udp_len);
		put16(ip + 4, (uint16_t)(ip_len - IP6_LEN));
		udp6_checksum(o, encap, inner, n);
	}
	return true;
}

/* A cooked header tells neither end's full address: what goes back is IP */
static void leave_cooked(struct frame *f, struct outer *o)
{
	if (f->encap_linktype == LINKTYPE_ETHERNET)
		return;
	f->encap_off += o->l3;
	f->encap_len = (uint16_t)(f->encap_len - o->l3);
	f->encap_linktype = LINKTYPE_RAW;
	o->len = (uint16_t)(o->len - o->l3);
	o->udp = (uint16_t)(o->udp - o->l3);
	o->l3 = 0;
}

enum reason outer_return(struct frame *f, uint32_t mtu)
{
	struct iovec inner = { frame_data(f), f->len };
	size_t len = MAX(f->len, f->orig_len);
	struct outer o;
	enum reason r;

	r = outer_parse(&o, f);
	if (r)
		return r;
	if (f->linktype != LINKTYPE_RAW && f->linktype != LINKTYPE_IPV4 &&
	    f->linktype != LINKTYPE_IPV6)
		return REASON_LINKTYPE;
	if (len > mtu && f->marks & FRAME_CHANGED && !(f->marks & FRAME_FRAGMENT))
		return REASON_TOO_LARGE;
	frame_touch(f);
	leave_cooked(f, &o);
	turn(&o, frame_encap(f), f->encap_linktype);
	if (f->marks & FRAME_FRAGMENT)
		return REASON_NONE;	/* each fragment gets its own lengths */
	return outer_fit(&o, frame_encap(f), &inner, 1, len) ? REASON_NONE : REASON_TOO_LARGE;
}

bool outer_join(struct frame *f)
{
	uint32_t len = f->encap_len;
	uint32_t beyond = len > FRAME_HEADROOM ? len - FRAME_HEADROOM : 0;

	if (f->encap_off + len != f->off) {
		if (!frame_own(f, beyond))
			return false;
		memmove(frame_data(f) + beyond, frame_data(f), beyond ? f->len : 0);
		f->off += beyond;
		memcpy(frame_data(f) - len, frame_encap(f), len);
	}
	f->off -= len;
	f->len += len;
	f->orig_len = MAX(f->orig_len + len, f->len);
	f->linktype = f->encap_linktype;
	f->encap_len = 0;
	f->pkt.flags = 0;
	return true;
}
