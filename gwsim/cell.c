/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cell.h"
#include "clock.h"
#include "log.h"
#include "net.h"
#include "userns.h"
#include "wire.h"

static sigset_t watched(void)
{
	static const int sigs[] = { SIGCHLD, SIGINT, SIGTERM, SIGHUP, SIGUSR1 };
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(sigs); i++)
		sigaddset(&set, sigs[i]);
	return set;
}

int cell_signals(void)
{
	sigset_t set = watched();
	int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);

	return fd < 0 ? -errno : fd;
}

/*
 * fork(2) into a PID namespace of its own.  Not unshare(2) and fork(2): after that the
 * caller could never start a thread, which sanitizers do.
 */
static pid_t fork_init(void)
{
	struct clone_args args = { .flags = CLONE_NEWPID, .exit_signal = SIGCHLD };

	return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

/* As root where we are it; else, or where that is not enough, in a user namespace */
static pid_t fork_cell(void)
{
	pid_t pid = geteuid() ? -1 : fork_init();
	int err;

	if (pid >= 0)
		return pid;
	err = userns_become_root(0);
	if (err) {
		log_error("a user namespace of our own: %s", strerror(-err));
		return -1;
	}
	pid = fork_init();
	if (pid < 0)
		log_error("a PID namespace: %m");
	return pid;
}

/* Calls @fn with the id, the mount point and the whole line of each mount of @who */
static void each_mount(const char *who, void (*fn)(uint64_t id, const char *at, const char *line,
						   void *arg), void *arg)
{
	char path[64], at[4096], *line = NULL;
	unsigned long long id;
	size_t size = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%s/mountinfo", who);
	f = fopen(path, "re");
	while (f && getline(&line, &size, f) > 0)
		if (sscanf(line, "%llu %*s %*s %*s %4095s", &id, at) == 2)
			fn(id, at, line, arg);
	free(line);
	if (f)
		fclose(f);
}

struct root_mount {
	uint64_t id;
	bool known, shared;
};

static void look_at_mount(uint64_t id, const char *at, const char *line, void *arg)
{
	struct root_mount *r = arg;

	(void)at;
	if (id != r->id)
		return;
	r->known = true;
	r->shared = strstr(line, " shared:");
}

static void privatize(uint64_t id, const char *at, const char *line, void *arg)
{
	(void)id;
	(void)line;
	(void)arg;
	if (mount(NULL, at, NULL, MS_PRIVATE, NULL))
		log_debug("%s: %m", at);
}

/*
 * What is mounted here must not show outside.  In a chroot whose folder is no mount
 * point the root cannot be made private; good if the mount it lies in is.
 */
static int own_mounts(void)
{
	struct root_mount root = { .id = 0 };
	struct statx sx;

	if (!statx(AT_FDCWD, "/", 0, STATX_MNT_ID, &sx))
		root.id = sx.stx_mnt_id;
	each_mount("1", look_at_mount, &root);
	if (unshare(CLONE_NEWNS))
		return -errno;
	if (!mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return 0;
	if (errno != EINVAL || !root.known || root.shared) {
		log_error("the root of this chroot is no mount point: mount --bind DIR DIR, then chroot DIR");
		return -EINVAL;
	}
	each_mount("self", privatize, NULL);
	return 0;
}

static int set_up_inside(void)
{
	int ns, err;

	err = own_mounts();
	if (err)
		return err;
	if (unshare(CLONE_NEWNET))
		return -errno;
	/* Where a container hides parts of /proc, the old one must do */
	if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL))
		log_debug("/proc stays the caller's: %m");
	ns = net_self();
	if (ns < 0)
		return ns;
	err = net_up(ns, "lo");
	close(ns);
	return err;
}

/* The front may have died before we asked to die with it: its end of @life is
 * closed then. */
static bool front_is_gone(int life)
{
	char c;

	return recv(life, &c, 1, MSG_DONTWAIT) == 0;
}

static void __attribute__((noreturn))
be_cell(int life, int (*inside)(void *), void *arg)
{
	int err;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, CELL_NAME);
	if (front_is_gone(life))
		_exit(EXIT_RUNTIME);
	err = set_up_inside();
	if (err)
		die("namespaces: %s", strerror(-err));
	exit(inside(arg));
}

static int front_wait(pid_t cell)
{
	sigset_t set = watched();
	siginfo_t si;
	int status;

	for (;;) {
		pid_t pid = waitpid(cell, &status, WNOHANG);

		if (pid == cell && WIFEXITED(status))
			return WEXITSTATUS(status);
		if (pid == cell || pid < 0)
			break;
		if (sigwaitinfo(&set, &si) < 0)
			continue;
		/* What the terminal sends, the cell got as well */
		if (si.si_signo != SIGCHLD && si.si_code != SI_KERNEL)
			kill(cell, si.si_signo);
	}
	log_error("the simulation was killed");
	return EXIT_RUNTIME;
}

/* By the front's process id runs at the same time are told apart */
static void name_run(void)
{
	char id[16];

	snprintf(id, sizeof(id), "%d", getpid());
	setenv("GWSIM_ID", id, 1);
}

int cell_run(int (*inside)(void *arg), void *arg)
{
	sigset_t set = watched();
	int life[2];
	pid_t pid;

	prctl(PR_SET_NAME, CELL_FRONT);
	name_run();
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, life)) {
		log_error("socketpair: %m");
		return EXIT_RUNTIME;
	}
	fflush(NULL);
	pid = fork_cell();
	if (pid < 0)
		return EXIT_RUNTIME;
	if (!pid) {
		close(life[0]);
		be_cell(life[1], inside, arg);
	}
	close(life[1]);
	return front_wait(pid);
}

static int put_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");
	int bad;

	if (!f)
		return -errno;
	bad = fputs(text, f) < 0;
	return fclose(f) || bad ? -EIO : 0;
}

/*
 * The files live in a tmpfs that only the bind mounts hold: it is mounted where
 * there is a folder on every machine, and taken away again at once.  Without a name
 * server, names that are not in hosts fail at once instead of after a timeout.
 */
int cell_hosts(const char *text)
{
	const struct { const char *from, *to, *text; bool must; } files[] = {
		{ "/sys/hosts", "/etc/hosts", text, true },
		{ "/sys/gai.conf", "/etc/gai.conf", "precedence ::ffff:0:0/96 100\n", false },
		{ "/sys/resolv.conf", "/etc/resolv.conf", "# no name server here\n", false },
	};
	int err = 0;

	if (mount("gwsim", "/sys", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=1m"))
		return -errno;
	for (size_t i = 0; !err && i < ARRAY_SIZE(files); i++) {
		err = put_file(files[i].from, files[i].text);
		if (!err && mount(files[i].from, files[i].to, NULL, MS_BIND, NULL)) {
			log_debug("%s: %m", files[i].to);
			err = files[i].must ? -errno : 0;
		}
	}
	umount2("/sys", MNT_DETACH);
	return err;
}

static int child_io(bool front)
{
	int null;

	if (front)
		return 0;
	setpgid(0, 0);
	null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return null < 0 || dup2(null, STDIN_FILENO) < 0 ||
	       dup2(STDERR_FILENO, STDOUT_FILENO) < 0;
}

static void __attribute__((noreturn)) be_child(int ns, char *const *argv, bool front)
{
	sigset_t none;
	int err = ns < 0 ? 0 : net_enter(ns);

	if (err) {
		log_error("%s: network namespace: %s", argv[0], strerror(-err));
		_exit(127);
	}
	/* /sys/class/net should show this namespace; nothing fails without */
	if (!unshare(CLONE_NEWNS))
		(void)!mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (!child_io(front))
		execvp(argv[0], argv);
	log_error("%s: %m", argv[0]);
	_exit(127);
}

pid_t cell_spawn(int ns, char *const *argv, bool front)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (!pid)
		be_child(ns, argv, front);
	if (pid > 0 && !front)
		setpgid(pid, pid);	/* so that it is there when we return */
	return pid < 0 ? -errno : pid;
}

pid_t cell_sh(int ns, const char *cmd)
{
	char *line = strdup(cmd);
	char sh[] = "sh", c[] = "-c";
	char *argv[] = { sh, c, line, NULL };
	pid_t pid = line ? cell_spawn(ns, argv, false) : -ENOMEM;

	free(line);
	return pid;
}

static uint64_t now_ms(void)
{
	return clock_mono() / 1000000;
}

/* Zombies keep their group: as process 1 we inherit and reap them all */
static unsigned groups_left(pid_t *pids, unsigned n)
{
	unsigned left = 0;

	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	for (unsigned i = 0; i < n; i++) {
		if (pids[i] > 0 && kill(-pids[i], 0) && errno == ESRCH)
			pids[i] = 0;
		left += pids[i] > 0;
	}
	return left;
}

static void signal_groups(const pid_t *pids, unsigned n, int sig)
{
	for (unsigned i = 0; i < n; i++)
		if (pids[i] > 0)
			kill(-pids[i], sig);
}

static void wait_groups(pid_t *pids, unsigned n, unsigned ms)
{
	uint64_t end = now_ms() + ms, now;
	sigset_t chld;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	while (groups_left(pids, n) && (now = now_ms()) < end) {
		uint64_t left = end - now;
		struct timespec t = { (time_t)(left / 1000), (long)(left % 1000) * 1000000 };

		sigtimedwait(&chld, NULL, &t);
	}
}

void cell_stop(pid_t *pids, unsigned n, unsigned grace_ms)
{
	signal_groups(pids, n, SIGTERM);
	wait_groups(pids, n, grace_ms);
	signal_groups(pids, n, SIGKILL);
	wait_groups(pids, n, 1000);
}
