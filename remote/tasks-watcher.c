#include <errno.h>
#include <stdlib.h>

#include "remote/clock.h"
#include "remote/tasks-sample-parts.h"

#define FIND_NS	   50000000u /* between two looks for asyncio, which a program may import later */
#define FIND_AGAIN 2	     /* looks more once it was found: it may have been half imported */
/* Between two walks for greenlets, while there are threads of which none is known. */
#define GREEN_NS      100000000u /* and ever longer, since they may have none */
#define GREEN_MOST_NS 10000000000ull
#define GREEN_SHARE   50u	 /* times as long as one takes at least */
#define GREEN_CALLS   8192u	 /* what one may cost for each list: some 12 ms */
#define NO_GREEN_NS   500000000u /* where the module is not imported */

int task_watcher_new(struct task_watcher **ret, struct target *target, struct tables *tables)
{
	struct task_watcher *w = calloc(1, sizeof(*w));
	int r = -ENOMEM;

	if (w)
		w->answers = task_answers_new();
	if (w && w->answers)
		r = task_reader_new(&w->reader, target, tables);
	if (r < 0) {
		task_watcher_free(w);
		return r;
	}
	w->memory = target->memory;
	w->layout = task_reader_layout(w->reader);
	*ret = w;
	return 0;
}

void task_watcher_free(struct task_watcher *w)
{
	if (!w)
		return;
	task_reader_free(w->reader);
	task_answers_free(w->answers);
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
	uint64_t pause;
	int r;

	if (!w->lacks || now_ns < w->green_ns)
		return 0;
	r = task_reader_find_greenlets(w->reader, GREEN_CALLS);
	w->walks++;
	w->lacks = false;
	pause = (clock_now_ns() - now_ns) * GREEN_SHARE;
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
	task_answers_clear(w->answers);
}

void task_watcher_expect(struct task_watcher *w)
{
	w->lacks = true;
	w->green_wait_ns = 0;
	w->green_ns = w->green_soonest_ns;
}
