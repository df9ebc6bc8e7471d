/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "packet.h"
#include "port.h"
#include "wire.h"

#define RING_SIZE	(4u << 20)
#define FRAME_MAX	(9001u + ETHER_HDR_LEN + 8u)	/* two VLAN tags, too */
#define SEND_RETRIES	3
#define SEND_WAIT_MS	2

static int set_filter(int fd, struct sock_filter *code, size_t n)
{
	struct sock_fprog prog = { .len = (unsigned short)n, .filter = code };

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)) ? -errno : 0;
}

static int only_ip(int fd)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 12),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETHERTYPE_IP, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETHERTYPE_IPV6, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0xffff),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};

	return set_filter(fd, code, ARRAY_SIZE(code));
}

/*
 * A bound socket keeps the kernel from answering Geneve with port unreachable;
 * its filter drops all it gets.  One a namespace is enough: it stays open as
 * long as the process.
 */
static int silence_kernel(void)
{
	struct sock_filter drop[] = { BPF_STMT(BPF_RET | BPF_K, 0) };
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(GENEVE_PORT) };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), err;

	if (fd < 0)
		return -errno;
	err = set_filter(fd, drop, ARRAY_SIZE(drop));
	if (!err && !bind(fd, (struct sockaddr *)&any, sizeof(any)))
		return 0;
	if (!err && errno != EADDRINUSE)
		err = -errno;
	close(fd);
	return err;
}

static int set_int(int fd, int name, int value)
{
	return setsockopt(fd, SOL_PACKET, name, &value, sizeof(value)) ? -errno : 0;
}

static int set_ring(struct port *p, size_t bytes, uint32_t frame_max)
{
	return pktring_open(&p->ring, p->fd, frame_max, PORT_HEADROOM, bytes);
}

int port_resize(struct port *p, size_t bytes, uint32_t frame_max)
{
	pktring_close(&p->ring);
	if (!set_ring(p, bytes, MIN(frame_max, FRAME_MAX)))
		return 0;
	return set_ring(p, RING_SIZE, FRAME_MAX);
}

static int set_up(struct port *p, const char *dev)
{
	int ifindex = (int)if_nametoindex(dev);
	int err = ifindex ? only_ip(p->fd) : -ENODEV;

	if (!err)
		err = set_int(p->fd, PACKET_IGNORE_OUTGOING, 1);
	if (!err)
		err = set_int(p->fd, PACKET_QDISC_BYPASS, 1);
	if (!err)
		err = set_ring(p, RING_SIZE, FRAME_MAX);
	return err ? err : pktring_bind(p->fd, ifindex);
}

int port_open(struct port *p, const char *dev)
{
	int err = silence_kernel();

	*p = (struct port){ .fd = -1 };
	if (err)
		return err;
	/* Protocol 0: nothing is queued before the filter and the ring are there */
	p->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (p->fd < 0)
		return -errno;
	err = set_up(p, dev);
	if (err)
		port_close(p);
	return err;
}

void port_close(struct port *p)
{
	pktring_close(&p->ring);
	if (p->fd >= 0)
		close(p->fd);
	*p = (struct port){ .fd = -1 };
}

unsigned port_recv(struct port *p, struct port_rx *rx, unsigned max)
{
	struct tpacket2_hdr *h;
	unsigned n = 0;

	for (; n < max && (h = pktring_peek(&p->ring)); n++) {
		const struct sockaddr_ll *ll;

		pktring_hold(&p->ring);
		ll = (const struct sockaddr_ll *)((uint8_t *)h +
						  TPACKET_ALIGN(sizeof(*h)));
		rx[n] = (struct port_rx){
			.data = (uint8_t *)h + h->tp_mac,
			.len = h->tp_snaplen,
			.whole = h->tp_len,
			.time_ns = (uint64_t)h->tp_sec * 1000000000u + h->tp_nsec,
			.for_us = ll->sll_pkttype == PACKET_HOST,
			.cut = h->tp_len != h->tp_snaplen,
			.csum_pending = h->tp_status & TP_STATUS_CSUMNOTREADY,
		};
	}
	return n;
}

void port_release(struct port *p)
{
	while (p->ring.held)
		pktring_return(&p->ring);
}

static bool is_full(int err)
{
	return err == EAGAIN || err == ENOBUFS;
}

unsigned port_send(struct port *p, struct iovec *iov, unsigned n)
{
	struct mmsghdr msg[PORT_BURST];
	unsigned sent = 0, lost = 0;
	int tries = 0;

	memset(msg, 0, sizeof(msg[0]) * n);
	for (unsigned i = 0; i < n; i++)
		msg[i].msg_hdr = (struct msghdr){ .msg_iov = &iov[i], .msg_iovlen = 1 };
	while (sent + lost < n) {
		unsigned at = sent + lost;
		int done = sendmmsg(p->fd, msg + at, n - at, MSG_DONTWAIT);

		if (done > 0) {
			sent += (unsigned)done;
		} else if (is_full(errno) && tries++ < SEND_RETRIES) {
			struct pollfd pfd = { .fd = p->fd, .events = POLLOUT };

			poll(&pfd, 1, SEND_WAIT_MS);
		} else if (errno != EINTR) {
			lost++;
		}
	}
	p->no_room += lost;
	return sent;
}

void port_losses(struct port *p)
{
	p->lost += pktring_drops(p->fd);
}
