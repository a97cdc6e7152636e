#include "tests/unit/stream_formats.h"

#include <stdarg.h>
#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/stream_fixture.h"
#include "tests/unit/stream_tables.h"

static const struct stream_string strings[] = {
	STREAM_TEXT(""),       STREAM_TEXT("/app/a.py"),  STREAM_TEXT("/lib/b.py"),
	STREAM_TEXT("main"),   STREAM_TEXT("C.work"),	  STREAM_TEXT("<moving>"),
	STREAM_TEXT("x;y.py"), STREAM_TEXT("na\nme\xff"), STREAM_TEXT("Main"),
};
static const struct stream_function functions[] = {
	{0}, {3, 1, 9, 0}, {4, 2, 2, 0}, {5, 0, 0, STREAM_FRAME_MOVING}, {7, 6, 1, 0},
};
/* 2 and 3 differ in their columns only. */
static const struct stream_frame frames[] = {
	{0},
	{1, 10, 10, 0, 4, 0},
	{2, 3, 3, 4, 9, 0},
	{2, 3, 3, 5, 6, 0},
	{3, -1, -1, -1, -1, 0},
	{4, 1, 1, -1, -1, 0},
};
static const struct stream_stack stacks[] = {
	{0}, {0, 1}, {1, 2}, {1, 3}, {2, 3}, {1, 4}, {0, 5},
};
static const struct stream_thread threads[] = {
	{0},
	{.tid = 100, .ident = 0xfedcba9876543210, .name = 8, .main = true},
	{.tid = 101, .ident = 0xfedcba9876543210},
};
#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static struct model *make_model(const struct model_options *options)
{
	struct stream_tables tables = {strings, functions, frames, stacks, threads};
	const struct stream_definitions d = stream_tables_definitions(&tables);
	static const uint8_t samples[][2] = {
		{1, 2}, {1, 3}, {1, 2}, {1, 4}, {1, 4}, {1, 1}, {1, 5}, {2, 3}, {2, 6},
	};
	struct stream_header h = {.stream_id = 1,
				  .time_unit_ns = 1000,
				  .rate_hz = 100,
				  .pid = 77,
				  .python = "3.13.5",
				  .pyprof = "1"};
	struct stream_writer_options o = {.codec = STREAM_ZSTD};
	struct stream_summary end = {.end = "stopped"};
	struct stream_writer *w;
	struct bytes b = {0};
	struct model *m;

	assert_int_equal(stream_writer_new(&w, &h, &d, &o, fixture_sink, &b), 0);
	for (size_t i = 0; i < COUNT(samples); i++) {
		struct stream_sample s = {
			.time_ns = 1000000000 + i * 10000000,
			.thread = samples[i][0],
			.stack = samples[i][1],
			.state = STREAM_STATE_CPU_KNOWN | STREAM_STATE_GIL_KNOWN,
			.how = samples[i][1] == 5 ? STREAM_HOW_MOVING : STREAM_HOW_FREE,
		};

		if (samples[i][0] == 1)
			s.state |= STREAM_STATE_MAIN | STREAM_STATE_GIL | STREAM_STATE_CPU;
		assert_int_equal(stream_writer_sample(w, &s), 0);
	}
	assert_int_equal(stream_writer_finish(w, &end), 0);
	stream_writer_free(w);
	m = fixture_model(b.data, b.len, options);
	bytes_done(&b);
	return m;
}

struct model *formats_model(void)
{
	return make_model(NULL);
}

struct model *formats_of_mode(enum mode mode)
{
	return make_model(&(struct model_options){.mode = mode});
}

struct model *formats_timeline(void)
{
	return make_model(&(struct model_options){.timeline = tmpfile});
}

size_t formats_bytes(const struct format *f, const struct model *m, const struct format_options *o,
		     char **ret)
{
	size_t len = 0;
	FILE *out = open_memstream(ret, &len);

	assert_non_null(out);
	assert_int_equal(f->write(m, o, out), 0);
	fclose(out);
	return len;
}

char *formats_text(const struct format *f, const struct model *m, const struct format_options *o)
{
	char *text = NULL;

	formats_bytes(f, m, o, &text);
	return text;
}
