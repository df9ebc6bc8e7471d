/* SPDX-License-Identifier: MIT */
/*
 * gwhealth - Answer the load balancer's health checks from what the chain does
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "clock.h"
#include "judge.h"
#include "listen.h"
#include "log.h"
#include "metrics.h"
#include "opt.h"
#include "priv.h"
#include "ready.h"
#include "survey.h"
#include "web.h"

#define LISTEN_MAX	16
#define CONNECTIONS	1024u	/* of all sockets together at least 64 each */
#define FRESH_NS	100000000u	/* a verdict so young serves one more check */
#define PEM_MAX		(1u << 20)

struct health {
	const char *health[LISTEN_MAX], *admin[LISTEN_MAX];
	unsigned nhealth, nadmin;
	const char *chain, *user, *cert_path, *key_path;
	int ready_fd;
	uint64_t drain_ms;
	uint64_t drain_until_ns;	/* 0: not draining */
	struct expect expect;
	struct survey survey;
	struct verdict verdict;
	uint64_t judged_ns;		/* when @verdict was passed */
	char dir[256];
	char *cert, *key;
	struct web_conf web_health, web_admin;
	struct web *web[2 * LISTEN_MAX];
	struct pollfd fds[2 * LISTEN_MAX + 1];
	unsigned nweb;
};

enum { OPT_ADMIN = OPT_LONG, OPT_CERT, OPT_KEY, OPT_CHAIN, OPT_EXPECT, OPT_DRAIN, OPT_USER,
       OPT_READY, OPT_LEVEL };

static const struct opt options[] = {
	{ "listen", 'l', "[ADDR]:PORT", "answer health checks here; repeatable" },
	{ "admin", OPT_ADMIN, "ADDR:PORT|PATH", "serve /metrics and /status.json; repeatable" },
	{ "tls-cert", OPT_CERT, "FILE", "health checks over HTTPS: certificate chain (PEM)" },
	{ "tls-key", OPT_KEY, "FILE", "and its private key (PEM)" },
	{ "chain", OPT_CHAIN, "NAME", "the chain to watch ($GW_CHAIN, else default)" },
	{ "expect", OPT_EXPECT, "STAGE[:NAME],...", "stages that must be on the way" },
	{ "drain", OPT_DRAIN, "TIME", "after SIGTERM answer 503 for so long (350s)" },
	{ "user", OPT_USER, "NAME", "whom to become when started as root" },
	{ "ready-fd", OPT_READY, "N", "write a newline there when checks are answered" },
	{ "log-level", OPT_LEVEL, "LEVEL", "error, warning, notice, info or debug (notice)" },
	{ NULL, 0, NULL, NULL }
};

static void add_listen(const char *opt, const char **list, unsigned *n, const char *arg)
{
	if (*n == LISTEN_MAX)
		die_usage("--%s: more than %d", opt, LISTEN_MAX);
	list[(*n)++] = arg;
}

static void add_expect(struct expect *e, const char *arg)
{
	while (*arg) {
		size_t len = strcspn(arg, ",");

		if (!len || len >= sizeof(e->name[0]))
			die_usage("--expect: '%s' is not a list of STAGE or STAGE:NAME", arg);
		if (e->n == JUDGE_EXPECT_MAX)
			die_usage("--expect: more than %d stages", JUDGE_EXPECT_MAX);
		memcpy(e->name[e->n], arg, len);
		e->name[e->n++][len] = '\0';
		arg += len + (arg[len] == ',');
	}
}

static void set(void *ctx, int ch, const char *arg)
{
	struct health *h = ctx;

	switch (ch) {
	case 'l': add_listen("listen", h->health, &h->nhealth, arg); break;
	case OPT_ADMIN: add_listen("admin", h->admin, &h->nadmin, arg); break;
	case OPT_CERT: h->cert_path = arg; break;
	case OPT_KEY: h->key_path = arg; break;
	case OPT_CHAIN: h->chain = arg; break;
	case OPT_EXPECT: add_expect(&h->expect, arg); break;
	case OPT_DRAIN: h->drain_ms = opt_ms("drain", arg, 0, OPT_MS_MAX); break;
	case OPT_USER: h->user = arg; break;
	case OPT_READY: h->ready_fd = (int)opt_u64("ready-fd", arg, 0, 65535); break;
	case OPT_LEVEL: opt_log_level(arg); break;
	}
}

static void parse(struct health *h, int argc, char **argv)
{
	const struct opt_group groups[] = { { NULL, options, set, h }, { NULL, NULL, NULL, NULL } };
	int i = opt_parse("gwhealth", "-l [ADDR]:PORT [options]",
			  "Answer a load balancer's health checks from what a chain really does.",
			  groups, argc, argv);

	if (i < argc)
		die_usage("'%s': no operands are taken", argv[i]);
	if (!h->nhealth && !h->nadmin)
		die_usage("nothing to listen on: give -l :8080 or --admin 127.0.0.1:9681");
	if (!h->cert_path != !h->key_path)
		die_usage("--tls-cert and --tls-key go together");
	if (!h->chain)
		h->chain = getenv("GW_CHAIN");
	if (!h->chain || !*h->chain)
		h->chain = "default";
	if (!chain_name_ok(h->chain))
		die_usage("--chain: '%s' is no name for a chain", h->chain);
	if (rundir_path(rundir_system(), h->chain, h->dir, sizeof(h->dir)))
		die_usage("--chain: the path of its run folder is too long");
	h->survey.dir = h->dir;
}

/* Read as long as we may: a private key is root's. */
static char *read_pem(const char *opt, const char *path)
{
	char *text = malloc(PEM_MAX + 1);
	FILE *f = fopen(path, "re");
	size_t n;

	if (!f || !text)
		die_conf("--%s %s: %m", opt, path);
	n = fread(text, 1, PEM_MAX + 1, f);
	if (ferror(f) || n > PEM_MAX)
		die_conf("--%s %s: %s", opt, path, ferror(f) ? strerror(errno) : "too large");
	text[n] = '\0';
	fclose(f);
	return text;
}

static void look(struct health *h, bool rules)
{
	if (!rules && clock_mono() - h->judged_ns < FRESH_NS)
		return;
	survey_take(&h->survey, rules);
	h->judged_ns = h->survey.now_ns;
	judge(&h->survey, &h->expect, h->chain, &h->verdict);
	if (!h->drain_until_ns)
		return;
	h->verdict.healthy = false;
	snprintf(h->verdict.text, sizeof(h->verdict.text), "draining: leaves in %llu s",
		 (unsigned long long)(h->drain_until_ns > h->survey.now_ns ?
			(h->drain_until_ns - h->survey.now_ns) / 1000000000u : 0));
}

static void reply_text(struct web_reply *r, unsigned status, const char *text)
{
	int n = asprintf(&r->body, "%s\n", text);

	r->status = status;
	r->type = "text/plain; charset=utf-8";
	r->len = n < 0 ? 0 : (size_t)n;
	if (n < 0)
		r->body = NULL;
}

static void answer_health(void *ctx, const char *path, struct web_reply *r)
{
	struct health *h = ctx;

	if (strcmp(path, "/") && strcmp(path, "/healthz")) {
		reply_text(r, 404, "not found");
		return;
	}
	look(h, false);
	reply_text(r, h->verdict.healthy ? 200 : 503, h->verdict.text);
}

static void answer_admin(void *ctx, const char *path, struct web_reply *r)
{
	struct health *h = ctx;
	FILE *f;

	if (!strcmp(path, "/metrics")) {
		look(h, true);
		r->status = 200;
		r->type = "text/plain; version=0.0.4; charset=utf-8";
		if (!(f = open_memstream(&r->body, &r->len)))
			return;
		metrics_prometheus(f, &h->survey, h->chain, &h->verdict);
		if (fclose(f)) {
			free(r->body);
			r->body = NULL;
		}
	} else if (!strcmp(path, "/status.json")) {
		look(h, true);
		r->status = 200;
		r->type = "application/json";
		r->body = metrics_json(&h->survey, h->chain, &h->verdict);
		r->len = r->body ? strlen(r->body) : 0;
	} else {
		answer_health(ctx, path, r);
	}
}

/* Descriptors for all connections; the limit is the user's to lower. */
static unsigned connections(unsigned sockets)
{
	struct rlimit l;
	unsigned n = CONNECTIONS;
	rlim_t need = (rlim_t)sockets * (CONNECTIONS + 8) + 64;

	if (getrlimit(RLIMIT_NOFILE, &l))
		die("RLIMIT_NOFILE: %m");
	if (l.rlim_cur < need) {
		l.rlim_cur = l.rlim_max < need ? l.rlim_max : need;
		setrlimit(RLIMIT_NOFILE, &l);
		if (l.rlim_cur < need)
			n = l.rlim_cur > 80 * sockets + 64 ?
			    (unsigned)((l.rlim_cur - 64) / sockets - 8) : 72;
	}
	return n;
}

static int stop_fd_open(void)
{
	sigset_t set_;
	int fd;

	sigemptyset(&set_);
	sigaddset(&set_, SIGTERM);
	sigaddset(&set_, SIGINT);
	sigprocmask(SIG_BLOCK, &set_, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	fd = signalfd(-1, &set_, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		die("signalfd: %m");
	return fd;
}

static void serve(struct health *h, int fd, const struct web_conf *conf)
{
	struct web *w = web_open(fd, conf);

	if (!w && conf->cert)
		die_conf("--tls-cert %s and --tls-key %s are not a certificate and its key",
			 h->cert_path, h->key_path);
	if (!w)
		die("cannot serve HTTP");
	h->fds[h->nweb] = (struct pollfd){ .fd = web_fd(w), .events = POLLIN };
	h->web[h->nweb++] = w;
}

/* Sockets and keys first, as whoever started us; then everything is given up. */
static void set_up(struct health *h)
{
	struct priv priv = priv_lookup(h->user);
	int health[LISTEN_MAX] = { 0 }, admin[LISTEN_MAX] = { 0 };
	unsigned n = connections(h->nhealth + h->nadmin);

	if (h->cert_path) {
		h->cert = read_pem("tls-cert", h->cert_path);
		h->key = read_pem("tls-key", h->key_path);
	}
	for (unsigned i = 0; i < h->nhealth; i++)
		health[i] = listen_open("listen", h->health[i]);
	for (unsigned i = 0; i < h->nadmin; i++)
		admin[i] = listen_open("admin", h->admin[i]);
	priv_no_new();
	priv_drop(&priv);
	h->web_health = (struct web_conf){ answer_health, h, h->cert, h->key, n };
	h->web_admin = (struct web_conf){ answer_admin, h, NULL, NULL, n };
	for (unsigned i = 0; i < h->nhealth; i++)
		serve(h, health[i], &h->web_health);
	for (unsigned i = 0; i < h->nadmin; i++)
		serve(h, admin[i], &h->web_admin);
}

/* Return: go on? */
static bool take_signal(struct health *h, int fd)
{
	struct signalfd_siginfo si;

	if (read(fd, &si, sizeof(si)) != sizeof(si))
		return true;
	if (h->drain_until_ns || !h->drain_ms)
		return false;
	h->drain_until_ns = clock_mono() + h->drain_ms * 1000000u;
	h->judged_ns = 0;
	log_notice("draining: health checks get 503 for %llu s; a second signal leaves at once",
		   (unsigned long long)(h->drain_ms / 1000));
	return true;
}

/* Until the next survey, or what a server wants earlier */
static int sleep_ms(const struct health *h)
{
	uint64_t now = clock_mono(), next = h->survey.stored_ns + SURVEY_PERIOD_MS * 1000000ull;
	int ms = next > now ? (int)((next - now + 999999u) / 1000000u) : 0;

	for (unsigned i = 0; i < h->nweb; i++) {
		int w = web_timeout_ms(h->web[i]);

		if (w >= 0 && w < ms)
			ms = w;
	}
	return ms;
}

static void loop(struct health *h, int stop_fd)
{
	unsigned stop = h->nweb;

	h->fds[stop] = (struct pollfd){ .fd = stop_fd, .events = POLLIN };
	while (!h->drain_until_ns || clock_mono() < h->drain_until_ns) {
		int n = poll(h->fds, h->nweb + 1, sleep_ms(h));

		if (n < 0 && errno != EINTR)
			die("poll: %m");
		if (clock_mono() - h->survey.stored_ns >= SURVEY_PERIOD_MS * 1000000ull)
			survey_take(&h->survey, false);
		for (unsigned i = 0; i < h->nweb; i++)
			web_run(h->web[i]);
		if (n > 0 && h->fds[stop].revents && !take_signal(h, stop_fd))
			return;
	}
}

int main(int argc, char **argv)
{
	static struct health h = { .ready_fd = -1, .drain_ms = 350 * 1000 };
	int stop_fd;

	parse(&h, argc, argv);
	stop_fd = stop_fd_open();
	set_up(&h);
	look(&h, false);
	ready_notify(h.ready_fd);
	loop(&h, stop_fd);
	for (unsigned i = 0; i < h.nweb; i++)
		web_close(h.web[i]);
	for (unsigned i = 0; i < h.nadmin; i++)
		if (strchr(h.admin[i], '/'))
			unlink(h.admin[i]);
	survey_free(&h.survey);
	free(h.cert);
	free(h.key);
	return EXIT_SUCCESS;
}
