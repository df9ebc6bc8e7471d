/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <errno.h>
#include <net/ethernet.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pktring.h"
#include "wire.h"

#define LINE		64u
#define BLOCK		(256u << 10)
#define HEADERS	(TPACKET_ALIGN(TPACKET2_HDRLEN) + 16u)	/* the kernel's, with their padding */

static size_t round_up(size_t n, size_t to)
{
	return (n + to - 1) / to * to;
}

static size_t slot_size(uint32_t longest)
{
	size_t lines = round_up(HEADERS + longest, LINE) / LINE;

	return (lines | 1) * LINE;
}

/* Whole pages; no more than the ring may have, but one slot */
static size_t block_size(size_t slot, size_t bytes)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t block = MIN(BLOCK, bytes / page * page);

	return MAX(block, round_up(slot, page));
}

static int map_ring(struct pktring *r, const struct tpacket_req *req)
{
	size_t size = (size_t)req->tp_block_size * req->tp_block_nr;
	void *map;

	if (setsockopt(r->fd, SOL_PACKET, PACKET_RX_RING, req, sizeof(*req)))
		return -errno;
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	r->map = r->at = map;
	r->end = r->map + size;
	r->slot = req->tp_frame_size;
	r->per_block = r->left = req->tp_frame_nr / req->tp_block_nr;
	r->gap = req->tp_block_size - r->per_block * r->slot;
	return 0;
}

int pktring_open(struct pktring *r, int type, uint32_t longest, size_t bytes)
{
	size_t slot = slot_size(longest), block = block_size(slot, bytes);
	unsigned blocks = (unsigned)MAX(bytes / block, 1u);
	struct tpacket_req req = {
		.tp_block_size = (unsigned)block,
		.tp_block_nr = blocks,
		.tp_frame_size = (unsigned)slot,
		.tp_frame_nr = (unsigned)(block / slot) * blocks,
	};
	struct pktring n = { .fd = socket(AF_PACKET, type | SOCK_CLOEXEC, 0) };
	int version = TPACKET_V2, one = 1, err;

	if (n.fd < 0)
		return -errno;
	err = setsockopt(n.fd, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)) ||
	      setsockopt(n.fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) ? -errno : 0;
	if (!err)
		err = map_ring(&n, &req);
	if (err)
		pktring_close(&n);
	else
		*r = n;
	return err;
}

int pktring_bind(struct pktring *r, int ifindex)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL),
				  .sll_ifindex = ifindex };

	return bind(r->fd, (struct sockaddr *)&to, sizeof(to)) ? -errno : 0;
}

int pktring_clear(struct pktring *r)
{
	int err = 0;
	socklen_t len = sizeof(err);

	return getsockopt(r->fd, SOL_SOCKET, SO_ERROR, &err, &len) ? -errno : -err;
}

uint32_t pktring_drops(struct pktring *r)
{
	struct tpacket_stats st = { 0 };
	socklen_t len = sizeof(st);

	return getsockopt(r->fd, SOL_PACKET, PACKET_STATISTICS, &st, &len) ? 0 : st.tp_drops;
}

void pktring_close(struct pktring *r)
{
	if (r->map)
		munmap(r->map, (size_t)(r->end - r->map));
	close(r->fd);
}
