#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "remote/turns.h"

enum { GIL = 0x10000, HOLDER = 8, COUNT = 24 };

static const struct interpreter_info interp = {.gil = GIL};

static struct target target_of(bool free_threaded)
{
	struct target t = {.runtime = 0x20000};

	t.layout.free_threaded = free_threaded;
	t.layout.gil.last_holder = HOLDER;
	t.layout.gil.switches = COUNT;
	t.layout.runtime.gil_last_holder = t.layout.runtime.gil_switches = ABSENT;
	return t;
}

static struct turns planned(void)
{
	struct target target = target_of(false);
	struct turns t = {0};

	turns_plan(&t, &target, &interp);
	return t;
}

/* A look in which the second reading found other than the first. */
static void look_torn(struct turns *t, uint64_t holder, uint64_t count, uint64_t holder_then,
		      uint64_t count_then)
{
	const uint64_t found[TURNS_RANGES][2] = {{holder, count}, {holder_then, count_then}};
	struct memory_range ranges[TURNS_RANGES];

	assert_int_equal(turns_ranges(t, ranges), TURNS_RANGES);
	for (size_t i = 0; i < TURNS_RANGES; i++) {
		assert_int_equal(ranges[i].addr, GIL + HOLDER);
		assert_int_equal(ranges[i].len, COUNT - HOLDER + 8);
		memset(ranges[i].buf, 0, ranges[i].len);
		memcpy(ranges[i].buf, &found[i][0], 8);
		memcpy((uint8_t *)ranges[i].buf + COUNT - HOLDER, &found[i][1], 8);
	}
	turns_look(t);
}

static void look(struct turns *t, uint64_t holder, uint64_t count)
{
	look_torn(t, holder, count, holder, count);
}

/* Begun with thread 1 as the holder. */
static struct turns begun(void)
{
	struct turns t = planned();

	look(&t, 1, 100);
	turns_begin(&t);
	assert_true(turns_known(&t));
	return t;
}

static void while_nobody_took_it_only_the_holder_can_have_run(void **state)
{
	struct turns t = begun();

	look(&t, 1, 100);
	assert_true(turns_known(&t));
	assert_true(turns_held(&t, 1));
	assert_false(turns_held(&t, 2));
}

static void who_took_it_once_between_two_looks_is_known(void **state)
{
	struct turns t = begun();

	look(&t, 2, 101);
	look(&t, 3, 102);
	look(&t, 3, 102);
	assert_true(turns_known(&t));
	for (uint64_t i = 1; i <= 3; i++)
		assert_true(turns_held(&t, i));
	assert_false(turns_held(&t, 4));
	turns_begin(&t);
	assert_true(turns_known(&t));
	assert_true(turns_held(&t, 3));
	assert_false(turns_held(&t, 2));
}

static void who_took_it_between_others_is_not(void **state)
{
	struct turns t = begun();

	look(&t, 2, 102);
	assert_false(turns_known(&t));
	look(&t, 3, 103);
	assert_false(turns_known(&t));
	turns_begin(&t);
	assert_true(turns_known(&t));
	/* Even where the holder is the same again. */
	look(&t, 3, 105);
	assert_false(turns_known(&t));
}

static void a_look_at_what_changes_tells_nothing(void **state)
{
	struct turns t = begun();

	look_torn(&t, 1, 101, 2, 101);
	assert_false(turns_known(&t));
	/* Nor is it what later ones are compared with. */
	look(&t, 2, 101);
	assert_false(turns_known(&t));
	turns_begin(&t);
	look(&t, 3, 102);
	assert_true(turns_known(&t));
}

static void what_cannot_be_read_tells_nothing(void **state)
{
	struct turns t = begun();
	struct memory_range ranges[TURNS_RANGES];

	assert_int_equal(turns_ranges(&t, ranges), TURNS_RANGES);
	turns_look(&t);
	assert_false(turns_known(&t));
	turns_begin(&t);
	assert_false(turns_known(&t));
}

static void nothing_is_known_before_a_span_begins(void **state)
{
	struct turns t = planned();

	assert_false(turns_known(&t));
	turns_begin(&t);
	assert_false(turns_known(&t));
	look(&t, 1, 100);
	assert_false(turns_known(&t));
}

static void what_does_not_count_is_not_believed(void **state)
{
	struct turns t = begun();

	for (uint64_t i = 0; i < 64; i++) {
		look(&t, i % 2 + 1, 100);
		turns_begin(&t);
	}
	look(&t, 2, 100);
	assert_false(turns_known(&t));
	/* Not even after that. */
	turns_begin(&t);
	assert_false(turns_known(&t));
}

static void so_many_holders_are_remembered_and_no_more(void **state)
{
	struct turns t = begun();

	for (uint64_t i = 1; i < TURNS_HOLDERS; i++)
		look(&t, 1 + i, 100 + i);
	assert_true(turns_known(&t));
	assert_true(turns_held(&t, TURNS_HOLDERS));
	look(&t, 1000, 100 + TURNS_HOLDERS);
	assert_false(turns_known(&t));
}

static void a_gil_of_several_interpreters_and_none_tell_nothing(void **state)
{
	struct target target = target_of(true);
	struct turns t = begun();
	struct memory_range ranges[TURNS_RANGES];

	t.shared = true;
	assert_false(turns_known(&t));
	turns_plan(&t, &target, &interp);
	assert_int_equal(turns_ranges(&t, ranges), 0);
	target = target_of(false);
	target.layout.gil.switches = ABSENT;
	turns_plan(&t, &target, &interp);
	assert_int_equal(turns_ranges(&t, ranges), 0);
	turns_look(&t);
	turns_begin(&t);
	assert_false(turns_known(&t));
}

/* ---- how many wait ---- */

enum { COND = 32, SINCE_242 = 28, BEFORE_242 = 36 };

/* Reads again what the last look saw, with this in both places that may be the count of those who
 * wait. */
static bool still(struct turns *t, uint32_t since, uint32_t before)
{
	struct memory_range ranges[TURNS_RANGES];

	assert_int_equal(turns_ranges(t, ranges), TURNS_RANGES);
	for (size_t i = 0; i < TURNS_RANGES; i++) {
		uint8_t *cond = (uint8_t *)ranges[i].buf + COND - HOLDER;

		assert_int_equal(ranges[i].len, COND - HOLDER + 48);
		memset(ranges[i].buf, 0, ranges[i].len);
		memcpy(ranges[i].buf, &t->holder, 8);
		memcpy((uint8_t *)ranges[i].buf + COUNT - HOLDER, &t->count, 8);
		memcpy(cond + SINCE_242, &since, 4);
		memcpy(cond + BEFORE_242, &before, 4);
	}
	return turns_still(t);
}

/* Begun, and the condition variable looked at once. */
static struct turns begun_with(uint32_t since, uint32_t before)
{
	struct target target = target_of(false);
	struct turns t = {0};

	target.layout.gil.cond = COND;
	turns_plan(&t, &target, &interp);
	t.holder = 1;
	t.count = 100;
	assert_false(still(&t, since, before)); /* there was no look yet */
	turns_look(&t);
	return t;
}

static void who_waits_is_counted_in_each_form(void **state)
{
	const uint32_t none = 2, three = 3 * 8 + 2;
	struct turns t = begun_with(none, 0);

	assert_int_equal(turns_waiting(&t), 0);
	assert_true(still(&t, three, 1));
	assert_int_equal(turns_waiting(&t), 3);
	/* The most that were seen since the look. */
	assert_true(still(&t, none, 1));
	assert_int_equal(turns_waiting(&t), 3);
	turns_look(&t);
	assert_int_equal(turns_waiting(&t), 0);
	t = begun_with(5, three);
	assert_int_equal(turns_waiting(&t), 3);
	assert_true(still(&t, 5, none));
}

static void who_waits_is_not_counted_in_no_form_or_in_two(void **state)
{
	struct turns t = begun_with(2, 2);

	assert_false(still(&t, 2, 2));
	/* Whichever is another for an instant is none from then on. */
	assert_true(still(&t, 10, 3));
	assert_true(still(&t, 10, 10));
	assert_int_equal(turns_waiting(&t), 1);
	assert_false(still(&t, 11, 10));
	assert_false(still(&t, 2, 10));
	t = begun();
	assert_false(turns_still(&t)); /* its layout does not tell where */
}

struct waiters {
	pthread_cond_t cond;
	pthread_mutex_t mutex;
	unsigned inside;
	bool over;
};

static void *wait_there(void *arg)
{
	struct waiters *w = arg;

	pthread_mutex_lock(&w->mutex);
	w->inside++;
	while (!w->over)
		pthread_cond_wait(&w->cond, &w->mutex);
	pthread_mutex_unlock(&w->mutex);
	return NULL;
}

/* A condition variable of this C library, made as CPython makes that of its GIL. */
static void who_waits_in_this_c_library_is_counted(void **state)
{
	struct waiters w = {.mutex = PTHREAD_MUTEX_INITIALIZER};
	struct memory_range ranges[TURNS_RANGES];
	struct turns t = begun_with(0, 0);
	pthread_condattr_t attr;
	pthread_t threads[3];
	unsigned inside = 0;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w.cond, &attr);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, wait_there, &w), 0);
	while (inside < 3) {
		pthread_mutex_lock(&w.mutex);
		inside = w.inside;
		pthread_mutex_unlock(&w.mutex);
		sched_yield();
	}
	/* Whoever left the mutex inside waits. */
	pthread_mutex_lock(&w.mutex);
	t.forms = (1u << TURNS_FORMS) - 1;
	assert_int_equal(turns_ranges(&t, ranges), TURNS_RANGES);
	for (size_t i = 0; i < TURNS_RANGES; i++) {
		memset(ranges[i].buf, 0, ranges[i].len);
		memcpy(ranges[i].buf, &t.holder, 8);
		memcpy((uint8_t *)ranges[i].buf + COUNT - HOLDER, &t.count, 8);
		memcpy((uint8_t *)ranges[i].buf + COND - HOLDER, &w.cond, sizeof(w.cond));
	}
	assert_true(turns_still(&t));
	assert_int_equal(turns_waiting(&t), 3);
	w.over = true;
	pthread_cond_broadcast(&w.cond);
	pthread_mutex_unlock(&w.mutex);
	for (size_t i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	pthread_cond_destroy(&w.cond);
	pthread_condattr_destroy(&attr);
}

static void a_turn_since_the_look_is_seen(void **state)
{
	struct turns t = begun_with(2, 0);

	t.count++;
	assert_true(still(&t, 2, 0));
	t.count--;
	assert_false(turns_still(&t));
	t.shared = true;
	assert_false(still(&t, 2, 0));
}

static void a_plan_made_again_keeps_what_is_known_of_the_same_gil(void **state)
{
	const struct interpreter_info other = {.gil = GIL + 0x1000};
	struct target target = target_of(false);
	struct turns t = begun();

	turns_plan(&t, &target, &interp);
	assert_true(turns_known(&t));
	turns_plan(&t, &target, &other);
	assert_false(turns_known(&t));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(while_nobody_took_it_only_the_holder_can_have_run),
		cmocka_unit_test(who_took_it_once_between_two_looks_is_known),
		cmocka_unit_test(who_took_it_between_others_is_not),
		cmocka_unit_test(a_look_at_what_changes_tells_nothing),
		cmocka_unit_test(what_cannot_be_read_tells_nothing),
		cmocka_unit_test(nothing_is_known_before_a_span_begins),
		cmocka_unit_test(what_does_not_count_is_not_believed),
		cmocka_unit_test(so_many_holders_are_remembered_and_no_more),
		cmocka_unit_test(a_gil_of_several_interpreters_and_none_tell_nothing),
		cmocka_unit_test(who_waits_is_counted_in_each_form),
		cmocka_unit_test(who_waits_is_not_counted_in_no_form_or_in_two),
		cmocka_unit_test(who_waits_in_this_c_library_is_counted),
		cmocka_unit_test(a_turn_since_the_look_is_seen),
		cmocka_unit_test(a_plan_made_again_keeps_what_is_known_of_the_same_gil),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
