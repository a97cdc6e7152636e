/* What the parts of the writer of streams share: stream-chunk.c makes chunks, and begins segments;
 * stream-define.c gives the caller's ids those of the segment; stream-writer.c has the records. */
#ifndef PYPROF_FORMATS_STREAM_WRITER_PARTS_H
#define PYPROF_FORMATS_STREAM_WRITER_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <zstd.h>

#include "formats/bytes.h"
#include "formats/stream-format.h"
#include "formats/stream.h"

#define MAX_SPLITS 8

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

/* Keeps the first error: that one. */
int writer_fail(struct stream_writer *w, int error);

/* ---- stream-chunk.c ---- */

/* The prologue, and the chunk with the header: 0 or -errno, as all of these. */
int writer_put_head(struct stream_writer *w, const struct stream_header *header);
void writer_put_record(struct bytes *b, enum record_type type, const struct bytes *payload);
/* Before a record: closes the chunk and the segment that are full or old. After it, and until the
 * record is in, chunks may still be closed but ids stay valid. */
int writer_begin(struct stream_writer *w, uint64_t time_ns);
/* Something is in the chunk. */
void writer_opened(struct stream_writer *w);
/* Bytes in the open chunk, about; whether it is old. */
size_t writer_pending(const struct stream_writer *w);
bool writer_aged(const struct stream_writer *w);
int writer_close_chunk(struct stream_writer *w);
/* Nothing may be open. */
void writer_new_segment(struct stream_writer *w);

/* ---- stream-define.c ---- */

/* The segment's ids for the caller's, which are defined if they are not yet; 0: none, or an error.
 */
uint32_t writer_stack(struct stream_writer *w, uint32_t id);
uint32_t writer_thread(struct stream_writer *w, uint32_t id);
uint32_t writer_task(struct stream_writer *w, uint32_t id);

#endif
