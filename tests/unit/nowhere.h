/* Formats written for their own sake: to see that nothing goes wrong. */
#ifndef PYPROF_TESTS_NOWHERE_H
#define PYPROF_TESTS_NOWHERE_H

#include "formats/format.h"

/* To /dev/null, a folder's files too; what the format says. Where the options name no source, there
 * is a little of it for every file. */
int write_to_nowhere(const struct format *f, const struct model *m,
		     const struct format_options *options);

#endif
