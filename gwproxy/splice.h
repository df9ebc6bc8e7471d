/* SPDX-License-Identifier: MIT */
/*
 * splice.h - The engine for plain connections: bytes as they come, both ways
 *
 * Theory of operation
 *
 * Between two sockets bytes go through a pipe by splice(2) and never enter this process; with TLS
 * on a leg they go through a buffer.  Pipe or buffer are taken when there is something to move and
 * given back as soon as they are empty: an idle connection holds neither.  Pipes wait in a pool
 * of their thread.
 *
 * The end of one direction is passed on when all before it was, and the other direction
 * goes on.  tcp_relay_new() is in relay.h.
 */
#ifndef GW_SPLICE_H
#define GW_SPLICE_H

/**
 * splice_pool_close() - Close the pipes of this thread's pool, at its end
 */
void splice_pool_close(void);

#endif /* GW_SPLICE_H */
