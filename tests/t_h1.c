/* SPDX-License-Identifier: MIT */
/* h1: conversations through the engine, byte for byte; hooks that change them; refusals; ends */
#include <stdio.h>

#include "../gwproxy/message_int.h"
#include "legpair.h"
#include "tap.h"

#define REQ(s)	"GET " s " HTTP/1.1\r\nHost: h\r\n\r\n"

/* What each side says; it comes out at the other side as it is. */
static const struct talk { const char *name, *up, *down; bool server_ends; } talks[] = {
	{ "plain", REQ("/"), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", 0 },
	{ "odd spacing and case", "geT /x?y=%20&z HTTP/1.1\r\nhOsT:\t h  \r\nX-EMPTY:\r\nX:y\r\nX: z\r\n\r\n",
	  "HTTP/1.1 200 Very  Okay \r\nCONTENT-length:2\r\nSet-Cookie: a\r\nset-cookie: b\r\n\r\nhi", 0 },
	{ "no phrase", REQ("/"), "HTTP/1.1 299\r\nContent-Length: 0\r\n\r\n", 0 },
	{ "HEAD", "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", 0 },
	{ "204", REQ("/"), "HTTP/1.1 204 No Content\r\nX: y\r\n\r\n", 0 },
	{ "304 with a length", REQ("/"), "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\nETag: \"x\"\r\n\r\n", 0 },
	{ "unknown method", "BREW /pot HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nmug",
	  "HTTP/1.1 418 I'm a teapot\r\nContent-Length: 0\r\n\r\n", 0 },
	{ "sized body up", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
	  "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0 },
	{ "chunked with extensions and trailers both ways",
	  "POST / HTTP/1.1\r\nHost: h\r\nTrailer: X\r\nTransfer-Encoding: Chunked\r\n\r\n"
	  "5;a=b;c=\"d e\"\r\nhello\r\n000A\r\n0123456789\r\n0;z\r\nX: y\r\n\r\n",
	  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-T:  u \r\n\r\n", 0 },
	{ "100-continue", "PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok",
	  "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n", 0 },
	{ "early hints", REQ("/"), "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n"
	  "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", 0 },
	{ "until close", REQ("/"), "HTTP/1.1 200 OK\r\n\r\nall there is", 1 },
	{ "HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", "HTTP/1.0 200 OK\r\nServer: old\r\n\r\nold", 1 },
	{ "HTTP/1.0 kept alive", "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
	  "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\n1", 0 },
	{ "server says close", REQ("/"), "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n1", 1 },
	{ "absolute form", "GET http://h/a HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0 },
	{ "asterisk", "OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0 },
	{ "upgrade to something", "GET /s HTTP/1.1\r\nHost: h\r\nConnection: x, Upgrade\r\nUpgrade: mine/1\r\n\r\nA\nB",
	  "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: mine/1\r\n\r\n\0C", 0 },
	{ "websocket", "GET /s HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x80zzzz",
	  "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\n\r\n\x81\x01y", 0 },
	{ "CONNECT", "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n\x16\x03\x01", "HTTP/1.1 200 OK\r\n\r\n\x16\x03", 0 },
	{ "coded and chunked", REQ("/"), "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", 0 },
};

/* @up and @down through the engine, @step bytes at a time; true: as they were */
static bool converse(const struct talk *t, size_t step, const struct hooks *h)
{
	size_t nup = strlen(t->up), ndown = strlen(t->down), up = 0, down = 0;
	struct got at_server = { 0 }, at_client = { 0 };
	struct pair p;
	bool same;

	pair_open(&p, h1_relay_new, h);
	for (unsigned idle = 0; idle < 3; idle++) {
		size_t n = nup - up < step ? nup - up : step;

		if (n && (n = (size_t)send(p.client, t->up + up, n, MSG_NOSIGNAL)))
			idle = 0;
		up += n;
		pair_step(&p);
		got_take(&at_server, p.server);
		if (at_server.len == nup || (at_server.len && strstr(t->up, "Expect") && up == nup) ||
		    strstr(t->up, "pgrade") || strstr(t->up, "CONNECT")) {
			n = ndown - down < step ? ndown - down : step;
			if (n && at_server.len && (n = (size_t)send(p.server, t->down + down, n, MSG_NOSIGNAL)))
				idle = 0;
			down += at_server.len ? n : 0;
			if (down == ndown && t->server_ends)
				shutdown(p.server, SHUT_WR);
		}
		pair_step(&p);
		got_take(&at_client, p.client);
	}
	same = at_server.len == nup && !memcmp(at_server.p, t->up, nup) && at_client.len == ndown &&
	       !memcmp(at_client.p, t->down, ndown) && at_client.eof == t->server_ends &&
	       p.state == RELAY_WAIT;
	if (!same)
		printf("# step %zu: server got '%s', client got '%s', eof %d, state %d %s\n", step,
		       at_server.p, at_client.p, at_client.eof, p.state, p.why ? p.why : "");
	if (same && !t->server_ends) {	/* it lives on, and ends with the client */
		close(p.client);
		p.client = -1;
		pair_step(&p);
		got_take(&at_server, p.server);
		same = at_server.eof || p.state != RELAY_WAIT;
	}
	pair_close(&p);
	got_free(&at_server);
	got_free(&at_client);
	return same;
}

static void test_equal(const struct hooks *h, const char *how)
{
	for (size_t i = 0; i < sizeof(talks) / sizeof(talks[0]); i++) {
		bool same = true;

		for (size_t step = 1; step < 40; step += 3)
			same &= converse(&talks[i], step, h);
		OK(same && converse(&talks[i], 100000, h), "%s%s", talks[i].name, how);
	}
}

/* A hook that tests command */
static struct script {
	enum hook_verdict request, response;
	bool set, edit_up, edit_down, grow;
	bool wait;
	unsigned status;	/* of an answer without a body; 0: 403, with one */
	struct exchange *x;
	unsigned ends, requests;
	char why[64];
	uint64_t up, down;
	unsigned waits, pieces;
} script;

static enum hook_verdict on_request(void *ctx, unsigned self, struct exchange *x)
{
	struct script *s = ctx;

	(void)self;
	s->requests++;
	s->x = x;
	if (s->set) {
		message_set(x->req, text_of("X-Set"), text_of("new"));
		message_set(x->req, text_of("user-agent"), text_of("other"));
		message_del(x->req, text_of("X-Del"));
		message_set_path(x->req, text_of("/else"));
	}
	if (s->request == HOOK_ANSWER) {
		x->answer = message_new();
		message_set_status(x->answer, s->status ? s->status : 403, text_of("No"));
		message_add(x->answer, text_of("X-By"), text_of("us"));
		if (!s->status)
			x->answer_body = text_of(strdup("forbidden"));	/* it is freed */
	}
	return s->wait ? HOOK_WAIT : s->request;
}

static enum hook_verdict on_response(void *ctx, unsigned self, struct exchange *x)
{
	struct script *s = ctx;

	(void)self;
	if (s->set)
		message_add(x->resp, text_of("X-Resp"), text_of("1"));
	return s->wait ? HOOK_WAIT : s->response;
}

static enum hook_verdict on_body(void *ctx, unsigned self, struct exchange *x, struct body *b)
{
	struct script *s = ctx;
	char out[64];

	(void)self;
	(void)x;
	if (s->grow && b->len && b->len < 30) {
		snprintf(out, sizeof(out), "<%.*s>", (int)b->len, (const char *)b->data);
		body_replace(b, out, strlen(out));
	}
	s->pieces++;
	if (s->wait && b->len)
		s->waits++;
	return s->wait ? HOOK_WAIT : HOOK_PASS;
}

static bool on_changes(void *ctx, unsigned self, const struct exchange *x, bool response)
{
	const struct script *s = ctx;

	(void)self;
	(void)x;
	return response ? s->edit_down : s->edit_up;
}

static void on_end(void *ctx, unsigned self, struct exchange *x)
{
	struct script *s = ctx;

	(void)self;
	s->ends++;
	s->up = x->req_bytes;
	s->down = x->resp_bytes;
	snprintf(s->why, sizeof(s->why), "%s", x->why ? x->why : "");
}

static const struct hook_ops scripted = {
	.name = "script", .request = on_request, .response = on_response, .request_body = on_body,
	.response_body = on_body, .body_changes = on_changes, .exchange_end = on_end,
};
static struct hooks hooks;

/* One conversation under a script; what came out is compared. */
static void changed(const char *name, const char *up, const char *down, const char *up_out,
		    const char *down_out, bool server_ends)
{
	struct got at_server = { 0 }, at_client = { 0 };
	struct pair p;

	pair_open(&p, h1_relay_new, &hooks);
	send(p.client, up, strlen(up), MSG_NOSIGNAL);
	for (int i = 0; i < 4; i++)
		pair_step(&p), got_take(&at_server, p.server);
	if (down)
		send(p.server, down, strlen(down), MSG_NOSIGNAL);
	if (server_ends)
		shutdown(p.server, SHUT_WR);
	for (int i = 0; i < 4; i++)
		pair_step(&p), got_take(&at_client, p.client);
	got_take(&at_server, p.server);
	OK(!strcmp(at_server.p, up_out) && !strcmp(at_client.p, down_out), "%s", name);
	if (strcmp(at_server.p, up_out) || strcmp(at_client.p, down_out))
		printf("# server got '%s'\n# client got '%s' (%s)\n", at_server.p, at_client.p, p.why);
	if (server_ends && !(p.state == RELAY_WAIT || p.state == RELAY_DONE))
		OK(false, "it ends in order: %s", p.why);
	pair_close(&p);
	got_free(&at_server);
	got_free(&at_client);
}

static void test_changes(void)
{
	script = (struct script){ .set = true };
	changed("heads changed, untouched lines as they were",
		"GET /x HTTP/1.1\r\nhost:h\r\nX-Del: 1\r\nUSER-Agent:  me \r\nOdd:  y \r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length:2\r\n\r\nhi",
		"GET /else HTTP/1.1\r\nhost:h\r\nUSER-Agent: other\r\nOdd:  y \r\nX-Set: new\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length:2\r\nX-Resp: 1\r\n\r\nhi", false);
	changed("Connection does not name what a hook set",
		"GET /x HTTP/1.1\r\nHost: h\r\nConnection: a,  x-SET ,keep-alive\r\nconnection: user-agent, b\r\n\r\n",
		NULL, "GET /else HTTP/1.1\r\nHost: h\r\nConnection: a, keep-alive, b\r\nX-Set: new\r\nuser-agent: other\r\n\r\n",
		"", false);
	changed("nor stays when it named nothing else", "GET /x HTTP/1.1\r\nHost: h\r\nConnection: X-Set\r\n\r\n", NULL,
		"GET /else HTTP/1.1\r\nHost: h\r\nX-Set: new\r\nuser-agent: other\r\n\r\n", "", false);
	script = (struct script){ .edit_up = true, .edit_down = true, .grow = true };
	changed("sized bodies changed become chunked",
		"POST / HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\nContent-Length: 2\r\n\r\nhi",
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX: y\r\n\r\nyes",
		"POST / HTTP/1.1\r\nHost: h\r\nAccept-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n<hi>\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n<yes>\r\n0\r\n\r\n", false);
	OK(script.up == 2 && script.down == 3 && script.ends == 1 && !strcmp(script.why, "done"),
	   "sizes as received");
	changed("chunked ones keep their trailers",
		"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nhi\r\n0\r\nT: u\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\nT:  v\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n<hi>\r\n0\r\nT: u\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n<ab>\r\n0\r\nT:  v\r\n\r\n", false);
	script.edit_up = false;
	changed("toward HTTP/1.0 until close", "GET / HTTP/1.0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes", "GET / HTTP/1.0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n<yes>", false);
	changed("until close to the end", "GET / HTTP/1.0\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\nyes",
		"GET / HTTP/1.0\r\n\r\n", "HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n<yes>", true);
	changed("until close becomes chunked", REQ("/"), "HTTP/1.1 200 OK\r\n\r\nyes", REQ("/"),
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n<yes>\r\n0\r\n\r\n", true);
	changed("HEAD of what is changed has no length", "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX: y\r\n\r\n", "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n",
		"HTTP/1.1 200 OK\r\nX: y\r\n\r\n", false);
	script = (struct script){ .edit_up = true };
	changed("an HTTP/1.0 request's body cannot be changed", "POST / HTTP/1.0\r\nContent-Length: 1\r\n\r\nx", NULL, "",
		"HTTP/1.1 505 HTTP Version Not Supported\r\nContent-Type: text/plain\r\nContent-Length: 21\r\n"
		"Connection: close\r\n\r\nrefused: body-in-1.0\n", false);
}

static void test_verdicts(void)
{
	script = (struct script){ .request = HOOK_ANSWER };
	changed("answered, and the next request, too", REQ("/1") REQ("/2"), NULL, "",
		"HTTP/1.1 403 No\r\nX-By: us\r\nContent-Length: 9\r\n\r\nforbidden"
		"HTTP/1.1 403 No\r\nX-By: us\r\nContent-Length: 9\r\n\r\nforbidden", false);
	OK(script.ends == 2 && !strcmp(script.why, "answered"), "hooks hear of both ends");
	changed("answered; of the next one nothing is left", "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n\n", NULL, "",
		"HTTP/1.1 403 No\r\nX-By: us\r\nContent-Length: 9\r\n\r\n"
		"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 17\r\n"
		"Connection: close\r\n\r\nrefused: bare-lf\n", false);
	changed("answered before a body: and closed",
		"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nx", NULL, "",
		"HTTP/1.1 403 No\r\nX-By: us\r\nContent-Length: 9\r\nConnection: close\r\n\r\nforbidden", false);
	for (unsigned status = 204; status <= 304; status += 50) {
		char want[64];

		script = (struct script){ .request = HOOK_ANSWER, .status = status };
		snprintf(want, sizeof(want), "HTTP/1.1 %u No\r\nX-By: us\r\n%s\r\n", status,
			 status == 204 || status == 304 ? "" : "Content-Length: 0\r\n");
		changed("answered without a body", REQ("/"), NULL, "", want, false);
	}
	script = (struct script){ .request = HOOK_DROP };
	changed("dropped", REQ("/"), NULL, "", "", false);
	OK(!strcmp(script.why, "dropped"), "with its reason");
	script = (struct script){ .response = HOOK_DROP };
	changed("a response dropped", REQ("/"), "HTTP/1.1 200 OK\r\n\r\n", REQ("/"), "", false);
}

static void woken(struct relay *r)
{
	++*(unsigned *)r->owner;
}

static void test_wait(void)
{
	struct got at_server = { 0 }, at_client = { 0 };
	unsigned wakes = 0;
	struct pair p;

	script = (struct script){ .wait = true, .edit_up = true, .edit_down = true, .grow = true };
	pair_open(&p, h1_relay_new, &hooks);
	send(p.client, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi", 49, 0);
	for (int i = 0; i < 3; i++)
		pair_step(&p), got_take(&at_server, p.server);
	OK(!at_server.len && script.requests == 1, "a hook lets the request wait");
	p.r->wake = woken;
	p.r->owner = &wakes;
	exchange_resume(script.x, HOOK_PASS);
	OK(wakes == 1, "who runs the engine is told that it may go on");
	pair_step(&p);
	got_take(&at_server, p.server);
	OK(strstr(at_server.p, "chunked\r\n\r\n") && !strstr(at_server.p, "hi") && script.waits == 1,
	   "resumed; now its body waits");
	exchange_resume(script.x, HOOK_PASS);
	pair_step(&p);
	got_take(&at_server, p.server);
	OK(strstr(at_server.p, "4\r\n<hi>\r\n0\r\n\r\n") != NULL, "resumed, it goes on");
	send(p.server, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", 39, 0);
	pair_step(&p);
	got_take(&at_client, p.client);
	OK(!at_client.len, "the response waits");
	exchange_resume(script.x, HOOK_DROP);
	OK(pair_step(&p) == RELAY_RESET && !strcmp(p.why, "dropped"), "and is dropped");
	pair_close(&p);
	got_free(&at_server);
	got_free(&at_client);
}

/* A piece stays in place, and what it says, though more comes meanwhile */
static void test_wait_in_place(void)
{
	static char body[30000], want[30100];
	struct got at_server = { 0 };
	struct pair p;
	size_t n = 0;

	for (size_t i = 0; i < sizeof(body); i++)
		body[i] = (char)('a' + i / 100 % 26);
	script = (struct script){ .wait = true, .edit_up = true };
	pair_open(&p, h1_relay_new, &hooks);
	send(p.client, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 30000\r\n\r\n", 51, 0);
	send(p.client, body, 13000, 0);
	pair_step(&p);
	exchange_resume(script.x, HOOK_PASS);
	pair_step(&p);
	send(p.client, body + 13000, 17000, 0);
	for (int i = 0; i < 20; i++) {
		pair_step(&p);
		got_take(&at_server, p.server);
		if (script.x->wait.point != POINT_NONE)
			exchange_resume(script.x, HOOK_PASS);
	}
	for (const char *c = strstr(at_server.p, "\r\n\r\n"); c && c[4]; ) {	/* chunks */
		size_t len = strtoul(c + (n ? 2 : 4), (char **)(uintptr_t)&c, 16);

		memcpy(want + n, c + 2, n + len > sizeof(body) ? 0 : len);
		n += len;
		c += 2 + len;
		if (!len)
			break;
	}
	OK(n == sizeof(body) && !memcmp(want, body, n), "pieces that wait while more comes: %zu bytes", n);
	pair_close(&p);
	got_free(&at_server);
}

/* A response that ends with the connection, and its request is refused in the midst of it */
static void test_refused_late(void)
{
	struct got at_client = { 0 };
	struct pair p;

	pair_open(&p, h1_relay_new, NULL);
	send(p.client, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n", 62, 0);
	pair_step(&p);
	send(p.server, "HTTP/1.1 200 OK\r\n\r\npart", 23, 0);
	pair_step(&p);
	send(p.client, "zz\r\n", 4, 0);
	for (int i = 0; i < 3 && p.state == RELAY_WAIT; i++)
		pair_step(&p), got_take(&at_client, p.client);
	OK(p.state == RELAY_RESET && !strcmp(p.why, "refused: chunk-size"), "a part of a response does not look whole");
	pair_close(&p);
	got_free(&at_client);
}

static void test_wait_ends(void)
{
	struct got at_server = { 0 };
	struct pair p;

	script = (struct script){ .wait = true };
	pair_open(&p, h1_relay_new, &hooks);
	send(p.client, REQ("/"), strlen(REQ("/")), 0);
	pair_step(&p);
	OK(p.r->deadline_ns > p.now && script.requests == 1, "a hook lets wait: not for ever");
	p.now += 19000000000u;
	send(p.client, "x", 1, 0);
	OK(pair_step(&p) == RELAY_WAIT, "what else comes does not prolong it");
	p.now += 2000000000u;
	OK(pair_step(&p) == RELAY_RESET && !strcmp(script.why, "timeout"), "a hook that never decides: %s",
	   script.why);
	pair_close(&p);
	got_free(&at_server);
}

/* What one server takes for a body is another's next request */
static void test_expect(void)
{
	script = (struct script){ 0 };
	changed("a final response in place of 100: what follows is no body",
		"PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 40\r\n\r\n",
		"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n",
		"PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 40\r\n\r\n",
		"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", false);
	OK(script.ends == 1 && !strcmp(script.why, "done"), "the exchange is over");
	script = (struct script){ 0 };
	changed("nor behind an Expect that one reads and another does not",
		"PUT / HTTP/1.1\r\nHost: h\r\nExpect: y 100-continue\r\nContent-Length: 40\r\n\r\n",
		"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n",
		"PUT / HTTP/1.1\r\nHost: h\r\nExpect: y 100-continue\r\nContent-Length: 40\r\n\r\n",
		"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", false);
	OK(script.ends == 1, "it is over, too");
}

static void test_interim(void)
{
	static const char hint[] = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
	struct got at_client = { 0 };
	struct pair p;
	unsigned n;

	script = (struct script){ 0 };
	pair_open(&p, h1_relay_new, &hooks);
	send(p.client, REQ("/"), strlen(REQ("/")), 0);
	pair_step(&p);
	for (n = 0; n < 5000 && p.state == RELAY_WAIT && !script.ends; n++) {
		send(p.server, hint, strlen(hint), MSG_NOSIGNAL);
		pair_step(&p);
		got_take(&at_client, p.client);
	}
	OK(n * strlen(hint) > 65536 && n * strlen(hint) < 65636 && !strcmp(script.why, "refused: too-many-interim"),
	   "interim responses without end: %u, %s", n, script.why);
	pair_step(&p);
	got_take(&at_client, p.client);
	OK(strstr(at_client.p, "HTTP/1.1 502 ") != NULL, "the client is told");
	pair_close(&p);
	got_free(&at_client);
}

/* Hooks may search all that they hold at each piece */
static void test_small_chunks(void)
{
	static char up[8192] = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
	struct got at_server = { 0 };
	struct pair p;
	size_t n = strlen(up), body = 0;

	for (int i = 0; i < 1000; i++)
		n += (size_t)sprintf(up + n, "1\r\n%c\r\n", 'a' + i % 26);
	n += (size_t)sprintf(up + n, "0\r\nT: u\r\n\r\n");
	script = (struct script){ .edit_up = true };
	pair_open(&p, h1_relay_new, &hooks);
	send(p.client, up, n, 0);
	for (int i = 0; i < 3; i++)
		pair_step(&p), got_take(&at_server, p.server);
	OK(script.pieces == 2 && script.up == 0, "1000 chunks of a byte are %u pieces for the hooks", script.pieces);
	for (char *c = strstr(at_server.p, "\r\n3e8\r\n") + 7; body < 1000 && *c == (char)('a' + body % 26); c++)
		body++;
	OK(body == 1000 && strstr(at_server.p, "\r\n0\r\nT: u\r\n\r\n"), "and one chunk to the server");
	pair_close(&p);
	got_free(&at_server);
}

static void test_cut(void)
{
	struct got at_client = { 0 };
	struct pair p;

	script = (struct script){ .edit_down = true };
	pair_open(&p, h1_relay_new, &hooks);
	send(p.client, "GET / HTTP/1.0\r\n\r\n", 18, 0);
	pair_step(&p);
	send(p.server, "HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nha", 40, 0);
	pair_step(&p);
	shutdown(p.server, SHUT_WR);
	for (int i = 0; i < 3; i++)
		pair_step(&p), got_take(&at_client, p.client);
	OK(p.state == RELAY_RESET && !strcmp(p.why, "server closed"),
	   "half of a body whose end is the connection's is not taken for whole: %s", p.why);
	pair_close(&p);
	got_free(&at_client);
}

static void test_refused(void)
{
	script = (struct script){ 0 };
	changed("a smuggled request: 400, and the server hears nothing",
		"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" REQ("/evil"),
		NULL, "", "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 29\r\n"
		"Connection: close\r\n\r\nrefused: length-and-encoding\n", false);
	OK(script.ends == 1 && script.requests == 0 && !strcmp(script.why, "refused: length-and-encoding"),
	   "hooks hear of its end only");
	changed("a bad chunk within: 400", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\nb\r\n",
		NULL, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na",
		"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 17\r\n"
		"Connection: close\r\n\r\nrefused: bare-lf\n", false);
	changed("a bad response: 502", REQ("/"), "HTTP/1.1 200 OK\r\nA : b\r\n\r\n", REQ("/"),
		"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain\r\nContent-Length: 28\r\n"
		"Connection: close\r\n\r\nrefused: space-before-colon\n", false);
	changed("two responses to one request", REQ("/"),
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", REQ("/"),
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false);
	changed("h2c is not offered on",
		"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false);
	changed("second request refused after a good one", REQ("/1") "GET / HTTP/1.1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", REQ("/1"),
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n"
		"Content-Length: 22\r\nConnection: close\r\n\r\nrefused: host-missing\n", false);
}

static void test_pipelined(void)
{
	struct got at_server = { 0 }, at_client = { 0 };
	struct pair p;
	static char many[100 * sizeof(REQ("/"))];
	const char one[] = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx";
	unsigned n = 0;

	for (int i = 0; i < 100; i++)
		strcat(many, REQ("/"));
	pair_open(&p, h1_relay_new, NULL);
	send(p.client, many, strlen(many), 0);
	shutdown(p.client, SHUT_WR);
	while (n < 200 && p.state == RELAY_WAIT) {
		pair_step(&p);
		got_take(&at_server, p.server);
		if (at_server.len > n * strlen(REQ("/")) && n < 100) {
			send(p.server, one, strlen(one), MSG_NOSIGNAL);
			n++;
		} else {
			n += n >= 100;
		}
		got_take(&at_client, p.client);
	}
	OK(at_server.len == strlen(many) && !memcmp(at_server.p, many, at_server.len) &&
	   at_client.len == 100 * strlen(one), "a hundred pipelined requests");
	OK(p.state == RELAY_DONE && !strcmp(p.why, "done"), "then both are closed: %s", p.why);
	pair_close(&p);
	got_free(&at_server);
	got_free(&at_client);
}

/* 64 MB down to one who reads slowly: how much is held, and that all comes */
static void test_slow(void)
{
	static const char head[] = "HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n";
	static uint8_t data[65536], in[65536];
	size_t sent = 0, got = 0, most = 0, total = 67108864 + strlen(head);
	struct pair p;
	bool same = true;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7);
	pair_open(&p, h1_relay_new, NULL);
	setsockopt(p.cl.l.fd, SOL_SOCKET, SO_SNDBUF, &(int){ 4096 }, sizeof(int));
	setsockopt(p.server, SOL_SOCKET, SO_SNDBUF, &(int){ 4096 }, sizeof(int));
	send(p.client, REQ("/"), strlen(REQ("/")), 0);
	pair_step(&p);
	send(p.server, head, strlen(head), 0);
	sent = strlen(head);
	for (unsigned i = 0; got < total && p.state == RELAY_WAIT; i++) {
		ssize_t n;
		size_t at = (sent - strlen(head)) % sizeof(data);

		if (sent < total && (n = send(p.server, data + at, sizeof(data) - at, MSG_NOSIGNAL)) > 0)
			sent += (size_t)n;
		pair_step(&p);
		if (sent - got > most)
			most = sent - got;
		if (sent < total && i % 10)
			continue;
		n = recv(p.client, in, sizeof(in), 0);
		for (ssize_t k = 0; k < n; k++, got++)
			same &= got < strlen(head) || in[k] == data[(got - strlen(head)) % sizeof(data)];
	}
	OK(got == total && same, "64 MB come through");
	OK(most < 262144, "at most %zu bytes are under way for a slow reader, sockets included", most);
	pair_close(&p);
}

static void test_ends(void)
{
	struct got at_server = { 0 }, at_client = { 0 };
	struct pair p;

	pair_open(&p, h1_relay_new, NULL);
	send(p.client, REQ("/"), strlen(REQ("/")), 0);
	pair_step(&p);
	got_take(&at_server, p.server);
	got_free(&at_server);
	close(p.server);
	p.server = -1;
	pair_step(&p);
	got_take(&at_client, p.client);
	OK(at_client.eof && !at_client.len, "a server that closes without an answer: so it looks to the client");
	close(p.client);
	p.client = -1;
	OK(pair_step(&p) == RELAY_DONE && !strcmp(p.why, "server closed"), "why: %s", p.why);
	pair_close(&p);

	pair_open(&p, h1_relay_new, NULL);
	OK(pair_step(&p) == RELAY_WAIT && p.r->want_client == POLLIN && p.r->want_server == POLLIN &&
	   p.r->deadline_ns, "idle: waits for both");
	p.now += 61000000000u;
	pair_step(&p);
	got_take(&at_server, p.server);
	OK(at_server.eof, "and ends after its time");
	p.now += 2000000000u;
	OK(pair_step(&p) == RELAY_DONE && !strcmp(p.why, "idle"), "why: %s", p.why);
	pair_close(&p);

	pair_open(&p, h1_relay_new, NULL);
	send(p.client, "GET / HT", 8, 0);
	pair_step(&p);
	p.now += 11000000000u;
	OK(pair_step(&p) == RELAY_RESET && !strcmp(p.why, "timeout"), "a head that takes too long");
	pair_close(&p);
	got_free(&at_server);
	got_free(&at_client);
}

int main(void)
{
	hooks_add(&hooks, &scripted, &script);
	test_equal(NULL, "");
	test_equal(&hooks, ", with a hook");
	test_changes();
	test_verdicts();
	test_wait();
	test_wait_in_place();
	test_refused_late();
	test_wait_ends();
	test_expect();
	test_interim();
	test_cut();
	test_small_chunks();
	test_refused();
	test_pipelined();
	test_slow();
	test_ends();
	return tap_done();
}
