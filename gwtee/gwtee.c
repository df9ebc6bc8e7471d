/* SPDX-License-Identifier: MIT */
/*
 * gwtee - Copy what passes, never slowing or changing it
 */
#include <errno.h>
#include <pcap/pcap.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "clock.h"
#include "copy.h"
#include "log.h"
#include "stage.h"

#define COPIES_MAX	16
#define PATIENCE_NS	1000000000u	/* of a run on files */

/* A copy to a file or, over ZeroMQ, to a further stage */
struct target {
	const char *spec;
	struct copy *copy;
	struct tx *tx;
	uint64_t packets;	/* of @tx */
	uint64_t lost;
	bool stuck;		/* @tx did not take the last one */
};

struct tee {
	struct target to[COPIES_MAX];
	unsigned n;
	struct copy_conf conf;
	uint64_t sample;
	uint64_t seen;		/* packets that EXPR chose */
	struct bpf_program expr;
	bool has_expr;
};

enum { OPT_SAMPLE = OPT_LONG };

static const struct opt options[] = {
	{ "write", 'w', "FILE|STREAM", "copy there; repeatable; .pcap at the end: classic pcap" },
	{ "snaplen", 's', "BYTES", "at most so many bytes of a packet (262144)" },
	{ "count", 'c', "N", "end the copies after N packets; the stream goes on" },
	{ "sample", OPT_SAMPLE, "1/N", "copy one packet in N" },
	{ "rotate-seconds", 'G', "SECONDS", "a new file so often, its name through strftime(3)" },
	{ "rotate-size", 'C', "MB", "a new file after so many millions of bytes" },
	{ "files", 'W', "COUNT", "with -C: a ring of so many files; with -G: end after them" },
	{ NULL, 0, NULL, NULL }
};

static uint64_t sample_rate(const char *arg)
{
	if (strncmp(arg, "1/", 2))
		die_usage("--sample: '%s' is not 1/N", arg);
	return opt_u64("sample", arg + 2, 1, UINT32_MAX);
}

static void add_target(struct tee *t, const char *spec)
{
	if (t->n == COPIES_MAX)
		die_usage("-w: more than %d copies", COPIES_MAX);
	if (!*spec || !strcmp(spec, "-"))
		die_usage("-w: '%s' is no file: stdout belongs to the stream", spec);
	t->to[t->n++].spec = spec;
}

static void tee_set(void *ctx, int ch, const char *arg)
{
	struct tee *t = ctx;

	switch (ch) {
	case 'w': add_target(t, arg); break;
	case 's':
		t->conf.snaplen = (uint32_t)opt_u64("snaplen", arg, 0, FRAME_DATA_MAX);
		if (!t->conf.snaplen)	/* as in tcpdump */
			t->conf.snaplen = FRAME_DATA_MAX;
		break;
	case 'c': t->conf.limit = opt_u64("count", arg, 1, UINT64_MAX); break;
	case OPT_SAMPLE: t->sample = sample_rate(arg); break;
	case 'G': t->conf.seconds = opt_u64("rotate-seconds", arg, 1, 1u << 30); break;
	case 'C': t->conf.bytes = 1000000 * opt_u64("rotate-size", arg, 1, 1u << 30); break;
	case 'W': t->conf.files = opt_u64("files", arg, 1, 1u << 30); break;
	}
}

/* The operands are one expression, on the packet from its IP header on. */
static void compile(struct tee *t, char **argv, int argc)
{
	char text[65536] = "";
	size_t n = 0;
	pcap_t *p;

	if (!argc)
		return;
	for (int i = 0; i < argc && n < sizeof(text); i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", i ? " " : "", argv[i]);
	if (n >= sizeof(text))
		die_usage("the expression is too long");
	p = pcap_open_dead(DLT_RAW, FRAME_DATA_MAX);
	if (!p)
		die("no memory");
	if (pcap_compile(p, &t->expr, text, 1, PCAP_NETMASK_UNKNOWN))
		die_usage("'%s': %s", text, pcap_geterr(p));
	pcap_close(p);
	t->has_expr = true;
}

static bool chosen(struct tee *t, struct frame *f)
{
	if (t->has_expr && (frame_parse(f) ||
	    !bpf_filter(t->expr.bf_insns, frame_data(f) + f->pkt.l3,
			f->orig_len - f->pkt.l3, f->len - f->pkt.l3)))
		return false;
	return t->seen++ % t->sample == 0;
}

/* From a file nothing need be lost: the copy may take its time. */
static bool may_wait(const struct rx *rx)
{
	return !rx->live && (rx->nupstream || !strcmp(rx->kind, "file"));
}

/* Until a stage behind ZeroMQ can take more, or @until_ns */
static void wait_for(struct tx *tx, uint64_t until_ns)
{
	struct pollfd fds[STREAM_POLL_MAX];
	uint64_t now = clock_mono();

	if (now < until_ns)
		poll(fds, (nfds_t)tx_poll(tx, fds),
		     (int)MIN((until_ns - now) / 1000000u + 1, 100u));
}

static void send_copy(struct tee *t, struct target *to, struct frame *f, bool wait)
{
	uint64_t until = 0;
	uint32_t len = f->len;
	int took;

	if (t->conf.limit && to->packets >= t->conf.limit)
		return;
	f->len = MIN(len, t->conf.snaplen);
	while (!(took = tx_send(to->tx, &f, 1)) && wait && !to->stuck) {
		if (!until)
			until = clock_mono() + PATIENCE_NS;
		wait_for(to->tx, until);
		to->stuck = clock_mono() >= until;
	}
	f->len = len;
	to->stuck = took != 1;
	to->packets += took == 1;
	to->lost += took != 1;
}

static void publish(struct stage *st)
{
	struct tee *t = st->ctx;
	uint64_t copied = 0, lost = 0;

	for (unsigned i = 0; i < t->n; i++) {
		copied += t->to[i].packets;
		lost += t->to[i].lost;
		if (t->to[i].copy)
			copy_counts(t->to[i].copy, &copied, &lost);
	}
	st->stats.page->counter[STATS_COPIED] = copied;
	st->stats.page->counter[STATS_LOST] = lost;
}

static void tee_burst(struct stage *st, struct frame **f, int n)
{
	struct tee *t = st->ctx;
	bool wait = may_wait(st->rx);

	for (int i = 0; i < n; i++) {
		if (!chosen(t, f[i]))
			continue;
		for (unsigned k = 0; k < t->n; k++) {
			if (t->to[k].copy)
				copy_packet(t->to[k].copy, f[i], wait);
			else
				send_copy(t, &t->to[k], f[i], wait);
		}
	}
}

static void push_all(struct stage *st)
{
	struct tee *t = st->ctx;

	for (unsigned i = 0; i < t->n; i++) {
		if (t->to[i].copy)
			copy_push(t->to[i].copy);
		else
			tx_flush(t->to[i].tx);
	}
}

static void tee_tick(struct stage *st)
{
	push_all(st);
	publish(st);
}

static void tee_done(struct stage *st)
{
	struct tee *t = st->ctx;

	for (unsigned i = 0; i < t->n; i++)
		if (t->to[i].copy)
			copy_finish(t->to[i].copy);
}

/* Two writers of a file would spoil it for each other. */
static void refuse_twins(const struct tee *t, const struct stage *st)
{
	for (unsigned i = 0; i < t->n; i++) {
		const char *path = t->to[i].spec;
		struct stat file;

		if (!stat(path, &file) && !S_ISREG(file.st_mode))
			continue;
		for (unsigned k = 0; k < st->conf.nout; k++)
			if (!strcmp(path, st->conf.out[k]))
				die_usage("-w %s: is the output as well", path);
		for (unsigned k = 0; k < i; k++)
			if (!strcmp(path, t->to[k].spec))
				die_usage("-w %s: given twice", path);
	}
}

/* As tcpdump does it, but not without a word */
static void warn_overwritten(const struct tee *t)
{
	for (unsigned i = 0; i < t->n; i++)
		if (t->conf.seconds && !t->conf.bytes && !stream_is_zmq(t->to[i].spec) &&
		    !strchr(t->to[i].spec, '%'))
			log_warn("-w %s: -G, and no time in the name (strftime(3), such as %%H%%M%%S): "
				 "each file overwrites the one before", t->to[i].spec);
}

static void open_targets(struct tee *t, struct stage *st)
{
	for (unsigned i = 0; i < t->n; i++) {
		struct target *to = &t->to[i];

		if (stream_is_zmq(to->spec))
			to->tx = tx_open(to->spec, &st->stream);
		else
			to->copy = copy_open(to->spec, &t->conf, st->prog, st->rx, &st->priv);
	}
}

static void start_targets(struct tee *t)
{
	for (unsigned i = 0; i < t->n; i++)
		if (t->to[i].copy)
			copy_start(t->to[i].copy);
}

/* What a stage behind ZeroMQ does not take until the deadline is lost. */
static void close_stream(struct target *to, struct stage *st, uint64_t deadline_ns)
{
	uint64_t uncertain, now;
	int err;

	while ((err = tx_end(to->tx, TX_END)) == -EAGAIN && clock_mono() < deadline_ns)
		wait_for(to->tx, deadline_ns);
	uncertain = to->tx->uncertain;
	if (err)
		tx_end(to->tx, TX_LEAVE);
	uncertain = MIN(to->tx->uncertain - uncertain, to->packets);
	to->packets -= uncertain;
	to->lost += uncertain;
	now = clock_mono();
	st->stream.linger_ms = now < deadline_ns ? (int)((deadline_ns - now) / 1000000u) : 0;
	tx_close(to->tx);
}

/* The stream has ended already; the copies get the rest of the time. */
static void close_targets(struct tee *t, struct stage *st)
{
	uint64_t deadline = clock_mono() + st->conf.drain_ms * 1000000u;

	for (unsigned i = 0; i < t->n; i++) {
		struct target *to = &t->to[i];

		if (to->copy)
			copy_close(to->copy, deadline, &to->packets, &to->lost);
		else
			close_stream(to, st, deadline);
		if (!st->conf.quiet)
			fprintf(stderr, "%s%s%s: %s: %llu copied, %llu lost\n", st->prog,
				st->conf.as ? ":" : "", st->stream.as, to->spec,
				(unsigned long long)to->packets, (unsigned long long)to->lost);
	}
	if (t->has_expr)
		pcap_freecode(&t->expr);
}

int main(int argc, char **argv)
{
	static const struct stage_ops ops = { .burst = tee_burst, .tick = tee_tick,
					      .idle = push_all, .done = tee_done };
	static struct tee t = { .sample = 1, .conf.snaplen = FRAME_DATA_MAX };
	static struct stage st = { .prog = "gwtee", .ops = &ops, .ctx = &t };
	int first, status;

	first = stage_options(&st, "[-i STREAM] [-o STREAM] [-w FILE|STREAM] [options] [EXPR]",
			      "Copy what passes, never slowing or changing it.",
			      options, tee_set, argc, argv);
	compile(&t, argv + first, argc - first);
	if (t.conf.files && !t.conf.bytes && !t.conf.seconds)
		die_usage("-W needs -C or -G");
	refuse_twins(&t, &st);
	warn_overwritten(&t);
	priv_no_new();
	stage_open(&st);
	open_targets(&t, &st);
	stage_confine(&st);
	start_targets(&t);
	status = stage_run(&st);
	close_targets(&t, &st);
	return status;
}
