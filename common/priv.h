/* SPDX-License-Identifier: MIT */
/*
 * priv.h - Privileges are dropped once, after set-up and before the first packet
 *
 * Sockets, devices, files and run folder are opened first.  Then: no supplementary
 * groups, an unprivileged uid and gid, no capability in any set, no_new_privs.
 * glibc carries set*id() to all threads, so ZeroMQ's threads follow.
 */
#ifndef GW_PRIV_H
#define GW_PRIV_H

#include <stdbool.h>
#include <sys/types.h>

/**
 * struct priv - Whom to become
 * @uid, @gid:	(uid_t)-1: stay who we are (started without privileges)
 */
struct priv {
	uid_t uid;
	gid_t gid;
};

/**
 * priv_lookup() - Whom this process will become; errors exit
 * @user:	--user NAME; NULL: "gwtools" if there is such a user, else "nobody"
 *
 * Who was not started as root and holds no capability stays who they are.
 */
struct priv priv_lookup(const char *user);

/**
 * priv_no_new() - no_new_privs, before any thread starts; errors exit
 */
void priv_no_new(void);

/**
 * priv_drop() - Become @p and give every capability up, then check that it is so
 *
 * Errors exit: a stage never runs with more than it said.
 */
void priv_drop(const struct priv *p);

/**
 * rundir_system() - Do run folders lie in /run/gwtools: are we root, and not in a user
 * namespace only?  To be asked before priv_drop()
 */
bool rundir_system(void);

/**
 * rundir_path() - Run folder of a chain: $GW_RUN, else /run/gwtools/CHAIN (system),
 * else $XDG_RUNTIME_DIR/gwtools/CHAIN, else /tmp/gwtools-UID-CHAIN
 * @system:	What rundir_system() said at the start
 * @out:	Written, NUL-terminated
 *
 * Return: 0, or -ENAMETOOLONG
 */
int rundir_path(bool system, const char *chain, char *out, size_t size);

/**
 * rundir_open() - Make the run folder if it is missing, hand it to @p, open it
 *
 * A folder that is neither root's nor ours nor @p's, or everybody's to write to, is
 * refused (-EPERM).
 *
 * Return: descriptor, or -errno
 */
int rundir_open(const char *path, const struct priv *p);

/**
 * chain_name_ok() - [A-Za-z0-9_.-]{1,63}, not starting with a dot
 */
int chain_name_ok(const char *name);

#endif /* GW_PRIV_H */
