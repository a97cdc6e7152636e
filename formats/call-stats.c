#include "formats/call-stats.h"

#include <errno.h>
#include <stdlib.h>

#include "formats/locations.h"

/* One way through the tree. */
struct walk {
	const struct call_tree *tree;
	uint32_t *group; /* of each node; 0 of edges: none */
	struct call_stat *stats;
	size_t stride;		 /* of stats, in bytes */
	uint32_t *next, *active; /* how often each group is on the path */
};

int call_tree_init(struct call_tree *t, const struct model *m)
{
	int r = -ENOMEM;

	*t = (struct call_tree){.m = m};
	t->nodes = calloc(m->node_count, sizeof(*t->nodes));
	if (t->nodes)
		r = children_of(&m->nodes->parent, sizeof(*m->nodes), m->node_count, &t->first,
				&t->child);
	if (r < 0) {
		call_tree_done(t);
		return r;
	}
	for (uint32_t i = 0; i < m->count_count; i++) {
		struct call_stat *node = &t->nodes[m->counts[i].node];

		node->direct += m->counts[i].count;
		node->direct_ns += m->counts[i].ns;
	}
	/* Parents come before their children. */
	for (uint32_t i = m->node_count - 1; i > 0; i--) {
		struct call_stat *node = &t->nodes[i], *parent = &t->nodes[m->nodes[i].parent];

		node->cumulative += node->direct;
		node->cumulative_ns += node->direct_ns;
		parent->cumulative += node->cumulative;
		parent->cumulative_ns += node->cumulative_ns;
	}
	return 0;
}

void call_tree_done(struct call_tree *t)
{
	free(t->first);
	free(t->child);
	free(t->nodes);
	*t = (struct call_tree){0};
}

static void enter(struct walk *w, uint32_t node)
{
	uint32_t group = w->group[node];
	const struct call_stat *from = &w->tree->nodes[node];
	struct call_stat *to = (void *)((char *)w->stats + group * w->stride);

	to->direct += from->direct;
	to->direct_ns += from->direct_ns;
	/* Recursion: what is below an outer occurrence has been added there. */
	if (w->active[group]++ > 0)
		return;
	to->cumulative += from->cumulative;
	to->cumulative_ns += from->cumulative_ns;
}

static void walk_nodes(struct walk *w)
{
	const struct call_tree *t = w->tree;
	uint32_t at = 0;

	for (;;) {
		if (w->next[at] < t->first[at + 1]) {
			at = t->child[w->next[at]++];
			enter(w, at);
		} else if (at) {
			w->active[w->group[at]]--;
			at = t->m->nodes[at].parent;
		} else {
			break;
		}
	}
}

/* Group 0 gets what no group has when groups are those of edges. */
static int walk(const struct call_tree *t, uint32_t *group, uint32_t group_count,
		struct call_stat *stats, size_t stride)
{
	struct walk w = {.tree = t, .group = group, .stats = stats, .stride = stride};

	w.next = malloc(t->m->node_count * sizeof(*w.next));
	w.active = calloc(group_count, sizeof(*w.active));
	if (w.next && w.active) {
		for (uint32_t i = 0; i < t->m->node_count; i++)
			w.next[i] = t->first[i];
		walk_nodes(&w);
	}
	free(w.next);
	free(w.active);
	return w.next && w.active ? 0 : -ENOMEM;
}

int call_tree_stats(const struct call_tree *t, const uint32_t *groups, uint32_t group_count,
		    struct call_stat *ret)
{
	const struct model *m = t->m;
	uint32_t *group = calloc(m->node_count, sizeof(*group));
	int r = group ? 0 : -ENOMEM;

	for (uint32_t i = 1; group && i < m->node_count; i++)
		group[i] = groups[m->nodes[i].frame];
	if (r == 0)
		r = walk(t, group, group_count, ret, sizeof(*ret));
	free(group);
	return r;
}

int call_tree_edges(const struct call_tree *t, const uint32_t *callers, const uint32_t *callees,
		    struct table *edges)
{
	const struct model *m = t->m;
	uint32_t *edge = calloc(m->node_count, sizeof(*edge));
	struct call_edge *items;
	int r = edge ? 0 : -ENOMEM;

	for (uint32_t i = 1; r == 0 && i < m->node_count; i++) {
		uint32_t parent = m->nodes[i].parent;
		struct call_edge key = {.callee = callees[m->nodes[i].frame],
					.caller = callers[m->nodes[parent].frame]};

		if (parent == 0)
			continue;
		edge[i] = table_intern(edges, &key);
		if (edge[i] == 0)
			r = -ENOMEM;
	}
	items = (void *)edges->items;
	if (r == 0)
		r = walk(t, edge, edges->count, &items->stat, sizeof(*items));
	/* What is at the base of a stack was called by nobody. */
	items[0].stat = (struct call_stat){0};
	free(edge);
	return r;
}

int call_stats(const struct model *m, const uint32_t *groups, uint32_t group_count,
	       struct call_stat *ret, struct table *edges)
{
	struct call_tree t;
	int r = call_tree_init(&t, m);

	if (r < 0)
		return r;
	r = call_tree_stats(&t, groups, group_count, ret);
	if (r == 0 && edges)
		r = call_tree_edges(&t, groups, groups, edges);
	call_tree_done(&t);
	return r;
}
