/* SPDX-License-Identifier: MIT */
/*
 * brokerstart.c - The broker's privileges: what it becomes before it does anything
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker.h"
#include "log.h"
#include "userns.h"
#include "wire.h"

#define START_MS	10000

/* May an ordinary user have a TUN?  (Inside a user namespace, root is none outside.) */
static bool tun_is_public(void)
{
	struct stat st;

	return !stat("/dev/net/tun", &st) && (st.st_mode & 06) == 06;
}

static int become(const struct priv *p)
{
	if (p->uid == (uid_t)-1 || p->uid == geteuid())
		return 0;
	if (setgroups(0, NULL) || setresgid(p->gid, p->gid, p->gid) ||
	    setresuid(p->uid, p->uid, p->uid) || prctl(PR_SET_DUMPABLE, 1, 0, 0, 0))
		return -errno;
	return 0;
}

/* Does it need to be root of the whole machine? */
static bool stays_root(const struct broker_conf *c)
{
	return !geteuid() && (c->space.kind == SPACE_ROUTER || c->on_create || c->on_destroy);
}

/* Of the new namespace's capabilities, two; commands of the user's may need any */
static int keep_two(const struct broker_conf *c)
{
	struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
	uint32_t keep = 1u << CAP_SYS_ADMIN | 1u << CAP_NET_ADMIN;
	struct __user_cap_data_struct caps[2] = { { keep, keep, 0 }, { 0, 0, 0 } };

	if (c->on_create || c->on_destroy)
		return 0;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || syscall(SYS_capset, &h, caps))
		return -errno;
	return 0;
}

/* Not in a chroot, nor where the machine's settings forbid it: only a try tells */
static bool may_userns(void)
{
	int status = 0;
	pid_t pid = fork();

	if (!pid)
		_exit(unshare(CLONE_NEWUSER) ? EXIT_RUNTIME : 0);
	return pid > 0 && waitpid(pid, &status, 0) == pid && !status;
}

static int confine(const struct broker_conf *c, const char **what)
{
	int err;

	*what = "a network namespace";
	if (stays_root(c))
		return unshare(CLONE_NEWNET) ? -errno : 0;
	if (!geteuid() && !may_userns()) {
		log_notice("no user namespace is to be had: the broker stays root's");
		return unshare(CLONE_NEWNET) ? -errno : keep_two(c);
	}
	*what = "becoming an ordinary user";
	err = !geteuid() && tun_is_public() ? become(&c->priv) : 0;
	if (err)
		return err;
	*what = "a user namespace of our own";
	err = userns_become_root(CLONE_NEWNET);
	if (err)
		return err;
	*what = "dropping capabilities";
	return keep_two(c);
}

/* No end of the chain's pipes is ours, and signals from the terminal are the loop's */
static int detach(int fd)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	sigset_t set;

	sigfillset(&set);
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0 ||
	    dup2(fd, 3) < 0 || fcntl(3, F_SETFD, FD_CLOEXEC) || close_range(4, ~0u, 0) ||
	    sigprocmask(SIG_BLOCK, &set, NULL) || prctl(PR_SET_NAME, "gwtun-broker") ||
	    prctl(PR_SET_CHILD_SUBREAPER, 1))
		return -errno;
	return 3;
}

static int child(int fd, const struct broker_conf *c)
{
	struct broker_msg m = { .type = BROKER_READY };
	const char *what = "descriptors";

	fd = detach(fd);
	if (fd < 0)
		return EXIT_RUNTIME;
	m.err = confine(c, &what);
	strncpy(m.what, what, sizeof(m.what) - 1);
	if (fdmsg_send(fd, &m, sizeof(m), NULL, 0) || m.err)
		return EXIT_RUNTIME;
	return broker_run(fd, c);
}

static void wait_ready(const struct broker *b)
{
	struct pollfd p = { .fd = b->fd, .events = POLLIN };
	struct broker_msg m = { 0 };
	int fds[FDMSG_FDS];
	unsigned n;

	poll(&p, 1, START_MS);
	if (fdmsg_recv(b->fd, &m, sizeof(m), fds, &n) != sizeof(m))
		die("the broker did not start");
	if (m.err)
		die("%.63s: %s%s", m.what, strerror(-m.err), m.err == -EPERM || m.err == -EACCES ?
		    ": does this machine allow user namespaces to ordinary users?" : "");
}

void broker_start(struct broker *b, const struct broker_conf *c)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		die("socketpair: %m");
	b->pid = fork();
	if (b->pid < 0)
		die("fork: %m");
	if (!b->pid)
		_exit(child(pair[1], c));
	close(pair[1]);
	b->fd = pair[0];
	wait_ready(b);
}

void broker_stop(struct broker *b)
{
	close(b->fd);
	b->fd = -1;
	while (waitpid(b->pid, NULL, 0) < 0 && errno == EINTR)
		;
}
