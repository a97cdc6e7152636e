/* Greenlets in memory that is made up, right and wrong. */
#include "remote/greenlets.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "remote/tables.h"
#include "remote/tasks.h"
#include "tests/unit/synthetic_tasks.h"

#define CALLS 1024

struct world {
	struct synthetic_tasks s;
	struct greenlets found;
};

static int setup(void **state)
{
	static struct world w;

	memset(&w, 0, sizeof(w));
	synthetic_tasks_init(&w.s, false);
	synthetic_tasks_add_greenlets(&w.s);
	*state = &w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	greenlets_done(&w->found);
	synthetic_tasks_done(&w->s);
	return 0;
}

static void find(struct world *w)
{
	assert_int_equal(greenlets_find(&w->found, &w->s.target, w->s.interp,
					synthetic_tasks_greenlet_type(&w->s), CALLS),
			 0);
}

static struct greenlet read_one(struct world *w, int number)
{
	struct greenlet g = {0};

	assert_int_equal(greenlet_read(w->s.target.memory, &w->s.target.layout, &w->found,
				       w->s.greenlets[number], &g),
			 0);
	return g;
}

static void all_are_found_and_where_they_run(void **state)
{
	struct world *w = *state;

	find(w);
	assert_int_equal(w->found.n, SYNTHETIC_GREENLETS);
	assert_non_null(w->found.layout);
	assert_false(w->found.more || w->found.unreadable);
	assert_int_equal(w->found.n_threads, 1);
	assert_int_equal(w->found.threads[0].main, w->s.greenlets[0]);
	assert_int_equal(w->found.threads[0].tstate, w->s.tstate);
	assert_int_equal(read_one(w, 0).state, GREENLET_RUNNING);
	assert_int_equal(read_one(w, 1).state, GREENLET_SUSPENDED);
	assert_int_equal(read_one(w, 2).state, GREENLET_NEW);
	for (int i = 0; i < SYNTHETIC_GREENLETS; i++)
		assert_int_equal(read_one(w, i).main, w->s.greenlets[0]);
}

static void a_list_that_is_torn_is_told(void **state)
{
	struct world *w = *state;

	/* The second is not linked back. */
	synthetic_tasks_put(&w->s, w->s.greenlets[1] - 16, 8, w->s.gc_lists);
	find(w);
	assert_int_equal(w->found.n, 1);
	assert_true(w->found.more);
}

static void a_circle_beside_the_head_ends(void **state)
{
	struct world *w = *state;

	synthetic_tasks_put(&w->s, w->s.greenlets[1] - 16, 0, w->s.greenlets[0] - 16);
	find(w);
	assert_true(w->found.more);
	assert_int_equal(w->found.n, 2);
}

static void flags_in_the_links_do_not_matter(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < SYNTHETIC_GREENLETS; i++)
		for (int k = 0; k < 16; k += 8) {
			uint64_t node = w->s.greenlets[i] - 16;

			synthetic_tasks_put(&w->s, node, k,
					    synthetic_tasks_get(&w->s, node, k) | (k ? 3 : 1));
		}
	find(w);
	assert_int_equal(w->found.n, SYNTHETIC_GREENLETS);
	assert_false(w->found.more);
}

static void the_heads_of_packed_builds_are_found(void **state)
{
	struct world *w = *state;
	const struct layout *l = &w->s.target.layout;
	uint64_t first = w->s.greenlets[0] - 16, last = w->s.greenlets[2] - 16;
	uint64_t head = w->s.gc_lists - LAYOUT_GC_PACKED;

	for (int i = 2; i >= 0; i--) {
		uint64_t at = head + (uint64_t)(i * l->gc.generation_size);

		synthetic_tasks_put(&w->s, at, 0, i ? at : first);
		synthetic_tasks_put(&w->s, at, 8, i ? at : last);
	}
	synthetic_tasks_put(&w->s, first, 8, head);
	synthetic_tasks_put(&w->s, last, 0, head);
	find(w);
	assert_int_equal(w->found.n, SYNTHETIC_GREENLETS);
	assert_false(w->found.unreadable || w->found.more);
}

static void lists_that_are_none_are_told(void **state)
{
	struct world *w = *state;
	uint64_t permanent = w->s.gc_lists + (uint64_t)w->s.target.layout.gc.permanent;

	/* The younger ones may just be changed. */
	synthetic_tasks_put(&w->s, w->s.gc_lists, 0, 0);
	find(w);
	assert_true(w->found.more && !w->found.unreadable);
	synthetic_tasks_put(&w->s, permanent, 0, 0);
	find(w);
	assert_true(w->found.unreadable);
	assert_int_equal(w->found.n, 0);
}

static void another_layout_is_not_believed(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < SYNTHETIC_GREENLETS; i++)
		synthetic_tasks_put(&w->s, w->s.state[i], 160, w->s.greenlets[(i + 1) % 3]);
	find(w);
	assert_true(w->found.unreadable);
	assert_null(w->found.layout);
	assert_int_equal(read_one(w, 1).state, GREENLET_ENDED);
}

static void what_contradicts_itself_has_moved(void **state)
{
	struct world *w = *state;
	struct greenlet g;
	const int32_t stack = 48, frame = 128;

	find(w);
	assert_int_equal(w->found.layout->stack, stack);
	assert_int_equal(w->found.layout->frame, frame);
	synthetic_tasks_put(&w->s, w->s.state[1], frame, w->s.greenlets[0]);
	assert_int_equal(greenlet_read(w->s.target.memory, &w->s.target.layout, &w->found,
				       w->s.greenlets[1], &g),
			 -EAGAIN);
	/* More is kept of a stack than there is of it. */
	synthetic_tasks_put(&w->s, w->s.state[1], frame,
			    synthetic_tasks_get(&w->s, w->s.state[1], stack) + 16);
	synthetic_tasks_put(&w->s, w->s.state[1], stack + 24, 1u << 20);
	assert_int_equal(greenlet_read(w->s.target.memory, &w->s.target.layout, &w->found,
				       w->s.greenlets[1], &g),
			 -EAGAIN);
}

static void one_that_was_freed_does_not_live(void **state)
{
	struct world *w = *state;

	assert_true(greenlet_lives(w->s.target.memory, w->s.greenlets[1]));
	synthetic_tasks_put(&w->s, w->s.greenlets[1], 0, 0);
	assert_false(greenlet_lives(w->s.target.memory, w->s.greenlets[1]));
}

static void parents_that_are_a_circle_have_no_first(void **state)
{
	struct world *w = *state;

	find(w);
	synthetic_tasks_put(&w->s, w->s.state[1], w->found.layout->parent, w->s.greenlets[2]);
	synthetic_tasks_put(&w->s, w->s.state[2], w->found.layout->parent, w->s.greenlets[1]);
	assert_int_equal(read_one(w, 1).main, 0);
}

/* Bytes before, in, and behind what was moved away. */
static void a_frame_is_read_where_its_stack_is_kept(void **state)
{
	struct world *w = *state;
	uint64_t at = w->s.tasks[0], kept = w->s.tasks[1];
	struct greenlet g = {.stack = at + 8, .saved = 16, .copy = kept};
	uint64_t words[4];

	for (int i = 0; i < 5; i++) {
		synthetic_tasks_put(&w->s, at, 8 * i, (uint64_t)i);
		synthetic_tasks_put(&w->s, kept, 8 * i, (uint64_t)(100 + i));
	}
	assert_int_equal(greenlet_read_frame(w->s.target.memory, &g, at + 8, words, 32), 0);
	assert_int_equal(words[0], 100);
	assert_int_equal(words[1], 101);
	assert_int_equal(words[2], 3);
	assert_int_equal(words[3], 4);
	assert_int_equal(greenlet_read_frame(w->s.target.memory, &g, at, words, 8), 0);
	assert_int_equal(words[0], 0);
	assert_int_equal(greenlet_read_frame(w->s.target.memory, &g, at + 24, words, 8), 0);
	assert_int_equal(words[0], 3);
}

static uint32_t depth(struct tables *t, uint32_t stack)
{
	uint32_t n = 0;

	for (; stack && n < 8; n++)
		stack = tables_get_stack(t, stack)->parent;
	return n;
}

static void they_are_tasks_beside_those_of_asyncio(void **state)
{
	struct world *w = *state;
	struct task_reader *r;
	struct tables *tables;
	struct tasks tasks;
	int seen = 0;

	assert_int_equal(tables_new(&tables), 0);
	assert_int_equal(task_reader_new(&r, &w->s.target, tables), 0);
	assert_int_equal(task_reader_find_greenlets(r, CALLS), 0);
	assert_int_equal(task_reader_read(r, &tasks), 0);
	assert_int_equal(tasks.n, SYNTHETIC_TASKS + SYNTHETIC_GREENLETS);
	assert_int_equal(tasks.problems, 0);
	assert_int_equal(tasks.n_loop_threads, 1);
	for (size_t i = 0; i < tasks.n; i++)
		for (int k = 0; k < SYNTHETIC_GREENLETS; k++) {
			const struct task_info *t = &tasks.info[i];

			if (t->addr != w->s.greenlets[k])
				continue;
			seen++;
			assert_int_equal(t->state, k == 0 ? TASK_RUNNING : TASK_PENDING);
			assert_int_equal(t->loop, w->s.greenlets[0]);
			assert_int_equal(t->tstate, w->s.tstate);
			assert_int_equal(depth(tables, t->stack), k == 1 ? 2 : 0);
		}
	assert_int_equal(seen, SYNTHETIC_GREENLETS);
	tasks_done(&tasks);
	task_reader_free(r);
	tables_free(tables);
}

static void two_that_run_in_one_thread_have_moved(void **state)
{
	struct world *w = *state;
	struct task_reader *r;
	struct tables *tables;
	struct tasks tasks;

	assert_int_equal(tables_new(&tables), 0);
	assert_int_equal(task_reader_new(&r, &w->s.target, tables), 0);
	assert_int_equal(task_reader_find_greenlets(r, CALLS), 0);
	synthetic_tasks_put(&w->s, w->s.state[1], 96, 0);
	assert_int_equal(task_reader_read(r, &tasks), 0);
	assert_int_equal(tasks.problems, 2);
	tasks_done(&tasks);
	task_reader_free(r);
	tables_free(tables);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(all_are_found_and_where_they_run),
		TEST(a_list_that_is_torn_is_told),
		TEST(a_circle_beside_the_head_ends),
		TEST(flags_in_the_links_do_not_matter),
		TEST(the_heads_of_packed_builds_are_found),
		TEST(lists_that_are_none_are_told),
		TEST(another_layout_is_not_believed),
		TEST(what_contradicts_itself_has_moved),
		TEST(one_that_was_freed_does_not_live),
		TEST(parents_that_are_a_circle_have_no_first),
		TEST(a_frame_is_read_where_its_stack_is_kept),
		TEST(they_are_tasks_beside_those_of_asyncio),
		TEST(two_that_run_in_one_thread_have_moved),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
