/* What the files that tell which task runs share: tasks-watcher.c finds asyncio and greenlets in a
 * target, tasks-sample.c says of each thread, at each gather, what it runs of them. */
#ifndef PYPROF_REMOTE_TASKS_SAMPLE_PARTS_H
#define PYPROF_REMOTE_TASKS_SAMPLE_PARTS_H

#include <stdbool.h>
#include <stdint.h>

#include "remote/memo.h"
#include "remote/memory.h"
#include "remote/tasks-answers.h"
#include "remote/tasks-sample.h"
#include "remote/tasks.h"

struct task_watcher {
	struct task_reader *reader;
	struct memory *memory;
	const struct layout *layout;
	struct task_answers *answers;
	struct memory_log log;
	uint64_t found_ns;
	unsigned again; /* looks that found it */
	/* The next walk for greenlets, not before soonest; the pause behind it. */
	uint64_t green_ns, green_soonest_ns, green_wait_ns;
	uint64_t walks;
	bool lacks; /* there are threads of which no greenlet is known */
	/* An answer as it was read behind a gather. */
	struct memory_range ranges[MEMO_RANGES];
	uint8_t bytes[MEMO_BYTES];
};

/* A thread that is new may have greenlets soon: they are looked for as soon as may be. */
void task_watcher_expect(struct task_watcher *w);

#endif
