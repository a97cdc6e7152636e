#include "formats/locations.h"

#include <errno.h>
#include <stdlib.h>

int locations_init(struct locations *l, const struct model *m)
{
	int r = table_init(&l->table, sizeof(struct location), sizeof(struct location));

	if (r < 0)
		return r;
	l->by_frame = calloc(m->frame_count, sizeof(*l->by_frame));
	if (!l->by_frame)
		goto fail;
	for (uint32_t i = 0; i < m->frame_count; i++) {
		const struct model_frame *frame = &m->frames[i];
		const struct model_function *f = &m->functions[frame->function];
		struct location key = {f->file, f->name, f->file ? frame->line : 0};

		if (key.line < 0)
			key.line = 0;
		l->by_frame[i] = table_intern(&l->table, &key);
		if (l->by_frame[i] == 0)
			goto fail;
	}
	return 0;
fail:
	locations_done(l);
	return -ENOMEM;
}

void locations_done(struct locations *l)
{
	table_done(&l->table);
	free(l->by_frame);
	l->by_frame = NULL;
}

const struct location *locations_get(const struct locations *l, uint32_t i)
{
	return (const struct location *)(const void *)l->table.items + i;
}

int children_of(const uint32_t *parents, size_t stride, uint32_t count, uint32_t **ret_first,
		uint32_t **ret_child)
{
	uint32_t *first = calloc((size_t)count + 2, sizeof(*first));
	uint32_t *child = calloc(count, sizeof(*child));
	const char *at = (const char *)parents;

	if (!first || !child) {
		free(first);
		free(child);
		return -ENOMEM;
	}
	/* Counted two places on, so that filling moves each start to where it belongs. */
	for (uint32_t i = 1; i < count; i++)
		first[*(const uint32_t *)(const void *)(at + i * stride) + 2]++;
	for (uint32_t i = 2; i < count + 2; i++)
		first[i] += first[i - 1];
	for (uint32_t i = 1; i < count; i++)
		child[first[*(const uint32_t *)(const void *)(at + i * stride) + 1]++] = i;
	*ret_first = first;
	*ret_child = child;
	return 0;
}

int rank_depth_first(const uint32_t *first, const uint32_t *child, uint32_t count, uint32_t *rank)
{
	uint32_t *below = calloc(count, sizeof(*below)); /* nodes of each tree, with its root */

	if (!below)
		return -ENOMEM;
	for (uint32_t i = count; i-- > 0;) {
		below[i] = 1;
		for (uint32_t k = first[i]; k < first[i + 1]; k++)
			below[i] += below[child[k]];
	}
	rank[0] = 0;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t next = rank[i] + 1;

		for (uint32_t k = first[i]; k < first[i + 1]; k++) {
			rank[child[k]] = next;
			next += below[child[k]];
		}
	}
	free(below);
	return 0;
}
