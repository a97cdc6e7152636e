#include "remote/tasks-sample.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "remote/memo.h"
#include "remote/tasks.h"

#define FIND_NS	   50000000u /* between two looks for asyncio, which a program may import later */
#define FIND_AGAIN 2	     /* looks more once it was found: it may have been half imported */
/* Between two walks for greenlets, while there are threads of which none is known. */
#define GREEN_NS      100000000u /* and ever longer, since they may have none */
#define GREEN_MOST_NS 10000000000ull
#define GREEN_SURE    3u	 /* walks that find none: one can miss what moves meanwhile */
#define GREEN_SHARE   50u	 /* times as long as one takes at least */
#define GREEN_CALLS   8192u	 /* what one may cost for each list: some 12 ms */
#define NO_GREEN_NS   500000000u /* where the module is not imported */

struct task_watcher {
	struct task_reader *reader;
	struct memory_log log;
	uint64_t found_ns;
	unsigned again; /* looks that found it */
	/* The next walk for greenlets, not before soonest; the pause behind it. */
	uint64_t green_ns, green_soonest_ns, green_wait_ns;
	uint64_t walks;
	bool lacks; /* there are threads of which no greenlet is known */
};

struct task_watch {
	uint64_t interp, tstate;
	bool known;	      /* there is an answer */
	bool beyond;	      /* it is over a bound: there would be none at any try */
	bool current;	      /* by ranges that are not known to have changed */
	uint64_t born, walks; /* walks for greenlets that there had been at first, and lately */
	uint64_t switches[2]; /* the thread's count, as it was read before and behind */
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

static bool is_fatal(int r)
{
	return r == -ENOMEM || r == -ESRCH || r == -EPERM;
}

/* What greenlets a thread has it has from its first on, which stays: a walk over all objects finds
 * that. */
static int refresh_greenlets(struct task_watcher *w, uint64_t now_ns)
{
	struct timespec t;
	uint64_t pause;
	int r;

	if (!w->lacks || now_ns < w->green_ns)
		return 0;
	r = task_reader_find_greenlets(w->reader, GREEN_CALLS);
	clock_gettime(CLOCK_MONOTONIC, &t);
	w->walks++;
	w->lacks = false;
	pause = ((uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec - now_ns) * GREEN_SHARE;
	if (!task_reader_knows_greenlets(w->reader)) {
		w->green_ns = now_ns + NO_GREEN_NS;
		return is_fatal(r) ? r : 0;
	}
	w->green_wait_ns = w->green_wait_ns ? w->green_wait_ns * 2 : GREEN_NS;
	if (w->green_wait_ns > GREEN_MOST_NS)
		w->green_wait_ns = GREEN_MOST_NS;
	w->green_soonest_ns = now_ns + pause;
	w->green_ns = now_ns + (w->green_wait_ns > pause ? w->green_wait_ns : pause);
	return is_fatal(r) ? r : 0;
}

static int refresh_asyncio(struct task_watcher *w, uint64_t now_ns)
{
	int r;

	if (w->again > FIND_AGAIN || now_ns - w->found_ns < FIND_NS)
		return 0;
	w->found_ns = now_ns;
	r = task_reader_find(w->reader);
	if (task_reader_knows_asyncio(w->reader))
		w->again++;
	/* Whatever else goes wrong: there will be another look. */
	return is_fatal(r) ? r : 0;
}

int task_watcher_refresh(struct task_watcher *w, uint64_t now_ns)
{
	int r = refresh_asyncio(w, now_ns);

	return r < 0 ? r : refresh_greenlets(w, now_ns);
}

void task_watcher_forget(struct task_watcher *w, struct tables *tables)
{
	task_reader_forget(w->reader, tables);
}

struct task_watch *task_watch_new(struct task_watcher *w, uint64_t interp, uint64_t tstate)
{
	struct task_watch *t = calloc(1, sizeof(*t));

	if (t) {
		/* One that is new may have greenlets soon. */
		w->lacks = true;
		w->green_wait_ns = 0;
		w->green_ns = w->green_soonest_ns;
		t->born = w->walks;
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
	if (t->current && t->memo.n_ranges && !anew && t->walks == w->walks)
		return;
	t->current = true;
	t->walks = w->walks;
	t->chain = (struct task_chain){0};
	r = task_reader_running(w->reader, t->interp, t->tstate, &w->log, &t->chain);
	if (r == 0)
		r = memo_keep(&t->memo, &w->log);
	t->known = r == 0 && reserve(t);
	t->beyond = r == -ENOTSUP || r == -E2BIG;
	w->lacks |= !t->chain.switches;
	t->chain.unsure |= !t->chain.switches && task_reader_knows_greenlets(w->reader) &&
			   w->walks - t->born < GREEN_SURE;
	if (!t->known)
		memo_clear(&t->memo);
}

/* ---- with a gather ---- */

size_t task_watch_range_count(const struct task_watch *t)
{
	return t->memo.n_ranges + (t->chain.switches != 0);
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
	if (!t->chain.switches)
		return;
	before += t->memo.n_ranges;
	behind += t->memo.n_ranges;
	*before =
		(struct memory_range){.addr = t->chain.switches, .len = 8, .buf = &t->switches[0]};
	*behind =
		(struct memory_range){.addr = t->chain.switches, .len = 8, .buf = &t->switches[1]};
	t->switches[0] = 0;
	t->switches[1] = 1;
}

/* Between two readings that say that the same greenlet runs others may have run. */
static bool has_switched(const struct task_watch *t)
{
	return t->chain.switches && t->switches[0] != t->switches[1];
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
	    !memo_holds(&t->memo, t->behind) || has_switched(t)) {
		t->current = false;
		return WALK_MISS;
	}
	if (chain->greenlet) {
		*ret_task = chain->stack + SAMPLE_TASK_STACK;
		return WALK_OK;
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
	if (!chain->unsure)
		*ret_task = SAMPLE_TASK_NONE;
	return WALK_OK;
}
