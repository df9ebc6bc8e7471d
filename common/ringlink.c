/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <sodium.h>

#include "log.h"
#include "ringlink.h"

#define STRANGERS	4u			/* places of users who may only be told no */
#define RIGHTS		(1 + RING_STAGES)	/* memory file, doorbells */

_Static_assert(RING_NONCE == CAP_NONCE, "what is shown is what was offered");

/* What a guest says; the answer is an int: 0 or -errno */
struct request {
	uint32_t magic;
	uint32_t seat;
	uint8_t nonce[RING_NONCE];
	uint32_t no;		/* it shall not take the seat */
};

static socklen_t abstract(struct sockaddr_un *sa, const char *name)
{
	size_t len = strlen(name);

	*sa = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(sa->sun_path + 1, name, len);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len);
}

static uid_t peer_uid(int fd)
{
	struct ucred cred = { .uid = (uid_t)-1 };
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len))
		return (uid_t)-1;
	return cred.uid;
}

/* In a user namespace every user that is not mapped looks like the overflow uid */
static bool looks_like_many(uid_t uid)
{
	FILE *over = fopen("/proc/sys/kernel/overflowuid", "re");
	FILE *map = fopen("/proc/self/uid_map", "re");
	unsigned long overflow, first, outside, count;
	bool many = !over || fscanf(over, "%lu", &overflow) != 1 || uid == overflow;

	if (many && map && fscanf(map, "%lu %lu %lu", &first, &outside, &count) == 3)
		many = first || outside || count != UINT32_MAX;
	if (over)
		fclose(over);
	if (map)
		fclose(map);
	return many;
}

static bool same_user(uid_t uid)
{
	return uid == geteuid() && !looks_like_many(uid);
}

/* --- the head ------------------------------------------------------------- */

static int watch(struct ring_host *h, int fd, uint64_t tag)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = tag };

	return epoll_ctl(h->fd, EPOLL_CTL_ADD, fd, &ev) ? -errno : 0;
}

static int open_socket(struct ring_host *h)
{
	struct sockaddr_un sa;
	uint8_t name[RING_NONCE];
	socklen_t len;

	randombytes_buf(h->nonce, sizeof(h->nonce));
	randombytes_buf(name, sizeof(name));
	strcpy(h->name, "gwtools-");
	sodium_bin2hex(h->name + strlen(h->name), sizeof(h->name) - strlen(h->name), name, sizeof(name));
	len = abstract(&sa, h->name);
	h->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (h->listen_fd < 0 || bind(h->listen_fd, (struct sockaddr *)&sa, len) ||
	    listen(h->listen_fd, SOMAXCONN))
		return -errno;
	h->fd = epoll_create1(EPOLL_CLOEXEC);
	if (h->fd < 0)
		return -errno;
	return watch(h, h->listen_fd, ARRAY_SIZE(h->conn));
}

int host_open(struct ring_host *h, uint32_t entries, uint32_t stride)
{
	int err;

	memset(h, 0, sizeof(*h));
	h->fd = h->listen_fd = -1;
	for (size_t i = 0; i < ARRAY_SIZE(h->conn); i++)
		h->conn[i].fd = -1;
	err = ring_create(&h->ring, entries, stride);
	if (err)
		return err;
	err = open_socket(h);
	if (err)
		host_close(h);
	else
		ring_set_state(&h->ring, 0, RING_SEATED);
	return err;
}

void host_offer(const struct ring_host *h, unsigned seat, struct cap_offer *o)
{
	*o = (struct cap_offer){
		.seat = seat, .magic = RING_MAGIC, .version = RING_VERSION,
		.layout = sizeof(struct ring_shm), .frame = FRAME_SHARED,
	};
	memcpy(o->nonce, h->nonce, sizeof(o->nonce));
	memcpy(o->path, h->name, sizeof(o->path));
}

static int send_answer(int fd, int answer, const struct ring *r)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(RIGHTS * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { &answer, sizeof(answer) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	int fds[RIGHTS];
	struct cmsghdr *c;

	if (!answer) {
		m.msg_control = control.room;
		m.msg_controllen = sizeof(control.room);
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(fds));
		fds[0] = r->fd;
		memcpy(fds + 1, r->bell, sizeof(r->bell));
		memcpy(CMSG_DATA(c), fds, sizeof(fds));
	}
	return sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

/* Return: 0 or what the guest is to be told */
static int judge(struct ring_host *h, int fd, const struct request *q)
{
	uid_t uid = peer_uid(fd);
	uint64_t why;

	if (q->magic != RING_MAGIC || sodium_memcmp(q->nonce, h->nonce, sizeof(h->nonce)) ||
	    !q->seat || q->seat >= RING_STAGES)
		return -EPROTO;
	if (!q->no && same_user(uid))
		return 0;
	why = q->no ? RING_DECLINED : 1 + (uint64_t)uid;
	atomic_store_explicit(&h->ring.shm->seat[q->seat].refused, why, memory_order_relaxed);
	ring_ring(&h->ring, q->seat - 1);
	return -EPERM;
}

static void hang_up(struct ring_host *h, size_t i)
{
	unsigned seat = h->conn[i].seat;

	close(h->conn[i].fd);
	h->conn[i].fd = -1;
	h->conn[i].seat = 0;
	if (!seat)
		return;
	/* Another connection may have the seat already: its lock was free before we looked */
	for (size_t k = 0; k < ARRAY_SIZE(h->conn); k++)
		if (h->conn[k].fd >= 0 && h->conn[k].seat == seat)
			return;
	if (ring_state(&h->ring, seat) == RING_SEATED)
		ring_set_state(&h->ring, seat, RING_VACANT);
	ring_ring(&h->ring, seat - 1);
}

static void serve_guest(struct ring_host *h, size_t i)
{
	struct request q;
	ssize_t n = recv(h->conn[i].fd, &q, sizeof(q), MSG_DONTWAIT);
	int answer;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n != sizeof(q) || h->conn[i].seat) {
		hang_up(h, i);
		return;
	}
	answer = judge(h, h->conn[i].fd, &q);
	if (send_answer(h->conn[i].fd, answer, &h->ring) || answer) {
		hang_up(h, i);
		return;
	}
	h->conn[i].seat = q.seat;
}

static void serve_listener(struct ring_host *h)
{
	int fd = accept4(h->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	size_t i = 0;

	if (fd < 0) {
		h->deaf = errno == EMFILE || errno == ENFILE;
		if (h->deaf)	/* who knocks would keep us awake */
			epoll_ctl(h->fd, EPOLL_CTL_DEL, h->listen_fd, NULL);
		return;
	}
	if (peer_uid(fd) != geteuid())
		i = ARRAY_SIZE(h->conn) - STRANGERS;
	for (; i < ARRAY_SIZE(h->conn); i++) {
		if (h->conn[i].fd >= 0)
			continue;
		if (watch(h, fd, i))
			break;
		h->conn[i].fd = fd;
		return;
	}
	close(fd);		/* strangers hold all places: they have no nonce to show */
}

void host_serve(struct ring_host *h)
{
	struct epoll_event ev[8];
	int n;

	if (h->deaf)
		h->deaf = watch(h, h->listen_fd, ARRAY_SIZE(h->conn));
	n = epoll_wait(h->fd, ev, ARRAY_SIZE(ev), 0);
	for (int i = 0; i < n; i++) {
		if (ev[i].data.u64 >= ARRAY_SIZE(h->conn))
			serve_listener(h);
		else if (h->conn[ev[i].data.u64].fd >= 0)
			serve_guest(h, (size_t)ev[i].data.u64);
	}
}

void host_close(struct ring_host *h)
{
	for (size_t i = 0; i < ARRAY_SIZE(h->conn); i++)
		if (h->conn[i].fd >= 0)
			close(h->conn[i].fd);
	if (h->listen_fd >= 0)
		close(h->listen_fd);
	if (h->fd >= 0)
		close(h->fd);
	ring_close(&h->ring);
	h->fd = h->listen_fd = -1;
}

/* --- who joins ------------------------------------------------------------ */

static int refuse(struct ring_guest *g, int err, const char *why)
{
	snprintf(g->why, sizeof(g->why), "%s", why);
	guest_close(g);
	return err;
}

void guest_init(struct ring_guest *g)
{
	memset(g, 0, sizeof(*g));
	g->fd = g->lock_fd = g->ring.fd = -1;
	for (unsigned k = 0; k < RING_STAGES; k++)
		g->ring.bell[k] = -1;
}

/* Return: connected socket, or -errno */
static int knock(const struct cap_offer *o)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un sa;
	int err;

	if (fd >= 0 && !connect(fd, (struct sockaddr *)&sa, abstract(&sa, o->path)))
		return fd;
	err = -errno;
	if (fd >= 0)
		close(fd);
	return err;
}

/* Show the nonce, and say what for; false with errno */
static bool say(int fd, const struct cap_offer *o, bool no)
{
	struct request q = { .magic = RING_MAGIC, .seat = o->seat, .no = no };

	memcpy(q.nonce, o->nonce, sizeof(q.nonce));
	return send(fd, &q, sizeof(q), MSG_NOSIGNAL) == sizeof(q);
}

void guest_decline(const struct cap_offer *o)
{
	int fd = knock(o);

	if (fd < 0)
		return;
	(void)say(fd, o, true);
	close(fd);
}

int guest_ask(struct ring_guest *g, const struct cap_offer *o)
{
	char why[64];
	uid_t uid;

	guest_init(g);
	g->offer = *o;
	g->seat = o->seat;
	if (o->magic != RING_MAGIC || o->version != RING_VERSION ||
	    o->layout != sizeof(struct ring_shm) || o->frame != FRAME_SHARED) {
		guest_decline(o);
		return refuse(g, -EPROTO, "builds differ");
	}
	if (!o->seat || o->seat >= RING_STAGES)
		return refuse(g, -EPROTO, "all seats are taken");
	g->fd = knock(o);
	if (g->fd < 0)
		return refuse(g, g->fd, g->fd == -ECONNREFUSED ?
			      "in another network namespace, or gone" : strerror(-g->fd));
	uid = peer_uid(g->fd);
	if (!same_user(uid)) {
		snprintf(why, sizeof(why), uid == geteuid() ? "uid %u may be several users" :
			 "writer is uid %u, we are %u", uid, geteuid());
		/* It hears of it, too: asking says who we are */
		(void)say(g->fd, o, false);
		return refuse(g, -EPERM, why);
	}
	if (!say(g->fd, o, false))
		return refuse(g, -errno, strerror(errno));
	return 0;
}

/* The answer's descriptors, or -errno */
static int take_answer(struct ring_guest *g, int fds[RIGHTS])
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(RIGHTS * sizeof(int))];
	} control;
	int answer = 0;
	struct iovec iov = { &answer, sizeof(answer) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.room,
			    .msg_controllen = sizeof(control.room) };
	ssize_t n = recvmsg(g->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *c;

	if (n < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	c = CMSG_FIRSTHDR(&m);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
		if (c->cmsg_len != CMSG_LEN(RIGHTS * sizeof(int)) || m.msg_flags & MSG_CTRUNC) {
			for (size_t i = 0; CMSG_LEN((i + 1) * sizeof(int)) <= c->cmsg_len; i++) {
				int fd;

				memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
				close(fd);
			}
			return -EPROTO;
		}
		memcpy(fds, CMSG_DATA(c), RIGHTS * sizeof(int));
		return 0;
	}
	return n == sizeof(answer) && answer < 0 ? answer : -ECONNRESET;
}

/* The kernel gives the lock to one, and takes it back when that one dies */
int seat_lock(const struct ring *r, unsigned seat)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = seat, .l_len = 1 };
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", r->fd);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (!fcntl(fd, F_OFD_SETLK, &l))
		return fd;
	close(fd);
	return -EBUSY;
}

int guest_answer(struct ring_guest *g)
{
	int fds[RIGHTS] = { -1 }, err;

	err = take_answer(g, fds);
	if (err == -EAGAIN)
		return err;
	if (err)
		return refuse(g, err, err == -ECONNRESET ? "the ring's head is gone" : strerror(-err));
	err = ring_map(&g->ring, fds[0]);
	memcpy(g->ring.bell, fds + 1, sizeof(g->ring.bell));
	if (err) {
		close(fds[0]);
		return refuse(g, err, "it is no ring of this build");
	}
	g->lock_fd = seat_lock(&g->ring, g->seat);
	if (g->lock_fd < 0)
		return refuse(g, g->lock_fd, g->lock_fd == -EBUSY ? "somebody else has the seat" :
			      "no /proc");
	g->joined = true;
	return 0;
}

bool guest_orphaned(const struct ring_guest *g)
{
	char c;
	ssize_t n = recv(g->fd, &c, 1, MSG_DONTWAIT | MSG_PEEK);

	return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

bool seat_held(const struct ring *r, unsigned seat)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = seat, .l_len = 1 };

	return fcntl(r->fd, F_OFD_GETLK, &l) || l.l_type != F_UNLCK;
}

bool seats_clear(struct ring *r, unsigned k, unsigned from, uint64_t upto, const char *spec)
{
	unsigned last = atomic_load_explicit(&r->shm->last, memory_order_acquire);
	uint64_t lost;

	if (last >= RING_STAGES)
		return false;
	for (unsigned j = from; j <= last; j++)
		if (seat_held(r, j))
			return false;
	if (last <= k)
		return true;
	lost = upto - ring_upto(r, last);
	if (lost)
		log_notice("%s: %llu packets were lost with the stages behind", spec,
			   (unsigned long long)lost);
	/* Release: pairs with the head's acquire; nobody looks at those frames any more */
	atomic_store_explicit(&r->shm->last, k, memory_order_release);
	ring_ring(r, 0);
	return true;
}

void guest_close(struct ring_guest *g)
{
	if (g->fd >= 0)
		close(g->fd);
	if (g->lock_fd >= 0)
		close(g->lock_fd);
	ring_close(&g->ring);
	g->fd = g->lock_fd = -1;
	g->joined = false;
}

void guest_offer(const struct ring_guest *g, struct cap_offer *o)
{
	*o = g->offer;
	o->seat = g->seat + 1;
}
