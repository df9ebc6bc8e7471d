/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "hostport.h"
#include "listen.h"
#include "log.h"
#include "opt.h"

#define BACKLOG	1024

static int bind_listen(int family, const struct sockaddr *sa, socklen_t len)
{
	int one = 1, zero = 0, err, fd;

	fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
	if (bind(fd, sa, len) || listen(fd, BACKLOG)) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

/* All addresses of both families in one socket; IPv4 alone where there is no IPv6 */
static int listen_any(uint16_t port)
{
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd;

	fd = bind_listen(AF_INET6, (struct sockaddr *)&six, sizeof(six));
	if (fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL)
		fd = bind_listen(AF_INET, (struct sockaddr *)&four, sizeof(four));
	return fd;
}

static int listen_inet(const char *opt, const char *spec)
{
	struct addrinfo *ai;
	int fd;

	if (!strchr(spec, ':'))
		die_usage("--%s: '%s' is neither ADDR:PORT nor the path of a socket", opt, spec);
	ai = hostport_parse(opt, spec);
	fd = *spec == ':' ? listen_any((uint16_t)opt_u64(opt, spec + 1, 1, 65535)) :
			    bind_listen(ai->ai_family, ai->ai_addr, ai->ai_addrlen);
	freeaddrinfo(ai);
	return fd;
}

static int listen_unix(const char *opt, const char *path)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	const struct sockaddr *sa = (const struct sockaddr *)&un;
	mode_t mask;
	int fd, err;

	if (strlen(path) >= sizeof(un.sun_path))
		die_usage("--%s: '%s' is too long for a socket's path", opt, path);
	strcpy(un.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	err = connect(fd, sa, sizeof(un)) ? errno : 0;
	close(fd);
	if (err == ECONNREFUSED)	/* left behind by a crash */
		unlink(path);
	mask = umask(0117);
	fd = bind_listen(AF_UNIX, sa, sizeof(un));
	umask(mask);
	return fd;
}

int listen_open(const char *opt, const char *spec)
{
	int fd = strchr(spec, '/') ? listen_unix(opt, spec) : listen_inet(opt, spec);

	if (fd < 0)
		die("--%s %s: %s", opt, spec, strerror(-fd));
	return fd;
}
