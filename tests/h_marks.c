/* SPDX-License-Identifier: MIT */
/*
 * h_marks.c - A stage that marks packets: h_marks fragment MTU | rst SEQ ACK
 */
#include <string.h>

#include "log.h"
#include "stage.h"

struct marks {
	bool rst;
	uint32_t a, b;
};

static void mark(struct stage *st, struct frame **f, int n)
{
	const struct marks *m = st->ctx;

	for (int i = 0; i < n; i++) {
		f[i]->marks |= m->rst ? FRAME_RST_BOTH : FRAME_FRAGMENT;
		if (m->rst) {
			f[i]->both_seq = m->a;
			f[i]->both_ack = m->b;
		} else {
			f[i]->frag_mtu = (uint16_t)m->a;
		}
	}
}

int main(int argc, char **argv)
{
	static const struct stage_ops ops = { .burst = mark };
	struct marks m = { 0 };
	struct stage st = { .prog = "h_marks", .ops = &ops, .ctx = &m };
	int at = stage_options(&st, "fragment MTU | rst SEQ ACK", "Mark packets.", NULL, NULL,
			       argc, argv);

	if (argc - at < 2)
		die_usage("what?");
	m.rst = !strcmp(argv[at], "rst");
	m.a = (uint32_t)opt_u64("number", argv[at + 1], 0, UINT32_MAX);
	if (argc - at > 2)
		m.b = (uint32_t)opt_u64("number", argv[at + 2], 0, UINT32_MAX);
	stage_open(&st);
	return stage_run(&st);
}
