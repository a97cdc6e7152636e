/* Output of text: gathered, written in large pieces, its first error kept. Internal to formats/. */
#ifndef PYPROF_FORMATS_SINK_H
#define PYPROF_FORMATS_SINK_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define SINK_SIZE (64u << 10)
#define SINK_ITEM 32 /* bytes that any number takes at most */

struct sink {
	FILE *out;
	int error; /* 0, or -errno: everything after it is dropped */
	size_t len;
	char data[SINK_SIZE];
};

/* NULL when memory is short. out stays the caller's. */
struct sink *sink_new(FILE *out);
/* Writes what is gathered, does not flush out, frees s (which may be NULL: -ENOMEM). r: how the
 * work went so far; returned when it is an error, else 0 or the first error of writing. */
int sink_finish(struct sink *s, int r);

void sink_drain(struct sink *s);
void sink_put(struct sink *s, const void *bytes, size_t len);
void sink_unsigned(struct sink *s, uint64_t v);
void sink_signed(struct sink *s, int64_t v);
/* v divided by 10 to the power of digits (at most 9), without zeros at the end. */
void sink_decimal(struct sink *s, uint64_t v, unsigned digits);
/* A JSON string with its quotes; what is not UTF-8 becomes U+FFFD. */
void sink_json(struct sink *s, const char *text, size_t len);

static inline void sink_byte(struct sink *s, char c)
{
	if (s->len == SINK_SIZE)
		sink_drain(s);
	s->data[s->len++] = c;
}

static inline void sink_text(struct sink *s, const char *text)
{
	sink_put(s, text, strlen(text));
}

#endif
