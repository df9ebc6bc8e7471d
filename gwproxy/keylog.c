/* SPDX-License-Identifier: MIT */
/*
 * keylog.c - NSS key log to a file and to subscribers
 *
 * The file is opened for appending and each line is one write(2): threads need no lock there.  A
 * ZeroMQ socket belongs to one thread at a time, so publishing takes one.  Its Unix socket is made
 * here and handed to ZeroMQ, which would let a second program take the path away, and everybody in.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock.h"
#include "keylog.h"
#include "log.h"
#include "mqlib.h"

#define LINE_MAX_BYTES	512	/* the longest label, a random and a secret of 64 bytes: 260 */
#define BACKLOG		16

struct keylog {
	const char *path;		/* NULL: none */
	int fd;
	struct log_site site;
	int listener;			/* -1: nothing is published */
	struct sockaddr_un addr;
	void *zmq, *pub;
	pthread_mutex_t lock;
};

static int ex_index = -1;
static pthread_once_t ex_once = PTHREAD_ONCE_INIT;

static void make_index(void)
{
	ex_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

static void file_open(struct keylog *k, const char *path, const struct priv *priv)
{
	struct stat st;

	k->fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
	if (k->fd < 0 || fstat(k->fd, &st))
		die_conf("--keylog: %s: %m", path);
	if (S_ISREG(st.st_mode) && st.st_mode & (S_IRWXG | S_IRWXO))
		die_conf("--keylog: %s: others may read or write it (mode %03o): chmod 600 it", path,
			 (unsigned)st.st_mode & 0777);
	if (S_ISREG(st.st_mode) && !st.st_size && priv->uid != (uid_t)-1 &&
	    fchown(k->fd, priv->uid, priv->gid))
		log_warn("--keylog: %s: %m", path);
	k->path = path;
}

/* What a process that ended badly left behind goes; what somebody listens on does not */
static void clear_path(const struct sockaddr_un *a)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		die("socket: %m");
	if (!connect(fd, (const struct sockaddr *)a, sizeof(*a)))
		die_conf("--keylog-pub: %s: another program publishes there", a->sun_path);
	if (errno == ECONNREFUSED && unlink(a->sun_path))
		die_conf("--keylog-pub: %s: %m", a->sun_path);
	close(fd);
}

static void listener_open(struct keylog *k, const char *run_dir, const struct priv *priv)
{
	const char *path = k->addr.sun_path;
	int n;

	k->addr.sun_family = AF_UNIX;
	n = snprintf(k->addr.sun_path, sizeof(k->addr.sun_path), "%s/%s", run_dir, KEYLOG_SOCKET);
	if (n < 0 || (size_t)n >= sizeof(k->addr.sun_path))
		die_conf("--keylog-pub: %s/%s: a socket's path has at most 107 bytes", run_dir,
			 KEYLOG_SOCKET);
	clear_path(&k->addr);
	k->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* The file gets the socket's mode: there is no moment in which others could connect */
	if (k->listener < 0 || fchmod(k->listener, 0600) ||
	    bind(k->listener, (const struct sockaddr *)&k->addr, sizeof(k->addr)) ||
	    chmod(path, 0600) ||
	    (priv->uid != (uid_t)-1 && chown(path, priv->uid, priv->gid)) ||
	    listen(k->listener, BACKLOG))
		die_conf("--keylog-pub: %s: %m", path);
}

struct keylog *keylog_open(const char *path, const char *run_dir, const struct priv *priv)
{
	struct keylog *k = calloc(1, sizeof(*k));

	if (!k)
		die("out of memory");
	k->fd = k->listener = -1;
	pthread_mutex_init(&k->lock, NULL);
	if (path)
		file_open(k, path, priv);
	if (run_dir) {
		mq_load();
		listener_open(k, run_dir, priv);
	}
	if (path || run_dir)
		log_warn("TLS secrets of all intercepted connections are logged");
	return k;
}

void keylog_start(struct keylog *k)
{
	char addr[sizeof(k->addr.sun_path) + 8];
	const int now = 0;

	if (k->listener < 0)
		return;
	snprintf(addr, sizeof(addr), "ipc://%s", k->addr.sun_path);
	if (!(k->zmq = zmq.ctx_new()) || !(k->pub = zmq.socket(k->zmq, ZMQ_PUB)) ||
	    zmq.setsockopt(k->pub, ZMQ_USE_FD, &k->listener, sizeof(k->listener)) ||
	    zmq.setsockopt(k->pub, ZMQ_LINGER, &now, sizeof(now)) || zmq.bind(k->pub, addr))
		die("--keylog-pub: %s: %s", addr, zmq.strerror(errno));
}

static void write_line(struct keylog *k, const char *line, size_t len)
{
	ssize_t n = write(k->fd, line, len);

	if (n == (ssize_t)len)
		return;
	pthread_mutex_lock(&k->lock);
	log_limited(&k->site, clock_mono(), LOG_LVL_WARN, "%s: lines of the key log are lost: %s",
		    k->path, n < 0 ? strerror(errno) : "no room");
	pthread_mutex_unlock(&k->lock);
}

static void on_secret(const SSL *s, const char *secret)
{
	struct keylog *k = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(s), ex_index);
	char line[LINE_MAX_BYTES];
	int n = snprintf(line, sizeof(line), "%s\n", secret);

	if (n > 0 && (size_t)n < sizeof(line)) {
		if (k->fd >= 0)
			write_line(k, line, (size_t)n);
		if (k->pub) {
			pthread_mutex_lock(&k->lock);
			zmq.send(k->pub, line, (size_t)n, ZMQ_DONTWAIT);
			pthread_mutex_unlock(&k->lock);
		}
	}
	explicit_bzero(line, sizeof(line));
}

int keylog_attach(struct keylog *k, SSL_CTX *ctx)
{
	pthread_once(&ex_once, make_index);
	if (k->fd < 0 && k->listener < 0)
		return 0;
	if (ex_index < 0 || !SSL_CTX_set_ex_data(ctx, ex_index, k))
		return -ENOMEM;
	SSL_CTX_set_keylog_callback(ctx, on_secret);
	return 0;
}

void keylog_close(struct keylog *k)
{
	if (!k)
		return;
	if (k->pub)
		zmq.close(k->pub);
	if (k->zmq)
		zmq.ctx_term(k->zmq);
	else if (k->listener >= 0)
		close(k->listener);
	if (k->listener >= 0)
		unlink(k->addr.sun_path);
	if (k->fd >= 0)
		close(k->fd);
	pthread_mutex_destroy(&k->lock);
	free(k);
}
