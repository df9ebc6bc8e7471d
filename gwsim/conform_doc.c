/* SPDX-License-Identifier: MIT */
/*
 * conform_doc.c - The table of tests, for scripts, for people and as a manual page
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conform.h"
#include "log.h"

static const char *prov_text(char prov)
{
	return prov == 'D' ? "documented by a vendor or in an RFC" :
	       prov == 'C' ? "seen in the source of appliances" : "inferred";
}

void doc_list(void)
{
	for (unsigned i = 0; i < conform_ntests; i++)
		printf("%s\t%s\t%c\t%s\n", conform_tests[i].id,
		       conform_level(conform_tests[i].level), conform_tests[i].prov,
		       conform_tests[i].title);
}

int doc_explain(const char *id)
{
	for (unsigned i = 0; i < conform_ntests; i++) {
		const struct conform_test *t = &conform_tests[i];

		if (strcmp(t->id, id))
			continue;
		printf("%s: %s\n\n%s\n\nLevel: %s\nProvenance: %c, %s\nSource: %s\n", t->id,
		       t->title, t->text, conform_level(t->level), t->prov, prov_text(t->prov),
		       t->source);
		return log_stdout();
	}
	log_error("no test has the id '%s'", id);
	return EXIT_USAGE;
}

static const char mdoc_head[] =
".\\\" Made by \"gwsim conform --mdoc\": do not edit\n"
".Dd November 21, 2026\n"
".Dt GWSIM-CONFORMANCE 7\n"
".Os\n"
".Sh NAME\n"
".Nm gwsim-conformance\n"
".Nd what an appliance behind a gateway load balancer has to honour\n"
".Sh DESCRIPTION\n"
"These are the tests of\n"
".Dq gwsim conform ,\n"
"see\n"
".Xr gwsim 8 .\n"
"Their ids are stable.\n"
"Each has a level in the sense of RFC 2119, and a provenance:\n"
".Bl -tag -width Ds\n"
".It D\n"
"documented by a vendor or in an RFC.\n"
"A failure makes the run fail.\n"
".It C\n"
"seen in the source of published appliances.\n"
"A failure counts with\n"
".Fl Fl strict .\n"
".It I\n"
"inferred.\n"
"A failure counts with\n"
".Fl Fl strict .\n"
".El\n"
".Pp\n"
"A failure at level MAY never counts: it says what the appliance chose.\n"
"One fault of an appliance should fail the one test that is about it: tests of special packets\n"
"leave aside what is wrong with ordinary packets too.\n"
".Sh TESTS\n"
".Bl -tag -width Ds\n";

/* One sentence a line, as mdoc wants it; a line must not start with a dot */
static void mdoc_text(const char *text)
{
	for (; *text; text++) {
		putchar(*text);
		if ((*text == '.' || *text == '?') && text[1] == ' ') {
			putchar('\n');
			text++;
		}
	}
}

void doc_mdoc(void)
{
	fputs(mdoc_head, stdout);
	for (unsigned i = 0; i < conform_ntests; i++) {
		const struct conform_test *t = &conform_tests[i];

		printf(".It Sy %s Pq %s , %c\n", t->id, conform_level(t->level), t->prov);
		mdoc_text(t->title);
		fputs(".\n", stdout);
		mdoc_text(t->text);
		printf("\n.br\nSource: %s.\n", t->source);
	}
	fputs(".El\n"
	      ".Sh SEE ALSO\n"
	      ".Xr gwsim 8\n"
	      ".Rs\n"
	      ".%A J. Gross\n"
	      ".%A I. Ganga\n"
	      ".%A T. Sridhar\n"
	      ".%T Geneve: Generic Network Virtualization Encapsulation\n"
	      ".%R RFC 8926\n"
	      ".%D November 2020\n"
	      ".Re\n", stdout);
}
