/* SPDX-License-Identifier: MIT */
/*
 * hrules.c - Rules at work on exchanges
 *
 * Theory of operation
 *
 * At each head the rules that act there are looked at in order; each sees what those in front
 * of it made.  A rule on a body or on messages is decided at the head as well: its stream is
 * put in the exchange's list, and the body's pieces go through all streams of the list.
 *
 * A body that may be changed has to come as it is: where a rule on the response's body may
 * match, the request asks for no encoding and for no part of it, and a WebSocket of which
 * messages may be changed is asked for without extensions that the engine cannot read.  What
 * comes encoded, or in part, all the same is left alone and counted.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "clock.h"
#include "hrules_int.h"

#define TEXT(s)	((struct text){ (s), sizeof(s) - 1 })

struct hrules {
	const struct hrules_conf *conf;
	pthread_mutex_t lock;		/* of @now, and of the log's limits */
	struct hrules_set *now;
	atomic_uint n;			/* rules of @now */
	_Atomic uint64_t errors, too_long, encoded, partial;
};

/* Rules at work on one body, in order */
struct tasks {
	struct task {
		struct hrule *rule;
		struct hrules_stream stream;
	} *task;
	unsigned n;
	size_t room;
};

enum { TASKS_REQUEST, TASKS_RESPONSE, TASKS_UP, TASKS_DOWN, TASKS_KINDS };

/**
 * struct state - What an exchange keeps
 * @plain:	A rule on the response's body may match
 */
struct state {
	struct hrules_set *rules;
	struct tasks tasks[TASKS_KINDS];
	bool plain;
};

static struct hrules_set *rules_take(struct hrules *w)
{
	struct hrules_set *rs;

	pthread_mutex_lock(&w->lock);
	rs = w->now;
	atomic_fetch_add(&rs->refs, 1);
	pthread_mutex_unlock(&w->lock);
	return rs;
}

static void rules_drop(struct hrules_set *rs)
{
	if (atomic_fetch_sub(&rs->refs, 1) == 1)
		hrules_set_free(rs);
}

static void tasks_clear(struct tasks *t)
{
	for (unsigned i = 0; i < t->n; i++)
		hrules_stream_free(&t->task[i].stream);
	free(t->task);
	*t = (struct tasks){ .n = 0 };
}

static bool tasks_add(struct tasks *t, struct hrule *r)
{
	if (t->n == t->room) {
		size_t room = t->room ? 2 * t->room : 4;
		struct task *grown = realloc(t->task, room * sizeof(*grown));

		if (!grown)
			return false;
		t->task = grown;
		t->room = room;
	}
	t->task[t->n++] = (struct task){ .rule = r, .stream = { .p = &r->what } };
	return true;
}

/* ---- what a rule did ---- */

/* Who, what, where to, but nothing behind a "?": that may be a secret */
static void say(struct hrules *w, struct hrule *r, const struct exchange *x)
{
	struct text method = message_method(x->req), host = hrules_host(x), path = hrules_path(x);
	char client[INET6_ADDRSTRLEN] = "?", line[512];
	const struct sockaddr_storage *a = &x->conn->client;
	size_t at = a->ss_family == AF_INET ? offsetof(struct sockaddr_in, sin_addr) :
					      offsetof(struct sockaddr_in6, sin6_addr);

	if (a->ss_family == AF_INET || a->ss_family == AF_INET6)
		inet_ntop(a->ss_family, (const char *)a + at, client, sizeof(client));
	snprintf(line, sizeof(line), "%.*s %.*s%.*s from %s", (int)MIN(method.len, 32u),
		 method.len ? method.p : "", (int)MIN(host.len, 128u), host.len ? host.p : "",
		 (int)MIN(path.len, 256u), path.len ? path.p : "", client);
	for (char *c = line; *c; c++)
		if ((unsigned char)*c < ' ' || (unsigned char)*c > '~')
			*c = '?';
	pthread_mutex_lock(&w->lock);
	log_limited(&r->log_site, clock_mono(), LOG_LVL_NOTICE, "rule %s: applied: %s", r->label,
		    line);
	pthread_mutex_unlock(&w->lock);
}

static void applied(struct hrules *w, struct hrule *r, const struct exchange *x, uint64_t times)
{
	if (!times)
		return;
	atomic_fetch_add_explicit(&r->hits, times, memory_order_relaxed);
	if (r->log || r->action == HRULES_LOG)
		say(w, r, x);
}

static void failed(struct hrules *w, struct hrule *r)
{
	atomic_fetch_add_explicit(&w->errors, 1, memory_order_relaxed);
	pthread_mutex_lock(&w->lock);
	log_limited(&r->log_site, clock_mono(), LOG_LVL_WARN,
		    "rule %s: its value cannot stand in a head", r->label);
	pthread_mutex_unlock(&w->lock);
}

static void count_edit(struct hrules *w, struct hrule *r, const struct hrules_edit *e)
{
	atomic_fetch_add_explicit(&w->errors, e->errors, memory_order_relaxed);
	atomic_fetch_add_explicit(&w->too_long, e->too_long, memory_order_relaxed);
	applied(w, r, e->x, e->hits);
}

static void settle(struct hrules *w)
{
	atomic_fetch_add_explicit(&w->errors, hrules_match_errors(), memory_order_relaxed);
}

/* ---- heads ---- */

static struct text name_of(const char *s)
{
	return (struct text){ s, strlen(s) };
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* A value that came to nothing takes the field away */
static int edit_header(const struct hrule *r, struct message *m, const struct hrules_out *o)
{
	struct text name = name_of(r->header), value = { o->p, o->n };

	if (o->failed)
		return -E2BIG;
	for (; value.len && is_blank(value.p[0]); value.len--)		/* next to what is not known */
		value.p++;
	while (value.len && is_blank(value.p[value.len - 1]))
		value.len--;
	if (!strcasecmp(r->header, "host"))
		return message_set_authority(m, value);
	if (r->action == HRULES_ADD)
		return value.len ? message_add(m, name, value) : 0;
	if (value.len)
		return message_set(m, name, value);
	message_del(m, name);
	return 0;
}

static bool replace_text(struct hrules *w, struct hrule *r, const struct exchange *x,
			 struct text t, struct hrules_out *o)
{
	struct hrules_stream s = { .p = &r->what };
	struct hrules_edit e = { .with = &r->value, .x = x };
	bool good = hrules_stream_feed(&s, &e, t.p, t.len, true, o);

	hrules_stream_free(&s);
	count_edit(w, r, &e);
	return good && e.hits;
}

/* All fields of that name; if any changes they are written anew, in their order */
static int replace_fields(struct hrules *w, struct hrule *r, struct exchange *x, struct message *m,
			  struct hrules_out *o)
{
	struct text name = name_of(r->header);
	size_t end[MESSAGE_FIELDS_MAX], n = 0, from = 0;
	bool changed = false;
	int err = 0;

	for (size_t i = 0; (i = message_find(m, r->header, i)) != (size_t)-1; i++) {
		if (n == MESSAGE_FIELDS_MAX)
			return -E2BIG;
		changed |= replace_text(w, r, x, message_field(m, i)->value, o);
		end[n++] = o->n;
	}
	if (!changed || o->failed)
		return o->failed ? -E2BIG : 0;
	if (n == 1 && o->n)
		return message_set(m, name, (struct text){ o->p, o->n });
	message_del(m, name);
	for (size_t i = 0; i < n && !err; from = end[i++])
		if (end[i] > from)
			err = message_add(m, name, (struct text){ o->p + from, end[i] - from });
	return err;
}

static int replace_head(struct hrules *w, struct hrule *r, struct exchange *x, bool response)
{
	struct hrules_out *o = hrules_scratch(USE_FIND, MESSAGE_HEAD_MAX);
	struct message *m = response ? x->resp : x->req;
	bool host = r->part == PART_HEADER && !strcasecmp(r->header, "host");

	if (!o)
		return -ENOMEM;
	if (r->part == PART_HEADER && !host)
		return replace_fields(w, r, x, m, o);
	if (!replace_text(w, r, x, host ? message_authority(m) : message_path(m), o))
		return o->failed ? -E2BIG : 0;
	return host ? message_set_authority(m, (struct text){ o->p, o->n }) :
		      message_set_path(m, (struct text){ o->p, o->n });
}

static const char *phrase_of(unsigned status)
{
	static const struct {
		unsigned status;
		const char *phrase;
	} known[] = {
		{ 200, "OK" }, { 204, "No Content" }, { 301, "Moved Permanently" },
		{ 302, "Found" }, { 303, "See Other" }, { 304, "Not Modified" },
		{ 307, "Temporary Redirect" }, { 308, "Permanent Redirect" },
		{ 400, "Bad Request" }, { 401, "Unauthorized" }, { 403, "Forbidden" },
		{ 404, "Not Found" }, { 405, "Method Not Allowed" }, { 410, "Gone" },
		{ 413, "Content Too Large" }, { 418, "I'm a teapot" },
		{ 429, "Too Many Requests" }, { 451, "Unavailable For Legal Reasons" },
		{ 500, "Internal Server Error" }, { 502, "Bad Gateway" },
		{ 503, "Service Unavailable" }, { 504, "Gateway Timeout" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(known); i++)
		if (known[i].status == status)
			return known[i].phrase;
	return "";
}

/* The answer's head: where to, or of what type its body is */
static int answer_head(const struct hrule *r, struct exchange *x, const struct hrules_groups *g,
		       const struct hrules_out *value)
{
	struct hrules_out *o = hrules_scratch(USE_TEST, MESSAGE_HEAD_MAX);
	int err = message_set_status(x->answer, r->status, name_of(phrase_of(r->status)));

	if (!o || value->failed)
		return o ? -E2BIG : -ENOMEM;
	if (!err && r->action == HRULES_REDIRECT)
		err = message_add(x->answer, TEXT("Location"), (struct text){ value->p, value->n });
	else if (!err && r->has_value) {
		if (r->has_as)
			hrules_value_put(&r->as, x, g, o);
		else
			hrules_put_text(o, TEXT("text/plain; charset=utf-8"));
		err = o->failed ? -E2BIG : message_add(x->answer, TEXT("Content-Type"),
						       (struct text){ o->p, o->n });
	}
	return err ? err : message_add(x->answer, TEXT("Cache-Control"), TEXT("no-store"));
}

/* An answer that cannot be made lets nobody through: it is dropped */
static enum hook_verdict answer(struct hrules *w, struct hrule *r, struct exchange *x,
				const struct hrules_groups *g)
{
	struct hrules_out *o = hrules_scratch(USE_FIND, MESSAGE_HEAD_MAX);
	char *body = NULL;

	if (o)
		hrules_value_put(&r->value, x, g, o);
	message_free(x->answer);
	x->answer = message_new();
	if (!o || !x->answer || answer_head(r, x, g, o))
		goto fail;
	if (r->action == HRULES_RESPOND && o->n) {
		body = malloc(o->n);
		if (!body)
			goto fail;
		memcpy(body, o->p, o->n);
		x->answer_body = (struct text){ body, o->n };
	}
	return HOOK_ANSWER;
fail:
	failed(w, r);
	message_free(x->answer);
	x->answer = NULL;
	return HOOK_DROP;
}

static int edit(struct hrules *w, struct hrule *r, struct exchange *x, bool response,
		const struct hrules_groups *g)
{
	struct message *m = response ? x->resp : x->req;
	struct hrules_out *o;
	int err;

	if (r->action == HRULES_REPLACE)
		return replace_head(w, r, x, response);
	if (r->action == HRULES_DEL) {
		applied(w, r, x, message_del(m, name_of(r->header)) > 0);
		return 0;
	}
	o = hrules_scratch(USE_FIND, MESSAGE_HEAD_MAX);
	if (!o)
		return -ENOMEM;
	hrules_value_put(&r->value, x, g, o);
	err = edit_header(r, m, o);
	applied(w, r, x, !err);
	return err;
}

/* A rule on a body or on messages that matched */
static bool take_task(struct state *st, struct hrule *r, bool response)
{
	if (r->part == PART_BODY)
		return tasks_add(&st->tasks[response ? TASKS_RESPONSE : TASKS_REQUEST], r);
	return (r->from == FROM_SERVER || tasks_add(&st->tasks[TASKS_UP], r)) &&
	       (r->from == FROM_CLIENT || tasks_add(&st->tasks[TASKS_DOWN], r));
}

static enum hook_verdict apply(struct hrules *w, struct state *st, struct hrule *r,
			       struct exchange *x, bool response, const struct hrules_groups *g)
{
	switch (r->action) {
	case HRULES_DROP:
		applied(w, r, x, 1);
		return HOOK_DROP;
	case HRULES_LOG:
		applied(w, r, x, 1);
		return HOOK_PASS;
	case HRULES_RESPOND:
	case HRULES_REDIRECT:
		applied(w, r, x, 1);
		return answer(w, r, x, g);
	default:
		break;
	}
	if (r->action == HRULES_REPLACE && (r->part == PART_BODY || r->part == PART_MESSAGE))
		return take_task(st, r, response) ? HOOK_PASS : HOOK_DROP;
	if (edit(w, r, x, response, g))
		failed(w, r);
	return HOOK_PASS;
}

/* Digests of a body that may be another one afterwards; bytes of it cannot be asked for */
static void forget_digests(struct message *m)
{
	static const char *const names[] = {
		"Content-MD5", "Digest", "Content-Digest", "Repr-Digest", "Accept-Ranges",
	};

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		message_del(m, name_of(names[i]));
}

/* Has any field of that name another value? */
static bool is_not(const struct message *m, const char *name, struct text plain)
{
	for (size_t i = 0; (i = message_find(m, name, i)) != (size_t)-1; i++)
		if (!hrules_same(message_field(m, i)->value, plain))
			return true;
	return false;
}

/* By the server, or on its way: the engine takes the chunks away, and no compression */
static bool is_encoded(const struct message *m)
{
	return is_not(m, "content-encoding", TEXT("identity")) ||
	       is_not(m, "transfer-encoding", TEXT("chunked"));
}

/* All rules on this body were found: can they be carried out? */
static void check_body(struct hrules *w, struct tasks *t, struct message *m, bool part)
{
	if (!t->n)
		return;
	if (part || is_encoded(m)) {
		atomic_fetch_add_explicit(part ? &w->partial : &w->encoded, 1,
					  memory_order_relaxed);
		tasks_clear(t);
		return;
	}
	forget_digests(m);
}

/* Does a request offer no other extension than permessage-deflate? */
static bool only_deflate(const struct message *m)
{
	static const char name[] = "permessage-deflate";

	for (size_t i = 0; (i = message_find(m, "sec-websocket-extensions", i)) != (size_t)-1; i++) {
		struct text v = message_field(m, i)->value;
		size_t n;

		for (size_t at = 0; at < v.len; at += n + 1) {
			const char *p = v.p + at, *comma = memchr(p, ',', v.len - at);
			size_t from = 0, to = 0;

			n = comma ? (size_t)(comma - p) : v.len - at;
			while (from < n && (p[from] == ' ' || p[from] == '\t'))
				from++;
			for (to = from; to < n && !memchr("; \t", p[to], 3); )
				to++;
			if (!hrules_same((struct text){ p + from, to - from }, name_of(name)))
				return false;
		}
	}
	return true;
}

static void ask_plainly(struct state *st, struct message *m)
{
	if (st->plain) {
		message_set(m, TEXT("Accept-Encoding"), TEXT("identity"));
		message_del(m, TEXT("Range"));
		message_del(m, TEXT("If-Range"));
	}
	if ((st->tasks[TASKS_UP].n || st->tasks[TASKS_DOWN].n) && !only_deflate(m))
		message_del(m, TEXT("Sec-WebSocket-Extensions"));
}

static struct state *state_new(struct hrules *w)
{
	struct state *st = calloc(1, sizeof(*st));

	if (st)
		st->rules = rules_take(w);
	return st;
}

static void state_free(struct state *st)
{
	for (unsigned i = 0; i < TASKS_KINDS; i++)
		tasks_clear(&st->tasks[i]);
	rules_drop(st->rules);
	free(st);
}

static enum hook_verdict hrules_request(void *ctx, unsigned self, struct exchange *x)
{
	struct hrules *w = ctx;
	enum hook_verdict v = HOOK_PASS;
	struct hrules_groups g;
	struct state *st;

	if (!atomic_load_explicit(&w->n, memory_order_relaxed))
		return HOOK_PASS;
	st = state_new(w);
	if (!st)
		return HOOK_DROP;
	if (x->state[self])
		state_free(x->state[self]);
	x->state[self] = st;
	for (unsigned i = 0; i < st->rules->n && v == HOOK_PASS; i++) {
		struct hrule *r = &st->rules->rule[i];

		if (r->request && hrules_matches(r, x, false, false, &g))
			v = apply(w, st, r, x, false, &g);
		else if (r->response && r->action == HRULES_REPLACE && r->part == PART_BODY)
			st->plain |= hrules_matches(r, x, false, true, &g);
	}
	if (v == HOOK_PASS) {
		check_body(w, &st->tasks[TASKS_REQUEST], x->req, false);
		ask_plainly(st, x->req);
	}
	settle(w);
	return v;
}

static bool is_head(const struct exchange *x)
{
	struct text method = message_method(x->req);

	return method.len == 4 && !memcmp(method.p, "HEAD", 4);
}

static enum hook_verdict hrules_response(void *ctx, unsigned self, struct exchange *x)
{
	struct hrules *w = ctx;
	struct state *st = x->state[self];
	unsigned status = message_status(x->resp);
	enum hook_verdict v = HOOK_PASS;
	struct tasks *body;
	struct hrules_groups g;

	if (!st || (status < 200 && status != 101))
		return HOOK_PASS;
	body = &st->tasks[TASKS_RESPONSE];
	tasks_clear(body);
	for (unsigned i = 0; i < st->rules->n && v == HOOK_PASS; i++) {
		struct hrule *r = &st->rules->rule[i];

		if (r->response && hrules_matches(r, x, true, false, &g))
			v = apply(w, st, r, x, true, &g);
	}
	check_body(w, body, x->resp, status == 206);
	if (body->n && is_head(x))
		message_del(x->resp, TEXT("Content-Length"));	/* of the body as it was */
	if (is_head(x) || status < 200 || status == 204 || status == 304)
		tasks_clear(body);
	settle(w);
	return v;
}

/* ---- bodies ---- */

static enum hook_verdict run_tasks(struct hrules *w, struct tasks *t, struct exchange *x,
				   struct body *b)
{
	const void *data = b->data;
	size_t len = b->len;

	if (!t->n)
		return HOOK_PASS;
	for (unsigned i = 0; i < t->n; i++) {
		struct hrules_out *o = hrules_scratch(i & 1 ? USE_CAPTURE : USE_FIND, SIZE_MAX);
		struct hrules_edit e = { .with = &t->task[i].rule->value, .x = x };
		bool good = o && hrules_stream_feed(&t->task[i].stream, &e, data, len, b->last, o);

		count_edit(w, t->task[i].rule, &e);
		if (!good)
			return HOOK_DROP;
		data = o->p;
		len = o->n;
	}
	settle(w);
	return body_replace(b, data, len) ? HOOK_DROP : HOOK_PASS;
}

static enum hook_verdict hrules_request_body(void *ctx, unsigned self, struct exchange *x,
					     struct body *b)
{
	struct state *st = x->state[self];

	return st ? run_tasks(ctx, &st->tasks[TASKS_REQUEST], x, b) : HOOK_PASS;
}

static enum hook_verdict hrules_response_body(void *ctx, unsigned self, struct exchange *x,
					      struct body *b)
{
	struct state *st = x->state[self];

	return st ? run_tasks(ctx, &st->tasks[TASKS_RESPONSE], x, b) : HOOK_PASS;
}

static enum hook_verdict hrules_message(void *ctx, unsigned self, struct exchange *x,
					bool from_client, enum ws_kind kind, struct body *b)
{
	struct state *st = x->state[self];

	if (!st || (kind != WS_TEXT && kind != WS_BINARY))
		return HOOK_PASS;
	return run_tasks(ctx, &st->tasks[from_client ? TASKS_UP : TASKS_DOWN], x, b);
}

static bool hrules_ws_looks(void *ctx, unsigned self, const struct exchange *x)
{
	const struct state *st = x->state[self];

	(void)ctx;
	return st && (st->tasks[TASKS_UP].n || st->tasks[TASKS_DOWN].n);
}

static bool hrules_body_changes(void *ctx, unsigned self, const struct exchange *x, bool response)
{
	const struct state *st = x->state[self];

	(void)ctx;
	if (st && response && !x->resp)
		return st->plain;		/* it may: asked before the request goes on */
	if (st && x->upgraded)
		return st->tasks[response ? TASKS_DOWN : TASKS_UP].n;
	return st && st->tasks[response ? TASKS_RESPONSE : TASKS_REQUEST].n;
}

static void hrules_end(void *ctx, unsigned self, struct exchange *x)
{
	(void)ctx;
	if (x->state[self])
		state_free(x->state[self]);
	x->state[self] = NULL;
}

/* ---- life ---- */

static struct hrules *make(const struct hrules_conf *c, struct hrules_set *rs)
{
	struct hrules *w = rules_alloc(sizeof(*w));

	w->conf = c;
	w->now = rs;
	atomic_init(&w->n, rs->n);
	pthread_mutex_init(&w->lock, NULL);
	return w;
}

struct hrules *hrules_open(const struct hrules_conf *c)
{
	struct hrules_set *rs = hrules_set_load(c);

	return rs ? make(c, rs) : NULL;
}

struct hrules *hrules_start(const struct hrules_conf *c)
{
	struct hrules *w = hrules_open(c);

	if (!w)
		exit(EXIT_USAGE);
	if (c->check) {
		hrules_print(w, stdout);
		hrules_close(w);
		exit(log_stdout());
	}
	return w;
}

void hrules_close(struct hrules *w)
{
	if (!w)
		return;
	rules_drop(w->now);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

/* Counts of rules whose label is unchanged go on */
static void carry_over(struct hrules_set *to, struct hrules_set *from)
{
	for (unsigned i = 0; i < to->n; i++) {
		for (unsigned k = 0; k < from->n; k++) {
			if (strcmp(to->rule[i].label, from->rule[k].label))
				continue;
			atomic_store(&to->rule[i].hits, atomic_load(&from->rule[k].hits));
			to->rule[i].log_site = from->rule[k].log_site;
		}
	}
}

bool hrules_reload(struct hrules *w)
{
	struct hrules_set *rs = hrules_set_load(w->conf), *old;
	unsigned n;

	if (!rs) {
		log_error("web rules: not reloaded: they have errors, the old ones stay");
		return false;
	}
	n = rs->n;
	pthread_mutex_lock(&w->lock);
	old = w->now;
	carry_over(rs, old);
	w->now = rs;
	atomic_store(&w->n, n);
	pthread_mutex_unlock(&w->lock);
	rules_drop(old);
	log_notice("web rules: reloaded, %u in force", n);
	return true;
}

static void hrules_renew(void *ctx)
{
	hrules_reload(ctx);
}

void hrules_print(struct hrules *w, FILE *out)
{
	struct hrules_set *rs = rules_take(w);

	for (unsigned i = 0; i < rs->n; i++)
		hrule_print(&rs->rule[i], true, out);
	rules_drop(rs);
}

unsigned hrules_count(struct hrules *w)
{
	struct hrules_set *rs = rules_take(w);
	unsigned n = rs->n;

	rules_drop(rs);
	return n;
}

void hrules_counts(const struct hrules *w, struct hrules_counts *out)
{
	out->errors = atomic_load(&w->errors);
	out->too_long = atomic_load(&w->too_long);
	out->encoded = atomic_load(&w->encoded);
	out->partial = atomic_load(&w->partial);
}

bool hrules_label(struct hrules *w, unsigned i, char *label, uint64_t *hits)
{
	struct hrules_set *rs = rules_take(w);
	bool there = i < rs->n;

	if (there) {
		snprintf(label, HRULES_LABEL_MAX, "%s", rs->rule[i].label);
		*hits = atomic_load(&rs->rule[i].hits);
	}
	rules_drop(rs);
	return there;
}

const struct hook_ops hrules_ops = {
	.name = "rules",
	.request = hrules_request,
	.request_body = hrules_request_body,
	.response = hrules_response,
	.response_body = hrules_response_body,
	.body_changes = hrules_body_changes,
	.ws_looks = hrules_ws_looks,
	.ws_message = hrules_message,
	.exchange_end = hrules_end,
	.reload = hrules_renew,
};
