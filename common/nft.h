/* SPDX-License-Identifier: MIT */
/*
 * nft.h - Rules of nf_tables, by libnl
 *
 * A batch is one transaction: all of its messages in one datagram, and all or nothing of
 * it is done.  What goes wrong while it is built is told by nft_commit().
 *
 *	nft_begin(&b, NFPROTO_INET);
 *	nft_table(&b, "t", 0);
 *	nft_chain(&b, &chain);
 *	nft_rule(&b, &chain, exprs, arg);	calls exprs(), which puts nft_meta(), nft_cmp() ...
 *	err = nft_commit(&b, sk);
 */
#ifndef GW_NFT_H
#define GW_NFT_H

#include <stddef.h>
#include <stdint.h>

struct nl_msg;
struct nl_sock;

struct nft_batch {
	uint8_t buf[8192];
	size_t len;
	uint32_t seq;
	uint8_t family;
	int err;
};

/**
 * struct nft_chain - A chain and where it is hooked in
 * @dev:	With NFPROTO_NETDEV: the device; else NULL
 */
struct nft_chain {
	const char *table;
	const char *name;
	const char *type;
	const char *dev;
	uint32_t hook;
	int32_t priority;
};

/**
 * nft_connect() - A socket for batches; NULL: none to be had
 */
struct nl_sock *nft_connect(void);

void nft_begin(struct nft_batch *b, uint8_t family) __attribute__((nonnull));
void nft_table(struct nft_batch *b, const char *table, uint32_t flags) __attribute__((nonnull));
void nft_chain(struct nft_batch *b, const struct nft_chain *c) __attribute__((nonnull));

/**
 * nft_rule() - Append a rule
 * @exprs:	Puts its expressions by the functions below; not 0: it could not
 */
void nft_rule(struct nft_batch *b, const struct nft_chain *c,
	      int (*exprs)(struct nl_msg *m, const void *arg), const void *arg)
	__attribute__((nonnull(1, 2, 3)));

/**
 * nft_commit() - Send the batch, which has a rule, and wait for the kernel's word
 *
 * Return: 0 or -errno
 */
int nft_commit(struct nft_batch *b, struct nl_sock *sk) __attribute__((nonnull));

/* Expressions; registers are NFT_REG_1 where none is named.  All return 0, or not */
int nft_meta(struct nl_msg *m, uint32_t key) __attribute__((nonnull));
int nft_transport16(struct nl_msg *m, uint32_t offset) __attribute__((nonnull));
int nft_cmp(struct nl_msg *m, const void *value, int len) __attribute__((nonnull));
int nft_load(struct nl_msg *m, uint32_t reg, const void *value, int len) __attribute__((nonnull));
int nft_verdict(struct nl_msg *m, uint32_t code) __attribute__((nonnull));

/**
 * nft_tproxy() - To the socket of address in NFT_REG_1 and port in NFT_REG_2
 * @family:	NFPROTO_IPV4, NFPROTO_IPV6
 */
int nft_tproxy(struct nl_msg *m, uint32_t family) __attribute__((nonnull));

#endif /* GW_NFT_H */
