/* SPDX-License-Identifier: MIT */
/*
 * hrules_load.c - From the command line's sources to rules ready for work
 */
#include <errno.h>
#include <search.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "hrules_int.h"

bool hrules_option(struct hrules_conf *c, int ch, const char *arg)
{
	if (ch == 'n')
		return c->check = true;
	if (ch != 'f' && ch != 'e')
		return false;
	if (c->nsources == HRULES_SOURCES_MAX)
		die_usage("more than %u -f and -e", HRULES_SOURCES_MAX);
	c->source[c->nsources].is_file = ch == 'f';
	c->source[c->nsources++].text = arg;
	return true;
}

void hrules_set_free(struct hrules_set *rs)
{
	if (!rs)
		return;
	for (unsigned i = 0; i < rs->n; i++) {
		struct hrule *r = &rs->rule[i];

		for (unsigned k = 0; k < r->ntests; k++) {
			free(r->test[k].name);
			hrules_pattern_free(&r->test[k].pattern);
		}
		free(r->test);
		free(r->header);
		hrules_pattern_free(&r->what);
		hrules_value_free(&r->value);
		hrules_value_free(&r->as);
	}
	for (unsigned i = 0; i < rs->nfiles; i++)
		free(rs->files[i]);
	tdestroy(rs->names, free);
	free(rs->files);
	free(rs->rule);
	free(rs);
}

static unsigned parse_source(struct hrules_set *rs, const struct hrules_conf *c, unsigned i,
			     unsigned nth)
{
	struct lexer l = { .src = c->source[i].text, .err = c->err };
	char *text = NULL, name[32];

	snprintf(name, sizeof(name), "-e#%u", nth);
	l.name = rs->files[rs->nfiles++] = strdup(c->source[i].is_file ? l.src : name);
	if (!l.name)
		die("no memory for rules");
	l.len = strlen(l.src);
	if (c->source[i].is_file) {
		text = rules_read(l.src, &l.len);
		if (!text) {
			if (c->err)
				fprintf(c->err, "%s: cannot read: %s\n", l.name, strerror(errno));
			return 1;
		}
		l.src = text;
	}
	hrules_set_parse(rs, &l);
	free(text);
	return l.errors;
}

static uint64_t hash_of(const struct hrule *r)
{
	struct printed p;

	hrule_print(r, false, printed_begin(&p));
	return printed_hash(&p);
}

/* A label for rules without a name: ACTION-HASH of the text, .2 for its second copy */
static void make_labels(struct hrules_set *rs)
{
	static const char *const words[] = {
		[HRULES_SET] = "set", [HRULES_ADD] = "add", [HRULES_DEL] = "del",
		[HRULES_RESPOND] = "respond", [HRULES_REDIRECT] = "redirect",
		[HRULES_REPLACE] = "replace", [HRULES_DROP] = "drop", [HRULES_LOG] = "log",
	};

	for (unsigned i = 0; i < rs->n; i++) {
		struct hrule *r = &rs->rule[i];

		if (!r->named)
			name_make(&rs->names, r->label, words[r->action], (uint32_t)hash_of(r),
				  r->file, r->line);
	}
}

struct hrules_set *hrules_set_load(const struct hrules_conf *c)
{
	struct hrules_set *rs = rules_alloc(sizeof(*rs));
	unsigned errors = 0, nth = 0;

	if (sodium_init() < 0)
		die("libsodium does not start");
	atomic_init(&rs->refs, 1);
	rs->files = rules_alloc((c->nsources + 1) * sizeof(*rs->files));
	for (unsigned i = 0; i < c->nsources; i++)
		if (c->source[i].is_file)
			errors += parse_source(rs, c, i, 0);
	for (unsigned i = 0; i < c->nsources; i++)
		if (!c->source[i].is_file)
			errors += parse_source(rs, c, i, ++nth);
	if (errors) {
		hrules_set_free(rs);
		return NULL;
	}
	make_labels(rs);
	tdestroy(rs->names, free);
	rs->names = NULL;
	return rs;
}
