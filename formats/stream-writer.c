#include "formats/stream-writer-parts.h"

#include <errno.h>
#include <stdlib.h>

#include "formats/stream-json.h"

#define ZSTD_LEVEL 3
/* Fixed, so that what the library allocates is the same for each chunk. */
#define ZSTD_WINDOW 18
#define ZSTD_HASH   15

int stream_writer_sample(struct stream_writer *w, const struct stream_sample *s)
{
	uint32_t thread, stack, task = s->task, below;
	size_t row;

	if (writer_begin(w, s->time_ns) < 0)
		return w->error;
	thread = writer_thread(w, s->thread);
	stack = writer_stack(w, s->stack);
	below = writer_stack(w, s->below);
	if (task > STREAM_SAMPLE_TASK_STACK) {
		task = writer_stack(w, task - STREAM_SAMPLE_TASK_STACK);
		task = task ? task + STREAM_SAMPLE_TASK_STACK : STREAM_SAMPLE_TASK_UNKNOWN;
	}
	if (w->error)
		return w->error;
	writer_opened(w);
	row = w->rows++;
	w->task[row] = task;
	w->below[row] = below;
	w->any_task |= task != 0;
	w->time[row] = s->time_ns / w->unit_ns;
	w->thread[row] = thread;
	w->stack[row] = stack;
	w->state[row] = s->state;
	w->how[row] = s->how;
	w->cpu[row] = s->state & STREAM_STATE_CPU_TIME_KNOWN ? s->cpu_ns : 0;
	w->any_cpu |= s->state & STREAM_STATE_CPU_TIME_KNOWN;
	return 0;
}

/* A record of what happened at a time; end_record() puts it in once all ids in it are local. */
static struct bytes *begin_record(struct stream_writer *w, uint64_t time_ns)
{
	writer_opened(w);
	w->payload.len = 0;
	bytes_varint(&w->payload, time_ns / w->unit_ns);
	return &w->payload;
}

static int end_record(struct stream_writer *w, enum record_type type)
{
	if (w->error)
		return w->error;
	writer_put_record(&w->records, type, &w->payload);
	return w->payload.failed || w->records.failed ? writer_fail(w, -ENOMEM) : 0;
}

int stream_writer_gap(struct stream_writer *w, uint64_t time_ns, uint32_t thread, uint64_t count,
		      enum stream_lost reason)
{
	struct bytes *b;

	if (writer_begin(w, time_ns) < 0)
		return w->error;
	thread = writer_thread(w, thread);
	b = begin_record(w, time_ns);
	bytes_varint(b, thread);
	bytes_varint(b, count);
	bytes_varint(b, reason);
	return end_record(w, RECORD_GAP);
}

int stream_writer_task(struct stream_writer *w, const struct stream_task_state *s)
{
	uint32_t task, stack, n = s->n_awaiters < MAX_AWAITERS ? s->n_awaiters : MAX_AWAITERS;
	struct bytes *b;

	if (writer_begin(w, s->time_ns) < 0)
		return w->error;
	task = writer_task(w, s->task);
	stack = writer_stack(w, s->stack);
	b = begin_record(w, s->time_ns);
	bytes_varint(b, task);
	bytes_varint(b, stack);
	bytes_varint(b, s->state);
	bytes_varint(b, s->problem);
	for (uint32_t i = 0; i < n; i++)
		bytes_varint(b, writer_task(w, s->awaiters[i]));
	return end_record(w, RECORD_TASK_STATE);
}

int stream_writer_wait(struct stream_writer *w, const struct stream_wait *s)
{
	uint32_t thread, stack;
	struct bytes *b;

	if (writer_begin(w, s->time_ns) < 0)
		return w->error;
	thread = writer_thread(w, s->thread);
	stack = writer_stack(w, s->stack);
	b = begin_record(w, s->time_ns);
	bytes_varint(b, thread);
	bytes_varint(b, stack);
	bytes_varint(b, s->count);
	bytes_varint(b, s->ns);
	return end_record(w, RECORD_WAIT);
}

int stream_writer_tasks(struct stream_writer *w, const struct stream_tasks *t)
{
	struct bytes *b;

	if (writer_begin(w, t->time_ns) < 0)
		return w->error;
	b = begin_record(w, t->time_ns);
	bytes_varint(b, t->total);
	bytes_varint(b, t->found);
	bytes_varint(b, t->more);
	return end_record(w, RECORD_TASKS);
}

int stream_writer_statistics(struct stream_writer *w, const struct stream_statistics *s)
{
	if (writer_begin(w, 0) < 0)
		return w->error;
	writer_opened(w);
	w->payload.len = 0;
	if (json_statistics(&w->payload, s) < 0)
		return writer_fail(w, -ENOMEM);
	return end_record(w, RECORD_STATISTICS);
}

int stream_writer_redefine(struct stream_writer *w, const struct stream_definitions *definitions)
{
	if (writer_close_chunk(w) < 0)
		return w->error;
	writer_new_segment(w);
	w->definitions = *definitions;
	w->thread_base = w->thread_serial;
	return w->error;
}

int stream_writer_poll(struct stream_writer *w, uint64_t now_ns)
{
	if (now_ns > w->now_ns)
		w->now_ns = now_ns;
	return writer_aged(w) ? writer_close_chunk(w) : w->error;
}

int stream_writer_flush(struct stream_writer *w)
{
	return writer_close_chunk(w);
}

int stream_writer_finish(struct stream_writer *w, const struct stream_summary *summary)
{
	int r;

	if (writer_close_chunk(w) < 0)
		return w->error;
	writer_opened(w);
	w->payload.len = 0;
	r = json_summary(&w->payload, summary);
	if (r < 0)
		return writer_fail(w, r);
	writer_put_record(&w->records, RECORD_SUMMARY, &w->payload);
	return writer_close_chunk(w);
}

int stream_writer_new(struct stream_writer **ret, const struct stream_header *header,
		      const struct stream_definitions *definitions,
		      const struct stream_writer_options *options, stream_sink *sink, void *arg)
{
	struct stream_writer *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	w->definitions = *definitions;
	w->options = *options;
	if (w->options.chunk_ns == 0)
		w->options.chunk_ns = 1000000000;
	if (w->options.segment_ns == 0)
		w->options.segment_ns = 10000000000;
	if (w->options.segment_bytes == 0)
		w->options.segment_bytes = 4000000;
	w->sink = sink;
	w->arg = arg;
	w->stream_id = header->stream_id;
	w->unit_ns = header->time_unit_ns ? header->time_unit_ns : 1;
	w->now_ns = header->start_monotonic_ns;
	w->epoch = 1;
	for (int kind = 0; kind < DEF_COUNT; kind++)
		w->maps[kind].next = w->maps[kind].pending = 1;
	w->zstd = ZSTD_createCCtx();
	if (w->zstd) {
		ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_compressionLevel, ZSTD_LEVEL);
		ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_windowLog, ZSTD_WINDOW);
		ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_hashLog, ZSTD_HASH);
		ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_chainLog, ZSTD_HASH);
		ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_contentSizeFlag, 0);
	}
	r = w->zstd ? writer_put_head(w, header) : -ENOMEM;
	if (r < 0) {
		stream_writer_free(w);
		return r;
	}
	*ret = w;
	return 0;
}

void stream_writer_free(struct stream_writer *w)
{
	if (!w)
		return;
	for (int kind = 0; kind < DEF_COUNT; kind++) {
		free(w->maps[kind].entries);
		bytes_done(&w->maps[kind].defs);
	}
	bytes_done(&w->ops);
	bytes_done(&w->records);
	bytes_done(&w->payload);
	bytes_done(&w->column_head);
	bytes_done(&w->column_data);
	bytes_done(&w->raw);
	bytes_done(&w->out);
	free(w->last);
	ZSTD_freeCCtx(w->zstd);
	free(w);
}
