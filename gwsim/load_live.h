/* SPDX-License-Identifier: MIT */
/*
 * load_live.h - Frames made inside the kernel: a generator fast enough
 *
 * Theory of operation
 *
 * BPF_PROG_RUN runs an XDP program over frames that it takes from a template, in pages of
 * its own, without a socket buffer and without a system call each.  Ours writes the front
 * of each frame from a table that is shared with us, the next row for every frame, and
 * redirects it into the appliance's cable.  So a frame differs from the next one in all
 * that a socket's would, and what receives and judges it need not know.
 *
 * Two things are needed around it.  A veth device takes such frames only if its peer has a
 * receive queue of its own, which an XDP program on that peer brings about: the appliance's
 * eth0 gets one that passes everything.  And the kernel rewrites its jump table of XDP
 * programs at every run of one that is not in use anywhere, which takes 24 ms: ours is in
 * use on the loopback device of a namespace made for this.
 */
#ifndef GW_LOAD_LIVE_H
#define GW_LOAD_LIVE_H

#include <stdint.h>

#include "site.h"

#define LIVE_BURST	256u	/* a power of two */
#define LIVE_HEAD	136u	/* bytes that differ between frames, a multiple of 8 */

struct live;

/**
 * live_open() - Get ready to send to an appliance of our own that runs already
 * @frame, @len: Template, at least LIVE_HEAD bytes; kept
 * @why:	What could not be done, if NULL is returned and errno set
 *
 * EINVAL where the frame is longer than about 3.4 KB: it does not fit into a page.
 */
struct live *live_open(const struct site *s, const uint8_t *frame, uint32_t len,
		       const char **why) __attribute__((nonnull));

/**
 * live_head() - Where to write the first LIVE_HEAD bytes of frame @i of the next burst
 */
uint8_t *live_head(struct live *v, unsigned i) __attribute__((nonnull));

/**
 * live_send() - Send a burst
 * @n:		At most LIVE_BURST
 *
 * Return: how many were made; the appliance's device may have had no room for some
 */
unsigned live_send(struct live *v, unsigned n) __attribute__((nonnull));

/**
 * live_refused() - How many frames the appliance's device had no room for, so far
 */
uint64_t live_refused(struct live *v) __attribute__((nonnull));

void live_close(struct live *v);

#endif /* GW_LOAD_LIVE_H */
