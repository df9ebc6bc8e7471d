/* SPDX-License-Identifier: MIT */
/*
 * hook.c - Hooks are asked in order, until one does not pass
 *
 * Theory of operation
 *
 * A point of an exchange is one loop over the hooks, from the first, or from the one behind
 * that which let it wait.  What that loop needs is kept in the exchange (struct hook_wait),
 * so exchange_resume() goes on where it stopped and tells the engine the verdict of all.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hook.h"

int hooks_add(struct hooks *h, const struct hook_ops *ops, void *ctx)
{
	if (h->n >= HOOKS_MAX)
		return -ENOSPC;
	h->ops[h->n] = ops;
	h->ctx[h->n] = ctx;
	return (int)h->n++;
}

int body_replace(struct body *b, const void *data, size_t len)
{
	uint8_t *own;

	if (len <= b->own_room) {
		if (len)
			memmove(b->own, data, len);	/* may be a part of what is there */
	} else {
		own = malloc(len);
		if (!own)
			return -ENOMEM;
		memcpy(own, data, len);
		free(b->own);
		b->own = own;
		b->own_room = len;
	}
	b->data = b->own;
	b->len = len;
	return 0;
}

/* One hook's say */
static enum hook_verdict ask(const struct hooks *h, unsigned i, struct exchange *x)
{
	const struct hook_ops *ops = h->ops[i];
	const struct hook_wait *w = &x->wait;
	void *ctx = h->ctx[i];

	switch (w->point) {
	case POINT_REQUEST:
		return ops->request ? ops->request(ctx, i, x) : HOOK_PASS;
	case POINT_REQUEST_BODY:
		return ops->request_body ? ops->request_body(ctx, i, x, w->body) : HOOK_PASS;
	case POINT_RESPONSE:
		return ops->response ? ops->response(ctx, i, x) : HOOK_PASS;
	case POINT_RESPONSE_BODY:
		return ops->response_body ? ops->response_body(ctx, i, x, w->body) : HOOK_PASS;
	case POINT_WS_MESSAGE:
		return ops->ws_message ? ops->ws_message(ctx, i, x, w->from_client, w->kind,
							 w->body) : HOOK_PASS;
	case POINT_NONE:
		break;
	}
	return HOOK_PASS;
}

/* The rest of the hooks at the point where the exchange is */
static enum hook_verdict go_on(struct exchange *x)
{
	struct hook_wait *w = &x->wait;
	enum hook_verdict v = HOOK_PASS;
	bool request = w->point == POINT_REQUEST || w->point == POINT_REQUEST_BODY;

	while (v == HOOK_PASS && w->next < w->hooks->n)
		v = ask(w->hooks, w->next++, x);
	if (v == HOOK_WAIT && x->resumed)
		return v;
	w->point = POINT_NONE;
	if (v == HOOK_WAIT || (v == HOOK_ANSWER && (!request || !x->answer)))
		return HOOK_DROP;
	return v;
}

static enum hook_verdict start(const struct hooks *h, struct exchange *x, enum hook_point point,
			       struct body *b)
{
	x->wait = (struct hook_wait){ .point = point, .hooks = h, .body = b };
	return go_on(x);
}

void exchange_resume(struct exchange *x, enum hook_verdict v)
{
	bool request = x->wait.point == POINT_REQUEST || x->wait.point == POINT_REQUEST_BODY;

	if (x->wait.point == POINT_NONE)
		return;
	if (v == HOOK_PASS)
		v = go_on(x);
	else if (v != HOOK_WAIT)
		x->wait.point = POINT_NONE;
	if (v == HOOK_WAIT)
		return;
	if (v == HOOK_ANSWER && (!request || !x->answer))
		v = HOOK_DROP;
	x->resumed(x, v);
}

enum hook_verdict hooks_conn_open(const struct hooks *h, struct conn_facts *c)
{
	enum hook_verdict v = HOOK_PASS;

	for (unsigned i = 0; i < h->n && v == HOOK_PASS; i++)
		if (h->ops[i]->conn_open)
			v = h->ops[i]->conn_open(h->ctx[i], c);
	return v == HOOK_PASS ? v : HOOK_DROP;
}

enum hook_verdict hooks_request(const struct hooks *h, struct exchange *x)
{
	x->conn->exchanges++;
	return start(h, x, POINT_REQUEST, NULL);
}

enum hook_verdict hooks_request_body(const struct hooks *h, struct exchange *x, struct body *b)
{
	return start(h, x, POINT_REQUEST_BODY, b);
}

enum hook_verdict hooks_response(const struct hooks *h, struct exchange *x)
{
	return start(h, x, POINT_RESPONSE, NULL);
}

enum hook_verdict hooks_response_body(const struct hooks *h, struct exchange *x, struct body *b)
{
	return start(h, x, POINT_RESPONSE_BODY, b);
}

enum hook_verdict hooks_ws_message(const struct hooks *h, struct exchange *x, bool from_client,
				   enum ws_kind kind, struct body *b)
{
	x->wait = (struct hook_wait){ .point = POINT_WS_MESSAGE, .hooks = h, .body = b,
				      .from_client = from_client, .kind = kind };
	return go_on(x);
}

bool hooks_body_changes(const struct hooks *h, const struct exchange *x, bool response)
{
	for (unsigned i = 0; i < h->n; i++)
		if (h->ops[i]->body_changes && h->ops[i]->body_changes(h->ctx[i], i, x, response))
			return true;
	return false;
}

bool hooks_ws_looks(const struct hooks *h, const struct exchange *x)
{
	for (unsigned i = 0; i < h->n; i++) {
		const struct hook_ops *ops = h->ops[i];

		if (ops->ws_message && (!ops->ws_looks || ops->ws_looks(h->ctx[i], i, x)))
			return true;
	}
	return false;
}

void hooks_exchange_end(const struct hooks *h, struct exchange *x)
{
	x->wait.point = POINT_NONE;
	if (!x->wait.hooks)	/* refused by its head: nobody was asked */
		x->conn->exchanges++;
	for (unsigned i = 0; i < h->n; i++)
		if (h->ops[i]->exchange_end)
			h->ops[i]->exchange_end(h->ctx[i], i, x);
	free((void *)(uintptr_t)x->answer_body.p);
	x->answer_body = (struct text){ NULL, 0 };
}

void hooks_conn_close(const struct hooks *h, struct conn_facts *c)
{
	for (unsigned i = 0; i < h->n; i++)
		if (h->ops[i]->conn_close)
			h->ops[i]->conn_close(h->ctx[i], c);
}

void hooks_reload(const struct hooks *h)
{
	for (unsigned i = 0; i < h->n; i++)
		if (h->ops[i]->reload)
			h->ops[i]->reload(h->ctx[i]);
}
