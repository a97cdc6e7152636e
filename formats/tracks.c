#include "formats/tracks.h"

#include <errno.h>
#include <stdlib.h>

#include "formats/table.h"

struct identity {
	uint64_t tid, ident;
	uint32_t process, main;
	uint32_t thread;
};

/* The same thread as i, by a table of those behind it; 0 when memory is short. */
static uint32_t same_as(struct table *table, const struct model *m, uint32_t i)
{
	const struct model_thread *t = &m->threads[i];
	struct identity key = {t->tid, t->ident, t->process, t->main, 0}, *who;
	uint32_t at;

	if (t->tid == 0)
		return i;
	at = table_intern(table, &key);
	if (at == 0)
		return 0;
	who = (struct identity *)(void *)table->items + at;
	if (who->thread == 0)
		who->thread = i;
	return who->thread;
}

int tracks_find(uint32_t **ret, const struct model *m)
{
	uint32_t *tracks = calloc(m->thread_count, sizeof(*tracks));
	struct table table;
	int r;

	if (!tracks)
		return -ENOMEM;
	r = table_init(&table, sizeof(struct identity), offsetof(struct identity, thread));
	for (uint32_t i = m->thread_count - 1; r == 0 && i > 0; i--) {
		tracks[i] = same_as(&table, m, i);
		if (tracks[i] == 0)
			r = -ENOMEM;
	}
	table_done(&table);
	if (r < 0)
		free(tracks);
	else
		*ret = tracks;
	return r;
}
