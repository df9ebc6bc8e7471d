/* SPDX-License-Identifier: MIT */
/*
 * port.h - The load balancer's end of a cable: Ethernet frames in bursts
 *
 * An AF_PACKET socket with a receive ring (pktring.h; read in place, its memory is not
 * bounded by the socket buffer's limit) and sendmmsg(2) past the queueing discipline.
 * Sees received IPv4 and IPv6 frames, never what it sent.
 */
#ifndef GW_PORT_H
#define GW_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "pktring.h"

#define PORT_BURST	64u
#define PORT_HEADROOM	96u	/* before a received frame: the receiver's to write */

/**
 * struct port_rx - A received frame, valid until port_release()
 * @data:	Ethernet header on, with PORT_HEADROOM bytes before it; may be changed
 * @len:	Bytes at @data
 * @whole:	The frame's length; more than @len if it was cut
 * @time_ns:	CLOCK_REALTIME at which the kernel received it
 * @for_us:	Its destination address is the device's
 * @cut:	It was longer than @len
 * @csum_pending: Its TCP or UDP checksum was left to hardware that is not there
 */
struct port_rx {
	uint8_t *data;
	uint32_t len;
	uint32_t whole;
	uint64_t time_ns;
	bool for_us;
	bool cut;
	bool csum_pending;
};

/**
 * struct port - An open port
 * @fd:		For poll(2): readable when port_recv() has something
 * @lost:	Frames that the receive ring had no room for, by port_losses()
 * @no_room:	Frames that the device would not take
 */
struct port {
	int fd;
	struct pktring ring;
	uint64_t lost;
	uint64_t no_room;
};

/**
 * port_open() - Open a port on a device of the calling thread's network namespace
 *
 * Also keeps the kernel from answering what comes in to UDP port 6081 of this
 * namespace with ICMP errors.
 *
 * Return: 0 or -errno
 */
int port_open(struct port *p, const char *dev) __attribute__((nonnull));

/**
 * port_resize() - Another receive ring: what is in the old one is lost
 * @bytes:	Its size, in the kernel's memory; the first one has 4 MiB
 * @frame_max:	Longer frames are cut; at most the usual one of MTU 9001
 *
 * Keeps to the usual one if there is no memory for it.
 *
 * Return: 0 or -errno, then the port is good for port_close() only
 */
int port_resize(struct port *p, size_t bytes, uint32_t frame_max) __attribute__((nonnull));

/**
 * port_recv() - Look at received frames; never waits
 * @max:	At most PORT_BURST
 *
 * Return: how many of @rx were filled
 */
unsigned port_recv(struct port *p, struct port_rx *rx, unsigned max)
	__attribute__((nonnull));

/**
 * port_release() - Give all frames handed out by port_recv() back
 */
void port_release(struct port *p) __attribute__((nonnull));

/**
 * port_send() - Send a burst of frames
 * @iov:	One frame each, Ethernet header on
 * @n:		At most PORT_BURST
 *
 * A full device is retried for a moment; what then remains is dropped and
 * counted in no_room.
 *
 * Return: how many were sent
 */
unsigned port_send(struct port *p, struct iovec *iov, unsigned n) __attribute__((nonnull));

/**
 * port_losses() - Bring @p->lost up to date
 */
void port_losses(struct port *p) __attribute__((nonnull));

void port_close(struct port *p) __attribute__((nonnull));

#endif /* GW_PORT_H */
