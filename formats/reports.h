/* What a recorder said of its sampling from time to time, so that it can be told of a part of a
 * recording. Internal to formats/. */
#ifndef PYPROF_FORMATS_REPORTS_H
#define PYPROF_FORMATS_REPORTS_H

#include <stdint.h>

#include "formats/stream.h"

/* Running totals, cumulative. */
struct report {
	uint64_t elapsed_ns; /* since the recording began */
	uint64_t due, achieved, missed, lost;
};

/* At most this many are kept: of a longer recording every second one, and so on. */
#define REPORTS_MAX 512

/* Zeroed is empty. */
struct reports {
	struct report *items;
	uint32_t count;
	uint64_t step, seen; /* each step-th of those seen is kept */
};

struct report report_of(const struct stream_statistics *s);
/* 0, -ENOMEM. */
int reports_add(struct reports *r, const struct stream_statistics *s);
void reports_done(struct reports *r);

#endif
