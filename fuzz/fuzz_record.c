/* SPDX-License-Identifier: MIT */
/*
 * fuzz_record.c - Any request, recorded, is one line of JSON in ASCII
 *
 * Lines: authority, path, Authorization, a chosen header.  What a message may not hold is not
 * put in, so that the rest is looked at.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "../gwproxy/record_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct text take(const uint8_t **data, size_t *size)
{
	const uint8_t *end = *size ? memchr(*data, '\n', *size) : NULL;
	struct text t = { (const char *)*data, end ? (size_t)(end - *data) : *size };

	*size -= t.len + (end != NULL);
	*data += t.len + (end != NULL);
	return t;
}

static struct text text_of(const char *s)
{
	return (struct text){ s, strlen(s) };
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct record_conf conf = { .header = { "X" }, .nheaders = 1 };
	struct conn_facts conn = { .from_lb = true, .sni = "a", .how = "h2" };
	struct exchange x = { .conn = &conn, .req = message_new(), .why = "done" };
	json_t *json;
	char *line;

	if (!x.req)
		abort();
	message_set_scheme(x.req, text_of("https"));
	message_set_authority(x.req, take(&data, &size));
	message_set_path(x.req, take(&data, &size));
	message_add(x.req, text_of("Authorization"), take(&data, &size));
	message_add(x.req, text_of("X"), take(&data, &size));
	line = record_line(&conf, psl_builtin(), &conn, &x);
	json = line ? json_loads(line, 0, NULL) : NULL;
	if (!json)
		abort();
	for (const char *c = line; *c; c++)
		if (*c < ' ' || *c > '~')
			abort();
	json_decref(json);
	free(line);
	message_free(x.req);
	return 0;
}
