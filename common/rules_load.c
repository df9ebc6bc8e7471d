/* SPDX-License-Identifier: MIT */
/*
 * rules_load.c - From the command line's sources to rules ready for work
 */
#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rules_int.h"

#define SOURCE_MAX	(64u << 20)
#define SNAPLEN		262144

void *rules_alloc(size_t size)
{
	void *p = calloc(1, size ? size : 1);

	if (!p)
		die("no memory for rules");
	return p;
}

/* Room for one element more than @n, cleared when it is new */
void *rules_grow(void *p, size_t n, size_t *room, size_t size)
{
	size_t was = *room;

	if (n < was)
		return p;
	*room = n < 8 ? 16 : 2 * n;
	p = realloc(p, *room * size);
	if (!p)
		die("no memory for rules");
	memset((char *)p + was * size, 0, (*room - was) * size);
	return p;
}

char *rules_read(const char *path, size_t *len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), err = 0;
	size_t room = 0, n = 0;
	char *text = NULL;
	ssize_t got;

	if (fd < 0)
		return NULL;
	do {
		text = rules_grow(text, n + 4096, &room, 1);
		got = read(fd, text + n, room - n - 1);
		if (got < 0)
			err = errno;
		else
			n += (size_t)got;
		if (n > SOURCE_MAX)
			err = EFBIG;
	} while (got > 0 && !err);
	close(fd);
	if (err) {
		free(text);
		errno = err;
		return NULL;
	}
	text[n] = '\0';
	*len = n;
	return text;
}

static void pattern_free(struct rule_pattern *p)
{
	pcre2_code_free(p->re);
	free(p->text);
}

void rules_free(struct rules *r)
{
	if (!r)
		return;
	for (unsigned i = 0; i < r->n; i++) {
		struct rule *rule = &r->rule[i];

		pattern_free(&rule->what);
		for (unsigned j = 0; j < rule->ntests; j++)
			pattern_free(&rule->test[j].payload);
		free(rule->test);
		free(rule->with);
		free(rule->part);
		free(rule->where);
		if (rule->prog.bf_insns)
			pcap_freecode(&rule->prog);
	}
	for (unsigned i = 0; i < r->ntables; i++)
		table_free(r->tables[i]);
	for (unsigned i = 0; i < r->nfiles; i++)
		free(r->files[i]);
	index_free(r->index);
	free(r->tables);
	free(r->files);
	free(r->rule);
	free(r);
}

static void parse_source(struct rules_builder *b, const struct rules_conf *c, unsigned i,
			 unsigned nth, unsigned *errors)
{
	struct lexer l = { .src = c->source[i].text, .err = c->err };
	char *text = NULL, name[32];

	if (c->source[i].name)
		snprintf(name, sizeof(name), "%s", c->source[i].name);
	else
		snprintf(name, sizeof(name), "-e#%u", nth);
	l.name = b->r->files[b->r->nfiles++] = strdup(c->source[i].is_file ? l.src : name);
	if (!l.name)
		die("no memory for rules");
	l.len = strlen(l.src);
	if (c->source[i].is_file) {
		text = rules_read(l.src, &l.len);
		if (!text) {
			++*errors;
			if (c->err)
				fprintf(c->err, "%s: cannot read: %s\n", l.name, strerror(errno));
			return;
		}
		l.src = text;
	}
	rules_parse(b, &l);
	*errors += l.errors;
	free(text);
}

static unsigned link_tables(struct rules *r, FILE *err)
{
	unsigned errors = 0;

	for (unsigned i = 0; i < r->n; i++) {
		for (unsigned j = 0; j < r->rule[i].ntests; j++) {
			struct rule_test *t = &r->rule[i].test[j];

			for (unsigned k = 0; k < r->ntables; k++)
				if (!strcmp(r->tables[k]->name, t->table_name)) {
					t->table = r->tables[k];
					r->tables[k]->used = true;
				}
			if (t->table || !*t->table_name)
				continue;
			errors++;
			if (err)
				fprintf(err, "%s:%u:%u: no table of this name, near \"<%s>\"\n",
					r->rule[i].file, t->line, t->column, t->table_name);
		}
	}
	return errors;
}

uint64_t rules_hash(const void *text, size_t len)
{
	uint8_t out[crypto_generichash_BYTES_MIN];

	crypto_generichash(out, sizeof(out), text, len, NULL, 0);
	return be64(out);
}

FILE *printed_begin(struct printed *p)
{
	p->f = open_memstream(&p->text, &p->len);
	if (!p->f)
		die("no memory for rules");
	return p->f;
}

uint64_t printed_hash(struct printed *p)
{
	uint64_t hash;

	fclose(p->f);
	hash = rules_hash(p->text, p->len);
	free(p->text);
	return hash;
}

static int cmp_name(const void *a, const void *b)
{
	const struct name_entry *x = a, *y = b;

	return strcmp(x->name, y->name);
}

const struct name_entry *name_take(void **names, const char *name, const char *file,
				   unsigned line, bool *was_free)
{
	struct name_entry *e = rules_alloc(sizeof(*e)), **held;

	snprintf(e->name, sizeof(e->name), "%s", name);
	e->file = file;
	e->line = line;
	held = tsearch(e, names, cmp_name);
	if (!held)
		die("no memory for rules");
	*was_free = *held == e;
	if (!*was_free)
		free(e);
	return *held;
}

bool name_parse(void **names, struct lexer *l, char *label, const char *file, unsigned line)
{
	const struct name_entry *e;
	char *s = NULL;
	size_t len, start;
	bool ok;

	lex_blank(l);
	start = l->pos;
	if (!lex_string(l, &s, &len))
		return false;
	ok = len && len < RULES_NAME_MAX && strspn(s, lex_name_set) == len;
	if (ok)
		memcpy(label, s, len + 1);
	free(s);
	if (!ok)
		return lex_error(l, start,
				 "a name has 1 to 63 of the characters A-Z a-z 0-9 _ . -");
	e = name_take(names, label, file, line, &ok);
	return ok ||
	       lex_error(l, start, "name \"%s\" is taken by %s:%u", e->name, e->file, e->line);
}

void name_make(void **names, char label[RULES_NAME_MAX], const char *word, uint32_t hash,
	       const char *file, unsigned line)
{
	unsigned copy = 1;
	bool was_free;

	snprintf(label, RULES_NAME_MAX, "%s-%08x", word, hash);
	while (name_take(names, label, file, line, &was_free), !was_free)
		snprintf(label, RULES_NAME_MAX, "%s-%08x.%u", word, hash, ++copy);
}

static uint64_t hash_text_of(const struct rule *rule)
{
	struct printed p;

	rule_print(rule, false, printed_begin(&p));
	return printed_hash(&p);
}

static uint64_t hash_with_tables(const struct rule *rule, uint64_t text)
{
	uint64_t both[2] = { text };

	for (unsigned i = 0; i < rule->ntests; i++) {
		const struct rules_table *t = rule->test[i].table;

		if (!t)
			continue;
		both[1] = t->hash;
		both[0] = rules_hash(both, sizeof(both));
	}
	return both[0];
}

/* A label for rules without a name: ACTION-HASH of the text, .2 for its second copy */
static void make_labels(struct rules *r, void **names)
{
	static const char *const words[] = { "pass", "drop", "reject", "count", "replace", "set",
					     "set" };

	for (unsigned i = 0; i < r->ntables; i++)
		r->tables[i]->hash = rules_hash(r->tables[i]->prefix,
						r->tables[i]->n * sizeof(struct prefix));
	for (unsigned i = 0; i < r->n; i++) {
		struct rule *rule = &r->rule[i];
		uint64_t text = hash_text_of(rule);

		rule->hash = hash_with_tables(rule, text);
		if (!rule->named)
			name_make(names, rule->label, words[rule->action], (uint32_t)text,
				  rule->file, rule->line);
	}
}

static void hash_rules(struct rules *r)
{
	struct printed p;

	rules_print(r, printed_begin(&p));
	r->hash = printed_hash(&p);
}

/* Not by a whole verdict but by a bit of it */
static bool is_kept(const struct rules *r, const struct rule *rule)
{
	if (r->kind == RULES_FILTER)
		return rule->flow && rule->action == RULE_COUNT;
	return rule->flow || rule->action != RULE_REPLACE;
}

/* Matches of "count flow" and of "set" and "flow" edits: one word per flow holds them all */
static unsigned number_kept(struct rules *r, FILE *err)
{
	for (unsigned i = 0; i < r->n; i++) {
		struct rule *rule = &r->rule[i];

		if (!is_kept(r, rule))
			continue;
		if (r->nkept == RULES_KEPT_MAX) {
			if (err)
				fprintf(err,
					"%s:%u:1: more than %d %s, near \"%s\"\n", rule->file,
					rule->line, RULES_KEPT_MAX, r->kind == RULES_FILTER ?
					"rules that say 'count flow'" :
					"edits that say 'set' or 'flow'", rule->label);
			return 1;
		}
		rule->kept = (int)r->nkept;
		r->keeper[r->nkept++] = i;
	}
	return 0;
}

static void summarise(struct rules *r)
{
	if (!r->error_given)
		r->error_drop = r->def == RULE_DROP || r->def == RULE_REJECT;
	for (unsigned i = 0; i < r->n; i++) {
		const struct rule *rule = &r->rule[i];

		r->has_flow |= rule->flow;
		r->has_rate |= rule->rate.n && rule->rate.by != BY_ALL;
		r->looks |= rule_looks(rule) || rule->flow;
	}
}

struct rules *rules_load(const struct rules_conf *c)
{
	struct rules_builder b = { .r = rules_alloc(sizeof(*b.r)) };
	unsigned errors = 0, nth = 0;

	if (sodium_init() < 0)
		die("libsodium does not start");
	b.r->kind = c->kind;
	b.r->files = rules_alloc((c->nsources + 1) * sizeof(*b.r->files));
	b.pcap = pcap_open_dead(DLT_RAW, SNAPLEN);
	if (!b.pcap)
		die("no memory for rules");
	for (unsigned i = 0; i < c->nsources; i++)
		if (c->source[i].is_file)
			parse_source(&b, c, i, 0, &errors);
	for (unsigned i = 0; i < c->nsources; i++)
		if (!c->source[i].is_file)
			parse_source(&b, c, i, ++nth, &errors);
	pcap_close(b.pcap);
	errors += link_tables(b.r, c->err);
	if (!errors)
		make_labels(b.r, &b.names);
	tdestroy(b.names, free);
	if (errors || number_kept(b.r, c->err)) {
		rules_free(b.r);
		return NULL;
	}
	summarise(b.r);
	hash_rules(b.r);
	b.r->index = index_build(b.r);
	return b.r;
}

static void check(const struct rules_conf *c, const struct rules *r)
{
	for (unsigned i = 0; i < r->n; i++) {
		const struct rule *rule = &r->rule[i];
		const char *why = rule->where ? where_warning(rule->where) : NULL;

		if (why)
			lex_warn(c->err, rule->file, rule->line, "%s", why);
	}
	for (unsigned i = 0; i < r->ntables; i++)
		if (!r->tables[i]->used)
			lex_warn(c->err, r->tables[i]->file, r->tables[i]->line,
				 "table <%s> is not used", r->tables[i]->name);
	rules_print(r, stdout);
}

struct rules *rules_start(const struct rules_conf *c)
{
	struct rules *r = rules_load(c);

	if (!r)
		exit(EXIT_USAGE);
	if (c->check) {
		check(c, r);
		rules_free(r);
		exit(log_stdout());
	}
	return r;
}

static enum rules_policy policy(const char *opt, const char *arg)
{
	if (!strcmp(arg, "pass"))
		return POLICY_PASS;
	if (!strcmp(arg, "drop"))
		return POLICY_DROP;
	die_usage("--%s: '%s' is neither pass nor drop", opt, arg);
}

bool rules_option(struct rules_conf *c, int ch, const char *arg)
{
	switch (ch) {
	case 'f':
	case 'e':
		if (c->nsources == RULES_SOURCES_MAX)
			die_usage("more than %u -f and -e", RULES_SOURCES_MAX);
		c->source[c->nsources].is_file = ch == 'f';
		c->source[c->nsources++].text = arg;
		return true;
	case 'n':
		c->check = true;
		return true;
	case RULES_OPT_FRAGMENTS:
		c->fragments = policy("fragments", arg);
		return true;
	case RULES_OPT_FLOWS:
		c->flows = (unsigned)opt_u64("flows", arg, 1, 50000000);
		return true;
	case RULES_OPT_MIDSTREAM:
		c->midstream = policy("midstream", arg);
		return true;
	case RULES_OPT_TCP_TIMEOUT:
		c->tcp_timeout_ns = opt_ns("tcp-timeout", arg, 0, OPT_MS_MAX);
		return true;
	case RULES_OPT_TIMEOUT:
		c->timeout_ns = opt_ns("timeout", arg, 0, OPT_MS_MAX);
		return true;
	}
	return false;
}
