/* SPDX-License-Identifier: MIT */
/*
 * keylog.h - Secrets of both legs for Wireshark: NSS key log to a file and to subscribers
 *
 * Whoever has the key log and a capture reads everything.  So there is none unless asked for, the
 * file is for its owner only, and so is the socket.  Order: keylog_open() while files may still be
 * opened, keylog_start() after privileges were dropped (ZeroMQ's threads keep what they start
 * with).
 */
#ifndef GW_KEYLOG_H
#define GW_KEYLOG_H

#include <openssl/ssl.h>

#include "priv.h"

#define KEYLOG_SOCKET	"gwproxy.keylog"	/* in the run folder */

struct keylog;

/**
 * keylog_open() - Open what lines go to
 * @path:	--keylog FILE, appended to, made with mode 0600; NULL: none
 * @run_dir:	--keylog-pub: run folder, where ipc://KEYLOG_SOCKET is made: a ZeroMQ PUB socket, a
 *		message a line; NULL: none
 * @priv:	Who we will be: file and socket are theirs
 *
 * A file that others may read is refused.  Errors exit: 2.
 */
struct keylog *keylog_open(const char *path, const char *run_dir, const struct priv *priv)
	__attribute__((nonnull(3), warn_unused_result, returns_nonnull));

/**
 * keylog_start() - After privileges were dropped: begin to publish
 */
void keylog_start(struct keylog *k) __attribute__((nonnull));

/**
 * keylog_attach() - Log the secrets of all connections of @ctx; both legs' contexts need it
 *
 * @k outlives @ctx.  Lines may be written by several threads at once.
 *
 * Return: 0 or -ENOMEM
 */
int keylog_attach(struct keylog *k, SSL_CTX *ctx) __attribute__((nonnull, warn_unused_result));

void keylog_close(struct keylog *k);	/* NULL is fine */

#endif /* GW_KEYLOG_H */
