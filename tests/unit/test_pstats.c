#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/stream_formats.h"

static void the_table_counts_recursion_once_and_takes_time_from_clocks(void **state)
{
	struct model *m = formats_model();
	char *text =
		formats_text(&format_pstats_table, m, &(struct format_options){.no_summary = true});
	char *legend = strstr(text, "\nLegend:");

	assert_non_null(legend);
	*legend = '\0';
	assert_string_equal(
		text,
		"Profile Stats:\n"
		"       nsamples   sample%  tottime (ms)    cumul%  cumtime (ms)  "
		"filename:lineno(function)\n"
		"            6/6      66.7        60.000      66.7        60.000  b.py:3(C.work)\n"
		"            1/8      11.1        10.000      88.9        80.000  a.py:10(main)\n"
		"            1/1      11.1        10.000      11.1        10.000  "
		"x;y.py:1(na\\nme\\xff)\n"
		"            1/1      11.1        10.000      11.1        10.000  ~:0(<moving>)\n");
	free(text);
	model_free(m);
}

static void the_table_says_of_which_samples_it_is(void **state)
{
	struct model *m = formats_of_mode(MODE_GIL);
	char *text = formats_text(&format_pstats_table, m, &(struct format_options){0});

	assert_memory_equal(text, "Profile Stats (Mode: gil):\n", 27);
	assert_null(strstr(text, "x;y.py"));
	free(text);
	model_free(m);
}

static void rows_are_sorted_and_limited(void **state)
{
	struct model *m = formats_model();
	struct format_options o = {.limit = 1, .sort = SORT_CUMTIME};
	char *text = formats_text(&format_pstats_table, m, &o);

	assert_non_null(strstr(text, "a.py:10(main)"));
	assert_null(strstr(text, "C.work"));
	assert_non_null(strstr(text, "7 indirect calls, 88.9% total stack presence: a.py:(main)"));
	free(text);
	o = (struct format_options){.limit = 1, .sort = SORT_NAME, .color = true};
	text = formats_text(&format_pstats_table, m, &o);
	assert_non_null(strstr(text, "\033[32ma.py\033[0m:\033[33m10\033[0m(\033[36mmain\033[0m)"));
	free(text);
	model_free(m);
}

static void the_file_is_a_marshalled_dict(void **state)
{
	struct model *m = formats_model();
	char *bytes = NULL;
	size_t n = formats_bytes(&format_pstats, m, &(struct format_options){0}, &bytes);

	/* What Python makes of it is tested with Python. */
	assert_true(n > 100);
	assert_memory_equal(bytes, "{(\3\0\0\0u", 6);
	assert_int_equal(bytes[n - 1], '0');
	assert_non_null(memmem(bytes, n, "u\6\0\0\0C.work", 11));
	free(bytes);
	model_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_table_counts_recursion_once_and_takes_time_from_clocks),
		cmocka_unit_test(the_table_says_of_which_samples_it_is),
		cmocka_unit_test(rows_are_sorted_and_limited),
		cmocka_unit_test(the_file_is_a_marshalled_dict),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
