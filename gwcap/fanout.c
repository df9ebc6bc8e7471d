/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <linux/if_packet.h>

#include "fanout.h"
#include "geneve.h"
#include "wire.h"

#ifndef PACKET_FANOUT_FLAG_IGNORE_OUTGOING
#define PACKET_FANOUT_FLAG_IGNORE_OUTGOING 0x4000	/* Linux 5.19; older ones overlook it */
#endif

#define CODE_MAX	256u	/* a conditional jump goes no further */
#define OPTIONS		12u	/* looked at; where there are more, the inner addresses count */
#define OPTION(class, type) ((class) << 16 | (type) << 8)
#define GOLDEN		0x9e3779b1u

/* Cells of the program's memory */
enum { END, SUM };

/* Where jumps go: forward only, as classic BPF wants it */
enum label { NEXT, OUTER6, UDP, INNER, INNER6, COOKIE29, COOKIE, HASH, NOTHING, LABELS };

struct builder {
	struct sock_filter code[CODE_MAX];
	enum label yes[CODE_MAX], no[CODE_MAX];	/* of a jump */
	unsigned n;
	unsigned at[LABELS];
};

static void put(struct builder *b, unsigned code, uint32_t k)
{
	b->code[b->n++] = (struct sock_filter){ .code = (uint16_t)code, .k = k };
}

static void jump(struct builder *b, unsigned test, uint32_t k, enum label yes, enum label no)
{
	b->yes[b->n] = yes;
	b->no[b->n] = no;
	put(b, BPF_JMP + test, k);
}

static void go(struct builder *b, enum label to)
{
	jump(b, BPF_JA, 0, to, to);
}

static void here(struct builder *b, enum label label)
{
	b->at[label] = b->n;
}

static uint8_t distance(const struct builder *b, unsigned from, enum label to)
{
	return (uint8_t)(to == NEXT ? 0 : b->at[to] - from - 1);
}

static void resolve(struct builder *b)
{
	for (unsigned i = 0; i < b->n; i++) {
		struct sock_filter *c = &b->code[i];

		if (BPF_CLASS(c->code) != BPF_JMP)
			continue;
		if (BPF_OP(c->code) == BPF_JA) {
			c->k = distance(b, i, b->yes[i]);
		} else {
			c->jt = distance(b, i, b->yes[i]);
			c->jf = distance(b, i, b->no[i]);
		}
	}
}

/* X: the UDP header of a packet to the Geneve port, no fragment; else nothing */
static void put_outer(struct builder *b)
{
	put(b, BPF_LD + BPF_B + BPF_ABS, 0);
	put(b, BPF_ALU + BPF_RSH + BPF_K, 4);
	jump(b, BPF_JEQ + BPF_K, 6, OUTER6, NEXT);
	jump(b, BPF_JEQ + BPF_K, 4, NEXT, NOTHING);
	put(b, BPF_LD + BPF_H + BPF_ABS, 6);
	jump(b, BPF_JSET + BPF_K, 0x3fff, NOTHING, NEXT);
	put(b, BPF_LD + BPF_B + BPF_ABS, 9);
	jump(b, BPF_JEQ + BPF_K, IPPROTO_UDP, NEXT, NOTHING);
	put(b, BPF_LDX + BPF_B + BPF_MSH, 0);
	go(b, UDP);
	here(b, OUTER6);
	put(b, BPF_LD + BPF_B + BPF_ABS, 6);
	jump(b, BPF_JEQ + BPF_K, IPPROTO_UDP, NEXT, NOTHING);
	put(b, BPF_LDX + BPF_W + BPF_IMM, 40);
	here(b, UDP);
	put(b, BPF_LD + BPF_H + BPF_IND, 2);
	jump(b, BPF_JEQ + BPF_K, GENEVE_PORT, NEXT, NOTHING);
}

/* From X, the UDP header, to M[END], where options end, and X, where they begin */
static void put_geneve(struct builder *b)
{
	const uint32_t front = 8 + GENEVE_HDR_LEN;

	put(b, BPF_LD + BPF_B + BPF_IND, 8);
	put(b, BPF_ALU + BPF_AND + BPF_K, 0x3f);
	put(b, BPF_ALU + BPF_LSH + BPF_K, 2);
	put(b, BPF_ALU + BPF_ADD + BPF_X, 0);
	put(b, BPF_ALU + BPF_ADD + BPF_K, front);
	put(b, BPF_ST, END);
	put(b, BPF_MISC + BPF_TXA, 0);
	put(b, BPF_ALU + BPF_ADD + BPF_K, front);
	put(b, BPF_MISC + BPF_TAX, 0);
}

/* A flow cookie at X, or X behind this option */
static void put_option(struct builder *b)
{
	put(b, BPF_LD + BPF_MEM, END);
	jump(b, BPF_JGT + BPF_X, 0, NEXT, INNER);
	put(b, BPF_LD + BPF_W + BPF_IND, 0);
	put(b, BPF_ALU + BPF_AND + BPF_K, 0xffffff00);
	jump(b, BPF_JEQ + BPF_K, OPTION(GENEVE_CLASS_AWS, 3), COOKIE, NEXT);
	jump(b, BPF_JEQ + BPF_K, OPTION(GENEVE_CLASS_TENCENT, 3), COOKIE29, NEXT);
	put(b, BPF_LD + BPF_B + BPF_IND, 3);
	put(b, BPF_ALU + BPF_AND + BPF_K, 0x1f);
	put(b, BPF_ALU + BPF_LSH + BPF_K, 2);
	put(b, BPF_ALU + BPF_ADD + BPF_K, GENEVE_OPT_HDR_LEN);
	put(b, BPF_ALU + BPF_ADD + BPF_X, 0);
	put(b, BPF_MISC + BPF_TAX, 0);
}

/* Two addresses at X, in either order: their sum */
static void put_sum(struct builder *b, uint32_t src, uint32_t dst)
{
	put(b, BPF_LD + BPF_W + BPF_IND, src);
	put(b, BPF_ST, SUM);
	put(b, BPF_LD + BPF_W + BPF_IND, dst);
	put(b, BPF_LDX + BPF_MEM, SUM);
	put(b, BPF_ALU + BPF_ADD + BPF_X, 0);
	go(b, HASH);
}

static void put_inner(struct builder *b)
{
	here(b, INNER);
	put(b, BPF_LDX + BPF_MEM, END);
	put(b, BPF_LD + BPF_B + BPF_IND, 0);
	put(b, BPF_ALU + BPF_RSH + BPF_K, 4);
	jump(b, BPF_JEQ + BPF_K, 6, INNER6, NEXT);
	jump(b, BPF_JEQ + BPF_K, 4, NEXT, NOTHING);
	put_sum(b, 12, 16);
	here(b, INNER6);
	put_sum(b, 20, 36);	/* the last words of both */
}

static void put_results(struct builder *b)
{
	here(b, COOKIE29);	/* the direction stands in front of it */
	put(b, BPF_LD + BPF_W + BPF_IND, GENEVE_OPT_HDR_LEN);
	put(b, BPF_ALU + BPF_AND + BPF_K, 0x1fffffff);
	go(b, HASH);
	here(b, COOKIE);
	put(b, BPF_LD + BPF_W + BPF_IND, GENEVE_OPT_HDR_LEN);
	here(b, HASH);
	put(b, BPF_ALU + BPF_MUL + BPF_K, GOLDEN);
	put(b, BPF_ALU + BPF_RSH + BPF_K, 16);
	put(b, BPF_RET + BPF_A, 0);
	here(b, NOTHING);
	put(b, BPF_RET + BPF_K, 0);
}

struct sock_fprog fanout_program(void)
{
	static struct builder b;

	b.n = 0;
	put_outer(&b);
	put_geneve(&b);
	for (unsigned i = 0; i < OPTIONS; i++)
		put_option(&b);
	put_inner(&b);
	put_results(&b);
	resolve(&b);
	return (struct sock_fprog){ .len = (unsigned short)b.n, .filter = b.code };
}

int fanout_join(int fd, int ifindex, unsigned members)
{
	struct sock_fprog prog = fanout_program();
	struct fanout_args how = {
		.id = (uint16_t)(GENEVE_PORT + (unsigned)ifindex),
		.type_flags = PACKET_FANOUT_CBPF | PACKET_FANOUT_FLAG_IGNORE_OUTGOING,
		.max_num_members = members,
	};

	if (setsockopt(fd, SOL_PACKET, PACKET_FANOUT, &how, sizeof(how)) ||
	    setsockopt(fd, SOL_PACKET, PACKET_FANOUT_DATA, &prog, sizeof(prog)))
		return -errno;
	return 0;
}
