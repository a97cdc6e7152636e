/* Any bytes as the records of chunks whose checksums are right, which a fuzzer does not find by
 * itself, and a question to them. The first byte is of the question; each chunk: two bytes of
 * length, one of flags, then its payload. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "formats/bytes.h"
#include "formats/format.h"
#include "formats/stream-format.h"
#include "tests/unit/nowhere.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put(struct bytes *b, uint64_t v, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		bytes_byte(b, v >> 8 * i);
}

static void put_chunk(struct bytes *b, const uint8_t *payload, size_t n, uint8_t flags,
		      uint32_t sequence)
{
	size_t at = b->len;

	bytes_put(b, CHUNK_MAGIC, CHUNK_MAGIC_LEN);
	put(b, CHUNK_RECORDS, 1);
	put(b, STREAM_NONE, 1);
	put(b, CHUNK_HEADER_LEN, 2);
	put(b, n, 4);
	put(b, n, 4);
	put(b, flags & 1, 8);	   /* stream */
	put(b, flags >> 1 & 1, 4); /* segment */
	put(b, sequence, 4);
	put(b, flags >> 2 & 3 ? 0 : 100, 8); /* samples before */
	put(b, flags & 16 ? 0 : MAX_ROWS, 4);
	put(b, flags & 32 ? 1000 : 1, 4);
	put(b, XXH3_64bits(payload, n), 8);
	put(b, XXH3_64bits(b->data + at, CHUNK_HEADER_CHECK), 8);
	bytes_put(b, payload, n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t prologue[12] = PROLOGUE_MAGIC "\1\0\0";
	struct format_options options = {.devtools = true};
	const uint8_t *end = data + size;
	struct stream_reader *r;
	struct bytes b = {0};
	uint32_t sequence = 0;
	struct model_options question = {.selected.function = NULL};
	char why[256];
	bool fold = false;
	struct model *m;

	if (size > 0) {
		question.mode = (enum mode)(*data % MODE_COUNT);
		question.native = *data & 8;
		question.no_gc = question.opcodes = *data & 16;
		question.selected.function = *data & 32 ? "*a*" : NULL;
		question.selected.source = *data & 64 ? "a.*" : NULL;
		question.one_look = *data & 128;
		question.tasks = *data & 128 ? MODEL_TASKS_ALL : MODEL_TASKS_NONE;
		fold = *data & 64;
		/* Samples in a file of their own cost time: of a quarter. */
		question.timeline = (*data & 24) == 24 ? tmpfile : NULL;
		data++;
	}
	if (model_new(&m, &question) < 0)
		return 0;
	bytes_put(&b, prologue, sizeof(prologue));
	put(&b, (uint32_t)XXH3_64bits(prologue, sizeof(prologue)), 4);
	while (end - data >= 3) {
		size_t n = data[0] | (size_t)data[1] << 8;
		uint8_t flags = data[2];

		data += 3;
		if (n > (size_t)(end - data))
			n = end - data;
		sequence += 1 + (flags >> 6);
		put_chunk(&b, data, n, flags, sequence - 1);
		data += n;
	}
	if (stream_reader_new(&r, &model_handler, m) == 0) {
		/* What is well-formed around the records must be taken. */
		if (stream_reader_feed(r, b.data, b.len) < 0 || stream_reader_finish(r) < 0)
			abort();
		stream_reader_free(r);
	}
	(void)model_check(m, why, sizeof(why));
	if (fold)
		(void)model_fold_threads(m, question.one_look);
	(void)model_group_processes(m);
	options.base = m;
	for (const struct format *const *f = format_all; *f; f++)
		if (!fold || !(*f)->over_time)
			write_to_nowhere(*f, m, &options);
	model_free(m);
	bytes_done(&b);
	return 0;
}
