/* Own and cumulative counts of groups of frames (lines, functions). Internal to formats/. */
#ifndef PYPROF_FORMATS_CALL_STATS_H
#define PYPROF_FORMATS_CALL_STATS_H

#include "formats/model.h"
#include "formats/table.h"

struct call_stat {
	uint64_t direct, cumulative; /* samples with the group as leaf; anywhere, once a sample */
	uint64_t direct_ns, cumulative_ns;
};

struct call_edge {
	uint32_t callee, caller; /* groups */
	struct call_stat stat;
};

/* groups[i] is the group of the model's frame i, below group_count; ret has group_count entries,
 * zeroed. edges: NULL, or a table of struct call_edge to fill. 0, -ENOMEM. */
int call_stats(const struct model *m, const uint32_t *groups, uint32_t group_count,
	       struct call_stat *ret, struct table *edges);

#endif
