/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/filter.h>
#include <linux/if_packet.h>
#include <pcap/pcap.h>

#include "capfilter.h"
#include "log.h"
#include "packet.h"
#include "wire.h"

/* A fanout group forgets that its sockets ignore what is sent (PACKET_IGNORE_OUTGOING) */
static const struct sock_filter not_sent[] = {
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE)),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, 0, 1),
	BPF_STMT(BPF_RET | BPF_K, 0),
};

_Static_assert(sizeof(struct sock_filter) == sizeof(struct bpf_insn) &&
	       offsetof(struct sock_filter, k) == offsetof(struct bpf_insn, k),
	       "libpcap's instructions are the kernel's");

static void set(int fd, const struct sock_fprog *prog)
{
	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, prog, sizeof(*prog)))
		die("filter: %m");
}

void capfilter_close(int fd)
{
	struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog prog = { .len = 1, .filter = &nothing };

	set(fd, &prog);
}

/* Jumps are relative: code may go in front */
static void attach(int fd, const struct bpf_program *prog)
{
	size_t own = ARRAY_SIZE(not_sent), n = own + prog->bf_len;
	struct sock_filter *code = calloc(n, sizeof(*code));
	struct sock_fprog all = { .len = (unsigned short)n, .filter = code };

	if (!code)
		die("out of memory");
	memcpy(code, not_sent, sizeof(not_sent));
	memcpy(code + own, prog->bf_insns, prog->bf_len * sizeof(*code));
	if (n > BPF_MAXINSNS)
		die("filter: too long for the kernel: fewer --peer are needed");
	set(fd, &all);
	free(code);
}

void capfilter_attach(int fd, const char *expr, uint32_t linktype, uint32_t snaplen)
{
	int dlt = linktype == LINKTYPE_ETHERNET ? DLT_EN10MB : DLT_RAW;
	pcap_t *dead = pcap_open_dead(dlt, (int)snaplen);
	struct bpf_program prog;

	if (!dead)
		die("out of memory");
	if (pcap_compile(dead, &prog, expr, 1, PCAP_NETMASK_UNKNOWN))
		die("filter '%s': %s", expr, pcap_geterr(dead));
	attach(fd, &prog);
	pcap_freecode(&prog);
	pcap_close(dead);
}
