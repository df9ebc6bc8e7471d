/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

#include "packet.h"
#include "wire.h"

#define VLAN_TAGS_MAX	4

static bool is_vlan(uint16_t type)
{
	return type == 0x8100 || type == 0x88a8 || type == 0x9100;
}

enum reason packet_l3(const uint8_t *data, size_t len, uint32_t linktype,
		      uint32_t *off, uint8_t *version)
{
	size_t hdr;
	uint16_t type;

	switch (linktype) {
	case LINKTYPE_RAW:
	case LINKTYPE_IPV4:
	case LINKTYPE_IPV6:
		*off = 0;
		*version = linktype == LINKTYPE_IPV4 ? 4 : linktype == LINKTYPE_IPV6 ? 6 : 0;
		return REASON_NONE;
	case LINKTYPE_ETHERNET:	hdr = 14; break;
	case LINKTYPE_LINUX_SLL: hdr = 16; break;
	case LINKTYPE_LINUX_SLL2: hdr = 20; break;
	default:
		return REASON_LINKTYPE;
	}
	if (len < hdr)
		return REASON_L2_SHORT;
	type = be16(data + (linktype == LINKTYPE_LINUX_SLL2 ? 0 : hdr - 2));
	for (int tags = 0; is_vlan(type) && tags < VLAN_TAGS_MAX; tags++) {
		if (len < hdr + 4)
			return REASON_L2_SHORT;
		type = be16(data + hdr + 2);
		hdr += 4;
	}
	if (type != 0x0800 && type != 0x86dd)
		return REASON_L2_NOT_IP;
	*off = (uint32_t)hdr;
	*version = type == 0x0800 ? 4 : 6;
	return REASON_NONE;
}

static enum reason parse_ipv4(struct packet *p, const uint8_t *data, size_t len)
{
	const uint8_t *ip = data + p->l3;
	uint32_t left = (uint32_t)len - p->l3, hlen, total;
	uint16_t frag;

	if (left < 20)
		return REASON_IP_SHORT;
	hlen = 4 * (ip[0] & 0x0fu);
	total = be16(ip + 2);
	if (hlen < 20 || hlen > left)
		return REASON_IP_HEADER;
	if (total < hlen)
		return REASON_IP_LENGTH;
	if (total > left)
		p->flags |= PKT_CUT;
	p->end = p->l3 + MIN(total, left);
	p->l4 = p->l3 + hlen;
	p->proto = ip[9];
	frag = be16(ip + 6);
	p->frag_off = (uint16_t)((frag & 0x1fff) * 8u);
	p->frag_id = be16(ip + 4);
	if (p->frag_off)
		p->flags |= PKT_FRAG_LATER;
	else if (frag & 0x2000)
		p->flags |= PKT_FRAG_FIRST;
	return REASON_NONE;
}

/* Length of the extension header at @h, 0 if @proto is none (RFC 7045) */
static uint32_t ext_len(uint8_t proto, const uint8_t *h)
{
	switch (proto) {
	case IPPROTO_HOPOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_DSTOPTS:
	case 135:		/* Mobility, RFC 6275 */
	case 139:		/* HIP, RFC 7401 */
	case 140:		/* Shim6, RFC 5533 */
		return 8 * (h[1] + 1u);
	case IPPROTO_AH:
		return 4 * (h[1] + 2u);
	case IPPROTO_FRAGMENT:
		return 8;
	}
	return 0;
}

static enum reason parse_ipv6(struct packet *p, const uint8_t *data, size_t len)
{
	const uint8_t *ip = data + p->l3;
	uint32_t left = (uint32_t)len - p->l3, total, n;
	bool fragmented = false;

	if (left < 40)
		return REASON_IP_SHORT;
	total = 40u + be16(ip + 4);
	/* A jumbogram (RFC 2675): hosts take it for as long as it came, also without the
	 * option that should say so.  None is longer than another packet here. */
	if (total == 40 && ip[6] == IPPROTO_HOPOPTS)
		total = MIN(left, 40u + UINT16_MAX);
	if (total > left)
		p->flags |= PKT_CUT;
	p->end = p->l3 + MIN(total, left);
	p->l4 = p->l3 + 40;
	p->proto = ip[6];
	while (p->proto != IPPROTO_UDP && p->proto != IPPROTO_TCP) {
		const uint8_t *h = data + p->l4;
		static const uint8_t none[8];
		bool room = p->end - p->l4 >= 8;

		n = ext_len(p->proto, room ? h : none);
		if (!n)
			return REASON_NONE;
		if (!room || n > p->end - p->l4) {
			if (!(p->flags & PKT_FRAG_FIRST) || p->flags & PKT_CUT)
				return REASON_IP_EXT;
			p->flags |= PKT_EXT_CUT;	/* the rest may be in other fragments */
			return REASON_NONE;
		}
		if (p->proto == IPPROTO_FRAGMENT) {
			uint16_t frag = be16(h + 2);

			if (fragmented)		/* a fragment of a fragment: nobody sends that */
				return REASON_IP_EXT;
			fragmented = true;
			p->frag_off = frag & 0xfff8;
			p->frag_id = be32(h + 4);
			if (p->frag_off)
				p->flags |= PKT_FRAG_LATER;
			else if (frag & 1)
				p->flags |= PKT_FRAG_FIRST;
		}
		p->proto = h[0];
		p->l4 += n;
		if (p->flags & PKT_FRAG_LATER)
			return REASON_NONE;	/* what follows is data */
	}
	return REASON_NONE;
}

static void parse_ports(struct packet *p, const uint8_t *h, uint32_t left)
{
	if (left < 4)
		return;
	p->port[0] = be16(h);
	p->port[1] = be16(h + 2);
}

static void parse_l4(struct packet *p, const uint8_t *data)
{
	const uint8_t *h = data + p->l4;
	uint32_t left = p->end - p->l4, hlen, udp_len;

	switch (p->proto) {
	case IPPROTO_TCP:
		parse_ports(p, h, left);
		hlen = left >= 20 ? 4 * (uint32_t)(h[12] >> 4) : 0;
		if (hlen < 20 || hlen > left)
			return;
		break;
	case IPPROTO_UDP:
		parse_ports(p, h, left);
		hlen = 8;
		if (left < hlen)
			return;
		udp_len = be16(h + 4);
		if (!udp_len && p->version == 6)
			udp_len = left;		/* RFC 2675; hosts take it of any length */
		if (udp_len < hlen)
			return;
		if (!(p->flags & (PKT_FRAG_FIRST | PKT_CUT))) {
			if (udp_len > left)
				return;
			if (udp_len < left)
				p->flags |= PKT_SURPLUS;
		}
		if (p->port[1] == GENEVE_PORT)
			p->flags |= PKT_GENEVE;
		break;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		hlen = 8;
		if (left < hlen)
			return;
		break;
	default:
		return;
	}
	p->payload = p->l4 + hlen;
	p->flags |= PKT_L4;
}

/*
 * From the IP header on.  Straight into @p: a copy of what was just written in smaller pieces
 * would wait for them.
 */
static inline enum reason parse_ip(struct packet *p, const uint8_t *data, size_t len,
				   uint32_t l3, uint8_t below)
{
	uint8_t version;
	enum reason r;

	if (len <= l3)
		return REASON_IP_SHORT;
	version = data[l3] >> 4;
	if ((version != 4 && version != 6) || (below && below != version))
		return REASON_IP_VERSION;
	*p = (struct packet){ .l3 = (uint16_t)l3, .version = version };
	r = version == 4 ? parse_ipv4(p, data, len) : parse_ipv6(p, data, len);
	if (r)
		return r;
	p->payload = p->l4;
	if (!(p->flags & PKT_FRAG_LATER))
		parse_l4(p, data);
	p->flags |= PKT_PARSED;
	return REASON_NONE;
}

static enum reason __attribute__((noinline)) parse_l2(struct packet *p, const uint8_t *data,
						      size_t len, uint32_t linktype)
{
	uint32_t l3;
	uint8_t below;
	enum reason r = packet_l3(data, len, linktype, &l3, &below);

	return r ? r : parse_ip(p, data, len, l3, below);
}

enum reason packet_parse(struct packet *p, const uint8_t *data, size_t len, uint32_t linktype)
{
	enum reason r = linktype == LINKTYPE_RAW ? parse_ip(p, data, len, 0, 0)
						 : parse_l2(p, data, len, linktype);

	if (unlikely(r))
		*p = (struct packet){ 0 };
	return r;
}

uint32_t packet_wire_len(const struct packet *p, const uint8_t *data)
{
	const uint8_t *ip = data + p->l3;

	if (!(p->flags & PKT_CUT))
		return p->end - p->l3;
	return p->version == 4 ? be16(ip + 2) : 40u + be16(ip + 4);
}

static const char *proto_name(uint8_t proto, char *num, size_t size)
{
	switch (proto) {
	case IPPROTO_TCP: return "TCP";
	case IPPROTO_UDP: return "UDP";
	case IPPROTO_ICMP: return "ICMP";
	case IPPROTO_ICMPV6: return "ICMPv6";
	}
	snprintf(num, size, "proto %u", proto);
	return num;
}

void packet_describe(const struct packet *p, const uint8_t *data, char *out, size_t size)
{
	char src[INET6_ADDRSTRLEN], dst[INET6_ADDRSTRLEN], num[16], sp[8] = "", dp[8] = "";
	char more[40] = "";
	int af = p->version == 4 ? AF_INET : AF_INET6;
	bool v6;

	inet_ntop(af, packet_src(p, data), src, sizeof(src));
	inet_ntop(af, packet_dst(p, data), dst, sizeof(dst));
	if (p->flags & PKT_L4 && (p->proto == IPPROTO_TCP || p->proto == IPPROTO_UDP)) {
		snprintf(sp, sizeof(sp), ":%u", p->port[0]);
		snprintf(dp, sizeof(dp), ":%u", p->port[1]);
	} else if (p->flags & PKT_L4) {
		snprintf(more, sizeof(more), " type %u code %u", data[p->l4], data[p->l4 + 1]);
	}
	if (p->flags & (PKT_FRAG_FIRST | PKT_FRAG_LATER))
		snprintf(more, sizeof(more), " fragment %#x@%u", p->frag_id, p->frag_off);
	v6 = p->version == 6 && *sp;
	snprintf(out, size, "%s %s%s%s%s > %s%s%s%s%s len %u",
		 proto_name(p->proto, num, sizeof(num)),
		 v6 ? "[" : "", src, v6 ? "]" : "", sp,
		 v6 ? "[" : "", dst, v6 ? "]" : "", dp, more, p->end - p->l3);
}
