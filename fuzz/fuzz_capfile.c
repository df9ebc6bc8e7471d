/* SPDX-License-Identifier: MIT */
/*
 * fuzz_capfile.c - The capture codec: what is read stays in bounds, comes the same in
 * pieces and in bursts as at once, and comes back the same from a file of our own writing
 */
#include <stdlib.h>
#include <string.h>

#include "capfile.h"

#define RECORDS_MAX	(1u << 16)
#define BURST		3

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct frame **frames(void)
{
	static struct frame **pool;

	if (!pool)
		pool = frame_pool_new(BURST, 64);
	return pool;
}

static void inside(const uint8_t *p, size_t n, const uint8_t *data, size_t size)
{
	if (n && (p < data || n > size || p > data + size - n))
		abort();
}

static uint64_t mix(uint64_t h, uint64_t v)
{
	return (h ^ v) * 0x100000001b3ull;
}

static uint64_t mix_bytes(uint64_t h, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		h = mix(h, p[i]);
	return mix(h, n);
}

static uint64_t digest(uint64_t h, struct frame *f)
{
	h = mix_bytes(h, frame_data(f), f->len);
	h = mix_bytes(h, frame_encap(f), f->encap_len);
	h = mix_bytes(h, frame_at(f, f->opt_off), f->opt_len);
	h = mix(mix(mix(mix(h, f->ts_ns), f->seq), f->orig_len), f->endpoint);
	return mix(mix(mix(mix(h, f->cookie), f->dialect), f->marks), f->linktype);
}

/* One packet written by us and read again is the same packet */
static void round_trip(struct frame *f)
{
	size_t room = CAP_HEADER_ROOM * 2 + cap_packet_size(f), n, at = 0, used;
	struct cap_writer w = { .name = "fuzz" };
	static struct cap_reader r;
	uint8_t *out = malloc(room);
	uint64_t was = digest(0, f);
	enum cap_event ev;

	n = cap_write_header(&w, out, NULL);
	n += cap_write_iface(&w, out + n, f->linktype);
	n += cap_write_packet(&w, out + n, f);
	if (n > room)
		abort();
	cap_reader_init(&r);
	do {
		ev = cap_next(&r, out + at, n - at, &used, f);
		at += used;
	} while (ev == CAP_MORE && used);
	if (ev != CAP_PACKET || at != n)
		abort();
	if (digest(0, f) != was)
		abort();
	free(out);
}

static uint64_t take(uint64_t h, struct frame *f, const uint8_t *data, size_t size, bool trip)
{
	inside(frame_data(f), f->len, data, size);
	inside(frame_encap(f), f->encap_len, data, size);
	inside(frame_at(f, f->opt_off), f->opt_len, data, size);
	h = digest(h, f);
	if (trip)
		round_trip(f);
	return h;
}

/* Digest of all that is read when @step bytes come at a time, @max packets a call */
static uint64_t read_all(const uint8_t *data, size_t size, size_t step, int max)
{
	size_t start = 0, have = 0, used;
	struct frame **f = frames();
	static struct cap_reader r;
	unsigned records = 0;
	enum cap_event ev;
	uint64_t h = 0;
	int n;

	cap_reader_init(&r);
	do {
		have = size - have > step ? have + step : size;
		do {
			uint8_t *copy = malloc(have - start + !(have - start));

			memcpy(copy, data + start, have - start);
			ev = cap_burst(&r, copy, have - start, &used, f, max, &n);
			if (used > have - start || records++ > RECORDS_MAX || n > max ||
			    (ev == CAP_PACKET && n < max))
				abort();
			for (int i = 0; i < n; i++)
				h = take(h, f[i], copy, have - start, max == 1);
			free(copy);
			start += used;
			if (r.offset != start)
				abort();
		} while (ev != CAP_MORE && ev != CAP_ERROR);
	} while (ev != CAP_ERROR && have < size);
	if (ev == CAP_ERROR && !r.err[0])
		abort();
	return mix(mix(h, ev), r.offset);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t h = read_all(data, size, size ? size : 1, 1);

	if (size && size < 4096 && read_all(data, size, 13, BURST) != h)
		abort();
	if (read_all(data, size, size ? size : 1, BURST) != h)
		abort();
	return 0;
}
