/* SPDX-License-Identifier: MIT */
/*
 * Cutting and merging: what is merged and cut again is what it was; what must not be merged is
 * not; what a TUN may say and must not be believed.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

#include "../gwtun/segment.h"
#include "csum.h"
#include "tap.h"

#define ROOM	9600u

static struct frame **pool;

/* A segment with 12 bytes of options; @n is its number, for what differs */
static void segment(struct frame *f, bool v4, uint32_t seq, uint32_t len, uint8_t flags, unsigned n)
{
	uint8_t pkt[ROOM] = { 0 }, *tcp = pkt + (v4 ? 20 : 40);
	uint32_t total = (v4 ? 20 : 40) + 32 + len;
	struct packet p;

	if (v4) {
		memcpy(pkt, (const uint8_t[12]){ 0x45, [6] = 0x40, [8] = 64, [9] = 6 }, 12);
		put16(pkt + 2, (uint16_t)total);
		put16(pkt + 4, (uint16_t)(100 + n));
		memcpy(pkt + 12, (const uint8_t[8]){ 10, 0, 0, 1, 10, 0, 0, 2 }, 8);
		csum_ipv4(pkt);
	} else {
		memcpy(pkt, (const uint8_t[8]){ 0x60, [6] = 6, [7] = 64 }, 8);
		put16(pkt + 4, (uint16_t)(total - 40));
		pkt[8] = pkt[24] = 0xfd;
		pkt[23] = 1;
		pkt[39] = 2;
	}
	put16(tcp, 443);
	put16(tcp + 2, 4000);
	put32(tcp + 4, seq);
	put32(tcp + 8, 777);
	tcp[12] = 8 << 4;
	tcp[13] = flags;
	put16(tcp + 14, 500);
	memcpy(tcp + 20, (const uint8_t[12]){ 1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8 }, 12);
	for (uint32_t i = 0; i < len; i++)
		tcp[32 + i] = (uint8_t)((seq + i) * 7);
	if (!packet_parse(&p, pkt, total, LINKTYPE_RAW))
		csum_l4_write(&p, pkt);
	frame_reset(f);
	f->linktype = LINKTYPE_RAW;
	if (frame_set(f, pkt, total) && !frame_parse(f))
		return;
	OK(false, "a segment of %u bytes", total);
}

static size_t gather(const struct merge *m, int n, struct virtio_net_hdr *h, uint8_t *out)
{
	size_t len = 0;
	uint8_t all[80000];

	for (int i = 0; i < n; i++) {
		memcpy(all + len, m->iov[i].iov_base, m->iov[i].iov_len);
		len += m->iov[i].iov_len;
	}
	memcpy(h, all, sizeof(*h));
	memcpy(out, all + sizeof(*h), len - sizeof(*h));
	return len - sizeof(*h);
}

static void there_and_back(bool v4, uint32_t size, uint32_t tail, unsigned n)
{
	static uint8_t big[80000], piece[ROOM];
	struct virtio_net_hdr h;
	struct merge m;
	struct cut c;
	bool equal = true;
	unsigned i, got = 0;
	size_t len;
	int k;

	for (i = 0; i < n; i++)
		segment(pool[i], v4, 1000 + i * size, i + 1 < n ? size : tail,
			i + 1 < n ? TH_ACK : TH_ACK | TH_PUSH | TH_FIN, i);
	merge_start(&m, pool[0]);
	for (i = 1; i < n && merge_add(&m, pool[i]); i++)
		;
	OK(i == n, "IPv%d: %u segments of %u bytes are one", v4 ? 4 : 6, i, size);
	len = gather(&m, merge_finish(&m), &h, big);
	OK(!cut_start(&c, big, len, &h), "IPv%d: ... which can be cut", v4 ? 4 : 6);
	cut_finish(&c, &h);
	while ((k = cut_next(&c, piece, sizeof(piece))) > 0 && got < n) {
		equal &= (uint32_t)k == pool[got]->len && !memcmp(piece, frame_data(pool[got]), (size_t)k);
		got++;
	}
	OK(!k && got == n && equal, "IPv%d: ... into the same %u", v4 ? 4 : 6, got);
}

static bool merges(void (*change)(uint8_t *ip, uint8_t *tcp), bool fix, uint32_t seq, uint32_t len)
{
	struct merge m;
	struct packet *p;

	segment(pool[0], true, 1000, 500, TH_ACK, 0);
	segment(pool[1], true, seq, len, TH_ACK, 1);
	p = &pool[1]->pkt;
	if (change)
		change(frame_data(pool[1]), frame_data(pool[1]) + p->l4);
	if (fix) {
		csum_ipv4(frame_data(pool[1]));
		csum_l4_write(p, frame_data(pool[1]));
	}
	merge_start(&m, pool[0]);
	return merge_add(&m, pool[1]);
}

static void c_ack(uint8_t *ip, uint8_t *tcp) { (void)ip; tcp[11]++; }
static void c_win(uint8_t *ip, uint8_t *tcp) { (void)ip; tcp[15]++; }
static void c_urg(uint8_t *ip, uint8_t *tcp) { (void)ip; tcp[13] |= TH_URG; }
static void c_ece(uint8_t *ip, uint8_t *tcp) { (void)ip; tcp[13] |= 0x40; }
static void c_opt(uint8_t *ip, uint8_t *tcp) { (void)ip; tcp[28]++; }
static void c_ttl(uint8_t *ip, uint8_t *tcp) { (void)tcp; ip[8]++; }
static void c_tos(uint8_t *ip, uint8_t *tcp) { (void)tcp; ip[1] = 3; }
static void c_port(uint8_t *ip, uint8_t *tcp) { (void)ip; tcp[1]++; }
static void c_data(uint8_t *ip, uint8_t *tcp) { (void)ip; tcp[40] ^= 1; }

static void refuses(void)
{
	OK(merges(NULL, false, 1500, 500), "the next segment is merged");
	OK(merges(NULL, false, 1500, 10), "... and a shorter one");
	OK(!merges(NULL, false, 1501, 500), "a gap is not");
	OK(!merges(NULL, false, 1000, 500), "the same again is not");
	OK(!merges(NULL, false, 1500, 501), "a longer one is not");
	OK(!merges(NULL, false, 1500, 0), "a bare ACK is not");
	OK(!merges(c_ack, true, 1500, 500), "another ACK number is not");
	OK(!merges(c_win, true, 1500, 500), "another window is not");
	OK(!merges(c_urg, true, 1500, 500), "urgent data are not");
	OK(!merges(c_ece, true, 1500, 500), "another ECN flag is not");
	OK(!merges(c_opt, true, 1500, 500), "another timestamp is not");
	OK(!merges(c_ttl, true, 1500, 500), "another TTL is not");
	OK(!merges(c_tos, true, 1500, 500), "congestion experienced is not");
	OK(!merges(c_port, true, 1500, 500), "another port is not");
	OK(!merges(c_data, false, 1500, 500), "a wrong checksum is not");
}

static void full(void)
{
	struct merge m;
	unsigned i;

	for (i = 0; i < FRAME_BURST; i++)
		segment(pool[i], true, 1000 + i * 8448, 8448, TH_ACK, i);
	merge_start(&m, pool[0]);
	for (i = 1; merge_add(&m, pool[i]); i++)
		;
	OK(i == 7 && m.total <= 65535, "no more than IP can carry: %u of 8,448 bytes", i);
}

static void lies(void)
{
	static uint8_t pkt[ROOM], out[ROOM];
	struct virtio_net_hdr h = { .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 0 };
	struct cut c;

	segment(pool[0], true, 1000, 1000, TH_ACK, 0);
	memcpy(pkt, frame_data(pool[0]), pool[0]->len);
	OK(cut_start(&c, pkt, pool[0]->len, &h), "pieces of no size are refused");
	h.gso_size = 100;
	OK(cut_start(&c, pkt, 60, &h), "a cut packet is refused");
	h.gso_type = VIRTIO_NET_HDR_GSO_UDP;
	OK(cut_start(&c, pkt, pool[0]->len, &h), "a type never asked for is refused");
	h = (struct virtio_net_hdr){ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 20,
				     .csum_offset = 60000 };
	OK(!cut_start(&c, pkt, pool[0]->len, &h), "a checksum beyond the packet: the packet is taken");
	cut_finish(&c, &h);
	OK(cut_next(&c, out, sizeof(out)) == (int)pool[0]->len && cut_next(&c, out, sizeof(out)) == 0,
	   "... and goes as it is, once");
	OK(!cut_start(&c, pkt, pool[0]->len, &h) && cut_next(&c, out, 100) == -1 &&
	   cut_next(&c, out, sizeof(out)) == 0, "no room: nothing, and it is over");
}

static void udp(void)
{
	static uint8_t pkt[4096], out[ROOM];
	struct virtio_net_hdr h = { .gso_type = 5, .gso_size = 700 };
	unsigned n = 0, good = 0;
	struct packet p;
	struct cut c;
	int k;

	memcpy(pkt, (const uint8_t[12]){ 0x45, [8] = 64, [9] = IPPROTO_UDP }, 12);
	put16(pkt + 2, 20 + 8 + 2000);
	put16(pkt + 24, 2008);
	csum_ipv4(pkt);
	OK(!cut_start(&c, pkt, 2028, &h), "UDP segmentation");
	while ((k = cut_next(&c, out, sizeof(out))) > 0) {
		good += !packet_parse(&p, out, (size_t)k, LINKTYPE_RAW) && csum_l4_ok(&p, out) &&
			be16(out + 26) && be16(out + 24) == k - 20 && be16(out + 4) == n;
		n++;
	}
	OK(n == 3 && good == 3, "three datagrams, each right");
}

static void mss(void)
{
	uint8_t tcp[40] = { [12] = 10 << 4, [20] = 1, 1, 8, 10, [32] = 2, 4, 5 };
	uint8_t zero[24] = { [12] = 6 << 4, [20] = 3 };

	OK(tcp_mss(tcp, 40) == tcp + 34, "MSS behind other options");
	OK(!tcp_mss(tcp, 35) && !tcp_mss(tcp, 10), "... cut off");
	OK(!tcp_mss(zero, 24), "an option without length ends the search");
}

static void reset(void)
{
	static uint8_t pkt[ROOM], out[ROOM];
	struct virtio_net_hdr h = { .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 100 };
	struct packet p;
	struct cut c;

	for (int fin = 1; fin >= 0; fin--) {
		segment(pool[0], true, 1000, 1000, (uint8_t)(TH_ACK | (fin ? TH_FIN : 0)), 0);
		memcpy(pkt, frame_data(pool[0]), pool[0]->len);
		OK(!cut_start(&c, pkt, pool[0]->len, &h), "large, FIN %d", fin);
		cut_reset(&c);
		if (!fin) {
			OK(cut_next(&c, out, sizeof(out)) == 152, "without FIN: as it is");
			return;
		}
		OK(cut_next(&c, out, sizeof(out)) == 52 && !cut_next(&c, out, sizeof(out)) &&
		   !packet_parse(&p, out, 52, LINKTYPE_RAW) && csum_l4_ok(&p, out) &&
		   out[33] == (TH_RST | TH_ACK) && be32(out + 24) == 1000, "with it: a RST in its place");
	}
}

int main(void)
{
	pool = frame_pool_new(FRAME_BURST, 16384);
	for (int v4 = 1; v4 >= 0; v4--) {
		there_and_back(v4, 1448, 1448, 30);
		there_and_back(v4, 8428, 1, 7);
		there_and_back(v4, 1, 1, 64);
	}
	refuses();
	full();
	lies();
	udp();
	mss();
	reset();
	frame_pool_free(pool);
	return tap_done();
}
