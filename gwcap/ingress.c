/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>

#include "ingress.h"

#define CHAIN		"ingress"
#define PRIORITY	(-500)	/* before anything else that may sit at this hook */
#define UDP_DPORT	2	/* offset of the destination port */

#ifndef NFT_TABLE_F_OWNER
#define NFT_TABLE_F_OWNER 0x2
#endif

/* A batch is one transaction: all of its messages in one datagram. */
struct batch {
	uint8_t buf[4096];
	size_t len;
	uint32_t seq;
	int err;
};

static struct nl_msg *msg_new(struct batch *b, int type, int flags, uint8_t family, uint16_t res)
{
	struct nfgenmsg gen = { .nfgen_family = family, .version = NFNETLINK_V0,
				.res_id = htons(res) };
	struct nl_msg *msg = nlmsg_alloc_size(1024);

	if (!msg || !nlmsg_put(msg, NL_AUTO_PORT, ++b->seq, type, 0, NLM_F_REQUEST | flags) ||
	    nlmsg_append(msg, &gen, sizeof(gen), NLMSG_ALIGNTO))
		b->err = -ENOMEM;
	return msg;
}

static struct nl_msg *nft_new(struct batch *b, int cmd, int flags)
{
	return msg_new(b, NFNL_SUBSYS_NFTABLES << 8 | cmd, NLM_F_CREATE | flags,
		       NFPROTO_NETDEV, 0);
}

/* Consumes @msg; @err: what building it gave */
static void batch_add(struct batch *b, struct nl_msg *msg, int err)
{
	struct nlmsghdr *h;

	if (!b->err && err)
		b->err = -EMSGSIZE;
	if (!b->err) {
		h = nlmsg_hdr(msg);
		if (b->len + NLMSG_ALIGN(h->nlmsg_len) <= sizeof(b->buf)) {
			memcpy(b->buf + b->len, h, h->nlmsg_len);
			b->len += NLMSG_ALIGN(h->nlmsg_len);
		} else {
			b->err = -EMSGSIZE;
		}
	}
	nlmsg_free(msg);
}

static void add_table(struct batch *b, const char *table)
{
	struct nl_msg *m = nft_new(b, NFT_MSG_NEWTABLE, NLM_F_EXCL);
	int err = b->err;

	if (!err)
		err = nla_put_string(m, NFTA_TABLE_NAME, table) |
		      nla_put_u32(m, NFTA_TABLE_FLAGS, htonl(NFT_TABLE_F_OWNER));
	batch_add(b, m, err);
}

static int put_hook(struct nl_msg *m, const char *ifname)
{
	struct nlattr *hook = nla_nest_start(m, NFTA_CHAIN_HOOK);

	if (!hook)
		return -1;
	if (nla_put_u32(m, NFTA_HOOK_HOOKNUM, htonl(NF_NETDEV_INGRESS)) |
	    nla_put_u32(m, NFTA_HOOK_PRIORITY, htonl((uint32_t)PRIORITY)) |
	    nla_put_string(m, NFTA_HOOK_DEV, ifname))
		return -1;
	return nla_nest_end(m, hook);
}

static void add_chain(struct batch *b, const char *table, const char *ifname)
{
	struct nl_msg *m = nft_new(b, NFT_MSG_NEWCHAIN, NLM_F_EXCL);
	int err = b->err;

	if (!err)
		err = nla_put_string(m, NFTA_CHAIN_TABLE, table) |
		      nla_put_string(m, NFTA_CHAIN_NAME, CHAIN) |
		      put_hook(m, ifname) |
		      nla_put_u32(m, NFTA_CHAIN_POLICY, htonl(NF_ACCEPT)) |
		      nla_put_string(m, NFTA_CHAIN_TYPE, "filter");
	batch_add(b, m, err);
}

/* One expression: { "name", data { attributes by @fill } } in a list */
static int put_expr(struct nl_msg *m, const char *name,
		    int (*fill)(struct nl_msg *m, uint32_t arg), uint32_t arg)
{
	struct nlattr *elem = nla_nest_start(m, NFTA_LIST_ELEM), *data;

	if (!elem || nla_put_string(m, NFTA_EXPR_NAME, name))
		return -1;
	data = nla_nest_start(m, NFTA_EXPR_DATA);
	if (!data || fill(m, arg))
		return -1;
	nla_nest_end(m, data);
	return nla_nest_end(m, elem);
}

static int fill_meta(struct nl_msg *m, uint32_t key)
{
	return nla_put_u32(m, NFTA_META_DREG, htonl(NFT_REG_1)) |
	       nla_put_u32(m, NFTA_META_KEY, htonl(key));
}

static int fill_dport(struct nl_msg *m, uint32_t offset)
{
	return nla_put_u32(m, NFTA_PAYLOAD_DREG, htonl(NFT_REG_1)) |
	       nla_put_u32(m, NFTA_PAYLOAD_BASE, htonl(NFT_PAYLOAD_TRANSPORT_HEADER)) |
	       nla_put_u32(m, NFTA_PAYLOAD_OFFSET, htonl(offset)) |
	       nla_put_u32(m, NFTA_PAYLOAD_LEN, htonl(sizeof(uint16_t)));
}

static int fill_equal(struct nl_msg *m, const void *value, int len)
{
	struct nlattr *data;

	if (nla_put_u32(m, NFTA_CMP_SREG, htonl(NFT_REG_1)) |
	    nla_put_u32(m, NFTA_CMP_OP, htonl(NFT_CMP_EQ)))
		return -1;
	data = nla_nest_start(m, NFTA_CMP_DATA);
	if (!data || nla_put(m, NFTA_DATA_VALUE, len, value))
		return -1;
	return nla_nest_end(m, data);
}

static int fill_equal8(struct nl_msg *m, uint32_t value)
{
	uint8_t v = (uint8_t)value;

	return fill_equal(m, &v, sizeof(v));
}

static int fill_equal16(struct nl_msg *m, uint32_t value)
{
	uint16_t v = htons((uint16_t)value);

	return fill_equal(m, &v, sizeof(v));
}

static int fill_verdict(struct nl_msg *m, uint32_t code)
{
	struct nlattr *data, *verdict;

	if (nla_put_u32(m, NFTA_IMMEDIATE_DREG, htonl(NFT_REG_VERDICT)))
		return -1;
	data = nla_nest_start(m, NFTA_IMMEDIATE_DATA);
	if (!data)
		return -1;
	verdict = nla_nest_start(m, NFTA_DATA_VERDICT);
	if (!verdict || nla_put_u32(m, NFTA_VERDICT_CODE, htonl(code)))
		return -1;
	nla_nest_end(m, verdict);
	return nla_nest_end(m, data);
}

/* meta l4proto udp, th dport PORT, drop */
static int put_exprs(struct nl_msg *m, uint16_t port)
{
	struct nlattr *list = nla_nest_start(m, NFTA_RULE_EXPRESSIONS);

	if (!list ||
	    put_expr(m, "meta", fill_meta, NFT_META_L4PROTO) ||
	    put_expr(m, "cmp", fill_equal8, IPPROTO_UDP) ||
	    put_expr(m, "payload", fill_dport, UDP_DPORT) ||
	    put_expr(m, "cmp", fill_equal16, port) ||
	    put_expr(m, "immediate", fill_verdict, NF_DROP))
		return -1;
	return nla_nest_end(m, list);
}

static void add_rule(struct batch *b, const char *table, uint16_t port)
{
	struct nl_msg *m = nft_new(b, NFT_MSG_NEWRULE, NLM_F_APPEND | NLM_F_ACK);
	int err = b->err;

	if (!err)
		err = nla_put_string(m, NFTA_RULE_TABLE, table) |
		      nla_put_string(m, NFTA_RULE_CHAIN, CHAIN) |
		      put_exprs(m, port);
	batch_add(b, m, err);
}

/* The rule's acknowledgement comes last; an error of a message before it, first. */
static int batch_result(struct nl_sock *sk, uint32_t rule_seq)
{
	struct sockaddr_nl from;
	unsigned char *buf;
	int first = 0, len;

	while ((len = nl_recv(sk, &from, &buf, NULL)) > 0) {
		struct nlmsghdr *h = (struct nlmsghdr *)(void *)buf;
		bool done = false;

		for (; nlmsg_ok(h, len); h = nlmsg_next(h, &len)) {
			const struct nlmsgerr *e = nlmsg_data(h);

			if (h->nlmsg_type != NLMSG_ERROR || nlmsg_datalen(h) < (int)sizeof(*e))
				continue;
			if (!first)
				first = e->error;
			done |= e->msg.nlmsg_seq == rule_seq || e->error;
		}
		free(buf);
		if (done)
			return first;
	}
	return len ? -EIO : -EPIPE;
}

static int rule_install(struct nl_sock *sk, const char *table, const char *ifname, uint16_t port)
{
	struct batch b = { .len = 0 };
	uint32_t rule_seq;

	batch_add(&b, msg_new(&b, NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES), 0);
	add_table(&b, table);
	add_chain(&b, table, ifname);
	add_rule(&b, table, port);
	rule_seq = b.seq;
	batch_add(&b, msg_new(&b, NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES), 0);
	if (b.err)
		return b.err;
	if (nl_sendto(sk, b.buf, b.len) < 0)
		return -EIO;
	return batch_result(sk, rule_seq);
}

static struct nl_sock *nfnl_connect(void)
{
	struct nl_sock *sk = nl_socket_alloc();

	if (sk && nl_connect(sk, NETLINK_NETFILTER)) {
		nl_socket_free(sk);
		return NULL;
	}
	return sk;
}

int ingress_open(struct ingress *in, const char *ifname, uint16_t port)
{
	struct ingress n = { .lost = false };
	int err = -EPROTONOSUPPORT;

	n.owner = nfnl_connect();
	n.watch = nfnl_connect();
	if (!n.owner || !n.watch)
		goto fail;
	/* The port of a netlink socket is unique in its network namespace. */
	snprintf(n.table, sizeof(n.table), "gwcap-%u", nl_socket_get_local_port(n.owner));
	err = rule_install(n.owner, n.table, ifname, port);
	if (err)
		goto fail;
	if (nl_socket_add_membership(n.watch, NFNLGRP_NFTABLES) ||
	    nl_socket_set_nonblocking(n.watch)) {
		err = -EIO;
		goto fail;
	}
	*in = n;
	return 0;
fail:
	ingress_close(&n);
	return err;
}

static bool is_our_end(const struct ingress *in, struct nlmsghdr *h)
{
	struct nlattr *name;

	if (h->nlmsg_type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELCHAIN))
		return false;
	name = nlmsg_find_attr(h, sizeof(struct nfgenmsg), NFTA_CHAIN_TABLE);
	return name && !nla_strcmp(name, in->table);
}

void ingress_follow(struct ingress *in)
{
	struct sockaddr_nl from;
	unsigned char *buf;
	int len;

	while ((len = nl_recv(in->watch, &from, &buf, NULL)) > 0) {
		struct nlmsghdr *h = (struct nlmsghdr *)(void *)buf;

		for (; nlmsg_ok(h, len); h = nlmsg_next(h, &len))
			in->lost |= is_our_end(in, h);
		free(buf);
	}
}

void ingress_close(struct ingress *in)
{
	nl_socket_free(in->owner);	/* NULL is fine */
	nl_socket_free(in->watch);
	in->owner = in->watch = NULL;
}
