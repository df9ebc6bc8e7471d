/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "survey.h"
#include "wire.h"

#define NS_PER_MS	1000000u

/* A page is another process's: its strings may lack an end and hold anything. */
static void printable(char *s, size_t size)
{
	s[size - 1] = '\0';
	for (; *s; s++)
		if (*s < 0x20 || *s > 0x7e)
			*s = '?';
}

static void printable_page(struct stats_page *p, bool rules)
{
	printable(p->chain, sizeof(p->chain));
	printable(p->prog, sizeof(p->prog));
	printable(p->as, sizeof(p->as));
	printable(p->in, sizeof(p->in));
	printable(p->out, sizeof(p->out));
	printable(p->trouble, sizeof(p->trouble));
	if (p->nupstream > STATS_UPSTREAM_MAX)
		p->nupstream = STATS_UPSTREAM_MAX;
	if (!rules)
		p->nrules = 0;
	for (uint32_t i = 0; i < p->nrules; i++)
		printable(p->rules[i].name, sizeof(p->rules[i].name));
}

static struct survey_stage *find(struct survey *s, const char *file)
{
	struct survey_stage *st;

	for (unsigned i = 0; i < s->nstages; i++)
		if (!strcmp(s->stage[i]->file, file))
			return s->stage[i];
	if (s->nstages == SURVEY_STAGES_MAX || !(st = calloc(1, sizeof(*st))))
		return NULL;
	if (!(st->page = calloc(1, sizeof(*st->page)))) {
		free(st);
		return NULL;
	}
	memcpy(st->file, file, MIN(strlen(file), sizeof(st->file) - 1));
	s->stage[s->nstages++] = st;
	return st;
}

static void read_page(struct survey *s, int dir, const char *file, bool rules)
{
	struct survey_stage *st;
	struct stats_view v;
	uint64_t nonce;
	int err;

	if (stats_attach(&v, dir, file))
		return;			/* a socket's lock, a page half made */
	st = find(s, file);
	if (!st)
		goto out;
	nonce = st->page->nonce;
	err = stats_copy(&v, st->page, rules);
	if (err == -EAGAIN)		/* a reload: do without the rules this time */
		err = stats_copy(&v, st->page, rules = false);
	if (err)
		goto out;
	printable_page(st->page, rules);
	if (nonce != st->page->nonce)
		st->nsamples = 0;
	st->seen = true;
	st->gone = false;
	st->alive = v.alive;
out:
	stats_detach(&v);
}

/* STAGE or STAGE:NAME, nothing else: see chain_name_ok() */
static bool page_name(const char *f)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-:";

	return !strncmp(f, "gw", 2) && strlen(f) < 2 * STATS_NAME_MAX && !f[strspn(f, allowed)];
}

static void read_pages(struct survey *s, bool rules)
{
	struct dirent *e;
	DIR *d;

	d = opendir(s->dir);
	s->err = d ? 0 : errno;
	if (!d)
		return;
	while ((e = readdir(d)))
		if (page_name(e->d_name) && (e->d_type == DT_REG || e->d_type == DT_UNKNOWN))
			read_page(s, dirfd(d), e->d_name, rules);
	closedir(d);
}

/* "bind+ipc://x" and "ipc://x" name the same place */
static const char *place(const char *spec)
{
	const char *plus = strchr(spec, '+');

	return plus ? plus + 1 : spec;
}

/* The port, if @place is TCP on this machine, else NULL */
static const char *local_port(const char *place)
{
	static const char *const hosts[] = { "", "*", "127.0.0.1", "0.0.0.0", "localhost",
					     "[::1]", "[::]" };
	const char *host = place + strlen("tcp://"), *colon = strrchr(place, ':');

	if (strncmp(place, "tcp://", strlen("tcp://")) || colon < host)
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++)
		if ((size_t)(colon - host) == strlen(hosts[i]) &&
		    !strncmp(host, hosts[i], strlen(hosts[i])))
			return colon;
	return NULL;
}

static bool same_place(const char *a, const char *b)
{
	const char *port = local_port(a), *other = local_port(b);

	return !strcmp(a, b) || (port && other && !strcmp(port, other));
}

/* A reader knows its writers by what they have sent.  Before the first packet, after a
 * restart, one of ZeroMQ's endpoints at both ends tells it too. */
static bool feeds(const struct survey_stage *writer, const struct survey_stage *reader)
{
	const struct stats_page *w = writer->page, *r = reader->page;

	if (writer == reader || writer->gone || reader->gone)
		return false;
	for (uint32_t i = 0; w->nonce && i < r->nupstream; i++)
		if (r->upstream[i] == w->nonce)
			return true;
	return strstr(r->in, "://") && writer->alive && reader->alive &&
	       same_place(place(r->in), place(w->out));
}

/* Who feeds whom, and how much of what each has written was taken in behind it */
static void link_stages(struct survey *s)
{
	for (unsigned w = 0; w < s->nstages; w++) {
		struct survey_stage *st = s->stage[w];
		uint64_t readers = 0;

		st->now.arrived = 0;
		memset(st->edge, 0, sizeof(st->edge));
		for (unsigned r = 0; r < s->nstages; r++) {
			const struct stats_page *p = s->stage[r]->page;

			if (!feeds(st, s->stage[r]))
				continue;
			st->edge[r / 64] |= 1ull << (r % 64);
			if (!s->stage[r]->alive)
				continue;
			readers ^= p->nonce;
			st->now.arrived += p->counter[STATS_IN_PACKETS] + p->counter[STATS_GAPS];
		}
		if (readers == st->readers && st->nsamples)
			continue;
		st->readers = readers;
		st->settled = INT64_MAX;
		st->settled_since_ns = s->now_ns;
	}
}

static void fill_now(struct survey_stage *st, uint64_t t_ns)
{
	const uint64_t *c = st->page->counter;

	st->now.t_ns = t_ns;
	st->now.in = c[STATS_IN_PACKETS] + c[STATS_MADE];
	st->now.out = c[STATS_OUT_PACKETS];
	st->now.dropped = c[STATS_DROPPED] + c[STATS_UNCERTAIN];
	memcpy(st->now.drop, st->page->drop, sizeof(st->now.drop));
}

static void store(struct survey_stage *st)
{
	const struct survey_sample *last = &st->sample[st->newest];
	int64_t d;

	if (st->nsamples && last->t_ns >= st->settled_since_ns) {
		d = (int64_t)(st->now.out - last->arrived);
		if (d < st->settled)
			st->settled = d;
	}
	st->newest = (st->newest + 1) % SURVEY_SAMPLES;
	st->sample[st->newest] = st->now;
	if (st->nsamples < SURVEY_SAMPLES)
		st->nsamples++;
}

void survey_take(struct survey *s, bool rules)
{
	bool keep;

	s->now_ns = clock_mono();
	keep = s->now_ns - s->stored_ns >= (SURVEY_PERIOD_MS - 50) * NS_PER_MS;
	for (unsigned i = 0; i < s->nstages; i++)
		s->stage[i]->seen = false;
	read_pages(s, rules);
	for (unsigned i = 0; i < s->nstages; i++) {
		s->stage[i]->gone = !s->stage[i]->seen;
		fill_now(s->stage[i], s->now_ns);
	}
	link_stages(s);
	for (unsigned i = 0; keep && i < s->nstages; i++)
		store(s->stage[i]);
	if (keep)
		s->stored_ns = s->now_ns;
}

static void stage_free(struct survey_stage *st)
{
	free(st->page);
	free(st);
}

void survey_forget_gone(struct survey *s)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < s->nstages; i++) {
		if (s->stage[i]->gone)
			stage_free(s->stage[i]);
		else
			s->stage[kept++] = s->stage[i];
	}
	if (kept == s->nstages)
		return;
	s->nstages = kept;
	link_stages(s);			/* the others have new numbers */
}

void survey_free(struct survey *s)
{
	for (unsigned i = 0; i < s->nstages; i++)
		stage_free(s->stage[i]);
	s->nstages = 0;
}

const struct survey_sample *survey_before(const struct survey *s, const struct survey_stage *st,
					  uint64_t age_ns)
{
	for (unsigned i = 0; i < st->nsamples; i++) {
		const struct survey_sample *p =
			&st->sample[(st->newest + SURVEY_SAMPLES - i) % SURVEY_SAMPLES];

		if (s->now_ns - p->t_ns >= age_ns)
			return p;
	}
	return NULL;
}

const struct survey_sample *survey_oldest(const struct survey_stage *st)
{
	if (!st->nsamples)
		return NULL;
	return &st->sample[(st->newest + SURVEY_SAMPLES - (st->nsamples - 1)) % SURVEY_SAMPLES];
}
