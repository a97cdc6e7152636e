/* Where asyncio's tasks wait, look by look.
 *
 * All that was read of the tasks is read anew at each look, in pages; of a task whose words are
 * what they were nothing else is done. The others are followed anew, and must be the same when
 * their pages are read once more: so each task is seen to stand still for a moment. */
#ifndef PYPROF_REMOTE_TASKS_WAITS_H
#define PYPROF_REMOTE_TASKS_WAITS_H

#include <stdbool.h>
#include <stdint.h>

#include "remote/tables.h"
#include "remote/target.h"

struct waits;

/* Who is told. */
struct waits_listener {
	void *arg;
	/* The id of the thread whose state stands at tstate; 0: its tasks are not asked for. */
	uint32_t (*thread)(void *arg, uint64_t tstate);
	/* A task that is awaited by no other that waited, with those that await it, stood on stack
	 * in count looks; the first at time_ns, and together they stand for ns. thread 0: no
	 * thread runs its loop. stack 0: so many tasks' looks moved, and are lost. False: there is
	 * no room to note it. */
	bool (*stood)(void *arg, uint64_t time_ns, uint64_t ns, uint64_t count, uint32_t thread,
		      uint32_t stack);
	/* Does work(work_arg) while the thread whose state stands at tstate is kept from running;
	 * *ret_sure: it was, else it may have been. False: that is not allowed now. NULL: never. */
	bool (*hold)(void *arg, uint64_t tstate, void (*work)(void *arg), void *work_arg,
		     bool *ret_sure);
};

/* target and tables are borrowed. 0 or -errno. */
int waits_new(struct waits **ret, struct target *target, struct tables *tables,
	      const struct waits_listener *listener);
void waits_free(struct waits *w);

/* One look at all tasks. now_ns: CLOCK_MONOTONIC; ns: the time that it stands for. 0 or -errno,
 * when the target cannot be read or memory is short. */
int waits_look(struct waits *w, uint64_t now_ns, uint64_t ns);

/* Tells what was not told yet. */
void waits_flush(struct waits *w);

/* waits_flush() comes before: all ids are void. */
void waits_forget(struct waits *w, struct tables *tables);

#endif
