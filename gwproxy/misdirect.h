/* SPDX-License-Identifier: MIT */
/*
 * misdirect.h - Requests for another name than the one that a TLS connection was intercepted for
 *
 * Browsers send requests for all names of a server's certificate over one connection, and others
 * say one name in their hello and another one in requests.  What TLS rules pass or block is answered
 * with 421 (RFC 9110, 15.5.20): who means it comes again, with a connection for that name.
 */
#ifndef GW_MISDIRECT_H
#define GW_MISDIRECT_H

#include "hook.h"

extern const struct hook_ops misdirect_ops;	/* of struct conn's facts; no context */

#endif /* GW_MISDIRECT_H */
