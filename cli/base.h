/* The recording that --diff-flamegraph compares with. */
#ifndef PYPROF_CLI_BASE_H
#define PYPROF_CLI_BASE_H

struct model;
struct options;

/* Reads it, with the question that the options ask of the profile too; the caller frees *ret. 0; a
 * status and a line. */
int base_open(struct model **ret, const struct options *o);
/* Whether the two say something of each other: 0; a status and a line that says why not. */
int base_compare(const struct options *o, const struct model *m, const struct model *base);
/* The same as far as it can be told before there is a profile, so that none is made in vain. */
int base_check(const struct options *o);

#endif
