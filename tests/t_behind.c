/* SPDX-License-Identifier: MIT */
/* behind.h: blocks arrive whole and in order; an error stops what follows */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "behind.h"
#include "tap.h"

enum { BLOCKS = 400, ROOM = 9000 };

static size_t length_of(unsigned i)
{
	return i % 7 ? 1 + i * 131 % ROOM : ROOM;
}

static uint8_t byte_of(unsigned i, size_t at)
{
	return (uint8_t)(i * 31 + at);
}

static void fill(uint8_t *p, unsigned i)
{
	for (size_t at = 0; at < length_of(i); at++)
		p[at] = byte_of(i, at);
}

static bool reads_back(int fd)
{
	static uint8_t got[ROOM];
	off_t at = 0;

	for (unsigned i = 0; i < BLOCKS; i++) {
		if (pread(fd, got, length_of(i), at) != (ssize_t)length_of(i))
			return false;
		for (size_t n = 0; n < length_of(i); n++)
			if (got[n] != byte_of(i, n))
				return false;
		at += (off_t)length_of(i);
	}
	return pread(fd, got, 1, at) == 0;
}

/* As a stage does it: two buffers in turn, each filled anew as soon as it may be */
static void in_order(int fd)
{
	static uint8_t buf[2][ROOM];
	struct behind b;
	int bad = 0;

	behind_init(&b, fd);
	for (unsigned i = 0; i < BLOCKS; i++) {
		fill(buf[i % 2], i);
		bad += behind_give(&b, buf[i % 2], length_of(i)) != 0;
	}
	OK(!bad && !behind_wait(&b) && reads_back(fd), "%d blocks are there, in order", BLOCKS);
	behind_close(&b);
	OK(!b.started && reads_back(fd), "and no more of them behind the end");
}

static void given_last(int fd)
{
	static uint8_t buf[ROOM];
	struct behind b;
	struct stat st;

	behind_init(&b, fd);
	behind_close(&b);
	behind_init(&b, fd);
	OK(!behind_give(&b, buf, sizeof(buf)), "a block");
	behind_close(&b);
	OK(!fstat(fd, &st) && st.st_size == ROOM, "closed at once, it is written all the same");
}

static void full(int fd)
{
	struct rlimit small;
	static uint8_t buf[ROOM];
	unsigned taken = 0;
	struct behind b;
	struct stat st;

	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &small);
	small.rlim_cur = 5 * ROOM / 2;
	setrlimit(RLIMIT_FSIZE, &small);
	behind_init(&b, fd);
	while (taken < 10 && !behind_give(&b, buf, sizeof(buf)))
		taken++;
	OK(taken == 3, "the block behind the one that does not fit is refused");
	OK(behind_wait(&b) == -EFBIG && behind_give(&b, buf, 1) == -EFBIG, "with the reason, ever after");
	behind_close(&b);
	OK(!fstat(fd, &st) && st.st_size == 5 * ROOM / 2, "and nothing more was written");
	small.rlim_cur = small.rlim_max;
	setrlimit(RLIMIT_FSIZE, &small);
}

static void with_file(void (*test)(int fd))
{
	char path[] = "/tmp/gw-behind-XXXXXX";
	int fd = mkstemp(path);

	if (fd < 0 || unlink(path))
		exit(1);
	test(fd);
	close(fd);
}

int main(void)
{
	with_file(in_order);
	with_file(given_last);
	with_file(full);
	return tap_done();
}
