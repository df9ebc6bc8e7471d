/* SPDX-License-Identifier: MIT */
#include "reason.h"

static const struct {
	const char *name, *text;
	enum reason_class class;
} reasons[] = {
#define X(sym, label, cls, txt) { label, txt, REASON_CLASS_##cls },
	REASON_LIST(X)
#undef X
};

_Static_assert(sizeof(reasons) / sizeof(reasons[0]) == REASON_NUM, "one row a reason");

const char *reason_name(unsigned reason)
{
	return reason < REASON_NUM ? reasons[reason].name : "?";
}

const char *reason_text(unsigned reason)
{
	return reason < REASON_NUM ? reasons[reason].text : "?";
}

enum reason_class reason_class(unsigned reason)
{
	return reason < REASON_NUM ? reasons[reason].class : REASON_CLASS_FAULT;
}
