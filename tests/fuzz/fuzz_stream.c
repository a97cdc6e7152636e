/* Any bytes as a recording: every format is written of what the reader makes of them. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "formats/format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static FILE *null;
	const struct format_options options = {.terminal = true, .color = true};
	struct stream_reader *r;
	struct model *m;
	size_t half = size / 2;

	if (!null)
		null = fopen("/dev/null", "w");
	if (!null || model_new(&m, NULL) < 0)
		return 0;
	if (stream_reader_new(&r, &model_handler, m) == 0) {
		stream_reader_feed(r, data, half);
		stream_reader_feed(r, data + half, size - half);
		stream_reader_finish(r);
		stream_reader_free(r);
	}
	for (const struct format *const *f = format_all; *f; f++)
		(*f)->write(m, &options, null);
	model_free(m);
	return 0;
}
