/* SPDX-License-Identifier: MIT */
/*
 * conform_report.c - What is told of the tests: TAP, JUnit, captures of failed tests; and which
 * failures count
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conform.h"
#include "conform_pcap.h"
#include "log.h"
#include "wire.h"

#define DIAG_PROBES	3u	/* probes a failed test tells of */

enum expect { EXPECT_NONE, EXPECT_PASS, EXPECT_FAIL, EXPECT_SKIP, EXPECT_ANY };

static const char *const expect_words[] = { "", "pass", "fail", "skip", "any" };

struct result {
	const struct conform_test *t;
	enum outcome out;
	bool counts;
	double seconds;
	char why[256];
};

struct report {
	const struct conform_conf *conf;
	enum expect *expect;	/* one a test */
	struct result *results;
	unsigned n;
	unsigned failed;
	unsigned tolerated;
	unsigned skipped;
	uint64_t last_ns;
};

static int test_index(const char *id)
{
	for (unsigned i = 0; i < conform_ntests; i++)
		if (!strcmp(conform_tests[i].id, id))
			return (int)i;
	return -1;
}

/* "ID RESULT [# text]"; returns whether the line is right */
static bool expect_line(struct report *r, char *line, unsigned number)
{
	char *id, *word, *rest, *save = NULL;
	int test;

	line[strcspn(line, "#\n")] = '\0';
	id = strtok_r(line, " \t", &save);
	if (!id)
		return true;
	word = strtok_r(NULL, " \t", &save);
	rest = strtok_r(NULL, " \t", &save);
	test = test_index(id);
	if (test < 0) {
		log_error("%s:%u: no test has the id '%s'", r->conf->expect, number, id);
		return false;
	}
	for (unsigned e = EXPECT_PASS; word && !rest && e <= EXPECT_ANY; e++)
		if (!strcmp(word, expect_words[e])) {
			r->expect[test] = (enum expect)e;
			return true;
		}
	log_error("%s:%u: after '%s' comes one of: pass, fail, skip, any", r->conf->expect, number,
		  id);
	return false;
}

static void expect_read(struct report *r)
{
	FILE *f = fopen(r->conf->expect, "re");
	char *line = NULL;
	size_t room = 0;
	unsigned number = 0;
	bool ok = true;

	if (!f)
		die_conf("%s: %m", r->conf->expect);
	while (getline(&line, &room, f) >= 0)
		ok &= expect_line(r, line, ++number);
	free(line);
	fclose(f);
	if (!ok)
		exit(EXIT_USAGE);
}

struct report *report_open(const struct conform_conf *conf)
{
	struct report *r = calloc(1, sizeof(*r));

	if (!r)
		die("out of memory");
	r->conf = conf;
	r->expect = calloc(conform_ntests, sizeof(*r->expect));
	r->results = calloc(conform_ntests, sizeof(*r->results));
	if (!r->expect || !r->results)
		die("out of memory");
	if (conf->expect)
		expect_read(r);
	return r;
}

void report_plan(struct report *r)
{
	unsigned n = 0;

	for (unsigned i = 0; i < conform_ntests; i++)
		n += r->conf->chosen[i];
	r->last_ns = suite_now_ns();
	printf("TAP version 13\n1..%u\n# seed %llu\n", n, (unsigned long long)r->conf->seed);
	fflush(stdout);
}

static void dev_words(uint32_t dev, char *out, size_t size)
{
	size_t n = 0;

	out[0] = '\0';
	for (unsigned bit = 0; bit < DEV_NUM && n < size; bit++)
		if (dev >> bit & 1)
			n += (size_t)snprintf(out + n, size - n, "%s%s", n ? "; " : "",
					      dev_text(bit));
}

static void diagnose(const struct suite *s, uint32_t mask)
{
	unsigned told = 0, left = 0;
	char words[300];

	for (unsigned i = 0; i < s->nprobes; i++) {
		const struct probe *p = &s->probe[i];

		if (!(p->dev & mask))
			continue;
		if (told++ >= DIAG_PROBES) {
			left++;
			continue;
		}
		dev_words(p->dev & mask, words, sizeof(words));
		printf("#   packet %u (%s, %u bytes): %s\n", i + 1, p->what, p->len, words);
	}
	if (left)
		printf("#   and %u more like these\n", left);
}

/* A failure that does not make the run fail, and why */
static const char *tolerance(const struct report *r, const struct conform_test *t, enum expect e)
{
	if (e == EXPECT_FAIL)
		return "expected to fail";
	if (e == EXPECT_ANY)
		return "any result is expected";
	if (t->level == LEVEL_MAY)
		return "may be so";
	if (t->prov != 'D' && !r->conf->strict)
		return t->prov == 'C' ? "seen in practice, not documented: counts with --strict"
				      : "inferred, not documented: counts with --strict";
	return NULL;
}

static enum outcome outcome_of(const struct suite *s, const struct conform_test *t)
{
	bool back = false;

	if (s->fail & suite_mask(s, t))
		return OUT_FAIL;
	for (unsigned i = 0; i < s->nprobes; i++)
		back |= s->probe[i].nreplies > 0;
	if (!back && (s->nprobes || s->detail[0]))
		return OUT_SKIP;
	return OUT_PASS;
}

static void print_result(struct report *r, struct suite *s, struct result *res,
			 const char *tolerated, enum expect e)
{
	const struct conform_test *t = res->t;
	uint32_t mask = suite_mask(s, t);
	bool wrong = e != EXPECT_NONE && e != EXPECT_ANY &&
		     e != (enum expect)(EXPECT_PASS + (unsigned)res->out);

	printf("%sok %u - %s: %s (%s, %c)", res->out == OUT_FAIL || wrong ? "not " : "", r->n,
	       t->id, t->title, conform_level(t->level), t->prov);
	if (res->out == OUT_SKIP && !wrong)
		printf(" # SKIP %s", res->why);
	else if (res->out == OUT_FAIL && tolerated)
		printf(" # TODO %s", tolerated);
	putchar('\n');
	if (wrong)
		printf("#   %s says %s, it is %s\n", r->conf->expect, expect_words[e],
		       expect_words[EXPECT_PASS + (unsigned)res->out]);
	if (res->out == OUT_FAIL) {
		printf("#   %s\n", res->why);
		diagnose(s, mask);
	}
	res->counts = wrong || (res->out == OUT_FAIL && !tolerated);
	fflush(stdout);
}

void report_test(struct report *r, struct suite *s, const struct conform_test *t)
{
	enum expect e = r->expect[t - conform_tests];
	struct result *res = &r->results[r->n++];
	uint64_t now = suite_now_ns();

	res->t = t;
	res->out = outcome_of(s, t);
	res->seconds = (double)(now - r->last_ns) / 1e9;
	r->last_ns = now;
	if (s->detail[0])
		snprintf(res->why, sizeof(res->why), "%s", s->detail);
	else if (res->out == OUT_SKIP)
		snprintf(res->why, sizeof(res->why), "nothing came back");
	else
		dev_words(s->fail & suite_mask(s, t), res->why, sizeof(res->why));
	print_result(r, s, res, tolerance(r, t, e), e);
	r->failed += res->counts;
	r->tolerated += res->out == OUT_FAIL && !res->counts;
	r->skipped += res->out == OUT_SKIP && !res->counts;
	if (res->out == OUT_FAIL && r->conf->pcap)
		conform_pcap(s, t, r->conf->pcap);
}

static void xml_text(FILE *f, const char *text)
{
	for (; *text; text++) {
		const char *entity = *text == '<' ? "&lt;" : *text == '>' ? "&gt;" :
				     *text == '&' ? "&amp;" : *text == '"' ? "&quot;" : NULL;

		if (entity)
			fputs(entity, f);
		else
			fputc(*text, f);
	}
}

static void junit_case(FILE *f, const struct result *res)
{
	fprintf(f, "  <testcase classname=\"gwsim.conform\" name=\"%s\" time=\"%.3f\">\n",
		res->t->id, res->seconds);
	if (res->counts || res->out != OUT_PASS) {
		fprintf(f, "    <%s message=\"", res->counts ? "failure" : "skipped");
		xml_text(f, res->t->title);
		fputs(": ", f);
		xml_text(f, res->why);
		fputs("\"/>\n", f);
	}
	fputs("  </testcase>\n", f);
}

static int junit_write(const struct report *r)
{
	FILE *f = fopen(r->conf->junit, "we");

	if (!f)
		return -errno;
	fprintf(f, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"gwsim conform\" "
		"tests=\"%u\" failures=\"%u\" skipped=\"%u\">\n", r->n, r->failed,
		r->skipped + r->tolerated);
	for (unsigned i = 0; i < r->n; i++)
		junit_case(f, &r->results[i]);
	fputs("</testsuite>\n", f);
	return fclose(f) ? -errno : 0;
}

int report_close(struct report *r)
{
	int err = 0;

	printf("# %u tests: %u passed, %u failed, %u tolerated, %u skipped\n", r->n,
	       r->n - r->failed - r->tolerated - r->skipped, r->failed, r->tolerated, r->skipped);
	if (r->conf->junit)
		err = junit_write(r);
	if (err)
		log_error("%s: %s", r->conf->junit, strerror(-err));
	return log_stdout() || r->failed || err ? EXIT_RUNTIME : EXIT_SUCCESS;
}

void report_free(struct report *r)
{
	free(r->expect);
	free(r->results);
	free(r);
}
