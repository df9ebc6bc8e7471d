/* SPDX-License-Identifier: MIT */
/*
 * gwproxy - Transparent proxy: TLS interception, HTTP/1.1, HTTP/2, WebSocket
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/un.h>
#include <unistd.h>

#include <sodium.h>

#include "alone.h"
#include "attach.h"
#include "conn.h"
#include "conf.h"
#include "log.h"
#include "misdirect.h"
#include "page.h"
#include "policy.h"
#include "ready.h"
#include "tls.h"

#define DRAIN_LOOK_NS	50000000u

/**
 * struct gwproxy - The process
 * @drain_until_ns:	0: not draining
 */
struct gwproxy {
	struct conf conf;
	struct proxy proxy;
	struct front front;
	struct attach attach;
	struct alone alone;
	struct policy *policy;
	struct hrules *web;
	struct record *record;		/* NULL: none */
	struct hooks hooks;
	struct ca *ca;
	struct keylog *keylog;
	struct page page;
	int signals;
	struct watch on_signal;
	struct timer drain;
	uint64_t drain_until_ns;
};

static struct loop *loop_of(struct gwproxy *g)
{
	return g->proxy.worker[0]->loop;
}

static unsigned open_of(const struct proxy *p)
{
	unsigned n = 0;

	for (unsigned i = 0; i < p->nworkers; i++)
		n += atomic_load_explicit(&p->worker[i]->open, memory_order_relaxed);
	return n;
}

static void print_counts(const struct proxy *p)
{
	static const char *const name[] = {
#define X(sym, text) [COUNT_##sym] = text,
		COUNT_LIST(X)
#undef X
	};

	fprintf(stderr, "gwproxy: %u open", open_of(p));
	for (unsigned c = 0; c < COUNT_NUM; c++) {
		unsigned long long n = 0;

		for (unsigned i = 0; i < p->nworkers; i++)
			n += atomic_load_explicit(&p->worker[i]->count[c], memory_order_relaxed);
		if (n || c == COUNT_OPENED)
			fprintf(stderr, ", %llu %s", n, name[c]);
	}
	fputc('\n', stderr);
}

/* What rules and the record could not do */
static void print_failures(struct gwproxy *g)
{
	struct hrules_counts n;

	hrules_counts(g->web, &n);
	if (n.errors || n.too_long || n.encoded || n.partial)
		fprintf(stderr, "gwproxy: rules: %llu errors, %llu matches too long, left alone: %llu "
			"encoded bodies, %llu partial ones\n", (unsigned long long)n.errors,
			(unsigned long long)n.too_long, (unsigned long long)n.encoded,
			(unsigned long long)n.partial);
}

static void reload(struct gwproxy *g)
{
	struct mail m = { .kind = MAIL_POLICY, .fd = -1, .upstream = -1 };

	m.policy = policy_load(g->conf.tls_rules, stderr);
	if (m.policy && !g->proxy.tls && g->conf.tls_rules && policy_has_intercept(m.policy)) {
		log_error("%s: to intercept takes --ca-cert and --ca-key", g->conf.tls_rules);
		policy_put(m.policy);
		m.policy = NULL;
	}
	if (!m.policy || !hrules_reload(g->web)) {
		log_error("TLS and web rules are not reloaded: the old ones stay");
		policy_put(m.policy);
		return;
	}
	worker_send_all(&g->proxy, &m);
	if (g->conf.tls_rules)
		log_notice("TLS rules: reloaded");
}

static void leave(struct gwproxy *g)
{
	struct mail m = { .kind = MAIL_RESET, .fd = -1, .upstream = -1 };

	if (open_of(&g->proxy)) {
		log_notice("%u connections are reset", open_of(&g->proxy));
		worker_send_all(&g->proxy, &m);
	}
	m.kind = MAIL_STOP;
	worker_send_all(&g->proxy, &m);
}

static void drain_look(struct timer *t)
{
	struct gwproxy *g = (struct gwproxy *)(void *)((char *)t - offsetof(struct gwproxy, drain));
	uint64_t now = loop_now(loop_of(g));

	if (!open_of(&g->proxy) || now >= g->drain_until_ns)
		leave(g);
	else
		loop_timer(loop_of(g), &g->drain, now + DRAIN_LOOK_NS);
}

static void stop(struct gwproxy *g)
{
	if (g->drain_until_ns) {
		leave(g);
		return;
	}
	g->drain_until_ns = loop_now(loop_of(g)) + g->conf.drain_ms * 1000000u + 1;
	if (g->proxy.listens)
		front_close(&g->front);
	else
		attach_leave(&g->attach);
	page_close(&g->page);
	if (open_of(&g->proxy))
		log_notice("draining: %u connections may go on for %llu s", open_of(&g->proxy),
			   (unsigned long long)(g->conf.drain_ms / 1000));
	drain_look(&g->drain);
}

static void signal_ready(struct watch *w, uint32_t events)
{
	struct gwproxy *g =
		(struct gwproxy *)(void *)((char *)w - offsetof(struct gwproxy, on_signal));
	struct signalfd_siginfo si;

	(void)events;
	while (read(g->signals, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		if (si.ssi_signo == SIGHUP)
			reload(g);
		else if (si.ssi_signo == SIGUSR1)
			print_counts(&g->proxy);
		else
			stop(g);
	}
}

/* Blocked before any thread begins: all of them stay so */
static int signals_open(void)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		die("signalfd: %m");
	return fd;
}

/* Files, keys and sockets, as whoever started us; then nothing is left of that */
static void set_up(struct gwproxy *g)
{
	const struct conf *c = &g->conf;
	struct priv priv = priv_lookup(c->user);
	struct tls_options tls = { .upstream_ca = c->upstream_ca, .insecure = c->insecure,
				   .learn = c->pass_on_failure };

	g->alone.fd = -1;
	if (c->ca_cert)
		sign_secrecy();
	for (unsigned i = 0; i < c->nlisten; i++)
		alone_listen(&g->alone, c->listen[i]);
	if (c->nlisten && g->proxy.transparent)
		alone_broker(&g->alone, &priv);
	if (c->keylog || c->keylog_pub)
		tls.keylog = g->keylog =
			keylog_open(c->keylog, c->keylog_pub ? c->run_dir : NULL, &priv);
	if (c->ca_cert) {
		tls.ca = g->ca = ca_open(c->ca_cert, c->ca_key);
		g->proxy.tls = tls_conf_new(&tls);
	}
	if (!g->proxy.listens)
		page_open(&g->page, c, &g->proxy, &priv);
	priv_no_new();
	priv_drop(&priv);
	if (c->ca_cert)
		sign_secrecy();
#ifdef __SANITIZE_ADDRESS__
	prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);	/* LeakSanitizer traces its own process */
#else
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
	if (tls.keylog)
		keylog_start(tls.keylog);
}

static void start_workers(struct gwproxy *g)
{
	struct proxy *p = &g->proxy;

	for (unsigned i = 0; i < p->nworkers; i++) {
		struct worker *w = worker_new(p, i);

		if (!w)
			die("out of memory or descriptors");
		w->hooks = &g->hooks;
		policy_get(g->policy);
		w->policy = g->policy;
		w->tls = p->tls ? tls_open(p->tls) : NULL;
		p->worker[i] = w;
	}
	policy_put(g->policy);
	for (unsigned i = 1; i < p->nworkers; i++)
		worker_start(p->worker[i]);
}

static void tear_down(struct gwproxy *g)
{
	struct proxy *p = &g->proxy;

	front_forget(&g->front);
	loop_drain(loop_of(g));
	attach_stop(&g->attach);
	alone_stop(&g->alone);
	page_close(&g->page);
	for (unsigned i = 0; i < p->nworkers; i++)
		worker_free(p->worker[i]);
	tls_conf_free(p->tls);
	ca_close(g->ca);
	keylog_close(g->keylog);
	hrules_close(g->web);
	record_close(g->record);
}

static void open_record(struct gwproxy *g)
{
	g->record = record_open(&g->conf.record);
	if (hooks_add(&g->hooks, &record_ops, g->record) < 0)
		die("too many hooks");
}

int main(int argc, char **argv)
{
	static struct gwproxy g;

	conf_parse(&g.conf, &g.proxy, argc, argv);
	if (sodium_init() < 0)
		die("libsodium");
	tuple_hash_init();
	g.policy = conf_policy(&g.conf);
	g.web = hrules_start(&g.conf.web);	/* with -n it ends here */
	if (hooks_add(&g.hooks, &misdirect_ops, NULL) < 0 || hooks_add(&g.hooks, &hrules_ops, g.web) < 0)
		die("too many hooks");
	if (g.conf.record.path)
		open_record(&g);
	conf_limits(&g.conf, &g.proxy);
	g.signals = signals_open();
	set_up(&g);
	if (g.record)
		record_run(g.record);	/* holds no privilege: it begins now */
	start_workers(&g);
	g.front.proxy = &g.proxy;
	g.front.broker = -1;
	g.front.spare = dup(g.signals);
	g.on_signal.ready = signal_ready;
	g.drain.fire = drain_look;
	if (loop_watch(loop_of(&g), g.signals, EPOLLIN, &g.on_signal))
		die("epoll: %m");
	g.attach.fd = g.attach.link = -1;
	if (g.proxy.listens)
		alone_start(&g.alone, &g.front);
	else
		attach_start(&g.attach, &g.front, g.conf.tun);
	page_start(&g.page);
	ready_notify(g.conf.ready_fd);
	worker_run(g.proxy.worker[0]);
	for (unsigned i = 1; i < g.proxy.nworkers; i++)
		worker_join(g.proxy.worker[i]);
	if (!g.conf.quiet) {
		print_counts(&g.proxy);
		print_failures(&g);
	}
	tear_down(&g);
	return g.drain_until_ns ? EXIT_SUCCESS : EXIT_RUNTIME;
}
