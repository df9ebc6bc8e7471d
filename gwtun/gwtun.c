/* SPDX-License-Identifier: MIT */
/*
 * gwtun - Hand chosen flows to the kernel's TCP/IP: a network namespace and a TUN per endpoint
 */
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "tun.h"

#define FRAGMENTS	8192u
#define HOLD_NS		130000000000ull	/* longer than connect(2) tries */
#define WALK_NS		4000000000ull
#define FLOWS_MAX	4000000u

enum {
	O_WHERE = OPT_LONG, O_ENDPOINT, O_ENDPOINTS, O_IDLE, O_ROUTER, O_TPROXY, O_CREATE, O_DESTROY,
	O_NO_PROXY, O_SOCKET, O_FLOWS, O_SYNS, O_TCP_TIMEOUT, O_TIMEOUT, O_MTU, O_NO_OFFLOAD
};

static const struct opt options[] = {
	{ "where", O_WHERE, "EXPR", "flows whose first packet matches, pcap-filter(7) (all TCP)" },
	{ "endpoint", O_ENDPOINT, "VPCE", "flows of this endpoint, whose namespace is made at the\n"
	  "start and stays; may be given again (all)" },
	{ "router", O_ROUTER, NULL, "the namespace is a router: flows of any protocol" },
	{ "tproxy", O_TPROXY, "PORT", "somebody else's transparent proxy listens on this port of\n"
	  "127.0.0.1 and ::1" },
	{ "on-create", O_CREATE, "CMD", "run in each new namespace, before packets come" },
	{ "on-destroy", O_DESTROY, "CMD", "run in a namespace before it goes" },
	{ "no-proxy", O_NO_PROXY, "pass|drop", "new connections while no proxy is attached (pass)" },
	{ "socket", O_SOCKET, "PATH", "where a proxy attaches (gwtun.sock in the run folder)" },
	{ "mtu", O_MTU, "BYTES", "longest packet to send (8500)" },
	{ "endpoints", O_ENDPOINTS, "N", "endpoints at most (4096)" },
	{ "endpoint-idle", O_IDLE, "TIME", "remove an endpoint without packets for so long; 0: never (10m)" },
	{ "flows", O_FLOWS, "N", "flows kept at most (65536)" },
	{ "syns", O_SYNS, "N", "SYNs held at most (4096)" },
	{ "tcp-timeout", O_TCP_TIMEOUT, "TIME", "forget idle TCP flows after this (350s)" },
	{ "timeout", O_TIMEOUT, "TIME", "forget other idle flows after this (120s)" },
	{ "no-offload", O_NO_OFFLOAD, NULL, "do not merge segments on their way into the kernel" },
	{ NULL, 0, NULL, NULL }
};

static uint64_t endpoint_id(const char *arg)
{
	unsigned long long id;
	int end = 0;

	if (sscanf(arg, "vpce-0%16llx%n", &id, &end) != 1 || arg[end] || end != 22)
		die_usage("--endpoint: '%s' is not vpce-0 and 16 hex digits", arg);
	return id;
}

static void add_endpoint(struct tun_conf *c, const char *arg)
{
	c->endpoint = realloc(c->endpoint, (c->nendpoints + 1) * sizeof(*c->endpoint));
	if (!c->endpoint)
		die("no memory");
	c->endpoint[c->nendpoints++] = endpoint_id(arg);
}

static void set_kind(struct tun_conf *c, enum space_kind kind)
{
	if (c->broker.space.kind != SPACE_PROXY && c->broker.space.kind != kind)
		die_usage("--router or --tproxy: one of them");
	c->broker.space.kind = kind;
}

static bool drops(const char *arg)
{
	if (strcmp(arg, "pass") && strcmp(arg, "drop"))
		die_usage("--no-proxy: '%s' is neither pass nor drop", arg);
	return *arg == 'd';
}

static void set(void *ctx, int ch, const char *arg)
{
	struct tun_conf *c = &((struct tun *)ctx)->conf;
	struct space_conf *s = &c->broker.space;

	switch (ch) {
	case O_WHERE: c->where = arg; break;
	case O_ENDPOINT: add_endpoint(c, arg); break;
	case O_ROUTER: set_kind(c, SPACE_ROUTER); break;
	case O_TPROXY:
		set_kind(c, SPACE_FOREIGN);
		s->port = (uint16_t)opt_u64("tproxy", arg, 1, UINT16_MAX);
		break;
	case O_CREATE: c->broker.on_create = arg; break;
	case O_DESTROY: c->broker.on_destroy = arg; break;
	case O_NO_PROXY: c->drop_unproxied = drops(arg); break;
	case O_SOCKET: c->socket = arg; break;
	case O_MTU: s->mtu = (uint32_t)opt_u64("mtu", arg, 1280, 9600); break;
	case O_ENDPOINTS: c->endpoints_max = (unsigned)opt_u64("endpoints", arg, 1, 100000); break;
	case O_IDLE: c->idle_ns = opt_ns("endpoint-idle", arg, 0, OPT_MS_MAX); break;
	case O_FLOWS: c->flows = (unsigned)opt_u64("flows", arg, 16, FLOWS_MAX); break;
	case O_SYNS: c->syns = (unsigned)opt_u64("syns", arg, 1, 1000000); break;
	case O_TCP_TIMEOUT: c->tcp_timeout_ns = opt_ns("tcp-timeout", arg, 0, OPT_MS_MAX); break;
	case O_TIMEOUT: c->timeout_ns = opt_ns("timeout", arg, 0, OPT_MS_MAX); break;
	case O_NO_OFFLOAD: c->no_offload = true; break;
	}
}

/* --- the stage ---------------------------------------------------------------- */

static void burst(struct stage *st, struct frame **f, int n)
{
	struct tun *t = st->ctx;

	link_listen(t);
	t->matcher.now_ns = st->now_ns;
	into_burst(t, f, n);
}

static bool is_tun(uint64_t what)
{
	return what >> 32 == WATCH_TUN;
}

static void on_event(struct tun *t, uint64_t what)
{
	switch (what >> 32) {
	case WATCH_BROKER: link_broker(t); break;
	case WATCH_LISTEN: link_accept(t); break;
	case WATCH_PAIR: link_proxy(t, (uint32_t)what); break;
	case WATCH_TUN: outof_read(t, &t->ends.end[(uint32_t)what]); break;
	}
}

static int make(struct stage *st, struct frame **f, int max)
{
	struct tun *t = st->ctx;
	struct epoll_event ev[FRAME_BURST];
	int n;

	t->nmade = 0;
	t->made_ns = clock_real();
	link_listen(t);
	outof_go_on(t);
	if (t->ends.settled)
		ends_resume(t);
	n = t->nmade < max ? epoll_wait(t->epoll, ev, FRAME_BURST, 0) : 0;
	for (int i = 0; i < n; i++)	/* that a proxy is gone is known before its FINs */
		if (!is_tun(ev[i].data.u64))
			on_event(t, ev[i].data.u64);
	for (int i = 0; i < n && t->nmade < max; i++) {	/* from where the last turn ended */
		uint64_t what = ev[t->turn++ % (unsigned)n].data.u64;

		if (is_tun(what))
			on_event(t, what);
	}
	if (t->broken)
		return -1;
	memcpy(f, t->made, (size_t)t->nmade * sizeof(*f));
	return t->nmade;
}

static void tick(struct stage *st)
{
	struct tun *t = st->ctx;
	uint64_t *c = st->stats.page->counter;

	if (st->now_ns > HOLD_NS)
		hold_forget(t, st->now_ns - HOLD_NS);
	ends_tick(t);
	if (st->now_ns >= t->next_walk_ns) {
		flows_walk(t, false);
		t->next_walk_ns = st->now_ns + WALK_NS;
	}
	c[STATS_FLOWS] = flow_count(t->flows);
	c[STATS_FLOWS_EVICTED] = flow_evicted(t->flows);
	c[STATS_LOST] = t->strays;
}

static void done(struct stage *st)
{
	link_unlisten(st->ctx);
}

static const struct stage_ops ops = { .burst = burst, .make = make, .tick = tick, .done = done };

/* --- set-up ------------------------------------------------------------------- */

/* The expression as a rule of gwfilter's, with all that goes with it */
static void compile(struct tun *t)
{
	static struct rules_conf rc = RULES_CONF_INIT(RULES_FILTER);
	size_t size;
	char *text;

	if (!t->conf.where)
		return;
	size = strlen(t->conf.where) + 32;
	text = malloc(size);
	if (!text)
		die("no memory");
	snprintf(text, size, "pass where %s", t->conf.where);
	rc.err = stderr;
	rc.source[0].text = text;
	rc.source[0].name = "--where";
	rc.nsources = 1;
	matcher_open(&t->matcher, &rc, rules_start(&rc));
	free(text);
}

/* A TUN is a descriptor, and the broker has more of them for each */
static void raise_limit(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r))
		return;
	r.rlim_cur = r.rlim_max;
	setrlimit(RLIMIT_NOFILE, &r);
}

static void check(const struct tun_conf *c)
{
	bool proxied = c->broker.space.kind == SPACE_PROXY;

	if (c->socket && !proxied)
		die_usage("--socket: nothing attaches with --router or --tproxy");
	if (c->idle_ns && c->idle_ns < c->tcp_timeout_ns)
		log_warn("--endpoint-idle is shorter than --tcp-timeout: quiet connections end with "
			 "their endpoint");
}

static void open_loop(struct tun *t)
{
	size_t room = FRAME_HEADROOM + ENCAP_MAX + t->conf.broker.space.mtu + 256;

	t->epoll = epoll_create1(EPOLL_CLOEXEC);
	t->made = frame_pool_new(FRAME_BURST, MAX(room, FRAME_HEADROOM + ENCAP_MAX + 9600u));
	t->buf = malloc(TUN_BUF);
	t->flows = flow_open(t->conf.flows, sizeof(struct tflow));
	t->frags = flow_open(FRAGMENTS, sizeof(struct flow_key));
	t->strange = strange_open();
	if (t->epoll < 0 || !t->made || !t->buf || !t->flows || !t->frags || !t->strange)
		die("no memory for %u flows", t->conf.flows);
	hold_open(t);
	if (tun_watch(t, t->broker.fd, WATCH_BROKER, 0))
		die("epoll: %m");
	t->st->watch_fd = t->epoll;
	ends_open(t);
}

static void close_loop(struct tun *t)
{
	link_close(t);
	ends_close(t);
	broker_stop(&t->broker);
	close(t->epoll);
	flow_close(t->flows);
	flow_close(t->frags);
	flow_close(t->strange);
	frame_pool_free(t->made);
	free(t->hold.slot);
	free(t->buf);
	free(t->conf.endpoint);
	if (t->conf.where)
		matcher_close(&t->matcher);
}

int main(int argc, char **argv)
{
	static struct tun t = { .conf = {
		.endpoints_max = 4096, .flows = 65536, .syns = 4096,
		.tcp_timeout_ns = 350000000000ull, .timeout_ns = 120000000000ull,
		.idle_ns = 600000000000ull, .broker.space.mtu = MTU_DEFAULT,
	} };
	static struct stage st = { .prog = "gwtun", .ops = &ops, .ctx = &t, .flags = STAGE_INNER };
	int first, status;

	t.st = &st;
	link_open(&t);
	first = stage_options(&st, "[--where EXPR] [--endpoint VPCE]... [options]",
			      "Hand chosen flows to the kernel's TCP/IP.", options, set, argc, argv);
	if (first != argc)
		die_usage("unexpected argument '%s'", argv[first]);
	check(&t.conf);
	compile(&t);
	raise_limit();
	t.conf.broker.priv = priv_lookup(st.conf.user);
	broker_start(&t.broker, &t.conf.broker);
	priv_no_new();
	stage_open(&st);
	open_loop(&t);
	link_listen(&t);
	stage_confine(&st);
	status = stage_run(&st);
	close_loop(&t);
	return status;
}
