#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/walked.h"

static void a_still_stack_is_walked_and_then_repeated(void **state)
{
	struct walked f;
	uint32_t stack, again;
	bool repeat;

	walked_begin(&f);
	walked_call_three(&f);
	walked_plan(&f);
	walked_first_half(&f);
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_OK);
	assert_string_equal(walked_names(&f, stack), "function_0 function_1 function_2");
	assert_false(repeat);
	walked_first_half(&f);
	assert_int_equal(walked_second_half(&f, &again, &repeat), WALK_OK);
	assert_true(repeat);
	assert_int_equal(again, stack);
	walked_end(&f);
}

static void a_leaf_may_execute_between_the_copies(void **state)
{
	struct walked f;
	uint32_t stack;
	bool repeat;

	walked_begin(&f);
	walked_call_three(&f);
	walked_plan(&f);
	walked_first_half(&f);
	synthetic_step(&f.s, 5);
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_OK);
	assert_string_equal(walked_names(&f, stack), "function_0 function_1 function_2");
	walked_end(&f);
}

static void a_caller_that_moved_between_the_copies_is_torn(void **state)
{
	struct walked f;
	uint32_t stack;
	bool repeat;

	walked_begin(&f);
	walked_call_three(&f);
	walked_plan(&f);
	walked_first_half(&f);
	synthetic_pop(&f.s);
	synthetic_push(&f.s, 2, 6);
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_TORN);
	walked_end(&f);
}

static void another_function_in_the_leafs_place_is_torn(void **state)
{
	struct walked f;
	uint32_t stack;
	bool repeat;

	walked_begin(&f);
	walked_call_three(&f);
	walked_plan(&f);
	walked_first_half(&f);
	synthetic_pop(&f.s);
	synthetic_push(&f.s, 3, 4);
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_TORN);
	assert_string_equal(walked_names(&f, walker_prefix(f.w, &f.c)), "");
	walked_end(&f);
}

static void the_callers_that_stood_still_are_a_proven_prefix(void **state)
{
	struct walked f;
	uint32_t stack;
	bool repeat;

	walked_begin(&f);
	walked_call_three(&f);
	walked_plan(&f);
	walked_first_half(&f);
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_OK);
	walked_first_half(&f);
	synthetic_pop(&f.s);
	synthetic_push(&f.s, 3, 4);
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_TORN);
	assert_string_equal(walked_names(&f, walker_prefix(f.w, &f.c)),
			    "function_0 function_1 <moving>");
	walked_end(&f);
}

static void frames_that_were_left_are_no_proven_prefix(void **state)
{
	struct walked f;
	uint32_t stack;
	bool repeat;

	walked_begin(&f);
	walked_call_three(&f);
	walked_plan(&f);
	walked_first_half(&f);
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_OK);
	/* Back in the base when the words are read; the callee's bytes still lie above the top. */
	synthetic_pop(&f.s);
	synthetic_pop(&f.s);
	walked_first_half(&f);
	synthetic_put(&f.s, f.s.leaf, f.s.codes[5]);
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_TORN);
	assert_int_equal(walker_prefix(f.w, &f.c), 0);
	walked_end(&f);
}

/* The leaf is a generator that is entered, or left, between the copies, while the function that
 * uses it gets on. */
static void who_uses_a_generator_is_shown_where_it_stood_last(void **state)
{
	struct walked f;
	uint32_t stack, generator;
	bool repeat;

	walked_begin(&f);
	walked_call_three(&f);
	generator = f.s.generator_frame;
	synthetic_put(&f.s, generator, f.s.codes[4]);
	synthetic_put(&f.s, generator + 8, f.s.leaf);
	synthetic_put(&f.s, generator + 16, f.s.codes[4] + 96);
	synthetic_put(&f.s, generator + 24, 1);
	synthetic_put(&f.s, f.s.tstate + 24, generator);
	walked_plan(&f);
	walked_first_half(&f);
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_OK);
	for (int entered = 0; entered < 2; entered++) {
		synthetic_put(&f.s, generator + 8, entered ? 0 : f.s.leaf);
		walked_first_half(&f);
		synthetic_put(&f.s, generator + 8, entered ? f.s.leaf : 0);
		synthetic_step(&f.s, 5 + (unsigned)entered);
		assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_TORN);
		assert_string_equal(walked_names(&f, walker_prefix(f.w, &f.c)),
				    "function_0 function_1 function_2 <moving>");
	}
	/* In neither: nothing says who uses it. */
	walked_first_half(&f);
	synthetic_put(&f.s, generator + 8, 0);
	walked_second_half(&f, &stack, &repeat);
	walked_first_half(&f);
	synthetic_step(&f.s, 5);
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_TORN);
	assert_string_equal(walked_names(&f, walker_prefix(f.w, &f.c)),
			    "function_0 function_1 <moving>");
	walked_end(&f);
}

static void a_shorter_stack_is_the_walk_without_its_top(void **state)
{
	struct walked f;
	uint32_t stack;
	bool repeat;

	walked_begin(&f);
	walked_call_three(&f);
	walked_plan(&f);
	walked_first_half(&f);
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_OK);
	synthetic_pop(&f.s);
	walked_first_half(&f);
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_OK);
	assert_false(repeat);
	assert_string_equal(walked_names(&f, stack), "function_0 function_1");
	walked_end(&f);
}

static void a_generator_elsewhere_is_missed_once_and_then_known(void **state)
{
	const uint64_t *codes;
	struct walked f;
	uint32_t stack;
	bool repeat;

	walked_begin(&f);
	codes = f.s.codes;
	walked_call_three(&f);
	walked_plan(&f);
	walked_first_half(&f);
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_OK);
	synthetic_put(&f.s, f.s.generator_frame, codes[4]);
	synthetic_put(&f.s, f.s.generator_frame + 8, f.s.leaf);
	synthetic_put(&f.s, f.s.generator_frame + 16, codes[4] + 96);
	synthetic_put(&f.s, f.s.generator_frame + 24, 1);
	synthetic_put(&f.s, f.s.tstate + 24, f.s.generator_frame);
	walked_first_half(&f);
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_MISS);
	walked_plan(&f);
	walked_first_half(&f);
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_OK);
	assert_string_equal(walked_names(&f, stack), "function_0 function_1 function_2 function_4");
	/* It was entered, or left, between the copies. */
	walked_first_half(&f);
	f.s.image[f.s.generator_frame - 5 - SYNTHETIC_BASE] = 1;
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_TORN);
	walked_first_half(&f);
	f.s.image[f.s.generator_frame - 5 - SYNTHETIC_BASE] = 0;
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_TORN);
	walked_first_half(&f);
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_OK);
	assert_true(repeat);
	walked_end(&f);
}

static void a_thread_state_used_again_by_another_thread_has_changed(void **state)
{
	struct walked f;
	uint32_t stack;
	bool repeat;

	walked_begin(&f);
	walked_call_three(&f);
	walked_plan(&f);
	synthetic_put(&f.s, f.s.tstate + 32, 78);
	walked_first_half(&f);
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_CHANGED);
	walked_end(&f);
}

static void a_chain_without_end_is_cut_and_says_so(void **state)
{
	struct walked f;
	uint32_t stack;
	bool repeat;

	walked_begin(&f);
	walked_call_three(&f);
	walked_plan(&f);
	/* The base's caller is the leaf. */
	synthetic_put(&f.s, synthetic_frame(&f.s, 0) + 8, f.s.leaf);
	walked_first_half(&f);
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_OK);
	assert_memory_equal(walked_names(&f, stack), "", 0);
	for (uint32_t up = stack; up; up = tables_get_stack(f.c.tables, up)->parent)
		stack = up;
	assert_string_equal(walked_names(&f, stack), "<truncated>");
	walked_end(&f);
}

static void a_frame_of_an_unknown_owner_is_torn(void **state)
{
	struct walked f;
	uint32_t stack;
	bool repeat;

	walked_begin(&f);
	walked_call_three(&f);
	walked_plan(&f);
	synthetic_put(&f.s, f.s.leaf + 24, 9);
	walked_first_half(&f);
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_TORN);
	walked_end(&f);
}

/* The frame at depth belongs to the interpreter: C code that was called, and calls. */
static void make_native(struct walked *f, unsigned depth)
{
	f->s.image[synthetic_frame(&f->s, depth) + (uint64_t)f->s.target.layout.frame.owner -
		   SYNTHETIC_BASE] = (uint8_t)f->s.target.layout.frame.owner_interpreter;
}

static void c_code_between_frames_is_native_but_not_at_the_base(void **state)
{
	struct walked f;
	uint32_t stack;
	bool repeat;

	walked_begin(&f);
	for (unsigned i = 0; i < 6; i++)
		synthetic_push(&f.s, i, 3);
	make_native(&f, 0);
	make_native(&f, 2);
	make_native(&f, 3);
	make_native(&f, 5);
	walked_plan(&f);
	walked_first_half(&f);
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_OK);
	assert_string_equal(walked_names(&f, stack), "function_1 <native> function_4 <native>");
	walked_end(&f);
}

static void garbage_is_collected_above_the_frame_that_it_interrupts(void **state)
{
	struct walked f;
	uint32_t stack, with;
	bool repeat;

	walked_begin(&f);
	for (unsigned i = 0; i < 4; i++)
		synthetic_push(&f.s, i, 3);
	make_native(&f, 2);
	walked_plan(&f);
	walked_first_half(&f);
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_OK);
	assert_string_equal(walked_names(&f, stack), "function_0 function_1 <native> function_3");
	with = walker_with_gc(f.w, &f.c, 0, stack);
	assert_string_equal(walked_names(&f, with),
			    "function_0 function_1 <native> function_3 <GC>");
	/* The C code that is called from there is the collection itself. */
	with = walker_with_gc(f.w, &f.c, synthetic_frame(&f.s, 1), stack);
	assert_string_equal(walked_names(&f, with), "function_0 function_1 <GC> function_3");
	with = walker_with_gc(f.w, &f.c, synthetic_frame(&f.s, 0), stack);
	assert_string_equal(walked_names(&f, with),
			    "function_0 <GC> function_1 <native> function_3");
	/* A frame of another thread. */
	assert_int_equal(walker_with_gc(f.w, &f.c, 0x1234, stack), stack);
	walked_end(&f);
}

static uint32_t op_of(const struct walked *f, uint32_t stack)
{
	return tables_get_frame(f->c.tables, tables_get_stack(f->c.tables, stack)->frame)->op;
}

static void put_unit(struct walked *f, unsigned code, unsigned unit, uint8_t opcode)
{
	f->s.image[f->s.codes[code] + (uint64_t)f->s.target.layout.code.code + 2 * unit -
		   SYNTHETIC_BASE] = opcode;
}

static void frames_tell_their_instruction(void **state)
{
	static const uint8_t caches[256] = {[100] = 2, [101] = 2, [77] = LAYOUT_CACHE_UNKNOWN};
	struct walked f;
	uint32_t stack;
	bool repeat;

	walked_begin(&f);
	f.c.opcodes = true;
	walked_call_three(&f);
	put_unit(&f, 0, 3, 11);
	put_unit(&f, 1, 4, 12);
	put_unit(&f, 2, 0, 255);
	walked_plan(&f);
	walked_first_half(&f);
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_OK);
	assert_int_equal(op_of(&f, stack), 256);
	stack = tables_get_stack(f.c.tables, stack)->parent;
	assert_int_equal(op_of(&f, stack), 13);
	stack = tables_get_stack(f.c.tables, stack)->parent;
	assert_int_equal(op_of(&f, stack), 12);
	/* Where it is left in an inline cache the instruction is before that. */
	f.s.target.layout.frame.caches = caches;
	put_unit(&f, 0, 0, 1);
	put_unit(&f, 0, 1, 100);
	put_unit(&f, 0, 2, 77); /* a cache: any bytes */
	put_unit(&f, 0, 3, 100);
	put_unit(&f, 1, 1, 77); /* from here on nothing is sure */
	code_cache_forget(f.c.codes, f.c.tables);
	walker_forget(f.w);
	walked_plan(&f);
	put_unit(&f, 0, 1, 101); /* specialised since: of the same length */
	walked_first_half(&f);
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_OK);
	stack = tables_get_stack(f.c.tables, stack)->parent;
	assert_int_equal(op_of(&f, stack), 0);
	stack = tables_get_stack(f.c.tables, stack)->parent;
	assert_int_equal(op_of(&f, stack), 102);
	walked_end(&f);
}

/* Back to before its first instruction. */
static void unbegin(struct walked *f, unsigned depth)
{
	const struct layout *l = &f->s.target.layout;
	uint64_t frame = synthetic_frame(&f->s, depth);

	synthetic_put(&f->s, frame + (uint64_t)l->frame.instr_ptr,
		      synthetic_get(&f->s, frame + (uint64_t)l->frame.executable) +
			      (uint64_t)l->code.code - 2);
}

static void a_frame_that_has_not_begun_is_no_caller(void **state)
{
	struct walked f;
	uint32_t stack;
	bool repeat;

	walked_begin(&f);
	walked_call_three(&f);
	unbegin(&f, 2);
	walked_plan(&f);
	walked_first_half(&f);
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_OK);
	assert_string_equal(walked_names(&f, stack), "function_0 function_1");
	/* Now known as it stands. */
	synthetic_push(&f.s, 3, 2);
	unbegin(&f, 2);
	walked_first_half(&f);
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_TORN);
	walker_forget(f.w);
	walked_plan(&f);
	walked_first_half(&f);
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_TORN);
	/* But by a debugger's hook: so where the thread cannot move it is true. */
	f.c.held = true;
	walked_first_half(&f);
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_OK);
	assert_string_equal(walked_names(&f, stack), "function_0 function_1 function_3");
	f.c.held = false;
	walked_first_half(&f);
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_TORN);
	synthetic_put(&f.s, synthetic_frame(&f.s, 2) + 16,
		      f.s.codes[2] + (uint64_t)f.s.target.layout.code.code + 4);
	walked_first_half(&f);
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_OK);
	assert_string_equal(walked_names(&f, stack), "function_0 function_1 function_2 function_3");
	walked_end(&f);
}

static void a_frame_at_its_return_is_no_caller(void **state)
{
	static const uint8_t idle[32] = {[5] = 1 << 2}; /* opcode 42 */
	struct walked f;
	uint32_t stack;
	bool repeat;

	walked_begin(&f);
	f.s.target.layout.frame.idle = idle;
	put_unit(&f, 1, 6, 42);
	put_unit(&f, 2, 6, 42);
	walked_call_three(&f);
	synthetic_step(&f.s, 6);
	walked_plan(&f);
	/* The leaf may stand there, and is not known to be a caller for that. */
	walked_first_half(&f);
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_OK);
	assert_string_equal(walked_names(&f, stack), "function_0 function_1 function_2");
	synthetic_push(&f.s, 3, 6);
	walked_plan(&f);
	walked_first_half(&f);
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_TORN);
	synthetic_pop(&f.s);
	synthetic_push(&f.s, 3, 5);
	walked_plan(&f);
	walked_first_half(&f);
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_OK);
	assert_string_equal(walked_names(&f, stack), "function_0 function_1 function_2 function_3");
	/* Nor a caller of callers. */
	synthetic_put(&f.s, synthetic_frame(&f.s, 1) + 16,
		      f.s.codes[1] + (uint64_t)f.s.target.layout.code.code + 12);
	walked_first_half(&f);
	assert_int_equal(walked_second_half(&f, &stack, &repeat), WALK_TORN);
	walked_end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(c_code_between_frames_is_native_but_not_at_the_base),
		cmocka_unit_test(garbage_is_collected_above_the_frame_that_it_interrupts),
		cmocka_unit_test(frames_tell_their_instruction),
		cmocka_unit_test(a_still_stack_is_walked_and_then_repeated),
		cmocka_unit_test(a_leaf_may_execute_between_the_copies),
		cmocka_unit_test(a_caller_that_moved_between_the_copies_is_torn),
		cmocka_unit_test(another_function_in_the_leafs_place_is_torn),
		cmocka_unit_test(the_callers_that_stood_still_are_a_proven_prefix),
		cmocka_unit_test(frames_that_were_left_are_no_proven_prefix),
		cmocka_unit_test(who_uses_a_generator_is_shown_where_it_stood_last),
		cmocka_unit_test(a_shorter_stack_is_the_walk_without_its_top),
		cmocka_unit_test(a_generator_elsewhere_is_missed_once_and_then_known),
		cmocka_unit_test(a_thread_state_used_again_by_another_thread_has_changed),
		cmocka_unit_test(a_chain_without_end_is_cut_and_says_so),
		cmocka_unit_test(a_frame_of_an_unknown_owner_is_torn),
		cmocka_unit_test(a_frame_that_has_not_begun_is_no_caller),
		cmocka_unit_test(a_frame_at_its_return_is_no_caller),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
