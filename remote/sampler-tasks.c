#include <errno.h>
#include <stdlib.h>

#include "remote/clock.h"
#include "remote/sampler-parts.h"
#include "remote/tasks-take.h"

#define GREENLET_CALLS (1u << 18) /* half a second: a heap of 1 GiB */
#define WAIT_GAP_NS    100000000u /* or ten intervals: what is further back was not seen */

/* 0, or -errno when the target as a whole cannot be read, or memory is short. */
int sampler_follow_tasks(struct sampler *s, uint64_t now)
{
	int r = 0;

	if (!s->options.tasks || s->options.max_ticks)
		return 0;
	if (!s->watcher)
		r = task_watcher_new(&s->watcher, s->target, s->walk.tables);
	else
		r = task_watcher_refresh(s->watcher, now);
	if (r < 0)
		return r == -ENOMEM || r == -ESRCH || r == -EPERM ? r : 0;
	for (size_t i = 0; i < s->who.n_threads; i++) {
		struct thread *th = s->who.threads[i];

		if (!th->watch)
			th->watch = task_watch_new(s->watcher, s->who.interps[th->interp].info.addr,
						   th->addr);
		if (!th->watch)
			return -ENOMEM;
		task_watch_begin(th->watch);
	}
	return 0;
}

static struct thread *thread_at(const struct sampler *s, uint64_t addr)
{
	for (size_t i = 0; i < s->who.n_threads; i++)
		if (s->who.threads[i]->addr == addr)
			return s->who.threads[i];
	return NULL;
}

static uint32_t thread_of_waits(void *arg, uint64_t tstate)
{
	const struct thread *th = thread_at(arg, tstate);

	return th ? th->id : 0;
}

static bool on_stay(void *arg, uint64_t time_ns, uint64_t ns, uint64_t count, uint32_t thread,
		    uint32_t stack)
{
	struct sampler *s = arg;
	const struct sample sample = {.time_ns = time_ns ? time_ns : s->waits_ns,
				      .cpu_ns = ns,
				      .thread = thread,
				      .stack = stack,
				      .task = count > UINT32_MAX ? UINT32_MAX : (uint32_t)count,
				      .kind = SAMPLE_WAIT};

	return sampler_push(s, &sample);
}

static bool hold_for_waits(void *arg, uint64_t tstate, void (*work)(void *arg), void *work_arg,
			   bool *ret_sure)
{
	struct sampler *s = arg;
	struct thread *th = thread_at(s, tstate);

	return th && sampler_hold(s, th, work, work_arg, ret_sure);
}

/* The tasks that wait, after the threads. 0 or -errno, as of a tick. */
int sampler_look_at_waits(struct sampler *s, uint64_t now)
{
	const struct waits_listener listener = {s, thread_of_waits, on_stay, hold_for_waits};
	uint64_t ns = s->waits_ns ? now - s->waits_ns : s->options.interval_ns;
	uint64_t most = 10 * s->options.interval_ns;
	int r = 0;

	if (s->options.tasks != SAMPLER_TASKS_ALL || s->options.max_ticks)
		return 0;
	if (!s->waits)
		r = waits_new(&s->waits, s->target, s->walk.tables, &listener);
	if (most < WAIT_GAP_NS)
		most = WAIT_GAP_NS;
	if (r == 0) {
		s->waits_ns = now;
		r = waits_look(s->waits, now, ns < most ? ns : most);
	}
	return r == -ENOMEM || r == -ESRCH || r == -EPERM ? r : 0;
}

/* ---- all of them, once ---- */

/* Which tasks are told: in shown[i] the id of task i, else 0. Those of threads that are not sampled
 * are not; of running ones also whoever awaits them. */
static int choose_tasks(struct sampler *s, const struct tasks *t, uint32_t *shown)
{
	bool all = s->options.tasks == SAMPLER_TASKS_ALL;
	uint32_t *queue = calloc(t->n + 1, sizeof(*queue));
	size_t n = 0;

	if (!queue)
		return -ENOMEM;
	for (size_t i = 0; i < t->n; i++)
		if ((all || t->info[i].state == TASK_RUNNING) &&
		    (!t->info[i].tstate || thread_at(s, t->info[i].tstate))) {
			shown[i] = 1;
			queue[n++] = (uint32_t)i;
		}
	for (size_t at = 0; at < n; at++) {
		const struct task_info *task = &t->info[queue[at]];

		for (uint32_t k = 0; k < task->n_awaiters; k++) {
			uint32_t awaiter = t->awaiters[task->first_awaiter + k];

			if (shown[awaiter])
				continue;
			shown[awaiter] = 1;
			queue[n++] = awaiter;
		}
	}
	free(queue);
	for (size_t i = 0; i < t->n; i++) {
		const struct thread *th = thread_at(s, t->info[i].tstate);
		const struct table_task task = {.addr = t->info[i].addr,
						.loop = t->info[i].loop,
						.name = t->info[i].name,
						.thread = th ? th->id : 0};

		if (shown[i])
			shown[i] = tables_task(s->walk.tables, &task);
	}
	return 0;
}

static int tell_task(struct sampler *s, const struct tasks *t, size_t i, const uint32_t *shown,
		     uint64_t now)
{
	const struct task_info *task = &t->info[i];
	struct sample sample = {.time_ns = now,
				.thread = shown[i],
				.stack = task->stack,
				.state = (uint16_t)task->state,
				.how = (uint8_t)task->problem,
				.kind = SAMPLE_TASK};

	for (uint32_t k = task->n_awaiters; k > 0; k--) {
		uint32_t awaiter = shown[t->awaiters[task->first_awaiter + k - 1]];

		if (!awaiter)
			continue;
		sample.gather_ns = tables_awaiter(s->walk.tables, sample.gather_ns, awaiter);
		if (!sample.gather_ns)
			return -ENOMEM;
	}
	/* The ring holds more than there may be tasks. */
	return sampler_push(s, &sample) ? 0 : -ENOBUFS;
}

static int tell_tasks(struct sampler *s, const struct tasks *t, uint64_t now)
{
	struct sample end = {.time_ns = now,
			     .stack = (uint32_t)t->n,
			     .state = (uint16_t)t->found,
			     .how = t->more,
			     .kind = SAMPLE_TASKS};
	uint32_t *shown = calloc(t->n + 1, sizeof(*shown));
	int r = shown ? choose_tasks(s, t, shown) : -ENOMEM;

	for (size_t i = 0; i < t->n && r == 0; i++)
		if (shown[i])
			r = tell_task(s, t, i, shown, now);
	free(shown);
	if (r == 0 && !sampler_push(s, &end))
		r = -ENOBUFS;
	return r;
}

/* 0, or -errno: then nothing is told of tasks, or not all. */
int sampler_take_tasks(struct sampler *s)
{
	struct take take = {.stops = &s->stops,
			    .may_stop = s->options.blocking || s->options.stop_budget > 0};
	struct task_reader *reader = NULL;
	struct tasks tasks = {0};
	uint64_t now = clock_now_ns();
	int r = task_reader_new(&reader, s->target, s->walk.tables);

	if (r == 0)
		r = task_reader_find_greenlets(reader, GREENLET_CALLS);
	if (r == 0)
		r = tasks_take(reader, s->target, &take, &tasks);
	if (r == 0)
		r = tell_tasks(s, &tasks, now);
	count(&s->counts.stops, take.stopped);
	count(&s->counts.stop_ns, take.stopped_ns);
	if (take.refused)
		atomic_store_explicit(&s->counts.stops_refused, true, memory_order_relaxed);
	tasks_done(&tasks);
	task_reader_free(reader);
	return r;
}
