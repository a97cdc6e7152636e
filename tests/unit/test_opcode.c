#include "formats/opcode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char *text_of(const char *python, unsigned opcode)
{
	static char text[80];

	return opcode_text(opcode_number(python, opcode + 1), text, sizeof(text));
}

static void names_are_those_of_the_version(void **state)
{
	static const char *const unknown[] = {"3.7.1", "3.16.0", "2.7.18", "", "3", "3.", "3.-1"};

	assert_string_equal(text_of("3.12.1", 2), "PUSH_NULL");
	assert_string_equal(text_of("3.8.18", 1), "POP_TOP");
	assert_string_equal(text_of("3.8.18", 2), "ROT_TWO");
	assert_string_equal(text_of("3.8.18", 0), "<0>");
	assert_string_equal(text_of("3.8.18", 300), "<300>");
	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
		assert_string_equal(text_of(unknown[i], 1), "<1>");
	assert_int_equal(opcode_number("3.12.1", 0), 0);
	assert_string_equal(opcode_text(0, (char[8]){"x"}, 8), "");
	assert_null(opcode_name(0));
	assert_null(opcode_base(0));
	assert_null(opcode_name(opcode_count));
	assert_null(opcode_base(UINT32_MAX));
}

static void what_is_called_the_same_in_two_versions_is_one(void **state)
{
	unsigned same = 0;

	for (unsigned i = 1; i <= 256; i++)
		for (unsigned k = 1; k <= 256; k++) {
			uint32_t old = opcode_number("3.8.18", i),
				 young = opcode_number("3.14.1", k);

			if (!opcode_name(old) || !opcode_name(young))
				continue;
			assert_int_equal(old == young,
					 strcmp(opcode_name(old), opcode_name(young)) == 0 &&
						 strcmp(opcode_base(old), opcode_base(young)) == 0);
			same += old == young;
		}
	assert_in_range(same, 20, 200);
}

static void a_specialised_one_has_a_base(void **state)
{
	char text[80], python[8];

	for (int v = 8; v < 16; v++) {
		unsigned specialised = 0;

		snprintf(python, sizeof(python), "3.%d.0", v);
		for (unsigned i = 1; i <= 256; i++) {
			uint32_t number = opcode_number(python, i);

			assert_int_not_equal(number, 0);
			if (!opcode_name(number))
				continue;
			assert_non_null(opcode_base(number));
			if (opcode_base(number) != opcode_name(number)) {
				specialised++;
				opcode_text(number, text, sizeof(text));
				assert_non_null(strchr(text, '('));
			}
		}
		assert_true(v < 11 ? specialised == 0 : specialised > 50);
	}
}

static uint32_t number_of(const char *python, const char *name)
{
	for (unsigned i = 1; i <= 256; i++) {
		const char *is = opcode_name(opcode_number(python, i));

		if (is && strcmp(is, name) == 0)
			return opcode_number(python, i);
	}
	fail_msg("Python %s has no %s", python, name);
	return 0;
}

static void what_only_counts_or_is_watched_is_not_specialised(void **state)
{
	assert_true(opcode_is_special(number_of("3.11.2", "BINARY_OP_ADD_INT")));
	assert_false(opcode_is_special(number_of("3.11.2", "BINARY_OP_ADAPTIVE")));
	assert_false(opcode_is_special(number_of("3.11.2", "BINARY_OP")));
	assert_false(opcode_is_special(number_of("3.11.2", "JUMP_BACKWARD_QUICK")));
	assert_false(opcode_is_special(number_of("3.13.1", "INSTRUMENTED_CALL")));
	assert_false(opcode_is_special(number_of("3.15.0", "RESUME_CHECK")));
	assert_true(opcode_is_special(number_of("3.15.0", "LOAD_ATTR_SLOT")));
	assert_false(opcode_is_special(0));
	assert_false(opcode_is_special(UINT32_MAX));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_those_of_the_version),
		cmocka_unit_test(what_is_called_the_same_in_two_versions_is_one),
		cmocka_unit_test(a_specialised_one_has_a_base),
		cmocka_unit_test(what_only_counts_or_is_watched_is_not_specialised),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
