/* SPDX-License-Identifier: MIT */
/*
 * fuzz_message.c - A ZeroMQ stream's reader and a stranger's messages: whatever comes, the
 * next packet of an honest writer comes through
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <zmq.h>

#include "log.h"
#include "stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct stream_conf conf = {
	.prog = "fuzz", .as = "", .run_dir = "/tmp", .hwm = 1000, .inputs = STREAM_INPUTS_MAX,
	.priv = { (uid_t)-1, (gid_t)-1 },
};
static char spec[64];
static struct rx *rx;
static void *context, *push;
static uint8_t honest[1024];
static size_t honest_len;
static uint64_t rounds, touched;

static void finish(void)
{
	zmq_close(push);
	zmq_ctx_term(context);
	rx_close(rx);
}

static void start(void)
{
	int linger = 0;

	snprintf(spec, sizeof(spec), "ipc:///tmp/fuzz_message.%d", (int)getpid());
	log_set_level("error");
	rx = rx_open(spec, &conf);
	context = zmq_ctx_new();
	push = zmq_socket(context, ZMQ_PUSH);
	zmq_setsockopt(push, ZMQ_LINGER, &linger, sizeof(linger));
	if (zmq_connect(push, spec))
		abort();
	atexit(finish);
}

/* A message with one packet that says which round this is */
static void build_honest(void)
{
	struct frame **pool = frame_pool_new(1, 256), *f = pool[0];
	struct cap_writer w = { .name = "honest" };

	rounds++;
	if (!frame_set(f, &rounds, sizeof(rounds)))
		abort();
	f->linktype = LINKTYPE_RAW;
	f->cookie = 0x600d600d;
	honest_len = cap_write_header(&w, honest, NULL);
	honest_len += cap_write_iface(&w, honest + honest_len, LINKTYPE_RAW);
	honest_len += cap_write_packet(&w, honest + honest_len, f);
	frame_pool_free(pool);
}

/* Take what is there; true: the honest packet was among it */
static bool take(void)
{
	struct frame *f[FRAME_BURST];
	bool seen = false;
	int n;

	while ((n = rx_recv(rx, f, FRAME_BURST)) > 0 || n == RX_SWITCH) {
		if (n == RX_SWITCH)	/* into no ring of ours: the stream goes on */
			continue;
		for (int i = 0; i < n; i++) {
			for (uint32_t k = 0; k < f[i]->len; k++)
				touched += frame_data(f[i])[k];
			for (uint32_t k = 0; k < f[i]->encap_len; k++)
				touched += frame_encap(f[i])[k];
			seen |= f[i]->cookie == 0x600d600d && f[i]->len == sizeof(rounds) &&
				!memcmp(frame_data(f[i]), &rounds, sizeof(rounds));
		}
		rx_release(rx, n);
	}
	if (rx->nupstream > STREAM_INPUTS_MAX)
		abort();
	if (n == RX_FAIL)
		abort();
	if (n != RX_AGAIN) {	/* 64 producers ended: an honest end */
		rx_close(rx);
		rx = rx_open(spec, &conf);
	}
	return seen;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pollfd fds[STREAM_POLL_MAX];

	touched = 0;
	if (!rx)
		start();
	build_honest();
	if (zmq_send(push, data, size, 0) < 0 || zmq_send(push, honest, honest_len, 0) < 0)
		abort();
	for (int tries = 0; !take(); tries++) {
		if (tries == 100)
			abort();
		poll(fds, (nfds_t)rx_poll(rx, fds), 100);
	}
	return 0;
}
