#include "formats/places.h"

#include <errno.h>
#include <stdlib.h>

#include "formats/tracks.h"

int places_init(struct places *p, const struct model *m, const uint32_t *groups, bool without_base)
{
	int r = table_init(&p->table, sizeof(struct place), offsetof(struct place, depth));

	if (r < 0)
		return r;
	p->by_node = calloc(m->node_count, sizeof(*p->by_node));
	if (!p->by_node)
		goto fail;
	for (uint32_t i = 1; i < m->node_count; i++) {
		const struct model_node *node = &m->nodes[i];
		struct place key = {p->by_node[node->parent], groups[node->frame], 0}, *places;

		if (node->depth == 1 && without_base)
			continue;
		p->by_node[i] = table_intern(&p->table, &key);
		if (p->by_node[i] == 0)
			goto fail;
		places = (void *)p->table.items;
		places[p->by_node[i]].depth = places[key.parent].depth + 1;
	}
	return 0;
fail:
	places_done(p);
	return -ENOMEM;
}

void places_done(struct places *p)
{
	table_done(&p->table);
	free(p->by_node);
	p->by_node = NULL;
}

const struct place *places_get(const struct places *p, uint32_t i)
{
	return (const struct place *)(const void *)p->table.items + i;
}

static int by_thread(const void *a, const void *b)
{
	const struct place_count *i = a, *k = b;

	if (i->thread != k->thread)
		return i->thread < k->thread ? -1 : 1;
	return (i->place > k->place) - (i->place < k->place);
}

int places_count(const struct places *p, const struct model *m, struct table *ret)
{
	uint32_t *tracks;
	int r = table_init(ret, sizeof(struct place_count), offsetof(struct place_count, samples));

	if (r == 0)
		r = tracks_find(&tracks, m);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < m->count_count; i++) {
		const struct model_count *count = &m->counts[i];
		struct place_count key = {.thread = tracks[count->thread],
					  .place = p->by_node[count->node]};
		uint32_t at;

		if (count->count == 0 && count->ns == 0)
			continue;
		at = table_intern(ret, &key);
		if (at == 0) {
			r = -ENOMEM;
			break;
		}
		((struct place_count *)(void *)ret->items)[at].samples += count->count;
		((struct place_count *)(void *)ret->items)[at].ns += count->ns;
	}
	free(tracks);
	/* From here on it is an array: nothing is looked up any more. */
	if (ret->count > 2)
		qsort((struct place_count *)(void *)ret->items + 1, ret->count - 1,
		      sizeof(struct place_count), by_thread);
	return r;
}
