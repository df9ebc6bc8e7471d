/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <net/ethernet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/if_packet.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <pcap/pcap.h>

#include "clock.h"
#include "iface.h"
#include "ifacerx.h"
#include "log.h"

/*
 * Slots of the ring have one size.  SNAPLEN holds jumbo frames and, with the
 * kernel's headers, fits 16 KiB; only interfaces with a larger MTU take more.
 */
#define SNAPLEN		16000u
#define SNAPLEN_MAX	FRAME_DATA_MAX
#define LINK_ROOM	64u	/* link-layer header and tags */
#define NS		1000000000u
#define ERRORS_MAX	100u	/* between two ticks; down or gone, there is one a tick */

struct ifacerx {
	struct rx rx;
	const char *name;
	pcap_t *pcap;
	struct nl_sock *route;
	struct ingress ingress;
	bool drop_rule;
	struct iface seen;	/* as of the last look */
	bool gone;		/* it is not there now */
	bool dead;		/* it cannot be captured from any more */
	struct frame **pool;	/* for recv: made when it is first called */
	uint32_t snaplen;
	struct frame **burst;	/* during fill: the caller's frames */
	int nburst;
	uint32_t linktype;
	uint64_t seq;
	uint64_t stop_ns;	/* packets captured later are not ours to take; 0: running */
	bool ended;
	unsigned errors;
	uint64_t cut, cut_said;
	uint64_t kernel_drops;
	uint32_t ps_drop;	/* pcap_stats() counts in 32 bits */
	uint64_t if_drops;
};

/* One packet of the ring: copied, and its slot is free */
static void take(u_char *user, const struct pcap_pkthdr *h, const u_char *data)
{
	struct ifacerx *r = (struct ifacerx *)(void *)user;
	uint64_t ts = (uint64_t)h->ts.tv_sec * NS + (uint64_t)h->ts.tv_usec;
	struct frame *f = r->burst[r->nburst];

	if (unlikely(r->stop_ns && ts > r->stop_ns)) {
		r->ended = true;
		return;
	}
	frame_reset(f);
	if (unlikely(!frame_set(f, data, MIN(h->caplen, f->room - FRAME_HEADROOM))))
		return;		/* never: so much fits */
	f->seq = ++r->seq;
	f->ts_ns = ts;
	f->linktype = r->linktype;
	f->orig_len = h->len;
	r->cut += f->len < h->len;
	r->nburst++;
}

static int ifacerx_fill(struct rx *rx, struct frame **f, int max)
{
	struct ifacerx *r = (struct ifacerx *)rx;

	if (unlikely(r->dead))
		return RX_FAIL;
	if (unlikely(r->ended))
		return RX_END;
	r->burst = f;
	r->nburst = 0;
	/* Most likely it says that the interface is gone: ifacerx_tick() sees to it. */
	if (unlikely(pcap_dispatch(r->pcap, max, take, (u_char *)r) < 0))
		r->errors++;
	if (r->nburst)
		return r->nburst;
	return r->stop_ns ? RX_END : RX_AGAIN;
}

static int ifacerx_recv(struct rx *rx, struct frame **f, int max)
{
	struct ifacerx *r = (struct ifacerx *)rx;

	if (unlikely(!r->pool)) {
		r->pool = frame_pool_new(FRAME_BURST, FRAME_HEADROOM + r->snaplen + LINK_ROOM);
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

	fds[0] = (struct pollfd){ .fd = pcap_fileno(r->pcap), .events = POLLIN };
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

	pcap_close(r->pcap);
	ingress_close(&r->ingress);
	nl_socket_free(r->route);
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
	struct bpf_program prog;

	if (!expr)
		die("out of memory");
	if (pcap_compile(r->pcap, &prog, expr, 1, PCAP_NETMASK_UNKNOWN) ||
	    pcap_setfilter(r->pcap, &prog))
		die("%s: filter '%s': %s", r->name, expr, pcap_geterr(r->pcap));
	log_debug("%s: filter: %s", r->name, expr);
	pcap_freecode(&prog);
	free(expr);
}

static void open_linktype(struct ifacerx *r)
{
	int dlt = pcap_datalink(r->pcap);

	switch (dlt) {
	case DLT_EN10MB:
		r->linktype = LINKTYPE_ETHERNET;
		break;
	case DLT_RAW:
		r->linktype = LINKTYPE_RAW;
		break;
	case DLT_LINUX_SLL:
		r->linktype = LINKTYPE_LINUX_SLL;
		break;
	default:
		die("%s: link type %s carries no Geneve that could be sent back", r->name,
		    pcap_datalink_val_to_description_or_dlt(dlt));
	}
}

static void __attribute__((noreturn)) die_activate(const struct ifacerx *r, int err)
{
	const char *why = pcap_geterr(r->pcap);

	if (err == PCAP_ERROR_IFACE_NOT_UP)
		die("%s: it is down; run: ip link set dev %s up", r->name, r->name);
	if (err == PCAP_ERROR_PERM_DENIED)
		die("%s: no permission to capture: start as root or with CAP_NET_RAW and "
		    "CAP_NET_ADMIN", r->name);
	die("%s: %s%s%s", r->name, pcap_statustostr(err), *why ? ": " : "", why);
}

static void open_pcap(struct ifacerx *r, const struct ifacerx_conf *conf)
{
	size_t buffer = conf->buffer ? conf->buffer : IFACERX_BUFFER;
	char err[PCAP_ERRBUF_SIZE];
	int one = 1, rc;

	r->snaplen = r->seen.mtu + LINK_ROOM > SNAPLEN ? SNAPLEN_MAX : SNAPLEN;
	r->pcap = pcap_create(r->name, err);
	if (!r->pcap)
		die("%s: %s", r->name, err);
	pcap_set_snaplen(r->pcap, (int)r->snaplen);
	pcap_set_immediate_mode(r->pcap, 1);
	pcap_set_buffer_size(r->pcap, (int)buffer);
	pcap_set_tstamp_precision(r->pcap, PCAP_TSTAMP_PRECISION_NANO);
	rc = pcap_activate(r->pcap);
	if (rc < 0)
		die_activate(r, rc);
	open_linktype(r);
	/* Both: the first is libpcap's contract, the second saves the kernel the work. */
	if (pcap_setdirection(r->pcap, PCAP_D_IN) || pcap_setnonblock(r->pcap, 1, err))
		die("%s: %s", r->name, pcap_geterr(r->pcap));
	setsockopt(pcap_fileno(r->pcap), SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one));
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
	if (!r->route || nl_connect(r->route, NETLINK_ROUTE))
		die("netlink: no socket");
	err = iface_look(r->route, r->name, &r->seen);
	if (err)
		die("%s: %s", r->name, err == -ENODEV ? "no such interface; see: ip link" :
		    "the kernel does not tell about it");
	open_peers(r, &peers, conf->peer_auto);
	iface_check_mtu(r->name, r->seen.mtu);
	iface_check_offloads(r->name, iface_check_port(GENEVE_PORT), conf->fix_offloads);
	open_pcap(r, conf);
	open_filter(r, &peers);
	if (conf->drop_rule)
		open_drop_rule(r);
	return &r->rx;
}

/* A packet socket is bound by index: the new interface of the name has another. */
static void bind_again(struct ifacerx *r, const struct iface *now)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL),
				  .sll_ifindex = now->ifindex };

	if (now->arptype != r->seen.arptype) {
		log_error("%s: it came back as another kind of interface: restart gwcap", r->name);
		r->dead = true;
	} else if (r->ingress.lost) {
		log_error("%s: it was deleted and made again, the drop rule went with it and this "
			  "process may not set another: restart gwcap", r->name);
		r->dead = true;
	} else if (bind(pcap_fileno(r->pcap), (struct sockaddr *)&to, sizeof(to))) {
		log_warn("%s: it was deleted and made again, and cannot be captured from: %m", r->name);
	} else {
		log_notice("%s: it was deleted and made again: capturing goes on", r->name);
		r->gone = false;
	}
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

static void count_drops(struct ifacerx *r)
{
	struct pcap_stat ps;

	if (pcap_stats(r->pcap, &ps))
		return;
	r->kernel_drops += (uint32_t)(ps.ps_drop - r->ps_drop);
	r->ps_drop = ps.ps_drop;
}

/* An error that does not go away must not become a busy loop */
static void judge_errors(struct ifacerx *r)
{
	if (r->errors > ERRORS_MAX) {
		log_error("%s: %s", r->name, pcap_geterr(r->pcap));
		r->dead = true;
	}
	r->errors = 0;
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

void ifacerx_tick(struct rx *rx, struct ifacerx_state *out)
{
	struct ifacerx *r = (struct ifacerx *)rx;
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
	judge_errors(r);
	count_drops(r);
	say_cut(r);
	out->kernel_drops = r->kernel_drops;
	out->if_drops = r->if_drops;
	snprintf(out->trouble, sizeof(out->trouble), "%s%s", r->gone || !r->seen.up ? r->name : "",
		 r->gone ? " is gone" : r->seen.up ? "" : " is down");
}
