#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "remote/frame.h"
#include "tests/unit/synthetic.h"

struct fixture {
	struct synthetic s;
	struct walk_context c;
	struct walker *w;
	struct memory_range ranges[256];
	size_t n, middle; /* ranges before middle are copy A and the words */
};

static void begin(struct fixture *f)
{
	synthetic_init(&f->s);
	memset(&f->c, 0, sizeof(f->c));
	f->c.target = &f->s.target;
	assert_int_equal(tables_new(&f->c.tables), 0);
	assert_int_equal(
		code_cache_new(&f->c.codes, f->s.target.memory, &f->s.target.layout, f->c.tables),
		0);
	assert_int_equal(walker_new(&f->w, &f->s.target, f->s.tstate, 77, f->s.interp), 0);
}

static void end(struct fixture *f)
{
	walker_free(f->w);
	code_cache_free(f->c.codes);
	tables_free(f->c.tables);
	synthetic_done(&f->s);
}

/* Names from the base on, separated by blanks. */
static const char *names(const struct fixture *f, uint32_t stack)
{
	static char text[4096];
	const struct table_string *found[128];
	size_t n = 0;

	text[0] = 0;
	for (; stack && n < 128; n++) {
		const struct table_stack *st = tables_get_stack(f->c.tables, stack);
		const struct table_frame *fr = tables_get_frame(f->c.tables, st->frame);
		const struct table_function *fn = tables_get_function(f->c.tables, fr->function);

		found[n] = tables_get_string(f->c.tables, fn->name);
		stack = st->parent;
	}
	while (n-- > 0)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%.*s",
			 *text ? " " : "", (int)found[n]->len, found[n]->bytes);
	return text;
}

/* The first half of a gather: copy A and the words, as the target is now. */
static void first_half(struct fixture *f)
{
	struct memory_range once[128];

	f->middle = walker_ranges(f->w, once, false);
	f->n = walker_ranges(f->w, f->ranges, true);
	f->c.gather = ++f->c.gathers;
	assert_int_equal(memory_gather(f->s.target.memory, f->ranges, f->middle), 0);
}

static enum walk_result second_half(struct fixture *f, uint32_t *ret_stack, bool *ret_repeat)
{
	assert_int_equal(memory_gather(f->s.target.memory, f->ranges + f->middle, f->n - f->middle),
			 0);
	return walker_walk(f->w, &f->c, f->ranges, ret_stack, ret_repeat);
}

/* Plans, and gets to know the code objects. */
static void plan(struct fixture *f)
{
	uint32_t stack;
	bool repeat;

	assert_int_equal(walker_plan(f->w, f->s.target.memory), WALK_OK);
	first_half(f);
	second_half(f, &stack, &repeat);
}

static void call_three(struct fixture *f)
{
	synthetic_push(&f->s, 0, 0);
	synthetic_push(&f->s, 1, 3);
	synthetic_push(&f->s, 2, 4);
}

static void a_still_stack_is_walked_and_then_repeated(void **state)
{
	struct fixture f;
	uint32_t stack, again;
	bool repeat;

	begin(&f);
	call_three(&f);
	plan(&f);
	first_half(&f);
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_OK);
	assert_string_equal(names(&f, stack), "function_0 function_1 function_2");
	assert_false(repeat);
	first_half(&f);
	assert_int_equal(second_half(&f, &again, &repeat), WALK_OK);
	assert_true(repeat);
	assert_int_equal(again, stack);
	end(&f);
}

/* Walks until the thread rests: how often. */
static unsigned rest(struct fixture *f, uint32_t *ret_stack)
{
	unsigned n = 0;
	bool repeat;

	plan(f);
	for (; !walker_rests(f->w) && n < 100; n++) {
		first_half(f);
		assert_int_equal(second_half(f, ret_stack, &repeat), WALK_OK);
	}
	return n;
}

static bool rests_still(struct fixture *f, uint32_t *ret_stack)
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
	struct fixture f;
	uint32_t stack, again = 0;

	begin(&f);
	call_three(&f);
	assert_in_range(rest(&f, &stack), 5, 20);
	for (int i = 0; i < 3; i++) {
		assert_true(rests_still(&f, &again));
		assert_int_equal(again, stack);
	}
	end(&f);
}

/* The leaf and all words are the same, one instruction pointer deep below is not. */
static void a_thread_that_stands_below_another_call_rests_no_more(void **state)
{
	struct fixture f;
	uint32_t stack, again = 0;
	bool repeat;

	begin(&f);
	call_three(&f);
	rest(&f, &stack);
	synthetic_pop(&f.s);
	synthetic_pop(&f.s);
	synthetic_push(&f.s, 1, 5);
	synthetic_push(&f.s, 2, 4);
	assert_false(rests_still(&f, &again));
	assert_false(walker_rests(f.w));
	first_half(&f);
	assert_int_equal(second_half(&f, &again, &repeat), WALK_OK);
	assert_string_equal(names(&f, again), "function_0 function_1 function_2");
	assert_in_range(rest(&f, &again), 5, 20);
	end(&f);
}

static void a_thread_that_called_or_returned_rests_no_more(void **state)
{
	struct fixture f;
	uint32_t stack, again;

	begin(&f);
	call_three(&f);
	rest(&f, &stack);
	synthetic_push(&f.s, 3, 4);
	assert_false(rests_still(&f, &again));
	rest(&f, &stack);
	synthetic_pop(&f.s);
	assert_false(rests_still(&f, &again));
	end(&f);
}

static void a_thread_state_that_cannot_be_read_rests_no_more(void **state)
{
	struct fixture f;
	struct memory_range ranges[WALKER_REST_RANGES];
	_Alignas(8) uint8_t bytes[0x4000];
	uint32_t stack;
	size_t n;

	begin(&f);
	call_three(&f);
	for (size_t failed = 0; failed < 2; failed++) {
		rest(&f, &stack);
		ranges[0] = walker_rest_words(f.w, bytes);
		n = 1 + walker_rest_ranges(f.w, bytes, ranges + 1);
		assert_int_equal(memory_gather(f.s.target.memory, ranges, n), 0);
		ranges[failed].failed = 1;
		assert_false(walker_still_rests(f.w, &f.c, ranges, ranges + 1, &stack));
		assert_false(walker_rests(f.w));
	}
	end(&f);
}

static void a_leaf_may_execute_between_the_copies(void **state)
{
	struct fixture f;
	uint32_t stack;
	bool repeat;

	begin(&f);
	call_three(&f);
	plan(&f);
	first_half(&f);
	synthetic_step(&f.s, 5);
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_OK);
	assert_string_equal(names(&f, stack), "function_0 function_1 function_2");
	end(&f);
}

static void a_caller_that_moved_between_the_copies_is_torn(void **state)
{
	struct fixture f;
	uint32_t stack;
	bool repeat;

	begin(&f);
	call_three(&f);
	plan(&f);
	first_half(&f);
	synthetic_pop(&f.s);
	synthetic_push(&f.s, 2, 6);
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_TORN);
	end(&f);
}

static void another_function_in_the_leafs_place_is_torn(void **state)
{
	struct fixture f;
	uint32_t stack;
	bool repeat;

	begin(&f);
	call_three(&f);
	plan(&f);
	first_half(&f);
	synthetic_pop(&f.s);
	synthetic_push(&f.s, 3, 4);
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_TORN);
	assert_string_equal(names(&f, walker_prefix(f.w, &f.c)), "");
	end(&f);
}

static void the_callers_that_stood_still_are_a_proven_prefix(void **state)
{
	struct fixture f;
	uint32_t stack;
	bool repeat;

	begin(&f);
	call_three(&f);
	plan(&f);
	first_half(&f);
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_OK);
	first_half(&f);
	synthetic_pop(&f.s);
	synthetic_push(&f.s, 3, 4);
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_TORN);
	assert_string_equal(names(&f, walker_prefix(f.w, &f.c)), "function_0 function_1 <moving>");
	end(&f);
}

static void frames_that_were_left_are_no_proven_prefix(void **state)
{
	struct fixture f;
	uint32_t stack;
	bool repeat;

	begin(&f);
	call_three(&f);
	plan(&f);
	first_half(&f);
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_OK);
	/* Back in the base when the words are read; the callee's bytes still lie above the top. */
	synthetic_pop(&f.s);
	synthetic_pop(&f.s);
	first_half(&f);
	synthetic_put(&f.s, f.s.leaf, f.s.codes[5]);
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_TORN);
	assert_int_equal(walker_prefix(f.w, &f.c), 0);
	end(&f);
}

/* The leaf is a generator that is entered, or left, between the copies, while the function that
 * uses it gets on. */
static void who_uses_a_generator_is_shown_where_it_stood_last(void **state)
{
	struct fixture f;
	uint32_t stack, generator;
	bool repeat;

	begin(&f);
	call_three(&f);
	generator = f.s.generator_frame;
	synthetic_put(&f.s, generator, f.s.codes[4]);
	synthetic_put(&f.s, generator + 8, f.s.leaf);
	synthetic_put(&f.s, generator + 16, f.s.codes[4] + 96);
	synthetic_put(&f.s, generator + 24, 1);
	synthetic_put(&f.s, f.s.tstate + 24, generator);
	plan(&f);
	first_half(&f);
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_OK);
	for (int entered = 0; entered < 2; entered++) {
		synthetic_put(&f.s, generator + 8, entered ? 0 : f.s.leaf);
		first_half(&f);
		synthetic_put(&f.s, generator + 8, entered ? f.s.leaf : 0);
		synthetic_step(&f.s, 5 + (unsigned)entered);
		assert_int_equal(second_half(&f, &stack, &repeat), WALK_TORN);
		assert_string_equal(names(&f, walker_prefix(f.w, &f.c)),
				    "function_0 function_1 function_2 <moving>");
	}
	/* In neither: nothing says who uses it. */
	first_half(&f);
	synthetic_put(&f.s, generator + 8, 0);
	second_half(&f, &stack, &repeat);
	first_half(&f);
	synthetic_step(&f.s, 5);
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_TORN);
	assert_string_equal(names(&f, walker_prefix(f.w, &f.c)), "function_0 function_1 <moving>");
	end(&f);
}

static void a_shorter_stack_is_the_walk_without_its_top(void **state)
{
	struct fixture f;
	uint32_t stack;
	bool repeat;

	begin(&f);
	call_three(&f);
	plan(&f);
	first_half(&f);
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_OK);
	synthetic_pop(&f.s);
	first_half(&f);
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_OK);
	assert_false(repeat);
	assert_string_equal(names(&f, stack), "function_0 function_1");
	end(&f);
}

static void a_generator_elsewhere_is_missed_once_and_then_known(void **state)
{
	const uint64_t *codes;
	struct fixture f;
	uint32_t stack;
	bool repeat;

	begin(&f);
	codes = f.s.codes;
	call_three(&f);
	plan(&f);
	first_half(&f);
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_OK);
	synthetic_put(&f.s, f.s.generator_frame, codes[4]);
	synthetic_put(&f.s, f.s.generator_frame + 8, f.s.leaf);
	synthetic_put(&f.s, f.s.generator_frame + 16, codes[4] + 96);
	synthetic_put(&f.s, f.s.generator_frame + 24, 1);
	synthetic_put(&f.s, f.s.tstate + 24, f.s.generator_frame);
	first_half(&f);
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_MISS);
	plan(&f);
	first_half(&f);
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_OK);
	assert_string_equal(names(&f, stack), "function_0 function_1 function_2 function_4");
	/* It was entered, or left, between the copies. */
	first_half(&f);
	f.s.image[f.s.generator_frame - 5 - SYNTHETIC_BASE] = 1;
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_TORN);
	first_half(&f);
	f.s.image[f.s.generator_frame - 5 - SYNTHETIC_BASE] = 0;
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_TORN);
	first_half(&f);
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_OK);
	assert_true(repeat);
	end(&f);
}

static void a_code_object_is_taken_as_what_it_was_before_and_after(void **state)
{
	struct fixture f;
	uint32_t stack;
	bool repeat;

	begin(&f);
	call_three(&f);
	/* Not known before the copies were made: it may be another by now. */
	assert_int_equal(walker_plan(f.w, f.s.target.memory), WALK_OK);
	first_half(&f);
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_MISS);
	first_half(&f);
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_OK);
	assert_string_equal(names(&f, stack), "function_0 function_1 function_2");
	/* Known before, replaced between the copies and the look at it. */
	synthetic_step(&f.s, 2);
	f.c.stamp++;
	first_half(&f);
	assert_int_equal(memory_gather(f.s.target.memory, f.ranges + f.middle, f.n - f.middle), 0);
	synthetic_put(&f.s, f.s.codes[2] + 32, synthetic_get(&f.s, f.s.codes[6] + 32));
	assert_int_equal(walker_walk(f.w, &f.c, f.ranges, &stack, &repeat), WALK_MISS);
	end(&f);
}

static void a_callers_code_object_is_not_taken_for_another_at_its_address(void **state)
{
	struct fixture f;
	uint32_t stack;
	bool repeat;

	begin(&f);
	call_three(&f);
	plan(&f);
	first_half(&f);
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_OK);
	/* The caller was left, and another one calls from the same instruction. */
	synthetic_put(&f.s, f.s.codes[1] + 32, synthetic_get(&f.s, f.s.codes[6] + 32));
	synthetic_step(&f.s, 2);
	f.c.stamp++;
	first_half(&f);
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_MISS);
	first_half(&f);
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_OK);
	assert_string_equal(names(&f, stack), "function_0 function_6 function_2");
	/* Nor when the whole stack looks like before. */
	synthetic_put(&f.s, f.s.codes[1] + 32, synthetic_get(&f.s, f.s.codes[5] + 32));
	f.c.stamp++;
	first_half(&f);
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_MISS);
	first_half(&f);
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_OK);
	assert_string_equal(names(&f, stack), "function_0 function_5 function_2");
	end(&f);
}

static void a_code_object_freed_and_replaced_is_read_anew(void **state)
{
	struct fixture f;
	uint32_t stack;
	bool repeat;

	begin(&f);
	call_three(&f);
	plan(&f);
	first_half(&f);
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_OK);
	synthetic_put(&f.s, f.s.codes[2] + 32, synthetic_get(&f.s, f.s.codes[6] + 32));
	synthetic_step(&f.s, 2);
	f.c.stamp++;
	first_half(&f);
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_MISS);
	first_half(&f);
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_OK);
	assert_string_equal(names(&f, stack), "function_0 function_1 function_6");
	end(&f);
}

static void a_thread_state_used_again_by_another_thread_has_changed(void **state)
{
	struct fixture f;
	uint32_t stack;
	bool repeat;

	begin(&f);
	call_three(&f);
	plan(&f);
	synthetic_put(&f.s, f.s.tstate + 32, 78);
	first_half(&f);
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_CHANGED);
	end(&f);
}

static void a_chain_without_end_is_cut_and_says_so(void **state)
{
	struct fixture f;
	uint32_t stack;
	bool repeat;

	begin(&f);
	call_three(&f);
	plan(&f);
	/* The base's caller is the leaf. */
	synthetic_put(&f.s, synthetic_frame(&f.s, 0) + 8, f.s.leaf);
	first_half(&f);
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_OK);
	assert_memory_equal(names(&f, stack), "", 0);
	for (uint32_t up = stack; up; up = tables_get_stack(f.c.tables, up)->parent)
		stack = up;
	assert_string_equal(names(&f, stack), "<truncated>");
	end(&f);
}

static void a_frame_of_an_unknown_owner_is_torn(void **state)
{
	struct fixture f;
	uint32_t stack;
	bool repeat;

	begin(&f);
	call_three(&f);
	plan(&f);
	synthetic_put(&f.s, f.s.leaf + 24, 9);
	first_half(&f);
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_TORN);
	end(&f);
}

/* The frame at depth belongs to the interpreter: C code that was called, and calls. */
static void make_native(struct fixture *f, unsigned depth)
{
	f->s.image[synthetic_frame(&f->s, depth) + (uint64_t)f->s.target.layout.frame.owner -
		   SYNTHETIC_BASE] = (uint8_t)f->s.target.layout.frame.owner_interpreter;
}

static void c_code_between_frames_is_native_but_not_at_the_base(void **state)
{
	struct fixture f;
	uint32_t stack;
	bool repeat;

	begin(&f);
	for (unsigned i = 0; i < 6; i++)
		synthetic_push(&f.s, i, 3);
	make_native(&f, 0);
	make_native(&f, 2);
	make_native(&f, 3);
	make_native(&f, 5);
	plan(&f);
	first_half(&f);
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_OK);
	assert_string_equal(names(&f, stack), "function_1 <native> function_4 <native>");
	end(&f);
}

static void garbage_is_collected_above_the_frame_that_it_interrupts(void **state)
{
	struct fixture f;
	uint32_t stack, with;
	bool repeat;

	begin(&f);
	for (unsigned i = 0; i < 4; i++)
		synthetic_push(&f.s, i, 3);
	make_native(&f, 2);
	plan(&f);
	first_half(&f);
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_OK);
	assert_string_equal(names(&f, stack), "function_0 function_1 <native> function_3");
	with = walker_with_gc(f.w, &f.c, 0, stack);
	assert_string_equal(names(&f, with), "function_0 function_1 <native> function_3 <GC>");
	/* The C code that is called from there is the collection itself. */
	with = walker_with_gc(f.w, &f.c, synthetic_frame(&f.s, 1), stack);
	assert_string_equal(names(&f, with), "function_0 function_1 <GC> function_3");
	with = walker_with_gc(f.w, &f.c, synthetic_frame(&f.s, 0), stack);
	assert_string_equal(names(&f, with), "function_0 <GC> function_1 <native> function_3");
	/* A frame of another thread. */
	assert_int_equal(walker_with_gc(f.w, &f.c, 0x1234, stack), stack);
	end(&f);
}

/* A frame elsewhere of the owner, on previous. */
static void put_elsewhere(struct fixture *f, uint64_t addr, unsigned code, uint64_t previous,
			  int32_t owner)
{
	synthetic_put(&f->s, addr, f->s.codes[code]);
	synthetic_put(&f->s, addr + 8, previous);
	synthetic_put(&f->s, addr + 16, f->s.codes[code] + 96);
	synthetic_put(&f->s, addr + 24, (uint64_t)owner);
}

static bool reads(const struct fixture *f, uint64_t addr)
{
	for (size_t i = 0; i < f->n; i++)
		if (addr - f->ranges[i].addr < f->ranges[i].len)
			return true;
	return false;
}

static void the_base_is_seldom_read_while_the_first_frame_stands(void **state)
{
	struct fixture f;
	uint64_t base, generator;
	unsigned read = 0;
	uint32_t stack;
	bool repeat;

	begin(&f);
	base = f.s.generator_frame;
	generator = base + 0x400;
	put_elsewhere(&f, base, 7, 0, f.s.target.layout.frame.owner_interpreter);
	f.s.leaf = base;
	call_three(&f);
	plan(&f);
	for (unsigned i = 0; i < 5100; i++) {
		first_half(&f);
		assert_int_equal(second_half(&f, &stack, &repeat), WALK_OK);
		assert_string_equal(names(&f, stack), "function_0 function_1 function_2");
		read += i >= 4100 && reads(&f, base);
	}
	assert_in_range(read, 32, 128);
	assert_false(reads(&f, base));
	/* What is above may change as it likes. */
	synthetic_pop(&f.s);
	synthetic_push(&f.s, 0, 5);
	first_half(&f);
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_OK);
	assert_string_equal(names(&f, stack), "function_0 function_1 function_0");
	/* The first frame was left, and another called by what a generator called. */
	while (f.s.depth)
		synthetic_pop(&f.s);
	put_elsewhere(&f, generator, 4, 0, f.s.target.layout.frame.owner_generator);
	put_elsewhere(&f, base, 7, generator, f.s.target.layout.frame.owner_interpreter);
	synthetic_push(&f.s, 1, 0);
	synthetic_push(&f.s, 2, 0);
	first_half(&f);
	assert_false(reads(&f, base));
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_MISS);
	assert_int_equal(walker_prefix(f.w, &f.c), 0);
	plan(&f);
	first_half(&f);
	assert_true(reads(&f, base));
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_OK);
	assert_string_equal(names(&f, stack), "function_4 <native> function_1 function_2");
	/* With a generator below it is no base. */
	for (unsigned i = 0; i < 64; i++) {
		first_half(&f);
		assert_int_equal(second_half(&f, &stack, &repeat), WALK_OK);
		assert_true(reads(&f, base));
	}
	end(&f);
}

static uint32_t op_of(const struct fixture *f, uint32_t stack)
{
	return tables_get_frame(f->c.tables, tables_get_stack(f->c.tables, stack)->frame)->op;
}

static void put_unit(struct fixture *f, unsigned code, unsigned unit, uint8_t opcode)
{
	f->s.image[f->s.codes[code] + (uint64_t)f->s.target.layout.code.code + 2 * unit -
		   SYNTHETIC_BASE] = opcode;
}

static void frames_tell_their_instruction(void **state)
{
	static const uint8_t caches[256] = {[100] = 2, [101] = 2, [77] = LAYOUT_CACHE_UNKNOWN};
	struct fixture f;
	uint32_t stack;
	bool repeat;

	begin(&f);
	f.c.opcodes = true;
	call_three(&f);
	put_unit(&f, 0, 3, 11);
	put_unit(&f, 1, 4, 12);
	put_unit(&f, 2, 0, 255);
	plan(&f);
	first_half(&f);
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_OK);
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
	plan(&f);
	put_unit(&f, 0, 1, 101); /* specialised since: of the same length */
	first_half(&f);
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_OK);
	stack = tables_get_stack(f.c.tables, stack)->parent;
	assert_int_equal(op_of(&f, stack), 0);
	stack = tables_get_stack(f.c.tables, stack)->parent;
	assert_int_equal(op_of(&f, stack), 102);
	end(&f);
}

/* Back to before its first instruction. */
static void unbegin(struct fixture *f, unsigned depth)
{
	const struct layout *l = &f->s.target.layout;
	uint64_t frame = synthetic_frame(&f->s, depth);

	synthetic_put(&f->s, frame + (uint64_t)l->frame.instr_ptr,
		      synthetic_get(&f->s, frame + (uint64_t)l->frame.executable) +
			      (uint64_t)l->code.code - 2);
}

static void a_frame_that_has_not_begun_is_no_caller(void **state)
{
	struct fixture f;
	uint32_t stack;
	bool repeat;

	begin(&f);
	call_three(&f);
	unbegin(&f, 2);
	plan(&f);
	first_half(&f);
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_OK);
	assert_string_equal(names(&f, stack), "function_0 function_1");
	/* Now known as it stands. */
	synthetic_push(&f.s, 3, 2);
	unbegin(&f, 2);
	first_half(&f);
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_TORN);
	walker_forget(f.w);
	plan(&f);
	first_half(&f);
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_TORN);
	/* But by a debugger's hook: so where the thread cannot move it is true. */
	f.c.held = true;
	first_half(&f);
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_OK);
	assert_string_equal(names(&f, stack), "function_0 function_1 function_3");
	f.c.held = false;
	first_half(&f);
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_TORN);
	synthetic_put(&f.s, synthetic_frame(&f.s, 2) + 16,
		      f.s.codes[2] + (uint64_t)f.s.target.layout.code.code + 4);
	first_half(&f);
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_OK);
	assert_string_equal(names(&f, stack), "function_0 function_1 function_2 function_3");
	end(&f);
}

static void a_frame_at_its_return_is_no_caller(void **state)
{
	static const uint8_t idle[32] = {[5] = 1 << 2}; /* opcode 42 */
	struct fixture f;
	uint32_t stack;
	bool repeat;

	begin(&f);
	f.s.target.layout.frame.idle = idle;
	put_unit(&f, 1, 6, 42);
	put_unit(&f, 2, 6, 42);
	call_three(&f);
	synthetic_step(&f.s, 6);
	plan(&f);
	/* The leaf may stand there, and is not known to be a caller for that. */
	first_half(&f);
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_OK);
	assert_string_equal(names(&f, stack), "function_0 function_1 function_2");
	synthetic_push(&f.s, 3, 6);
	plan(&f);
	first_half(&f);
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_TORN);
	synthetic_pop(&f.s);
	synthetic_push(&f.s, 3, 5);
	plan(&f);
	first_half(&f);
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_OK);
	assert_string_equal(names(&f, stack), "function_0 function_1 function_2 function_3");
	/* Nor a caller of callers. */
	synthetic_put(&f.s, synthetic_frame(&f.s, 1) + 16,
		      f.s.codes[1] + (uint64_t)f.s.target.layout.code.code + 12);
	first_half(&f);
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_TORN);
	end(&f);
}

static unsigned depth(const struct fixture *f, uint32_t stack)
{
	unsigned n = 0;

	for (; stack; n++)
		stack = tables_get_stack(f->c.tables, stack)->parent;
	return n;
}

static void what_is_not_copied_any_more_is_not_what_it_was(void **state)
{
	struct fixture f;
	uint32_t stack;
	bool repeat;

	begin(&f);
	for (unsigned i = 0; i < 32; i++)
		synthetic_push(&f.s, i % 4, 3);
	plan(&f);
	first_half(&f);
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_OK);
	/* Long flat, while no walk held: less and less is copied. */
	for (unsigned i = 0; i < 30; i++)
		synthetic_pop(&f.s);
	for (unsigned i = 0; i < 600; i++)
		first_half(&f);
	/* Deep again, and another on the way: of which the copies tell nothing. */
	for (unsigned i = 2; i < 32; i++)
		synthetic_push(&f.s, i == 25 ? 5 : i % 4, 3);
	first_half(&f);
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_MISS);
	assert_in_range(depth(&f, walker_prefix(f.w, &f.c)), 2, 24);
	plan(&f);
	first_half(&f);
	assert_int_equal(second_half(&f, &stack, &repeat), WALK_OK);
	assert_non_null(strstr(names(&f, stack), "function_0 function_5 function_2"));
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(c_code_between_frames_is_native_but_not_at_the_base),
		cmocka_unit_test(garbage_is_collected_above_the_frame_that_it_interrupts),
		cmocka_unit_test(frames_tell_their_instruction),
		cmocka_unit_test(a_still_stack_is_walked_and_then_repeated),
		cmocka_unit_test(a_thread_that_stands_still_for_long_rests),
		cmocka_unit_test(a_thread_that_stands_below_another_call_rests_no_more),
		cmocka_unit_test(a_thread_that_called_or_returned_rests_no_more),
		cmocka_unit_test(a_thread_state_that_cannot_be_read_rests_no_more),
		cmocka_unit_test(a_leaf_may_execute_between_the_copies),
		cmocka_unit_test(a_caller_that_moved_between_the_copies_is_torn),
		cmocka_unit_test(another_function_in_the_leafs_place_is_torn),
		cmocka_unit_test(the_callers_that_stood_still_are_a_proven_prefix),
		cmocka_unit_test(frames_that_were_left_are_no_proven_prefix),
		cmocka_unit_test(who_uses_a_generator_is_shown_where_it_stood_last),
		cmocka_unit_test(a_shorter_stack_is_the_walk_without_its_top),
		cmocka_unit_test(a_generator_elsewhere_is_missed_once_and_then_known),
		cmocka_unit_test(a_code_object_is_taken_as_what_it_was_before_and_after),
		cmocka_unit_test(a_callers_code_object_is_not_taken_for_another_at_its_address),
		cmocka_unit_test(a_code_object_freed_and_replaced_is_read_anew),
		cmocka_unit_test(a_thread_state_used_again_by_another_thread_has_changed),
		cmocka_unit_test(a_chain_without_end_is_cut_and_says_so),
		cmocka_unit_test(a_frame_of_an_unknown_owner_is_torn),
		cmocka_unit_test(the_base_is_seldom_read_while_the_first_frame_stands),
		cmocka_unit_test(a_frame_that_has_not_begun_is_no_caller),
		cmocka_unit_test(a_frame_at_its_return_is_no_caller),
		cmocka_unit_test(what_is_not_copied_any_more_is_not_what_it_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
