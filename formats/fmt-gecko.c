/* The Firefox Profiler's processed profile format, version 57 (docs-developer/CHANGELOG-formats.md
 * of https://github.com/firefox-devtools/profiler). Tables are columns, and each thread has its
 * own. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "formats/gecko.h"
#include "formats/tracks.h"
#include "formats/waits.h"

/* ---- a thread ---- */

static void put_thread_name(struct gecko *g, const struct model_thread *t)
{
	char text[40];

	if (t->tid || spool_count(g->samples, g->thread))
		snprintf(text, sizeof(text), "Thread-%" PRIu64, t->tid);
	else
		snprintf(text, sizeof(text), "Tasks without a thread");
	if (t->name)
		gecko_put_string(g, t->name);
	else
		gecko_put_text(g, t->main ? "MainThread" : text);
}

static int put_thread(struct gecko *g)
{
	const struct model_thread *t = &g->m->threads[g->thread];
	const struct stream_header *h = &g->m->processes[t->process].header;
	int r;

	sink_text(g->out, "{\"name\":");
	put_thread_name(g, t);
	sink_text(g->out, t->main ? ",\"isMainThread\":true" : ",\"isMainThread\":false");
	sink_text(g->out, ",\"processType\":\"default\",\"processName\":");
	gecko_put_text(g, h->command[0] ? h->command : "Python");
	sink_text(g->out, ",\"pid\":\"");
	sink_signed(g->out, h->pid);
	sink_text(g->out, "\",\"tid\":");
	sink_unsigned(g->out, t->tid);
	sink_text(g->out, ",\"processStartupTime\":0,\"processShutdownTime\":null,"
			  "\"registerTime\":0,\"unregisterTime\":null,\"pausedRanges\":[]");
	r = gecko_number_tables(g);
	if (r == 0)
		r = gecko_put_samples(g);
	if (r < 0)
		return r;
	gecko_put_tables(g);
	r = gecko_put_markers(g);
	sink_byte(g->out, '}');
	return r;
}

static int by_process(const void *a, const void *b, void *arg)
{
	const struct gecko *g = arg;
	uint32_t i = *(const uint32_t *)a, k = *(const uint32_t *)b;
	const struct model_thread *t = &g->m->threads[i], *u = &g->m->threads[k];

	if (t->process != u->process)
		return t->process < u->process ? -1 : 1;
	if (t->main != u->main)
		return t->main ? -1 : 1;
	return (i > k) - (i < k);
}

/* The main thread of each process first. */
static int put_threads(struct gecko *g)
{
	uint32_t n = g->m->thread_count, *order = calloc(n, sizeof(*order));
	bool any = false;
	int r = order ? 0 : -ENOMEM;

	for (uint32_t i = 0; r == 0 && i < n; i++)
		order[i] = i;
	if (r == 0)
		qsort_r(order + 1, n - 1, sizeof(*order), by_process, g);
	for (uint32_t i = 1; r == 0 && i < n; i++) {
		g->thread = order[i];
		if (!spool_count(g->samples, g->thread) && !spool_count(g->waits, g->thread))
			continue;
		sink_text(g->out, any ? ",\n" : "\n");
		any = true;
		r = put_thread(g);
	}
	free(order);
	return r;
}

static int put_all(struct gecko *g)
{
	int r;

	sink_byte(g->out, '{');
	gecko_put_meta(g);
	sink_text(g->out, ",\n\"libs\":[],\"pages\":[],\n\"threads\":[");
	r = put_threads(g);
	sink_text(g->out, "],\n\"shared\":{\"stringArray\":[");
	gecko_put_strings(g);
	sink_text(g->out, "]}}\n");
	return r;
}

static int prepare(struct gecko *g)
{
	const struct model *m = g->m;
	int r = moments_init(&g->moments, m);

	if (r == 0)
		r = tracks_find(&g->tracks, m);
	if (r == 0)
		r = gecko_strings_init(g);
	if (r == 0)
		r = numbering_init(&g->stacks, m->node_count);
	if (r == 0)
		r = numbering_init(&g->idle_stacks, m->node_count);
	if (r == 0)
		r = numbering_init(&g->frames, m->frame_count);
	if (r == 0)
		r = numbering_init(&g->idle_frames, m->frame_count);
	if (r == 0)
		r = numbering_init(&g->functions, m->function_count);
	if (r == 0)
		r = numbering_init(&g->files, m->string_count);
	if (r == 0)
		r = gecko_markers_init(g);
	if (r == 0)
		r = waits_find_tasks(&g->task_of, m);
	if (r == 0)
		r = gecko_sort_samples(g);
	return r == 0 && g->sorted == 0 ? -ENODATA : r;
}

static int gecko_write(const struct model *m, const struct format_options *options, FILE *out)
{
	struct gecko g = {.m = m, .options = options};
	int r;

	if (m->samples == 0)
		return -ENODATA;
	r = prepare(&g);
	if (r == 0) {
		g.out = sink_new(out);
		r = sink_finish(g.out, g.out ? put_all(&g) : 0);
	}
	free(g.tracks);
	free(g.task_of);
	spool_free(g.samples);
	spool_free(g.waits);
	spool_free(g.intervals);
	numbering_done(&g.stacks);
	numbering_done(&g.idle_stacks);
	numbering_done(&g.frames);
	numbering_done(&g.idle_frames);
	numbering_done(&g.functions);
	numbering_done(&g.files);
	table_done(&g.extras);
	moments_done(&g.moments);
	return r;
}

const struct format format_gecko = {
	.name = "gecko",
	.extension = "json",
	.opcodes = true,
	.timeline = true,
	.over_time = true,
	.write = gecko_write,
};
