/* SPDX-License-Identifier: MIT */
/*
 * conf.h - gwproxy's command line
 */
#ifndef GW_CONF_H
#define GW_CONF_H

#include <stdbool.h>
#include <stdint.h>

#include "alone.h"
#include "hrules.h"
#include "proxy.h"
#include "record.h"

#define CONF_PATH	256

/**
 * struct conf - What was asked for
 * @tun:	gwtun's socket
 * @conns:	--max-connections; 0: as many as descriptors allow
 */
struct conf {
	const char *listen[ALONE_MAX];
	unsigned nlisten;
	char tun[CONF_PATH], run_dir[CONF_PATH];
	const char *tun_given, *chain, *user;
	const char *tls_rules, *ca_cert, *ca_key, *upstream_ca, *keylog;
	bool keylog_pub, insecure, pass_on_failure, quiet;
	int ready_fd;
	uint64_t drain_ms;
	uint64_t conns;
	struct hrules_conf web;
	struct record_conf record;
};

/**
 * conf_parse() - Fill both; errors, --help and --version exit
 */
void conf_parse(struct conf *c, struct proxy *p, int argc, char **argv);

/**
 * conf_policy() - Load --tls-rules; errors exit.  With -n they are printed
 */
struct policy *conf_policy(const struct conf *c);

/**
 * conf_limits() - Descriptors, and how many connections they allow
 */
void conf_limits(const struct conf *c, struct proxy *p);

#endif /* GW_CONF_H */
