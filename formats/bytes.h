/* A growing buffer, and a cursor over bytes that nobody vouches for. Internal to formats/. */
#ifndef PYPROF_FORMATS_BYTES_H
#define PYPROF_FORMATS_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VARINT_MAX 10 /* bytes of a LEB128 of 64 bits */

/* Zeroed is empty. A failed allocation is sticky: everything after it is dropped. */
struct bytes {
	uint8_t *data;
	size_t len, cap;
	bool failed;
};

void bytes_done(struct bytes *b);
/* Room for n more bytes behind len. Keeps what there is when len is set to 0 and used again. */
bool bytes_reserve(struct bytes *b, size_t n);
void bytes_put(struct bytes *b, const void *data, size_t n);
void bytes_byte(struct bytes *b, uint8_t byte);
void bytes_varint(struct bytes *b, uint64_t v);
void bytes_zigzag(struct bytes *b, int64_t v);
uint64_t zigzag(int64_t v);
int64_t unzigzag(uint64_t v);

/* Reads past the end give 0 and set bad, which stays. */
struct cursor {
	const uint8_t *at, *end;
	bool bad;
};

uint64_t cursor_varint(struct cursor *c);
/* The same, bad when above max. */
uint64_t cursor_bounded(struct cursor *c, uint64_t max);
int64_t cursor_zigzag(struct cursor *c);
/* The next n bytes, or NULL (and bad). */
const uint8_t *cursor_take(struct cursor *c, uint64_t n);

#endif
