/* SPDX-License-Identifier: MIT */
/*
 * mqctx.h - The ZeroMQ context that all streams of a process share
 *
 * It comes with the first socket and goes with the last one, whose closing waits for the last
 * messages: the loop that reads signals is over by then, and they are obeyed here.
 */
#ifndef GW_MQCTX_H
#define GW_MQCTX_H

#include "mqlib.h"
#include "stream.h"

/**
 * mq_socket() - A socket; dies if there is none to be had
 * @type:	ZMQ_PUSH or ZMQ_PULL
 */
void *mq_socket(int type, const struct stream_conf *conf)
	__attribute__((nonnull, returns_nonnull, warn_unused_result));

/**
 * mq_close() - Give it back; the last one waits as long as ZMQ_LINGER says
 */
void mq_close(void *sock, const struct stream_conf *conf) __attribute__((nonnull));

#endif /* GW_MQCTX_H */
