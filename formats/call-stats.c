#include "formats/call-stats.h"

#include <errno.h>
#include <stdlib.h>

#include "formats/locations.h"

struct walk {
	uint32_t *first, *child, *next;
	struct call_stat *nodes; /* direct: of the node alone; cumulative: with all below */
	uint32_t *active;	 /* how often each group is on the path */
	uint32_t *edge, *edge_active;
};

static void enter(struct call_stat *to, const struct call_stat *node, uint32_t *active)
{
	to->direct += node->direct;
	to->direct_ns += node->direct_ns;
	/* Recursion: what is below an outer occurrence has been added there. */
	if ((*active)++ > 0)
		return;
	to->cumulative += node->cumulative;
	to->cumulative_ns += node->cumulative_ns;
}

static void walk_tree(const struct model *m, struct walk *w, const uint32_t *groups,
		      struct call_stat *ret, struct call_edge *edges)
{
	uint32_t at = 0;

	for (;;) {
		if (w->next[at] < w->first[at + 1]) {
			uint32_t group;

			at = w->child[w->next[at]++];
			group = groups[m->nodes[at].frame];
			enter(&ret[group], &w->nodes[at], &w->active[group]);
			if (edges && w->edge[at])
				enter(&edges[w->edge[at]].stat, &w->nodes[at],
				      &w->edge_active[w->edge[at]]);
		} else if (at) {
			w->active[groups[m->nodes[at].frame]]--;
			if (edges && w->edge[at])
				w->edge_active[w->edge[at]]--;
			at = m->nodes[at].parent;
		} else {
			break;
		}
	}
}

static int find_edges(const struct model *m, struct walk *w, const uint32_t *groups,
		      struct table *edges)
{
	w->edge = calloc(m->node_count, sizeof(*w->edge));
	if (!w->edge)
		return -ENOMEM;
	for (uint32_t i = 1; i < m->node_count; i++) {
		uint32_t parent = m->nodes[i].parent;
		struct call_edge key = {.callee = groups[m->nodes[i].frame],
					.caller = groups[m->nodes[parent].frame]};

		if (parent == 0)
			continue;
		w->edge[i] = table_intern(edges, &key);
		if (w->edge[i] == 0)
			return -ENOMEM;
	}
	w->edge_active = calloc(edges->count, sizeof(*w->edge_active));
	return w->edge_active ? 0 : -ENOMEM;
}

int call_stats(const struct model *m, const uint32_t *groups, uint32_t group_count,
	       struct call_stat *ret, struct table *edges)
{
	struct walk w = {0};
	int r = -ENOMEM;

	w.nodes = calloc(m->node_count, sizeof(*w.nodes));
	w.next = calloc(m->node_count, sizeof(*w.next));
	w.active = calloc(group_count, sizeof(*w.active));
	if (!w.nodes || !w.next || !w.active)
		goto out;
	r = children_of(&m->nodes->parent, sizeof(*m->nodes), m->node_count, &w.first, &w.child);
	if (r < 0)
		goto out;
	if (edges) {
		r = find_edges(m, &w, groups, edges);
		if (r < 0)
			goto out;
	}
	for (uint32_t i = 0; i < m->count_count; i++) {
		struct call_stat *node = &w.nodes[m->counts[i].node];

		node->direct += m->counts[i].count;
		node->direct_ns += m->counts[i].ns;
	}
	/* Parents come before their children. */
	for (uint32_t i = m->node_count - 1; i > 0; i--) {
		struct call_stat *node = &w.nodes[i], *parent = &w.nodes[m->nodes[i].parent];

		node->cumulative += node->direct;
		node->cumulative_ns += node->direct_ns;
		parent->cumulative += node->cumulative;
		parent->cumulative_ns += node->cumulative_ns;
	}
	for (uint32_t i = 0; i < m->node_count; i++)
		w.next[i] = w.first[i];
	walk_tree(m, &w, groups, ret, edges ? (struct call_edge *)(void *)edges->items : NULL);
	r = 0;
out:
	free(w.nodes);
	free(w.next);
	free(w.active);
	free(w.first);
	free(w.child);
	free(w.edge);
	free(w.edge_active);
	return r;
}
