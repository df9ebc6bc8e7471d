/* SPDX-License-Identifier: MIT */
/*
 * web.h - A small HTTP server on one socket, for the caller's own poll()
 *
 * One thread does everything: libmicrohttpd's epoll descriptor is polled with the
 * rest.  Connections are bounded in number, per address and in time, so that
 * checkers that never say a word take nothing from the others.
 */
#ifndef GW_WEB_H
#define GW_WEB_H

#include <stddef.h>

/**
 * struct web_reply - @body is from malloc() and becomes the server's; NULL: 500
 */
struct web_reply {
	unsigned status;
	const char *type;
	char *body;
	size_t len;
};

struct web_conf {
	void (*answer)(void *ctx, const char *path, struct web_reply *r);
	void *ctx;
	const char *cert;	/* PEM; NULL: plain HTTP */
	const char *key;
	unsigned connections;	/* at most so many */
};

struct web;

/**
 * web_open() - Serve @fd, which becomes the server's
 * @conf:	Kept, not copied
 *
 * Return: NULL if it can't; libmicrohttpd logged why
 */
struct web *web_open(int fd, const struct web_conf *conf) __attribute__((nonnull));

/**
 * web_fd() - Becomes readable when there is something to do
 */
int web_fd(const struct web *w);

/**
 * web_timeout_ms() - Call web_run() after so long at the latest; -1: no need
 */
int web_timeout_ms(const struct web *w);
void web_run(struct web *w);
void web_close(struct web *w);

#endif /* GW_WEB_H */
