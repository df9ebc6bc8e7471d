/* SPDX-License-Identifier: MIT */
/* Rules of what to intercept, pass and block; and what a client's first bytes are */
#include <stdlib.h>
#include <string.h>

#include "../gwproxy/policy.h"
#include "../gwproxy/sniff.h"
#include "tap.h"

static struct policy *parse(const char *text)
{
	return policy_parse("rules", text, strlen(text), NULL);
}

static enum policy_action ask(const struct policy *p, enum policy_when when, const char *name)
{
	char where[POLICY_WHERE];

	return policy_ask(p, when, name, where);
}

static void order(void)
{
	struct policy *p = parse("pass a.test *.b.test # comment\n"
				 "block *.a.b.test other.test\n"
				 "\n"
				 "intercept c.b.test\n"
				 "block when no-sni\n"
				 "pass when client-cert *.bank.test\n"
				 "block when client-cert\n"
				 "pass when ech\n"
				 "block when not-tls 443 8443\n");
	char where[POLICY_WHERE];

	OK(p != NULL, "rules load");
	if (!p)
		return;
	OK(ask(p, WHEN_ALWAYS, "a.test") == POLICY_PASS, "a name");
	OK(ask(p, WHEN_ALWAYS, "b.test") == POLICY_INTERCEPT, "*.DOMAIN is not the domain itself");
	OK(ask(p, WHEN_ALWAYS, "x.y.a.b.test") == POLICY_PASS, "the first rule decides");
	OK(ask(p, WHEN_ALWAYS, "c.b.test") == POLICY_PASS, "also before an exact name");
	OK(ask(p, WHEN_ALWAYS, "other.test") == POLICY_BLOCK, "second name of a rule");
	OK(ask(p, WHEN_ALWAYS, "test") == POLICY_INTERCEPT, "others by default");
	OK(ask(p, WHEN_NO_SNI, "") == POLICY_BLOCK, "no name");
	OK(ask(p, WHEN_CLIENT_CERT, "www.bank.test") == POLICY_PASS, "a condition for a name");
	OK(ask(p, WHEN_CLIENT_CERT, "a.test") == POLICY_BLOCK, "and for all others");
	OK(ask(p, WHEN_UNVERIFIED, "a.test") == POLICY_NONE, "a condition without rules");
	OK(ask(p, WHEN_NOT_TLS, "8443") == POLICY_BLOCK && ask(p, WHEN_NOT_TLS, "80") == POLICY_NONE,
	   "ports");
	policy_ask(p, WHEN_ALWAYS, "other.test", where);
	OK(!strcmp(where, "rules:2"), "where it was decided: %s", where);
	OK(policy_has_intercept(p), "one intercepts");
	policy_put(p);
}

static void again(void)
{
	struct policy *p = parse("default block\npass when unverified A.Test. *.b.test\npass c.test\n");
	char *text;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	OK(p && ask(p, WHEN_UNVERIFIED, "a.test") == POLICY_PASS, "case and a last dot do not matter");
	OK(p && ask(p, WHEN_ALWAYS, "z") == POLICY_BLOCK, "default");
	policy_print(p, f);
	fclose(f);
	policy_put(p);
	p = policy_parse("printed", text, len, stderr);
	OK(p && ask(p, WHEN_UNVERIFIED, "x.b.test") == POLICY_PASS &&
	   ask(p, WHEN_ALWAYS, "z") == POLICY_BLOCK, "printed rules parse to the same");
	policy_put(p);
	free(text);
}

static void errors(void)
{
	static const char *const bad[] = {
		"allow a.test", "pass", "pass -a.test", "pass a..test", "pass *", "pass *.*.test",
		"pass a.*.test", "block when", "block when sni a.test", "block when no-sni a.test",
		"block when not-tls a.test", "block when not-tls 0", "block when not-tls 65536",
		"intercept when not-tls 443", "default", "default drop", "default pass b.test",
		"default pass\ndefault pass", "pass a,b", "pass \"a\"",
	};
	char *text;
	size_t len;
	FILE *f;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct policy *p = parse(bad[i]);

		OK(!p, "refused: %s", bad[i]);
		policy_put(p);
	}
	f = open_memstream(&text, &len);
	OK(!policy_parse("f", "pass ok.test\nnope\npass when x\n", 28, f), "two errors");
	fclose(f);
	OK(strstr(text, "f:2:1: ") && strstr(text, "f:3:11: "), "both have their places: %s", text);
	free(text);
}

static enum sniff_verdict one(const char *s, bool tls, bool http)
{
	struct hello h;

	return sniff((const uint8_t *)s, strlen(s), tls, http, &h);
}

static void sniffing(void)
{
	static const char pri[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
	static char method[140];
	bool more = true;

	OK(one("GET / HTTP/1.1\r\n", true, true) == SNIFF_HTTP1, "HTTP/1.1");
	OK(one("GET / HTTP/1.1\r\n", true, false) == SNIFF_OTHER, "not looked for");
	OK(one("\r\nM-SEARCH * HTTP/1.1\r\n", false, true) == SNIFF_HTTP1, "behind a blank line");
	for (size_t n = 1; n < 4; n++) {
		struct hello h;

		more &= sniff((const uint8_t *)"GET ", n, true, true, &h) == SNIFF_MORE;
	}
	OK(more && one("GET\r", true, true) == SNIFF_MORE, "the beginning of a request");
	OK(one("GET  /", false, true) == SNIFF_HTTP1 && one("GET\t/", false, true) == SNIFF_HTTP1 &&
	   one("GET\r/", false, true) == SNIFF_HTTP1 && one(" GET\v/", false, true) == SNIFF_HTTP1 &&
	   one("GET \xc3", false, true) == SNIFF_HTTP1, "as a lenient server reads it");
	OK(one("\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\nGET /", false, true) ==
	   SNIFF_HTTP1, "behind many lines");
	OK(one("{\"id\": 1", false, true) == SNIFF_OTHER && one("QUIT\r\n", false, true) == SNIFF_OTHER,
	   "other words");
	OK(one(pri, true, true) == SNIFF_HTTP2, "HTTP/2 with prior knowledge");
	OK(one("PRI * HTTP/2", true, true) == SNIFF_MORE, "the beginning of its preface");
	OK(one("PRI * HTTP/1.1\r\n", true, true) == SNIFF_HTTP1, "an odd method");
	OK(one("SSH-2.0-OpenSSH_9.2\r\n", true, true) == SNIFF_OTHER, "SSH");
	OK(one("\x16\x03", true, true) == SNIFF_MORE, "the beginning of a ClientHello");
	OK(one("SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", true, true) == SNIFF_OTHER, "SSH with a comment");
	memset(method, 'M', sizeof(method) - 1);
	OK(one(method, true, true) == SNIFF_OTHER, "no method is that long");
	OK(one("\x80\x01", true, true) == SNIFF_OTHER, "bytes");
}

int main(void)
{
	order();
	again();
	errors();
	sniffing();
	return tap_done();
}
