/* Frames as the line-based formats see them: file, line and function, without columns. Internal
 * to formats/. */
#ifndef PYPROF_FORMATS_LOCATIONS_H
#define PYPROF_FORMATS_LOCATIONS_H

#include "formats/model.h"
#include "formats/table.h"

struct location {
	uint32_t file, name; /* strings of the model; file 0: a frame without one */
	int32_t line;	     /* 0: none */
};

struct locations {
	struct table table; /* of struct location */
	uint32_t *by_frame; /* the location of each frame of the model */
};

/* 0, -ENOMEM. */
int locations_init(struct locations *l, const struct model *m);
void locations_done(struct locations *l);
const struct location *locations_get(const struct locations *l, uint32_t i);

/* The node's children: ret_child[ret_first[n]] up to ret_child[ret_first[n + 1]], for nodes that
 * say their parent by a number below their own (parents, with a stride in bytes). Both arrays are
 * the caller's to free; ret_first has count + 1 entries, ret_child count. */
int children_of(const uint32_t *parents, size_t stride, uint32_t count, uint32_t **ret_first,
		uint32_t **ret_child);

/* Numbers the nodes depth first, by their children: a node, then all below it; node 0 is 0. rank
 * has count entries. 0, -ENOMEM. */
int rank_depth_first(const uint32_t *first, const uint32_t *child, uint32_t count, uint32_t *rank);

#endif
