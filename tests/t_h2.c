/* SPDX-License-Identifier: MIT */
/* h2: streams through the engine, hooks, resets, floods and what is refused */
#include <malloc.h>
#include <stdio.h>

#include "../gwproxy/message_int.h"
#include "h2peers.h"

static void test_plain(void)
{
	open_world(NULL);
	w.s.reply = 100000;
	w.s.reply_trailers = true;
	for (int i = 0; i < 50; i++)
		ask(get, 7, i % 2 ? 3000u : 0, i % 4 == 1);
	go(400);
	OK(w.s.n == 50 && !strcmp(w.s.st[0].fields, ":method=GET;:scheme=http;:authority=h;:path=/x?y;cookie=a;cookie=b;te=trailers;"),
	   "50 requests: %s", w.s.st[0].fields);
	OK(strstr(w.s.st[1].fields, "x-end=yes;") && w.s.st[1].body == 3000, "a body and trailers up");
	unsigned good = 0;

	for (unsigned i = 0; i < w.c.n; i++)
		good += !strcmp(w.c.st[i].fields, ":status=200;server=test;x-end=yes;") && w.c.st[i].body == 100000 &&
			w.c.st[i].end && w.c.st[i].closed == 0;
	OK(good == 50, "%u answers, with bodies and trailers down", good);
	nghttp2_submit_goaway(w.c.s, 0, 0, 0, NULL, 0);
	nghttp2_session_terminate_session(w.c.s, 0);
	go(5);
	OK(w.p.state == RELAY_DONE, "the client's GOAWAY ends it: %s", w.p.why);
	close_world();
}

/* Hooks */
static struct {
	enum hook_verdict request, response;
	bool change, edit, wait, wait_body, keep;
	struct exchange *x;
	unsigned ends, pieces;
	char why[64];
} script;

static enum hook_verdict on_request(void *ctx, unsigned self, struct exchange *x)
{
	(void)ctx, (void)self;
	script.x = x;
	if (script.change) {
		message_set(x->req, text_of("X-New"), text_of("1"));
		message_set_path(x->req, text_of("/other"));
		message_del(x->req, text_of("Cookie"));
	}
	if (script.request == HOOK_ANSWER) {
		x->answer = message_new();
		message_set_status(x->answer, 403, text_of(""));
		x->answer_body = text_of(strdup("no"));	/* it is freed */
	}
	return script.wait ? HOOK_WAIT : script.request;
}

static enum hook_verdict on_response(void *ctx, unsigned self, struct exchange *x)
{
	(void)ctx, (void)self, (void)x;
	if (script.change)
		message_set(x->resp, text_of("Server"), text_of("us"));
	return script.wait ? HOOK_WAIT : script.response;
}

static enum hook_verdict on_body(void *ctx, unsigned self, struct exchange *x, struct body *b)
{
	(void)ctx, (void)self, (void)x;
	script.pieces++;
	if (b->last && !script.keep && body_replace(b, "END", 3))
		return HOOK_DROP;
	return script.wait || script.wait_body ? HOOK_WAIT : HOOK_PASS;
}

static bool on_changes(void *ctx, unsigned self, const struct exchange *x, bool response)
{
	(void)ctx, (void)self, (void)x, (void)response;
	return script.edit;
}

static void on_end(void *ctx, unsigned self, struct exchange *x)
{
	(void)ctx, (void)self;
	script.ends++;
	snprintf(script.why, sizeof(script.why), "%s", x->why);
}

static const struct hook_ops scripted = {
	.name = "script", .request = on_request, .response = on_response, .request_body = on_body,
	.response_body = on_body, .body_changes = on_changes, .exchange_end = on_end,
};
static struct hooks hooks;

static void test_hooks(void)
{
	memset(&script, 0, sizeof(script));
	script.change = script.edit = true;
	open_world(&hooks);
	w.s.reply = 200000;
	ask(get, 8, 70000, false);
	go(30);
	OK(strstr(w.s.st[0].fields, ":path=/other;") && strstr(w.s.st[0].fields, "x-new=1;") &&
	   !strstr(w.s.st[0].fields, "cookie") && strstr(w.s.st[0].fields, "accept-encoding=identity"),
	   "a request changed: %s", w.s.st[0].fields);
	OK(!strcmp(w.c.st[0].fields, ":status=200;server=us;"), "a response changed: %s", w.c.st[0].fields);
	OK(w.c.st[0].end && w.c.st[0].body < 200000 + 4 && w.s.st[0].end && w.s.st[0].body,
	   "bodies through hooks: %zu up, %zu down", w.s.st[0].body, w.c.st[0].body);
	OK(script.ends == 1 && !strcmp(script.why, "done"), "its end: %s", script.why);
	close_world();

	memset(&script, 0, sizeof(script));
	script.request = HOOK_ANSWER;
	open_world(&hooks);
	ask(get, 7, 0, false);
	ask(get, 7, 1000000, false);
	go(10);
	OK(!w.s.n && !strcmp(w.c.st[0].fields, ":status=403;content-length=2;") && w.c.st[0].body == 2 &&
	   w.c.st[0].closed == 0, "answered: %s", w.c.st[0].fields);
	OK(w.c.st[1].body == 2 && w.c.st[1].closed == 0 && !strcmp(script.why, "answered"),
	   "and one whose body is under way: %s", script.why);
	close_world();

	memset(&script, 0, sizeof(script));
	script.request = HOOK_DROP;
	open_world(&hooks);
	ask(get, 7, 0, false);
	go(3);
	OK(w.c.st[0].closed == NGHTTP2_CANCEL && !w.s.n && !strcmp(script.why, "dropped"), "dropped");
	close_world();
}

static void test_wait(void)
{
	memset(&script, 0, sizeof(script));
	script.wait = script.edit = true;
	open_world(&hooks);
	w.s.reply = 10;
	ask(get, 7, 20, false);
	go(5);
	OK(!w.s.n && script.x, "a hook lets a request wait");
	for (int i = 0; i < 10 && !script.ends; i++) {
		if (script.x->wait.point != POINT_NONE)
			exchange_resume(script.x, HOOK_PASS);
		go(5);
	}
	OK(w.s.st[0].body == 3 && w.c.st[0].body == 3 && script.ends == 1 && w.c.st[0].closed == 0,
	   "and all of its points, one after the other");
	close_world();
}

/* What comes while a piece waits is the next one */
static void test_wait_more(void)
{
	memset(&script, 0, sizeof(script));
	script.wait_body = script.edit = script.keep = true;
	open_world(&hooks);
	w.s.reply = 60000;
	ask(get, 7, 60000, false);
	go(1);
	for (int i = 0; i < 200 && !script.ends; i++) {
		if (script.x->wait.point != POINT_NONE)
			exchange_resume(script.x, HOOK_PASS);
		go(1);
	}
	go(5);
	OK(w.s.st[0].body == 60000 && w.c.st[0].body == 60000 && script.pieces > 2 && script.ends == 1,
	   "nothing of it is lost: %zu up, %zu down, in %u pieces", w.s.st[0].body, w.c.st[0].body, script.pieces);
	close_world();
}

/* Next piece of what the server has to say */
static void say_piece(void)
{
	const uint8_t *p;
	ssize_t n = nghttp2_session_mem_send(w.s.s, &p);

	if (n > 0 && send(w.p.server, p, (size_t)n, MSG_NOSIGNAL) != n)
		printf("# not sent\n");
}

/* Answered while the server's trailers, which nobody will see, are half here */
static void test_wait_trailers(void)
{
	static char long_value[8000];
	nghttp2_nv head = NV(":status", "200"), more[3];

	memset(long_value, 'x', sizeof(long_value));
	for (int i = 0; i < 3; i++)
		more[i] = (nghttp2_nv){ (uint8_t *)(uintptr_t)"x", (uint8_t *)long_value, 1, sizeof(long_value), 0 };
	memset(&script, 0, sizeof(script));
	script.wait_body = script.edit = script.keep = true;
	open_world(&hooks);
	w.s.no_reply = true;
	ask(get, 7, 30000, false);
	go(5);
	nghttp2_submit_headers(w.s.s, 0, w.s.st[0].id, NULL, &head, 1, NULL);
	go(1);
	nghttp2_submit_headers(w.s.s, NGHTTP2_FLAG_END_STREAM, w.s.st[0].id, NULL, more, 3, NULL);
	say_piece();
	pair_step(&w.p);
	script.x->answer = message_new();
	message_set_status(script.x->answer, 403, text_of(""));
	say_piece();
	exchange_resume(script.x, HOOK_ANSWER);
	go(5);
	OK(!strncmp(w.c.st[0].fields, ":status=403;", 12) && script.ends == 1, "answered amid trailers: %.40s",
	   w.c.st[0].fields);
	close_world();
}

/* A connection that is quiet holds little of what it had while it was busy */
static void test_quiet(void)
{
	size_t before, after;

	open_world(NULL);
	w.s.reply = 100;
	ask(get, 7, 0, false);
	go(10);
	before = mallinfo2().uordblks;
	for (int i = 0; i < 90; i++)
		ask(get, 7, 0, false);
	go(100);
	after = mallinfo2().uordblks;
	OK(w.c.st[90].end && after < before + 65536, "90 requests at once leave %zd bytes", (ssize_t)(after - before));
	close_world();
}

static void test_resets(void)
{
	int32_t id;

	memset(&script, 0, sizeof(script));
	open_world(&hooks);
	w.s.no_reply = true;
	id = ask(get, 7, 0, false);
	go(4);
	nghttp2_submit_rst_stream(w.c.s, 0, id, NGHTTP2_CANCEL);
	go(4);
	OK(w.s.st[0].closed == NGHTTP2_CANCEL && !strcmp(script.why, "client reset"), "a client's reset goes on");
	ask(get, 7, 0, false);
	go(4);
	nghttp2_submit_rst_stream(w.s.s, 0, w.s.st[1].id, NGHTTP2_ENHANCE_YOUR_CALM);
	go(4);
	OK(w.c.st[1].closed == NGHTTP2_ENHANCE_YOUR_CALM && !strcmp(script.why, "server reset"),
	   "and a server's, with its code");
	ask(get, 7, 0, false);
	go(4);
	nghttp2_submit_goaway(w.s.s, 0, w.s.st[2].id, NGHTTP2_NO_ERROR, NULL, 0);
	go(4);
	OK(w.c.goaway == 5, "the server's GOAWAY goes on: last stream %d", w.c.goaway);
	peer_answer(&w.s, w.s.st[2].id);
	go(4);
	OK(w.c.st[2].closed == 0 && w.p.state == RELAY_DONE, "what it took is answered, then it ends: %s", w.p.why);
	close_world();

	memset(&script, 0, sizeof(script));
	open_world(&hooks);
	w.s.no_reply = true;
	ask(get, 7, 0, false);
	go(4);
	close(w.p.server);
	w.p.server = -1;
	for (int i = 0; i < 3; i++) {
		pair_step(&w.p);
		peer_go(&w.c);
	}
	OK(w.c.st[0].closed == NGHTTP2_INTERNAL_ERROR && !strcmp(script.why, "server closed"),
	   "a server that goes away: %s", script.why);
	close_world();
}

static void test_refused(void)
{
	static const struct { const char *what; nghttp2_nv nv[6]; size_t n; } bad[] = {
		{ "a name in capitals", { NV(":method", "GET"), NV(":scheme", "http"), NV(":authority", "h"), NV(":path", "/"), NV_AS_IS("X-Up", "1") }, 5 },
		{ "Connection", { NV(":method", "GET"), NV(":scheme", "http"), NV(":authority", "h"), NV(":path", "/"), NV("connection", "close") }, 5 },
		{ "Transfer-Encoding", { NV(":method", "GET"), NV(":scheme", "http"), NV(":authority", "h"), NV(":path", "/"), NV("transfer-encoding", "chunked") }, 5 },
		{ "two lengths", { NV(":method", "POST"), NV(":scheme", "http"), NV(":authority", "h"), NV(":path", "/"), NV("content-length", "5"), NV("content-length", "5") }, 6 },
		{ "a length and no body", { NV(":method", "POST"), NV(":scheme", "http"), NV(":authority", "h"), NV(":path", "/"), NV("content-length", "5") }, 5 },
		{ "CR LF in a value", { NV(":method", "GET"), NV(":scheme", "http"), NV(":authority", "h"), NV(":path", "/"), NV("x", "a\r\nb: c") }, 5 },
		{ "a space in a path", { NV(":method", "GET"), NV(":scheme", "http"), NV(":authority", "h"), NV(":path", "/ HTTP/1.1") }, 4 },
		{ "a colon in a name", { NV(":method", "GET"), NV(":scheme", "http"), NV(":authority", "h"), NV(":path", "/"), NV("a:b", "c") }, 5 },
		{ "a pseudo field behind others", { NV(":method", "GET"), NV(":scheme", "http"), NV(":authority", "h"), NV("x", "y"), NV(":path", "/") }, 5 },
		{ "no path", { NV(":method", "GET"), NV(":scheme", "http"), NV(":authority", "h") }, 3 },
		{ "two paths", { NV(":method", "GET"), NV(":scheme", "http"), NV(":authority", "h"), NV(":path", "/"), NV(":path", "/") }, 5 },
		{ "a bad method", { NV(":method", "GET / HTTP/1.1"), NV(":scheme", "http"), NV(":authority", "h"), NV(":path", "/") }, 4 },
		{ "te other than trailers", { NV(":method", "GET"), NV(":scheme", "http"), NV(":authority", "h"), NV(":path", "/"), NV("te", "gzip") }, 5 },
	}, answered[] = {
		{ "refused: host-mismatch", { NV(":method", "GET"), NV(":scheme", "http"), NV(":authority", "h"), NV(":path", "/"), NV("host", "other") }, 5 },
		{ "refused: host-twice", { NV(":method", "GET"), NV(":scheme", "http"), NV(":path", "/"), NV("host", "h"), NV("host", "h") }, 5 },
		{ "refused: host", { NV(":method", "GET"), NV(":scheme", "http"), NV(":authority", "u@h"), NV(":path", "/") }, 4 },
		{ "refused: target", { NV(":method", "GET"), NV(":scheme", "http"), NV(":authority", "h"), NV(":path", "/#x") }, 4 },
	};

	memset(&script, 0, sizeof(script));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		open_world(&hooks);
		ask(bad[i].nv, bad[i].n, 0, false);
		go(4);
		OK(!w.s.n && w.c.st[0].closed > 0 && !w.c.st[0].fields[0], "%s: reset with %d, the server hears nothing",
		   bad[i].what, (int)w.c.st[0].closed);
		close_world();
	}
	for (size_t i = 0; i < sizeof(answered) / sizeof(answered[0]); i++) {
		open_world(&hooks);
		ask(answered[i].nv, answered[i].n, 0, false);
		go(4);
		OK(!w.s.n && (strstr(w.c.st[0].fields, ":status=400;") || w.c.st[0].closed > 0), "%s: %s%s", answered[i].what,
		   w.c.st[0].fields, script.why);
		close_world();
	}
}

static void test_large(void)
{
	static char value[16000];
	nghttp2_nv nv[14];

	memset(value, 'v', sizeof(value));
	memcpy(nv, get, sizeof(get[0]) * 4);
	for (int i = 4; i < 9; i++)
		nv[i] = (nghttp2_nv){ (uint8_t *)(uintptr_t)"x-large", (uint8_t *)value, 7, sizeof(value), 0 };
	memset(&script, 0, sizeof(script));
	open_world(&hooks);
	nghttp2_submit_request(w.c.s, NULL, nv, 9, NULL, NULL);
	go(5);
	OK(!w.s.n && w.c.n && (strstr(w.c.st[0].fields, ":status=431;") || w.c.st[0].closed > 0 || w.c.goaway_code),
	   "a head that is too large: %s %d", w.c.st[0].fields, (int)w.c.goaway_code);
	close_world();
}

static void test_floods(void)
{
	static const uint8_t ping[17] = { 0, 0, 8, 6 }, settings[9] = { 0, 0, 0, 4 };
	struct got got = { 0 };
	struct { const char *what; const uint8_t *frame; size_t len; } flood[] = {
		{ "PING", ping, sizeof(ping) }, { "SETTINGS", settings, sizeof(settings) },
	};

	for (size_t i = 0; i < 2; i++) {
		open_world(NULL);
		go(3);
		for (int k = 0; k < 5000 && w.p.state == RELAY_WAIT; k++) {
			send(w.p.client, flood[i].frame, flood[i].len, MSG_NOSIGNAL);
			pair_step(&w.p);
			got_take(&got, w.p.client);
		}
		OK(w.p.state != RELAY_WAIT && !strcmp(w.p.why, "refused: flood"), "a flood of %s ends it: %s",
		   flood[i].what, w.p.why);
		got_free(&got);
		close_world();
	}
	open_world(NULL);
	for (int k = 0; k < 5000 && w.p.state == RELAY_WAIT; k++) {
		int32_t id = nghttp2_submit_request(w.c.s, NULL, get, 4, NULL, NULL);

		peer_go(&w.c);
		nghttp2_submit_rst_stream(w.c.s, 0, id, NGHTTP2_CANCEL);
		peer_go(&w.c);
		pair_step(&w.p);
		w.c.n = w.s.n = 0;
		w.s.no_reply = true;
		peer_go(&w.s);
		w.s.n = 0;
	}
	peer_go(&w.c);
	OK(w.p.state != RELAY_WAIT, "rapid resets end it: %s", w.p.why ? w.p.why : "no");
	close_world();

	open_world(NULL);	/* the same, but we are made to reset: a window too wide */
	w.s.no_reply = true;
	for (int k = 0; k < 5000 && w.p.state == RELAY_WAIT; k++) {
		int32_t id = nghttp2_submit_request(w.c.s, NULL, get, 4, NULL, NULL);
		uint8_t wide[13] = { 0, 0, 4, 8, 0, 0, 0, (uint8_t)(id >> 8), (uint8_t)id, 0x7f, 255, 255, 255 };

		peer_go(&w.c);
		pair_step(&w.p);
		send(w.p.client, wide, sizeof(wide), MSG_NOSIGNAL);
		w.c.n = w.s.n = 0;
		pair_step(&w.p);
		peer_go(&w.s);
	}
	peer_go(&w.c);
	OK(w.p.state != RELAY_WAIT, "and so do those that it makes us send: %s", w.p.why ? w.p.why : "no");
	close_world();

	open_world(NULL);
	w.s.no_reply = true;
	for (int k = 0; k < 110; k++)
		ask(get, 4, 0, false);
	go(6);
	OK(w.s.n == 100, "%u streams at once", w.s.n);
	close_world();

	open_world(NULL);
	send(w.p.client, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", 27, 0);
	for (int i = 0; i < 4; i++)
		pair_step(&w.p);
	peer_go(&w.c);
	OK(w.c.gone, "HTTP/1.1 on an HTTP/2 connection: closed");
	close_world();
}

/* Interim responses: the client does not read, they are not gathered */
static void test_interim(void)
{
	nghttp2_nv nv[] = { NV(":status", "103"), NV("link", "</a>; rel=preload") };
	unsigned n = 0;

	memset(&script, 0, sizeof(script));
	open_world(&hooks);
	w.s.no_reply = true;
	ask(get, 4, 0, false);
	go(4);
	for (int i = 0; i < 3; i++)
		nghttp2_submit_headers(w.s.s, 0, w.s.st[0].id, NULL, nv, 2, NULL);
	go(3);
	OK(!strcmp(w.c.st[0].fields, ":status=103;link=</a>; rel=preload;:status=103;link=</a>; rel=preload;"
		   ":status=103;link=</a>; rel=preload;"), "interim responses go on: %s", w.c.st[0].fields);
	for (; n < 5000 && !script.ends; n++) {
		nghttp2_submit_headers(w.s.s, 0, w.s.st[0].id, NULL, nv, 2, NULL);
		peer_go(&w.s);
		pair_step(&w.p);
		peer_go(&w.c);
	}
	OK(n < 1000 && !strcmp(script.why, "refused: too-many-interim"), "without end they don't: %u, %s", n, script.why);
	OK(w.p.state == RELAY_WAIT && w.c.st[0].closed == NGHTTP2_ENHANCE_YOUR_CALM, "the connection lives on");
	close_world();
}

/* Both sides speak in turn on one stream, each piece as the answer to the other's */
static struct turn {
	bool more, end;
	int64_t n;
} turns[2];

static ssize_t turn_read(nghttp2_session *s, int32_t id, uint8_t *buf, size_t len, uint32_t *flags,
			 nghttp2_data_source *src, void *user)
{
	struct turn *t = src->ptr;

	(void)s, (void)id, (void)len, (void)user;
	if (!t->more && !t->end)
		return NGHTTP2_ERR_DEFERRED;
	if (t->end) {
		*flags |= NGHTTP2_DATA_FLAG_EOF;
		return 0;
	}
	t->more = false;
	memset(buf, 'a' + (int)(t->n++ % 26), 100);
	return 100;
}

static void test_both_ways(const struct hooks *h, const char *how)
{
	nghttp2_data_provider up = { { .ptr = &turns[0] }, turn_read }, down = { { .ptr = &turns[1] }, turn_read };
	nghttp2_nv ok[] = { NV(":status", "200"), NV("content-type", "application/grpc") };
	int32_t id;
	unsigned good = 0;

	memset(&script, 0, sizeof(script));
	memset(turns, 0, sizeof(turns));
	open_world(h);
	w.s.no_reply = true;
	id = nghttp2_submit_request(w.c.s, NULL, get, 4, &up, NULL);
	go(3);
	OK(w.s.n == 1 && !w.s.st[0].end, "the request's head goes on before its body%s", how);
	nghttp2_submit_response(w.s.s, w.s.st[0].id, ok, 2, &down);
	go(3);
	OK(w.c.n == 1 && strstr(w.c.st[0].fields, ":status=200;"), "and the response's before the request ended%s", how);
	for (unsigned i = 1; i <= 200; i++) {
		turns[0].more = true;
		nghttp2_session_resume_data(w.c.s, id);
		go(2);
		good += w.s.st[0].body == i * 100u;
		turns[1].more = true;
		nghttp2_session_resume_data(w.s.s, w.s.st[0].id);
		go(2);
		good += w.c.st[0].body == i * 100u;
	}
	OK(good == 400, "each of 200 pieces, up and down, comes before the next is sent: %u%s", good, how);
	turns[1].end = true;	/* the server first: the client may go on */
	nghttp2_session_resume_data(w.s.s, w.s.st[0].id);
	go(2);
	turns[0].end = true;
	nghttp2_session_resume_data(w.c.s, id);
	go(3);
	OK(w.c.st[0].end && w.c.st[0].sum == w.s.st[0].sum, "the same bytes both ways%s", how);
	close_world();
}

static ssize_t byte_read(nghttp2_session *s, int32_t id, uint8_t *buf, size_t len, uint32_t *flags,
			 nghttp2_data_source *src, void *user)
{
	int *left = src->ptr;

	(void)s, (void)id, (void)len, (void)user;
	*buf = 'x';
	if (!--*left)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return 1;
}

/* Hooks may search all that they hold at each piece */
static void test_small_frames(void)
{
	int left = 1000;

	memset(&script, 0, sizeof(script));
	script.edit = true;
	open_world(&hooks);
	go(2);
	nghttp2_submit_request(w.c.s, NULL, get, 4, &(nghttp2_data_provider){ { .ptr = &left }, byte_read }, NULL);
	go(3);
	OK(!left && w.s.st[0].end && script.pieces < 5, "1000 frames of a byte are %u pieces for the hooks", script.pieces);
	close_world();
}

static void test_trailers(void)
{
	nghttp2_nv no = NV("content-length", "5");
	int32_t id;

	memset(&script, 0, sizeof(script));
	memset(turns, 0, sizeof(turns));
	open_world(&hooks);
	w.s.no_reply = true;
	id = nghttp2_submit_request(w.c.s, NULL, get, 4,
				    &(nghttp2_data_provider){ { .ptr = &turns[0] }, turn_read }, NULL);
	go(3);
	no.name = (uint8_t *)(uintptr_t)"authorization";
	no.namelen = 13;
	nghttp2_submit_headers(w.c.s, NGHTTP2_FLAG_END_STREAM, id, NULL, &no, 1, NULL);
	go(4);
	OK(w.s.st[0].closed > 0 && !strstr(w.s.st[0].fields, "authorization"), "a trailer that belongs into the head: %s",
	   w.s.st[0].fields);
	close_world();
}

static void test_wait_ends(void)
{
	memset(&script, 0, sizeof(script));
	script.wait = true;
	open_world(&hooks);
	ask(get, 7, 0, false);
	go(3);
	for (int i = 0; i < 3; i++) {
		w.p.now += 11000000000u;
		go(2);
	}
	OK(w.c.st[0].closed == NGHTTP2_CANCEL && !strcmp(script.why, "timeout"), "a hook that never decides: %s", script.why);
	close_world();
}

/* A client that takes nothing any more, not even that its streams are reset */
static void test_stuck(void)
{
	memset(&script, 0, sizeof(script));
	open_world(&hooks);
	setsockopt(w.p.cl.l.fd, SOL_SOCKET, SO_SNDBUF, &(int){ 4096 }, sizeof(int));
	w.s.reply = 10 << 20;
	nghttp2_session_set_local_window_size(w.c.s, 0, 0, 1 << 24);
	for (int i = 0; i < 4; i++)
		nghttp2_session_set_local_window_size(w.c.s, 0, ask(get, 7, 0, false), 1 << 24);
	peer_go(&w.c);
	for (int i = 0; i < 400; i++) {
		if (i > 200 && i % 10 == 0)
			w.p.now = w.p.r && w.p.r->deadline_ns > w.p.now ? w.p.r->deadline_ns : w.p.now;
		pair_step(&w.p);
		peer_go(&w.s);
	}
	OK(w.p.state == RELAY_RESET && !strcmp(w.p.why, "timeout"), "a client that takes nothing any more: %s",
	   w.p.why ? w.p.why : "for ever");
	close_world();
}

static void test_times(void)
{
	memset(&script, 0, sizeof(script));
	open_world(&hooks);
	w.s.no_reply = true;
	ask(get, 7, 0, false);
	go(4);
	OK(w.p.r->deadline_ns, "a deadline");
	for (int i = 0; i < 4; i++) {
		w.p.now += 11000000000u;
		go(2);
	}
	OK(w.c.st[0].closed == NGHTTP2_CANCEL && !strcmp(script.why, "timeout"), "a response that does not come: %s", script.why);
	w.p.now += 61000000000u;
	go(2);
	w.p.now += 61000000000u;
	go(2);
	OK(w.p.state == RELAY_DONE && !strcmp(w.p.why, "idle"), "then the connection is idle");
	close_world();
}

int main(void)
{
	hooks_add(&hooks, &scripted, NULL);
	test_plain();
	test_hooks();
	test_wait();
	test_wait_more();
	test_quiet();
	test_wait_trailers();
	test_resets();
	test_refused();
	test_large();
	test_floods();
	test_interim();
	test_both_ways(NULL, "");
	test_both_ways(&hooks, ", with a hook");
	test_small_frames();
	test_trailers();
	test_wait_ends();
	test_stuck();
	test_times();
	return tap_done();
}
