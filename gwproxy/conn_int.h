/* SPDX-License-Identifier: MIT */
/*
 * conn_int.h - Between the files that make a connection's way: connect.c, choose.c, tls.c
 */
#ifndef GW_CONN_INT_H
#define GW_CONN_INT_H

#include "conn.h"

/**
 * conn_new() - In its worker's table and list, without legs; NULL: turned away
 */
struct conn *conn_new(struct worker *w, const struct tuple *t) __attribute__((nonnull));

/**
 * conn_leg() - Watch a new leg.  Return: 0 or -errno
 */
int conn_leg(struct conn *c, struct leg *l, bool client) __attribute__((nonnull));

/**
 * conn_state() - Go on to a state, which ends at @limit_ns from now
 */
void conn_state(struct conn *c, enum conn_state s, uint64_t limit_ns) __attribute__((nonnull));

/**
 * conn_both() - Both legs are there
 */
void conn_both(struct conn *c) __attribute__((nonnull));

/* connect.c: the server's side */
void connect_start(struct conn *c, int upstream) __attribute__((nonnull));
void connect_step(struct conn *c, uint32_t events) __attribute__((nonnull));
void connect_timeout(struct conn *c) __attribute__((nonnull));
void connect_answer(struct conn *c) __attribute__((nonnull));
void connect_forsake(struct conn *c) __attribute__((nonnull));

/* choose.c: what a connection is */
void choose_start(struct conn *c) __attribute__((nonnull));
void choose_step(struct conn *c) __attribute__((nonnull));
void choose_timeout(struct conn *c) __attribute__((nonnull));
void choose_after_tls(struct conn *c) __attribute__((nonnull));	/* both legs speak it */

#endif /* GW_CONN_INT_H */
