/* SPDX-License-Identifier: MIT */
/*
 * tun.h - The packet loop of gwtun, part by part
 *
 * Theory of operation
 *
 *	input -> into.c: whose flow is it? -> the endpoint's TUN, held (hold.c), or straight on
 *	TUN   -> outof.c: whose flow is it? cut, encapsulation -> output
 *
 * A flow is an entry of one table, found by a packet of either direction.  It keeps for each
 * direction the encapsulation of the last packet that came in it, with TTL and DSCP, and that is
 * what the kernel's own packets of that direction leave with.  Of a connection that a proxy
 * splits there are two in the kernel, with the same addresses and ports: what the client sends
 * goes to the one, what the server sends to the other, and what leaves for the server looks
 * as if the client had sent it.
 *
 * Endpoints (ends.c) are namespaces of the broker's (broker.h), each with one TUN.  All TUNs, the
 * broker, the proxy and the socket it connects to are in one epoll set, which is the stage's
 * watch_fd.
 */
#ifndef GW_TUN_H
#define GW_TUN_H

#include <stdbool.h>
#include <stdint.h>

#include "broker.h"
#include "flow.h"
#include "rules.h"
#include "segment.h"
#include "stage.h"

#define WAY_ENCAP_MAX	160u		/* longest encapsulation that is kept */
#define SYN_MAX		320u		/* longest SYN that is held, without data */
#define STRANGE_MAX	4096u		/* flows in mid-stream that are looked at */
#define WAITING_MAX	64u		/* packets that wait for a namespace */
#define MERGES_MAX	16u		/* connections merged side by side */
#define TUN_BUF		(sizeof(struct virtio_net_hdr) + 65536u)
#define MTU_DEFAULT	8500u

/**
 * struct way - One direction of a flow, as its last packet came
 * @len:	Bytes of @encap; @known: there was a packet
 */
struct way {
	uint64_t attachment;
	uint32_t cookie;
	uint16_t len;
	uint16_t linktype;
	uint16_t mss;			/* of its SYN; 0: none seen */
	uint8_t dialect;
	uint8_t ttl;
	uint8_t tos;
	bool known;
	uint8_t encap[WAY_ENCAP_MAX];
};

enum flow_state { FLOW_OPEN, FLOW_HELD };

/*
 * Who ended what, of a TCP flow: both ends of both connections, shifted by the direction.  What
 * comes out of a TUN is the kernel's word; a RST that goes in may be forged: no end by itself.
 */
enum flow_ends { END_IN = 1, END_OUT = 4, END_RST = 16 };

/**
 * struct tflow - A flow that goes through a TUN
 * @way:	By direction, as flow_key() tells it
 * @client:	Direction of its first packet
 * @held:	FLOW_HELD: its place in struct hold
 * @isn:	Sequence number of the client's SYN
 * @proxy:	Whose it is
 * @orphan:	Its proxy died: what the kernel would end in order ends with RST
 */
struct tflow {
	struct way way[2];
	uint64_t endpoint;
	uint64_t last_ns;
	uint64_t timeout_ns;
	uint32_t isn;
	uint32_t held;
	uint32_t proxy;
	uint8_t client;
	uint8_t state;
	uint8_t ends;
	bool tcp;
	bool orphan;
};

/**
 * struct held - A SYN that waits for what becomes of the connection to the server
 * @id:		Its name in messages: of this one only; 0: free
 * @newer, @older:	Places of the SYN that came next, and before; of a free one @newer is the next
 *		free one
 * @proxy:	Who is to answer
 * @error:	An ICMP error about the connection to the server came: how, and from whom
 */
struct held {
	uint64_t id;
	uint64_t since_ns;
	struct flow_key key;
	uint32_t newer, older;
	uint32_t proxy;
	uint16_t len;
	bool error;
	uint8_t error_type;
	uint8_t error_code;
	uint8_t error_from[16];
	uint8_t syn[SYN_MAX];
};

struct hold {
	struct held *slot;
	uint32_t n;
	uint32_t used;
	uint32_t free;
	uint32_t newest, oldest;
	uint64_t next_id;
};

enum end_state { END_FREE, END_ASKED, END_READY, END_FAILED };

/**
 * struct end - An endpoint
 * @fixed:	Named by --endpoint: stays
 * @asked:	The broker took the request
 * @used_ns:	Last packet either way
 * @retry_ns:	END_FAILED: not again before
 */
struct end {
	uint64_t id;
	uint64_t used_ns;
	uint64_t retry_ns;
	int fd;
	uint32_t next;
	enum end_state state;
	bool asked;
	bool fixed;
};

struct ends {
	struct end *end;
	uint32_t *bucket;
	uint8_t secret[16];
	uint32_t max, used, mask, free;
	struct frame **pool;
	struct frame *waiting[WAITING_MAX];	/* the first: their namespaces are being made */
	unsigned nwaiting;
	bool settled;			/* some of them can go on now */
	uint32_t probe;			/* no namespace can be made: this one is tried; or none */
	struct log_site site;
};

/**
 * struct mate - A proxy that has left: our end of its pair, or -1, and its number
 */
struct mate {
	int fd;
	uint32_t proxy;
};

struct tun_conf {
	const char *where;
	const char *socket;
	uint64_t *endpoint;
	unsigned nendpoints;
	unsigned endpoints_max;
	unsigned flows;
	unsigned syns;
	uint64_t tcp_timeout_ns, timeout_ns, idle_ns;
	bool drop_unproxied;
	bool no_offload;
	struct broker_conf broker;
};

/**
 * struct tun - All of gwtun's loop
 * @made:	Frames for what it makes; @nmade of them are in use until the next make(), and
 *		have its time, @made_ns
 * @turn:	Whose turn it is among the TUNs that have packets
 * @cutting:	The packet that @cut is at work on came from this endpoint's TUN, and goes
 *		out with @cut_way
 * @merge:	Of this burst, @nmerges of them: @merge_end is their TUN, @merge_key the flow
 * @attached:	A proxy is, @proxy, by @pair; @holds: it wants SYNs held
 * @left:	Those that take no more flows, and keep their own
 * @strays:	Packets out of TUNs that belong to no flow
 * @strange_until_ns:	Then those of a gwtun before are gone, too; 0: no proxy came yet
 */
struct tun {
	struct tun_conf conf;
	struct stage *st;
	struct broker broker;
	struct matcher matcher;
	bool chosen;
	struct flow_table *flows, *frags, *strange;
	struct ends ends;
	struct hold hold;
	struct frame **made;
	uint64_t made_ns;
	int nmade;
	uint8_t *buf;
	struct cut cut;
	bool cutting;
	struct way cut_way;
	uint64_t cut_endpoint;
	struct merge merge[MERGES_MAX];
	struct end *merge_end[MERGES_MAX];
	const struct tflow *merge_flow[MERGES_MAX];
	uint8_t merge_dir[MERGES_MAX];
	unsigned nmerges;
	int epoll;
	unsigned turn;
	int listen;
	int pair;
	uint32_t proxy;
	struct mate left[LEFT_MAX];
	unsigned next_left;
	bool listening;
	bool attached;
	bool holds;
	bool broken;			/* the broker is gone */
	char socket_path[256];
	uint64_t strays;
	uint64_t strange_until_ns;
	uint64_t next_walk_ns;
};

/* What an epoll event is about: a kind, and for a TUN the endpoint's number, for a pair the proxy's */
enum { WATCH_BROKER = 1, WATCH_LISTEN, WATCH_PAIR, WATCH_TUN };
int tun_watch(struct tun *t, int fd, uint32_t kind, uint32_t n) __attribute__((nonnull));

/* --- flows.c ------------------------------------------------------------------ */

/**
 * way_note() - A packet came: what leaves in its direction leaves like it
 *
 * Return: false: its encapsulation is longer than can be kept
 */
bool way_note(struct way *w, struct frame *f) __attribute__((nonnull, warn_unused_result));

/**
 * way_frame() - Make a frame a packet of this way's: metadata and encapsulation
 *
 * Return: where the packet's bytes go; @room is written
 */
uint8_t *way_frame(const struct way *w, struct frame *f, uint64_t endpoint, size_t *room)
	__attribute__((nonnull));

/**
 * flow_way() - What a packet of direction @dir leaves with
 *
 * The other direction's encapsulation until one of its own was seen; TTL and DSCP then are
 * the kernel's: 0 in @w->ttl.
 */
void flow_way(const struct tflow *fl, unsigned dir, struct way *w) __attribute__((nonnull));

/**
 * flow_enter() - Enter a flow by its first packet
 */
struct tflow *flow_enter(struct tun *t, const struct flow_key *k, unsigned dir, struct frame *f)
	__attribute__((nonnull));

/**
 * flow_of() - Flow of a packet, by its connection, by what it quotes, or by its first fragment
 * @dir:	Written where there is one: 1 if it goes from key.b to key.a
 * @k:		Written: its key, if it is not a later fragment of nothing known
 *
 * Return: NULL: none
 */
struct tflow *flow_of(struct tun *t, uint64_t endpoint, const struct packet *p,
		      const uint8_t *data, struct flow_key *k, unsigned *dir)
	__attribute__((nonnull));

/**
 * flow_note_ends() - A packet of the flow passed, into the TUN or (@out) from it: has it ended?
 */
void flow_note_ends(struct tflow *fl, const struct packet *p, const uint8_t *data, unsigned dir,
		    bool out) __attribute__((nonnull));

/**
 * flow_is_over() - Is the connection over whose packets go in in direction @dir?
 */
bool flow_is_over(const struct tflow *fl, unsigned dir) __attribute__((nonnull));

/**
 * flows_walk() - Forget flows that ended or are idle, and those of endpoints that went, if @gone
 */
void flows_walk(struct tun *t, bool gone) __attribute__((nonnull));

/**
 * flows_orphan() - Who had these connections is gone
 */
void flows_orphan(struct tun *t, uint32_t proxy) __attribute__((nonnull));

/* --- strange.c ---------------------------------------------------------------- */

struct flow_table *strange_open(void);

/**
 * strange_packet() - Look at a packet of no flow: is it of a connection whose middle is gone?
 *
 * Return: true: it is; its sender is told, the packet has its verdict
 */
bool strange_packet(struct tun *t, const struct flow_key *k, unsigned dir, struct frame *f)
	__attribute__((nonnull));

/* --- into.c ------------------------------------------------------------------- */

void into_burst(struct tun *t, struct frame **f, int n) __attribute__((nonnull));

/**
 * into_packet() - One packet into its TUN, if it is chosen; merged with others until
 * into_flush().  Its verdict says what became of it: REASON_NONE is to go straight on
 */
void into_packet(struct tun *t, struct frame *f) __attribute__((nonnull));
void into_flush(struct tun *t) __attribute__((nonnull));

/* --- outof.c ------------------------------------------------------------------ */

/**
 * outof_read() - Packets from an endpoint's TUN into frames, as many as there are frames
 */
void outof_read(struct tun *t, struct end *e) __attribute__((nonnull));

/**
 * outof_frame() - A free frame for something made, or NULL
 */
struct frame *outof_frame(struct tun *t) __attribute__((nonnull));

/**
 * outof_carry() - TTL and DSCP of a packet that stands for another one
 */
void outof_carry(uint8_t *ip, const struct packet *p, const struct way *w)
	__attribute__((nonnull));

/**
 * outof_go_on() - Pieces of a packet for which there was no frame
 */
void outof_go_on(struct tun *t) __attribute__((nonnull));

/* --- ends.c ------------------------------------------------------------------- */

void ends_open(struct tun *t) __attribute__((nonnull));
void ends_close(struct tun *t) __attribute__((nonnull));

/**
 * ends_get() - The endpoint of a packet that is to go into a TUN; asked for, if new
 *
 * Return: NULL: there is none to be had
 */
struct end *ends_get(struct tun *t, uint64_t id) __attribute__((nonnull));
struct end *ends_find(struct tun *t, uint64_t id) __attribute__((nonnull));

/**
 * ends_wait() - Keep a packet until the endpoint's namespace is there
 *
 * Return: false: too many wait
 */
bool ends_wait(struct tun *t, struct frame *f) __attribute__((nonnull, warn_unused_result));

/**
 * ends_made() - The broker's answer; @fd becomes the endpoint's
 */
void ends_made(struct tun *t, const struct broker_msg *m, int fd) __attribute__((nonnull));

/**
 * ends_lost() - Its TUN is of no use any more
 */
void ends_lost(struct tun *t, struct end *e) __attribute__((nonnull));

/**
 * ends_resume() - Packets that waited: into the TUN, or into frames that go out
 */
void ends_resume(struct tun *t) __attribute__((nonnull));

/**
 * ends_tick() - Remove what is idle, ask again for what failed
 */
void ends_tick(struct tun *t) __attribute__((nonnull));

/* --- hold.c ------------------------------------------------------------------- */

void hold_open(struct tun *t) __attribute__((nonnull));

/**
 * hold_syn() - A new connection: tell the proxy, and keep the SYN if it asks for that
 *
 * Return: REASON_NONE: it may go into the TUN now; REASON_TUN: it is held; else why it is dropped
 */
enum reason hold_syn(struct tun *t, struct tflow *fl, const struct flow_key *k, struct frame *f)
	__attribute__((nonnull));

/**
 * hold_again() - The client sent another SYN meanwhile
 */
void hold_again(struct tun *t, struct tflow *fl, struct frame *f) __attribute__((nonnull));

/**
 * hold_error() - An ICMP error about the connection to the server
 */
void hold_error(struct tun *t, struct tflow *fl, const struct packet *p, const uint8_t *data)
	__attribute__((nonnull));

/**
 * hold_answer() - What this proxy says became of that connection
 */
void hold_answer(struct tun *t, uint32_t proxy, uint64_t id, uint32_t answer, uint32_t code)
	__attribute__((nonnull));

/**
 * hold_forget() - Give up SYNs that are held since @before_ns or longer
 */
void hold_forget(struct tun *t, uint64_t before_ns) __attribute__((nonnull));

/**
 * hold_abandon() - Give up SYNs that wait for this proxy
 */
void hold_abandon(struct tun *t, uint32_t proxy) __attribute__((nonnull));

/* --- link.c ------------------------------------------------------------------- */

/**
 * link_listen() - Open the socket proxies connect to, once its place is known
 */
void link_listen(struct tun *t) __attribute__((nonnull));
void link_unlisten(struct tun *t) __attribute__((nonnull));
void link_accept(struct tun *t) __attribute__((nonnull));
void link_broker(struct tun *t) __attribute__((nonnull));
void link_proxy(struct tun *t, uint32_t proxy) __attribute__((nonnull));

/**
 * link_pair() - Our end of this proxy's pair; -1: it is gone
 */
int link_pair(struct tun *t, uint32_t proxy) __attribute__((nonnull));

/**
 * link_open() - No descriptor is there yet
 */
void link_open(struct tun *t) __attribute__((nonnull));
void link_close(struct tun *t) __attribute__((nonnull));

#endif /* GW_TUN_H */
