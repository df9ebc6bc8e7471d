/* SPDX-License-Identifier: MIT */
/* hook.h: order, verdicts, waiting and resuming, replaced chunks */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../gwproxy/hook.h"
#include "tap.h"

/* A hook that notes that it was asked, and answers what it is told to */
struct probe {
	char name;
	enum hook_verdict say;
};

static char asked[64];
static enum hook_verdict resumed_with;
static int resumed_times;

static enum hook_verdict note(void *ctx)
{
	struct probe *p = ctx;
	size_t n = strlen(asked);

	if (n + 1 < sizeof(asked)) {
		asked[n] = p->name;
		asked[n + 1] = '\0';
	}
	return p->say;
}

static enum hook_verdict on_head(void *ctx, unsigned self, struct exchange *x)
{
	x->state[self] = ctx;
	return note(ctx);
}

static enum hook_verdict on_body(void *ctx, unsigned self, struct exchange *x, struct body *b)
{
	struct probe *p = ctx;
	char text[32];

	(void)self;
	(void)x;
	snprintf(text, sizeof(text), "%.*s%c", (int)b->len, (const char *)b->data, p->name);
	if (body_replace(b, text, strlen(text)))
		return HOOK_DROP;
	return note(ctx);
}

static enum hook_verdict on_ws(void *ctx, unsigned self, struct exchange *x, bool from_client,
			       enum ws_kind kind, struct body *b)
{
	(void)self;
	(void)x;
	return from_client && kind == WS_TEXT && b->len == 1 ? note(ctx) : HOOK_DROP;
}

static enum hook_verdict on_conn(void *ctx, struct conn_facts *c)
{
	(void)c;
	return note(ctx);
}

static bool changes(void *ctx, unsigned self, const struct exchange *x, bool response)
{
	struct probe *p = ctx;

	(void)self;
	(void)x;
	return response && p->name == 'b';
}

static void at_end(void *ctx, unsigned self, struct exchange *x)
{
	(void)self;
	(void)x;
	note(ctx);
}

static void at_close(void *ctx, struct conn_facts *c)
{
	(void)c;
	note(ctx);
}

static void on_reload(void *ctx)
{
	note(ctx);
}

static const struct hook_ops probe_ops = {
	.name = "probe",
	.conn_open = on_conn,
	.request = on_head,
	.request_body = on_body,
	.response = on_head,
	.response_body = on_body,
	.body_changes = changes,
	.ws_message = on_ws,
	.exchange_end = at_end,
	.conn_close = at_close,
	.reload = on_reload,
};
static const struct hook_ops deaf_ops = { .name = "deaf" };

static struct probe a = { .name = 'a' }, b = { .name = 'b' }, c = { .name = 'c' };
static struct hooks hooks;
static struct conn_facts conn;
static struct exchange x = { .conn = &conn };

static void resumed(struct exchange *which, enum hook_verdict v)
{
	resumed_times += which == &x;
	resumed_with = v;
}

static void say(enum hook_verdict va, enum hook_verdict vb, enum hook_verdict vc)
{
	a.say = va;
	b.say = vb;
	c.say = vc;
	asked[0] = '\0';
}

static bool was(const char *order)
{
	return !strcmp(asked, order);
}

static void test_order(void)
{
	struct message *answer;

	say(HOOK_PASS, HOOK_PASS, HOOK_PASS);
	OK(hooks_request(&hooks, &x) == HOOK_PASS && was("abc"), "all are asked, in order");
	OK(conn.exchanges == 1, "requests of a connection are counted");
	OK(x.state[0] == &a && x.state[2] == &b && x.state[3] == &c,
	   "each has a word of its own in the exchange");
	say(HOOK_PASS, HOOK_DROP, HOOK_PASS);
	OK(hooks_request(&hooks, &x) == HOOK_DROP && was("ab"), "the first that drops is the last");
	say(HOOK_ANSWER, HOOK_PASS, HOOK_PASS);
	OK(hooks_request(&hooks, &x) == HOOK_DROP, "an answer that is not there: dropped");
	answer = malloc(1);
	x.answer = answer;
	say(HOOK_ANSWER, HOOK_PASS, HOOK_PASS);
	OK(hooks_request(&hooks, &x) == HOOK_ANSWER && was("a"), "the first that answers is the last");
	OK(hooks_response(&hooks, &x) == HOOK_DROP, "no answer to a response: dropped");
	x.answer = NULL;
	free(answer);
	say(HOOK_DROP, HOOK_DROP, HOOK_DROP);
	x.answer_body = (struct text){ strdup("body"), 4 };
	hooks_exchange_end(&hooks, &x);
	OK(was("abc") && !x.answer_body.p, "the end is told to all, and an answer's body freed");
	say(HOOK_PASS, HOOK_PASS, HOOK_PASS);
	hooks_conn_close(&hooks, &conn);
	hooks_reload(&hooks);
	OK(was("abcabc"), "and so are the connection's end and a reload");
	OK(!hooks_body_changes(&hooks, &x, false) && hooks_body_changes(&hooks, &x, true),
	   "one that changes bodies is enough");
}

static void test_conn(void)
{
	say(HOOK_PASS, HOOK_PASS, HOOK_PASS);
	OK(hooks_conn_open(&hooks, &conn) == HOOK_PASS && was("abc"), "a connection opens");
	say(HOOK_PASS, HOOK_DROP, HOOK_PASS);
	OK(hooks_conn_open(&hooks, &conn) == HOOK_DROP && was("ab"), "or is dropped");
	say(HOOK_WAIT, HOOK_PASS, HOOK_PASS);
	OK(hooks_conn_open(&hooks, &conn) == HOOK_DROP, "it cannot wait");
}

static void test_body(void)
{
	struct body body = { .data = (const uint8_t *)"x", .len = 1 };
	struct body ws = { .data = (const uint8_t *)"x", .len = 1, .last = true };

	say(HOOK_PASS, HOOK_PASS, HOOK_PASS);
	OK(hooks_request_body(&hooks, &x, &body) == HOOK_PASS && body.len == 4 &&
	   !memcmp(body.data, "xabc", 4), "each sees what the one before it made of a chunk");
	OK(!body_replace(&body, body.data + 1, 2) && body.len == 2 && !memcmp(body.data, "ab", 2),
	   "a chunk becomes a part of itself");
	OK(!body_replace(&body, NULL, 0) && !body.len, "or nothing");
	free(body.own);
	body = (struct body){ .data = (const uint8_t *)"y", .len = 1 };
	OK(hooks_response_body(&hooks, &x, &body) == HOOK_PASS && body.len == 4, "of a response, too");
	free(body.own);
	say(HOOK_PASS, HOOK_PASS, HOOK_PASS);
	OK(hooks_ws_message(&hooks, &x, true, WS_TEXT, &ws) == HOOK_PASS && was("abc"), "a message");
	OK(hooks_ws_message(&hooks, &x, false, WS_TEXT, &ws) == HOOK_DROP, "its direction is told");
}

static void test_wait(void)
{
	struct body body = { .data = (const uint8_t *)"x", .len = 1 };

	say(HOOK_WAIT, HOOK_PASS, HOOK_PASS);
	OK(hooks_request(&hooks, &x) == HOOK_DROP && was("a"), "who cannot wait drops");
	exchange_resume(&x, HOOK_PASS);
	OK(!resumed_times, "and is not resumed");

	x.resumed = resumed;
	say(HOOK_PASS, HOOK_WAIT, HOOK_PASS);
	OK(hooks_request(&hooks, &x) == HOOK_WAIT && was("ab"), "the second lets it wait");
	exchange_resume(&x, HOOK_PASS);
	OK(was("abc") && resumed_times == 1 && resumed_with == HOOK_PASS,
	   "it goes on with the third, and the engine is told");
	exchange_resume(&x, HOOK_DROP);
	OK(resumed_times == 1, "once");

	say(HOOK_WAIT, HOOK_WAIT, HOOK_PASS);
	hooks_response(&hooks, &x);
	exchange_resume(&x, HOOK_PASS);
	OK(was("ab") && resumed_times == 1, "the next one waits as well");
	exchange_resume(&x, HOOK_DROP);
	OK(was("ab") && resumed_times == 2 && resumed_with == HOOK_DROP, "dropped: no other is asked");

	say(HOOK_WAIT, HOOK_PASS, HOOK_PASS);
	hooks_response(&hooks, &x);
	exchange_resume(&x, HOOK_ANSWER);
	OK(resumed_times == 3 && resumed_with == HOOK_DROP, "a response cannot be answered");

	say(HOOK_WAIT, HOOK_PASS, HOOK_PASS);
	OK(hooks_response_body(&hooks, &x, &body) == HOOK_WAIT, "a chunk waits");
	exchange_resume(&x, HOOK_PASS);
	OK(resumed_times == 4 && body.len == 4 && !memcmp(body.data, "xabc", 4),
	   "and is what all made of it");
	free(body.own);

	say(HOOK_WAIT, HOOK_PASS, HOOK_PASS);
	hooks_request(&hooks, &x);
	hooks_exchange_end(&hooks, &x);
	exchange_resume(&x, HOOK_PASS);
	OK(resumed_times == 4, "an exchange that ended meanwhile is not resumed");
}

int main(void)
{
	int last = 0;

	OK(hooks_add(&hooks, &probe_ops, &a) == 0 && hooks_add(&hooks, &deaf_ops, NULL) == 1 &&
	   hooks_add(&hooks, &probe_ops, &b) == 2 && hooks_add(&hooks, &probe_ops, &c) == 3,
	   "hooks have numbers");
	test_order();
	test_conn();
	test_body();
	test_wait();
	for (int i = 0; i < 8 && last >= 0; i++)
		last = hooks_add(&hooks, &deaf_ops, NULL);
	OK(last == -ENOSPC && hooks.n == HOOKS_MAX, "there is an end to them");
	return tap_done();
}
