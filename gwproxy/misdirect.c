/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "conn.h"
#include "hrules_int.h"
#include "message_int.h"
#include "misdirect.h"
#include "policy.h"

static const char body[] = "misdirected request\n";

/* Who did not say a name cannot come again with one: it may not have what is blocked */
static bool is_refused(const struct conn *c, const char *host, char where[POLICY_WHERE])
{
	enum policy_action a = policy_ask(c->worker->policy, WHEN_ALWAYS, host, where);

	return a == POLICY_BLOCK || (a == POLICY_PASS && c->facts.sni[0]);
}

static enum hook_verdict answer(struct exchange *x)
{
	char *text = strdup(body);

	x->answer = message_new();
	if (!text || !x->answer || message_set_status(x->answer, 421, text_of("Misdirected Request")) ||
	    message_add(x->answer, text_of("Content-Type"), text_of("text/plain"))) {
		free(text);
		return HOOK_DROP;
	}
	x->answer_body = text_of(text);		/* freed with the exchange */
	return HOOK_ANSWER;
}

static enum hook_verdict on_request(void *ctx, unsigned self, struct exchange *x)
{
	const struct conn *c = (struct conn *)(void *)((char *)x->conn - offsetof(struct conn, facts));
	char host[sizeof(x->conn->sni)], where[POLICY_WHERE];
	struct text t = hrules_host(x);

	(void)ctx, (void)self;
	if (!x->conn->tls || !t.len || t.len >= sizeof(host) || text_is(t, x->conn->sni))
		return HOOK_PASS;
	for (size_t i = 0; i < t.len; i++)
		host[i] = (char)tolower((unsigned char)t.p[i]);
	host[t.len] = '\0';
	if (!is_refused(c, host, where))
		return HOOK_PASS;
	conn_say(c, "misdirected", where);
	return answer(x);
}

const struct hook_ops misdirect_ops = { .name = "misdirect", .request = on_request };
