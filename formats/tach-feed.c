#include "formats/tach-parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER (256u << 10)

int tach_feed_init(struct tach_feed *f, const struct tach_input *in, uint64_t from, uint64_t to,
		   bool packed)
{
	*f = (struct tach_feed){.in = in, .next = from, .end = to};
	f->buffer = malloc(BUFFER);
	f->at = f->stop = f->buffer;
	if (packed) {
		f->packed = malloc(BUFFER);
		f->zstd = ZSTD_createDCtx();
	}
	return f->buffer && (!packed || (f->packed && f->zstd)) ? 0 : -ENOMEM;
}

void tach_feed_done(struct tach_feed *f)
{
	free(f->buffer);
	free(f->packed);
	ZSTD_freeDCtx(f->zstd);
}

/* Up to n more bytes of the part: how many; 0 at its end, or where the file ends before that. */
static size_t read_part(struct tach_feed *f, uint8_t *to, size_t n)
{
	ssize_t got;

	if (n > f->end - f->next)
		n = f->end - f->next;
	if (n == 0)
		return 0;
	got = f->in->read(f->in->arg, f->next, to, n);
	if (got < 0)
		f->error = (int)got;
	if (got <= 0) {
		f->end = f->next;
		return 0;
	}
	f->next += (uint64_t)got;
	return (size_t)got;
}

/* Into the rest of the buffer. */
static void unpack(struct tach_feed *f)
{
	ZSTD_outBuffer output = {f->stop, BUFFER - (size_t)(f->stop - f->buffer), 0};

	while (output.pos < output.size && !f->ended) {
		size_t before = output.pos, left;

		if (f->input.pos == f->input.size) {
			f->input = (ZSTD_inBuffer){f->packed, read_part(f, f->packed, BUFFER), 0};
			/* What the decoder still holds comes without more input. */
			f->ended = f->input.size == 0;
		}
		left = ZSTD_decompressStream(f->zstd, &output, &f->input);
		if (ZSTD_isError(left)) {
			f->ended = f->damaged = true;
		} else if (f->ended && output.pos > before) {
			f->ended = false;
		}
	}
	f->stop += output.pos;
}

size_t tach_feed_want(struct tach_feed *f, size_t n)
{
	size_t have = (size_t)(f->stop - f->at);

	if (have >= n || f->ended)
		return have;
	memmove(f->buffer, f->at, have);
	f->at = f->buffer;
	f->stop = f->buffer + have;
	while (!f->ended && (size_t)(f->stop - f->at) < n) {
		if (f->zstd) {
			unpack(f);
		} else {
			size_t got = read_part(f, f->stop, BUFFER - (size_t)(f->stop - f->buffer));

			f->stop += got;
			f->ended = got == 0;
		}
	}
	return (size_t)(f->stop - f->at);
}
