/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <net/ethernet.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <netlink/netlink.h>
#include <netlink/socket.h>

#include "capfilter.h"
#include "clock.h"
#include "fanout.h"
#include "iface.h"
#include "ifacerx.h"
#include "log.h"
#include "pktring.h"

#define LINK_ROOM	64u	/* link-layer header and tags */
#define MTU_ROOM	9216u	/* slots hold that much, should the MTU grow later */
#define MACS		12u	/* a VLAN tag stands behind them */
#define TAG		4u
#define NS		1000000000u
#define AHEAD		6u	/* slots */
#define AHEAD_BYTES	256u	/* of each: the kernel's header, and the packet's */
#define LINE		64u
#define LOOK_TICKS	2u	/* in a row without a look, at most */

struct ifacerx {
	struct rx rx;
	const char *name;
	int fd;
	struct pktring ring;
	struct nl_sock *route;
	struct nl_sock *watch;
	uint64_t ticked_seq;	/* @seq at the last tick */
	unsigned quiet;		/* ticks since the last look at the interface */
	struct ingress ingress;
	bool drop_rule;
	bool worker;
	struct iface seen;	/* as of the last look */
	bool gone;		/* it is not there now */
	bool dead;		/* it cannot be captured from any more */
	struct frame **pool;	/* for recv: made when it is first called */
	uint32_t linktype;
	uint64_t seq;
	uint64_t stop_ns;	/* packets captured later are not ours to take; 0: running */
	bool ended;
	bool empty;		/* nothing there the last time, either */
	uint64_t cut, cut_said;
	uint64_t kernel_drops;
	uint64_t if_drops;
};

/* The kernel takes the outer VLAN tag off and tells it: it goes back between MACs and type */
static uint32_t put_macs_and_tag(uint8_t *to, const uint8_t *data, const struct tpacket2_hdr *h)
{
	memcpy(to, data, MACS);
	put16(to + MACS, h->tp_status & TP_STATUS_VLAN_TPID_VALID ? h->tp_vlan_tpid :
	      ETHERTYPE_VLAN);
	put16(to + MACS + 2, h->tp_vlan_tci);
	return MACS + TAG;
}

/* false: there is no room for it now */
static bool take(struct ifacerx *r, struct frame *f, const struct tpacket2_hdr *h, uint64_t ts)
{
	const uint8_t *data = (const uint8_t *)h + h->tp_mac;
	uint32_t left = MIN(h->tp_snaplen, r->rx.longest - TAG), front = 0;
	uint8_t *to;

	if (unlikely(!frame_room(f, left + TAG)))
		return false;
	to = f->buf;
	frame_reset(f);
	frame_touch(f);
	f->orig_len = h->tp_len;
	if (unlikely(h->tp_status & TP_STATUS_VLAN_VALID) && r->linktype == LINKTYPE_ETHERNET &&
	    left >= MACS) {
		front = put_macs_and_tag(to, data, h);
		data += MACS;
		left -= MACS;
		f->orig_len += front - MACS;
	}
	memcpy(to + front, data, left);
	f->off = frame_rel(f, to);
	f->len = front + left;
	f->seq = ++r->seq;
	f->ts_ns = ts;
	f->linktype = r->linktype;
	r->cut += f->len < f->orig_len;
	frame_guard(f, 0, 0);
	return true;
}

/* An error, as when the interface goes down, wakes us until it is read: ifacerx_tick() tells */
static int nothing(struct ifacerx *r)
{
	int err;
	socklen_t len = sizeof(err);

	if (r->empty)
		getsockopt(r->fd, SOL_SOCKET, SO_ERROR, &err, &len);
	r->empty = true;
	return r->stop_ns ? RX_END : RX_AGAIN;
}

/*
 * The kernel wrote the slots on whatever processor the card interrupts: a burst waits for
 * them once, not each packet for itself.  At a block's end this touches what is no slot,
 * which does no harm.
 */
static void look_ahead(const struct ifacerx *r, const struct tpacket2_hdr *h)
{
	const char *slot = (const char *)h + AHEAD * r->ring.size;

	for (unsigned at = 0; at < AHEAD_BYTES; at += LINE)
		fetch_line(slot + at);
}

static int ifacerx_fill(struct rx *rx, struct frame **f, int max)
{
	struct ifacerx *r = (struct ifacerx *)rx;
	const struct tpacket2_hdr *h;
	int n = 0;

	if (unlikely(r->dead))
		return RX_FAIL;
	while (n < max && !r->ended && (h = pktring_peek(&r->ring))) {
		uint64_t ts = (uint64_t)h->tp_sec * NS + h->tp_nsec;

		if (unlikely(r->stop_ns && ts > r->stop_ns)) {
			r->ended = true;
			break;
		}
		look_ahead(r, h);
		if (unlikely(!take(r, f[n], h, ts)))
			break;
		n++;
		pktring_hold(&r->ring);
		pktring_return(&r->ring);
	}
	if (!n)
		return nothing(r);
	r->empty = false;
	return n;
}

static int ifacerx_recv(struct rx *rx, struct frame **f, int max)
{
	struct ifacerx *r = (struct ifacerx *)rx;

	if (unlikely(!r->pool)) {
		r->pool = frame_pool_new(FRAME_BURST, r->rx.longest);
		if (!r->pool) {
			log_error("out of memory");
			return RX_FAIL;
		}
	}
	memcpy(f, r->pool, (size_t)max * sizeof(*f));
	return ifacerx_fill(rx, f, max);
}

static void ifacerx_release(struct rx *rx, int n)
{
	(void)rx;	/* the same frames serve the next burst */
	(void)n;
}

static int ifacerx_poll(struct rx *rx, struct pollfd *fds)
{
	const struct ifacerx *r = (struct ifacerx *)rx;

	fds[0] = (struct pollfd){ .fd = r->fd, .events = POLLIN };
	return 1;
}

static void ifacerx_stop(struct rx *rx)
{
	struct ifacerx *r = (struct ifacerx *)rx;

	r->stop_ns = clock_real();
}

static void ifacerx_close(struct rx *rx)
{
	struct ifacerx *r = (struct ifacerx *)rx;

	pktring_close(&r->ring);
	close(r->fd);
	ingress_close(&r->ingress);
	nl_socket_free(r->route);
	nl_socket_free(r->watch);
	frame_pool_free(r->pool);
	free(r);
}

static const struct rx_ops ifacerx_ops = {
	.recv = ifacerx_recv,
	.fill = ifacerx_fill,
	.release = ifacerx_release,
	.poll = ifacerx_poll,
	.stop = ifacerx_stop,
	.close = ifacerx_close,
};

static void open_filter(struct ifacerx *r, const struct peers *peers)
{
	char *expr = peers_filter(peers, r->linktype == LINKTYPE_ETHERNET);

	if (!expr)
		die("out of memory");
	log_debug("%s: filter: %s", r->name, expr);
	capfilter_attach(r->fd, expr, r->linktype, r->rx.longest);
	free(expr);
}

/* Ethernet, or IP packets: of any other link layer nothing could be sent back */
static void open_ring(struct ifacerx *r, const struct ifacerx_conf *conf)
{
	bool ether = r->seen.arptype == ARPHRD_ETHER || r->seen.arptype == ARPHRD_LOOPBACK;
	int one = 1, err;

	r->linktype = ether ? LINKTYPE_ETHERNET : LINKTYPE_RAW;
	r->rx.longest = MAX(r->seen.mtu, MTU_ROOM) + LINK_ROOM;
	r->fd = socket(AF_PACKET, (ether ? SOCK_RAW : SOCK_DGRAM) | SOCK_CLOEXEC, 0);
	if (r->fd < 0 && (errno == EPERM || errno == EACCES))
		die("%s: no permission to capture: start as root or with CAP_NET_RAW and "
		    "CAP_NET_ADMIN", r->name);
	if (r->fd < 0 ||
	    setsockopt(r->fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)))
		die("%s: packet socket: %m", r->name);
	err = pktring_open(&r->ring, r->fd, r->rx.longest, 0,
			   conf->buffer ? conf->buffer : IFACERX_BUFFER);
	errno = -err;
	if (err)
		die("%s: capture buffer: %m", r->name);
}

static void join(struct ifacerx *r, unsigned workers)
{
	int err = fanout_join(r->fd, r->seen.ifindex, workers);

	if (err == -ENOSPC)
		die("%s: it has %u workers already", r->name, workers);
	if (err == -EINVAL)
		die("%s: its workers were started with another number, or another program has "
		    "the group; see: ss -0 -ap", r->name);
	errno = -err;
	if (err)
		die("%s: --workers: %m", r->name);
	r->worker = true;
}

/* The filter comes last: between bind and join a worker would take what is the others', too */
static void start(struct ifacerx *r, unsigned workers, const struct peers *peers)
{
	int err;

	if (!r->seen.up)
		die("%s: it is down; run: ip link set dev %s up", r->name, r->name);
	capfilter_close(r->fd);
	err = pktring_bind(r->fd, r->seen.ifindex);
	errno = -err;
	if (err)
		die("%s: %m", r->name);
	if (workers)
		join(r, workers);
	open_filter(r, peers);
}

static void open_drop_rule(struct ifacerx *r)
{
	int err = ingress_open(&r->ingress, r->name, GENEVE_PORT);

	r->drop_rule = !err;
	if (!err)
		return;
	errno = -err;
	log_warn("%s: no drop rule (%m): the kernel will answer the load balancer with ICMP port "
		 "unreachable and work on each packet in vain; run: nft 'add table netdev gwcap; "
		 "add chain netdev gwcap in { type filter hook ingress device \"%s\" priority 0; }; "
		 "add rule netdev gwcap in udp dport %u drop'", r->name, r->name, GENEVE_PORT);
}

static void open_peers(struct ifacerx *r, struct peers *peers, bool own)
{
	int n = own ? peers_add_own(peers, r->route, r->seen.ifindex) : 0;

	if (n < 0)
		die("%s: --peer auto: %s", r->name,
		    n == -ENOSPC ? "too many subnets" : "cannot read the addresses");
	if (own && !n)
		die("%s: --peer auto: it has no IPv4 address; name the load balancer's: --peer CIDR",
		    r->name);
	if (!peers->n)
		log_warn("%s: packets are taken from anybody who reaches UDP port %u: name the load "
			 "balancer's addresses with --peer CIDR, or --peer auto", r->name, GENEVE_PORT);
}

struct rx *ifacerx_open(const struct ifacerx_conf *conf)
{
	struct ifacerx *r = calloc(1, sizeof(*r));
	struct peers peers = conf->peers;
	int err;

	if (!r)
		die("out of memory");
	r->rx = (struct rx){ .ops = &ifacerx_ops, .spec = conf->name, .kind = "iface" };
	r->name = conf->name;
	r->route = nl_socket_alloc();
	r->watch = iface_watch();	/* before the first look: no change is missed */
	if (!r->route || nl_connect(r->route, NETLINK_ROUTE) || !r->watch)
		die("netlink: no socket");
	err = iface_look(r->route, r->name, &r->seen);
	if (err)
		die("%s: %s", r->name, err == -ENODEV ? "no such interface; see: ip link" :
		    "the kernel does not tell about it");
	open_peers(r, &peers, conf->peer_auto);
	iface_check_mtu(r->name, r->seen.mtu);
	iface_check_offloads(r->name, iface_check_port(GENEVE_PORT), conf->fix_offloads);
	open_ring(r, conf);
	if (conf->drop_rule)
		open_drop_rule(r);
	start(r, conf->workers, &peers);
	return &r->rx;
}

/* A packet socket is bound by index: the new interface of the name has another. */
static void bind_again(struct ifacerx *r, const struct iface *now)
{
	int err;

	if (now->arptype != r->seen.arptype) {
		log_error("%s: it came back as another kind of interface: restart gwcap", r->name);
		r->dead = true;
	} else if (r->worker) {
		log_error("%s: it was deleted and made again, and this process may not be one of its "
			  "workers again: restart gwcap", r->name);
		r->dead = true;
	} else if (r->ingress.lost) {
		log_error("%s: it was deleted and made again, the drop rule went with it and this "
			  "process may not set another: restart gwcap", r->name);
		r->dead = true;
	}
	if (r->dead) {
		r->gone = true;
		return;
	}
	err = pktring_bind(r->fd, now->ifindex);
	r->gone = err;
	errno = -err;
	if (err)
		log_warn("%s: it was deleted and made again, and cannot be captured from: %m", r->name);
	else
		log_notice("%s: it was deleted and made again: capturing goes on", r->name);
}

static void follow(struct ifacerx *r, const struct iface *now)
{
	if (r->gone || now->ifindex != r->seen.ifindex)
		bind_again(r, now);
	if (now->up != r->seen.up)
		log_notice("%s: it is %s", r->name, now->up ? "up again" : "down");
	if (now->mtu != r->seen.mtu) {
		log_notice("%s: its MTU is %u now", r->name, now->mtu);
		iface_check_mtu(r->name, now->mtu);
	}
	/* A new interface counts from 0 again. */
	if (now->ifindex == r->seen.ifindex && now->lost > r->seen.lost)
		r->if_drops += now->lost - r->seen.lost;
	r->seen = *now;
}

static void say_cut(struct ifacerx *r)
{
	if (r->cut == r->cut_said)
		return;
	log_warn("%s: %llu packets were longer than the capture has room for and are cut: "
		 "restart gwcap after a change of MTU", r->name,
		 (unsigned long long)(r->cut - r->cut_said));
	r->cut_said = r->cut;
}

/*
 * Is there anything to learn from a look at interface and socket?  To ask the kernel for all
 * about an interface takes as long as an idle chain's whole second: it tells of changes itself.
 * Of what is lost while nothing is captured, which it does not tell, a little later will do.
 */
static bool must_look(struct ifacerx *r)
{
	bool stirred = iface_stirred(r->watch);
	bool rests = r->empty && r->seq == r->ticked_seq && !r->gone && !r->stop_ns &&
		     r->quiet < LOOK_TICKS;

	r->ticked_seq = r->seq;
	r->quiet = stirred || !rests ? 0 : r->quiet + 1;
	return !r->quiet;
}

static void look(struct ifacerx *r)
{
	struct iface now;
	int err = iface_look(r->route, r->name, &now);

	if (r->drop_rule)
		ingress_follow(&r->ingress);
	if (!err) {
		follow(r, &now);
	} else if (err == -ENODEV && !r->gone) {
		r->gone = true;
		log_warn("%s: it is gone: waiting for it to come back", r->name);
	}
	r->kernel_drops += pktring_drops(r->fd);
	say_cut(r);
}

void ifacerx_tick(struct rx *rx, struct ifacerx_state *out)
{
	struct ifacerx *r = (struct ifacerx *)rx;

	if (must_look(r))
		look(r);
	else if (r->drop_rule)		/* the kernel keeps messages for a while only */
		ingress_follow(&r->ingress);
	out->kernel_drops = r->kernel_drops;
	out->if_drops = r->if_drops;
	snprintf(out->trouble, sizeof(out->trouble), "%s%s", r->gone || !r->seen.up ? r->name : "",
		 r->gone ? " is gone" : r->seen.up ? "" : " is down");
}
