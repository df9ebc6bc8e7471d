/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "tlsio.h"
#include "wire.h"

#define RECORD	16709u		/* OpenSSL's buffer: 16 KB, and what TLS adds at most */
#define ROOM	(8 * RECORD)	/* LEG_UNSENT, in whole records */
#define BULK	(2 * RECORD)	/* who sends so much at once sends more */
#define SPARES	4u		/* a connection's: more are not in use at a time, or seldom */

static _Thread_local struct {
	uint8_t *buf[SPARES];
	unsigned n;
} spare;

static bool buf_take(struct tlsio_buf *b)
{
	uint8_t *p = spare.n ? spare.buf[--spare.n] : malloc(ROOM);

	*b = (struct tlsio_buf){ .p = p, .room = p ? ROOM : 0 };
	return p;
}

static void buf_give(struct tlsio_buf *b)
{
	if (b->room == ROOM && spare.n < SPARES)
		spare.buf[spare.n++] = b->p;
	else
		free(b->p);
	*b = (struct tlsio_buf){ 0 };
}

/* Without memory it stays in the large one. */
static void buf_shrink(struct tlsio_buf *b)
{
	struct tlsio_buf now = { .end = b->end - b->at, .room = b->end - b->at };

	if (!b->p || b->room != ROOM || !(now.p = malloc(now.room)))
		return;
	memcpy(now.p, b->p + b->at, now.room);
	buf_give(b);
	*b = now;
}

void tlsio_spare_close(void)
{
	while (spare.n)
		free(spare.buf[--spare.n]);
}

void tlsio_close(struct tlsio *io)
{
	buf_give(&io->in);
	buf_give(&io->out);
}

static int write_out(struct tlsio *io)
{
	struct tlsio_buf *b = &io->out;

	while (b->at < b->end) {
		ssize_t n = send(io->leg->fd, b->p + b->at, b->end - b->at, MSG_NOSIGNAL);

		if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
			io->leg->ready &= (short)~POLLOUT;
			return -EAGAIN;
		}
		if (n < 0)
			return -errno;
		b->at += (size_t)n;
	}
	if (b->end > RECORD)	/* who has more to come: ask anew, and read as much as can be */
		io->leg->room = 0;
	buf_give(b);
	return 0;
}

int tlsio_push(struct tlsio *io)
{
	int err = io->out.p ? write_out(io) : 0;

	buf_shrink(&io->out);
	buf_shrink(&io->in);
	return err;
}

static int io_write(BIO *bio, const char *data, size_t len, size_t *done)
{
	struct tlsio *io = BIO_get_data(bio);
	struct tlsio_buf *b = &io->out;
	int err = 0;

	BIO_clear_retry_flags(bio);
	if (b->p && (b->end + len > b->room || (b->end + len > RECORD && len > io->leg->room)))
		err = tlsio_push(io);
	if (!err && !b->p && !buf_take(b))
		err = -ENOMEM;
	if (err == -EAGAIN)
		BIO_set_retry_write(bio);
	errno = -err;
	if (err)
		return -1;
	*done = MIN(len, ROOM);
	memcpy(b->p + b->end, data, *done);
	b->end += *done;
	leg_wrote(io->leg, *done);
	return 1;
}

/*
 * The kernel makes the window as large as its buffer allows, anew when it meets larger packets.  Two
 * packets of 64 KB then leave room for a small third one, which costs as much as they do.
 */
static void bind_window(const struct leg *l)
{
	int now, want = (int)l->window;
	socklen_t len = sizeof(now);

	if (!want || getsockopt(l->fd, IPPROTO_TCP, TCP_WINDOW_CLAMP, &now, &len) || now == want)
		return;
	setsockopt(l->fd, IPPROTO_TCP, TCP_WINDOW_CLAMP, &want, sizeof(want));
}

/* Return: bytes, 0 at the end of the stream, -errno */
static ssize_t fill(struct tlsio *io, char *buf, size_t len)
{
	struct iovec iov[2] = { { .iov_base = buf, .iov_len = len } };
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = 1 };
	struct leg *l = io->leg;
	ssize_t n;

	if (!(l->ready & POLLIN))
		return -EAGAIN;
	if (l->ahead > len && buf_take(&io->in)) {
		iov[1] = (struct iovec){ io->in.p, MIN(l->ahead - len, ROOM) };
		m.msg_iovlen = 2;
	}
	n = recvmsg(l->fd, &m, 0);
	if (n < 0)
		n = errno == EINTR ? -EAGAIN : -errno;
	if (n > (ssize_t)BULK)
		bind_window(l);
	if (n > (ssize_t)len)
		io->in.end = (size_t)n - len;
	else
		buf_give(&io->in);
	/* A short read emptied the socket, unless its end is in there, too */
	if (n > 0 && (size_t)n < len + iov[1].iov_len && !(l->ready & (POLLRDHUP | POLLERR)))
		l->ready &= (short)~POLLIN;
	return MIN(n, (ssize_t)len);
}

static int io_read(BIO *bio, char *buf, size_t len, size_t *done)
{
	struct tlsio *io = BIO_get_data(bio);
	struct tlsio_buf *b = &io->in;
	ssize_t n;

	BIO_clear_retry_flags(bio);
	if (tlsio_pending(io)) {
		*done = MIN(len, b->end - b->at);
		memcpy(buf, b->p + b->at, *done);
		b->at += *done;
		if (b->at == b->end)
			buf_give(b);
		return 1;
	}
	n = fill(io, buf, len);
	if (n > 0) {
		*done = (size_t)n;
		return 1;
	}
	io->eof = !n;
	if (n == -EAGAIN)
		BIO_set_retry_read(bio);
	errno = (int)-n;
	return n ? -1 : 0;
}

static long io_ctrl(BIO *bio, int what, long arg, void *p)
{
	struct tlsio *io = BIO_get_data(bio);
	int err;

	(void)arg;
	(void)p;
	switch (what) {
	case BIO_CTRL_EOF:
		return io->eof;
	case BIO_CTRL_FLUSH:
		BIO_clear_retry_flags(bio);
		err = tlsio_push(io);
		if (err == -EAGAIN)
			BIO_set_retry_write(bio);
		errno = -err;
		return err ? -1 : 1;
	default:
		return 0;
	}
}

static BIO_METHOD *method;

static void method_new(void)
{
	BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "tlsio");

	if (m && BIO_meth_set_read_ex(m, io_read) && BIO_meth_set_write_ex(m, io_write) &&
	    BIO_meth_set_ctrl(m, io_ctrl))
		method = m;
	else
		BIO_meth_free(m);
}

BIO *tlsio_bio(struct tlsio *io)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	BIO *b;

	pthread_once(&once, method_new);
	b = method ? BIO_new(method) : NULL;
	if (b) {
		BIO_set_data(b, io);
		BIO_set_init(b, 1);
	}
	return b;
}
