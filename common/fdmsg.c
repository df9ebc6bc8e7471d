/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fdmsg.h"

int fdmsg_send(int fd, const void *msg, size_t len, const int *fds, unsigned nfds)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(FDMSG_FDS * sizeof(int))];
	struct iovec iov = { .iov_len = len };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;

	if (nfds > FDMSG_FDS)
		return -EINVAL;
	memcpy(&iov.iov_base, &msg, sizeof(msg));	/* sendmsg(2) only reads it */
	if (nfds) {
		memset(control, 0, sizeof(control));
		h.msg_control = control;
		h.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		c = CMSG_FIRSTHDR(&h);
		if (!c)
			return -EINVAL;
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, nfds * sizeof(int));
	}
	if (sendmsg(fd, &h, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return 0;
	return errno == ECONNRESET || errno == ENOTCONN ? -EPIPE : -errno;
}

void fds_close(const int *fds, unsigned n)
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

ssize_t fdmsg_recv(int fd, void *msg, size_t size, int *fds, unsigned *nfds)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(FDMSG_FDS * sizeof(int))];
	struct iovec iov = { msg, size };
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
	if (!n || h.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		fds_close(fds, k);
		return n && !(h.msg_flags & MSG_TRUNC) && k < FDMSG_FDS ? -EMFILE : -EPROTO;
	}
	*nfds = k;
	return n;
}
