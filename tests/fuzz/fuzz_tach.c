/* Any bytes as a recording of profiling.sampling, and a question to it. The first byte is of the
 * question; with its highest bit the rest is a whole file, else the parts of one, each behind two
 * bytes of length: samples, strings, frames. A header and a footer are made for those, since a
 * fuzzer does not find offsets that fit. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "formats/bytes.h"
#include "formats/format.h"
#include "formats/tach-reader.h"
#include "tests/unit/nowhere.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static ssize_t read_bytes(void *arg, uint64_t at, void *buf, size_t n)
{
	const struct bytes *b = arg;

	if (at >= b->len)
		return 0;
	n = n < b->len - at ? n : b->len - at;
	memcpy(buf, b->data + at, n);
	return (ssize_t)n;
}

static void put(struct bytes *b, uint64_t v, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		bytes_byte(b, (uint8_t)(v >> 8 * i));
}

static size_t take_part(const uint8_t **data, const uint8_t *end, const uint8_t **ret)
{
	size_t n = 0;

	*ret = *data;
	if (end - *data < 2)
		return 0;
	n = (*data)[0] | (size_t)(*data)[1] << 8;
	*ret = *data += 2;
	if (n > (size_t)(end - *data))
		n = (size_t)(end - *data);
	*data += n;
	return n;
}

static void build(struct bytes *b, const uint8_t *data, size_t size, uint8_t flags)
{
	const uint8_t *end = data + size, *part[3];
	size_t n[3];

	for (int i = 0; i < 3; i++)
		n[i] = take_part(&data, end, &part[i]);
	put(b, 0x54414348, 4);
	put(b, 1, 4);
	put(b, 0x020f03, 4);
	put(b, 1000000, 8);
	put(b, flags & 64 ? 0 : 1000, 8);
	put(b, 100, 8);
	put(b, 3, 4);
	put(b, 64 + n[0], 8);
	put(b, 64 + n[0] + n[1], 8);
	put(b, 0, 4);
	put(b, flags & 7, 4);
	for (int i = 0; i < 3; i++)
		bytes_put(b, part[i], n[i]);
	put(b, 1000, 4);
	put(b, 1000, 4);
	put(b, b->len + 24, 8);
	put(b, 0, 8);
	put(b, 0, 8);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct format_options options = {.terminal = true, .devtools = true};
	struct model_options question = {.selected.function = NULL};
	struct tach_facts facts;
	struct tach_input in = {.read = read_bytes};
	struct bytes b = {0};
	struct model *m;
	char why[512];

	if (size == 0)
		return 0;
	question.mode = (enum mode)((data[0] & 7) % MODE_COUNT);
	question.native = data[0] & 8;
	question.opcodes = question.no_gc = data[0] & 16;
	question.selected.function = data[0] & 32 ? "*a*" : NULL;
	if (model_new(&m, &question) < 0)
		return 0;
	if (data[0] & 128)
		bytes_put(&b, data + 1, size - 1);
	else
		build(&b, data + 1, size - 1, data[0]);
	in.arg = &b;
	in.size = b.len;
	(void)tach_read(&in, &model_handler, m, &facts);
	(void)model_check(m, why, sizeof(why));
	for (const struct format *const *f = format_all; *f; f++)
		write_to_nowhere(*f, m, &options);
	if (model_fold_threads(m, data[0] & 64) == 0)
		for (const struct format *const *f = format_all; *f; f++)
			write_to_nowhere(*f, m, &options);
	model_free(m);
	bytes_done(&b);
	return 0;
}
