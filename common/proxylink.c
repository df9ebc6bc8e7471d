/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "proxylink.h"

static size_t size_of(unsigned type)
{
	switch (type) {
	case PROXYLINK_HELLO:
		return sizeof(struct proxylink_hello);
	case PROXYLINK_ENDPOINT:
	case PROXYLINK_GONE:
	case PROXYLINK_WANT:
	case PROXYLINK_SOCKETS:
		return sizeof(struct proxylink_endpoint);
	case PROXYLINK_SYN:
		return sizeof(struct proxylink_syn);
	case PROXYLINK_ANSWER:
	case PROXYLINK_OVER:
		return sizeof(struct proxylink_answer_msg);
	case PROXYLINK_LEAVE:
		return sizeof(struct proxylink_head);
	}
	return 0;
}

int proxylink_send(int fd, union proxylink_msg *m, const int *fds, unsigned nfds)
{
	size_t len = size_of(m->head.type);

	if (!len)
		return -EINVAL;
	m->head.size = (uint16_t)len;
	return fdmsg_send(fd, m, len, fds, nfds);
}

int proxylink_recv(int fd, union proxylink_msg *m, int *fds, unsigned *nfds)
{
	union proxylink_msg got = { .head.type = 0 };
	unsigned k;
	ssize_t n = fdmsg_recv(fd, &got, sizeof(got), fds, &k);

	if (n == -EMFILE && size_of(got.head.type) == got.head.size)
		*m = got;
	if (n <= 0)
		return (int)n;
	if ((size_t)n < sizeof(got.head) || got.head.size != (size_t)n ||
	    size_of(got.head.type) != (size_t)n) {
		fds_close(fds, k);
		return -EPROTO;
	}
	memcpy(m, &got, (size_t)n);
	*nfds = k;
	return 1;
}
