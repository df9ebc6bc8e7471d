/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>

#include "leg_sock.h"
#include "leg_tls.h"
#include "tlsio.h"
#include "wire.h"

#define RECORD_MAX	16384u

/**
 * struct tls_leg - @failed: nothing may be sent any more
 * @dry:	The last read waits for more than there was
 * @over, @how:	What a read said that was not bytes; OpenSSL would say something else the next time
 */
struct tls_leg {
	struct leg leg;
	SSL *ssl;
	struct tlsio io;
	bool dry, failed, closing, over;
	int how;
};

/* OpenSSL's queue has to be empty before it is asked; to empty it is slow. */
static void forget_errors(void)
{
	if (ERR_peek_error())
		ERR_clear_error();
	errno = 0;
}

static int blocked(struct leg *l, short what)
{
	l->wants = what;
	l->ready &= (short)~what;
	return -EAGAIN;
}

static bool has_pending(const struct tls_leg *t)
{
	return tlsio_pending(&t->io) || SSL_has_pending(t->ssl);
}

/* What OpenSSL says of an operation that gave @ret */
static int outcome(struct tls_leg *t, int ret)
{
	int why = SSL_get_error(t->ssl, ret), err = errno;

	switch (why) {
	case SSL_ERROR_WANT_READ:
		return blocked(&t->leg, POLLIN);
	case SSL_ERROR_WANT_WRITE:
		return blocked(&t->leg, POLLOUT);
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_WANT_X509_LOOKUP:
		return -ENOKEY;
	case SSL_ERROR_SYSCALL:
		t->failed = true;
		return err == EPIPE ? -EPIPE : -ECONNRESET;
	default:
		t->failed = true;
		return -EBADMSG;
	}
}

/* End of the stream without close_notify: many servers do so after Connection: close, and who must
 * know a body's length has it from the protocol inside.  The other leg ends likewise. */
static bool is_cut(void)
{
	return ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
}

static ssize_t take(struct leg *l, void *buf, size_t len,
		    int (*read_or_peek)(SSL *s, void *buf, size_t len, size_t *done))
{
	struct tls_leg *t = (struct tls_leg *)l;
	size_t done;
	int ret;

	if (t->over)
		return t->how;
	if (t->dry && !(l->ready & POLLIN))
		return blocked(l, POLLIN);
	forget_errors();
	ret = read_or_peek(t->ssl, buf, len, &done);
	l->drained = !tlsio_pending(&t->io);
	if (ret > 0) {
		l->ahead -= MIN(done, l->ahead);
		l->pending = l->part = has_pending(t);
		t->dry = false;
		return (ssize_t)done;
	}
	l->pending = false;
	l->part = has_pending(t);
	ret = outcome(t, ret);
	l->cut = ret == -EBADMSG && is_cut();
	if (l->cut)
		ret = 0;
	else if (ret == -EBADMSG)
		l->broke = ERR_reason_error_string(ERR_peek_last_error());
	t->over = ret != -EAGAIN;
	t->dry = !t->over && l->wants == POLLIN;
	t->how = ret;
	return ret;
}

static ssize_t tls_read(struct leg *l, void *buf, size_t len)
{
	size_t n = 0;

	/* A record at a time: more in one call saves the caller's turns */
	while (n < len) {
		ssize_t got = take(l, (char *)buf + n, len - n, SSL_read_ex);

		if (got <= 0)
			return n ? (ssize_t)n : got;
		n += (size_t)got;
		if (!l->pending && len - n < RECORD_MAX)
			break;
	}
	return (ssize_t)n;
}

ssize_t leg_tls_peek(struct leg *l, void *buf, size_t len)
{
	ssize_t n = take(l, buf, len, SSL_peek_ex);

	if (n > 0)
		l->pending = true;
	return n;
}

void leg_tls_last_word(struct leg *l)
{
	struct tls_leg *t = (struct tls_leg *)l;
	char byte;

	if (!SSL_is_init_finished(t->ssl))
		return;
	l->ready |= POLLIN;
	take(l, &byte, 1, SSL_peek_ex);
}

/* Small pieces go out as one record. */
static ssize_t tls_writev(struct leg *l, const struct iovec *iov, int n)
{
	struct tls_leg *t = (struct tls_leg *)l;
	uint8_t joined[RECORD_MAX];
	const void *from = iov[0].iov_base;
	size_t len = iov[0].iov_len, done;
	int ret;

	if (n > 1 && len < sizeof(joined)) {
		len = 0;
		for (int i = 0; i < n && len < sizeof(joined); i++) {
			size_t part = MIN(iov[i].iov_len, sizeof(joined) - len);

			memcpy(joined + len, iov[i].iov_base, part);
			len += part;
		}
		from = joined;
	}
	if (!len)
		return 0;
	if (t->failed)
		return -EPIPE;
	if (tlsio_stuck(&t->io))	/* OpenSSL would keep a record more */
		return blocked(l, POLLOUT);
	forget_errors();
	ret = SSL_write_ex(t->ssl, from, len, &done);
	if (ret > 0)
		return (ssize_t)done;
	ret = outcome(t, ret);
	return ret ? ret : -EPIPE;
}

/* An error shows as if the event loop had seen it: who pushes has nobody to tell. */
static int tls_push(struct leg *l)
{
	struct tls_leg *t = (struct tls_leg *)l;
	int err = tlsio_push(&t->io);

	if (err == -EAGAIN)
		return blocked(l, POLLOUT);
	if (err) {
		t->failed = true;
		l->ready |= POLLIN | POLLERR;
	}
	return err;
}

static size_t tls_takes(struct leg *l)
{
	return tls_push(l) == -EAGAIN ? 0 : leg_sock_takes(l);
}

static int tls_shut(struct leg *l)
{
	struct tls_leg *t = (struct tls_leg *)l;
	int ret;

	if (!t->failed && !t->closing && !l->quiet) {
		forget_errors();
		ret = SSL_shutdown(t->ssl);
		if (ret < 0 && outcome(t, ret) == -EAGAIN && l->wants == POLLOUT)
			return -EAGAIN;
		t->closing = true;
	}
	if (tls_push(l) == -EAGAIN)
		return -EAGAIN;
	return shutdown(l->fd, SHUT_WR) && errno != ENOTCONN ? -errno : 0;
}

static void tls_close_leg(struct leg *l, bool reset)
{
	struct tls_leg *t = (struct tls_leg *)l;

	if (!reset && !t->failed && !t->closing && !l->quiet && SSL_is_init_finished(t->ssl)) {
		forget_errors();
		SSL_shutdown(t->ssl);
	}
	tlsio_push(&t->io);
	if (!reset && !t->failed)	/* quiet: else OpenSSL would not resume its session */
		SSL_set_shutdown(t->ssl, SSL_get_shutdown(t->ssl) | SSL_SENT_SHUTDOWN);
	SSL_free(t->ssl);
	tlsio_close(&t->io);
	fd_close(l->fd, reset);
	free(t);
}

static const struct leg_ops tls_ops = { tls_read, tls_writev, tls_push, tls_shut, tls_close_leg,
					tls_takes };

struct leg *leg_tls_new(SSL *s, struct leg *sock)
{
	struct tls_leg *t = calloc(1, sizeof(*t));
	BIO *bio = t ? tlsio_bio(&t->io) : NULL;

	if (!bio) {
		free(t);
		return NULL;
	}
	SSL_set_bio(s, bio, bio);
	t->io.leg = &t->leg;
	t->leg.ops = &tls_ops;
	t->leg.ready = sock->ready;
	t->leg.ahead = RECORD_MAX;
	t->leg.window = sock->window;
	t->leg.fd = leg_sock_release(sock);
	t->ssl = s;
	return &t->leg;
}

int leg_tls_shake(struct leg *l)
{
	struct tls_leg *t = (struct tls_leg *)l;
	int ret;

	forget_errors();
	ret = SSL_do_handshake(t->ssl);
	if (ret == 1) {
		l->pending = has_pending(t);
		return 0;
	}
	ret = outcome(t, ret);
	return ret ? ret : -ECONNRESET;
}

SSL *leg_tls_ssl(struct leg *l)
{
	return ((struct tls_leg *)l)->ssl;
}

struct leg *leg_tls_strip(struct leg *l)
{
	struct tls_leg *t = (struct tls_leg *)l;
	struct leg *sock = leg_sock_new(l->fd);

	if (!sock)
		return NULL;
	sock->ready = l->ready;
	sock->window = l->window;
	SSL_free(t->ssl);
	tlsio_close(&t->io);
	free(t);
	return sock;
}
