/* SPDX-License-Identifier: MIT */
/*
 * h2_int.h - Between the parts of the HTTP/2 engine
 *
 * Theory of operation
 *
 * Two nghttp2 sessions, one that is a server for the client, and one that is a client of the
 * server; a stream of one is a stream of the other (struct h2_stream).  SETTINGS, PING and
 * header compression are each connection's own; requests, responses, trailers, RST_STREAM and
 * GOAWAY are passed on.  Push is refused.
 *
 * A direction of a stream (struct h2_half) holds what came and did not go on yet.  Who writes
 * may write what its reader's window takes (h2_half_grant()), but H2_AHEAD at least, so that there
 * is something to send when the reader has more room.  The connection's window opens at once, so
 * that a slow stream does not stop the others, unless all of them hold more than H2_HELD.
 *
 * While a socket takes nothing no stream can go on there: then nothing more is read from the
 * other side, whatever the windows (lane_takes()).
 *
 * Callbacks of nghttp2 only note what came; h2_stream_run() then does all that can be done for
 * the stream, in order: request head, its body, response head, its body.  It stops where a hook
 * lets the exchange wait.  What ended is freed at the end of a step (h2_sweep()).
 */
#ifndef GW_H2_INT_H
#define GW_H2_INT_H

#include <nghttp2/nghttp2.h>

#include "lane.h"
#include "message_int.h"
#include "relay.h"

#define H2_STREAMS	100u		/* at once */
#define H2_WINDOW	65535u		/* of a stream, at first */
#define H2_WINDOW_BIG	RELAY_HELD	/* ... whose reader takes as much */
#define H2_AHEAD	4096u		/* ... whose reader takes nothing now */
#define H2_INTERIM_MAX	MESSAGE_HEAD_MAX	/* of interim responses to one request */
#define H2_HELD		(1u << 20)	/* of all streams of a connection */

/**
 * struct h2_buf - Bytes that wait
 */
struct h2_buf {
	uint8_t *p;
	size_t room, off, end;
};

/**
 * struct h2_half - One direction of a stream
 * @pre:	For hooks to look at; only if @edit
 * @out:	To go on
 * @owed:	Bytes that came and whose window is not open again; @owed_conn: the connection's
 * @moved:	Bytes that came
 * @in_end:	END_STREAM came; @out_end: nothing more comes into @out
 * @idle:	nghttp2 has nothing to send: it is to be told when there is
 * @trailers:	NULL: none; freed with the half
 */
struct h2_half {
	struct h2_buf pre, out;
	size_t owed, owed_conn;
	uint64_t moved;
	bool in_end, out_end, edit, idle;
	struct message *trailers;
};

enum h2_state { H2_NONE, H2_CAME, H2_ASKED, H2_SENT };

/**
 * struct h2_stream - A request and its response
 * @client_id, @server_id:	Of the two streams; 0: there is none (yet)
 * @req, @resp:	How far their heads are
 * @reading:	The message whose fields come in, or NULL: thrown away
 * @client_open, @server_open:	nghttp2 has the stream
 * @answered:	The response is a hook's or ours: the server's is thrown away
 * @rst_after:	The server wants no more of the request: tell the client when it has all
 * @sent_all:	END_STREAM went to the client
 * @timed_out:	It was reset, which the other side did not take yet
 * @todo:	Data came: it is run when all that was read is taken apart
 * @decided, @verdict:	After HOOK_WAIT, which was said at @wait_ns
 * @interim:	Bytes of interim responses
 * @asked_body:	0; 1, 2: a piece of the request's, response's body is with the hooks
 * @with_hooks:	That piece
 * @bad, @bad_status:	Why the head is refused, or NULL
 */
struct h2_stream {
	struct h2 *h;
	struct h2_stream *next, **prev;
	struct h2_stream *dead_next;
	int32_t client_id, server_id;
	enum h2_state req, resp;
	struct message *reqm, *respm, *reading;
	struct h2_half up, down;
	struct exchange x;
	struct body piece;
	struct h2_buf with_hooks;
	uint64_t moved_ns, wait_ns;
	size_t interim;
	bool client_open, server_open, answered, rst_after, sent_all;
	bool decided, todo, timed_out, dead;
	enum hook_verdict verdict;
	int asked_body;
	const char *bad;
	unsigned bad_status;
};

/**
 * struct h2 - The engine
 * @cs, @ss:	Sessions with client and server
 * @to_client, @to_server:	What they want written
 * @streams, @nstreams:	That are open
 * @spare:	Streams to use again
 * @held:	Bytes in all halves
 * @scan_ns:	When the first stream's time may be over
 * @cheap, @cheap_ns:	Frames that cost us more than the client: a budget that fills with time
 * @resumed:	Some stream was decided; @todo: some has data that it was not run for
 * @wider_up, @wider_down:	The window of all streams toward server, client has opened
 */
struct h2 {
	struct relay r;
	struct relay_times t;
	nghttp2_session *cs, *ss;
	struct lane to_client, to_server;
	short want_client_in, want_server_in;
	struct h2_stream *streams, *dead, *spare;
	unsigned nstreams, nspare;
	size_t held;
	uint64_t now_ns, moved_ns, scan_ns, cheap_ns, end_ns;
	unsigned cheap;
	bool client_eof, server_eof, goaway, resumed, todo, wider_up, wider_down, ending;
	enum relay_state over;
};

/* h2stream.c */
struct h2_stream *h2_stream_new(struct h2 *h, int32_t client_id);
void h2_stream_run(struct h2_stream *s);
void h2_stream_reset(struct h2_stream *s, uint32_t code, const char *why);
void h2_stream_closed(struct h2_stream *s, bool client, uint32_t code);
void h2_stream_sent_all(struct h2_stream *s);	/* END_STREAM went to the client */
void h2_server_gone(struct h2 *h, const char *why);	/* no stream will hear of it any more */
void h2_sweep(struct h2 *h, const char *why);	/* @why: all streams end now; NULL: the dead */
void h2_stream_free(struct h2_stream *s);

/* h2half.c */
/* @large: more comes */
int h2_buf_add(struct h2_buf *b, const void *data, size_t len, bool large);
void h2_buf_drop(struct h2_buf *b, size_t n);
void h2_half_free(struct h2_stream *s, bool up);
int h2_half_came(struct h2_stream *s, bool up, const uint8_t *data, size_t len);
int h2_trailers_begin(struct h2_stream *s, bool up);
void h2_half_open(struct h2_stream *s, bool up, size_t n);
void h2_half_grant(struct h2_stream *s, bool up);	/* the reader's window may have opened */
void h2_half_wake(struct h2_stream *s, bool up);
nghttp2_data_provider h2_half_provider(struct h2_stream *s, bool up);
int h2_half_send(struct h2 *h, bool up, struct h2_stream *s, const uint8_t *head, size_t len,
		 size_t pad);

/* h2head.c */
int h2_submit_request(struct h2_stream *s);
int h2_submit_response(struct h2_stream *s, struct message *m, bool interim);
int h2_submit_trailers(struct h2_stream *s, bool up);
const char *h2_check_request(struct h2_stream *s);
int h2_field(struct h2_stream *s, struct text name, struct text value, bool sensitive);

/* h2mem.c */
nghttp2_mem *h2_mem(void);

/* h2session.c */
int h2_sessions_new(struct h2 *h);

static inline bool h2_hooked(const struct h2 *h)
{
	return h->r.hooks && h->r.hooks->n;
}

#endif /* GW_H2_INT_H */
