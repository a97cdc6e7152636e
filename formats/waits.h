/* Tasks that waited, as formats that show time need them. Internal to formats/. */
#ifndef PYPROF_FORMATS_WAITS_H
#define PYPROF_FORMATS_WAITS_H

#include <stdint.h>

#include "formats/model.h"
#include "formats/moments.h"

/* Of each node the nearest one, itself or one below it, whose frame is a task: the task that it is
 * of; 0: none. *ret is NULL when there is no task at all; else the caller frees it. 0, -ENOMEM. */
int waits_find_tasks(uint32_t **ret, const struct model *m);

/* What is told of a wait. Frames; 0: none. */
struct wait_place {
	uint32_t task, awaiter; /* who awaits it, of those in its stack */
	uint32_t where;		/* where the task waits */
};

/* tasks: of waits_find_tasks(), not NULL. */
struct wait_place waits_place(const struct model *m, const uint32_t *tasks, uint32_t node);

/* From when to when, ns since the base; in order whatever the recording says. */
void waits_span(const struct moments *moments, const struct model *m, const struct model_wait *w,
		uint64_t *ret_begin, uint64_t *ret_end);

#endif
