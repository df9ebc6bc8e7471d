/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "control.h"
#include "log.h"
#include "net.h"
#include "wire.h"

#define PREFIX		"gwsim."
#define NAME_MAX_LEN	64
#define REFUSAL_MAX	128
#define ASK_MS		1000
#define LISTENERS	(1 + 2 * SIM_ENDPOINTS + SIM_APPLIANCES)

struct control {
	char id[16];
	char name[NAME_MAX_LEN];
	int fd[LISTENERS];
	unsigned n;
};

static socklen_t abstract(struct sockaddr_un *sa, const char *name)
{
	*sa = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(sa->sun_path + 1, sizeof(sa->sun_path) - 1, "%s", name);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
}

static int add_listener(struct control *c)
{
	struct sockaddr_un sa;
	socklen_t len = abstract(&sa, c->name);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&sa, len) || listen(fd, 8)) {
		int err = -errno;

		close(fd);
		return err;
	}
	c->fd[c->n++] = fd;
	return 0;
}

struct control *control_open(void)
{
	static struct control c;

	c.n = 0;
	snprintf(c.id, sizeof(c.id), "%d", getpid());
	snprintf(c.name, sizeof(c.name), PREFIX "%s.%" PRIu64, c.id, sim_now_ms());
	errno = -add_listener(&c);
	return errno ? NULL : &c;
}

const char *control_id(const struct control *c)
{
	return c->id;
}

unsigned control_listeners(const struct control *c)
{
	return c->n;
}

int control_fd(const struct control *c, unsigned i)
{
	return c->fd[i];
}

static int listen_in(struct control *c, int ns)
{
	int err = net_enter(ns);

	return err ? err : add_listener(c);
}

int control_inside(struct control *c, const struct sim *s)
{
	int back = net_self(), err = back < 0 ? back : 0;

	for (unsigned i = 0; !err && i < s->conf->endpoints; i++)
		for (int role = 0; !err && role < 2; role++)
			err = listen_in(c, sim_ns(s, (enum sim_role)role, i));
	for (unsigned i = 0; !err && i < s->conf->appliances; i++)
		err = listen_in(c, sim_ns(s, SIM_APPLIANCE, i));
	if (back >= 0) {
		net_enter(back);
		close(back);
	}
	return err;
}

/* The namespace wanted, or -1 */
static int find_ns(const struct sim *s, const struct control_want *w)
{
	if (w->role == SIM_APPLIANCE)
		return w->n < s->conf->appliances ? sim_ns(s, SIM_APPLIANCE, w->n) : -1;
	if (w->role != SIM_CLIENT && w->role != SIM_SERVER)
		return -1;
	for (unsigned i = 0; i < s->conf->endpoints; i++)
		if (!*w->endpoint || !strcmp(w->endpoint, s->endpoint[i].name))
			return sim_ns(s, w->role, i);
	return -1;
}

static void send_fds(int to, const int *fds)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int) * CONTROL_FDS)];
	} ctl = { .room = { 0 } };
	char ok = 0;
	struct iovec iov = { .iov_base = &ok, .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = ctl.room,
			      .msg_controllen = sizeof(ctl.room) };
	struct cmsghdr *h = CMSG_FIRSTHDR(&msg);

	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int) * CONTROL_FDS);
	memcpy(CMSG_DATA(h), fds, sizeof(int) * CONTROL_FDS);
	(void)!sendmsg(to, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void refuse(int to, const char *why)
{
	(void)!send(to, why, strlen(why), MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void grant(int to, int net)
{
	static const char *const files[] = {
		[CONTROL_USER] = "/proc/self/ns/user",
		[CONTROL_MNT] = "/proc/self/ns/mnt",
		[CONTROL_PID] = "/proc/self/ns/pid",
		[CONTROL_ROOT] = "/",
	};
	int fds[CONTROL_FDS] = { [CONTROL_NET] = net };
	bool ok = true;

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		if (files[i])
			fds[i] = open(files[i], O_RDONLY | O_CLOEXEC);
		ok = ok && fds[i] >= 0;
	}
	if (ok)
		send_fds(to, fds);
	else
		refuse(to, "its namespaces cannot be opened");
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		if (files[i] && fds[i] >= 0)
			close(fds[i]);
}

/* In the cell, who started it is root, and nobody else is */
static bool is_peer(int fd, uid_t uid)
{
	struct ucred who;
	socklen_t len = sizeof(who);

	return !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) && who.uid == uid;
}

static void set_timeout(int fd, unsigned ms)
{
	struct timeval t = { ms / 1000, (ms % 1000) * 1000 };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
}

void control_serve(const struct control *c, unsigned i, const struct sim *s)
{
	int fd = accept4(c->fd[i], NULL, NULL, SOCK_CLOEXEC), ns;
	struct control_want w;

	if (fd < 0)
		return;
	set_timeout(fd, 100);		/* it asks as soon as it is connected */
	if (is_peer(fd, 0) && recv(fd, &w, sizeof(w), 0) == sizeof(w)) {
		w.endpoint[sizeof(w.endpoint) - 1] = '\0';
		ns = find_ns(s, &w);
		if (ns < 0)
			refuse(fd, "it has no such client, server or appliance");
		else
			grant(fd, ns);
	}
	close(fd);
}

/* Without being granted: the reason is in @why */
enum asked { ASK_GRANTED, ASK_REFUSED, ASK_ANOTHER };

static enum asked read_answer(int fd, int *fds, char *why)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int) * CONTROL_FDS)];
	} ctl;
	struct iovec iov = { .iov_base = why, .iov_len = REFUSAL_MAX - 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = ctl.room,
			      .msg_controllen = sizeof(ctl.room) };
	ssize_t n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
	struct cmsghdr *h = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;

	why[n > 0 ? n : 0] = '\0';
	if (!h || h->cmsg_type != SCM_RIGHTS ||
	    h->cmsg_len != CMSG_LEN(sizeof(int) * CONTROL_FDS)) {
		if (n > 0)
			return ASK_REFUSED;
		snprintf(why, REFUSAL_MAX, "it does not answer");
		return ASK_ANOTHER;
	}
	memcpy(fds, CMSG_DATA(h), sizeof(int) * CONTROL_FDS);
	return ASK_GRANTED;
}

static enum asked ask_one(const char *name, const struct control_want *want, int *fds, char *why)
{
	struct sockaddr_un sa;
	socklen_t len = abstract(&sa, name);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	enum asked got = ASK_ANOTHER;

	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, len)) {
		snprintf(why, REFUSAL_MAX, "%s", strerror(errno));
	} else if (!is_peer(fd, geteuid())) {
		snprintf(why, REFUSAL_MAX, "it belongs to another user");
	} else {
		set_timeout(fd, ASK_MS);
		(void)!send(fd, want, sizeof(*want), MSG_NOSIGNAL);
		got = read_answer(fd, fds, why);
	}
	if (fd >= 0)
		close(fd);
	return got;
}

/* "gwsim.ID.TIME": its time, or 0 if it is not a run, or not @id */
static uint64_t run_time(const char *name, const char *id)
{
	size_t n = strcspn(name + strlen(PREFIX), ".");

	if (strncmp(name, PREFIX, strlen(PREFIX)) != 0)
		return 0;
	if (id && (strlen(id) != n || strncmp(name + strlen(PREFIX), id, n) != 0))
		return 0;
	name += strlen(PREFIX) + n;
	return *name ? strtoull(name + 1, NULL, 10) : 0;
}

/* The newest run older than @before; false: there is none */
static bool next_run(const char *id, uint64_t before, char *out, uint64_t *time)
{
	char line[512];
	FILE *f = fopen("/proc/net/unix", "re");

	*time = 0;
	while (f && fgets(line, sizeof(line), f)) {
		const char *at = strrchr(line, '@');
		uint64_t t;

		line[strcspn(line, "\n")] = '\0';
		t = at && strlen(at + 1) > strlen(PREFIX) ? run_time(at + 1, id) : 0;
		if (t > *time && t < before) {
			*time = t;
			snprintf(out, NAME_MAX_LEN, "%s", at + 1);
		}
	}
	if (f)
		fclose(f);
	return *time != 0;
}

int control_ask(const char *id, const struct control_want *want, int fds[CONTROL_FDS])
{
	char name[NAME_MAX_LEN], why[REFUSAL_MAX] = "";
	uint64_t time = UINT64_MAX;
	enum asked got = ASK_ANOTHER;

	while (got == ASK_ANOTHER && next_run(id, time, name, &time))
		got = ask_one(name, want, fds, why);
	if (got == ASK_GRANTED)
		return 0;
	if (*why)
		log_error("the simulation cannot be joined: %s", why);
	else if (id)
		log_error("no simulation %s runs here", id);
	else
		log_error("no simulation runs here");
	return -1;
}
