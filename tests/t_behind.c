/* SPDX-License-Identifier: MIT */
/* behind.h: blocks arrive whole and in order, whatever their runs; an error stops what follows */
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

enum { BLOCKS = 400, ROOM = 9000, TURNS = BEHIND_BLOCKS + 1, RUNS = 2000 };

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

/* Runs of one length: many short ones, or a few that are not */
static unsigned cut(struct iovec *run, uint8_t *p, size_t len, unsigned i)
{
	size_t each = (size_t []){ 5, 100, 1024, ROOM }[i % 4];
	unsigned n = 0;

	for (; len; n++) {
		run[n] = (struct iovec){ p, len < each ? len : each };
		p += run[n].iov_len;
		len -= run[n].iov_len;
	}
	return n;
}

/* As a stage does it: buffers in turn, each filled anew as soon as it may be */
static void in_order(int fd)
{
	static uint8_t buf[TURNS][ROOM];
	static struct iovec run[TURNS][RUNS];
	struct behind b;
	int bad = 0;

	behind_init(&b, fd);
	for (unsigned i = 0; i < BLOCKS; i++) {
		unsigned turn = i % TURNS;

		fill(buf[turn], i);
		bad += behind_give(&b, run[turn],
				   cut(run[turn], buf[turn], length_of(i), i)) != 0;
	}
	OK(!bad && !behind_wait(&b) && reads_back(fd), "%d blocks are there, in order", BLOCKS);
	behind_close(&b);
	OK(!b.started && reads_back(fd), "and no more of them behind the end");
}

static void given_last(int fd)
{
	static uint8_t buf[ROOM];
	struct iovec run = { buf, ROOM };
	struct behind b;
	struct stat st;

	behind_init(&b, fd);
	behind_close(&b);
	behind_init(&b, fd);
	OK(!behind_give(&b, &run, 1), "a block");
	behind_close(&b);
	OK(!fstat(fd, &st) && st.st_size == ROOM, "closed at once, it is written all the same");
}

/* Without a thread, and behind what a thread has still to write */
static void in_front(int fd)
{
	static uint8_t buf[TURNS][ROOM];
	struct iovec run[TURNS];
	struct behind b;
	int bad = 0;

	behind_init(&b, fd);
	for (unsigned i = 0; i < BLOCKS; i++) {
		unsigned turn = i % TURNS;

		fill(buf[turn], i);
		run[turn] = (struct iovec){ buf[turn], length_of(i) };
		bad += (i % 3 && i > 20 ? behind_give : behind_last)(&b, &run[turn], 1) != 0;
	}
	OK(!bad && !behind_last(&b, run, 0) && reads_back(fd), "blocks written here are in order, too");
	behind_close(&b);
}

static void full(int fd)
{
	struct rlimit small;
	static uint8_t buf[ROOM];
	struct iovec run = { buf, ROOM };
	unsigned taken = 0;
	struct behind b;
	struct stat st;

	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &small);
	small.rlim_cur = 5 * ROOM / 2;
	setrlimit(RLIMIT_FSIZE, &small);
	behind_init(&b, fd);
	while (taken < 20 && !behind_give(&b, &run, 1))
		taken++;
	OK(taken >= 3 && taken <= 2 + BEHIND_BLOCKS,
	   "a block not far behind the one that does not fit is refused");
	OK(behind_wait(&b) == -EFBIG && behind_give(&b, &run, 1) == -EFBIG &&
	   behind_last(&b, &run, 1) == -EFBIG, "with the reason, ever after");
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
	with_file(in_front);
	with_file(full);
	return tap_done();
}
