/* SPDX-License-Identifier: MIT */
/*
 * b_getppid - What a system call costs here that does nothing: the measure of a hop
 *
 * name, unit, figure.
 */
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "clock.h"

#define CALLS	10000000u

int main(void)
{
	uint64_t start = clock_ns(CLOCK_PROCESS_CPUTIME_ID);

	for (unsigned i = 0; i < CALLS; i++)
		syscall(SYS_getppid);
	printf("getppid()\tns\t%.2f\n",
	       (double)(clock_ns(CLOCK_PROCESS_CPUTIME_ID) - start) / CALLS);
	return 0;
}
