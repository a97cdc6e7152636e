/* Which asyncio task runs in a thread that is sampled, and who awaits it.
 *
 * Where a thread says which task runs is found by following pointers, and read in the midst of each
 * gather, right behind the thread's own words: so it is of the instant of the stack. What there is
 * to say of a task, its name, who awaits it and where those wait, depends on words that stay the
 * same when others run meanwhile. It is kept for each task that ran lately, and told if it was
 * known before and those words are found as they were right behind the gather. */
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

/* Before a gather, and behind it, at most: what says where the task is named, and the thread's
 * count of switches between greenlets. */
#define TASK_WATCH_RANGES (MEMO_RANGES + 1)
/* Beside the thread's words, at most. */
#define TASK_WATCH_SPANS  8
#define TASK_WATCH_BESIDE (12 + TASK_WATCH_SPANS)

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

/* Of one thread. w is borrowed. */
struct task_watch;
/* NULL when memory is short. */
struct task_watch *task_watch_new(struct task_watcher *w, uint64_t interp, uint64_t tstate);
void task_watch_free(struct task_watch *t);

/* Finds what was not known: before the first gather of a tick; and before another that is made
 * because of it, then of the task that runs by now. */
void task_watch_begin(struct task_watch *t);
void task_watch_find(struct task_watch *t);

/* The ranges of a gather of the thread: to read right behind the thread's words (*ret, so many),
 * and before and behind all that is read of it (TASK_WATCH_RANGES at most each; how many). They
 * point into t and hold until task_watch_find(). */
size_t task_watch_beside(struct task_watch *t, const struct memory_range **ret);
size_t task_watch_before(struct task_watch *t, struct memory_range *out);
size_t task_watch_behind(struct task_watch *t, struct memory_range *out);

/* Right behind that gather, which ended at gathered_ns (CLOCK_MONOTONIC): what it says, and whether
 * that still holds. still: the thread is stopped, or sleeps. */
void task_watch_confirm(struct task_watch *t, uint64_t gathered_ns, bool still);
/* Whether something is to be found for which another gather could tell. */
bool task_watch_lacks(const struct task_watch *t);
/* What was gathered is not of one instant with what is known of the thread by now. */
void task_watch_drop(struct task_watch *t);

/* Behind that, and a walk of it that was WALK_OK: WALK_OK, *ret_task (above), and *ret_below, the
 * stack of those that the task's coroutine was called by, 0 for none; or WALK_MISS: it is to be
 * found; WALK_TORN: stack and task are not of one instant, or another task runs than the one that
 * was found. still: the thread could not move meanwhile. */
enum walk_result task_watch_judge(struct task_watch *t, const struct walker *walker,
				  struct walk_context *c, bool still, uint32_t *ret_task,
				  uint32_t *ret_below);
/* The same behind a walk that failed, of what walker_prefix() found: where the task has come to is
 * not known, but it ran when the callers that are proven stood there. */
void task_watch_judge_moving(struct task_watch *t, const struct walker *walker,
			     struct walk_context *c, uint32_t *ret_task, uint32_t *ret_below);

#endif
