/* SPDX-License-Identifier: MIT */
/*
 * leg_sock.h - A leg that is a plain TCP socket
 */
#ifndef GW_LEG_SOCK_H
#define GW_LEG_SOCK_H

#include "leg.h"

/**
 * leg_sock_new() - A leg that is a socket
 * @fd:		Non-blocking; the leg's from now on
 *
 * Return: NULL without memory: @fd is not touched
 */
struct leg *leg_sock_new(int fd);

/**
 * leg_sock_release() - Free the leg, keep its descriptor: another kind takes it over
 *
 * Return: the descriptor
 */
int leg_sock_release(struct leg *l) __attribute__((nonnull));

/**
 * fd_close() - Close a socket; @reset: with RST
 */
void fd_close(int fd, bool reset);

size_t leg_sock_takes(struct leg *l);	/* as leg_takes() of any leg on a socket */

#endif /* GW_LEG_SOCK_H */
