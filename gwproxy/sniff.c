/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "sniff.h"
#include "wire.h"

#define METHOD_MAX	128u

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

static bool is_token(uint8_t c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
	       (c && strchr("!#$%&'*+-.^_`|~", c));
}

/* What some servers take for the space between the words of a request (RFC 9112, 3) */
static bool is_space(uint8_t c)
{
	return c == ' ' || (c >= '\t' && c <= '\r' && c != '\n');
}

/*
 * A method and a space, as the most lenient server reads them: what is no HTTP passes without
 * a look, so the engine shall refuse what is odd.  SSH has its own first line.
 */
static enum sniff_verdict http1(const uint8_t *buf, size_t len)
{
	size_t i = 0, start;

	while (i < len && (is_space(buf[i]) || buf[i] == '\n'))
		if (++i > METHOD_MAX)
			return SNIFF_HTTP1;
	start = i;
	while (i < len && i - start <= METHOD_MAX && is_token(buf[i]))
		i++;
	if (i - start > METHOD_MAX)
		return SNIFF_OTHER;
	if (i == len || (buf[i] == '\r' && i + 1 == len))
		return SNIFF_MORE;
	if (i == start || !is_space(buf[i]) || (buf[i] == '\r' && buf[i + 1] == '\n'))
		return SNIFF_OTHER;
	return i - start > 4 && !memcmp(buf + start, "SSH-", 4) ? SNIFF_OTHER : SNIFF_HTTP1;
}

static enum sniff_verdict http(const uint8_t *buf, size_t len)
{
	if (!memcmp(buf, preface, MIN(len, sizeof(preface) - 1)))
		return len < sizeof(preface) - 1 ? SNIFF_MORE : SNIFF_HTTP2;
	return http1(buf, len);
}

enum sniff_verdict sniff(const uint8_t *buf, size_t len, bool tls, bool http_too, struct hello *h)
{
	if (!len)
		return SNIFF_MORE;
	if (tls) {
		switch (hello_scan(h, buf, len)) {
		case HELLO_WHOLE:
			return SNIFF_TLS;
		case HELLO_MORE:
			return SNIFF_MORE;
		case HELLO_BROKEN:
			return SNIFF_BROKEN;
		case HELLO_NOT:
			break;
		}
	}
	return http_too ? http(buf, len) : SNIFF_OTHER;
}
