/* SPDX-License-Identifier: MIT */
/*
 * h_echo IFACE [FAULT] - The smallest right appliance: MAC and outer addresses
 * swapped, all else as it came; or one with a planted fault; "reject" answers
 * everything, rightly, with ICMP port unreachable
 */
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "csum.h"
#include "geneve.h"
#include "wire.h"

#define FRAME_MAX	(1u << 16)
#define GROWN		8600u

static uint8_t frame[FRAME_MAX];

/* Make the outer lengths and checksum those of an inner packet of @len bytes */
static size_t set_length(struct encap *e, uint32_t len)
{
	uint8_t *ip = frame + e->l3;

	e->end = e->inner + len;
	put16(ip + 2, (uint16_t)(e->end - e->l3));
	put16(frame + e->udp + 4, (uint16_t)(e->end - e->udp));
	csum_ipv4(ip);
	return e->end;
}

static size_t grow(struct encap *e)
{
	uint8_t *inner = frame + e->inner;

	put16(inner + 2, GROWN);
	csum_ipv4(inner);
	return set_length(e, GROWN);
}

static void change_port(const struct encap *e)
{
	struct packet p;

	if (packet_parse(&p, frame + e->inner, e->end - e->inner, LINKTYPE_RAW))
		return;
	frame[e->inner + p.l4 + 1] ^= 1;
	p.flags |= PKT_PARSED;
	csum_l4_write(&p, frame + e->inner);
}

/* Not a fault: ICMP port unreachable to the sender, as a firewall answers */
static size_t reject(struct encap *e)
{
	uint8_t *ip = frame + e->inner, *icmp = ip + 20;
	uint16_t sum;

	memmove(icmp + 8, ip, 28);		/* quoted: header and 8 bytes */
	swap_bytes(ip + 12, ip + 16, 4);
	ip[9] = IPPROTO_ICMP;
	put16(ip + 2, 20 + 8 + 28);
	csum_ipv4(ip);
	memcpy(icmp, "\3\3\0\0\0\0\0\0", 8);
	sum = csum_fold(csum_partial(icmp, 8 + 28, 0));
	memcpy(icmp + 2, &sum, sizeof(sum));
	return set_length(e, 20 + 8 + 28);
}

/* Returns the frame's length */
static size_t plant(const char *fault, struct encap *e)
{
	uint8_t *ip = frame + e->l3, *udp = frame + e->udp, *g = frame + e->geneve;

	if (!strcmp(fault, "outer-address"))
		swap_bytes(ip + 12, ip + 16, 4);
	else if (!strcmp(fault, "outer-port"))
		swap_bytes(udp, udp + 2, 2);
	else if (!strcmp(fault, "outer-checksum"))
		ip[10] ^= 1;
	else if (!strcmp(fault, "outer-length"))
		udp[5] ^= 4;
	else if (!strcmp(fault, "outer-malformed"))
		ip[0] = 0x44;
	else if (!strcmp(fault, "outer-fragment"))
		put16(ip + 6, 0x2000);
	else if (!strcmp(fault, "link-address"))
		frame[5] ^= 1;
	else if (!strcmp(fault, "geneve-header"))
		g[6] ^= 1;
	else if (!strcmp(fault, "geneve-options"))
		g[8 + 12 + 11] ^= 1;
	else if (!strcmp(fault, "cookie"))
		g[8 + 24 + 7] ^= 1;
	else if (!strcmp(fault, "inner-size"))
		return grow(e);
	else if (!strcmp(fault, "reject"))
		return reject(e);
	else if (!strcmp(fault, "inner-malformed"))
		frame[e->inner] = 0x51;
	else if (!strcmp(fault, "inner-length"))
		return set_length(e, e->end - e->inner + 3);
	else if (!strcmp(fault, "inner-tuple"))
		change_port(e);
	else if (!strcmp(fault, "inner-checksum"))
		frame[e->end - 1] ^= 1;
	if (!strcmp(fault, "outer-fragment"))
		csum_ipv4(ip);
	return e->end;
}

static void reflect(int fd, size_t len, const char *fault)
{
	struct encap e;

	if (encap_parse(&e, frame, len, LINKTYPE_ETHERNET))
		return;
	swap_bytes(frame, frame + 6, 6);
	swap_bytes(frame + e.l3 + 12, frame + e.l3 + 16, 4);
	len = fault ? plant(fault, &e) : e.end;
	(void)!send(fd, frame, len, 0);
}

/* So that the kernel does not answer too; not for "port-unreachable" */
static int silence(void)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(GENEVE_PORT) };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	return fd < 0 || bind(fd, (struct sockaddr *)&any, sizeof(any)) ? -1 : fd;
}

int main(int argc, char **argv)
{
	const char *fault = argc > 2 ? argv[2] : NULL;
	struct sockaddr_ll ll = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP) };
	bool refuse = fault && !strcmp(fault, "port-unreachable");
	int size = 4 << 20, one = 1, fd;

	if (argc < 2) {
		fprintf(stderr, "usage: h_echo IFACE [FAULT]\n");
		return 2;
	}
	if ((!refuse && silence() < 0) ||
	    (fd = socket(AF_PACKET, SOCK_RAW, 0)) < 0) {
		perror("h_echo");
		return 1;
	}
	ll.sll_ifindex = (int)if_nametoindex(argv[1]);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&ll, sizeof(ll))) {
		perror(argv[1]);
		return 1;
	}
	for (;;) {
		ssize_t n = recv(fd, frame, sizeof(frame), 0);

		if (n > 0)
			reflect(fd, (size_t)n, fault);
		else if (n < 0 && errno != EINTR && errno != ENETDOWN)
			return 1;
	}
}
