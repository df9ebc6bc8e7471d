/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "packet.h"
#include "port.h"
#include "wire.h"

#define BLOCK_SIZE	65536u
#define RING_SIZE	(4u << 20)
#define FRAME_MAX	(9001u + ETHER_HDR_LEN + 8u)	/* two VLAN tags, too */
/* What the kernel puts before a frame: its own header, and room for one of Ethernet */
#define BEFORE_FRAME	(TPACKET2_HDRLEN + 2u * TPACKET_ALIGNMENT + PORT_HEADROOM)
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

static void drop_ring(struct port *p)
{
	if (p->ring)
		munmap(p->ring, p->ring_size);
	p->ring = NULL;
	p->ring_size = 0;
	p->frames = p->head = p->held = 0;
}

static int set_ring(struct port *p, size_t bytes, uint32_t frame_max)
{
	uint32_t size = (uint32_t)TPACKET_ALIGN(BEFORE_FRAME + frame_max);
	struct tpacket_req req = {
		.tp_block_size = BLOCK_SIZE,
		.tp_block_nr = (unsigned)(bytes / BLOCK_SIZE),
		.tp_frame_size = size,
		.tp_frame_nr = (unsigned)(bytes / BLOCK_SIZE) * (BLOCK_SIZE / size),
	};

	if (setsockopt(p->fd, SOL_PACKET, PACKET_RX_RING, &req, sizeof(req)))
		return -errno;
	p->ring = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, p->fd, 0);
	if (p->ring == MAP_FAILED) {
		p->ring = NULL;
		return -errno;
	}
	p->ring_size = bytes;
	p->frame_size = size;
	p->frames = req.tp_frame_nr;
	return 0;
}

static int first_ring(struct port *p)
{
	int err = set_int(p->fd, PACKET_VERSION, TPACKET_V2);

	if (!err)
		err = set_int(p->fd, PACKET_RESERVE, PORT_HEADROOM);
	return err ? err : set_ring(p, RING_SIZE, FRAME_MAX);
}

int port_resize(struct port *p, size_t bytes, uint32_t frame_max)
{
	struct tpacket_req none = { .tp_block_size = 0 };
	int err;

	drop_ring(p);
	if (setsockopt(p->fd, SOL_PACKET, PACKET_RX_RING, &none, sizeof(none)))
		return -errno;
	err = set_ring(p, bytes / BLOCK_SIZE * BLOCK_SIZE, MIN(frame_max, FRAME_MAX));
	return err ? set_ring(p, RING_SIZE, FRAME_MAX) : 0;
}

static int set_up(struct port *p, const char *dev)
{
	struct sockaddr_ll ll = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = (int)if_nametoindex(dev),
	};
	int err = ll.sll_ifindex ? only_ip(p->fd) : -ENODEV;

	if (!err)
		err = set_int(p->fd, PACKET_IGNORE_OUTGOING, 1);
	if (!err)
		err = set_int(p->fd, PACKET_QDISC_BYPASS, 1);
	if (!err)
		err = first_ring(p);
	if (!err && bind(p->fd, (struct sockaddr *)&ll, sizeof(ll)))
		err = -errno;
	return err;
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
	drop_ring(p);
	if (p->fd >= 0)
		close(p->fd);
	*p = (struct port){ .fd = -1 };
}

static struct tpacket2_hdr *ring_frame(const struct port *p, unsigned i)
{
	unsigned in_block = BLOCK_SIZE / p->frame_size;
	uint8_t *at = p->ring + (size_t)(i / in_block) * BLOCK_SIZE +
		      (size_t)(i % in_block) * p->frame_size;

	return __builtin_assume_aligned(at, TPACKET_ALIGNMENT);
}

static _Atomic uint32_t *frame_status(struct tpacket2_hdr *h)
{
	return (_Atomic uint32_t *)&h->tp_status;
}

unsigned port_recv(struct port *p, struct port_rx *rx, unsigned max)
{
	unsigned n = 0;

	for (; n < max && p->held < p->frames; n++, p->held++) {
		struct tpacket2_hdr *h = ring_frame(p, (p->head + p->held) % p->frames);
		const struct sockaddr_ll *ll;
		/* Acquire: pairs with the kernel's write of the status, behind the data. */
		uint32_t status = atomic_load_explicit(frame_status(h), memory_order_acquire);

		if (!(status & TP_STATUS_USER))
			break;
		ll = (const struct sockaddr_ll *)((uint8_t *)h +
						  TPACKET_ALIGN(sizeof(*h)));
		rx[n] = (struct port_rx){
			.data = (uint8_t *)h + h->tp_mac,
			.len = h->tp_snaplen,
			.whole = h->tp_len,
			.time_ns = (uint64_t)h->tp_sec * 1000000000u + h->tp_nsec,
			.for_us = ll->sll_pkttype == PACKET_HOST,
			.cut = h->tp_len != h->tp_snaplen,
			.csum_pending = status & TP_STATUS_CSUMNOTREADY,
		};
	}
	return n;
}

void port_release(struct port *p)
{
	for (; p->held; p->held--) {
		/* Release: pairs with the kernel's check before it writes again. */
		atomic_store_explicit(frame_status(ring_frame(p, p->head)), TP_STATUS_KERNEL,
				      memory_order_release);
		p->head = (p->head + 1) % p->frames;
	}
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
	struct tpacket_stats st;
	socklen_t len = sizeof(st);

	/* Reading resets the kernel's counters */
	if (!getsockopt(p->fd, SOL_PACKET, PACKET_STATISTICS, &st, &len))
		p->lost += st.tp_drops;
}
