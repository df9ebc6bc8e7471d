/* SPDX-License-Identifier: MIT */
/*
 * fuzz_segment.c - What comes from a TUN is cut, what goes there is merged: every piece is a
 * right packet, and all of the payload is there once
 */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "../gwtun/segment.h"
#include "csum.h"

#define ROOM	9600u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void cut_it(const uint8_t *data, size_t size)
{
	static uint8_t pkt[65536], out[ROOM];
	struct virtio_net_hdr h;
	uint32_t payload = 0;
	bool pieces;
	struct cut c;
	int n;

	memcpy(&h, data, sizeof(h));
	size = MIN(size - sizeof(h), sizeof(pkt));
	memcpy(pkt, data + sizeof(h), size);
	if (cut_start(&c, pkt, size, &h))
		return;
	cut_finish(&c, &h);
	pieces = c.size;
	tcp_mss(pkt + c.p.l4, c.p.end - c.p.l4);
	while ((n = cut_next(&c, out, sizeof(out))) > 0) {
		struct packet p;

		if (packet_parse(&p, out, (size_t)n, LINKTYPE_RAW) || p.end != (uint32_t)n)
			abort();
		if (pieces && !(p.flags & (PKT_FRAG_FIRST | PKT_FRAG_LATER)) && !csum_l4_ok(&p, out))
			abort();
		payload += p.end - p.payload;
	}
	if (!n && pieces && payload != c.p.end - c.p.payload)
		abort();
}

/* Half of the input each */
static void merge_it(const uint8_t *data, size_t size)
{
	static struct frame **pool;
	struct packet p;
	struct merge m;
	size_t total = 0;
	int n;

	if (!pool)
		pool = frame_pool_new(2, 70000);
	for (int i = 0; i < 2; i++) {
		frame_reset(pool[i]);
		pool[i]->linktype = LINKTYPE_RAW;
		if (!frame_set(pool[i], data + (i ? size / 2 : 0), MIN(size / 2, 65535u)) ||
		    frame_parse(pool[i]) || pool[i]->pkt.flags & PKT_CUT)
			return;
		if (pool[i]->pkt.flags & PKT_L4)	/* a sum that is right is not found by chance */
			csum_l4_write(&pool[i]->pkt, frame_data(pool[i]));
	}
	merge_start(&m, pool[0]);
	merge_add(&m, pool[1]);
	n = merge_finish(&m);
	for (int i = 1; i < n; i++)
		total += m.iov[i].iov_len;
	if (m.n == 2 && (packet_parse(&p, m.h.head, m.h.v.hdr_len, LINKTYPE_RAW) ||
			 total + m.h.v.hdr_len != m.total))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size <= sizeof(struct virtio_net_hdr))
		return 0;
	cut_it(data, size);
	merge_it(data, size);
	return 0;
}
