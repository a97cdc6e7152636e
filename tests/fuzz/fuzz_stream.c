/* Any bytes as a recording: every format is written of what the reader makes of them, and its
 * pieces are found. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "formats/format.h"
#include "tests/unit/nowhere.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* As a client walks over what a session sends. */
static void walk_pieces(const uint8_t *data, size_t size)
{
	size_t at = 0, piece;

	while (at < size && stream_piece(data + at, size - at, &piece) == 0) {
		if (piece == 0 || piece > size - at || piece > STREAM_PIECE_MAX)
			__builtin_trap();
		at += piece;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct format_options options = {.terminal = true, .color = true, .devtools = true};
	struct stream_reader *r;
	struct model *m;
	size_t half = size / 2;

	if (model_new(&m, NULL) < 0)
		return 0;
	if (stream_reader_new(&r, &model_handler, m) == 0) {
		stream_reader_feed(r, data, half);
		stream_reader_feed(r, data + half, size - half);
		stream_reader_finish(r);
		stream_reader_free(r);
	}
	for (const struct format *const *f = format_all; *f; f++)
		write_to_nowhere(*f, m, &options);
	if (model_group_processes(m) == 0)
		for (const struct format *const *f = format_all; *f; f++)
			write_to_nowhere(*f, m, &options);
	walk_pieces(data, size);
	model_free(m);
	return 0;
}
