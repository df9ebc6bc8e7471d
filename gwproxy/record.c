/* SPDX-License-Identifier: MIT */
/*
 * record.c - Lines from the loops to a file, without a wait
 *
 * Theory of operation
 *
 * Two buffers of one size: loops append to one, the writer's thread takes it when its own
 * is written, and they change places.  The lock is held for a copy of one line, or for the
 * change.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "opt.h"
#include "record_int.h"

_Static_assert(RECORD_OPT_FILE == OPT_LONG + 160, "record.h does without opt.h");

#define BUFFER_MIN	4096u
#define CLOSE_WAIT_S	1

/**
 * struct side - Lines that wait
 */
struct side {
	char *p;
	size_t n;
	uint64_t lines;
};

/**
 * struct record - See record.h
 * @fill:	Appended to; @drain: the writer's
 * @missing:	Lines lost that no line has told of yet
 * @torn:	The last byte written ended no line
 */
struct record {
	const struct record_conf *conf;
	const psl_ctx_t *psl;
	int fd;
	size_t size;
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct side side[2], *fill, *drain;
	bool stop, running, torn;
	uint64_t written, lost, missing;
	pthread_t thread;
	struct log_site log_site;
};

static bool is_name(const char *s)
{
	for (; *s; s++)
		if (*s <= ' ' || *s > '~' || strchr("()<>@,;:\\\"/[]?={}", *s))
			return false;
	return true;
}

bool record_option(struct record_conf *c, int ch, const char *arg)
{
	if (ch == RECORD_OPT_FILE) {
		c->path = arg;
		return true;
	}
	if (ch != RECORD_OPT_HEADER)
		return false;
	if (!*arg || !is_name(arg))
		die_usage("--record-header: '%s' is no name of a header field", arg);
	if (!strcasecmp(arg, "authorization") || !strcasecmp(arg, "proxy-authorization"))
		die_usage("--record-header: %s is never recorded", arg);
	if (c->nheaders == RECORD_HEADERS_MAX)
		die_usage("more than %u --record-header", RECORD_HEADERS_MAX);
	c->header[c->nheaders++] = arg;
	return true;
}

struct record *record_open(const struct record_conf *c)
{
	struct record *r = calloc(1, sizeof(*r));

	if (!r)
		die("no memory");
	r->conf = c;
	r->psl = psl_builtin();
	r->size = c->buffer ? c->buffer / 2 : RECORD_BUFFER / 2;
	r->size = r->size < BUFFER_MIN ? BUFFER_MIN : r->size;
	r->side[0].p = malloc(r->size);
	r->side[1].p = malloc(r->size);
	if (!r->side[0].p || !r->side[1].p)
		die("no memory");
	r->fill = &r->side[0];
	r->drain = &r->side[1];
	r->fd = STDOUT_FILENO;
	if (strcmp(c->path, "-"))
		r->fd = open(c->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0640);
	if (r->fd < 0)
		die("--record: %s: %m", c->path);
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->more, NULL);
	return r;
}

/* ---- the writer ---- */

/* All of it, however slow the reader; -errno */
static int write_all(int fd, const char *p, size_t n, bool *torn)
{
	while (n) {
		ssize_t k = write(fd, p, n);

		if (k < 0 && errno == EAGAIN) {
			poll(&(struct pollfd){ .fd = fd, .events = POLLOUT }, 1, -1);
			continue;
		}
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return -errno;
		p += k;
		n -= (size_t)k;
		*torn = p[-1] != '\n';
	}
	return 0;
}

/* Ends a line of which only a part could be written, first */
static void write_side(struct record *r, struct side *s)
{
	int err = r->torn ? write_all(r->fd, "\n", 1, &r->torn) : 0;

	if (!err)
		err = write_all(r->fd, s->p, s->n, &r->torn);
	pthread_mutex_lock(&r->lock);
	if (err) {
		r->lost += s->lines;
		r->missing += s->lines;
		errno = -err;
		log_limited(&r->log_site, clock_mono(), LOG_LVL_ERROR, "record: %s: %m",
			    r->conf->path);
	} else {
		r->written += s->lines;
	}
	s->n = 0;
	s->lines = 0;
}

static void *writer(void *arg)
{
	struct record *r = arg;

	pthread_mutex_lock(&r->lock);
	for (;;) {
		struct side *s = r->fill;

		if (!s->n) {
			if (r->stop)
				break;
			pthread_cond_wait(&r->more, &r->lock);
			continue;
		}
		r->fill = r->drain;
		r->drain = s;
		pthread_mutex_unlock(&r->lock);
		write_side(r, s);		/* comes back with the lock */
	}
	pthread_mutex_unlock(&r->lock);
	return NULL;
}

void record_run(struct record *r)
{
	sigset_t all, before;
	int err;

	sigfillset(&all);	/* signals are the main thread's; a pipe's end is an error here */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&r->thread, NULL, writer, r);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err) {
		errno = err;
		die("record: no thread: %m");
	}
	r->running = true;
}

void record_close(struct record *r)
{
	struct timespec until;

	if (!r)
		return;
	pthread_mutex_lock(&r->lock);
	r->stop = true;
	pthread_cond_signal(&r->more);
	pthread_mutex_unlock(&r->lock);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += CLOSE_WAIT_S;
	if (r->running && pthread_timedjoin_np(r->thread, NULL, &until)) {
		log_error("record: %s: too slow: what was not written yet is lost", r->conf->path);
		return;		/* the thread has it still */
	}
	if (r->lost)
		log_warn("record: %s: %llu lines were lost", r->conf->path,
			 (unsigned long long)r->lost);
	if (r->fd != STDOUT_FILENO)
		close(r->fd);
	pthread_mutex_destroy(&r->lock);
	pthread_cond_destroy(&r->more);
	free(r->side[0].p);
	free(r->side[1].p);
	free(r);
}

/* ---- lines ---- */

static bool append(struct record *r, const char *line, size_t len)
{
	struct side *s = r->fill;

	if (r->size - s->n < len + 1)
		return false;
	memcpy(s->p + s->n, line, len);
	s->n += len;
	s->p[s->n++] = '\n';
	s->lines++;
	return true;
}

/* Say how many are missing, before the next one that has room */
static bool tell_missing(struct record *r)
{
	char line[64];
	int n = snprintf(line, sizeof(line), "{\"lost\":%llu}", (unsigned long long)r->missing);

	if (!append(r, line, (size_t)n))
		return false;
	r->missing = 0;
	r->fill->lines--;	/* it is about lines, and none itself */
	return true;
}

static void add(struct record *r, char *line)
{
	pthread_mutex_lock(&r->lock);
	if (!line || (r->missing && !tell_missing(r)) || !append(r, line, strlen(line))) {
		r->lost++;
		r->missing++;
		log_limited(&r->log_site, clock_mono(), LOG_LVL_WARN,
			    "record: %s: too slow: lines are lost", r->conf->path);
	}
	pthread_cond_signal(&r->more);
	pthread_mutex_unlock(&r->lock);
	free(line);
}

static void record_end(void *ctx, unsigned self, struct exchange *x)
{
	struct record *r = ctx;

	(void)self;
	add(r, record_line(r->conf, r->psl, x->conn, x));
}

static void record_conn(void *ctx, struct conn_facts *f)
{
	struct record *r = ctx;

	if (!f->exchanges)
		add(r, record_line(r->conf, r->psl, f, NULL));
}

void record_counts(struct record *r, struct record_counts *out)
{
	pthread_mutex_lock(&r->lock);
	out->written = r->written;
	out->lost = r->lost;
	pthread_mutex_unlock(&r->lock);
}

const struct hook_ops record_ops = {
	.name = "record",
	.exchange_end = record_end,
	.conn_close = record_conn,
};
