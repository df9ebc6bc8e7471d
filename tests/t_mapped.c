/* SPDX-License-Identifier: MIT */
/* mapped.h: a file that gets shorter when all of it was read, and not all of it is written;
 * pages that were left */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "mapped.h"
#include "statm.h"
#include "stream.h"
#include "tap.h"

enum { PACKETS = 200 };

/* Packets of @size bytes, classic pcap as we write it */
static void fill(const char *name, uint32_t size)
{
	uint32_t head[6] = { 0xa1b23c4d, 2 | 4 << 16, 0, 0, 262144, 101 };
	uint32_t record[4] = { 1700000000, 0, size, size };
	static const uint8_t packet[4096] = { 0x45 };
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	if (fd < 0 || write(fd, head, sizeof(head)) != sizeof(head))
		abort();
	for (unsigned i = 0; i < PACKETS; i++)
		if (write(fd, record, sizeof(record)) != sizeof(record) ||
		    write(fd, packet, size) != (ssize_t)size)
			abort();
	close(fd);
}

static void shrinks(const char *dir, uint32_t size)
{
	struct stream_conf conf = { .prog = "t_mapped", .as = "", .settled = true };
	char in[64], out[64];
	struct frame *f[FRAME_BURST];
	struct rx *rx;
	struct tx *tx;
	int n, got = 0;

	snprintf(in, sizeof(in), "%s/in.pcap", dir);
	snprintf(out, sizeof(out), "%s/out.pcap", dir);
	fill(in, size);
	rx = rx_open(in, &conf);
	tx = tx_open(out, &conf);
	tx->lender = rx;
	while ((n = rx_recv(rx, f, FRAME_BURST)) > 0) {
		for (int i = 1; i < n; i += 2)	/* else all of them are one run */
			frame_drop(f[i], REASON_RULE, 0);
		got += tx_send(tx, f, n);
		rx_release(rx, n);
	}
	if (truncate(in, 0))
		abort();
	OK(n == RX_END && got == PACKETS && tx_end(tx, TX_END) < 0,
	   "packets of %u bytes that are gone before they are written: an error", size);
	tx_close(tx);
	rx_close(rx);
	unlink(in);
	unlink(out);
}

/* MB of files in our tables */
static unsigned mapped_mb(void)
{
	return (unsigned)(statm().shared * (size_t)getpagesize() >> 20);
}

static bool soon(bool more, unsigned mb)
{
	for (int i = 0; i < 500; i++, usleep(10000))
		if ((mapped_mb() > mb) == more)
			return true;
	return false;
}

enum { MB = 1 << 20 };

/* A file with a hole, mapped; nobody else knows it any more */
static int map_file(struct mapped *m, const char *dir, size_t size)
{
	struct stat st;
	char in[64];
	int fd;

	snprintf(in, sizeof(in), "%s/in", dir);
	fd = open(in, O_RDWR | O_CREAT, 0644);
	if (fd < 0 || write(fd, "first", 5) != 5 || ftruncate(fd, (off_t)size) || fstat(fd, &st) ||
	    unlink(in))
		abort();
	OK(mapped_open(m, fd, &st), "a file of %zu MB is mapped", size / MB);
	return fd;
}

static void leaves(const char *dir)
{
	enum { SIZE = 160 * MB };
	struct mapped m;
	int fd = map_file(&m, dir, SIZE);
	clock_t was;

	mapped_ahead(&m, 0);
	OK(soon(true, 60), "its first pages are entered");
	for (size_t at = 0; at <= SIZE; at += MB - 1)
		mapped_ahead(&m, at);
	OK(soon(false, 80), "those that the reader has left are taken out");
	OK(!memcmp(m.base, "first", 5), "and come back when they are looked at");
	was = clock();
	usleep(100000);
	OK(clock() - was < CLOCKS_PER_SEC / 20, "then the thread rests");
	mapped_close(&m);
	close(fd);
}

/* The reader is that much faster than the thread: what was given back is somebody else's */
static void overtaken(const char *dir)
{
	enum { GONE = 256 * MB };
	struct mapped m;
	int fd = map_file(&m, dir, 320 * MB);

	OK(mapped_give_back(&m, GONE + 1) == GONE, "256 MB are given back, none of them entered");
	if (mmap(m.base, GONE, PROT_READ, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0) != m.base)
		abort();
	mapped_ahead(&m, GONE + 1);
	OK(soon(true, 60), "what follows is entered");
	usleep(200000);
	OK(mapped_mb() < 100, "what is there now is left alone");
	munmap(m.base, GONE);
	mapped_close(&m);
	close(fd);
}

int main(void)
{
	char dir[] = "/tmp/t_mapped.XXXXXX";

	if (!mkdtemp(dir))
		abort();
	shrinks(dir, 100);
	shrinks(dir, 1400);
	leaves(dir);
	overtaken(dir);
	rmdir(dir);
	return tap_done();
}
