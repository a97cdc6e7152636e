/* Columns of numbers as bytes; pyprof(5), "Columns". Internal to formats/. */
#ifndef PYPROF_FORMATS_STREAM_COLUMN_H
#define PYPROF_FORMATS_STREAM_COLUMN_H

#include <stddef.h>
#include <stdint.h>

#include "formats/bytes.h"
#include "formats/stream-format.h"

/* What the thread transform goes by: the thread column and a table of last values, one for each
 * id up to max; its contents do not matter. */
struct column_threads {
	const uint32_t *thread;
	uint64_t *last;
	uint32_t max;
};

/* Appends the n values to data in the smallest of the encodings that suit the column; scratch
 * holds n numbers twice. Returns the encoding. */
unsigned column_encode(struct bytes *data, enum column id, const uint64_t *values, size_t n,
		       const struct column_threads *threads, uint64_t *scratch);

/* n values out of exactly the bytes of c. False when they are not such a column. threads NULL:
 * the thread column is not known, columns that need it cannot be had. */
bool column_decode(struct cursor *c, unsigned encoding, uint64_t *ret_values, size_t n,
		   const struct column_threads *threads);

#endif
