/* SPDX-License-Identifier: MIT */
/*
 * hrules_parse.c - One line of rules on HTTP
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "hrules_int.h"

static const char token_set[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				"!$%&'*+-.^_`|~";
static const char host_set[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
			       "_.-*";

static const struct {
	const char *word;
	enum hrules_action action;
} actions[] = {
	{ "set", HRULES_SET }, { "add", HRULES_ADD }, { "del", HRULES_DEL }, { "respond", HRULES_RESPOND },
	{ "redirect", HRULES_REDIRECT }, { "replace", HRULES_REPLACE }, { "drop", HRULES_DROP },
	{ "log", HRULES_LOG },
};

bool hrules_framing(const char *name)
{
	static const char *const names[] = {
		"content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer",
		"upgrade", "proxy-connection", "http2-settings", "expect",
	};

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcasecmp(name, names[i]))
			return true;
	return false;
}

/* A word of a set; *out is the caller's to free */
static bool word(struct lexer *l, const char *set, const char *what, char **out, size_t *at)
{
	char text[256];
	size_t n = lex_run(l, set, text, sizeof(text), at);

	if (!n || n >= sizeof(text))
		return lex_error(l, *at, "expected %s", what);
	*out = rules_alloc(n + 1);
	memcpy(*out, text, n + 1);
	return true;
}

static bool header_name(struct lexer *l, char **out, bool change)
{
	size_t at;

	if (!word(l, token_set, "the name of a header field", out, &at))
		return false;
	if (change && hrules_framing(*out))
		return lex_error(l, at, "this field is the proxy's own: it says how a message is "
				 "sent");
	return true;
}

/* "in request", "in response", "in both" */
static bool parse_in(struct hrule *r, struct lexer *l, bool both)
{
	if (lex_keyword(l, "request"))
		r->request = true;
	else if (lex_keyword(l, "response"))
		r->response = true;
	else if (both && lex_keyword(l, "both"))
		r->request = r->response = true;
	else
		return lex_error(l, l->pos, "'in' knows request%s", both ? ", response, both" :
				 " and response here");
	return true;
}

static bool is_host(const struct hrule *r)
{
	return r->header && !strcasecmp(r->header, "host");
}

static bool parse_header(struct hrule *r, struct lexer *l)
{
	size_t at;

	if (!lex_keyword(l, "header"))
		return lex_error(l, l->pos, "expected 'header'");
	lex_blank(l);
	at = l->pos;
	if (!header_name(l, &r->header, true))
		return false;
	if (r->action != HRULES_SET && is_host(r))
		return lex_error(l, at, "a request has one Host: it can be set");
	if (r->action != HRULES_DEL) {
		if (!hrules_value_parse(&r->value, l))
			return false;
		r->has_value = true;
		if (!r->value.raw_len)
			return lex_error(l, r->value.at,
					 "an empty value: 'del header' takes it away");
	}
	if (!lex_keyword(l, "in"))
		return lex_error(l, l->pos, "expected 'in request', 'in response' or 'in both'");
	lex_blank(l);
	at = l->pos;
	if (!parse_in(r, l, true))
		return false;
	return !is_host(r) || !r->response || lex_error(l, at, "a response has no Host");
}

static bool parse_respond(struct hrule *r, struct lexer *l)
{
	uint64_t status;
	size_t at;

	lex_blank(l);
	at = l->pos;
	if (!lex_number(l, "the status of an answer", 200, 599, &status))
		return false;
	r->status = (unsigned)status;
	r->request = true;
	if (lex_blank(l) == '"') {
		if (status == 204 || status == 205 || status == 304)
			return lex_error(l, at, "an answer of this status has no body");
		if (!hrules_value_parse(&r->value, l))
			return false;
		r->has_value = true;
	}
	if (!lex_keyword(l, "as"))
		return true;
	if (!r->has_value)
		return lex_error(l, l->pos, "'as' is the type of a body: there is none");
	r->has_as = true;
	return hrules_value_parse(&r->as, l);
}

static bool parse_redirect(struct hrule *r, struct lexer *l)
{
	uint64_t status;
	size_t at;

	lex_blank(l);
	at = l->pos;
	if (!lex_number(l, "the status of a redirection", 0, 999, &status))
		return false;
	if (status != 301 && status != 302 && status != 303 && status != 307 && status != 308)
		return lex_error(l, at, "a redirection is 301, 302, 303, 307 or 308");
	r->status = (unsigned)status;
	r->request = true;
	if (!hrules_value_parse(&r->value, l))
		return false;
	r->has_value = true;
	return r->value.raw_len || lex_error(l, r->value.at, "where to?");
}

static bool replace_header(struct hrule *r, struct lexer *l)
{
	size_t at;

	lex_blank(l);
	at = l->pos;
	if (!header_name(l, &r->header, true))
		return false;
	return !is_host(r) || !r->response || lex_error(l, at, "a response has no Host");
}

static bool replace_in(struct hrule *r, struct lexer *l)
{
	size_t at;

	if (!lex_keyword(l, "in"))
		return lex_error(l, l->pos, "expected 'in' and where to replace");
	lex_blank(l);
	at = l->pos;
	if (lex_keyword(l, "request"))
		r->request = true;
	else if (lex_keyword(l, "response"))
		r->response = true;
	if ((r->request || r->response) && lex_keyword(l, "body")) {
		r->part = PART_BODY;
		return true;
	}
	if (lex_keyword(l, "header")) {
		r->request |= !r->response;
		return replace_header(r, l);
	}
	if (r->request || r->response)
		return lex_error(l, l->pos, "expected 'body' or 'header'");
	r->request = true;
	if (lex_keyword(l, "path")) {
		r->part = PART_PATH;
		return true;
	}
	r->part = PART_MESSAGE;
	if (!lex_keyword(l, "message"))
		return lex_error(l, at, "'in' knows request body, response body, header, response "
				 "header, path, message");
	if (!lex_keyword(l, "from"))
		return true;
	r->from = lex_keyword(l, "client") ? FROM_CLIENT :
		  lex_keyword(l, "server") ? FROM_SERVER : FROM_BOTH;
	return r->from || lex_error(l, l->pos, "'from' knows client and server");
}

static bool parse_replace(struct hrule *r, struct lexer *l)
{
	if (!hrules_pattern_parse(&r->what, l, true) || !hrules_value_parse(&r->value, l))
		return false;
	r->has_value = true;
	return replace_in(r, l);
}

static bool parse_action(struct hrule *r, struct lexer *l)
{
	switch (r->action) {
	case HRULES_SET:
	case HRULES_ADD:
	case HRULES_DEL:
		return parse_header(r, l);
	case HRULES_RESPOND:
		return parse_respond(r, l);
	case HRULES_REDIRECT:
		return parse_redirect(r, l);
	case HRULES_REPLACE:
		return parse_replace(r, l);
	case HRULES_DROP:
	case HRULES_LOG:
		if (lex_keyword(l, "in"))
			return parse_in(r, l, false);
		r->request = true;
	}
	return true;
}

static bool parse_opts(struct hrules_set *rs, struct hrule *r, struct lexer *l)
{
	for (;;) {
		size_t at;

		lex_blank(l);
		at = l->pos;
		if (lex_keyword(l, "name")) {
			if (r->named)
				return lex_error(l, at, "a rule has one name");
			r->named = true;
			if (!name_parse(&rs->names, l, r->label, r->file, r->line))
				return false;
		} else if (lex_keyword(l, "log")) {
			if (r->log || r->action == HRULES_LOG)
				return lex_error(l, at, "said twice");
			r->log = true;
		} else {
			return true;
		}
	}
}

static bool parse_host(struct hrules_test *t, struct lexer *l)
{
	int c = lex_blank(l);
	size_t at = l->pos;

	if (c == '/' || c == '"')
		return hrules_pattern_parse(&t->pattern, l, false);
	if (!word(l, host_set, "a host: NAME, *.NAME, \"string\" or /regular expression/", &t->name,
		  &at))
		return false;
	t->name_len = strlen(t->name);
	if (strrchr(t->name, '*') > t->name || (*t->name == '*' &&
	    (t->name[1] != '.' || t->name_len < 3)))
		return lex_error(l, at, "'*' stands for names in front: *.example.com");
	return true;
}

static bool parse_query(struct hrules_test *t, struct lexer *l)
{
	size_t at;

	if (lex_blank(l) == '"') {
		at = l->pos;
		if (!lex_string(l, &t->name, &t->name_len))
			return false;
		return t->name_len || lex_error(l, at, "an argument has a name");
	}
	if (!word(l, token_set, "the name of an argument", &t->name, &at))
		return false;
	t->name_len = strlen(t->name);
	return true;
}

static bool parse_status(struct hrules_test *t, struct lexer *l)
{
	uint64_t min, max;

	if (!lex_number(l, "a status", 100, 999, &min))
		return false;
	max = min;
	if (lex_peek(l) == '-') {
		l->pos++;
		if (!lex_number(l, "the end of the range", min, 999, &max))
			return false;
	}
	t->min = (unsigned)min;
	t->max = (unsigned)max;
	return true;
}

/* What follows a test's word */
static bool parse_operand(struct hrules_test *t, struct lexer *l)
{
	size_t at;
	int c;

	switch (t->kind) {
	case HRULES_HOST:
		return parse_host(t, l);
	case HRULES_PATH:
		return hrules_pattern_parse(&t->pattern, l, false);
	case HRULES_METHOD:
		return word(l, token_set, "a method", &t->name, &at);
	case HRULES_HEADER:
	case HRULES_RESPONSE_HEADER:
		if (!header_name(l, &t->name, false))
			return false;
		t->name_len = strlen(t->name);
		break;
	case HRULES_QUERY:
		if (!parse_query(t, l))
			return false;
		break;
	case HRULES_TYPE:
		if (lex_blank(l) != '"')
			return lex_error(l, l->pos, "a type is a string: \"text/html\", \"text/*\"");
		return hrules_pattern_parse(&t->pattern, l, false);
	case HRULES_STATUS:
		return parse_status(t, l);
	case HRULES_ENDPOINT:
		return lex_endpoint(l, &t->endpoint);
	}
	c = lex_blank(l);
	t->any = c != '"' && c != '/';
	return t->any || hrules_pattern_parse(&t->pattern, l, false);
}

static struct hrules_test *add_test(struct hrule *r, bool negate)
{
	struct hrules_test *grown = realloc(r->test, (r->ntests + 1) * sizeof(*grown));

	if (!grown)
		die("no memory for rules");
	r->test = grown;
	r->test[r->ntests] = (struct hrules_test){ .negate = negate };
	return &r->test[r->ntests++];
}

/* Is there in a rule what this test looks at? */
static bool test_fits(const struct hrule *r, const struct hrules_test *t, struct lexer *l,
		      size_t at)
{
	bool of_response = t->kind == HRULES_STATUS || t->kind == HRULES_RESPONSE_HEADER;

	if (of_response && r->request)
		return lex_error(l, at, "this is known of responses: the rule acts on %s",
				 r->response ? "requests as well" : "requests");
	if (t->kind == HRULES_TYPE && r->action == HRULES_REPLACE && r->part == PART_MESSAGE)
		return lex_error(l, at, "messages have no content type");
	return true;
}

static bool parse_test(struct hrule *r, struct lexer *l)
{
	static const char *const words[] = {
		[HRULES_HOST] = "host", [HRULES_PATH] = "path", [HRULES_METHOD] = "method",
		[HRULES_HEADER] = "header", [HRULES_RESPONSE_HEADER] = "response", [HRULES_QUERY] = "query",
		[HRULES_TYPE] = "type", [HRULES_STATUS] = "status", [HRULES_ENDPOINT] = "endpoint",
	};
	bool negate = lex_keyword(l, "not");
	struct hrules_test *t;
	size_t at;

	lex_blank(l);
	at = l->pos;
	if (lex_keyword(l, "request") && !lex_keyword(l, "header"))
		return lex_error(l, l->pos, "expected 'header'");
	if (l->pos != at) {
		t = add_test(r, negate);
		t->kind = HRULES_HEADER;
		return parse_operand(t, l);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(words); i++) {
		if (!lex_keyword(l, words[i]))
			continue;
		if (i == HRULES_RESPONSE_HEADER && !lex_keyword(l, "header"))
			return lex_error(l, l->pos, "expected 'header'");
		t = add_test(r, negate);
		t->kind = (enum hrules_test_kind)i;
		return test_fits(r, t, l, at) && parse_operand(t, l);
	}
	if (lex_keyword(l, "log") || lex_keyword(l, "name"))
		return lex_error(l, at, "'log' and 'name' stand in front of the tests");
	return lex_error(l, at, "this is no test: host, path, method, header, response header, "
			 "query, type, status, endpoint");
}

/* $1 is a group of the replaced expression, else of the last one that is tested */
static bool check_value(struct hrule *r, const struct hrules_value *v, struct lexer *l)
{
	const struct hrules_pattern *p = r->action == HRULES_REPLACE && r->what.regex ? &r->what : NULL;

	for (unsigned i = 0; i < r->ntests && r->action != HRULES_REPLACE; i++) {
		if (r->test[i].negate || !r->test[i].pattern.re)
			continue;
		p = &r->test[i].pattern;
		r->capture = (int)i;
	}
	if (v->of_response && r->request)
		return lex_error(l, v->at,
				 "what is known of responses only: the rule acts on requests");
	if (v->groups < 0)
		return true;
	if (!p)
		return lex_error(l, v->at,
				 "'$%d' without a regular expression; '$' is written $$",
				 v->groups);
	return v->groups <= (int)p->groups ||
	       lex_error(l, v->at, "there is no group %d: the expression has %u", v->groups,
			 p->groups);
}

static void parse_rule(struct hrules_set *rs, struct hrule *r, struct lexer *l)
{
	if (!parse_action(r, l) || !parse_opts(rs, r, l))
		return;
	while (lex_blank(l) >= 0)
		if (!parse_test(r, l))
			return;
	if (check_value(r, &r->value, l))
		check_value(r, &r->as, l);
}

static void parse_line(struct hrules_set *rs, struct lexer *l)
{
	size_t at = l->pos;
	struct hrule *r;

	for (unsigned i = 0; i < ARRAY_SIZE(actions); i++) {
		if (!lex_keyword(l, actions[i].word))
			continue;
		if (rs->n >= HRULES_RULES_MAX) {
			lex_error(l, at, "more than %u rules", HRULES_RULES_MAX);
			return;
		}
		rs->rule = rules_grow(rs->rule, rs->n, &rs->room, sizeof(*r));
		r = &rs->rule[rs->n++];		/* one that is wrong is freed with the others */
		r->action = actions[i].action;
		r->capture = r->value.groups = r->as.groups = -1;
		r->file = l->name;
		r->line = lex_line(l, at);
		parse_rule(rs, r, l);
		return;
	}
	lex_error(l, at, "a line starts with set, add, del, respond, redirect, replace, drop or "
		  "log");
}

void hrules_set_parse(struct hrules_set *rs, struct lexer *l)
{
	if (!lex_is_text(l))
		return;
	do {
		if (lex_blank(l) >= 0)
			parse_line(rs, l);
	} while (lex_next_line(l));
}
