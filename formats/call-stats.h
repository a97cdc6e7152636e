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

/* What was counted at each node of the tree of stacks, and with all below: made once, asked for any
 * number of groupings. */
struct call_tree {
	const struct model *m;
	uint32_t *first, *child;
	struct call_stat *nodes;
};

/* 0, -ENOMEM. */
int call_tree_init(struct call_tree *t, const struct model *m);
void call_tree_done(struct call_tree *t);
/* As call_stats(), without edges. */
int call_tree_stats(const struct call_tree *t, const uint32_t *groups, uint32_t group_count,
		    struct call_stat *ret);
/* The calls between two groupings, into a table of struct call_edge: callers[i] and callees[i] are
 * the groups of frame i in each. */
int call_tree_edges(const struct call_tree *t, const uint32_t *callers, const uint32_t *callees,
		    struct table *edges);

/* groups[i] is the group of the model's frame i, below group_count; ret has group_count entries,
 * zeroed. edges: NULL, or a table of struct call_edge to fill. 0, -ENOMEM. */
int call_stats(const struct model *m, const uint32_t *groups, uint32_t group_count,
	       struct call_stat *ret, struct table *edges);

#endif
