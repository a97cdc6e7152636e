#include "formats/stream-writer-parts.h"

#include <errno.h>
#include <string.h>
#include <xxhash.h>

#include "formats/grow.h"
#include "formats/stream-column.h"
#include "formats/stream-json.h"

/* Columns have nothing in common: from this size on each gets blocks, and thus codes, of its own.
 */
#define SPLIT_BYTES 1024

int writer_fail(struct stream_writer *w, int error)
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

void writer_put_record(struct bytes *b, enum record_type type, const struct bytes *payload)
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
		return writer_fail(w, -ENOMEM);
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
	return r < 0 ? writer_fail(w, r) : 0;
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
		return writer_fail(w, -ENOMEM);
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
	return w->column_head.failed || w->column_data.failed ? writer_fail(w, -ENOMEM) : 0;
}

int writer_close_chunk(struct stream_writer *w)
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
			writer_put_record(&w->raw, types[kind], &m->defs);
		if (m->defs.failed)
			return writer_fail(w, -ENOMEM);
		m->defs.len = 0;
		m->pending = m->next;
		if (kind == DEF_FRAME && w->ops.len)
			writer_put_record(&w->raw, RECORD_OPS, &w->ops);
	}
	if (w->ops.failed)
		return writer_fail(w, -ENOMEM);
	w->ops.len = 0;
	if (w->rows) {
		r = put_samples(w);
		if (r < 0)
			return r;
	}
	bytes_put(&w->raw, w->records.data, w->records.len);
	if (w->records.failed)
		return writer_fail(w, -ENOMEM);
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

int writer_put_head(struct stream_writer *w, const struct stream_header *header)
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
		return writer_fail(w, r);
	/* A chunk of its own: what keeps only the last segments keeps it too. */
	writer_put_record(&w->raw, RECORD_HEADER, &w->payload);
	r = put_chunk(w, 0);
	return r < 0 ? r : send(w);
}

void writer_new_segment(struct stream_writer *w)
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

size_t writer_pending(const struct stream_writer *w)
{
	size_t n = w->records.len + w->ops.len + w->rows * (w->any_cpu ? 8 : 4);

	for (int kind = 0; kind < DEF_COUNT; kind++)
		n += w->maps[kind].defs.len;
	return n;
}

bool writer_aged(const struct stream_writer *w)
{
	return w->open && w->now_ns - w->chunk_start_ns >= w->options.chunk_ns;
}

int writer_begin(struct stream_writer *w, uint64_t time_ns)
{
	bool full = w->rows == CHUNK_ROWS || writer_pending(w) >= CHUNK_TARGET;

	if (w->error)
		return w->error;
	if (time_ns > w->now_ns)
		w->now_ns = time_ns;
	for (int kind = 0; kind < DEF_COUNT; kind++)
		if (w->maps[kind].next >= (kind == DEF_THREAD ? MAX_THREAD_IDS : MAX_IDS) / 2) {
			full = true;
			w->segment_bytes = w->options.segment_bytes;
		}
	if ((full || writer_aged(w)) && writer_close_chunk(w) < 0)
		return w->error;
	/* What is opened now lasts up to chunk_ns: it must end before the segment does. */
	if (!w->open && w->segment_used &&
	    (w->segment_bytes + CHUNK_TARGET > w->options.segment_bytes ||
	     w->now_ns - w->segment_start_ns + w->options.chunk_ns > w->options.segment_ns))
		writer_new_segment(w);
	return 0;
}

void writer_opened(struct stream_writer *w)
{
	if (w->open)
		return;
	w->open = true;
	w->chunk_start_ns = w->now_ns;
}
