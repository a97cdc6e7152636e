#include "formats/tracks.h"

#include <errno.h>
#include <stdlib.h>

#include "formats/table.h"

struct identity {
	uint64_t tid, ident;
	uint32_t process, main;
	uint32_t thread;
};

int tracks_find(uint32_t **ret, const struct model *m)
{
	struct table table;
	uint32_t *tracks;
	int r = table_init(&table, sizeof(struct identity), offsetof(struct identity, thread));

	if (r < 0)
		return r;
	tracks = calloc(m->thread_count, sizeof(*tracks));
	for (uint32_t i = m->thread_count - 1; tracks && i > 0; i--) {
		const struct model_thread *t = &m->threads[i];
		struct identity key = {t->tid, t->ident, t->process, t->main, 0}, *who;
		uint32_t at = t->tid ? table_intern(&table, &key) : 0;

		if (t->tid && at == 0) {
			free(tracks);
			tracks = NULL;
			break;
		}
		who = (struct identity *)(void *)table.items + at;
		if (at && who->thread == 0)
			who->thread = i;
		tracks[i] = at ? who->thread : i;
	}
	table_done(&table);
	if (!tracks)
		return -ENOMEM;
	*ret = tracks;
	return 0;
}
