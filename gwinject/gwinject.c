/* SPDX-License-Identifier: MIT */
/*
 * gwinject.c - Put the encapsulation back, and send or write to a stream
 */
#include <arpa/inet.h>

#include "geneve.h"
#include "ifacetx.h"
#include "joiner.h"
#include "log.h"
#include "outer.h"
#include "pieces.h"
#include "stage.h"

#define MTU_DEFAULT	8500	/* what an AWS load balancer carries inside */

/**
 * struct inject - From the command line
 * @iface:	Interface, or NULL: to a stream
 * @mtu:	Longest inner packet sent that is not as it was received
 * @warned:	That a packet has no encapsulation
 */
struct inject {
	const char *iface;
	uint32_t mtu;
	bool warned;
};

enum { OPT_MTU = OPT_LONG };

static const struct opt options[] = {
	{ "interface", 'I', "IFACE", "send on this interface instead of -o" },
	{ "mtu", OPT_MTU, "BYTES", "longest inner packet to send, if edited on the way (default 8500)" },
	{ NULL, 0, NULL, NULL }
};

static void set(void *ctx, int ch, const char *arg)
{
	struct inject *in = ctx;

	if (ch == 'I')
		in->iface = arg;
	else
		in->mtu = (uint32_t)opt_u64("mtu", arg, 68, UINT16_MAX);
}

/* Nobody has looked at it since gwdecap */
static inline void fetch_encap(const struct frame *f)
{
	fetch_line(frame_encap(f));
}

/* Where one packet has none, most likely no other has: said once, counted always */
static void warn_no_encap(struct inject *in, struct frame *f)
{
	bool whole = !f->encap_len && !frame_parse(f) && f->pkt.flags & PKT_GENEVE;

	in->warned = true;
	if (whole)
		log_warn("no-encap: packets are dropped whose encapsulation was not split off: "
			 "is gwdecap missing?");
	else
		log_warn("no-encap: packets are dropped for want of an encapsulation to put back: "
			 "they did not come through gwdecap, or what it said of them is lost");
}

static void burst(struct stage *st, struct frame **f, int n)
{
	struct inject *in = st->ctx;

	for (int i = 0; i < n && i < FRAME_AHEAD; i++)
		fetch_encap(f[i]);
	for (int i = 0; i < n; i++) {
		enum reason r;

		if (i + FRAME_AHEAD < n)
			fetch_encap(f[i + FRAME_AHEAD]);
		if (f[i]->verdict)
			continue;
		r = outer_return(f[i], in->mtu);
		if (!r && !in->iface && !(f[i]->marks & PIECES_MARKS) &&
		    !outer_join(f[i]))
			r = REASON_TOO_LARGE;
		if (unlikely(r == REASON_NO_ENCAP && !in->warned))
			warn_no_encap(in, f[i]);
		if (r)
			frame_drop(f[i], r, 0);
	}
}

/* "to" the load balancer, and the packet inside, whether they are joined yet or not */
static void print(struct stage *st, struct frame *f, FILE *out)
{
	bool joined = !f->encap_len;
	const uint8_t *front = joined ? frame_data(f) : frame_encap(f);
	uint8_t *inner = frame_data(f);
	char to[INET6_ADDRSTRLEN] = "?", line[160] = "?";
	uint32_t l3, len = f->len;
	struct encap e = { 0 };
	struct packet p;
	uint8_t version;

	(void)st;
	if (joined && !encap_parse(&e, front, f->len, f->linktype)) {
		inner += e.inner;
		len = e.end - e.inner;
	}
	if (!packet_l3(front, joined ? f->len : f->encap_len,
		       joined ? f->linktype : f->encap_linktype, &l3, &version)) {
		version = front[l3] >> 4;
		inet_ntop(version == 4 ? AF_INET : AF_INET6, front + l3 + (version == 4 ? 16 : 24),
			  to, sizeof(to));
	}
	if (!packet_parse(&p, inner, len, LINKTYPE_RAW))
		packet_describe(&p, inner, line, sizeof(line));
	fprintf(out, "#%llu to %s: %s\n", (unsigned long long)f->seq, to, line);
}

static void tick(struct stage *st)
{
	const struct inject *in = st->ctx;

	if (in->iface)
		ifacetx_tick(st->tx[0]);
}

static const struct stage_ops ops = { .burst = burst, .tick = tick, .print = print };

int main(int argc, char **argv)
{
	struct inject in = { .mtu = MTU_DEFAULT };
	struct stage st = {
		.prog = "gwinject", .ops = &ops, .ctx = &in,
		.flags = STAGE_SINK | STAGE_EDITS,
	};
	int first;

	first = stage_options(&st, "[-i STREAM] [-I IFACE | -o STREAM]",
			      "Put the encapsulation back, outer addresses swapped, and send.",
			      options, set, argc, argv);
	if (first != argc)
		die_usage("unexpected argument '%s'", argv[first]);
	if (in.iface && st.conf.nout)
		die_usage("-I or -o: one of them");
	priv_no_new();
	if (in.iface)
		st.tx[0] = ifacetx_open(in.iface, &st);
	stage_open(&st);
	for (unsigned i = 0; !in.iface && i < st.ntx; i++)
		st.tx[i] = joiner_open(st.tx[i]);
	stage_confine(&st);
	return stage_run(&st);
}
