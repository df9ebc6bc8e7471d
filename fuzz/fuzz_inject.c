/* SPDX-License-Identifier: MIT */
/*
 * fuzz_inject.c - Any encapsulation, packet and marks: what is sent stays within its
 * memory and says its own length
 *
 * Bytes 0, 1: length of the encapsulation; 2: its link type and the marks; 3, 4:
 * frag_mtu; then encapsulation and packet.
 */
#include <stdlib.h>

#include "../gwinject/pieces.h"

static struct frame **pool;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t *copy(struct frame *f, int64_t *off, const uint8_t *data, size_t len)
{
	uint8_t *exact = malloc(len ? len : 1);

	memcpy(exact, data, len);
	*off = frame_rel(f, exact);
	return exact;
}

static void send_pieces(struct frame *f)
{
	uint8_t scratch[PIECE_ROOM];
	struct iovec iov[2];
	struct pieces it;
	struct outer o;
	unsigned n = 0;
	size_t total;

	if (pieces_start(&it, f))
		return;
	if (outer_parse(&o, f))
		abort();
	while (pieces_next(&it, scratch, iov)) {
		total = iov[0].iov_len + iov[1].iov_len - o.l3;
		if (iov[0].iov_len > sizeof(scratch) || total > UINT16_MAX || ++n > 2000)
			abort();
		if (o.version == 4 && be16(scratch + o.l3 + 2) != total)
			abort();
		free(memcpy(malloc(iov[1].iov_len + 1), iov[1].iov_base, iov[1].iov_len));
	}
	if (!n)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint16_t types[] = {
		LINKTYPE_ETHERNET, LINKTYPE_RAW, LINKTYPE_LINUX_SLL, LINKTYPE_LINUX_SLL2,
	};
	uint8_t *encap, *inner;
	struct frame *f;
	size_t n;

	if (!pool)
		pool = frame_pool_new(1, FRAME_HEADROOM + 2 * 65536);
	if (size < 5)
		return 0;
	f = pool[0];
	n = MIN(MIN(be16(data), size - 5), ENCAP_MAX);
	frame_reset(f);
	f->linktype = LINKTYPE_RAW;
	f->encap_linktype = types[data[2] % 4];
	f->marks = data[2] >> 2;
	f->frag_mtu = be16(data + 3);
	encap = copy(f, &f->encap_off, data + 5, n);
	inner = copy(f, &f->off, data + 5 + n, size - 5 - n);
	f->encap_len = (uint16_t)n;
	f->len = f->orig_len = (uint32_t)(size - 5 - n);
	if (!outer_return(f, 8500)) {
		if (f->marks & PIECES_MARKS)
			send_pieces(f);
		else if (!outer_join(f) || f->len < n)
			abort();
	}
	free(encap);
	free(inner);
	return 0;
}
