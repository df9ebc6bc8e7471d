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
#define HEADERS		(TPACKET_ALIGN(TPACKET2_HDRLEN) + 16u)	/* the kernel's, with their padding */

static size_t round_up(size_t n, size_t to)
{
	return (n + to - 1) / to * to;
}

static size_t slot_size(size_t bytes)
{
	return (round_up(HEADERS + bytes, LINE) / LINE | 1) * LINE;
}

/* Whole pages; no more than the ring may have, but one slot */
static size_t block_size(size_t slot, size_t bytes)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t block = MIN(BLOCK, bytes / page * page);

	return MAX(block, round_up(slot, page));
}

static int set_up(int fd, uint32_t reserve, const struct tpacket_req *req)
{
	int version = TPACKET_V2;

	if (setsockopt(fd, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)) ||
	    setsockopt(fd, SOL_PACKET, PACKET_RESERVE, &reserve, sizeof(reserve)) ||
	    setsockopt(fd, SOL_PACKET, PACKET_RX_RING, req, sizeof(*req)))
		return -errno;
	return 0;
}

static void take_off(int fd)
{
	struct tpacket_req none = { .tp_block_size = 0 };

	setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &none, sizeof(none));
}

int pktring_open(struct pktring *r, int fd, uint32_t longest, uint32_t reserve, size_t bytes)
{
	size_t slot = slot_size((size_t)reserve + longest), block = block_size(slot, bytes);
	unsigned per_block = (unsigned)(block / slot), blocks = (unsigned)MAX(bytes / block, 1u);
	struct tpacket_req req = {
		.tp_block_size = (unsigned)block,
		.tp_block_nr = blocks,
		.tp_frame_size = (unsigned)slot,
		.tp_frame_nr = per_block * blocks,
	};
	int err = set_up(fd, reserve, &req);
	uint8_t *map;

	if (err)
		return err;
	map = mmap(NULL, block * blocks, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		err = -errno;
		take_off(fd);
		return err;
	}
	*r = (struct pktring){
		.fd = fd, .map = map, .end = map + block * blocks, .size = slot,
		.gap = block - per_block * slot, .per_block = per_block, .slots = req.tp_frame_nr,
		.next = { map, per_block }, .back = { map, per_block },
	};
	return 0;
}

void pktring_close(struct pktring *r)
{
	if (!r->map)
		return;
	munmap(r->map, (size_t)(r->end - r->map));
	take_off(r->fd);
	*r = (struct pktring){ .map = NULL };
}

int pktring_bind(int fd, int ifindex)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL),
				  .sll_ifindex = ifindex };

	return bind(fd, (struct sockaddr *)&to, sizeof(to)) ? -errno : 0;
}

uint32_t pktring_drops(int fd)
{
	struct tpacket_stats st = { 0 };
	socklen_t len = sizeof(st);

	/* Reading resets the kernel's counters */
	return getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &st, &len) ? 0 : st.tp_drops;
}
