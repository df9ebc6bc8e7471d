/* SPDX-License-Identifier: MIT */
/*
 * capfilter.h - A pcap-filter(7) expression as the filter of a packet socket
 */
#ifndef GW_CAPFILTER_H
#define GW_CAPFILTER_H

#include <stdint.h>

/**
 * capfilter_attach() - Let only those packets through to @fd
 * @expr:	Compiled for what lies in the packet: a VLAN tag that the card or the kernel
 *		took off is not there
 * @linktype:	LINKTYPE_ETHERNET or LINKTYPE_RAW
 * @snaplen:	How much of each to keep
 *
 * What this machine sends is left out in any case.  Errors exit.
 */
void capfilter_attach(int fd, const char *expr, uint32_t linktype, uint32_t snaplen)
	__attribute__((nonnull));

/**
 * capfilter_close() - Let nothing through to @fd until capfilter_attach().  Errors exit.
 */
void capfilter_close(int fd);

#endif /* GW_CAPFILTER_H */
