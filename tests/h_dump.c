/* SPDX-License-Identifier: MIT */
/*
 * h_dump - Print a capture with all its metadata, a line a packet, for comparisons
 *
 *	h_dump FILE		seq, time, link type, metadata, encapsulation and bytes in hex
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "capfile.h"

static void hex(const uint8_t *p, size_t len)
{
	putchar(' ');
	for (size_t i = 0; i < len; i++)
		printf("%02x", p[i]);
	if (!len)
		putchar('-');
}

static void print(struct frame *f)
{
	printf("%016llx/%08x #%llu %llu link %u attach %llx dialect %u marks %x mtu %u %u/%u wire %u",
	       (unsigned long long)f->endpoint, f->cookie, (unsigned long long)f->seq,
	       (unsigned long long)f->ts_ns, f->linktype, (unsigned long long)f->attachment,
	       f->dialect, f->marks, f->frag_mtu, f->both_seq, f->both_ack, f->orig_len);
	hex(frame_encap(f), f->encap_len);
	hex(frame_data(f), f->len);
	putchar('\n');
}

int main(int argc, char **argv)
{
	struct frame **pool = frame_pool_new(1, 64), *f = pool[0];
	static struct cap_reader r;
	enum cap_event ev;
	size_t at = 0, used;
	struct stat st;
	uint8_t *data = NULL;
	int fd, status = 0;

	fd = argc == 2 ? open(argv[1], O_RDONLY) : -1;
	if (fd < 0 || fstat(fd, &st) || !(data = malloc((size_t)st.st_size + 1)) ||
	    read(fd, data, (size_t)st.st_size) != st.st_size) {
		fprintf(stderr, "usage: h_dump FILE\n");
		return 2;
	}
	cap_reader_init(&r);
	do {
		ev = cap_next(&r, data + at, (size_t)st.st_size - at, &used, f);
		at += used;
		if (ev == CAP_PACKET)
			print(f);
	} while (ev != CAP_MORE && ev != CAP_ERROR);
	if (ev == CAP_ERROR || cap_cut(&r, (size_t)st.st_size - at)) {
		fprintf(stderr, "h_dump: %s: %s\n", argv[1], *r.err ? r.err : "cut");
		status = 1;
	}
	close(fd);
	free(data);
	frame_pool_free(pool);
	return status;
}
