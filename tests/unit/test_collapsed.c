#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "formats/escape.h"
#include "tests/unit/nowhere.h"
#include "tests/unit/stream_formats.h"

static void lines_are_root_first_and_columns_make_no_difference(void **state)
{
	struct model *m = formats_model();
	char *text = formats_text(&format_collapsed, m, &(struct format_options){0});

	assert_string_equal(text, "tid:100;a.py:main:10;b.py:C.work:3 3\n"
				  "tid:100;a.py:main:10;b.py:C.work:3;b.py:C.work:3 2\n"
				  "tid:100;a.py:main:10 1\n"
				  "tid:100;a.py:main:10;<moving> 1\n"
				  "tid:101;a.py:main:10;b.py:C.work:3 1\n"
				  "tid:101;x_y.py:na_me\xff:1 1\n");
	free(text);
	model_free(m);
}

static void a_terminal_gets_no_controls(void **state)
{
	struct model *m = formats_model();
	char *text = formats_text(&format_collapsed, m, &(struct format_options){.terminal = true});

	assert_non_null(strstr(text, "na\\nme\\xff:1 1\n"));
	free(text);
	model_free(m);
}

static void nothing_is_no_data(void **state)
{
	struct format_options o = {0};
	struct model *m;

	assert_int_equal(model_new(&m, NULL), 0);
	for (const struct format *const *f = format_all; *f; f++)
		assert_int_equal(write_to_nowhere(*f, m, &o), -ENODATA);
	model_free(m);
}

static void check_escape(const char *in, const char *out, enum escape how)
{
	char buffer[200];

	assert_int_equal(escape_text(buffer, sizeof(buffer), in, strlen(in), how), strlen(out));
	assert_string_equal(buffer, out);
}

static void escapes(void **state)
{
	char buffer[6];

	check_escape("plain \xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\x8d",
		     "plain \xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\x8d", ESCAPE_TERMINAL);
	check_escape("\033[31m\n\t\x7f", "\\x1b[31m\\n\\t\\x7f", ESCAPE_TERMINAL);
	check_escape("a\xe2\x80\xae"
		     "b\xc2\x9b",
		     "a\\u202eb\\x9b", ESCAPE_TERMINAL);
	check_escape("\xf3\xa0\x81\x81", "\\U000e0041", ESCAPE_TERMINAL);
	check_escape("\xff\xc0\x80\xed\xa0\x80", "\\xff\\xc0\\x80\\xed\\xa0\\x80", ESCAPE_TERMINAL);
	check_escape("\xff\xe2\x82", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", ESCAPE_UTF8);
	check_escape("\033\n", "\033\n", ESCAPE_UTF8);
	check_escape("a;b\nc", "a_b_c", ESCAPE_COLLAPSED);
	/* Cut, but never in an escape, and the full length is told. */
	assert_int_equal(escape_text(buffer, sizeof(buffer), "abc\033", 4, ESCAPE_TERMINAL), 7);
	assert_string_equal(buffer, "abc");
	assert_int_equal(escape_text(NULL, 0, "abc", 3, ESCAPE_TERMINAL), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_are_root_first_and_columns_make_no_difference),
		cmocka_unit_test(a_terminal_gets_no_controls),
		cmocka_unit_test(nothing_is_no_data),
		cmocka_unit_test(escapes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
