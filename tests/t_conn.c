/* SPDX-License-Identifier: MIT */
/* The load balancer's flow table: gwsim/conn.c */
#include <netinet/in.h>
#include <string.h>

#include "../gwsim/conn.h"
#include "tap.h"
#include "wire.h"

/* An IPv4 packet from or to 10.0.0.@host, as conn_of_packet() needs it */
struct pkt {
	uint8_t data[40];
	struct packet p;
};

static struct pkt make(uint8_t host, bool reply, uint8_t proto, uint16_t sport, uint16_t frag)
{
	struct pkt k = { .data = { 0x45, 0, 0, 40, 0, 7, 0, 0, 64, proto } };
	uint8_t *near = k.data + (reply ? 16 : 12), *far = k.data + (reply ? 12 : 16);

	memcpy(near, (uint8_t[]){ 10, 0, 0, host }, 4);
	memcpy(far, (uint8_t[]){ 10, 0, 2, 20 }, 4);
	put16(k.data + 6, frag);
	put16(k.data + (reply ? 22 : 20), sport);
	put16(k.data + (reply ? 20 : 22), 80);
	k.data[32] = 0x50;
	if (packet_parse(&k.p, k.data, sizeof(k.data), LINKTYPE_RAW))
		k.p.version = 0;
	return k;
}

static struct conn *get(struct conn_table *t, uint16_t e, const struct pkt *k, bool reply,
			uint64_t now, bool *fresh)
{
	return conn_of_packet(t, e, &k->p, k->data, reply, now, fresh);
}

static struct conn_table *table(uint32_t max, unsigned tuple)
{
	const struct conn_conf c = { .max = max, .tuple = tuple, .tcp_ms = 350, .other_ms = 120 };

	return conn_open(&c);
}

static void directions(void)
{
	struct conn_table *t = table(8, 5);
	struct pkt a = make(1, false, IPPROTO_TCP, 1000, 0), b = make(1, true, IPPROTO_TCP, 1000, 0);
	struct pkt other = make(1, false, IPPROTO_TCP, 1001, 0);
	bool fresh, far;
	struct conn *c = get(t, 0, &a, false, 0, &fresh);

	OK(fresh && c->cookie && c->sport >= 1024, "a new flow has cookie and source port");
	OK(get(t, 0, &b, true, 1, &fresh) == c && !fresh, "both directions are one flow");
	OK(conn_matches(t, c, &a.p, a.data, &far) && far, "... whose packets go to the server");
	OK(conn_matches(t, c, &b.p, b.data, &far) && !far, "... or to the client");
	OK(!conn_matches(t, c, &other.p, other.data, &far), "other ports do not match");
	OK(get(t, 0, &other, false, 1, &fresh) != c && fresh, "other ports are another flow");
	OK(get(t, 1, &a, false, 1, &fresh) != c && fresh, "another endpoint is another flow");
	OK(conn_by_cookie(t, 0, c->cookie, 1) == c, "found by cookie");
	OK(!conn_by_cookie(t, 1, c->cookie, 1), "not at another endpoint");
	OK(!conn_by_cookie(t, 0, c->cookie + 1, 1), "not by another cookie");
	conn_close(t);
}

static void server_first(void)
{
	struct conn_table *t = table(8, 5);
	struct pkt b = make(1, true, IPPROTO_UDP, 1000, 0);
	bool fresh, far;
	struct conn *c = get(t, 0, &b, true, 0, &fresh);

	OK(conn_matches(t, c, &b.p, b.data, &far) && !far, "begun by the server: goes to the client");
	conn_close(t);
}

static void timeouts(void)
{
	struct conn_table *t = table(8, 5);
	struct pkt tcp = make(1, false, IPPROTO_TCP, 1, 0), udp = make(1, false, IPPROTO_UDP, 1, 0);
	bool fresh;
	uint32_t old = get(t, 0, &tcp, false, 0, &fresh)->cookie;
	uint32_t old_udp = get(t, 0, &udp, false, 0, &fresh)->cookie;

	get(t, 0, &udp, false, 120, &fresh);
	OK(!fresh, "UDP lives for its timeout");
	get(t, 0, &udp, false, 241, &fresh);
	OK(fresh, "... and no longer");
	OK(!conn_by_cookie(t, 0, old_udp, 241), "... its cookie is forgotten");
	OK(conn_by_cookie(t, 0, old, 350) != NULL, "TCP lives longer");
	OK(!conn_by_cookie(t, 0, old, 351), "... but not for ever");
	OK(conn_stats(t)->expired == 2 && conn_stats(t)->live == 1, "expired flows are counted");
	conn_close(t);
}

static void eviction(void)
{
	struct conn_table *t = table(4, 5);
	uint32_t cookie[6];
	bool fresh;

	for (uint16_t i = 0; i < 6; i++) {
		struct pkt k = make(1, false, IPPROTO_UDP, i, 0);

		cookie[i] = get(t, 0, &k, false, i, &fresh)->cookie;
		k = make(1, false, IPPROTO_UDP, 0, 0);		/* flow 0 is always in use */
		get(t, 0, &k, false, i, &fresh);
	}
	OK(conn_by_cookie(t, 0, cookie[0], 6) && conn_by_cookie(t, 0, cookie[5], 6),
	   "a full table keeps what is in use");
	OK(!conn_by_cookie(t, 0, cookie[1], 6) && !conn_by_cookie(t, 0, cookie[2], 6),
	   "... and forgets what is idle longest");
	OK(conn_stats(t)->live == 4 && conn_stats(t)->evicted == 2, "... counted");
	conn_close(t);
}

static void many(void)
{
	struct conn_table *t = table(1000, 5);
	bool fresh;

	for (unsigned i = 0; i < 100000; i++) {
		struct pkt k = make((uint8_t)(i >> 16), i & 1, IPPROTO_UDP, (uint16_t)i, 0);

		get(t, 0, &k, i & 1, i / 1000, &fresh);
	}
	OK(conn_stats(t)->live == 1000 && conn_stats(t)->created == 100000,
	   "a hundred thousand flows in a table of a thousand");
	conn_close(t);
}

static void stickiness(void)
{
	struct pkt tcp = make(1, false, IPPROTO_TCP, 1, 0), tcp2 = make(1, false, IPPROTO_TCP, 2, 0);
	struct pkt udp = make(1, true, IPPROTO_UDP, 3, 0);
	bool fresh, far;

	for (unsigned tuple = 2; tuple <= 3; tuple++) {
		struct conn_table *t = table(8, tuple);
		struct conn *c = get(t, 0, &tcp, false, 0, &fresh);

		OK(get(t, 0, &tcp2, false, 0, &fresh) == c, "%u-tuple: ports do not count", tuple);
		OK((get(t, 0, &udp, true, 0, &fresh) == c) == (tuple == 2),
		   "%u-tuple: the protocol %s", tuple, tuple == 2 ? "does not either" : "does");
		OK(conn_matches(t, c, &tcp2.p, tcp2.data, &far) && far, "%u-tuple: matches", tuple);
		conn_close(t);
	}
}

static void fragments(void)
{
	struct conn_table *t = table(8, 5);
	struct pkt first = make(1, false, IPPROTO_UDP, 9, 0x2000);
	struct pkt later = make(1, false, IPPROTO_UDP, 0, 5);
	bool fresh, far;
	struct conn *stray = get(t, 0, &later, false, 0, &fresh), *c;

	OK(fresh && !stray->key.port[0] && !stray->key.port[1], "a stray fragment: no ports");
	c = get(t, 0, &first, false, 0, &fresh);
	OK(c != stray && get(t, 0, &later, false, 0, &fresh) == c, "follows its first one");
	OK(get(t, 1, &later, false, 0, &fresh) != c, "... of the same endpoint");
	OK(conn_matches(t, c, &later.p, later.data, &far) && far, "matches without ports");
	conn_close(t);
}

int main(void)
{
	directions();
	server_first();
	timeouts();
	eviction();
	many();
	stickiness();
	fragments();
	return tap_done();
}
