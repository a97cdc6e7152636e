#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

#include "formats/bytes.h"
#include "formats/page.h"
#include "tests/unit/stream_fixture.h"
#include "tests/unit/stream_formats.h"

/* A reader of the data that is not the page's. */
struct decoded {
	uint8_t *bytes;
	struct cursor at;
	char *facts;
	uint32_t texts, nodes, cells, functions;
	char **text;
	uint32_t *parent, *cell, *cell_function, *function_name, *function_file;
	int64_t *cell_line, *function_line;
};

static void inflate_page(struct decoded *d, const char *html)
{
	static const char begin[] = "<script id=\"data\" type=\"application/octet-stream\">";
	const char *from = strstr(html, begin), *end;
	uint8_t *packed;
	uLongf len = 64 << 20;
	size_t n = 0;
	uint32_t v = 0, bits = 0;

	assert_non_null(from);
	from += strlen(begin);
	end = strstr(from, "</script>");
	assert_non_null(end);
	assert_int_equal((end - from) % 4, 0);
	packed = malloc((size_t)(end - from));
	for (const char *c = from; c < end && *c != '='; c++) {
		static const char digits[] =
			"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
		const char *digit = strchr(digits, *c);

		assert_non_null(digit);
		v = v << 6 | (uint32_t)(digit - digits);
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			packed[n++] = (uint8_t)(v >> bits);
		}
	}
	d->bytes = malloc(len);
	assert_int_equal(uncompress(d->bytes, &len, packed, n), Z_OK);
	free(packed);
	d->at = (struct cursor){d->bytes, d->bytes + len, false};
}

/* Numbers in the order of their first use. */
static void read_renamed(struct decoded *d, uint32_t *to, uint32_t count)
{
	uint32_t last = 0;

	for (uint32_t i = 1; i <= count; i++) {
		uint64_t back = cursor_varint(&d->at);

		to[i] = back ? last + 1 - (uint32_t)back : ++last;
	}
}

static void decode(struct decoded *d, const char *html)
{
	uint64_t len;
	size_t *lens;

	*d = (struct decoded){0};
	inflate_page(d, html);
	len = cursor_varint(&d->at);
	d->facts = strndup((const char *)cursor_take(&d->at, len), len);
	d->texts = (uint32_t)cursor_varint(&d->at);
	d->text = calloc(d->texts + 1, sizeof(*d->text));
	lens = calloc(d->texts + 1, sizeof(*lens));
	for (uint32_t i = 1; i <= d->texts; i++)
		lens[i] = cursor_varint(&d->at);
	for (uint32_t i = 1; i <= d->texts; i++)
		d->text[i] = strndup((const char *)cursor_take(&d->at, lens[i]), lens[i]);
	free(lens);
	d->nodes = (uint32_t)cursor_varint(&d->at);
	d->parent = calloc(d->nodes + 1, sizeof(*d->parent));
	d->cell = calloc(d->nodes + 1, sizeof(*d->cell));
	for (uint32_t i = 1; i <= d->nodes; i++) {
		d->parent[i] = i - 1;
		for (uint64_t up = cursor_varint(&d->at); up > 0; up--)
			d->parent[i] = d->parent[d->parent[i]];
	}
	read_renamed(d, d->cell, d->nodes);
	d->cells = (uint32_t)cursor_varint(&d->at);
	d->cell_function = calloc(d->cells + 1, sizeof(*d->cell_function));
	d->cell_line = calloc(d->cells + 1, sizeof(*d->cell_line));
	read_renamed(d, d->cell_function, d->cells);
	for (uint32_t i = 1; i <= d->cells; i++)
		d->cell_line[i] = cursor_zigzag(&d->at);
	for (uint32_t i = 1; i <= d->cells; i++)
		cursor_varint(&d->at);
	d->functions = (uint32_t)cursor_varint(&d->at);
	d->function_name = calloc(d->functions + 1, sizeof(*d->function_name));
	d->function_file = calloc(d->functions + 1, sizeof(*d->function_file));
	d->function_line = calloc(d->functions + 1, sizeof(*d->function_line));
	for (uint32_t i = 1; i <= d->functions; i++)
		d->function_name[i] = (uint32_t)cursor_varint(&d->at);
	for (uint32_t i = 1; i <= d->functions; i++)
		d->function_file[i] = (uint32_t)cursor_varint(&d->at);
	for (uint32_t i = 1; i <= d->functions; i++)
		d->function_line[i] = cursor_zigzag(&d->at);
	for (uint32_t i = 1; i <= d->functions; i++)
		cursor_varint(&d->at);
	for (uint32_t i = 1; i <= d->cells; i++)
		d->cell_line[i] = d->cell_line[i] == INT32_MIN
					  ? 0
					  : d->cell_line[i] + d->function_line[d->cell_function[i]];
	assert_false(d->at.bad);
}

static void decoded_done(struct decoded *d)
{
	for (uint32_t i = 1; i <= d->texts; i++)
		free(d->text[i]);
	free(d->text);
	free(d->facts);
	free(d->bytes);
	free(d->parent);
	free(d->cell);
	free(d->cell_function);
	free(d->cell_line);
	free(d->function_name);
	free(d->function_file);
	free(d->function_line);
}

static void put_stack(const struct decoded *d, uint32_t node, char *to, size_t size)
{
	uint32_t function = d->cell_function[d->cell[node]];
	char above[500] = "";

	if (d->parent[node])
		put_stack(d, d->parent[node], above, sizeof(above));
	snprintf(to, size, "%s%s%s:%lld", above, above[0] ? ";" : "",
		 d->text[d->function_name[function]] ? d->text[d->function_name[function]] : "",
		 (long long)d->cell_line[d->cell[node]]);
}

/* A line for each count, and the sum of their times. */
static uint64_t read_counts(struct decoded *d, unsigned threads, char *lines, size_t size)
{
	uint64_t interval = cursor_varint(&d->at), unit = cursor_varint(&d->at), sum = 0;
	char stack[600];
	size_t len = 0;

	for (unsigned thread = 0; thread < threads; thread++) {
		uint64_t n = cursor_varint(&d->at), *node = calloc(n + 1, sizeof(*node));
		uint64_t *count = calloc(n + 1, sizeof(*count));

		for (uint64_t i = 1; i <= n; i++)
			node[i] = node[i - 1] + cursor_varint(&d->at);
		for (uint64_t i = 1; i <= n; i++)
			count[i] = cursor_varint(&d->at);
		for (uint64_t i = 1; i <= n; i++) {
			uint64_t ns =
				((uint64_t)cursor_zigzag(&d->at) + count[i] * (interval / unit)) *
				unit;

			sum += ns;
			put_stack(d, (uint32_t)node[i], stack, sizeof(stack));
			if (len < size)
				len += (size_t)snprintf(lines + len, size - len,
							"%u %s %llu %llu\n", thread, stack,
							(unsigned long long)count[i],
							(unsigned long long)ns / 1000000);
		}
		free(node);
		free(count);
	}
	assert_false(d->at.bad);
	return sum;
}

static void what_is_counted_is_in_the_page(void **state)
{
	struct model *m = formats_model();
	char *html = formats_text(&format_flamegraph, m, &(struct format_options){0});
	char lines[2000] = "";
	struct decoded d;

	decode(&d, html);
	assert_non_null(strstr(d.facts, "\"pid\":77"));
	assert_non_null(strstr(d.facts, "\"python\":\"3.13.5\""));
	/* Threads 100 and 101, in order, behind one without a number. */
	assert_int_equal(read_counts(&d, 3, lines, sizeof(lines)), m->ns);
	assert_non_null(strstr(lines, " main:10;C.work:3 3 "));
	assert_non_null(strstr(lines, " main:10;C.work:3;C.work:3 2 "));
	assert_non_null(strstr(lines, " main:10 1 "));
	assert_non_null(strstr(lines, " main:10;<moving>:0 1 "));
	assert_non_null(strstr(lines, " na\\nme\\xff:1 1 "));
	assert_null(strstr(html, "na\nme"));
	decoded_done(&d);
	free(html);
	model_free(m);
}

static int source(void *arg, const char *file, struct format_source *ret)
{
	static const char text[] = "one\ntwo\n\tthree\r\nfour\xff\nfive\n";

	if (strcmp(file, "/lib/b.py") != 0)
		return -ENOENT;
	*ret = (struct format_source){.text = strdup(text), .len = strlen(text)};
	return 0;
}

static void lines_around_frames_come_along(void **state)
{
	static const char *const expected[] = {"one", "two", "        three", "four\\xff", "five"};
	struct format_options o = {.source_file = source};
	struct model *m = formats_model();
	char *html = formats_text(&format_flamegraph, m, &o), lines[2000];
	struct decoded d;
	uint64_t line = 0;
	unsigned others = 0;

	decode(&d, html);
	read_counts(&d, 3, lines, sizeof(lines));
	/* The other two are not there: 1. Of this one all lines are; it does not end too early. */
	assert_int_equal(cursor_varint(&d.at), 3);
	while (strcmp(d.text[cursor_varint(&d.at)], "/lib/b.py") != 0) {
		assert_int_equal(cursor_varint(&d.at), 1);
		others++;
	}
	assert_int_equal(cursor_varint(&d.at), 0);
	assert_int_equal(cursor_varint(&d.at), 0);
	assert_int_equal(cursor_varint(&d.at), 5);
	for (int i = 0; i < 5; i++) {
		uint64_t len;

		line += cursor_varint(&d.at);
		assert_int_equal(line, i + 1);
		len = cursor_varint(&d.at);
		assert_int_equal(len, strlen(expected[i]));
		assert_memory_equal(cursor_take(&d.at, len), expected[i], len);
	}
	for (; others < 2; others++) {
		assert_true(cursor_varint(&d.at) <= d.texts);
		assert_int_equal(cursor_varint(&d.at), 1);
	}
	/* No timeline was kept; nothing follows. */
	assert_int_equal(cursor_varint(&d.at), 0);
	assert_ptr_equal(d.at.at, d.at.end);
	decoded_done(&d);
	free(html);
	model_free(m);
}

static uint64_t sum_of(struct decoded *d, uint64_t n)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i < n; i++)
		sum += cursor_varint(&d->at);
	return sum;
}

/* However wide its bins have to be, the strip has every sample. */
static void check_strip(uint64_t samples, uint32_t stacks, uint32_t threads)
{
	struct fixture f = {.samples = samples,
			    .step_ns = 1000000,
			    .threads = threads,
			    .stacks = stacks,
			    .options = {.codec = STREAM_ZSTD,
					.segment_ns = 10000000000,
					.segment_bytes = 4 << 20},
			    .stream_id = 5,
			    .seed = 3};
	struct bytes b = {0};
	struct model *m;
	struct decoded d;
	static char lines[100];
	uint64_t bins, width, shift, wide, states = 0, n = 0, seen = 0;
	char *html;

	fixture_record(&b, &f);
	m = fixture_model(b.data, b.len, &(struct model_options){.timeline = tmpfile});
	assert_int_equal(m->samples, samples);
	html = formats_text(&format_flamegraph, m, &(struct format_options){0});
	decode(&d, html);
	read_counts(&d, m->thread_count - 1, lines, sizeof(lines));
	/* No source was asked for: 7. */
	for (uint64_t files = cursor_varint(&d.at); files > 0; files--) {
		cursor_varint(&d.at);
		assert_int_equal(cursor_varint(&d.at), 7);
	}
	bins = cursor_varint(&d.at);
	width = cursor_varint(&d.at);
	shift = cursor_varint(&d.at);
	assert_true(bins > 0 && bins * width >= (samples - 1) / threads * f.step_ns);
	wide = ((bins - 1) >> shift) + 1;
	for (uint32_t thread = 1; thread < m->thread_count; thread++) {
		for (uint64_t i = 0; i < 7 * bins; i++)
			states += cursor_varint(&d.at);
		for (int bit = 0; bit < MODEL_STATES; bit++)
			assert_int_equal(sum_of(&d, wide), m->threads[thread].states[bit]);
		for (int i = 0; i < 2; i++)
			assert_int_equal(sum_of(&d, wide), m->threads[thread].exceptions[i]);
		for (int how = 0; how < 3; how++)
			assert_int_equal(sum_of(&d, wide), m->threads[thread].how[how]);
	}
	assert_int_equal(states, samples);
	for (uint64_t i = 0; i < wide; i++)
		n += cursor_varint(&d.at);
	for (uint64_t i = 0; i < 2 * n; i++)
		cursor_varint(&d.at);
	for (uint64_t i = 0; i < n; i++)
		seen += cursor_varint(&d.at);
	for (uint64_t i = 0; i < n; i++)
		cursor_varint(&d.at);
	assert_int_equal(seen, samples);
	assert_false(d.at.bad);
	assert_ptr_equal(d.at.at, d.at.end);
	decoded_done(&d);
	free(html);
	model_free(m);
	bytes_done(&b);
}

static void the_strip_has_every_sample(void **state)
{
	check_strip(5000, 200, 3);
	check_strip(200000, 3000, 2);
	check_strip(1, 1, 1);
}

static void a_base_is_a_second_side(void **state)
{
	struct model *m = formats_model(), *base = formats_model();
	struct format_options o = {.base = base};
	char *html = formats_text(&format_diff_flamegraph, m, &o), lines[4000] = "";
	struct decoded d;
	char *at;

	decode(&d, html);
	assert_int_equal(read_counts(&d, 6, lines, sizeof(lines)), 2 * m->ns);
	at = strstr(lines, "main:10;C.work:3;C.work:3 2 ");
	assert_non_null(at);
	assert_non_null(strstr(at + 1, "main:10;C.work:3;C.work:3 2 "));
	assert_int_equal(d.nodes, 5);
	decoded_done(&d);
	free(html);
	model_free(m);
	model_free(base);
}

static void errors_of_writing_are_told(void **state)
{
	struct model *m = formats_model();
	FILE *full = fopen("/dev/full", "w");
	static const char none[] = "no place";
	static struct page p;

	assert_non_null(full);
	setvbuf(full, NULL, _IONBF, 0);
	assert_int_equal(format_flamegraph.write(m, &(struct format_options){0}, full), -ENOSPC);
	fclose(full);
	assert_int_equal(page_begin(&p, none, none + 8, stdout), -EINVAL);
	model_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_counted_is_in_the_page),
		cmocka_unit_test(lines_around_frames_come_along),
		cmocka_unit_test(the_strip_has_every_sample),
		cmocka_unit_test(a_base_is_a_second_side),
		cmocka_unit_test(errors_of_writing_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
