/* SPDX-License-Identifier: MIT */
/*
 * fuzz_edit.c - Any packet, edited by any of some rules: offsets stay those a new
 * look finds, a right checksum stays right
 *
 * First byte: the rule; the rest: a packet from its IP header on.
 */
#include <stdlib.h>

#include "../gwmangle/edit.h"
#include "csum.h"
#include "wire.h"

static const char *const rules[] = {
	"replace \"a\" \"b\"", "replace \"a\" \"bbbbbbb\"", "replace \"aa\" \"\"",
	"replace /(.)(.)?/s \"$2$1$$\"", "replace /x*/ \"-\"", "replace /(?<=a)b|\\z/ \"yy\"",
	"replace /(a|aa)+$/ \"z\"", "set ttl 7", "set dscp 63",
};

static struct editor editor;
static struct matcher matcher;
static struct frame **pool;
static struct rules *loaded;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void start(void)
{
	struct rules_conf c = RULES_CONF_INIT(RULES_MANGLE);

	for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
		c.source[c.nsources++].text = rules[i];
	c.err = stderr;
	loaded = rules_load(&c);
	if (!loaded)
		abort();
	matcher_open(&matcher, &c, loaded);
	editor.m = &matcher;
	editor.mtu = 1000;
	pool = frame_pool_new(1, FRAME_HEADROOM + 2 * 65536);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct frame *f;
	uint8_t *exact;
	struct packet p;
	bool right;

	if (!pool)
		start();
	if (size < 2)
		return 0;
	f = pool[0];
	exact = malloc(size - 1);
	memcpy(exact, data + 1, size - 1);
	frame_reset(f);
	f->linktype = LINKTYPE_RAW;
	f->off = frame_rel(f, exact);
	f->len = f->orig_len = (uint32_t)(size - 1);
	editor.kept_len = 0;
	if (!frame_parse(f)) {
		right = csum_l4_ok(&f->pkt, exact);
		if (edit_apply(&editor, f, &loaded->rule[data[0] % ARRAY_SIZE(rules)]) & EDIT_DONE) {
			if (packet_parse(&p, frame_data(f), f->len, f->linktype) ||
			    memcmp(&p, &f->pkt, sizeof(p)))
				abort();
			if (right && !csum_l4_ok(&p, frame_data(f)))
				abort();
		}
	}
	free(exact);
	return 0;
}
