/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

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
	}
	return 0;
}

int proxylink_send(int fd, union proxylink_msg *m, const int *fds, unsigned nfds)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(PROXYLINK_FDS * sizeof(int))];
	struct iovec iov = { m, size_of(m->head.type) };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;

	if (!iov.iov_len || nfds > PROXYLINK_FDS)
		return -EINVAL;
	m->head.size = (uint16_t)iov.iov_len;
	if (nfds) {
		memset(control, 0, sizeof(control));
		h.msg_control = control;
		h.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		c = CMSG_FIRSTHDR(&h);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, nfds * sizeof(int));
	}
	if (sendmsg(fd, &h, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return 0;
	return errno == ECONNRESET || errno == ENOTCONN ? -EPIPE : -errno;
}

static void close_all(const int *fds, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
}

static unsigned take_fds(struct msghdr *h, int *fds)
{
	unsigned n = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fds, CMSG_DATA(c), n * sizeof(int));
	}
	return n;
}

int proxylink_recv(int fd, union proxylink_msg *m, int *fds, unsigned *nfds)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(PROXYLINK_FDS * sizeof(int))];
	union proxylink_msg got;
	struct iovec iov = { &got, sizeof(got) };
	struct msghdr h = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	ssize_t n = recvmsg(fd, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	unsigned k;

	if (n < 0)
		return errno == ECONNRESET ? 0 : -errno;
	k = take_fds(&h, fds);
	if (!n && !k)
		return 0;
	if (h.msg_flags & (MSG_TRUNC | MSG_CTRUNC) || (size_t)n < sizeof(got.head) ||
	    got.head.size != (size_t)n || size_of(got.head.type) != (size_t)n) {
		close_all(fds, k);
		return -EPROTO;
	}
	memcpy(m, &got, (size_t)n);
	*nfds = k;
	return 1;
}
