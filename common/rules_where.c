/* SPDX-License-Identifier: MIT */
/*
 * rules_where.c - Filter expressions: what means nothing here, then libpcap's compiler
 *
 * libpcap would ask the resolver about any word it does not know, and a stage must
 * never wait for a name server, nor change its mind with one.  So each word is looked
 * at first: keywords pass, words that mean nothing on a bare IP packet are refused
 * with the reason, and an unknown word is only let through where libpcap takes a
 * service or protocol name, which it looks up in /etc.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "rules_int.h"

static const char *const known[] = {
	"and", "or", "not", "src", "dst", "host", "net", "mask", "ip", "ip6", "tcp", "udp", "icmp",
	"icmp6", "sctp", "igmp", "igrp", "pim", "vrrp", "carp", "ah", "esp", "less", "greater",
	"len", "length", "broadcast", "multicast", "tcpflags", "icmptype", "icmpcode", "icmp6type",
	"icmp6code",
};

static const char *const prefixes[] = { "icmp-", "icmp6-", "tcp-" };

static const struct {
	const char *words;
	const char *why;
} refused[] = {
	{ " ether link fddi tr tokenring wlan ppp slip vlan mpls pppoed pppoes llc type subtype "
	  "dir direction addr1 addr2 addr3 addr4 lane oam oamf4 connectmsg metaconnect bcc sc "
	  "ilmic vpi vci ra ta address1 address2 address3 address4 ",
	  "there is no link layer here: rules see the inner packet from its IP header on" },
	{ " inbound outbound ifname on ifindex rnr rulenum reason rset ruleset srnr subrulenum "
	  "action sid hmp sio opc dpc sls fisu lssu lsu msu slt ",
	  "the packet's interface and its kernel filter are not known here" },
	{ " geneve vxlan ",
	  "the encapsulation is off already: rules see the inner packet, and 'endpoint' "
	  "tests where it came through" },
	{ " arp rarp atalk aarp decnet iso stp ipx netbeui lat moprc mopdl sca esis isis clnp "
	  "es-is is-is ",
	  "packets here are IPv4 or IPv6" },
	{ " protochain ", "extension headers are skipped for every rule: write 'proto'" },
	{ " gateway ", "it needs look-ups of names, and none are made" },
};

static bool in_list(const char *word, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(word, list[i]))
			return true;
	return false;
}

static const char *refusal(const char *word)
{
	char spaced[68];

	snprintf(spaced, sizeof(spaced), " %s ", word);
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
		if (strstr(refused[i].words, spaced))
			return refused[i].why;
	return NULL;
}

/* Numbers, addresses, masks, ranges of ports: nothing a resolver is asked about */
static bool is_number(const char *w)
{
	bool dots = true, v6 = false, hex = !strncmp(w, "0x", 2);

	for (const char *p = hex ? w + 2 : w; *p; p++) {
		if (!isxdigit((unsigned char)*p) && *p != ':' && *p != '.')
			return isdigit((unsigned char)*w) && strspn(w, "0123456789-") == strlen(w);
		v6 |= *p == ':';
		dots &= isdigit((unsigned char)*p) || *p == '.';
	}
	return hex || v6 || dots;
}

/**
 * struct words - Cursor over the words of an expression
 * @depth:	Within [ ]
 * @named:	The last primitive was port, portrange or proto: names are looked up
 *		in files
 */
struct words {
	const char *p;
	unsigned depth;
	bool named;
	char word[64];
};

static const char *next_word(struct words *w)
{
	for (; *w->p; w->p++) {
		const char *start = w->p;
		bool escaped = *w->p == '\\';
		size_t n = 0;

		w->depth += *w->p == '[';
		w->depth -= *w->p == ']' && w->depth;
		start += escaped;
		while (isalnum((unsigned char)start[n]) ||
		       (n && start[n] && strchr("-_.", start[n])) || (start[n] == ':' && !w->depth))
			n++;
		if (!n)
			continue;
		snprintf(w->word, sizeof(w->word), "%.*s", (int)MIN(n, sizeof(w->word) - 1), start);
		w->p = start + n;
		if (!escaped)
			return start;
	}
	return NULL;
}

static bool check_word(struct words *w, const char **why)
{
	const char *word = w->word;

	*why = refusal(word);
	if (*why)
		return false;
	if (!strcmp(word, "port") || !strcmp(word, "portrange") || !strcmp(word, "proto")) {
		w->named = true;
		return true;
	}
	if (!strcmp(word, "and") || !strcmp(word, "or") || !strcmp(word, "not") || is_number(word))
		return true;
	if (in_list(word, known, ARRAY_SIZE(known))) {
		/* 'proto tcp' names a protocol; a qualifier starts a new primitive */
		w->named = false;
		return true;
	}
	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
		if (!strncmp(word, prefixes[i], strlen(prefixes[i])))
			return true;
	*why = "is this the name of a host or network? No look-ups are made: write its address";
	return w->named;
}

/*
 * libpcap's optimizer calls it an error if an expression contradicts itself.  Here it is a rule
 * that never matches, which is no reason to do without the others: what is compiled as it stands
 * says no to every packet.
 */
static bool compile(pcap_t *pcap, struct rule *rule, struct lexer *l, size_t at)
{
	if (!pcap_compile(pcap, &rule->prog, rule->where, 1, PCAP_NETMASK_UNKNOWN))
		return true;
	if (strstr(pcap_geterr(pcap), "rejects all packets") &&
	    !pcap_compile(pcap, &rule->prog, rule->where, 0, PCAP_NETMASK_UNKNOWN)) {
		lex_doubt(l, at,
			  "no packet can match this filter expression: the rule does nothing");
		return true;
	}
	rule->prog.bf_insns = NULL;
	return lex_error(l, at, "filter expression: %s", pcap_geterr(pcap));
}

bool where_compile(pcap_t *pcap, struct rule *rule, struct lexer *l, const size_t *map)
{
	struct words w = { .p = rule->where };
	const char *at, *why;

	if (!*rule->where)
		return lex_error(l, map[0], "expected a filter expression behind 'where'");
	if (strlen(rule->where) > 65536)
		return lex_error(l, map[0], "filter expression longer than 65536 characters");
	while ((at = next_word(&w)))
		if (!check_word(&w, &why))
			return lex_error(l, map[at - rule->where], "%s", why);
	return compile(pcap, rule, l, map[0]);
}

const char *where_warning(const char *expr)
{
	static const char *const v4_only[] = {
		"tcp[", "udp[", "sctp[", "tcp [", "udp [", "sctp ["
	};

	for (size_t i = 0; i < ARRAY_SIZE(v4_only); i++)
		if (strstr(expr, v4_only[i]))
			return "looks at IPv4 only: libpcap does not index behind an IPv6 header "
			       "(write ip6[40 + N] for it)";
	return NULL;
}
