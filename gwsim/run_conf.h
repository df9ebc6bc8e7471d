/* SPDX-License-Identifier: MIT */
/*
 * run_conf.h - The command line of gwsim run
 */
#ifndef GW_RUN_CONF_H
#define GW_RUN_CONF_H

#include "sim.h"

/**
 * run_conf() - Read the command line; errors and --help exit in here
 */
void run_conf(struct sim_conf *c, int argc, char **argv) __attribute__((nonnull));

#endif /* GW_RUN_CONF_H */
