#include "remote/tasks-take.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "remote/sampler.h"
#include "remote/thread.h"

#define ROUNDS		8
#define HELD_ROUNDS	3 /* the last ones look while the threads stand still */
#define ROUND_NS	200000u
#define STOP_TIMEOUT_NS 50000000u

/* A thread that runs a loop, while it is looked at. */
struct loop_thread {
	uint32_t tid;
	int syscall_fd, schedstat_fd;
	bool stopped;
	struct stop stop;
	char schedstat[128]; /* before; "" unknown */
};

static int open_task(const struct target *t, enum proc_file file, uint32_t tid)
{
	return tid ? t->opener->open(t->opener->arg, file, tid, 0) : -ESRCH;
}

/* An empty text is unknown. */
static void read_task_text(int fd, char *text, size_t size)
{
	if (fd < 0 || proc_read_text(fd, text, size) <= 0)
		text[0] = '\0';
}

/* Whether it sleeps in a system call; unknown counts as running. */
static bool sleeps(const struct loop_thread *t)
{
	char text[512];

	read_task_text(t->syscall_fd, text, sizeof(text));
	return text[0] >= '0' && text[0] <= '9';
}

static void hold(struct take *take, struct loop_thread *threads, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct loop_thread *t = &threads[i];
		int r;

		read_task_text(t->schedstat_fd, t->schedstat, sizeof(t->schedstat));
		t->stopped = false;
		if (!t->tid || !take->may_stop || take->refused || sleeps(t))
			continue;
		r = stop_thread(take->stops, (pid_t)t->tid, STOP_TIMEOUT_NS, &t->stop);
		t->stopped = r == 0;
		take->refused |= r == -EPERM;
	}
}

/* Lets go what was stopped. Whether none of them ran meanwhile. */
static bool release(struct take *take, struct loop_thread *threads, size_t n)
{
	bool still = true;

	for (size_t i = 0; i < n; i++) {
		struct loop_thread *t = &threads[i];
		char after[sizeof(t->schedstat)];

		if (t->stopped) {
			take->stopped_ns += stop_resume(take->stops, &t->stop);
			take->stopped++;
			continue;
		}
		read_task_text(t->schedstat_fd, after, sizeof(after));
		/* One that runs all the while has its time counted only now and then. */
		still &= t->schedstat[0] && strcmp(t->schedstat, after) == 0 && sleeps(t);
	}
	return still;
}

/* The kernel's ids of thread states, in our pid namespace; 0 unknown. */
struct tids {
	struct tid {
		uint64_t addr;
		uint32_t tid;
	} * list;
	size_t n;
};

static uint32_t our_tid(const struct target *t, const struct thread_info *info, int offset,
			const struct task *tasks, int n)
{
	uint64_t ns_tid = info->native_id;
	uint32_t word;

	if (!ns_tid && offset > 0 && info->ident &&
	    MEMORY_READ(t->memory, info->ident + (uint64_t)offset, &word) == 0)
		ns_tid = word;
	for (int i = 0; ns_tid && i < n; i++)
		if (tasks[i].ns_tid == ns_tid)
			return tasks[i].tid;
	return 0;
}

/* Adds the threads of one interpreter. */
static int add_tids(struct tids *tids, const struct target *t,
		    const struct interpreter_info *interp, struct thread_info *room,
		    const struct task *tasks, int n_tasks)
{
	int n = thread_list(t, interp, room, SAMPLER_MAX_THREADS), offset = -1;
	struct tid *more;

	if (n <= 0)
		return n;
	more = reallocarray(tids->list, tids->n + (size_t)n, sizeof(*more));
	if (!more)
		return -ENOMEM;
	tids->list = more;
	if (t->layout.tstate.native_thread_id == ABSENT)
		offset = thread_find_tid_offset(t, room, (size_t)n, tasks, (size_t)n_tasks);
	for (int i = 0; i < n; i++)
		tids->list[tids->n++] =
			(struct tid){room[i].addr, our_tid(t, &room[i], offset, tasks, n_tasks)};
	return 0;
}

/* All threads, also those that are not sampled: they may run loops too. */
static int find_tids(struct tids *tids, const struct target *t)
{
	struct interpreter_info interps[THREAD_MAX_INTERPRETERS];
	struct thread_info *room = calloc(SAMPLER_MAX_THREADS, sizeof(*room));
	int n = interpreter_list(t, interps, THREAD_MAX_INTERPRETERS), r = n < 0 ? n : 0;
	struct task *tasks = NULL;
	int n_tasks = room && n >= 0 ? task_list(t, &tasks) : 0;

	for (int i = 0; room && i < n && r == 0; i++)
		r = add_tids(tids, t, &interps[i], room, tasks, n_tasks > 0 ? n_tasks : 0);
	if (n_tasks > 0)
		free(tasks);
	free(room);
	/* A list that moves leaves threads unknown: they cannot be held, and are not believed. */
	return !room ? -ENOMEM : r == -EAGAIN || r == -EFAULT ? 0 : r;
}

static int open_threads(const struct target *target, const struct tids *tids,
			const struct tasks *tasks, struct loop_thread **ret)
{
	struct loop_thread *threads = calloc(tasks->n_loop_threads + 1, sizeof(*threads));

	if (!threads)
		return -ENOMEM;
	for (size_t i = 0; i < tasks->n_loop_threads; i++) {
		for (size_t k = 0; k < tids->n && !threads[i].tid; k++)
			if (tids->list[k].addr == tasks->loop_threads[i])
				threads[i].tid = tids->list[k].tid;
		threads[i].syscall_fd = open_task(target, PROC_TASK_SYSCALL, threads[i].tid);
		threads[i].schedstat_fd = open_task(target, PROC_TASK_SCHEDSTAT, threads[i].tid);
	}
	*ret = threads;
	return 0;
}

static void close_threads(struct loop_thread *threads, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (threads[i].syscall_fd >= 0)
			close(threads[i].syscall_fd);
		if (threads[i].schedstat_fd >= 0)
			close(threads[i].schedstat_fd);
	}
	free(threads);
}

static bool same_loops(const struct tasks *a, const struct tasks *b)
{
	return a->n_loop_threads == b->n_loop_threads &&
	       memcmp(a->loop_threads, b->loop_threads,
		      a->n_loop_threads * sizeof(*a->loop_threads)) == 0;
}

/* One round: holds the threads of the loops that were there, looks. *ret_good: the look is of one
 * instant. */
static int round_of(struct task_reader *r, const struct target *target, const struct tids *tids,
		    struct take *take, bool held, struct tasks *tasks, bool *ret_good)
{
	struct memory *m = task_reader_memory(r);
	size_t n = tasks->n_loop_threads;
	struct loop_thread *threads;
	struct tasks now = {0};
	bool still = false;
	int e = open_threads(target, tids, tasks, &threads);

	if (e < 0)
		return e;
	hold(take, threads, n);
	e = memory_renew(m);
	if (!held)
		still = release(take, threads, n);
	if (e == 0)
		e = task_reader_read(r, &now);
	/* What the look read besides was read while the threads stood still as well. */
	if (held)
		still = release(take, threads, n);
	close_threads(threads, n);
	if (e < 0)
		return e;
	*ret_good = still && (held || memory_missed(m) == 0) && same_loops(tasks, &now);
	tasks_done(tasks);
	*tasks = now;
	return 0;
}

static bool same_task(const struct tasks *x, const struct task_info *a, const struct tasks *y,
		      const struct task_info *b)
{
	if (a->loop != b->loop || a->state != b->state || a->stack != b->stack ||
	    a->name != b->name || a->n_awaiters != b->n_awaiters)
		return false;
	for (uint32_t i = 0; i < a->n_awaiters; i++)
		if (x->info[x->awaiters[a->first_awaiter + i]].addr !=
		    y->info[y->awaiters[b->first_awaiter + i]].addr)
			return false;
	return true;
}

static int by_address(const void *a, const void *b)
{
	uint64_t x = (*(const struct task_info *const *)a)->addr;
	uint64_t y = (*(const struct task_info *const *)b)->addr;

	return x < y ? -1 : x > y;
}

/* Two looks, one behind the other: what differs has moved. */
static int compare(struct task_reader *r, struct tasks *tasks)
{
	struct tasks before = *tasks;
	const struct task_info **sorted = calloc(before.n + 1, sizeof(const struct task_info *));
	int e = sorted ? memory_renew(task_reader_memory(r)) : -ENOMEM;

	if (e == 0)
		e = task_reader_read(r, tasks);
	if (e < 0) {
		free(sorted);
		*tasks = before;
		return e;
	}
	for (size_t i = 0; i < before.n; i++)
		sorted[i] = &before.info[i];
	qsort(sorted, before.n, sizeof(const struct task_info *), by_address);
	tasks->problems = 0;
	for (size_t i = 0; i < tasks->n; i++) {
		struct task_info *t = &tasks->info[i];
		const struct task_info *key = t, **old;

		old = bsearch(&key, sorted, before.n, sizeof(const struct task_info *), by_address);
		if (!old || !same_task(&before, *old, tasks, t)) {
			t->problem = TASK_MOVED;
			t->stack = 0;
			t->n_awaiters = 0;
		}
		tasks->problems += t->problem != TASK_FINE;
	}
	free(sorted);
	tasks_done(&before);
	return 0;
}

int tasks_take(struct task_reader *r, const struct target *target, struct take *take,
	       struct tasks *ret)
{
	const struct timespec pause = {0, ROUND_NS};
	struct tasks tasks = {0};
	struct tids tids = {0};
	bool good = false;
	int e = -EAGAIN, found;

	/* The first look brings the pages; what it finds is only a guess. */
	for (int i = 0; i < ROUNDS && e == -EAGAIN; i++) {
		if (i)
			e = memory_renew(task_reader_memory(r));
		if (e == 0 || e == -EAGAIN)
			e = task_reader_read(r, &tasks);
	}
	found = find_tids(&tids, target);
	if (e == 0)
		e = found;
	for (int i = 0; i < ROUNDS && (e == 0 || e == -EAGAIN); i++) {
		if (good && (tasks.problems == 0 || i > ROUNDS / 2))
			break;
		/* A thread may have been caught between two instructions that belong together. */
		if (i)
			nanosleep(&pause, NULL);
		e = round_of(r, target, &tids, take, i >= ROUNDS - HELD_ROUNDS, &tasks, &good);
	}
	if (e == 0 && !good)
		e = compare(r, &tasks);
	free(tids.list);
	if (e < 0) {
		tasks_done(&tasks);
		return e;
	}
	*ret = tasks;
	return 0;
}
