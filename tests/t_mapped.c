/* SPDX-License-Identifier: MIT */
/* mapped.h: a file that gets shorter when all of it was read, and not all of it is written */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

int main(void)
{
	char dir[] = "/tmp/t_mapped.XXXXXX";

	if (!mkdtemp(dir))
		abort();
	shrinks(dir, 100);
	shrinks(dir, 1400);
	rmdir(dir);
	return tap_done();
}
