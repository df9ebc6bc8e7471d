/* SPDX-License-Identifier: MIT */
/*
 * userns.h - A user namespace of one's own, as the kernel allows to anyone
 */
#ifndef GW_USERNS_H
#define GW_USERNS_H

/**
 * userns_become_root() - Be root of a new user namespace, in which only we are mapped
 * @flags:	Further namespaces to make with it: CLONE_NEW...
 *
 * Return: 0 or -errno
 */
int userns_become_root(int flags);

#endif /* GW_USERNS_H */
