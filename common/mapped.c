/* SPDX-License-Identifier: MIT */
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mapped.h"

#define AHEAD	(64u << 20)	/* so far the reader finds pages entered */
#define CALL	(32u << 20)	/* so often the thread is told where it is */
#define BEHIND	(32u << 20)	/* so far what was read may yet be on its way out */
#define CHUNK	(1u << 20)	/* entered at once */
#define STEP	(256u << 20)	/* given back at once */

/* For the handler, on whichever thread looked: the mapping, and what became of it */
static struct {
	_Atomic uintptr_t from, to, page;
	atomic_bool shrunk;
} guarded;

static void on_sigbus(int sig, siginfo_t *si, void *context)
{
	uintptr_t at = (uintptr_t)si->si_addr & ~(guarded.page - 1), to = guarded.to;

	(void)context;
	if (at < guarded.from || at >= to ||
	    mmap((void *)at, to - at, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) == MAP_FAILED) {
		signal(sig, SIG_DFL);		/* not ours: it comes again, and ends us */
		return;
	}
	guarded.shrunk = true;
}

static bool guard(const struct mapped *m)
{
	struct sigaction sa = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };

	guarded.page = (uintptr_t)sysconf(_SC_PAGESIZE);
	guarded.from = (uintptr_t)m->base;
	guarded.to = (uintptr_t)m->base + m->size;
	guarded.shrunk = false;
	return !sigaction(SIGBUS, &sa, NULL);
}

/* Can anybody change it whom we have no reason to trust? */
static bool ours(const struct stat *st)
{
	return (!st->st_uid || st->st_uid == geteuid()) && !(st->st_mode & (S_IWGRP | S_IWOTH));
}

bool mapped_open(struct mapped *m, int fd, const struct stat *st)
{
	size_t size = (size_t)st->st_size;
	void *p;

	*m = (struct mapped){ .base = NULL };
	if (!size || (off_t)size != st->st_size || !ours(st) || guarded.from)
		return false;
	/* Writable: pcapng's oldest packet block is changed where it lies */
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd, 0);
	if (p == MAP_FAILED)
		return false;
	*m = (struct mapped){ .base = p, .size = size, .due_at = STEP,
			      .lock = PTHREAD_MUTEX_INITIALIZER,
			      .moved = PTHREAD_COND_INITIALIZER };
	madvise(p, size, MADV_SEQUENTIAL);
	if (guard(m))
		return true;
	mapped_close(m);
	return false;
}

/* Up to where pages are to be taken out */
static size_t leave_to(const struct mapped *m)
{
	return m->at > BEHIND ? (m->at - BEHIND) & ~(size_t)(CHUNK - 1) : 0;
}

/* One piece of what is to be done, with the lock given up meanwhile; false: there is nothing */
static bool work(struct mapped *m)
{
	size_t from = m->given, to = m->done, leave = leave_to(m), n;
	uint8_t *next;

	m->entered = MAX(m->entered, from);	/* the reader may have been faster */
	m->left = MAX(m->left, from);
	n = MIN((size_t)CHUNK, m->size - m->entered);
	next = m->base + m->entered;
	if (from < to) {
		m->given = to;
		pthread_mutex_unlock(&m->lock);
		munmap(m->base + from, to - from);
	} else if (n && m->entered < m->at + AHEAD) {
		m->entered += n;
		pthread_mutex_unlock(&m->lock);
		/* What this does not do, as on an old kernel, faults do */
		madvise(next, n, MADV_POPULATE_READ);
	} else if (m->left < leave) {
		next = m->base + m->left;
		n = leave - m->left;
		m->left = leave;
		pthread_mutex_unlock(&m->lock);
		madvise(next, n, MADV_DONTNEED);	/* faults bring it back */
	} else {
		return false;
	}
	pthread_mutex_lock(&m->lock);
	return true;
}

static void *worker(void *arg)
{
	struct mapped *m = arg;

	pthread_mutex_lock(&m->lock);
	while (!m->quit)
		if (!work(m))
			pthread_cond_wait(&m->moved, &m->lock);
	pthread_mutex_unlock(&m->lock);
	return NULL;
}

void mapped_call(struct mapped *m, size_t at)
{
	m->call_at = at + CALL;
	if (!m->started && m->size > CHUNK)
		m->started = !pthread_create(&m->thread, NULL, worker, m);
	pthread_mutex_lock(&m->lock);
	m->at = at;
	pthread_cond_signal(&m->moved);
	if (!m->started)	/* not worth one, or none to be had: faults do the rest */
		work(m);
	pthread_mutex_unlock(&m->lock);
}

size_t mapped_give_back(struct mapped *m, size_t at)
{
	size_t gone = at & ~(size_t)(STEP - 1);

	m->due_at = at + STEP;
	guarded.from = (uintptr_t)m->base + gone;	/* what is below may be another's next */
	pthread_mutex_lock(&m->lock);
	m->done = gone;
	pthread_cond_signal(&m->moved);
	if (!m->started)
		work(m);
	pthread_mutex_unlock(&m->lock);
	return gone;
}

bool mapped_shrunk(void)
{
	return atomic_load_explicit(&guarded.shrunk, memory_order_relaxed);
}

void mapped_close(struct mapped *m)
{
	if (!m->base)
		return;
	if (m->started) {
		pthread_mutex_lock(&m->lock);
		m->quit = true;
		pthread_cond_signal(&m->moved);
		pthread_mutex_unlock(&m->lock);
		pthread_join(m->thread, NULL);
	}
	signal(SIGBUS, SIG_DFL);
	guarded.from = guarded.to = 0;
	munmap(m->base + m->given, m->size - m->given);
	m->base = NULL;
}
