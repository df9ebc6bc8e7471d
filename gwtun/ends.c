/* SPDX-License-Identifier: MIT */
/*
 * ends.c - Endpoints: found by their id, asked for, waited for, removed when idle
 */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <unistd.h>

#include "log.h"
#include "tun.h"

#define NONE		UINT32_MAX
#define RETRY_NS	10000000000ull	/* after a namespace could not be made */

static uint32_t bucket_of(const struct ends *s, uint64_t id)
{
	uint64_t hash;

	crypto_shorthash((uint8_t *)&hash, (const uint8_t *)&id, sizeof(id), s->secret);
	return (uint32_t)hash & s->mask;
}

struct end *ends_find(struct tun *t, uint64_t id)
{
	struct ends *s = &t->ends;
	uint32_t i = s->bucket[bucket_of(s, id)];

	while (i != NONE && s->end[i].id != id)
		i = s->end[i].next;
	return i == NONE ? NULL : &s->end[i];
}

static void ask(struct tun *t, struct end *e)
{
	struct broker_msg m = { .type = BROKER_MAKE, .endpoint = e->id };

	e->state = END_ASKED;
	e->asked = !fdmsg_send(t->broker.fd, &m, sizeof(m), NULL, 0);
}

static struct end *add(struct tun *t, uint64_t id)
{
	struct ends *s = &t->ends;
	uint32_t i = s->free, *bucket = &s->bucket[bucket_of(s, id)];
	struct end *e;

	if (i == NONE) {
		log_limited(&s->site, t->st->now_ns, LOG_LVL_WARN,
			    "vpce-0%016llx: more than %u endpoints: --endpoints",
			    (unsigned long long)id, s->max);
		return NULL;
	}
	e = &s->end[i];
	s->free = e->next;
	*e = (struct end){ .id = id, .fd = -1, .next = *bucket, .used_ns = t->st->now_ns };
	*bucket = i;
	s->used++;
	ask(t, e);
	return e;
}

struct end *ends_get(struct tun *t, uint64_t id)
{
	struct end *e = ends_find(t, id);

	if (!e)
		return add(t, id);
	if (e->state != END_FAILED)
		return e;
	if (t->st->now_ns < e->retry_ns)
		return NULL;
	ask(t, e);
	return e;
}

static void forget(struct tun *t, struct end *e)
{
	struct ends *s = &t->ends;
	uint32_t i = (uint32_t)(e - s->end), *link = &s->bucket[bucket_of(s, e->id)];

	while (*link != i)
		link = &s->end[*link].next;
	*link = e->next;
	e->state = END_FREE;
	e->next = s->free;
	s->free = i;
	s->used--;
}

/* Its flows are the caller's to forget.  Return: the broker knows */
static bool let_go(struct tun *t, struct end *e)
{
	struct broker_msg m = { .type = BROKER_REMOVE, .endpoint = e->id };

	if (fdmsg_send(t->broker.fd, &m, sizeof(m), NULL, 0))
		return false;
	if (e->fd >= 0)
		close(e->fd);
	e->fd = -1;
	return true;
}

void ends_lost(struct tun *t, struct end *e)
{
	log_error("vpce-0%016llx: its TUN is lost", (unsigned long long)e->id);
	if (!let_go(t, e)) {
		close(e->fd);
		e->fd = -1;
	}
	e->state = END_FAILED;
	e->retry_ns = t->st->now_ns + RETRY_NS;
	flows_walk(t, true);
}

/*
 * With none that works gwtun does not do its work, and gwhealth is to know.  It may be that no packet
 * comes then, and none would show that it is over: the one that failed is tried again by itself.
 */
static void say_trouble(struct tun *t, const struct end *e, const struct broker_msg *m)
{
	struct ends *s = &t->ends;

	for (uint32_t i = 0; i < s->max; i++)
		if (s->end[i].state == END_READY)
			return;
	s->probe = (uint32_t)(e - s->end);
	stage_trouble(t->st, "no namespace can be made: %.63s%s", m->what,
		      m->err == -ECANCELED ? " failed" : "");
}

static void end_trouble(struct tun *t)
{
	if (t->ends.probe != NONE)
		stage_trouble(t->st, "%s", "");
	t->ends.probe = NONE;
}

void ends_made(struct tun *t, const struct broker_msg *m, int fd)
{
	struct end *e = ends_find(t, m->endpoint);

	t->ends.settled = true;
	if (!e || e->state != END_ASKED || (!m->err && fd < 0)) {
		if (fd >= 0)
			close(fd);
		return;
	}
	if (!m->err) {
		e->fd = fd;
		e->state = END_READY;
		end_trouble(t);
		if (tun_watch(t, fd, WATCH_TUN, (uint32_t)(e - t->ends.end)))
			ends_lost(t, e);
		return;
	}
	if (fd >= 0)
		close(fd);
	if (m->err != -ECANCELED)	/* the broker has told of that */
		log_limited(&t->ends.site, t->st->now_ns, LOG_LVL_ERROR, "vpce-0%016llx: %.63s: %s",
			    (unsigned long long)e->id, m->what, strerror(-m->err));
	e->state = END_FAILED;
	e->retry_ns = t->st->now_ns + RETRY_NS;
	say_trouble(t, e, m);
}

/* --- packets that wait -------------------------------------------------------- */

bool ends_wait(struct tun *t, struct frame *f)
{
	struct ends *s = &t->ends;

	if (s->nwaiting == WAITING_MAX || !frame_copy(s->waiting[s->nwaiting], f, 0))
		return false;
	s->nwaiting++;
	return true;
}

/* Into the TUN or, where there is none to be had, out again; false: no frame for that now */
static bool resume(struct tun *t, struct frame *f)
{
	struct frame *to;

	if (t->nmade == FRAME_BURST)
		return false;
	into_packet(t, f);
	into_flush(t);
	if (f->verdict)
		return true;
	to = outof_frame(t);
	if (!frame_copy(to, f, 0))
		t->nmade--;
	return true;
}

void ends_resume(struct tun *t)
{
	struct ends *s = &t->ends;
	struct frame *gone[WAITING_MAX];
	unsigned n = s->nwaiting, kept = 0, went = 0;

	s->settled = false;
	for (unsigned i = 0; i < n; i++) {
		struct frame *f = s->waiting[i];
		const struct end *e = ends_find(t, f->endpoint);
		bool ready = !e || e->state != END_ASKED;

		if (ready && resume(t, f)) {
			gone[went++] = f;
			continue;
		}
		s->settled |= ready;
		s->waiting[kept++] = f;
	}
	s->nwaiting = kept;
	while (went)		/* these are free again */
		s->waiting[kept++] = gone[--went];
}

/* --- time --------------------------------------------------------------------- */

/* Return: it went, and its flows are to go */
static bool look_after(struct tun *t, struct end *e)
{
	uint64_t idle = t->st->now_ns - e->used_ns;
	bool stays = e->fixed || t->ends.probe == (uint32_t)(e - t->ends.end);

	if (e->state == END_ASKED && !e->asked)
		ask(t, e);
	else if (e->state == END_FAILED && stays && t->st->now_ns >= e->retry_ns)
		ask(t, e);
	else if (e->state == END_FAILED && !stays && idle > 2 * RETRY_NS)
		forget(t, e);
	else if (e->state == END_READY && !e->fixed && t->conf.idle_ns &&
		 idle > t->conf.idle_ns && let_go(t, e)) {
		forget(t, e);
		return true;
	}
	return false;
}

/* Many go at once: their flows in one walk */
void ends_tick(struct tun *t)
{
	bool gone = false;

	for (uint32_t i = 0; i < t->ends.max; i++)
		if (t->ends.end[i].state != END_FREE)
			gone |= look_after(t, &t->ends.end[i]);
	if (gone)
		flows_walk(t, true);
}

void ends_open(struct tun *t)
{
	struct ends *s = &t->ends;
	uint32_t buckets = 16;

	s->max = MAX(t->conf.endpoints_max, t->conf.nendpoints);
	s->probe = NONE;
	while (buckets < s->max)
		buckets *= 2;
	s->mask = buckets - 1;
	s->end = calloc(s->max, sizeof(*s->end));
	s->bucket = malloc(buckets * sizeof(*s->bucket));
	s->pool = frame_pool_new(WAITING_MAX, FRAME_HEADROOM + ENCAP_MAX + 9216);
	if (!s->end || !s->bucket || !s->pool)
		die("no memory for %u endpoints", s->max);
	memcpy(s->waiting, s->pool, sizeof(s->waiting));
	memset(s->bucket, 0xff, buckets * sizeof(*s->bucket));
	for (uint32_t i = 0; i < s->max; i++)
		s->end[i].next = i + 1 < s->max ? i + 1 : NONE;
	randombytes_buf(s->secret, sizeof(s->secret));
	for (unsigned i = 0; i < t->conf.nendpoints; i++) {
		struct end *e = ends_find(t, t->conf.endpoint[i]);

		if (!e)
			e = add(t, t->conf.endpoint[i]);
		if (e)		/* there is room for all that are named */
			e->fixed = true;
	}
}

void ends_close(struct tun *t)
{
	for (uint32_t i = 0; i < t->ends.max; i++)
		if (t->ends.end[i].state != END_FREE && t->ends.end[i].fd >= 0)
			close(t->ends.end[i].fd);
	frame_pool_free(t->ends.pool);
	free(t->ends.end);
	free(t->ends.bucket);
}
