/* SPDX-License-Identifier: MIT */
/*
 * cell.h - A place where a simulation lives, and with which it ends
 *
 * Theory of operation: gwsim forks once.  The parent ("front") only waits and
 * passes signals on.  The child is process 1 of its own PID namespace, in its own
 * network and mount namespaces (as an ordinary user: in its own user namespace,
 * as its root).  When the child ends, the kernel kills every process of the PID
 * namespace, however they daemonised; namespaces that nobody is in vanish, with
 * all their devices.  When the front dies, even by SIGKILL, the child is killed.
 * So nothing is ever left behind and there is no list of things to remove.
 *
 * Running simulations are found through an abstract Unix socket, which ends with
 * its process too.
 */
#ifndef GW_CELL_H
#define GW_CELL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define CELL_NAME	"gwsim-cell"	/* of the child, in ps(1) and /proc */
#define CELL_FRONT	"gwsim"		/* of its parent, whatever its file is called */

/**
 * cell_run() - Run a simulation in a cell of its own
 * @inside:	Called as process 1 in the cell; its return value is the exit
 *		status.  SIGCHLD, SIGINT, SIGTERM, SIGHUP and SIGUSR1 are blocked
 *		there: read them with cell_signals()
 * @arg:	Handed to @inside
 *
 * The file system is the caller's, in a mount namespace of its own.  Commands find the
 * caller's process id in $GWSIM_ID.
 *
 * Return: what @inside returned, or EXIT_RUNTIME after an error was logged
 */
int cell_run(int (*inside)(void *arg), void *arg) __attribute__((nonnull(1)));

/**
 * cell_signals() - signalfd(2) for the blocked signals, non-blocking; or -errno
 */
int cell_signals(void);

/**
 * cell_hosts() - Give names to addresses in the cell: the text of /etc/hosts
 *
 * Names with both kinds of address mean IPv4 first.  There is no name server.
 *
 * Return: 0 or -errno
 */
int cell_hosts(const char *text) __attribute__((nonnull));

/**
 * cell_spawn() - Start a command in a network namespace of the cell
 * @ns:		Namespace; -1: the caller's
 * @argv:	Program, found in $PATH, and arguments; NULL at the end
 * @front:	true: keeps stdin and stdout, and the terminal's process group;
 *		false: stdin is /dev/null, stdout goes to stderr, own process group
 *
 * Return: process id, or -errno; 127 is the exit status of what cannot be run
 */
pid_t cell_spawn(int ns, char *const *argv, bool front) __attribute__((nonnull));

/**
 * cell_sh() - cell_spawn() of "sh -c CMD", not in front
 */
pid_t cell_sh(int ns, const char *cmd) __attribute__((nonnull));

/**
 * cell_stop() - Ask the groups of @pids to end by SIGTERM, wait, then SIGKILL
 * @pids:	As returned by cell_sh(), also if that process itself has ended; 0
 *		where there is none.  Set to 0 once the whole group is gone
 * @grace_ms:	How long to wait for all of them
 *
 * Reaps every child that has ended.
 */
void cell_stop(pid_t *pids, unsigned n, unsigned grace_ms) __attribute__((nonnull));

#endif /* GW_CELL_H */
