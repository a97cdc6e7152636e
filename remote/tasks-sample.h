/* Which asyncio task runs in a thread that is sampled, and who awaits it.
 *
 * The answer depends on some words: which task runs, its name, who awaits it, where those wait.
 * They are found once, by following pointers, and from then on read with each gather of the
 * thread, before and behind all else. While they are what they were the answer holds: at each
 * instant between the two readings, and so when the stack was read. Where they differ they are
 * found anew, and the next gather must prove it. */
#ifndef PYPROF_REMOTE_TASKS_SAMPLE_H
#define PYPROF_REMOTE_TASKS_SAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "remote/frame.h"
#include "remote/memo.h"
#include "remote/memory.h"
#include "remote/tables.h"
#include "remote/target.h"

/* A chain of some forty coroutines; and the thread's count of switches between greenlets. */
#define TASK_WATCH_RANGES (MEMO_RANGES + 1)

/* What sample.task says. */
enum {
	SAMPLE_TASK_UNKNOWN, /* not looked for, or it moved */
	SAMPLE_TASK_NONE,
	SAMPLE_TASK_STACK = SAMPLE_TASK_NONE, /* and task_chain.stack, which is 1 at least */
};

/* Shared by the threads of a sampler. */
struct task_watcher;
/* target and tables are borrowed. 0 or -errno. */
int task_watcher_new(struct task_watcher **ret, struct target *target, struct tables *tables);
void task_watcher_free(struct task_watcher *w);
/* Finds asyncio where it was imported meanwhile, and greenlets, as far as that is due at now_ns. 0
 * or -errno, when the target cannot be read. */
int task_watcher_refresh(struct task_watcher *w, uint64_t now_ns);
/* All ids are void, and watches with them. */
void task_watcher_forget(struct task_watcher *w, struct tables *tables);

/* Of one thread. */
struct task_watch;
/* NULL when memory is short. */
struct task_watch *task_watch_new(struct task_watcher *w, uint64_t interp, uint64_t tstate);
void task_watch_free(struct task_watch *t);

/* Finds the answer as it is now, if it is not known to hold any more, or in any case. */
void task_watch_find(struct task_watch *t, struct task_watcher *w, bool anew);

/* The ranges to read before, and those to read behind a gather of the thread: so many each,
 * TASK_WATCH_RANGES at most. They point into t and hold until task_watch_find(). */
size_t task_watch_range_count(const struct task_watch *t);
void task_watch_ranges(struct task_watch *t, struct memory_range *before,
		       struct memory_range *behind);

/* Behind that gather, and a walk of it that was WALK_OK: WALK_OK, *ret_task (above), and
 * *ret_below, the stack of those that the task's coroutine was called by, 0 for none; or WALK_MISS:
 * it is to be found anew; WALK_TORN: stack and task are not of one instant. still: the thread could
 * not move meanwhile. */
enum walk_result task_watch_judge(struct task_watch *t, const struct walker *walker,
				  struct walk_context *c, bool still, uint32_t *ret_task,
				  uint32_t *ret_below);

#endif
