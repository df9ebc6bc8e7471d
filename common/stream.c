/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "log.h"
#include "stream.h"

bool stream_is_zmq(const char *spec)
{
	const char *plus = strchr(spec, '+');

	if (plus && (!strncmp(spec, "bind+", 5) || !strncmp(spec, "connect+", 8)))
		spec = plus + 1;
	return !strncmp(spec, "ipc://", 6) || !strncmp(spec, "tcp://", 6);
}

static void check_spec(const char *spec)
{
	if (!*spec)
		die_usage("'' is no stream");
	if (strstr(spec, "://") && !stream_is_zmq(spec))
		die_usage("'%s': a stream is -, a path, ipc://PATH, ipc://NAME or tcp://HOST:PORT", spec);
}

struct rx *rx_open(const char *spec, const struct stream_conf *conf)
{
	check_spec(spec);
	return stream_is_zmq(spec) ? mq_rx_open(spec, conf) : bytes_rx_open(spec, conf);
}

struct tx *tx_open(const char *spec, const struct stream_conf *conf)
{
	check_spec(spec);
	return stream_is_zmq(spec) ? mq_tx_open(spec, conf) : bytes_tx_open(spec, conf);
}

void rx_close(struct rx *rx)
{
	if (rx)
		rx->ops->close(rx);
}

void tx_close(struct tx *tx)
{
	if (tx)
		tx->ops->close(tx);
}

void stream_hello(struct cap_hello *h, const struct stream_conf *conf, const struct tx *tx,
		  uint64_t message)
{
	*h = (struct cap_hello){
		.nonce = conf->nonce,
		.message = message,
		.packets = tx_streamed(tx),
		.old_nonce = conf->old_nonce,
		.old_packets = conf->old_packets,
		.live = conf->live,
		.ring = tx->ring,
	};
	snprintf(h->chain, sizeof(h->chain), "%s", conf->chain);
	snprintf(h->prog, sizeof(h->prog), "%s", conf->prog);
	snprintf(h->as, sizeof(h->as), "%s", conf->as);
}

static void forget_oldest(struct rx *rx)
{
	size_t n = (STREAM_INPUTS_MAX - 1) * sizeof(uint64_t);

	memmove(rx->upstream, rx->upstream + 1, n);
	memmove(rx->upstream_packets, rx->upstream_packets + 1, n);
	memmove(rx->streamed, rx->streamed + 1, n);
	rx->resumed >>= 1;
	rx->nupstream--;
}

unsigned rx_upstream(struct rx *rx, uint64_t nonce, uint64_t packets)
{
	unsigned i;

	for (i = 0; i < rx->nupstream; i++)
		if (rx->upstream[i] == nonce)
			return i;
	if (rx->nupstream == STREAM_INPUTS_MAX)
		forget_oldest(rx);
	i = rx->nupstream++;
	rx->upstream[i] = nonce;
	rx->upstream_packets[i] = rx->streamed[i] = packets;
	rx->resumed &= ~(1ull << i);
	return i;
}

unsigned rx_take_hello(struct rx *rx, const struct cap_hello *h)
{
	unsigned i = rx_upstream(rx, h->nonce, h->packets);

	rx->live |= h->live;
	rx->ring = h->ring;
	memcpy(rx->chain, h->chain, sizeof(rx->chain));
	return i;
}

void rx_resume(struct rx *rx, uint64_t nonce, uint64_t packets)
{
	rx->resumed |= 1ull << rx_upstream(rx, nonce, packets);
}

static int discard_send(struct tx *tx, struct frame **f, int n)
{
	for (int i = 0; i < n; i++) {
		if (f[i]->verdict)
			continue;
		tx->packets++;
		tx->bytes += f[i]->len;
	}
	return n;
}

static int discard_flush(struct tx *tx)
{
	(void)tx;
	return 0;
}

static int discard_poll(struct tx *tx, struct pollfd *fds)
{
	(void)tx;
	(void)fds;
	return 0;
}

static int discard_end(struct tx *tx, enum tx_end how)
{
	(void)tx;
	(void)how;
	return 0;
}

static void discard_close(struct tx *tx)
{
	free(tx);
}

struct tx *tx_discard(void)
{
	static const struct tx_ops ops = {
		.send = discard_send,
		.flush = discard_flush,
		.poll = discard_poll,
		.end = discard_end,
		.close = discard_close,
	};
	struct tx *tx = calloc(1, sizeof(*tx));

	if (!tx)
		die("no memory");
	tx->ops = &ops;
	tx->spec = tx->kind = "none";
	return tx;
}
