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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_those_of_the_version),
		cmocka_unit_test(what_is_called_the_same_in_two_versions_is_one),
		cmocka_unit_test(a_specialised_one_has_a_base),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
