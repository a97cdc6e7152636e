/* Which task runs in a thread that is sampled, in memory that is made up. */
#include "remote/tasks-sample.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "remote/object.h"
#include "tests/unit/synthetic_tasks.h"

#define UNKNOWN "not known"
#define NONE	"none"

static struct synthetic_tasks s;
static struct tables *tables;
static struct task_watcher *watcher;
static struct task_watch *watch;
static struct walker *walker;

static int set_up(void **state)
{
	synthetic_tasks_init(&s, true);
	assert_int_equal(tables_new(&tables), 0);
	assert_int_equal(task_watcher_new(&watcher, &s.target, tables), 0);
	watch = task_watch_new(watcher, s.interp, s.tstate);
	assert_non_null(watch);
	assert_int_equal(walker_new(&walker, &s.target, s.tstate, 1, s.interp), 0);
	task_watch_begin(watch);
	return 0;
}

static int tear_down(void **state)
{
	walker_free(walker);
	task_watch_free(watch);
	task_watcher_free(watcher);
	tables_free(tables);
	synthetic_tasks_done(&s);
	return 0;
}

static void run(int number)
{
	synthetic_tasks_put(&s, s.tstate, s.target.layout.tstate.asyncio_task,
			    number < 0 ? 0 : s.tasks[number]);
}

static uint64_t rename_to(int number, uint64_t name)
{
	const int32_t offset = s.target.layout.task.name;
	uint64_t before = synthetic_tasks_get(&s, s.tasks[number], offset);

	synthetic_tasks_put(&s, s.tasks[number], offset, name);
	return before;
}

/* A gather of what is read before, beside and behind. Where number is not -1 that task has another
 * name while the first two are read. */
static void gather(int number, uint64_t name)
{
	struct memory_range before[TASK_WATCH_RANGES], behind[TASK_WATCH_RANGES];
	struct memory_range midst[TASK_WATCH_BESIDE];
	const struct memory_range *beside;
	size_t n_beside = task_watch_beside(watch, &beside);
	size_t n_before = task_watch_before(watch, before);
	size_t n_behind = task_watch_behind(watch, behind);
	struct timespec t;
	uint64_t kept = 0;

	memcpy(midst, beside, n_beside * sizeof(*midst));
	if (number >= 0)
		kept = rename_to(number, name);
	assert_int_equal(memory_gather(s.target.memory, before, n_before), 0);
	assert_int_equal(memory_gather(s.target.memory, midst, n_beside), 0);
	if (number >= 0)
		rename_to(number, kept);
	assert_int_equal(memory_gather(s.target.memory, behind, n_behind), 0);
	clock_gettime(CLOCK_MONOTONIC, &t);
	/* A second from now: it is not late, however slow this machine is. */
	task_watch_confirm(watch, (uint64_t)(t.tv_sec + 1) * 1000000000u + (uint64_t)t.tv_nsec,
			   false);
}

/* The task's own marker, the last of its chain, of a stack of which nothing else is known. */
static const char *told(void)
{
	static char text[64];
	struct walk_context c = {.target = &s.target, .tables = tables};
	const struct table_string *name;
	uint32_t task, below;

	task_watch_judge_moving(watch, walker, &c, &task, &below);
	if (task == SAMPLE_TASK_UNKNOWN)
		return UNKNOWN;
	if (task == SAMPLE_TASK_NONE)
		return NONE;
	task = tables_get_stack(tables, task - SAMPLE_TASK_STACK)->frame;
	task = tables_get_frame(tables, task)->function;
	name = tables_get_string(tables, tables_get_function(tables, task)->name);
	snprintf(text, sizeof(text), "%.*s", (int)name->len, name->bytes);
	return text;
}

/* As a tick does, and a second gather where something was not known. */
static const char *sample(void)
{
	task_watch_begin(watch);
	gather(-1, 0);
	if (task_watch_lacks(watch)) {
		task_watch_find(watch);
		gather(-1, 0);
	}
	return told();
}

static void a_task_that_was_not_known_is_found_and_then_told(void **state)
{
	assert_string_equal(sample(), NONE);
	run(1);
	task_watch_begin(watch);
	gather(-1, 0);
	assert_string_equal(told(), UNKNOWN);
	assert_true(task_watch_lacks(watch));
	task_watch_find(watch);
	gather(-1, 0);
	assert_string_equal(told(), "task 1 (2 parents)");
}

static void those_that_are_known_are_told_however_they_switch(void **state)
{
	static const char *const names[] = {"task 0", "task 1 (2 parents)", "task 2"};

	for (int i = 0; i < SYNTHETIC_TASKS; i++) {
		run(i);
		assert_string_equal(sample(), names[i]);
	}
	for (int i = 0; i < 300; i++) {
		int number = i * i % 7 % SYNTHETIC_TASKS;

		run(number);
		gather(-1, 0);
		assert_false(task_watch_lacks(watch));
		assert_string_equal(told(), names[number]);
	}
	run(-1);
	gather(-1, 0);
	assert_string_equal(told(), NONE);
}

static void what_is_found_is_the_task_that_runs_by_then(void **state)
{
	run(2);
	task_watch_begin(watch);
	gather(-1, 0);
	run(1);
	task_watch_find(watch);
	gather(-1, 0);
	assert_string_equal(told(), "task 1 (2 parents)");
	/* The other is known with the next tick. */
	run(2);
	task_watch_begin(watch);
	gather(-1, 0);
	assert_string_equal(told(), "task 2");
}

static void a_name_is_told_while_it_is_borne(void **state)
{
	uint64_t other = synthetic_tasks_get(&s, s.tasks[0], s.target.layout.task.name), name;

	run(2);
	assert_string_equal(sample(), "task 2");
	/* It had another before, and in the midst. */
	gather(2, other);
	assert_string_equal(told(), UNKNOWN);
	/* It gets another. */
	name = rename_to(2, other);
	gather(-1, 0);
	assert_string_equal(told(), UNKNOWN);
	assert_string_equal(sample(), "task 0");
	/* That is doubted, and read in the midst. */
	gather(-1, 0);
	assert_string_equal(told(), "task 0");
	gather(2, name);
	assert_string_equal(told(), UNKNOWN);
	gather(-1, 0);
	assert_string_equal(told(), "task 0");
}

static void where_a_loop_ends_there_is_none(void **state)
{
	const int32_t loop = s.target.layout.tstate.asyncio_loop;

	run(1);
	assert_string_equal(sample(), "task 1 (2 parents)");
	synthetic_tasks_put(&s, s.tstate, loop, 0);
	run(-1);
	task_watch_begin(watch);
	gather(-1, 0);
	assert_string_equal(told(), UNKNOWN);
	assert_true(task_watch_lacks(watch));
	task_watch_find(watch);
	gather(-1, 0);
	assert_false(task_watch_lacks(watch));
}

static void what_was_not_gathered_is_not_told(void **state)
{
	run(1);
	assert_string_equal(sample(), "task 1 (2 parents)");
	task_watch_drop(watch);
	assert_string_equal(told(), UNKNOWN);
	/* Words that cannot be read. */
	synthetic_tasks_put(&s, s.tasks[1], s.target.layout.task.coro, 8);
	assert_string_equal(sample(), UNKNOWN);
	run(-1);
	synthetic_tasks_put(&s, s.tstate, s.target.layout.tstate.asyncio_task, 8);
	assert_string_equal(sample(), UNKNOWN);
}

struct pairs {
	uint64_t keys[8], values[8];
	size_t n;
};

static int note_pair(void *arg, uint64_t key, uint64_t value)
{
	struct pairs *p = arg;

	assert_true(p->n < 8);
	p->keys[p->n] = key;
	p->values[p->n++] = value;
	return 0;
}

static void a_dict_is_searched_in_a_copy_of_its_table(void **state)
{
	const struct layout *l = &s.target.layout;
	uint64_t keys = synthetic_tasks_get(&s, s.modules, l->dict.ma_keys), value;
	struct pairs pairs = {.n = 0};
	uint8_t bytes[4096];
	size_t len;

	assert_int_equal(object_each_item(s.target.memory, l, s.modules, note_pair, &pairs), 0);
	assert_true(pairs.n > 0);
	assert_int_equal(object_keys_length(s.target.memory, l, keys, &len), 0);
	assert_in_range(len, (size_t)l->dict.keys_header, sizeof(bytes));
	assert_int_equal(memory_read(s.target.memory, keys, bytes, len), 0);
	for (size_t i = 0; i < pairs.n; i++) {
		assert_int_equal(object_keys_find(l, bytes, len, pairs.keys[i], &value), 0);
		assert_int_equal(value, pairs.values[i]);
	}
	assert_int_equal(object_keys_find(l, bytes, len, s.none, &value), -ENOENT);
	/* One that was cut, that is not there at all, and what is no table. */
	assert_int_equal(object_keys_find(l, bytes, (size_t)l->dict.keys_header, s.none, &value),
			 -EBADMSG);
	assert_int_equal(object_keys_find(l, bytes, 0, s.none, &value), -EBADMSG);
	memset(bytes, 0xff, (size_t)l->dict.keys_header);
	assert_int_equal(object_keys_find(l, bytes, len, s.none, &value), -EBADMSG);
	assert_true(object_keys_length(s.target.memory, l, 8, &len) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
		TEST(a_task_that_was_not_known_is_found_and_then_told),
		TEST(those_that_are_known_are_told_however_they_switch),
		TEST(what_is_found_is_the_task_that_runs_by_then),
		TEST(a_name_is_told_while_it_is_borne),
		TEST(where_a_loop_ends_there_is_none),
		TEST(what_was_not_gathered_is_not_told),
		TEST(a_dict_is_searched_in_a_copy_of_its_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
