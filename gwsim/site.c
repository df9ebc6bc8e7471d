/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cell.h"
#include "net.h"
#include "packet.h"
#include "site.h"

static int cable(struct site *s, int lb_ns)
{
	struct net_end lb = { .ns = lb_ns, .name = s->dev };
	struct net_end appliance = { .ns = s->ns, .name = "eth0" };
	char lb_ip[INET_ADDRSTRLEN], ip[INET_ADDRSTRLEN], prefix[INET_ADDRSTRLEN + 4];
	int err;

	memcpy(lb.mac, s->lb_mac, sizeof(lb.mac));
	memcpy(appliance.mac, s->mac, sizeof(appliance.mac));
	inet_ntop(AF_INET, &s->lb_addr, lb_ip, sizeof(lb_ip));
	inet_ntop(AF_INET, &s->addr, ip, sizeof(ip));
	err = net_veth(&lb, &appliance, SITE_MTU);
	snprintf(prefix, sizeof(prefix), "%s/24", lb_ip);
	if (!err)
		err = net_addr(lb_ns, s->dev, prefix);
	snprintf(prefix, sizeof(prefix), "%s/24", ip);
	return err ? err : net_addr(s->ns, "eth0", prefix);
}

int site_open(struct site *s, unsigned n)
{
	int lb_ns = net_self(), err;

	*s = (struct site){
		.ns = net_create(),
		.mac = { 0x02, 0, 0, 99, (uint8_t)n, 2 },
		.lb_mac = { 0x02, 0, 0, 99, (uint8_t)n, 1 },
		.addr.s_addr = htonl(10u << 24 | 99u << 16 | n << 8 | 2),
		.lb_addr.s_addr = htonl(10u << 24 | 99u << 16 | n << 8 | 1),
		.port.fd = -1,
	};
	snprintf(s->dev, sizeof(s->dev), "app%u", n);
	err = lb_ns < 0 ? lb_ns : s->ns < 0 ? s->ns : cable(s, lb_ns);
	if (lb_ns >= 0)
		close(lb_ns);
	return err ? err : port_open(&s->port, s->dev);
}

int site_start(struct site *s, const char *cmd)
{
	pid_t pid = cell_sh(s->ns, cmd);

	if (pid < 0)
		return pid;
	s->pid = pid;
	return 0;
}

bool site_listens(const struct site *s)
{
	return net_captures(s->ns) || net_raw_udp(s->ns) || net_listens(s->ns, GENEVE_PORT);
}

void site_close(struct site *s)
{
	port_close(&s->port);
	if (s->ns >= 0)
		close(s->ns);
	s->ns = -1;
}
