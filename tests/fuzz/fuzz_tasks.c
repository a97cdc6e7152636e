/* asyncio in memory that is hostile: a made-up world of tasks with any of its words overwritten.
 * The first byte chooses whether they are in a set or in lists, and whether
 * one of them runs, and whether there are greenlets. */
#include <stdlib.h>
#include <string.h>

#include "remote/memo.h"
#include "remote/tasks-sample.h"
#include "remote/tasks-waits.h"
#include "remote/tasks.h"
#include "tests/unit/synthetic_tasks.h"

#define CALLS 1024 /* of a walk for greenlets */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t thread_of(void *arg, uint64_t tstate)
{
	return 1;
}

static bool on_stay(void *arg, uint64_t time_ns, uint64_t ns, uint64_t count, uint32_t thread,
		    uint32_t stack)
{
	return count & 1;
}

/* What the sampler asks, of the same world. */
static void sample(struct synthetic_tasks *s, struct task_reader *r)
{
	static struct memory_log log;
	static struct memo memo;
	struct task_waiting at;
	struct task_chain chain;
	struct task_place place;
	struct task_list list;

	if (task_reader_place(r, s->interp, s->tstate, &log, &place) == 0)
		memo_keep(&memo, &log);
	for (size_t i = 0; i < SYNTHETIC_TASKS; i++)
		if (task_reader_chain(r, s->interp, 0, s->tasks[i], &log, &chain) == 0)
			memo_keep(&memo, &log);
	for (size_t i = 0; i < SYNTHETIC_GREENLETS; i++)
		if (s->greenlets[0] && task_reader_chain(r, s->interp, s->greenlets[0],
							 s->greenlets[i], &log, &chain) == 0)
			memo_keep(&memo, &log);
	if (task_reader_list(r, &list) < 0)
		return;
	for (size_t i = 0; i < list.n && i < 64; i++)
		if (task_reader_waiting(r, &list.tasks[i], &log, &at) >= 0) {
			memo_keep(&memo, &log);
			free(at.awaiters);
		}
	task_list_done(&list);
}

static void wait_for(struct synthetic_tasks *s, struct tables *tables)
{
	const struct waits_listener listener = {NULL, thread_of, on_stay, NULL};
	struct waits *w;

	if (waits_new(&w, &s->target, tables, &listener) < 0)
		return;
	for (uint64_t i = 1; i < 3; i++)
		waits_look(w, i * 1000000000u, 1);
	waits_flush(w);
	waits_free(w);
}

static void look(struct synthetic_tasks *s)
{
	struct task_reader *r;
	struct tables *tables;
	struct tasks tasks;

	if (tables_new(&tables) < 0)
		return;
	if (task_reader_new(&r, &s->target, tables) == 0) {
		task_reader_find_greenlets(r, CALLS);
		for (int i = 0; i < 2; i++) {
			if (task_reader_read(r, &tasks) == 0)
				tasks_done(&tasks);
			memory_renew(task_reader_memory(r));
		}
		sample(s, r);
		task_reader_free(r);
		wait_for(s, tables);
	}
	tables_free(tables);
}

/* A thread that is sampled while its world changes. */
struct watched {
	struct tables *tables;
	struct task_watcher *watcher;
	struct task_watch *watch;
	uint64_t now_ns;
};

static void watch(struct watched *w, struct synthetic_tasks *s)
{
	if (tables_new(&w->tables) < 0 || task_watcher_new(&w->watcher, &s->target, w->tables) < 0)
		return;
	w->watch = task_watch_new(w->watcher, s->interp, s->tstate);
}

static void unwatch(struct watched *w)
{
	task_watch_free(w->watch);
	task_watcher_free(w->watcher);
	tables_free(w->tables);
}

/* What the sampler does with it, but for the stack itself. */
static void follow(struct watched *w, struct synthetic_tasks *s)
{
	struct memory_range ranges[2 * TASK_WATCH_RANGES + TASK_WATCH_BESIDE];
	const struct memory_range *beside;

	if (!w->watch)
		return;
	task_watcher_refresh(w->watcher, w->now_ns += 1000000000u);
	task_watch_begin(w->watch);
	for (int i = 0; i < 4; i++) {
		size_t besides = task_watch_beside(w->watch, &beside);
		size_t n = task_watch_before(w->watch, ranges);

		memcpy(ranges + n, beside, besides * sizeof(*beside));
		n += besides;
		n += task_watch_behind(w->watch, ranges + n);
		memory_gather(s->target.memory, ranges, n);
		task_watch_confirm(w->watch, UINT64_MAX / 2, i & 1);
		if (task_watch_lacks(w->watch))
			task_watch_find(w->watch);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct synthetic_tasks s;
	struct watched watched = {0};

	if (size < 1)
		return 0;
	synthetic_tasks_init(&s, data[0] & 1);
	if (s.lists && data[0] & 2)
		synthetic_tasks_put(&s, s.tstate, s.target.layout.tstate.asyncio_task, s.tasks[1]);
	if (data[0] & 4)
		synthetic_tasks_add_greenlets(&s);
	watch(&watched, &s);
	/* Ten bytes each: where, and what, before one of four looks. */
	for (size_t at = 1; at + 10 <= size; at += 10) {
		uint64_t word;
		uint16_t where;

		memcpy(&where, data + at, 2);
		memcpy(&word, data + at + 2, 8);
		where = (uint16_t)(where % (SYNTHETIC_TASKS_SIZE - 8)) & ~7u;
		/* Words that point into the image reach further than random ones. */
		if (word >> 62 == 1)
			word = (SYNTHETIC_TASKS_BASE + word % SYNTHETIC_TASKS_SIZE) & ~7ull;
		synthetic_tasks_put(&s, SYNTHETIC_TASKS_BASE + where, 0, word);
		if (at % 40 == 1)
			look(&s);
		follow(&watched, &s);
	}
	look(&s);
	follow(&watched, &s);
	unwatch(&watched);
	synthetic_tasks_done(&s);
	return 0;
}
