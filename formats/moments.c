#include "formats/moments.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Whether all that was recorded has one monotonic clock. */
static bool is_one_boot(const struct model *m)
{
	for (uint32_t i = 1; i < m->process_count; i++)
		if (strcmp(m->processes[i].header.boot_id, m->processes[0].header.boot_id) != 0)
			return false;
	return true;
}

static uint64_t real_shift(const struct stream_header *h)
{
	return h->start_real_ns ? h->start_real_ns - h->start_monotonic_ns : 0;
}

struct bounds {
	struct moments *moments;
	const struct model *m;
	uint64_t last;
};

/* A task may have waited before a thread was sampled, or where none was. */
static int include_wait(void *arg, const struct model_wait *w)
{
	struct bounds *b = arg;
	uint64_t from = w->time_ns + b->moments->shift[b->m->threads[w->thread].process];
	uint64_t to = w->ns < UINT64_MAX - from ? from + w->ns : from;

	if (from < b->moments->base)
		b->moments->base = from;
	if (to > b->last)
		b->last = to;
	return 0;
}

int moments_init(struct moments *w, const struct model *m)
{
	struct bounds bounds = {w, m, 0};
	bool one = is_one_boot(m);
	uint64_t last = 0;
	int r;

	*w = (struct moments){.base = UINT64_MAX};
	w->shift = calloc((size_t)m->process_count + 1, sizeof(*w->shift));
	if (!w->shift)
		return -ENOMEM;
	for (uint32_t i = 0; !one && i < m->process_count; i++)
		w->shift[i] = real_shift(&m->processes[i].header);
	for (uint32_t i = 1; i < m->thread_count; i++) {
		const struct model_thread *t = &m->threads[i];
		/* Its first sample stands for one interval, as the model has it. */
		uint64_t interval = model_interval(&m->processes[t->process].header);
		uint64_t from = t->first_ns + w->shift[t->process];

		if (!t->seen)
			continue;
		interval += interval != 0;
		from -= interval < from ? interval : from;
		if (from < w->base)
			w->base = from;
		if (t->last_ns + w->shift[t->process] > last)
			last = t->last_ns + w->shift[t->process];
	}
	r = model_waits(m, include_wait, &bounds);
	if (r < 0)
		return r;
	if (bounds.last > last)
		last = bounds.last;
	if (w->base == UINT64_MAX)
		w->base = 0;
	w->length_ns = last > w->base ? last - w->base : 0;
	if (!one)
		w->start_ns = w->base;
	else if (m->process_count && m->processes[0].header.start_real_ns)
		w->start_ns = w->base + real_shift(&m->processes[0].header);
	return 0;
}

void moments_done(struct moments *w)
{
	free(w->shift);
	w->shift = NULL;
}
