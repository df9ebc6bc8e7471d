/* SPDX-License-Identifier: MIT */
/*
 * shell.c - gwsim shell: a process among those of a running simulation
 *
 * It becomes one of the simulation's PID namespace, so it ends with it.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cell.h"
#include "control.h"
#include "gwsim.h"
#include "log.h"
#include "opt.h"
#include "wire.h"

static const struct opt shell_opts[] = {
	{ "run", 'r', "ID", "which simulation: the process id of its gwsim run\n"
			    "(default: the newest one)" },
	{ "endpoint", 'e', "ID", "which endpoint's client or server (default: the first)" },
	{ NULL, 0, NULL, NULL }
};

struct shell {
	const char *run;
	struct control_want want;
};

static void shell_set(void *ctx, int ch, const char *arg)
{
	struct shell *sh = ctx;

	if (ch == 'r')
		sh->run = arg;
	else
		snprintf(sh->want.endpoint, sizeof(sh->want.endpoint), "%s", arg);
}

static const char *const namespaces[CONTROL_NAMESPACES] = { "user", "mnt", "pid", "net" };

static bool is_ours(int fd, const char *name)
{
	char path[32];
	struct stat a, b;

	snprintf(path, sizeof(path), "/proc/self/ns/%s", name);
	return !fstat(fd, &a) && !stat(path, &b) && a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

static void join(const int *fds)
{
	/* User first: it gives the right to join the others.  The working folder
	 * is the caller's again afterwards, where the simulation has it too. */
	char *cwd = getcwd(NULL, 0);
	bool ours[CONTROL_NAMESPACES];

	for (int i = 0; i < CONTROL_NAMESPACES; i++)
		ours[i] = is_ours(fds[i], namespaces[i]);
	for (int i = 0; i < CONTROL_NAMESPACES; i++) {
		if (!ours[i] && setns(fds[i], 0))
			die("%s namespace: %m", namespaces[i]);
		close(fds[i]);
	}
	/* A mount namespace is entered at its root, not at the chroot it was made in */
	if (fchdir(fds[CONTROL_ROOT]) || chroot("."))
		die("root folder: %m");
	close(fds[CONTROL_ROOT]);
	if (!cwd || chdir(cwd))
		(void)!chdir("/");
	free(cwd);
}

int gwsim_shell(int argc, char **argv)
{
	struct shell sh = { .run = getenv("GWSIM_ID") };
	const struct opt_group groups[] = {
		{ NULL, shell_opts, shell_set, &sh }, { NULL, NULL, NULL, NULL }
	};
	char *shell = getenv("SHELL"), fallback[] = "/bin/sh";
	char *interactive[] = { shell && *shell ? shell : fallback, NULL };
	int i = opt_parse("gwsim shell", "[-r ID] [-e ID] client|server|applianceN [-- COMMAND...]",
			  "run a shell, or a command, inside a running simulation", groups,
			  argc, argv);
	int fds[CONTROL_FDS], status;
	pid_t pid;

	if (i >= argc || !sim_role_parse(argv[i], &sh.want.role, &sh.want.n))
		die_usage("say where: client, server, appliance or appliance2");
	i++;
	if (i < argc && !strcmp(argv[i], "--"))
		i++;
	if (control_ask(sh.run, &sh.want, fds))
		return EXIT_RUNTIME;
	join(fds);
	pid = cell_spawn(-1, i < argc ? argv + i : interactive, true);
	if (pid < 0)
		die("fork: %s", strerror(-pid));
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			die("wait: %m");
	/* Whose children are in another PID namespace cannot start a thread, which
	 * sanitizers do at exit: nothing of ours is left to be done there. */
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}
