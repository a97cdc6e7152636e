/* Samples come mixed: they are first sorted by thread into a file, and each column of a thread is
 * one pass over its part. */
#include <string.h>

#include "formats/gecko.h"
#include "formats/waits.h"

enum column { COLUMN_STACK, COLUMN_TIME, COLUMN_CPU };

struct writing {
	struct gecko *g;
	enum column column;
	uint64_t last; /* the time before, which a delta is from */
};

/* It neither runs nor could: it waits for something else than the GIL. */
static bool is_idle(uint16_t state)
{
	return (state & STREAM_STATE_CPU_KNOWN) &&
	       !(state & (STREAM_STATE_CPU | STREAM_STATE_GIL_WAIT)) &&
	       (state & STREAM_STATE_GIL_KNOWN) && !(state & STREAM_STATE_GIL);
}

static int sort_sample(void *arg, const struct model_sample *s)
{
	struct gecko *g = arg;
	uint32_t process = g->m->threads[s->thread].process;
	struct gecko_sample sample = {
		.begin = moments_begin(&g->moments, process, s),
		.time = moments_at(&g->moments, process, s->time_ns),
		.cpu_ns = s->cpu_ns,
		.node = s->node,
		.state = s->state,
		.idle = is_idle(s->state),
	};

	if (s->state & STREAM_STATE_CPU_TIME_KNOWN)
		g->cpu_time = true;
	g->sorted++;
	return spool_add(g->samples, g->tracks[s->thread], &sample);
}

static int sort_wait(void *arg, const struct model_wait *w)
{
	struct gecko *g = arg;
	struct gecko_wait wait = {.node = w->node};

	/* A recording may say that something waited which is no task. */
	if (!g->task_of || !g->task_of[w->node])
		return 0;
	waits_span(&g->moments, g->m, w, &wait.begin, &wait.end);
	g->sorted++;
	return spool_add(g->waits, g->tracks[w->thread], &wait);
}

int gecko_sort_samples(struct gecko *g)
{
	FILE *(*scratch)(void) = g->options->scratch;
	uint32_t lists = g->m->thread_count;
	int r = spool_new(&g->samples, sizeof(struct gecko_sample), lists, scratch);

	if (r == 0)
		r = spool_new(&g->waits, sizeof(struct gecko_wait), lists, scratch);
	if (r == 0)
		r = model_samples(g->m, sort_sample, g);
	return r == 0 ? model_waits(g->m, sort_wait, g) : r;
}

static int put_column(void *arg, const void *records, size_t n)
{
	struct writing *w = arg;
	struct gecko *g = w->g;
	const struct gecko_sample *s = records;

	for (size_t i = 0; i < n; i++) {
		gecko_separate(g);
		switch (w->column) {
		case COLUMN_STACK:
			gecko_put_known(g, gecko_stack(g, s[i].node, s[i].idle), 0);
			break;
		case COLUMN_TIME:
			gecko_put_milliseconds(g, s[i].time - w->last);
			w->last = s[i].time;
			break;
		case COLUMN_CPU:
			if (s[i].state & STREAM_STATE_CPU_TIME_KNOWN)
				sink_unsigned(g->out, s[i].cpu_ns);
			else
				sink_put(g->out, "null", 4);
			break;
		}
	}
	return g->out->error;
}

int gecko_put_samples(struct gecko *g)
{
	static const char *const names[] = {"stack", "timeDeltas", "threadCPUDelta"};
	struct writing w = {.g = g};
	int r = 0;

	sink_text(g->out, ",\n\"samples\":{\"weightType\":\"samples\",\"weight\":null");
	for (w.column = COLUMN_STACK; w.column <= COLUMN_CPU && r == 0; w.column++) {
		if (w.column == COLUMN_CPU && !g->cpu_time)
			break;
		gecko_begin_column(g, names[w.column]);
		r = spool_each(g->samples, g->thread, put_column, &w);
		gecko_end_column(g);
	}
	gecko_put_length(g, spool_count(g->samples, g->thread));
	return r;
}
