/* SPDX-License-Identifier: MIT */
/*
 * fuzz_proxylink.c - A message of whoever is at the other end: taken whole or not at all
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "proxylink.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int pair[2] = { -1, -1 };
	int fds[PROXYLINK_FDS], n;
	union proxylink_msg m;
	unsigned nfds = 77;

	if (!size || size > 4096)
		return 0;
	if (pair[0] < 0 && socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair))
		abort();
	if (send(pair[0], data, size, 0) != (ssize_t)size)
		abort();
	n = proxylink_recv(pair[1], &m, fds, &nfds);
	if (n == 1 ? m.head.size != size || nfds || memcmp(&m, data, size) : n != -EPROTO)
		abort();
	return 0;
}
