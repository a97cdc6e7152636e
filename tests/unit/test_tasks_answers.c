/* What is kept of tasks that ran lately. */
#include "remote/tasks-answers.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define TASK(n) (0x7f0000000000u + (uint64_t)(n)*0x150)

static struct task_answers *answers;
static struct memory_log noted;

static int set_up(void **state)
{
	answers = task_answers_new();
	return answers ? 0 : -1;
}

static int tear_down(void **state)
{
	task_answers_free(answers);
	memory_log_done(&noted);
	return 0;
}

/* As if len bytes at addr had been read. */
static void note(uint64_t addr, uint8_t fill, size_t len)
{
	uint8_t *image = malloc(len);
	uint8_t *bytes = malloc(len);
	struct memory *m;

	assert_non_null(image);
	assert_non_null(bytes);
	memset(image, fill, len);
	assert_int_equal(memory_new_image(&m, image, len, addr), 0);
	memory_set_log(m, &noted);
	assert_int_equal(memory_read(m, addr, bytes, len), 0);
	memory_free(m);
	free(bytes);
	free(image);
}

static int put(uint64_t task, uint64_t frame, uint32_t stack, uint8_t fill)
{
	const struct task_chain chain = {.task = task, .frame = frame, .stack = stack};

	memory_log_clear(&noted);
	note(task, fill, 24);
	return task_answers_put(answers, task, &chain, &noted);
}

static void an_answer_is_kept_with_what_it_depends_on(void **state)
{
	const struct task_answer *a;
	uint8_t bytes[24];

	assert_null(task_answers_get(answers, TASK(1)));
	assert_null(task_answers_get(answers, 0));
	assert_int_equal(put(TASK(1), 8, 17, 3), 0);
	a = task_answers_get(answers, TASK(1));
	assert_non_null(a);
	assert_int_equal(a->chain.stack, 17);
	assert_true(!a->beyond && !a->doubt);
	memset(bytes, 3, sizeof(bytes));
	assert_true(memo_holds(&a->memo, bytes));
	bytes[23] = 4;
	assert_false(memo_holds(&a->memo, bytes));
	assert_ptr_equal(memo_range_at(&a->memo, TASK(1) + 23), a->memo.ranges);
	assert_null(memo_range_at(&a->memo, TASK(1) + 24));
	assert_null(task_answers_get(answers, TASK(2)));
}

static void one_is_found_by_its_coroutines_frame(void **state)
{
	const struct task_chain beyond = {.task = TASK(3), .frame = 24};

	assert_null(task_answers_of_frame(answers, 8));
	assert_int_equal(put(TASK(1), 8, 1, 1), 0);
	assert_int_equal(put(TASK(2), 16, 2, 2), 0);
	assert_int_equal(task_answers_put(answers, TASK(3), &beyond, NULL), 0);
	assert_int_equal(task_answers_of_frame(answers, 8)->task, TASK(1));
	assert_int_equal(task_answers_of_frame(answers, 16)->task, TASK(2));
	assert_null(task_answers_of_frame(answers, 24));
	/* The first has another by now, and its former one is the second's. */
	assert_int_equal(put(TASK(1), 32, 1, 1), 0);
	assert_null(task_answers_of_frame(answers, 8));
	assert_int_equal(put(TASK(2), 8, 2, 2), 0);
	assert_int_equal(task_answers_of_frame(answers, 8)->task, TASK(2));
	assert_int_equal(task_answers_of_frame(answers, 32)->task, TASK(1));
	task_answers_clear(answers);
	assert_null(task_answers_of_frame(answers, 8));
}

static void what_changes_is_doubted(void **state)
{
	assert_int_equal(put(TASK(1), 8, 1, 1), 0);
	assert_int_equal(put(TASK(1), 8, 2, 2), 0);
	assert_int_equal(task_answers_get(answers, TASK(1))->doubt, TASK_DOUBT);
	assert_int_equal(task_answers_get(answers, TASK(1))->chain.stack, 2);
	/* Another task at its address is another. */
	assert_int_equal(put(TASK(1), 16, 3, 3), 0);
	assert_int_equal(task_answers_get(answers, TASK(1))->doubt, 0);
}

static void what_is_over_a_bound_is_asked_for_again(void **state)
{
	const struct task_chain none = {0};
	const struct task_chain chain = {.task = TASK(2), .frame = 8};
	const struct task_answer *a;

	assert_int_equal(task_answers_put(answers, TASK(1), &none, NULL), 0);
	a = task_answers_get(answers, TASK(1));
	assert_true(a->beyond && a->wait == TASK_BEYOND && a->memo.n_ranges == 0);
	/* It depends on too many places. */
	memory_log_clear(&noted);
	for (uint64_t i = 0; i <= MEMO_RANGES; i++)
		note(0x1000 + i * 0x1000, 1, 8);
	assert_int_equal(task_answers_put(answers, TASK(2), &chain, &noted), -E2BIG);
	a = task_answers_get(answers, TASK(2));
	assert_true(a->beyond && a->memo.n_ranges == 0);
	/* And then there is one. */
	assert_int_equal(put(TASK(1), 8, 1, 1), 0);
	a = task_answers_get(answers, TASK(1));
	assert_true(!a->beyond && !a->doubt && !a->wait);
}

static size_t count(size_t from, size_t to)
{
	size_t n = 0;

	for (size_t i = from; i < to; i++)
		n += task_answers_get(answers, TASK(i)) != NULL;
	return n;
}

static void those_that_ran_lately_are_kept(void **state)
{
	/* What is asked for now and then stays, however many others come. */
	assert_int_equal(put(TASK(0), 8, 1, 1), 0);
	for (size_t i = 1; i < 4 * TASK_ANSWERS; i++) {
		assert_int_equal(put(TASK(i), 8, 1, 1), 0);
		assert_non_null(task_answers_get(answers, TASK(0)));
	}
	assert_true(count(0, 4 * TASK_ANSWERS) <= TASK_ANSWERS);
	/* Half of what there is room for, of which nearly all is there. */
	task_answers_clear(answers);
	assert_int_equal(count(0, 4 * TASK_ANSWERS), 0);
	for (size_t i = 0; i < TASK_ANSWERS / 2; i++)
		assert_int_equal(put(TASK(i), 8, 1, 1), 0);
	assert_true(count(0, TASK_ANSWERS / 2) > TASK_ANSWERS / 2 * 95 / 100);
}

static void all_together_are_bounded(void **state)
{
	const struct task_chain chain = {.frame = 8};

	for (size_t i = 0; i < TASK_ANSWERS_BYTES / (MEMO_BYTES / 2); i++) {
		memory_log_clear(&noted);
		note(TASK(1000 * i), 1, MEMO_BYTES / 2);
		assert_int_equal(task_answers_put(answers, TASK(1000 * i), &chain, &noted), 0);
	}
	/* The first are gone, the last is there. */
	assert_null(task_answers_get(answers, TASK(0)));
	assert_non_null(task_answers_get(answers,
					 TASK(1000 * (TASK_ANSWERS_BYTES / (MEMO_BYTES / 2) - 1))));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
		TEST(an_answer_is_kept_with_what_it_depends_on),
		TEST(one_is_found_by_its_coroutines_frame),
		TEST(what_changes_is_doubted),
		TEST(what_is_over_a_bound_is_asked_for_again),
		TEST(those_that_ran_lately_are_kept),
		TEST(all_together_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
