/* SPDX-License-Identifier: MIT */
/*
 * proxylink.h - How gwtun and a proxy speak with each other
 *
 * Theory of operation
 *
 * A proxy connects to gwtun's SOCK_SEQPACKET socket (gwtun.sock in the chain's run folder)
 * and is answered by gwtun's broker, the process that owns the network namespaces.  A
 * message is one struct below, by which its type says; descriptors come as SCM_RIGHTS.  All
 * numbers are in host byte order, ports and addresses in network byte order: both ends
 * live on one machine.  The first message says which version of this a proxy speaks; it is
 * answered with that one.  PROXYLINK_OLDEST is without LEAVE, and still served.
 *
 *	proxy				broker
 *	HELLO			->
 *				<-	HELLO + one end of a pair: the packet loop's
 *				<-	ENDPOINT + listeners, IPv4 and IPv6 (now and whenever one is made)
 *	WANT n sockets		->
 *				<-	SOCKETS + up to PROXYLINK_FDS of them
 *				<-	GONE: the endpoint's namespace is removed
 *	LEAVE			->	its listeners are closed: let another one attach
 *
 *	proxy				packet loop (that pair)
 *				<-	SYN: a flow begins; its SYN is held if @hold says so
 *	ANSWER			->	what became of the connection to the server
 *				<-	OVER: a SYN is held no more: its client gave up, or it took too long
 *	LEAVE			->	no more SYNs, please
 *				<-	LEAVE: that was the last one
 *
 * Who leaves tells the packet loop first: from then on new flows find no proxy.  Once it has the
 * answer it knows all flows that are its own, and may still answer for those that are held
 * and accept those whose SYN went in.  When that is done, or has taken too long, it closes
 * its listeners and tells the broker.  What is held then is given up, and connections that nobody
 * accepted are reset: the listeners are the successor's.  It keeps its connections until it
 * closes both sockets, and hears GONE as before, but gets no more sockets.
 *
 * Sockets that the broker makes are TCP, non-blocking, IP_TRANSPARENT, SO_REUSEADDR, unbound:
 * the proxy binds them to the client's own address and port and connects.  Either end that
 * breaks the rules (a size, type or count that cannot be) is cut off: -EPROTO.
 */
#ifndef GW_PROXYLINK_H
#define GW_PROXYLINK_H

#include <stddef.h>
#include <stdint.h>

#include "fdmsg.h"

#define PROXYLINK_MAGIC		0x4b4c5857u	/* "WXLK" */
#define PROXYLINK_VERSION	2u
#define PROXYLINK_OLDEST	1u
#define PROXYLINK_LEAVES	2u		/* from this version on there is LEAVE */
#define PROXYLINK_SOCKET	"gwtun.sock"
#define PROXYLINK_FDS		FDMSG_FDS	/* most descriptors in one message */

enum proxylink_type {
	PROXYLINK_HELLO = 1,
	PROXYLINK_ENDPOINT,
	PROXYLINK_GONE,
	PROXYLINK_WANT,
	PROXYLINK_SOCKETS,
	PROXYLINK_SYN,
	PROXYLINK_ANSWER,
	PROXYLINK_OVER,
	PROXYLINK_LEAVE,
};

/* What became of a connection to the server: PROXYLINK_ANSWER */
enum proxylink_answer {
	PROXYLINK_ACCEPT = 1,	/* it stands: let the client's SYN in */
	PROXYLINK_REFUSE,	/* answer with RST */
	PROXYLINK_UNREACHABLE,	/* answer with the ICMP error of @code */
	PROXYLINK_SILENT,	/* not at all: forget the SYN */
};

/**
 * struct proxylink_head - In front of each message; LEAVE is nothing more
 * @size:	Of the whole message
 */
struct proxylink_head {
	uint16_t type;
	uint16_t size;
};

/**
 * struct proxylink_hello - Proxy: who we are.  Broker: likewise, and one descriptor
 * @version:	Proxy: the one it speaks.  Broker: the same
 * @hold:	Proxy: SYNs shall be held until answered (--connect-first)
 */
struct proxylink_hello {
	struct proxylink_head head;
	uint32_t magic;
	uint32_t version;
	uint32_t hold;
};

/**
 * struct proxylink_endpoint - ENDPOINT: two descriptors, listeners for IPv4 and IPv6.  GONE: none.
 * WANT and SOCKETS: @count sockets of @family; SOCKETS brings fewer if no more can be had
 */
struct proxylink_endpoint {
	struct proxylink_head head;
	uint32_t count;
	uint64_t endpoint;
	uint16_t family;		/* AF_INET, AF_INET6 */
	uint16_t pad[3];
};

/**
 * struct proxylink_syn - A flow's first packet
 * @flow:	The packet loop's name for it, in ANSWER and OVER
 * @client, @server:	Addresses, network byte order; IPv4 in the first 4 bytes
 * @client_port, @server_port:	Network byte order
 * @mss:	The client's, 0: none given
 * @hold:	The SYN is held until ANSWER; else the kernel has it already
 * @ttl, @tos:	Of the client's SYN (hop limit, traffic class)
 */
struct proxylink_syn {
	struct proxylink_head head;
	uint16_t family;
	uint16_t mss;
	uint64_t flow;
	uint64_t endpoint;
	uint64_t attachment;
	uint32_t cookie;
	uint16_t client_port;
	uint16_t server_port;
	uint8_t client[16];
	uint8_t server[16];
	uint8_t hold;
	uint8_t ttl;
	uint8_t tos;
	uint8_t dialect;
	uint32_t pad;
};

/**
 * struct proxylink_answer_msg - ANSWER and OVER
 * @answer:	enum proxylink_answer
 * @code:	PROXYLINK_UNREACHABLE: errno value of connect(2)
 */
struct proxylink_answer_msg {
	struct proxylink_head head;
	uint32_t answer;
	uint64_t flow;
	uint32_t code;
	uint32_t pad;
};

/**
 * union proxylink_msg - Any message
 */
union proxylink_msg {
	struct proxylink_head head;
	struct proxylink_hello hello;
	struct proxylink_endpoint endpoint;
	struct proxylink_syn syn;
	struct proxylink_answer_msg answer;
};

/**
 * proxylink_send() - Send a message whose @head.type is set; size is filled in
 * @fds:	@nfds descriptors that go with it; they stay the caller's
 *
 * Return: 0; -EAGAIN if the other end is slow; -EPIPE if it is gone; -errno
 */
int proxylink_send(int fd, union proxylink_msg *m, const int *fds, unsigned nfds)
	__attribute__((nonnull(2)));

/**
 * proxylink_recv() - Next message
 * @m:		Written on success: type and size are right for each other
 * @fds:	Room for PROXYLINK_FDS; the caller's to close
 * @nfds:	Written on success
 *
 * Return: 1; 0: the other end closed; -EAGAIN; -EPROTO (no descriptor is kept); -EMFILE: there
 * was no room for its descriptors, all are closed; *m is written unless its type is 0; -errno
 */
int proxylink_recv(int fd, union proxylink_msg *m, int *fds, unsigned *nfds)
	__attribute__((nonnull));

#endif /* GW_PROXYLINK_H */
