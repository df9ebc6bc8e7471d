/* SPDX-License-Identifier: MIT */
/* hrules.h: every action, test and variable; errors and their places; bodies in pieces; reload */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../gwproxy/hrules.h"
#include "tap.h"

static struct hrules_conf conf;
static struct hrules *hr;
static struct conn_facts conn;
static struct exchange x = { .conn = &conn };
static enum hook_verdict verdict;

static struct text t_(const char *s)
{
	return (struct text){ s, strlen(s) };
}

static void drop_exchange(void)
{
	if (hr)
		hrules_ops.exchange_end(hr, 0, &x);
	message_free(x.req);
	message_free(x.resp);
	message_free(x.answer);
	free((void *)(uintptr_t)x.answer_body.p);
	x = (struct exchange){ .conn = &conn };
}

static void use_rules(const char *text)
{
	drop_exchange();
	hrules_close(hr);
	conf = (struct hrules_conf){ .err = stderr, .nsources = 1, .source[0].text = text };
	hr = hrules_open(&conf);
	if (!hr) {
		printf("Bail out! rules: %s\n", text);
		exit(1);
	}
}

/* "Name: value\nName: value" */
static void fields(struct message *m, const char *text)
{
	while (*text) {
		size_t n = strcspn(text, "\n"), colon = strcspn(text, ":");

		message_add(m, (struct text){ text, colon },
			    (struct text){ text + colon + 2, n - colon - 2 });
		text += n + (text[n] == '\n');
	}
}

static enum hook_verdict request(const char *method, const char *host, const char *path,
				 const char *head)
{
	drop_exchange();
	x.req = message_new();
	message_set_method(x.req, t_(method));
	message_set_scheme(x.req, t_("https"));
	message_set_authority(x.req, t_(host));
	message_set_path(x.req, t_(path));
	fields(x.req, head);
	return verdict = hrules_ops.request(hr, 0, &x);
}

static enum hook_verdict get(const char *host, const char *path, const char *head)
{
	return request("GET", host, path, head);
}

static enum hook_verdict response(unsigned status, const char *head)
{
	message_free(x.resp);
	x.resp = message_new();
	message_set_status(x.resp, status, t_(""));
	fields(x.resp, head);
	return verdict = hrules_ops.response(hr, 0, &x);
}

/* The values of all fields of a name, "|" between; NULL: none */
static const char *value_of(const struct message *m, const char *name)
{
	static char text[1024];
	size_t n = 0;
	bool any = false;

	for (size_t i = 0; m && (i = message_find(m, name, i)) != (size_t)-1; i++) {
		struct text v = message_field(m, i)->value;

		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%.*s", any ? "|" : "",
				      (int)v.len, v.p);
		any = true;
	}
	return any ? text : NULL;
}

static bool has(const struct message *m, const char *name, const char *want)
{
	const char *got = value_of(m, name);

	if (got && want && !strcmp(got, want))
		return true;
	if (!got && !want)
		return true;
	printf("# %s: %s\n", name, got ? got : "(none)");
	return false;
}

static bool same(struct text a, const char *b)
{
	if (a.len == strlen(b) && !memcmp(a.p, b, a.len))
		return true;
	printf("# got %.*s\n", (int)a.len, a.p);
	return false;
}

/* A body, cut as @cuts say ("3,1": pieces of 3 and 1 bytes, then the rest), comes out as @want */
static bool body_becomes(bool of_response, const char *body, const char *cuts, const char *want)
{
	size_t left = strlen(body), n = 0, room = 4096;
	char *out = calloc(1, room);
	bool good = true;

	while (good) {
		size_t len = *cuts ? strtoul(cuts, NULL, 10) : left;
		uint8_t *exact;
		struct body b;

		len = len > left ? left : len;
		cuts += strcspn(cuts, ",");
		cuts += *cuts == ',';
		exact = malloc(len + !len);
		memcpy(exact, body, len);
		b = (struct body){ .data = exact, .len = len, .last = len == left };
		body += len;
		left -= len;
		good = (of_response ? hrules_ops.response_body : hrules_ops.request_body)(hr, 0, &x, &b) ==
		       HOOK_PASS && n + b.len < room;
		if (good && b.len)
			memcpy(out + n, b.data, b.len);
		n += b.len;
		free(b.own);
		free(exact);
		if (b.last)
			break;
	}
	good = good && n == strlen(want) && !memcmp(out, want, n);
	if (!good)
		printf("# got %s\n", out);
	free(out);
	return good;
}

static void test_headers(void)
{
	use_rules("set header User-Agent \"${lower:${header:User-Agent}}\" in request "
		  "host shop.example.com\n");
	get("shop.example.com:8443", "/", "User-Agent: Mozilla/5.0 (X11)");
	OK(has(x.req, "user-agent", "mozilla/5.0 (x11)"), "lower-case User-Agent for one host");
	get("www.example.com", "/", "User-Agent: Mozilla/5.0 (X11)");
	OK(has(x.req, "user-agent", "Mozilla/5.0 (X11)"), "and not for another");
	get("SHOP.example.com.", "/", "User-Agent: A");
	OK(has(x.req, "user-agent", "a"), "host's case and final dot mean nothing");
	get("shop.example.com", "/", "Accept: *");
	OK(has(x.req, "user-agent", NULL), "nothing comes of nothing");
	use_rules("set header X \"${header:No} b ${header:No}\" in request\n");
	get("a", "/", "X: a");
	OK(has(x.req, "x", "b"), "no blanks are left at the ends, where something is not known");

	use_rules("set header X-Gwlb-Vpc-Endpoint-Id \"${endpoint}\" in both\n"
		  "set header X-Gwlb-Attachment-Id \"${attachment}\" in both\n"
		  "set header X-Gwlb-Flow-Cookie \"${cookie}\" in both\n");
	get("a", "/", "X-Gwlb-Flow-Cookie: forged");
	OK(has(x.req, "x-gwlb-flow-cookie", NULL) && has(x.req, "x-gwlb-vpc-endpoint-id", NULL),
	   "without a load balancer: nothing, not what a client says");
	conn.from_lb = true;
	conn.endpoint = 0x0a1b2c3d4e5f6071;
	conn.attachment = 0x12;
	conn.cookie = 0xbeef;
	get("a", "/", "X-Gwlb-Flow-Cookie: forged\nX-Gwlb-Flow-Cookie: again");
	OK(has(x.req, "x-gwlb-vpc-endpoint-id", "vpce-00a1b2c3d4e5f6071") &&
	   has(x.req, "x-gwlb-attachment-id", "0000000000000012") &&
	   has(x.req, "x-gwlb-flow-cookie", "0000beef"), "facts of the load balancer in requests");
	response(200, "");
	OK(has(x.resp, "x-gwlb-vpc-endpoint-id", "vpce-00a1b2c3d4e5f6071") &&
	   has(x.resp, "x-gwlb-flow-cookie", "0000beef"), "and in responses");

	use_rules("add header Via \"1.1 gw\" in both\ndel header Server in response\n"
		  "set header Host \"other.example\" in request path \"/api\"\n");
	get("a", "/api/x", "Via: 1.0 a");
	response(200, "Server: nginx\nserver: two");
	OK(has(x.req, "via", "1.0 a|1.1 gw") && has(x.resp, "server", NULL), "add and del");
	OK(same(message_authority(x.req), "other.example"), "Host is the authority");

	use_rules("replace /(secret)=\\w+/i \"$1=***\" in header Cookie\n"
		  "replace \"http:\" \"https:\" in response header Location\n"
		  "replace /; ?Secure/ \"\" in response header Set-Cookie\n"
		  "replace /^\\/v1\\// \"/v2/\" in path\nreplace \"a\" \"b\" in header Host\n"
		  "set header X \"${header:X}\" in request\n");
	get("a.a", "/v1/v1/?q", "Cookie: Secret=abc; x=1; SECRET=d");
	response(302, "Location: http://x\nSet-Cookie: a=1; Secure\nSet-Cookie: b=2;Secure; Path=/");
	OK(has(x.req, "cookie", "Secret=***; x=1; SECRET=***"), "replaced in a header, each match");
	OK(has(x.resp, "location", "https://x"), "in a response's header");
	OK(has(x.resp, "set-cookie", "a=1|b=2; Path=/"), "in each of several fields");
	OK(same(message_path(x.req), "/v2/v1/?q"), "in the path");
	OK(same(message_authority(x.req), "b.b"), "in the Host");
}

static void test_answers(void)
{
	use_rules("redirect 302 \"https://portal.example/notice\" host www.example.com "
		  "not header Referer \"https://portal.example/notice\"\n");
	OK(get("www.example.com", "/x", "") == HOOK_ANSWER && message_status(x.answer) == 302 &&
	   has(x.answer, "location", "https://portal.example/notice"),
	   "visitors of one site are sent to one page");
	OK(get("www.example.com", "/x", "Referer: https://portal.example/notice") == HOOK_PASS,
	   "unless they come from there");
	OK(get("other.example.com", "/x", "") == HOOK_PASS, "other sites are left alone");

	use_rules("respond 403 \"${host} is closed, $1\\n\" host /^(?:www\\.)?(\\w+)\\.example$/\n"
		  "respond 204 path \"/gone\"\n"
		  "respond 200 \"<p>$$5</p>\" as \"text/html\" path \"/page\"\n"
		  "redirect 307 \"https://login.example/?back=${encode:${url}}\" path \"/in\"\n"
		  "drop method TRACE\nrespond 410 method PUT\n");
	OK(get("www.shop.example", "/", "") == HOOK_ANSWER && message_status(x.answer) == 403 &&
	   same(x.answer_body, "www.shop.example is closed, shop\n") &&
	   has(x.answer, "content-type", "text/plain; charset=utf-8") &&
	   has(x.answer, "cache-control", "no-store"), "an answer with groups of a test");
	OK(get("b", "/gone/x", "") == HOOK_ANSWER && message_status(x.answer) == 204 &&
	   !x.answer_body.len, "without a body");
	OK(get("b", "/page", "") == HOOK_ANSWER && has(x.answer, "content-type", "text/html") &&
	   same(x.answer_body, "<p>$5</p>"), "of another type");
	OK(get("b:1", "/in?a=1&b=%20", "") == HOOK_ANSWER && has(x.answer, "location",
	   "https://login.example/?back=https%3A%2F%2Fb%3A1%2Fin%3Fa%3D1%26b%3D%2520"),
	   "where one came from, encoded");
	OK(request("TRACE", "b", "/", "") == HOOK_DROP, "dropped");
	OK(request("PUT", "b", "/", "") == HOOK_ANSWER, "by method");
	OK(request("put", "b", "/", "") == HOOK_PASS, "methods have a case");

	use_rules("drop in response status 500-599 not host ok.example\n"
		  "drop in response response header X-Bad /^y/i\n");
	get("b", "/", "");
	OK(response(200, "") == HOOK_PASS && response(503, "") == HOOK_DROP &&
	   response(499, "") == HOOK_PASS && response(200, "X-Bad: Yes") == HOOK_DROP &&
	   response(200, "X-Bad: no") == HOOK_PASS, "responses are dropped");
	get("ok.example", "/", "");
	OK(response(500, "") == HOOK_PASS, "all tests must hold");

	use_rules("redirect 302 \"${query:to}\" path \"/r\"\n");
	OK(get("b", "/r?to=https://c/", "") == HOOK_ANSWER &&
	   has(x.answer, "location", "https://c/"), "to what an argument says");
	OK(get("b", "/r?to=x%0d%0aSet-Cookie:%20a", "") == HOOK_DROP,
	   "a line end in it makes no second field");
}

/* Does a rule with these tests match? */
static bool matches(const char *tests, const char *method, const char *host, const char *path,
		    const char *head)
{
	static char line[512];

	snprintf(line, sizeof(line), "respond 403 %s", tests);
	use_rules(line);
	return request(method, host, path, head) == HOOK_ANSWER;
}

static void test_tests(void)
{
	OK(matches("host *.example.com", "GET", "a.b.Example.com:1", "/", "") &&
	   !matches("host *.example.com", "GET", "example.com", "/", "") &&
	   !matches("host *.example.com", "GET", "badexample.com", "/", ""), "host *.NAME");
	OK(matches("host \"[2001:db8::1]\"", "GET", "[2001:db8::1]:443", "/", ""), "host \"IPv6\"");
	OK(matches("host /^a\\d/", "GET", "a1", "/", "") && !matches("host /^a\\d/", "GET", "b", "/", ""),
	   "host /re/");
	OK(matches("path \"/a\"", "GET", "b", "/ab?x", "") && !matches("path \"/a\"", "GET", "b", "/b?/a",
	   "") && !matches("path \"/ab\"", "GET", "b", "/a", ""), "path \"prefix\"");
	OK(matches("path /\\.php$/", "GET", "b", "/a.php?x=1", "") &&
	   !matches("path /x=1/", "GET", "b", "/a.php?x=1", ""), "path /re/ has no query");
	OK(matches("header X", "GET", "b", "/", "x: 1") && !matches("header X", "GET", "b", "/", "Y: 1"),
	   "header NAME");
	OK(matches("header X \"1\"", "GET", "b", "/", "x: 2\nX: 1") &&
	   !matches("header X \"1\"", "GET", "b", "/", "X: 11"), "header NAME \"value\", any field");
	OK(matches("request header X /^1/", "GET", "b", "/", "X: 11"), "header NAME /re/");
	OK(matches("header Host \"b:1\"", "GET", "b:1", "/", ""), "header Host is there always");
	OK(matches("query a", "GET", "b", "/?b=1&a", "") && !matches("query a", "GET", "b", "/?ab=1", "") &&
	   !matches("query a", "GET", "b", "/a", ""), "query NAME");
	OK(matches("query a \"1 2\"", "GET", "b", "/?a=3&a=1+2", "") &&
	   matches("query \"a b\" /^\\xff$/", "GET", "b", "/?%61%20b=%FF", ""), "query values, decoded");
	OK(matches("query a \"%zz%\"", "GET", "b", "/?a=%zz%", ""), "what is no code is itself");
	OK(matches("type \"text/html\"", "POST", "b", "/", "Content-Type: Text/HTML; charset=x") &&
	   matches("type \"text/*\"", "POST", "b", "/", "Content-Type: text/x") &&
	   !matches("type \"text/*\"", "POST", "b", "/", "Content-Type: textual/x") &&
	   !matches("type \"text/*\"", "POST", "b", "/", ""), "type");
	OK(matches("endpoint vpce-00a1b2c3d4e5f6071", "GET", "b", "/", "") &&
	   !matches("endpoint vpce-00a1b2c3d4e5f6072", "GET", "b", "/", ""), "endpoint");
	OK(matches("not method GET method POST", "POST", "b", "/", "") &&
	   !matches("not method GET", "GET", "b", "/", ""), "not");
}

static void test_variables(void)
{
	struct sockaddr_in c = { .sin_family = AF_INET, .sin_port = htons(1234) };
	struct sockaddr_in6 s = { .sin6_family = AF_INET6, .sin6_port = htons(443) };

	inet_pton(AF_INET, "10.1.2.3", &c.sin_addr);
	inet_pton(AF_INET6, "2001:db8::7", &s.sin6_addr);
	memcpy(&conn.client, &c, sizeof(c));
	memcpy(&conn.server, &s, sizeof(s));
	strcpy(conn.sni, "sni.example");
	use_rules("set header V \"${client} ${client-port} ${server} ${server-port} ${host} ${method} "
		  "${scheme} ${path} ${url} ${sni} ${query:q} ${header:A} ${upper:x${header:a}y} $$\" "
		  "in request\n"
		  "set header V \"${status} ${response:B} ${header:a}\" in response\n"
		  "set header W \"$0-${1}1-$2\" in request path /\\/(.)(z)?/\n"
		  "set header Q \"$1\" in request query q /^(.*)$/ not query r /./ not host /z/\n");
	get("h:8", "/p?q=a%41", "A: 1\na: 2");
	OK(has(x.req, "v", "10.1.2.3 1234 2001:db8::7 443 h GET https /p?q=a%41 https://h:8/p?q=a%41 "
	   "sni.example aA 1, 2 X1, 2Y $"), "all variables");
	OK(has(x.req, "w", "/p-p1-"), "groups, one that is not set");
	OK(has(x.req, "q", "aA"), "a group of an argument, other tests behind it");
	response(404, "B: c");
	OK(has(x.resp, "v", "404 c 1, 2"), "of responses, too");
}

static void test_bodies(void)
{
	static const char sts[] = "<GetCallerIdentityResult><UserId>AIDAEXAMPLE</UserId><Account>1</"
				  "Account></GetCallerIdentityResult>";
	static const char sts_new[] = "<GetCallerIdentityResult><UserId>AIDANOBODY</UserId><Account>1</"
				      "Account></GetCallerIdentityResult>";
	struct hrules_counts n;

	use_rules("replace /(<UserId>)[^<]*/ \"$1AIDANOBODY\" in response body "
		  "host /^sts\\.([a-z0-9-]+\\.)?amazonaws\\.com$/ type \"text/xml\"\n");
	get("sts.eu-west-1.amazonaws.com", "/", "Accept-Encoding: gzip\nRange: bytes=0-1");
	OK(has(x.req, "accept-encoding", "identity") && has(x.req, "range", NULL) &&
	   hrules_ops.body_changes(hr, 0, &x, true),
	   "a body that may be changed is asked for plainly");
	response(200, "Content-Type: text/xml\nContent-MD5: x");
	OK(hrules_ops.body_changes(hr, 0, &x, true) && !hrules_ops.body_changes(hr, 0, &x, false),
	   "the engine is told");
	OK(has(x.resp, "content-md5", NULL), "a digest is taken off");
	OK(body_becomes(true, sts, "", sts_new), "the UserId in an STS answer");
	response(200, "Content-Type: text/xml");
	OK(body_becomes(true, sts, "1,30,3,2,1,1,1,1,1", sts_new), "in pieces");
	response(200, "Content-Type: application/json");
	OK(!hrules_ops.body_changes(hr, 0, &x, true) && body_becomes(true, sts, "4", sts),
	   "not in another type");
	response(200, "Content-Type: text/xml\nContent-Encoding: gzip");
	hrules_counts(hr, &n);
	OK(!hrules_ops.body_changes(hr, 0, &x, true) && n.encoded == 1, "encoded all the same: counted");
	response(200, "Content-Type: text/xml\nTransfer-Encoding: gzip, chunked");
	hrules_counts(hr, &n);
	OK(!hrules_ops.body_changes(hr, 0, &x, true) && n.encoded == 2, "... or on its way: counted, too");
	response(200, "Content-Type: text/xml\nContent-Encoding: identity\nContent-Encoding: gzip");
	OK(!hrules_ops.body_changes(hr, 0, &x, true), "... or by the second field of that name");
	response(200, "Content-Type: text/xml\nTransfer-Encoding: Chunked");
	OK(hrules_ops.body_changes(hr, 0, &x, true), "in chunks only it is as it is");
	response(206, "Content-Type: text/xml");
	hrules_counts(hr, &n);
	OK(!hrules_ops.body_changes(hr, 0, &x, true) && n.partial == 1, "a part: counted");
	get("www.example.com", "/", "Accept-Encoding: gzip");
	OK(has(x.req, "accept-encoding", "gzip"), "other hosts are asked as ever");
	request("HEAD", "sts.amazonaws.com", "/", "");
	response(200, "Content-Type: text/xml\nContent-Length: 7");
	OK(!hrules_ops.body_changes(hr, 0, &x, true) && has(x.resp, "content-length", NULL),
	   "HEAD: no body, and no length of it");

	use_rules("replace \"cat\" \"dog\" in request body\nreplace /dogs?/ \"<$0>\" in request body "
		  "not header No\n");
	get("a", "/", "");
	OK(body_becomes(false, "a cat, cats, ca", "3,1,1,5", "a <dog>, <dogs>, ca"),
	   "two rules, one after the other");
	get("a", "/", "No: 1");
	OK(body_becomes(false, "cat", "1,1", "dog"), "one of them only");

	use_rules("replace /x*/ \"-\" in request body");
	get("a", "/", "");
	OK(body_becomes(false, "axb", "1,1", "-a--b-"), "empty matches, as in one piece");
	use_rules("replace /(?<=aa)b|^c|d$/ \"!\" in request body");
	get("a", "/", "");
	OK(body_becomes(false, "caabcd\nd", "1,1,1,1,1,1,1", "!aa!cd\n!"),
	   "what was passed on is looked back at; the end is the end");
	get("a", "/", "");
	OK(body_becomes(false, "", "", ""), "an empty body");
	use_rules("replace /\\bx/m \"!\" in request body");
	get("a", "/", "");
	OK(body_becomes(false, "x ax xx", "1,1,1,1,1,1", "! ax !x"), "borders of words");
}

/* A body of @n times @unit; in pieces of @piece.  Returns what comes out; *most held back */
static char *long_body(const char *unit, size_t n, size_t piece, size_t *len, size_t *most)
{
	size_t total = strlen(unit) * n, in = 0, out = 0;
	char *all = malloc(total + 1), *got = malloc(2 * total + 1);

	for (size_t i = 0; i < total; i++)
		all[i] = unit[i % strlen(unit)];
	*most = 0;
	while (in < total) {
		size_t k = total - in < piece ? total - in : piece;
		struct body b = { .data = (uint8_t *)all + in, .len = k, .last = in + k == total };

		if (hrules_ops.request_body(hr, 0, &x, &b) != HOOK_PASS)
			break;
		if (b.len)
			memcpy(got + out, b.data, b.len);
		in += k;
		out += b.len;
		if (in > out && in - out > *most)
			*most = in - out;
		free(b.own);
	}
	free(all);
	*len = out;
	return got;
}

static void test_window(void)
{
	struct hrules_counts n;
	size_t len, most;
	char *got;

	use_rules("replace /<.*>/s \"\" in request body");
	get("a", "/", "");
	got = long_body("<aaaaaaa", 65536, 5000, &len, &most);
	hrules_counts(hr, &n);
	OK(len == 8 * 65536 && !strncmp(got, "<aaaaaaa<a", 10) && n.too_long,
	   "a match longer than the window is not found, and counted");
	OK(most <= HRULES_WINDOW + 5000, "no more than a window is held: %zu", most);
	free(got);
	get("a", "/", "");
	got = long_body("b", 65000, 999, &len, &most);
	OK(len == 65000 && !most, "what cannot be a match is not held");
	free(got);
	use_rules("replace /(a+)+$/ \"\" in request body");
	get("a", "/", "");
	got = long_body("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", 1, 100, &len, &most);
	hrules_counts(hr, &n);
	OK(len == 41 && n.errors, "an expression that reaches its limit is given up, and counted");
	free(got);
}

static struct body *message(const char *text, bool last, bool from_client, enum ws_kind kind)
{
	static struct body b;

	free(b.own);
	b = (struct body){ .data = (const uint8_t *)text, .len = strlen(text), .last = last };
	hrules_ops.ws_message(hr, 0, &x, from_client, kind, &b);
	return &b;
}

static bool is_body(const struct body *b, const char *want)
{
	return b->len == strlen(want) && !memcmp(b->data, want, b->len);
}

static void test_messages(void)
{
	struct body *b;

	use_rules("replace \"cat\" \"dog\" in message\n"
		  "replace /$/ \"!\" in message from server path \"/ws\"\n");
	get("a", "/ws", "Upgrade: websocket\nSec-WebSocket-Extensions: permessage-deflate, x-other");
	OK(hrules_ops.ws_looks(hr, 0, &x), "messages are looked at");
	OK(has(x.req, "sec-websocket-extensions", NULL), "unknown extensions are not asked for");
	get("a", "/ws", "Upgrade: websocket\n"
	    "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits,permessage-deflate");
	OK(has(x.req, "sec-websocket-extensions",
	       "permessage-deflate; client_max_window_bits,permessage-deflate"), "compression is");
	response(101, "Upgrade: websocket");
	OK(!hrules_ops.body_changes(hr, 0, &x, true), "there is no body");
	x.upgraded = "websocket";
	OK(hrules_ops.body_changes(hr, 0, &x, true) && hrules_ops.body_changes(hr, 0, &x, false),
	   "the engine is told to unpack");
	OK(is_body(message("a ca", false, true, WS_TEXT), "a ") &&
	   is_body(message("t, cat", true, true, WS_TEXT), "dog, dog"), "a message in two pieces");
	OK(is_body(message("ca", true, true, WS_TEXT), "ca") &&
	   is_body(message("t", true, true, WS_TEXT), "t"), "each is one of its own");
	OK(is_body(message("cat", true, false, WS_BINARY), "dog!"), "from the server another one, too");
	OK(is_body(message("cat", true, false, WS_PING), "cat"), "a ping is none");
	b = message("", true, false, WS_TEXT);
	OK(is_body(b, "!"), "an empty message has an end");
	message("", true, true, WS_TEXT);
	use_rules("replace \"cat\" \"dog\" in message host \"b\"\nset header A \"b\" in both\n");
	get("a", "/ws", "Upgrade: websocket");
	OK(!hrules_ops.ws_looks(hr, 0, &x), "no rule on the messages of this host: nobody looks");
}

/* The errors of @text, as they are printed */
static bool says(const char *text, const char *want)
{
	struct hrules_conf c = { .nsources = 1, .source[0].text = text };
	char *got;
	size_t len;
	struct hrules *w;
	bool good;

	c.err = open_memstream(&got, &len);
	w = hrules_open(&c);
	fclose(c.err);
	good = !w && !strncmp(got, want, strlen(want));
	if (!good)
		printf("# %s: %s\n", text, w ? "no error" : got);
	hrules_close(w);
	free(got);
	return good;
}

static void test_errors(void)
{
	static const struct {
		const char *rule, *error;
	} bad[] = {
		{ "pass", "-e#1:1:1: a line starts with set, add, del, respond" },
		{ "set User-Agent \"x\"", "-e#1:1:5: expected 'header'" },
		{ "set header X \"a\"", "-e#1:1:17: expected 'in request', 'in response' or 'in both'" },
		{ "set header X \"a\" in body", "-e#1:1:21: 'in' knows request, response, both" },
		{ "set header X \"\" in both", "-e#1:1:14: an empty value" },
		{ "set header Content-Length \"1\" in both", "-e#1:1:12: this field is the proxy's own" },
		{ "del header Host in request", "-e#1:1:12: a request has one Host" },
		{ "set header Host \"a\" in both", "-e#1:1:24: a response has no Host" },
		{ "respond 99", "-e#1:1:9: the status of an answer is a whole number from 200" },
		{ "respond 204 \"x\"", "-e#1:1:9: an answer of this status has no body" },
		{ "respond 200 as \"x\"", "-e#1:1:16: 'as' is the type of a body: there is none" },
		{ "redirect 200 \"/\"", "-e#1:1:10: a redirection is 301" },
		{ "redirect 304 \"/\"", "-e#1:1:10: a redirection is 301" },
		{ "redirect 302 \"\"", "-e#1:1:14: where to?" },
		{ "redirect 302", "-e#1:1:13: expected a string in double quotes, near end of line" },
		{ "replace // \"\" in path", "-e#1:1:9: an empty regular expression" },
		{ "replace /a(/ \"\" in path", "-e#1:1:12: regular expression: missing closing" },
		{ "replace /a\\Gb/ \"\" in path", "-e#1:1:11: regular expression: \\G, \\Z" },
		{ "replace /(*UTF)a/ \"\" in path", "-e#1:1:10: regular expression: \\G, \\Z" },
		{ "replace /a/x \"\" in path", "-e#1:1:12: flags behind" },
		{ "replace /a/ \"$1\" in path", "-e#1:1:13: there is no group 1" },
		{ "replace \"a\" \"$1\" in path", "-e#1:1:13: '$1' without a regular expression" },
		{ "replace /a/ \"$\" in path", "-e#1:1:13: '$' is written $$" },
		{ "replace /a/ \"${hots}\" in path", "-e#1:1:13: there is no variable '${hots}'" },
		{ "replace /a/ \"${header}\" in path", "-e#1:1:13: there is no variable '${header}'" },
		{ "replace /a/ \"${header:}\" in path", "-e#1:1:13: a variable's name without" },
		{ "replace /a/ \"${lower:x\" in path", "-e#1:1:13: a variable without its '}'" },
		{ "replace /a/ \"${status}\" in path", "-e#1:1:13: what is known of responses only" },
		{ "replace /a/ \"\" in body", "-e#1:1:19: 'in' knows request body" },
		{ "replace /a/ \"\" in request path", "-e#1:1:27: expected 'body' or 'header'" },
		{ "replace /a/ \"\" in message from a", "-e#1:1:32: 'from' knows client and server" },
		{ "replace /a/ \"\" in message type \"x/y\"", "-e#1:1:27: messages have no content type" },
		{ "drop status 500", "-e#1:1:6: this is known of responses" },
		{ "drop in both", "-e#1:1:9: 'in' knows request and response here" },
		{ "drop log log", "-e#1:1:10: said twice" },
		{ "log log", "-e#1:1:5: said twice" },
		{ "drop name \"a b\"", "-e#1:1:11: a name has 1 to 63" },
		{ "drop host a log", "-e#1:1:13: 'log' and 'name' stand in front" },
		{ "drop host a*b", "-e#1:1:11: '*' stands for names in front" },
		{ "drop host *", "-e#1:1:11: '*' stands for names in front" },
		{ "drop query \"\"", "-e#1:1:12: an argument has a name" },
		{ "drop type html", "-e#1:1:11: a type is a string" },
		{ "drop in response status 500-400", "-e#1:1:29: the end of the range" },
		{ "drop endpoint vpce-1", "-e#1:1:15: an endpoint is vpce-0" },
		{ "drop hots a", "-e#1:1:6: this is no test" },
		{ "drop request body", "-e#1:1:14: expected 'header'" },
		{ "respond 403 \"$2\" path /(a)/ not host /(a)(b)/", "-e#1:1:13: there is no group 2" },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		OK(says(bad[i].rule, bad[i].error), "error: %s", bad[i].rule);
	OK(says("drop name \"x\"\n# y\ndrop \\\n host *\ndrop name \"x\"\n",
		"-e#1:4:7: '*' stands for names in front: *.example.com, near \"*\"\n"
		"-e#1:5:11: name \"x\" is taken by -e#1:1, near"), "all of them, each with its place");
	conf = (struct hrules_conf){ .nsources = 1, .source[0] = { true, "/nonexistent" } };
	OK(!hrules_open(&conf), "a file that cannot be read");
}

static void test_print(void)
{
	static const char text[] =
		"set header User-Agent \"${lower:${header:User-Agent}}\" in request log name \"ua\" host "
		"*.example.com not path \"/x\\n\"\n"
		"add header A \"b\" in both\ndel header Server in response\n"
		"respond 403 \"no\\\"\" as \"text/html\" method GET\nrespond 404 host /a\\/b/is\n"
		"redirect 308 \"https://x/\" query a query \"b c\" \"d\" query e /f/\n"
		"replace /(x)/m \"$1\" in path header A header B \"c\" header D /e/\n"
		"replace \"a\" \"b\" in header H\nreplace \"a\" \"b\" in response header H status 200\n"
		"replace \"a\" \"b\" in request body type \"text/*\"\n"
		"replace \"a\" \"b\" in response body status 200-299 response header X\n"
		"replace \"a\" \"b\" in message\nreplace \"a\" \"b\" in message from server\n"
		"drop endpoint vpce-00a1b2c3d4e5f6071\ndrop in response not status 200\nlog host \"[::1]\"\n";
	char *got, label[HRULES_LABEL_MAX];
	uint64_t hits;
	size_t len;
	FILE *f = open_memstream(&got, &len);

	use_rules(text);
	hrules_print(hr, f);
	fclose(f);
	OK(!strcmp(got, text), "rules print as they are written");
	if (strcmp(got, text))
		printf("# %s\n", got);
	OK(hrules_count(hr) == 16 && hrules_label(hr, 0, label, &hits) && !strcmp(label, "ua") &&
	   hrules_label(hr, 1, label, &hits) && !strncmp(label, "add-", 4) && strlen(label) == 12 &&
	   !hrules_label(hr, 16, label, &hits), "rules have names");
	free(got);
}

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	fputs(text, f);
	fclose(f);
}

static void test_reload(void)
{
	char path[] = "/tmp/t_web.XXXXXX", label[HRULES_LABEL_MAX];
	int fd = mkstemp(path);
	uint64_t hits = 0;

	drop_exchange();
	hrules_close(hr);
	write_file(path, "set header A \"1\" in both name \"a\"\n");
	conf = (struct hrules_conf){ .nsources = 1, .source[0] = { true, path } };
	hr = hrules_open(&conf);
	get("a", "/", "");
	write_file(path, "nonsense\n");
	OK(!hrules_reload(hr) && hrules_count(hr) == 1, "rules with errors are not taken");
	write_file(path, "set header A \"2\" in both name \"a\"\nset header B \"2\" in both\n");
	OK(hrules_reload(hr) && hrules_count(hr) == 2, "others are");
	response(200, "");
	OK(has(x.resp, "a", "1") && has(x.resp, "b", NULL), "an exchange keeps the rules it began with");
	get("a", "/", "");
	OK(has(x.req, "a", "2"), "the next one has the new ones");
	OK(hrules_label(hr, 0, label, &hits) && hits == 2, "counts go on: %d", (int)hits);
	close(fd);
	unlink(path);
}

int main(void)
{
	test_headers();
	test_answers();
	test_tests();
	test_variables();
	test_bodies();
	test_window();
	test_messages();
	test_errors();
	test_print();
	test_reload();
	drop_exchange();
	hrules_close(hr);
	return tap_done();
}
