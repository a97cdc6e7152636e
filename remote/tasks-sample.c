#include "remote/tasks-sample.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "remote/memo.h"
#include "remote/tasks.h"

#define FIND_NS	   50000000u /* between two looks for asyncio, which a program may import later */
#define FIND_AGAIN 2	     /* looks more once it was found: it may have been half imported */

struct task_watcher {
	struct task_reader *reader;
	struct memory_log log;
	uint64_t found_ns;
	unsigned again; /* looks that found it */
};

struct task_watch {
	uint64_t interp, tstate;
	bool known;   /* there is an answer */
	bool beyond;  /* it is over a bound: there would be none at any try */
	bool current; /* by ranges that are not known to have changed */
	struct task_chain chain;
	struct memo memo;
	uint8_t *before, *behind; /* as its bytes were read; room each */
	size_t room;
};

int task_watcher_new(struct task_watcher **ret, struct target *target, struct tables *tables)
{
	struct task_watcher *w = calloc(1, sizeof(*w));
	int r = w ? task_reader_new(&w->reader, target, tables) : -ENOMEM;

	if (r < 0) {
		free(w);
		return r;
	}
	*ret = w;
	return 0;
}

void task_watcher_free(struct task_watcher *w)
{
	if (!w)
		return;
	task_reader_free(w->reader);
	memory_log_done(&w->log);
	free(w);
}

int task_watcher_refresh(struct task_watcher *w, uint64_t now_ns)
{
	int r;

	if (w->again > FIND_AGAIN || now_ns - w->found_ns < FIND_NS)
		return 0;
	w->found_ns = now_ns;
	r = task_reader_find(w->reader);
	if (task_reader_knows_asyncio(w->reader))
		w->again++;
	/* Whatever else goes wrong: there will be another look. */
	return r == -ENOMEM || r == -ESRCH || r == -EPERM ? r : 0;
}

void task_watcher_forget(struct task_watcher *w, struct tables *tables)
{
	task_reader_forget(w->reader, tables);
}

struct task_watch *task_watch_new(uint64_t interp, uint64_t tstate)
{
	struct task_watch *t = calloc(1, sizeof(*t));

	if (t) {
		t->interp = interp;
		t->tstate = tstate;
	}
	return t;
}

void task_watch_free(struct task_watch *t)
{
	if (!t)
		return;
	memo_done(&t->memo);
	free(t->before);
	free(t);
}

static bool reserve(struct task_watch *t)
{
	uint8_t *bytes;

	if (t->memo.used <= t->room)
		return true;
	bytes = malloc(4 * t->memo.used);
	if (!bytes)
		return false;
	free(t->before);
	t->room = 2 * t->memo.used;
	t->before = bytes;
	t->behind = bytes + t->room;
	return true;
}

void task_watch_find(struct task_watch *t, struct task_watcher *w, bool anew)
{
	int r;

	/* Where there is no asyncio yet the answer depends on nothing, and is found anew. */
	if (t->current && t->memo.n_ranges && !anew)
		return;
	t->current = true;
	t->chain = (struct task_chain){0};
	r = task_reader_running(w->reader, t->interp, t->tstate, &w->log, &t->chain);
	if (r == 0)
		r = memo_keep(&t->memo, &w->log);
	t->known = r == 0 && reserve(t);
	t->beyond = r == -ENOTSUP || r == -E2BIG;
	if (!t->known)
		memo_clear(&t->memo);
}

/* ---- with a gather ---- */

size_t task_watch_range_count(const struct task_watch *t)
{
	return t->memo.n_ranges;
}

void task_watch_ranges(struct task_watch *t, struct memory_range *before,
		       struct memory_range *behind)
{
	for (size_t i = 0; i < t->memo.n_ranges; i++) {
		const struct memo_range *r = &t->memo.ranges[i];

		before[i] = (struct memory_range){
			.addr = r->addr, .len = r->len, .buf = t->before + r->at};
		behind[i] = (struct memory_range){
			.addr = r->addr, .len = r->len, .buf = t->behind + r->at};
		/* What cannot be read differs: each range begins with a piece. */
		t->before[r->at] = t->behind[r->at] = (uint8_t)~t->memo.expected[r->at];
	}
}

enum walk_result task_watch_judge(struct task_watch *t, const struct walker *walker,
				  struct walk_context *c, bool still, uint32_t *ret_task,
				  uint32_t *ret_below)
{
	const struct task_chain *chain = &t->chain;

	*ret_task = SAMPLE_TASK_UNKNOWN;
	*ret_below = 0;
	if (t->current && t->beyond)
		return WALK_OK;
	if (!t->current || !t->known || !memo_holds(&t->memo, t->before) ||
	    !memo_holds(&t->memo, t->behind)) {
		t->current = false;
		return WALK_MISS;
	}
	if (chain->task && !chain->frame)
		return WALK_OK;
	if (chain->task && walker_has(walker, c, chain->frame, ret_below)) {
		*ret_task = chain->stack + SAMPLE_TASK_STACK;
		return WALK_OK;
	}
	/* Between two tasks; but one that ran just then would have a coroutine on the stack. */
	if (chain->loop && !still && walker_has_coroutine(walker, c))
		return WALK_TORN;
	*ret_task = SAMPLE_TASK_NONE;
	return WALK_OK;
}
