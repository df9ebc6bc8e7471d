/* SPDX-License-Identifier: MIT */
/*
 * hrules_print.c - Rules as text that parses again to the same rules
 */
#include <inttypes.h>
#include <string.h>

#include "hrules_int.h"

static const char *const action_words[] = {
	[HRULES_SET] = "set header", [HRULES_ADD] = "add header", [HRULES_DEL] = "del header",
	[HRULES_RESPOND] = "respond", [HRULES_REDIRECT] = "redirect", [HRULES_REPLACE] = "replace",
	[HRULES_DROP] = "drop", [HRULES_LOG] = "log",
};

static void print_place(const struct hrule *r, FILE *out)
{
	static const char *const from[] = { "", " from client", " from server" };

	switch (r->part) {
	case PART_HEADER:
		fprintf(out, " in %sheader %s", r->response ? "response " : "", r->header);
		break;
	case PART_PATH:
		fputs(" in path", out);
		break;
	case PART_BODY:
		fprintf(out, " in %s body", r->response ? "response" : "request");
		break;
	case PART_MESSAGE:
		fprintf(out, " in message%s", from[r->from]);
		break;
	}
}

static void print_action(const struct hrule *r, FILE *out)
{
	fputs(action_words[r->action], out);
	if (r->action == HRULES_REPLACE) {
		fputc(' ', out);
		hrules_pattern_print(&r->what, out);
	} else if (r->header) {
		fprintf(out, " %s", r->header);
	}
	if (r->status)
		fprintf(out, " %u", r->status);
	if (r->has_value) {
		fputc(' ', out);
		print_string(r->value.raw, r->value.raw_len, out);
	}
	if (r->has_as) {
		fputs(" as ", out);
		print_string(r->as.raw, r->as.raw_len, out);
	}
	if (r->action == HRULES_REPLACE)
		print_place(r, out);
	else if (r->header)
		fprintf(out, " in %s", r->request && r->response ? "both" :
			r->request ? "request" : "response");
	else if (r->response)
		fputs(" in response", out);
}

/* A name that may have been given as a string */
static void print_name(const struct hrules_test *t, FILE *out)
{

	fputc(' ', out);
	if (strlen(t->name) == t->name_len && strspn(t->name, lex_name_set) == t->name_len)
		fputs(t->name, out);
	else
		print_string(t->name, t->name_len, out);
}

static void print_test(const struct hrules_test *t, FILE *out)
{
	static const char *const words[] = {
		[HRULES_HOST] = "host", [HRULES_PATH] = "path", [HRULES_METHOD] = "method",
		[HRULES_HEADER] = "header", [HRULES_RESPONSE_HEADER] = "response header",
		[HRULES_QUERY] = "query", [HRULES_TYPE] = "type", [HRULES_STATUS] = "status",
		[HRULES_ENDPOINT] = "endpoint",
	};

	fprintf(out, "%s %s", t->negate ? " not" : "", words[t->kind]);
	if (t->kind == HRULES_STATUS) {
		fprintf(out, " %u", t->min);
		if (t->max != t->min)
			fprintf(out, "-%u", t->max);
	} else if (t->kind == HRULES_ENDPOINT) {
		fprintf(out, " vpce-0%016" PRIx64, t->endpoint);
	} else if (t->kind == HRULES_QUERY) {
		print_name(t, out);
	} else if (t->name) {
		fprintf(out, " %s", t->name);
	}
	if (t->pattern.text) {
		fputc(' ', out);
		hrules_pattern_print(&t->pattern, out);
	}
}

void hrule_print(const struct hrule *r, bool with_name, FILE *out)
{
	print_action(r, out);
	if (r->log)
		fputs(" log", out);
	if (with_name && r->named)
		fprintf(out, " name \"%s\"", r->label);
	for (unsigned i = 0; i < r->ntests; i++)
		print_test(&r->test[i], out);
	fputc('\n', out);
}
