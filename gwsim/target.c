/* SPDX-License-Identifier: MIT */
/*
 * target.c - The one appliance that is tested or loaded, wherever it is
 */
#include "target.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cell.h"
#include "geneve.h"
#include "log.h"
#include "wire.h"

#define ARP_TRIES	20
#define ARP_PAUSE_MS	100
#define STOP_GRACE_MS	2000

static void pause_ms(unsigned ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

	nanosleep(&ts, NULL);
}

int target_run(struct target *t, const char *cmd, unsigned wait_ms)
{
	int err;

	memset(t, 0, sizeof(*t));
	t->own = true;
	t->signals = cell_signals();
	err = site_open(&t->site, 1);
	if (err) {
		log_error("cannot set up the appliance's namespace: %s", strerror(-err));
		return err;
	}
	t->port = &t->site.port;
	t->mtu = SITE_MTU;
	memcpy(t->mac, t->site.mac, 6);
	memcpy(t->lb_mac, t->site.lb_mac, 6);
	t->addr = ntohl(t->site.addr.s_addr);
	t->lb_addr = ntohl(t->site.lb_addr.s_addr);
	setenv("GWSIM_APPLIANCE", "1", 1);
	err = site_start(&t->site, cmd);
	if (err) {
		log_error("cannot start the appliance: %s", strerror(-err));
		return err;
	}
	for (unsigned ms = 0; ms < wait_ms && !site_listens(&t->site) && !target_gone(t) &&
	     !target_stopped(t); ms += 10)
		pause_ms(10);
	return 0;
}

/* The neighbour's address: the kernel asks for it when a datagram is sent */
static int arp_lookup(int fd, const char *iface, struct in_addr addr, uint8_t *mac)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons(9), .sin_addr = addr };
	struct arpreq req = { 0 };

	memcpy(&req.arp_pa, &sin, sizeof(sin));
	memcpy(req.arp_dev, iface, strlen(iface));
	for (int i = 0; i < ARP_TRIES; i++) {
		(void)sendto(fd, "", 0, 0, (struct sockaddr *)&sin, sizeof(sin));
		if (!ioctl(fd, SIOCGARP, &req) && (req.arp_flags & ATF_COM)) {
			memcpy(mac, req.arp_ha.sa_data, 6);
			return 0;
		}
		pause_ms(ARP_PAUSE_MS);
	}
	return -EHOSTUNREACH;
}

static int iface_query(struct target *t, int fd, const char *iface)
{
	struct ifreq ifr = { 0 };
	struct sockaddr_in sin;

	memcpy(ifr.ifr_name, iface, strlen(iface));
	if (ioctl(fd, SIOCGIFMTU, &ifr) < 0)
		return -errno;
	t->mtu = MIN((unsigned)ifr.ifr_mtu, SITE_MTU);
	if (ioctl(fd, SIOCGIFHWADDR, &ifr) < 0)
		return -errno;
	memcpy(t->lb_mac, ifr.ifr_hwaddr.sa_data, 6);
	if (ioctl(fd, SIOCGIFADDR, &ifr) < 0)
		return -errno;
	memcpy(&sin, &ifr.ifr_addr, sizeof(sin));
	t->lb_addr = ntohl(sin.sin_addr.s_addr);
	return 0;
}

static int reach(struct target *t, int fd, struct in_addr addr, const char *iface)
{
	int err = iface_query(t, fd, iface);

	if (err) {
		log_error("%s: no interface with an IPv4 address: %s", iface, strerror(-err));
		return err;
	}
	t->addr = ntohl(addr.s_addr);
	err = arp_lookup(fd, iface, addr, t->mac);
	if (err) {
		log_error("nobody on %s answers for the appliance's address", iface);
		return err;
	}
	err = port_open(&t->remote, iface);
	if (err) {
		log_error("%s: cannot open: %s", iface, strerror(-err));
		return err;
	}
	t->port = &t->remote;
	return 0;
}

int target_reach(struct target *t, const char *addr, const char *iface)
{
	struct in_addr a;
	int fd, err;

	memset(t, 0, sizeof(*t));
	t->signals = -1;
	if (inet_pton(AF_INET, addr, &a) != 1 || strlen(iface) >= IFNAMSIZ) {
		log_error("'%s' on '%s': not an IPv4 address and an interface", addr, iface);
		return -EINVAL;
	}
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	err = reach(t, fd, a, iface);
	close(fd);
	return err;
}

void target_close(struct target *t)
{
	if (t->own) {
		cell_stop(&t->site.pid, 1, STOP_GRACE_MS);
		site_close(&t->site);
		if (t->signals >= 0)
			close(t->signals);
	} else if (t->port) {
		port_close(t->port);
	}
	t->port = NULL;
}

void target_outer(const struct target *t, struct craft_outer *o)
{
	memset(o, 0, sizeof(*o));
	memcpy(o->src_mac, t->lb_mac, 6);
	memcpy(o->dst_mac, t->mac, 6);
	o->src = t->lb_addr;
	o->dst = t->addr;
	o->dport = GENEVE_PORT;
	o->df = true;
}

bool target_stopped(struct target *t)
{
	struct signalfd_siginfo si;

	while (t->signals >= 0 && read(t->signals, &si, sizeof(si)) == sizeof(si))
		t->stopped |= si.ssi_signo != SIGCHLD && si.ssi_signo != SIGUSR1;
	return t->stopped;
}

/* One that ended well may have left a daemon behind, in its process group */
bool target_gone(struct target *t)
{
	int status;

	if (t->own && !t->ended && waitpid(t->site.pid, &status, WNOHANG) == t->site.pid) {
		t->ended = true;
		t->failed = !WIFEXITED(status) || WEXITSTATUS(status);
	}
	return t->failed;
}
