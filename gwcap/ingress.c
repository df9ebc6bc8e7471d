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
#include "nft.h"

#define PRIORITY	(-500)	/* before anything else that may sit at this hook */
#define UDP_DPORT	2	/* offset of the destination port */

#ifndef NFT_TABLE_F_OWNER
#define NFT_TABLE_F_OWNER 0x2
#endif

/* meta l4proto udp, th dport PORT, drop */
static int put_exprs(struct nl_msg *m, const void *arg)
{
	const uint8_t proto = IPPROTO_UDP;
	const uint16_t *port = arg;

	return nft_meta(m, NFT_META_L4PROTO) || nft_cmp(m, &proto, sizeof(proto)) ||
	       nft_transport16(m, UDP_DPORT) || nft_cmp(m, port, sizeof(*port)) ||
	       nft_verdict(m, NF_DROP);
}

static int rule_install(struct nl_sock *sk, const char *table, const char *ifname, uint16_t port)
{
	const struct nft_chain chain = {
		.table = table, .name = "ingress", .type = "filter", .dev = ifname,
		.hook = NF_NETDEV_INGRESS, .priority = PRIORITY,
	};
	uint16_t dport = htons(port);
	struct nft_batch b;

	nft_begin(&b, NFPROTO_NETDEV);
	nft_table(&b, table, NFT_TABLE_F_OWNER);
	nft_chain(&b, &chain);
	nft_rule(&b, &chain, put_exprs, &dport);
	return nft_commit(&b, sk);
}

int ingress_open(struct ingress *in, const char *ifname, uint16_t port)
{
	struct ingress n = { .lost = false };
	int err = -EPROTONOSUPPORT;

	n.owner = nft_connect();
	n.watch = nft_connect();
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
