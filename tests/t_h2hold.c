/* SPDX-License-Identifier: MIT */
/* h2: what the engine holds for readers that are slow */
#include <sys/ioctl.h>

#include "h2peers.h"

/* One stream isn't read: how much of it is held, and do others move? */
static void test_slow(void)
{
	size_t rounds = 0;

	pair_open(&w.p, h2_relay_new, NULL);
	peer_open(&w.c, w.p.client, false, true);
	peer_open(&w.s, w.p.server, true, false);
	w.s.reply = 10 << 20;
	ask(get, 7, 0, false);
	for (int i = 0; i < 200; i++)
		go(1);
	OK(w.c.st[0].body == 65535 && w.s.st[0].sent <= 65535 + 4096, "of 10 MB a reader who takes 64 KB lets %zu KB come",
	   w.s.st[0].sent / 1024);
	nghttp2_session_consume_connection(w.c.s, 65535);
	w.s.reply = 5;
	ask(get, 7, 0, false);
	go(5);
	OK(w.c.st[1].body == 5 && w.c.st[1].end, "another stream goes past it");
	for (size_t had = 65535; !w.c.st[0].end && rounds < 100000; rounds++) {
		nghttp2_session_consume_stream(w.c.s, 1, had);
		if (rounds)
			nghttp2_session_consume_connection(w.c.s, had);
		had = w.c.st[0].body;
		go(2);
		had = w.c.st[0].body - had;
	}
	OK(w.c.st[0].body == 10 << 20 && w.c.st[0].sum, "read on, all of it comes");
	close_world();
}

static size_t queued(int fd)
{
	int n = 0;

	return ioctl(fd, FIONREAD, &n) ? 0 : (size_t)n;
}

/* Its windows are wide, its socket is not read: what is held, sockets apart? */
static void test_unread(void)
{
	size_t sent;
	ssize_t held;

	open_world(NULL);
	setsockopt(w.p.cl.l.fd, SOL_SOCKET, SO_SNDBUF, &(int){ 32768 }, sizeof(int));
	w.s.reply = 10 << 20;
	nghttp2_session_set_local_window_size(w.c.s, 0, 0, 1 << 24);
	nghttp2_session_set_local_window_size(w.c.s, 0, ask(get, 7, 0, false), 1 << 24);
	peer_go(&w.c);
	for (int i = 0; i < 200; i++) {
		pair_step(&w.p);
		peer_go(&w.s);
	}
	sent = w.s.st[0].sent;
	held = (ssize_t)(sent - w.s.nout - queued(w.p.sl.l.fd) - queued(w.p.client));
	OK(sent > 65535 && held <= 20480, "of %zu KB for one who reads nothing we hold %zd", sent >> 10, held);
	for (int i = 0; i < 100000 && !w.c.st[0].end; i++)
		go(1);
	OK(w.c.st[0].body == 10 << 20, "read on, all of it comes");
	close_world();
}

int main(void)
{
	test_slow();
	test_unread();
	return tap_done();
}
