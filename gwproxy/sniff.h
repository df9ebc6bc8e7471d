/* SPDX-License-Identifier: MIT */
/*
 * sniff.h - What does a client speak?  Told from its first bytes
 */
#ifndef GW_SNIFF_H
#define GW_SNIFF_H

#include "hello.h"

enum sniff_verdict {
	SNIFF_MORE,	/* too little to tell */
	SNIFF_TLS,	/* a whole ClientHello */
	SNIFF_BROKEN,	/* TLS, but not well-formed */
	SNIFF_HTTP1,
	SNIFF_HTTP2,	/* with prior knowledge */
	SNIFF_OTHER,
};

/**
 * sniff() - @tls, @http: what to look for
 * @h:		Written on SNIFF_TLS
 */
enum sniff_verdict sniff(const uint8_t *buf, size_t len, bool tls, bool http, struct hello *h)
	__attribute__((nonnull, warn_unused_result));

#endif /* GW_SNIFF_H */
