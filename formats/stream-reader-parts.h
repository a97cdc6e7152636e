/* What the parts of the reader share: stream-reader.c finds chunks, stream-records.c reads what is
 * in them. */
#ifndef PYPROF_FORMATS_STREAM_READER_PARTS_H
#define PYPROF_FORMATS_STREAM_READER_PARTS_H

#include <zstd.h>

#include "formats/bytes.h"
#include "formats/stream-format.h"
#include "formats/stream.h"

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

struct stream_reader {
	struct stream_handler h;
	void *arg;
	int error;

	struct bytes in;
	bool started;
	uint64_t skipped; /* bytes since the last whole chunk */
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

/* Keeps the first error and returns it; 0: there is none. */
int stream_reader_stop(struct stream_reader *r, int error);

/* Tells the handler: what it returns, or the error that there was before. */
#define CALL(r, name, ...)                                                                         \
	((r)->h.name ? stream_reader_stop(r, (r)->h.name((r)->arg, __VA_ARGS__)) : (r)->error)

/* A new segment: nothing is defined. */
void stream_sets_clear(struct reader_stream *s);
void stream_sets_free(struct stream_reader *r, struct reader_stream *s);

/* One record; *left counts down the samples that the chunk's header promised, *delivered up those
 * that were handed on. 0, -EBADMSG when it makes no sense, or the reader's error. */
int stream_read_record(struct stream_reader *r, uint32_t index, uint64_t type, struct cursor *c,
		       uint32_t *left, uint64_t *delivered);

#endif
