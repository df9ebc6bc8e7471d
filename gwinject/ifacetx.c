/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ifacetx.h"
#include "log.h"
#include "pieces.h"

#define QUEUE		FRAME_BURST
#define SNDBUF		(4 << 20)	/* a burst of the longest packets, twice */
#define RETRIES		5		/* a burst may wait so many milliseconds in all */

union address {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

/**
 * struct ifacetx - An interface to send on
 * @fd:		One socket a kind of sending; -1: not to be had
 * @kind:	Of the messages in the queue: one call sends through one socket
 * @sent:	Packets sent in this call of ifacetx_send()
 * @owner:	Which frame a message came of
 */
struct ifacetx {
	struct tx tx;
	struct stage *st;
	const char *name;
	enum { SEND_ETHER, SEND_IP4, SEND_IP6, SEND_NUM } kind;
	int fd[SEND_NUM];
	int ifindex;
	bool ether;
	bool down;
	unsigned retries;
	unsigned queued;
	uint64_t sent;
	struct frame *owner[QUEUE];
	struct mmsghdr msg[QUEUE];
	struct iovec iov[QUEUE][2];
	union address to[QUEUE];
	uint8_t scratch[QUEUE][PIECE_ROOM];
};

static bool iface_ask(struct ifacetx *t, unsigned long request, struct ifreq *ifr)
{
	memset(ifr, 0, sizeof(*ifr));
	memcpy(ifr->ifr_name, t->name, strlen(t->name));
	return ioctl(t->fd[SEND_ETHER], request, ifr) == 0;
}

/* Also after the interface was made anew under its old name */
static bool attach(struct ifacetx *t, int ifindex)
{
	struct sockaddr_ll ll = { .sll_family = AF_PACKET, .sll_ifindex = ifindex };
	uint32_t where = htonl((uint32_t)ifindex);
	struct ifreq ifr;

	if (!iface_ask(t, SIOCGIFHWADDR, &ifr))
		return false;
	t->ether = ifr.ifr_hwaddr.sa_family == ARPHRD_ETHER ||
		   ifr.ifr_hwaddr.sa_family == ARPHRD_LOOPBACK;
	if (bind(t->fd[SEND_ETHER], (struct sockaddr *)&ll, sizeof(ll)) < 0)
		return false;
	if (setsockopt(t->fd[SEND_IP4], IPPROTO_IP, IP_UNICAST_IF, &where, sizeof(where)) < 0)
		return false;
	if (t->fd[SEND_IP6] >= 0 &&
	    setsockopt(t->fd[SEND_IP6], IPPROTO_IPV6, IPV6_UNICAST_IF, &where, sizeof(where)) < 0)
		return false;
	t->ifindex = ifindex;
	return true;
}

/* Is it there, up, and its cable plugged in?  Says so on the page of counters. */
static bool look(struct ifacetx *t)
{
	const int need = IFF_UP | IFF_RUNNING;
	struct ifreq ifr;
	bool up = iface_ask(t, SIOCGIFINDEX, &ifr) &&
		  (ifr.ifr_ifindex == t->ifindex || attach(t, ifr.ifr_ifindex)) &&
		  iface_ask(t, SIOCGIFFLAGS, &ifr) && (ifr.ifr_flags & need) == need;

	if (up != t->down)
		return up;
	t->down = !up;
	if (up) {
		stage_trouble(t->st, "%s", "");
		log_notice("%s: up again", t->name);
	} else {
		stage_trouble(t->st, "%s is down", t->name);
		log_warn("%s: down or gone: packets are dropped until it is back", t->name);
	}
	return up;
}

void ifacetx_tick(struct tx *tx)
{
	look((struct ifacetx *)tx);
}

static void drop_queued(struct ifacetx *t, unsigned from, unsigned to, enum reason reason)
{
	for (; from < to; from++)
		if (!t->owner[from]->verdict)
			frame_drop(t->owner[from], reason, 0);
}

/* The kernel has no room: wait a little, a bounded number of times a burst */
static bool wait_room(struct ifacetx *t, int err)
{
	struct pollfd p = { .fd = t->fd[t->kind], .events = POLLOUT };

	if (t->retries == 0)
		return false;
	t->retries--;
	if (err != EAGAIN || poll(&p, 1, 1) < 0 || p.revents & POLLERR)
		poll(NULL, 0, 1);
	return true;
}

/*
 * What to do about the first message that could not be sent
 *
 * Return: how many messages are done with
 */
static unsigned send_failed(struct ifacetx *t, unsigned at, int err)
{
	enum reason reason = REASON_SEND;

	switch (err) {
	case EINTR:
		return 0;
	case EMSGSIZE:
		reason = REASON_TOO_LARGE;
		break;
	case EAGAIN:
	case ENOBUFS:
	case ENOMEM:
		if (look(t) && wait_room(t, err))
			return 0;
		reason = REASON_NO_BUFFERS;
		break;
	case ENETDOWN:
	case ENXIO:
	case ENODEV:	/* a socket says so once more when its interface is back */
		if (look(t) && wait_room(t, err))
			return 0;
		reason = REASON_IF_DOWN;
		break;
	default:	/* without an interface there is no route either */
		look(t);
	}
	if (t->down) {
		drop_queued(t, at, t->queued, REASON_IF_DOWN);
		return t->queued - at;
	}
	drop_queued(t, at, at + 1, reason);
	return 1;
}

static void flush_queue(struct ifacetx *t)
{
	unsigned at = 0;

	while (at < t->queued) {
		int n = sendmmsg(t->fd[t->kind], t->msg + at, t->queued - at, MSG_DONTWAIT);

		if (n <= 0) {
			at += send_failed(t, at, n < 0 ? errno : EAGAIN);
			continue;
		}
		t->sent += (unsigned)n;
		for (; n > 0; n--, at++)
			t->tx.bytes += t->msg[at].msg_len;
	}
	t->queued = 0;
}

static void queue_to(struct ifacetx *t, struct msghdr *h, const uint8_t *ip)
{
	union address *to = &t->to[t->queued];

	if (t->kind == SEND_IP4) {
		to->in = (struct sockaddr_in){ .sin_family = AF_INET };
		memcpy(&to->in.sin_addr, ip + 16, 4);
		h->msg_namelen = sizeof(to->in);
	} else {
		to->in6 = (struct sockaddr_in6){
			.sin6_family = AF_INET6, .sin6_scope_id = (uint32_t)t->ifindex,
		};
		memcpy(&to->in6.sin6_addr, ip + 24, 16);
		h->msg_namelen = sizeof(to->in6);
	}
}

/* Messages of one burst leave through one socket, as long as they can. */
static bool choose(struct ifacetx *t, const struct frame *f, const struct outer *o)
{
	bool ether = t->ether && f->encap_linktype == LINKTYPE_ETHERNET;
	int kind = ether ? SEND_ETHER : o->version == 4 ? SEND_IP4 : SEND_IP6;

	if (t->fd[kind] < 0)
		return false;
	if (kind != (int)t->kind) {
		flush_queue(t);
		t->kind = kind;
	}
	return true;
}

/* What is to be sent lies in t->iov[t->queued] */
static void queue(struct ifacetx *t, struct frame *f, const struct outer *o)
{
	struct msghdr *h = &t->msg[t->queued].msg_hdr;
	struct iovec *iov = t->iov[t->queued];

	h->msg_iovlen = iov[1].iov_len ? 2 : 1;
	if (t->kind == SEND_ETHER) {
		h->msg_namelen = 0;
	} else {
		iov[0].iov_base = (uint8_t *)iov[0].iov_base + o->l3;
		iov[0].iov_len -= o->l3;
		queue_to(t, h, iov[0].iov_base);
	}
	t->owner[t->queued++] = f;
	if (t->queued == QUEUE)
		flush_queue(t);
}

static void send_pieces(struct ifacetx *t, struct frame *f)
{
	struct pieces it;
	enum reason r = pieces_start(&it, f);

	if (!r && !choose(t, f, &it.outer))
		r = REASON_SEND;
	if (r) {
		frame_drop(f, r, 0);
		return;
	}
	while (!f->verdict && pieces_next(&it, t->scratch[t->queued], t->iov[t->queued]))
		queue(t, f, &it.outer);
}

static void send_frame(struct ifacetx *t, struct frame *f)
{
	bool joined = f->encap_off + f->encap_len == f->off;
	struct iovec *iov;
	struct outer o = { 0 };
	enum reason r = REASON_NONE;

	if (f->orig_len > f->len)
		r = REASON_TRUNCATED;
	else if (!t->ether || f->encap_linktype != LINKTYPE_ETHERNET)
		r = outer_parse(&o, f);
	if (!r && !choose(t, f, &o))
		r = REASON_SEND;
	if (r) {
		frame_drop(f, r, 0);
		return;
	}
	iov = t->iov[t->queued];
	iov[0].iov_base = frame_encap(f);
	iov[0].iov_len = f->encap_len + (joined ? f->len : 0u);
	iov[1].iov_base = frame_data(f);
	iov[1].iov_len = joined ? 0 : f->len;
	queue(t, f, &o);
}

static int ifacetx_send(struct tx *tx, struct frame **f, int n)
{
	struct ifacetx *t = (struct ifacetx *)tx;
	bool up = !t->down || look(t);
	uint64_t alive = 0;

	t->sent = 0;
	t->retries = RETRIES;
	for (int i = 0; i < n; i++) {
		if (f[i]->verdict)
			continue;
		if (!up)
			frame_drop(f[i], REASON_IF_DOWN, 0);
		else if (f[i]->marks & PIECES_MARKS)
			send_pieces(t, f[i]);
		else
			send_frame(t, f[i]);
	}
	flush_queue(t);
	for (int i = 0; i < n; i++)
		alive += !f[i]->verdict;
	tx->packets += t->sent;
	tx->made += t->sent - alive;
	return n;
}

static int ifacetx_flush(struct tx *tx)
{
	(void)tx;
	return 0;
}

static int ifacetx_poll(struct tx *tx, struct pollfd *fds)
{
	(void)tx;
	(void)fds;
	return 0;
}

static int ifacetx_end(struct tx *tx, enum tx_end how)
{
	(void)tx;
	(void)how;
	return 0;
}

static void ifacetx_close(struct tx *tx)
{
	struct ifacetx *t = (struct ifacetx *)tx;

	for (int i = 0; i < SEND_NUM; i++)
		if (t->fd[i] >= 0)
			close(t->fd[i]);
	free(t);
}

static const struct tx_ops ifacetx_ops = {
	.send = ifacetx_send,
	.flush = ifacetx_flush,
	.poll = ifacetx_poll,
	.end = ifacetx_end,
	.close = ifacetx_close,
};

/* What is the same for every packet */
static void prepare_messages(struct ifacetx *t)
{
	for (unsigned i = 0; i < QUEUE; i++)
		t->msg[i].msg_hdr = (struct msghdr){ .msg_name = &t->to[i], .msg_iov = t->iov[i] };
}

/* A raw socket keeps a full queue to itself unless it is asked to tell */
static void tell_errors(int fd, int level, int name)
{
	int one = 1;

	if (fd >= 0 && setsockopt(fd, level, name, &one, sizeof(one)) < 0)
		die("raw socket: %m");
}

/* Best effort: without the capability it stays at the system's limit */
static void grow_buffer(int fd)
{
	int size = SNDBUF;

	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

static void open_sockets(struct ifacetx *t)
{
	int one = 1;

	/* Protocol 0: these sockets receive nothing */
	t->fd[SEND_ETHER] = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	t->fd[SEND_IP4] = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	t->fd[SEND_IP6] = socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	if (t->fd[SEND_ETHER] < 0 || t->fd[SEND_IP4] < 0)
		die("%s: raw socket: %m (needs root or CAP_NET_RAW)", t->name);
	if (setsockopt(t->fd[SEND_ETHER], SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one)) < 0)
		die("%s: PACKET_QDISC_BYPASS: %m", t->name);
	tell_errors(t->fd[SEND_IP4], IPPROTO_IP, IP_RECVERR);
	tell_errors(t->fd[SEND_IP6], IPPROTO_IPV6, IPV6_RECVERR);
	for (int i = 0; i < SEND_NUM; i++)
		if (t->fd[i] >= 0)
			grow_buffer(t->fd[i]);
}

struct tx *ifacetx_open(const char *name, struct stage *st)
{
	struct ifacetx *t = calloc(1, sizeof(*t));
	struct ifreq ifr;

	if (!t)
		die("%m");
	if (strlen(name) >= sizeof(ifr.ifr_name))
		die_usage("-I %s: no interface has so long a name", name);
	t->tx = (struct tx){ .ops = &ifacetx_ops, .spec = name, .kind = "iface" };
	t->st = st;
	t->name = name;
	prepare_messages(t);
	open_sockets(t);
	if (!iface_ask(t, SIOCGIFINDEX, &ifr) || !attach(t, ifr.ifr_ifindex))
		die("-I %s: %m", name);
	return (struct tx *)t;
}
