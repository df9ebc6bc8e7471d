/* SPDX-License-Identifier: MIT */
/*
 * clean.c - End cells that outlived their front process
 *
 * A cell ends with its front (cell.h), so there should be none: only a cell that
 * the kernel could not yet kill is ever found.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cell.h"
#include "gwsim.h"
#include "log.h"
#include "opt.h"

/* One field of /proc/PID/status, without its name: "" if it cannot be read */
static void proc_field(long pid, const char *field, char *out, size_t size)
{
	char path[64], line[256];
	size_t n = strlen(field);
	FILE *f;

	*out = '\0';
	snprintf(path, sizeof(path), "/proc/%ld/status", pid);
	f = fopen(path, "re");
	if (!f)
		return;
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, field, n) && line[n] == ':') {
			line[strcspn(line, "\n")] = '\0';
			snprintf(out, size, "%s", line + n + 1 + strspn(line + n + 1, " \t"));
			break;
		}
	fclose(f);
}

static bool is_orphan(long pid)
{
	char name[32], parent[32];

	proc_field(pid, "Name", name, sizeof(name));
	if (strcmp(name, CELL_NAME) != 0)
		return false;
	proc_field(pid, "State", name, sizeof(name));
	if (*name == 'Z')
		return false;		/* has ended, only its parent does not know */
	proc_field(pid, "PPid", parent, sizeof(parent));
	proc_field(strtol(parent, NULL, 10), "Name", name, sizeof(name));
	/* The child of a cell has its name until it runs something else; the parent of the
	 * cell that we are in ourselves is out of sight */
	return *name && strcmp(name, CELL_FRONT) != 0 && strcmp(name, CELL_NAME) != 0;
}

static void no_option(void *ctx, int ch, const char *arg)
{
	(void)ctx, (void)ch, (void)arg;
}

int gwsim_clean(int argc, char **argv)
{
	static const struct opt none[] = { { NULL, 0, NULL, NULL } };
	const struct opt_group groups[] = {
		{ NULL, none, no_option, NULL }, { NULL, NULL, NULL, NULL }
	};
	int ended = 0, failed = 0;
	struct dirent *e;
	DIR *proc;

	if (opt_parse("gwsim clean", "", "end what crashed runs left behind", groups,
		      argc, argv) < argc)
		die_usage("takes no arguments");
	proc = opendir("/proc");
	if (!proc)
		die("/proc: %m");
	while ((e = readdir(proc))) {
		long pid = isdigit((unsigned char)*e->d_name) ? strtol(e->d_name, NULL, 10) : 0;

		if (!pid || !is_orphan(pid))
			continue;
		if (!kill((pid_t)pid, SIGKILL)) {
			log_notice("process %ld: ended: its run is gone", pid);
			ended++;
		} else if (errno != ESRCH) {
			log_error("process %ld: %m", pid);
			failed++;
		}
	}
	closedir(proc);
	if (!ended && !failed)
		log_notice("nothing was left behind");
	return failed ? EXIT_RUNTIME : EXIT_SUCCESS;
}
