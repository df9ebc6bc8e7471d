/* SPDX-License-Identifier: MIT */
/*
 * stageopen.c - A stage before its loop: run folder, streams, page of counters, privileges
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <sodium.h>

#include "clock.h"
#include "log.h"
#include "ready.h"
#include "stage_int.h"

void stage_settle(struct stage *st, const char *name)
{
	if (!st->stream.chain[0])
		memcpy(st->stream.chain, name, CAP_NAME_MAX);
	memcpy(st->stats.page->chain, st->stream.chain, CAP_NAME_MAX);
}

static void __attribute__((nonnull)) add_output(struct stage *st, struct tx *tx)
{
	tx->lender = st->rx;
	st->tx[st->ntx++] = tx;
}

static void open_streams(struct stage *st)
{
	st->stream.linger_ms = -1;
	st->stream.drain_ms = (int)st->conf.drain_ms;
	st->stream.prog = st->prog;
	st->stream.as = st->conf.as ? st->conf.as : "";
	st->stream.hwm = st->conf.hwm;
	st->stream.inputs = st->conf.inputs;
	st->stream.priv = st->priv;
	st->stream.run_dir = st->run_path;
	st->stream.edits = st->flags & STAGE_EDITS;
	if (!st->rx)
		st->rx = rx_open(st->conf.in ? st->conf.in : "-", &st->stream);
	st->stream.rx = st->rx;
	if (st->tx[0]) {
		st->ntx = 1;
		return;
	}
	while (st->ntx < st->conf.nout)
		add_output(st, tx_open(st->conf.out[st->ntx], &st->stream));
	if (!st->ntx)
		add_output(st, st->conf.print ? tx_discard() : tx_open("-", &st->stream));
}

/* Does this run need its run folder from the start? */
static bool wants_rundir(const struct stage *st)
{
	bool zmq = st->conf.in && stream_is_zmq(st->conf.in);

	for (unsigned i = 0; i < st->conf.nout; i++)
		zmq |= stream_is_zmq(st->conf.out[i]);
	return zmq || (st->rx && is_kind(st->rx->kind, "iface")) ||
	       (st->tx[0] && is_kind(st->tx[0]->kind, "iface"));
}

static void fill_page(struct stage *st)
{
	struct stats_page *p = st->stats.page;

	/* What it had in hand is booked here: sent or not, nobody knows; else lost */
	p->counter[STATS_IN_PACKETS] += st->inherited;
	if (!(st->flags & STAGE_SINK)) {
		p->counter[STATS_DROPPED] += st->inherited;
		p->drop[REASON_RESTART] += st->inherited;
	}
	p->nonce = st->stream.nonce;
	p->uid = geteuid();
	p->unix_start_ns = clock_real();
	p->role = (st->flags & STAGE_SOURCE ? (unsigned)STATS_SOURCE : 0) |
		  (st->flags & STAGE_SINK ? (unsigned)STATS_SINK : 0);
	snprintf(p->in, sizeof(p->in), "%s", st->rx->spec);
	snprintf(p->out, sizeof(p->out), "%s", st->tx[0]->spec);
	snprintf(p->chain, sizeof(p->chain), "%s", st->stream.chain);
	stats_beat(&st->stats, clock_mono());
}

/* The page of a predecessor that died or left says how far it had come */
static void resume(struct stage *st, const struct stats_page *old)
{
	uint32_t n = MIN(old->nupstream, (uint32_t)STATS_UPSTREAM_MAX);

	if (old->magic != STATS_MAGIC)
		return;
	if (old->pid)
		log_notice("taking over from pid %d, which died", old->pid);
	for (uint32_t i = 0; i < n; i++)
		rx_resume(st->rx, old->upstream[i], old->upstream_packets[i]);
	st->inherited = old->hand;
	if (st->ntx > 1 || !old->pid)	/* who left sees its last messages off itself */
		return;
	st->stream.old_nonce = old->nonce;
	st->stream.old_packets = old->counter[STATS_OUT_PACKETS];
}

static void __attribute__((noreturn)) die_second(const struct stage *st)
{
	die_conf("chain '%s' has a live %s%s%s already: another name (--as) or chain (--chain) is needed",
		 st->stream.chain, st->prog, st->conf.as ? ":" : "", st->conf.as ? st->conf.as : "");
}

/* Before streams are opened: a second stage of our name must not touch what that one uses */
static void look_for_first(const struct stage *st)
{
	struct stats_view first;
	char file[2 * STATS_NAME_MAX];
	bool alive;

	snprintf(file, sizeof(file), "%s%s%s", st->prog, st->conf.as ? ":" : "",
		 st->conf.as ? st->conf.as : "");
	if (st->run_fd < 0 || stats_attach(&first, st->run_fd, file))
		return;
	alive = first.alive;
	stats_detach(&first);
	if (alive)
		die_second(st);
}

static void open_page(struct stage *st)
{
	struct stats_page *old = calloc(1, sizeof(*old));
	int err;

	if (!old)
		die("no memory");
	err = stats_open(&st->stats, st->run_fd, st->prog, st->stream.as, old);
	if (err == -EBUSY)
		die_second(st);
	if (err)
		die("%s: counters: %s", st->run_path, strerror(-err));
	if (st->stats.fd >= 0 && st->priv.uid != (uid_t)-1 &&
	    fchown(st->stats.fd, st->priv.uid, st->priv.gid))
		log_info("%s: %m", st->run_path);
	resume(st, old);
	free(old);
	fill_page(st);
}

void stage_open(struct stage *st)
{
	sigset_t set;
	int err;

	if (sodium_init() < 0)
		die("libsodium cannot start");
	randombytes_buf(&st->stream.nonce, sizeof(st->stream.nonce));
	signal(SIGPIPE, SIG_IGN);
	st->priv = priv_lookup(st->conf.user);
	st->run_system = rundir_system();
	err = rundir_path(st->run_system, st->conf.chain, st->run_path, sizeof(st->run_path));
	if (err)
		die_conf("run folder: %s", strerror(-err));
	if (wants_rundir(st)) {
		st->live = true;
		st->run_fd = rundir_open(st->run_path, &st->priv);
		if (st->run_fd < 0)
			die("%s: %s", st->run_path, strerror(-st->run_fd));
	}
	if (st->conf.chain_given || st->live || st->flags & STAGE_SOURCE)
		memcpy(st->stream.chain, st->conf.chain, CAP_NAME_MAX);
	look_for_first(st);
	open_streams(st);
	st->stream.live = is_kind(st->rx->kind, "iface");
	st->stream.settled = st->flags & STAGE_SOURCE;
	open_page(st);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	st->sig_fd = sigprocmask(SIG_BLOCK, &set, NULL) ? -1 :
		     signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (st->sig_fd < 0)
		die("signals: %m");
}

void stage_confine(struct stage *st)
{
	priv_drop(&st->priv);
	if (st->live && access(st->run_path, X_OK))
		log_warn("%s: of no use to us as uid %u, neighbours there cannot be reached",
			 st->run_path, geteuid());
	st->stats.page->uid = geteuid();
	if (st->conf.print)
		st->print_to = is_kind(st->tx[0]->kind, "none") ? stdout : stderr;
	ready_notify(st->conf.ready_fd);
}

void stage_go_live(struct stage *st)
{
	struct stats was = st->stats;

	st->live = st->stream.live = true;
	if (!rundir_path(st->run_system, st->stream.chain, st->run_path, sizeof(st->run_path)))
		st->run_fd = rundir_open(st->run_path, &st->priv);
	if (st->run_fd < 0) {
		log_notice("%s: %s: this stage is not seen by gwhealth", st->run_path,
			   strerror(-st->run_fd));
	} else if (stats_open(&st->stats, st->run_fd, st->prog, st->stream.as, NULL)) {
		log_warn("%s: no page of counters there: is another %s live? (--as)",
			 st->run_path, st->prog);
		st->stats = was;
	} else {
		stats_move(&st->stats, &was);
		fill_page(st);
	}
}
