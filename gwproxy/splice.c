/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "clock.h"
#include "relay.h"
#include "splice.h"
#include "wire.h"

#define POOL_MAX	64u
#define PIPE_ROOM	262144u		/* as packets lie in it, each in pages of its own */
#define HELD_MAX	65536u		/* bytes in a pipe or buffer */
#define STEP_MAX	(4u * RELAY_HELD)	/* bytes, then others have their turn */

/* Pipes that wait for work */
static _Thread_local struct pool {
	int pipe[POOL_MAX][2];
	unsigned n;
} pool;

/*
 * A slow reader is to hold no more than 256 KB of its stream: what the kernel received (--receive-buffer
 * counts the packets around it, too), and LEG_UNSENT here and not yet sent (leg_takes()).
 */

/**
 * struct way - One direction
 * @pipe:	[0] -1: none
 * @buf, @off:	Instead of a pipe; NULL: none
 * @held:	Bytes in pipe or buffer
 * @full:	The pipe took no more, whatever its bytes: read again when it is empty
 * @end:	@from has ended; @shut: @to was told
 */
struct way {
	struct leg *from, *to;
	uint64_t *bytes;
	int pipe[2];
	uint8_t *buf;
	size_t off, held;
	bool full, end, shut;
};

struct tcp {
	struct relay r;
	const struct relay_times *times;
	struct way up, down;
	uint64_t moved_ns;
	bool splice;
};

static bool pipe_take(int p[2])
{
	if (pool.n) {
		pool.n--;
		p[0] = pool.pipe[pool.n][0];
		p[1] = pool.pipe[pool.n][1];
		return true;
	}
	if (pipe2(p, O_CLOEXEC | O_NONBLOCK)) {
		p[0] = -1;
		return false;
	}
	fcntl(p[1], F_SETPIPE_SZ, PIPE_ROOM);	/* smaller does as well */
	return true;
}

static void pipe_close(const int p[2])
{
	close(p[0]);
	close(p[1]);
}

/* An empty one goes back to the pool; bytes in it would reach somebody else. */
static void pipe_give(struct way *w)
{
	if (w->pipe[0] < 0)
		return;
	if (!w->held && pool.n < POOL_MAX) {
		pool.pipe[pool.n][0] = w->pipe[0];
		pool.pipe[pool.n++][1] = w->pipe[1];
	} else {
		pipe_close(w->pipe);
	}
	w->pipe[0] = -1;
}

void splice_pool_close(void)
{
	while (pool.n)
		pipe_close(pool.pipe[--pool.n]);
}

static ssize_t fill_pipe(struct way *w, size_t len)
{
	ssize_t n = splice(w->from->fd, NULL, w->pipe[1], NULL, len, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

	if (n >= 0)
		return n;
	if (errno != EAGAIN && errno != EINTR)
		return -errno;
	w->full = w->held != 0;
	if (!w->full)
		w->from->ready &= (short)~POLLIN;
	return -EAGAIN;
}

static ssize_t drain_pipe(struct way *w)
{
	ssize_t n = splice(w->pipe[0], NULL, w->to->fd, NULL, w->held,
			   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

	if (n >= 0) {
		leg_wrote(w->to, (size_t)n);
		return n;
	}
	if (errno != EAGAIN && errno != EINTR)
		return -errno;
	w->to->ready &= (short)~POLLOUT;
	return -EAGAIN;
}

static ssize_t fill_buffer(struct way *w, size_t len)
{
	size_t used = w->off + w->held;

	w->full = used == HELD_MAX;
	if (w->full)
		return -EAGAIN;
	return leg_read(w->from, w->buf + used, MIN(len, HELD_MAX - used));
}

static ssize_t drain_buffer(struct way *w)
{
	struct iovec iov = { w->buf + w->off, w->held };
	ssize_t n = leg_writev(w->to, &iov, 1);

	if (n > 0)
		w->off = (size_t)n == w->held ? 0 : w->off + (size_t)n;
	return n;
}

/* Something to move bytes in.  No pipe to be had: a buffer does as well. */
static bool way_open(const struct tcp *t, struct way *w)
{
	if (w->pipe[0] >= 0 || w->buf || (t->splice && pipe_take(w->pipe)))
		return true;
	w->buf = malloc(HELD_MAX);
	return w->buf != NULL;
}

static void way_close(struct way *w)
{
	pipe_give(w);
	free(w->buf);
	w->buf = NULL;
	w->off = 0;
	w->full = false;
}

/* Is there room for more, here and in @to? */
static bool open_to(const struct way *w)
{
	return !w->end && !w->full && w->held < HELD_MAX && w->to->ready & POLLOUT;
}

/* How much may be read, if there is something, or bytes that wait in the library */
static size_t readable(struct way *w)
{
	size_t room;

	if (!open_to(w) || !(w->from->ready & POLLIN || w->from->pending))
		return 0;
	room = leg_takes(w->to, w->from);
	return room > w->held ? MIN(room, HELD_MAX) - w->held : 0;
}

/* Return: bytes or 1 for the end, 0: nothing to be done now, -errno */
static ssize_t way_fill(const struct tcp *t, struct way *w)
{
	size_t len = readable(w);
	ssize_t n;

	if (!len)
		return 0;
	if (!way_open(t, w))
		return -ENOMEM;
	n = w->buf ? fill_buffer(w, len) : fill_pipe(w, len);
	if (n == -EAGAIN)
		return 0;
	if (n < 0)
		return n;
	w->end = !n;
	w->held += (size_t)n;
	return n ? n : 1;
}

static ssize_t way_drain(struct way *w)
{
	ssize_t n;

	if (!w->held || !(w->to->ready & POLLOUT))
		return 0;
	n = w->buf ? drain_buffer(w) : drain_pipe(w);
	if (n == -EAGAIN)
		return 0;
	if (n < 0)
		return n;
	w->held -= (size_t)n;
	*w->bytes += (size_t)n;
	w->full = false;
	return n;
}

static int way_shut(struct way *w)
{
	int err;

	if (!w->end || w->held || w->shut)
		return 0;
	err = leg_shut_as(w->to, w->from);
	if (err == -EAGAIN)
		return 0;
	w->shut = true;
	return err ? err : 1;
}

/* Whose fault an error was */
static enum relay_state failed(struct tcp *t, const struct leg *l, ssize_t err)
{
	bool client = l == t->r.client;

	if (err == -ENOMEM)
		t->r.why = "memory";
	else
		t->r.why = client ? "client-reset" : "server-reset";
	return RELAY_RESET;
}

/* Return: bytes moved; -1: over, *state says how */
static ssize_t way_move(struct tcp *t, struct way *w, enum relay_state *state)
{
	ssize_t in = way_fill(t, w), out;

	if (in < 0) {
		*state = failed(t, w->from, in);
		return -1;
	}
	out = way_drain(w);
	if (out >= 0 && !w->held) {
		int err = way_shut(w);

		out = err < 0 ? err : out + err;
		way_close(w);
	}
	if (out < 0) {
		*state = failed(t, w->to, out);
		return -1;
	}
	return in + out;
}

/* Something is to be told to @to, or nothing is read until it takes more */
static bool waits_for(const struct way *w)
{
	return w->held || (w->end ? !w->shut : !(w->to->ready & POLLOUT));
}

static void set_wants(struct tcp *t)
{
	bool in_up = open_to(&t->up), in_down = open_to(&t->down);
	bool out_up = waits_for(&t->up), out_down = waits_for(&t->down);

	t->r.want_client = (short)((in_up ? POLLIN : 0) | (out_down ? POLLOUT : 0));
	t->r.want_server = (short)((in_down ? POLLIN : 0) | (out_up ? POLLOUT : 0));
}

static enum relay_state tcp_step(struct relay *r, uint64_t now_ns)
{
	struct tcp *t = (struct tcp *)r;
	enum relay_state state;
	size_t sum = 0;
	ssize_t up, down;

	do {
		up = way_move(t, &t->up, &state);
		if (up < 0)
			return state;
		down = way_move(t, &t->down, &state);
		if (down < 0)
			return state;
		sum += (size_t)(up + down);
	} while (up + down && sum < STEP_MAX);
	if (t->up.shut && t->down.shut) {
		r->why = "done";
		return RELAY_DONE;
	}
	if (sum)
		t->moved_ns = now_ns;
	r->deadline_ns = t->moved_ns +
			 (t->up.end || t->down.end ? t->times->linger_ns : t->times->idle_ns);
	if (now_ns >= r->deadline_ns) {
		r->why = t->up.end || t->down.end ? "linger-timeout" : "idle-timeout";
		return RELAY_RESET;
	}
	set_wants(t);
	return RELAY_WAIT;
}

static void tcp_free(struct relay *r, const char *why)
{
	struct tcp *t = (struct tcp *)r;

	(void)why;
	way_close(&t->up);
	way_close(&t->down);
	free(t);
}

static const struct relay_ops tcp_ops = { "tcp", tcp_step, tcp_free };

struct relay *tcp_relay_new(struct leg *client, struct leg *server, struct conn_facts *c,
			    const struct hooks *h, const struct relay_times *times)
{
	struct tcp *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->r = (struct relay){ .ops = &tcp_ops, .client = client, .server = server, .conn = c,
			       .hooks = h };
	t->times = times;
	t->up = (struct way){ .from = client, .to = server, .bytes = &c->bytes_up,
			      .pipe = { -1, -1 } };
	t->down = (struct way){ .from = server, .to = client, .bytes = &c->bytes_down,
				.pipe = { -1, -1 } };
	t->splice = client->plain && server->plain;
	t->moved_ns = clock_mono();
	return &t->r;
}
