/* SPDX-License-Identifier: MIT */
/* ws: messages through hooks, frame by frame: whole, in fragments, deflated, and what is refused */
#include <stdio.h>

#include <zlib.h>

#include "../gwproxy/message_int.h"
#include "legpair.h"
#include "tap.h"

static struct {
	bool unpack, shout, drop, wait, deaf;
	struct exchange *x;
	char seen[4096];
	unsigned ends;
	char why[64];
} script;

static enum hook_verdict on_message(void *ctx, unsigned self, struct exchange *x, bool from_client,
				    enum ws_kind kind, struct body *b)
{
	size_t len = strlen(script.seen);

	(void)ctx, (void)self;
	script.x = x;
	snprintf(script.seen + len, sizeof(script.seen) - len, "%s%d:%.*s%s;", from_client ? ">" : "<", kind,
		 b->len > 40 ? 0 : (int)b->len, (const char *)b->data, b->last ? "" : "+");
	if (script.shout && kind == WS_TEXT)
		body_replace(b, b->last ? "SHOUT" : "PART", b->last ? 5 : 4);
	return script.drop ? HOOK_DROP : script.wait ? HOOK_WAIT : HOOK_PASS;
}

static bool on_changes(void *ctx, unsigned self, const struct exchange *x, bool response)
{
	(void)ctx, (void)self, (void)response;
	return x->upgraded && script.unpack;
}

static bool on_looks(void *ctx, unsigned self, const struct exchange *x)
{
	(void)ctx, (void)self;
	return x->upgraded && !script.deaf;
}

static void on_end(void *ctx, unsigned self, struct exchange *x)
{
	(void)ctx, (void)self;
	script.ends++;
	snprintf(script.why, sizeof(script.why), "%s", x->why);
}

static const struct hook_ops scripted = {
	.name = "script", .ws_looks = on_looks, .ws_message = on_message, .body_changes = on_changes, .exchange_end = on_end,
};
static struct hooks hooks;
static struct pair p;

/* One frame; the client's are masked */
static size_t frame(uint8_t *to, uint8_t first, const void *data, size_t len, bool mask)
{
	const uint8_t *d = data;
	size_t n = 2;

	to[0] = first;
	to[1] = (uint8_t)((mask ? 0x80 : 0) | (len < 126 ? len : len < 65536 ? 126 : 127));
	if (len >= 65536)
		for (int i = 7; i >= 0; i--)
			to[n++] = (uint8_t)((uint64_t)len >> (8 * i));
	else if (len >= 126)
		to[n++] = (uint8_t)(len >> 8), to[n++] = (uint8_t)len;
	if (mask)
		to[n++] = 1, to[n++] = 2, to[n++] = 3, to[n++] = 4;
	for (size_t i = 0; i < len; i++)
		to[n++] = mask ? d[i] ^ (uint8_t)(1 + i % 4) : d[i];
	return n;
}

/* Frames as "FIRSTBYTE:payload " text; long payloads as their length */
static void show(const struct got *g, char *out, size_t room)
{
	size_t at = 0, o = 0;

	out[0] = '\0';
	while (at + 2 <= g->len && o + 100 < room) {
		const uint8_t *f = (const uint8_t *)g->p + at;
		size_t len = f[1] & 127, n = 2;
		bool mask = f[1] & 128;
		const uint8_t *m;

		if (len == 126)
			len = (size_t)f[2] << 8 | f[3], n = 4;
		else if (len == 127)
			len = (size_t)f[6] << 24 | (size_t)f[7] << 16 | (size_t)f[8] << 8 | f[9], n = 10;
		m = f + n;
		n += mask ? 4 : 0;
		o += (size_t)snprintf(out + o, room - o, "%02x:", f[0]);
		if (len > 60)
			o += (size_t)snprintf(out + o, room - o, "%zu", len);
		for (size_t i = 0; i < len && len <= 60; i++)
			out[o++] = (char)(mask ? f[n + i] ^ m[i % 4] : f[n + i]);
		out[o++] = ' ';
		out[o] = '\0';
		at += n + len;
	}
}

static void open_ws(const char *extensions)
{
	static const char up[] = "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
	struct got g = { 0 };
	char down[300];

	pair_open(&p, h1_relay_new, &hooks);
	send(p.client, up, strlen(up), 0);
	pair_step(&p);
	got_take(&g, p.server);
	snprintf(down, sizeof(down), "HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n%s\r\n", extensions);
	send(p.server, down, strlen(down), 0);
	pair_step(&p);
	got_take(&g, p.client);
	got_free(&g);
	memset(script.seen, 0, sizeof(script.seen));
}

/* Send it in two halves; what comes out at the other end */
static const char *through(bool up, const uint8_t *data, size_t len)
{
	static char out[4096];
	struct got g = { 0 };

	for (size_t at = 0; at < len; at += len - at > len / 2 + 1 ? len / 2 + 1 : len - at) {
		size_t n = len - at > len / 2 + 1 ? len / 2 + 1 : len - at;

		for (size_t k = 0; k < n; ) {
			ssize_t r = send(up ? p.client : p.server, data + at + k, n - k, MSG_NOSIGNAL);

			k += r > 0 ? (size_t)r : 0;
			pair_step(&p);
			got_take(&g, up ? p.server : p.client);
			if (r < 0 && p.state != RELAY_WAIT)
				break;
		}
	}
	for (int i = 0; i < 40; i++)
		pair_step(&p), got_take(&g, up ? p.server : p.client);
	show(&g, out, sizeof(out));
	got_free(&g);
	return out;
}

static void check(const char *name, bool up, const uint8_t *data, size_t len, const char *want, const char *seen)
{
	const char *got;

	script.seen[0] = '\0';
	got = through(up, data, len);
	OK(!strcmp(got, want) && (!seen || !strcmp(script.seen, seen)), "%s", name);
	if (strcmp(got, want) || (seen && strcmp(script.seen, seen)))
		printf("# got '%s', hooks saw '%s', %s\n", got, script.seen, p.why ? p.why : "");
}

static void test_messages(void)
{
	static uint8_t buf[400000], big[300000];
	unsigned part = 0, sum = 0;
	const char *got;
	size_t n;

	memset(&script, 0, sizeof(script));
	memset(big, 'b', sizeof(big));
	open_ws("");
	check("a message up", true, buf, frame(buf, 0x81, "hello", 5, true), "81:hello ", ">1:hello;");
	check("one down", false, buf, frame(buf, 0x82, "bytes", 5, false), "82:bytes ", "<2:bytes;");
	check("an empty one", true, buf, frame(buf, 0x81, "", 0, true), "81: ", ">1:;");
	n = frame(buf, 0x01, "one ", 4, true);
	n += frame(buf + n, 0x89, "ping", 4, true);
	n += frame(buf + n, 0x00, "two ", 4, true);
	n += frame(buf + n, 0x80, "three", 5, true);
	check("fragments with a ping between", true, buf, n, "89:ping 81:one two three ", ">9:ping;>1:one two three;");
	script.seen[0] = '\0';
	got = through(false, buf, frame(buf, 0x82, big, sizeof(big), false));
	for (const char *c = got; c && sscanf(c, "%*2x:%u", &part) == 1; c = strchr(c, ' ') ? strchr(c, ' ') + 1 : NULL)
		sum += part;
	OK(!strncmp(got, "02:", 3) && strstr(got, " 00:") && strstr(got, " 80:") && sum == sizeof(big) &&
	   !strcmp(script.seen, "<2:+;<2:+;<2:+;<2:+;<2:;"), "a long one is fragments: %s", got);
	script.shout = true;
	check("changed", true, buf, frame(buf, 0x81, "hello", 5, true), "81:SHOUT ", NULL);
	script.shout = false;
	check("close", true, buf, frame(buf, 0x88, "\x03\xe8" "bye", 5, true), "88:\x03\xe8" "bye ", NULL);
	close(p.client);
	p.client = -1;
	close(p.server);
	p.server = -1;
	for (int i = 0; i < 3; i++)
		pair_step(&p);
	OK(p.state == RELAY_DONE && script.ends == 1 && !strcmp(script.why, "done"), "it ends in order: %s", script.why);
	pair_close(&p);
}

static size_t deflated(uint8_t *to, const void *data, size_t len)
{
	z_stream z = { .next_in = (uint8_t *)(uintptr_t)data, .avail_in = (unsigned)len, .next_out = to, .avail_out = 65536 };
	size_t n;

	deflateInit2(&z, 9, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY);
	deflate(&z, Z_SYNC_FLUSH);
	n = 65536 - z.avail_out - 4;	/* without 00 00 ff ff */
	deflateEnd(&z);
	return n;
}

static void test_deflate(void)
{
	static uint8_t buf[70000], z[70000], big[1 << 20];
	size_t n;

	memset(&script, 0, sizeof(script));
	open_ws("Sec-WebSocket-Extensions: permessage-deflate\r\n");
	n = deflated(z, "hello hello hello hello", 23);
	OK(!strncmp(through(true, buf, frame(buf, 0xc1, z, n, true)) + 3, (const char *)z, n - 1), "a deflated message goes on as it is");
	pair_close(&p);
	script.unpack = true;
	open_ws("Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n");
	check("or is unpacked for a hook", true, buf, frame(buf, 0xc1, z, n, true), "81:hello hello hello hello ",
	      ">1:hello hello hello hello;");
	n = deflated(z, big, sizeof(big));
	script.seen[0] = '\0';
	through(false, buf, frame(buf, 0xc2, z, n, false));
	OK(!strncmp(script.seen, "<2:+;<2:+;", 10) && strstr(script.seen, "<2:;"), "%zu bytes that unpack to 1 MB come in pieces: %s", n, script.seen);
	check("one that is not deflated", true, buf, frame(buf, 0x81, "plain", 5, true), "81:plain ", ">1:plain;");
	check("what cannot be unpacked", true, buf, frame(buf, 0xc1, "\xff\xff\xff", 3, true), "", "");
	OK(p.state == RELAY_RESET && !strcmp(p.why, "refused: websocket"), "ends it: %s", p.why);
	pair_close(&p);
}

static void test_refused(void)
{
	static const struct { const char *what; uint8_t first; size_t len; bool mask, up; } bad[] = {
		{ "a client's frame without a mask", 0x81, 5, false, true },
		{ "a server's frame with one", 0x81, 5, true, false },
		{ "RSV1 without an extension", 0xc1, 5, true, true },
		{ "RSV2", 0xa1, 5, true, true },
		{ "a long control frame", 0x89, 126, true, true },
		{ "a control frame in fragments", 0x09, 5, true, true },
		{ "a continuation of nothing", 0x80, 5, true, true },
		{ "an unknown kind", 0x83, 5, true, true },
	};
	uint8_t buf[300], data[200] = { 0 };

	memset(&script, 0, sizeof(script));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		open_ws("");
		through(bad[i].up, buf, frame(buf, bad[i].first, data, bad[i].len, bad[i].mask));
		OK(p.state == RELAY_RESET && !strcmp(p.why, "refused: websocket"), "%s: %s", bad[i].what, p.why ? p.why : "passes");
		pair_close(&p);
	}
	open_ws("");
	script.drop = true;
	through(true, buf, frame(buf, 0x81, "x", 1, true));
	OK(p.state == RELAY_RESET && !strcmp(p.why, "dropped"), "a hook drops");
	pair_close(&p);
}

/* Nobody looks: not a byte is another one */
static void test_as_they_are(void)
{
	static const char odd[] = "\x01\x83" "abcd" "\0\1\2" "\x80\x80" "efgh" "\x83\x01" "what is no frame";
	struct got g = { 0 };

	memset(&script, 0, sizeof(script));
	script.deaf = true;
	open_ws("");
	send(p.client, odd, sizeof(odd) - 1, 0);
	pair_step(&p);
	got_take(&g, p.server);
	OK(g.len == sizeof(odd) - 1 && !memcmp(g.p, odd, g.len) && !script.seen[0] && p.state == RELAY_WAIT,
	   "bytes that no hook looks at pass as they are");
	pair_close(&p);
	got_free(&g);
}

static void test_wait(void)
{
	uint8_t buf[100];
	size_t n;

	memset(&script, 0, sizeof(script));
	open_ws("");
	script.wait = true;
	n = frame(buf, 0x81, "one", 3, true);
	n += frame(buf + n, 0x81, "two", 3, true);
	check("a hook lets a message wait", true, buf, n, "", ">1:one;");
	script.wait = false;
	exchange_resume(script.x, HOOK_PASS);
	check("then it goes on, and the next", true, buf, 0, "81:one 81:two ", ">1:two;");
	pair_close(&p);
}

int main(void)
{
	hooks_add(&hooks, &scripted, NULL);
	test_messages();
	test_deflate();
	test_refused();
	test_as_they_are();
	test_wait();
	return tap_done();
}
