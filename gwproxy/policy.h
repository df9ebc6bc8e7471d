/* SPDX-License-Identifier: MIT */
/*
 * policy.h - Which TLS connections are intercepted, passed or blocked: --tls-rules
 *
 * Theory of operation
 *
 *	file = { line } ;	line = [ rule | default ] [ "#" text ]
 *	rule = action [ "when" condition ] { NAME } ;	default = "default" action
 *	action = "intercept" | "pass" | "block"
 *	condition = "no-sni" | "not-tls" | "ech" | "client-cert" | "unverified"
 *	NAME = host name | "*." domain (any depth below it) | port, with not-tls
 *
 * The first rule in the file that matches decides; without a NAME it matches all.  Rules with a
 * condition are asked when it is met.  A policy is not changed once loaded; workers share it by
 * counting who holds it, and a reload makes another one.
 */
#ifndef GW_POLICY_H
#define GW_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define POLICY_WHERE	64

enum policy_action { POLICY_NONE, POLICY_INTERCEPT, POLICY_PASS, POLICY_BLOCK };

enum policy_when {
	WHEN_ALWAYS,		/* by name */
	WHEN_NO_SNI,		/* the client named no server */
	WHEN_NOT_TLS,		/* another protocol on a port of TLS */
	WHEN_ECH,		/* the name may be hidden */
	WHEN_CLIENT_CERT,	/* the server asks for the client's certificate */
	WHEN_UNVERIFIED,	/* the server's certificate is not to be trusted */
	WHEN_NUM
};

struct policy;

/**
 * policy_load() - Read rules; NULL @path: none, everything is intercepted
 * @err:	Told of every error as FILE:LINE:COL: what; NULL: nobody
 *
 * Return: with one holder; NULL if there was an error
 */
struct policy *policy_load(const char *path, FILE *err);

/**
 * policy_parse() - The same from memory
 */
struct policy *policy_parse(const char *name, const char *text, size_t len, FILE *err)
	__attribute__((nonnull(1, 2)));

void policy_get(struct policy *p) __attribute__((nonnull));
void policy_put(struct policy *p);	/* NULL is fine */

/**
 * policy_ask() - What rules say
 * @name:	Lower case; a port's number with WHEN_NOT_TLS
 * @where:	"FILE:LINE" of the rule, or "default"
 *
 * Return: POLICY_NONE if no rule with this condition matches; never with WHEN_ALWAYS
 */
enum policy_action policy_ask(const struct policy *p, enum policy_when when, const char *name,
			      char where[POLICY_WHERE]) __attribute__((nonnull));

/**
 * policy_has_intercept() - Does a rule or default that was written ask for it?
 */
bool policy_has_intercept(const struct policy *p) __attribute__((nonnull));

/**
 * policy_print() - Rules that parse to the same again
 */
void policy_print(const struct policy *p, FILE *out) __attribute__((nonnull));

const char *policy_action_name(enum policy_action a);

#endif /* GW_POLICY_H */
