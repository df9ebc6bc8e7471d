/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "csum.h"
#include "geneve.h"
#include "run_judge.h"
#include "wire.h"

static const struct {
	const char *name;
	const char *text;
	bool lost;
} kinds[] = {
#define X(sym, label, lost, text) { label, text, lost },
	JUDGE_LIST(X)
#undef X
};

_Static_assert(ARRAY_SIZE(kinds) == JUDGE_NUM, "one row a kind");

const char *judge_name(unsigned kind)
{
	return kind < JUDGE_NUM ? kinds[kind].name : "?";
}

const char *judge_text(unsigned kind)
{
	return kind < JUDGE_NUM ? kinds[kind].text : "?";
}

uint64_t judge_total(const struct judge *j)
{
	uint64_t n = 0;

	for (int i = 0; i < JUDGE_NUM; i++)
		n += j->count[i];
	return n;
}

/* A frame on its way through the checks, each of which finds more of it */
struct trial {
	struct judge *j;
	const struct site *site;
	const struct port_rx *rx;
	uint64_t now_ms;
	struct packet outer;
	const uint8_t *ip;		/* outer IP header */
	const uint8_t *udp;
	const uint8_t *geneve;
	struct geneve g;
	struct packet inner;
	struct judged out;
};

static enum judge_kind __attribute__((format(printf, 3, 4)))
found(struct trial *t, enum judge_kind kind, const char *fmt, ...)
{
	struct judge *j = t->j;
	va_list ap;

	if (!j->count[kind]++) {	/* the only time that anything is formatted */
		va_start(ap, fmt);
		vsnprintf(j->example[kind], JUDGE_EXAMPLE, fmt, ap);
		va_end(ap);
	}
	return kind;
}

/* A transport header that is cut, or whose own length is too large, has no checksum
 * that could be right */
static bool has_transport(const struct packet *p)
{
	if (p->flags & (PKT_L4 | PKT_FRAG_FIRST | PKT_FRAG_LATER))
		return true;
	return csum_l4_field(p->proto) < 0;
}

bool judge_csum_ok(const struct packet *p, const uint8_t *data)
{
	const uint8_t *ip = data + p->l3;

	if (!has_transport(p))
		return false;
	if (p->version == 4 && csum_fold(csum_partial(ip, (ip[0] & 0xfu) * 4, 0)))
		return false;
	return csum_l4_ok(p, data);
}

/* Port unreachable, quoting a packet to the Geneve port: nobody listens there */
static enum judge_kind check_icmp(struct trial *t)
{
	const uint8_t *icmp = t->rx->data + t->outer.l4, *quoted = icmp + 8;

	if (t->outer.end - t->outer.l4 < 8 + 28 || icmp[0] != 3 || icmp[1] != 3)
		return JUDGE_NOT_OURS;
	if (quoted[0] != 0x45 || quoted[9] != IPPROTO_UDP || be16(quoted + 22) != GENEVE_PORT)
		return JUDGE_NOT_OURS;
	return found(t, JUDGE_PORT_UNREACHABLE, "ICMP port unreachable, quoting source port %u",
		     be16(quoted + 20));
}

static bool might_be_geneve(const struct trial *t)
{
	return be16(t->udp) == GENEVE_PORT || be16(t->udp + 2) == GENEVE_PORT ||
	       t->outer.end - t->outer.payload >= GENEVE_HDR_LEN + GENEVE_AWS_OPTS_LEN;
}

static enum judge_kind check_outer(struct trial *t)
{
	const struct port_rx *rx = t->rx;
	enum reason r = packet_parse(&t->outer, rx->data, rx->len, LINKTYPE_ETHERNET);

	if (rx->len < ETHER_HDR_LEN || be16(rx->data + 12) != ETHERTYPE_IP)
		return JUDGE_NOT_OURS;
	if (r)
		return found(t, JUDGE_OUTER_MALFORMED, "%s", reason_text(r));
	if (t->outer.proto == IPPROTO_ICMP)
		return check_icmp(t);
	if (t->outer.proto != IPPROTO_UDP)
		return JUDGE_NOT_OURS;
	if (rx->cut || (t->outer.flags & PKT_CUT))
		return found(t, JUDGE_OUTER_LENGTH, "IP length %u, frame of %u bytes",
			     be16(rx->data + t->outer.l3 + 2), rx->len);
	if (t->outer.flags & (PKT_FRAG_FIRST | PKT_FRAG_LATER))
		return found(t, JUDGE_OUTER_FRAGMENT, "fragment offset %u", t->outer.frag_off);
	if (!(t->outer.flags & PKT_L4))
		return found(t, JUDGE_OUTER_MALFORMED, "UDP header is cut");
	t->ip = rx->data + t->outer.l3;
	t->udp = rx->data + t->outer.l4;
	t->geneve = rx->data + t->outer.payload;
	return might_be_geneve(t) ? JUDGE_FINE : JUDGE_NOT_OURS;
}

static enum judge_kind check_wire(struct trial *t)
{
	const struct site *s = t->site;
	char src[INET_ADDRSTRLEN], dst[INET_ADDRSTRLEN];
	uint32_t len = t->outer.end - t->outer.l4;

	if (!t->rx->for_us)
		return found(t, JUDGE_LINK_ADDRESS, "to %02x:%02x:%02x:%02x:%02x:%02x",
			     t->rx->data[0], t->rx->data[1], t->rx->data[2], t->rx->data[3],
			     t->rx->data[4], t->rx->data[5]);
	if (be16(t->udp + 4) != len)
		return found(t, JUDGE_OUTER_LENGTH, "UDP length %u, %u bytes behind the IP header",
			     be16(t->udp + 4), len);
	if (!t->rx->csum_pending && !judge_csum_ok(&t->outer, t->rx->data))
		return found(t, JUDGE_OUTER_CHECKSUM, "IP checksum %04x, UDP checksum %04x",
			     be16(t->ip + 10), be16(t->udp + 6));
	if (memcmp(t->ip + 12, &s->addr, 4) != 0 || memcmp(t->ip + 16, &s->lb_addr, 4) != 0)
		return found(t, JUDGE_OUTER_ADDRESS, "%s > %s",
			     inet_ntop(AF_INET, t->ip + 12, src, sizeof(src)),
			     inet_ntop(AF_INET, t->ip + 16, dst, sizeof(dst)));
	return JUDGE_FINE;
}

static int endpoint_number(const struct judge *j, uint64_t id)
{
	for (unsigned i = 0; i < j->endpoints; i++)
		if (j->endpoint[i] == id)
			return (int)i;
	return -1;
}

/* What differs from the 40 bytes that this flow's packets came with */
static enum judge_kind check_bytes(struct trial *t, const struct conn *c)
{
	uint8_t want[GENEVE_HDR_LEN + GENEVE_AWS_OPTS_LEN];
	const uint8_t *got = t->geneve;
	uint8_t version = t->out.len ? got[t->g.hdr_len] >> 4 : 4;
	uint64_t id = t->j->endpoint[c->key.endpoint];

	geneve_build_aws(want, version == 6 ? ETHERTYPE_IPV6 : ETHERTYPE_IP, id, 0, c->cookie);
	if (memcmp(got, want, GENEVE_HDR_LEN) != 0)
		return found(t, JUDGE_GENEVE_HEADER, "%08x %08x instead of %08x %08x", be32(got),
			     be32(got + 4), be32(want), be32(want + 4));
	for (size_t i = GENEVE_HDR_LEN; i < sizeof(want); i += 4)
		if (memcmp(got + i, want + i, 4) != 0)
			return found(t, JUDGE_GENEVE_OPTIONS, "%08x instead of %08x at byte %zu",
				     be32(got + i), be32(want + i), i);
	return JUDGE_FINE;
}

static enum judge_kind check_geneve(struct trial *t)
{
	uint32_t len = t->outer.end - t->outer.payload;
	enum reason r = geneve_parse(&t->g, t->geneve, len);
	bool ports = be16(t->udp) == GENEVE_PORT || be16(t->udp + 2) == GENEVE_PORT;
	enum judge_kind kind;
	struct conn *c = NULL;
	int e = -1;

	if (r)
		return ports ? found(t, JUDGE_GENEVE_HEADER, "%s", reason_text(r)) :
			       JUDGE_NOT_OURS;
	t->out.inner = t->outer.payload + t->g.hdr_len;
	t->out.len = len - t->g.hdr_len;
	e = endpoint_number(t->j, t->g.endpoint);
	if (e >= 0)
		c = conn_by_cookie(t->j->conns, (uint16_t)e, t->g.cookie, t->now_ms);
	if (!c && !ports)
		return JUDGE_NOT_OURS;
	if (e < 0)
		return found(t, JUDGE_GENEVE_OPTIONS, "endpoint id %016llx is not known",
			     (unsigned long long)t->g.endpoint);
	if (!c)
		return found(t, JUDGE_COOKIE, "cookie %08x", t->g.cookie);
	if (be16(t->udp) != c->sport || be16(t->udp + 2) != GENEVE_PORT)
		return found(t, JUDGE_OUTER_PORT, "%u > %u instead of %u > %u", be16(t->udp),
			     be16(t->udp + 2), c->sport, GENEVE_PORT);
	kind = check_bytes(t, c);
	if (kind == JUDGE_FINE)
		t->out.conn = c;
	return kind;
}

static bool is_icmp_error(const struct packet *p, const uint8_t *data)
{
	uint8_t type = data[p->l4];

	if (!(p->flags & PKT_L4))
		return false;
	if (p->proto == IPPROTO_ICMP)
		return type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
	return p->proto == IPPROTO_ICMPV6 && type >= 1 && type <= 4;
}

/* An ICMP error that the appliance made: it quotes a packet of the flow, and goes
 * to the end that sent it */
static bool quotes_flow(const struct trial *t, const uint8_t *inner, bool *to_server)
{
	const struct packet *p = &t->inner;
	struct packet q;
	bool far;

	if (!is_icmp_error(p, inner))
		return false;
	if (packet_parse(&q, inner + p->payload, p->end - p->payload, LINKTYPE_RAW))
		return false;
	if (!conn_matches(t->j->conns, t->out.conn, &q, inner + p->payload, &far) ||
	    q.version != p->version)
		return false;
	*to_server = !far;
	return !memcmp(packet_dst(p, inner), packet_src(&q, inner + p->payload),
		       packet_addr_len(p));
}

static enum judge_kind check_inner(struct trial *t)
{
	const uint8_t *inner = t->rx->data + t->out.inner;
	char text[128];
	enum reason r;

	if (t->out.len > JUDGE_INNER_MAX)
		return found(t, JUDGE_INNER_SIZE, "%u bytes", t->out.len);
	r = packet_parse(&t->inner, inner, t->out.len, LINKTYPE_RAW);
	if (r)
		return found(t, JUDGE_INNER_MALFORMED, "%s", reason_text(r));
	if (t->inner.end != t->out.len || (t->inner.flags & PKT_CUT))
		return found(t, JUDGE_INNER_LENGTH, "%u bytes carried, %u by the IP header",
			     t->out.len, t->inner.version == 4 ? be16(inner + 2) :
			     40u + be16(inner + 4));
	if (!conn_matches(t->j->conns, t->out.conn, &t->inner, inner, &t->out.to_server) &&
	    !quotes_flow(t, inner, &t->out.to_server)) {
		packet_describe(&t->inner, inner, text, sizeof(text));
		return found(t, JUDGE_INNER_TUPLE, "%s", text);
	}
	if (!t->out.conn->bad_csum && !judge_csum_ok(&t->inner, inner)) {
		packet_describe(&t->inner, inner, text, sizeof(text));
		return found(t, JUDGE_INNER_CHECKSUM, "%s", text);
	}
	return JUDGE_FINE;
}

struct judged judge_packet(struct judge *j, const struct site *site, const struct port_rx *rx,
			   uint64_t now_ms)
{
	static enum judge_kind (*const checks[])(struct trial *) = {
		check_outer, check_wire, check_geneve, check_inner
	};
	struct trial t = { .j = j, .site = site, .rx = rx, .now_ms = now_ms };

	t.out.kind = JUDGE_FINE;
	for (size_t i = 0; i < ARRAY_SIZE(checks) && t.out.kind == JUDGE_FINE; i++)
		t.out.kind = checks[i](&t);
	if (t.out.kind == JUDGE_NOT_OURS || (t.out.kind < JUDGE_NUM && kinds[t.out.kind].lost))
		t.out.conn = NULL;
	return t.out;
}
