/* SPDX-License-Identifier: MIT */
/*
 * Behaviour of the kernel that stages rely on: locks that die with their process,
 * a pipe opened anew, packet sockets on an interface that comes and goes
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
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

#include "../tap.h"

#define WAIT_MS	2000

static int lock(int fd)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	return fcntl(fd, F_OFD_SETLK, &l);
}

/* A page of counters or an endpoint is alive as long as its lock is held. */
static void test_lock(void)
{
	char path[] = "/tmp/t_kernel-XXXXXX";
	int fd = mkstemp(path), ready[2], other, waiting;
	pid_t pid;
	char c = 0;

	OK(fd >= 0 && !lock(fd), "lock");
	other = open(path, O_RDWR);
	OK(lock(other) && errno == EAGAIN, "held against the same process opening the file again");
	close(fd);
	OK(!lock(other), "closed: free");
	close(other);
	if (pipe(ready))
		return;
	pid = fork();
	if (!pid) {
		if (lock(open(path, O_RDWR)) || write(ready[1], &c, 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	other = open(path, O_RDWR);
	OK(read(ready[0], &c, 1) == 1 && lock(other), "held by another process");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	for (waiting = WAIT_MS; lock(other) && waiting; waiting -= 10)
		usleep(10000);
	OK(waiting, "killed (-9): free");
	close(other);
	unlink(path);
}

/* stdin and stdout may be shared with a shell: they must not be made non-blocking. */
static void test_reopen(void)
{
	char path[32], c = 0;
	int p[2], mine;

	if (pipe(p))
		return;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", p[0]);
	mine = open(path, O_RDONLY | O_NONBLOCK);
	OK(mine >= 0 && !(fcntl(p[0], F_GETFL) & O_NONBLOCK),
	   "a pipe opened anew is non-blocking, the old descriptor is not");
	OK(read(mine, &c, 1) < 0 && errno == EAGAIN, "empty: EAGAIN");
	OK(write(p[1], "x", 1) == 1 && read(mine, &c, 1) == 1 && c == 'x', "it is the same pipe");
	close(p[1]);
	OK(read(mine, &c, 1) == 0, "its writers' end is seen");
	close(p[0]);
	close(mine);
}

static int sh(const char *cmd)
{
	return system(cmd);
}

static void pair(void)
{
	sh("ip link add w0 address 02:00:00:00:00:01 type veth peer name w1 "
	   "address 02:00:00:00:00:02; ip link set w1 up; ip link set w0 up");
}

static int bind_to(int fd, const char *ifname)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL),
				  .sll_ifindex = (int)if_nametoindex(ifname) };

	return bind(fd, (struct sockaddr *)&to, sizeof(to));
}

static int tap_on(const char *ifname)
{
	int fd = socket(AF_PACKET, SOCK_RAW, 0);

	return fd >= 0 && !bind_to(fd, ifname) ? fd : -1;
}

/* An Ethernet frame of a type that means nothing; it carries @mark */
static int put(int fd, uint8_t mark)
{
	uint8_t f[60] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5, mark };

	return send(fd, f, sizeof(f), 0) == (ssize_t)sizeof(f);
}

static bool get(int fd, uint8_t mark, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint8_t f[2048];

	while (poll(&p, 1, ms) == 1) {
		if (recv(fd, f, sizeof(f), MSG_DONTWAIT) == 60 && f[12] == 0x88 && f[14] == mark)
			return true;
		if (p.revents & POLLERR)
			return false;
	}
	return false;
}

static void test_outgoing(void)
{
	int from = tap_on("w1"), tap = tap_on("w0"), deaf = tap_on("w0"), one = 1;

	OK(!setsockopt(deaf, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)),
	   "PACKET_IGNORE_OUTGOING");
	OK(put(tap, 1) && put(from, 2), "a frame in each direction");
	OK(get(deaf, 2, WAIT_MS) && !get(deaf, 1, 0), "only what was received is seen");
	close(from);
	close(tap);
	close(deaf);
}

/* gwcap's socket, after it has given its privileges up */
static void test_comes_and_goes(void)
{
	int from = tap_on("w1"), tap = tap_on("w0"), err = 0;
	struct pollfd p = { .fd = tap };
	socklen_t len = sizeof(err);

	sh("ip link set w0 down");
	OK(poll(&p, 1, WAIT_MS) == 1 && p.revents & POLLERR, "down: the socket has an error");
	OK(!getsockopt(tap, SOL_SOCKET, SO_ERROR, &err, &len) && err == ENETDOWN, "ENETDOWN");
	OK(poll(&p, 1, 0) == 0, "once fetched it is gone: no busy loop");
	sh("ip link set w0 up; ip link set w1 up");
	OK(put(from, 3) && get(tap, 3, WAIT_MS), "up: it receives again");
	sh("ip link del w0");
	pair();
	close(from);
	from = tap_on("w1");
	if (setresuid(65534, 65534, 65534))
		OK(0, "setresuid");
	getsockopt(tap, SOL_SOCKET, SO_ERROR, &err, &len);
	OK(put(from, 4) && !get(tap, 4, 50), "deleted and made again: it is bound to nothing");
	OK(socket(AF_PACKET, SOCK_RAW, 0) < 0, "without privilege there is no new socket ...");
	OK(!bind_to(tap, "w0"), "... but the old one may be bound again");
	OK(put(from, 5) && get(tap, 5, WAIT_MS), "and receives");
	close(from);
	close(tap);
}

int main(void)
{
	test_lock();
	test_reopen();
	if (unshare(CLONE_NEWNET)) {
		printf("# SKIP packet sockets need root\n");
		return tap_done();
	}
	sh("sysctl -qw net.ipv6.conf.default.disable_ipv6=1");
	pair();
	test_outgoing();
	test_comes_and_goes();
	return tap_done();
}
