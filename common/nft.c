/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>

#include "nft.h"

static struct nl_msg *msg_new(struct nft_batch *b, int type, int flags, uint8_t family, uint16_t res)
{
	struct nfgenmsg gen = { .nfgen_family = family, .version = NFNETLINK_V0,
				.res_id = htons(res) };
	struct nl_msg *msg = nlmsg_alloc_size(2048);

	if (!msg || !nlmsg_put(msg, NL_AUTO_PORT, ++b->seq, type, 0, NLM_F_REQUEST | flags) ||
	    nlmsg_append(msg, &gen, sizeof(gen), NLMSG_ALIGNTO))
		b->err = -ENOMEM;
	return msg;
}

static struct nl_msg *nft_new(struct nft_batch *b, int cmd, int flags)
{
	return msg_new(b, NFNL_SUBSYS_NFTABLES << 8 | cmd, NLM_F_CREATE | flags, b->family, 0);
}

/* Consumes @msg; @err: what building it gave */
static void batch_add(struct nft_batch *b, struct nl_msg *msg, int err)
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

static void mark(struct nft_batch *b, int type)
{
	batch_add(b, msg_new(b, type, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES), 0);
}

void nft_begin(struct nft_batch *b, uint8_t family)
{
	b->len = b->seq = 0;
	b->err = 0;
	b->family = family;
	mark(b, NFNL_MSG_BATCH_BEGIN);
}

void nft_table(struct nft_batch *b, const char *table, uint32_t flags)
{
	struct nl_msg *m = nft_new(b, NFT_MSG_NEWTABLE, NLM_F_EXCL);
	int err = b->err;

	if (!err)
		err = nla_put_string(m, NFTA_TABLE_NAME, table) |
		      nla_put_u32(m, NFTA_TABLE_FLAGS, htonl(flags));
	batch_add(b, m, err);
}

static int put_hook(struct nl_msg *m, const struct nft_chain *c)
{
	struct nlattr *hook = nla_nest_start(m, NFTA_CHAIN_HOOK);

	if (!hook)
		return -1;
	if (nla_put_u32(m, NFTA_HOOK_HOOKNUM, htonl(c->hook)) |
	    nla_put_u32(m, NFTA_HOOK_PRIORITY, htonl((uint32_t)c->priority)) |
	    (c->dev ? nla_put_string(m, NFTA_HOOK_DEV, c->dev) : 0))
		return -1;
	return nla_nest_end(m, hook);
}

void nft_chain(struct nft_batch *b, const struct nft_chain *c)
{
	struct nl_msg *m = nft_new(b, NFT_MSG_NEWCHAIN, NLM_F_EXCL);
	int err = b->err;

	if (!err)
		err = nla_put_string(m, NFTA_CHAIN_TABLE, c->table) |
		      nla_put_string(m, NFTA_CHAIN_NAME, c->name) |
		      put_hook(m, c) |
		      nla_put_u32(m, NFTA_CHAIN_POLICY, htonl(NF_ACCEPT)) |
		      nla_put_string(m, NFTA_CHAIN_TYPE, c->type);
	batch_add(b, m, err);
}

void nft_rule(struct nft_batch *b, const struct nft_chain *c,
	      int (*exprs)(struct nl_msg *m, const void *arg), const void *arg)
{
	struct nl_msg *m = nft_new(b, NFT_MSG_NEWRULE, NLM_F_APPEND | NLM_F_ACK);
	struct nlattr *list;
	int err = b->err;

	if (!err)
		err = nla_put_string(m, NFTA_RULE_TABLE, c->table) |
		      nla_put_string(m, NFTA_RULE_CHAIN, c->name);
	if (!err) {
		list = nla_nest_start(m, NFTA_RULE_EXPRESSIONS);
		err = !list || exprs(m, arg) || nla_nest_end(m, list);
	}
	batch_add(b, m, err);
}

/* The last rule's acknowledgement comes last; an error of a message before it, first. */
static int batch_result(struct nl_sock *sk, uint32_t last_seq)
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
			done |= e->msg.nlmsg_seq == last_seq || e->error;
		}
		free(buf);
		if (done)
			return first;
	}
	return len ? -EIO : -EPIPE;
}

int nft_commit(struct nft_batch *b, struct nl_sock *sk)
{
	uint32_t last_seq = b->seq;

	mark(b, NFNL_MSG_BATCH_END);
	if (b->err)
		return b->err;
	if (nl_sendto(sk, b->buf, b->len) < 0)
		return -EIO;
	return batch_result(sk, last_seq);
}

struct nl_sock *nft_connect(void)
{
	struct nl_sock *sk = nl_socket_alloc();

	if (sk && nl_connect(sk, NETLINK_NETFILTER)) {
		nl_socket_free(sk);
		return NULL;
	}
	return sk;
}

/* --- expressions: { "name", data { attributes } } in a list ------------------ */

struct expr {
	struct nlattr *elem, *data;
};

static int expr_start(struct expr *e, struct nl_msg *m, const char *name)
{
	e->elem = nla_nest_start(m, NFTA_LIST_ELEM);
	if (!e->elem || nla_put_string(m, NFTA_EXPR_NAME, name))
		return -1;
	e->data = nla_nest_start(m, NFTA_EXPR_DATA);
	return e->data ? 0 : -1;
}

static int expr_end(const struct expr *e, struct nl_msg *m)
{
	nla_nest_end(m, e->data);
	return nla_nest_end(m, e->elem);
}

int nft_meta(struct nl_msg *m, uint32_t key)
{
	struct expr e;

	if (expr_start(&e, m, "meta") ||
	    nla_put_u32(m, NFTA_META_DREG, htonl(NFT_REG_1)) |
	    nla_put_u32(m, NFTA_META_KEY, htonl(key)))
		return -1;
	return expr_end(&e, m);
}

int nft_transport16(struct nl_msg *m, uint32_t offset)
{
	struct expr e;

	if (expr_start(&e, m, "payload") ||
	    nla_put_u32(m, NFTA_PAYLOAD_DREG, htonl(NFT_REG_1)) |
	    nla_put_u32(m, NFTA_PAYLOAD_BASE, htonl(NFT_PAYLOAD_TRANSPORT_HEADER)) |
	    nla_put_u32(m, NFTA_PAYLOAD_OFFSET, htonl(offset)) |
	    nla_put_u32(m, NFTA_PAYLOAD_LEN, htonl(sizeof(uint16_t))))
		return -1;
	return expr_end(&e, m);
}

static int put_value(struct nl_msg *m, int attr, const void *value, int len)
{
	struct nlattr *data = nla_nest_start(m, attr);

	return !data || nla_put(m, NFTA_DATA_VALUE, len, value) || nla_nest_end(m, data);
}

int nft_cmp(struct nl_msg *m, const void *value, int len)
{
	struct expr e;

	if (expr_start(&e, m, "cmp") ||
	    nla_put_u32(m, NFTA_CMP_SREG, htonl(NFT_REG_1)) |
	    nla_put_u32(m, NFTA_CMP_OP, htonl(NFT_CMP_EQ)) |
	    put_value(m, NFTA_CMP_DATA, value, len))
		return -1;
	return expr_end(&e, m);
}

int nft_load(struct nl_msg *m, uint32_t reg, const void *value, int len)
{
	struct expr e;

	if (expr_start(&e, m, "immediate") ||
	    nla_put_u32(m, NFTA_IMMEDIATE_DREG, htonl(reg)) |
	    put_value(m, NFTA_IMMEDIATE_DATA, value, len))
		return -1;
	return expr_end(&e, m);
}

int nft_verdict(struct nl_msg *m, uint32_t code)
{
	struct nlattr *data, *verdict;
	struct expr e;

	if (expr_start(&e, m, "immediate") ||
	    nla_put_u32(m, NFTA_IMMEDIATE_DREG, htonl(NFT_REG_VERDICT)))
		return -1;
	data = nla_nest_start(m, NFTA_IMMEDIATE_DATA);
	if (!data)
		return -1;
	verdict = nla_nest_start(m, NFTA_DATA_VERDICT);
	if (!verdict || nla_put_u32(m, NFTA_VERDICT_CODE, htonl(code)))
		return -1;
	nla_nest_end(m, verdict);
	nla_nest_end(m, data);
	return expr_end(&e, m);
}

int nft_tproxy(struct nl_msg *m, uint32_t family)
{
	struct expr e;

	if (expr_start(&e, m, "tproxy") ||
	    nla_put_u32(m, NFTA_TPROXY_FAMILY, htonl(family)) |
	    nla_put_u32(m, NFTA_TPROXY_REG_ADDR, htonl(NFT_REG_1)) |
	    nla_put_u32(m, NFTA_TPROXY_REG_PORT, htonl(NFT_REG_2)))
		return -1;
	return expr_end(&e, m);
}
