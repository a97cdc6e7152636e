#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "remote/code.h"

static void check(enum line_style style, const uint8_t *lines, size_t len, uint32_t ip, int line,
		  int end_line, int column, int end_column)
{
	struct code_position p;

	code_position(style, lines, len, 10, ip, &p);
	assert_int_equal(p.line, line);
	assert_int_equal(p.end_line, end_line);
	assert_int_equal(p.column, column);
	assert_int_equal(p.end_column, end_column);
}

static void lnotab_counts_addresses_and_lines(void **state)
{
	/* Bytes 0-3 line 10, 4-9 line 11, 10-19 line 9, then line 309 by two steps. */
	const uint8_t t[] = {4, 1, 6, 0xfe, 10, 127, 0, 127, 0, 46};

	check(LINE_STYLE_LNOTAB, t, sizeof(t), 0, 10, 10, -1, -1);
	check(LINE_STYLE_LNOTAB, t, sizeof(t), 4, 11, 11, -1, -1);
	check(LINE_STYLE_LNOTAB, t, sizeof(t), 9, 11, 11, -1, -1);
	check(LINE_STYLE_LNOTAB, t, sizeof(t), 10, 9, 9, -1, -1);
	check(LINE_STYLE_LNOTAB, t, sizeof(t), 20, 309, 309, -1, -1);
	check(LINE_STYLE_LNOTAB, t, 0, 0, 10, 10, -1, -1);
}

static void linetable_has_ranges_and_gaps(void **state)
{
	/* Bytes 0-3 line 10, 4-5 no line, 6-11 line 12. */
	const uint8_t t[] = {4, 0, 2, 0x80, 6, 2};

	check(LINE_STYLE_LINETABLE, t, sizeof(t), 2, 10, 10, -1, -1);
	check(LINE_STYLE_LINETABLE, t, sizeof(t), 4, -1, -1, -1, -1);
	check(LINE_STYLE_LINETABLE, t, sizeof(t), 6, 12, 12, -1, -1);
	check(LINE_STYLE_LINETABLE, t, sizeof(t), 12, -1, -1, -1, -1);
	check(LINE_STYLE_LINETABLE, t, 5, 6, -1, -1, -1, -1);
}

static void every_form_of_a_location_is_read(void **state)
{
	const uint8_t t[] = {
		0x80 | 2 << 3 | 0,
		0x35, /* short: column 16+3, end +5; unit 0 */
		0x80 | 11 << 3 | 1,
		7,
		99, /* one line on: 7-99; units 1-2 */
		0x80 | 13 << 3 | 0,
		3, /* no columns, line -1; unit 3 */
		0x80 | 14 << 3 | 0,
		4,
		2,
		6,
		0x41,
		1,		    /* long: +2, ends 2 later, 5, end 64; unit 4 */
		0x80 | 15 << 3 | 7, /* nothing; units 5-12 */
	};

	check(LINE_STYLE_LOCATIONS, t, sizeof(t), 0, 10, 10, 19, 24);
	check(LINE_STYLE_LOCATIONS, t, sizeof(t), 2, 11, 11, 7, 99);
	check(LINE_STYLE_LOCATIONS, t, sizeof(t), 5, 11, 11, 7, 99);
	check(LINE_STYLE_LOCATIONS, t, sizeof(t), 6, 10, 10, -1, -1);
	check(LINE_STYLE_LOCATIONS, t, sizeof(t), 8, 12, 14, 5, 64);
	check(LINE_STYLE_LOCATIONS, t, sizeof(t), 10, -1, -1, -1, -1);
	check(LINE_STYLE_LOCATIONS, t, sizeof(t), 400, -1, -1, -1, -1);
}

static void a_location_cut_short_is_unknown(void **state)
{
	const uint8_t t[] = {0x80 | 14 << 3 | 0, 4, 2, 6};

	check(LINE_STYLE_LOCATIONS, t, sizeof(t), 0, -1, -1, -1, -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lnotab_counts_addresses_and_lines),
		cmocka_unit_test(linetable_has_ranges_and_gaps),
		cmocka_unit_test(every_form_of_a_location_is_read),
		cmocka_unit_test(a_location_cut_short_is_unknown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
