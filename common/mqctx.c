/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "log.h"
#include "mqctx.h"

#define FROM_HEAP	(4 << 20)	/* longer than any message of ours: none is mapped by itself */
#define KEPT_FREE	(16 << 20)	/* more than is under way at the default high-water mark */

static void *mq_ctx;		/* one context a process: each costs threads */
static unsigned mq_sockets;

/* malloc() would give each message back to the kernel once it is sent or read, to have the
 * same pages given, cleared and mapped again for the next */
static void keep_memory(void)
{
	mallopt(M_MMAP_THRESHOLD, FROM_HEAP);
	mallopt(M_TRIM_THRESHOLD, KEPT_FREE);
}

/* Threads start with the first socket and keep the capabilities they start with.
 * Who becomes another user sheds them in all threads; who stays sheds them here. */
void *mq_socket(int type, const struct stream_conf *conf)
{
	void *s;

	if (!mq_ctx) {
		keep_memory();
		mq_load();
		if (conf->priv.uid == (uid_t)-1)
			priv_drop(&conf->priv);
		mq_ctx = zmq.ctx_new();
		if (!mq_ctx)
			die("zeromq: %m");
	}
	s = zmq.socket(mq_ctx, type);
	if (!s)
		die("zeromq: %s", zmq.strerror(errno));
	mq_sockets++;
	return s;
}

/* The first signal gives the last messages until @drain_ms, the second none */
static volatile sig_atomic_t told;
static struct itimerval drain;
static char farewell[128];

static void leave(int sig)
{
	if (sig != SIGALRM && !told && timerisset(&drain.it_value)) {
		told = 1;
		setitimer(ITIMER_REAL, &drain, NULL);
		return;
	}
	if (write(STDERR_FILENO, farewell, strlen(farewell)) < 0)
		_exit(EXIT_RUNTIME);
	_exit(EXIT_RUNTIME);
}

/* The loop that reads signals is over: from now on they end us */
static void obey_signals(const struct stream_conf *conf)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGALRM };
	struct sigaction sa = { .sa_handler = leave };
	sigset_t set;

	told = conf->linger_ms >= 0;
	drain.it_value.tv_sec = conf->drain_ms / 1000;
	drain.it_value.tv_usec = conf->drain_ms % 1000 * 1000;
	snprintf(farewell, sizeof(farewell),
		 "%s%s%s: error: told to stop, the last messages were not taken\n", conf->prog,
		 *conf->as ? ":" : "", conf->as);
	sigemptyset(&set);
	for (unsigned i = 0; i < ARRAY_SIZE(signals); i++) {
		sigaddset(&set, signals[i]);
		sigaction(signals[i], &sa, NULL);
	}
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

void mq_close(void *sock, const struct stream_conf *conf)
{
	zmq.close(sock);
	if (--mq_sockets)
		return;
	obey_signals(conf);
	while (zmq.ctx_term(mq_ctx) && errno == EINTR)
		;		/* waits for the last messages, as long as they may linger */
	mq_ctx = NULL;
}
