/* SPDX-License-Identifier: MIT */
/*
 * fuzz_packet.c - packet_parse() and what relies on its offsets: checksums, descriptions
 */
#include <stdlib.h>
#include <string.h>

#include "csum.h"
#include "packet.h"
#include "wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint32_t linktypes[] = {
	LINKTYPE_RAW, LINKTYPE_ETHERNET, LINKTYPE_LINUX_SLL, LINKTYPE_LINUX_SLL2, LINKTYPE_IPV4,
	LINKTYPE_IPV6, 147,
};

static void check(const struct packet *p, size_t len)
{
	uint32_t least = p->version == 4 ? 20 : 40;

	if ((p->version != 4 && p->version != 6) || !(p->flags & PKT_PARSED))
		abort();
	if (!(p->l3 + least <= p->l4 && p->l4 <= p->payload && p->payload <= p->end && p->end <= len))
		abort();
	if (!(p->flags & PKT_L4) && p->payload != p->l4)
		abort();
	if (p->flags & PKT_L4 && (p->flags & PKT_FRAG_LATER || p->payload < p->l4 + 8))
		abort();
	if (!!p->frag_off != !!(p->flags & PKT_FRAG_LATER))
		abort();
	if (p->flags & PKT_FRAG_FIRST && p->flags & PKT_FRAG_LATER)
		abort();
}

/* A checksum that was written is right, and writing it changes no other byte */
static void check_sum(const struct packet *p, const uint8_t *data, size_t len)
{
	int field = csum_l4_field(p->proto);
	uint8_t *copy;

	if (!(p->flags & PKT_L4) || field < 0 || p->flags & (PKT_FRAG_FIRST | PKT_CUT))
		return;
	copy = malloc(len);
	memcpy(copy, data, len);
	csum_l4_write(p, copy);
	if (!csum_l4_ok(p, copy))
		abort();
	memcpy(copy + p->l4 + field, data + p->l4 + field, 2);
	if (memcmp(copy, data, len) != 0)
		abort();
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct packet none;
	struct packet p;
	char line[200];
	enum reason r;

	if (!size)
		return 0;
	memset(&p, 0xa5, sizeof(p));
	r = packet_parse(&p, data + 1, size - 1, linktypes[data[0] % ARRAY_SIZE(linktypes)]);
	if (r >= REASON_NUM)
		abort();
	if (r) {
		if (memcmp(&p, &none, sizeof(p)) != 0)
			abort();
		return 0;
	}
	check(&p, size - 1);
	packet_describe(&p, data + 1, line, sizeof(line));
	check_sum(&p, data + 1, size - 1);
	return 0;
}
