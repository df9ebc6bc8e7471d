/* SPDX-License-Identifier: MIT */
/*
 * h2peers.h - A client and a server of HTTP/2, and the engine between them
 */
#ifndef H2PEERS_H
#define H2PEERS_H

#include <stdio.h>

#include <nghttp2/nghttp2.h>

#include "legpair.h"
#include "tap.h"

#define STREAMS	128

/* A peer: a session of nghttp2's own, at one end */
struct peer {
	nghttp2_session *s;
	int fd;
	bool server, manual, gone;
	struct {
		int32_t id;
		char fields[2048];
		size_t body;
		uint32_t sum;
		bool end;
		int64_t closed;		/* error code, or -1 */
		size_t to_send, sent;
		bool trailers;
	} st[STREAMS];
	unsigned n;
	int32_t goaway;
	uint32_t goaway_code;
	size_t reply;			/* bytes of body a server answers */
	bool reply_trailers, no_reply;
	uint8_t out[32768];
	size_t nout;
};

static int at(struct peer *p, int32_t id)
{
	for (unsigned i = 0; i < p->n; i++)
		if (p->st[i].id == id)
			return (int)i;
	p->st[p->n].id = id;
	p->st[p->n].closed = -1;
	return (int)p->n++;
}

static int peer_header(nghttp2_session *s, const nghttp2_frame *f, const uint8_t *n, size_t nl,
		       const uint8_t *v, size_t vl, uint8_t flags, void *user)
{
	struct peer *p = user;
	char *to = p->st[at(p, f->hd.stream_id)].fields;
	size_t len = strlen(to);

	(void)s, (void)flags;
	snprintf(to + len, sizeof(p->st[0].fields) - len, "%.*s=%.*s;", (int)nl, (const char *)n, (int)vl,
		 (const char *)v);
	return 0;
}

static int peer_data(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *d, size_t len, void *user)
{
	struct peer *p = user;
	int i = at(p, id);

	(void)s, (void)flags;
	for (size_t k = 0; k < len; k++)
		p->st[i].sum = p->st[i].sum * 31 + d[k];
	p->st[i].body += len;
	return 0;
}

static ssize_t peer_read(nghttp2_session *s, int32_t id, uint8_t *buf, size_t len, uint32_t *flags,
			 nghttp2_data_source *src, void *user)
{
	struct peer *p = user;
	int i = at(p, id);
	size_t n = p->st[i].to_send - p->st[i].sent;
	nghttp2_nv t = { (uint8_t *)(uintptr_t)"x-end", (uint8_t *)(uintptr_t)"yes", 5, 3, 0 };

	(void)src;
	if (n > len)
		n = len;
	for (size_t k = 0; k < n; k++)
		buf[k] = (uint8_t)('a' + (p->st[i].sent + k) % 23);
	p->st[i].sent += n;
	if (p->st[i].sent == p->st[i].to_send) {
		*flags |= NGHTTP2_DATA_FLAG_EOF;
		if (p->st[i].trailers) {
			*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
			nghttp2_submit_trailer(s, id, &t, 1);
		}
	}
	return (ssize_t)n;
}

#define NV(n, v) { (uint8_t *)(uintptr_t)(n), (uint8_t *)(uintptr_t)(v), sizeof(n) - 1, sizeof(v) - 1, 0 }

/* nghttp2 makes letters small, unless the name is not copied */
#define NV_AS_IS(n, v) { (uint8_t *)(uintptr_t)(n), (uint8_t *)(uintptr_t)(v), sizeof(n) - 1, sizeof(v) - 1, \
			 NGHTTP2_NV_FLAG_NO_COPY_NAME }

static void peer_answer(struct peer *p, int32_t id)
{
	nghttp2_nv nv[] = { NV(":status", "200"), NV("server", "test") };
	nghttp2_data_provider d = { .read_callback = peer_read };
	int i = at(p, id);

	p->st[i].to_send = p->reply;
	p->st[i].trailers = p->reply_trailers;
	nghttp2_submit_response(p->s, id, nv, 2, p->reply ? &d : NULL);
}

static int peer_frame(nghttp2_session *s, const nghttp2_frame *f, void *user)
{
	struct peer *p = user;

	(void)s;
	if (f->hd.type == NGHTTP2_GOAWAY) {
		p->goaway = f->goaway.last_stream_id;
		p->goaway_code = f->goaway.error_code;
	}
	if ((f->hd.type == NGHTTP2_HEADERS || f->hd.type == NGHTTP2_DATA) &&
	    (f->hd.flags & NGHTTP2_FLAG_END_STREAM)) {
		p->st[at(p, f->hd.stream_id)].end = true;
		if (p->server && !p->no_reply)
			peer_answer(p, f->hd.stream_id);
	}
	return 0;
}

static int peer_close(nghttp2_session *s, int32_t id, uint32_t code, void *user)
{
	struct peer *p = user;

	(void)s;
	p->st[at(p, id)].closed = code;
	return 0;
}

static void peer_open(struct peer *p, int fd, bool server, bool manual)
{
	nghttp2_session_callbacks *c;
	nghttp2_option *o;

	*p = (struct peer){ .fd = fd, .server = server, .manual = manual, .goaway = -1 };
	nghttp2_session_callbacks_new(&c);
	nghttp2_option_new(&o);
	nghttp2_option_set_no_auto_window_update(o, manual);
	nghttp2_option_set_no_http_messaging(o, 1);	/* may say what it wants */
	nghttp2_option_set_stream_reset_rate_limit(o, 1000000, 1000000);
	nghttp2_session_callbacks_set_on_header_callback(c, peer_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, peer_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(c, peer_frame);
	nghttp2_session_callbacks_set_on_stream_close_callback(c, peer_close);
	if (server)
		nghttp2_session_server_new2(&p->s, c, p, o);
	else
		nghttp2_session_client_new2(&p->s, c, p, o);
	nghttp2_submit_settings(p->s, 0, NULL, 0);
	nghttp2_session_callbacks_del(c);
	nghttp2_option_del(o);
}

static void peer_go(struct peer *p)
{
	static uint8_t buf[65536];
	const uint8_t *out;
	ssize_t n;

	while ((n = recv(p->fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0)
		nghttp2_session_mem_recv(p->s, buf, (size_t)n);
	p->gone |= !n;
	for (;;) {
		while (p->nout && (n = send(p->fd, p->out, p->nout, MSG_NOSIGNAL)) > 0) {
			memmove(p->out, p->out + n, p->nout - (size_t)n);
			p->nout -= (size_t)n;
		}
		if (p->nout || (n = nghttp2_session_mem_send(p->s, &out)) <= 0)
			return;
		memcpy(p->out, out, (size_t)n);
		p->nout = (size_t)n;
	}
}

static struct world {
	struct pair p;
	struct peer c, s;
} w;

static void open_world(const struct hooks *h)
{
	pair_open(&w.p, h2_relay_new, h);
	for (int i = 0; i < 2; i++)
		setsockopt(i ? w.p.client : w.p.server, SOL_SOCKET, SO_SNDBUF, &(int){ 1 << 20 }, sizeof(int));
	peer_open(&w.c, w.p.client, false, false);
	peer_open(&w.s, w.p.server, true, false);
}

static void close_world(void)
{
	nghttp2_session_del(w.c.s);
	nghttp2_session_del(w.s.s);
	pair_close(&w.p);
}

static void go(int rounds)
{
	for (int i = 0; i < rounds; i++) {
		peer_go(&w.c);
		pair_step(&w.p);
		peer_go(&w.s);
		pair_step(&w.p);
	}
}

static int32_t ask(const nghttp2_nv *nv, size_t n, size_t body, bool trailers)
{
	nghttp2_data_provider d = { .read_callback = peer_read };
	int32_t id = nghttp2_submit_request(w.c.s, NULL, nv, n, body ? &d : NULL, NULL);
	int i = at(&w.c, id);

	w.c.st[i].to_send = body;
	w.c.st[i].trailers = trailers;
	return id;
}

static const nghttp2_nv get[] = { NV(":method", "GET"), NV(":scheme", "http"), NV(":authority", "h"),
				  NV(":path", "/x?y"), NV("cookie", "a"), NV("cookie", "b"), NV("te", "trailers"),
				  NV("accept-encoding", "gzip") };

#endif /* H2PEERS_H */
