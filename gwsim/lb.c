/* SPDX-License-Identifier: MIT */
/*
 * lb.c - The load balancer's data path
 *
 * Frames are worked on where the receive ring has them: what an end sent gets the
 * encapsulation written before it, what an appliance sent gets a new Ethernet
 * header right before its inner packet.  A burst is taken, sent on, and only then
 * handed back to the kernel.
 */
#include <net/ethernet.h>
#include <netinet/in.h>
#include <sodium.h>
#include <string.h>

#include "csum.h"
#include "geneve.h"
#include "log.h"
#include "sim.h"
#include "wire.h"

#define WRAP_LEN	(ETHER_HDR_LEN + 20u + 8u + GENEVE_HDR_LEN + GENEVE_AWS_OPTS_LEN)

_Static_assert(WRAP_LEN - ETHER_HDR_LEN <= PORT_HEADROOM, "fits before a received frame");

static void batch_add(struct sim_batch *b, void *frame, size_t len)
{
	b->iov[b->n++] = (struct iovec){ .iov_base = frame, .iov_len = len };
}

static unsigned batch_send(struct sim_batch *b, struct port *p)
{
	unsigned sent = b->n ? port_send(p, b->iov, b->n) : 0;

	b->n = 0;
	return sent;
}

static void put_ether(uint8_t *eth, const uint8_t *dst, const uint8_t *src, uint16_t type)
{
	memcpy(eth, dst, ETHER_ADDR_LEN);
	memcpy(eth + ETHER_ADDR_LEN, src, ETHER_ADDR_LEN);
	put16(eth + 12, type);
}

static bool is_multicast_or_local(const struct packet *p, const uint8_t *dst)
{
	if (p->version == 4)
		return dst[0] >= 224 || dst[0] == 127 || (dst[0] == 169 && dst[1] == 254);
	return dst[0] == 0xff || (dst[0] == 0xfe && (dst[1] & 0xc0) == 0x80);
}

/* The healthy appliances: how many, and which */
static unsigned choices(const struct sim *s, uint8_t *out)
{
	unsigned n = 0;

	for (unsigned i = 0; i < s->conf->appliances; i++)
		if (s->target[i].health.state == HEALTH_HEALTHY)
			out[n++] = (uint8_t)i;
	return n;
}

/* None is healthy: any, at random */
static void pick_target(const struct sim *s, struct conn *c)
{
	uint8_t pick[SIM_APPLIANCES];
	unsigned n = choices(s, pick);

	c->target = n ? pick[conn_hash(s->conns, &c->key) % n] :
			(uint8_t)randombytes_uniform(s->conf->appliances);
}

/* A flow stays where it is, also on a dead target; --rebalance moves it as soon as
 * there is a healthy one */
static struct sim_target *target_of(struct sim *s, struct conn *c, bool fresh)
{
	uint8_t pick[SIM_APPLIANCES];
	bool dead = s->target[c->target].health.state != HEALTH_HEALTHY;

	if (fresh || (dead && s->conf->rebalance && choices(s, pick)))
		pick_target(s, c);
	return &s->target[c->target];
}

/* Write what AWS puts before an inner packet of @len bytes */
static uint8_t *wrap(const struct sim_target *t, const struct conn *c, uint64_t endpoint,
		     uint8_t version, uint8_t *inner, uint32_t len)
{
	uint8_t *eth = inner - WRAP_LEN, *ip = eth + ETHER_HDR_LEN, *udp = ip + 20;
	uint32_t total = WRAP_LEN - ETHER_HDR_LEN + len;

	put_ether(eth, t->site.mac, t->site.lb_mac, ETHERTYPE_IP);
	memset(ip, 0, 28);
	ip[0] = 0x45;
	put16(ip + 2, (uint16_t)total);
	put16(ip + 6, 0x4000);			/* do not fragment */
	ip[8] = 64;
	ip[9] = IPPROTO_UDP;
	memcpy(ip + 12, &t->site.lb_addr, 4);
	memcpy(ip + 16, &t->site.addr, 4);
	csum_ipv4(ip);
	put16(udp, c->sport);
	put16(udp + 2, GENEVE_PORT);
	put16(udp + 4, (uint16_t)(total - 20));
	geneve_build_aws(udp + 8, version == 4 ? ETHERTYPE_IP : ETHERTYPE_IPV6, endpoint, 0,
			 c->cookie);
	return eth;
}

static void forward(struct sim *s, unsigned e, enum sim_role side, const struct port_rx *rx,
		    uint64_t now_ms)
{
	struct sim_side *from = &s->endpoint[e].side[side];
	uint8_t *inner = rx->data + ETHER_HDR_LEN;
	struct sim_target *t;
	struct packet p;
	struct conn *c;
	bool fresh;

	if (rx->cut || rx->len < ETHER_HDR_LEN ||
	    packet_parse(&p, inner, rx->len - ETHER_HDR_LEN, LINKTYPE_RAW) ||
	    (p.flags & PKT_CUT) || p.end > JUDGE_INNER_MAX ||
	    is_multicast_or_local(&p, packet_dst(&p, inner))) {
		from->ignored++;
		return;
	}
	c = conn_of_packet(s->conns, (uint16_t)e, &p, inner, side == SIM_SERVER, now_ms, &fresh);
	if (!judge_csum_ok(&p, inner))
		c->bad_csum = true;
	t = target_of(s, c, fresh);
	from->sent++;
	batch_add(&t->out, wrap(t, c, s->endpoint[e].id, p.version, inner, p.end),
		  WRAP_LEN + p.end);
}

void lb_from_side(struct sim *s, unsigned endpoint, enum sim_role side, uint64_t now_ms)
{
	struct port *port = &s->endpoint[endpoint].side[side].port;
	struct port_rx rx[PORT_BURST];
	unsigned n = port_recv(port, rx, PORT_BURST);

	for (unsigned i = 0; i < n; i++)
		forward(s, endpoint, side, &rx[i], now_ms);
	for (unsigned i = 0; i < s->conf->appliances; i++)
		s->target[i].sent += batch_send(&s->target[i].out, &s->target[i].site.port);
	port_release(port);
}

static void deliver(struct sim *s, const struct port_rx *rx, const struct judged *v)
{
	enum sim_role role = v->to_server ? SIM_SERVER : SIM_CLIENT;
	struct sim_side *to = &s->endpoint[v->conn->key.endpoint].side[role];
	uint8_t *inner = rx->data + v->inner, *eth = inner - ETHER_HDR_LEN;

	put_ether(eth, to->mac, to->lb_mac, inner[0] >> 4 == 4 ? ETHERTYPE_IP : ETHERTYPE_IPV6);
	batch_add(&to->out, eth, ETHER_HDR_LEN + v->len);
}

void lb_from_target(struct sim *s, unsigned target, uint64_t now_ms)
{
	struct sim_target *t = &s->target[target];
	struct port_rx rx[PORT_BURST];
	unsigned n = port_recv(&t->site.port, rx, PORT_BURST);

	for (unsigned i = 0; i < n; i++) {
		struct judged v = judge_packet(&s->judge, &t->site, &rx[i], now_ms);

		t->returned += v.kind != JUDGE_NOT_OURS;
		if (v.conn)
			deliver(s, &rx[i], &v);
	}
	for (unsigned e = 0; e < s->conf->endpoints; e++)
		for (int side = 0; side < 2; side++) {
			struct sim_side *to = &s->endpoint[e].side[side];

			to->delivered += batch_send(&to->out, &to->port);
		}
	port_release(&t->site.port);
}
