/* What the parts of the reader of profiling.sampling's files share: tach-reader.c has the file, its
 * samples and stacks, tach-tables.c the tables of names and frames, tach-feed.c the bytes of a
 * part. */
#ifndef PYPROF_FORMATS_TACH_PARTS_H
#define PYPROF_FORMATS_TACH_PARTS_H

#include <zstd.h>

#include "formats/bytes.h"
#include "formats/stream-format.h"
#include "formats/table.h"
#include "formats/tach-reader.h"

/* ---- tach-feed.c ---- */

/* Bytes of a part of the file, unpacked where they are packed. */
struct tach_feed {
	const struct tach_input *in;
	uint64_t next, end; /* in the file */
	uint8_t *buffer, *at, *stop;
	ZSTD_DCtx *zstd; /* NULL: they are not packed */
	uint8_t *packed;
	ZSTD_inBuffer input;
	bool ended, damaged;
	int error;
};

/* Of the bytes from..to of the file. 0, -ENOMEM; either way tach_feed_done() is called. */
int tach_feed_init(struct tach_feed *f, const struct tach_input *in, uint64_t from, uint64_t to,
		   bool packed);
void tach_feed_done(struct tach_feed *f);
/* Makes n bytes lie behind at, as far as there are so many: how many do. */
size_t tach_feed_want(struct tach_feed *f, size_t n);

/* ---- tach-reader.c ---- */

#define ROWS 4096

/* What is known of a frame by its number. */
enum { FRAME_LOST, FRAME_FINE, FRAME_INTERNAL };

/* A function, by what its frames say of it. */
struct function_key {
	uint32_t file, name, kind;
};

struct push;

struct tach_reader {
	const struct stream_handler *h;
	void *arg;
	int error;

	bool swapped; /* numbers are in the other byte order */
	uint64_t start_us, promised, strings_at, frames_at;
	uint32_t string_count, frame_count; /* as the footer has them */
	bool has_footer;

	uint8_t *names, *frames; /* flags by number */
	uint32_t name_count, names_cap, known_frames, frames_cap;
	struct table functions, nodes, threads;
	struct push *pushes; /* tach-reader.c's own */
	uint32_t last_thread;
	uint32_t ids; /* stacks told to the handler */
	uint64_t max_nodes;

	uint64_t times[ROWS], cpu[ROWS];
	uint32_t row_threads[ROWS], row_stacks[ROWS];
	uint16_t states[ROWS];
	uint8_t how[ROWS];
	uint32_t no_task[ROWS]; /* what these files do not tell: zeros */
	size_t rows;
	uint64_t delivered, lost;
	uint16_t state_of[256];
};

#define CALL(r, name, ...)                                                                         \
	((r)->h->name ? tach_stop(r, (r)->h->name((r)->arg, 0, __VA_ARGS__)) : (r)->error)

/* Keeps the first error and returns it; 0: there is none. */
int tach_stop(struct tach_reader *r, int error);

/* ---- tach-tables.c ---- */

/* Tells the handler of strings, functions and frames, which lie before end. 0, or an error. */
int tach_read_tables(struct tach_reader *r, const struct tach_input *in, uint64_t end);

#endif
