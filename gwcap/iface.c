/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/rtnetlink.h>
#include <netlink/errno.h>
#include <netlink/netlink.h>
#include <netlink/route/link.h>
#include <netlink/socket.h>

#include "iface.h"
#include "log.h"

int iface_look(struct nl_sock *sk, const char *name, struct iface *out)
{
	struct rtnl_link *link;
	int err = rtnl_link_get_kernel(sk, 0, name, &link);

	if (err)
		return err == -NLE_NODEV || err == -NLE_OBJ_NOTFOUND ? -ENODEV : -EIO;
	*out = (struct iface){
		.ifindex = rtnl_link_get_ifindex(link),
		.arptype = rtnl_link_get_arptype(link),
		.mtu = rtnl_link_get_mtu(link),
		.up = rtnl_link_get_flags(link) & IFF_UP,
		.lost = rtnl_link_get_stat(link, RTNL_LINK_RX_DROPPED) +
			rtnl_link_get_stat(link, RTNL_LINK_RX_MISSED_ERR) +
			rtnl_link_get_stat(link, RTNL_LINK_RX_OVER_ERR),
	};
	rtnl_link_put(link);
	return 0;
}

struct nl_sock *iface_watch(void)
{
	struct nl_sock *sk = nl_socket_alloc();

	if (sk && !nl_connect(sk, NETLINK_ROUTE) && !nl_socket_add_membership(sk, RTNLGRP_LINK))
		return sk;
	nl_socket_free(sk);
	return NULL;
}

bool iface_stirred(struct nl_sock *watch)
{
	bool stirred = false;
	char byte;

	/* An error tells that messages were lost, and is gone when it was told */
	while (recv(nl_socket_get_fd(watch), &byte, sizeof(byte), MSG_DONTWAIT) >= 0 ||
	       errno == ENOBUFS)
		stirred = true;
	return stirred;
}

void iface_check_mtu(const char *name, unsigned mtu)
{
	if (mtu < IFACE_MTU_MIN)
		log_warn("%s: its MTU of %u is less than the %u a load balancer needs: large packets "
			 "will not arrive; run: ip link set dev %s mtu 9001",
			 name, mtu, IFACE_MTU_MIN, name);
}

/* One of /proc/net/udp, /proc/net/udp6: "  sl: ADDRESS:PORT ...", hexadecimal */
static bool has_port(const char *path, unsigned port)
{
	FILE *f = fopen(path, "re");
	char line[256];
	bool found = false;
	unsigned p;

	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f))
		found = sscanf(line, " %*u: %*[0-9A-F]:%4x", &p) == 1 && p == port;
	fclose(f);
	return found;
}

bool iface_check_port(uint16_t port)
{
	if (!has_port("/proc/net/udp", port) && !has_port("/proc/net/udp6", port))
		return false;
	log_warn("UDP port %u is in use: a program or a tunnel of the kernel's claims the packets "
		 "that the chain takes; see: ss -ulnp sport = %u", port, port);
	return true;
}
