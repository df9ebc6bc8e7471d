/* SPDX-License-Identifier: MIT */
/*
 * h_gen - Write load balancer packets to a capture file, the same for the same arguments
 *
 *	h_gen COUNT PAYLOAD [FLOWS [PPS]] >in.pcapng
 *
 * Two endpoints with the same addresses inside, IPv4 and IPv6, UDP with PAYLOAD bytes (a
 * counter, then text the censor's rules look for in some packets); with PPS paced.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "capfile.h"
#include "csum.h"
#include "wire.h"

#define BASE_NS	1700000000000000000ull

static uint8_t packet[ENCAP_MAX + 65536];

static size_t ipv4(uint8_t *ip, unsigned flow, size_t len)
{
	memset(ip, 0, 20);
	ip[0] = 0x45;
	put16(ip + 2, (uint16_t)(20 + len));
	ip[8] = 64;
	ip[9] = 17;
	put32(ip + 12, 0x0a000001 + (flow >> 2) % 200);
	put32(ip + 16, 0x0a000102);
	csum_ipv4(ip);
	return 20;
}

static size_t ipv6(uint8_t *ip, unsigned flow, size_t len)
{
	memset(ip, 0, 40);
	ip[0] = 0x60;
	put16(ip + 4, (uint16_t)len);
	ip[6] = 17;
	ip[7] = 64;
	ip[8] = ip[24] = 0xfd;
	ip[23] = (uint8_t)(1 + (flow >> 2) % 200);
	ip[39] = 250;
	return 40;
}

static void payload(uint8_t *p, size_t len, uint64_t i)
{
	static const char *const text[] = { "weakly typed", "please drop me", "strongly", "" };
	const char *t = text[i % 4];

	memset(p, 'x', len);
	if (len >= 8)
		put64(p, i);
	if (len >= 8 + strlen(t))
		memcpy(p + 8, t, strlen(t));
}

/* The packet's length; its inner part begins at *@inner */
static size_t build(uint64_t i, unsigned flow, size_t len)
{
	static const uint8_t eth[14] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0 };
	bool v6 = flow & 2;
	uint8_t *ip = packet + 14, *geneve = ip + 28, *in = geneve + 40, *udp;
	struct packet p;
	size_t n;

	memcpy(packet, eth, sizeof(eth));
	geneve_build_aws(geneve, v6 ? 0x86dd : 0x0800, 0x0123456789abcd00 + (flow & 1), 0, 7000 + flow);
	udp = in + (v6 ? ipv6(in, flow, 8 + len) : ipv4(in, flow, 8 + len));
	put16(udp, (uint16_t)(1024 + flow % 60000));
	put16(udp + 2, 3000);
	put16(udp + 4, (uint16_t)(8 + len));
	put16(udp + 6, v6 ? 1 : 0);
	payload(udp + 8, len, i);
	n = (size_t)(udp + 8 + len - in);
	if (!packet_parse(&p, in, n, LINKTYPE_RAW))
		csum_l4_write(&p, in);
	ipv4(ip, 0, 8 + 40 + n);
	put32(ip + 12, 0x0a090001);
	put32(ip + 16, 0x0a090002);
	csum_ipv4(ip);
	put16(ip + 20, (uint16_t)(50000 + flow % 15000));
	put16(ip + 22, GENEVE_PORT);
	put16(ip + 24, (uint16_t)(8 + 40 + n));
	put16(ip + 26, 0);
	return 14 + 28 + 40 + n;
}

static void pace(uint64_t start_ns, uint64_t i, uint64_t pps)
{
	uint64_t at = start_ns + i * 1000000000u / pps;
	struct timespec ts = { (time_t)(at / 1000000000u), (long)(at % 1000000000u) };

	fflush(stdout);
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
}

int main(int argc, char **argv)
{
	static uint8_t out[65536 + 4096];
	struct cap_writer w = { .name = "h_gen", .bare = true };
	struct frame **pool = frame_pool_new(1, 64), *f;
	struct timespec now;
	uint64_t count, pps;
	unsigned flows;
	size_t len;

	if (argc < 3 || !pool) {
		fprintf(stderr, "usage: h_gen COUNT PAYLOAD [FLOWS [PPS]]\n");
		return 2;
	}
	f = pool[0];
	count = strtoull(argv[1], NULL, 10);
	len = strtoul(argv[2], NULL, 10);
	flows = argc > 3 ? (unsigned)atoi(argv[3]) : 64;
	pps = argc > 4 ? strtoull(argv[4], NULL, 10) : 0;
	clock_gettime(CLOCK_MONOTONIC, &now);
	fwrite(out, 1, cap_write_header(&w, out, NULL), stdout);
	fwrite(out, 1, cap_write_iface(&w, out, LINKTYPE_ETHERNET), stdout);
	for (uint64_t i = 0; i < count; i++) {
		f->linktype = LINKTYPE_ETHERNET;
		f->len = f->orig_len = (uint32_t)build(i, (unsigned)(i * 2654435761u >> 7) % flows, len);
		f->off = frame_rel(f, packet);
		f->ts_ns = BASE_NS + i * 1000;
		if (pps && i % 16 == 0)
			pace((uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec, i, pps);
		if (fwrite(out, 1, cap_write_packet(&w, out, f), stdout) == 0)
			return 1;
	}
	frame_pool_free(pool);
	return fflush(stdout) ? 1 : 0;
}
