/* SPDX-License-Identifier: MIT */
#include "load_live.h"

#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <netlink/netlink.h>
#include <netlink/route/link.h>

#include "net.h"
#include "wire.h"

#define BATCH	64u	/* frames the kernel hands on at once */

/* The map's one value.  Written by us between two runs, by the program during one. */
struct table {
	uint64_t next;
	uint8_t head[LIVE_BURST][LIVE_HEAD];
};

struct live {
	const struct site *site;
	const uint8_t *frame;
	uint32_t len;
	int ifindex;
	int map;
	int send;		/* the program that makes frames */
	int use;		/* namespace in which it is in use */
	struct table *table;
	struct nl_sock *route;
};

/* The registers of the program */
enum { R0, R1, R2, R3, R4, R5, R6, R7 };

struct code {
	struct bpf_insn insn[64];
	unsigned n;
};

static void emit(struct code *c, uint8_t code, uint8_t dst, uint8_t src, int off, int imm)
{
	c->insn[c->n++] = (struct bpf_insn){
		.code = code, .dst_reg = dst & 15, .src_reg = src & 15, .off = (int16_t)off,
		.imm = imm,
	};
}

static void load(struct code *c, uint8_t size, uint8_t dst, uint8_t src, int off)
{
	emit(c, BPF_LDX | BPF_MEM | size, dst, src, off, 0);
}

static void store(struct code *c, uint8_t dst, uint8_t src, int off)
{
	emit(c, BPF_STX | BPF_MEM | BPF_DW, dst, src, off, 0);
}

static void calc(struct code *c, uint8_t op, uint8_t dst, int imm)
{
	emit(c, BPF_ALU64 | BPF_K | op, dst, 0, 0, imm);
}

static void copy(struct code *c, uint8_t dst, uint8_t src)
{
	emit(c, BPF_ALU64 | BPF_X | BPF_MOV, dst, src, 0, 0);
}

static void give_back(struct code *c, int action)
{
	calc(c, BPF_MOV, R0, action);
	emit(c, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

/* The next row of the table over the front of the frame, and off into the cable */
static void send_code(struct code *c, int map, int ifindex)
{
	load(c, BPF_W, R6, R1, offsetof(struct xdp_md, data));
	load(c, BPF_W, R7, R1, offsetof(struct xdp_md, data_end));
	copy(c, R2, R6);
	calc(c, BPF_ADD, R2, LIVE_HEAD);
	emit(c, BPF_JMP | BPF_X | BPF_JLE, R2, R7, 2, 0);
	give_back(c, XDP_DROP);		/* never: the verifier wants it */
	emit(c, BPF_LD | BPF_IMM | BPF_DW, R3, BPF_PSEUDO_MAP_VALUE, 0, map);
	emit(c, 0, 0, 0, 0, 0);
	load(c, BPF_DW, R4, R3, offsetof(struct table, next));
	copy(c, R5, R4);
	calc(c, BPF_ADD, R5, 1);
	store(c, R3, R5, offsetof(struct table, next));
	calc(c, BPF_AND, R4, LIVE_BURST - 1);
	calc(c, BPF_MUL, R4, LIVE_HEAD);
	emit(c, BPF_ALU64 | BPF_X | BPF_ADD, R3, R4, 0, 0);
	for (int i = 0; i < (int)LIVE_HEAD; i += 8) {
		load(c, BPF_DW, R0, R3, (int)offsetof(struct table, head) + i);
		store(c, R6, R0, i);
	}
	calc(c, BPF_MOV, R1, ifindex);
	calc(c, BPF_MOV, R2, 0);
	emit(c, BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_redirect);
	emit(c, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

/* Descriptor or -errno */
static int load_code(const struct code *c, uint32_t flags)
{
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .prog_flags = flags);

	return bpf_prog_load(BPF_PROG_TYPE_XDP, "gwsim_load", "MIT", c->insn, c->n, &opts);
}

static int attach_in(int ns, const char *dev, int prog, uint32_t flags)
{
	int back = net_self(), err;

	if (back < 0)
		return back;
	err = net_enter(ns);
	if (!err)
		err = bpf_xdp_attach((int)if_nametoindex(dev), prog, flags, NULL);
	net_enter(back);
	close(back);
	return err;
}

/* An appliance that has a program of its own there, in the driver, needs none of ours */
static int open_queue(const struct site *s)
{
	struct code pass = { .n = 0 };
	int prog, err;

	give_back(&pass, XDP_PASS);
	prog = load_code(&pass, BPF_F_XDP_HAS_FRAGS);
	if (prog < 0)
		return prog;
	err = attach_in(s->ns, "eth0", prog, XDP_FLAGS_DRV_MODE | XDP_FLAGS_UPDATE_IF_NOEXIST);
	close(prog);
	return err == -EBUSY ? 0 : err;
}

static int open_program(struct live *v)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	struct code code = { .n = 0 };
	int err;

	v->map = bpf_map_create(BPF_MAP_TYPE_ARRAY, "gwsim_load", 4, sizeof(struct table), 1,
				&opts);
	if (v->map < 0)
		return v->map;
	v->table = mmap(NULL, sizeof(*v->table), PROT_READ | PROT_WRITE, MAP_SHARED, v->map, 0);
	if (v->table == MAP_FAILED) {
		v->table = NULL;
		return -ENOMEM;
	}
	send_code(&code, v->map, v->ifindex);
	v->send = load_code(&code, 0);
	if (v->send < 0)
		return v->send;
	v->use = net_create();
	err = v->use < 0 ? v->use : attach_in(v->use, "lo", v->send, XDP_FLAGS_SKB_MODE);
	return err;
}

static int run(struct live *v, unsigned n)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = v->frame, .data_size_in = v->len,
		    .repeat = (int)n, .batch_size = MIN(n, BATCH),
		    .flags = BPF_F_TEST_XDP_LIVE_FRAMES);

	v->table->next = 0;
	return bpf_prog_test_run_opts(v->send, &opts);
}

static int open_all(struct live *v, const char **why)
{
	int err;

	*why = "netlink";
	v->route = nl_socket_alloc();
	if (!v->route || nl_connect(v->route, NETLINK_ROUTE))
		return -ENOMEM;
	*why = "load an XDP program";
	err = open_program(v);
	if (err)
		return err;
	/* One that goes nowhere: there is no queue as yet */
	*why = "BPF_PROG_RUN";
	err = run(v, 1);
	if (err)
		return err;
	/* Last: a socket's packets are copied once more where there is one */
	*why = "XDP on the appliance's eth0";
	return open_queue(v->site);
}

struct live *live_open(const struct site *s, const uint8_t *frame, uint32_t len, const char **why)
{
	struct live *v = calloc(1, sizeof(*v));
	int err;

	*why = "memory";
	if (!v)
		return NULL;
	*v = (struct live){
		.site = s, .frame = frame, .len = len, .map = -1, .send = -1, .use = -1,
		.ifindex = (int)if_nametoindex(s->dev),
	};
	libbpf_set_print(NULL);
	err = open_all(v, why);
	if (err) {
		live_close(v);
		errno = -err;
		return NULL;
	}
	return v;
}

uint8_t *live_head(struct live *v, unsigned i)
{
	return v->table->head[i];
}

unsigned live_send(struct live *v, unsigned n)
{
	(void)run(v, n);	/* how far it came is what counts */
	return (unsigned)v->table->next;
}

uint64_t live_refused(struct live *v)
{
	struct rtnl_link *link;
	uint64_t n;

	if (rtnl_link_get_kernel(v->route, 0, v->site->dev, &link))
		return 0;
	n = rtnl_link_get_stat(link, RTNL_LINK_TX_DROPPED);
	rtnl_link_put(link);
	return n;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

void live_close(struct live *v)
{
	if (!v)
		return;
	if (v->table)
		munmap(v->table, sizeof(*v->table));
	close_fd(v->map);
	close_fd(v->send);
	close_fd(v->use);	/* the namespace ends, and with it the program's use there */
	nl_socket_free(v->route);
	free(v);
}
