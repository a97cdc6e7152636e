#include "formats/stream-reader-parts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define SLICE	     (256u << 10) /* of the input, copied into the buffer at a time */
#define MAX_WARNINGS 20		  /* sentences about damage; totals are said at the end */
#define HASH_CREDIT  16		  /* bytes that may be hashed in vain for each byte of input */

struct chunk {
	uint8_t type, codec;
	uint32_t header_size, raw, stored, segment, sequence, samples, unit_ns;
	uint64_t stream, before, check;
};

static void warn(struct stream_reader *r, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void warn(struct stream_reader *r, const char *format, ...)
{
	char text[256];
	va_list ap;

	if (!r->h.warning || r->warnings++ >= MAX_WARNINGS)
		return;
	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	r->h.warning(r->arg, text);
}

int stream_reader_stop(struct stream_reader *r, int error)
{
	if (r->error == 0)
		r->error = error;
	return r->error;
}

static uint16_t get16(const uint8_t *p)
{
	return p[0] | p[1] << 8;
}

static uint32_t get32(const uint8_t *p)
{
	return get16(p) | (uint32_t)get16(p + 2) << 16;
}

static uint64_t get64(const uint8_t *p)
{
	return get32(p) | (uint64_t)get32(p + 4) << 32;
}

/* ---- chunks ---- */

static bool parse_chunk_header(struct chunk *ret, const uint8_t *p)
{
	if (memcmp(p, CHUNK_MAGIC, CHUNK_MAGIC_LEN) != 0 ||
	    XXH3_64bits(p, CHUNK_HEADER_CHECK) != get64(p + CHUNK_HEADER_CHECK))
		return false;
	*ret = (struct chunk){
		.type = p[CHUNK_TYPE],
		.codec = p[CHUNK_CODEC],
		.header_size = get16(p + CHUNK_HEADER_SIZE),
		.raw = get32(p + CHUNK_RAW),
		.stored = get32(p + CHUNK_STORED),
		.segment = get32(p + CHUNK_SEGMENT),
		.sequence = get32(p + CHUNK_SEQUENCE),
		.samples = get32(p + CHUNK_SAMPLES),
		.unit_ns = get32(p + CHUNK_UNIT),
		.stream = get64(p + CHUNK_STREAM),
		.before = get64(p + CHUNK_BEFORE),
		.check = get64(p + CHUNK_CHECK),
	};
	return ret->header_size >= CHUNK_HEADER_LEN && ret->raw <= MAX_CHUNK &&
	       ret->stored <= MAX_CHUNK;
}

static int damage(struct stream_reader *r, uint32_t index, uint64_t samples)
{
	r->streams[index].lost += samples;
	return samples ? CALL(r, damage, index, samples) : 0;
}

/* The stream of this chunk, new when its first chunk comes (again). UINT32_MAX: error set. */
static uint32_t stream_of(struct stream_reader *r, const struct chunk *c)
{
	struct reader_stream *s;

	for (uint32_t i = r->stream_count; i-- > 0;) {
		s = &r->streams[i];
		if (s->id == c->stream) {
			if (c->sequence == 0 && s->sequence > 0)
				break;
			return i;
		}
	}
	if (r->stream_count == r->stream_cap) {
		uint32_t cap = r->stream_cap ? 2 * r->stream_cap : 4;
		struct reader_stream *streams;

		if (r->stream_count >= MAX_STREAMS) {
			warn(r,
			     "more than %d streams: the input is damaged, or too many recordings "
			     "in one",
			     MAX_STREAMS);
			return UINT32_MAX;
		}
		streams = reallocarray(r->streams, cap, sizeof(*streams));
		if (!streams) {
			stream_reader_stop(r, -ENOMEM);
			return UINT32_MAX;
		}
		r->streams = streams;
		r->stream_cap = cap;
	}
	/* The one of that id before is over: its memory is needed no more. */
	for (uint32_t i = 0; i < r->stream_count; i++)
		if (r->streams[i].id == c->stream)
			stream_sets_free(r, &r->streams[i]);
	s = &r->streams[r->stream_count];
	*s = (struct reader_stream){.id = c->stream, .unit_ns = c->unit_ns ? c->unit_ns : 1};
	return r->stream_count++;
}

/* Before the first thing of a stream is told, its header must have been. */
static int want_header(struct stream_reader *r, uint32_t index)
{
	struct reader_stream *s = &r->streams[index];
	struct stream_header h = {.stream_id = s->id, .time_unit_ns = s->unit_ns};

	if (s->header)
		return 0;
	s->header = true;
	warn(r,
	     "stream %" PRIu32 ": the header is missing: what was recorded, when and of which "
	     "process is not known",
	     index);
	return CALL(r, header, index, &h);
}

/* Walks the records of an unpacked chunk. -EBADMSG: the rest of it makes no sense. */
static int read_records(struct stream_reader *r, uint32_t index, const struct chunk *chunk,
			const uint8_t *raw, uint64_t *delivered)
{
	struct cursor c = {raw, raw + chunk->raw, false};
	uint32_t left = chunk->samples;

	/* Nothing belongs behind the summary, and handlers may have let go of the stream's ids. */
	while (c.at < c.end && !r->streams[index].ended) {
		uint64_t type = cursor_varint(&c), len = cursor_varint(&c);
		const uint8_t *payload = cursor_take(&c, len);
		struct cursor record;
		int e;

		if (c.bad)
			return -EBADMSG;
		record = (struct cursor){payload, payload + len, false};
		if (type != RECORD_HEADER && want_header(r, index) != 0)
			return r->error;
		e = stream_read_record(r, index, type, &record, &left, delivered);
		if (e != 0)
			return e;
	}
	return 0;
}

static int take_chunk(struct stream_reader *r, const struct chunk *c, const uint8_t *payload)
{
	uint32_t index = stream_of(r, c);
	const uint8_t *raw = payload;
	const char *why = NULL;
	struct reader_stream *s;
	uint64_t delivered = 0, lost = 0;
	int e = 0;

	if (index == UINT32_MAX)
		return r->error;
	s = &r->streams[index];
	if (c->sequence < s->sequence) {
		warn(r, "stream %" PRIu32 ": chunk %" PRIu32 " comes twice; skipped", index,
		     c->sequence);
		return 0;
	}
	if (c->sequence > s->sequence || c->before > s->samples) {
		if (c->before > s->samples)
			lost = c->before - s->samples;
		warn(r,
		     "stream %" PRIu32 ": %" PRIu32 " chunks with %" PRIu64 " samples are missing",
		     index, c->sequence - s->sequence, lost);
	}
	s->sequence = c->sequence + 1;
	s->samples = c->before + c->samples;
	/* The header's chunk is of no segment yet. */
	if (c->type == CHUNK_RECORDS && (c->sequence > 0 || s->header) &&
	    (!s->segment_known || s->segment != c->segment)) {
		s->segment_known = true;
		s->segment = c->segment;
		stream_sets_clear(s);
		if (want_header(r, index) != 0 || CALL(r, segment, index, c->segment) != 0)
			return r->error;
	}
	if (lost && (want_header(r, index) != 0 || damage(r, index, lost) != 0))
		return r->error;
	if (c->type != CHUNK_RECORDS) {
		if (c->samples)
			why = "of a later version";
	} else if (c->codec == STREAM_ZSTD) {
		size_t n = ZSTD_decompressDCtx(r->zstd, r->raw, MAX_CHUNK, payload, c->stored);

		raw = r->raw;
		if (ZSTD_isError(n) || n != c->raw)
			why = "not to be decompressed";
	} else if (c->codec != STREAM_NONE) {
		why = "packed in a way of a later version";
	} else if (c->raw != c->stored) {
		why = "malformed";
	}
	if (!why && c->type == CHUNK_RECORDS)
		e = read_records(r, index, c, raw, &delivered);
	if (r->error)
		return r->error;
	if (e < 0)
		why = "malformed";
	s = &r->streams[index];
	if (why || delivered < c->samples) {
		lost = c->samples - delivered;
		warn(r, "stream %" PRIu32 ": chunk %" PRIu32 " %s%s: %" PRIu64 " samples lost",
		     index, c->sequence, why ? "is " : "refers to definitions that are missing",
		     why ? why : "", lost);
		if (want_header(r, index) != 0 || damage(r, index, lost) != 0)
			return r->error;
	}
	if (s->ended)
		stream_sets_free(r, s);
	return 0;
}

/* Said when something whole comes again, or at the end. */
static void say_skipped(struct stream_reader *r)
{
	if (r->skipped)
		warn(r, "%" PRIu64 " damaged bytes skipped", r->skipped);
	r->skipped = 0;
}

/* Length of the prologue at p; 0: there is none. A later version stops the reader. */
static size_t prologue(struct stream_reader *r, const uint8_t *p)
{
	if (memcmp(p, PROLOGUE_MAGIC, PROLOGUE_MAGIC_LEN) != 0 ||
	    (uint32_t)XXH3_64bits(p, 12) != get32(p + 12))
		return 0;
	if (get16(p + 8) > VERSION_MAJOR) {
		stream_reader_stop(r, -EPROTONOSUPPORT);
		return 0;
	}
	return PROLOGUE_LEN;
}

/* Where at p a chunk or a prologue may begin, n when nowhere. The last bytes may be a part. */
static size_t candidate(const uint8_t *p, size_t n)
{
	static const uint8_t chunk[] = CHUNK_MAGIC, magic[] = PROLOGUE_MAGIC;

	for (size_t i = 0; i < n; i++) {
		size_t left = n - i;

		if (p[i] == chunk[0] &&
		    memcmp(p + i, chunk, left < CHUNK_MAGIC_LEN ? left : CHUNK_MAGIC_LEN) == 0)
			return i;
		if (p[i] == magic[0] &&
		    memcmp(p + i, magic, left < PROLOGUE_MAGIC_LEN ? left : PROLOGUE_MAGIC_LEN) ==
			    0)
			return i;
	}
	return n;
}

/* Takes one thing from p: the bytes used, 0 when more are needed (never when last). */
static size_t step(struct stream_reader *r, const uint8_t *p, size_t n, bool last)
{
	size_t size;
	struct chunk c;

	if (p[0] == (uint8_t)PROLOGUE_MAGIC[0] && n < PROLOGUE_LEN && !last)
		return 0;
	if (n >= PROLOGUE_LEN) {
		size = prologue(r, p);
		if (size) {
			say_skipped(r);
			return size;
		}
		if (r->error)
			return 0;
	}
	if (n < CHUNK_HEADER_LEN && !last)
		return 0;
	if (n < CHUNK_HEADER_LEN || !parse_chunk_header(&c, p)) {
		size = 1 + candidate(p + 1, n - 1);
		r->skipped += size;
		return size;
	}
	size = (size_t)c.header_size + c.stored;
	if (n < size && !last)
		return 0;
	if (n < size || XXH3_64bits(p + c.header_size, c.stored) != c.check) {
		/* The header holds but not what follows: cut, or overwritten, and another chunk
		 * may begin anywhere in it. Within bounds, as headers can be nested on purpose. */
		size_t hashed = n < size ? 0 : c.stored;

		if (r->credit >= hashed) {
			r->credit -= hashed;
			size = 1 + candidate(p + 1, n - 1);
		}
		size = size < n ? size : n;
		r->skipped += size;
		return size;
	}
	say_skipped(r);
	r->chunks++;
	take_chunk(r, &c, p + c.header_size);
	return size;
}

int stream_piece(const void *bytes, size_t len, size_t *ret_size)
{
	const uint8_t *p = bytes;
	struct chunk c;

	*ret_size = PROLOGUE_LEN;
	if (len < PROLOGUE_LEN)
		return -EAGAIN;
	if (memcmp(p, PROLOGUE_MAGIC, PROLOGUE_MAGIC_LEN) == 0)
		return (uint32_t)XXH3_64bits(p, 12) == get32(p + 12) &&
				       get16(p + 8) <= VERSION_MAJOR
			       ? 0
			       : -EBADMSG;
	*ret_size = CHUNK_HEADER_LEN;
	if (len < CHUNK_HEADER_LEN)
		return -EAGAIN;
	if (!parse_chunk_header(&c, p))
		return -EBADMSG;
	*ret_size = (size_t)c.header_size + c.stored;
	return len < *ret_size ? -EAGAIN : 0;
}

/* The very beginning: is it a recording? */
static int start(struct stream_reader *r, bool last)
{
	const uint8_t *p = r->in.data;
	size_t n = r->in.len;
	struct chunk c;

	if (n < PROLOGUE_LEN)
		return last ? -EINVAL : -EAGAIN;
	if (prologue(r, p) == 0) {
		if (r->error)
			return r->error;
		/* One wrong byte in the prologue does not make the rest worthless. */
		if (n < PROLOGUE_LEN + CHUNK_HEADER_LEN)
			return last ? -EINVAL : -EAGAIN;
		if (!parse_chunk_header(&c, p) && !parse_chunk_header(&c, p + PROLOGUE_LEN))
			return -EINVAL;
	}
	r->started = true;
	return 0;
}

static int run(struct stream_reader *r, bool last)
{
	size_t at = 0;

	if (!r->started) {
		int e = start(r, last);

		if (e == -EAGAIN)
			return 0;
		if (e < 0)
			return stream_reader_stop(r, e);
	}
	while (r->error == 0 && at < r->in.len) {
		size_t used = step(r, r->in.data + at, r->in.len - at, last);

		if (used == 0)
			break;
		at += used;
	}
	if (at) {
		memmove(r->in.data, r->in.data + at, r->in.len - at);
		r->in.len -= at;
	}
	return r->error;
}

int stream_reader_feed(struct stream_reader *r, const void *bytes, size_t len)
{
	const uint8_t *p = bytes;

	while (r->error == 0 && len > 0) {
		size_t n = len < SLICE ? len : SLICE;

		bytes_put(&r->in, p, n);
		if (r->in.failed)
			return stream_reader_stop(r, -ENOMEM);
		r->credit += n * HASH_CREDIT;
		p += n;
		len -= n;
		run(r, false);
	}
	return r->error;
}

int stream_reader_finish(struct stream_reader *r)
{
	if (r->error)
		return r->error;
	if (!r->started && r->in.len == 0)
		return stream_reader_stop(r, -EINVAL);
	if (r->in.len && run(r, true) != 0)
		return r->error;
	if (r->skipped)
		warn(r, "the recording is cut: its last %" PRIu64 " bytes are no whole chunk",
		     r->skipped);
	for (uint32_t i = 0; i < r->stream_count; i++) {
		struct reader_stream *s = &r->streams[i];

		/* Above the bound of sentences: a total must never be silently wrong. */
		if (s->lost || !s->ended)
			r->warnings = 0;
		if (s->lost)
			warn(r,
			     "stream %" PRIu32 ": %" PRIu64 " of %" PRIu64
			     " samples are lost to damage",
			     i, s->lost, s->samples);
		if (!s->ended)
			warn(r,
			     "stream %" PRIu32 " has no end: it was cut, or its recorder was "
			     "killed; what came after its sample %" PRIu64 " is not here",
			     i, s->samples);
	}
	if (r->chunks == 0)
		warn(r, "there is nothing in the recording");
	return r->error;
}

int stream_reader_new(struct stream_reader **ret, const struct stream_handler *h, void *arg)
{
	struct stream_reader *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->h = *h;
	r->arg = arg;
	r->raw = malloc(MAX_CHUNK);
	r->zstd = ZSTD_createDCtx();
	if (!r->raw || !r->zstd) {
		stream_reader_free(r);
		return -ENOMEM;
	}
	*ret = r;
	return 0;
}

void stream_reader_free(struct stream_reader *r)
{
	if (!r)
		return;
	for (uint32_t i = 0; i < r->stream_count; i++)
		stream_sets_free(r, &r->streams[i]);
	free(r->streams);
	free(r->raw);
	free(r->values);
	free(r->times);
	free(r->cpu);
	free(r->last);
	free(r->thread);
	free(r->stack);
	free(r->task);
	free(r->below);
	free(r->state);
	free(r->how);
	free(r->awaiters);
	bytes_done(&r->in);
	ZSTD_freeDCtx(r->zstd);
	free(r);
}
