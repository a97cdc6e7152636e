#include "formats/opcode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void names_are_those_of_the_version(void **state)
{
	const struct opcode_table *t = opcode_table_of("3.12.1");
	char text[80];

	assert_non_null(t);
	assert_int_equal(t->minor, 12);
	assert_string_equal(opcode_name(t, 2), "PUSH_NULL");
	assert_string_equal(opcode_text(opcode_table_of("3.8.18"), 1, text, sizeof(text)),
			    "POP_TOP");
	assert_null(opcode_table_of("3.7.1"));
	assert_null(opcode_table_of("3.16.0"));
	assert_null(opcode_table_of("2.7.18"));
	assert_null(opcode_table_of(""));
}

static void a_specialised_one_has_a_base(void **state)
{
	char text[80];

	for (int v = 8; v < 16; v++) {
		const struct opcode_table *t = &opcode_tables[v - 8];
		unsigned specialised = 0;

		assert_int_equal(t->minor, v);
		for (int i = 0; i < 256; i++) {
			if (!opcode_name(t, i))
				continue;
			assert_non_null(opcode_base(t, i));
			if (opcode_base(t, i) != opcode_name(t, i)) {
				specialised++;
				opcode_text(t, i, text, sizeof(text));
				assert_non_null(strchr(text, '('));
			}
		}
		assert_true(v < 11 ? specialised == 0 : specialised > 50);
	}
	assert_string_equal(opcode_text(NULL, 7, text, sizeof(text)), "<7>");
	assert_string_equal(opcode_text(&opcode_tables[0], -1, text, sizeof(text)), "<-1>");
	assert_null(opcode_name(&opcode_tables[0], 256));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_those_of_the_version),
		cmocka_unit_test(a_specialised_one_has_a_base),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
