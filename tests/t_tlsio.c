/* SPDX-License-Identifier: MIT */
/* tlsio.h: what is gathered, when it goes out, and what is held for one who does not read */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../gwproxy/tlsio.h"
#include "tap.h"

#define RECORD	16406

/**
 * struct end - One that is tested, and the peer's socket
 */
struct end {
	struct leg leg;
	struct tlsio io;
	BIO *bio;
	int peer;
};

static char data[RECORD], got[1 << 20];

/* @type: SOCK_SEQPACKET shows what was sent at once, SOCK_STREAM is like TCP */
static void open_end(struct end *e, int type)
{
	const int small = 65536;
	int s[2];

	memset(e, 0, sizeof(*e));
	if (socketpair(AF_UNIX, type | SOCK_NONBLOCK, 0, s))
		abort();
	if (type == SOCK_STREAM)
		setsockopt(s[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	e->leg.fd = s[0];
	e->peer = s[1];
	e->leg.ready = POLLIN | POLLOUT;
	e->leg.room = 7 * RECORD;
	e->io.leg = &e->leg;
	e->bio = tlsio_bio(&e->io);
	if (!e->bio)
		abort();
}

static void close_end(struct end *e)
{
	BIO_free(e->bio);
	tlsio_close(&e->io);
	close(e->leg.fd);
	if (e->peer >= 0)
		close(e->peer);
}

static ssize_t receive(const struct end *e)
{
	return recv(e->peer, got, sizeof(got), 0);
}

static void put(struct end *e, int records)
{
	while (records--)
		OK(BIO_write(e->bio, data, RECORD) == RECORD, "a record is taken");
}

static void test_gather(void)
{
	struct end e;

	open_end(&e, SOCK_SEQPACKET);
	put(&e, 3);
	OK(receive(&e) < 0, "records wait for more");
	OK(!tlsio_push(&e.io) && receive(&e) == 3 * RECORD, "and go out as one when they are pushed");
	OK(!e.io.out.p && !tlsio_push(&e.io) && receive(&e) < 0, "nothing is kept");
	put(&e, 1);
	OK(BIO_flush(e.bio) == 1 && receive(&e) == RECORD, "OpenSSL's flush does so, too");
	e.leg.room = 9 * RECORD;
	put(&e, 9);
	OK(receive(&e) == 8 * RECORD, "there is an end to what is gathered");
	close_end(&e);
}

/* All that is written to one who does not read, in the order it was written */
static void test_slow(void)
{
	size_t sum = 0, written = 0, bad = 0;
	struct end e;
	ssize_t n;

	open_end(&e, SOCK_STREAM);
	for (;;) {
		memset(data, (int)(written / RECORD), sizeof(data));
		if (BIO_write(e.bio, data, RECORD) < 0)
			break;
		written += RECORD;
	}
	OK(BIO_should_write(e.bio) && !(e.leg.ready & POLLOUT), "at the end it says so");
	OK(tlsio_push(&e.io) == -EAGAIN && tlsio_stuck(&e.io), "pushing does not help");
	OK(e.io.out.room <= RECORD, "no more than a record is held: %zu bytes", e.io.out.room);
	OK(BIO_flush(e.bio) < 0 && BIO_should_write(e.bio), "flushing neither");
	do {
		while ((n = receive(&e)) > 0)
			for (ssize_t i = 0; i < n; i++)
				bad += got[i] != (char)(sum++ / RECORD);
		e.leg.ready |= POLLOUT;
	} while (tlsio_push(&e.io) == -EAGAIN || e.io.out.p || sum < written);
	OK(sum == written && !bad, "all of it arrives in order, %zu bytes", sum);
	memset(data, 0, sizeof(data));
	close(e.peer);
	e.peer = -1;
	put(&e, 1);
	OK(tlsio_push(&e.io) == -EPIPE, "a peer that is gone");
	OK(BIO_flush(e.bio) < 0 && !BIO_should_retry(e.bio), "is for good");
	close_end(&e);
}

static size_t waits(const struct end *e)
{
	ssize_t n = recv(e->leg.fd, got, sizeof(got), MSG_PEEK);

	return n < 0 ? 0 : (size_t)n;
}

/* From one leg to the other: read ahead when the other one takes it */
static void test_ahead(void)
{
	struct end from, to;
	char buf[RECORD];

	open_end(&from, SOCK_STREAM);
	open_end(&to, SOCK_STREAM);
	memset(got, 1, 3 * RECORD);
	OK(send(from.peer, got, 3 * RECORD, 0) == 3 * RECORD, "three records");
	OK(BIO_read(from.bio, buf, RECORD) == RECORD && waits(&from) == 2 * RECORD &&
	   !tlsio_pending(&from.io), "one is read while nothing is known of the other leg");
	put(&to, 1);
	from.leg.ahead = 3 * RECORD;
	OK(BIO_read(from.bio, buf, RECORD) == RECORD && !waits(&from) && tlsio_pending(&from.io),
	   "all of them when it takes them");
	tlsio_push(&to.io);
	OK(receive(&to) == RECORD, "what there was for it goes out");
	tlsio_push(&from.io);
	OK(from.io.in.room == RECORD, "no more room is kept than it takes");
	OK(!(from.leg.ready & POLLIN), "the socket is known to be empty");
	OK(BIO_read(from.bio, buf, RECORD) == RECORD && buf[RECORD - 1] == 1 && !from.io.in.p,
	   "the third one comes from memory");
	OK(BIO_read(from.bio, buf, RECORD) < 0 && BIO_should_read(from.bio), "then nothing");

	while (BIO_write(to.bio, data, RECORD) > 0)
		;
	OK(send(from.peer, got, 2 * RECORD, 0) == 2 * RECORD, "two more");
	from.leg.ready |= POLLIN;
	from.leg.ahead = 0;
	OK(BIO_read(from.bio, buf, RECORD) == RECORD && waits(&from) == RECORD &&
	   !tlsio_pending(&from.io), "one is read when the other leg takes nothing");
	OK(BIO_read(from.bio, buf, RECORD) == RECORD, "then the other");
	OK(!BIO_eof(from.bio), "that is not the end");
	close(from.peer);
	from.peer = -1;
	from.leg.ready |= POLLIN | POLLRDHUP;
	OK(!BIO_read(from.bio, buf, RECORD) && !BIO_should_retry(from.bio) && BIO_eof(from.bio),
	   "this is");
	close_end(&from);
	close_end(&to);
}

int main(void)
{
	test_gather();
	test_slow();
	test_ahead();
	tlsio_spare_close();
	return tap_done();
}
