/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "loop.h"
#include "wire.h"

#define EVENTS		256
#define MAIL_PIPE	(1 << 20)

struct loop {
	int epoll;
	int mail[2];
	struct watch on_mail;
	void (*take)(void *ctx, const void *msg, size_t len);
	void *ctx;
	uint64_t now_ns;
	bool stop;
	struct timer **heap;		/* from 1 on */
	unsigned nheap, room;
	struct task *tasks, **last;
};

/* Mail is written in one piece of up to PIPE_BUF: length, then bytes. */
struct letter {
	uint16_t len;
	_Alignas(max_align_t) uint8_t msg[LOOP_MAIL_MAX];
};

static void read_mail(struct watch *w, uint32_t events)
{
	struct loop *l = (struct loop *)((char *)w - offsetof(struct loop, on_mail));
	struct letter m;

	(void)events;
	while (read(l->mail[0], &m, sizeof(m)) == (ssize_t)sizeof(m))
		if (m.len <= sizeof(m.msg))
			l->take(l->ctx, m.msg, m.len);
}

int loop_post(struct loop *l, const void *msg, size_t len)
{
	struct letter m = { .len = (uint16_t)len };

	if (len > sizeof(m.msg))
		return -EMSGSIZE;
	memcpy(m.msg, msg, len);
	return write(l->mail[1], &m, sizeof(m)) == (ssize_t)sizeof(m) ? 0 : -errno;
}

struct loop *loop_new(void (*mail)(void *ctx, const void *msg, size_t len), void *ctx)
{
	struct loop *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->mail[0] = l->mail[1] = -1;
	l->take = mail;
	l->ctx = ctx;
	l->last = &l->tasks;
	l->on_mail.ready = read_mail;
	l->now_ns = clock_mono();
	l->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll < 0 || pipe2(l->mail, O_CLOEXEC | O_NONBLOCK) ||
	    loop_watch(l, l->mail[0], EPOLLIN, &l->on_mail)) {
		loop_free(l);
		return NULL;
	}
	fcntl(l->mail[1], F_SETPIPE_SZ, MAIL_PIPE);	/* smaller does as well */
	return l;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	if (l->epoll >= 0)
		close(l->epoll);
	for (int i = 0; i < 2; i++)
		if (l->mail[i] >= 0)
			close(l->mail[i]);
	free(l->heap);
	free(l);
}

uint64_t loop_now(const struct loop *l)
{
	return l->now_ns;
}

void loop_stop(struct loop *l)
{
	l->stop = true;
}

int loop_watch(struct loop *l, int fd, uint32_t events, struct watch *w)
{
	struct epoll_event e = { .events = events, .data.ptr = w };

	return epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &e) ? -errno : 0;
}

void loop_unwatch(struct loop *l, int fd)
{
	epoll_ctl(l->epoll, EPOLL_CTL_DEL, fd, NULL);
}

int loop_reserve(struct loop *l, unsigned timers)
{
	struct timer **more;
	unsigned room = l->room ? l->room : 64;

	if (timers + 1 <= l->room)
		return 0;
	while (room < timers + 1)
		room *= 2;
	more = realloc(l->heap, room * sizeof(struct timer *));
	if (!more)
		return -ENOMEM;
	l->heap = more;
	l->room = room;
	return 0;
}

static void put(struct loop *l, unsigned pos, struct timer *t)
{
	l->heap[pos] = t;
	t->pos = pos;
}

static void sift_up(struct loop *l, struct timer *t, unsigned pos)
{
	for (; pos > 1 && l->heap[pos / 2]->heap_ns > t->heap_ns; pos /= 2)
		put(l, pos, l->heap[pos / 2]);
	put(l, pos, t);
}

static void sift_down(struct loop *l, struct timer *t, unsigned pos)
{
	unsigned child;

	for (; (child = 2 * pos) <= l->nheap; pos = child) {
		if (child < l->nheap && l->heap[child + 1]->heap_ns < l->heap[child]->heap_ns)
			child++;
		if (l->heap[child]->heap_ns >= t->heap_ns)
			break;
		put(l, pos, l->heap[child]);
	}
	put(l, pos, t);
}

int loop_timer(struct loop *l, struct timer *t, uint64_t due_ns)
{
	t->due_ns = due_ns;
	if (!due_ns || (t->pos && due_ns >= t->heap_ns))
		return 0;
	if (t->pos) {
		t->heap_ns = due_ns;
		sift_up(l, t, t->pos);
		return 0;
	}
	if (loop_reserve(l, l->nheap + 1))
		return -ENOMEM;
	t->heap_ns = due_ns;
	sift_up(l, t, ++l->nheap);
	return 0;
}

void loop_timer_off(struct loop *l, struct timer *t)
{
	struct timer *last;
	unsigned pos = t->pos;

	t->due_ns = 0;
	t->pos = 0;
	if (!pos)
		return;
	last = l->heap[l->nheap--];
	if (last == t)
		return;
	if (pos > 1 && l->heap[pos / 2]->heap_ns > last->heap_ns)
		sift_up(l, last, pos);
	else
		sift_down(l, last, pos);
}

/* One that was set later meanwhile goes down to where it belongs. */
static void fire_timers(struct loop *l)
{
	while (l->nheap && l->heap[1]->heap_ns <= l->now_ns) {
		struct timer *t = l->heap[1];

		if (t->due_ns > l->now_ns) {
			t->heap_ns = t->due_ns;
			sift_down(l, t, 1);
			continue;
		}
		if (!t->due_ns) {
			loop_timer_off(l, t);
			continue;
		}
		loop_timer_off(l, t);
		t->fire(t);
	}
}

void loop_task(struct loop *l, struct task *t)
{
	if (t->queued)
		return;
	t->queued = true;
	t->next = NULL;
	*l->last = t;
	l->last = &t->next;
}

/* Those queued meanwhile wait for the next turn. */
static void run_tasks(struct loop *l)
{
	struct task *t = l->tasks, *next;

	l->tasks = NULL;
	l->last = &l->tasks;
	for (; t; t = next) {
		next = t->next;
		t->queued = false;
		t->run(t);
	}
}

void loop_drain(struct loop *l)
{
	while (l->tasks)
		run_tasks(l);
}

static int sleep_ms(const struct loop *l)
{
	uint64_t due;

	if (l->tasks)
		return 0;
	if (!l->nheap)
		return -1;
	due = l->heap[1]->heap_ns;
	if (due <= l->now_ns)
		return 0;
	return (int)MIN((due - l->now_ns + 999999u) / 1000000u, 3600000u);
}

void loop_run(struct loop *l)
{
	struct epoll_event e[EVENTS];

	while (!l->stop) {
		int n = epoll_wait(l->epoll, e, EVENTS, sleep_ms(l));

		if (n < 0 && errno != EINTR)
			die("epoll: %m");
		l->now_ns = clock_mono();
		for (int i = 0; i < n; i++) {
			struct watch *w = e[i].data.ptr;

			w->ready(w, e[i].events);
		}
		fire_timers(l);
		run_tasks(l);
	}
}
