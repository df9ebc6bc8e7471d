/* SPDX-License-Identifier: MIT */
/* message.h: fields in order, set and deleted; bytes that may not be there; growth */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../gwproxy/message_int.h"
#include "tap.h"

static bool field_is(const struct message *m, size_t i, const char *name, const char *value)
{
	const struct field *f = message_field(m, i);

	return !f->gone && f->name.len == strlen(name) && !memcmp(f->name.p, name, f->name.len) &&
	       f->value.len == strlen(value) && !memcmp(f->value.p, value, f->value.len);
}

static void test_fields(void)
{
	struct message *m = message_new();

	OK(!message_add(m, text_of("Host"), text_of("a")) && !message_add(m, text_of("X-A"), text_of("1")) &&
	   !message_add(m, text_of("x-a"), text_of("2")) && !message_add(m, text_of("Empty"), text_of("")),
	   "fields are added");
	OK(message_fields(m) == 4 && field_is(m, 1, "X-A", "1") && field_is(m, 2, "x-a", "2"),
	   "in order, with their case");
	OK(message_find(m, "x-A", 0) == 1 && message_find(m, "X-a", 2) == 2 &&
	   message_find(m, "x", 0) == (size_t)-1, "found by name, case ignored");
	OK(!message_set(m, text_of("X-a"), text_of("three")) && field_is(m, 1, "X-A", "three") &&
	   message_field(m, 2)->gone && message_find(m, "x-a", 2) == (size_t)-1,
	   "set leaves one, in the place of the first");
	OK(!message_set(m, text_of("New"), text_of("n")) && field_is(m, 4, "New", "n"), "or appends");
	OK(!message_set(m, text_of("New"), message_field(m, 1)->value) && field_is(m, 4, "New", "three"),
	   "a value may come from the message itself");
	OK(message_del(m, text_of("NEW")) == 1 && message_del(m, text_of("NEW")) == 0 && m->changed,
	   "deleted once");
	message_free(m);
}

static void test_refused(void)
{
	static const struct { const char *name, *value; size_t len; } bad[] = {
		{ "", "v", 1 }, { "a b", "v", 1 }, { "a:", "v", 1 }, { "a\r", "v", 1 }, { "\x80", "v", 1 },
		{ "a", "v\r\nb: c", 7 }, { "a", "v\n", 2 }, { "a", "v\0w", 3 }, { "a", " v", 2 },
		{ "a", "v\t", 2 }, { "a", "\x7f", 1 }, { "a", "\x01", 1 },
	};
	struct message *m = message_new();
	unsigned n = 0;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		n += message_add(m, text_of(bad[i].name),
				 (struct text){ bad[i].value, bad[i].len }) == -EINVAL;
	OK(n == sizeof(bad) / sizeof(bad[0]), "%u names and values are refused", n);
	OK(!message_add(m, text_of("a"), text_of("caf\xc3\xa9\t!")), "bytes above 127 and tabs are not");
	OK(message_set_path(m, text_of("/a b")) == -EINVAL && message_set_path(m, text_of("")) == -EINVAL &&
	   message_set_method(m, text_of("GE T")) == -EINVAL &&
	   message_set_status(m, 99, text_of("x")) == -EINVAL &&
	   message_set_status(m, 200, text_of("O\rK")) == -EINVAL &&
	   message_set_authority(m, text_of("a\nb")) == -EINVAL, "nor splits a start line");
	OK(message_set_path(m, text_of(".evil/")) == -EINVAL && message_set_path(m, text_of("?x")) == -EINVAL &&
	   message_set_path(m, text_of("/a#b")) == -EINVAL, "a path is no part of a host, and has no fragment");
	OK(message_set_authority(m, text_of("u@h")) == -EINVAL && message_set_authority(m, text_of("h/x")) == -EINVAL &&
	   message_set_authority(m, text_of("a,b")) == -EINVAL, "an authority is a host and a port");
	OK(message_find(m, "a", 0) == 0 && message_fields(m) == 1, "what was refused left nothing");
	message_free(m);
}

static void test_limits(void)
{
	struct message *m = message_new();
	static char big[MESSAGE_HEAD_MAX];
	int err = 0, n = 0;

	memset(big, 'x', sizeof(big));
	OK(message_add(m, text_of("a"), (struct text){ big, sizeof(big) }) == -E2BIG, "a head's largest size");
	while (!(err = message_add(m, text_of("n"), text_of("v"))))
		n++;
	OK(err == -E2BIG && n == (int)MESSAGE_FIELDS_MAX, "%d fields", n);
	message_clear(m);
	OK(!message_fields(m) && !message_authority(m).len && !m->changed, "cleared");
	for (n = 0; n < 100000; n++)
		if ((err = message_set(m, text_of("again"), (struct text){ big, 100 })))
			break;
	OK(err == -E2BIG && n > 1000, "setting for ever ends at a bound: %d", n);
	message_free(m);
	message_free(NULL);
}

static void test_growth(void)
{
	struct message *m = message_new();
	char *raw = message_load(m, "GET /x HTTP/1.1\r\nHost: h\r\n\r\n", 28);
	static char v[3000];

	m->method = (struct text){ raw, 3 };
	m->path = (struct text){ raw + 4, 2 };
	m->authority = (struct text){ raw + 23, 1 };
	m->scheme = text_of("http");
	message_push(m, (struct text){ raw + 17, 4 }, (struct text){ raw + 23, 1 });
	memset(v, 'v', sizeof(v));
	for (int i = 0; i < 10; i++)
		message_add(m, text_of("big"), (struct text){ v, sizeof(v) });
	OK(!memcmp(message_method(m).p, "GET", 3) && !memcmp(message_path(m).p, "/x", 2) &&
	   field_is(m, 0, "Host", "h") && message_scheme(m).len == 4, "texts follow when the buffer moves");
	OK(!message_set_authority(m, text_of("other:8")) && field_is(m, 0, "Host", "other:8"),
	   "the authority is Host's value, too");
	OK(m->raw_len == 28 && !memcmp(m->buf, "GET /x HTTP/1.1\r\n", 17), "what came is kept");
	message_free(m);
}

static void test_kept(void)
{
	static char big[40000];
	struct message *m = message_new();

	memset(big, 'x', sizeof(big));
	OK(!message_add(m, text_of("a"), (struct text){ big, sizeof(big) }) && m->room >= sizeof(big), "a large head");
	message_clear(m);
	OK(m->room <= 8192 && !message_add(m, text_of("a"), text_of("b")), "leaves no large buffer to a connection that waits");
	message_free(m);
}

int main(void)
{
	test_kept();
	test_fields();
	test_refused();
	test_limits();
	test_growth();
	return tap_done();
}
