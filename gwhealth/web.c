/* SPDX-License-Identifier: MIT */
#include <limits.h>
#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "web.h"

#define TIMEOUT_S	5u		/* of a connection that says nothing */
#define MEMORY_MAX	(16u * 1024)	/* of a connection */

/* Checkers behind one address can't take all connections. */
#define PER_ADDRESS(n)	((n) - (n) / 4)

struct web {
	struct MHD_Daemon *daemon;
	int fd;
};

/* GWLB's HTTPS checks fail on a target that offers TLS 1.3 only. */
static const char tls_priorities[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";

static void __attribute__((format(printf, 2, 0)))
mhd_log(void *ctx, const char *fmt, va_list ap)
{
	char line[512];

	(void)ctx;
	vsnprintf(line, sizeof(line), fmt, ap);
	line[strcspn(line, "\n")] = '\0';
	log_info("%s", line);		/* mostly about what strangers sent */
}

static enum MHD_Result send_reply(struct MHD_Connection *conn, struct web_reply *r)
{
	struct MHD_Response *resp;
	enum MHD_Result ok;

	resp = MHD_create_response_from_buffer(r->len, r->body, MHD_RESPMEM_MUST_FREE);
	if (!resp) {
		free(r->body);
		return MHD_NO;
	}
	MHD_add_response_header(resp, MHD_HTTP_HEADER_CONTENT_TYPE, r->type);
	MHD_add_response_header(resp, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	if (r->status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(resp, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	ok = MHD_queue_response(conn, r->status, resp);
	MHD_destroy_response(resp);
	return ok;
}

static enum MHD_Result handle(void *ctx, struct MHD_Connection *conn, const char *path,
			      const char *method, const char *version, const char *data,
			      size_t *size, void **state)
{
	const struct web_conf *conf = ctx;
	struct web_reply r = { .status = MHD_HTTP_METHOD_NOT_ALLOWED, .type = "text/plain" };

	(void)version;
	(void)data;
	if (!*state) {			/* headers only: the body may follow */
		*state = conn;
		return MHD_YES;
	}
	if (*size) {			/* nobody needs to send us one */
		*size = 0;
		return MHD_YES;
	}
	if (strcmp(method, MHD_HTTP_METHOD_GET) && strcmp(method, MHD_HTTP_METHOD_HEAD)) {
		r.body = strdup("only GET and HEAD\n");
		r.len = r.body ? strlen(r.body) : 0;
	} else {
		conf->answer(conf->ctx, path, &r);
	}
	return r.body ? send_reply(conn, &r) : MHD_NO;
}

struct web *web_open(int fd, const struct web_conf *conf)
{
	struct MHD_OptionItem tls[] = {
		{ MHD_OPTION_HTTPS_MEM_CERT, 0, NULL },
		{ MHD_OPTION_HTTPS_MEM_KEY, 0, NULL },
		{ MHD_OPTION_END, 0, NULL },
		{ MHD_OPTION_END, 0, NULL },
	};
	unsigned flags = MHD_USE_EPOLL | MHD_USE_ERROR_LOG;
	union { const void *in; void *out; } cert = { .in = conf->cert }, key = { .in = conf->key },
		prio = { .in = tls_priorities }, ctx = { .in = conf };
	struct web *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	if (conf->cert) {
		flags |= MHD_USE_TLS;
		tls[0].ptr_value = cert.out;
		tls[1].ptr_value = key.out;
		tls[2] = (struct MHD_OptionItem){ MHD_OPTION_HTTPS_PRIORITIES, 0, prio.out };
	} else {
		tls[0].option = MHD_OPTION_END;
	}
	w->daemon = MHD_start_daemon(flags, 0, NULL, NULL, handle, ctx.out,
		MHD_OPTION_EXTERNAL_LOGGER, mhd_log, NULL,
		MHD_OPTION_LISTEN_SOCKET, fd,
		MHD_OPTION_CONNECTION_LIMIT, conf->connections,
		MHD_OPTION_PER_IP_CONNECTION_LIMIT, PER_ADDRESS(conf->connections),
		MHD_OPTION_CONNECTION_TIMEOUT, TIMEOUT_S,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY_MAX,
		MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
	if (!w->daemon) {
		free(w);
		return NULL;
	}
	w->fd = MHD_get_daemon_info(w->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
	return w;
}

int web_fd(const struct web *w)
{
	return w->fd;
}

int web_timeout_ms(const struct web *w)
{
	MHD_UNSIGNED_LONG_LONG ms;

	if (MHD_get_timeout(w->daemon, &ms) != MHD_YES)
		return -1;
	return ms < INT_MAX ? (int)ms : INT_MAX;
}

void web_run(struct web *w)
{
	MHD_run(w->daemon);
}

void web_close(struct web *w)
{
	MHD_stop_daemon(w->daemon);
	free(w);
}
