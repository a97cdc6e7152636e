#include "remote/tasks-take.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

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

static int open_threads(const struct target *target, const struct take *take,
			const struct tasks *tasks, struct loop_thread **ret)
{
	struct loop_thread *threads = calloc(tasks->n_loop_threads + 1, sizeof(*threads));

	if (!threads)
		return -ENOMEM;
	for (size_t i = 0; i < tasks->n_loop_threads; i++) {
		for (size_t k = 0; k < take->n_threads && !threads[i].tid; k++)
			if (take->threads[k].addr == tasks->loop_threads[i])
				threads[i].tid = take->threads[k].tid;
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
static int round_of(struct task_reader *r, const struct target *target, struct take *take,
		    bool held, struct tasks *tasks, bool *ret_good)
{
	struct memory *m = task_reader_memory(r);
	size_t n = tasks->n_loop_threads;
	struct loop_thread *threads;
	struct tasks now = {0};
	bool still = false;
	int e = open_threads(target, take, tasks, &threads);

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

static const struct task_info *find_task(const struct tasks *t, uint64_t addr)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->info[i].addr == addr)
			return &t->info[i];
	return NULL;
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

/* Two looks, one behind the other: what differs has moved. */
static int compare(struct task_reader *r, struct tasks *tasks)
{
	struct tasks before = *tasks;
	int e = memory_renew(task_reader_memory(r));

	if (e == 0)
		e = task_reader_read(r, tasks);
	if (e < 0) {
		*tasks = before;
		return e;
	}
	tasks->problems = 0;
	for (size_t i = 0; i < tasks->n; i++) {
		struct task_info *t = &tasks->info[i];
		const struct task_info *old = i < before.n && before.info[i].addr == t->addr
						      ? &before.info[i]
						      : find_task(&before, t->addr);

		if (!old || !same_task(&before, old, tasks, t)) {
			t->problem = TASK_MOVED;
			t->stack = 0;
			t->n_awaiters = 0;
		}
		tasks->problems += t->problem != TASK_FINE;
	}
	tasks_done(&before);
	return 0;
}

int tasks_take(struct task_reader *r, const struct target *target, struct take *take,
	       struct tasks *ret)
{
	const struct timespec pause = {0, ROUND_NS};
	struct tasks tasks = {0};
	bool good = false;
	int e = -EAGAIN;

	/* The first look brings the pages; what it finds is only a guess. */
	for (int i = 0; i < ROUNDS && e == -EAGAIN; i++)
		e = task_reader_read(r, &tasks);
	for (int i = 0; i < ROUNDS && (e == 0 || e == -EAGAIN); i++) {
		if (good && (tasks.problems == 0 || i > ROUNDS / 2))
			break;
		/* A thread may have been caught between two instructions that belong together. */
		if (i)
			nanosleep(&pause, NULL);
		e = round_of(r, target, take, i >= ROUNDS - HELD_ROUNDS, &tasks, &good);
	}
	if (e == 0 && !good)
		e = compare(r, &tasks);
	if (e < 0) {
		tasks_done(&tasks);
		return e;
	}
	*ret = tasks;
	return 0;
}
