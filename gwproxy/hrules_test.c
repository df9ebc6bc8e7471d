/* SPDX-License-Identifier: MIT */
/*
 * hrules_test.c - Does a rule match an exchange?
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "hrules_int.h"

/*
 * Is @t what a pattern says?  A string: the whole, or how it begins.  Groups go to @g.
 * An expression that reached its limit has not matched, and is counted.
 */
static bool is(const struct hrules_pattern *p, struct text t, bool prefix, struct hrules_groups *g)
{
	pcre2_match_data *md;

	if (!p->regex) {
		if (prefix ? t.len < p->len : t.len != p->len)
			return false;
		return !p->len || !memcmp(t.p, p->text, p->len);
	}
	md = hrules_match_data(g ? USE_CAPTURE : USE_TEST, p->groups);
	if (hrules_pattern_match(p, t.p, t.len, 0, 0, md) < 0)
		return false;
	if (g)
		*g = (struct hrules_groups){ t.p, pcre2_get_ovector_pointer(md), p->groups + 1 };
	return true;
}

static bool host_is(const struct hrules_test *t, const struct exchange *x, struct hrules_groups *g)
{
	struct text host = hrules_host(x);
	size_t n = t->name_len;

	if (!t->name)
		return is(&t->pattern, host, false, g);
	if (t->name[0] != '*')
		return hrules_same(host, (struct text){ t->name, n });
	n--;
	return host.len > n && !strncasecmp(host.p + host.len - n, t->name + 1, n);
}

/* Any field of that name */
static bool header_is(const struct hrules_test *t, const struct exchange *x, struct hrules_groups *g)
{
	const struct message *m = t->kind == HRULES_HEADER ? x->req : x->resp;

	if (t->kind == HRULES_HEADER && !strcasecmp(t->name, "host")) {
		struct text host = message_authority(m);

		return t->any ? host.len > 0 : is(&t->pattern, host, false, g);
	}
	for (size_t i = 0; (i = message_find(m, t->name, i)) != (size_t)-1; i++)
		if (t->any || is(&t->pattern, message_field(m, i)->value, false, g))
			return true;
	return false;
}

static bool query_is(const struct hrules_test *t, const struct exchange *x, struct hrules_groups *g)
{
	struct hrules_out *arg = hrules_scratch(g ? USE_CAPTURE : USE_TEST, MESSAGE_HEAD_MAX);
	size_t pos = 0;

	while (arg && hrules_query(x, (struct text){ t->name, t->name_len }, &pos, arg))
		if (t->any || is(&t->pattern, (struct text){ arg->p, arg->n }, false, g))
			return true;
	return false;
}

/* "text/html" of "Text/HTML; charset=utf-8"; "text/" and "*" is any of that sort */
static bool type_is(const struct hrules_test *t, const struct message *m)
{
	size_t i = message_find(m, "content-type", 0), n = t->pattern.len;
	struct text v;

	if (i == (size_t)-1)
		return false;
	v = message_field(m, i)->value;
	for (size_t k = 0; k < v.len; k++)
		if (v.p[k] == ';' || v.p[k] == ' ' || v.p[k] == '\t')
			v.len = k;
	if (n > 1 && !memcmp(t->pattern.text + n - 2, "/*", 2))
		return v.len >= n - 1 && !strncasecmp(v.p, t->pattern.text, n - 1);
	return hrules_same(v, (struct text){ t->pattern.text, n });
}

static bool holds(const struct hrules_test *t, const struct exchange *x, bool response,
		  struct hrules_groups *g)
{
	struct text method;

	switch (t->kind) {
	case HRULES_HOST:
		return host_is(t, x, g);
	case HRULES_PATH:
		return is(&t->pattern, hrules_path(x), true, g);
	case HRULES_METHOD:
		method = message_method(x->req);
		return method.len == strlen(t->name) && !memcmp(method.p, t->name, method.len);
	case HRULES_HEADER:
	case HRULES_RESPONSE_HEADER:
		return header_is(t, x, g);
	case HRULES_QUERY:
		return query_is(t, x, g);
	case HRULES_TYPE:
		return type_is(t, response ? x->resp : x->req);
	case HRULES_STATUS:
		return message_status(x->resp) >= t->min && message_status(x->resp) <= t->max;
	case HRULES_ENDPOINT:
		return x->conn->from_lb && x->conn->endpoint == t->endpoint;
	}
	return false;
}

/* Can it be known before the response? */
static bool needs_response(const struct hrules_test *t)
{
	return t->kind == HRULES_STATUS || t->kind == HRULES_RESPONSE_HEADER || t->kind == HRULES_TYPE;
}

bool hrules_matches(const struct hrule *r, const struct exchange *x, bool response, bool maybe,
		    struct hrules_groups *g)
{
	*g = (struct hrules_groups){ .n = 0 };
	for (unsigned i = 0; i < r->ntests; i++) {
		const struct hrules_test *t = &r->test[i];
		bool capture = r->capture == (int)i;

		if (maybe && needs_response(t))
			continue;
		if (holds(t, x, response, capture ? g : NULL) == t->negate)
			return false;
	}
	return true;
}
