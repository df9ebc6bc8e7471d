/* SPDX-License-Identifier: MIT */
/*
 * conn.h - A connection: two legs, and an engine between them
 *
 * Theory of operation
 *
 *	CONNECT		the server's side is under way		--connect-timeout
 *	ANSWER		gwtun is to be told, but is slow	retried each millisecond
 *	AWAIT		the client's side is to be accepted	5 s
 *	SNIFF		who speaks first, and what?		--idle-timeout; --sniff-timeout
 *							from the client's first byte on
 *	SHAKE		TLS, with the server, then the client	--handshake-timeout
 *	RELAY		an engine moves bytes			its own
 *	DEAD		freed when no event can point to it
 *
 * With gwtun the server's side comes first: the client's SYN waits for what becomes of it.
 * Alone, the kernel has accepted the client before we know of it: AWAIT is left out.
 *
 * A silent connection stays in SNIFF: as long as nobody speaks there is nothing to decide.  When
 * the server speaks first it is plain TCP.
 */
#ifndef GW_CONN_H
#define GW_CONN_H

#include "proxy.h"

enum conn_state {
	CONN_CONNECT, CONN_ANSWER, CONN_AWAIT, CONN_SNIFF, CONN_SHAKE, CONN_RELAY, CONN_DEAD,
};

struct shake;

/**
 * struct conn - Lives on one worker
 * @node:	In its table by addresses
 * @again:	Queued: step once more, or free
 * @flow:	gwtun's name for it, if @from_syn
 * @held:	gwtun holds the client's SYN, and waits for an answer
 * @session_key:	Of its session with a TLS server
 * @spoke:	The client has, but too little to tell what
 * @hello:	... and it began as TLS does
 * @whole:	It had both ends
 * @restarted:	The server's side was begun again, to pass it
 * @cert_asked:	The server has asked for the client's certificate
 */
struct conn {
	struct node node;
	struct worker *worker;
	struct conn *next, **prev;
	struct watch on_client, on_server;
	struct task again;
	struct timer timer;
	enum conn_state state;
	struct leg *client, *server;
	struct relay *relay;
	struct shake *shake;
	uint64_t flow;
	uint64_t session_key;
	bool from_syn, held, spoke, hello, whole, restarted, cert_asked;
	enum proxylink_answer answer;
	uint32_t code;
	struct conn_facts facts;
};

/**
 * conn_syn() - gwtun saw a flow's first packet
 * @upstream:	Transparent socket of its endpoint; taken
 */
void conn_syn(struct worker *w, const struct proxylink_syn *syn, const struct tuple *t,
	      int upstream) __attribute__((nonnull));

/**
 * conn_over() - gwtun has given up the SYN that it held for this connection
 */
void conn_over(struct worker *w, const struct tuple *t, uint64_t flow) __attribute__((nonnull));

/**
 * conn_accepted() - The client's side is there
 * @fd, @upstream:	Taken; @upstream is needed if no connection waits for this one
 */
void conn_accepted(struct worker *w, const struct tuple *t, int fd, int upstream)
	__attribute__((nonnull));

/**
 * conn_end() - Close both legs; memory goes later
 * @why:	A word of gwproxy(8)
 */
void conn_end(struct conn *c, const char *why, bool reset) __attribute__((nonnull));

/**
 * conn_end_all() - Reset the connections of an endpoint; 0: of all
 */
void conn_end_all(struct worker *w, uint64_t endpoint, const char *why) __attribute__((nonnull));

/**
 * conn_relay() - Let an engine work; NULL: there was no memory
 */
void conn_relay(struct conn *c, struct relay *r) __attribute__((nonnull(1)));

/**
 * conn_bytes() - By the engine for bytes; @how: as in struct conn_facts
 */
void conn_bytes(struct conn *c, const char *how) __attribute__((nonnull));

/**
 * conn_plain() - As plain TCP, because of @why
 */
void conn_plain(struct conn *c, const char *why) __attribute__((nonnull));

/**
 * conn_say() - Log a line about a connection: "#ID CLIENT > SERVER: what: why"
 */
void conn_say(const struct conn *c, const char *what, const char *why) __attribute__((nonnull));

#endif /* GW_CONN_H */
