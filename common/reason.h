/* SPDX-License-Identifier: MIT */
/*
 * reason.h - Why a packet was dropped: one list for verdicts, counters, metric
 * labels, log lines and gwchain(7)
 *
 * A parser of packets returns an enum reason: REASON_NONE, or the counter to
 * bump.  Numbers are part of the frame's layout: append, never reorder.
 */
#ifndef GW_REASON_H
#define GW_REASON_H

/* X(symbol, label, class, text).  Classes: RULE - the user asked for it;
 * PACKET - the packet's own fault; FAULT - ours or the machine's. */
#define REASON_LIST(X) \
	X(NONE,		"none",		RULE,	"not dropped") \
	X(RULE,		"rule",		RULE,	"a drop or reject rule matched") \
	X(DEFAULT,	"default",	RULE,	"no rule matched and the default is drop or reject") \
	X(ON_ERROR,	"on-error",	RULE,	"a rule could not be evaluated and on-error is drop") \
	X(FRAGMENT,	"fragment",	RULE,	"a later fragment whose first fragment is not known, with --fragments drop") \
	X(MIDSTREAM,	"midstream",	RULE,	"TCP that appears without its SYN, with --midstream drop") \
	X(LINKTYPE,	"linktype",	PACKET,	"a link type this stage cannot read, or other than the output stream's") \
	X(TRUNCATED,	"truncated",	PACKET,	"captured shorter than it was on the wire") \
	X(L2_SHORT,	"l2-short",	PACKET,	"shorter than its link-layer header") \
	X(L2_NOT_IP,	"l2-not-ip",	PACKET,	"link-layer payload is neither IPv4 nor IPv6") \
	X(IP_SHORT,	"ip-short",	PACKET,	"shorter than its IP header") \
	X(IP_VERSION,	"ip-version",	PACKET,	"IP version is not 4 or 6, or not what the layer below says") \
	X(IP_HEADER,	"ip-header",	PACKET,	"IPv4 header length below 20 or beyond the packet") \
	X(IP_LENGTH,	"ip-length",	PACKET,	"IP length is smaller than its headers or larger than the packet") \
	X(IP_EXT,	"ip-ext",	PACKET,	"IPv6 extension header runs past the packet, or a second fragment header") \
	X(OUTER_FRAGMENT, "outer-fragment", PACKET, "the encapsulation itself is an IP fragment") \
	X(NOT_UDP,	"not-udp",	PACKET,	"outer packet is not UDP") \
	X(UDP_SHORT,	"udp-short",	PACKET,	"outer UDP header is cut") \
	X(UDP_LENGTH,	"udp-length",	PACKET,	"outer UDP length disagrees with the IP length") \
	X(NOT_GENEVE,	"not-geneve",	PACKET,	"outer UDP destination port is not 6081") \
	X(GENEVE_SHORT,	"geneve-short",	PACKET,	"shorter than the 8-byte Geneve header") \
	X(GENEVE_VERSION, "geneve-version", PACKET, "Geneve version is not 0 (RFC 8926 3.4)") \
	X(GENEVE_OPT_AREA, "geneve-opt-area", PACKET, "Geneve options run past the packet") \
	X(GENEVE_OPT_HDR, "geneve-opt-hdr", PACKET, "fewer than 4 bytes left for a Geneve option header") \
	X(GENEVE_OPT_LEN, "geneve-opt-len", PACKET, "a Geneve option runs past the option area, or a known one has the wrong length") \
	X(GENEVE_CRITICAL, "geneve-critical", PACKET, "unknown Geneve option with the critical bit set (RFC 8926 3.5)") \
	X(GENEVE_CONTROL, "geneve-control", PACKET, "Geneve control packet (O bit, RFC 8926 3.4)") \
	X(GENEVE_PROTO,	"geneve-proto",	PACKET,	"Geneve protocol type is neither IPv4 nor IPv6") \
	X(NO_ENCAP,	"no-encap",	PACKET,	"no encapsulation to put back: the packet was not received through gwdecap, or a program between dropped the metadata") \
	X(TOO_LARGE,	"too-large",	PACKET,	"larger than the frame or the interface can carry") \
	X(TOO_BIG,	"too-big",	PACKET,	"grew past the MTU and must not be fragmented; its sender was told") \
	X(IF_DOWN,	"if-down",	FAULT,	"the output interface is down or gone") \
	X(NO_BUFFERS,	"no-buffers",	FAULT,	"the kernel had no buffers to send with, also after retries") \
	X(SEND,		"send",		FAULT,	"the kernel refused to send the packet") \
	X(OUTPUT_GONE,	"output-gone",	FAULT,	"the output closed or failed while packets were on their way") \
	X(STOPPED,	"stopped",	FAULT,	"in hand when the stage was told to leave at once") \
	X(RESTART,	"restart",	FAULT,	"in the hand of a stage that died") \
	X(NO_MEMORY,	"no-memory",	FAULT,	"no room left in a table or frame") \
	X(FRAGMENT_EVASION, "fragment-evasion", PACKET, "a fragment that hides what rules look at: a first one without its whole transport header, or one that overlaps the first") \
	X(TUN,		"tun",		RULE,	"given to the kernel's TCP/IP by gwtun, which takes over from here") \
	X(NO_PROXY,	"no-proxy",	RULE,	"a new connection while no proxy is attached, with --no-proxy drop") \
	X(SYN_LIMIT,	"syn-limit",	FAULT,	"too many connections wait for their server's answer: --syns") \
	X(PROXY_SLOW,	"proxy-slow",	FAULT,	"the proxy did not take the news of a new connection") \
	X(NO_NAMESPACE,	"no-namespace",	FAULT,	"the endpoint's namespace is being made, and too many packets wait for it")

enum reason {
#define X(sym, label, class, text) REASON_##sym,
	REASON_LIST(X)
#undef X
	REASON_NUM
};

enum reason_class { REASON_CLASS_RULE, REASON_CLASS_PACKET, REASON_CLASS_FAULT };

/**
 * reason_name() - Metric label and log word of a reason, "?" if out of range
 */
const char *reason_name(unsigned reason);

/**
 * reason_text() - One sentence for people
 */
const char *reason_text(unsigned reason);

/**
 * reason_class() - Whose doing a drop is
 */
enum reason_class reason_class(unsigned reason);

#endif /* GW_REASON_H */
