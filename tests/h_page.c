/* SPDX-License-Identifier: MIT */
/* h_page DIR FILE - the counters of a stage's page, a line each, and its trouble */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "stats.h"

int main(int argc, char **argv)
{
	struct stats_view v;
	int dir, err;

	if (argc != 3)
		return 2;
	dir = open(argv[1], O_RDONLY | O_DIRECTORY);
	err = dir < 0 ? -1 : stats_attach(&v, dir, argv[2]);
	if (err) {
		fprintf(stderr, "%s/%s: %s\n", argv[1], argv[2], strerror(-err));
		return 1;
	}
	for (unsigned i = 0; i < STATS_NUM; i++)
		printf("%s %llu\n", stats_counter_name(i),
		       (unsigned long long)v.page->counter[i]);
	for (unsigned i = 1; i < REASON_NUM; i++)
		if (v.page->drop[i])
			printf("drop:%s %llu\n", reason_name(i), (unsigned long long)v.page->drop[i]);
	for (unsigned i = 0; i < v.page->nrules && i < STATS_RULES_MAX; i++)
		printf("rule:%.63s %llu\n", v.page->rules[i].name,
		       (unsigned long long)v.page->rules[i].packets);
	printf("trouble %s\n", v.page->trouble);
	stats_detach(&v);
	return 0;
}
