/* The tree of stacks as formats see it that tell less of a frame than the model does: places, where
 * neighbours that differ in nothing else are one. Internal to formats/. */
#ifndef PYPROF_FORMATS_PLACES_H
#define PYPROF_FORMATS_PLACES_H

#include <stdbool.h>

#include "formats/model.h"
#include "formats/table.h"

struct place {
	uint32_t parent, group; /* parent is lower; 0 at the base */
	uint32_t depth;		/* places from the base; 1 at the base, 0 for place 0 */
};

/* How often a thread was seen on exactly this place, and for how long. */
struct place_count {
	uint32_t thread, place; /* thread: of tracks_find() */
	uint64_t samples, ns;
};

struct places {
	struct table table; /* of struct place */
	uint32_t *by_node;  /* the place of each node of the model */
};

/* groups: what each frame of the model is to the format, from 1. without_base: the frame that
 * stands for a process (model_group_processes()) is none. 0, -ENOMEM. */
int places_init(struct places *p, const struct model *m, const uint32_t *groups, bool without_base);
void places_done(struct places *p);
const struct place *places_get(const struct places *p, uint32_t i);

/* What was counted at them: ret is initialised here as a table of struct place_count, whose items
 * are sorted by thread and place; the caller's to table_done(). 0, -ENOMEM. */
int places_count(const struct places *p, const struct model *m, struct table *ret);

#endif
