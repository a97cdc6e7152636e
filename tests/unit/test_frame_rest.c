#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/walked.h"

/* Walks until the thread rests: how often. */
static unsigned rest(struct walked *f, uint32_t *ret_stack)
{
	unsigned n = 0;
	bool repeat;

	walked_plan(f);
	for (; !walker_rests(f->w) && n < 100; n++) {
		walked_first_half(f);
		assert_int_equal(walked_second_half(f, ret_stack, &repeat), WALK_OK);
	}
	return n;
}

static bool rests_still(struct walked *f, uint32_t *ret_stack)
{
	_Alignas(8) uint8_t bytes[0x4000];
	struct memory_range ranges[WALKER_REST_RANGES];
	size_t n;

	assert_true(walker_rest_bytes(f->w) <= sizeof(bytes));
	ranges[0] = walker_rest_words(f->w, bytes);
	n = 1 + walker_rest_ranges(f->w, bytes, ranges + 1);
	f->c.gather = ++f->c.gathers;
	assert_int_equal(memory_gather(f->s.target.memory, ranges, n), 0);
	return walker_still_rests(f->w, &f->c, ranges, ranges + 1, ret_stack);
}

static void a_thread_that_stands_still_for_long_rests(void **state)
{
	struct walked f;
	uint32_t stack, again = 0;

	walked_begin(&f);
	walked_call_three(&f);
	assert_in_range(rest(&f, &stack), 5, 20);
	for (int i = 0; i < 3; i++) {
		assert_true(rests_still(&f, &again));
		assert_int_equal(again, stack);
	}
	walked_end(&f);
}

/* The leaf and all words are the same, one instruction pointer deep below is not. */
static void a_thread_that_stands_below_another_call_rests_no_more(void **state)
{
	struct walked f;
	uint32_t stack, again = 0;
	bool repeat;

	walked_begin(&f);
	walked_call_three(&f);
	rest(&f, &stack);
	synthetic_pop(&f.s);
	synthetic_pop(&f.s);
	synthetic_push(&f.s, 1, 5);
	synthetic_push(&f.s, 2, 4);
	assert_false(rests_still(&f, &again));
	assert_false(walker_rests(f.w));
	walked_first_half(&f);
	assert_int_equal(walked_second_half(&f, &again, &repeat), WALK_OK);
	assert_string_equal(walked_names(&f, again), "function_0 function_1 function_2");
	assert_in_range(rest(&f, &again), 5, 20);
	walked_end(&f);
}

static void a_thread_that_called_or_returned_rests_no_more(void **state)
{
	struct walked f;
	uint32_t stack, again;

	walked_begin(&f);
	walked_call_three(&f);
	rest(&f, &stack);
	synthetic_push(&f.s, 3, 4);
	assert_false(rests_still(&f, &again));
	rest(&f, &stack);
	synthetic_pop(&f.s);
	assert_false(rests_still(&f, &again));
	walked_end(&f);
}

static void a_thread_state_that_cannot_be_read_rests_no_more(void **state)
{
	struct walked f;
	struct memory_range ranges[WALKER_REST_RANGES];
	_Alignas(8) uint8_t bytes[0x4000];
	uint32_t stack;
	size_t n;

	walked_begin(&f);
	walked_call_three(&f);
	for (size_t failed = 0; failed < 2; failed++) {
		rest(&f, &stack);
		ranges[0] = walker_rest_words(f.w, bytes);
		n = 1 + walker_rest_ranges(f.w, bytes, ranges + 1);
		assert_int_equal(memory_gather(f.s.target.memory, ranges, n), 0);
		ranges[failed].failed = 1;
		assert_false(walker_still_rests(f.w, &f.c, ranges, ranges + 1, &stack));
		assert_false(walker_rests(f.w));
	}
	walked_end(&f);
}

/* A frame elsewhere of the owner, on previous. */
static void put_elsewhere(struct walked *f, uint64_t addr, unsigned code, uint64_t previous,
			  int32_t owner)
{
	synthetic_put(&f->s, addr, f->s.codes[code]);
	synthetic_put(&f->s, addr + 8, previous);
	synthetic_put(&f->s, addr + 16, f->s.codes[code] + 96);
	synthetic_put(&f->s, addr + 24, (uint64_t)owner);
}

static bool reads(const struct walked *f, uint64_t addr)
{
	for (size_t i = 0; i < f->n; i++)
		if (addr - f->ranges[i].addr < f->ranges[i].len)
			return true;
	return false;
}

static void the_base_is_seldom_read_while_the_first_frame_stands(void **state)
{
	struct walked f;
	uint64_t base, generator;
	unsigned read = 0;
	uint32_t stack;
	bool repeat;

	walked_begin(&f);
	base = f.s.generator_frame;
	generator = base + 0x400;
	put_elsewhere(&f, base, 7, 0, f.s.target.layout.frame.owner_interpreter);
	f.s.leaf = base;
	walked_call_three(&f);
	walked_plan(&f);
	for (unsigned i = 0; i < 5100; i++) {
		walked_first_half(&f);
		assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_OK);
		assert_string_equal(walked_names(&f, stack), "function_0 function_1 function_2");
		read += i >= 4100 && reads(&f, base);
	}
	assert_in_range(read, 32, 128);
	assert_false(reads(&f, base));
	/* What is above may change as it likes. */
	synthetic_pop(&f.s);
	synthetic_push(&f.s, 0, 5);
	walked_first_half(&f);
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_OK);
	assert_string_equal(walked_names(&f, stack), "function_0 function_1 function_0");
	/* The first frame was left, and another called by what a generator called. */
	while (f.s.depth)
		synthetic_pop(&f.s);
	put_elsewhere(&f, generator, 4, 0, f.s.target.layout.frame.owner_generator);
	put_elsewhere(&f, base, 7, generator, f.s.target.layout.frame.owner_interpreter);
	synthetic_push(&f.s, 1, 0);
	synthetic_push(&f.s, 2, 0);
	walked_first_half(&f);
	assert_false(reads(&f, base));
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_MISS);
	assert_int_equal(walker_prefix(f.w, &f.c), 0);
	walked_plan(&f);
	walked_first_half(&f);
	assert_true(reads(&f, base));
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_OK);
	assert_string_equal(walked_names(&f, stack), "function_4 <native> function_1 function_2");
	/* With a generator below it is no base. */
	for (unsigned i = 0; i < 64; i++) {
		walked_first_half(&f);
		assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_OK);
		assert_true(reads(&f, base));
	}
	walked_end(&f);
}

static unsigned depth(const struct walked *f, uint32_t stack)
{
	unsigned n = 0;

	for (; stack; n++)
		stack = tables_get_stack(f->c.tables, stack)->parent;
	return n;
}

static void what_is_not_copied_any_more_is_not_what_it_was(void **state)
{
	struct walked f;
	uint32_t stack;
	bool repeat;

	walked_begin(&f);
	for (unsigned i = 0; i < 32; i++)
		synthetic_push(&f.s, i % 4, 3);
	walked_plan(&f);
	walked_first_half(&f);
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_OK);
	/* Long flat, while no walk held: less and less is copied. */
	for (unsigned i = 0; i < 30; i++)
		synthetic_pop(&f.s);
	for (unsigned i = 0; i < 600; i++)
		walked_first_half(&f);
	/* Deep again, and another on the way: of which the copies tell nothing. */
	for (unsigned i = 2; i < 32; i++)
		synthetic_push(&f.s, i == 25 ? 5 : i % 4, 3);
	walked_first_half(&f);
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_MISS);
	assert_in_range(depth(&f, walker_prefix(f.w, &f.c)), 2, 24);
	walked_plan(&f);
	walked_first_half(&f);
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_OK);
	assert_non_null(strstr(walked_names(&f, stack), "function_0 function_5 function_2"));
	walked_end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_thread_that_stands_still_for_long_rests),
		cmocka_unit_test(a_thread_that_stands_below_another_call_rests_no_more),
		cmocka_unit_test(a_thread_that_called_or_returned_rests_no_more),
		cmocka_unit_test(a_thread_state_that_cannot_be_read_rests_no_more),
		cmocka_unit_test(the_base_is_seldom_read_while_the_first_frame_stands),
		cmocka_unit_test(what_is_not_copied_any_more_is_not_what_it_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
