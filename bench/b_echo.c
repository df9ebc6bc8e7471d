/* SPDX-License-Identifier: MIT */
/*
 * b_echo - The yardstick: one process that only swaps the outer addresses and sends back
 *
 *	b_echo IFACE
 *
 * With the best input and output known: bursts read in place from a TPACKET_V2 ring, sent
 * from there by sendmmsg(2) past the queueing discipline, the slots handed back before the
 * next poll(2), and a drop rule behind the tap that spares the kernel's own stack the work.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "../gwcap/ingress.h"
#include "../gwsim/port.h"
#include "geneve.h"
#include "wire.h"

#define ETH_LEN		14u
#define UDP_AT		(ETH_LEN + 20u)
#define GENEVE_AT	(UDP_AT + 8u)
#define FRAME_MAX	9023u		/* MTU 9001 and an Ethernet header with two tags */
#define SLOTS		1728u		/* as many as gwcap's buffer has */

static bool is_geneve(const uint8_t *p, uint32_t len)
{
	return len >= GENEVE_AT + GENEVE_HDR_LEN && be16(p + 12) == 0x0800 &&
	       p[ETH_LEN] == 0x45 && p[ETH_LEN + 9] == 17 && be16(p + UDP_AT + 2) == GENEVE_PORT;
}

static void reflect(struct port *port)
{
	struct port_rx rx[PORT_BURST];
	struct iovec out[PORT_BURST];
	unsigned n = port_recv(port, rx, PORT_BURST), m = 0;

	for (unsigned i = 0; i < n; i++) {
		uint8_t *p = rx[i].data;

		if (!rx[i].for_us || !is_geneve(p, rx[i].len))
			continue;
		swap_bytes(p, p + 6, 6);
		swap_bytes(p + ETH_LEN + 12, p + ETH_LEN + 16, 4);
		out[m++] = (struct iovec){ p, rx[i].len };
	}
	if (m)
		port_send(port, out, m);
	port_release(port);
	if (!n) {
		struct pollfd fd = { .fd = port->fd, .events = POLLIN };

		poll(&fd, 1, -1);
	}
}

int main(int argc, char **argv)
{
	struct ingress drop;
	struct port port;
	int err;

	if (argc != 2) {
		fprintf(stderr, "usage: b_echo IFACE\n");
		return 2;
	}
	err = ingress_open(&drop, argv[1], GENEVE_PORT);
	if (!err)
		err = port_open(&port, argv[1]);
	if (!err)
		err = port_resize(&port, SLOTS * (FRAME_MAX + 256), FRAME_MAX);
	if (err) {
		fprintf(stderr, "b_echo: %s: %s\n", argv[1], strerror(-err));
		return 1;
	}
	for (;;)
		reflect(&port);
}
