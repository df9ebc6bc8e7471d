/* SPDX-License-Identifier: MIT */
/* record.h: what lines say and what they never say; a disk that is slow or full */
#include <arpa/inet.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../gwproxy/record_int.h"
#include "tap.h"

static struct record_conf conf;
static struct conn_facts conn;
static struct exchange x = { .conn = &conn };
static json_t *line;
static char *raw;

static struct text t_(const char *s)
{
	return (struct text){ s, strlen(s) };
}

static void request(const char *host, const char *path, const char *name, const char *value)
{
	message_free(x.req);
	x.req = message_new();
	message_set_method(x.req, t_("GET"));
	message_set_scheme(x.req, t_("https"));
	message_set_authority(x.req, t_(host));
	message_set_path(x.req, t_(path));
	if (name)
		message_add(x.req, t_(name), t_(value));
}

static void make(bool exchange)
{
	free(raw);
	json_decref(line);
	raw = record_line(&conf, psl_builtin(), &conn, exchange ? &x : NULL);
	line = json_loads(raw, 0, NULL);
}

static bool is(const char *name, const char *want)
{
	const char *got = json_string_value(json_object_get(line, name));

	if ((!got && !want) || (got && want && !strcmp(got, want)))
		return true;
	printf("# %s: %s\n", name, got ? got : "(none)");
	return false;
}

static void facts(void)
{
	struct sockaddr_in c = { .sin_family = AF_INET, .sin_port = htons(1234) };
	struct sockaddr_in6 s = { .sin6_family = AF_INET6, .sin6_port = htons(443) };

	inet_pton(AF_INET, "10.1.2.3", &c.sin_addr);
	inet_pton(AF_INET6, "2001:db8::7", &s.sin6_addr);
	memcpy(&conn.client, &c, sizeof(c));
	memcpy(&conn.server, &s, sizeof(s));
	conn.id = 7;
	conn.from_lb = true;
	conn.endpoint = 0x0a1b2c3d4e5f6071;
	conn.cookie = 0xbeef;
	conn.how = "h2";
	strcpy(conn.sni, "www.example.co.uk");
	strcpy(conn.alpn, "h2");
	conn.client_tls.version = "TLSv1.3";
	conn.client_tls.cipher = "TLS_AES_128_GCM_SHA256";
	conn.server_tls.version = "TLSv1.2";
	conn.server_tls.cipher = "ECDHE";
	conn.opened_ns = 1796000000000000000u;
	conn.connected_ns = conn.opened_ns + 2500000;
	x.start_ns = conn.opened_ns + 1234567000;
	x.sent_ns = x.start_ns + 1000000;
	x.head_ns = x.start_ns + 20000000;
	x.end_ns = x.start_ns + 20001000;
	x.req_bytes = 1;
	x.resp_bytes = 5000000000;
	x.why = "done";
}

static void test_line(void)
{
	json_t *ms;

	facts();
	request("www.Example.co.uk:8443", "/a?b=c", "X-Id", "one");
	message_add(x.req, t_("Cookie"), t_("s=secret"));
	message_add(x.req, t_("x-id"), t_("two"));
	x.resp = message_new();
	message_set_status(x.resp, 200, t_("OK"));
	message_add(x.resp, t_("Content-Type"), t_("text/html"));
	record_option(&conf, RECORD_OPT_HEADER, "x-id");
	record_option(&conf, RECORD_OPT_HEADER, "Content-Type");
	make(true);
	OK(line && !strchr(raw, '\n'), "a line is JSON");
	OK(is("time", "2026-11-30T00:53:21.234567Z"), "when the request came");
	OK(is("endpoint", "vpce-00a1b2c3d4e5f6071") && is("attachment", "0000000000000000") &&
	   is("cookie", "0000beef"), "the load balancer's facts");
	OK(is("client", "10.1.2.3:1234") && is("server", "[2001:db8::7]:443"), "both ends");
	OK(is("protocol", "h2") && is("sni", "www.example.co.uk") && is("alpn", "h2") &&
	   is("client_tls", "TLSv1.3") && is("client_cipher", "TLS_AES_128_GCM_SHA256") &&
	   is("server_tls", "TLSv1.2") && is("server_cipher", "ECDHE"), "TLS of both legs");
	OK(is("method", "GET") && is("url", "https://www.Example.co.uk:8443/a?b=c"), "what was asked");
	OK(is("host", "www.example.co.uk") && is("site", "example.co.uk"), "host and eTLD+1");
	OK(json_integer_value(json_object_get(line, "status")) == 200 &&
	   json_integer_value(json_object_get(line, "response_bytes")) == 5000000000, "numbers");
	OK(strstr(raw, "\"request_header\":{\"x-id\":[\"one\",\"two\"]}") &&
	   strstr(raw, "\"response_header\":{\"Content-Type\":[\"text/html\"]}"), "chosen headers");
	OK(!strstr(raw, "secret"), "no others");
	ms = json_object_get(line, "ms");
	OK(json_real_value(json_object_get(ms, "connect")) == 2.5 &&
	   json_real_value(json_object_get(ms, "end")) == 20.001 &&
	   !json_object_get(ms, "handshake"), "timings, those there are");
	OK(is("why", "done") && !json_object_get(line, "latin1"), "why it ended");
}

static void test_hosts(void)
{
	static const struct {
		const char *authority, *host, *site;
	} hosts[] = {
		{ "a.b.github.io", "a.b.github.io", "b.github.io" },
		{ "sts.eu-west-1.amazonaws.com.", "sts.eu-west-1.amazonaws.com", "amazonaws.com" },
		{ "192.0.2.1:80", "192.0.2.1", NULL },
		{ "[2001:db8::1]:80", "[2001:db8::1]", NULL },
		{ "com", "com", NULL },
		{ "localhost", "localhost", NULL },
	};

	for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
		request(hosts[i].authority, "/", NULL, NULL);
		make(true);
		OK(is("host", hosts[i].host) && is("site", hosts[i].site), "host %s",
		   hosts[i].authority);
	}
}

static void test_secrets(void)
{
	request("a", "/x?a=1&X-Amz-Signature=abc&b&x%2damz-security-token=def&access_token=ghi&token=",
		"Authorization", "Bearer xyz");
	make(true);
	OK(is("url", "https://a/x?a=1&X-Amz-Signature=-&b&x%2damz-security-token=-&access_token=-&token="),
	   "secrets in a URL are not shown");
	OK(!strstr(raw, "xyz"), "nor is Authorization");
	request("a", "/?a", NULL, NULL);
	make(true);
	OK(is("url", "https://a/?a"), "a query without any");
}

static void test_sigv4(void)
{
	struct sigv4 s = { .key = "unset" };

	request("a", "/", "Authorization", "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/us-east-1/"
		"sts/aws4_request, SignedHeaders=host, Signature=00ff");
	make(true);
	OK(is("aws_key", "AKIDEXAMPLE") && is("aws_region", "us-east-1") && is("aws_service", "sts") &&
	   !strstr(raw, "00ff"), "SigV4 in Authorization");
	request("a", "/?x&X-Amz-Credential=AKID%2F20260101%2Feu-west-1%2fs3%2Faws4_request&X-Amz-Signature=q",
		NULL, NULL);
	make(true);
	OK(is("aws_key", "AKID") && is("aws_region", "eu-west-1") && is("aws_service", "s3"),
	   "SigV4 in a query");
	OK(sigv4_scope("AKID/20260101/s3/aws4_request", 29, &s) && !strcmp(s.service, "s3") &&
	   !*s.region, "SigV4A: no region");
	s = (struct sigv4){ .key = "unset" };
	OK(!sigv4_scope("AKID/20260101/a/s3/aws4_requesT", 31, &s) && !sigv4_scope("", 0, &s) &&
	   !sigv4_scope("a/b/c/d/aws4_request/f", 22, &s) && !sigv4_scope("/b/c/d/aws4_request", 19, &s) &&
	   !strcmp(s.key, "unset"), "what is none");
	request("a", "/", "Authorization", "Basic Credential=a/b/c/d/aws4_request");
	make(true);
	OK(is("aws_key", NULL), "another scheme");
}

static void test_bytes(void)
{
	request("a", "/\xc3\xa4\xff\xe2\x80\xa8\xed\xa0\x80\xc3", NULL, NULL);
	make(true);
	OK(line && is("url", "https://a/\xc3\xa4\xc3\xbf\xe2\x80\xa8\xc3\xad\xc2\xa0\xc2\x80\xc3\x83"),
	   "bytes that are no UTF-8 are characters of that number");
	OK(json_is_true(json_object_get(line, "latin1")), "and the line says so");
	OK(strstr(raw, "\\u2028") && strspn(raw, " !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	   "[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~") == strlen(raw), "a line is ASCII, and ECMAScript");
}

static void test_kinds(void)
{
	message_free(x.resp);
	x.resp = NULL;
	x.answer = message_new();
	message_set_status(x.answer, 403, t_("Forbidden"));
	x.why = "answered";
	request("a", "/", NULL, NULL);
	make(true);
	OK(json_integer_value(json_object_get(line, "status")) == 403 && is("why", "answered"),
	   "an answer of ours");
	message_free(x.answer);
	x.answer = NULL;
	make(true);
	OK(!json_object_get(line, "status"), "no response");
	conn.how = "pass";
	conn.bytes_up = 10;
	conn.why = "done";
	make(false);
	OK(is("protocol", "pass") && is("method", NULL) && is("why", "done") &&
	   json_integer_value(json_object_get(line, "up_bytes")) == 10, "a connection without exchange");
}

/* All that was written to a pipe or file, then closed */
static size_t lines_in(const char *path, bool *good, uint64_t *lost)
{
	FILE *f = fopen(path, "r");
	char text[4096];
	size_t n = 0;

	*good = true;
	*lost = 0;
	while (f && fgets(text, sizeof(text), f)) {
		json_t *j = json_loads(text, 0, NULL), *l = json_object_get(j, "lost");

		*good = *good && j;
		if (l)
			*lost += (uint64_t)json_integer_value(l);
		else
			n++;
		json_decref(j);
	}
	if (f)
		fclose(f);
	return n;
}

static void test_file(void)
{
	char path[] = "/tmp/t_record.XXXXXX";
	struct record_conf c = { .path = path };
	int fd = mkstemp(path);
	struct record *r = record_open(&c);
	uint64_t lost;
	bool good;

	record_run(r);
	for (int i = 0; i < 1000; i++)
		record_ops.exchange_end(r, 0, &x);
	conn.exchanges = 0;
	record_ops.conn_close(r, &conn);
	conn.exchanges = 1;
	record_ops.conn_close(r, &conn);
	record_close(r);
	OK(lines_in(path, &good, &lost) == 1001 && good && !lost,
	   "a line for each exchange, and for a connection without any");
	close(fd);
	unlink(path);
}

/* A reader that does not read for a while: nobody waits, and what is lost is said */
static void test_slow(void)
{
	char path[] = "/tmp/t_record.XXXXXX";
	struct record_conf c = { .path = path, .buffer = 8192 };
	struct record_counts n;
	struct record *r;
	uint64_t lost;
	size_t got;
	bool good;
	int fd, out, size;
	static char text[1 << 20];
	ssize_t k, all = 0;
	FILE *f;

	close(mkstemp(path));
	unlink(path);
	if (mkfifo(path, 0600))
		return;
	fd = open(path, O_RDWR | O_NONBLOCK);
	size = fcntl(fd, F_SETPIPE_SZ, 4096);
	r = record_open(&c);
	record_run(r);
	for (int i = 0; i < 2000; i++)
		record_ops.exchange_end(r, 0, &x);
	record_counts(r, &n);
	OK(size == 4096 && n.lost > 1000, "lines that find no room are lost, and nobody waits: %d",
	   (int)n.lost);
	for (int tries = 0; tries < 200 && n.lost + n.written < 2000; tries++) {
		while ((k = read(fd, text + all, sizeof(text) - (size_t)all)) > 0)
			all += k;
		usleep(1000);
		record_counts(r, &n);
	}
	while ((k = read(fd, text + all, sizeof(text) - (size_t)all)) > 0)
		all += k;		/* room for the last one */
	record_ops.exchange_end(r, 0, &x);
	record_close(r);
	while ((k = read(fd, text + all, sizeof(text) - (size_t)all)) > 0)
		all += k;
	close(fd);
	unlink(path);
	out = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	f = fdopen(out, "w");
	fwrite(text, 1, (size_t)all, f);
	fclose(f);
	got = lines_in(path, &good, &lost);
	OK(good && got + lost == 2001 && lost == n.lost, "the rest is whole, and says how many: %d + %d",
	   (int)got, (int)lost);
	unlink(path);
}

static void test_full(void)
{
	struct record_conf c = { .path = "/dev/full" };
	struct record *r = record_open(&c);
	struct record_counts n = { 0, 0 };

	record_run(r);
	record_ops.exchange_end(r, 0, &x);
	for (int tries = 0; tries < 1000 && !n.lost; tries++) {
		usleep(1000);
		record_counts(r, &n);
	}
	OK(n.lost == 1 && !n.written, "a full disk costs lines, no more");
	record_close(r);
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	test_line();
	test_hosts();
	test_secrets();
	test_sigv4();
	test_bytes();
	test_kinds();
	test_file();
	test_slow();
	test_full();
	message_free(x.req);
	free(raw);
	json_decref(line);
	return tap_done();
}
