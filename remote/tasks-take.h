/* A look at asyncio's tasks that is of one instant.
 *
 * A task changes only while the thread of its loop runs. So what the look needs is read in one go,
 * while each such thread sleeps (and did not run meanwhile, by the kernel's count) or is briefly
 * stopped; and again when the look then needed more than that. Where a thread can neither be
 * stopped nor be caught asleep two looks must agree: a task in which they differ is said to have
 * moved. */
#ifndef PYPROF_REMOTE_TASKS_TAKE_H
#define PYPROF_REMOTE_TASKS_TAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "remote/stop.h"
#include "remote/tasks.h"

struct take {
	struct stops *stops;
	bool may_stop;
	/* What it took. */
	uint64_t stopped, stopped_ns;
	bool refused; /* ptrace was not permitted */
};

/* *ret is the caller's: tasks_done(). 0 or -errno. No thread is left stopped. */
int tasks_take(struct task_reader *r, const struct target *target, struct take *take,
	       struct tasks *ret);

#endif
