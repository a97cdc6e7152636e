#include "formats/stream-reader-parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "formats/stream-column.h"
#include "formats/stream-json.h"

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
			return stream_reader_stop(r, -ENOMEM);
		s->bits = bits;
		touched = realloc(s->touched, cap / 64 * sizeof(*touched));
		if (!touched)
			return stream_reader_stop(r, -ENOMEM);
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

void stream_sets_clear(struct reader_stream *s)
{
	for (int kind = 0; kind < DEF_COUNT; kind++) {
		struct id_set *set = &s->sets[kind];

		while (set->touched_count)
			set->bits[set->touched[--set->touched_count]] = 0;
		set->max = set->count = 0;
	}
}

void stream_sets_free(struct stream_reader *r, struct reader_stream *s)
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
			return stream_reader_stop(r, -ENOMEM);
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
		return stream_reader_stop(r, -ENOMEM);
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
		return stream_reader_stop(r, -ENOMEM);
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

int stream_read_record(struct stream_reader *r, uint32_t index, uint64_t type, struct cursor *c,
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
