/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/link/inet6.h>
#include <netlink/route/route.h>
#include <netlink/route/rule.h>

#include "fdmsg.h"
#include "nft.h"
#include "space.h"
#include "wire.h"

#define TABLE		100
#define RULE_PRIO	100
#define BACKLOG		4096
#define LISTEN_PORT	6081		/* any that needs no privilege: nobody else is here yet */
#define QUEUE		1000		/* packets that may wait for their reader */

#ifndef TUN_F_USO4
#define TUN_F_USO4	0x20
#define TUN_F_USO6	0x40
#endif

/* What a router's ICMP errors come from: dummies by RFC 7600 and RFC 6666 */
#define ROUTER_ADDR4	"192.0.0.8/32"
#define ROUTER_ADDR6	"100::8/128"

static int self(void)
{
	int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* libnl has errors of its own; set-up meets hardly any but these */
static int nl_errno(int err)
{
	switch (-err) {
	case 0: return 0;
	case NLE_PERM: return -EPERM;
	case NLE_NOMEM: return -ENOMEM;
	case NLE_OPNOTSUPP: return -EOPNOTSUPP;
	case NLE_EXIST: return -EEXIST;
	default: return -EINVAL;
	}
}

/* --- device, addresses, routes ------------------------------------------------ */

/* It stays until its namespace goes: the kernel takes thousands of devices of namespaces away
 * at once, but each that goes with its descriptor holds up the process for 18 ms.  It has an
 * owner, lest anybody who keeps the namespace attaches to it. */
static int tun_open(void)
{
	struct ifreq ifr = { .ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR };
	const unsigned long tso = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC), err;

	if (fd < 0)
		return -errno;
	strcpy(ifr.ifr_name, SPACE_DEVICE);
	if (!ioctl(fd, TUNSETIFF, &ifr) && !ioctl(fd, TUNSETOWNER, 0) && !ioctl(fd, TUNSETPERSIST, 1) &&
	    (!ioctl(fd, TUNSETOFFLOAD, tso | TUN_F_USO4 | TUN_F_USO6) ||
	     !ioctl(fd, TUNSETOFFLOAD, tso)))
		return fd;
	err = -errno;
	close(fd);
	return err;
}

/* No IPv6 address of its own making, and none of the messages that go with it */
static int link_up(struct nl_sock *nl, const char *dev, uint32_t mtu)
{
	struct rtnl_link *link = NULL, *change = rtnl_link_alloc();
	int err = change ? rtnl_link_get_kernel(nl, 0, dev, &link) : -NLE_NOMEM;

	if (!err) {
		rtnl_link_set_flags(change, IFF_UP);
		if (mtu) {
			rtnl_link_set_mtu(change, mtu);
			rtnl_link_set_txqlen(change, QUEUE);
			rtnl_link_inet6_set_addr_gen_mode(change, IN6_ADDR_GEN_MODE_NONE);
		}
		err = rtnl_link_change(nl, link, change, 0);
	}
	rtnl_link_put(link);
	rtnl_link_put(change);
	return err;
}

static int addr_add(struct nl_sock *nl, const char *prefix)
{
	struct rtnl_addr *addr = rtnl_addr_alloc();
	struct nl_addr *local = NULL;
	int err = addr ? nl_addr_parse(prefix, AF_UNSPEC, &local) : -NLE_NOMEM;

	if (!err) {
		rtnl_addr_set_ifindex(addr, (int)if_nametoindex(SPACE_DEVICE));
		err = rtnl_addr_set_local(addr, local);
	}
	if (!err && nl_addr_get_family(local) == AF_INET6)
		rtnl_addr_set_flags(addr, IFA_F_NODAD);
	if (!err)
		err = rtnl_addr_add(nl, addr, 0);
	nl_addr_put(local);
	rtnl_addr_put(addr);
	return err;
}

/* Everything by @dev; @local: everything is here, by a table of its own */
static int default_route(struct nl_sock *nl, int family, const char *dev, bool local)
{
	struct rtnl_route *route = rtnl_route_alloc();
	struct rtnl_nexthop *nh = rtnl_route_nh_alloc();
	struct nl_addr *dst = NULL;
	int err = route && nh ? 0 : -NLE_NOMEM;

	if (!err)
		err = nl_addr_parse(family == AF_INET ? "0.0.0.0/0" : "::/0", family, &dst);
	if (!err)
		err = rtnl_route_set_dst(route, dst);
	if (!err) {
		rtnl_route_set_family(route, (uint8_t)family);
		rtnl_route_set_scope(route, local ? RT_SCOPE_HOST : RT_SCOPE_LINK);
		rtnl_route_nh_set_ifindex(nh, (int)if_nametoindex(dev));
		rtnl_route_add_nexthop(route, nh);	/* owns it now */
		nh = NULL;
		if (local) {
			rtnl_route_set_table(route, TABLE);
			rtnl_route_set_type(route, RTN_LOCAL);
		}
		err = rtnl_route_add(nl, route, 0);
	}
	nl_addr_put(dst);
	if (nh)
		rtnl_route_nh_free(nh);
	rtnl_route_put(route);
	return err;
}

static int iif_rule(struct nl_sock *nl, int family)
{
	struct rtnl_rule *rule = rtnl_rule_alloc();
	int err = rule ? 0 : -NLE_NOMEM;

	if (!err) {
		rtnl_rule_set_family(rule, family);
		rtnl_rule_set_prio(rule, RULE_PRIO);
		rtnl_rule_set_table(rule, TABLE);
		rtnl_rule_set_action(rule, 1);		/* FR_ACT_TO_TBL */
		err = rtnl_rule_set_iif(rule, SPACE_DEVICE);
	}
	if (!err)
		err = rtnl_rule_add(nl, rule, NLM_F_EXCL);
	rtnl_rule_put(rule);
	return err;
}

static int routes(struct nl_sock *nl, bool router)
{
	static const int families[] = { AF_INET, AF_INET6 };
	int err = 0;

	for (size_t i = 0; !err && i < ARRAY_SIZE(families); i++) {
		err = default_route(nl, families[i], SPACE_DEVICE, false);
		if (!err && !router)
			err = default_route(nl, families[i], "lo", true);
		if (!err && !router)
			err = iif_rule(nl, families[i]);
	}
	if (!err && router)
		err = addr_add(nl, ROUTER_ADDR4);
	return !err && router ? addr_add(nl, ROUTER_ADDR6) : err;
}

static int net_up(const struct space_conf *c)
{
	struct nl_sock *nl = nl_socket_alloc();
	int err = nl ? nl_connect(nl, NETLINK_ROUTE) : -NLE_NOMEM;

	if (!err)
		err = link_up(nl, "lo", 0);
	if (!err)
		err = link_up(nl, SPACE_DEVICE, c->mtu);
	if (!err)
		err = routes(nl, c->kind == SPACE_ROUTER);
	nl_socket_free(nl);
	return nl_errno(err);
}

static int sysctl(const char *name, const char *value)
{
	char path[128];
	int fd, err = 0;

	snprintf(path, sizeof(path), "/proc/sys/net/%s", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, value, strlen(value)) < 0)
		err = -errno;
	close(fd);
	return err;
}

/*
 * Replies come by the TUN that the main table names, so a strict filter does no harm; it is
 * off for what a router's rules may do.  A client may use a port again at once.
 */
static int tune(bool router)
{
	int err;

	sysctl("ipv4/conf/all/rp_filter", "0");
	sysctl("ipv4/conf/" SPACE_DEVICE "/rp_filter", "0");
	sysctl("ipv4/tcp_tw_reuse", "1");
	sysctl("ipv4/ip_unprivileged_port_start", "0");	/* clients' ports, which a proxy binds */
	if (!router)
		return 0;
	sysctl("ipv4/conf/all/send_redirects", "0");
	sysctl("ipv4/conf/" SPACE_DEVICE "/send_redirects", "0");
	err = sysctl("ipv4/ip_forward", "1");
	return err ? err : sysctl("ipv6/conf/all/forwarding", "1");
}

/* --- TPROXY ------------------------------------------------------------------- */

/**
 * struct target - Where TCP of one family goes
 * @addr:	Loopback, as it goes into a register
 */
struct target {
	uint8_t family;
	uint8_t addr_len;
	uint8_t addr[16];
	uint16_t port;		/* network byte order */
};

/* meta nfproto FAMILY meta l4proto tcp tproxy to ADDR:PORT accept */
static int put_tproxy(struct nl_msg *m, const void *arg)
{
	const struct target *t = arg;
	const uint8_t tcp = IPPROTO_TCP;

	return nft_meta(m, NFT_META_NFPROTO) || nft_cmp(m, &t->family, 1) ||
	       nft_meta(m, NFT_META_L4PROTO) || nft_cmp(m, &tcp, 1) ||
	       nft_load(m, NFT_REG_1, t->addr, t->addr_len) ||
	       nft_load(m, NFT_REG_2, &t->port, sizeof(t->port)) ||
	       nft_tproxy(m, t->family) || nft_verdict(m, NF_ACCEPT);
}

static int tproxy(uint16_t port)
{
	const struct target t4 = { NFPROTO_IPV4, 4, { 127, 0, 0, 1 }, htons(port) };
	const struct target t6 = { NFPROTO_IPV6, 16, { [15] = 1 }, htons(port) };
	const struct nft_chain chain = {
		.table = "gwtun", .name = "tproxy", .type = "filter",
		.hook = NF_INET_PRE_ROUTING, .priority = -150,
	};
	struct nl_sock *sk = nft_connect();
	struct nft_batch b;
	int err;

	if (!sk)
		return -EPROTONOSUPPORT;
	nft_begin(&b, NFPROTO_INET);
	nft_table(&b, chain.table, 0);
	nft_chain(&b, &chain);
	nft_rule(&b, &chain, put_tproxy, &t4);
	nft_rule(&b, &chain, put_tproxy, &t6);
	err = nft_commit(&b, sk);
	nl_socket_free(sk);
	return err;
}

static int socket_new(int family)
{
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1, err;
	bool v4 = family == AF_INET;

	if (fd < 0)
		return -errno;
	if (!setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) &&
	    !setsockopt(fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_TRANSPARENT : IPV6_TRANSPARENT,
			&one, sizeof(one)))
		return fd;
	err = -errno;
	close(fd);
	return err;
}

/* Bound to a port by its number: else it would have another one after space_reset() */
static int listener_new(int family)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} a = { .any.sa_family = (sa_family_t)family };
	socklen_t len = family == AF_INET ? sizeof(a.v4) : sizeof(a.v6);
	int fd = socket_new(family), err;

	if (fd < 0)
		return fd;
	a.v4.sin_port = htons(LISTEN_PORT);	/* the same place in both */
	if (family == AF_INET)
		a.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		a.v6.sin6_addr = in6addr_loopback;
	if (!bind(fd, &a.any, len) && !listen(fd, BACKLOG))
		return fd;
	err = -errno;
	close(fd);
	return err;
}

static int listeners(struct space *s)
{
	s->listener[0] = listener_new(AF_INET);
	if (s->listener[0] < 0)
		return s->listener[0];
	s->listener[1] = listener_new(AF_INET6);
	return s->listener[1] < 0 ? s->listener[1] : tproxy(LISTEN_PORT);
}

/* --- the whole ---------------------------------------------------------------- */

static int set_up(struct space *s, const struct space_conf *c, const char **what)
{
	int err;

	*what = "a network namespace";
	s->ns = unshare(CLONE_NEWNET) ? -errno : self();
	if (s->ns < 0)
		return s->ns;
	*what = "/dev/net/tun";
	s->tun = tun_open();
	if (s->tun < 0)
		return s->tun;
	*what = "addresses, routes and rules";
	err = net_up(c);
	if (err)
		return err;
	*what = "/proc/sys: forwarding";
	err = tune(c->kind == SPACE_ROUTER);
	if (err)
		return err;
	*what = "TPROXY";
	if (c->kind == SPACE_PROXY)
		return listeners(s);
	return c->kind == SPACE_FOREIGN ? tproxy(c->port) : 0;
}

int space_open(struct space *s, const struct space_conf *c, const char **what)
{
	struct space n = { -1, -1, { -1, -1 } };
	int home = self(), err;

	*what = "/proc/thread-self/ns/net";
	if (home < 0)
		return home;
	err = set_up(&n, c, what);
	if (setns(home, CLONE_NEWNET) && !err)
		err = -errno;
	close(home);
	if (err)
		space_close(&n);
	else
		*s = n;
	return err;
}

static void shut(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void space_close(struct space *s)
{
	shut(&s->listener[0]);
	shut(&s->listener[1]);
	shut(&s->tun);
	shut(&s->ns);
}

/* It stays bound to its port, whoever else has a descriptor of it */
void space_reset(struct space *s)
{
	for (int i = 0; i < 2; i++)
		if (s->listener[i] >= 0 && (shutdown(s->listener[i], SHUT_RD) ||
					    listen(s->listener[i], BACKLOG)))
			shut(&s->listener[i]);
}

int space_sockets(const struct space *s, int family, int *fds, unsigned n)
{
	int home = self(), err = 0;
	unsigned k = 0;

	if (home < 0)
		return home;
	if (setns(s->ns, CLONE_NEWNET)) {
		err = -errno;
		n = 0;
	}
	for (; k < n; k++) {
		fds[k] = socket_new(family);
		if (fds[k] < 0) {
			err = fds[k];
			break;
		}
	}
	if (setns(home, CLONE_NEWNET)) {
		err = -errno;
		fds_close(fds, k);
		k = 0;
	}
	close(home);
	return k ? (int)k : err;
}
