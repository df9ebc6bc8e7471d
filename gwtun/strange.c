/* SPDX-License-Identifier: MIT */
/*
 * strange.c - Connections that a gwtun before this one had split
 *
 * When gwtun is killed its namespaces go, and with them the kernel's ends of all connections.  The
 * client and the server are still there, each with a connection whose other end is nowhere; what
 * passes from the one to the other has numbers that mean nothing there, and is answered with ACKs
 * that mean nothing here.  Both would wait for a long time.  Who talks past the other like that is
 * told so, with RST; connections that were never split agree in their numbers and pass.
 *
 * Whoever forges a packet of a connection that passes can make it look like one of those, and an
 * end of it get a RST.  So they are looked for only in the time in which the load balancer keeps a
 * flow that says nothing, from the first proxy on.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "reply.h"
#include "tun.h"

#define STRANGE_NS	60000000000ull
#define FAR		(1u << 26)	/* bytes; nobody has as many under way in both directions */
#define UNSENT		3u		/* ... acknowledged so many times: it was no ACK lost behind us */

/**
 * struct strange - A TCP flow seen in mid-stream
 * @next, @ack:	By direction, of the last packet: what it would send next, what it has
 * @unsent:	Its last packets in this direction, after which nothing comes of what the other
 *		end said it has
 * @agreed:	Its last packet fits to the other end's
 * @sane:	Both fitted once: it is not looked at any more
 */
struct strange {
	uint32_t next[2], ack[2];
	uint8_t unsent[2];
	bool known[2], agreed[2];
	bool sane, talks_past;
};

struct flow_table *strange_open(void)
{
	return flow_open(STRANGE_MAX, sizeof(struct strange));
}

static bool far(uint32_t a, uint32_t b)
{
	uint32_t d = a - b;

	return MIN(d, -d) > FAR;
}

/* A packet of direction @dir came, and there was one of the other.  @empty: who asks whether the
 * other end is still there, or has room again, asks with the number before its next one */
static void judge(struct strange *s, unsigned dir, bool empty)
{
	bool away = far(s->next[dir], s->ack[!dir]);
	bool unsent = (int32_t)(s->ack[!dir] - s->next[dir]) > empty;

	s->agreed[dir] = !away && !unsent;
	s->unsent[dir] = unsent ? (uint8_t)(s->unsent[dir] + 1) : 0;
	s->sane = s->agreed[0] && s->agreed[1];
	s->talks_past = s->unsent[dir] >= UNSENT || (away && far(s->next[!dir], s->ack[dir]));
}

bool strange_packet(struct tun *t, const struct flow_key *k, unsigned dir, struct frame *f)
{
	const uint8_t *tcp = frame_data(f) + f->pkt.l4;
	struct strange *s;
	uint32_t len;

	if (!t->attached || t->st->now_ns > t->strange_until_ns || f->pkt.proto != IPPROTO_TCP ||
	    !(f->pkt.flags & PKT_L4) || (tcp[13] & (TH_SYN | TH_RST | TH_ACK)) != TH_ACK)
		return false;
	s = flow_add(t->strange, k, t->st->now_ns, STRANGE_NS);
	if (s->sane)
		return false;
	len = f->pkt.end - f->pkt.payload + !!(tcp[13] & TH_FIN);
	s->next[dir] = be32(tcp + 4) + len;
	s->ack[dir] = be32(tcp + 8);
	s->known[dir] = true;
	if (s->known[!dir] && !s->talks_past)
		judge(s, dir, !len);
	if (!s->talks_past || !reply_reject(f, false))
		return false;
	stage_reply(t->st, f, REASON_TUN);
	return true;
}
