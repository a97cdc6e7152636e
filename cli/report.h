/* What record and replay end with: the profile in the form asked for, and the counts. */
#ifndef PYPROF_CLI_REPORT_H
#define PYPROF_CLI_REPORT_H

#include <sys/types.h>

#include "cli/recording.h"

struct options;
struct output;

/* Opens where the result goes, before any work is done: 0; a status and a line. *ret is NULL when
 * that is the standard output's table. pid 0: not known yet, for a default name (then *ret is NULL
 * too, and report_write() opens it). */
int report_open(struct output **ret, const struct options *o, pid_t pid);

/* Writes the profile; takes out, which may be NULL. 0; a status and a line. */
int report_write(const struct options *o, const struct model *m, struct output *out, pid_t pid);

/* The counts of a recording, on stderr. */
void report_counts(const struct options *o, const struct recording_facts *f);

#endif
