/* SPDX-License-Identifier: MIT */
/*
 * ready.h - Tell a supervisor that set-up is over
 */
#ifndef GW_READY_H
#define GW_READY_H

/**
 * ready_notify() - A newline on @fd, and READY=1 to $NOTIFY_SOCKET if that is set
 * @fd:		From --ready-fd, closed afterwards; -1: none
 *
 * A supervisor that does not listen is its own affair: failures are logged only.
 */
void ready_notify(int fd);

#endif /* GW_READY_H */
