/* SPDX-License-Identifier: MIT */
/*
 * h_fakestage - A page of counters without a stage behind it, told on stdin what it says
 *
 *	h_fakestage DIR PROG[:AS] ROLE NONCE [UPSTREAM...]
 *
 * Lines: "c COUNTER N" "d REASON N" "trouble TEXT" "up NONCE" "in SPEC" "out SPEC" "rule NAME N"
 * "latency BUCKET N" "raw" (writes 0xff over the strings) "exit" (in order); end of file: as after a crash.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "stats.h"

static struct stats s;

static void add_upstream(uint64_t nonce)
{
	if (s.page->nupstream < STATS_UPSTREAM_MAX)
		s.page->upstream[s.page->nupstream++] = nonce;
}

static void obey(char *line)
{
	char *verb = strtok(line, " \n"), *a = strtok(NULL, " \n"), *rest = strtok(NULL, "\n");
	uint64_t n = rest ? strtoull(rest, NULL, 0) : 0;

	if (!verb)
		return;
	if (!strcmp(verb, "exit")) {
		stats_close(&s);
		exit(0);
	}
	if (!strcmp(verb, "trouble"))
		snprintf(s.page->trouble, sizeof(s.page->trouble), "%s%s%s", a ? a : "",
			 rest ? " " : "", rest ? rest : "");
	if (!strcmp(verb, "raw"))
		memset(s.page->trouble, 0xff, sizeof(s.page->trouble));
	if (!strcmp(verb, "in") && a)
		snprintf(s.page->in, sizeof(s.page->in), "%s", a);
	if (!strcmp(verb, "out") && a)
		snprintf(s.page->out, sizeof(s.page->out), "%s", a);
	if (!strcmp(verb, "up") && a)
		add_upstream(strtoull(a, NULL, 0));
	if (!strcmp(verb, "rule") && a) {
		struct stats_rule *r = &s.page->rules[s.page->nrules++];

		snprintf(r->name, sizeof(r->name), "%s", a);
		r->packets = n;
		r->bytes = 100 * n;
	}
	if (!strcmp(verb, "latency") && a)
		s.page->latency[strtoul(a, NULL, 0) % STATS_LATENCY] = n;
	for (unsigned i = 0; a && !strcmp(verb, "c") && i < STATS_NUM; i++)
		if (!strcmp(a, stats_counter_name(i)))
			s.page->counter[i] = n;
	for (unsigned i = 0; a && !strcmp(verb, "d") && i < REASON_NUM; i++)
		if (!strcmp(a, reason_name(i)))
			s.page->drop[i] = n;
}

int main(int argc, char **argv)
{
	struct pollfd in = { .fd = STDIN_FILENO, .events = POLLIN };
	char *as, line[512];
	int dir;

	if (argc < 5 || (dir = open(argv[1], O_RDONLY | O_DIRECTORY)) < 0)
		return 2;
	as = strchr(argv[2], ':');
	if (as)
		*as++ = '\0';
	if (stats_open(&s, dir, argv[2], as, NULL))
		return 1;
	s.page->role = (uint32_t)strtoul(argv[3], NULL, 0);
	s.page->nonce = strtoull(argv[4], NULL, 0);
	for (int i = 5; i < argc; i++)
		add_upstream(strtoull(argv[i], NULL, 0));
	setvbuf(stdin, NULL, _IONBF, 0);
	puts("ready");
	fflush(stdout);
	for (;;) {
		stats_beat(&s, clock_mono());
		if (poll(&in, 1, 200) <= 0)
			continue;
		if (!fgets(line, sizeof(line), stdin))
			return 0;
		obey(line);
		puts("done");
		fflush(stdout);
	}
}
