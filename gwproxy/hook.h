/* SPDX-License-Identifier: MIT */
/*
 * hook.h - Where others look into the stream: interception points
 *
 * Theory of operation
 *
 * A hook is a table of functions, called by the engines (HTTP/1.1, HTTP/2, WebSocket, plain
 * connections) at the points below, in the order in which hooks were registered.  Each may
 * pass, change, answer or drop.  The interface is made so that the one who decides may sit in
 * another process: whatever a point needs is in its arguments, a hook may say HOOK_WAIT and
 * resume the exchange later (exchange_resume()); until then the engine reads no more of it.
 *
 * Calls for one exchange come in this order: request head, request body chunks, (request
 * end,) and likewise of the response, which may begin before the request ended.  Memory of a
 * call's arguments is the engine's and valid during the call.
 */
#ifndef GW_HOOK_H
#define GW_HOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "message.h"

struct body;

enum hook_verdict {
	HOOK_PASS,	/* go on, with what was changed in place */
	HOOK_ANSWER,	/* request points only: @answer goes back, nothing to the server */
	HOOK_DROP,	/* end this exchange: HTTP/1.1 closes (RST), HTTP/2 resets the stream */
	HOOK_WAIT,	/* exchange_resume() tells; after a response's time it is over: "timeout" */
};

/**
 * struct conn_facts - What is known of a connection; grows as it goes on
 * @endpoint, @attachment, @cookie:	From the load balancer; @from_lb: they are known
 * @tls:	Both legs speak TLS
 * @sni, @alpn:	"" if none
 * @version, @cipher:	Of client's and server's leg: "TLSv1.3", "TLS_AES_128_GCM_SHA256"
 * @opened_ns:	CLOCK_REALTIME
 * @id:		Unique in this process
 * @how:	What was made of it: "tcp", "http/1.1", "h2", "pass", "block"; NULL: nothing yet
 * @exchanges:	Requests that came over it, also those that were refused; counted by the dispatch
 * @why:	Why it ended, a word of a fixed list; NULL: it has not
 */
struct conn_facts {
	uint64_t id;
	uint64_t endpoint, attachment;
	uint32_t cookie;
	bool from_lb;
	bool tls;
	struct sockaddr_storage client, server;
	char sni[256];
	char alpn[256];		/* the longest there may be */
	struct {
		const char *version;
		const char *cipher;
	} client_tls, server_tls;
	uint64_t opened_ns;
	uint64_t connected_ns, handshake_ns;	/* 0: not (yet) */
	uint64_t bytes_up, bytes_down;
	uint64_t exchanges;
	const char *how;
	const char *why;
};

struct hooks;

enum ws_kind { WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10 };

enum hook_point {
	POINT_NONE, POINT_REQUEST, POINT_REQUEST_BODY, POINT_RESPONSE, POINT_RESPONSE_BODY,
	POINT_WS_MESSAGE,
};

/**
 * struct hook_wait - Where an exchange waits; of the dispatch
 * @point:	POINT_NONE: it does not
 * @next:	First hook that was not asked yet
 * @hooks, @body, @from_client, @kind:	What is handed to that one
 */
struct hook_wait {
	enum hook_point point;
	unsigned next;
	const struct hooks *hooks;
	struct body *body;
	bool from_client;
	enum ws_kind kind;
};

/**
 * struct exchange - One request and its response
 * @conn:	Its connection
 * @id:		Unique in its connection; HTTP/2: the stream's
 * @req, @resp:	Heads, after changes; @resp NULL until it came
 * @answer, @answer_body:	With HOOK_ANSWER: set by the hook.  The head is freed by the engine,
 *		the body (malloc(3)) by hooks_exchange_end()
 * @req_bytes, @resp_bytes:	Of bodies, so far, as received
 * @start_ns, @sent_ns, @head_ns, @end_ns:	CLOCK_REALTIME: request head complete, passed on,
 *		response head complete, all done; 0: not yet
 * @upgraded:	"websocket" or NULL
 * @why:	How it ended: "done", "answered", "dropped", "client reset", "server reset",
 *		"timeout", "refused: ..."; NULL: it goes on
 * @state:	A word for each hook, by its number
 * @resumed:	Set by an engine that can wait: called from exchange_resume() with the verdict of
 *		all hooks.  NULL: HOOK_WAIT of a hook drops the exchange
 * @engine:	The engine's own
 * @wait:	Of the dispatch
 */
#define HOOKS_MAX	8
struct exchange {
	struct conn_facts *conn;
	uint64_t id;
	struct message *req, *resp;
	struct message *answer;
	struct text answer_body;
	uint64_t req_bytes, resp_bytes;
	uint64_t start_ns, sent_ns, head_ns, end_ns;
	const char *upgraded;
	const char *why;
	void *state[HOOKS_MAX];
	void (*resumed)(struct exchange *x, enum hook_verdict v);
	void *engine;
	struct hook_wait wait;
};

/**
 * struct body - A chunk of a body or WebSocket message on its way through hooks
 * @data, @len:	What came; a hook that changes it calls body_replace()
 * @last:	Nothing follows (may come with @len 0)
 */
struct body {
	const uint8_t *data;
	size_t len;
	bool last;
	uint8_t *own;		/* of body_replace(): freed by the engine */
	size_t own_room;
};

/**
 * body_replace() - The chunk becomes these bytes (copied); any length
 *
 * Return: 0 or -ENOMEM
 */
int body_replace(struct body *b, const void *data, size_t len);

/**
 * struct hook_ops - A hook; any function may be NULL: pass
 * @body_changes:	Will bodies of this message be looked at or changed in length? Called
 *		after the head's point.  Engines then take Content-Length off and send chunked
 *		(HTTP/1.1; to HTTP/1.0: until close), and hand out decoded transfer coding; bodies
 *		nobody asks for are passed on without a look.  For the response it is asked twice:
 *		before the request goes on, @resp still NULL, and a yes makes Accept-Encoding
 *		"identity"; and after the response's head.  A content coding that the server
 *		chooses all the same is not undone.  After an upgrade (@upgraded "websocket") a
 *		yes makes messages come unpacked
 * @ws_looks:	Will messages of this exchange, which is upgraded, be looked at?  NULL: yes, if
 *		there is @ws_message.  Where no hook does the bytes pass as they are
 * @ws_message:	Whole messages up to 56 KB or more, longer ones in pieces
 * @exchange_end:	Also of a request that was refused by its head, of which no other point was
 *		called: @req may lack anything then
 * @conn_close:	Also of a connection that never came so far as to be opened: refused, blocked, or
 *		its TLS failed
 */
struct hook_ops {
	const char *name;
	enum hook_verdict (*conn_open)(void *ctx, struct conn_facts *c);
	enum hook_verdict (*request)(void *ctx, unsigned self, struct exchange *x);
	enum hook_verdict (*request_body)(void *ctx, unsigned self, struct exchange *x,
					  struct body *b);
	enum hook_verdict (*response)(void *ctx, unsigned self, struct exchange *x);
	enum hook_verdict (*response_body)(void *ctx, unsigned self, struct exchange *x,
					   struct body *b);
	bool (*body_changes)(void *ctx, unsigned self, const struct exchange *x, bool response);
	bool (*ws_looks)(void *ctx, unsigned self, const struct exchange *x);
	enum hook_verdict (*ws_message)(void *ctx, unsigned self, struct exchange *x,
					bool from_client, enum ws_kind kind, struct body *b);
	void (*exchange_end)(void *ctx, unsigned self, struct exchange *x);
	void (*conn_close)(void *ctx, struct conn_facts *c);
	void (*reload)(void *ctx);
};

/**
 * struct hooks - All hooks of a process, in order
 */
struct hooks {
	unsigned n;
	const struct hook_ops *ops[HOOKS_MAX];
	void *ctx[HOOKS_MAX];
};

int hooks_add(struct hooks *h, const struct hook_ops *ops, void *ctx);	/* its number, or -ENOSPC */

/* One for each point: asks all hooks until one does not pass.  With HOOK_WAIT what was handed in,
 * a body with its @data as well, stays the engine's and in place until @resumed is called.
 * HOOK_ANSWER without an @answer, or behind the request, is HOOK_DROP.  The last two of an
 * exchange or connection ask every hook */
enum hook_verdict hooks_conn_open(const struct hooks *h, struct conn_facts *c);
enum hook_verdict hooks_request(const struct hooks *h, struct exchange *x);
enum hook_verdict hooks_request_body(const struct hooks *h, struct exchange *x, struct body *b);
enum hook_verdict hooks_response(const struct hooks *h, struct exchange *x);
enum hook_verdict hooks_response_body(const struct hooks *h, struct exchange *x, struct body *b);
enum hook_verdict hooks_ws_message(const struct hooks *h, struct exchange *x, bool from_client,
				   enum ws_kind kind, struct body *b);
bool hooks_body_changes(const struct hooks *h, const struct exchange *x, bool response);
bool hooks_ws_looks(const struct hooks *h, const struct exchange *x);
void hooks_exchange_end(const struct hooks *h, struct exchange *x);
void hooks_conn_close(const struct hooks *h, struct conn_facts *c);
void hooks_reload(const struct hooks *h);

/**
 * exchange_resume() - Decide an exchange that a hook let wait
 * @v:		Of that hook; with HOOK_PASS the hooks behind it are asked
 *
 * Called by the thread whose exchange it is, and not from within a hook.  Nothing happens if
 * the exchange does not wait.
 */
void exchange_resume(struct exchange *x, enum hook_verdict v);

#endif /* GW_HOOK_H */
