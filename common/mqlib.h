/* SPDX-License-Identifier: MIT */
/*
 * mqlib.h - libzmq, loaded by who needs it
 *
 * Debian's libzmq brings some twenty libraries along (Kerberos, D-Bus, systemd, C++), each with
 * code that runs before main() and memory in each process.  A chain of pipes and rings needs
 * none of them.
 */
#ifndef GW_MQLIB_H
#define GW_MQLIB_H

#include <zmq.h>

/* What we call: zmq_send() is zmq.send() */
#define MQ_CALLS(CALL)							\
	CALL(ctx_new) CALL(ctx_term) CALL(socket) CALL(close)		\
	CALL(bind) CALL(connect) CALL(unbind)				\
	CALL(setsockopt) CALL(getsockopt) CALL(send) CALL(strerror)	\
	CALL(msg_init) CALL(msg_init_data) CALL(msg_send)		\
	CALL(msg_recv) CALL(msg_close) CALL(msg_data) CALL(msg_size)

/**
 * struct mq_lib - Functions of zmq.h, by the rest of their names
 */
struct mq_lib {
#define MQ_MEMBER(name)	__typeof__(zmq_##name) *name;
	MQ_CALLS(MQ_MEMBER)
#undef MQ_MEMBER
};

extern struct mq_lib zmq;

/**
 * mq_load() - Have @zmq filled in, if it is not yet; while starting, as it dies if it can't
 */
void mq_load(void);

#endif /* GW_MQLIB_H */
