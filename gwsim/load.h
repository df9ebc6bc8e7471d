/* SPDX-License-Identifier: MIT */
/*
 * load.h - gwsim load: its parts know each other through this
 *
 * Theory of operation
 *
 * Every packet is a UDP packet of one of N flows, each with addresses, ports, cookie
 * and outer source port of its own.  Its payload says whose it is, its number in the
 * flow and when it was sent; so what comes back tells loss, order, duplicates and
 * latency by itself.  One thread sends what is due, in bursts, and takes what came.
 * High rates are beyond what a socket sends: then the kernel makes the packets.
 * Time stamps of arrival are the kernel's.
 */
#ifndef GW_LOAD_H
#define GW_LOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "target.h"

#define LOAD_MIN_SIZE	52u	/* inner IPv4 and UDP header and what a packet says */
#define LOAD_SUB	32u	/* latency buckets a power of two */
#define LOAD_BUCKETS	(40u * LOAD_SUB)

enum load_form { LOAD_TEXT, LOAD_JSON, LOAD_TSV };
enum load_send { LOAD_AUTO, LOAD_LIVE, LOAD_SOCKET };

/**
 * struct load_conf - What was asked for
 * @rate:	Packets a second; 0: as many as go out
 * @size:	Of the inner packet
 * @count:	Stop after so many; 0: by time
 * @find_loss:	Find the highest rate that loses at most this share, in percent; below
 *		zero: no
 * @send:	How packets are made
 * @cpu:	-1: any
 */
struct load_conf {
	const char *appliance;
	const char *addr;
	const char *iface;
	uint64_t rate;
	unsigned size;
	unsigned flows;
	unsigned time_ms;
	uint64_t count;
	double find_loss;
	enum load_send send;
	int cpu;
	unsigned wait_ms;
	enum load_form form;
};

/**
 * struct load_result - What became of a run
 * @refused:	Packets that the sending device had no room for; not in @sent
 * @overrun:	Came back, but faster than we read them: neither received nor lost
 * @changed:	Came back with another encapsulation than they were sent with
 * @live:	The kernel made the packets
 * @bucket:	Latencies, logarithmic
 */
struct load_result {
	uint64_t sent;
	uint64_t received;
	uint64_t refused;
	uint64_t out_of_order;
	uint64_t duplicates;
	uint64_t changed;
	uint64_t overrun;
	uint64_t max_ns;
	double seconds;
	uint64_t rate;
	unsigned size;
	unsigned flows;
	bool live;
	uint32_t bucket[LOAD_BUCKETS];
};

struct load;

/**
 * load_new() - Packets and memory for all flows
 * @t:		Kept
 */
struct load *load_new(struct target *t, unsigned flows, unsigned size) __attribute__((nonnull));
void load_free(struct load *l);

/**
 * load_go_live() - From now on let the kernel make the packets (load_live.h)
 * @why:	What could not be done, if so; errno is set
 *
 * Only for an appliance of our own.  Return: done
 */
bool load_go_live(struct load *l, const char **why) __attribute__((nonnull));

/**
 * load_wake() - Send a packet now and then until one comes back
 *
 * Return: whether one did within @wait_ms
 */
bool load_wake(struct load *l, unsigned wait_ms) __attribute__((nonnull));

/**
 * load_run() - Send, receive, wait for what is still on its way
 * @rate:	0: as many as go out
 * @time_ms, @count:	As in struct load_conf
 * @r:		Written
 *
 * Return: false if a signal ended it
 */
bool load_run(struct load *l, uint64_t rate, unsigned time_ms, uint64_t count,
	      struct load_result *r) __attribute__((nonnull));

/**
 * load_loss() - Share of what was sent and did not come back, in percent
 */
double load_loss(const struct load_result *r) __attribute__((nonnull));

/**
 * load_print() - Tell a result on stdout
 */
void load_print(const struct load_result *r, enum load_form form) __attribute__((nonnull));

#endif /* GW_LOAD_H */
