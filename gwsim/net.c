/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/sockios.h>
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
#include <netlink/route/link/veth.h>
#include <netlink/route/route.h>

#include "net.h"
#include "wire.h"

int net_self(void)
{
	int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int net_enter(int ns)
{
	return setns(ns, CLONE_NEWNET) ? -errno : 0;
}

/* A visit to a namespace: netlink there, and the way back */
struct visit {
	int back;
	struct nl_sock *nl;
};

static int visit_nl(struct visit *v)
{
	v->nl = nl_socket_alloc();
	return v->nl ? nl_connect(v->nl, NETLINK_ROUTE) : -NLE_NOMEM;
}

/* The errors of libnl that set-up can meet, as errno */
static int nl_errno(int err)
{
	switch (-err) {
	case 0:
		return 0;
	case NLE_PERM:
	case NLE_NOACCESS:
		return -EPERM;
	case NLE_EXIST:
		return -EEXIST;
	case NLE_NODEV:
	case NLE_OBJ_NOTFOUND:
		return -ENODEV;
	case NLE_NOMEM:
		return -ENOMEM;
	case NLE_OPNOTSUPP:
		return -EOPNOTSUPP;
	case NLE_NOADDR:
		return -EADDRNOTAVAIL;
	default:
		return -EINVAL;
	}
}

static void visit_end(struct visit *v)
{
	nl_socket_free(v->nl);
	if (v->back >= 0) {
		net_enter(v->back);
		close(v->back);
	}
}

/* 0 or -errno; visit_end() either way */
static int visit_begin(struct visit *v, int ns)
{
	int err;

	*v = (struct visit){ .back = net_self() };
	if (v->back < 0)
		return v->back;
	err = net_enter(ns);
	return err ? err : nl_errno(visit_nl(v));
}

/* Change one device of the namespace visited; libnl's errors */
static int link_change(struct visit *v, const char *dev, struct rtnl_link *change)
{
	struct rtnl_link *link = NULL;
	int err = rtnl_link_get_kernel(v->nl, 0, dev, &link);

	if (!err)
		err = rtnl_link_change(v->nl, link, change, 0);
	rtnl_link_put(link);
	return err;
}

/* A device that comes up gets IPv6 address of its own making */
static int link_set(struct visit *v, const char *dev, unsigned flags)
{
	struct rtnl_link *change = rtnl_link_alloc();
	int err;

	if (!change)
		return -NLE_NOMEM;
	rtnl_link_set_flags(change, flags);
	if (flags & IFF_UP)
		rtnl_link_inet6_set_addr_gen_mode(change, IN6_ADDR_GEN_MODE_NONE);
	err = link_change(v, dev, change);
	rtnl_link_put(change);
	return err;
}

static int set_in(int ns, const char *dev, unsigned flags)
{
	struct visit v;
	int err = visit_begin(&v, ns);

	if (!err)
		err = nl_errno(link_set(&v, dev, flags));
	visit_end(&v);
	return err;
}

int net_up(int ns, const char *dev)
{
	return set_in(ns, dev, IFF_UP);
}

int net_noarp(int ns, const char *dev)
{
	return set_in(ns, dev, IFF_NOARP);
}

int net_create(void)
{
	int back = net_self(), ns, err;

	if (back < 0)
		return back;
	ns = unshare(CLONE_NEWNET) ? -errno : net_self();
	if (ns >= 0) {
		err = net_up(ns, "lo");
		if (err) {
			close(ns);
			ns = err;
		}
	}
	net_enter(back);
	close(back);
	return ns;
}

static int veth_add(struct visit *v, const struct net_end *a, const struct net_end *b,
		    unsigned mtu)
{
	const struct net_end *ends[2] = { a, b };
	struct rtnl_link *link = rtnl_link_veth_alloc(), *side[2];
	int err;

	if (!link)
		return -NLE_NOMEM;
	side[0] = link;
	side[1] = rtnl_link_veth_get_peer(link);
	for (int i = 0; i < 2; i++) {
		struct nl_addr *mac = nl_addr_build(AF_LLC, ends[i]->mac, 6);

		rtnl_link_set_name(side[i], ends[i]->name);
		rtnl_link_set_mtu(side[i], mtu);
		if (mac)
			rtnl_link_set_addr(side[i], mac);
		nl_addr_put(mac);
	}
	rtnl_link_set_ns_fd(side[1], b->ns);
	err = rtnl_link_add(v->nl, link, NLM_F_CREATE | NLM_F_EXCL);
	rtnl_link_put(side[1]);
	rtnl_link_put(link);
	return err;
}

/* Complete checksums and no super-packets, as on a wire */
static int offloads_off(const char *dev)
{
	static const unsigned int off[] = {
		ETHTOOL_STXCSUM, ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_SGRO
	};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), err = 0;

	if (fd < 0)
		return -errno;
	for (size_t i = 0; !err && i < ARRAY_SIZE(off); i++) {
		struct ethtool_value v = { .cmd = off[i], .data = 0 };
		struct ifreq ifr = { .ifr_data = (char *)&v };

		snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", dev);
		if (ioctl(fd, SIOCETHTOOL, &ifr))
			err = -errno;
	}
	close(fd);
	return err;
}

static int veth_end(const struct net_end *e)
{
	struct visit v;
	int err = visit_begin(&v, e->ns);

	if (!err)
		err = offloads_off(e->name);
	if (!err)
		err = nl_errno(link_set(&v, e->name, IFF_UP));
	visit_end(&v);
	return err;
}

int net_veth(const struct net_end *a, const struct net_end *b, unsigned mtu)
{
	struct visit v;
	int err = visit_begin(&v, a->ns);

	if (!err)
		err = nl_errno(veth_add(&v, a, b, mtu));
	visit_end(&v);
	if (!err)
		err = veth_end(a);
	return err ? err : veth_end(b);
}

static int addr_add(struct visit *v, const char *dev, const char *prefix)
{
	struct rtnl_addr *addr = rtnl_addr_alloc();
	struct nl_addr *local = NULL;
	int err = addr ? nl_addr_parse(prefix, AF_UNSPEC, &local) : -NLE_NOMEM;

	if (!err) {
		rtnl_addr_set_ifindex(addr, (int)if_nametoindex(dev));
		err = rtnl_addr_set_local(addr, local);
	}
	if (!err && nl_addr_get_family(local) == AF_INET6)
		rtnl_addr_set_flags(addr, IFA_F_NODAD);
	if (!err)
		err = rtnl_addr_add(v->nl, addr, 0);
	nl_addr_put(local);
	rtnl_addr_put(addr);
	return err;
}

int net_addr(int ns, const char *dev, const char *prefix)
{
	struct visit v;
	int err = visit_begin(&v, ns);

	if (!err)
		err = nl_errno(addr_add(&v, dev, prefix));
	visit_end(&v);
	return err;
}

static int hop_add(struct rtnl_route *route, const char *dev, const char *via)
{
	struct rtnl_nexthop *nh = rtnl_route_nh_alloc();
	struct nl_addr *gw = NULL;
	int err = nh ? 0 : -NLE_NOMEM;

	if (!err && via)
		err = nl_addr_parse(via, AF_UNSPEC, &gw);
	if (err) {
		rtnl_route_nh_free(nh);
		return err;
	}
	rtnl_route_nh_set_ifindex(nh, (int)if_nametoindex(dev));
	if (gw)
		rtnl_route_nh_set_gateway(nh, gw);
	rtnl_route_add_nexthop(route, nh);	/* owns it now */
	nl_addr_put(gw);
	return 0;
}

static int route_add(struct visit *v, const char *dev, const char *prefix, const char *via)
{
	struct rtnl_route *route = rtnl_route_alloc();
	struct nl_addr *dst = NULL;
	int err = route ? nl_addr_parse(prefix, AF_UNSPEC, &dst) : -NLE_NOMEM;

	if (!err)
		err = rtnl_route_set_family(route, (uint8_t)nl_addr_get_family(dst));
	if (!err)
		err = rtnl_route_set_dst(route, dst);
	if (!err) {
		rtnl_route_set_scope(route, via ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK);
		err = hop_add(route, dev, via);
	}
	if (!err)
		err = rtnl_route_add(v->nl, route, 0);
	nl_addr_put(dst);
	rtnl_route_put(route);
	return err;
}

int net_route(int ns, const char *dev, const char *prefix, const char *via)
{
	struct visit v;
	int err = visit_begin(&v, ns);

	if (!err)
		err = nl_errno(route_add(&v, dev, prefix, via));
	visit_end(&v);
	return err;
}

/* Has a file of the namespace's /proc/net a line, behind its heading, that @fits? */
static bool proc_net_has(int ns, const char *file, bool (*fits)(const char *, const char *),
			 const char *arg)
{
	int back = net_self();
	char path[64], line[512];
	bool found = false;
	FILE *f = NULL;

	snprintf(path, sizeof(path), "/proc/thread-self/net/%s", file);
	if (back < 0)
		return false;
	if (!net_enter(ns))
		f = fopen(path, "re");
	if (f && fgets(line, sizeof(line), f))
		while (!found && fgets(line, sizeof(line), f))
			found = fits(line, arg);
	if (f)
		fclose(f);
	net_enter(back);
	close(back);
	return found;
}

static bool holds(const char *line, const char *word)
{
	return strstr(line, word) != NULL;
}

static bool is_running(const char *line, const char *unused)
{
	int running = 0;

	(void)unused;
	return sscanf(line, "%*s %*d %*d %*x %*d %d", &running) == 1 && running;
}

bool net_captures(int ns)
{
	return proc_net_has(ns, "packet", is_running, NULL);
}

bool net_listens(int ns, uint16_t port)
{
	char tcp4[32], tcp6[48], udp[16];

	/* Local port, any remote one, state LISTEN */
	snprintf(tcp4, sizeof(tcp4), ":%04X 00000000:0000 0A ", port);
	snprintf(tcp6, sizeof(tcp6), ":%04X %032d:0000 0A ", port, 0);
	snprintf(udp, sizeof(udp), ":%04X ", port);
	return proc_net_has(ns, "tcp", holds, tcp4) || proc_net_has(ns, "tcp6", holds, tcp6) ||
	       proc_net_has(ns, "udp", holds, udp) || proc_net_has(ns, "udp6", holds, udp);
}

bool net_raw_udp(int ns)
{
	return proc_net_has(ns, "raw", holds, ":0011 ");
}
