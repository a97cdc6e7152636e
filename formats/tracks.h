/* Threads as formats show them that have a track for each. Internal to formats/. */
#ifndef PYPROF_FORMATS_TRACKS_H
#define PYPROF_FORMATS_TRACKS_H

#include "formats/model.h"

/* For each thread of the model the last that is the same thread, which has its latest name: a
 * recorder that lost sight of one for a moment numbers it anew. ret: the caller's to free. 0,
 * -ENOMEM. */
int tracks_find(uint32_t **ret, const struct model *m);

#endif
