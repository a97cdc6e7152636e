#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "remote/tables.h"

static void ids_are_found_again_and_entries_keep_their_content(void **state)
{
	struct tables *t;

	assert_int_equal(tables_new(&t), 0);
	assert_null(tables_get_string(t, 0));
	assert_null(tables_get_string(t, 1));
	for (uint32_t round = 0; round < 2; round++)
		for (uint32_t i = 0; i < 5000; i++) {
			char text[32];
			int len = snprintf(text, sizeof(text), "name-%u", i);

			assert_int_equal(tables_string(t, text, (uint32_t)len), i + 1);
			assert_int_equal(tables_get_string(t, i + 1)->len, len);
			assert_memory_equal(tables_get_string(t, i + 1)->bytes, text, len);
			assert_int_equal(tables_stack(t, i, 7), i + 1);
			assert_int_equal(tables_get_stack(t, i + 1)->parent, i);
		}
	assert_int_equal(tables_string(t, "", 0), 5001);
	assert_int_equal(tables_string(t, "", 0), 5001);
	assert_null(tables_get_stack(t, 5001));
	assert_true(tables_bytes(t) > 5000 * 8);
	tables_free(t);
}

static void two_threads_with_one_tid_are_two(void **state)
{
	struct tables *t;
	struct table_thread th = {.tid = 42};

	assert_int_equal(tables_new(&t), 0);
	assert_int_equal(tables_thread(t, &th), 1);
	assert_int_equal(tables_thread(t, &th), 2);
	tables_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ids_are_found_again_and_entries_keep_their_content),
		cmocka_unit_test(two_threads_with_one_tid_are_two),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
