/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "log.h"
#include "ready.h"

/* sd_notify(3): a datagram to a path, or to an abstract name after '@' */
static void notify_socket(const char *path)
{
	static const char msg[] = "READY=1";
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	size_t len = strlen(path);
	socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	int fd;

	if (len >= sizeof(un.sun_path) || (*path != '/' && *path != '@')) {
		log_warn("$NOTIFY_SOCKET '%s' is no socket address", path);
		return;
	}
	memcpy(un.sun_path, path, len);
	if (*path == '@')
		un.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || sendto(fd, msg, sizeof(msg) - 1, MSG_NOSIGNAL | MSG_DONTWAIT,
			     (struct sockaddr *)&un, size) < 0)
		log_warn("$NOTIFY_SOCKET %s: %m", path);
	if (fd >= 0)
		close(fd);
}

void ready_notify(int fd)
{
	const char *path = getenv("NOTIFY_SOCKET");

	if (path)
		notify_socket(path);
	if (fd < 0)
		return;
	if (write(fd, "\n", 1) != 1)
		log_warn("--ready-fd %d: %m", fd);
	close(fd);
}
