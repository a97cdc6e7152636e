#include "formats/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include <zstd.h>

#include "formats/bytes.h"
#include "formats/grow.h"
#include "formats/stream-column.h"
#include "formats/stream-format.h"
#include "formats/stream-json.h"

#define ZSTD_LEVEL 3
/* Fixed, so that what the library allocates is the same for each chunk. */
#define ZSTD_WINDOW 18
#define ZSTD_HASH   15
/* Columns have nothing in common: from this size on each gets blocks, and thus codes, of its own.
 */
#define SPLIT_BYTES 1024
#define MAX_SPLITS  8

/* Where the caller's ids of one kind went: an entry is of this segment when its epoch is. */
struct id_map {
	struct id_entry {
		uint32_t epoch, local;
	} * entries;
	uint32_t cap;
	uint32_t next;	   /* local id that the next definition gets */
	uint32_t pending;  /* first local id of the open chunk's definitions */
	struct bytes defs; /* those definitions */
};

struct stream_writer {
	struct stream_definitions definitions;
	struct stream_writer_options options;
	stream_sink *sink;
	void *arg;
	int error;

	uint64_t stream_id;
	uint32_t unit_ns, segment, sequence, epoch;
	uint64_t samples; /* in chunks closed so far */
	uint64_t now_ns;  /* the latest time heard of */

	bool open; /* the chunk has something in it, since chunk_start_ns */
	uint64_t chunk_start_ns;
	bool segment_used; /* has a chunk, since segment_start_ns */
	uint64_t segment_start_ns;
	size_t segment_bytes;

	struct id_map maps[DEF_COUNT];
	uint32_t thread_base; /* serial numbers of threads begin above: moved by redefine */
	uint32_t thread_serial;
	uint32_t path[MAX_DEPTH]; /* the caller's stack ids, leaf first, while they are defined */

	/* The open chunk's rows, as columns. */
	size_t rows;
	uint64_t time[CHUNK_ROWS], cpu[CHUNK_ROWS];
	bool any_cpu; /* CPU time is known of one of them */
	uint32_t thread[CHUNK_ROWS], stack[CHUNK_ROWS];
	uint16_t state[CHUNK_ROWS];
	uint8_t how[CHUNK_ROWS];
	uint32_t task[CHUNK_ROWS], below[CHUNK_ROWS];
	bool any_task;	      /* one of them says something of tasks */
	struct bytes ops;     /* of frames that are defined in this chunk */
	struct bytes records; /* gaps, statistics: whole records */

	uint64_t values[CHUNK_ROWS], scratch[2 * CHUNK_ROWS];
	uint64_t *last; /* by local thread id */
	uint32_t last_cap;
	size_t splits[MAX_SPLITS]; /* where in raw new blocks begin */
	unsigned split_count;
	struct bytes payload, column_head, column_data, raw, out;
	ZSTD_CCtx *zstd;
};

static int fail(struct stream_writer *w, int error)
{
	if (w->error == 0)
		w->error = error;
	return w->error;
}

static void put16(uint8_t *p, uint16_t v)
{
	p[0] = v;
	p[1] = v >> 8;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v);
	put16(p + 2, v >> 16);
}

static void put64(uint8_t *p, uint64_t v)
{
	put32(p, v);
	put32(p + 4, v >> 32);
}

static void put_record(struct bytes *b, enum record_type type, const struct bytes *payload)
{
	bytes_varint(b, type);
	bytes_varint(b, payload->len);
	bytes_put(b, payload->data, payload->len);
}

/* Compresses w->raw into size bytes at to, a block begun at each split; 0: it does not fit. */
static size_t compress(struct stream_writer *w, uint8_t *to, size_t size)
{
	ZSTD_outBuffer out = {to, size, 0};
	size_t from = 0;

	ZSTD_CCtx_reset(w->zstd, ZSTD_reset_session_only);
	for (unsigned i = 0; i <= w->split_count; i++) {
		bool last = i == w->split_count;
		size_t end = last ? w->raw.len : w->splits[i];
		ZSTD_inBuffer in = {w->raw.data + from, end - from, 0};
		size_t r =
			ZSTD_compressStream2(w->zstd, &out, &in, last ? ZSTD_e_end : ZSTD_e_flush);

		if (r != 0)
			return 0;
		from = end;
	}
	return out.pos;
}

/* Appends a chunk of w->raw to w->out, which may hold a prologue. */
static int put_chunk(struct stream_writer *w, size_t rows)
{
	size_t raw = w->raw.len, bound = ZSTD_compressBound(raw), stored = 0;
	enum stream_codec codec = STREAM_NONE;
	uint8_t *p, *payload;

	if (w->raw.failed || !bytes_reserve(&w->out, CHUNK_HEADER_LEN + bound))
		return fail(w, -ENOMEM);
	p = w->out.data + w->out.len;
	payload = p + CHUNK_HEADER_LEN;
	if (w->options.codec == STREAM_ZSTD) {
		stored = compress(w, payload, bound);
		if (stored > 0 && stored < raw)
			codec = STREAM_ZSTD;
	}
	if (codec == STREAM_NONE) {
		memcpy(payload, w->raw.data, raw);
		stored = raw;
	}
	memset(p, 0, CHUNK_HEADER_LEN);
	memcpy(p, CHUNK_MAGIC, CHUNK_MAGIC_LEN);
	p[CHUNK_TYPE] = CHUNK_RECORDS;
	p[CHUNK_CODEC] = codec;
	put16(p + CHUNK_HEADER_SIZE, CHUNK_HEADER_LEN);
	put32(p + CHUNK_RAW, raw);
	put32(p + CHUNK_STORED, stored);
	put64(p + CHUNK_STREAM, w->stream_id);
	put32(p + CHUNK_SEGMENT, w->segment);
	put32(p + CHUNK_SEQUENCE, w->sequence);
	put64(p + CHUNK_BEFORE, w->samples);
	put32(p + CHUNK_SAMPLES, rows);
	put32(p + CHUNK_UNIT, w->unit_ns);
	put64(p + CHUNK_CHECK, XXH3_64bits(payload, stored));
	put64(p + CHUNK_HEADER_CHECK, XXH3_64bits(p, CHUNK_HEADER_CHECK));
	w->out.len += CHUNK_HEADER_LEN + stored;
	w->sequence++;
	w->samples += rows;
	w->split_count = 0;
	return 0;
}

static int send(struct stream_writer *w)
{
	int r = w->sink(w->arg, w->out.data, w->out.len);

	w->out.len = 0;
	return r < 0 ? fail(w, r) : 0;
}

static void put_column(struct stream_writer *w, enum column id,
		       const struct column_threads *threads)
{
	size_t before = w->column_data.len;
	unsigned encoding =
		column_encode(&w->column_data, id, w->values, w->rows, threads, w->scratch);

	bytes_varint(&w->column_head, id);
	bytes_varint(&w->column_head, encoding);
	bytes_varint(&w->column_head, w->column_data.len - before);
	if (w->column_data.len - before >= SPLIT_BYTES && w->split_count + 2 <= MAX_SPLITS) {
		w->splits[w->split_count++] = before;
		w->splits[w->split_count++] = w->column_data.len;
	}
}

#define PUT_COLUMN(w, id, array, threads)                                                          \
	do {                                                                                       \
		for (size_t i_ = 0; i_ < (w)->rows; i_++)                                          \
			(w)->values[i_] = (array)[i_];                                             \
		put_column(w, id, threads);                                                        \
	} while (0)

static int put_samples(struct stream_writer *w)
{
	struct column_threads threads = {w->thread, NULL, w->maps[DEF_THREAD].next - 1};

	if (grow(&w->last, &w->last_cap, (size_t)threads.max + 1, sizeof(*w->last)) < 0)
		return fail(w, -ENOMEM);
	threads.last = w->last;
	w->column_head.len = w->column_data.len = 0;
	bytes_varint(&w->column_head, w->rows);
	bytes_varint(&w->column_head, 5u + w->any_cpu + 2u * w->any_task);
	PUT_COLUMN(w, COLUMN_TIME, w->time, NULL);
	PUT_COLUMN(w, COLUMN_THREAD, w->thread, NULL);
	PUT_COLUMN(w, COLUMN_STACK, w->stack, &threads);
	PUT_COLUMN(w, COLUMN_STATE, w->state, &threads);
	PUT_COLUMN(w, COLUMN_HOW, w->how, &threads);
	if (w->any_cpu)
		PUT_COLUMN(w, COLUMN_CPU, w->cpu, &threads);
	if (w->any_task) {
		PUT_COLUMN(w, COLUMN_TASK, w->task, &threads);
		PUT_COLUMN(w, COLUMN_BELOW, w->below, &threads);
	}
	bytes_varint(&w->raw, RECORD_SAMPLES);
	bytes_varint(&w->raw, w->column_head.len + w->column_data.len);
	bytes_put(&w->raw, w->column_head.data, w->column_head.len);
	for (unsigned i = 0; i < w->split_count; i++)
		w->splits[i] += w->raw.len;
	bytes_put(&w->raw, w->column_data.data, w->column_data.len);
	return w->column_head.failed || w->column_data.failed ? fail(w, -ENOMEM) : 0;
}

static int close_chunk(struct stream_writer *w)
{
	static const enum record_type types[DEF_COUNT] = {
		[DEF_STRING] = RECORD_STRING, [DEF_FUNCTION] = RECORD_FUNCTION,
		[DEF_FRAME] = RECORD_FRAME,   [DEF_STACK] = RECORD_STACK,
		[DEF_THREAD] = RECORD_THREAD, [DEF_TASK] = RECORD_TASK,
	};
	int r;

	if (w->error || !w->open)
		return w->error;
	w->raw.len = 0;
	for (int kind = 0; kind < DEF_COUNT; kind++) {
		struct id_map *m = &w->maps[kind];

		if (m->defs.len)
			put_record(&w->raw, types[kind], &m->defs);
		if (m->defs.failed)
			return fail(w, -ENOMEM);
		m->defs.len = 0;
		m->pending = m->next;
		if (kind == DEF_FRAME && w->ops.len)
			put_record(&w->raw, RECORD_OPS, &w->ops);
	}
	if (w->ops.failed)
		return fail(w, -ENOMEM);
	w->ops.len = 0;
	if (w->rows) {
		r = put_samples(w);
		if (r < 0)
			return r;
	}
	bytes_put(&w->raw, w->records.data, w->records.len);
	if (w->records.failed)
		return fail(w, -ENOMEM);
	w->records.len = 0;
	r = put_chunk(w, w->rows);
	if (r < 0)
		return r;
	w->rows = 0;
	w->any_cpu = w->any_task = false;
	w->open = false;
	if (!w->segment_used) {
		w->segment_used = true;
		w->segment_start_ns = w->chunk_start_ns;
	}
	w->segment_bytes += w->raw.len;
	return send(w);
}

/* Nothing may be open. */
static void new_segment(struct stream_writer *w)
{
	if (w->segment_used)
		w->segment++;
	w->segment_used = false;
	w->segment_bytes = 0;
	/* Stamps of the last time round would look like this segment's. */
	if (++w->epoch == 0) {
		for (int kind = 0; kind < DEF_COUNT; kind++)
			memset(w->maps[kind].entries, 0,
			       w->maps[kind].cap * sizeof(*w->maps[kind].entries));
		w->epoch = 1;
	}
	for (int kind = 0; kind < DEF_COUNT; kind++)
		w->maps[kind].next = w->maps[kind].pending = 1;
}

static size_t pending(const struct stream_writer *w)
{
	size_t n = w->records.len + w->ops.len + w->rows * (w->any_cpu ? 8 : 4);

	for (int kind = 0; kind < DEF_COUNT; kind++)
		n += w->maps[kind].defs.len;
	return n;
}

static bool aged(const struct stream_writer *w)
{
	return w->open && w->now_ns - w->chunk_start_ns >= w->options.chunk_ns;
}

/* Before a record: closes the chunk and the segment that are full or old. After it, and until the
 * record is in, chunks may still be closed but ids stay valid. */
static int begin(struct stream_writer *w, uint64_t time_ns)
{
	bool full = w->rows == CHUNK_ROWS || pending(w) >= CHUNK_TARGET;

	if (w->error)
		return w->error;
	if (time_ns > w->now_ns)
		w->now_ns = time_ns;
	for (int kind = 0; kind < DEF_COUNT; kind++)
		if (w->maps[kind].next >= (kind == DEF_THREAD ? MAX_THREAD_IDS : MAX_IDS) / 2) {
			full = true;
			w->segment_bytes = w->options.segment_bytes;
		}
	if ((full || aged(w)) && close_chunk(w) < 0)
		return w->error;
	/* What is opened now lasts up to chunk_ns: it must end before the segment does. */
	if (!w->open && w->segment_used &&
	    (w->segment_bytes + CHUNK_TARGET > w->options.segment_bytes ||
	     w->now_ns - w->segment_start_ns + w->options.chunk_ns > w->options.segment_ns))
		new_segment(w);
	return 0;
}

static void opened(struct stream_writer *w)
{
	if (w->open)
		return;
	w->open = true;
	w->chunk_start_ns = w->now_ns;
}

/* The entry of a caller's id; NULL (and the error set) when memory is short. */
static struct id_entry *entry_of(struct stream_writer *w, enum definition kind, uint32_t id)
{
	struct id_map *m = &w->maps[kind];

	if (id >= m->cap && grow(&m->entries, &m->cap, (size_t)id + 1, sizeof(*m->entries)) < 0) {
		fail(w, -ENOMEM);
		return NULL;
	}
	return &m->entries[id];
}

/* Finds the local id. True: *ret is final. False: the caller defines id, by define(). */
static bool known(struct stream_writer *w, enum definition kind, uint32_t id, uint32_t *ret)
{
	struct id_entry *e;

	*ret = 0;
	if (id == 0)
		return true;
	e = entry_of(w, kind, id);
	if (!e)
		return true;
	if (e->epoch != w->epoch)
		return false;
	*ret = e->local;
	return true;
}

/* Gives id the next local one; its entry's bytes come behind in the returned buffer. */
static struct bytes *define(struct stream_writer *w, enum definition kind, uint32_t id,
			    uint32_t *ret)
{
	struct id_map *m = &w->maps[kind];

	opened(w);
	if (m->defs.len == 0)
		bytes_varint(&m->defs, m->pending);
	m->entries[id] = (struct id_entry){w->epoch, m->next};
	*ret = m->next++;
	return &m->defs;
}

/* An id that the caller does not know is "none", and not asked for again in this segment. */
static uint32_t unknown(struct stream_writer *w, enum definition kind, uint32_t id)
{
	w->maps[kind].entries[id] = (struct id_entry){w->epoch, 0};
	return 0;
}

static uint32_t local_string(struct stream_writer *w, uint32_t id)
{
	struct stream_string s;
	struct bytes *b;
	uint32_t local;

	if (known(w, DEF_STRING, id, &local))
		return local;
	if (!w->definitions.string(w->definitions.arg, id, &s))
		return unknown(w, DEF_STRING, id);
	if (s.len > MAX_STRING) {
		s.len = MAX_STRING;
		while (s.len > MAX_STRING - 4 && ((uint8_t)s.bytes[s.len] & 0xc0) == 0x80)
			s.len--;
	}
	b = define(w, DEF_STRING, id, &local);
	bytes_varint(b, s.len);
	bytes_put(b, s.bytes, s.len);
	return local;
}

static uint32_t local_function(struct stream_writer *w, uint32_t id)
{
	struct stream_function f;
	uint32_t local, name, file;
	struct bytes *b;

	if (known(w, DEF_FUNCTION, id, &local))
		return local;
	if (!w->definitions.function(w->definitions.arg, id, &f))
		return unknown(w, DEF_FUNCTION, id);
	name = local_string(w, f.name);
	file = local_string(w, f.file);
	b = define(w, DEF_FUNCTION, id, &local);
	bytes_varint(b, name);
	bytes_varint(b, file);
	bytes_zigzag(b, f.first_line);
	bytes_varint(b, f.kind);
	return local;
}

/* -1 and below are unknown: 0; else the number + 1. */
static void put_position(struct bytes *b, int32_t v)
{
	bytes_varint(b, v < 0 ? 0 : (uint64_t)v + 1);
}

static uint32_t local_frame(struct stream_writer *w, uint32_t id)
{
	struct stream_frame f;
	uint32_t local, function;
	struct bytes *b;

	if (known(w, DEF_FRAME, id, &local))
		return local;
	if (!w->definitions.frame(w->definitions.arg, id, &f))
		return unknown(w, DEF_FRAME, id);
	function = local_function(w, f.function);
	b = define(w, DEF_FRAME, id, &local);
	bytes_varint(b, function);
	put_position(b, f.line);
	put_position(b, f.end_line);
	put_position(b, f.column);
	put_position(b, f.end_column);
	if (f.op) {
		bytes_varint(&w->ops, local);
		bytes_varint(&w->ops, f.op);
	}
	return local;
}

static uint32_t local_stack(struct stream_writer *w, uint32_t id)
{
	uint32_t local, parent, frame, depth = 0;
	struct stream_stack s;

	if (known(w, DEF_STACK, id, &local))
		return local;
	/* Up to what is defined already; the bound also ends a cycle. */
	for (uint32_t at = id;;) {
		if (!w->definitions.stack(w->definitions.arg, at, &s)) {
			unknown(w, DEF_STACK, at);
			parent = 0;
			break;
		}
		w->path[depth++] = at;
		at = s.parent;
		if (depth == MAX_DEPTH) {
			parent = 0;
			break;
		}
		if (known(w, DEF_STACK, at, &parent))
			break;
	}
	local = parent;
	while (depth > 0 && w->error == 0) {
		struct bytes *b;

		id = w->path[--depth];
		/* A cycle brings an id twice. */
		if (known(w, DEF_STACK, id, &local) ||
		    !w->definitions.stack(w->definitions.arg, id, &s)) {
			parent = local;
			continue;
		}
		frame = local_frame(w, s.frame);
		b = define(w, DEF_STACK, id, &local);
		/* Parents were defined a little earlier: the distance is small. */
		bytes_varint(b, local - parent);
		bytes_varint(b, frame);
		parent = local;
		/* Before the rows that use them; a chunk of definitions alone is a chunk too. */
		if (pending(w) >= CHUNK_TARGET)
			close_chunk(w);
	}
	return local;
}

static uint32_t local_thread(struct stream_writer *w, uint32_t id)
{
	struct stream_thread t;
	uint32_t local, name, serial;
	struct bytes *b;

	if (known(w, DEF_THREAD, id, &local))
		return local;
	if (!w->definitions.thread(w->definitions.arg, id, &t))
		return unknown(w, DEF_THREAD, id);
	name = local_string(w, t.name);
	serial = w->thread_base + id;
	if (serial > w->thread_serial)
		w->thread_serial = serial;
	b = define(w, DEF_THREAD, id, &local);
	bytes_varint(b, serial);
	bytes_varint(b, t.tid);
	bytes_varint(b, t.ident);
	bytes_zigzag(b, t.interpreter);
	bytes_varint(b, name);
	bytes_varint(b, t.main != 0);
	return local;
}

static uint32_t local_task(struct stream_writer *w, uint32_t id)
{
	struct stream_task t;
	uint32_t local, thread, name;
	struct bytes *b;

	if (known(w, DEF_TASK, id, &local))
		return local;
	if (!w->definitions.task || !w->definitions.task(w->definitions.arg, id, &t))
		return unknown(w, DEF_TASK, id);
	thread = local_thread(w, t.thread);
	name = local_string(w, t.name);
	b = define(w, DEF_TASK, id, &local);
	bytes_varint(b, t.addr);
	bytes_varint(b, t.loop);
	bytes_varint(b, thread);
	bytes_varint(b, name);
	return local;
}

int stream_writer_sample(struct stream_writer *w, const struct stream_sample *s)
{
	uint32_t thread, stack, task = s->task, below;
	size_t row;

	if (begin(w, s->time_ns) < 0)
		return w->error;
	thread = local_thread(w, s->thread);
	stack = local_stack(w, s->stack);
	below = local_stack(w, s->below);
	if (task > STREAM_SAMPLE_TASK_STACK) {
		task = local_stack(w, task - STREAM_SAMPLE_TASK_STACK);
		task = task ? task + STREAM_SAMPLE_TASK_STACK : STREAM_SAMPLE_TASK_UNKNOWN;
	}
	if (w->error)
		return w->error;
	opened(w);
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
	opened(w);
	w->payload.len = 0;
	bytes_varint(&w->payload, time_ns / w->unit_ns);
	return &w->payload;
}

static int end_record(struct stream_writer *w, enum record_type type)
{
	if (w->error)
		return w->error;
	put_record(&w->records, type, &w->payload);
	return w->payload.failed || w->records.failed ? fail(w, -ENOMEM) : 0;
}

int stream_writer_gap(struct stream_writer *w, uint64_t time_ns, uint32_t thread, uint64_t count,
		      enum stream_lost reason)
{
	struct bytes *b;

	if (begin(w, time_ns) < 0)
		return w->error;
	thread = local_thread(w, thread);
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

	if (begin(w, s->time_ns) < 0)
		return w->error;
	task = local_task(w, s->task);
	stack = local_stack(w, s->stack);
	b = begin_record(w, s->time_ns);
	bytes_varint(b, task);
	bytes_varint(b, stack);
	bytes_varint(b, s->state);
	bytes_varint(b, s->problem);
	for (uint32_t i = 0; i < n; i++)
		bytes_varint(b, local_task(w, s->awaiters[i]));
	return end_record(w, RECORD_TASK_STATE);
}

int stream_writer_wait(struct stream_writer *w, const struct stream_wait *s)
{
	uint32_t thread, stack;
	struct bytes *b;

	if (begin(w, s->time_ns) < 0)
		return w->error;
	thread = local_thread(w, s->thread);
	stack = local_stack(w, s->stack);
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

	if (begin(w, t->time_ns) < 0)
		return w->error;
	b = begin_record(w, t->time_ns);
	bytes_varint(b, t->total);
	bytes_varint(b, t->found);
	bytes_varint(b, t->more);
	return end_record(w, RECORD_TASKS);
}

int stream_writer_statistics(struct stream_writer *w, const struct stream_statistics *s)
{
	if (begin(w, 0) < 0)
		return w->error;
	opened(w);
	w->payload.len = 0;
	if (json_statistics(&w->payload, s) < 0)
		return fail(w, -ENOMEM);
	return end_record(w, RECORD_STATISTICS);
}

int stream_writer_redefine(struct stream_writer *w, const struct stream_definitions *definitions)
{
	if (close_chunk(w) < 0)
		return w->error;
	new_segment(w);
	w->definitions = *definitions;
	w->thread_base = w->thread_serial;
	return w->error;
}

int stream_writer_poll(struct stream_writer *w, uint64_t now_ns)
{
	if (now_ns > w->now_ns)
		w->now_ns = now_ns;
	return aged(w) ? close_chunk(w) : w->error;
}

int stream_writer_flush(struct stream_writer *w)
{
	return close_chunk(w);
}

int stream_writer_finish(struct stream_writer *w, const struct stream_summary *summary)
{
	int r;

	if (close_chunk(w) < 0)
		return w->error;
	opened(w);
	w->payload.len = 0;
	r = json_summary(&w->payload, summary);
	if (r < 0)
		return fail(w, r);
	put_record(&w->records, RECORD_SUMMARY, &w->payload);
	return close_chunk(w);
}

static int put_head(struct stream_writer *w, const struct stream_header *header)
{
	uint8_t prologue[PROLOGUE_LEN] = PROLOGUE_MAGIC;
	struct stream_header h = *header;
	int r;

	h.time_unit_ns = w->unit_ns;
	put16(prologue + 8, VERSION_MAJOR);
	put16(prologue + 10, VERSION_MINOR);
	put32(prologue + 12, (uint32_t)XXH3_64bits(prologue, 12));
	bytes_put(&w->out, prologue, sizeof(prologue));
	r = json_header(&w->payload, &h);
	if (r < 0)
		return fail(w, r);
	/* A chunk of its own: what keeps only the last segments keeps it too. */
	put_record(&w->raw, RECORD_HEADER, &w->payload);
	r = put_chunk(w, 0);
	return r < 0 ? r : send(w);
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
	r = w->zstd ? put_head(w, header) : -ENOMEM;
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
