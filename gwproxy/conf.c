/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <unistd.h>

#include "conf.h"
#include "log.h"
#include "opt.h"
#include "policy.h"
#include "priv.h"
#include "proxylink.h"
#include "wire.h"

#define FDS_CONN	6u	/* two sockets, two pipes */
#define FDS_SELF	512u	/* pools, pipes that wait, files */
#define CONNS_MAX	200000u
#define RECEIVE		139264u

enum { OPT_TRANSPARENT = OPT_LONG, OPT_TUN, OPT_CHAIN, OPT_NO_CONNECT_FIRST, OPT_WORKERS, OPT_CONNS,
       OPT_CONNECT, OPT_SNIFF, OPT_SHAKE, OPT_IDLE, OPT_LINGER, OPT_HEAD, OPT_BODY, OPT_RESPONSE,
       OPT_DRAIN, OPT_RECEIVE, OPT_TLS_PORTS, OPT_HTTP_PORTS, OPT_TLS_RULES, OPT_CA_CERT, OPT_CA_KEY,
       OPT_UPSTREAM_CA, OPT_INSECURE, OPT_LEARN, OPT_KEYLOG, OPT_KEYLOG_PUB, OPT_USER, OPT_READY,
       OPT_LEVEL };

static const struct opt options[] = {
	{ "tun", OPT_TUN, "PATH", "gwtun's socket (gwtun.sock in the chain's run folder)" },
	{ "chain", OPT_CHAIN, "NAME", "the chain it is in ($GW_CHAIN, else default)" },
	{ "no-connect-first", OPT_NO_CONNECT_FIRST, NULL,
	  "let clients in before their servers have answered" },
	{ "listen", 'l', "ADDR:PORT", "no gwtun: listen for a TPROXY rule; once a family" },
	{ "transparent", OPT_TRANSPARENT, NULL, "and connect from the client's own address" },
	{ "ca-cert", OPT_CA_CERT, "FILE", "intercept TLS: the authority's certificate (PEM)" },
	{ "ca-key", OPT_CA_KEY, "FILE", "and its private key (PEM)" },
	{ "tls-rules", OPT_TLS_RULES, "FILE", "what to intercept, pass and block; see TLS RULES" },
	{ "pass-on-failure", OPT_LEARN, NULL,
	  "pass a name for an hour once a client refused our certificate" },
	{ "upstream-ca", OPT_UPSTREAM_CA, "FILE",
	  "verify servers against these (PEM), not the system's roots" },
	{ "upstream-insecure", OPT_INSECURE, NULL, "do not verify servers: for labs" },
	HRULES_OPTIONS,
	RECORD_OPTIONS,
	{ "tls-ports", OPT_TLS_PORTS, "PORTS", "where to look for TLS (any)" },
	{ "http-ports", OPT_HTTP_PORTS, "PORTS",
	  "where to look for HTTP, in the clear or in TLS\n"
	  "without ALPN (80,443,8080,8443)" },
	{ "keylog", OPT_KEYLOG, "FILE", "append the secrets of both legs, for Wireshark" },
	{ "keylog-pub", OPT_KEYLOG_PUB, NULL, "publish them in the run folder (ZeroMQ)" },
	{ "workers", OPT_WORKERS, "N", "event loops, a thread each (one for each processor)" },
	{ "max-connections", OPT_CONNS, "N", "at once (what RLIMIT_NOFILE allows)" },
	{ "receive-buffer", OPT_RECEIVE, "SIZE",
	  "of a stream, in the kernel; 0: as it likes (136k)" },
	{ "connect-timeout", OPT_CONNECT, "TIME", "until a server answers (30s)" },
	{ "sniff-timeout", OPT_SNIFF, "TIME", "from a client's first byte until its protocol is known (5s)" },
	{ "handshake-timeout", OPT_SHAKE, "TIME", "both TLS handshakes (15s)" },
	{ "head-timeout", OPT_HEAD, "TIME", "from the first to the last byte of an HTTP head (30s)" },
	{ "body-timeout", OPT_BODY, "TIME", "without a byte of a body under way (120s)" },
	{ "response-timeout", OPT_RESPONSE, "TIME", "from a request to its response (300s)" },
	{ "idle-timeout", OPT_IDLE, "TIME", "without a byte (350s)" },
	{ "linger-timeout", OPT_LINGER, "TIME", "without a byte, half closed (120s)" },
	{ "drain-timeout", OPT_DRAIN, "TIME", "after SIGTERM connections may go on (5s)" },
	{ "user", OPT_USER, "NAME", "whom to become when started as root" },
	{ "ready-fd", OPT_READY, "N", "write a newline there when connections are taken" },
	{ "quiet", 'q', NULL, "no summary at the end" },
	{ "log-level", OPT_LEVEL, "LEVEL", "error, warning, notice, info or debug (notice)" },
	{ NULL, 0, NULL, NULL }
};

struct both {
	struct conf *c;
	struct proxy *p;
};

static void set_ports(struct ports *p, unsigned from, unsigned to)
{
	for (unsigned i = from; i <= to; i++)
		p->bit[i >> 3] |= (uint8_t)(1u << (i & 7));
}

/* "any", "none", or a list: 80,443,8000-8099 */
static void parse_ports(const char *opt, struct ports *p, const char *arg)
{
	const char *s = arg;

	*p = (struct ports){ .bit = { 0 } };
	if (!strcmp(arg, "any"))
		set_ports(p, 1, 65535);
	if (!strcmp(arg, "any") || !strcmp(arg, "none"))
		return;
	for (;;) {
		char *end;
		unsigned long from = strtoul(s, &end, 10), to = from;

		if (end != s && *end == '-')
			to = strtoul(end + 1, &end, 10);
		if (end == s || !from || from > to || to > 65535 || (*end && *end != ','))
			die_usage("--%s: '%s' is neither any, none nor a list such as "
				  "80,8000-8099", opt, arg);
		set_ports(p, (unsigned)from, (unsigned)to);
		if (!*end)
			return;
		s = end + 1;
	}
}

static uint64_t duration(const char *opt, const char *arg)
{
	return opt_ns(opt, arg, 1, OPT_MS_MAX);
}

static bool set_time(struct proxy *p, int ch, const char *arg)
{
	switch (ch) {
	case OPT_CONNECT: p->connect_ns = duration("connect-timeout", arg); return true;
	case OPT_SNIFF: p->sniff_ns = duration("sniff-timeout", arg); return true;
	case OPT_SHAKE: p->shake_ns = duration("handshake-timeout", arg); return true;
	case OPT_IDLE: p->times.idle_ns = duration("idle-timeout", arg); return true;
	case OPT_LINGER: p->times.linger_ns = duration("linger-timeout", arg); return true;
	case OPT_HEAD: p->times.head_ns = duration("head-timeout", arg); return true;
	case OPT_BODY: p->times.body_ns = duration("body-timeout", arg); return true;
	case OPT_RESPONSE: p->times.response_ns = duration("response-timeout", arg); return true;
	default: return false;
	}
}

static bool set_tls(struct conf *c, int ch, const char *arg)
{
	switch (ch) {
	case OPT_TLS_RULES: c->tls_rules = arg; return true;
	case OPT_CA_CERT: c->ca_cert = arg; return true;
	case OPT_CA_KEY: c->ca_key = arg; return true;
	case OPT_UPSTREAM_CA: c->upstream_ca = arg; return true;
	case OPT_INSECURE: c->insecure = true; return true;
	case OPT_LEARN: c->pass_on_failure = true; return true;
	case OPT_KEYLOG: c->keylog = arg; return true;
	case OPT_KEYLOG_PUB: c->keylog_pub = true; return true;
	default: return false;
	}
}

static void add_listen(struct conf *c, const char *arg)
{
	if (c->nlisten == ALONE_MAX)
		die_usage("--listen: more than one for IPv4 and one for IPv6");
	if (c->nlisten && (c->listen[0][0] == '[') == (*arg == '['))
		die_usage("--listen: %s and %s are of one family", c->listen[0], arg);
	c->listen[c->nlisten++] = arg;
}

static void set(void *ctx, int ch, const char *arg)
{
	struct conf *c = ((struct both *)ctx)->c;
	struct proxy *p = ((struct both *)ctx)->p;

	if (set_time(p, ch, arg) || set_tls(c, ch, arg) || hrules_option(&c->web, ch, arg) ||
	    record_option(&c->record, ch, arg))
		return;
	switch (ch) {
	case 'l': add_listen(c, arg); break;
	case 'q': c->quiet = true; break;
	case OPT_TRANSPARENT: p->transparent = true; break;
	case OPT_TUN: c->tun_given = arg; break;
	case OPT_CHAIN: c->chain = arg; break;
	case OPT_NO_CONNECT_FIRST: p->hold = false; break;
	case OPT_WORKERS: p->nworkers = (unsigned)opt_u64("workers", arg, 1, WORKERS_MAX); break;
	case OPT_CONNS: c->conns = opt_u64("max-connections", arg, 1, CONNS_MAX); break;
	case OPT_RECEIVE: p->receive = (unsigned)opt_bytes("receive-buffer", arg, 0, 1u << 30); break;
	case OPT_DRAIN: c->drain_ms = opt_ms("drain-timeout", arg, 0, OPT_MS_MAX); break;
	case OPT_TLS_PORTS: parse_ports("tls-ports", &p->tls_ports, arg); break;
	case OPT_HTTP_PORTS: parse_ports("http-ports", &p->http_ports, arg); break;
	case OPT_USER: c->user = arg; break;
	case OPT_READY: c->ready_fd = (int)opt_u64("ready-fd", arg, 0, 65535); break;
	case OPT_LEVEL: opt_log_level(arg); break;
	}
}

static void defaults(struct conf *c, struct proxy *p)
{
	cpu_set_t cpus;

	*c = (struct conf){ .ready_fd = -1, .drain_ms = 5000, .web.err = stderr };
	*p = (struct proxy){ .hold = true, .nworkers = 1, .receive = RECEIVE };
	if (!sched_getaffinity(0, sizeof(cpus), &cpus))
		p->nworkers = MIN((unsigned)CPU_COUNT(&cpus), WORKERS_MAX);
	parse_ports("tls-ports", &p->tls_ports, "any");
	parse_ports("http-ports", &p->http_ports, "80,443,8080,8443");
	p->accept_ns = duration("accept", "5s");
	p->connect_ns = duration("connect-timeout", "30s");
	p->sniff_ns = duration("sniff-timeout", "5s");
	p->shake_ns = duration("handshake-timeout", "15s");
	p->times = (struct relay_times){
		.idle_ns = duration("idle-timeout", "350s"),
		.head_ns = duration("head-timeout", "30s"),
		.body_ns = duration("body-timeout", "120s"),
		.response_ns = duration("response-timeout", "300s"),
		.linger_ns = duration("linger-timeout", "120s"),
	};
}

/* Options that mean nothing where no TLS is intercepted; NULL: none of them */
static const char *needs_ca(const struct conf *c)
{
	return c->upstream_ca ? "--upstream-ca" : c->insecure ? "--upstream-insecure" :
	       c->pass_on_failure ? "--pass-on-failure" : c->keylog ? "--keylog" :
	       c->keylog_pub ? "--keylog-pub" : NULL;
}

static void check_tls(const struct conf *c, int argc, char **argv)
{
	bool spelled = false;

	for (int i = 1; i < argc; i++)
		spelled |= !strcmp(argv[i], "--upstream-insecure");
	if (c->insecure && !spelled)
		die_usage("--upstream-insecure: only when it is spelled out");
	if (!c->ca_cert != !c->ca_key)
		die_usage("--ca-cert and --ca-key go together");
	if (!c->ca_cert && needs_ca(c))
		die_usage("%s goes with --ca-cert: without it no TLS is intercepted", needs_ca(c));
	if (c->insecure && c->upstream_ca)
		die_usage("--upstream-ca and --upstream-insecure exclude each other");
	if (c->insecure)
		log_warn("--upstream-insecure: servers' certificates are not verified");
}

static void find_tun(struct conf *c)
{
	int n;

	if (!c->chain)
		c->chain = getenv("GW_CHAIN");
	if (!c->chain || !*c->chain)
		c->chain = "default";
	if (!chain_name_ok(c->chain))
		die_usage("--chain: '%s' is no name for a chain", c->chain);
	if (rundir_path(rundir_system(), c->chain, c->run_dir, sizeof(c->run_dir)))
		die_usage("--chain: the path of its run folder is too long");
	if (c->tun_given)
		n = snprintf(c->tun, sizeof(c->tun), "%s", c->tun_given);
	else
		n = snprintf(c->tun, sizeof(c->tun), "%s/%s", c->run_dir, PROXYLINK_SOCKET);
	if (n < 0 || (size_t)n >= sizeof(((struct sockaddr_un *)0)->sun_path))
		die_usage("--tun: the path is too long for a socket");
}

void conf_parse(struct conf *c, struct proxy *p, int argc, char **argv)
{
	struct both both = { c, p };
	const struct opt_group groups[] = { { NULL, options, set, &both },
					    { NULL, NULL, NULL, NULL } };
	int i;

	defaults(c, p);
	i = opt_parse("gwproxy", "[--tun PATH | -l ADDR:PORT] [options]",
		      "Proxy connections of a gateway load balancer, or of any TPROXY rule.",
		      groups, argc, argv);
	if (i < argc)
		die_usage("'%s': no operands are taken", argv[i]);
	if (c->nlisten && c->tun_given)
		die_usage("--tun and --listen exclude each other");
	if (!c->nlisten && p->transparent)
		die_usage("--transparent goes with --listen; with gwtun it is always so");
	if (c->nlisten && !p->hold)
		die_usage("--no-connect-first goes with gwtun; with --listen it is always so");
	p->listens = c->nlisten;
	if (p->listens)
		p->hold = false;
	else
		p->transparent = true;
	if (c->record.nheaders && !c->record.path)
		die_usage("--record-header goes with --record");
	check_tls(c, argc, argv);
	find_tun(c);
}

struct policy *conf_policy(const struct conf *c)
{
	struct policy *p = policy_load(c->tls_rules, stderr);

	if (!p)
		exit(EXIT_USAGE);
	if (c->tls_rules && !c->ca_cert && policy_has_intercept(p))
		die_conf("%s: to intercept takes --ca-cert and --ca-key", c->tls_rules);
	if (c->web.check && c->tls_rules)
		policy_print(p, stdout);
	return p;
}

void conf_limits(const struct conf *c, struct proxy *p)
{
	struct rlimit l;
	uint64_t most, conns;

	if (getrlimit(RLIMIT_NOFILE, &l))
		die("RLIMIT_NOFILE: %m");
	l.rlim_cur = l.rlim_max;
	setrlimit(RLIMIT_NOFILE, &l);
	getrlimit(RLIMIT_NOFILE, &l);
	most = l.rlim_cur > 2 * FDS_SELF ? (l.rlim_cur - FDS_SELF) / FDS_CONN : l.rlim_cur / 12;
	conns = c->conns ? c->conns : MIN(most, CONNS_MAX);
	if (conns > most)
		die_conf("--max-connections %llu: RLIMIT_NOFILE of %llu allows %llu",
			 (unsigned long long)conns, (unsigned long long)l.rlim_cur,
			 (unsigned long long)most);
	if (!p->nworkers)
		p->nworkers = 1;
	p->max_conns = (unsigned)((conns + p->nworkers - 1) / p->nworkers);
}
