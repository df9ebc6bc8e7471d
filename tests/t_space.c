/* SPDX-License-Identifier: MIT */
/*
 * Namespaces of gwtun: what is in them, and that nothing of them is left.  As root and as an
 * ordinary user in a user namespace of its own.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../gwtun/segment.h"
#include "../gwtun/space.h"
#include "csum.h"
#include "tap.h"
#include "userns.h"
#include "wire.h"

#define MANY	50

static const uint8_t client4[4] = { 10, 1, 2, 3 }, server4[4] = { 10, 9, 8, 7 };
static const uint8_t client6[16] = { 0xfd, [15] = 1 }, server6[16] = { 0xfd, 1, [15] = 2 };

/* A SYN with a virtio header in front; its length */
static size_t syn(uint8_t *out, bool v4, uint16_t sport, uint16_t dport)
{
	uint8_t *ip = out + sizeof(struct virtio_net_hdr), *tcp = ip + (v4 ? 20 : 40);
	size_t len = (size_t)(tcp - ip) + 20;
	struct packet p;

	memset(out, 0, sizeof(struct virtio_net_hdr) + len);
	if (v4) {
		memcpy(ip, (const uint8_t[12]){ 0x45, [3] = 40, [8] = 64, [9] = 6 }, 12);
		memcpy(ip + 12, client4, 4);
		memcpy(ip + 16, server4, 4);
		csum_ipv4(ip);
	} else {
		memcpy(ip, (const uint8_t[8]){ 0x60, [5] = 20, [6] = 6, [7] = 64 }, 8);
		memcpy(ip + 8, client6, 16);
		memcpy(ip + 24, server6, 16);
	}
	put16(tcp, sport);
	put16(tcp + 2, dport);
	put32(tcp + 4, 1000);
	tcp[12] = 5 << 4;
	tcp[13] = 2;
	put16(tcp + 14, 8192);
	if (!packet_parse(&p, ip, len, LINKTYPE_RAW))
		csum_l4_write(&p, ip);
	return sizeof(struct virtio_net_hdr) + len;
}

/* Next packet of a TUN, behind its virtio header; 0: none came */
static size_t any(int fd, uint8_t *pkt, size_t room)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct virtio_net_hdr h;
	ssize_t n;

	if (poll(&p, 1, 2000) != 1)
		return 0;
	n = read(fd, pkt, room);
	if (n <= (ssize_t)sizeof(h))
		return 0;
	memmove(pkt, pkt + sizeof(h), (size_t)n - sizeof(h));
	return (size_t)n - sizeof(h);
}

/* Next one of TCP: the kernel also tells routers of its groups */
static size_t next(int fd, uint8_t *pkt, size_t room)
{
	struct packet p;
	size_t n;

	do
		n = any(fd, pkt, room);
	while (n && (packet_parse(&p, pkt, n, LINKTYPE_RAW) || p.proto != 6));
	return n;
}

/* What the kernel answers a SYN with: TCP flags, -1: nothing of it */
static int answer(int fd, bool v4, uint16_t port)
{
	uint8_t pkt[2048];
	size_t n = next(fd, pkt, sizeof(pkt));
	struct packet p;

	if (!n || packet_parse(&p, pkt, n, LINKTYPE_RAW) || p.proto != 6 || !(p.flags & PKT_L4) ||
	    be16(pkt + p.l4 + 2) != port ||
	    memcmp(packet_dst(&p, pkt), v4 ? client4 : client6, packet_addr_len(&p)) ||
	    memcmp(packet_src(&p, pkt), v4 ? server4 : server6, packet_addr_len(&p)))
		return -1;
	return pkt[p.l4 + 13];
}

static void listeners(const struct space *s, const char *who)
{
	uint8_t pkt[256];

	for (int v4 = 1; v4 >= 0; v4--) {
		size_t n = syn(pkt, v4, 4000, 443);

		OK(write(s->tun, pkt, n) == (ssize_t)n && answer(s->tun, v4, 4000) == 0x12,
		   "%s: IPv%d: a SYN to any address and port is accepted for it", who, v4 ? 4 : 6);
	}
}

static void upstream(const struct space *s, const char *who)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(4000) };
	struct sockaddr_in b = { .sin_family = AF_INET, .sin_port = htons(443) };
	int fds[2], n = space_sockets(s, AF_INET, fds, 2);
	uint8_t pkt[2048];
	struct packet p;
	size_t len;

	OK(n == 2, "%s: two upstream sockets", who);
	if (n != 2)
		return;
	memcpy(&a.sin_addr, client4, 4);
	memcpy(&b.sin_addr, server4, 4);
	OK(!bind(fds[0], (struct sockaddr *)&a, sizeof(a)), "%s: bound to the client's address", who);
	OK(connect(fds[0], (struct sockaddr *)&b, sizeof(b)) && errno == EINPROGRESS,
	   "%s: connecting", who);
	while ((len = next(s->tun, pkt, sizeof(pkt))))
		if (!packet_parse(&p, pkt, len, LINKTYPE_RAW) &&
		    !memcmp(packet_src(&p, pkt), client4, 4))
			break;
	OK(len && pkt[p.l4 + 13] == 2, "%s: its SYN comes from the client's address", who);
	close(fds[0]);
	close(fds[1]);
}

static void proxy(const char *who)
{
	struct space_conf c = { .kind = SPACE_PROXY, .mtu = 8500 };
	const char *what = "";
	struct space s;
	int err = space_open(&s, &c, &what);
	uint8_t pkt[256];
	size_t n;

	OK(!err, "%s: a namespace for a proxy (%s: %s)", who, what, strerror(-err));
	if (err)
		return;
	listeners(&s, who);
	upstream(&s, who);
	space_reset(&s);
	OK(s.listener[0] >= 0 && s.listener[1] >= 0, "%s: listeners outlive a proxy", who);
	while (next(s.tun, pkt, sizeof(pkt)) && pkt[33] != 4)
		;
	n = syn(pkt, true, 4001, 443);
	OK(write(s.tun, pkt, n) == (ssize_t)n && answer(s.tun, true, 4001) == 0x12,
	   "%s: ... and take connections again", who);
	space_close(&s);
}

static void router(const char *who)
{
	struct space_conf c = { .kind = SPACE_ROUTER, .mtu = 8500 };
	const char *what = "";
	struct space s;
	int err = space_open(&s, &c, &what);
	uint8_t pkt[256], got[2048];
	size_t n;

	OK(!err, "%s: a namespace as a router (%s: %s)", who, what, strerror(-err));
	if (err)
		return;
	for (int v4 = 1; v4 >= 0; v4--) {
		n = syn(pkt, v4, 4000, 443);
		OK(write(s.tun, pkt, n) == (ssize_t)n &&
		   next(s.tun, got, sizeof(got)) == n - sizeof(struct virtio_net_hdr) &&
		   got[v4 ? 8 : 7] == 63, "%s: IPv%d: forwarded, TTL one less", who, v4 ? 4 : 6);
	}
	space_close(&s);
}

static int count_fds(void)
{
	int n = 0;

	for (int i = 0; i < 1024; i++)
		n += fcntl(i, F_GETFD) >= 0;
	return n;
}

static void many(const char *who)
{
	struct space_conf c = { .kind = SPACE_PROXY, .mtu = 8500 };
	static struct space s[MANY];
	int before = count_fds(), made = 0;
	const char *what;

	for (int i = 0; i < MANY; i++)
		made += !space_open(&s[made], &c, &what);
	OK(made == MANY, "%s: %d namespaces", who, made);
	for (int i = 0; i < made; i++)
		space_close(&s[i]);
	OK(count_fds() == before, "%s: no descriptor is left", who);
}

/* Flags of the TUN in a namespace; -1: there is none */
static int device(int ns)
{
	struct ifreq ifr = { .ifr_name = SPACE_DEVICE };
	int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), fd, flags = -1;

	if (own < 0 || setns(ns, CLONE_NEWNET))
		abort();
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && !ioctl(fd, SIOCGIFFLAGS, &ifr))
		flags = (uint16_t)ifr.ifr_flags;
	if (setns(own, CLONE_NEWNET))
		abort();
	close(fd);
	close(own);
	return flags;
}

static void kept(const char *who)
{
	struct space_conf c = { .kind = SPACE_ROUTER, .mtu = 8500 };
	const char *what;
	struct space s;
	int ns, flags;

	if (space_open(&s, &c, &what))
		return;		/* told before */
	ns = fcntl(s.ns, F_DUPFD_CLOEXEC, 0);
	OK(device(ns) & IFF_RUNNING, "%s: the TUN runs", who);
	space_close(&s);
	/* Flags follow the carrier a moment later */
	for (int i = 0; (flags = device(ns)) > 0 && flags & IFF_RUNNING && i < 200; i++)
		poll(NULL, 0, 10);
	OK(flags >= 0 && !(flags & IFF_RUNNING), "%s: it stays where somebody keeps the namespace",
	   who);
	close(ns);
}

static void all(const char *who)
{
	proxy(who);
	router(who);
	kept(who);
	many(who);
}

/* Where the machine gives its TUN to root only, a mount namespace has one of its own */
static bool public_tun(void)
{
	return !unshare(CLONE_NEWNS) && !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
	       !mount("tmpfs", "/mnt", "tmpfs", 0, "mode=0755") &&
	       !mknod("/mnt/tun", S_IFCHR | 0666, makedev(10, 200)) && !chmod("/mnt/tun", 0666) &&
	       !mount("/mnt/tun", "/dev/net/tun", NULL, MS_BIND, NULL);
}

/* In a chroot the kernel makes no user namespace, elsewhere it may be told not to */
static void user(void)
{
	int err = userns_become_root(CLONE_NEWNET);
	bool none = err == -EPERM || err == -ENOSPC;

	OK(!err || none, "an ordinary user's namespace%s%s",
	   none ? " # SKIP user namespaces: " : "", none ? strerror(-err) : "");
	if (!err)
		all("user");
}

int main(void)
{
	int status;
	pid_t pid;

	if (geteuid()) {
		user();
		return tap_done();
	}
	fflush(stdout);
	pid = fork();
	if (!pid) {
		bool ready = public_tun() && !setresgid(65534, 65534, 65534) &&
			     !setresuid(65534, 65534, 65534) &&
			     !prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);

		setvbuf(stdout, NULL, _IONBF, 0);
		OK(ready, "an ordinary user");
		user();
		_exit(tap_bad ? 0 : tap_n);	/* where the numbers go on */
	}
	waitpid(pid, &status, 0);
	tap_n = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
	OK(tap_n, "all of it as an ordinary user");
	OK(!unshare(CLONE_NEWNET), "as root");
	all("root");
	return tap_done();
}
