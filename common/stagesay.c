/* SPDX-License-Identifier: MIT */
/*
 * stagesay.c - What a stage tells people: which way packets go, what became of them
 */
#include "stage_int.h"

/* Where packets come from or go to, and why not by a ring; false: not decided yet */
static bool way(char *out, size_t size, bool ring, const char *kind, const char *why)
{
	bool neighbour = kind_has_neighbour(kind);
	bool told = !ring && neighbour && why && *why;

	snprintf(out, size, "%s%s%s%s", ring ? "ring" : kind, told ? " (" : "", told ? why : "",
		 told ? ")" : "");
	return ring || told || !neighbour;
}

void stage_say_ways(struct stage *st)
{
	char in[80], out[80], line[sizeof(st->said)];
	unsigned state = (unsigned)st->in.state << 8 | st->out[0].state;
	const char *why = st->out[0].why;
	bool sure, due = !st->said[0] && st->now_ns >= st->said_by_ns;

	if (st->said[0] && st->said_way == state)
		return;
	st->said_way = state;
	if (due && !why && st->out[0].state == OUT_OFFERED)
		why = "the reader takes no ring";
	sure = way(in, sizeof(in), st->in.state == IN_RING, st->rx->kind, st->in.why);
	sure &= way(out, sizeof(out), st->out[0].state == OUT_RING, st->tx[0]->kind, why);
	if (!sure && !due)
		return;
	snprintf(line, sizeof(line), "in %s, out %s", in, out);
	if (!strcmp(line, st->said))
		return;
	memcpy(st->said, line, sizeof(line));
	fprintf(stderr, "%s%s%s: %s: %s\n", st->prog, st->conf.as ? ":" : "", st->stream.as,
		st->stream.chain, line);
}

void stage_say_linktype(struct stage *st, const struct frame *f)
{
	log_limited(&st->linktype_site, st->now_ns, LOG_LVL_WARN,
		    "packets of link type %u are dropped: it cannot be read here, or the output "
		    "stream is of another", f->linktype);
}

static void accounts(struct stage *st)
{
	uint64_t *c = counters(st);
	char drops[512] = "";
	size_t n = 0;

	for (unsigned r = 1; r < REASON_NUM && n < sizeof(drops) - 64; r++)
		if (st->stats.page->drop[r])
			n += (size_t)snprintf(drops + n, sizeof(drops) - n, "%s%s %llu",
					      n ? ", " : " (", reason_name(r),
					      (unsigned long long)st->stats.page->drop[r]);
	fprintf(stderr, "%s%s%s: %llu in, %llu made, %llu out, %llu dropped%s%s, %llu uncertain",
		st->prog, st->conf.as ? ":" : "", st->stream.as,
		(unsigned long long)c[STATS_IN_PACKETS], (unsigned long long)c[STATS_MADE],
		(unsigned long long)c[STATS_OUT_PACKETS], (unsigned long long)c[STATS_DROPPED],
		drops, n ? ")" : "", (unsigned long long)c[STATS_UNCERTAIN]);
	if (c[STATS_GAPS])
		fprintf(stderr, ", %llu lost before", (unsigned long long)c[STATS_GAPS]);
	if (c[STATS_KERNEL_DROPS])
		fprintf(stderr, ", %llu dropped by the kernel",
			(unsigned long long)c[STATS_KERNEL_DROPS]);
	if (c[STATS_IF_DROPS])
		fprintf(stderr, ", %llu by the interface", (unsigned long long)c[STATS_IF_DROPS]);
	fputc('\n', stderr);
}

/* What edits did, or could not do: nothing else tells it where no gwhealth looks */
static void rules(struct stage *st)
{
	uint64_t *c = counters(st);

	if (c[STATS_EDITED] || c[STATS_UNEDITED] || c[STATS_ERRORS])
		fprintf(stderr, "%s%s%s: %llu edited, %llu left unedited, %llu rule errors\n",
			st->prog, st->conf.as ? ":" : "", st->stream.as,
			(unsigned long long)c[STATS_EDITED],
			(unsigned long long)c[STATS_UNEDITED],
			(unsigned long long)c[STATS_ERRORS]);
}

void stage_say_summary(struct stage *st)
{
	accounts(st);
	rules(st);
}
