/* SPDX-License-Identifier: MIT */
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "hostport.h"
#include "log.h"
#include "opt.h"

struct addrinfo *hostport_parse(const char *opt, const char *spec)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
				  .ai_socktype = SOCK_STREAM }, *ai;
	const char *colon = strrchr(spec, ':');
	size_t len = colon ? (size_t)(colon - spec) : 0;
	char host[128];

	if (!colon)
		die_usage("--%s: '%s' is not ADDR:PORT", opt, spec);
	opt_u64(opt, colon + 1, 1, 65535);
	if (*spec == '[' && len > 2 && spec[len - 1] == ']') {
		spec++;
		len -= 2;
	} else if (memchr(spec, ':', len)) {
		die_usage("--%s: '%s': write an IPv6 address as [ADDR]:PORT", opt, spec);
	}
	if (len >= sizeof(host))
		die_usage("--%s: '%s': not an address", opt, spec);
	snprintf(host, sizeof(host), "%.*s", (int)len, spec);
	if (!len)
		hints.ai_family = AF_INET;
	if (getaddrinfo(len ? host : NULL, colon + 1, &hints, &ai))
		die_usage("--%s: '%s' is not a numeric address", opt, host);
	return ai;
}
