/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "command.h"
#include "log.h"

static void environment(const char *event, uint64_t endpoint, uint32_t mtu, pid_t outside)
{
	char text[64];

	snprintf(text, sizeof(text), "vpce-0%016llx", (unsigned long long)endpoint);
	setenv("GW_ENDPOINT", text, 1);
	snprintf(text, sizeof(text), "/proc/%d/ns/net", getpid());
	setenv("GW_NETNS", text, 1);
	snprintf(text, sizeof(text), "/proc/%d/ns/net", outside);
	setenv("GW_HOST_NETNS", text, 1);
	snprintf(text, sizeof(text), "%u", mtu);
	setenv("GW_MTU", text, 1);
	setenv("GW_DEVICE", SPACE_DEVICE, 1);
	setenv("GW_EVENT", event, 1);
}

static void __attribute__((noreturn)) be_command(const char *cmd, int ns)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setpgid(0, 0);
	if (setns(ns, CLONE_NEWNET))
		log_error("%s: network namespace: %m", cmd);
	else if (execl("/bin/sh", "sh", "-c", cmd, (char *)NULL))
		log_error("/bin/sh: %m");
	_exit(127);
}

pid_t command_start(const char *cmd, const char *event, uint64_t endpoint, const struct space *s,
		    uint32_t mtu)
{
	pid_t outside = getppid(), pid = fork();

	if (!pid) {
		environment(event, endpoint, mtu, outside);
		be_command(cmd, s->ns);
	}
	if (pid > 0)
		setpgid(pid, pid);	/* so that it is there when we return */
	return pid < 0 ? -errno : pid;
}

void command_end(pid_t group, int sig)
{
	siginfo_t si;

	if (group > 0 && !waitid(P_PGID, (id_t)group, &si, WEXITED | WNOHANG | WNOWAIT))
		kill(-group, sig);
}
