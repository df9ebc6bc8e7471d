/* SPDX-License-Identifier: MIT */
/*
 * The ingress drop rule, on a veth pair in a network namespace of its own: taps
 * still see a packet, sockets no more, and the rule dies with its process.
 */
#include <arpa/inet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/if_ether.h>
#include <linux/if_packet.h>

#include "../gwcap/ingress.h"
#include "tap.h"
#include "wire.h"

#define PORT	6081
#define WAIT_MS	2000

static int sh(const char *cmd)
{
	return system(cmd);
}

static int tables(void)
{
	FILE *p = popen("nft list tables netdev | grep -c gwcap-", "r");
	int n = -1;

	if (!p || fscanf(p, "%d", &n) != 1)
		n = -1;
	if (p)
		pclose(p);
	return n;
}

static bool tables_become(int n)
{
	for (int i = 0; i < WAIT_MS / 20; i++) {
		if (tables() == n)
			return true;
		usleep(20000);
	}
	return false;
}

/* All protocols: a socket for ETH_P_IP alone sits behind the ingress hook. */
static int packet_socket(const char *ifname)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL),
				  .sll_ifindex = (int)if_nametoindex(ifname) };
	int fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));

	return fd >= 0 && !bind(fd, (struct sockaddr *)&to, sizeof(to)) ? fd : -1;
}

static int udp_socket(uint16_t port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	return fd >= 0 && !bind(fd, (struct sockaddr *)&to, sizeof(to)) ? fd : -1;
}

/* Ethernet, IPv4 10.71.0.2 > 10.71.0.1, UDP to @port without checksum, 8 bytes */
static void send_to_port(int tap, uint16_t port)
{
	uint8_t f[ETH_HLEN + 36] = { 0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2, 0x08, 0x00,
		0x45, 0, 0, 36, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 71, 0, 2, 10, 71, 0, 1,
		0x12, 0x34, 0, 0, 0, 16 };
	uint32_t sum = 0;

	for (int i = 0; i < 20; i += 2)
		sum += be16(f + ETH_HLEN + i);
	sum = (sum & 0xffff) + (sum >> 16);
	put16(f + ETH_HLEN + 10, (uint16_t)~sum);
	put16(f + ETH_HLEN + 22, port);
	if (send(tap, f, sizeof(f), 0) < 0)
		perror("# send");
}

static bool arrives(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint8_t buf[256];

	return poll(&p, 1, ms) == 1 && recv(fd, buf, sizeof(buf), MSG_DONTWAIT) > 0;
}

static void test_drop(int from, int tap)
{
	int geneve = udp_socket(PORT), other = udp_socket(PORT + 1);
	struct ingress in;
	int err;

	send_to_port(from, PORT);
	OK(arrives(tap, WAIT_MS) && arrives(geneve, WAIT_MS), "without a rule a socket gets it");
	err = ingress_open(&in, "w0", PORT);
	OK(!err, "rule: %s", strerror(-err));
	if (err)
		return;
	send_to_port(from, PORT);
	OK(arrives(tap, WAIT_MS), "a tap sees the packet before the rule drops it");
	send_to_port(from, PORT + 1);
	OK(arrives(other, WAIT_MS), "another port is left alone");
	OK(!arrives(geneve, 0), "the socket on the port got nothing");
	ingress_follow(&in);
	OK(!in.lost, "the rule is still there");
	ingress_close(&in);
	OK(tables_become(0), "closed: no table is left");
	while (arrives(tap, 0))
		;
	send_to_port(from, PORT);
	OK(arrives(geneve, WAIT_MS), "closed: the socket gets packets again");
	close(geneve);
	close(other);
}

static void test_death(void)
{
	struct ingress in;
	int ready[2], err;
	pid_t pid;
	char c;

	if (pipe(ready))
		return;
	pid = fork();
	if (!pid) {
		err = ingress_open(&in, "w0", PORT);
		c = (char)!err;
		if (write(ready[1], &c, 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	OK(read(ready[0], &c, 1) == 1 && c && tables() == 1, "a process holds a rule");
	err = ingress_open(&in, "w0", PORT);
	OK(!err && tables() == 2, "a second one on the same interface has a table of its own");
	OK(sh("nft flush ruleset >/dev/null 2>&1; true") == 0 && tables() == 2,
	   "nobody else can remove them");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	OK(tables_become(1), "killed (-9): its table is gone, the other one stays");
	ingress_close(&in);
	OK(tables_become(0), "none is left");
}

static void test_deleted(void)
{
	struct ingress in;

	OK(!ingress_open(&in, "w0", PORT), "rule on an interface to be deleted");
	sh("ip link del w0; ip link add w0 type veth peer name w1");
	ingress_follow(&in);
	OK(in.lost == !tables(), "deleted interface: lost says what nft says");
	ingress_close(&in);
}

int main(void)
{
	int from, tap;

	if (unshare(CLONE_NEWNET)) {
		printf("1..0 # SKIP needs root: network namespace\n");
		return 0;
	}
	sh("sysctl -qw net.ipv6.conf.default.disable_ipv6=1; "
	   "ip link add w0 address 02:00:00:00:00:01 type veth peer name w1 "
	   "address 02:00:00:00:00:02; ip addr add 10.71.0.1/24 dev w0; "
	   "ip link set w1 up; ip link set w0 up");
	from = packet_socket("w1");
	tap = packet_socket("w0");
	OK(from >= 0 && tap >= 0, "packet sockets");
	test_drop(from, tap);
	test_death();
	test_deleted();
	return tap_done();
}
