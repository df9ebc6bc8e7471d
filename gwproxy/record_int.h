/* SPDX-License-Identifier: MIT */
/*
 * record_int.h - Between the files of the record; programs use record.h
 */
#ifndef GW_RECORD_INT_H
#define GW_RECORD_INT_H

#include <libpsl.h>

#include "record.h"

/**
 * record_line() - A line without its end, freed by the caller; NULL without memory
 * @x:		NULL: of a connection that had no exchange
 */
char *record_line(const struct record_conf *c, const psl_ctx_t *psl, const struct conn_facts *f,
		  const struct exchange *x) __attribute__((nonnull(1, 3)));

/**
 * struct sigv4 - Who signed a request, for which region and service; "" where not said
 */
struct sigv4 {
	char key[129];
	char region[65];
	char service[65];
};

/* From "KEY/DATE/REGION/SERVICE/aws4_request", percent-encoded or not */
bool sigv4_scope(const char *s, size_t len, struct sigv4 *out) __attribute__((nonnull));
/* Of a request, by its Authorization or its query */
bool sigv4_of(const struct message *req, struct sigv4 *out) __attribute__((nonnull));

#endif /* GW_RECORD_INT_H */
