#include "formats/stream.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include <zstd.h>

#include "formats/bytes.h"
#include "formats/stream-column.h"
#include "formats/stream-format.h"
#include "formats/stream-json.h"

#define SLICE	     (256u << 10) /* of the input, copied into the buffer at a time */
#define MAX_WARNINGS 20		  /* sentences about damage; totals are said at the end */
#define HASH_CREDIT  16		  /* bytes that may be hashed in vain for each byte of input */

/* Which ids of one kind are defined in a stream's segment. */
struct id_set {
	uint64_t *bits;
	uint32_t *touched; /* which of bits are not 0, so that clearing costs what defining did */
	uint32_t touched_count;
	uint32_t cap;	/* ids that fit; a multiple of 64 */
	uint32_t max;	/* the highest defined */
	uint32_t count; /* defined; equal to max when there is no hole */
};

struct reader_stream {
	uint64_t id;
	uint32_t sequence; /* of the next chunk */
	uint32_t segment, unit_ns;
	uint64_t samples; /* the next chunk's "samples before" */
	bool header, segment_known, ended;
	struct id_set sets[DEF_COUNT];
	uint16_t *depth; /* by stack id */
	uint32_t depth_cap;
	uint64_t lost; /* samples */
};

struct chunk {
	uint8_t type, codec;
	uint32_t header_size, raw, stored, segment, sequence, samples, unit_ns;
	uint64_t stream, before, check;
};

struct stream_reader {
	struct stream_handler h;
	void *arg;
	int error;

	struct bytes in;
	bool started;
	uint64_t skipped, all_skipped; /* bytes since the last whole chunk; ever */
	uint64_t credit;
	uint64_t chunks, warnings;

	struct reader_stream *streams;
	uint32_t stream_count, stream_cap;
	uint64_t total_ids;

	uint8_t *raw;
	ZSTD_DCtx *zstd;

	uint64_t *values, *times, *cpu, *last;
	uint32_t *thread, *stack, *task, *below;
	uint16_t *state;
	uint8_t *how;
	uint32_t *awaiters; /* of one task */
};

static void warn(struct stream_reader *r, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void warn(struct stream_reader *r, const char *format, ...)
{
	char text[256];
	va_list ap;

	if (!r->h.warning || r->warnings++ >= MAX_WARNINGS)
		return;
	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	r->h.warning(r->arg, text);
}

static int stop(struct stream_reader *r, int error)
{
	if (r->error == 0)
		r->error = error;
	return r->error;
}

static uint16_t get16(const uint8_t *p)
{
	return p[0] | p[1] << 8;
}

static uint32_t get32(const uint8_t *p)
{
	return get16(p) | (uint32_t)get16(p + 2) << 16;
}

static uint64_t get64(const uint8_t *p)
{
	return get32(p) | (uint64_t)get32(p + 4) << 32;
}

/* ---- which ids are defined ---- */

static bool set_has(const struct id_set *s, uint64_t id)
{
	if (id > s->max)
		return false;
	return id == 0 || s->count == s->max || s->bits[id / 64] >> id % 64 & 1;
}

/* 0, or -EBADMSG when the id is there already or too high, -ENOMEM. */
static int set_add(struct stream_reader *r, struct id_set *s, uint32_t id)
{
	if (id >= s->cap) {
		uint32_t cap = s->cap ? s->cap : 1024;
		uint32_t *touched;
		uint64_t *bits;

		if (id > MAX_IDS)
			return -EBADMSG;
		while (cap <= id)
			cap *= 2;
		if (r->total_ids + cap - s->cap > MAX_TOTAL_IDS)
			return -EBADMSG;
		bits = realloc(s->bits, cap / 8);
		if (!bits)
			return stop(r, -ENOMEM);
		s->bits = bits;
		touched = realloc(s->touched, cap / 64 * sizeof(*touched));
		if (!touched)
			return stop(r, -ENOMEM);
		s->touched = touched;
		memset(bits + s->cap / 64, 0, (cap - s->cap) / 8);
		r->total_ids += cap - s->cap;
		s->cap = cap;
	}
	if (s->bits[id / 64] >> id % 64 & 1)
		return -EBADMSG;
	if (s->bits[id / 64] == 0)
		s->touched[s->touched_count++] = id / 64;
	s->bits[id / 64] |= 1ull << id % 64;
	s->count++;
	if (id > s->max)
		s->max = id;
	return 0;
}

static void sets_clear(struct reader_stream *s)
{
	for (int kind = 0; kind < DEF_COUNT; kind++) {
		struct id_set *set = &s->sets[kind];

		while (set->touched_count)
			set->bits[set->touched[--set->touched_count]] = 0;
		set->max = set->count = 0;
	}
}

static void sets_free(struct stream_reader *r, struct reader_stream *s)
{
	for (int kind = 0; kind < DEF_COUNT; kind++) {
		r->total_ids -= s->sets[kind].cap;
		free(s->sets[kind].bits);
		free(s->sets[kind].touched);
		s->sets[kind] = (struct id_set){0};
	}
	free(s->depth);
	s->depth = NULL;
	s->depth_cap = 0;
}

/* ---- records ---- */

#define CALL(r, name, ...) ((r)->h.name ? stop(r, (r)->h.name((r)->arg, __VA_ARGS__)) : (r)->error)

static int read_string(struct stream_reader *r, uint32_t index, uint32_t id, struct cursor *c)
{
	struct reader_stream *s = &r->streams[index];
	struct stream_string string;
	uint64_t len = cursor_bounded(c, MAX_STRING);
	const uint8_t *bytes = cursor_take(c, len);
	int e;

	if (c->bad)
		return -EBADMSG;
	string = (struct stream_string){(const char *)bytes, len};
	e = set_add(r, &s->sets[DEF_STRING], id);
	return e < 0 ? e : CALL(r, string, index, id, &string);
}

static int read_function(struct stream_reader *r, uint32_t index, uint32_t id, struct cursor *c)
{
	struct reader_stream *s = &r->streams[index];
	struct stream_function f = {0};
	int64_t line;
	int e;

	f.name = cursor_bounded(c, MAX_IDS);
	f.file = cursor_bounded(c, MAX_IDS);
	line = cursor_zigzag(c);
	f.kind = cursor_bounded(c, UINT8_MAX);
	if (c->bad || line < INT32_MIN || line > INT32_MAX)
		return -EBADMSG;
	f.first_line = line;
	if (!set_has(&s->sets[DEF_STRING], f.name) || !set_has(&s->sets[DEF_STRING], f.file))
		return 0;
	e = set_add(r, &s->sets[DEF_FUNCTION], id);
	return e < 0 ? e : CALL(r, function, index, id, &f);
}

static int read_frame(struct stream_reader *r, uint32_t index, uint32_t id, struct cursor *c)
{
	struct reader_stream *s = &r->streams[index];
	struct stream_frame f;
	int e;

	f.op = 0;
	f.function = cursor_bounded(c, MAX_IDS);
	f.line = (int64_t)cursor_bounded(c, 1u << 31) - 1;
	f.end_line = (int64_t)cursor_bounded(c, 1u << 31) - 1;
	f.column = (int64_t)cursor_bounded(c, 1u << 31) - 1;
	f.end_column = (int64_t)cursor_bounded(c, 1u << 31) - 1;
	if (c->bad)
		return -EBADMSG;
	if (!set_has(&s->sets[DEF_FUNCTION], f.function))
		return 0;
	e = set_add(r, &s->sets[DEF_FRAME], id);
	return e < 0 ? e : CALL(r, frame, index, id, &f);
}

/* Pairs of a frame and its instruction. One of a frame that was lost is lost with it. */
static int read_ops(struct stream_reader *r, uint32_t index, struct cursor *c)
{
	const struct reader_stream *s = &r->streams[index];

	while (c->at < c->end) {
		uint32_t id = cursor_bounded(c, MAX_IDS), op = cursor_bounded(c, MAX_OP);

		if (c->bad || id == 0)
			return -EBADMSG;
		if (set_has(&s->sets[DEF_FRAME], id) && CALL(r, op, index, id, op) != 0)
			return r->error;
	}
	return 0;
}

static int read_stack(struct stream_reader *r, uint32_t index, uint32_t id, struct cursor *c)
{
	struct reader_stream *s = &r->streams[index];
	struct stream_stack stack;
	uint64_t distance = cursor_bounded(c, id);
	unsigned depth;
	int e;

	stack.frame = cursor_bounded(c, MAX_IDS);
	if (c->bad || distance == 0)
		return -EBADMSG;
	stack.parent = id - distance;
	if (!set_has(&s->sets[DEF_STACK], stack.parent) ||
	    !set_has(&s->sets[DEF_FRAME], stack.frame))
		return 0;
	e = set_add(r, &s->sets[DEF_STACK], id);
	if (e < 0)
		return e;
	if (s->depth_cap < s->sets[DEF_STACK].cap) {
		uint16_t *d = reallocarray(s->depth, s->sets[DEF_STACK].cap, sizeof(*d));

		if (!d)
			return stop(r, -ENOMEM);
		s->depth = d;
		s->depth_cap = s->sets[DEF_STACK].cap;
	}
	depth = stack.parent ? s->depth[stack.parent] + 1 : 1;
	if (depth > MAX_DEPTH) {
		stack.parent = 0;
		depth = 1;
	}
	s->depth[id] = depth;
	return CALL(r, stack, index, id, &stack);
}

static int read_thread(struct stream_reader *r, uint32_t index, uint32_t id, struct cursor *c)
{
	struct reader_stream *s = &r->streams[index];
	struct stream_thread t = {0};
	int e;

	t.serial = cursor_bounded(c, UINT32_MAX);
	t.tid = cursor_varint(c);
	t.ident = cursor_varint(c);
	t.interpreter = cursor_zigzag(c);
	t.name = cursor_bounded(c, MAX_IDS);
	t.main = cursor_bounded(c, 1);
	if (c->bad || id > MAX_THREAD_IDS)
		return -EBADMSG;
	/* A thread is worth having without its name. */
	if (!set_has(&s->sets[DEF_STRING], t.name))
		t.name = 0;
	e = set_add(r, &s->sets[DEF_THREAD], id);
	return e < 0 ? e : CALL(r, thread, index, id, &t);
}

static int read_task(struct stream_reader *r, uint32_t index, uint32_t id, struct cursor *c)
{
	struct reader_stream *s = &r->streams[index];
	struct stream_task t = {0};
	int e;

	t.addr = cursor_varint(c);
	t.loop = cursor_varint(c);
	t.thread = cursor_bounded(c, MAX_THREAD_IDS);
	t.name = cursor_bounded(c, MAX_IDS);
	if (c->bad)
		return -EBADMSG;
	if (!set_has(&s->sets[DEF_THREAD], t.thread))
		t.thread = 0;
	if (!set_has(&s->sets[DEF_STRING], t.name))
		t.name = 0;
	e = set_add(r, &s->sets[DEF_TASK], id);
	return e < 0 ? e : CALL(r, task, index, id, &t);
}

typedef int read_definition(struct stream_reader *r, uint32_t index, uint32_t id, struct cursor *c);

static int read_definitions(struct stream_reader *r, uint32_t index, struct cursor *c,
			    read_definition *read)
{
	uint64_t id = cursor_bounded(c, MAX_IDS);

	if (id == 0)
		return -EBADMSG;
	for (; c->at < c->end; id++) {
		int e = id > MAX_IDS ? -EBADMSG : read(r, index, id, c);

		if (e != 0)
			return e;
	}
	return c->bad ? -EBADMSG : 0;
}

static uint64_t highest(const uint64_t *v, size_t n)
{
	uint64_t max = 0;

	for (size_t i = 0; i < n; i++)
		max = v[i] > max ? v[i] : max;
	return max;
}

static bool rows_alloc(struct stream_reader *r)
{
	if (r->values)
		return true;
	r->values = calloc(MAX_ROWS, sizeof(*r->values));
	r->times = calloc(MAX_ROWS, sizeof(*r->times));
	r->cpu = calloc(MAX_ROWS, sizeof(*r->cpu));
	r->last = calloc(MAX_THREAD_IDS + 1, sizeof(*r->last));
	r->thread = calloc(MAX_ROWS, sizeof(*r->thread));
	r->stack = calloc(MAX_ROWS, sizeof(*r->stack));
	r->task = calloc(MAX_ROWS, sizeof(*r->task));
	r->below = calloc(MAX_ROWS, sizeof(*r->below));
	r->state = calloc(MAX_ROWS, sizeof(*r->state));
	r->how = calloc(MAX_ROWS, sizeof(*r->how));
	return r->values && r->times && r->cpu && r->last && r->thread && r->stack && r->state &&
	       r->how && r->task && r->below;
}

/* Rows whose thread and stack are defined, moved together. */
static size_t drop_undefined(struct stream_reader *r, const struct reader_stream *s, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		if (!set_has(&s->sets[DEF_THREAD], r->thread[i]) ||
		    !set_has(&s->sets[DEF_STACK], r->stack[i]))
			continue;
		r->times[kept] = r->times[i];
		r->thread[kept] = r->thread[i];
		r->stack[kept] = r->stack[i];
		r->state[kept] = r->state[i];
		r->how[kept] = r->how[i];
		r->cpu[kept] = r->cpu[i];
		r->task[kept] = r->task[i];
		r->below[kept] = r->below[i];
		kept++;
	}
	return kept;
}

/* What a sample says of a task by stacks that are not there is not known. */
static void check_tasks(struct stream_reader *r, const struct reader_stream *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (r->task[i] > STREAM_SAMPLE_TASK_STACK &&
		    (!set_has(&s->sets[DEF_STACK], r->task[i] - STREAM_SAMPLE_TASK_STACK) ||
		     !set_has(&s->sets[DEF_STACK], r->below[i])))
			r->task[i] = STREAM_SAMPLE_TASK_UNKNOWN;
}

#define NARROW(r, array, n)                                                                        \
	do {                                                                                       \
		for (size_t i_ = 0; i_ < (n); i_++)                                                \
			(r)->array[i_] = (r)->values[i_];                                          \
	} while (0)

/* *ret_n: the samples handed on. left: how many this chunk may still have. */
static int read_samples(struct stream_reader *r, uint32_t index, struct cursor *c, uint32_t left,
			size_t *ret_n)
{
	struct reader_stream *s = &r->streams[index];
	struct {
		uint64_t id, encoding, len;
	} columns[MAX_COLUMNS];
	struct column_threads threads;
	uint64_t n = cursor_bounded(c, MAX_ROWS), count = cursor_bounded(c, MAX_COLUMNS);
	bool known_thread = false, holes, time = false, tasks = false;
	struct stream_batch batch;
	size_t kept;
	int e;

	for (uint64_t i = 0; i < count; i++) {
		columns[i].id = cursor_varint(c);
		columns[i].encoding = cursor_varint(c);
		columns[i].len = cursor_varint(c);
	}
	if (c->bad || n == 0 || n > left)
		return -EBADMSG;
	if (!rows_alloc(r))
		return stop(r, -ENOMEM);
	threads = (struct column_threads){r->thread, r->last, 0};
	memset(r->thread, 0, n * sizeof(*r->thread));
	memset(r->stack, 0, n * sizeof(*r->stack));
	memset(r->state, 0, n * sizeof(*r->state));
	memset(r->how, 0, n);
	memset(r->cpu, 0, n * sizeof(*r->cpu));
	memset(r->task, 0, n * sizeof(*r->task));
	memset(r->below, 0, n * sizeof(*r->below));
	for (uint64_t i = 0; i < count; i++) {
		const uint8_t *data = cursor_take(c, columns[i].len);
		uint64_t id = columns[i].id;
		uint64_t *to = id == COLUMN_TIME ? r->times : id == COLUMN_CPU ? r->cpu : r->values;
		struct cursor column;
		uint64_t max;

		if (!data)
			return -EBADMSG;
		column = (struct cursor){data, data + columns[i].len, false};
		if (id < COLUMN_TIME || id > COLUMN_BELOW)
			continue;
		if (columns[i].encoding > UINT8_MAX ||
		    !column_decode(&column, columns[i].encoding, to, n,
				   known_thread ? &threads : NULL))
			return -EBADMSG;
		max = highest(to, n);
		switch (id) {
		case COLUMN_TIME:
			if (max > UINT64_MAX / s->unit_ns)
				return -EBADMSG;
			for (size_t k = 0; k < n && s->unit_ns != 1; k++)
				to[k] *= s->unit_ns;
			time = true;
			break;
		case COLUMN_THREAD:
			if (max > MAX_THREAD_IDS)
				return -EBADMSG;
			NARROW(r, thread, n);
			known_thread = true;
			threads.max = max;
			break;
		case COLUMN_STACK:
			if (max > MAX_IDS)
				return -EBADMSG;
			NARROW(r, stack, n);
			break;
		case COLUMN_STATE:
			if (max > UINT16_MAX)
				return -EBADMSG;
			NARROW(r, state, n);
			break;
		case COLUMN_HOW:
			if (max > UINT8_MAX)
				return -EBADMSG;
			NARROW(r, how, n);
			break;
		case COLUMN_TASK:
			if (max > MAX_IDS + STREAM_SAMPLE_TASK_STACK)
				return -EBADMSG;
			NARROW(r, task, n);
			tasks = true;
			break;
		case COLUMN_BELOW:
			if (max > MAX_IDS)
				return -EBADMSG;
			NARROW(r, below, n);
			break;
		}
	}
	if (!time || c->at != c->end)
		return -EBADMSG;
	kept = n;
	holes = s->sets[DEF_STACK].count != s->sets[DEF_STACK].max ||
		s->sets[DEF_THREAD].count != s->sets[DEF_THREAD].max;
	for (size_t i = 0; i < n && !holes; i++)
		holes = r->thread[i] > s->sets[DEF_THREAD].max ||
			r->stack[i] > s->sets[DEF_STACK].max;
	if (holes)
		kept = drop_undefined(r, s, n);
	*ret_n = kept;
	if (kept == 0)
		return 0;
	if (tasks)
		check_tasks(r, s, kept);
	batch = (struct stream_batch){kept,   r->times, r->thread, r->stack, r->state,
				      r->how, r->cpu,	r->task,   r->below};
	e = CALL(r, samples, index, &batch);
	return e;
}

static int read_gap(struct stream_reader *r, uint32_t index, struct cursor *c)
{
	struct reader_stream *s = &r->streams[index];
	uint64_t time = cursor_bounded(c, UINT64_MAX / s->unit_ns);
	uint32_t thread = cursor_bounded(c, MAX_THREAD_IDS);
	uint64_t count = cursor_varint(c), reason = cursor_varint(c);

	if (c->bad)
		return -EBADMSG;
	/* A reason that a later version has is still a loss. */
	if (reason >= STREAM_LOST_COUNT)
		reason = STREAM_LOST_UNREADABLE;
	if (!set_has(&s->sets[DEF_THREAD], thread))
		thread = 0;
	return CALL(r, gap, index, time * s->unit_ns, thread, count, (enum stream_lost)reason);
}

static int read_wait(struct stream_reader *r, uint32_t index, struct cursor *c)
{
	struct reader_stream *s = &r->streams[index];
	struct stream_wait w;

	w.time_ns = cursor_bounded(c, UINT64_MAX / s->unit_ns) * s->unit_ns;
	w.thread = (uint32_t)cursor_bounded(c, MAX_THREAD_IDS);
	w.stack = (uint32_t)cursor_bounded(c, MAX_IDS);
	w.count = cursor_varint(c);
	w.ns = cursor_varint(c);
	if (c->bad)
		return -EBADMSG;
	if (!set_has(&s->sets[DEF_STACK], w.stack) || !set_has(&s->sets[DEF_THREAD], w.thread))
		return 0;
	return CALL(r, wait, index, &w);
}

/* What refers to a definition that is lost is lost: the state of the task, or one awaiter. */
static int read_task_state(struct stream_reader *r, uint32_t index, struct cursor *c)
{
	struct reader_stream *s = &r->streams[index];
	struct stream_task_state t = {0};

	t.time_ns = cursor_bounded(c, UINT64_MAX / s->unit_ns) * s->unit_ns;
	t.task = cursor_bounded(c, MAX_IDS);
	t.stack = cursor_bounded(c, MAX_IDS);
	t.state = cursor_bounded(c, UINT8_MAX);
	t.problem = cursor_bounded(c, UINT8_MAX);
	if (c->bad || t.task == 0)
		return -EBADMSG;
	if (!r->awaiters)
		r->awaiters = calloc(MAX_AWAITERS, sizeof(*r->awaiters));
	if (!r->awaiters)
		return stop(r, -ENOMEM);
	while (c->at < c->end) {
		uint32_t awaiter = cursor_bounded(c, MAX_IDS);

		if (c->bad || t.n_awaiters == MAX_AWAITERS)
			return -EBADMSG;
		if (awaiter && set_has(&s->sets[DEF_TASK], awaiter))
			r->awaiters[t.n_awaiters++] = awaiter;
	}
	t.awaiters = r->awaiters;
	if (!set_has(&s->sets[DEF_TASK], t.task) || !set_has(&s->sets[DEF_STACK], t.stack))
		return 0;
	return CALL(r, task_state, index, &t);
}

static int read_tasks(struct stream_reader *r, uint32_t index, struct cursor *c)
{
	struct reader_stream *s = &r->streams[index];
	struct stream_tasks t = {0};

	t.time_ns = cursor_bounded(c, UINT64_MAX / s->unit_ns) * s->unit_ns;
	t.total = cursor_bounded(c, UINT32_MAX);
	t.found = cursor_bounded(c, UINT8_MAX);
	t.more = cursor_bounded(c, 1);
	return c->bad ? -EBADMSG : CALL(r, tasks, index, &t);
}

static int read_json(struct stream_reader *r, uint32_t index, uint64_t type, struct cursor *c)
{
	struct reader_stream *s = &r->streams[index];
	size_t len = c->end - c->at;
	union {
		struct stream_header header;
		struct stream_statistics statistics;
		struct stream_summary summary;
	} u;
	int e;

	if (len > MAX_JSON)
		return -EBADMSG;
	switch (type) {
	case RECORD_HEADER:
		e = json_parse_header(&u.header, c->at, len);
		if (e < 0)
			return e;
		if (s->header)
			return 0;
		s->header = true;
		u.header.stream_id = s->id;
		u.header.time_unit_ns = s->unit_ns;
		return CALL(r, header, index, &u.header);
	case RECORD_STATISTICS:
		e = json_parse_statistics(&u.statistics, c->at, len);
		return e < 0 ? e : CALL(r, statistics, index, &u.statistics);
	case RECORD_SUMMARY:
		e = json_parse_summary(&u.summary, c->at, len);
		if (e < 0)
			return e;
		s->ended = true;
		return CALL(r, summary, index, &u.summary);
	}
	return 0;
}

/* One record; *samples counts down what the chunk's header promised. */
static int read_record(struct stream_reader *r, uint32_t index, uint64_t type, struct cursor *c,
		       uint32_t *left, uint64_t *delivered)
{
	size_t n = 0;
	int e;

	switch (type) {
	case RECORD_STRING:
		return read_definitions(r, index, c, read_string);
	case RECORD_FUNCTION:
		return read_definitions(r, index, c, read_function);
	case RECORD_FRAME:
		return read_definitions(r, index, c, read_frame);
	case RECORD_OPS:
		return read_ops(r, index, c);
	case RECORD_STACK:
		return read_definitions(r, index, c, read_stack);
	case RECORD_THREAD:
		return read_definitions(r, index, c, read_thread);
	case RECORD_SAMPLES:
		e = read_samples(r, index, c, *left, &n);
		*left -= n;
		*delivered += n;
		return e;
	case RECORD_GAP:
		return read_gap(r, index, c);
	case RECORD_TASK:
		return read_definitions(r, index, c, read_task);
	case RECORD_TASK_STATE:
		return read_task_state(r, index, c);
	case RECORD_TASKS:
		return read_tasks(r, index, c);
	case RECORD_WAIT:
		return read_wait(r, index, c);
	case RECORD_HEADER:
	case RECORD_STATISTICS:
	case RECORD_SUMMARY:
		return read_json(r, index, type, c);
	}
	return 0;
}

/* ---- chunks ---- */

static bool parse_chunk_header(struct chunk *ret, const uint8_t *p)
{
	if (memcmp(p, CHUNK_MAGIC, CHUNK_MAGIC_LEN) != 0 ||
	    XXH3_64bits(p, CHUNK_HEADER_CHECK) != get64(p + CHUNK_HEADER_CHECK))
		return false;
	*ret = (struct chunk){
		.type = p[CHUNK_TYPE],
		.codec = p[CHUNK_CODEC],
		.header_size = get16(p + CHUNK_HEADER_SIZE),
		.raw = get32(p + CHUNK_RAW),
		.stored = get32(p + CHUNK_STORED),
		.segment = get32(p + CHUNK_SEGMENT),
		.sequence = get32(p + CHUNK_SEQUENCE),
		.samples = get32(p + CHUNK_SAMPLES),
		.unit_ns = get32(p + CHUNK_UNIT),
		.stream = get64(p + CHUNK_STREAM),
		.before = get64(p + CHUNK_BEFORE),
		.check = get64(p + CHUNK_CHECK),
	};
	return ret->header_size >= CHUNK_HEADER_LEN && ret->raw <= MAX_CHUNK &&
	       ret->stored <= MAX_CHUNK;
}

static int damage(struct stream_reader *r, uint32_t index, uint64_t samples)
{
	r->streams[index].lost += samples;
	return samples ? CALL(r, damage, index, samples) : 0;
}

/* The stream of this chunk, new when its first chunk comes (again). UINT32_MAX: error set. */
static uint32_t stream_of(struct stream_reader *r, const struct chunk *c)
{
	struct reader_stream *s;

	for (uint32_t i = r->stream_count; i-- > 0;) {
		s = &r->streams[i];
		if (s->id == c->stream) {
			if (c->sequence == 0 && s->sequence > 0)
				break;
			return i;
		}
	}
	if (r->stream_count == r->stream_cap) {
		uint32_t cap = r->stream_cap ? 2 * r->stream_cap : 4;
		struct reader_stream *streams;

		if (r->stream_count >= MAX_STREAMS) {
			warn(r,
			     "more than %d streams: the input is damaged, or too many recordings "
			     "in one",
			     MAX_STREAMS);
			return UINT32_MAX;
		}
		streams = reallocarray(r->streams, cap, sizeof(*streams));
		if (!streams) {
			stop(r, -ENOMEM);
			return UINT32_MAX;
		}
		r->streams = streams;
		r->stream_cap = cap;
	}
	/* The one of that id before is over: its memory is needed no more. */
	for (uint32_t i = 0; i < r->stream_count; i++)
		if (r->streams[i].id == c->stream)
			sets_free(r, &r->streams[i]);
	s = &r->streams[r->stream_count];
	*s = (struct reader_stream){.id = c->stream, .unit_ns = c->unit_ns ? c->unit_ns : 1};
	return r->stream_count++;
}

/* Before the first thing of a stream is told, its header must have been. */
static int want_header(struct stream_reader *r, uint32_t index)
{
	struct reader_stream *s = &r->streams[index];
	struct stream_header h = {.stream_id = s->id, .time_unit_ns = s->unit_ns};

	if (s->header)
		return 0;
	s->header = true;
	warn(r,
	     "stream %" PRIu32 ": the header is missing: what was recorded, when and of which "
	     "process is not known",
	     index);
	return CALL(r, header, index, &h);
}

/* Walks the records of an unpacked chunk. -EBADMSG: the rest of it makes no sense. */
static int read_records(struct stream_reader *r, uint32_t index, const struct chunk *chunk,
			const uint8_t *raw, uint64_t *delivered)
{
	struct cursor c = {raw, raw + chunk->raw, false};
	uint32_t left = chunk->samples;

	/* Nothing belongs behind the summary, and handlers may have let go of the stream's ids. */
	while (c.at < c.end && !r->streams[index].ended) {
		uint64_t type = cursor_varint(&c), len = cursor_varint(&c);
		const uint8_t *payload = cursor_take(&c, len);
		struct cursor record;
		int e;

		if (c.bad)
			return -EBADMSG;
		record = (struct cursor){payload, payload + len, false};
		if (type != RECORD_HEADER && want_header(r, index) != 0)
			return r->error;
		e = read_record(r, index, type, &record, &left, delivered);
		if (e != 0)
			return e;
	}
	return 0;
}

static int take_chunk(struct stream_reader *r, const struct chunk *c, const uint8_t *payload)
{
	uint32_t index = stream_of(r, c);
	const uint8_t *raw = payload;
	const char *why = NULL;
	struct reader_stream *s;
	uint64_t delivered = 0, lost = 0;
	int e = 0;

	if (index == UINT32_MAX)
		return r->error;
	s = &r->streams[index];
	if (c->sequence < s->sequence) {
		warn(r, "stream %" PRIu32 ": chunk %" PRIu32 " comes twice; skipped", index,
		     c->sequence);
		return 0;
	}
	if (c->sequence > s->sequence || c->before > s->samples) {
		if (c->before > s->samples)
			lost = c->before - s->samples;
		warn(r,
		     "stream %" PRIu32 ": %" PRIu32 " chunks with %" PRIu64 " samples are missing",
		     index, c->sequence - s->sequence, lost);
	}
	s->sequence = c->sequence + 1;
	s->samples = c->before + c->samples;
	/* The header's chunk is of no segment yet. */
	if (c->type == CHUNK_RECORDS && (c->sequence > 0 || s->header) &&
	    (!s->segment_known || s->segment != c->segment)) {
		s->segment_known = true;
		s->segment = c->segment;
		sets_clear(s);
		if (want_header(r, index) != 0 || CALL(r, segment, index, c->segment) != 0)
			return r->error;
	}
	if (lost && (want_header(r, index) != 0 || damage(r, index, lost) != 0))
		return r->error;
	if (c->type != CHUNK_RECORDS) {
		if (c->samples)
			why = "of a later version";
	} else if (c->codec == STREAM_ZSTD) {
		size_t n = ZSTD_decompressDCtx(r->zstd, r->raw, MAX_CHUNK, payload, c->stored);

		raw = r->raw;
		if (ZSTD_isError(n) || n != c->raw)
			why = "not to be decompressed";
	} else if (c->codec != STREAM_NONE) {
		why = "packed in a way of a later version";
	} else if (c->raw != c->stored) {
		why = "malformed";
	}
	if (!why && c->type == CHUNK_RECORDS)
		e = read_records(r, index, c, raw, &delivered);
	if (r->error)
		return r->error;
	if (e < 0)
		why = "malformed";
	s = &r->streams[index];
	if (why || delivered < c->samples) {
		lost = c->samples - delivered;
		warn(r, "stream %" PRIu32 ": chunk %" PRIu32 " %s%s: %" PRIu64 " samples lost",
		     index, c->sequence, why ? "is " : "refers to definitions that are missing",
		     why ? why : "", lost);
		if (want_header(r, index) != 0 || damage(r, index, lost) != 0)
			return r->error;
	}
	if (s->ended)
		sets_free(r, s);
	return 0;
}

static void skip_over(struct stream_reader *r, size_t n)
{
	r->skipped += n;
	r->all_skipped += n;
}

/* Said when something whole comes again, or at the end. */
static void say_skipped(struct stream_reader *r)
{
	if (r->skipped)
		warn(r, "%" PRIu64 " damaged bytes skipped", r->skipped);
	r->skipped = 0;
}

/* Length of the prologue at p; 0: there is none. A later version stops the reader. */
static size_t prologue(struct stream_reader *r, const uint8_t *p)
{
	if (memcmp(p, PROLOGUE_MAGIC, PROLOGUE_MAGIC_LEN) != 0 ||
	    (uint32_t)XXH3_64bits(p, 12) != get32(p + 12))
		return 0;
	if (get16(p + 8) > VERSION_MAJOR) {
		stop(r, -EPROTONOSUPPORT);
		return 0;
	}
	return PROLOGUE_LEN;
}

/* Where at p a chunk or a prologue may begin, n when nowhere. The last bytes may be a part. */
static size_t candidate(const uint8_t *p, size_t n)
{
	static const uint8_t chunk[] = CHUNK_MAGIC, magic[] = PROLOGUE_MAGIC;

	for (size_t i = 0; i < n; i++) {
		size_t left = n - i;

		if (p[i] == chunk[0] &&
		    memcmp(p + i, chunk, left < CHUNK_MAGIC_LEN ? left : CHUNK_MAGIC_LEN) == 0)
			return i;
		if (p[i] == magic[0] &&
		    memcmp(p + i, magic, left < PROLOGUE_MAGIC_LEN ? left : PROLOGUE_MAGIC_LEN) ==
			    0)
			return i;
	}
	return n;
}

/* Takes one thing from p: the bytes used, 0 when more are needed (never when last). */
static size_t step(struct stream_reader *r, const uint8_t *p, size_t n, bool last)
{
	size_t size;
	struct chunk c;

	if (p[0] == (uint8_t)PROLOGUE_MAGIC[0] && n < PROLOGUE_LEN && !last)
		return 0;
	if (n >= PROLOGUE_LEN) {
		size = prologue(r, p);
		if (size) {
			say_skipped(r);
			return size;
		}
		if (r->error)
			return 0;
	}
	if (n < CHUNK_HEADER_LEN && !last)
		return 0;
	if (n < CHUNK_HEADER_LEN || !parse_chunk_header(&c, p)) {
		size = 1 + candidate(p + 1, n - 1);
		skip_over(r, size);
		return size;
	}
	size = (size_t)c.header_size + c.stored;
	if (n < size && !last)
		return 0;
	if (n < size || XXH3_64bits(p + c.header_size, c.stored) != c.check) {
		/* The header holds but not what follows: cut, or overwritten, and another chunk
		 * may begin anywhere in it. Within bounds, as headers can be nested on purpose. */
		size_t hashed = n < size ? 0 : c.stored;

		if (r->credit >= hashed) {
			r->credit -= hashed;
			size = 1 + candidate(p + 1, n - 1);
		}
		size = size < n ? size : n;
		skip_over(r, size);
		return size;
	}
	say_skipped(r);
	r->chunks++;
	take_chunk(r, &c, p + c.header_size);
	return size;
}

int stream_piece(const void *bytes, size_t len, size_t *ret_size)
{
	const uint8_t *p = bytes;
	struct chunk c;

	*ret_size = PROLOGUE_LEN;
	if (len < PROLOGUE_LEN)
		return -EAGAIN;
	if (memcmp(p, PROLOGUE_MAGIC, PROLOGUE_MAGIC_LEN) == 0)
		return (uint32_t)XXH3_64bits(p, 12) == get32(p + 12) &&
				       get16(p + 8) <= VERSION_MAJOR
			       ? 0
			       : -EBADMSG;
	*ret_size = CHUNK_HEADER_LEN;
	if (len < CHUNK_HEADER_LEN)
		return -EAGAIN;
	if (!parse_chunk_header(&c, p))
		return -EBADMSG;
	*ret_size = (size_t)c.header_size + c.stored;
	return len < *ret_size ? -EAGAIN : 0;
}

/* The very beginning: is it a recording? */
static int start(struct stream_reader *r, bool last)
{
	const uint8_t *p = r->in.data;
	size_t n = r->in.len;
	struct chunk c;

	if (n < PROLOGUE_LEN)
		return last ? -EINVAL : -EAGAIN;
	if (prologue(r, p) == 0) {
		if (r->error)
			return r->error;
		/* One wrong byte in the prologue does not make the rest worthless. */
		if (n < PROLOGUE_LEN + CHUNK_HEADER_LEN)
			return last ? -EINVAL : -EAGAIN;
		if (!parse_chunk_header(&c, p) && !parse_chunk_header(&c, p + PROLOGUE_LEN))
			return -EINVAL;
	}
	r->started = true;
	return 0;
}

static int run(struct stream_reader *r, bool last)
{
	size_t at = 0;

	if (!r->started) {
		int e = start(r, last);

		if (e == -EAGAIN)
			return 0;
		if (e < 0)
			return stop(r, e);
	}
	while (r->error == 0 && at < r->in.len) {
		size_t used = step(r, r->in.data + at, r->in.len - at, last);

		if (used == 0)
			break;
		at += used;
	}
	if (at) {
		memmove(r->in.data, r->in.data + at, r->in.len - at);
		r->in.len -= at;
	}
	return r->error;
}

int stream_reader_feed(struct stream_reader *r, const void *bytes, size_t len)
{
	const uint8_t *p = bytes;

	while (r->error == 0 && len > 0) {
		size_t n = len < SLICE ? len : SLICE;

		bytes_put(&r->in, p, n);
		if (r->in.failed)
			return stop(r, -ENOMEM);
		r->credit += n * HASH_CREDIT;
		p += n;
		len -= n;
		run(r, false);
	}
	return r->error;
}

int stream_reader_finish(struct stream_reader *r)
{
	if (r->error)
		return r->error;
	if (!r->started && r->in.len == 0)
		return stop(r, -EINVAL);
	if (r->in.len && run(r, true) != 0)
		return r->error;
	if (r->skipped)
		warn(r, "the recording is cut: its last %" PRIu64 " bytes are no whole chunk",
		     r->skipped);
	for (uint32_t i = 0; i < r->stream_count; i++) {
		struct reader_stream *s = &r->streams[i];

		/* Above the bound of sentences: a total must never be silently wrong. */
		if (s->lost || !s->ended)
			r->warnings = 0;
		if (s->lost)
			warn(r,
			     "stream %" PRIu32 ": %" PRIu64 " of %" PRIu64
			     " samples are lost to damage",
			     i, s->lost, s->samples);
		if (!s->ended)
			warn(r,
			     "stream %" PRIu32 " has no end: it was cut, or its recorder was "
			     "killed; what came after its sample %" PRIu64 " is not here",
			     i, s->samples);
	}
	if (r->chunks == 0)
		warn(r, "there is nothing in the recording");
	return r->error;
}

int stream_reader_new(struct stream_reader **ret, const struct stream_handler *h, void *arg)
{
	struct stream_reader *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->h = *h;
	r->arg = arg;
	r->raw = malloc(MAX_CHUNK);
	r->zstd = ZSTD_createDCtx();
	if (!r->raw || !r->zstd) {
		stream_reader_free(r);
		return -ENOMEM;
	}
	*ret = r;
	return 0;
}

void stream_reader_free(struct stream_reader *r)
{
	if (!r)
		return;
	for (uint32_t i = 0; i < r->stream_count; i++)
		sets_free(r, &r->streams[i]);
	free(r->streams);
	free(r->raw);
	free(r->values);
	free(r->times);
	free(r->cpu);
	free(r->last);
	free(r->thread);
	free(r->stack);
	free(r->task);
	free(r->below);
	free(r->state);
	free(r->how);
	free(r->awaiters);
	bytes_done(&r->in);
	ZSTD_freeDCtx(r->zstd);
	free(r);
}
