/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <netlink/route/addr.h>

#include "packet.h"
#include "peer.h"

static int add(struct peers *p, int family, uint8_t *addr, unsigned len)
{
	unsigned bits = family == AF_INET ? 32 : 128;
	char text[INET6_ADDRSTRLEN];

	if (p->n == PEERS_MAX)
		return -ENOSPC;
	for (unsigned i = len; i < bits; i++)
		addr[i / 8] &= (uint8_t)~(0x80u >> i % 8);
	inet_ntop(family, addr, text, sizeof(text));
	snprintf(p->prefix[p->n++], sizeof(p->prefix[0]), "%s/%u", text, len);
	return 0;
}

int peers_add(struct peers *p, const char *arg)
{
	int family = strchr(arg, ':') ? AF_INET6 : AF_INET;
	unsigned long len = family == AF_INET ? 32 : 128, max = len;
	char text[INET6_ADDRSTRLEN], *end = NULL;
	const char *slash = strchrnul(arg, '/');
	uint8_t addr[16];

	if ((size_t)(slash - arg) >= sizeof(text))
		return -EINVAL;
	memcpy(text, arg, (size_t)(slash - arg));
	text[slash - arg] = '\0';
	if (*slash && slash[1] >= '0' && slash[1] <= '9')
		len = strtoul(slash + 1, &end, 10);
	if ((*slash && (!end || *end)) || len > max || inet_pton(family, text, addr) != 1)
		return -EINVAL;
	return add(p, family, addr, (unsigned)len);
}

/* A point-to-point link's prefix is that of its other end. */
static int add_own(struct peers *p, struct rtnl_addr *a)
{
	struct nl_addr *na = rtnl_addr_get_peer(a);
	uint8_t addr[4];

	if (!na)
		na = rtnl_addr_get_local(a);
	if (!na || nl_addr_get_len(na) != sizeof(addr))
		return 0;
	memcpy(addr, nl_addr_get_binary_addr(na), sizeof(addr));
	return add(p, AF_INET, addr, nl_addr_get_prefixlen(na));
}

int peers_add_own(struct peers *p, struct nl_sock *sk, int ifindex)
{
	struct nl_cache *cache;
	unsigned before = p->n;
	int err = 0;

	if (rtnl_addr_alloc_cache(sk, &cache))
		return -EIO;
	for (struct nl_object *o = nl_cache_get_first(cache); o && !err; o = nl_cache_get_next(o)) {
		struct rtnl_addr *a = (struct rtnl_addr *)o;

		if (rtnl_addr_get_ifindex(a) == ifindex && rtnl_addr_get_family(a) == AF_INET)
			err = add_own(p, a);
	}
	nl_cache_free(cache);
	return err ? err : (int)(p->n - before);
}

static void put_core(FILE *f, const struct peers *p)
{
	if (!p->n) {
		fprintf(f, "udp dst port %u", GENEVE_PORT);
		return;
	}
	fprintf(f, "(udp dst port %u or (udp and ip[6:2] & 0x1fff != 0)) and (", GENEVE_PORT);
	for (unsigned i = 0; i < p->n; i++)
		fprintf(f, "%ssrc net %s", i ? " or " : "", p->prefix[i]);
	fputc(')', f);
}

char *peers_filter(const struct peers *p, bool vlan)
{
	size_t size;
	char *text = NULL;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	fputc('(', f);
	put_core(f, p);
	/* Each "vlan" moves the offsets of all that follows by a tag. */
	for (int tags = 0; vlan && tags < 2; tags++) {
		fprintf(f, ") or (vlan and ");
		put_core(f, p);
	}
	fputc(')', f);
	if (fclose(f)) {
		free(text);
		return NULL;
	}
	return text;
}
