/* SPDX-License-Identifier: MIT */
/*
 * gwdecap.c - Split the encapsulation and its metadata off: what goes on is the inner packet
 */
#include "geneve.h"
#include "log.h"
#include "stage.h"

/* Why an inner packet cannot be worked on, or REASON_NONE */
static enum reason check_inner(const struct packet *inner, const struct geneve *g)
{
	if ((inner->version == 4) != (g->proto == 0x0800))
		return REASON_IP_VERSION;
	return inner->flags & PKT_CUT ? REASON_IP_LENGTH : REASON_NONE;
}

/* Nothing is copied: the packet begins further on, the encapsulation stays before it.  Headers
 * are written straight to where they stay: a copy of what was just written in smaller pieces
 * would wait for them. */
static enum reason split(struct frame *f)
{
	struct encap e;
	enum reason r;

	r = encap_parse(&e, frame_data(f), f->len, f->linktype);
	if (r)
		return r;
	if (e.inner > ENCAP_MAX)
		return REASON_TOO_LARGE;
	r = packet_parse(&f->pkt, frame_data(f) + e.inner, e.end - e.inner, LINKTYPE_RAW);
	if (!r)
		r = check_inner(&f->pkt, &e.g);
	if (r) {
		f->pkt.flags = 0;	/* it is no packet that begins here */
		return r;
	}
	frame_touch(f);
	f->endpoint = e.g.endpoint;
	f->attachment = e.g.attachment;
	f->cookie = e.g.cookie;
	f->dialect = e.g.dialect;
	f->encap_off = f->off;
	f->encap_len = (uint16_t)e.inner;
	f->encap_linktype = (uint16_t)f->linktype;
	f->off += e.inner;
	f->len = f->orig_len = e.end - e.inner;
	f->linktype = LINKTYPE_RAW;
	return REASON_NONE;
}

static void decap_burst(struct stage *st, struct frame **f, int n)
{
	(void)st;
	frame_fetch_first(f, n);
	for (int i = 0; i < n; i++) {
		enum reason r;

		frame_fetch_next(f, i, n);
		r = split(f[i]);
		if (unlikely(r))
			frame_drop(f[i], f[i]->orig_len > f[i]->len ? REASON_TRUNCATED : r, 0);
	}
}

static void decap_print(struct stage *st, struct frame *f, FILE *out)
{
	char line[160];

	(void)st;
	packet_describe(&f->pkt, frame_data(f), line, sizeof(line));
	fprintf(out, "%llu.%09llu #%llu %s vpce-0%016llx attachment %llx cookie %08x %s\n",
		(unsigned long long)(f->ts_ns / 1000000000u),
		(unsigned long long)(f->ts_ns % 1000000000u), (unsigned long long)f->seq,
		dialect_name(f->dialect), (unsigned long long)f->endpoint,
		(unsigned long long)f->attachment, f->cookie, line);
}

int main(int argc, char **argv)
{
	static const struct stage_ops ops = { .burst = decap_burst, .print = decap_print };
	struct stage st = { .prog = "gwdecap", .ops = &ops };
	int first;

	first = stage_options(&st, "[-i STREAM] [-o STREAM] [--print]",
			      "Split the encapsulation off: what goes on is the inner IP packet.",
			      NULL, NULL, argc, argv);
	if (first != argc)
		die_usage("unexpected argument '%s'", argv[first]);
	priv_no_new();
	stage_open(&st);
	stage_confine(&st);
	return stage_run(&st);
}
