#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/walked.h"

static void a_code_object_is_taken_as_what_it_was_before_and_after(void **state)
{
	struct walked f;
	uint32_t stack;
	bool repeat;

	walked_begin(&f);
	walked_call_three(&f);
	/* Not known before the copies were made: it may be another by now. */
	assert_int_equal(walker_plan(f.w, f.s.target.memory), WALK_OK);
	walked_first_half(&f);
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_MISS);
	walked_first_half(&f);
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_OK);
	assert_string_equal(walked_names(&f, stack), "function_0 function_1 function_2");
	/* Known before, replaced between the copies and the look at it. */
	synthetic_step(&f.s, 2);
	f.c.stamp++;
	walked_first_half(&f);
	assert_int_equal(memory_gather(f.s.target.memory, f.ranges + f.middle, f.n - f.middle), 0);
	synthetic_put(&f.s, f.s.codes[2] + 32, synthetic_get(&f.s, f.s.codes[6] + 32));
	assert_int_equal(walker_walk(f.w, &f.c, f.ranges, &stack, &repeat), WALK_MISS);
	walked_end(&f);
}

static void a_callers_code_object_is_not_taken_for_another_at_its_address(void **state)
{
	struct walked f;
	uint32_t stack;
	bool repeat;

	walked_begin(&f);
	walked_call_three(&f);
	walked_plan(&f);
	walked_first_half(&f);
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_OK);
	/* The caller was left, and another one calls from the same instruction. */
	synthetic_put(&f.s, f.s.codes[1] + 32, synthetic_get(&f.s, f.s.codes[6] + 32));
	synthetic_step(&f.s, 2);
	f.c.stamp++;
	walked_first_half(&f);
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_MISS);
	walked_first_half(&f);
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_OK);
	assert_string_equal(walked_names(&f, stack), "function_0 function_6 function_2");
	/* Nor when the whole stack looks like before. */
	synthetic_put(&f.s, f.s.codes[1] + 32, synthetic_get(&f.s, f.s.codes[5] + 32));
	f.c.stamp++;
	walked_first_half(&f);
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_MISS);
	walked_first_half(&f);
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_OK);
	assert_string_equal(walked_names(&f, stack), "function_0 function_5 function_2");
	walked_end(&f);
}

static void a_code_object_freed_and_replaced_is_read_anew(void **state)
{
	struct walked f;
	uint32_t stack;
	bool repeat;

	walked_begin(&f);
	walked_call_three(&f);
	walked_plan(&f);
	walked_first_half(&f);
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_OK);
	synthetic_put(&f.s, f.s.codes[2] + 32, synthetic_get(&f.s, f.s.codes[6] + 32));
	synthetic_step(&f.s, 2);
	f.c.stamp++;
	walked_first_half(&f);
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_MISS);
	walked_first_half(&f);
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_OK);
	assert_string_equal(walked_names(&f, stack), "function_0 function_1 function_6");
	walked_end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_code_object_is_taken_as_what_it_was_before_and_after),
		cmocka_unit_test(a_callers_code_object_is_not_taken_for_another_at_its_address),
		cmocka_unit_test(a_code_object_freed_and_replaced_is_read_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
