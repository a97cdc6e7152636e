#include "formats/waits.h"

#include <errno.h>
#include <stdlib.h>

int waits_find_tasks(uint32_t **ret, const struct model *m)
{
	uint32_t *tasks = NULL;
	bool any = false;

	for (uint32_t i = 1; i < m->function_count && !any; i++)
		any = m->functions[i].kind == STREAM_FRAME_TASK;
	if (any) {
		tasks = calloc(m->node_count, sizeof(*tasks));
		if (!tasks)
			return -ENOMEM;
	}
	for (uint32_t i = 1; any && i < m->node_count; i++) {
		const struct model_frame *frame = &m->frames[m->nodes[i].frame];

		tasks[i] = m->functions[frame->function].kind == STREAM_FRAME_TASK
				   ? i
				   : tasks[m->nodes[i].parent];
	}
	*ret = tasks;
	return 0;
}

struct wait_place waits_place(const struct model *m, const uint32_t *tasks, uint32_t node)
{
	uint32_t task = tasks[node], awaiter = task ? tasks[m->nodes[task].parent] : 0;

	/* Frame 0 is that of node 0. */
	return (struct wait_place){
		.task = m->nodes[task].frame,
		.awaiter = m->nodes[awaiter].frame,
		.where = node != task ? m->nodes[node].frame : 0,
	};
}

void waits_span(const struct moments *moments, const struct model *m, const struct model_wait *w,
		uint64_t *ret_begin, uint64_t *ret_end)
{
	uint64_t begin = moments_at(moments, m->threads[w->thread].process, w->time_ns);

	*ret_begin = begin;
	*ret_end = w->ns < (uint64_t)INT64_MAX - begin ? begin + w->ns : INT64_MAX;
}
