/* SPDX-License-Identifier: MIT */
/*
 * gwsim.h - The subcommands: argv[0] is the subcommand's own name
 */
#ifndef GW_GWSIM_H
#define GW_GWSIM_H

int gwsim_run(int argc, char **argv);
int gwsim_shell(int argc, char **argv);
int gwsim_conform(int argc, char **argv);
int gwsim_load(int argc, char **argv);
int gwsim_clean(int argc, char **argv);

#endif /* GW_GWSIM_H */
