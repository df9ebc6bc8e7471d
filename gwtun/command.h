/* SPDX-License-Identifier: MIT */
/*
 * command.h - --on-create and --on-destroy: commands run in an endpoint's namespace
 */
#ifndef GW_COMMAND_H
#define GW_COMMAND_H

#include <stdint.h>
#include <sys/types.h>

#include "space.h"

/**
 * command_start() - Run a command by sh(1) in a namespace, in a process group of its own
 * @event:	"create" or "destroy"
 *
 * Return: its process id, which is its group's as well; -errno
 */
pid_t command_start(const char *cmd, const char *event, uint64_t endpoint, const struct space *s,
		    uint32_t mtu) __attribute__((nonnull));

/**
 * command_end() - What a command left running in its group is to end
 *
 * Nothing happens where the group has no child of ours: its number may be a stranger's by now.
 */
void command_end(pid_t group, int sig);

#endif /* GW_COMMAND_H */
