/* SPDX-License-Identifier: MIT */
/*
 * gwsim - A gateway load balancer on one machine
 *
 * Each subcommand is a file of its own; here they are only told apart.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gwsim.h"
#include "log.h"
#include "wire.h"

static const struct command {
	const char *name;
	int (*main)(int argc, char **argv);
	const char *help;
} commands[] = {
	{ "run", gwsim_run, "run a command whose traffic passes through an appliance" },
	{ "shell", gwsim_shell, "join a namespace of a running simulation" },
	{ "conform", gwsim_conform, "is this appliance fit for a gateway load balancer?" },
	{ "load", gwsim_load, "how much does this appliance carry?" },
	{ "clean", gwsim_clean, "end what crashed runs left behind" },
};

static void usage(FILE *f)
{
	fprintf(f, "usage: gwsim COMMAND [OPTIONS]\n"
		"a gateway load balancer on one machine, and a judge of appliances\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(f, "  %-10s %s\n", commands[i].name, commands[i].help);
	fprintf(f, "\n'gwsim COMMAND --help' tells the options of each.\n"
		"  -h, --help                  show this and exit\n"
		"  -V, --version               show the version and exit\n");
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";

	log_open("gwsim");
	if (!strcmp(name, "-h") || !strcmp(name, "--help")) {
		usage(stdout);
		return log_stdout();
	}
	if (!strcmp(name, "-V") || !strcmp(name, "--version")) {
		printf("gwsim %s\n", GW_VERSION);
		return log_stdout();
	}
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(name, commands[i].name))
			return commands[i].main(argc - 1, argv + 1);
	if (*name)
		log_error("'%s' is not a command", name);
	usage(stderr);
	return EXIT_USAGE;
}
