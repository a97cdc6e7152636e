/* Tasks in memory that is made up, right and wrong. */
#include "remote/tasks.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "remote/memo.h"
#include "remote/tasks-waits.h"
#include "tests/unit/synthetic_tasks.h"

/* One look at a made-up world. */
struct look {
	struct synthetic_tasks s;
	struct tables *tables;
	struct tasks tasks;
};

static void look(struct look *l)
{
	struct task_reader *r;

	assert_int_equal(tables_new(&l->tables), 0);
	assert_int_equal(task_reader_new(&r, &l->s.target, l->tables), 0);
	assert_int_equal(task_reader_read(r, &l->tasks), 0);
	task_reader_free(r);
}

static void look_done(struct look *l)
{
	tasks_done(&l->tasks);
	tables_free(l->tables);
	synthetic_tasks_done(&l->s);
}

static const struct task_info *task(const struct look *l, int number)
{
	for (size_t i = 0; i < l->tasks.n; i++)
		if (l->tasks.info[i].addr == l->s.tasks[number])
			return &l->tasks.info[i];
	return NULL;
}

static bool awaits(const struct look *l, int awaiter, int number)
{
	const struct task_info *t = task(l, number);

	for (uint32_t i = 0; i < t->n_awaiters; i++)
		if (l->tasks.info[l->tasks.awaiters[t->first_awaiter + i]].addr ==
		    l->s.tasks[awaiter])
			return true;
	return false;
}

static const char *text(const struct look *l, uint32_t id, char *buf, size_t size)
{
	const struct table_string *s = tables_get_string(l->tables, id);

	if (!s || s->len >= size)
		return NULL;
	memcpy(buf, s->bytes, s->len);
	buf[s->len] = '\0';
	return buf;
}

/* The names of a stack's functions, the base first, "outer inner". */
static const char *stack(const struct look *l, uint32_t id, char *buf, size_t size)
{
	char name[32], rest[256] = "";

	buf[0] = '\0';
	for (int i = 0; id && i < 8; i++) {
		const struct table_stack *s = tables_get_stack(l->tables, id);
		const struct table_frame *f = tables_get_frame(l->tables, s->frame);

		text(l, tables_get_function(l->tables, f->function)->name, name, sizeof(name));
		snprintf(buf, size, "%s%s%s", name, rest[0] ? " " : "", rest);
		snprintf(rest, sizeof(rest), "%s", buf);
		id = s->parent;
	}
	return buf;
}

static void check_world(struct look *l)
{
	char buf[256], name[16];

	look(l);
	assert_int_equal(l->tasks.n, SYNTHETIC_TASKS);
	assert_int_equal(l->tasks.found, TASKS_FOUND);
	assert_int_equal(l->tasks.problems, 0);
	assert_false(l->tasks.more);
	assert_int_equal(l->tasks.n_loop_threads, 1);
	assert_int_equal(l->tasks.loop_threads[0], l->s.tstate);
	for (int i = 0; i < SYNTHETIC_TASKS; i++) {
		const struct task_info *t = task(l, i);

		assert_non_null(t);
		snprintf(name, sizeof(name), "task %d", i);
		assert_string_equal(text(l, t->name, buf, sizeof(buf)), name);
		assert_string_equal(stack(l, t->stack, buf, sizeof(buf)), "outer inner");
		assert_int_equal(t->state, TASK_PENDING);
		assert_int_equal(t->tstate, l->s.tstate);
		assert_int_equal(t->loop, l->s.loop);
	}
	assert_int_equal(task(l, 0)->n_awaiters, 0);
	assert_int_equal(task(l, 1)->n_awaiters, 2);
	assert_true(awaits(l, 0, 1) && awaits(l, 2, 1));
	assert_int_equal(task(l, 2)->n_awaiters, 1);
	assert_true(awaits(l, 0, 2));
	look_done(l);
}

static void tasks_of_a_set_and_their_callbacks(void **state)
{
	static struct look l;

	synthetic_tasks_init(&l.s, false);
	check_world(&l);
}

static void tasks_of_a_list_and_their_awaiters(void **state)
{
	static struct look l;

	synthetic_tasks_init(&l.s, true);
	check_world(&l);
}

static void coroutines_in_a_circle_end(void **state)
{
	static struct look l;
	char buf[256];

	synthetic_tasks_init(&l.s, true);
	synthetic_tasks_await(&l.s, l.s.inner[1], l.s.outer[1]);
	look(&l);
	assert_int_equal(l.tasks.n, SYNTHETIC_TASKS);
	assert_int_equal(task(&l, 1)->problem, TASK_UNREADABLE);
	assert_int_equal(task(&l, 2)->problem, TASK_FINE);
	assert_string_equal(stack(&l, task(&l, 2)->stack, buf, sizeof(buf)), "outer inner");
	look_done(&l);
}

static void what_is_being_sent_is_no_end_of_a_stack(void **state)
{
	static struct look l;

	synthetic_tasks_init(&l.s, false);
	synthetic_tasks_await(&l.s, l.s.outer[1], l.s.none);
	synthetic_tasks_await(&l.s, l.s.inner[2], 0);
	look(&l);
	assert_int_equal(task(&l, 0)->problem, TASK_FINE);
	assert_int_equal(task(&l, 1)->problem, TASK_MOVED);
	assert_int_equal(task(&l, 1)->stack, 0);
	assert_int_equal(task(&l, 2)->problem, TASK_MOVED);
	assert_int_equal(l.tasks.problems, 2);
	look_done(&l);
}

static void an_unreadable_coroutine_keeps_what_is_above_it(void **state)
{
	static struct look l;
	char buf[256];

	synthetic_tasks_init(&l.s, true);
	/* A coroutine by its type, whose frame lies behind the memory's end. */
	{
		uint64_t end = SYNTHETIC_TASKS_BASE + SYNTHETIC_TASKS_SIZE - 16;

		synthetic_tasks_put(&l.s, end, 8, synthetic_tasks_get(&l.s, l.s.outer[1], 8));
		synthetic_tasks_await(&l.s, l.s.outer[1], end);
	}
	look(&l);
	assert_int_equal(task(&l, 1)->problem, TASK_UNREADABLE);
	assert_string_equal(stack(&l, task(&l, 1)->stack, buf, sizeof(buf)), "outer");
	look_done(&l);
}

static void a_list_that_does_not_come_back_is_said_to_have_more(void **state)
{
	static struct look l;
	int32_t node, next;

	synthetic_tasks_init(&l.s, true);
	node = l.s.target.layout.task.node;
	next = l.s.target.layout.llist.next;
	/* The last one leads to the second, whose link back is to the first. */
	synthetic_tasks_put(&l.s, l.s.tasks[2] + (uint64_t)node, next,
			    l.s.tasks[1] + (uint64_t)node);
	look(&l);
	assert_int_equal(l.tasks.n, SYNTHETIC_TASKS);
	assert_true(l.tasks.more);
	look_done(&l);
}

static void a_set_of_any_size_is_bounded(void **state)
{
	static struct look l;

	synthetic_tasks_init(&l.s, false);
	synthetic_tasks_put(&l.s, l.s.set, l.s.target.layout.set.mask, UINT64_MAX);
	look(&l);
	assert_int_equal(l.tasks.n, 0);
	look_done(&l);
	synthetic_tasks_init(&l.s, false);
	synthetic_tasks_put(&l.s, l.s.set, l.s.target.layout.set.mask, (1u << 20) - 1);
	look(&l);
	assert_true(l.tasks.n <= SYNTHETIC_TASKS);
	look_done(&l);
}

static void a_task_that_is_done_is_not_shown(void **state)
{
	static struct look l;
	uint64_t word;
	int32_t at;

	synthetic_tasks_init(&l.s, false);
	at = l.s.target.layout.task.state;
	word = synthetic_tasks_get(&l.s, l.s.tasks[2], at);
	synthetic_tasks_put(&l.s, l.s.tasks[2], at, word | 2);
	look(&l);
	assert_int_equal(l.tasks.n, SYNTHETIC_TASKS - 1);
	assert_null(task(&l, 2));
	assert_int_equal(task(&l, 1)->n_awaiters, 1);
	look_done(&l);
}

static void a_running_coroutine_has_the_frames_of_its_thread(void **state)
{
	static struct look l;
	const struct layout *lay = &l.s.target.layout;
	uint64_t cframe, frame;
	char buf[256];

	synthetic_tasks_init(&l.s, false);
	/* inner runs, called by outer; nothing calls that. */
	cframe = synthetic_tasks_get(&l.s, l.s.tstate, lay->tstate.cframe);
	frame = l.s.inner[1] + (uint64_t)lay->gen.iframe;
	synthetic_tasks_put(&l.s, cframe, lay->cframe.current_frame, frame);
	synthetic_tasks_put(&l.s, frame, lay->frame.previous,
			    l.s.outer[1] + (uint64_t)lay->gen.iframe);
	look(&l);
	assert_int_equal(task(&l, 1)->state, TASK_RUNNING);
	assert_string_equal(stack(&l, task(&l, 1)->stack, buf, sizeof(buf)), "outer inner");
	assert_int_equal(task(&l, 0)->state, TASK_PENDING);
	look_done(&l);
}

/* What a thread runs, and who waits for it: three tasks in a chain. */
static void a_running_task_stands_on_those_that_await_it(void **state)
{
	static struct look l;
	const struct layout *lay = &l.s.target.layout;
	struct memory_log log = {0};
	struct task_chain chain;
	struct task_place place;
	struct task_reader *r;
	struct memo memo = {0};
	static uint8_t scratch[MEMO_BYTES];
	char buf[256];

	synthetic_tasks_init(&l.s, true);
	assert_int_equal(tables_new(&l.tables), 0);
	assert_int_equal(task_reader_new(&r, &l.s.target, l.tables), 0);
	/* Where it says what runs depends on the loop, not on the task. */
	assert_int_equal(task_reader_place(r, l.s.interp, l.s.tstate, &log, &place), 0);
	assert_int_equal(place.loop, l.s.loop);
	assert_int_equal(place.word, l.s.tstate + (uint64_t)lay->tstate.asyncio_task);
	assert_true(!place.green && !place.switches && !place.unsure);
	assert_int_equal(memo_keep(&memo, &log), 0);
	synthetic_tasks_put(&l.s, l.s.tstate, lay->tstate.asyncio_task, l.s.tasks[1]);
	assert_true(memo_holds_in(&memo, l.s.target.memory, scratch));
	synthetic_tasks_put(&l.s, l.s.tstate, lay->tstate.asyncio_loop, l.s.none);
	assert_false(memo_holds_in(&memo, l.s.target.memory, scratch));
	assert_int_equal(task_reader_place(r, l.s.interp, l.s.tstate, &log, &place), 0);
	assert_true(!place.loop && !place.word);
	/* None is no task, and an answer. */
	assert_int_equal(task_reader_chain(r, l.s.interp, 0, l.s.none, &log, &chain), 0);
	assert_int_equal(chain.task, 0);
	/* What is no task otherwise is not. */
	assert_int_equal(task_reader_chain(r, l.s.interp, 0, l.s.outer[1], &log, &chain), -EAGAIN);
	assert_int_equal(task_reader_chain(r, l.s.interp, 0, l.s.tasks[1], &log, &chain), 0);
	assert_int_equal(chain.task, l.s.tasks[1]);
	assert_int_equal(chain.frame, l.s.outer[1] + (uint64_t)lay->gen.iframe);
	/* Of its two awaiters the one at the lowest address, which none awaits. */
	assert_string_equal(stack(&l, chain.stack, buf, sizeof(buf)),
			    "task 0 outer inner task 1 (2 parents)");
	/* The answer holds until one of its words changes, and not because of others: what the task
	 * itself waits for when it does not run among them. */
	assert_int_equal(memo_keep(&memo, &log), 0);
	assert_true(memo_holds_in(&memo, l.s.target.memory, scratch));
	synthetic_tasks_put(&l.s, l.s.tasks[2], lay->task.coro, l.s.outer[0]);
	synthetic_tasks_put(&l.s, l.s.tasks[1], lay->task.fut_waiter, l.s.tasks[0]);
	assert_true(memo_holds_in(&memo, l.s.target.memory, scratch));
	synthetic_tasks_await(&l.s, l.s.inner[0], l.s.inner[2]);
	assert_false(memo_holds_in(&memo, l.s.target.memory, scratch));
	/* A chain of one coroutine more; and one that ends in a circle of tasks. */
	assert_int_equal(task_reader_chain(r, l.s.interp, 0, l.s.tasks[1], &log, &chain), 0);
	assert_string_equal(stack(&l, chain.stack, buf, sizeof(buf)),
			    "task 0 outer inner inner task 1 (2 parents)");
	synthetic_tasks_put(&l.s, l.s.tasks[0], lay->task.awaited_by, l.s.tasks[1]);
	assert_int_equal(task_reader_chain(r, l.s.interp, 0, l.s.tasks[1], &log, &chain), 0);
	assert_string_equal(stack(&l, chain.stack, buf, sizeof(buf)),
			    "task 0 outer inner inner task 1 (2 parents)");
	memo_done(&memo);
	memory_log_done(&log);
	task_reader_free(r);
	tables_free(l.tables);
	synthetic_tasks_done(&l.s);
}

struct stays {
	uint32_t stack[8];
	uint64_t count[8], ns[8], lost;
	size_t n;
};

static uint32_t thread_of(void *arg, uint64_t tstate)
{
	return 5;
}

static bool on_stay(void *arg, uint64_t time_ns, uint64_t ns, uint64_t count, uint32_t thread,
		    uint32_t stack)
{
	struct stays *s = arg;

	if (stack == 0) {
		s->lost += count;
		return true;
	}
	assert_int_equal(thread, 5);
	assert_true(s->n < 8);
	s->stack[s->n] = stack;
	s->ns[s->n] = ns;
	s->count[s->n++] = count;
	return true;
}

#define MS 1000000u
static void waiting_tasks_are_told_when_they_move(void **state)
{
	static struct look l;
	struct stays stays = {.n = 0};
	const struct waits_listener listener = {&stays, thread_of, on_stay, NULL};
	struct waits *w;
	char buf[256];

	synthetic_tasks_init(&l.s, true);
	assert_int_equal(tables_new(&l.tables), 0);
	assert_int_equal(waits_new(&w, &l.s.target, l.tables, &listener), 0);
	for (uint64_t i = 1; i <= 3; i++)
		assert_int_equal(waits_look(w, i * 1000, MS), 0);
	assert_int_equal(stays.n, 0);
	/* Task 1 is the leaf: none but it is awaited by others and awaits none. */
	synthetic_tasks_await(&l.s, l.s.inner[1], l.s.inner[2]);
	assert_int_equal(waits_look(w, 4000, MS), 0);
	assert_int_equal(stays.n, 1);
	assert_int_equal(stays.count[0], 3);
	assert_int_equal(stays.ns[0], 3 * MS);
	assert_string_equal(stack(&l, stays.stack[0], buf, sizeof(buf)),
			    "task 0 outer inner task 1 (2 parents) outer inner");
	waits_flush(w);
	assert_int_equal(stays.n, 2);
	assert_int_equal(stays.count[1], 1);
	assert_string_equal(stack(&l, stays.stack[1], buf, sizeof(buf)),
			    "task 0 outer inner task 1 (2 parents) outer inner inner");
	assert_int_equal(stays.lost, 0);
	waits_free(w);
	tables_free(l.tables);
	synthetic_tasks_done(&l.s);
}

static void what_cannot_be_read_is_not_what_is_not_there(void **state)
{
	static struct look l;
	struct stays stays = {.n = 0};
	const struct waits_listener listener = {&stays, thread_of, on_stay, NULL};
	const struct layout *lay;
	struct memory_log log = {0};
	struct task_chain chain;
	struct task_reader *r;
	struct waits *w;
	char buf[256];

	synthetic_tasks_init(&l.s, false);
	lay = &l.s.target.layout;
	assert_int_equal(tables_new(&l.tables), 0);
	assert_int_equal(task_reader_new(&r, &l.s.target, l.tables), 0);
	assert_int_equal(task_reader_chain(r, l.s.interp, 0, l.s.tasks[1], &log, &chain), 0);
	/* What says who awaits task 1 lies behind the memory's end. */
	synthetic_tasks_put(&l.s, l.s.tasks[1], lay->task.callback0,
			    SYNTHETIC_TASKS_BASE + SYNTHETIC_TASKS_SIZE);
	synthetic_tasks_put(&l.s, l.s.tasks[2], lay->task.fut_waiter, 0);
	assert_int_equal(task_reader_chain(r, l.s.interp, 0, l.s.tasks[1], &log, &chain), -EAGAIN);
	assert_int_equal(waits_new(&w, &l.s.target, l.tables, &listener), 0);
	for (uint64_t i = 1; i <= 3; i++)
		assert_int_equal(waits_look(w, i * MS, MS), 0);
	waits_flush(w);
	/* A look that was interrupted may have lost more. */
	assert_true(stays.lost >= 3 && stays.n > 0);
	for (size_t i = 0; i < stays.n; i++)
		assert_null(strstr(stack(&l, stays.stack[i], buf, sizeof(buf)), "task 1"));
	waits_free(w);
	memory_log_done(&log);
	task_reader_free(r);
	tables_free(l.tables);
	synthetic_tasks_done(&l.s);
}

/* A loop that makes task 1 again and again, where it was, and each time another of two callbacks:
 * it is awaited whenever it has begun. */
struct loop_going_round {
	struct synthetic_tasks *s;
	uint64_t globals;
	atomic_bool ends;
};

static void put_in_order(struct synthetic_tasks *s, uint64_t addr, int32_t offset, uint64_t word)
{
	atomic_thread_fence(memory_order_seq_cst);
	synthetic_tasks_put(s, addr, offset, word);
}

/* A step of a real loop takes no less; a reading that is believed, no longer. */
static void stay(unsigned *seed)
{
	struct timespec t;
	uint64_t now, end = 0;

	do {
		clock_gettime(CLOCK_MONOTONIC, &t);
		now = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
		if (!end)
			end = now + 20000 + (unsigned)rand_r(seed) % 20000;
	} while (now < end);
}

static void *go_round(void *arg)
{
	struct loop_going_round *loop = arg;
	struct synthetic_tasks *s = loop->s;
	const struct layout *lay = &s->target.layout;
	const uint64_t callbacks[2] = {s->callbacks[1], s->another}, task = s->tasks[1];
	const uint64_t suspended = synthetic_tasks_get(s, s->outer[1], lay->gen.frame_state);
	const uint64_t created = (suspended & ~UINT64_C(0xff)) | (uint8_t)lay->gen.created;
	const uint64_t pending = synthetic_tasks_get(s, task, lay->task.state);
	unsigned seed = 1;

	for (unsigned n = 0; !atomic_load(&loop->ends); n++) {
		const uint64_t callback = callbacks[n & 1];

		/* It ends; what waited for it is freed. */
		put_in_order(s, task, lay->task.state, pending | 2);
		put_in_order(s, task, lay->task.callback0, 0);
		put_in_order(s, callbacks[!(n & 1)], lay->inner.function_globals, 0);
		/* Another is made, and waits to be begun. */
		put_in_order(s, s->outer[1], lay->gen.frame_state, created);
		put_in_order(s, task, lay->task.state, pending);
		stay(&seed);
		put_in_order(s, callback, lay->inner.function_globals, loop->globals);
		put_in_order(s, task, lay->task.callback0, callback);
		put_in_order(s, s->outer[1], lay->gen.frame_state, suspended);
		stay(&seed);
	}
	return NULL;
}

struct places {
	struct look *l;
	size_t alone, below;
};

static bool on_place(void *arg, uint64_t time_ns, uint64_t ns, uint64_t count, uint32_t thread,
		     uint32_t id)
{
	struct places *p = arg;
	char buf[256];

	if (id == 0)
		return true;
	stack(p->l, id, buf, sizeof(buf));
	p->alone += strcmp(buf, "task 1 outer inner") == 0;
	p->below += strcmp(buf, "task 0 outer inner task 1 outer inner") == 0;
	return true;
}

static void pieces_of_two_rounds_are_not_told(void **state)
{
	static struct look l;
	struct places places = {.l = &l};
	const struct waits_listener listener = {&places, thread_of, on_place, NULL};
	struct loop_going_round loop = {.s = &l.s};
	struct waits *w;
	pthread_t thread;

	synthetic_tasks_init(&l.s, false);
	loop.globals =
		synthetic_tasks_get(&l.s, l.s.another, l.s.target.layout.inner.function_globals);
	assert_int_equal(tables_new(&l.tables), 0);
	assert_int_equal(waits_new(&w, &l.s.target, l.tables, &listener), 0);
	assert_int_equal(pthread_create(&thread, NULL, go_round, &loop), 0);
	for (uint64_t i = 1; i <= 30000 || (!places.below && i <= 300000); i++)
		assert_int_equal(waits_look(w, i * MS, MS), 0);
	atomic_store(&loop.ends, true);
	pthread_join(thread, NULL);
	waits_flush(w);
	assert_int_equal(places.alone, 0);
	assert_true(places.below > 0);
	waits_free(w);
	tables_free(l.tables);
	synthetic_tasks_done(&l.s);
}

/* However little of it is asked for, and wherever that stands. */
static void a_memo_is_bounded(void **state)
{
	static uint8_t image[256 * 1024], scratch[MEMO_BYTES];
	struct memory_log log = {0};
	struct memo memo = {0};
	struct memory *m;
	uint8_t byte;

	assert_int_equal(memory_new_image(&m, image, sizeof(image), 0x10000), 0);
	memory_set_log(m, &log);
	for (size_t at = 0; at < MEMO_BYTES - 1; at += 256)
		assert_int_equal(memory_read(m, 0x10000 + at, &byte, 1), 0);
	assert_int_equal(memo_keep(&memo, &log), 0);
	assert_int_equal(memo.n_ranges, 1);
	memory_set_log(m, NULL);
	assert_true(memo_holds_in(&memo, m, scratch));
	memory_set_log(m, &log);
	for (size_t at = 0; at < 2 * MEMO_BYTES; at += 256)
		assert_int_equal(memory_read(m, 0x10000 + at, &byte, 1), 0);
	assert_int_equal(memo_keep(&memo, &log), -E2BIG);
	assert_int_equal(memo.n_ranges, 0);
	memory_log_clear(&log);
	for (size_t at = 0; at <= MEMO_RANGES; at++)
		assert_int_equal(memory_read(m, 0x10000 + 1024 * at, &byte, 1), 0);
	assert_int_equal(memo_keep(&memo, &log), -E2BIG);
	memory_log_clear(&log);
	for (size_t at = 1; at <= MEMO_RANGES; at++)
		assert_int_equal(memory_read(m, 0x10000 + 1024 * at, &byte, 1), 0);
	assert_int_equal(memo_keep(&memo, &log), 0);
	assert_int_equal(memo.n_ranges, MEMO_RANGES);
	image[1024 * 3] = 1;
	memory_set_log(m, NULL);
	assert_false(memo_holds_in(&memo, m, scratch));
	memo_done(&memo);
	memory_log_done(&log);
	memory_free(m);
}

static void without_asyncio_there_are_no_tasks(void **state)
{
	static struct look l;

	synthetic_tasks_init(&l.s, false);
	synthetic_tasks_put(&l.s, l.s.interp, l.s.target.layout.interp.modules, 0);
	look(&l);
	assert_int_equal(l.tasks.found, TASKS_NO_ASYNCIO);
	assert_int_equal(l.tasks.n, 0);
	look_done(&l);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(tasks_of_a_set_and_their_callbacks),
		cmocka_unit_test(tasks_of_a_list_and_their_awaiters),
		cmocka_unit_test(coroutines_in_a_circle_end),
		cmocka_unit_test(what_is_being_sent_is_no_end_of_a_stack),
		cmocka_unit_test(an_unreadable_coroutine_keeps_what_is_above_it),
		cmocka_unit_test(a_list_that_does_not_come_back_is_said_to_have_more),
		cmocka_unit_test(a_set_of_any_size_is_bounded),
		cmocka_unit_test(a_task_that_is_done_is_not_shown),
		cmocka_unit_test(a_running_coroutine_has_the_frames_of_its_thread),
		cmocka_unit_test(a_running_task_stands_on_those_that_await_it),
		cmocka_unit_test(what_cannot_be_read_is_not_what_is_not_there),
		cmocka_unit_test(pieces_of_two_rounds_are_not_told),
		cmocka_unit_test(a_memo_is_bounded),
		cmocka_unit_test(waiting_tasks_are_told_when_they_move),
		cmocka_unit_test(without_asyncio_there_are_no_tasks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
