/* SPDX-License-Identifier: MIT */
/*
 * conform_pcap.h - A failed test's packets, with comments
 */
#ifndef GW_CONFORM_PCAP_H
#define GW_CONFORM_PCAP_H

#include "conform.h"

/**
 * conform_pcap() - Write DIR/ID.pcapng: what was sent, with what was expected and what
 * came; and what came back, with its deviations.  Errors are logged
 */
void conform_pcap(const struct suite *s, const struct conform_test *t, const char *dir)
	__attribute__((nonnull));

#endif /* GW_CONFORM_PCAP_H */
