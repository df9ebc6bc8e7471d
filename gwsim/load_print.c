/* SPDX-License-Identifier: MIT */
/*
 * load_print.c - A load's result: text for people, JSON and TSV with the same names
 */
#include <jansson.h>
#include <stdio.h>

#include "load.h"
#include "log.h"
#include "wire.h"

#define WIRE_OVERHEAD	82u	/* Ethernet, outer IPv4, UDP, Geneve with its options */

/* Lower end of a bucket, the inverse of how latencies were sorted in */
static double bucket_ns(unsigned i)
{
	unsigned exp = i / LOAD_SUB;

	return exp ? (double)(LOAD_SUB + i % LOAD_SUB) * (double)(1ull << (exp - 1)) : (double)i;
}

static double percentile_us(const struct load_result *r, double share)
{
	uint64_t total = 0, seen = 0;

	for (unsigned i = 0; i < LOAD_BUCKETS; i++)
		total += r->bucket[i];
	for (unsigned i = 0; i < LOAD_BUCKETS; i++) {
		seen += r->bucket[i];
		if (total && (double)seen >= share * (double)total)
			return bucket_ns(i) / 1000;
	}
	return 0;
}

struct value {
	const char *name;
	double v;
	bool whole;
};

#define VALUES 19

static void values(const struct load_result *r, struct value *v)
{
	double s = r->seconds > 0 ? r->seconds : 1;
	const struct value all[VALUES] = {
		{ "rate_pps", (double)r->rate, true },
		{ "size", r->size, true },
		{ "flows", r->flows, true },
		{ "live", r->live, true },
		{ "seconds", r->seconds, false },
		{ "sent", (double)r->sent, true },
		{ "received", (double)r->received, true },
		{ "loss_percent", load_loss(r), false },
		{ "refused", (double)(r->refused), true },
		{ "overrun", (double)r->overrun, true },
		{ "out_of_order", (double)r->out_of_order, true },
		{ "duplicates", (double)r->duplicates, true },
		{ "changed", (double)r->changed, true },
		{ "received_pps", (double)r->received / s, true },
		{ "p50_us", percentile_us(r, 0.5), false },
		{ "p90_us", percentile_us(r, 0.9), false },
		{ "p99_us", percentile_us(r, 0.99), false },
		{ "p999_us", percentile_us(r, 0.999), false },
		{ "max_us", (double)r->max_ns / 1000, false },
	};

	for (unsigned i = 0; i < VALUES; i++)
		v[i] = all[i];
}

static void print_json(const struct value *v)
{
	json_t *o = json_object();

	for (unsigned i = 0; i < VALUES; i++)
		json_object_set_new(o, v[i].name, v[i].whole ? json_integer((json_int_t)v[i].v)
							     : json_real(v[i].v));
	json_dumpf(o, stdout, JSON_REAL_PRECISION(6));
	putchar('\n');
	json_decref(o);
}

static void print_tsv(const struct value *v)
{
	for (unsigned i = 0; i < VALUES; i++)
		printf("%s%c", v[i].name, i + 1 < VALUES ? '\t' : '\n');
	for (unsigned i = 0; i < VALUES; i++)
		printf(v[i].whole ? "%.0f%c" : "%.3f%c", v[i].v, i + 1 < VALUES ? '\t' : '\n');
}

static void print_text(const struct load_result *r)
{
	double s = r->seconds > 0 ? r->seconds : 1;

	printf("sent      %llu packets of %u bytes in %u flows, %.2f s: %.0f a second, "
	       "%.3f Gbit/s\n",
	       (unsigned long long)r->sent, r->size, r->flows, r->seconds, (double)r->sent / s,
	       (double)r->sent * (r->size + WIRE_OVERHEAD) * 8 / s / 1e9);
	printf("received  %llu: %.0f a second, loss %.4f %%\n", (unsigned long long)r->received,
	       (double)r->received / s, load_loss(r));
	printf("of them   %llu out of order, %llu with a changed encapsulation; "
	       "%llu duplicates besides\n",
	       (unsigned long long)r->out_of_order, (unsigned long long)r->changed,
	       (unsigned long long)r->duplicates);
	if (r->refused || r->overrun)
		printf("not counted as lost: %llu the device had no room for, %llu that came "
		       "back faster than we read\n", (unsigned long long)r->refused,
		       (unsigned long long)r->overrun);
	printf("latency   p50 %.1f  p90 %.1f  p99 %.1f  p99.9 %.1f  max %.1f us\n",
	       percentile_us(r, 0.5), percentile_us(r, 0.9), percentile_us(r, 0.99),
	       percentile_us(r, 0.999), (double)r->max_ns / 1000);
}

void load_print(const struct load_result *r, enum load_form form)
{
	struct value v[VALUES];

	values(r, v);
	if (form == LOAD_JSON)
		print_json(v);
	else if (form == LOAD_TSV)
		print_tsv(v);
	else
		print_text(r);
}
