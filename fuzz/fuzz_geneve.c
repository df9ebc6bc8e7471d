/* SPDX-License-Identifier: MIT */
/*
 * fuzz_geneve.c - encap_parse(): layers in order and within the packet, or nothing written
 */
#include <stdlib.h>
#include <string.h>

#include "geneve.h"
#include "wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint32_t linktypes[] = {
	LINKTYPE_ETHERNET, LINKTYPE_RAW, LINKTYPE_LINUX_SLL, LINKTYPE_LINUX_SLL2, LINKTYPE_IPV4,
	LINKTYPE_IPV6, 147,
};

static void check(const struct encap *e, const uint8_t *p, size_t len)
{
	struct geneve again;

	if (e->version != 4 && e->version != 6)
		abort();
	if (!(e->l3 < e->udp && e->udp + 8 == e->geneve && e->geneve + 8 <= e->inner &&
	      e->inner <= e->end && e->end <= len))
		abort();
	if (be16(p + e->udp + 2) != GENEVE_PORT || p[e->geneve] >> 6 || e->g.vni >> 24)
		abort();
	if (e->inner - e->geneve != 8 + 4 * (p[e->geneve] & 0x3fu) || e->g.hdr_len != e->inner - e->geneve)
		abort();
	if (e->g.dialect == DIALECT_PLAIN || e->g.dialect >= DIALECT_NUM)
		abort();
	/* The same header without a byte more says the same */
	if (geneve_parse(&again, p + e->geneve, e->g.hdr_len) != REASON_NONE ||
	    again.endpoint != e->g.endpoint || again.cookie != e->g.cookie ||
	    again.attachment != e->g.attachment || again.dialect != e->g.dialect)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct encap e, untouched;
	enum reason r;

	if (!size)
		return 0;
	memset(&e, 0xa5, sizeof(e));
	memset(&untouched, 0xa5, sizeof(untouched));
	r = encap_parse(&e, data + 1, size - 1, linktypes[data[0] % ARRAY_SIZE(linktypes)]);
	if (r >= REASON_NUM)
		abort();
	if (r && memcmp(&e, &untouched, sizeof(e)) != 0)
		abort();
	if (!r)
		check(&e, data + 1, size - 1);
	return 0;
}
