/* What record and replay end with: the profile in the form asked for, and the counts. */
#ifndef PYPROF_CLI_REPORT_H
#define PYPROF_CLI_REPORT_H

#include <stdbool.h>
#include <sys/types.h>

#include "cli/recording.h"

struct options;
struct output;

/* Opens where the result goes, before any work is done: 0; a status and a line. *ret is NULL when
 * that is the standard output's table. pid 0: not known yet, for a default name (then *ret is NULL
 * too, and report_write() opens it). */
int report_open(struct output **ret, const struct options *o, pid_t pid);

/* Whether the profile could answer the question that the options ask: 0, perhaps with a line that
 * says what could not be answered; a status and a line that names what is missing. */
int report_check(const struct options *o, const struct model *m, bool recorded_now);

/* The same for a process that descends from the one that -o names, as the original calls its files:
 * with its pid before the extension. repeat: how many had that pid before. */
int report_open_descendant(struct output **ret, const struct options *o, pid_t pid,
			   unsigned repeat);
/* What those names look like; buf is returned. */
const char *report_descendant_pattern(const struct options *o, char *buf, size_t size);

/* Writes the profile; takes out, which may be NULL. 0; a status and a line. */
int report_write(const struct options *o, const struct model *m, struct output *out, pid_t pid);
/* The same for a descendant's, after report_check(), without a word when it succeeds. python: of
 * the version whose limits were told already. */
int report_write_descendant(const struct options *o, const struct model *m, pid_t pid,
			    unsigned repeat, const char *python);

/* The counts of a recording, on stderr. */
void report_counts(const struct options *o, const struct recording_facts *f);

/* The same of several processes, in one line each. */
void report_family(const struct options *o, const struct recording *r);

#endif
